"""`SingleTrainer`: runs the trials of a search in this process."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from model_search.data.provider import Provider
from model_search.deadline import Deadline
from model_search.errors import UserError
from model_search.metadata.final_models import KEEP_MODELS
from model_search.trainers.options import SearchOptions, TrialCallback

if TYPE_CHECKING:
    import keras

    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.study import Study


class SingleTrainer:
    """Searches for the best network for a data set.

    >>> from model_search import constants, single_trainer                                     # doctest: +SKIP
    >>> from model_search.data import csv_data
    >>> trainer = single_trainer.SingleTrainer(
    ...     data=csv_data.Provider(filename="train.csv", label="income"), spec=constants.DEFAULT_DNN)
    >>> study = trainer.try_models(number_models=200, train_steps=1000, eval_steps=100, root_dir="runs",
    ...     batch_size=32, experiment_name="adult", experiment_owner="me")

    Args:
        data: The provider of the data.
        spec: The search specification: path of a text protobuf, or a `PhoenixSpec` message.

    Raises:
        SpecError: listing every problem of the specification, with line and column.
        UserError: if `data` is not a provider.
    """

    def __init__(self, data: Provider, spec: str | os.PathLike[str] | PhoenixSpec):
        from model_search.trainers.opening.study_setup import read_spec

        if not isinstance(data, Provider):
            raise UserError(
                f"data is a {type(data).__name__}; expected a model_search.data.Provider, such as "
                "csv_data.Provider(filename=..., label=...) or array_data.Provider(x, y)"
            )
        self._data = data
        self._spec = read_spec(spec)

    def try_models(
        self,
        number_models: int,
        train_steps: int | None,
        eval_steps: int | None,
        root_dir: str | os.PathLike[str],
        batch_size: int | None,
        experiment_name: str,
        experiment_owner: str,
        *,
        seed: int | None = None,
        metric: str | Callable[..., float] | None = None,
        goal: str | None = None,
        time_limit: float | None = None,
        overwrite: bool = False,
        callbacks: TrialCallback | Sequence[TrialCallback] | None = None,
        sampler: str = "auto",
        progress: bool | None = None,
        workers: int | str | None = None,
        tuner_id: str | None = None,
        worker_memory: float | None = None,
        finish: str = "both",
        members: str = "auto",
        folds: int | str | None = "auto",
        further_folds: int | None = None,
        refit: bool | str = "auto",
        student_parameters: int | None = None,
        keep_models: int | None = KEEP_MODELS,
        disk_limit: float | None = None,
        deterministic: bool = False,
        executor: str = "local",
        resources: Mapping[str, float] | None = None,
        artefacts: str | os.PathLike[str] | None = None,
        warm_start_from: Study | keras.Model | str | os.PathLike[str] | None = None,
    ) -> Study:
        """Trains models until the study holds `number_models` completed ones.

        A second call with the same `root_dir` and `experiment_name` continues the study: after 20 models,
        `number_models=50` trains 30 more, remembering the first 20.

        Args:
            number_models: Completed trials that the study is to hold in the end; a failed trial is replaced.
            train_steps: Training steps (batches) per trial. None lets them follow from the data: on a table each trial
                chooses its epochs, around a number that depends on rows and columns; otherwise it is 1000.
            eval_steps: Batches that an evaluation may read while a trial trains, and that the validation of a stream
                reads; a table in memory is always validated in full at the end of a trial.
            root_dir: Folder of all studies; made where it is missing.
            batch_size: Rows per step. Where it is None, trials on a table without train_steps choose it; otherwise it
                is 100 (the command takes 64 for pictures, 32 for sound).
            experiment_name: Name of the study.
            experiment_owner: Whose it is; kept for people.
            seed: Seed of every random choice; drawn and recorded where None.
            metric: What trials are compared by: "loss" (the default), "accuracy", "auc", "log_loss", "f1", "r2",
                "rmse", "mae", ..., or a function of labels and predictions that returns a number.
            goal: "minimize" or "maximize"; follows from the metric where None, and is needed with a function.
            time_limit: Seconds after which the call returns with the best so far, at least one model; the final stage
                is part of it.
            overwrite: Delete an earlier study of that name and begin anew.
            callbacks: Functions called with each finished `Trial`.
            sampler: How hyperparameters are chosen: "random", "bayesian" or "predictor"; "auto" is "predictor" where
                the search has one (the default search), and "random" elsewhere.
            progress: False for silence; a warning that something asked for is not done is shown all the same.
            workers: Processes that train at the same time, one where None; "auto" for as many as cores (or GPUs) and
                memory allow. On Ray, as many as the cluster has room for where None or "auto".
            tuner_id: Name of the worker (of the workers, with a number each), as the study keeps it.
            worker_memory: Gigabytes that a worker process may hold between two trials; one that has grown past them is
                replaced. Its share of the free memory where None.
            finish: What the final stage makes when the trials are done: an "ensemble" selected from them, a student
                that learns from it ("distil"; a time limit leaves it a tenth), "both", or "neither".
            members: What may take part besides networks: "auto" tries trees and a linear model early in a search
                of eight models or more on a table, "networks" leaves them out, of the final ensemble, too.
            folds: Folds in which the best models of a table, or of sequences with groups, are trained again after the
                search, so that all rows are trained on and validated on; a time limit leaves it four tenths. "auto" is
                8 for tables of fewer than 20,000 rows where steps follow from the data, with a time limit or 40 models
                or more, and one for each of 3 to 8 groups of sequences. None for none.
            further_folds: Of 8 folds of a table, so many besides the validation rows on which the better third of the
                trials is evaluated, too, and the best of these on more; trials are compared by the mean. These are
                trials as well. None for none.
            refit: Train what is handed back again on training and validation rows, for the same epochs; metrics stay
                those of the search. Bags of eight folds have seen nearly all rows, and stay as they are. A time limit
                leaves it two tenths. With True, and after a final training, finish='both' makes no student, which would
                not be trained on all rows. "auto" does so with a time limit, for tables whose best models are not
                trained in folds, for bags of sequences with fewer groups and after a final training.
            student_parameters: The most parameters that the student may have.
            keep_models: Trials that keep weights and logits on disk, the best ones; others only where something is
                built on them. None for all.
            disk_limit: Gigabytes that these files may take; the worst trials lose theirs first. None for no limit.
            deterministic: Same seed, same machine, one worker: the same metrics to the last bit, also where an
                operation has a faster way (on GPUs, mostly) that is not repeatable.
            executor: "local" for this machine, "ray" for the Ray cluster that `ray.init()` finds (or starts).
            resources: What a trial takes on Ray, {"cpu": 1, "gpu": 0} where None; other names are Ray's own resources.
            artefacts: Folder or URL (whatever fsspec knows: "s3://...") for the files of trials, seen by all machines;
                the study's own folder where None.
            warm_start_from: Trained models whose weights new towers start from, as far as they fit: a `Study` or the
                path of its folder (its best towers), a Keras model or the path of a .keras file. The study keeps them.

        Returns:
            The study.

        Raises:
            UserError: for any invalid argument, in one sentence.
            StopStudyError: if the search cannot go on; what is finished stays in the study.
            KeyboardInterrupt: after Ctrl-C, when the running trial has been put back; the study is on disk.
        """
        return self.run(SearchOptions.of(locals()))

    def run(self, options: SearchOptions, deadline: Deadline | None = None) -> Study:
        """Runs `try_models` with its arguments in one object.

        Args:
            options: The arguments.
            deadline: When it has to be done; by default, the time limit from now on.
        """
        from model_search.study import Study
        from model_search.trainers.bags.bagging import (
            are_worth_while,
            bag_finalists,
            seconds_for_groups,
            trials_after_searches,
            with_folds,
        )
        from model_search.trainers.bags.refit import NO_STUDENT, drop_student, refit_best, seconds_to_refit, with_refit
        from model_search.trainers.dispatch import run_session
        from model_search.trainers.finish_study import finish_session
        from model_search.trainers.longer.winners import FinalTraining, train_winners
        from model_search.trainers.opening.study_setup import open_session
        from model_search.trainers.worker import StopReason

        deadline = Deadline(options.time_limit) if deadline is None else deadline
        is_refit_asked = options.refit is True
        is_without_student = is_refit_asked and options.finish == "both"
        if is_without_student:
            options = dataclasses.replace(options, finish="ensemble")
        session = open_session(self._data, self._spec, options)
        try:
            final = FinalTraining.of(self._spec)
            is_automatic, options = options.folds == "auto", with_folds(session, options)
            given, options = options, with_refit(session, options, bool(final.time_share))
            if options.finish != given.finish:
                session = dataclasses.replace(session, notes=(*session.notes, NO_STUDENT))
            after = final.seconds(options) + seconds_for_groups(session, options)
            more, counted = trials_after_searches(session), -1
            while more != counted:  # other calls train bags of this study meanwhile, which count as its trials
                searched = dataclasses.replace(options, number_models=options.number_models + more)
                reason = run_session(session, searched, deadline, after)
                session = dataclasses.replace(session, is_begun=True)
                more, counted = trials_after_searches(session), more
                if reason is not StopReason.FINISHED:
                    break
            is_late = reason is StopReason.TIME_LIMIT
            if is_automatic and is_late and not are_worth_while(session, options, deadline):
                given = dataclasses.replace(given, folds=None)
                options = with_refit(session, given, bool(final.time_share))
                searched = dataclasses.replace(options, number_models=searched.number_models)
                reason = run_session(session, searched, deadline, final.seconds(options))
            if reason is not StopReason.INTERRUPTED:
                reason = train_winners(session, final, options, deadline, reason)
            if reason is not StopReason.INTERRUPTED:
                reason = bag_finalists(session, options, deadline) or reason
            if reason is not StopReason.INTERRUPTED:
                seconds = seconds_to_refit(session, options, deadline)
                drop_student(session, options, is_without_student)
                finish_session(session, options, deadline.earlier(seconds) if deadline.is_set else deadline)
                refit_best(session, options, deadline, is_refit_asked)
        finally:
            session.store.close()
        if reason is StopReason.INTERRUPTED:
            raise KeyboardInterrupt
        return Study(session.folder, options.artefacts, session.store.file)
