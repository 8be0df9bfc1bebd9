"""Replay: the towers that a spec records are trained again, and combined as its `ensemble_spec` says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.errors import SpaceExhaustedError
from model_search.metadata.trial import TrialKind
from model_search.search.history.history import History
from model_search.search.planning.ensembling import Composition, Ensembling
from model_search.search.planning.suggestions import Suggestion, read_hparams, read_towers
from model_search.search.space.architecture import problem_type_of

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@dataclasses.dataclass(frozen=True)
class Replay:
    """The towers to train again, one a trial.

    Attributes:
        towers: The towers; where members are drawn, the last one stands for their ensemble and has no blocks.
        ensembling: How they are combined; None where each is trained by itself.
    """

    towers: tuple[Suggestion, ...]
    ensembling: Ensembling | None = None

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Replay | None:
        """What a spec asks for; None where it asks for none.

        Raises:
            SpecError: if a tower has no block, or a hyperparameter that is a list.
        """
        given = list(spec.replay.towers)
        if not given:
            return None
        ensembling = Ensembling.of(spec) if len(given) > 1 else None
        combined = () if ensembling is None or ensembling.is_grown else given[-1:]
        trained = given[: len(given) - len(combined)]
        towers = read_towers(trained, problem_type_of(spec), "replayed tower")
        return cls((*towers, *(Suggestion((), read_hparams(tower.hparams)) for tower in combined)), ensembling)

    def step(self, trial_id: int, history: History) -> tuple[Suggestion, Composition]:
        """What a trial trains, and what it builds on.

        Args:
            trial_id: The trial; its number is that of the tower.
            history: What was completed before. A tower that failed is left out of what follows.

        Raises:
            SpaceExhaustedError: if all towers have had their trial, or none is completed that could be combined.
        """
        if trial_id > len(self.towers):
            raise SpaceExhaustedError(f"all {len(self.towers)} towers of the replay have had their trial")
        tower = self.towers[trial_id - 1]
        members = self._members(history, grown=bool(tower.architecture))
        if not members and not tower.architecture:
            raise SpaceExhaustedError("no tower of the replay is completed, so that there is nothing to combine")
        if self.ensembling is None or not members:
            return tower, Composition(TrialKind.REPLAY)
        return tower, self.ensembling.composition(members, TrialKind.REPLAY)

    def _members(self, history: History, *, grown: bool) -> tuple[int, ...]:
        if self.ensembling is None:
            return ()
        earlier = sorted(trial.id for trial in history.completed)
        if not self.ensembling.is_grown:
            return () if grown else tuple(earlier)
        latest = history.get(earlier[-1]) if earlier else None
        return () if latest is None or latest.plan is None else latest.plan.towers
