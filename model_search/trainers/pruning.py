"""Deletes weights and logits of trials that will not be needed again, so that a long search does not fill the disk."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable

from model_search.errors import StoreError
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.final_models import KEEP_MODELS
from model_search.metadata.store import Store
from model_search.metadata.trial import StartKind, TrialKind, TrialPlan
from model_search.search.history.history import History
from model_search.search.planning.evaluation_schedule import Ladder, is_short
from model_search.search.planning.transfer import MOST_SOURCES

_RECENT = 100  # last trials; new trials may build on the same ones as they did
_SLACK = 20  # a twentieth more than are kept, so that not every trial causes a scan
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Keeping:
    """How much a study keeps on disk.

    Attributes:
        models: Trials that keep their files, the best ones.
        size: Bytes that these files may take; None for no limit.
    """

    models: int = KEEP_MODELS
    size: int | None = None


class Pruner:
    """Prunes the files of a study.

    Kept are the best trials, and the best of those that trained a tower by itself; of any rank, all that a kept or an
    unfinished trial, one of the last hundred, or a final model builds on; of each rung that an evaluation schedule may
    still continue, the best hundred (or `models`, if more); where new towers start from the mean of earlier ones, the
    latest and the best hundred towers; and whatever a replay specification trained.

    Args:
        store: Records what is pruned.
        artefacts: The files of trials.
        history: All trials; the caller keeps it up to date.
        keeping: The limits.
    """

    def __init__(self, store: Store, artefacts: ArtefactStore, history: History, keeping: Keeping):
        self._store = store
        self._artefacts = artefacts
        self._history = history
        self._keeping = keeping
        self._seen = 0
        self._ladder = Ladder(history.ranking)
        self._climbed = 0
        self._sizes: dict[int, int] = {}

    def prune(self) -> list[int]:
        """Deletes files beyond the limits, those of the worst trials first; returns the ids of these trials.

        If all remaining files are needed, the limits are exceeded.
        """
        self._take_in()
        keeping, size = self._keeping, sum(self._sizes.values())
        too_large = keeping.size is not None and size > keeping.size
        if len(self._sizes) <= keeping.models + keeping.models // _SLACK and not too_large:
            return []
        needed = self._needed()
        best = [trial.id for trial in (*self._history.best(keeping.models), *self._history.towers.best(keeping.models))]
        ranked = list(dict.fromkeys(number for number in best if number in self._sizes))
        kept = needed | self._with_members(ranked)
        chosen = [number for number in self._sizes if number not in kept]
        if keeping.size is not None:
            size -= sum(self._sizes[number] for number in chosen)
            found = [trial for number in ranked if (trial := self._history.get(number)) is not None]
            order = [trial.id for trial in reversed(self._history.ranking.order(found))]
            for place, number in enumerate(order[:-1]):
                if size <= keeping.size:
                    break
                if number not in needed | self._with_members(order[place + 1 :]):
                    chosen.append(number)
                    size -= self._sizes[number]
        return self._delete(sorted(chosen))

    def _take_in(self) -> None:
        for trial in self._history.latest(self._history.completed_count - self._seen):
            left = [artefact.size for artefact in trial.artefacts if not artefact.pruned]
            if left:
                self._sizes[trial.id] = sum(left)
        self._seen = self._history.completed_count
        changes = self._history.changes(self._climbed)
        self._ladder.update(changes)
        self._climbed += len(changes)

    def _needed(self) -> set[int]:
        """Trials that must keep their files whatever their rank."""
        history = self._history
        plans = [trial.plan for trial in (*history.unfinished, *history.latest(_RECENT))]
        found = {number for plan in plans if plan is not None for number in plan.builds_on}
        if any(_averages(plan) for plan in plans):
            towers = history.towers
            found |= {trial.id for trial in (*towers.latest(MOST_SOURCES), *towers.best(MOST_SOURCES))}
        for model in self._store.final_models():
            found |= {member.trial for member in model.members}
        for number in self._sizes:
            trial = history.get(number)
            if trial is not None and trial.plan is not None and trial.plan.kind is TrialKind.REPLAY:
                found.add(number)
        brackets = {plan.bracket for plan in plans if plan is not None and is_short(plan)}
        return self._with_members(found | self._ladder.waiting(brackets, max(self._keeping.models, _RECENT)))

    def _with_members(self, numbers: Iterable[int]) -> set[int]:
        """Trials and those whose towers are part of them."""
        found: set[int] = set()
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            found.add(number)
            trial = self._history.get(number)
            if trial is not None and trial.plan is not None:
                waiting += trial.plan.members
        return found

    def _delete(self, numbers: list[int]) -> list[int]:
        if not numbers:
            return []
        pruned = self._store.prune(numbers)
        for artefact in pruned:
            try:
                self._artefacts.delete(artefact)
            except StoreError as error:
                _LOG.warning("%s", error)
        gone = {artefact.path for artefact in pruned}
        deleted = [number for number in numbers if self._is_gone(number, gone)]
        for number in deleted:
            del self._sizes[number]
        _LOG.info("the files of %d trials were deleted to save room: %s", len(deleted), deleted)
        return deleted

    def _is_gone(self, number: int, files: Collection[str]) -> bool:
        """Whether a trial's files are among these, or were deleted before; it keeps them where they are needed now."""
        trial = self._history.get(number)
        if trial is not None and any(artefact.path in files for artefact in trial.artefacts):
            return True
        return all(artefact.pruned for artefact in self._store.trial(number).artefacts)


def _averages(plan: TrialPlan | None) -> bool:
    """Whether a tower starts from the weights of trials that fit."""
    return plan is not None and plan.start is not None and plan.start.kind is StartKind.AVERAGE
