"""A study: everything a search left behind, readable at any time, by any process.

TensorFlow is loaded only when a model is asked for.
"""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError, UserError
from model_search.metadata import paths
from model_search.metadata.artefacts import LocalArtefacts, load_arrays
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Trial
from model_search.search.history import History
from model_search.trainers.options import as_root_dir

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from model_search.data.array_data import TableLike
    from model_search.finish.export import ModelBundle

WEIGHTS = "weights.npz"
PLAIN_WIDTH = 130  # of a leaderboard that goes into a file or a pipe


class Study:
    """The trials of one experiment and the models they found.

    Get one from `SingleTrainer.try_models`, `model_search.fit` or `model_search.load_study`.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._stores = threading.local()  # a connection belongs to one thread; a study may be used in any
        self._lock = threading.Lock()
        self._record = self._store.study()
        self._history = History(self._record.metric, self._record.goal)
        self._revision = 0

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._record.name

    @property
    def folder(self) -> pathlib.Path:
        """Where the study lives on disk."""
        return self._folder

    @property
    def record(self) -> StudyRecord:
        """Specification, metric, seed, data and environment, as they were when the study began."""
        return self._record

    @property
    def task(self) -> Task:
        """What is predicted."""
        return Task.from_json(self._record.data["task"])

    @property
    def metric(self) -> str:
        """The name of the metric that trials are compared by."""
        return self._record.metric

    @property
    def history(self) -> History:
        """All trials as the store has them now."""
        with self._lock:
            trials, self._revision = self._store.history(self._revision)
            self._history.update(trials)
        return self._history

    @property
    def trials(self) -> list[Trial]:
        """Every trial by id, whatever its state."""
        return self._store.history()[0]

    def trial(self, trial_id: int) -> Trial:
        """One trial.

        Raises:
            StudyError: if there is no such trial.
        """
        try:
            return self._store.trial(trial_id)
        except KeyError:
            raise StudyError(f"study {self.name!r} has no trial {trial_id}; it has {len(self.trials)} trials") from None

    @property
    def best_trial(self) -> Trial:
        """The completed trial with the best validation metric.

        Raises:
            StudyError: if no trial is completed yet.
        """
        best = self.history.best(1)
        if not best:
            raise StudyError(f"study {self.name!r} has no completed trial yet; run try_models on it again")
        return best[0]

    def leaderboard(self) -> pd.DataFrame:
        """One row per completed trial, best first.

        Columns: rank, trial, kind, the metric's name, blocks, parameters, seconds, parent. The metric is a validation
        figure: it chose the model and is therefore optimistic; `evaluate` on rows kept aside is not.
        """
        from model_search.report.leaderboard import leaderboard_frame

        return leaderboard_frame(self.history, self.metric)

    def print_leaderboard(self, top: int = 10) -> None:
        """Prints the first `top` rows as a table."""
        from rich.console import Console

        from model_search.report.leaderboard import leaderboard_table

        title = f"{self.name}: {len(self.history.completed)} models by validation {self.metric} ({self._record.goal})"
        console = Console()
        if not console.is_terminal:
            console = Console(width=max(console.width, PLAIN_WIDTH))
        console.print(leaderboard_table(self.leaderboard(), title, top))

    def best_model(self) -> keras.Model:
        """The best model as a Keras model: raw typed columns in, labels and probabilities (or predictions) out."""
        return self.model()

    def model(self, trial: int | None = None) -> keras.Model:
        """A trial's model (the best one's where `trial` is None), ready for typed columns; see `best_model`."""
        _load_tensorflow()
        from model_search.finish.export import serving_model

        return serving_model(self.bundle(trial))

    def tower(self, trial: int | None = None) -> keras.Model:
        """A trial's tower: preprocessed features in, logits out."""
        _load_tensorflow()
        from model_search.towers.builder import build_tower
        from model_search.training.towers import tower_spec

        chosen = self._completed(trial)
        if chosen.plan is None or chosen.result is None:
            raise StudyError(f"trial {chosen.id} is {chosen.state} and has no model")
        spec = tower_spec(
            chosen.plan, tuple(self._record.data["feature_shape"]), self.task.logits_dimension, self._training_options
        )
        model = build_tower(spec)
        found = [artefact for artefact in chosen.result.artefacts if artefact.name == WEIGHTS]
        if not found:
            raise StudyError(f"the weights of trial {chosen.id} are no longer stored")
        arrays = load_arrays(LocalArtefacts(self._folder), found[0])
        model.set_weights([arrays[key] for key in sorted(arrays)])
        return model

    def bundle(self, trial: int | None = None) -> ModelBundle:
        """A trial's tower with all that is needed to serve it."""
        _load_tensorflow()
        from model_search.data.features import FeatureSchema
        from model_search.finish.export import ModelBundle

        chosen = self._completed(trial)
        schema = self._record.data.get("schema")
        return ModelBundle(
            tower=self.tower(chosen.id),
            task=self.task,
            schema=None if schema is None else FeatureSchema.from_json(schema),
            temperature=self._training_options["temperature"],
            metadata=self._metadata(chosen),
        )

    def predict(self, data: TableLike, trial: int | None = None) -> np.ndarray:
        """Predictions for a CSV file, a DataFrame, a dict of columns or an array.

        Returns:
            [rows]: the user's own classes, or numbers in the user's units ([rows, targets] for several targets).
        """
        from model_search.finish.predict import predict_labels

        return predict_labels(self._logits(data, trial), self.task)

    def predict_proba(self, data: TableLike, trial: int | None = None) -> pd.DataFrame:
        """Probabilities [rows, classes], one column per class, named by it.

        Raises:
            UserError: if the study predicts numbers.
        """
        from model_search.finish.predict import predict_probabilities

        if self.task.kind is not TaskKind.CLASSIFICATION:
            raise UserError(f"study {self.name!r} predicts numbers ({self.task.label}); it has no probabilities")
        return predict_probabilities(self._logits(data, trial), self.task, self._training_options["temperature"])

    def evaluate(self, data: TableLike, trial: int | None = None) -> dict[str, float]:
        """Every usual metric of the task on rows with labels, best on rows that the search has not seen."""
        from model_search.data.evaluation import labelled_rows
        from model_search.training.metrics import all_metrics

        frame, labels, weights = labelled_rows(data, self._record.data)
        return all_metrics(self.task, labels, self._logits(frame, trial), weights)

    def export(self, path: str | os.PathLike[str], trial: int | None = None) -> dict[str, pathlib.Path]:
        """Writes the model as a SavedModel (raw columns in) and a `.keras` file (typed columns in), with a model card.

        Args:
            path: A folder to make, or a path that ends in `.keras` for that file alone.
            trial: Which trial; the best one where None.

        Returns:
            What was written, by format.
        """
        _load_tensorflow()
        from model_search.finish.export import export

        return export(self.bundle(trial), path)

    def close(self) -> None:
        """Closes this thread's connection to the database; it is opened again when it is needed."""
        if hasattr(self._stores, "opened"):
            self._stores.opened.close()
            del self._stores.opened

    def __repr__(self) -> str:
        history = self.history
        head = f"Study {self.name!r} in {self._folder}: {len(history.completed)} models"
        if not history.completed:
            return head
        best = history.best(1)[0]
        return f"{head}, best {self.metric} {best.objective(self.metric):.5g} (trial {best.id})"

    @property
    def _store(self) -> SqliteStore:
        if not hasattr(self._stores, "opened"):
            self._stores.opened = SqliteStore(self._folder / paths.DATABASE)
        return self._stores.opened

    @property
    def _training_options(self) -> Mapping[str, Any]:
        return self._record.data["model"]

    def _completed(self, trial: int | None) -> Trial:
        chosen = self.best_trial if trial is None else self.trial(trial)
        if chosen.result is None:
            raise StudyError(f"trial {chosen.id} is {chosen.state} and has no model")
        return chosen

    def _logits(self, data: TableLike, trial: int | None) -> np.ndarray:
        from model_search.data.evaluation import features_of
        from model_search.finish.predict import tower_logits

        return tower_logits(self.tower(trial), features_of(data, self._record.data))

    def _metadata(self, trial: Trial) -> dict[str, Any]:
        result = trial.result
        return {
            "study": self.name,
            "trial": trial.id,
            "architecture": list(trial.plan.architecture) if trial.plan else [],
            "metrics": dict(result.metrics) if result else {},
            "environment": dict(result.environment) if result else {},
        }


def _load_tensorflow() -> None:
    """Quietly, before anything else imports it."""
    from model_search.training.runtime import tensorflow

    tensorflow()


def load_study(root_dir: str | os.PathLike[str], experiment_name: str) -> Study:
    """Opens a study that `try_models` has made, in any process.

    Raises:
        StudyError: if there is none; names the studies that are there.
    """
    root = as_root_dir(root_dir)
    folder = paths.study_dir(root, experiment_name)
    if not (folder / paths.DATABASE).is_file():
        others = paths.list_studies(root)
        hint = f"; there are: {', '.join(others)}" if others else "; there are no studies in it"
        raise StudyError(f"no study {experiment_name!r} in {root}{hint}")
    return Study(folder)
