"""From the user's options to an open study: a new one, or an existing one that they fit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider
from model_search.errors import DamagedRecordError, StudyError, UnsupportedError
from model_search.finish.validation_rows import keep_validation, kept_own_metric
from model_search.metadata import paths, study_folder
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.filesystem import identity_of, place_warning, what_helps
from model_search.metadata.shared_artefacts import UnnamedPlace, open_artefacts, shared_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import WORSE_THAN_CONSTANT, Store, StudyRecord
from model_search.search.planning.planner import Planner
from model_search.spec.load import load_spec, stored_spec, to_text, warnings_of
from model_search.spec.searches import with_version
from model_search.trainers.opening.data_checks import check_data
from model_search.trainers.opening.data_preparation import prepared
from model_search.trainers.opening.overwriting import EarlierStudy
from model_search.trainers.opening.study_record import check_same_study, data_record, place_record, settings_record
from model_search.trainers.opening.study_settings import (
    BATCH_SIZE,
    classic_models_of_search,
    folds_warning,
    limits,
    planner_settings,
    prepare_options,
    search_version,
    training_settings,
    with_earlier_steps,
)
from model_search.trainers.options import SearchOptions
from model_search.trainers.session import Session
from model_search.trainers.starting.given_models import (
    GivenModels,
    given_settings,
    given_towers,
    keep_given,
    read_given,
    without_given,
)
from model_search.training.classic.evaluator import boosting_in_time, several_leaves_in_time
from model_search.training.metrics import resolve_metric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


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
            changes = without_given(ready.record.settings) | place_record(options, record)
            latest = store.study().settings  # another process may have changed them while the data were prepared
            store.change_settings(changes | given_settings(given, latest), without=[WORSE_THAN_CONSTANT])
        keep_given(store, artefacts, given)
        with _writing_to(opened):
            _write_spec(store, opened)
    except BaseException:
        store.close()
        raise
    folds = folds_warning(options, ready.data)
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
    check_data(data, spec)
    metric = resolve_metric(options.metric, options.goal, data.task)
    searched = with_version(spec, search_version(existing))
    classic = classic_models_of_search(data, spec, options, existing)
    planned = planner_settings(spec, with_earlier_steps(options, existing), data, seed)
    start = given_settings(given, {} if existing is None else existing.settings)
    planned = dataclasses.replace(planned, classic=classic, given=given_towers(start))
    if classic and isinstance(data, TableData):
        limit = options.time_limit
        boosting, several_leaves = boosting_in_time(data, limit), several_leaves_in_time(data, limit)
        planned = dataclasses.replace(planned, boosting=boosting, several_leaves=several_leaves)
    planner = Planner(searched, planned, metric.name, metric.goal)
    if planner.shares_rows and not isinstance(data, TableData):
        raise UnsupportedError(
            "evaluation_schedule has fidelity ROWS, but the data are a stream, which has no rows to choose from; use "
            "fidelity STEPS, or give the data as a table"
        )
    if existing is not None:
        check_same_study(existing, data, spec, metric, options)
    folder = paths.study_dir(options.root_dir, options.experiment_name)
    _artefacts(folder, existing, options)  # refused before anything is written
    settings = dataclasses.replace(
        training_settings(spec, metric, options.eval_steps),
        deterministic=options.deterministic,
        evaluator=planner.evaluator,
        **limits(spec, options.time_limit, planned.budget is not None),
    )
    wanted = StudyRecord(
        name=options.experiment_name,
        owner=options.experiment_owner,
        spec_text=to_text(spec) if existing is None else existing.spec_text,
        metric=metric.name,
        goal=metric.goal,
        seed=seed,
        data_fingerprint=data.fingerprint,
        data=data_record(data, settings),
        settings=settings_record(options, planned, spec, existing) | place_record(options, existing) | start,
        environment={},
    )
    return _Ready(wanted, data, planner, settings)


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
