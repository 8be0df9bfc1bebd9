"""How long bags take, from what single trainings and earlier bags have taken on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from model_search.metadata.trial import Trial
from model_search.search.history.history import History

_SHARE = 0.75  # of the seconds of as many single trainings; towers of a bag keep all cores busy
_MARGIN = 1.15  # of an estimate, to be kept


class BagSeconds:
    """Estimates the seconds of a bag.

    Args:
        history: All trials; bags among them tell how far the estimates were off.
        folds: How many folds a bag has.
    """

    def __init__(self, history: History, folds: int):
        self._folds = folds
        self._ratios: dict[bool, list[float]] = {True: [], False: []}
        for bag in history.completed:
            if bag.plan is None or bag.plan.folds != folds or bag.result is None or bag.result.stopped_at is not None:
                continue
            single = None if bag.plan.parent is None else history.get(bag.plan.parent)
            if single is not None and (alone := _seconds(single)):
                self._ratios[bag.plan.classic is not None].append(_seconds(bag) / (folds * alone))

    def of(self, trial: Trial) -> float:
        """The seconds of the bag of a trial; infinite if it is not known how long that has taken."""
        alone = _seconds(trial)
        if not alone or trial.plan is None:
            return float("inf")
        known = self._ratios[trial.plan.classic is not None]
        ratio = statistics.median(known) if known else _SHARE
        return self._folds * ratio * alone * _MARGIN

    def fitting(self, trials: Sequence[Trial], seconds: float, most: float) -> list[Trial]:
        """Those whose bags fit into some seconds one after the other.

        Args:
            trials: In this order; each whose bag does not fit behind those before it is left out.
            seconds: Of all bags.
            most: Seconds of one bag.
        """
        found = []
        for trial in trials:
            needed = self.of(trial)
            if needed <= min(most, seconds):
                found.append(trial)
                seconds -= needed
        return found


def _seconds(trial: Trial) -> float:
    timings = {} if trial.result is None else trial.result.timings
    return timings.get("trial", timings.get("total", 0.0))
