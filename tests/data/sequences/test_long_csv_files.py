"""CSV files of sequences with a row for each step."""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
from made_sequences import OPTIONS, PER_STEP, as_described, long_csv, made

from model_search.data import sequence_data
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.sequences.padded import padded
from model_search.data.sequences.sequence_files import LongColumns, read_file
from model_search.data.task import TaskKind
from model_search.errors import DataError


def test_long_csv(tmp_path):
    x, y = made()
    shuffled = long_csv(tmp_path / "a.csv", x, y, np.random.default_rng(0).permutation)
    assert (
        sequence_data.Provider(long_csv(tmp_path / "b.csv", x, y, range)).prepare(OPTIONS).fingerprint
        == sequence_data.Provider(x, y).prepare(OPTIONS).fingerprint
    )
    data = sequence_data.Provider(shuffled).prepare(OPTIONS)
    found = {values[:length].tobytes() for values, length in zip(*data.train.inputs.values(), strict=True)}
    assert found <= {one.tobytes() for one in x}
    assert data.description["sequences"]["names"] == ["left", "right"]


def with_columns(path, source, change):
    """Writes a long CSV file whose columns are changed, as a frame."""
    change(pd.read_csv(source, dtype=str)).to_csv(path, index=False)
    return path


def test_channels_of_a_file_are_told_apart_by_their_names(tmp_path):
    x, y = made()
    source = long_csv(tmp_path / "a.csv", x, y, range)
    turned = with_columns(tmp_path / "b.csv", source, lambda f: f[["right", "label", "left", "time", "id"]])
    data = sequence_data.Provider(source, validation=turned).prepare(OPTIONS)
    assert np.array_equal(data.valid.inputs["sequence"], data.train.inputs["sequence"])
    studied = as_described(data)
    for found in (inputs_of(turned, studied), labelled_rows(turned, studied).inputs):
        assert np.array_equal(found["sequence"], padded(x).values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.rename(columns={"left": "up"}), r"has the channels 'up', 'right'; .*'left' missing and 'up' not"),
        (
            lambda f: f.drop(columns="left"),
            r"has the channels 'right'; expected .*'left', 'right', .*: 'left' missing;",
        ),
        (lambda f: f.assign(up="1"), r"has the channels .*: 'up' not among them; rename"),
        (
            lambda f: f[["id"]].join(pd.DataFrame("1", f.index, [f"c{number}" for number in range(99)])),
            r"has the channels 'c0'.*'c7' and 91 more; expected",
        ),
    ],
)
def test_a_file_of_other_channels_is_refused(tmp_path, change, sentence):
    x, y = made()
    source = long_csv(tmp_path / "a.csv", x, y, range)
    other = with_columns(tmp_path / "b.csv", source, change)
    with pytest.raises(DataError, match=sentence):
        inputs_of(other, as_described(sequence_data.Provider(source).prepare(OPTIONS)))
    if "label" in pd.read_csv(other):
        with pytest.raises(DataError, match=sentence):
            sequence_data.Provider(source, validation=other).prepare(OPTIONS)


def test_a_study_that_knows_no_names_of_channels_reads_any(tmp_path):
    x, y = made()
    studied = as_described(sequence_data.Provider(x, y).prepare(OPTIONS))
    found = inputs_of(long_csv(tmp_path / "a.csv", x, y, range), studied)
    assert np.array_equal(found["sequence"], padded(x).values)
    earlier = {name: value for name, value in studied["sequences"].items() if name != "names"}
    again = inputs_of(tmp_path / "a.csv", {**studied, "sequences": earlier})
    assert np.array_equal(again["sequence"], found["sequence"])


def test_long_csv_with_a_label_for_each_step(tmp_path):
    x, _ = made()
    lines = [f"s{row},{step},{one[step, 0]},{step % 3}\n" for row, one in enumerate(x) for step in range(len(one))]
    (tmp_path / "a.csv").write_text("who,when,value,state\n" + "".join(lines))
    provider = sequence_data.Provider(tmp_path / "a.csv", columns=LongColumns("who", "when", "state"))
    data = provider.prepare(PER_STEP)
    assert data.task.logits_dimension == 3
    with pytest.raises(DataError, match=r"sequence 's0' has the labels .*expected one for each sequence"):
        provider.prepare(OPTIONS)


def test_times_of_a_zone_whose_offset_changes_are_in_order(tmp_path):
    x, y = made(40, 1)
    stamps = ["2024-03-30T12:00:00+01:00", "2024-03-31T01:59:00+01:00", "2024-03-31T03:00:00+02:00"]
    stamps += [
        "2024-03-31T03:30:00+02:00",
        "2024-03-31T02:15:00Z",
        "2024-04-01 00:00:00+02",
        "2024-04-02T00:00:00+0200",
    ]
    given = [(row, step, one) for row, one in enumerate(x) for step in range(len(one))]
    lines = [f"s{row},{stamps[step]},{y[row]},{one[step, 0]}\n" for row, step, one in given]
    (tmp_path / "a.csv").write_text("id,time,label,v\n" + "".join(lines[:1] + lines[:0:-1]))
    found = read_file(tmp_path / "a.csv", LongColumns(), False)
    by_id = dict(zip(found.ids, zip(found.sequences.values, found.sequences.lengths, strict=True), strict=True))
    for row, one in enumerate(x):
        values, length = by_id[f"s{row}"]
        assert np.array_equal(values[:length], one)
    (tmp_path / "a.csv").write_text("id,time,label,v\n" + "".join(lines).replace("00:00+01:00", "00:00"))
    with pytest.raises(
        DataError, match=r"'2024-03-30T12:00:00' in row 1 and .* in row 2; expected times that all have"
    ):
        sequence_data.Provider(tmp_path / "a.csv").prepare(OPTIONS)


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (lambda step: "" if step == 22 else str(step), r"'time' is blank in 1 rows, the first of which is row 23;"),
        (lambda step: "x" if step == 22 else str(step), r"'time' holds 'x' in row 23; expected a number, as in most"),
        (
            lambda step: "then" if step == 22 else f"2024-01-01T00:00:{step % 60:02}",
            r"'time' holds 'then' in row 23; expected a time such as",
        ),
    ],
)
def test_times_that_cannot_be_read_are_named(tmp_path, times, sentence):
    lines = [f"s{step // 4},{times(step)},{step // 4 % 2},{step}\n" for step in range(160)]
    (tmp_path / "a.csv").write_text("id,time,label,v\n" + "".join(lines))
    with pytest.raises(DataError, match=sentence):
        sequence_data.Provider(tmp_path / "a.csv").prepare(OPTIONS)


def test_a_named_column_of_times_that_is_not_there_and_blank_ids_are_refused(tmp_path):
    lines = [f"s{step // 4},{step},{step // 4 % 2},{step}\n" for step in range(160)]
    (tmp_path / "a.csv").write_text("id,stamp,label,v\n" + "".join(lines))
    with pytest.raises(DataError, match="has no column 'stmp' of times; its columns are id, stamp, label, v"):
        sequence_data.Provider(tmp_path / "a.csv", columns=LongColumns(time="stmp")).prepare(OPTIONS)
    lines[4:7] = [line.replace("s1,", " ,") for line in lines[4:7]]
    (tmp_path / "a.csv").write_text("id,time,label,v\n" + "".join(lines))
    with pytest.raises(DataError, match="'id' is blank in 3 rows, the first of which is row 5; expected the sequence"):
        sequence_data.Provider(tmp_path / "a.csv").prepare(OPTIONS)


def test_a_file_in_another_encoding(tmp_path):
    rows = "".join(f"s{row},caf\u00e9,{row}\ns{row + 1},th\u00e9,{row}\n" for row in range(0, 40, 2))
    (tmp_path / "a.csv").write_text("id,label,v\n" + rows, encoding="cp1252")
    (tmp_path / "8.csv").write_text("id,label,v\n" + rows)
    with pytest.raises(DataError, match=r"is not utf-8: byte 0xe9 .*; save it as UTF-8, or give .* encoding='cp1252'$"):
        sequence_data.Provider(tmp_path / "a.csv").prepare(OPTIONS)
    data = sequence_data.Provider(tmp_path / "a.csv", encoding="cp1252").prepare(OPTIONS)
    plain = sequence_data.Provider(tmp_path / "8.csv").prepare(OPTIONS)
    assert data.task.classes == ("caf\u00e9", "th\u00e9") and data.fingerprint == plain.fingerprint
    assert len(labelled_rows(tmp_path / "a.csv", as_described(data))) == 40
    with pytest.raises(DataError, match=r"is not utf-8: byte 0xe9 .*; save it as UTF-8, which this study reads$"):
        labelled_rows(tmp_path / "a.csv", as_described(plain))
    with pytest.raises(DataError, match=r"is not cp1252: byte 0x81 .*; save it as cp1252, which this study reads$"):
        (tmp_path / "b.csv").write_bytes(b"id,label,v\ns1,\x81,1\n")
        labelled_rows(tmp_path / "b.csv", as_described(data))
    for source in (tmp_path / "a.ts", np.zeros((20, 3, 1))):
        y = None if isinstance(source, os.PathLike) else [0, 1] * 10
        with pytest.raises(DataError, match="encoding is 'cp1252', which is for a CSV file"):
            sequence_data.Provider(source, y, encoding="cp1252")


def test_decimal_commas_are_read_as_those_of_tables(tmp_path):
    values = np.random.default_rng(0).normal(scale=2000, size=160).round(3)
    rows = [(f"s{step // 4}", step % 4 / 2, step // 4 / 8, value) for step, value in enumerate(values)]
    points = "".join(f"{one};{time};{label};{value}\n" for one, time, label, value in rows)
    commas = points.replace(".", ",")
    (tmp_path / "points.csv").write_text("id;time;label;v\n" + points)
    (tmp_path / "commas.csv").write_text("id;time;label;v\n" + commas)
    by_point, by_comma = (
        sequence_data.Provider(tmp_path / name).prepare(OPTIONS) for name in ("points.csv", "commas.csv")
    )
    assert by_comma.task.kind is TaskKind.REGRESSION
    assert by_point.fingerprint == by_comma.fingerprint
    later = [inputs_of(tmp_path / name, as_described(by_point))["sequence"] for name in ("points.csv", "commas.csv")]
    assert np.array_equal(*later)


def test_points_of_thousands_are_read_as_those_of_tables(tmp_path):
    values = np.random.default_rng(0).uniform(1000, 9000, (2, 160))
    rows = [f"s{step // 4};{step % 4};{'ab'[step // 4 % 2]};" for step in range(160)]
    german = str.maketrans(",.", ".,")
    money = ["935,5", *(f"{value:,.2f}".translate(german) for value in values[0, 1:])]
    whole = [f"{value:,.0f}".translate(german) for value in values[1]]
    cells = [f"{row}{one};{two}\n" for row, one, two in zip(rows, money, whole, strict=True)]
    (tmp_path / "german.csv").write_text("id;time;label;money;whole\n" + "".join(cells))
    plain = [
        f"{row}{one};{two}\n".translate({46: None, 44: "."}) for row, one, two in zip(rows, money, whole, strict=True)
    ]
    (tmp_path / "plain.csv").write_text("id;time;label;money;whole\n" + "".join(plain))
    data, expected = (sequence_data.Provider(tmp_path / name).prepare(OPTIONS) for name in ("german.csv", "plain.csv"))
    assert data.fingerprint == expected.fingerprint
    assert expected.description["notes"] == []
    (note,) = data.description["notes"]
    assert note.startswith(f"column 'whole': {whole[0]!r} could be read in two ways; its points separate thousands")
    said = []
    later = inputs_of(tmp_path / "german.csv", as_described(data), said.append)["sequence"]
    assert later[..., 1].max() > 1000 and said == [note]
    before = sequence_data.Provider(tmp_path / "german.csv").prepare(dataclasses.replace(OPTIONS, reading_rules=6))
    (one, two), last = before.input_specs["sequence"].mean, expected.input_specs["sequence"].mean
    assert one == pytest.approx(last[0]) and two == pytest.approx(last[1] / 1000)


@pytest.mark.parametrize("start", [1_700_000_000_000_000_000, -(2**62), 3])
def test_times_of_many_digits_are_told_apart(tmp_path, start):
    x, y = made()

    def exactly(frame):
        return frame.assign(time=[str(start + int(float(cell))) for cell in frame["time"]])

    source = long_csv(tmp_path / "a.csv", x, y, np.random.default_rng(0).permutation)
    data = sequence_data.Provider(with_columns(tmp_path / "b.csv", source, exactly)).prepare(OPTIONS)
    assert data.fingerprint == sequence_data.Provider(source).prepare(OPTIONS).fingerprint
    before = dataclasses.replace(OPTIONS, reading_rules=4)
    is_as_before = sequence_data.Provider(tmp_path / "b.csv").prepare(before).fingerprint == data.fingerprint
    assert is_as_before == (start == 3)
    later = inputs_of(tmp_path / "b.csv", as_described(data))["sequence"]
    assert np.array_equal(later, inputs_of(source, as_described(data))["sequence"])


def test_whole_numbers_beyond_int64_are_times_too(tmp_path):
    x, y = made()
    source = long_csv(tmp_path / "a.csv", x, y, range)
    far = with_columns(tmp_path / "b.csv", source, lambda f: f.assign(time=[f"99{cell:0>17}" for cell in f["time"]]))
    assert len(read_file(far, LongColumns(), False).sequences) == len(x)
