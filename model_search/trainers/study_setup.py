"""From the user's options to an open study: a new one, or an existing one that they fit."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_search import problem
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider
from model_search.data.rows import FEATURES
from model_search.errors import DamagedRecordError, DataError, StudyError, UnsupportedError
from model_search.finish.validation_rows import keep_validation
from model_search.metadata import paths, study_folder
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.filesystem import place_warning
from model_search.metadata.limits import MOST_LOGITS, MOST_ROW_NUMBERS
from model_search.metadata.shared_artefacts import UnnamedPlace, open_artefacts, shared_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.search.planning.ensembling import keeps_train_logits
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.check import problem_type
from model_search.spec.load import incompatibilities, load_spec, stored_spec, to_text, warnings_of
from model_search.trainers.data_preparation import prepared
from model_search.trainers.options import SearchOptions
from model_search.trainers.session import Session
from model_search.training.metrics import ResolvedMetric, resolve_metric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def open_session(provider: Provider, spec: PhoenixSpec, options: SearchOptions) -> Session:
    """Prepares the data, then creates the study or checks that the existing one fits.

    Nothing is written before the data and the metric have been checked.

    Raises:
        UserError: for data, specification, metric or study that do not fit; the message says what to do.
    """
    folder = paths.study_dir(options.root_dir, options.experiment_name)
    existing = _earlier_study(folder, options)
    seed = _first_given(existing.seed if existing else None, options.seed, secrets.randbelow(2**31))
    data = prepared(provider, prepare_options(spec, seed, options.batch_size, options.eval_steps, existing))
    _check_size(data)
    metric = resolve_metric(options.metric, options.goal, data.task.kind)
    planner = _planner(spec, options, metric, seed)
    if planner.shares_rows and not isinstance(data, TableData):
        raise UnsupportedError(
            "evaluation_schedule has fidelity ROWS, but the data are a stream, which has no rows to choose from; use "
            "fidelity STEPS, or give the data as a table"
        )
    if existing is not None:
        _check_same_study(existing, data, spec, metric, options)
    artefacts = _artefacts(folder, existing, options)
    settings = training_settings(spec, metric, options.eval_steps)
    settings = dataclasses.replace(settings, deterministic=options.deterministic, evaluator=planner.evaluator)
    wanted = StudyRecord(
        name=options.experiment_name,
        owner=options.experiment_owner,
        spec_text=to_text(spec) if existing is None else existing.spec_text,
        metric=metric.name,
        goal=metric.goal,
        seed=seed,
        data_fingerprint=data.fingerprint,
        data=_data_record(data, settings),
        settings=_settings_record(options, spec) | {"artefacts": options.artefacts},
        environment={},
    )
    if options.overwrite and folder.exists():
        study_folder.delete_study(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(folder / paths.DATABASE)
    record = store.create_study(wanted)
    store.update_settings(wanted.settings)
    keep_validation(store, artefacts, data, own_metric=metric.fn is not None)
    study_folder.write_text(folder, paths.SPECIFICATION, to_text(spec))
    return Session(
        folder=folder,
        store=store,
        record=record,
        data=data,
        artefacts=artefacts,
        planner=planner,
        settings=settings,
        warnings=tuple(filter(None, (*warnings_of(spec), place_warning(folder)))),
        notes=tuple(filter(None, (data.task.inferred, *data.description.get("notes", ())))),
        keeping=options.keeping,
    )


def _check_size(data: PreparedData) -> None:
    """A study of larger data could not be read again.

    Raises:
        DataError: if a row has more numbers, or the task more classes, than any that is trained.
    """
    numbers = max(math.prod(spec.shape) for spec in data.input_specs.values())
    if numbers > MOST_ROW_NUMBERS or data.task.logits_dimension > MOST_LOGITS:
        raise DataError(
            f"a row has {numbers:,} numbers, and the model {data.task.logits_dimension:,} outputs; expected "
            f"{MOST_ROW_NUMBERS:,} and {MOST_LOGITS:,} at most"
        )


def _earlier_study(folder: pathlib.Path, options: SearchOptions) -> StudyRecord | None:
    """The study that is to be continued; None where a new one begins.

    Raises:
        StudyError: if it must not be overwritten, or has a different seed.
    """
    database = folder / paths.DATABASE
    if options.overwrite:
        _refuse_foreign_folder(folder)
        _refuse_running(options.experiment_name, database)
        return None
    existing = _existing(database)
    if existing is not None and options.seed is not None and options.seed != existing.seed:
        raise StudyError(
            f"study {options.experiment_name!r} has seed {existing.seed}, not {options.seed}; leave the seed out to "
            "continue it, or begin anew with overwrite=True or another experiment_name"
        )
    return existing


def prepare_options(
    spec: PhoenixSpec, seed: int, batch_size: int, eval_steps: int | None, earlier: StudyRecord | None
) -> PrepareOptions:
    """How a study's data are prepared; `earlier` is the study where it exists already."""
    about = problem.problem_type(problem_type(spec))
    return PrepareOptions(
        seed=seed,
        batch_size=batch_size,
        eval_steps=eval_steps,
        lengths=spec.lengths_feature_name,
        token_ids=about.input_rank > problem.VECTOR_RANK,
        label_per_step=about.label_per_step,
        flat_inputs=earlier is not None and "inputs" not in earlier.data,
    )


def _planner(spec: PhoenixSpec, options: SearchOptions, metric: ResolvedMetric, seed: int) -> Planner:
    settings = PlannerSettings(
        seed=seed,
        train_steps=options.train_steps,
        batch_size=options.batch_size,
        sampler=options.sampler,
        number_models=options.number_models,
    )
    return Planner(spec, settings, metric.name, metric.goal)


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
        },
    }


def _columns(data: PreparedData) -> dict[str, Any]:
    """The features to read later, where the provider's description leaves the inputs to its rows.

    A single input that is called "features" is read from whatever holds one array.
    """
    names = list(data.input_specs)
    if data.description.get("schema") is not None or "inputs" in data.description or names == [FEATURES]:
        return {}
    return {"columns": names}


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


def _refuse_foreign_folder(folder: pathlib.Path) -> None:
    """`overwrite` deletes the folder, so it must be a study's."""
    if folder.exists() and any(folder.iterdir()) and not (folder / paths.DATABASE).is_file():
        raise StudyError(f"{folder} is not a study (it has no {paths.DATABASE}); it is not overwritten, name another")


def _refuse_running(name: str, database: pathlib.Path) -> None:
    """`overwrite` must not delete a study that others are working on."""
    if not database.is_file():
        return
    try:
        store = SqliteStore(database)
    except StudyError:
        return  # damaged, which may be why it is overwritten
    try:
        store.reclaim_dead()
        held = [beat.trial_id for beat in store.heartbeats()]
        if held:
            raise StudyError(
                f"study {name!r} is being worked on (trials {', '.join(map(str, held))}, by "
                f"{', '.join(sorted({store.trial(number).worker for number in held}))}); stop that first, or choose "
                f"another experiment_name; if no one works on it any more, delete {database.parent}"
            )
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


def _check_same_study(
    existing: StudyRecord, data: PreparedData, spec: PhoenixSpec, metric: ResolvedMetric, options: SearchOptions
) -> None:
    differences = []
    if existing.data_fingerprint != data.fingerprint:
        now = {**data.description, **_columns(data)}
        differences.append(f"the training data differ ({_data_difference(existing.data, now)})")
    if (existing.metric, existing.goal) != (metric.name, metric.goal):
        differences.append(f"its metric is {existing.metric} ({existing.goal}), not {metric.name} ({metric.goal})")
    differences += incompatibilities(stored_spec(existing.spec_text, existing.name), spec)
    if differences:
        raise StudyError(
            f"study {options.experiment_name!r} cannot be continued: {'; '.join(differences)}. "
            "Begin anew with overwrite=True, or choose another experiment_name"
        )


def _data_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get("columns") != new.get("columns"):
        missing = [c for c in old.get("columns", ()) if c not in new.get("columns", ())]
        added = [c for c in new.get("columns", ()) if c not in old.get("columns", ())]
        return f"columns gone: {missing or 'none'}, columns new: {added or 'none'}"
    if old.get("split") != new.get("split"):
        return f"split {old.get('split')} before, {new.get('split')} now"
    return "the same columns, other values"


def _settings_record(options: SearchOptions, spec: PhoenixSpec) -> dict[str, Any]:
    return {
        "number_models": options.number_models,
        "train_steps": options.train_steps,
        "eval_steps": options.eval_steps,
        "batch_size": options.batch_size,
        "sampler": options.sampler,
        "time_limit": options.time_limit,
        "deterministic": options.deterministic,
        "spec": to_text(spec),
    }


def _first_given(*values: int | None) -> int:
    return next(value for value in values if value is not None)
