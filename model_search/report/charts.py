"""The geometry of the report's plots: positions of marks, lines, ticks and labels. The template draws them as SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from model_search.ranking import Objective
from model_search.report.numbers import figure, tick

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 14, 56
MOST_TOOLTIPS = 2000  # marks with a tooltip; more would make the page heavy
# Values are cut off where they lie further beyond the worst tenth than this many times the span of the others.
_ROOM = 0.5
_LOG_SPAN = 30.0
_BAND = 24
_CROWD = 300
_LEAST, _MOST = 1e-100, 1e100  # values are clipped to these limits, which keeps the arithmetic finite


@dataclasses.dataclass(frozen=True)
class Point:
    """A trial in a plot: its number, the metric (None where it failed), the kind of its mark, and words for it."""

    x: float
    y: float | None
    kind: str
    label: str


@dataclasses.dataclass(frozen=True)
class Tick:
    """A tick: its position in the drawing and its text."""

    at: float
    text: str


@dataclasses.dataclass(frozen=True)
class Mark:
    """A mark: its outline as an SVG path, its kind, and its tooltip."""

    path: str
    kind: str
    label: str


@dataclasses.dataclass(frozen=True)
class Line:
    """A line: its SVG path, the kind of its stroke, its name, and its end."""

    path: str
    kind: str
    name: str
    end: tuple[float, float] = (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: A description of the plot for screen readers.
        x_label: The label of the horizontal axis.
        y_label: The label of the vertical axis.
        x_ticks: Ticks of the horizontal axis.
        y_ticks: Ticks of the vertical axis.
        marks: Marks, those on top last.
        lines: Lines, drawn below the marks.
        crowded: Whether there are too many marks to draw them opaque.
        kinds: The kinds of marks that are there, in the order of the legend, with the number of each.
        band: Position and label of the band for marks off the scale; None without them.
        note: A sentence on what is off the scale; empty where nothing is.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    lines: tuple[Line, ...]
    kinds: tuple[tuple[str, int], ...] = ()
    crowded: bool = False
    band: Tick | None = None
    note: str = ""


# Outlines of the marks, around the origin: kinds differ by shape, not by colour alone.
SHAPES = {
    "search": "a4 4 0 1 0 .01 0z@0,-4",
    "short training": "a2.2 2.2 0 1 0 .01 0z@0,-2.2",
    "random": "a3.6 3.6 0 1 0 .01 0z@0,-3.6",
    "suggestion": "l5 5l-5 5l-5-5z@0,-5",
    "ensemble": "h8v8h-8z@-4,-4",
    "distillation": "l5 9h-10z@0,-5.5",
    "tuning": "l5-9h-10z@0,5.5",
    "replay": "h3v-3h3v3h3v3h-3v3h-3v-3h-3z@-4.5,-1.5",
    "classic": "h9v5h-9z@-4.5,-2.5",
    "longer": "h4l4 4.5-4 4.5h-4l4-4.5z@-3,-4.5",
    "supernet": "h3l3 5-3 5h-3l-3-5z@-1.5,-5",
    "bagging": "l5 5l-5 5l-5-5l5-5l3 5l-3 3@0,-5",
    "folds": "l4 8h-8z@0,-5",
    "failed": "l7 7m0-7l-7 7@-3.5,-3.5",
    "final": "l1.8 4.6 4.9.3-3.8 3.2 1.2 4.8-4.1-2.7-4.1 2.7 1.2-4.8-3.8-3.2 4.9-.3z@0,-7",
}


class Scale:
    """Maps values to positions: linear, or logarithmic where values span a lot; values outside are put on the edge."""

    def __init__(self, values: Sequence[float], positions: tuple[float, float], lower_is_better: bool | None = None):
        """Chooses the range: all values, but for those that are far worse than nearly all others.

        Args:
            values: Finite values, in any order.
            positions: Where the lower and the upper end of the range are drawn.
            lower_is_better: Which values are better; where None, neither, and the scale is linear and has all of them.
        """
        ordered = np.sort(np.clip(np.asarray(values, dtype=float), -_MOST, _MOST))
        low, high = (float(ordered[0]), float(ordered[-1])) if len(ordered) else (0.0, 1.0)
        if len(ordered) >= 5 and lower_is_better is not None:
            if lower_is_better:
                high = min(high, _cut(low, float(np.quantile(ordered, 0.9))))
            else:
                low = max(low, -_cut(-high, -float(np.quantile(ordered, 0.1))))
        self.log = lower_is_better is not None and low > _LEAST and high / low > _LOG_SPAN
        if not high - low > max(_LEAST, 1e-9 * max(abs(low), abs(high))):
            room = abs(low) * 0.05 if abs(low) > _LEAST else 0.5
            low, high = low - room, high + room
        elif self.log:
            room = (high / low) ** 0.04
            low, high = low / room, high * room
        else:
            low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
        self.low, self.high = low, high
        self._positions = positions

    def is_beyond(self, value: float) -> bool:
        """Whether a value lies outside the range."""
        return not self.low <= min(max(value, -_MOST), _MOST) <= self.high

    def at(self, value: float) -> float:
        """The position of a value."""
        value = min(max(value, self.low), self.high)
        start, end = self._positions
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(start + share * (end - start), 1)

    def ticks(self, whole: bool = False) -> tuple[Tick, ...]:
        """Round numbers within the range."""
        values = _log_steps(self.low, self.high) if self.log else _steps(self.low, self.high, whole)
        step = values[1] - values[0] if len(values) > 1 and not self.log else None
        shown = [f"{one:,.0f}" if whole else figure(one) if step is None else tick(one, step) for one in values]
        return tuple(map(Tick, map(self.at, values), shown))


def trials_chart(
    points: Sequence[Point], objective: Objective, finals: Sequence[Point] = (), expected: float | None = None
) -> Chart | None:
    """Every trial's metric over its number, and the best so far; None where no trial has a metric.

    Args:
        points: The trials by number; failed ones have no metric.
        objective: The metric and its goal.
        finals: Final models, drawn to the right of the trials.
        expected: What random search is expected to reach, as a line.
    """
    lower = objective.less_is_better
    values = [point.y for point in (*points, *finals) if point.y is not None]
    if not values:
        return None
    down, up = HEIGHT - BOTTOM, TOP
    # Values off the scale are drawn in a separate band, on the worse side.
    band = float(up + 4 if lower else down - 4)
    y = Scale(
        [*values, *([] if expected is None else [expected])],
        (down, up + _BAND) if lower else (down - _BAND, up),
        lower,
    )
    x = _Numbers(max(point.x for point in (*points, *finals)))
    tooltips = len(points) <= MOST_TOOLTIPS
    beyond, marks = [], []
    for point in (*points, *finals):
        at = band
        if point.y is not None and y.is_beyond(point.y):
            beyond.append(point.y)
        elif point.y is not None:
            at = y.at(point.y)
        marks.append(Mark(_outline(point.kind, x.at(point.x), at), point.kind, point.label if tooltips else ""))
    lines = [_best_so_far(points, objective, x, y)]
    if expected is not None:
        lines.append(Line(f"M{LEFT} {y.at(expected)}H{WIDTH - RIGHT}", "expected", "random search, expected"))
    present = [point.kind for point in (*points, *finals)]
    note = ""
    if beyond:
        worst = max(beyond) if lower else min(beyond)
        many = f"{len(beyond)} trials are" if len(beyond) > 1 else "One trial is"
        note = f"{many} off the scale, the worst with {figure(worst)}."
    return Chart(
        title=f"validation {objective.metric} of every trial, and the best so far",
        x_label="trial",
        y_label=_y_label(objective, y),
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        marks=tuple(sorted(marks, key=lambda mark: list(SHAPES).index(mark.kind))),
        lines=tuple(lines),
        kinds=tuple((kind, present.count(kind)) for kind in SHAPES if kind in present),
        crowded=len(points) > _CROWD,
        band=Tick(band, "off scale" if beyond else "failed") if beyond or "failed" in present else None,
        note=note,
    )


def curves_chart(curves: Sequence[tuple[str, Sequence[tuple[int, float]]]], objective: Objective) -> Chart | None:
    """Validation during training, a line for each trial; None where no trial was evaluated twice.

    Args:
        curves: The trials' names and evaluations: (step, metric).
        objective: The metric and its goal.
    """
    drawn = [(name, points) for name, points in curves if len(points) > 1]
    if not drawn:
        return None
    y = Scale([value for _, points in drawn for _, value in points], (HEIGHT - BOTTOM, TOP), objective.less_is_better)
    steps = [step for _, points in drawn for step, _ in points]
    x = Scale([0, max(steps)], (LEFT, WIDTH - RIGHT))
    lines = []
    for number, (name, points) in enumerate(drawn):
        positions = [(x.at(step), y.at(value)) for step, value in points]
        path = "M" + "L".join(f"{across} {down}" for across, down in positions)
        lines.append(Line(path, f"curve-{number}", name, positions[-1]))
    return Chart(
        title=f"validation {objective.metric} during training",
        x_label="training step",
        y_label=_y_label(objective, y),
        x_ticks=x.ticks(whole=True),
        y_ticks=y.ticks(),
        marks=(),
        lines=tuple(lines),
    )


def outline(kind: str) -> str:
    """A mark of that kind in the middle of a 16 by 16 drawing, for the legend."""
    return _outline(kind, 8, 8)


class _Numbers(Scale):
    """The axis of trial numbers, from 1."""

    def __init__(self, last: float):
        super().__init__([1, max(last, 2)], (LEFT, WIDTH - RIGHT))

    def ticks(self, whole: bool = True) -> tuple[Tick, ...]:
        """The first trial, and round numbers."""
        found = [tick for tick in super().ticks(whole) if tick.text not in ("0", "1")]
        return (Tick(self.at(1), "1"), *(tick for tick in found if tick.at > self.at(1) + 24))


def _outline(kind: str, x: float, y: float) -> str:
    shape, _, origin = SHAPES[kind].partition("@")
    across, down = map(float, origin.split(","))
    return f"M{x + across:.1f} {y + down:.1f}{shape}"


def _best_so_far(points: Sequence[Point], objective: Objective, x: Scale, y: Scale) -> Line:
    best: float | None = None
    path = ""
    for point in points:
        if point.y is not None and objective.better(point.y, best):
            best = point.y
            at = f"{x.at(point.x)}"
            path += f"H{at}V{y.at(point.y)}" if path else f"M{at} {y.at(point.y)}"
    return Line(f"{path}H{x.at(points[-1].x)}" if path else "", "best", "best so far")


def _y_label(objective: Objective, scale: Scale) -> str:
    how = "lower is better" if objective.less_is_better else "higher is better"
    return f"validation {objective.metric} ({how}{', logarithmic' if scale.log else ''})"


def _cut(best: float, nearly_worst: float) -> float:
    """Beyond what a value is drawn on the edge; `best` is the least value."""
    if best > _LEAST and nearly_worst / best > _LOG_SPAN:
        return nearly_worst * (nearly_worst / best) ** _ROOM
    return nearly_worst + _ROOM * (nearly_worst - best)


def _steps(low: float, high: float, whole: bool) -> list[float]:
    """Three to eight round numbers between the ends."""
    raw = (high - low) / 7
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def _log_steps(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 3) if len(powers) < 5 else (1,)
    every = max(1, len(powers) // 8)
    found = [factor * 10.0**power for power in powers if power % every == 0 for factor in factors]
    return [value for value in found if low <= value <= high]
