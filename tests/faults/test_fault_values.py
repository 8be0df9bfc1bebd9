"""Numbers that float32 does not hold, and cells that are not taken as they are: refused, or noted with their rows."""

import csv
import datetime

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, csv_data
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError
from model_search.finish.predict import predict_labels

OPTIONS = PrepareOptions(seed=1, batch_size=8)
STEPS = np.random.default_rng(3).normal(size=60)
WHOLE = np.random.default_rng(4).integers(0, 1000, 60)

LEARNT = {
    "1e39": 1e39 * STEPS,
    "1e100": 1e100 * STEPS,
    "-1e39 and 1e38 apart": -1e39 + 1e38 * STEPS,
    "1e-50": 1e-50 * STEPS,
    "1e-120": 1e-120 * STEPS,
    "1e9 and 1 apart": 1e9 + STEPS,
    "1e9 and 0.001 apart": 1e9 + 1e-3 * STEPS,
    "2**40 + whole": 2**40 + WHOLE,
    "nanoseconds, seconds apart": 1_700_000_000_000_000_000 + 1_000_000_000 * WHOLE,
    "2**62, far apart": 2**52 * WHOLE,
}
REFUSED = {
    "1e16 and 1 apart": 1e16 + STEPS,
    "2**60 + whole": 2**60 + WHOLE,
    "1e200": 1e200 * STEPS,
    "1e-200": 1e-200 * STEPS,
}


def providers(tmp_path, targets):
    """The same targets as array, frame and CSV."""
    x = np.arange(len(targets), dtype=float) % 7
    frame = pd.DataFrame({"x": x, "y": targets})
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = {"task": "regression"}
    return {
        "array": (array_data.Provider(x[:, None], targets, **arguments), (x[:, None], targets)),
        "frame": (array_data.Provider(frame[["x"]], frame["y"], **arguments), (frame[["x"]], frame["y"])),
        "csv": (csv_data.Provider(filename=tmp_path / "t.csv", label="y", **arguments), tmp_path / "t.csv"),
    }


def test_targets_beyond_float32(figure, tmp_path):
    worst = 0.0
    for name, targets in LEARNT.items():
        scales = []
        for provider, source in providers(tmp_path, targets).values():
            data = provider.prepare(OPTIONS)
            scaled = labelled_rows(source, data.description).label
            assert np.isfinite(scaled).all() and scaled.std() == pytest.approx(1, abs=0.5), name
            back = predict_labels(scaled, data.task)
            worst = max(worst, float(np.max(np.abs(back - targets))) / data.task.target_scale)
            scales.append((data.task.target_mean, data.task.target_scale))
            size = np.max(np.abs(np.asarray(targets, dtype=float)))
            is_noted = any("beyond float32" in note for note in data.description["notes"])
            assert is_noted == (size > 3.4e38 or data.task.target_scale < 1.2e-38), name
        assert scales[0] == scales[1] == scales[2]
    assert worst < 1e-3
    for name, targets in REFUSED.items():
        for provider, _ in providers(tmp_path, targets).values():
            with pytest.raises(DataError, match=r"too large|too small|differ by about .* subtract a constant"):
                provider.prepare(OPTIONS)
                raise AssertionError(name)
    figure(
        f"targets beyond float32: {len(LEARNT) + len(REFUSED)} kinds (1e39, 1e-50, 1e9 + small, int64) from CSV, frame "
        "and array",
        f"{len(LEARNT)} kinds come back within {worst:.0e} standard deviations, {len(REFUSED)} refused with what to do",
    )


def test_a_later_target_that_is_too_far_is_refused(tmp_path):
    data = providers(tmp_path, STEPS)["array"][0].prepare(OPTIONS)
    with pytest.raises(DataError, match=r"label 1e\+100 in column 'label' is too far from those of training"):
        labelled_rows((np.ones((2, 1)), [1.0, 1e100]), data.description)


def test_targets_that_merge_beside_an_outlier_are_noted(tmp_path):
    targets = np.append(STEPS, 1e30)
    x = np.arange(61, dtype=float)[:, None] % 7
    data = array_data.Provider(x, targets, validation=(x[:5], targets[:5])).prepare(OPTIONS)
    [note] = [note for note in data.description["notes"] if "stay different" in note]
    assert note.startswith("of 61 different numbers in 'label' only 2 stay different")


def train_table():
    rows = 60
    return pd.DataFrame(
        {
            "n": np.arange(rows) % 7 + 0.5,
            "c": np.array(["u", "v", "1.5"], dtype=object)[np.arange(rows) % 3],
            "d": [f"2020-0{i % 5 + 1}-0{i % 7 + 1}" for i in range(rows)],
        }
    )


# Column, cells, the sentence that is expected of them (None where the cells are taken as they are).
CHANGED = [
    ("n", [np.inf, -np.inf, 1.0], "2 rows hold infinite numbers"),
    ("n", ["inf", "1e999", "2"], "2 rows hold infinite numbers ('1e999', 'inf'), read as missing"),
    ("n", [1e39, -1e39, 1e30], "2 rows hold numbers beyond 1e+30, read as 1e+30"),
    ("n", ["1e39", "1", "2"], "1 row holds numbers beyond 1e+30 ('1e39'), read as 1e+30"),
    ("n", ["abc", "1", "abc"], "2 rows hold no number ('abc'), read as missing"),
    ("n", ["1_0", "٣", "0x1"], "3 rows hold no number ('0x1', '1_0', '٣'), read as missing"),
    ("n", pd.to_timedelta([1, 2, 3], unit="D"), "3 rows hold no number"),
    ("n", [datetime.timedelta(1), 1, 2], "1 row holds no number"),
    ("n", [(1.0,), (2,), 3], "2 rows hold no number ('(1.0,)', '(2,)')"),
    ("n", np.array([1 + 1j, 2, 3]), "3 rows hold complex numbers, read as missing"),
    ("n", [2**53 + 1, 2**53, 1], "1 row holds whole numbers beyond 2**53"),
    ("n", ["9007199254740993", "9007199254740992", "1"], "1 row holds whole numbers beyond 2**53 ('9007199254740993')"),
    ("n", pd.to_datetime(["2020-01-01"] * 3), "3 rows hold no number"),
    ("n", [b"1.5", b"x", 2], "1 row holds no number ('x')"),
    ("n", [None, float("nan"), "NA"], None),
    ("n", ["", "-", "1,234.5"], None),
    ("n", np.array([True, False, True]), None),
    ("n", [True, False, None], "2 rows hold no number ('False', 'True'), read as missing"),
    ("c", ["new", "u", "newer"], "2 rows hold categories that were not there, or rare, in training ('new', 'newer')"),
    ("c", [b"u", b"v", b"w"], "1 row holds categories that were not there, or rare, in training ('w')"),
    ("c", [1.5, 1.50, 15], "1 row holds categories that were not there, or rare, in training ('15')"),
    ("c", ["1.50", "1.5", "u"], "1 row holds categories that were not there, or rare, in training ('1.50')"),
    ("c", [("u",), "u", "v"], "1 row holds categories that were not there, or rare, in training (\"('u',)\")"),
    ("c", [pd.Timedelta(1, "D"), "u", "v"], "1 row holds categories"),
    ("c", ["u", " u ", "v"], None),
    ("c", [None, "NA", "u"], None),
    ("d", ["2020-02-30", "soon", "2020-01-01"], "2 rows hold no date ('2020-02-30', 'soon'), read as missing"),
    ("d", [18000, 18001, 18002], "3 rows hold no date ('18000', '18001', '18002'), read as missing"),
    ("d", [b"2020-01-01", b"soon", None], "1 row holds no date ('soon'), read as missing"),
    ("d", pd.to_datetime(["2020-01-01", "2020-02-01", None]), None),
    ("d", [datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 5), None], None),
]


def one_column(name, cells):
    frame = train_table()[:3]
    frame[name] = pd.Series(cells) if hasattr(cells, "dtype") else pd.Series(cells, dtype=object)
    return frame


def test_changed_cells_are_noted_with_their_rows(figure, tmp_path):
    data = array_data.Provider(train_table(), np.arange(60) % 2).prepare(OPTIONS)
    assert not data.description["notes"]
    tried = 0
    for name, cells, sentence in CHANGED:
        frame = one_column(name, cells)
        expected = [] if sentence is None else [f"column {name!r}: {sentence}"]
        sources = {"frame": frame, "dict": dict(frame.items()), "array": frame.astype(object).to_numpy()}
        if all(cell is None or isinstance(cell, str | int | float) for cell in cells):
            with (tmp_path / "new.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([list(frame.columns), *frame.astype(object).to_numpy().tolist()])
            sources["csv"] = tmp_path / "new.csv"
        as_text = all(isinstance(cell, str) for cell in cells)
        for kind, source in sources.items():
            if kind in ("csv", "array") and getattr(cells, "dtype", np.dtype(object)).kind in "bc":
                continue  # these hold objects or texts of them, of which the row above or below speaks
            for read in (inputs_of, lambda s, d, note: labelled_rows((s, [0, 1, 0]), d, note)):
                said = []
                read(source, data.description, said.append)
                assert len(said) == len(expected), (kind, name, list(cells), said)
                for one, wanted in zip(said, expected, strict=True):
                    start = wanted.partition(" (")[0].partition(",")[0]
                    assert one.startswith(wanted if kind == "dict" and as_text else start), (kind, one, wanted)
                tried += 1
    figure(
        f"cells that are not taken as they are, {len(CHANGED)} kinds, from frame, dict, array and CSV",
        f"{tried} readings: each sentence once, with its number of rows; nothing is said of plain and missing cells",
    )


@pytest.mark.parametrize("name", ["n", "c", "d"])
def test_lists_in_cells_are_refused(name):
    data = array_data.Provider(train_table(), np.arange(60) % 2).prepare(OPTIONS)
    with pytest.raises(DataError, match=f"column '{name}' holds a list in row 2"):
        inputs_of(one_column(name, ["1", ["1"], "2"]), data.description)


def test_changed_cells_are_noted_in_training_too():
    frame = train_table()
    frame["n"] = [np.inf, 1e39, *np.arange(58) % 7]
    frame["d"] = ["soon", *frame["d"][1:]]
    frame["z"] = [f"0{i % 9 + 10}" for i in range(60)]
    valid = frame[:3].assign(c=["new", "u", "v"])
    notes = array_data.Provider(frame, np.arange(60) % 2, validation=(valid, [0, 1, 0])).prepare(OPTIONS)
    said = "\n".join(notes.description["notes"])
    assert "column 'n': 1 row holds infinite numbers, read as missing; 1 row holds numbers beyond 1e+30" in said
    assert "column 'd': 1 row holds no date ('soon'), read as missing" in said
    assert "column 'z': 60 rows hold numbers with leading zeros ('010', '011', '012'), read as numbers" in said
    assert "validation rows, column 'c': 1 row holds categories that were not there" in said


def test_weights_beyond_float32_are_refused():
    for weight in (1e-60, 1e35):
        with pytest.raises(DataError, match="beyond what float32 holds"):
            array_data.Provider(train_table(), np.arange(60) % 2, weights=[weight] + [1.0] * 59).prepare(OPTIONS)


def test_numbers_in_the_users_units_are_float64():
    task = Task(TaskKind.REGRESSION, "y", 1, target_mean=1e9, target_scale=1e-3)
    found = predict_labels(np.array([[0.0], [1.0], [-2.0]], np.float32), task)
    np.testing.assert_allclose(found - 1e9, [0, 1e-3, -2e-3], atol=2e-7)
