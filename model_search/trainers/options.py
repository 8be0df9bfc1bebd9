"""The arguments of `try_models`, each declared once, and checked before any data are read."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_search.errors import UserError
from model_search.metadata.final_models import FINISH_CHOICES, KEEP_MODELS, MEMBERS, check_what, wants_student
from model_search.metadata.limits import MOST_BATCH, MOST_STEPS
from model_search.metadata.trial import MOST_FOLDS, Trial
from model_search.search.samplers.sampler import sampler_names
from model_search.trainers.option_fields import (
    Flag,
    amounts_of,
    any_text,
    as_path,
    as_root_dir,
    folds_of,
    is_positive,
    one_of,
    option,
    option_of,
    plain,
    positive,
    text,
    truth,
    whole,
    workers_of,
)
from model_search.trainers.pruning import Keeping

TrialCallback = Callable[[Trial], Any]

DEFAULT_ROOT = "runs"
STUDENT_SHARE = 0.1  # of a time limit
ENSEMBLE_SHARE = 0.02
FOLDS_SHARE = 0.4
REFIT_SHARE = 0.2
AUTO_FOLDS = "auto"
AUTO_REFIT = "auto"
GOALS = ("minimize", "maximize")
EXECUTORS = ("local", "ray")


def as_callbacks(callbacks: TrialCallback | Sequence[TrialCallback] | None) -> tuple[TrialCallback, ...]:
    """One function, several or none, as a tuple."""
    if callbacks is None:
        return ()
    if callable(callbacks):
        return (callbacks,)
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise UserError(f"callbacks is {callbacks!r}; expected functions that take a finished trial")
    return tuple(callbacks)


def _check_goal(name: str, value: Any) -> None:
    if value not in GOALS:
        raise UserError(f"{name} is {value!r}; expected 'minimize' or 'maximize'")


def _check_refit(name: str, value: Any) -> None:
    if not isinstance(value, bool) and value != AUTO_REFIT:
        raise UserError(f"{name} is {value!r}; expected True, False or {AUTO_REFIT!r}")


def _check_finish(name: str, value: Any) -> None:
    check_what(value, None)


def _check_callbacks(name: str, value: Any) -> None:
    for callback in value:
        if not callable(callback):
            raise UserError(f"callbacks holds {callback!r}; expected functions that take a finished trial")


def _check_sampler(name: str, value: Any) -> None:
    if value not in sampler_names():
        raise UserError(f"{name} is {value!r}; expected one of {', '.join(sampler_names())}")


def _check_resources(name: str, value: Any) -> None:
    numbers_by_name = isinstance(value, Mapping) and all(
        isinstance(key, str) and (is_positive(amount) or amount == 0) for key, amount in value.items()
    )
    if not numbers_by_name:
        raise UserError(f"{name} is {value!r}; expected amounts by name, such as {{'cpu': 1, 'gpu': 0}}")


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """The arguments of `SingleTrainer.try_models`, checked.

    Raises:
        UserError: naming the argument, what was received and what is expected.
    """

    number_models: int = option(
        "Completed trials that the study is to hold in the end; a failed trial is replaced.",
        check=whole(1),
        flag=Flag("experiment_max_num_trials", int, 200, "Completed models that the study is to hold.", minimum=1),
    )
    train_steps: int | None = option(
        "Training steps (batches) per trial. None lets them follow from the data: on a table each trial chooses its "
        "epochs, around a number that depends on rows and columns; otherwise it is 1000.",
        check=whole(1, " or None", allowed=(None,), maximum=MOST_STEPS),
        flag=Flag("phoenix_train_steps", int, None, "Training steps per model; from the data when absent.", minimum=1),
    )
    eval_steps: int | None = option(
        "Batches that an evaluation may read while a trial trains, and that the validation of a stream reads; "
        "a table in memory is always validated in full at the end of a trial.",
        check=whole(1, " or None for all", allowed=(None,)),
        flag=Flag("phoenix_eval_steps", int, None, "Batches that an evaluation during training reads."),
    )
    root_dir: pathlib.Path = option(
        "Folder of all studies; made where it is missing.",
        flag=Flag("model_dir", str, DEFAULT_ROOT, "Folder of all studies."),
        read=as_root_dir,
    )
    batch_size: int | None = option(
        "Rows per step. Where it is None, trials on a table without train_steps choose it; otherwise it is 100 (the "
        "command takes 64 for pictures, 32 for sound).",
        check=whole(1, " or None", allowed=(None,), maximum=MOST_BATCH),
        flag=Flag(
            "phoenix_batch_size",
            int,
            None,
            "Rows per training step; chosen, or 100 (pictures 64, sound 32), when absent.",
            minimum=1,
        ),
    )
    experiment_name: str = option(
        "Name of the study.",
        check=text(),
        flag=Flag("experiment_name", str, None, "Name of the study; the data file's name when absent."),
    )
    experiment_owner: str = option(
        "Whose it is; kept for people.",
        check=any_text,
        flag=Flag("experiment_owner", str, "", "Whose study it is."),
    )
    seed: int | None = option(
        "Seed of every random choice; drawn and recorded where None.",
        check=whole(0),
        flag=Flag("phoenix_tf_random_seed", int, None, "Seed of every random choice; drawn when absent."),
        default=None,
    )
    metric: str | Callable[..., float] | None = option(
        'What trials are compared by: "loss" (the default), "accuracy", "auc", "log_loss", "f1", "r2", '
        '"rmse", "mae", ..., or a function of labels and predictions that returns a number.',
        flag=Flag("optimization_metric", str, "loss", "What models are compared by."),
        default=None,
    )
    goal: str | None = option(
        '"minimize" or "maximize"; follows from the metric where None, and is needed with a function.',
        check=_check_goal,
        flag=Flag("optimization_goal", str, None, "Follows from the metric when absent.", choices=GOALS),
        default=None,
    )
    time_limit: float | None = option(
        "Seconds after which the call returns with the best so far, at least one model; the final stage is part of it.",
        check=positive("seconds"),
        flag=Flag("time_limit", float, None, "Seconds after which the command ends with the best so far."),
        default=None,
    )
    overwrite: bool = option(
        "Delete an earlier study of that name and begin anew.",
        check=truth,
        flag=Flag("overwrite", bool, False, "Delete an earlier study of that name and begin anew."),
        default=False,
    )
    callbacks: tuple[TrialCallback, ...] = option(
        "Functions called with each finished `Trial`.",
        check=_check_callbacks,
        default=(),
        read=as_callbacks,
    )
    sampler: str = option(
        'How hyperparameters are chosen: "random", "bayesian" or "predictor"; "auto" is "predictor" where the '
        'search has one (the default search), and "random" elsewhere.',
        check=_check_sampler,
        flag=Flag(
            "hypertuning_method",
            str,
            "auto",
            "Name of the sampler of hyperparameters; auto: the predictor where the search has one, else random.",
        ),
        default="auto",
    )
    progress: bool | None = option(
        "False for silence; a warning that something asked for is not done is shown all the same.",
        check=truth,
        default=None,
    )
    workers: int | str | None = option(
        'Processes that train at the same time, one where None; "auto" for as many as cores (or GPUs) and '
        'memory allow. On Ray, as many as the cluster has room for where None or "auto".',
        check=whole(1, " or 'auto'", allowed=("auto",)),
        flag=Flag(
            "workers",
            str,
            None,
            "Processes that train at the same time, 1 when absent: a number, or auto.",
            read=workers_of,
        ),
        default=None,
    )
    tuner_id: str | None = option(
        "Name of the worker (of the workers, with a number each), as the study keeps it.",
        check=text(),
        flag=Flag(
            "tuner_id",
            str,
            None,
            "Name of the worker (of the workers, with a number each).",
            read=lambda name: name or None,
        ),
        default=None,
    )
    worker_memory: float | None = option(
        "Gigabytes that a worker process may hold between two trials; one that has grown past them is "
        "replaced. Its share of the free memory where None.",
        check=positive("gigabytes"),
        default=None,
    )
    finish: str = option(
        'What the final stage makes when the trials are done: an "ensemble" selected from them, a student '
        'that learns from it ("distil"; a time limit leaves it a tenth), "both", or "neither".',
        check=_check_finish,
        flag=Flag(
            "finish", str, "both", "What the final stage makes of the models that were found.", choices=FINISH_CHOICES
        ),
        default="both",
    )
    members: str = option(
        'What may take part besides networks: "auto" tries trees and a linear model early in a search of eight '
        'models or more on a table, "networks" leaves them out, of the final ensemble, too.',
        check=one_of(MEMBERS),
        flag=Flag(
            "members",
            str,
            "auto",
            "What may take part: networks alone, or (auto) trees and a linear model, too, on tables.",
            choices=MEMBERS,
        ),
        default="auto",
    )
    folds: int | str | None = option(
        "Folds in which the best models of a table, or of sequences with groups, are trained again after the search, "
        'so that all rows are trained on and validated on; a time limit leaves it four tenths. "auto" is 8 for tables '
        "of fewer than 20,000 rows where steps follow from the data, with a time limit or 40 models or more, and one "
        "for each of 3 to 8 groups of sequences. None for none.",
        check=whole(2, ", 'auto', or None for none", allowed=(None, AUTO_FOLDS), maximum=MOST_FOLDS),
        flag=Flag(
            "folds",
            str,
            AUTO_FOLDS,
            "Folds in which the best models are trained again after the search: a number, auto, or none.",
            read=folds_of,
        ),
        default=AUTO_FOLDS,
    )
    further_folds: int | None = option(
        "Of 8 folds of a table, so many besides the validation rows on which the better third of the trials is "
        "evaluated, too, and the best of these on more; trials are compared by the mean. These are trials as well. "
        "None for none.",
        check=whole(1, " or None for none", allowed=(None,), maximum=4),
        flag=Flag(
            "further_folds",
            int,
            None,
            "Folds besides the validation rows on which the better trials are evaluated, too.",
            minimum=1,
        ),
        default=None,
    )
    refit: bool | str = option(
        "Train what is handed back again on training and validation rows, for the same epochs; metrics stay those of "
        "the search. Bags of eight folds have seen nearly all rows, and stay as they are. A time limit leaves it two "
        "tenths. With True, and after a final training, finish='both' makes no student, which would not be trained on "
        'all rows. "auto" does so with a time limit, for tables whose best models are not trained in folds, for bags '
        "of sequences with fewer groups and after a final training.",
        check=_check_refit,
        flag=Flag(
            "refit",
            bool,
            None,
            "Train what is handed back again on training and validation rows; chosen when absent.",
            read=lambda wanted: AUTO_REFIT if wanted is None else wanted,
        ),
        default=AUTO_REFIT,
    )
    student_parameters: int | None = option(
        "The most parameters that the student may have.",
        check=whole(1),
        flag=Flag("student_parameters", int, None, "The most parameters that the student may have.", minimum=1),
        default=None,
    )
    keep_models: int | None = option(
        "Trials that keep weights and logits on disk, the best ones; others only where something is built on "
        "them. None for all.",
        check=whole(1, " or None for all", allowed=(None,)),
        flag=Flag("keep_models", int, KEEP_MODELS, "Best models that keep their files.", minimum=1),
        default=KEEP_MODELS,
    )
    disk_limit: float | None = option(
        "Gigabytes that these files may take; the worst trials lose theirs first. None for no limit.",
        check=positive("gigabytes"),
        flag=Flag("disk_limit", float, None, "Gigabytes that these files may take."),
        default=None,
    )
    deterministic: bool = option(
        "Same seed, same machine, one worker: the same metrics to the last bit, also where an operation has a "
        "faster way (on GPUs, mostly) that is not repeatable.",
        check=truth,
        flag=Flag("deterministic", bool, False, "The same bits on the same machine with the same seed and one worker."),
        default=False,
    )
    executor: str = option(
        '"local" for this machine, "ray" for the Ray cluster that `ray.init()` finds (or starts).',
        check=one_of(EXECUTORS),
        flag=Flag("executor", str, "local", "Where models train: here, or on a Ray cluster.", choices=EXECUTORS),
        default="local",
    )
    resources: Mapping[str, float] | None = option(
        'What a trial takes on Ray, {"cpu": 1, "gpu": 0} where None; other names are Ray\'s own resources.',
        check=_check_resources,
        flag=Flag(
            "resources",
            list,
            None,
            "What a trial takes on Ray, such as cpu=1,gpu=0.5; one core when absent.",
            read=amounts_of,
        ),
        default=None,
    )
    artefacts: str | None = option(
        'Folder or URL (whatever fsspec knows: "s3://...") for the files of trials, seen by all machines; the '
        "study's own folder where None.",
        check=text("a folder or a URL that fsspec knows"),
        flag=Flag("artefacts", str, None, "Folder or URL for the files of trials; the study's own when absent."),
        default=None,
        read=as_path,
    )
    warm_start_from: Any = option(
        "Trained models whose weights new towers start from, as far as they fit: a `Study` or the path of its folder "
        "(its best towers), a Keras model or the path of a .keras file. The study keeps them.",
        flag=Flag(
            "warm_start_from", str, None, "Folder of a study, or .keras file, whose weights new towers start from."
        ),
        default=None,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), option_of(field).check
            is_left_out = value is None and field.default is None
            if check is not None and not is_left_out:
                check(field.name, value)
        if self.resources is not None and self.executor != "ray":
            raise UserError(f"resources is {self.resources!r}; only executor='ray' has resources per trial")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SearchOptions:
        """Makes options from the arguments that users give; other names in `given` are ignored."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name in given:
                value = plain(given[field.name])
                is_left_out = value is None and field.default is None
                found[field.name] = None if is_left_out else option_of(field).read(value)
        return cls(**found)

    @property
    def keeping(self) -> Keeping | None:
        """How many of the trials' files stay on disk; None for all."""
        if self.keep_models is None and self.disk_limit is None:
            return None
        size = None if self.disk_limit is None else int(self.disk_limit * 1e9)
        return Keeping(sys.maxsize if self.keep_models is None else self.keep_models, size)

    @property
    def seconds_to_finish(self) -> float:
        """Seconds of the time limit that are reserved for what comes after the search: folds, and the final stage."""
        if self.time_limit is None:
            return 0.0
        share = (FOLDS_SHARE if isinstance(self.folds, int) else 0.0) + self.share_to_refit
        if self.finish != "neither":
            share += STUDENT_SHARE if wants_student(self.finish) else ENSEMBLE_SHARE
        return share * self.time_limit

    @property
    def share_to_refit(self) -> float:
        """Share of the time limit that is reserved for training on all rows."""
        return REFIT_SHARE if self.refit is True and not isinstance(self.folds, int) else 0.0

    def worker_name(self, number: int) -> str:
        """The name of a worker, counted from 1; the archived `tuner_id` where there is but one."""
        if self.tuner_id is None:
            return f"worker-{number}"
        return self.tuner_id if self.workers in (None, 1) else f"{self.tuner_id}-{number}"
