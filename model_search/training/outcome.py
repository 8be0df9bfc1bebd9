"""What an evaluator is given and what it returns. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from model_search.data.rows import Arrays
from model_search.metadata.trial import Candidate, TrialPlan
from model_search.ranking import Goal, Objective
from model_search.towers.starting_weights import Source


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What holds for every trial of a study.

    Attributes:
        problem_type: "DNN", "CNN", "RNN_ALL_ACTIVATIONS" or "RNN_LAST_ACTIVATIONS".
        metric: Name of the study's metric; the best step is chosen by it.
        goal: "minimize" or "maximize".
        metric_fn: The user's own metric, `fn(labels, predictions) -> float`, where `metric` names a callable.
        eval_steps: Batches that an evaluation during training may read (and the final one of a stream).
        lr_warmup_steps: Linear warm-up from zero; overrides decay while it lasts.
        parameter_scaled: `use_parameter_scaled_training`: towers take steps in proportion to their depth.
        maximum_depth: The spec's, for `parameter_scaled`.
        dropout_between_blocks: Whether `dropout_rate` applies after every block.
        temperature: Divides the logits at prediction.
        disable_last_dense_layer: The last block's output is the logits.
        keep_train_logits: Whether a tower's logits on the training rows of a table are stored, for later ensembles and
            distillations.
        deterministic: Use only operations whose results are the same bits each time.
        evaluator: Name of the evaluator that trains, see `evaluator.py`.
        auxiliary_weight: What the loss of an auxiliary head is multiplied by; None where towers have none.
        loss_weights: What the loss of each of several tasks is multiplied by; 1 where it is left out.
        merged_losses: Whether the losses of several tasks are added; otherwise each update trains the next task.
        task_blocks: The blocks of each task behind those that the tasks share; empty where no task has some.
        most_seconds: Seconds that a searched tower may take to train, as far as can be told before; None for any.
        slow_seconds: Seconds of training beyond which a searched tower that is slower than others is given up; None for
            never.
        most_parameters: Parameters that a searched tower may have.
        most_megabytes: Memory that its training may take.
        on_all_rows: Whether each tower of a bag is trained on all rows, those of its fold among them.
        few_evaluations: Whether a short trial is evaluated less than eight times, for about a tenth of its time.
    """

    problem_type: str
    metric: str
    goal: str
    metric_fn: Callable[[np.ndarray, np.ndarray], float] | None = None
    eval_steps: int | None = None
    lr_warmup_steps: int = 0
    parameter_scaled: bool = False
    maximum_depth: int = 30
    dropout_between_blocks: bool = False
    temperature: float = 1.0
    disable_last_dense_layer: bool = False
    keep_train_logits: bool = False
    deterministic: bool = False
    evaluator: str = "engine"
    auxiliary_weight: float | None = None
    loss_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    merged_losses: bool = True
    task_blocks: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    few_evaluations: bool = False
    on_all_rows: bool = False
    most_seconds: float | None = None
    slow_seconds: float | None = None
    most_parameters: int | None = None
    most_megabytes: float | None = None

    @property
    def objective(self) -> Objective:
        """The study's metric and its goal, for comparisons."""
        return Objective(self.metric, Goal.of(self.goal))


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a running trial, reported to the caller about twice a second.

    Attributes:
        step: The current step.
        steps: The step at which the trial ends.
        loss: The recent training loss.
        best: The best value of the study's metric so far.
        curve: (step, value of the study's metric) for every evaluation so far.
    """

    step: int
    steps: int
    loss: float
    best: float | None
    curve: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class OptimizerState:
    """What an optimizer has gathered by the best checkpoint: a training that goes on from there begins with it.

    Attributes:
        optimizer: Its name.
        updates: Updates that it has made.
        slots: Its slots, each an array a trainable weight, by the weight's name.
    """

    optimizer: str
    updates: int
    slots: tuple[Mapping[str, np.ndarray], ...]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As it is stored: `adam/updates`, and `adam/0/NAME` for the first slot of a weight."""
        slots = {
            f"{self.optimizer}/{number}/{name}": array
            for number, slot in enumerate(self.slots)
            for name, array in slot.items()
        }
        return {f"{self.optimizer}/updates": np.array(self.updates), **slots}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> OptimizerState:
        """Reads what `to_arrays` gives.

        Raises:
            ValueError: if the arrays are others.
        """
        head = next((name for name in arrays if name.endswith("/updates") and name.count("/") == 1), None)
        if head is None or arrays[head].shape != () or arrays[head].dtype.kind != "i":
            raise ValueError("the state of an optimizer does not say how many updates it has made")
        optimizer = head.partition("/")[0]
        slots: dict[int, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            owner, number, weight = (*name.split("/", 2), "")[:3]
            if name == head:
                continue
            if owner != optimizer or not number.isdigit() or not weight:
                raise ValueError(f"{name!r} belongs to no slot of {optimizer}")
            slots.setdefault(int(number), {})[weight] = array
        return cls(optimizer, int(arrays[head]), tuple(slots[number] for number in sorted(slots)))


@dataclasses.dataclass(frozen=True)
class TrialOutcome:
    """The outcome of a plan; weights are those of the best checkpoint.

    Attributes:
        metrics: Validation metrics by name.
        parameters: Trainable parameters.
        best_step: The step whose weights are kept.
        timings: Seconds by phase: "build", "trace", "train", "validate", "total".
        curve: (step, value of the study's metric) for every evaluation.
        weights: The weights of the own tower (of all towers, where members are fine-tuned) by name, in the order of
            `model.get_weights()`; see `towers/weight_names.py`. Empty where the trial trains no tower.
        valid_logits: float32 [validation rows, ..., logits_dimension], before temperature; an ensemble's are combined.
        tower_logits: The own tower's validation logits, where they are not `valid_logits`.
        train_logits: The own tower's logits on the training rows of a table, where `keep_train_logits` asks for them.
        mixture: Kernel [towers * logits_dimension, logits_dimension] and bias of a weighted ensemble; else empty.
            The towers are in the order of `TrialPlan.towers`.
        optimizer: The optimizer's state, of a tower that is trained by itself.
        began: Of a tower that was to begin as another one's function, whether it has, in words.
        taken_over: Of a tower that was to begin with what fits of other models' weights, how many did; None for others.
        candidates: The architectures that a supernet has compared; its trial has no validation logits, and its metrics
            have no value of the study's metric.
    """

    metrics: Mapping[str, float]
    parameters: int
    best_step: int
    timings: Mapping[str, float]
    curve: tuple[tuple[int, float], ...]
    weights: Mapping[str, np.ndarray]
    valid_logits: np.ndarray
    tower_logits: np.ndarray | None = None
    train_logits: np.ndarray | None = None
    mixture: tuple[np.ndarray, ...] = ()
    optimizer: OptimizerState | None = None
    began: str | None = None
    taken_over: int | None = None
    candidates: tuple[Candidate, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainedTower:
    """A trained model with its plan, to be run or trained further.

    Attributes:
        plan: The trial's plan.
        weights: As in `TrialOutcome`; those that a former version stored are numbered, in the same order.
        mixture: As in `TrialOutcome`.
        members: The members of a fine-tuned ensemble; their weights are among its own.
    """

    plan: TrialPlan
    weights: Mapping[str, np.ndarray]
    mixture: Sequence[np.ndarray] = ()
    members: tuple[TrainedTower, ...] = ()


@dataclasses.dataclass(frozen=True)
class FrozenTowers:
    """Towers that take part in a trial without being trained: an ensemble's members, or a teacher.

    Attributes:
        valid: float32 [towers, validation rows, ..., logits_dimension].
        train: float32 [towers, training rows, ..., logits_dimension]; None for a stream, or where not needed.
        forward: For streams: inputs [rows, ...] by name to logits [towers, rows, ..., logits_dimension].
    """

    valid: np.ndarray
    train: np.ndarray | None = None
    forward: Callable[[Arrays], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Given:
    """What a trial builds on.

    Attributes:
        initial_weights: Weights to start from, by name; None for fresh ones.
        frozen: Members or teacher that are not trained; None where there are none.
        members: Members to fine-tune.
        seconds: Time spent on running frozen towers whose logits were not stored.
        optimizer: What the optimizer begins with; None for a fresh one.
        sources: Trained models from which the own tower takes over what fits, in place of `initial_weights`.
        parent: The smaller tower as whose function the own one begins.
        grown: Whether `initial_weights` were made of those of a smaller tower, so that some may be fresh.
    """

    initial_weights: Mapping[str, np.ndarray] | None = None
    frozen: FrozenTowers | None = None
    members: tuple[TrainedTower, ...] = ()
    seconds: float = 0.0
    optimizer: OptimizerState | None = None
    sources: tuple[Source, ...] = ()
    parent: TrainedTower | None = None
    grown: bool = False
