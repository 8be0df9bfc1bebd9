"""A study: all results of a search, readable at any time, by any process.

TensorFlow is loaded only when a model is asked for.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular.notes import warn
from model_search.data.task import Task, TaskKind, tasks_of
from model_search.errors import ModelSearchError, StudyError, UserError
from model_search.metadata import paths, study_folder
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.final_models import Calibration, FinalKind, FinalModel, ModelChoice, with_model
from model_search.metadata.records import named_by_folder
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Trial, trial_number
from model_search.search.history.history import History
from model_search.trainers.option_fields import as_path, as_root_dir
from model_search.training.runtime import tensorflow as load_tensorflow

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from model_search.data.array_data import TableLike
    from model_search.data.provider import Provider
    from model_search.data.rows import Arrays
    from model_search.finish.export import ModelBundle
    from model_search.finish.final_ensemble import StudyParts
    from model_search.finish.large_files import ModelAnswers
    from model_search.finish.study_models import LatestModel
    from model_search.report.facts import StudyFacts
    from model_search.trainers.replay import Replayed


class Study:
    """The trials of one experiment and the models they found.

    Get one from `SingleTrainer.try_models`, `model_search.fit` or `model_search.load_study`.
    """

    def __init__(self, folder: pathlib.Path, artefacts: str | None = None, file: FileIdentity | None = None):
        self._folder = folder
        self._opened = study_folder.OpenFolder(folder)
        self.artefacts_place = artefacts
        self._stores = threading.local()  # a connection belongs to one thread; a study may be used in any
        self._file = file  # another study may be begun in its place
        self._lock = threading.Lock()
        self._record = self._read_record()
        self._artefacts = open_artefacts(folder, self._record, artefacts)
        self._history = History(self._record.ranking)
        self._revision = 0

    @property
    def name(self) -> str:
        """The experiment's name: that of its folder, where the study was copied or renamed."""
        return self._record.name

    @property
    def folder(self) -> pathlib.Path:
        """The study's folder."""
        return self._folder

    @property
    def record(self) -> StudyRecord:
        """Specification, metric, seed, data and environment, as they were when the study began; the name as it is."""
        return self._record

    @property
    def task(self) -> Task:
        """What is predicted; of several tasks, the one that models are compared by."""
        return Task.of_description(self._record.data)

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by name, the primary one first."""
        return tasks_of(self._record.data)

    @property
    def metric(self) -> str:
        """The name of the metric that trials are compared by."""
        return self._record.metric

    @property
    def history(self) -> History:
        """All trials as the store has them now: a copy of the caller's own, which does not change later."""
        with self._lock:
            trials, self._revision = self._store.history(self._revision)
            self._history.update(trials)
            return self._history.snapshot()

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
            return self._store.trial(trial_number(trial_id))
        except KeyError:
            raise StudyError(f"study {self.name!r} has no trial {trial_id}; it has {len(self.trials)} trials") from None

    @property
    def best_trial(self) -> Trial:
        """The completed trial with the best validation metric.

        Raises:
            StudyError: if no trial is completed yet.
        """
        return self._best_trial_of(self.history)

    @property
    def recommended_trial(self) -> Trial:
        """The completed trial that is most likely the best if all were trained and validated again.

        The best of many noisy results is partly luck. A prediction from similar trials removes some of that luck
        (`model_search.search.predictor.recommend`). Only trials that train one tower on the labels, in full, are
        compared; where these are fewer than ten, it is the best trial.

        Raises:
            StudyError: if no trial is completed yet.
        """
        from model_search.search.predictor.recommend import recommend_for

        history = self.history
        return recommend_for(self._store.study(), history) or self._best_trial_of(history)

    @property
    def final_models(self) -> tuple[FinalModel, ...]:
        """What the final stage has made: an ensemble, a student, both or nothing."""
        return tuple(self._store.final_models())

    @property
    def best(self) -> int | str:
        """Which model is the best by the study's validation metric: a trial's number, "ensemble" or "student".

        It can be given to every method that takes a `trial`. An ensemble that has not passed its cross-fitted check is
        never the best.
        """
        chosen = self._best_of_all(self.history)
        return chosen.kind.value if isinstance(chosen, FinalModel) else chosen.id

    def finish(
        self,
        data: Provider | None = None,
        what: str | None = None,
        student_parameters: int | None = None,
        progress: bool | None = None,
        members: str | None = None,
    ) -> tuple[FinalModel, ...]:
        """Runs the final stage again; what it makes replaces the earlier final models.

        Args:
            data: The provider that the study was made with. A student needs it; an ensemble does not.
            what: "ensemble", "distil", "both" or "neither", as the `finish` of `try_models`; where None, both if the
                data are given, and the ensemble if not.
            student_parameters: The most parameters that the student may have.
            progress: False for silence.
            members: "auto" or "networks", as the `members` of `try_models`; as the study has it where None.

        Returns:
            The final models.

        Raises:
            UserError: if a student is asked for without the data, or with other data.
        """
        from model_search.trainers.finish_study import FinishOptions, finish_study

        options = FinishOptions(data, what, student_parameters, progress, self.artefacts_place, members)
        finish_study(self._folder, options, self._file)
        return self.final_models

    def replay(self, trial: int, data: Provider, metric: Callable[..., float] | None = None) -> Replayed:
        """Runs a completed trial's stored plan again and compares the results.

        Files of the trial that were deleted to save room, or are damaged, are made again. So are first those of the
        trials that it was built on.

        Args:
            trial: The trial's number.
            data: The provider that the study was made with.
            metric: The study's metric, where it is a function.

        Raises:
            UserError: if the data are different, the trial is not completed, or the metric is missing.
        """
        from model_search.trainers.replay import replay_trial

        return replay_trial(self._folder, trial_number(trial), data, metric, self.artefacts_place, self._file)

    def train_longer(
        self,
        trial: int,
        steps: int,
        data: Provider,
        *,
        one_cycle: bool = True,
        metric: Callable[..., float] | None = None,
        progress: bool | None = None,
    ) -> Trial:
        """Trains a completed trial's tower further, as a new trial of the kind "longer".

        It goes on from the trial's weights and the state of its optimizer, and has the augmentations of the study's
        specification if it had none. The same call goes on with what an earlier one has begun and not finished.

        Args:
            trial: The trial's number.
            steps: Steps besides those that it was trained for.
            data: The provider that the study was made with.
            one_cycle: Whether the learning rate rises once more and falls to zero; otherwise as in the trial.
            metric: The study's metric, where it is a function.
            progress: False for silence.

        Raises:
            UserError: if the data are different, the trial is no completed tower, or was trained so already.
            TrialError: if the training fails.
            KeyboardInterrupt: after Ctrl-C, when the new trial has been put back.
        """
        from model_search.trainers.longer.training import LongerOptions, train_longer

        options = LongerOptions(trial, steps, data, one_cycle, metric, progress, self.artefacts_place, file=self._file)
        return self.trial(train_longer(self._folder, options))

    def final_fit(self, data: Provider, trial: int | None = None, *, patience: int = 30, **options: Any) -> Trial:
        """Trains the best tower until `patience` epochs in a row were no better; else as `train_longer`."""
        from model_search.trainers.longer.training import final_fit

        place = {"artefacts": self.artefacts_place, "file": self._file}
        return self.trial(final_fit(self._folder, data, trial, patience, place | options))

    def members(self) -> pd.DataFrame:
        """One row per member of the final ensemble, the heaviest first.

        Columns: trial, blocks, weight, the metric's name (the member's own), without (the ensemble's metric without
        this member), parameters.

        Raises:
            StudyError: if there is no final ensemble.
        """
        from model_search.report.leaderboard import members_frame

        return members_frame(self._final(FinalKind.ENSEMBLE), self.history, self.metric)

    def leaderboard(self) -> pd.DataFrame:
        """One row per completed trial and per final model, best first.

        Columns: rank, trial (missing for final models), kind, the metric's name, blocks, parameters, seconds, parent.
        The metric is a validation figure: it chose the model and is therefore optimistic; `evaluate` on rows kept aside
        is not. An ensemble that has not passed its cross-fitted check is ranked after the best trial.
        """
        from model_search.report.leaderboard import leaderboard_frame

        return leaderboard_frame(self.history, self.metric, self.final_models)

    def print_leaderboard(self, top: int = 10) -> None:
        """Prints the first `top` rows as a table."""
        from model_search.report.leaderboard import leaderboard_frame, print_table

        history = self.history
        frame = leaderboard_frame(history, self.metric, self.final_models)
        title = f"{self.name}: {history.completed_count} models by validation {self.metric} ({self._record.goal})"
        print_table(frame, title, top)

    def report(self, path: str | os.PathLike[str] | None = None) -> pathlib.Path:
        """Writes a report of the study as one self-contained HTML file, without scripts or network access.

        It can be written while the study runs, and for one that has no models yet.

        Args:
            path: The file to make, or a folder for a "report.html"; the study's own folder where None.

        Returns:
            The file.

        Raises:
            UserError: if it cannot be written there.
        """
        from model_search.report.html import write_report

        target = self._folder if path is None else path
        study_folder.check_target(self._folder, target)
        return write_report(self._facts(), target)

    def best_model(self) -> keras.Model:
        """The best model as a Keras model: raw typed columns in, labels and probabilities (or predictions) out."""
        return self.model()

    def model(self, trial: ModelChoice = None) -> keras.Model:
        """One of the study's models, ready for typed columns; see `best_model`.

        Args:
            trial: A trial's number, "single" (the best trial), "ensemble", "student", or None for the best of them.
        """
        load_tensorflow()
        from model_search.finish.export import serving_model

        return serving_model(self.bundle(trial))

    def tower(self, trial: ModelChoice = None) -> keras.Model:
        """The model without what goes before and after: preprocessed inputs in, logits out; `trial` as in `model`."""
        load_tensorflow()
        from model_search.finish.study_models import StudyModels

        return StudyModels(self._parts).of(self._chosen(trial))

    def calibration(self, trial: ModelChoice = None) -> Calibration | None:
        """The temperature that a model's logits are divided by, and what it changes on the validation rows.

        None where numbers are predicted, or where the study has nothing to fit it on.
        """
        return self._calibration_of(self._chosen(trial))

    def bundle(self, trial: ModelChoice = None) -> ModelBundle:
        """A model with what is needed to serve it; `trial` as in `model`."""
        load_tensorflow()
        from model_search.finish.export import ModelBundle
        from model_search.finish.study_models import StudyModels

        chosen = self._chosen(trial)
        tower, about = StudyModels(self._parts).of(chosen), self._metadata(chosen)
        return ModelBundle.of_study(tower, self._record.data, self._temperatures(trial), about)

    def threshold(self, trial: ModelChoice = None, metric: str | None = None) -> float:
        """The probability of the second of two classes from which it had better be predicted, by the validation rows.

        Args:
            trial: As in `model`.
            metric: "f1" or "accuracy"; None for the study's.
        """
        from model_search.finish.decisions.threshold import study_threshold

        return study_threshold(self._parts, self._chosen(trial), self._temperatures(trial)[0], metric)

    def predict(
        self, data: TableLike, trial: ModelChoice = None, threshold: float | str | None = None
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Predictions for a CSV file, a DataFrame, a dict of columns or an array.

        `threshold` is the probability from which the second of two classes is predicted, or "best": `threshold()`.

        Returns:
            [rows]: the user's own classes, or numbers in the user's units ([rows, targets] for several targets,
            [rows, quantiles] for quantiles). With a label for each step a masked array [rows, steps], in which padded
            steps are masked. Of several tasks, a dict of these by task.
        """
        if threshold is not None:
            from model_search.finish.decisions.threshold import check_threshold, classes_above

            check_threshold(threshold, self._record.data)
            limit = self.threshold(trial) if isinstance(threshold, str) else threshold
            return classes_above(self._answers(trial).probabilities(data, self._temperatures(trial)), self.task, limit)
        return self._answers(trial).labels(data, self._temperatures(trial))

    def predict_proba(self, data: TableLike, trial: ModelChoice = None) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Probabilities [rows, classes], one column per class, named by it; of several tasks, a dict by task.

        The index is that of a frame. With a label for each step there is a row for each valid step, and the index holds
        "row" and "step".

        Raises:
            UserError: if the study predicts numbers.
        """
        if all(task.kind is not TaskKind.CLASSIFICATION for task in self.tasks.values()):
            raise UserError(f"study {self.name!r} predicts numbers ({self.task.label}); it has no probabilities")
        return self._answers(trial).probabilities(data, self._temperatures(trial))

    def write_predictions(
        self,
        data: TableLike,
        path: str | os.PathLike[str],
        trial: ModelChoice = None,
        escape_formulas: bool = False,
    ) -> int:
        """Writes a CSV file with a row for each row of the data: its prediction, and the probability of each class.

        A CSV file is read, predicted and written some rows at a time, so that it need not fit into memory. The file is
        there when all is written, or not at all.

        Args:
            data: A CSV file, a DataFrame, a dict of columns or an array.
            path: The file to make; it is compressed if it ends in .gz, .bz2, .xz or .zip.
            trial: As in `predict`.
            escape_formulas: Whether texts that a spreadsheet would take for a formula get an apostrophe before them.

        Returns:
            The number of rows.

        Raises:
            UserError: if it cannot be written there, or the data are a file and the study reads none.
        """
        from model_search.finish.large_files import check_output, write_csv

        check_output(self._folder, data, path)
        return write_csv(self.prediction_frames(data, trial, escape_formulas), path)

    def prediction_frames(
        self, data: TableLike, trial: ModelChoice = None, escape_formulas: bool = False
    ) -> Iterator[pd.DataFrame]:
        """What `write_predictions` writes, some rows at a time."""
        from model_search.finish import large_files

        for frame in self._answers(trial).frames(data, self._temperatures(trial)):
            yield large_files.escape_formulas(frame) if escape_formulas else frame

    def evaluate(self, data: TableLike, trial: ModelChoice = None) -> dict[str, float]:
        """Every usual metric of the task on rows with labels, best on rows that the search has not seen.

        Probabilities are those of `predict_proba`: the temperature has its effect on the loss. The metrics of further
        tasks that the rows have labels of are called "accuracy/task".
        """
        return self._answers(trial).metrics(data, self._temperatures(trial))

    def export(self, path: str | os.PathLike[str], trial: ModelChoice = None) -> dict[str, pathlib.Path]:
        """Writes the model as a SavedModel (raw columns in) and a `.keras` file (typed columns in), with a model card.

        Args:
            path: A folder to make, or a path that ends in `.keras` for that file alone.
            trial: As in `model`; the best model where None.

        Returns:
            What was written, by format.
        """
        study_folder.check_target(self._folder, path)
        load_tensorflow()
        from model_search.finish.export import export

        return export(self.bundle(trial), path, study=self._opened)

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
        chosen = self._best_of_all(history)
        if isinstance(chosen, FinalModel):
            return f"{head}, best {self.metric} {chosen.metrics[self.metric]:.5g} (final {chosen.kind})"
        return f"{head}, best {self.metric} {chosen.objective(self.metric):.5g} (trial {chosen.id})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled study is its place, not its content: it becomes what `load_study` opens there then."""
        return load_study, (self._root(self._opened.path), self.name, self.artefacts_place)

    def _root(self, folder: pathlib.Path) -> str:
        """The folder of all studies, of that of this one."""
        return os.fspath(folder.parents[len(paths.study_dir("", self.name).parts) - 1])

    def _read_record(self) -> StudyRecord:
        """The record, under the name that the study's folder has: a copied study has another one than its record."""
        return named_by_folder(self._store.study().checked(), self._folder)

    @property
    def _store(self) -> SqliteStore:
        if not hasattr(self._stores, "opened"):
            store = SqliteStore(self._folder / paths.DATABASE, create=False, file=self._file)
            self._stores.opened, self._file = store, store.file
        return self._stores.opened

    @property
    def _parts(self) -> StudyParts:
        from model_search.finish.final_ensemble import StudyParts

        return StudyParts(self._store, self._artefacts, self._record, self.history)

    def _facts(self) -> StudyFacts:
        from model_search.report.comparison import kept_comparison
        from model_search.report.facts import StudyFacts
        from model_search.search.predictor.recommend import recommend_for

        record, history, calibration = self._read_record(), self.history, None
        best = self._best_of_all(history) if history.completed else None
        with contextlib.suppress(ModelSearchError, KeyError):  # without its files, the report leaves it out
            calibration = None if best is None else self._calibration_of(best)
        return StudyFacts(
            record=record,
            history=history,
            final_models=self.final_models,
            best=best,
            recommended=recommend_for(record, history),
            calibration=calibration,
            root=self._root(self._folder),
            made_at=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            artefacts=self.artefacts_place,
            comparison=kept_comparison(self._folder),
        )

    def _chosen(self, choice: ModelChoice) -> Trial | FinalModel:
        """The model that `trial` names.

        Raises:
            StudyError: if there is none.
            UserError: if it is no name of a model.
        """
        if choice is None or choice == "best":
            return self._best_of_all(self.history)
        if choice == "single":
            return self.best_trial
        if isinstance(choice, str):
            if choice not in set(FinalKind):
                names = "'best', 'single', 'ensemble' or 'student'"
                raise UserError(f"received the model {choice!r}; expected a trial's number, {names}")
            return self._final(FinalKind(choice))
        return with_model(self.trial(choice))

    def _best_trial_of(self, history: History) -> Trial:
        best = history.best(1)
        if not best:
            raise StudyError(f"study {self.name!r} has no completed trial yet; run its search again")
        return best[0]

    def _best_of_all(self, history: History) -> Trial | FinalModel:
        """The first of the leaderboard.

        Raises:
            StudyError: if no trial is completed yet.
        """
        from model_search.report.leaderboard import ranked_models

        self._best_trial_of(history)  # final models are made from trials: without these there is nothing to rank
        return ranked_models(history, self.final_models)[0]

    def _calibration_of(self, chosen: Trial | FinalModel) -> Calibration | None:
        from model_search.finish.final_ensemble import trial_calibration

        return chosen.calibration if isinstance(chosen, FinalModel) else trial_calibration(self._parts, chosen)

    def _final(self, kind: FinalKind) -> FinalModel:
        found = [model for model in self.final_models if model.kind is kind]
        if not found:
            raise StudyError(f"study {self.name!r} has no final {kind}; finish, the call or the command, makes one")
        return found[0]

    def _temperatures(self, trial: ModelChoice) -> list[float]:
        """The temperature of each task."""
        from model_search.finish.final_ensemble import temperatures

        return temperatures(self._parts, self.calibration(trial))

    @functools.cached_property
    def _latest(self) -> LatestModel:
        load_tensorflow()
        from model_search.finish.study_models import LatestModel

        return LatestModel()

    def _answers(self, trial: ModelChoice) -> ModelAnswers:
        """What one of the models answers for data that are read later."""
        from model_search.finish.large_files import ModelAnswers

        def tower(inputs: Arrays | None) -> keras.Model:
            return self._latest.of(self._parts, self._chosen(trial), inputs)

        return ModelAnswers(self._record.data, self.tasks, tower, warn)

    def _metadata(self, chosen: Trial | FinalModel) -> dict[str, Any]:
        from model_search.finish.model_card import origin_of

        return {"study": self.name, **origin_of(chosen, self.history, self._parts)}


def load_study(
    root_dir: str | os.PathLike[str], experiment_name: str, artefacts: str | os.PathLike[str] | None = None
) -> Study:
    """Opens a study that `try_models` has created, in any process.

    It may be a stranger's: no code of it runs, and nothing outside of its folder is read, written or deleted.

    Args:
        root_dir: Folder of all studies.
        experiment_name: Name of the study.
        artefacts: The folder or URL that it was made with for its trials' files, if any; the leaderboard needs none.

    Raises:
        StudyError: if there is none (the message names the existing studies), or it keeps its files elsewhere.
    """
    folder = study_folder.existing_study(as_root_dir(root_dir).absolute(), experiment_name)
    return Study(folder, None if artefacts is None else as_path(artefacts))
