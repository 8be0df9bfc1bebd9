"""Transfer learning: the trained weights that a new tower starts from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_search.metadata.paths import WEIGHTS
from model_search.metadata.trial import StartKind, Trial, TrialKind, TrialPlan, WarmStart
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

MOST_SOURCES = 100  # of an average; a study keeps the files of so many for it
_UNIFORM, _SNAPSHOT, _BY_LOSS = (
    "UNIFORM_AVERAGE_TRANSFER_LEARNING",
    "SNAPSHOT_TRANSFER_LEARNING",
    "LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING",
)
_FRESH_KINDS = (TrialKind.REPLAY, TrialKind.LONGER, TrialKind.BAGGING, TrialKind.CLASSIC)


@dataclasses.dataclass(frozen=True)
class GivenTower:
    """A trained model that was given to a study (`warm_start_from`).

    Attributes:
        name: Its name in the study.
        architecture: Its blocks; empty where they are not known, as of a Keras model of other origin.
    """

    name: str
    architecture: Architecture = ()


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How new towers start: from weights of earlier trials, from given ones, or fresh.

    The three kinds are those of the archived system: the plain mean of the latest towers, the weights of the parent
    alone, and a mean in which the better ones count more, by the softmax of their negative loss. What fits goes by
    block, occurrence and shape (`towers/weight_names.py`); it is averaged over the towers that have it, and the rest
    is fresh.

    Attributes:
        kind: Name of the `TransferLearningType`; empty for none.
        discount: What weights are multiplied by for each trial since then.
        most: Towers in an average.
        given: Models that were given to the study. A tower starts from one of them where it starts from no trial.
    """

    kind: str = ""
    discount: float = 1.0
    most: int = MOST_SOURCES
    given: tuple[GivenTower, ...] = ()

    @classmethod
    def of(cls, spec: PhoenixSpec, given: Sequence[GivenTower] = ()) -> Transfer:
        """What a specification asks for."""
        settings = spec.transfer_learning_spec
        name = type(settings).TransferLearningType.Name(settings.transfer_learning_type)
        kind = name if name in (_UNIFORM, _SNAPSHOT, _BY_LOSS) else ""
        most = min(settings.max_completed_trials, MOST_SOURCES)
        return cls(kind, settings.previous_trials_discount_factor, most, tuple(given))

    def started(self, plan: TrialPlan, history: History) -> TrialPlan:
        """The plan with the weights that its tower starts from; as it is where it has some, or trains no tower.

        Args:
            plan: A plan.
            history: What was completed among the trials before it.
        """
        if plan.start is not None or not plan.architecture or plan.folds or plan.kind in _FRESH_KINDS:
            return plan
        start = self._from_trials(plan, history) or self._from_given(plan)
        return plan if start is None else dataclasses.replace(plan, start=start, random=False)

    def _from_trials(self, plan: TrialPlan, history: History) -> WarmStart | None:
        if not self.kind:
            return None
        towers = history.towers
        if self.kind == _SNAPSHOT:
            parent = None if plan.parent is None else towers.get(plan.parent)
            found = [parent] if parent is not None else []
        elif self.kind == _UNIFORM:
            found = sorted(towers.latest(towers.completed_count), key=lambda trial: -trial.id)
        else:
            found = towers.best(towers.completed_count)
        found = [trial for trial in found if _fits(trial, plan.architecture)][: self.most]
        if not found:
            return None
        shares = _softmax([-_loss(trial, history) for trial in found]) if self.kind == _BY_LOSS else [1.0] * len(found)
        kept = sorted((trial.id, share) for trial, share in zip(found, shares, strict=True) if share > 0)
        return WarmStart(
            StartKind.AVERAGE, tuple(number for number, _ in kept), tuple(share for _, share in kept), self.discount
        )

    def _from_given(self, plan: TrialPlan) -> WarmStart | None:
        """The given tower with the most blocks in common from the input on, and then anywhere; the first of equals."""
        if not self.given:
            return None
        best = max(self.given, key=lambda tower: _common(tower.architecture, plan.architecture))
        if best.architecture and not _common(best.architecture, plan.architecture)[1]:
            return None
        return WarmStart(StartKind.GIVEN, source=best.name)


def _fits(trial: Trial, architecture: Architecture) -> bool:
    """Whether the weights of a completed trial are there, and may fit: it has a block in common with the tower."""
    plan = trial.plan
    stored = {artefact.name for artefact in trial.artefacts if not artefact.pruned}
    return (
        plan is not None
        and plan.trains_one_tower
        and WEIGHTS in stored
        and bool({*plan.architecture} & {*architecture})
    )


def _common(first: Architecture, second: Architecture) -> tuple[int, int]:
    """The blocks from the input on that two towers have in common, and those that they have anywhere."""
    pairs = enumerate(zip(first, second, strict=False))
    beginning = next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))
    return beginning, sum(min(first.count(name), second.count(name)) for name in set(first))


def _loss(trial: Trial, history: History) -> float:
    """The validation loss of a trial; where it has none, what it is ranked by."""
    return trial.metrics["loss"] if "loss" in trial.metrics else history.loss(trial)


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]
