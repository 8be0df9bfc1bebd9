"""Longer training: the tower of a completed trial is trained further than the search trained it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_search.augmentations import AUGMENTATIONS, FLIP, PREFIX, TEST_TIME_FLIP
from model_search.errors import UserError
from model_search.metadata.limits import MOST_STEPS
from model_search.metadata.paths import OPTIMIZER
from model_search.metadata.trial import HyperparameterValue, StartKind, Trial, TrialKind, TrialPlan, WarmStart

FLIPS = f"{PREFIX}{FLIP}"
CYCLE_SHARE = 0.25  # of the steps, over which the learning rate rises
_SCHEDULES = ("cooldown_share", "one_cycle_share", "exponential_decay_rate", "exponential_decay_steps")


@dataclasses.dataclass(frozen=True)
class LongerTraining:
    """How a tower is trained further.

    Attributes:
        steps: Steps besides those that it was trained for.
        one_cycle: Whether the learning rate rises and falls once more, in place of the trial's own schedule.
        augmentations: Those of the specification. A trial without any gets them all, at their least strength, but for
            those that may change labels; one that has some keeps them as they are.
        patience: Evaluations, one an epoch, without a better one, after which it ends; 0 for no such limit.
        may_flip: Whether mirrored pictures are of the same class: a trial that does not mirror any does so now. What is
            trained with mirrored pictures answers for a picture and its mirror image together.
    """

    steps: int
    one_cycle: bool = True
    augmentations: tuple[str, ...] = ()
    patience: int = 0
    may_flip: bool = False

    def __post_init__(self) -> None:
        if type(self.steps) is not int or not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"steps is {self.steps!r}; expected a whole number from 1 to {MOST_STEPS:,}")


def continuation(trial: Trial) -> WarmStart:
    """How the training of a completed trial goes on: with the state of its optimizer, where that is stored."""
    stored = {artefact.name for artefact in trial.artefacts if not artefact.pruned}
    return WarmStart(StartKind.RESUME if OPTIMIZER in stored else StartKind.CONTINUE, (trial.id,))


def longer_plan(trial_id: int, trial: Trial, how: LongerTraining) -> TrialPlan:
    """The plan that trains a completed trial's tower further, on all rows.

    Args:
        trial_id: The new trial.
        trial: The trial to go on from.
        how: How it is trained.

    Raises:
        UserError: if the trial is not completed, or trains no tower by itself on the labels.
    """
    before, result = trial.plan, trial.result
    if before is None or result is None:
        raise UserError(f"trial {trial.id} is {trial.state}; only a completed trial can be trained longer")
    if not before.can_train_longer:
        others = ", ".join(map(str, before.members or before.teacher))
        hint = f"; choose one of its towers: trials {others}" if others else "; choose another trial"
        raise UserError(f"trial {trial.id} ({before.kind}) trains no tower by itself on the labels{hint}")
    taken = before.steps if result.stopped_at is None else result.stopped_at
    if not 0 < taken <= MOST_STEPS - how.steps:
        raise UserError(
            f"trial {trial.id} was trained for {taken:,} steps, and {how.steps:,} more are asked for; expected at "
            f"least 1 step before, and {MOST_STEPS:,} at most in all"
        )
    patience = f" patience {how.patience}" if how.patience else ""
    return dataclasses.replace(
        before,
        trial_id=trial_id,
        kind=TrialKind.LONGER,
        hyperparameters=_hyperparameters(before.hyperparameters, how),
        steps=taken + how.steps,
        key=f"{before.key} longer {how.steps}{' one cycle' if how.one_cycle else ''}{patience}",
        parent=trial.id,
        start=continuation(trial),
        random=False,
        rung=0,
        first_step=taken,
        total_steps=None,
        row_share=1.0,
        bracket=0,
        patience=how.patience,
    )


def _hyperparameters(before: Mapping[str, HyperparameterValue], how: LongerTraining) -> dict[str, HyperparameterValue]:
    found = dict(before)
    if how.one_cycle:
        found = {name: value for name, value in found.items() if name not in _SCHEDULES}
        found["one_cycle_share"] = CYCLE_SHARE
    if not any(found.get(f"{PREFIX}{name}") for name in how.augmentations):
        for name in how.augmentations:
            if not AUGMENTATIONS[name].can_change_labels:
                found[f"{PREFIX}{name}"] = _least_strength(name)
    if FLIP in how.augmentations:
        if how.may_flip and not found.get(FLIPS):
            found[FLIPS] = _least_strength(FLIP)
        if found.get(FLIPS):
            found[TEST_TIME_FLIP] = 1
    return found


def _least_strength(augmentation: str) -> float:
    return min(strength for strength in AUGMENTATIONS[augmentation].strengths if strength > 0)
