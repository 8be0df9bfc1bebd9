"""The final ensemble of a study, from what its trials have stored. NumPy only: no data, no model is loaded."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind, logits_of_tasks, tasks_of
from model_search.deadline import Deadline
from model_search.errors import StudyError
from model_search.finish.calibration import calibrate
from model_search.finish.ensemble_selection import CLEAR, COSTLY, Selection, ensemble_logits, paired_gain, select
from model_search.finish.selection_objectives import make_objective
from model_search.finish.validation_rows import KeptRows, kept_rows, kept_training
from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError
from model_search.metadata.final_models import Calibration, FinalKind, FinalMember, FinalModel
from model_search.metadata.paths import TRAIN_LOGITS, VALID_LOGITS
from model_search.metadata.store import Store, StudyRecord
from model_search.metadata.trial import Trial
from model_search.search.history.history import History
from model_search.training.metrics import ResolvedMetric, all_metrics, as_number, call_metric_fn
from model_search.training.stored_towers import stored_arrays

MOST_CANDIDATES = 1000  # the best trials by the study's metric

_FEWEST_BAGS = 2  # to select among
_BEHIND = (
    "selected on the validation rows alone: the models trained in folds are clearly worse there than the best trial"
)
_OF_VALIDATION, _OF_TRAINING = (VALID_LOGITS, "valid_logits"), (TRAIN_LOGITS, "train_logits")

MetricsOf = Callable[[np.ndarray], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class StudyParts:
    """A study that is open in this thread.

    `members` is what may take part in an ensemble, where it is not what the study's own setting says.
    """

    store: Store
    artefacts: ArtefactStore
    record: StudyRecord
    history: History
    members: str | None = None

    @property
    def networks_only(self) -> bool:
        """Whether nothing but networks may take part in an ensemble."""
        return (self.members or self.record.settings.get("members")) == "networks"

    @property
    def task(self) -> Task:
        """What is predicted."""
        return Task.of_description(self.record.data)

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by name, the primary one first."""
        return tasks_of(self.record.data)

    @property
    def completed(self) -> tuple[int, ...]:
        """Ids of the completed trials, in order."""
        return tuple(sorted(trial.id for trial in self.history.completed))

    def kept(self) -> KeptRows:
        """The validation rows.

        Raises:
            StudyError: if they were not kept.
        """
        found = kept_rows(self.store, self.artefacts, self.tasks)
        if found is None:
            raise StudyError(
                f"study {self.record.name!r} was made by a version that did not keep its validation labels; call "
                "try_models on it again, with the same data and number_models, and they are kept"
            )
        return found


@dataclasses.dataclass(frozen=True)
class MetricFunctions:
    """Metric functions for studies whose stored rows alone do not suffice.

    Attributes:
        metric_fn: The user's own metric, if the study is evaluated by one.
        all_metrics: All metrics of validation logits, where the provider has a loss or metrics of its own.
    """

    metric_fn: Callable[..., float] | None = None
    all_metrics: MetricsOf | None = None


def make_ensemble(
    parts: StudyParts, metric_functions: MetricFunctions, deadline: Deadline | None = None
) -> tuple[FinalModel, np.ndarray]:
    """Selects the ensemble; returns it with its logits on the validation rows.

    Args:
        parts: The study.
        metric_functions: Used where the stored rows do not suffice to compute the metrics.
        deadline: When the selection has to be done; a deadline makes it coarser.

    Raises:
        StudyError: if validation labels or logits are gone.
    """
    started = time.perf_counter()
    kept, record = parts.kept(), parts.record
    metric, reason = objective_of(record, kept, metric_functions)
    found = candidates(parts, kept.rows, metric=metric)
    trials, logits, notes, rows = found.trials, found.logits, list(found.notes), found.rows
    valid = slice(len(rows.labels) - len(kept.rows.labels), None)
    is_late = None if deadline is None else lambda: deadline.passed
    is_costly = make_objective(rows.task, metric)[1]
    settings = dataclasses.replace(COSTLY, guided=0.0) if is_costly and _is_earlier(record) else None
    chosen = select(logits, rows, metric, settings, record.seed, is_late)
    metrics_of = _metrics_of(record, kept, metric_functions)
    mixed = _mixed(chosen, logits, rows.task)
    metrics = metrics_of(mixed[valid])
    whole = kept.rows.by_row(mixed[valid])
    if len(parts.tasks) > 1:
        whole = _mixed_tasks(chosen, {place: _outputs(parts, trials[place]) for place in chosen.weights}, parts.tasks)
        if metric_functions.all_metrics is not None:
            metrics = {**metric_functions.all_metrics(whole), **metrics}
    value = metrics.get(record.metric)
    notes += [reason] if reason else []
    if not chosen.beats_single:
        notes.append("by a cross-fitted estimate it is not better than the best single model")
    if value is None:
        notes.append(f"its {record.metric} cannot be computed from what is stored")
    members = tuple(
        FinalMember(
            trial=trials[place].id,
            weight=weight,
            metric=_objective_of(trials[place], record.metric),
            without=metrics_of(_mixed(chosen, logits, rows.task, without=place)[valid]).get(record.metric)
            if len(chosen.weights) > 1
            else None,
        )
        for place, weight in chosen.weights.items()
    )
    is_accepted = chosen.beats_single and value is not None
    made = FinalModel(
        kind=FinalKind.ENSEMBLE,
        metrics=metrics,
        parameters=parameters_of(parts.history, [member.trial for member in members]),
        seconds=time.perf_counter() - started,
        trials=parts.completed,
        accepted=is_accepted,
        gain=chosen.gain,
        gain_error=chosen.gain_error,
        members=members,
        calibration=calibrate(rows, mixed, given_temperature(record), kept.of_others(whole)),
        notes=tuple(notes),
        leads=is_accepted and not _is_earlier(record),
    )
    return made, whole


def _is_earlier(record: StudyRecord) -> bool:
    """Whether the study was begun by version 1.0, whose rules it goes on with."""
    return "members" not in record.settings


def trial_calibration(parts: StudyParts, trial: Trial) -> Calibration | None:
    """The calibration of one trial's model; None where numbers are predicted, or nothing is stored to fit it on."""
    kept = kept_rows(parts.store, parts.artefacts, parts.tasks)
    logits = validation_logits(parts.artefacts, trial)
    if kept is None or logits is None or len(logits) != kept.rows.evaluated:
        return None
    return calibrate(kept.rows, kept.rows.logits(logits), given_temperature(parts.record), kept.of_others(logits))


def temperatures(parts: StudyParts, found: Calibration | None) -> list[float]:
    """The temperature of each task, with a calibration of the model if there is one."""
    given, others = given_temperature(parts.record) or 1.0, len(parts.tasks) - 1
    fitted = () if found is None or len(found.others) != others else found.others
    return [given if found is None else found.temperature, *(fitted or [given] * others)]


def given_temperature(record: StudyRecord) -> float | None:
    """The temperature that the specification names, the latest one where the study was continued; None for none."""
    from model_search.spec.load import stored_spec

    spec = stored_spec(record.settings.get("spec") or record.spec_text, record.name)
    return spec.temperature if spec.HasField("temperature") else None


def validation_logits(artefacts: ArtefactStore, trial: Trial) -> np.ndarray | None:
    """The logits that a completed trial predicts on the validation rows; None where they are gone or damaged."""
    return _stored(artefacts, trial, *_OF_VALIDATION)


def _stored(artefacts: ArtefactStore, trial: Trial, file: str, name: str) -> np.ndarray | None:
    try:
        return (stored_arrays(artefacts, trial.artefacts, file) or {}).get(name)
    except DamagedArtefactError:
        return None


def towers_of(trial: Trial) -> tuple[int, ...]:
    """The towers that a completed trial's model consists of, each by the trial that owns its weights."""
    return () if trial.plan is None else trial.plan.towers


def parameters_of(history: History, trials: Iterable[int]) -> int:
    """Parameters of several trials' models together; a tower that is in more than one counts once."""
    members = [trial for trial in map(history.get, trials) if trial is not None]
    owners = {owner for trial in members for owner in towers_of(trial)} | {
        trial.id for trial in members if _has_mixture(trial)
    }
    results = [trial.result for trial in map(history.get, owners) if trial is not None]
    return sum(result.tower_parameters for result in results if result is not None)


def _has_mixture(trial: Trial) -> bool:
    ensemble = None if trial.plan is None else trial.plan.ensemble
    return ensemble is not None and ensemble.combining == "weighted"


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Trials that may be members of an ensemble, best first.

    Attributes:
        trials: The trials.
        logits: [rows, width] of each.
        rows: The rows that they are selected on; the validation rows are the last ones of them.
        notes: Sentences on those left out, and on the rows.
    """

    trials: list[Trial]
    logits: list[np.ndarray]
    rows: LabelledRows
    notes: tuple[str, ...] = ()


def candidates(
    parts: StudyParts,
    valid: LabelledRows,
    only: Collection[int] | None = None,
    metric: ResolvedMetric | None = None,
) -> Candidates:
    """Trials with what they predict on rows that they were not trained on.

    These are bags alone, with all rows, where there are two of them and they are not clearly worse than the best trial,
    as they may be where time was short. Else they are all trials, with the validation rows.

    Args:
        parts: The study.
        valid: Its validation rows.
        only: The trials that are asked for, which may be bags even where these are worse; None for all.
        metric: What bags are compared with the best trial by; None for the log loss or the squared error.

    Raises:
        StudyError: if nothing of that is there any more.
    """
    asked = [trial for trial in parts.history.completed if only is None or trial.id in only]
    if only is not None and not all(trial.plan is not None and trial.plan.folds for trial in asked):
        return _validated(parts, valid, asked[:MOST_CANDIDATES])
    bags = _bags(parts, valid, asked)
    if bags is not None and (only is not None or not _are_behind(bags.trials, parts, valid, metric)):
        return bags
    found = _validated(parts, valid, asked[:MOST_CANDIDATES])
    return found if bags is None else dataclasses.replace(found, notes=(_BEHIND, *found.notes))


def _are_behind(bags: Sequence[Trial], parts: StudyParts, valid: LabelledRows, metric: ResolvedMetric | None) -> bool:
    """Whether bags, best first, are clearly worse than the best of the other trials.

    So they are where they do not lead the history, or by a paired comparison with the best single model on the
    validation rows, if that has no bag: its bag shows how much of its figure is luck. These rows have chosen that
    model: the best of n equal ones is ahead by luck, by about the square root of 2 log n standard errors at most.
    """
    leader = parts.history.leader
    if leader is None or leader.plan is None or not leader.plan.is_bag:
        return True
    singles = [
        trial
        for trial in parts.history.completed
        if trial.plan is not None and not trial.plan.folds and not trial.plan.members
        if may_take_part(trial, parts.networks_only)
    ]
    if not singles or any(bag.plan is not None and bag.plan.parent == singles[0].id for bag in bags):
        return False
    best, bag = (validation_logits(parts.artefacts, trial) for trial in (singles[0], bags[0]))
    if best is None or bag is None or {len(best), len(bag)} != {valid.evaluated}:
        return False
    gain = paired_gain(valid, metric, valid.logits(best), valid.logits(bag), parts.record.seed)
    return gain.gain > max(CLEAR, math.sqrt(2 * math.log(len(singles)))) * gain.error


def _bags(parts: StudyParts, valid: LabelledRows, asked: Iterable[Trial]) -> Candidates | None:
    """Trials that have predicted all rows out of their folds; None where there are fewer than two of them."""
    train = kept_training(parts.store, parts.artefacts, parts.task)
    if train is None or train.valid is not None or valid.valid is not None:
        return None
    trials, logits = [], []
    for trial in asked:
        if trial.plan is None or not trial.plan.folds or not may_take_part(trial, parts.networks_only):
            continue
        found = [_stored(parts.artefacts, trial, *which) for which in (_OF_TRAINING, _OF_VALIDATION)]
        lengths = [None if part is None else len(part) for part in found]
        if lengths == [train.evaluated, valid.evaluated]:
            trials.append(trial)
            parts_of = zip((train, valid), found, strict=True)
            logits.append(np.concatenate([rows.logits(part) for rows, part in parts_of if part is not None]))
    if len(trials) < _FEWEST_BAGS:
        return None
    labels = np.concatenate([train.labels, valid.labels])
    weights = None
    if train.weights is not None and valid.weights is not None:
        weights = np.concatenate([train.weights, valid.weights])
    note = f"selected among {len(trials)} models on {len(labels)} rows, each predicted by towers trained without it"
    return Candidates(trials, logits, LabelledRows(parts.task, labels, weights), (note,))


def _validated(parts: StudyParts, rows: LabelledRows, asked: Iterable[Trial]) -> Candidates:
    """Trials with their validation logits."""
    trials, logits = [], []
    best = [trial for trial in asked if may_take_part(trial, parts.networks_only)]
    for trial in best:
        found = validation_logits(parts.artefacts, trial)
        if found is not None and len(found) == rows.evaluated:
            trials.append(trial)
            logits.append(rows.logits(found))
    if not trials:
        raise StudyError(f"the validation logits of study {parts.record.name!r} are gone; no ensemble can be selected")
    lost = len(best) - len(trials)
    notes = (f"{lost} trials took no part: their validation logits are gone",) if lost else ()
    return Candidates(trials, logits, rows, notes)


def may_take_part(trial: Trial, networks_only: bool) -> bool:
    """Whether a trial may be a member of an ensemble, perhaps of one of networks only."""
    return not networks_only or (trial.plan is not None and trial.plan.classic is None)


def objective_of(record: StudyRecord, kept: KeptRows, functions: MetricFunctions) -> tuple[ResolvedMetric | None, str]:
    """The metric to select by, and a note if it is not the study's metric."""
    task = kept.rows.task
    usual = "log loss" if task.kind is TaskKind.CLASSIFICATION else "squared error"
    usual = "pinball loss" if task.quantiles else usual
    if functions.metric_fn is not None:
        return ResolvedMetric(record.metric, record.goal, functions.metric_fn), ""
    if kept.own_metric:
        return None, f"selected by {usual}: the metric {record.metric!r} is a function, which is not stored"
    if kept.own_loss and record.metric == "loss":
        return None, f"selected by {usual}: the loss is a function of the provider's"
    return ResolvedMetric(record.metric, record.goal), ""


def _metrics_of(
    record: StudyRecord, kept: KeptRows, functions: MetricFunctions
) -> Callable[[np.ndarray], dict[str, float]]:
    """A function from validation logits to finite metrics, with the study's metric where it can be computed here."""
    rows, name = kept.rows, record.metric

    def metrics_of(logits: np.ndarray) -> dict[str, float]:
        if functions.all_metrics is not None:
            found = dict(functions.all_metrics(rows.by_row(logits)))
        else:
            found = all_metrics(rows.task, rows.labels, logits, rows.weights)
            unknown = {"loss"} if kept.own_loss else set()
            unknown |= {name} if kept.own_metric else set()
            found = {known: value for known, value in found.items() if known not in unknown}
        if functions.metric_fn is not None and functions.all_metrics is None:
            value = call_metric_fn(functions.metric_fn, rows.task, rows.labels, logits)
            found[name] = as_number(value, f"metric {name!r}")
        return {known: float(value) for known, value in found.items() if math.isfinite(value)}

    return metrics_of


def _objective_of(trial: Trial, metric: str) -> float | None:
    return None if trial.result is None else trial.result.metrics.get(metric)


def _outputs(parts: StudyParts, trial: Trial) -> np.ndarray:
    """A trial's validation logits of all tasks side by side, [rows, ...]."""
    found = validation_logits(parts.artefacts, trial)
    if found is None:
        raise StudyError(f"the validation logits of trial {trial.id} are gone; no ensemble can be made of it")
    return found


def _mixed_tasks(chosen: Selection, outputs: Mapping[int, np.ndarray], tasks: Mapping[str, Task]) -> np.ndarray:
    """The ensemble's logits of all tasks side by side, [rows, ...]."""
    parts = []
    for name, columns in logits_of_tasks(tasks).items():
        own = [outputs[place][..., columns] for place in chosen.weights]
        flat = [values.reshape(-1, values.shape[-1]) for values in own]
        parts.append(ensemble_logits(tasks[name], flat, list(chosen.weights.values())).reshape(own[0].shape))
    return np.concatenate(parts, axis=-1)


def _mixed(chosen: Selection, logits: Sequence[np.ndarray], task: Task, without: int | None = None) -> np.ndarray:
    """The ensemble's logits, perhaps without one of its members."""
    places = [place for place in chosen.weights if place != without]
    total = sum(chosen.weights[place] for place in places)
    return ensemble_logits(
        task,
        [logits[place] for place in places],
        [chosen.weights[place] / total for place in places],
    )
