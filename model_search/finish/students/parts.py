"""A part of an ensemble that is small enough to be its student: one of its forests, or some of its trees.

Where trees are most of an ensemble, a small network follows it less well than a third of them does (ensemble pruning;
Margineantu and Dietterich, "Pruning Adaptive Boosting", ICML 1997). Of averaged trees any number will do; of a bag of
boosted trees, some of the models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from model_search.finish.final_ensemble import StudyParts
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import TrialKind
from model_search.towers.classic_arrays import ClassicArrays, first_trees, parameters_of
from model_search.training.folds.bags import name_in_fold, weights_by_fold
from model_search.training.outcome import TrainedTower


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of an ensemble.

    Attributes:
        tower: Its plan and its weights.
        parameters: How many numbers it has.
        note: Which part it is, for people.
    """

    tower: TrainedTower
    parameters: int
    note: str

    @property
    def of_trial(self) -> int:
        """The trial that it is a part of."""
        return int(self.tower.plan.parent or 0)


def parts_of(study: StudyParts, teacher: FinalModel, most_parameters: int) -> Iterator[Part]:
    """For each classic model of an ensemble, as much of it as is small enough, with the weights it answers with.

    Args:
        study: The study.
        teacher: Its final ensemble.
        most_parameters: Of a part.

    Raises:
        StudyError: if a model's arrays are gone.
    """
    from model_search.finish.study_models import StudyModels

    for member in teacher.members:
        trial = study.history.get(member.trial)
        if trial is not None and trial.plan is not None and trial.plan.classic is not None:
            tower = StudyModels(study).answering(member.trial)
            found = part_of(tower, most_parameters, 1 + max(study.completed))
            if found is not None:
                yield found


def part_of(tower: TrainedTower, most_parameters: int, trial_id: int) -> Part | None:
    """As much of a classic model as is small enough; None where there is none.

    Args:
        tower: The model, or a bag of them.
        most_parameters: Of the part.
        trial_id: A number above all trials, for the plan.
    """
    plan = tower.plan
    every: Sequence[ClassicArrays] = weights_by_fold(tower) if plan.folds else [tower.weights]
    kept = _some_trees(every, most_parameters) if "leaf" in every[0] else _some_models(every, most_parameters)
    if not kept:
        return None
    folds = len(kept) if len(kept) > 1 else 0
    weights: dict[str, np.ndarray] = {}
    for fold, arrays in enumerate(kept):
        weights |= {name_in_fold(fold, name) if folds else name: array for name, array in arrays.items()}
    made = dataclasses.replace(
        plan,
        trial_id=trial_id,
        kind=TrialKind.BAGGING if folds else TrialKind.CLASSIC,
        folds=folds,
        parent=plan.trial_id,
        key="student",
    )
    return Part(
        TrainedTower(made, weights), sum(map(parameters_of, kept)), f"it is {_share(every, kept)}{plan.trial_id}"
    )


def _some_trees(every: Sequence[ClassicArrays], most_parameters: int) -> list[ClassicArrays]:
    """Of each forest the first trees, in the same share; forests of which no tree fits are left out."""
    share = min(1.0, most_parameters / sum(map(parameters_of, every)))
    kept: list[ClassicArrays] = []
    for arrays in every:
        ends = np.append(arrays["root"][1:], len(arrays["feature"]))
        count = int(np.searchsorted(ends, share * len(arrays["feature"]), side="right"))
        if count:
            kept.append(first_trees(arrays, count))
    return kept


def _some_models(every: Sequence[ClassicArrays], most_parameters: int) -> list[ClassicArrays]:
    """The first models of a bag."""
    ends = np.cumsum([parameters_of(arrays) for arrays in every])
    return list(every[: int(np.searchsorted(ends, most_parameters, side="right"))])


def _share(every: Sequence[ClassicArrays], kept: Sequence[ClassicArrays]) -> str:
    """How much of a trial was kept, for people: "12 of 60 trees of trial "."""
    trees, whole = (sum(len(arrays["root"]) for arrays in some if "leaf" in arrays) for some in (kept, every))
    if trees < whole:
        return f"{trees} of {whole} trees of trial "
    return f"{len(kept)} of {len(every)} models of trial " if len(kept) < len(every) else "trial "
