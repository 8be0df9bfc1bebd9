"""Numbers that are learnt by their logarithms: scaling and back, what is refused, what later labels become."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import array_data, csv_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular import labels
from model_search.data.task import TargetKind, Task, TaskKind
from model_search.errors import DamagedRecordError, DataError

OPTIONS = PrepareOptions(seed=1, batch_size=16)
X = np.arange(80.0)[:, None] % 7
POSITIVE = np.exp(np.random.default_rng(0).normal(2, 3, 80))
NUMBERS = st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=30, unique=True)


def prepared(y=POSITIVE, **options):
    return array_data.Provider(X, y, **({"log_target": True} | options)).prepare(OPTIONS)


def task_of(numbers):
    return labels.fit_scale(Task(TaskKind.REGRESSION, "y", 1, log_target=True), np.array(numbers))


@given(NUMBERS)
@settings(deadline=None)
def test_scaled_numbers_come_back_in_their_units(numbers):
    try:
        task = task_of(numbers)
    except DataError as error:
        assert "told apart" in str(error) or "tells numbers apart" in str(error)
        return
    given_back = task.to_units(task.to_scaled(np.array(numbers)))
    np.testing.assert_allclose(given_back, numbers, rtol=1e-12)
    rows = labels.to_rows(np.array(numbers), task)
    assert rows.dtype == np.float32
    # A step of float32 at the logarithm is a share of the number.
    share = 1e-6 * task.target_scale * np.abs(rows[:, 0]).max() + 1e-12
    np.testing.assert_allclose(task.to_units(rows)[:, 0], numbers, rtol=share)
    np.testing.assert_allclose(task.to_scaled(task.to_units(rows)), rows, rtol=1e-5, atol=1e-5)


@given(NUMBERS, st.floats(-1e6, 1e6, width=32))
@settings(deadline=None)
def test_whatever_a_model_says_is_a_number_above_0(numbers, logit):
    task = Task(TaskKind.REGRESSION, "y", 1, target_mean=float(np.log(numbers[0])), target_scale=3.0, log_target=True)
    found = task.to_units(np.array([[logit]], np.float32))
    assert found.dtype == np.float64
    assert found.item() > 0 and np.isfinite(np.square(found)).all()


def test_mean_scale_and_range_are_those_of_logarithms():
    data = prepared()
    task, scaled = data.task, data.train.label
    assert task.target is TargetKind.NUMBERS and task.log_target and task.logits_dimension == 1
    assert abs(scaled.mean()) < 1e-5 and abs(scaled.std() - 1) < 1e-5
    everything = np.concatenate([scaled, data.valid.label])
    np.testing.assert_allclose(np.sort(task.to_units(everything)[:, 0]), np.sort(POSITIVE), rtol=1e-5)
    np.testing.assert_allclose(task.to_units(np.array(task.target_range)), [POSITIVE.min(), POSITIVE.max()], rtol=1e-5)
    assert task.inferred == "'label' is predicted as a number, by its logarithm: as you asked."


def test_a_task_keeps_it_and_older_ones_lack_it():
    task = prepared().task
    assert Task.from_json(task.to_json()) == task
    assert "log_target" not in prepared(log_target=None).task.to_json()
    assert "log_target" not in prepared(log_target=False).task.to_json()
    damaged = {"classes": ["a"], "kind": "classification"}
    for other in ({"logits_dimension": 2}, {"quantiles": [0.5]}, damaged):
        with pytest.raises(DamagedRecordError, match="learns the logarithms of"):
            Task.from_json(task.to_json() | other)


def test_a_file_and_an_array_give_the_same(tmp_path):
    pd.DataFrame({"x0": X[:, 0], "label": POSITIVE}).to_csv(tmp_path / "rows.csv", index=False)
    provider = csv_data.Provider(filename=tmp_path / "rows.csv", label="label", log_target=True)
    assert provider.prepare(OPTIONS).task == prepared().task
    assert provider.number_of_classes() == 1


def test_later_labels_are_scaled_likewise():
    data = prepared()
    rows = labelled_rows((X[:3], [1.0, 50.0, 2e5]), data.description)
    np.testing.assert_allclose(data.task.to_units(rows.label)[:, 0], [1.0, 50.0, 2e5], rtol=1e-5)
    with pytest.raises(DataError, match=r"1 of 3 labels in column 'label' are not above 0 \(the smallest is -2\)"):
        labelled_rows((X[:3], [1.0, -2.0, 2e5]), data.description)


@pytest.mark.parametrize(
    ("y", "options", "words"),
    [
        (np.append(POSITIVE[:-3], [0, 0, -4.5]), {}, r"3 of 80 .* not above 0 \(the smallest is -4.5\).*leave log_t"),
        (np.append(POSITIVE[:-1], 1e180), {}, r"label 1e\+180 .* too far from 1 .* multiply all labels"),
        (np.append(POSITIVE[:-1], 1e-180), {}, r"label 1e-180 .* too far from 1"),
        (1e15 + np.arange(80.0) / 8, {}, "tells numbers apart|told apart by logarithms"),
        (np.array(["a", "b"])[np.arange(80) % 2], {}, "are no numbers"),
        (POSITIVE, {"task": "classification"}, "log_target is True, and task is 'classification'; expected one number"),
        (POSITIVE, {"task": "ordinal"}, "log_target is True, and task is 'ordinal'"),
        (POSITIVE, {"task": "quantile"}, "log_target is True, and task is 'quantile'"),
        (POSITIVE, {"quantiles": [0.5]}, "log_target is True, and quantiles are given"),
        (POSITIVE, {"classes": [1, 2]}, "log_target is True, and task is 'ordinal'"),
        (POSITIVE, {"log_target": "yes"}, "log_target is 'yes'; expected True, or False"),
        ({"one": POSITIVE, "two": POSITIVE}, {}, "classes, quantiles and log_target are those of one label"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(y, options, words):
    with pytest.raises(DataError, match=words):
        prepared(y, **options)


def test_inputs_by_name_do_not_have_it():
    with pytest.raises(DataError, match="log_target are for tables"):
        array_data.Provider({"a": X, "b": np.zeros((80, 3, 1))}, POSITIVE, log_target=True)


def test_labels_to_validate_on_have_logarithms_too():
    with pytest.raises(DataError, match=r"2 of 80 labels .* not above 0 \(the smallest is 0\)"):
        prepared(validation=(X, np.append(POSITIVE[:-2], [0, 0])))


def test_what_is_missing_says_something_of_logarithms():
    """Where a cell is missing the logarithm is larger by 1, which the largest of the numbers hide."""
    rng = np.random.default_rng(0)
    is_missing = np.arange(400) % 4 == 0
    y = np.exp(4 * rng.normal(size=400) + 2 * is_missing)
    x = np.where(is_missing, np.nan, rng.normal(size=400))[:, None]
    marks = [
        array_data.Provider(x, y, log_target=choice).prepare(OPTIONS).description["schema"]["features"][0]["indicator"]
        for choice in (True, False)
    ]
    assert marks == [True, False]


LOGNORMAL = np.exp(np.random.default_rng(1).normal(0, 3, 400))
NORMAL = np.random.default_rng(2).normal(10, 1, 400)
OUTLIERS = np.where(np.arange(400) % 100 == 7, 1000, 1) * NORMAL
X400 = np.arange(400.0)[:, None] % 7


def notes_of(y, **options):
    notes = array_data.Provider(X400, y, **options).prepare(OPTIONS).description["notes"]
    return [note for note in notes if "log_target" in note or "quantiles=" in note]


def test_a_note_names_logarithms_for_labels_over_several_orders_of_magnitude():
    (note,) = notes_of(LOGNORMAL)
    assert "the numbers in 'label' span 0.000" in note
    assert "1% of the rows have" in note and "log_target=True learns their logarithms" in note
    assert not notes_of(LOGNORMAL, log_target=True)
    assert not notes_of(LOGNORMAL, quantiles=[0.5])
    assert not notes_of({"one": LOGNORMAL, "two": LOGNORMAL})  # the options are those of one label


def test_a_note_names_the_median_beside_outliers():
    (note,) = notes_of(OUTLIERS)
    assert "of 320 numbers in 'label' are far from the others: more than 20 times the usual spread of" in note
    assert "from the median of " in note and ", up to " in note and "quantiles=[0.5]" in note
    assert "log_target" not in note
    (note,) = notes_of(OUTLIERS - 11)  # some below 0
    assert "quantiles=[0.5]" in note
    assert not notes_of(OUTLIERS, quantiles=[0.5])


RNG = np.random.default_rng(3)
USUAL = {
    "normal": NORMAL,
    "exponential": RNG.exponential(size=400),
    "log-normal with little spread": np.exp(RNG.normal(size=400)),
    "Pareto": 1 + RNG.pareto(1, 400),
    "heavy tails on both sides": RNG.standard_t(3, 400),
    "many zeros": np.where(RNG.random(400) < 0.5, 0, LOGNORMAL),
    "some zeros": np.where(RNG.random(400) < 0.1, 0, LOGNORMAL),
    "nearly all the same": np.where(np.arange(400) % 50 == 0, NORMAL, 1.0),
    "counts": RNG.poisson(30, 400),
}


@pytest.mark.parametrize("name", USUAL)
def test_no_note_names_an_option_for_other_labels(name):
    assert not notes_of(USUAL[name], task="regression")


@given(st.integers(0, 2**32 - 1), st.floats(1e-20, 1e20))
@settings(deadline=None, max_examples=30)
def test_notes_do_not_depend_on_units_and_there_is_one_at_most(seed, unit):
    rng = np.random.default_rng(seed)
    y = np.exp(rng.normal(size=200) * rng.uniform(0, 4)) * np.where(rng.random(200) < 0.02, rng.uniform(1, 1e6), 1)
    task = Task(TaskKind.REGRESSION, "y", 1)
    found, other = labels.spread_notes(task, y), labels.spread_notes(task, y * unit)
    assert len(found) == len(other) < 2
    assert ["log_target" in note for note in found] == ["log_target" in note for note in other]


def test_few_or_equal_labels_say_nothing():
    task = Task(TaskKind.REGRESSION, "y", 1)
    assert not labels.spread_notes(task, np.ones(100))
    assert not labels.spread_notes(task, LOGNORMAL[:49])
    assert not labels.spread_notes(task, np.array([1.0]))


def test_whole_numbers_become_numbers():
    assert prepared(np.arange(80) % 4 + 1).task.kind is TaskKind.REGRESSION
    assert prepared(np.arange(80) % 4 + 1, log_target=np.False_).task.kind is TaskKind.CLASSIFICATION
