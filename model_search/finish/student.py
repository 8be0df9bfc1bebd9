"""The student: one small tower that learns to answer as the final ensemble does.

Distillation (Hinton et al. 2015) on the training rows and, for tables, on rows made up from them: the teacher answers
for any row, so that the student sees more than the rows that the teacher was fitted to (model compression, Bucila et
al. 2006). A made-up row takes some columns from another row of the table.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from model_search.data.features import FeatureSchema
from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import FEATURES, Arrays, Rows, concatenate
from model_search.data.task import TaskKind
from model_search.errors import StudyError
from model_search.metadata.trial import DistillationPlan, HyperparameterValue, TrialKind, TrialPlan
from model_search.training.engine import Engine, OnProgress
from model_search.training.metrics import better
from model_search.training.outcome import FrozenTowers, Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

SHARE_OF_ENSEMBLE = 3  # a student has at most one third of its teacher's parameters
_CANDIDATE_ROUNDS = 3  # architectures that are tried for as many steps as a trial has
_LONGER = 4  # times these steps for the best of them
_BATCH = 128
_COPIES = 4  # made-up rows for each row of the table ...
_MOST_ROWS = 200_000  # ... as long as there are no more rows than this
_SWAPPED = 0.15  # share of the columns that a made-up row has from elsewhere
_BLOCK_ROWS = 16_384  # rows the teacher answers for at a time
_HYPERPARAMETERS: dict[str, HyperparameterValue] = {"learning_rate": 0.001, "optimizer": "adam", "cooldown_share": 0.5}

Answers = Callable[[Arrays], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that may become the student.

    Attributes:
        architecture: Its blocks.
        parameters: Its trainable parameters.
        trial: The trial that it comes from, if any.
        tower: Gives that trial's tower, whose weights the student starts from; None for fresh weights.
    """

    architecture: tuple[str, ...]
    parameters: int
    trial: int | None = None
    tower: Callable[[], TrainedTower] | None = None


@dataclasses.dataclass(frozen=True)
class DistillationTask:
    """What a student is taught with.

    Attributes:
        data: Training and validation rows.
        settings: What holds for every trial of the study.
        teacher: Inputs [rows, ...] by name to the teacher's logits float32 [rows, ..., logits dimension].
        valid_logits: The teacher's logits on the validation rows.
        members: The trials that the teacher consists of.
        trial_id: A number above all trials, for the student's plan.
        steps: Steps of a trial.
        batch_size: Rows a step of a trial.
        seed: Of everything random.
        seconds: Time that is left; None for no limit.
    """

    data: PreparedData
    settings: TrainingSettings
    teacher: Answers
    valid_logits: np.ndarray
    members: tuple[int, ...]
    trial_id: int
    steps: int
    batch_size: int
    seed: int
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Student:
    """A taught student: the plan that made it, and what came of it."""

    plan: TrialPlan
    outcome: TrialOutcome


def distil(job: DistillationTask, candidates: Sequence[Candidate], on_progress: OnProgress | None = None) -> Student:
    """Trains the student from the most promising candidate.

    The first few candidates are trained for as long as a trial lasts; the one with the best validation metric is then
    trained several times longer.

    Args:
        job: What with.
        candidates: Architectures, the most promising first.
        on_progress: See `Engine.run`.

    Raises:
        StudyError: if there is no candidate.
        TrialError: if the student cannot be trained.
    """
    if not candidates:
        raise StudyError("no architecture is small enough for a student; allow it more parameters")
    distiller = _Distiller(job, on_progress)
    first_round = [
        (candidate, distiller.distil(candidate, job.steps))
        for candidate in candidates[:_CANDIDATE_ROUNDS]
        if not distiller.late
    ]
    best, first = _best(first_round, job.settings)
    if distiller.late:
        return first
    longer = distiller.distil(best, _LONGER * job.steps)
    return _best([(best, first), (best, longer)], job.settings)[1]


def small_enough(candidates: Sequence[Candidate], most_parameters: int) -> list[Candidate]:
    """Those with at most so many parameters, each architecture once."""
    found: dict[tuple[str, ...], Candidate] = {}
    for candidate in candidates:
        if candidate.parameters <= most_parameters:
            found.setdefault(candidate.architecture, candidate)
    return list(found.values())


def made_up_rows(features: np.ndarray, groups: Sequence[slice], copies: int, rng: np.random.Generator) -> np.ndarray:
    """Rows that have some of their columns from another row.

    Args:
        features: float32 [rows, width].
        groups: The places of each raw column among the features; they stay together.
        copies: Made-up rows for each row.
        rng: Draws who gets what from whom.

    Returns:
        float32 [copies * rows, width].
    """
    made = np.tile(features, (copies, 1))
    for start in range(0, len(made), len(features)):
        part, others = made[start : start + len(features)], rng.permutation(len(features))
        for group in groups:
            swapped = rng.random(len(part)) < _SWAPPED
            part[swapped, group] = features[others[swapped], group]
    return made


class _Distiller:
    """Rows, the teacher's answers for them, and an engine."""

    def __init__(self, job: DistillationTask, on_progress: OnProgress | None):
        self._job = job
        self._on_progress = on_progress or (lambda look: None)
        self._deadline = math.inf if job.seconds is None else time.monotonic() + job.seconds
        data, valid = job.data, job.valid_logits[None]
        if isinstance(data, TableData):
            rows = self._rows(data)
            data = dataclasses.replace(data, train=rows)
            self._teacher = FrozenTowers(valid, train=self._answers(rows)[None])
        else:
            self._teacher = FrozenTowers(valid, forward=lambda inputs: job.teacher(inputs)[None])
        self._engine = Engine(data, dataclasses.replace(job.settings, keep_train_logits=False))

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._deadline

    def distil(self, candidate: Candidate, steps: int) -> Student:
        """Teaches one candidate, from the weights that it brings along."""
        job = self._job
        softly = job.data.task.kind is TaskKind.CLASSIFICATION and job.data.loss_fn is None
        plan = TrialPlan(
            trial_id=job.trial_id,
            kind=TrialKind.DISTILLATION,
            architecture=candidate.architecture,
            hyperparameters=_HYPERPARAMETERS,
            steps=steps,
            batch_size=max(job.batch_size, _BATCH),
            seed=job.seed,
            key="student",
            parent=candidate.trial,
            teacher=tuple(sorted(job.members)),
            warm_start=candidate.trial,
            distillation=DistillationPlan("cross_entropy" if softly else "mse_logits"),
        )
        weights = None if candidate.tower is None else candidate.tower().weights
        return Student(plan, self._engine.run(plan, Given(weights, self._teacher), self._progress))

    def _progress(self, progress: Progress) -> bool:
        return bool(self._on_progress(progress)) or self.late

    def _rows(self, data: TableData) -> Rows:
        """The training rows and, of a table of columns, made-up ones; the labels are not read."""
        train, copies = data.train, 0
        is_table = list(train.inputs) == [FEATURES] and train.inputs[FEATURES].ndim == 2
        if is_table:
            copies = max(0, min(_COPIES, _MOST_ROWS // max(1, len(train)) - 1))
        if not copies:
            return train
        rng = np.random.default_rng([self._job.seed, len(train)])
        made = made_up_rows(train.inputs[FEATURES], _groups(data), copies, rng)
        more = train.take(np.tile(np.arange(len(train)), copies)).with_inputs({FEATURES: made})
        return concatenate([train, more])

    def _answers(self, rows: Rows) -> np.ndarray:
        """The teacher's logits, block by block, so that progress can be reported in between."""
        found = []
        for block in rows.blocks(_BLOCK_ROWS):
            self._on_progress(Progress(0, 0, math.nan, None))
            found.append(self._job.teacher(block.inputs))
        return np.concatenate(found).astype(np.float32)


def _groups(data: TableData) -> list[slice]:
    """The places of each raw column; every feature by itself where no schema says more."""
    schema, width = data.description.get("schema"), data.train.inputs[FEATURES].shape[1]
    if schema is None:
        return [slice(place, place + 1) for place in range(width)]
    ends = np.cumsum([feature.width for feature in FeatureSchema.from_json(schema).features]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _best(taught: Sequence[tuple[Candidate, Student]], settings: TrainingSettings) -> tuple[Candidate, Student]:
    best = taught[0]
    for one in taught[1:]:
        found, known = (entry[1].outcome.metrics[settings.metric] for entry in (one, best))
        if better(found, known, settings.goal):
            best = one
    return best
