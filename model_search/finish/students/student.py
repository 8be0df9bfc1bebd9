"""The student: one small tower that is distilled from the final ensemble.

Distillation (Hinton et al. 2015) on the training rows and, for tables, on synthetic rows: the teacher predicts
for any row, so that the student sees more than the rows that the teacher was fitted to (model compression, Bucila et
al. 2006). A synthetic row takes some columns from another row of the table. With as many rows as it likes, a student of
a table is best a tower that suits large tables, trained from the beginning; where the search has none, or where there
is no time for it, it goes on from a trial's weights, as all other students do.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import FEATURES, Arrays, Rows, concatenate
from model_search.data.tabular.features import FeatureSchema
from model_search.data.task import TaskKind
from model_search.deadline import Deadline
from model_search.errors import StudyError, TrialError
from model_search.metadata.trial import (
    DistillationPlan,
    HyperparameterValue,
    StartKind,
    TrialKind,
    TrialPlan,
    WarmStart,
)
from model_search.training.engine import Engine, OnProgress
from model_search.training.outcome import FrozenTowers, Given, Progress, TrainedTower, TrainingSettings, TrialOutcome
from model_search.training.runtime import available_cores

SHARE_OF_ENSEMBLE = 3  # a student has at most one third of its teacher's parameters
_CANDIDATE_ROUNDS = 3  # candidates that are trained for as many steps as a trial
_LONGER = 4  # times these steps for the best candidate
_BATCH = 128
_STEP = 700_000  # products that take as long as a step of the smallest tower
_FRESH_BATCH = 256  # rows a step of a student with fresh weights,
_FRESH_STEPS = 2000  # its steps,
_FRESH_EPOCHS = 12  # or more: so many epochs,
_FEWEST_FRESH_STEPS = 500  # and where fewer are possible, it had better go on from a trial
_MOST_THREADS = 8  # of the teacher; each needs memory for a block of rows
_TEACHER_SHARE = 1 / 3  # of the time until a deadline, in which the teacher predicts what it can
_SHARE_OF_TIME = 0.85  # of what is left until a deadline, by an estimate of what steps take
_COPIES = 4  # synthetic rows for each row of the table ...
_MOST_ROWS = 200_000  # ... as long as there are no more rows than this
_SWAPPED = 0.15  # share of the columns that a synthetic row takes from another row
_COMPARED = 2_048  # synthetic rows that tell how near a student is to its teacher,
_MORE_SWAPPED = 0.4  # with so many columns from another row
_BLOCK_ROWS = 16_384  # rows in one forward pass of the teacher ...
_TIMED_BLOCK_ROWS = 2_048  # ... where there is a deadline
_HYPERPARAMETERS: dict[str, HyperparameterValue] = {"learning_rate": 0.001, "optimizer": "adam", "cooldown_share": 0.5}

Teacher = Callable[[Arrays], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that may become the student.

    Attributes:
        architecture: Its blocks.
        parameters: Its trainable parameters.
        trial: The trial that it comes from, if any.
        tower: Gives that trial's tower, whose weights the student starts from; None for fresh weights.
        seconds: Time that it takes besides the training itself, as far as is known.
        sizes: Hyperparameters that give its blocks their shape.
        hyperparameters: All that it is trained with from fresh weights; None for what suits further training.
    """

    architecture: tuple[str, ...]
    parameters: int
    trial: int | None = None
    tower: Callable[[], TrainedTower] | None = None
    seconds: float = 0.0
    sizes: Mapping[str, HyperparameterValue] = dataclasses.field(default_factory=dict)
    hyperparameters: Mapping[str, HyperparameterValue] | None = None


class NoTimeError(StudyError):
    """No time is left to train a student."""

    def __init__(self) -> None:
        super().__init__("no student: no time is left; study.finish(data=...) trains it later")


@dataclasses.dataclass(frozen=True)
class DistillationTask:
    """What a student is distilled from, and how.

    Attributes:
        data: Training and validation rows.
        settings: The settings that all trials share.
        teacher: Inputs [rows, ...] by name to the teacher's logits float32 [rows, ..., logits dimension].
        valid_logits: The teacher's logits on the validation rows.
        members: The trials that the teacher consists of.
        trial_id: A number above all trials, for the student's plan.
        steps: Steps of a trial.
        batch_size: Rows per step of a trial.
        seed: Seed of all randomness.
        deadline: When the student has to be trained.
        budget: The most that its training may take, see `work`.
        pace: Seconds for each unit of work, as the trials took; None where it is not known.
        is_timed: Whether the deadline is the user's, so that most of the time is left to the training; otherwise it
            only ends what takes far too long.
    """

    data: PreparedData
    settings: TrainingSettings
    teacher: Teacher
    valid_logits: np.ndarray
    members: tuple[int, ...]
    trial_id: int
    steps: int
    batch_size: int
    seed: int
    deadline: Deadline = dataclasses.field(default_factory=Deadline)
    budget: float = math.inf
    pace: float | None = None
    is_timed: bool = True

    @property
    def rows_a_step(self) -> int:
        """Rows of a step of the student's training."""
        return max(self.batch_size, _BATCH)


@dataclasses.dataclass(frozen=True)
class Student:
    """A trained student: its plan and the outcome."""

    plan: TrialPlan
    outcome: TrialOutcome


def distil(
    job: DistillationTask,
    candidates: Sequence[Candidate],
    on_progress: OnProgress | None = None,
    fresh: Candidate | None = None,
) -> Student:
    """Trains the student.

    A tower with fresh weights comes first, if budget and time allow it enough steps. Else it is the most promising
    candidate: the first few are trained for as long as a trial lasts; the one with the best validation metric is then
    trained several times longer. Where the budget does not allow that, the first one alone is trained for as long as it
    does. Where the deadline comes before, the best so far is the student; the teacher has then
    predicted as many rows as a third of the time allowed.

    Args:
        job: The distillation task.
        candidates: Architectures with stored weights, the most promising first.
        on_progress: See `Engine.run`.
        fresh: A tower with hyperparameters of its own, to be trained from the beginning.

    Raises:
        NoTimeError: if the deadline comes before a candidate could be trained.
        StudyError: if there is no candidate, and no budget to train a tower from the beginning.
        TrialError: if the student cannot be trained.
    """
    if fresh is not None and _steps_within(job.budget, fresh) < _FEWEST_FRESH_STEPS:
        fresh = None
    if not candidates and fresh is None:
        raise StudyError(
            "no student: no network that is small enough was trained, and the trials were too little work to begin one"
        )
    tried = [*candidates[:_CANDIDATE_ROUNDS], *([] if fresh is None else [fresh])]
    if not any(_has_time_for(job, candidate) for candidate in tried):
        raise NoTimeError
    distiller = _Distiller(job, on_progress)
    if fresh is not None and (steps := distiller.fresh_steps(fresh)) >= _FEWEST_FRESH_STEPS:
        try:
            return distiller.distil(fresh, steps)
        except TrialError:  # what goes on from a trial is less daring
            if not candidates:
                raise
    return _from_trials(job, candidates, distiller)


def _from_trials(job: DistillationTask, candidates: Sequence[Candidate], distiller: _Distiller) -> Student:
    rounds = min(_CANDIDATE_ROUNDS, len(candidates))
    each = [job.steps * work(job.rows_a_step, candidate.parameters) for candidate in candidates[:rounds]]
    if not each or sum(each) + _LONGER * max(each) > job.budget:
        alone = next((candidate for candidate in candidates if _has_time_for(job, candidate)), None)
        if alone is None:  # the time has run out while the teacher predicted
            raise NoTimeError
        return distiller.distil(alone, max(1, int(job.steps * min(1 + _LONGER, job.budget / each[0]))))
    first_round = [
        (candidate, distiller.distil(candidate, job.steps))
        for candidate in candidates[:rounds]
        if _has_time_for(job, candidate)
    ]
    if not first_round:
        raise NoTimeError
    best, first = _best(first_round, job.settings)
    if not _has_time_for(job, best):
        return first
    longer = distiller.distil(best, _LONGER * job.steps)
    return _best([(best, first), (best, longer)], job.settings)[1]


def work(rows: int, parameters: int) -> float:
    """What a step costs: as many products as rows and parameters make, and a constant for the step itself."""
    return float(rows * parameters + _STEP)


def _steps_within(budget: float, fresh: Candidate) -> float:
    """Steps of a tower with fresh weights that some work is enough for."""
    return budget / work(_FRESH_BATCH, fresh.parameters)


def _has_time_for(job: DistillationTask, candidate: Candidate) -> bool:
    """Whether any time would be left for the training itself."""
    return job.deadline.remaining > candidate.seconds


def small_enough(candidates: Sequence[Candidate], most_parameters: int) -> list[Candidate]:
    """Candidates with at most `most_parameters`, each architecture once."""
    found: dict[tuple[str, ...], Candidate] = {}
    for candidate in candidates:
        if candidate.parameters <= most_parameters:
            found.setdefault(candidate.architecture, candidate)
    return list(found.values())


def has_synthetic_rows(data: PreparedData) -> TypeGuard[TableData]:
    """Whether the rows are those of a table of columns, of which others can be made."""
    if not isinstance(data, TableData):
        return False
    return list(data.train.inputs) == [FEATURES] and data.train.inputs[FEATURES].ndim == 2


def comparison_rows(data: TableData, seed: int) -> Arrays:
    """Rows that tell how near students are to their teacher: no training rows, where columns can be put together anew.

    Args:
        data: The rows of a table of columns.
        seed: Seed of what is drawn.
    """
    rng = np.random.default_rng([seed, len(data.train), _COMPARED])
    chosen = data.train.inputs[FEATURES][rng.permutation(len(data.train))[:_COMPARED]]
    copies = -(-4 * _COMPARED // len(chosen))
    made = synthetic_rows(chosen, _groups(data), copies, rng, swapped=_MORE_SWAPPED)
    known = {row.tobytes() for row in data.train.inputs[FEATURES]}
    others = made[[row.tobytes() not in known for row in made]]
    return {FEATURES: (others if len(others) else made)[:_COMPARED]}


def synthetic_rows(
    features: np.ndarray,
    groups: Sequence[slice],
    copies: int,
    rng: np.random.Generator,
    swapped: float = _SWAPPED,
) -> np.ndarray:
    """Rows that have some of their columns from another row.

    Args:
        features: float32 [rows, width].
        groups: The slice of features of each raw column; they stay together.
        copies: Synthetic rows for each row.
        rng: Source of all randomness.
        swapped: Share of the columns that are taken from another row.

    Returns:
        float32 [copies * rows, width].
    """
    made = np.tile(features, (copies, 1))
    for start in range(0, len(made), len(features)):
        part, others = made[start : start + len(features)], rng.permutation(len(features))
        for group in groups:
            is_swapped = rng.random(len(part)) < swapped
            part[is_swapped, group] = features[others[is_swapped], group]
    return made


class _Distiller:
    """Training rows, the teacher's logits for them, and an engine."""

    def __init__(self, job: DistillationTask, on_progress: OnProgress | None):
        self._job = job
        self._on_progress = on_progress or (lambda progress: None)
        self._rows_known = 0
        data, valid = job.data, job.valid_logits[None]
        if isinstance(data, TableData):
            rows = self._rows(data)
            logits = self._teacher_logits(rows)
            data = dataclasses.replace(data, train=rows.take(slice(len(logits))))
            self._rows_known = len(logits)
            self._teacher = FrozenTowers(valid, train=logits[None])
        else:
            self._teacher = FrozenTowers(valid, forward=lambda inputs: job.teacher(inputs)[None])
        self._engine = Engine(data, dataclasses.replace(job.settings, keep_train_logits=False))

    def fresh_steps(self, candidate: Candidate) -> int:
        """For how many steps a candidate with fresh weights can be trained: its schedule has to come to its end."""
        job = self._job
        wanted = max(_FRESH_STEPS, _FRESH_EPOCHS * self._rows_known // _FRESH_BATCH)
        possible = _steps_within(job.budget, candidate)
        if job.is_timed and job.deadline.is_set and job.pace is not None:
            possible = min(possible, _steps_within(_SHARE_OF_TIME * job.deadline.remaining / job.pace, candidate))
        return int(min(wanted, possible))

    def distil(self, candidate: Candidate, steps: int) -> Student:
        """Trains one candidate, starting from its stored weights if it has some."""
        job = self._job
        own = candidate.hyperparameters
        softly = job.data.task.kind is TaskKind.CLASSIFICATION and job.data.loss_fn is None
        plan = TrialPlan(
            trial_id=job.trial_id,
            kind=TrialKind.DISTILLATION,
            architecture=candidate.architecture,
            hyperparameters={**_HYPERPARAMETERS, **candidate.sizes} if own is None else dict(own),
            steps=steps,
            batch_size=job.rows_a_step if own is None else _FRESH_BATCH,
            seed=job.seed,
            key="student",
            parent=candidate.trial,
            teacher=tuple(sorted(job.members)),
            start=None if candidate.trial is None else WarmStart(StartKind.COPY, (candidate.trial,)),
            distillation=DistillationPlan("cross_entropy" if softly else "mse_logits"),
        )
        weights = None if candidate.tower is None else candidate.tower().weights
        return Student(plan, self._engine.run(plan, Given(weights, self._teacher), self._progress))

    def _progress(self, progress: Progress) -> bool:
        return bool(self._on_progress(progress)) or self._job.deadline.passed

    def _rows(self, data: TableData) -> Rows:
        """The training rows and, of a table of columns, synthetic ones; the labels are not read.

        The training rows come in random order where time may run out before the teacher has predicted all of them.
        """
        train, copies = data.train, 0
        if has_synthetic_rows(data):
            copies = max(0, min(_COPIES, _MOST_ROWS // max(1, len(train)) - 1))
        rng = np.random.default_rng([self._job.seed, len(train)])
        made = synthetic_rows(train.inputs[FEATURES], _groups(data), copies, rng) if copies else None
        first = train.take(rng.permutation(len(train))) if self._job.deadline.is_set else train
        if made is None:
            return first
        more = train.take(np.tile(np.arange(len(train)), copies)).with_inputs({FEATURES: made})
        return concatenate([first, more])

    def _teacher_logits(self, rows: Rows) -> np.ndarray:
        """The teacher's logits, of the first rows at least.

        As many blocks as there are threads are answered at a time; progress is reported between them.

        Where the user has set a time limit, most of the time until then is left to the student.
        """
        deadline, threads = self._job.deadline, min(available_cores(), _MOST_THREADS)
        until, is_set = deadline, deadline.is_set
        if self._job.is_timed and is_set:
            until = deadline.earlier((1 - _TEACHER_SHARE) * deadline.remaining)
        blocks = rows.blocks(_TIMED_BLOCK_ROWS if is_set else _BLOCK_ROWS)
        self._on_progress(Progress(0, 0, math.nan, None))
        found = [self._job.teacher(next(blocks).inputs)]  # it reads the study, which belongs to this thread
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            while not until.passed and (some := list(itertools.islice(blocks, threads))):
                self._on_progress(Progress(0, 0, math.nan, None))
                found += pool.map(lambda block: self._job.teacher(block.inputs), some)
        return np.concatenate(found).astype(np.float32)


def _groups(data: TableData) -> list[slice]:
    """The slice of features of each raw column; every feature by itself where there is no schema."""
    schema, width = data.description.get("schema"), data.train.inputs[FEATURES].shape[1]
    if schema is None:
        return [slice(place, place + 1) for place in range(width)]
    starts = FeatureSchema.from_json(schema).starts
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], width], strict=True)]


def _best(students: Sequence[tuple[Candidate, Student]], settings: TrainingSettings) -> tuple[Candidate, Student]:
    best = students[0]
    for one in students[1:]:
        found, known = (entry[1].outcome.metrics[settings.metric] for entry in (one, best))
        if settings.objective.better(found, known):
            best = one
    return best
