import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from model_search.errors import UserError
from model_search.metadata.study_folder import OpenFolder, VanishedStudyError
from model_search.report.comparison import (
    Comparison,
    FamilyScores,
    TowerScores,
    checked_families,
    keep_comparison,
    kept_comparison,
)


def family(name, *towers):
    found = tuple(TowerScores(("LSTM_32",), number, scores) for number, scores in enumerate(towers, 1))
    return FamilyScores(name, ("LSTM_32", "A<b>"), 10, found)


GOOD = family("good", (0.90, 0.92), (0.91, 0.93), (0.92, 0.92))
BAD = family("bad", (0.70, 0.72), (0.75, 0.69), (0.71, 0.71))
ALIKE = family("alike", (0.80, 0.95), (0.99, 0.90), (0.85, 0.90))


def comparison(*families, goal="maximize", metric="accuracy"):
    return Comparison(metric, goal, "the test rows", families)


def test_intervals_are_those_of_student_and_welch():
    found = comparison(GOOD, ALIKE, metric="margin")
    means = [np.mean(tower.scores) for tower in GOOD.towers]
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (found.interval(GOOD).low, found.interval(GOOD).high) == pytest.approx((low, high))
    expected = stats.ttest_ind(GOOD.means, ALIKE.means, equal_var=False).confidence_interval(0.95)
    apart = found.difference(GOOD, ALIKE)
    assert (apart.low, apart.high) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.lists(st.floats(0, 1), min_size=2, max_size=5))
@example([0.0, 0.0], [1.0, 1 - 2**-53])
@example([0.0, 5e-324], [1.0, 1.0])
def test_intervals_of_a_share_stay_in_its_range(first, second):
    one, other = (family(name, *((score,) for score in scores)) for name, scores in (("a", first), ("b", second)))
    found = comparison(one, other)
    for interval in map(found.interval, (one, other)):
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
    apart = found.difference(one, other)
    assert -1 <= apart.low <= apart.value <= apart.high <= 1


def test_a_share_has_the_interval_of_its_logit():
    found = comparison(GOOD, BAD).interval(GOOD)
    mean, half = GOOD.means.mean(), stats.t.ppf(0.975, 2) * stats.sem(GOOD.means)
    centre, width = math.log(mean / (1 - mean)), half / (mean * (1 - mean))
    assert (found.low, found.high) == pytest.approx([1 / (1 + math.exp(-centre - s * width)) for s in (-1, 1)])
    assert found.high - found.value < found.value - found.low  # less room above


def test_what_only_has_the_name_of_a_share_is_none():
    assert not comparison(GOOD, family("beyond", (1.5,), (0.5,))).is_share


def test_a_comparison_is_not_kept_in_another_study_in_the_place_of_its_own(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    opened = OpenFolder(folder)
    folder.rename(tmp_path / "moved")
    for there in (False, True):
        if there:
            folder.mkdir()
        with pytest.raises(VanishedStudyError, match="is no longer in"):
            keep_comparison(comparison(GOOD, BAD), [opened])
    assert list(tmp_path.rglob("*.json")) == []


def test_a_comparison_is_kept_and_read_again(tmp_path):
    found = comparison(GOOD, BAD)
    keep_comparison(found, [OpenFolder(tmp_path)])
    assert kept_comparison(tmp_path) == found
    place = tmp_path / "comparison.json"
    endless = '{"families": ' + "[" * 100_000
    for damaged in (
        "",
        "[]",
        "{}",
        endless,
        place.read_text().replace("0.92", "1e999"),
        json.dumps(found.to_json() | {"families": [1]}),
        '{"goal": "up"}',
    ):
        place.write_text(damaged)
        assert kept_comparison(tmp_path) is None
    assert kept_comparison(tmp_path / "nothing") is None


def test_what_can_be_told_is_told():
    found = comparison(BAD, GOOD, ALIKE)
    assert [one.name for one in found.ranked] == ["good", "alike", "bad"]
    assert found.can_tell(GOOD, BAD) and not found.can_tell(GOOD, ALIKE)
    sentences = found.sentences()
    assert sentences[0].startswith("good or alike: cannot tell (+0.0183, 95 % interval -")
    assert sentences[1].startswith("good is better than bad (+0.2033, ")
    assert sentences[1] in str(found)


def test_less_can_be_better():
    assert [one.name for one in comparison(GOOD, BAD, goal="minimize").ranked] == ["bad", "good"]


def test_one_tower_each_says_nothing():
    one, other = family("one", (0.9, 0.9)), family("other", (0.1, 0.1))
    assert math.isnan(comparison(one, other).interval(one).low)
    assert "cannot tell, one tower each" in comparison(one, other).sentences()[0]


def test_equal_towers_have_no_spread():
    one, other = family("one", (0.9,), (0.9,)), family("other", (0.9,), (0.9,))
    assert not comparison(one, other).can_tell(one, other)


def test_the_table_and_the_page(tmp_path):
    found = comparison(GOOD, BAD, family("<b>one</b>", (0.5,)))
    frame = found.frame()
    assert list(frame.columns) == ["family", "accuracy", "low", "high", "towers", "trainings", "trials"]
    assert frame["trainings"].tolist() == [6, 6, 1]
    page = found.report(tmp_path).read_text()
    assert "good is better than bad" in page and "LSTM_32" in page
    assert "<b>one</b>" not in page and "&lt;b&gt;one" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert found.report(tmp_path / "other.html").name == "other.html"
    with pytest.raises(UserError, match="cannot be written"):
        found.report(tmp_path / "no" / "other.html")


@pytest.mark.parametrize(
    "families", [{}, {"a": ["LSTM_32"]}, {"a": "LSTM_32", "b": ["LSTM_32"]}, {"a": [], "b": ["X"]}]
)
def test_what_is_no_set_of_families_is_refused(families):
    with pytest.raises(UserError, match="expected"):
        checked_families(families)
