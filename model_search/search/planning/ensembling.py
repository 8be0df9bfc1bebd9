"""When a study ensembles and distils, and with which trials; the planner asks here.

Every rule is a pure function of the trial's number and of what was completed before it. `docs/ensembles.md` shows what
comes out.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.metadata.trial import DistillationPlan, EnsemblePlan, Trial, TrialKind
from model_search.proto.distillation_spec_pb2 import DistillationSpec
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.search.history.history import History

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_DIGITS = 7  # of the float32 fields of a spec
_FEWEST_MEMBERS = 2

_COMBININGS = {"WEIGHTED_ENSEMBLE": "weighted", "AVERAGE_ENSEMBLE": "average", "UNKNOWN_ENSEMBLING_TYPE": "average"}
SEARCHES = {
    "NONADAPTIVE_ENSEMBLE_SEARCH": "nonadaptive",
    "ADAPTIVE_ENSEMBLE_SEARCH": "adaptive",
    "RESIDUAL_ENSEMBLE_SEARCH": "residual",
    "INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH": "intermixed",
}
LOSSES = {
    "MSE_LOGITS": "mse_logits",
    "MSE_SOFTMAX": "mse_softmax",
    "CROSS_ENTROPY": "cross_entropy",
    "ADAPTIVELY_BALANCE_LOSSES": "balanced",
}


@dataclasses.dataclass(frozen=True)
class Composition:
    """What a trial builds on beside its own tower.

    Attributes:
        kind: What the trial is for.
        members: Trials whose towers take part, by id.
        teacher: Trials whose towers are the teacher, by id.
        warm_start: The trial whose weights the tower starts from.
        ensemble: How the members are combined.
        distillation: How the student learns from the teacher.
    """

    kind: TrialKind
    members: tuple[int, ...] = ()
    teacher: tuple[int, ...] = ()
    warm_start: int | None = None
    ensemble: EnsemblePlan | None = None
    distillation: DistillationPlan | None = None

    def key(self, tower: str = "") -> str:
        """What a trial tries, so that nothing is tried twice.

        Args:
            tower: The key of the trial's own tower; empty where it has none.
        """
        parts = []
        if self.ensemble is not None:
            how = "residual" if self.ensemble.residual else "ensemble"
            tuned = "" if self.ensemble.freeze else "tuned:"
            parts.append(f"{how}:{self.ensemble.combining}:{tuned}{_listed(self.members)}")
        if self.distillation is not None:
            start = "" if self.warm_start is None else f"from {self.warm_start}:"
            parts.append(f"distillation:{self.distillation.loss}:{start}{_listed(self.teacher)}")
        return ":".join([*parts, tower] if tower else parts)


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


@dataclasses.dataclass(frozen=True)
class Ensembling:
    """The `ensemble_spec` of a search.

    Attributes:
        search: "nonadaptive", "adaptive", "residual" or "intermixed".
        combining: "average" or "weighted".
        freeze: Whether members stay as they are.
        pool_size: Trials before the first ensemble; without meaning for "intermixed".
        every: "intermixed": every so many trials is an ensemble. "adaptive" and "residual": after so many trials the
            best one so far becomes what new towers are added to.
        width: Members of an ensemble ("nonadaptive", "intermixed").
        considered: They are drawn from the best so many.
    """

    search: str
    combining: str
    freeze: bool
    pool_size: int = 0
    every: int = 1
    width: int = 0
    considered: int = 0

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Ensembling | None:
        """What a spec asks for; None where it asks for none."""
        given = spec.ensemble_spec
        search = SEARCHES.get(EnsemblingSpec.EnsembleSearchType.Name(given.ensemble_search_type))
        if search is None:
            return None
        combining = _COMBININGS[EnsemblingSpec.CombiningType.Name(given.combining_type)]
        if search == "nonadaptive":
            drawn = given.nonadaptive_search
            return cls(
                search,
                combining,
                given.freeze_previous,
                pool_size=drawn.minimal_pool_size,
                width=drawn.width,
                considered=drawn.num_trials_to_consider,
            )
        if search == "intermixed":
            mixed = given.intermixed_search
            return cls(
                search,
                combining,
                given.freeze_previous,
                every=mixed.try_ensembling_every,
                width=mixed.width,
                considered=mixed.num_trials_to_consider,
            )
        grown = given.adaptive_search
        return cls(
            search,
            combining,
            given.freeze_previous,
            pool_size=grown.minimal_pool_size,
            every=grown.increase_width_every,
        )

    @property
    def is_grown(self) -> bool:
        """Whether an ensemble is an earlier one and a new tower; otherwise its members are drawn from a pool."""
        return self.search in ("adaptive", "residual")

    def composition(self, members: tuple[int, ...], kind: TrialKind = TrialKind.ENSEMBLE) -> Composition:
        """The composition of these members."""
        how = EnsemblePlan(self.combining, residual=self.search == "residual", freeze=self.freeze)
        return Composition(kind, members=members, ensemble=how)

    def draw(self, history: History, rng: np.random.Generator) -> Composition | None:
        """Members drawn from the best trials of the pool; None where there are too few.

        The pool are the trials that trained a tower by themselves, so that ensembles are never nested.
        """
        pool = history.towers.best(self.considered)
        size = min(self.width, len(pool))
        if size < _FEWEST_MEMBERS:
            return None
        drawn = rng.choice(len(pool), size=size, replace=False)
        return self.composition(tuple(sorted(pool[int(place)].id for place in drawn)))

    def grow(self, trial_id: int, history: History) -> tuple[Composition, History] | None:
        """What a new tower is added to, and the trials that its architecture is searched among.

        Those are the trials since the ensemble was chosen that it is added to. They appear as if their towers had been
        trained alone: what they were added to is the same for all of them.

        Returns:
            None where nothing is completed yet that a tower could be added to.
        """
        chosen_at = trial_id // self.every * self.every
        best = next((trial for trial in history.completed if trial.id <= chosen_at and _is_of_towers(trial)), None)
        if best is None or best.plan is None:
            return None
        window = History(history.ranking)
        since = (history.get(number) for number in range(chosen_at + 1, trial_id))
        window.update(_alone(trial) for trial in since if trial is not None)
        return self.composition(best.plan.towers), window


def _is_of_towers(trial: Trial) -> bool:
    """Whether it is made of single networks: classic models and bags take no part before the final stage."""
    return trial.plan is not None and trial.plan.classic is None and not trial.plan.folds


def _alone(trial: Trial) -> Trial:
    if trial.plan is None or not (trial.plan.architecture and trial.plan.members):
        return trial
    alone = dataclasses.replace(trial.plan, kind=TrialKind.SEARCH, members=(), ensemble=None)
    return dataclasses.replace(trial, plan=alone)


@dataclasses.dataclass(frozen=True)
class Distilling:
    """The `distillation_spec` of a search.

    Attributes:
        loss: As in `DistillationPlan`.
        temperature: Divides the teacher's logits.
        pool_size: Trials before the first student; without meaning beside an intermixed ensemble search.
        ramp: Trials in which lambda goes from `low` to `high`; 0 for `low` throughout.
        low: The first lambda of "balanced".
        high: The last lambda of "balanced".
    """

    loss: str
    temperature: float = 1.0
    pool_size: int = 100
    ramp: int = 0
    low: float = 1.0
    high: float = 1.0

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Distilling | None:
        """What a spec asks for; None where it asks for none."""
        given = spec.distillation_spec
        loss = LOSSES.get(DistillationSpec.DistillationType.Name(given.distillation_type))
        if loss is None:
            return None
        balance = given.balance_losses_spec
        return cls(
            loss=loss,
            temperature=_tidy(given.temperature),
            pool_size=given.minimal_pool_size,
            ramp=balance.num_ramp_trials,
            low=_tidy(balance.minimum_lambda),
            high=_tidy(balance.maximum_lambda),
        )

    def balance(self, trial_id: int) -> float:
        """Lambda of a trial: from `low`, over `ramp` trials past the pool size, to `high`."""
        if self.loss != "balanced":
            return 1.0
        if self.ramp <= 0:
            return self.low
        share = min(max((trial_id - self.pool_size) / self.ramp, 0.0), 1.0)
        return self.low + (self.high - self.low) * share

    def composition(self, trial_id: int, history: History, *, warm: bool) -> Composition | None:
        """The best trial so far as teacher; None where there is none.

        Args:
            trial_id: The student's trial.
            history: What was completed before.
            warm: Whether the student goes on from the weights of the best tower so far.
        """
        best = next(filter(_is_of_towers, history.completed), None)
        if best is None or best.plan is None:
            return None
        student = next(iter(history.towers.best(1)), None) if warm else None
        return Composition(
            TrialKind.DISTILLATION,
            teacher=best.plan.towers,
            warm_start=None if student is None else student.id,
            distillation=DistillationPlan(self.loss, self.temperature, self.balance(trial_id)),
        )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which trial searches, which ensembles and which distils, by its number alone.

    Attributes:
        ensembling: How the study ensembles, if it does.
        distilling: How it distils, if it does.
    """

    ensembling: Ensembling | None = None
    distilling: Distilling | None = None

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Schedule:
        """The schedule that a spec asks for."""
        return cls(Ensembling.of(spec), Distilling.of(spec))

    @property
    def is_intermixed(self) -> bool:
        """Whether ensembles come at regular intervals from the beginning."""
        return self.ensembling is not None and self.ensembling.search == "intermixed"

    def role(self, trial_id: int) -> TrialKind:
        """What a trial is to do; where that is not possible yet, it searches."""
        ensembling, distilling = self.ensembling, self.distilling
        if ensembling is not None and self.is_intermixed:
            if trial_id % ensembling.every == 0:
                return TrialKind.ENSEMBLE
            distils = distilling is not None and trial_id % ensembling.every == 1
            return TrialKind.DISTILLATION if distils else TrialKind.SEARCH
        ensembles = ensembling is not None and trial_id > ensembling.pool_size
        distils = distilling is not None and trial_id > distilling.pool_size
        odd = trial_id % 2 == 1
        if distils and (odd or (ensembling is not None and not ensembles)):
            return TrialKind.DISTILLATION
        return TrialKind.ENSEMBLE if ensembles else TrialKind.SEARCH


def keeps_train_logits(spec: PhoenixSpec) -> bool:
    """Whether a later trial may need what a tower says of the training rows.

    A student learns from them, and so do the mixture of a weighted ensemble and the new tower of a residual one. The
    average of frozen towers is only evaluated, on the validation rows.
    """
    schedule = Schedule.of(spec)
    ensembling = schedule.ensembling
    learns = ensembling is not None and (ensembling.combining == "weighted" or ensembling.search == "residual")
    return learns or schedule.distilling is not None


def _tidy(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
