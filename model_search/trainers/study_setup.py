"""From the user's options to an open study: a new one, or an existing one that they fit."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from model_search import problem
from model_search.data.named.own_towers import OwnTower
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES, PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData, logits_dimension
from model_search.data.provider import Provider
from model_search.data.rows import FEATURES, main_inputs
from model_search.errors import DamagedRecordError, DataError, StudyError, UnsupportedError
from model_search.finish.validation_rows import keep_validation, kept_own_metric
from model_search.metadata import paths, study_folder
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.filesystem import identity_of, place_warning, what_helps
from model_search.metadata.limits import MOST_LOGITS, MOST_ROW_NUMBERS
from model_search.metadata.shared_artefacts import ID_SETTING, UnnamedPlace, new_id, open_artefacts, shared_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import WORSE_THAN_CONSTANT, Store, StudyRecord
from model_search.search.planning.budget import Budget
from model_search.search.planning.classic_models import models_of_search
from model_search.search.planning.ensembling import keeps_train_logits
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.space.architecture import problem_type_of
from model_search.spec.check import CHANNELS_FIRST, problem_type
from model_search.spec.describe import merges_losses
from model_search.spec.load import incompatibilities, load_spec, stored_spec, to_text, warnings_of
from model_search.spec.searches import LATEST_VERSION, with_version
from model_search.trainers.bags.divisible import no_further_folds
from model_search.trainers.data_preparation import prepared
from model_search.trainers.options import SearchOptions
from model_search.trainers.overwriting import EarlierStudy
from model_search.trainers.same_reading import other_readings
from model_search.trainers.session import Session
from model_search.trainers.starting.given_models import (
    GivenModels,
    given_settings,
    given_towers,
    keep_given,
    read_given,
    without_given,
)
from model_search.training.classic.evaluator import classic_models, share_of_rounds
from model_search.training.metrics import ResolvedMetric, resolve_metric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


TRAIN_STEPS, BATCH_SIZE = 1000, 100  # where neither the user nor the data say anything
_MOST_CHANNELS = 4  # of maps that seem to have them first: grey, colour, colour and alpha
SLOW_SHARE = 1 / 15  # of the time limit, for a tower on a table: a search wants to see dozens of them


def open_session(provider: Provider, spec: PhoenixSpec, options: SearchOptions) -> Session:
    """Prepares the data, then creates the study or checks that the existing one fits.

    Nothing is written before the data and the metric have been checked. Of several processes that begin one study at
    once, one creates it. The others find its record, check their data, specification and metric against it, and
    prepare their data again with its seed, as if they had begun later.

    Raises:
        UserError: for data, specification, metric or study that do not fit; the message says what to do.
        VanishedStudyError: if the study is deleted or moved while it is opened.
    """
    folder = paths.study_dir(options.root_dir, options.experiment_name).absolute()
    deleted = EarlierStudy.found(options.experiment_name, folder) if options.overwrite else None
    seen = identity_of(folder / paths.DATABASE)
    existing = None if options.overwrite else _existing(folder / paths.DATABASE)
    given = read_given(options.warm_start_from, options.artefacts)
    ready = _prepare(provider, spec, options, existing, given)
    left_over = "" if deleted is None else deleted.delete()
    _make_folder(folder)
    store = SqliteStore(folder / paths.DATABASE)
    try:
        opened = study_folder.OpenFolder(folder)
        record = store.create_study(ready.record)
        is_there = existing is None or store.file == seen
        is_found = is_there and record.is_same(ready.record if existing is None else existing)
        if not is_found:  # another process was first
            if deleted is not None:
                raise deleted.begun_by_another()
            ready = _prepare(provider, spec, options, record, given)
        artefacts = _artefacts(folder, record, options)
        keep_validation(store, artefacts, ready.data, own_metric=ready.settings.metric_fn is not None)
        _check_own_metric(store, artefacts, record, ready.settings)
        if is_found and existing is not None:
            # A study that was begun anew just now has another id than the one that was found.
            changes = without_given(ready.record.settings) | _place_record(options, record)
            latest = store.study().settings  # another process may have changed them while the data were prepared
            store.change_settings(changes | given_settings(given, latest), without=[WORSE_THAN_CONSTANT])
        keep_given(store, artefacts, given)
        with _writing_to(opened):
            _write_spec(store, opened)
    except BaseException:
        store.close()
        raise
    folds = _folds_warning(options, ready.data)
    return Session(
        folder=folder,
        store=store,
        record=record,
        data=ready.data,
        artefacts=artefacts,
        planner=ready.planner,
        settings=ready.settings,
        warnings=tuple(filter(None, (*warnings_of(spec), place_warning(folder), folds, left_over))),
        notes=tuple(filter(None, (ready.data.task.inferred, *ready.data.description.get("notes", ())))),
        keeping=options.keeping,
    )


@dataclasses.dataclass(frozen=True)
class _Ready:
    """All that a study takes, before anything is written.

    Attributes:
        record: The study's, as it is created unless there is one.
        data: Prepared with the record's seed.
        planner: Plans with the record's seed.
        settings: The settings that all trials share.
    """

    record: StudyRecord
    data: PreparedData
    planner: Planner
    settings: TrainingSettings


def _prepare(
    provider: Provider,
    spec: PhoenixSpec,
    options: SearchOptions,
    existing: StudyRecord | None,
    given: GivenModels | None,
) -> _Ready:
    """Prepares data, metric and planner for a new study, or for the existing one, which they have to fit.

    Raises:
        UserError: for data, specification or metric that cannot be used, or do not fit the existing study.
    """
    seed = _seed(options, existing)
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    data = prepared(provider, prepare_options(spec, seed, batch_size, options.eval_steps, existing))
    _check_size(data)
    _check_tasks(data, spec)
    _check_maps(data, spec)
    metric = resolve_metric(options.metric, options.goal, data.task)
    searched = with_version(spec, _search_version(existing))
    classic = _classic_models(data, spec, options, existing)
    planned = _planner_settings(spec, _with_earlier_steps(options, existing), data, seed)
    start = given_settings(given, {} if existing is None else existing.settings)
    rounds = share_of_rounds(data, options.time_limit) if classic and isinstance(data, TableData) else 1.0
    planned = dataclasses.replace(planned, classic=classic, share_of_rounds=rounds, given=given_towers(start))
    planner = Planner(searched, planned, metric.name, metric.goal)
    if planner.shares_rows and not isinstance(data, TableData):
        raise UnsupportedError(
            "evaluation_schedule has fidelity ROWS, but the data are a stream, which has no rows to choose from; use "
            "fidelity STEPS, or give the data as a table"
        )
    if existing is not None:
        _check_same_study(existing, data, spec, metric, options)
    folder = paths.study_dir(options.root_dir, options.experiment_name)
    _artefacts(folder, existing, options)  # refused before anything is written
    settings = dataclasses.replace(
        training_settings(spec, metric, options.eval_steps),
        deterministic=options.deterministic,
        evaluator=planner.evaluator,
        **_limits(spec, options.time_limit, planned.budget is not None),
    )
    wanted = StudyRecord(
        name=options.experiment_name,
        owner=options.experiment_owner,
        spec_text=to_text(spec) if existing is None else existing.spec_text,
        metric=metric.name,
        goal=metric.goal,
        seed=seed,
        data_fingerprint=data.fingerprint,
        data=_data_record(data, settings),
        settings=_settings_record(options, planned, spec, existing) | _place_record(options, existing) | start,
        environment={},
    )
    return _Ready(wanted, data, planner, settings)


def _limits(spec: PhoenixSpec, time_limit: float | None, is_table: bool) -> dict[str, Any]:
    """What a searched tower may take, as settings of training; `is_table` where its steps follow from a table."""
    given = spec.trial_limits
    is_short = time_limit is not None and is_table and not given.HasField("seconds")
    return {
        "most_seconds": given.seconds if given.HasField("seconds") else time_limit,
        "slow_seconds": SLOW_SHARE * time_limit if is_short and time_limit is not None else None,
        "most_parameters": given.parameters_at_most if given.HasField("parameters_at_most") else None,
        "most_megabytes": given.megabytes if given.HasField("megabytes") else None,
    }


def _search_version(existing: StudyRecord | None) -> int:
    """The version of its search that a study goes on with: the one that it began with."""
    return LATEST_VERSION if existing is None else int(existing.settings.get("search_version") or 1)


def _check_size(data: PreparedData) -> None:
    """A study of larger data could not be read again.

    Raises:
        DataError: if a row has more numbers, or the task more classes, than any that is trained.
    """
    numbers = max(math.prod(spec.shape) for spec in data.input_specs.values())
    outputs = logits_dimension(data)
    if numbers > MOST_ROW_NUMBERS or outputs > MOST_LOGITS:
        raise DataError(
            f"a row has {numbers:,} numbers, and the model {outputs:,} outputs; expected "
            f"{MOST_ROW_NUMBERS:,} and {MOST_LOGITS:,} at most"
        )


def _check_tasks(data: PreparedData, spec: PhoenixSpec) -> None:
    """The tasks of the specification are those of the data.

    Raises:
        DataError: if a task is in one of the two only, has another number of classes, or has a loss of the provider's.
    """
    named, known = {task.label_name: task for task in spec.multi_task_spec}, data.tasks
    if len(known) > 1 and data.loss_fn is not None:
        raise DataError("the provider has a loss of its own, which is for one task; leave it out, or train one task")
    primary = {data.task.label: data.task} if len(known) == 1 else known
    if named and named.keys() != primary.keys():
        raise DataError(
            f"multi_task_spec names {', '.join(map(repr, named))}, the data have the labels "
            f"{', '.join(map(repr, primary))}; expected the same"
        )
    for name, task in named.items():
        if task.HasField("number_of_classes") and task.number_of_classes != primary[name].logits_dimension:
            raise DataError(
                f"multi_task_spec says that {name!r} has {task.number_of_classes} classes (or numbers to predict); "
                f"the data have {primary[name].logits_dimension}"
            )
    if spec.primary_task_name and spec.primary_task_name != data.task.label:
        raise DataError(
            f"primary_task_name is {spec.primary_task_name!r}; the data have the label {data.task.label!r} alone"
        )


def _check_maps(data: PreparedData, spec: PhoenixSpec) -> None:
    """Maps of a specification with the channels first do not have them first, since towers read them last.

    Raises:
        DataError: if some seem to: with at most four channels, and more rows and columns than that.
    """
    if spec.cnn_data_format != CHANNELS_FIRST or not problem.problem_type(problem_type(spec)).reads_maps:
        return
    for name, one in main_inputs(data.input_specs).items():
        if len(one.shape) == 3 and one.shape[0] <= _MOST_CHANNELS < min(one.shape[1:]):
            raise DataError(
                f"cnn_data_format is {CHANNELS_FIRST!r} and the maps {name!r} have the shape {list(one.shape)}, which "
                "seems to be [channels, height, width]; expected [height, width, channels] from the provider: "
                "transpose them, np.transpose(maps, (0, 2, 3, 1))"
            )


def _seed(options: SearchOptions, existing: StudyRecord | None) -> int:
    """The seed of the existing study; of a new one the given seed, or a random one.

    Raises:
        StudyError: if the existing study has another seed than the given one.
    """
    if existing is None:
        return secrets.randbelow(2**31) if options.seed is None else options.seed
    if options.seed is not None and options.seed != existing.seed:
        raise StudyError(
            f"study {options.experiment_name!r} has seed {existing.seed}, not {options.seed}; leave the seed out to "
            "continue it, or begin anew with overwrite=True or another experiment_name"
        )
    return existing.seed


def _make_folder(folder: pathlib.Path) -> None:
    """Makes the study's folder; that it cannot be made does not mean that it has vanished."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from error


@contextlib.contextmanager
def _writing_to(opened: study_folder.OpenFolder) -> Iterator[None]:
    """Errors of the file system, in a sentence."""
    try:
        yield
    except OSError as error:
        opened.check()
        raise _not_written(opened.path, error) from error


def _not_written(folder: pathlib.Path, error: OSError) -> StudyError:
    cure = what_helps(error, "choose another root_dir")
    return StudyError(f"the study cannot be written to {folder}: {error.strerror or error}; {cure}")


def _write_spec(store: Store, opened: study_folder.OpenFolder) -> None:
    """Writes the specification that the study has for people to read.

    Another process may change it meanwhile; whoever writes last has seen the last change.
    """
    written, text = None, _spec_text(store)
    while text != written:
        with opened.held() as folder:
            study_folder.write_text(folder, paths.SPECIFICATION, text)
        written, text = text, _spec_text(store)


def _spec_text(store: Store) -> str:
    record = store.study()
    text: str = record.settings.get("spec") or record.spec_text
    return text


def prepare_options(
    spec: PhoenixSpec, seed: int, batch_size: int, eval_steps: int | None, earlier: StudyRecord | None
) -> PrepareOptions:
    """How a study's data are prepared; `earlier` is the study where it exists already."""
    about = problem_type_of(spec)
    return PrepareOptions(
        seed=seed,
        batch_size=batch_size,
        eval_steps=eval_steps,
        lengths=spec.lengths_feature_name,
        weights=spec.weight_feature_name if earlier is None or "weight_feature" in earlier.data else "",
        token_ids=about.input_rank > problem.VECTOR_RANK,
        embedding=about.first_block,
        label_per_step=about.label_per_step,
        flat_inputs=earlier is not None and "inputs" not in earlier.data,
        primary_task=_primary_task(spec),
        input_towers=_input_towers(spec),
        reading_rules=RULES_OF_NEW_STUDIES if earlier is None else earlier.data.get("reading_rules", 1),
    )


def _input_towers(spec: PhoenixSpec) -> dict[str, OwnTower]:
    return {
        one.input_name: OwnTower(tuple(one.architecture), tuple(one.blocks_to_use), one.shares_weights_with or None)
        for one in spec.input_towers
    }


def _primary_task(spec: PhoenixSpec) -> str | None:
    """The task that models are compared by: as the specification says, or the first that it lists."""
    names = [spec.primary_task_name, *(task.label_name for task in spec.multi_task_spec)]
    return next(filter(None, names), None)


def _classic_models(
    data: PreparedData, spec: PhoenixSpec, options: SearchOptions, existing: StudyRecord | None
) -> tuple[str, ...]:
    """The models that are no networks which the search tries."""
    is_usual = problem_type(spec) == problem.DEFAULT_PROBLEM_TYPE and not spec.replay.towers
    takes_part = _members(options, existing) == "auto" and is_usual
    return models_of_search(classic_models(data, options.time_limit), options.number_models) if takes_part else ()


def _members(options: SearchOptions, existing: StudyRecord | None) -> str:
    """What may take part; a study of networks, such as those of versions that had nothing else, stays one."""
    if existing is not None and existing.settings.get("members", "networks") == "networks":
        return "networks"
    return options.members


def _with_earlier_steps(options: SearchOptions, existing: StudyRecord | None) -> SearchOptions:
    """The options of a study that goes on: where none are given, with steps and batch size that it began with."""
    if existing is None or options.train_steps is not None or existing.settings.get("steps_from_data"):
        return options
    given = existing.whole_setting("batch_size") if options.batch_size is None else options.batch_size
    return dataclasses.replace(options, train_steps=existing.whole_setting("train_steps"), batch_size=given)


def _planner_settings(spec: PhoenixSpec, options: SearchOptions, data: PreparedData, seed: int) -> PlannerSettings:
    """What the planner is told; where the user gives no steps, they follow from the data."""
    is_vectors = problem.problem_type(problem_type(spec)).input_rank == problem.VECTOR_RANK
    rows, budget, steps = None, None, options.train_steps
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    if isinstance(data, TableData):
        rows = len(data.train)
        if steps is None and is_vectors:
            columns = sum(math.prod(spec.shape) for spec in data.input_specs.values())
            budget = Budget(rows, columns, options.batch_size)
            batch_size, steps = budget.usual_batch_size, budget.usual_steps
    return PlannerSettings(
        seed=seed,
        train_steps=TRAIN_STEPS if steps is None else steps,
        batch_size=batch_size,
        sampler=options.sampler,
        number_models=options.number_models,
        rows=rows,
        budget=budget,
        further_folds=0 if no_further_folds(data) else options.further_folds or 0,
    )


def _folds_warning(options: SearchOptions, data: PreparedData) -> str | None:
    reason = None if options.further_folds is None else no_further_folds(data)
    return None if reason is None else f"further_folds={options.further_folds} has no effect: {reason}"


def _data_record(data: PreparedData, settings: TrainingSettings) -> dict[str, Any]:
    """What the study remembers of its data, and of the models that are built for them."""
    return {
        "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()},
        "label_per_step": problem.problem_type(settings.problem_type).label_per_step,
        **data.description,
        **_columns(data),
        "model": {
            "problem_type": settings.problem_type,
            "dropout_between_blocks": settings.dropout_between_blocks,
            "disable_last_dense_layer": settings.disable_last_dense_layer,
            "temperature": settings.temperature,
            **_task_blocks(settings),
        },
    }


def _task_blocks(settings: TrainingSettings) -> dict[str, Any]:
    blocks = {name: list(blocks) for name, blocks in settings.task_blocks.items()}
    return {"task_blocks": blocks} if blocks else {}


def _columns(data: PreparedData) -> dict[str, Any]:
    """The features to read later, where the provider's description leaves the inputs to its rows.

    A single input that is called "features" is read from whatever holds one array.
    """
    names = list(data.input_specs)
    if data.description.get("schema") is not None or "inputs" in data.description or names == [FEATURES]:
        return {}
    return {"columns": names}


def spec_of(
    given: str | os.PathLike[str] | PhoenixSpec | None,
    stock: str,
    folder: pathlib.Path,
    overwrite: bool,
) -> str | os.PathLike[str] | PhoenixSpec:
    """The given specification; where there is none, that of the study in a folder, or, for a new one, a stock one."""
    if given is not None:
        return given
    existing = None if overwrite else _existing(folder.absolute() / paths.DATABASE)
    if existing is None:
        return stock
    return stored_spec(existing.settings.get("spec") or existing.spec_text, existing.name)


def read_spec(spec: str | os.PathLike[str] | PhoenixSpec) -> PhoenixSpec:
    """Reads and checks the specification.

    Raises:
        SpecError: listing every problem, with line and column.
    """
    return load_spec(spec)


def training_settings(spec: PhoenixSpec, metric: ResolvedMetric, eval_steps: int | None) -> TrainingSettings:
    """The specification's settings for the training of every trial."""
    return TrainingSettings(
        problem_type=problem_type(spec),
        metric=metric.name,
        goal=metric.goal,
        metric_fn=metric.fn,
        eval_steps=eval_steps,
        lr_warmup_steps=spec.learning_spec.lr_warmup_steps,
        parameter_scaled=spec.use_parameter_scaled_training,
        maximum_depth=spec.maximum_depth,
        dropout_between_blocks=spec.apply_dropouts_between_blocks,
        temperature=spec.temperature,
        disable_last_dense_layer=spec.disable_last_dense_layer,
        keep_train_logits=keeps_train_logits(spec),
        loss_weights={task.label_name: task.loss_weight for task in spec.multi_task_spec},
        merged_losses=merges_losses(spec),
        task_blocks={task.label_name: tuple(task.architecture) for task in spec.multi_task_spec if task.architecture},
        auxiliary_weight=spec.auxiliary_head_loss_weight if spec.use_auxiliary_head else None,
        few_evaluations=problem.problem_type(problem_type(spec)).reads_maps,
    )


def _existing(database: pathlib.Path) -> StudyRecord | None:
    if not study_folder.check_own_file(database):
        return None
    store = SqliteStore(database)
    try:
        return store.study().checked()
    except DamagedRecordError:
        raise
    except StudyError:
        return None  # made, but killed before the record was written
    finally:
        store.close()


def _artefacts(folder: pathlib.Path, existing: StudyRecord | None, options: SearchOptions) -> ArtefactStore:
    """Where the study keeps its files, which cannot change after it has begun.

    Raises:
        StudyError: if the study keeps them elsewhere, or in a place that was not named.
    """
    if existing is None:
        return shared_artefacts(folder, options.artefacts)
    found = open_artefacts(folder, existing, options.artefacts)
    if isinstance(found, UnnamedPlace):
        raise found.refusal()
    return found


def _place_record(options: SearchOptions, existing: StudyRecord | None) -> dict[str, Any]:
    """Where the files are; of a new study, with what tells it from others of its name in that place."""
    place: dict[str, Any] = {"artefacts": options.artefacts}
    if options.artefacts is None:
        return place
    own_id = new_id() if existing is None else existing.settings.get(ID_SETTING)
    return place if own_id is None else place | {ID_SETTING: own_id}


def _check_same_study(
    existing: StudyRecord, data: PreparedData, spec: PhoenixSpec, metric: ResolvedMetric, options: SearchOptions
) -> None:
    differences = []
    if existing.data_fingerprint != data.fingerprint:
        now = {**data.description, **_columns(data)}
        differences.append(f"the training data differ ({_data_difference(existing.data, now)})")
    else:
        differences += other_readings(existing.data, data)
    if (existing.metric, existing.goal) != (metric.name, metric.goal):
        differences.append(f"its metric is {existing.metric} ({existing.goal}), not {metric.name} ({metric.goal})")
    differences += incompatibilities(stored_spec(existing.spec_text, existing.name), spec)
    if differences:
        raise StudyError(
            f"study {options.experiment_name!r} cannot be continued: {'; '.join(differences)}. "
            "Begin anew with overwrite=True, or choose another experiment_name"
        )


def _check_own_metric(store: Store, artefacts: ArtefactStore, record: StudyRecord, settings: TrainingSettings) -> None:
    """A function and a built-in metric of one name are two metrics.

    Raises:
        StudyError: if the study has the other one.
    """
    own = kept_own_metric(store, artefacts)
    if own is None or own == (settings.metric_fn is not None):
        return
    kinds = ("the built-in one", "a function of yours")
    raise StudyError(
        f"study {record.name!r} cannot be continued: its metric {record.metric!r} is {kinds[own]}, not "
        f"{kinds[not own]} of this name. Give the same metric, begin anew with overwrite=True, or "
        "choose another experiment_name"
    )


def _data_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get("columns") != new.get("columns"):
        missing = [c for c in old.get("columns", ()) if c not in new.get("columns", ())]
        added = [c for c in new.get("columns", ()) if c not in old.get("columns", ())]
        return f"columns gone: {missing or 'none'}, columns new: {added or 'none'}"
    if old.get("split") != new.get("split"):
        return f"split {old.get('split')} before, {new.get('split')} now"
    return "the same columns, other values"


def _settings_record(
    options: SearchOptions, planned: PlannerSettings, spec: PhoenixSpec, existing: StudyRecord | None
) -> dict[str, Any]:
    return {
        "number_models": options.number_models,
        "train_steps": planned.train_steps,
        "steps_from_data": planned.budget is not None,
        "eval_steps": options.eval_steps,
        "batch_size": planned.batch_size,
        "sampler": options.sampler,
        "search_version": _search_version(existing),
        "time_limit": options.time_limit,
        "deterministic": options.deterministic,
        "members": _members(options, existing),
        "spec": to_text(spec),
    }
