import itertools
import math
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.metadata.trial import TrialKind
from model_search.ranking import Objective
from model_search.report import charts
from model_search.report.charts import HEIGHT, SHAPES, WIDTH, Point, Scale, curves_chart, trials_chart
from model_search.report.numbers import NOTHING, duration, figure, share

FINITE = st.floats(allow_nan=False, allow_infinity=False)


LOSS, SCORE = Objective("loss", "minimize"), Objective("score", "maximize")


def points(values, kind="search"):
    return [Point(number, value, kind, f"trial {number}") for number, value in enumerate(values, 1)]


def places(path):
    return [float(number) for number in re.findall(r"-?\d*\.?\d+|nan|inf", path)]


@given(st.lists(st.none() | FINITE, min_size=1, max_size=12), st.sampled_from(["minimize", "maximize"]), FINITE)
def test_whatever_the_values_are_everything_lies_in_the_drawing(values, goal, expected):
    kinds = ["failed" if value is None else "search" for value in values]
    chart = trials_chart(
        [Point(i, v, kind, "") for i, (v, kind) in enumerate(zip(values, kinds, strict=True), 1)],
        Objective("loss", goal), [Point(len(values) + 1, 0.5, "final", "")], expected,
    )  # fmt: skip
    assert len(chart.marks) == len(values) + 1 and chart.x_ticks
    for mark in chart.marks:
        across, down = places(mark.path)[:2]
        assert 0 <= across <= WIDTH and 0 <= down <= HEIGHT
    for line in chart.lines:
        assert "nan" not in line.path and "inf" not in line.path
        assert all(0 <= place <= WIDTH for place in places(line.path))
    assert all(math.isfinite(tick.at) for tick in (*chart.x_ticks, *chart.y_ticks))


@given(st.lists(st.tuples(st.integers(1, 10**6), FINITE), min_size=2, max_size=9, unique_by=lambda point: point[0]))
def test_curves_lie_in_the_drawing(points):
    chart = curves_chart([("a", sorted(points))], LOSS)
    assert all(0 <= place <= WIDTH for place in places(chart.lines[0].path))


def test_one_that_went_astray_does_not_squeeze_the_others():
    values = [0.5, 0.4, 0.45, 0.42, 0.48, 0.44, 0.41, 0.47, 0.43, 0.46, 0.49, 900.0]
    chart = trials_chart(points(values), LOSS)
    assert chart.note == "One trial is off the scale, the worst with 900." and chart.band.text == "off scale"
    heights = [places(mark.path)[1] for mark in chart.marks]
    assert max(heights[:-1]) - min(heights[:-1]) > HEIGHT / 3 and heights[-1] < min(heights[:-1])
    upside_down = trials_chart(points([-value for value in values]), SCORE)
    assert places(upside_down.marks[-1].path)[1] > max(places(mark.path)[1] for mark in upside_down.marks[:-1])


def test_the_best_is_never_cut_off():
    scale = Scale([0.001, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5], (0, 100), lower_is_better=True)
    assert not scale.is_beyond(0.001)
    scale = Scale([99.0, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5], (0, 100), lower_is_better=False)
    assert not scale.is_beyond(99.0)


def test_values_of_many_sizes_get_a_logarithmic_axis():
    chart = trials_chart(points([10.0**-power for power in range(6)]), LOSS)
    assert chart.y_label == "validation loss (lower is better, logarithmic)"
    gaps = [places(mark.path)[1] for mark in chart.marks]
    steps = [second - first for first, second in itertools.pairwise(gaps)]
    assert max(steps) - min(steps) < 1


def test_trial_numbers_are_on_an_even_scale():
    chart = trials_chart(points([0.5] * 1000), LOSS)
    first, middle, last = (places(chart.marks[i].path)[0] for i in (0, 499, 999))
    assert middle == pytest.approx((first + last) / 2, abs=1)
    assert [tick.text for tick in chart.x_ticks] == ["1", "200", "400", "600", "800", "1,000"]


def test_the_line_of_the_best_goes_down_at_each_new_best():
    chart = trials_chart(points([0.5, 0.7, 0.3, 0.4]), LOSS)
    best = chart.lines[0]
    assert best.kind == "best" and best.path.count("V") == 1
    assert trials_chart(points([0.5, 0.7, 0.3, 0.9]), SCORE).lines[0].path.count("V") == 2


def test_many_marks_have_no_tooltips():
    assert {mark.label for mark in trials_chart(points([0.5] * 2001), LOSS).marks} == {""}


@pytest.mark.parametrize("kind", TrialKind)
def test_every_kind_of_trial_has_a_mark_and_a_colour(kind):
    assert trials_chart(points([0.5], kind.value), LOSS, [], None).marks[0].kind == kind.value
    style = (pathlib.Path(charts.__file__).parent / "templates" / "style.css").read_text()
    assert kind is TrialKind.SEARCH or f".mark.{kind.value} {{" in style


def test_kinds_differ_in_shape():
    assert len({shape.partition("@")[0] for shape in SHAPES.values()}) == len(SHAPES)
    assert trials_chart([], LOSS) is None
    assert curves_chart([("a", [(1, 0.5)])], LOSS) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (math.nan, NOTHING), (0.0, "0"), (0.0312345678, "0.031235"), (12345.678, "12,346"),
     (1234567.0, "1.2346e6"), (0.0000123456, "1.2346e-5"), (-0.5, "-0.5"), (-0.0, "0")],
)  # fmt: skip
def test_figures(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (12345.0, 12348.0, ["12,345.0", "12,345.5", "12,346.0", "12,346.5", "12,347.0", "12,347.5", "12,348.0"]),
        (1.2345e6, 1.2354e6, ["1.2346e6", "1.2348e6", "1.2350e6", "1.2352e6", "1.2354e6"]),
        (0.99998, 1.0, ["0.999980", "0.999985", "0.999990", "0.999995", "1.000000"]),
        (-3e-5, 3e-5, ["-3e-5", "-2e-5", "-1e-5", "0", "1e-5", "2e-5", "3e-5"]),
    ],
)
def test_numbers_of_an_axis_differ(low, high, texts):
    found = [tick.text for tick in Scale([low, high], (0, 100)).ticks()]
    assert found == texts


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12))
def test_numbers_of_an_axis_differ_whatever_they_are(low, width):
    found = [tick.text for tick in Scale([low, low + width], (0, 100)).ticks()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.0032, "3.2 ms"), (0.42, "0.42 s"), (1.0, "1.0 s"), (12.4, "12 s"), (59.7, "1 min 0 s"),
     (185, "3 min 5 s"), (7620, "2 h 7 min"), (math.nan, NOTHING)],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_shares():
    assert [share(value) for value in (0.0, 0.004, 0.099, 0.12, 1.0)] == ["0 %", "0.4 %", "9.9 %", "12 %", "100 %"]
