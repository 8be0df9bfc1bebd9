"""Rows that belong together by group, and rows that have an order in time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import array_data, csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.split import split_groups, split_latest
from model_search.errors import DataError, TrialError
from model_search.training.folds.bags import fold_numbers

OPTIONS = PrepareOptions(seed=1, batch_size=10)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 8), min_size=4, max_size=60), st.integers(0, 5))
def test_no_group_is_on_both_sides(groups, seed):
    groups = np.array([*groups, 9])
    if len(set(groups)) < 2:
        return
    train, valid = split_groups(groups, 0.2, seed)
    assert sorted([*train, *valid]) == list(range(len(groups)))
    assert not set(groups[train]) & set(groups[valid])
    assert len(train) and len(valid)
    largest = np.bincount(groups).max()
    assert len(valid) <= 0.2 * len(groups) + largest
    folds = fold_numbers(len(groups), 2, seed, None, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert np.ptp(np.bincount(folds, minlength=2)) <= largest


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=60))
def test_the_latest_rows_are_validated_on(times):
    times = np.array([*times, 31], float)
    train, valid = split_latest(times, 0.2)
    assert sorted([*train, *valid]) == list(range(len(times)))
    assert times[train].max() < times[valid].min()


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(DataError, match="there is 1 group of rows; expected two at least"):
        split_groups(np.zeros(5, int), 0.2, 1)
    with pytest.raises(DataError, match="all rows have the same time"):
        split_latest(np.ones(5), 0.2)
    with pytest.raises(TrialError, match="there are 2 groups of rows; expected at least one for each of 3 folds"):
        fold_numbers(4, 3, 0, None, np.array([0, 1, 0, 1]))


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "a": np.arange(40),
            "who": [f"p{i % 8}" for i in range(40)],
            "day": rng.permutation(days),
            "y": np.arange(40) / 7,
        }
    )


def test_groups_of_a_file_and_of_arrays_are_split_alike(frame, tmp_path):
    frame.to_csv(tmp_path / "x.csv", index=False)
    features = frame.drop(columns="y")
    by_name = array_data.Provider(features, frame["y"], groups="who").prepare(OPTIONS)
    beside = array_data.Provider(features.drop(columns="who"), frame["y"], groups=frame["who"]).prepare(OPTIONS)
    file = csv_data.Provider(filename=tmp_path / "x.csv", label="y", groups="who").prepare(OPTIONS)
    for data in (by_name, beside, file):
        assert data.description["split"]["by"] == "group"
        assert data.description["split"]["column"] in ("who", "groups")
        assert (len(data.train), len(data.valid)) == (30, 10)
        assert not set(data.groups[:30]) & set(data.groups[30:])
        assert "'who'" not in str(data.description["schema"])
    assert by_name.fingerprint == beside.fingerprint
    with pytest.raises(DataError, match=r"^groups have the shape \(2, 20\); expected one dimension"):
        array_data.Provider(features, frame["y"], groups=np.zeros((2, 20))).prepare(OPTIONS)


def test_times_may_be_dates_or_numbers(frame, tmp_path):
    frame.to_csv(tmp_path / "x.csv", index=False)
    features = frame.drop(columns="y")
    file = csv_data.Provider(filename=tmp_path / "x.csv", label="y", time="day").prepare(OPTIONS)
    days = array_data.Provider(features, frame["y"], time=pd.to_datetime(frame["day"])).prepare(OPTIONS)
    numbers = array_data.Provider(features, frame["y"], time="a").prepare(OPTIONS)
    latest = np.sort(frame.sort_values("day")["a"].to_numpy()[-8:])
    for data, expected in ((file, latest), (days, latest), (numbers, np.arange(32, 40))):
        assert data.description["split"]["by"] == "time"
        truth = data.valid.label[:, 0] * data.task.target_scale + data.task.target_mean
        assert np.sort(truth * 7) == pytest.approx(expected, abs=1e-3)
        assert data.groups is None
        assert data.task.target_range is None  # later numbers may lie beyond the earlier ones
    assert array_data.Provider(features, frame["y"]).prepare(OPTIONS).task.target_range is not None


def test_a_time_that_numbers_the_rows_splits_them_and_is_no_feature(frame):
    data = array_data.Provider(frame[["a", "who"]], frame["y"], time="a").prepare(OPTIONS)
    assert data.description["split"]["column"] == "a"
    assert data.description["schema"]["dropped"] == {
        "a": "it numbers the rows (whole numbers, each of them once); rows are split by it all the same"
    }
    shuffled = array_data.Provider(frame[["a", "who"]], frame["y"]).prepare(OPTIONS)
    assert "split" not in shuffled.description["schema"]["dropped"]["a"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"groups": "nobody"}, "groups is 'nobody', which is no column"),
        ({"groups": [1, 2]}, "40 rows of features, 2 groups; expected one for each row"),
        ({"groups": "who", "time": "day"}, "expected one of the two"),
        ({"time": "who"}, "time column 'who' holds 'p0' in row 1; expected a number or a date"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(frame, arguments, words):
    with pytest.raises(DataError, match=words):
        array_data.Provider(frame.drop(columns="y"), frame["y"], **arguments).prepare(OPTIONS)


def test_columns_of_a_file_are_checked(frame, tmp_path):
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DataError, match="no groups column 'woh'; did you mean 'who'"):
        csv_data.Provider(filename=tmp_path / "x.csv", label="y", groups="woh").prepare(OPTIONS)
    with pytest.raises(DataError, match="'y' is given as time and as label"):
        csv_data.Provider(filename=tmp_path / "x.csv", label="y", time="y").prepare(OPTIONS)
