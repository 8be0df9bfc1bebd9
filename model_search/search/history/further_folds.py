"""Figures over several folds: a trial that was trained again on further folds is compared by the mean of all."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from model_search.metadata.trial import Trial

Part = tuple[int, ...]  # the folds that were left out together


class FurtherFolds:
    """What trials have reached on further folds, beside the validation rows that all of them have.

    Some folds are easier than others. A trial's figure on one is therefore set off by how much easier it was, in the
    mean, for all trials that have it: the figures of trials with further folds and of those without stay comparable.
    A trial's figure is the mean over its validation rows and its further folds; each counts once.

    Args:
        metrics: The metrics that are compared.
    """

    def __init__(self, metrics: Iterable[str]):
        self._metrics = tuple(metrics)
        self._found: dict[int, dict[Part, Mapping[str, float]]] = defaultdict(dict)
        self._alone: dict[int, Trial] = {}

    def __len__(self) -> int:
        """How many trials on further folds there are."""
        return sum(map(len, self._found.values()))

    def add(self, alone: Trial, on_folds: Trial) -> None:
        """Takes in a trial on further folds.

        Args:
            alone: The trial that it repeats, with the figures of the validation rows.
            on_folds: The trial on further folds.
        """
        if on_folds.plan is not None and all(name in on_folds.metrics for name in self._metrics):
            self._alone[alone.id] = alone
            self._found[alone.id][on_folds.plan.left_out] = on_folds.metrics

    def parts(self, trial_id: int) -> tuple[Part, ...]:
        """The further folds of a trial; empty where it has none."""
        return tuple(self._found.get(trial_id, ()))

    def differences(self, one: int, other: int, metric: str) -> list[float]:
        """By how much the metric of one trial is above that of another one, on each part that they share."""
        if one not in self._alone or other not in self._alone:
            return []
        shared = [part for part in self._found[one] if part in self._found[other]]
        on_folds = [self._found[one][part][metric] - self._found[other][part][metric] for part in shared]
        return [self._alone[one].metrics[metric] - self._alone[other].metrics[metric], *on_folds]

    def judged(self) -> list[Trial]:
        """The trials that have further folds, with the figures by which they are compared in place of their own."""
        easier = {name: self._easier(name) for name in self._metrics}
        return [
            _with_metrics(alone, {name: self._figure(alone, name, easier[name]) for name in self._metrics})
            for alone in self._alone.values()
        ]

    def copy(self) -> FurtherFolds:
        """One that does not change with this one."""
        taken = FurtherFolds(self._metrics)
        taken._alone = dict(self._alone)
        for number, parts in self._found.items():
            taken._found[number] = dict(parts)
        return taken

    def _easier(self, metric: str) -> dict[Part, float]:
        """By how much the metric is higher on each part than on the validation rows, in the mean over its trials."""
        above: dict[Part, list[float]] = defaultdict(list)
        for number, parts in self._found.items():
            for part, found in parts.items():
                above[part].append(found[metric] - self._alone[number].metrics[metric])
        return {part: fmean(values) for part, values in above.items()}

    def _figure(self, alone: Trial, metric: str, easier: Mapping[Part, float]) -> float:
        on_folds = [found[metric] - easier[part] for part, found in self._found[alone.id].items()]
        return fmean([alone.metrics[metric], *on_folds])


def _with_metrics(trial: Trial, metrics: Mapping[str, float]) -> Trial:
    if trial.result is None:
        raise ValueError(f"trial {trial.id} is {trial.state}; expected a completed one")
    return dataclasses.replace(
        trial, result=dataclasses.replace(trial.result, metrics={**trial.result.metrics, **metrics})
    )
