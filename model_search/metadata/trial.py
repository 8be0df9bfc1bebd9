"""The records of a trial: its plan, its result and its state."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from model_search.cells import in_words
from model_search.errors import UserError

HyperparameterValue = str | int | float | bool

BLOCK_ARROW = " > "
COMBININGS = ("average", "weighted")
CLASSIC_MODELS = {  # in the order in which they are tried
    "boosted_trees": "gradient-boosted trees",
    "linear": "regularised linear model",
    "sparse_linear": "sparse linear model",
    "extra_trees": "extremely randomised trees",
    "kernel": "kernel model",
    "deep_boosted_trees": "deep gradient-boosted trees",
    "random_forest": "random forest",
}
BOOSTED = ("boosted_trees", "deep_boosted_trees")
LINEAR_MODELS = ("linear", "sparse_linear")
KERNEL = "kernel"
MOST_FOLDS = 50
MOST_DIVISIONS = 10  # of rows into folds
SUPERNETS = ("SPOS", "ENAS", "DARTS")
SUPERNET_LOSS = "supernet_loss"  # the metric of a supernet, which has none of a model
MOST_CANDIDATES = 10_000
TAKEN_OVER = "taken_over"  # in the environment of a result: how many weights of other models its tower began with
DISTILLATION_LOSSES = ("mse_logits", "mse_softmax", "cross_entropy", "balanced")


def trial_number(given: Any) -> int:
    """The number of a trial that a user names; numbers of NumPy and pandas will do.

    Raises:
        UserError: if it is something else.
    """
    if not isinstance(given, numbers.Integral) or isinstance(given, bool):
        raise UserError(f"received the trial {given!r:.80}; expected a trial's number")
    return int(given)


class TrialState(enum.StrEnum):
    """The state of a trial. `COMPLETED`, `FAILED` and `LOST` are final."""

    CLAIMED = "claimed"  # a worker holds the id; no plan yet
    RUNNING = "running"  # planned, being trained
    INTERRUPTED = "interrupted"  # stopped on purpose; the next claim takes it up under the same id
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"  # its workers vanished too often

    @property
    def is_final(self) -> bool:
        """Whether the trial will never change its state again."""
        return self in (TrialState.COMPLETED, TrialState.FAILED, TrialState.LOST)


class TrialKind(enum.StrEnum):
    """What a trial is for (the planner alone decides that)."""

    SEARCH = "search"
    SUGGESTION = "suggestion"
    ENSEMBLE = "ensemble"
    DISTILLATION = "distillation"
    REPLAY = "replay"
    TUNING = "tuning"
    LONGER = "longer"  # trains the tower of a completed trial further
    BAGGING = "bagging"  # a finalist again, once for each fold of the rows
    FOLDS = "folds"  # a trial again on further folds of the rows: how good it is, and no model
    CLASSIC = "classic"  # a model that is no network: a baseline, and a member of ensembles
    SUPERNET = "supernet"  # weights that many architectures share: it says which of them to train


class UnknownStartError(ValueError):
    """A plan starts from other trials in a way that this version does not know."""


class StartKind(enum.StrEnum):
    """How a trial uses the weights that it starts from."""

    CONTINUE = "continue"  # continues with the steps that come next; the optimizer begins anew
    RESUME = "resume"  # the same, with what the optimizer has gathered
    COPY = "copy"  # begins at step 0, from the weights of a tower of the same architecture
    AVERAGE = "average"  # begins at step 0, from the mean of the weights that fit, of several towers
    MORPH = "morph"  # begins at step 0 as the function of a smaller tower, if that is possible; else from what fits
    GIVEN = "given"  # begins at step 0, from what fits of a model that was given to the study


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """What a trial's own tower starts from, instead of fresh weights.

    Attributes:
        kind: How the weights are used. A plan of a later version may name a kind that this one does not know; it is
            refused.
        trials: The trials whose weights they are: one, or, of an average, one or more; none for what was given.
        shares: What each of them counts in an average, above 0; a weight is averaged over those that have it.
        discount: Of an average: what the weights of a trial are multiplied by for each trial since then.
        source: Which of the given models it is, by its name in the study.
    """

    kind: StartKind
    trials: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    discount: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in list(StartKind):
            raise UnknownStartError(
                f"it starts from other trials by {self.kind!r}; this version knows {', '.join(StartKind)}"
            )
        object.__setattr__(self, "kind", StartKind(self.kind))
        numbers, is_average = self.trials, self.kind is StartKind.AVERAGE
        expected = {StartKind.GIVEN: len(numbers) == 0, StartKind.AVERAGE: len(numbers) > 0}
        fits = expected.get(self.kind, len(numbers) == 1) and len(set(numbers)) == len(numbers)
        if not fits or not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError(f"a start of the kind {self.kind} names {numbers}; expected {self._expected}")
        shares = self.shares if is_average else ()
        if len(self.shares) != (len(numbers) if is_average else 0) or not all(0 < share < math.inf for share in shares):
            raise ValueError(f"a start of the kind {self.kind} from {numbers} has the shares {self.shares}")
        if not 0 <= self.discount < math.inf or (self.discount != 1 and not is_average):
            raise ValueError(f"a start of the kind {self.kind} has the discount {self.discount}")
        if bool(self.source) != (self.kind is StartKind.GIVEN):
            raise ValueError(f"a start of the kind {self.kind} has the source {self.source!r}")

    @property
    def _expected(self) -> str:
        if self.kind is StartKind.GIVEN:
            return "no trial"
        return "trials' numbers" if self.kind is StartKind.AVERAGE else "one trial's number"

    @property
    def takes_all(self) -> bool:
        """Whether every weight of the tower comes from its source; otherwise those that do not fit are fresh."""
        return self.kind not in (StartKind.AVERAGE, StartKind.GIVEN, StartKind.MORPH)

    def to_json(self) -> dict[str, Any]:
        """For `TrialPlan.to_json`; what its kind does not have is left out."""
        kept: dict[str, Any] = {"kind": self.kind.value, "trials": list(self.trials)}
        if self.kind is StartKind.AVERAGE:
            kept |= {"shares": list(self.shares), "discount": self.discount}
        return kept | ({"source": self.source} if self.source else {})

    @classmethod
    def from_json(cls, stored: Any) -> WarmStart:
        """Reads what `to_json` gives.

        Raises:
            ValueError, KeyError, TypeError: if it is another thing.
        """
        others = {name: stored[name] for name in ("discount", "source") if name in stored}
        return cls(stored["kind"], tuple(stored["trials"]), tuple(stored.get("shares", ())), **others)


@dataclasses.dataclass(frozen=True)
class EnsemblePlan:
    """How the members of a plan, and its own tower where it has an architecture, make one model.

    Attributes:
        combining: "average" (mean of the logits) or "weighted" (a trained linear layer on the concatenated logits).
        residual: The own tower is trained through the loss of the whole ensemble; otherwise on the labels by itself.
        freeze: Members stay as they are. Where False, they start from their weights and are trained with everything
            else; the fine-tuned towers then belong to this trial.
    """

    combining: str
    residual: bool = False
    freeze: bool = True

    def __post_init__(self) -> None:
        if self.combining not in COMBININGS:
            raise ValueError(f"combining is {self.combining!r}; expected one of {', '.join(COMBININGS)}")


@dataclasses.dataclass(frozen=True)
class DistillationPlan:
    """How a tower is distilled from its teacher, the mean of the teacher trials' logits.

    Attributes:
        loss: "mse_logits", "mse_softmax", "cross_entropy" or "balanced" (loss on the labels + `balance` times
            cross-entropy with the teacher).
        temperature: Divides the teacher's logits before their softmax.
        balance: Lambda of "balanced"; without meaning for the others.
    """

    loss: str
    temperature: float = 1.0
    balance: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in DISTILLATION_LOSSES:
            raise ValueError(f"loss is {self.loss!r}; expected one of {', '.join(DISTILLATION_LOSSES)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; expected a number above 0")


@dataclasses.dataclass(frozen=True)
class SupernetPlan:
    """How weights that all architectures of a space share are trained, and used to compare them.

    Attributes:
        method: How architectures are chosen: one of `SUPERNETS`.
        positions: The blocks that may stand at each position.
        candidates: Architectures to compare at the end; 0 where another trial goes on with the training.
        settings: Further settings of the method, by name.
    """

    method: str
    positions: tuple[tuple[str, ...], ...]
    candidates: int = 0
    settings: Mapping[str, HyperparameterValue] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in SUPERNETS:
            raise ValueError(f"method is {self.method!r}; expected one of {', '.join(SUPERNETS)}")
        if not all(isinstance(name, str) for choices in self.positions for name in choices):
            raise ValueError("a position of a supernet has something else than names of blocks")
        if type(self.candidates) is not int or not 0 <= self.candidates <= MOST_CANDIDATES:
            raise ValueError(f"candidates is {self.candidates!r}; expected 0 to {MOST_CANDIDATES}")

    def choices_of(self, architecture: Sequence[str]) -> tuple[int, ...]:
        """An architecture as the number of its choice at each position; ValueError where it is not of the space."""
        return tuple(found.index(name) for found, name in zip(self.positions, architecture, strict=True))

    def architecture_of(self, choices: Sequence[int]) -> tuple[str, ...]:
        """The blocks of these choices."""
        return tuple(found[choice] for found, choice in zip(self.positions, choices, strict=True))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> SupernetPlan:
        """Reads what `dataclasses.asdict` gives."""
        return cls(**{**values, "positions": tuple(tuple(choices) for choices in values["positions"])})


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that was compared with shared weights.

    Attributes:
        choices: The number of its choice at each position of `SupernetPlan.positions`.
        value: The study's metric on the validation rows, with shared weights.
        random: Whether it was drawn from the whole space.
    """

    choices: tuple[int, ...]
    value: float
    random: bool


@dataclasses.dataclass(frozen=True)
class TrialPlan:
    """All that is needed to run a trial (again). Made by the planner, kept by the store, carried out by the engine.

    Attributes:
        trial_id: The study's number for this trial, from 1.
        kind: What the trial is for.
        architecture: Names of the blocks of the trial's own tower, input to output; empty where it has none.
        hyperparameters: Values by name; only names that are in effect for this trial.
        steps: The training step (batch) at which the trial ends; the steps of the trial that it continues count.
        batch_size: Rows per step.
        seed: Seed of everything random in this trial (initial weights, batches, dropout).
        key: Canonical architecture and hyperparameter bins; two trials with one key are repetitions.
        parent: The trial whose architecture was grown or mutated, if any.
        members: Trials whose own towers take part (ensembles), by id.
        teacher: Trials whose own towers, averaged, are the teacher of a distillation, by id.
        start: The weights that the own tower starts from; None for fresh ones.
        ensemble: How members and own tower are combined; None where there are no members.
        distillation: How the tower is distilled; None without a teacher.
        random: Whether all of it was drawn from the whole space, whatever had been tried: a sample of random search.
        rung: The rung of the evaluation schedule, from 0; each one trains longer, the last one in full.
        first_step: Steps that the trial which it continues (`start`) has taken.
        total_steps: Steps of a training in full, which the learning rate is planned for; `steps` where None. For a
            longer training it is planned from `first_step` on.
        row_share: The share of a table's training rows that are trained on.
        bracket: The bracket of the evaluation schedule that the trial belongs to, from 0.
        folds: Folds of all rows: a tower is trained without each of them, and they answer together. 0 for one tower,
            trained on the training rows.
        left_out: The folds that are left out, in order, where these are not all of the first division: such a trial
            tells how good its parent is on these rows. Fold `n` is number `n % folds` of division `n // folds`, and all
            are of one division.
        patience: Evaluations, one an epoch, without a better one, after which training ends; 0 for no such limit.
        classic: The model that is no network, a key of `CLASSIC_MODELS`; such a trial has no blocks. None for others.
        supernet: How shared weights are trained; such a trial has no blocks of its own. None for others.
    """

    trial_id: int
    kind: TrialKind
    architecture: tuple[str, ...]
    hyperparameters: Mapping[str, HyperparameterValue]
    steps: int
    batch_size: int
    seed: int
    key: str
    parent: int | None = None
    members: tuple[int, ...] = ()
    teacher: tuple[int, ...] = ()
    start: WarmStart | None = None
    ensemble: EnsemblePlan | None = None
    distillation: DistillationPlan | None = None
    random: bool = False
    rung: int = 0
    first_step: int = 0
    total_steps: int | None = None
    row_share: float = 1.0
    bracket: int = 0
    classic: str | None = None
    folds: int = 0
    patience: int = 0
    supernet: SupernetPlan | None = None
    left_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.trial_id < 1:
            raise ValueError(f"trial_id is {self.trial_id}; trials are numbered from 1")
        if self.steps < 0 or self.batch_size < 1:
            raise ValueError(f"steps={self.steps}, batch_size={self.batch_size}; expected steps >= 0, batch_size >= 1")
        if self.classic is not None and (self.classic not in CLASSIC_MODELS or self.architecture or self.members):
            known = ", ".join(CLASSIC_MODELS)
            raise ValueError(f"classic is {self.classic!r} with {self.described!r}; expected one of {known} by itself")
        if self.supernet is not None and (self.architecture or self.members or self.classic):
            raise ValueError(f"a supernet has no blocks of its own, and the plan has {self.described!r}")
        if not self.architecture and not self.members and self.classic is None and self.supernet is None:
            raise ValueError("a plan needs an architecture or members")
        if self.parent is not None and self.parent >= self.trial_id:
            raise ValueError(f"parent {self.parent} is not an earlier trial than {self.trial_id}")
        self._check_fidelity()
        for role, ids, how in (("members", self.members, self.ensemble), ("teacher", self.teacher, self.distillation)):
            if bool(ids) != (how is not None):
                raise ValueError(f"{role} {ids} go together with how they are used, received {how}")
            if list(ids) != sorted(set(ids)) or any(not 0 < number < self.trial_id for number in ids):
                raise ValueError(f"{role} {ids} are not different earlier trials than {self.trial_id}, in order")

    def _check_fidelity(self) -> None:
        if self.rung < 0 or self.bracket < 0:
            raise ValueError(f"rung={self.rung}, bracket={self.bracket}; both are counted from 0")
        continues = self.start is not None and self.start.kind in (StartKind.CONTINUE, StartKind.RESUME)
        if continues != bool(self.first_step) or (continues and not 0 < self.first_step < self.steps):
            raise ValueError(
                f"first_step is {self.first_step}, steps {self.steps}, start {self.start}; a trial continues "
                "another one, and goes further"
            )
        if self.start is not None and max(self.start.trials, default=0) >= self.trial_id:
            raise ValueError(f"start {self.start} is not an earlier trial than {self.trial_id}")
        if self.total_steps is not None and self.total_steps < self.steps:
            raise ValueError(
                f"total_steps is {self.total_steps}; expected at least the {self.steps} steps of the trial"
            )
        if self.folds and (not 2 <= self.folds <= MOST_FOLDS or self.members or self.teacher or self.start):
            raise ValueError(f"folds is {self.folds}; expected 2 to {MOST_FOLDS}, for one tower with fresh weights")
        most, divisions = self.folds * MOST_DIVISIONS, {fold // max(1, self.folds) for fold in self.left_out}
        is_in_order = list(self.left_out) == sorted(set(self.left_out)) and len(divisions) < 2
        if not is_in_order or any(not 0 <= fold < most for fold in self.left_out):
            raise ValueError(
                f"left_out is {self.left_out}; expected different folds of one division, in order, below {most}"
            )
        if bool(self.left_out) != (self.kind is TrialKind.FOLDS) or (self.left_out and self.parent is None):
            raise ValueError(f"a plan of the kind {self.kind} with the parent {self.parent} leaves out {self.left_out}")
        if self.patience < 0:
            raise ValueError(f"patience is {self.patience}; expected a number of evaluations, or 0 for no limit")
        if not 0 < self.row_share <= 1:
            raise ValueError(f"row_share is {self.row_share}; expected a share above 0 and at most 1")

    @property
    def trains_one_tower(self) -> bool:
        """Whether it trains one tower by itself, on the labels or from a teacher: no ensemble.

        Such towers can be members of an ensemble and starting points of a student.
        """
        return bool(self.architecture) and not self.members and not self.folds

    @property
    def can_train_longer(self) -> bool:
        """Whether its training can go on: it trains one tower by itself, on the labels alone."""
        return self.trains_one_tower and not self.teacher

    @functools.cached_property
    def is_on_labels_alone(self) -> bool:
        """Whether it trains one tower by itself, on the labels alone, for no longer than the others of the study.

        Its result then depends on its architecture and hyperparameters only: searches learn from such trials. They ask
        every trial of a study, for every plan.
        """
        return self.can_train_longer and self.kind is not TrialKind.LONGER

    @property
    def is_in_full(self) -> bool:
        """Whether it trains for all steps, on all rows; early stopping may still end it before."""
        return self.total_steps is None and self.row_share == 1

    @property
    def division(self) -> int:
        """Which division of the rows into folds it is, from 0."""
        return self.left_out[0] // self.folds if self.left_out else 0

    @property
    def is_bag(self) -> bool:
        """Whether it trains a model without each fold, which answer together."""
        return self.folds > 0 and not self.left_out

    @property
    def trains_one_tower_in_full(self) -> bool:
        """Whether it trains one tower by itself, on the labels alone, in full: such trials can be compared fairly."""
        return self.is_on_labels_alone and self.is_in_full

    @property
    def is_searched(self) -> bool:
        """Whether it trains, on the labels alone, a tower that the search has found or the user suggested.

        Tuning, replay and longer training, which train given towers, are left out: evaluation schedules and tuning
        start from these.
        """
        return self.is_on_labels_alone and self.kind in (TrialKind.SEARCH, TrialKind.SUGGESTION)

    @property
    def is_promotion(self) -> bool:
        """Whether the trial continues another one as the evaluation schedule says."""
        return self.first_step > 0 and self.kind is not TrialKind.LONGER

    @property
    def resumes(self) -> bool:
        """Whether the optimizer goes on with what it has gathered."""
        return self.start is not None and self.start.kind is StartKind.RESUME

    @property
    def warm_start(self) -> int | None:
        """The trial whose weights are the starting point; None where there is none, or more than one."""
        return self.start.trials[0] if self.start is not None and len(self.start.trials) == 1 else None

    @property
    def towers(self) -> tuple[int, ...]:
        """The towers that the trained model consists of, each by the trial that owns its weights.

        A fine-tuned ensemble owns copies of its members and counts as one tower.
        """
        if self.ensemble is not None and not self.ensemble.freeze:
            return (self.trial_id,)
        return (*self.members, self.trial_id) if self.architecture or self.classic else self.members

    @property
    def described(self) -> str:
        """What it builds, for people: the blocks of its own tower and the trials that it is combined with."""
        if self.classic is not None:
            return CLASSIC_MODELS.get(self.classic, self.classic)  # also of one that is refused
        if self.supernet is not None and not self.architecture:
            return f"{self.supernet.method} supernet"
        others = f"trials {', '.join(map(str, self.members))}" if self.members else ""
        return " with ".join(filter(None, (BLOCK_ARROW.join(in_words(self.architecture)), others)))

    @property
    def builds_on(self) -> tuple[int, ...]:
        """The trials whose files it takes to run this plan."""
        start = () if self.start is None else self.start.trials
        return (*self.members, *self.teacher, *start)

    def to_json(self) -> str:
        """Strict JSON (no NaN or infinity), keys sorted; `start` is stored under "warm_start", as before.

        `classic`, `folds`, `left_out`, `patience` and `supernet` are left out where there are none: earlier versions
        can read what is theirs.
        """
        values = dataclasses.asdict(self) | {"kind": self.kind.value}
        if self.classic is None:
            del values["classic"]
        for name in ("folds", "left_out", "patience", "supernet"):
            if not values[name]:
                del values[name]
        del values["start"]
        values["warm_start"] = None if self.start is None else self.start.to_json()
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> TrialPlan:
        """Reads what `to_json` wrote; also as former versions did, with a trial's number in place of `WarmStart`.

        Raises:
            ValueError: if the text is not such a plan.
        """
        try:
            values = json.loads(text)
            values["kind"] = TrialKind(values["kind"])
            start = values.pop("warm_start", None)
            if isinstance(start, int | float):
                start = {"kind": StartKind.CONTINUE if values.get("first_step") else StartKind.COPY, "trials": [start]}
            values["start"] = None if start is None else WarmStart.from_json(start)
            for name in ("architecture", "members", "teacher"):
                values[name] = tuple(values[name])
            for name, record in (("ensemble", EnsemblePlan), ("distillation", DistillationPlan)):
                if values.get(name) is not None:
                    values[name] = record(**values[name])
            values["left_out"] = tuple(values.get("left_out", ()))
            if values.get("supernet") is not None:
                values["supernet"] = SupernetPlan.from_values(values["supernet"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a trial plan: {error}") from error


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A file that a trial has stored: path relative to the study's folder, SHA-256 and size in bytes.

    `pruned`: whether it has been deleted to save room.
    """

    name: str
    path: str
    sha256: str
    size: int
    pruned: bool = False


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What a completed trial reports.

    Attributes:
        metrics: Finite validation metrics by name, the study's metric among them.
        parameters: Trainable parameters of the model, an ensemble's members among them.
        own_parameters: Of these, the parameters that the trial itself trained; None where these are all.
        stopped_at: The step at which early stopping ended the trial; None where it did not.
        candidates: The architectures that a supernet has compared, in their order.
        best_step: The step whose weights were kept.
        timings: Seconds by phase ("build", "trace", "train", "validate", "total", ...).
        curve: Evaluations during training: (step, metric value) in step order.
        environment: Versions, CPU, threads, device.
        artefacts: Stored files.
    """

    metrics: Mapping[str, float]
    parameters: int
    best_step: int
    timings: Mapping[str, float]
    curve: tuple[tuple[int, float], ...] = ()
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    own_parameters: int | None = None
    stopped_at: int | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def tower_parameters(self) -> int:
        """Parameters that the trial itself trained: those of its own tower."""
        return self.parameters if self.own_parameters is None else self.own_parameters

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name!r} is {value}; a completed trial has finite metrics")


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial as it is stored."""

    id: int
    state: TrialState
    attempt: int
    revision: int
    worker: str
    plan: TrialPlan | None = None
    result: TrialResult | None = None
    reason: str | None = None
    created_at: str = ""
    finished_at: str | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        """Validation metrics by name; empty where the trial is not completed."""
        return {} if self.result is None else self.result.metrics

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        """The files that the trial has stored; none before it is completed."""
        return () if self.result is None else self.result.artefacts

    def objective(self, metric: str) -> float:
        """The value of the metric; raises KeyError where the trial has none."""
        if self.result is None:
            raise KeyError(f"trial {self.id} is {self.state} and has no metrics")
        return self.result.metrics[metric]
