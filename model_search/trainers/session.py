"""What is open while a search runs: the study with its data, and who works on it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from model_search.data.prepared_data import PreparedData, TableData
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.store import Store, StudyRecord
from model_search.search.planning.planner import Planner
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.pruning import Keeping
from model_search.trainers.worker import StopReason
from model_search.training.classic.evaluator import WithClassicModels
from model_search.training.evaluator import Evaluator, make_evaluator
from model_search.training.folds.evaluator import WithFolds
from model_search.training.outcome import TrainingSettings


def tensorflow_engine(data: PreparedData, settings: TrainingSettings) -> tuple[Evaluator, dict[str, Any]]:
    """The evaluator that trains, and what its results depend on besides the plans; loads TensorFlow."""
    from model_search.training.folds.side_by_side import TowersSideBySide
    from model_search.training.runtime import environment, make_deterministic, tensorflow, threads_within

    tensorflow(threads_within(settings.problem_type))
    if settings.deterministic:
        make_deterministic()

    def make(rows: PreparedData, shared: TrainingSettings) -> Evaluator:
        return WithClassicModels(make_evaluator(shared.evaluator, rows, shared), rows, shared)

    def side_by_side(table: TableData) -> TowersSideBySide:
        from model_search.training.engine import Engine

        return TowersSideBySide(table, settings, Engine(table, settings).build)

    has_usual_towers = settings.evaluator == "engine" and settings.auxiliary_weight is None
    about = environment()
    threads = max(1, about["inter_threads"])
    return WithFolds(make, data, settings, side_by_side if has_usual_towers else None, threads), about


@dataclasses.dataclass(frozen=True)
class Session:
    """A study that is open in this process, with everything that running its trials takes.

    Attributes:
        folder: The study's.
        store: Open in this thread.
        record: What the study is.
        data: Training and validation rows.
        artefacts: Where the files of trials are.
        planner: Plans each trial.
        settings: The settings that all trials share.
        warnings: Warnings about what was asked for and is not done.
        notes: Other messages to show before the first trial.
        keeping: How many trials keep their files; None for all.
        make_engine: Makes what trains, in the process that does.
        is_begun: Whether a search of this session has begun before, which has told what there was to say.
    """

    folder: pathlib.Path
    store: Store
    record: StudyRecord
    data: PreparedData
    artefacts: ArtefactStore
    planner: Planner
    settings: TrainingSettings
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    keeping: Keeping | None = None
    make_engine: Callable[[PreparedData, TrainingSettings], tuple[Evaluator, dict[str, Any]]] = tensorflow_engine
    is_begun: bool = False


@dataclasses.dataclass(frozen=True)
class RunContext:
    """Who works on a study in this call, and who may stop and watch them.

    `size` is the number of workers; 0 for as many as a cluster has room for.
    """

    options: SearchOptions
    size: int
    interrupts: Interrupts
    display: ProgressDisplay


Executor = Callable[[Session, RunContext], StopReason]
"""Runs trials until the study holds `options.number_models` completed ones, or something ends the search earlier; what
is running then is put back. Raises StopStudyError where the search cannot go on."""
