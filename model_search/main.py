"""The `model_search` command: search, then leaderboard, report, predict, evaluate and export.

    model_search --filename=train.csv --label=income --experiment_name=adult
    model_search leaderboard --experiment_name=adult
    model_search predict new.csv --experiment_name=adult

This is the only module of the package that reads flags.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import pathlib
import re
import shlex
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from model_search.command_errors import EXIT_INTERRUPTED, NoOutput, ensure_standard_streams, run_in_words
from model_search.data.tabular.task_choice import TASKS
from model_search.deadline import Deadline
from model_search.errors import DataWarning, ModelSearchError, ProviderError, UserError
from model_search.metadata.final_models import ModelChoice, wants_student
from model_search.metadata.processes import seconds_since_start
from model_search.printable import printable, say
from model_search.trainers.option_fields import Flag, option_of
from model_search.trainers.options import SearchOptions

if TYPE_CHECKING:
    from model_search.data.provider import Provider
    from model_search.study import Study

FLAGS = flags.FLAGS
EXPORT_SECONDS = 1.5  # of a time limit, left to writing the model
LONGEST_START = 30.0  # seconds; a process that is older was not started for this command
_SHOWING = ("leaderboard", "members", "evaluate", "predict")  # commands whose result is what they print
_TRIAL_NUMBER = re.compile(r"[+-]?[0-9]+")

_USAGE = """usage: model_search [search] --filename=FILE.csv --label=COLUMN [flags]
       model_search [search] --input_dir=DIR [--phoenix_dataset=audio|text] [flags]
       model_search leaderboard --experiment_name=NAME [--model_dir=DIR]
       model_search report [FILE.html] --experiment_name=NAME
       model_search predict FILE.csv|DIR --experiment_name=NAME [--output=FILE]
       model_search evaluate FILE.csv|DIR --experiment_name=NAME
       model_search export PATH --experiment_name=NAME [--trial=N|single|ensemble|student]
       model_search members --experiment_name=NAME
       model_search finish --experiment_name=NAME [--filename=FILE.csv --label=COLUMN]
       model_search train_longer STEPS --experiment_name=NAME [--trial=N] --filename=FILE.csv --label=COLUMN

flags:
"""

# How training data are read; other commands read files as the study did.
_OF_TRAINING_DATA = (
    "label", "text", "label_index", "weight", "groups", "time", "logits_dimension", "record_defaults",
    "validation_filename", "field_delim", "encoding", "decimal", "task", "classes", "quantiles", "log_target",
    "image_width", "image_height", "eval_fraction",
)  # fmt: skip

# Flags that some commands alone read; given to another one, they would change nothing without a word.
_READ_BY: dict[str, tuple[str, ...]] = {
    "trial": ("predict", "evaluate", "export", "train_longer"),
    "threshold": ("predict",),
    "output": ("predict",),
    "escape_formulas": ("predict",),
    "top": ("search", "leaderboard", "finish", "train_longer"),
    "one_cycle": ("train_longer",),
    "overwrite": ("search",),
    "optimization_metric": ("search", "predict"),
    **dict.fromkeys(_OF_TRAINING_DATA, ("search", "finish", "train_longer")),
}

# Flags of the archived system without effect here: accepted, with one note.
_WITHOUT_EFFECT: dict[str, bool | int | str | None] = {
    "phoenix_save_summary_steps": 2000,
    "phoenix_save_checkpoints_secs": 120,
    "phoenix_save_checkpoints_steps": 0,
    "phoenix_keep_checkpoint_max": 5,
    "phoenix_hparams": "",
    "phoenix_use_tpu": False,
    "phoenix_master": "",
    "phoenix_eval_on_tpu": False,
    "phoenix_export_saved_model": True,
    "train_epochs": 10,
    "force_estimator": False,
    "crash_on_warmstart_error": False,
    "mlmd_default_sqllite_filename": None,
    "mlmd_socket": None,
    "mlmd_database": None,
    "mlmd_user": None,
    "mlmd_password": None,
}


def _define_flags() -> None:
    flags.DEFINE_string("filename", "", "The training data: a CSV file.")
    flags.DEFINE_string("label", None, "Name of the label column.")
    flags.DEFINE_string("text", None, "Name of the column of texts, with --phoenix_dataset=text.")
    flags.DEFINE_integer("label_index", None, "Number of the label column, from 0, where --label is not given.")
    flags.DEFINE_string("weight", None, "Name of a column of row weights.")
    flags.DEFINE_string(
        "groups", None, "Name of a column; rows with one value are all trained on, or all validated on."
    )
    flags.DEFINE_string("time", None, "Name of a column of numbers or dates; the latest rows are validated on.")
    flags.DEFINE_integer("logits_dimension", None, "Number of classes; above 1 means classes. Inferred when absent.")
    flags.DEFINE_string(
        "record_defaults", None, "Comma-separated: a number means a number column, a text a text column."
    )
    flags.DEFINE_string("validation_filename", None, "A CSV file to validate on; a part of the rows when absent.")
    flags.DEFINE_string("field_delim", None, "The delimiter; detected when absent.")
    flags.DEFINE_string("encoding", None, "The encoding of a CSV file's text, such as cp1252; UTF-8 when absent.")
    flags.DEFINE_enum("decimal", None, [".", ","], "The decimal sign in a CSV file; detected when absent.")
    flags.DEFINE_enum("task", None, list(TASKS), "What to predict; inferred when absent.")
    flags.DEFINE_list("classes", None, "With --task=ordinal: the classes from the least to the most.")
    flags.DEFINE_list("quantiles", None, "With --task=quantile: rising numbers between 0 and 1; 0.1,0.5,0.9 if absent.")
    flags.DEFINE_bool("log_target", None, "Learn the logarithms of the labels, which are numbers above 0.")
    flags.DEFINE_string("input_dir", None, "The training data: a folder with a folder of pictures for each class.")
    flags.DEFINE_integer("image_width", None, "Width to which pictures are stretched; chosen from them when absent.")
    flags.DEFINE_integer("image_height", None, "Height to which pictures are stretched; chosen from them when absent.")
    flags.DEFINE_float("eval_fraction", None, "Share of the pictures to validate on; a fifth when absent.")
    flags.DEFINE_string(
        "phoenix_dataset",
        "",
        "Name of a registered provider: csv, image, audio, text or your own; by the data when empty.",
    )
    flags.DEFINE_string("provider_module", None, "A Python file that registers a provider (and blocks).")
    flags.DEFINE_string("phoenix_spec_filename", None, "The search specification; the stock one when absent.")
    for field in dataclasses.fields(SearchOptions):
        _define_flag(option_of(field).flag)
    flags.DEFINE_string(
        "trial", None, "A trial's number, single, ensemble or student; the best of all when absent (predict, ...)."
    )
    flags.DEFINE_string(
        "threshold", None, "Probability from which predict says the second of two classes, or best: by the metric."
    )
    flags.DEFINE_string("output", None, "Where predictions are written; standard output when absent.")
    flags.DEFINE_bool(
        "escape_formulas",
        False,
        "Put an apostrophe before texts in predictions that a spreadsheet would take for a formula.",
    )
    flags.DEFINE_integer("top", 10, "Rows of the leaderboard to print.")
    flags.DEFINE_bool("one_cycle", True, "The learning rate rises once more and falls to zero (train_longer).")
    help_text = "Accepted for old scripts; has no effect."
    for name, default in _WITHOUT_EFFECT.items():
        if isinstance(default, bool):
            flags.DEFINE_bool(name, default, help_text)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, help_text)
        else:
            flags.DEFINE_string(name, default, help_text)


def _define_flag(flag: Flag | None) -> None:
    """The flag of an argument of `try_models`."""
    if flag is None:
        return
    if flag.choices is not None:
        flags.DEFINE_enum(flag.name, flag.default, list(flag.choices), flag.help)
    elif flag.kind is int:
        flags.DEFINE_integer(flag.name, flag.default, flag.help, lower_bound=flag.minimum)
    elif flag.kind is float:
        flags.DEFINE_float(flag.name, flag.default, flag.help)
    elif flag.kind is bool:
        flags.DEFINE_bool(flag.name, flag.default, flag.help)
    elif flag.kind is list:
        flags.DEFINE_list(flag.name, flag.default, flag.help)
    else:
        flags.DEFINE_string(flag.name, flag.default, flag.help)


_define_flags()
_MODULE = FLAGS.find_module_defining_flag("filename") or __name__


def run(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits with the status that `main` returns."""
    ensure_standard_streams()
    status = main(list(sys.argv if argv is None else argv), _seconds_of_this_process())
    if argv is None and status != EXIT_INTERRUPTED:  # as the process's own command, which then ends
        # What is done stays done: Ctrl-C while Python ends would show a traceback, or end the process by the signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def _seconds_of_this_process() -> float:
    """Seconds since the process was started for this command; 0 where it was started for something else."""
    seconds = seconds_since_start()
    return seconds if 0 <= seconds <= LONGEST_START else 0.0


def main(argv: list[str], spent: float = 0.0) -> int:
    """Runs one command.

    Args:
        argv: The command's words; the first one is the program's name.
        spent: Seconds of a time limit that have passed already.

    Returns:
        The exit status, as `run_in_words` says.
    """
    began = time.monotonic() - spent
    return run_in_words(lambda: _run(argv, began), argv)


def _run(argv: list[str], began: float) -> None:
    if any(argument in ("--help", "-h", "-help", "help") for argument in argv[1:2]) or "--help" in argv:
        say(_USAGE + "\n".join(_flag_help()))
        return
    words = _parse(argv)
    command, rest = _command(words[1:], began)
    _refuse_flags_of_others(words[1] if words[1:] else "search", argv[1:])
    with _notes_on_stderr():
        command(rest)


@contextlib.contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """What is said of cells that are not taken as they are, each sentence once, without the place in the source."""
    seen = set()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, DataWarning):
                usual(message, category, *place, **more)
            elif str(message) not in seen:
                seen.add(str(message))
                say(f"note: {message}", file=sys.stderr)

        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show
        yield


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; a provider module is loaded first, since it may define flags of its own."""
    for path in _provider_modules(argv[1:]):
        load_provider_module(path)
    try:
        words = FLAGS(argv)
    except flags.Error as error:
        raise UserError(f"{error}; `model_search --help` lists the flags") from None
    idle = [name for name in _WITHOUT_EFFECT if FLAGS[name].present]
    if idle:
        say(f"note: {', '.join('--' + name for name in idle)}: accepted, no effect in this version", file=sys.stderr)
    return words


def _provider_modules(arguments: Sequence[str]) -> Iterator[pathlib.Path]:
    """The files that `--provider_module=FILE` or `--provider_module FILE` names."""
    for place, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if argument == "--":
            return
        if name not in ("-provider_module", "--provider_module"):
            continue
        if given:
            yield pathlib.Path(value)
        elif place + 1 < len(arguments):
            yield pathlib.Path(arguments[place + 1])


def load_provider_module(path: pathlib.Path) -> None:
    """Runs a user's Python file, so that it can register providers and blocks.

    Raises:
        UserError: if the file is not there or fails.
    """
    if not path.is_file():
        raise UserError(f"--provider_module: no such file: {path}")
    spec = importlib.util.spec_from_file_location(f"user_provider_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--provider_module: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModelSearchError:
        raise
    except Exception as error:
        raise ProviderError(f"--provider_module: {path} failed with {type(error).__name__}: {error}") from error


def _command(words: list[str], began: float) -> tuple[Callable[[list[str]], None], list[str]]:
    commands: dict[str, Callable[[list[str]], None]] = {
        "search": functools.partial(_search, began=began),
        "leaderboard": _leaderboard,
        "predict": _predict,
        "evaluate": _evaluate,
        "export": _export,
        "members": _members,
        "finish": _finish,
        "train_longer": _train_longer,
        "report": _report,
    }
    if not words:
        return commands["search"], []
    if words[0] not in commands:
        raise UserError(f"unknown command {words[0]!r}; expected one of {', '.join(commands)}")
    if words[0] in _SHOWING and isinstance(sys.stdout, NoOutput) and not (words[0] == "predict" and FLAGS.output):
        raise UserError(
            f"standard output is closed, and {words[0]} does nothing but print; leave it open, or let predictions go "
            "to a file with --output=FILE"
        )
    return commands[words[0]], words[1:]


def _refuse_flags_of_others(command: str, arguments: Sequence[str]) -> None:
    """Refuses what is given and the command does not read, where other commands do.

    Only what stands in the command line itself: several commands may share a file of flags (`--flagfile`).
    """
    flagged = itertools.takewhile(lambda argument: argument != "--", arguments)
    given = {argument.lstrip("-").partition("=")[0] for argument in flagged if argument.startswith("-")}
    for name, readers in _READ_BY.items():
        if given & {name, f"no{name}"} and command not in readers:
            raise UserError(
                f"received --{name}, which {command} does not read; leave it out, or give it to {' or '.join(readers)}"
            )
    if command == "predict" and "optimization_metric" in given and FLAGS.threshold != "best":
        raise UserError(
            f"received --optimization_metric={FLAGS.optimization_metric}, which predict reads with --threshold=best "
            "alone; leave it out, or give both"
        )


def _search(words: list[str], began: float) -> None:
    from model_search.metadata import paths
    from model_search.single_trainer import SingleTrainer
    from model_search.trainers.opening.study_setup import spec_of

    if words:
        raise UserError(f"search takes no further words, received {words}; the data go into --filename")
    provider = _provider()
    options = _search_options(provider)
    deadline = Deadline(options.time_limit, spent=time.monotonic() - began).earlier(EXPORT_SECONDS)
    folder = paths.study_dir(options.root_dir, options.experiment_name)
    spec = spec_of(FLAGS.phoenix_spec_filename or None, _default_spec(provider), folder, options.overwrite)
    study = SingleTrainer(provider, spec).run(options, deadline)
    study.print_leaderboard(FLAGS.top)
    _print_model_place(study)


def _search_options(provider: Provider) -> SearchOptions:
    """The arguments of `try_models`, as the flags have them; without a batch size, that for the kind of data."""
    declared = {field.name: option_of(field).flag for field in dataclasses.fields(SearchOptions)}
    given = {name: flag.read(FLAGS[flag.name].value) for name, flag in declared.items() if flag is not None}
    if not FLAGS["phoenix_batch_size"].present:
        given["batch_size"] = _default_batch_size(provider)
    return SearchOptions.of(given | {"experiment_name": _experiment_name()})


def _print_model_place(study: Study) -> None:
    from model_search.report.sections import new_files

    target = study.folder / "final"
    best = study.best
    say(f"\nbest model: {f'final {best}' if isinstance(best, str) else f'trial {best}'}, in {target}")
    try:
        for kind, path in study.export(target).items():
            say(f"  {kind}: {path}")
    except UserError as error:
        # The search itself has succeeded; only the export is missing.
        say(f"  not written: {error}")
    root, name = FLAGS.model_dir, study.name
    place = [] if FLAGS.artefacts is None else [f"--artefacts={FLAGS.artefacts}"]
    where = shlex.join([f"--model_dir={root}", f"--experiment_name={name}", *place])
    files = new_files(study.record.data)
    if files is not None:
        say(f"predict:    model_search predict {files} {where}")
    say(f"report:     model_search report {where}")
    named = "".join(f", artefacts={FLAGS.artefacts!r}" for _ in place)
    rows = "rows" if files is None else repr(files)
    say(f"in Python:  model_search.load_study({root!r}, {name!r}{named}).predict({rows})")


def _provider() -> Provider:
    from model_search.data import csv_data_for_binary, image_data_for_binary, provider

    if FLAGS.phoenix_dataset:
        return provider.lookup_provider(FLAGS.phoenix_dataset)
    return image_data_for_binary.Provider() if FLAGS.input_dir else csv_data_for_binary.Provider()


def _default_spec(provider: Provider) -> str:
    """The stock specification for a kind of data."""
    from model_search import constants
    from model_search.data import audio_data, image_data, text_data

    kinds = {
        image_data.Provider: constants.DEFAULT_IMAGE,
        audio_data.Provider: constants.DEFAULT_SOUND,
        text_data.Provider: constants.DEFAULT_TEXT,
    }
    return next((spec for kind, spec in kinds.items() if isinstance(provider, kind)), constants.DEFAULT_TABULAR)


def _default_batch_size(provider: Provider) -> int | None:
    """Rows a step: fewer where a row is a picture or a recording; None where the options say."""
    from model_search.data import audio_data, image_data

    if isinstance(provider, image_data.Provider):
        return 64
    return 32 if isinstance(provider, audio_data.Provider) else None


def _experiment_name() -> str:
    if FLAGS.experiment_name:
        return FLAGS.experiment_name
    if FLAGS.filename or FLAGS.input_dir:
        return pathlib.Path(FLAGS.filename or pathlib.Path(FLAGS.input_dir).resolve()).stem
    raise UserError("no study: name it with --experiment_name=NAME")


def _study() -> Study:
    from model_search.study import load_study

    return load_study(FLAGS.model_dir, _experiment_name(), FLAGS.artefacts)


def _finish(words: list[str]) -> None:
    if words:
        raise UserError(f"finish takes no further words, received {words}")
    provider = _provider() if FLAGS.filename or FLAGS.input_dir or FLAGS.phoenix_dataset else None
    if FLAGS["finish"].present and wants_student(FLAGS.finish) and provider is None:
        raise UserError(
            f"--finish={FLAGS.finish} trains a student, which takes the data: give --filename and --label as for the "
            "search, or --finish=ensemble"
        )
    study = _study()
    members = FLAGS.members if FLAGS["members"].present else None
    study.finish(provider, FLAGS.finish if FLAGS["finish"].present else None, FLAGS.student_parameters, members=members)
    study.print_leaderboard(FLAGS.top)
    _print_model_place(study)


def _train_longer(words: list[str]) -> None:
    given = _one(words, "train_longer", "number of steps")
    if not _TRIAL_NUMBER.fullmatch(given):
        raise UserError(f"train_longer takes a number of steps, received {given!r}")
    provider, study, choice = _provider(), _study(), _model_choice()
    if choice is not None and not isinstance(choice, int):
        raise UserError(f"train_longer takes a trial's number as --trial, received {choice!r}")
    number = study.best_trial.id if choice is None else choice
    longer = study.train_longer(number, int(given), provider, one_cycle=FLAGS.one_cycle)
    say(f"trial {longer.id}: {study.metric} {longer.objective(study.metric):.5g}")
    study.print_leaderboard(FLAGS.top)


def _members(words: list[str]) -> None:
    if words:
        raise UserError(f"members takes no further words, received {words}")
    say(_study().members().to_string(index=False))


def _model_choice() -> ModelChoice:
    """The value of --trial; the study raises if there is no such model."""
    given = FLAGS.trial
    return int(given) if given is not None and _TRIAL_NUMBER.fullmatch(given) else given


def _leaderboard(words: list[str]) -> None:
    if words:
        raise UserError(f"leaderboard takes no further words, received {words}")
    _study().print_leaderboard(FLAGS.top)


def _report(words: list[str]) -> None:
    if len(words) > 1:
        raise UserError(f"report takes one path at most, received {words}")
    say(f"report: {_study().report(words[0] if words else None)}")


def _one(words: list[str], command: str, what: str) -> str:
    if len(words) != 1:
        raise UserError(f"{command} takes one {what}, received {words or 'none'}")
    return words[0]


def _predict(words: list[str]) -> None:
    source = _one(words, "predict", "CSV file")
    study, choice = _study(), _model_choice()
    from model_search.finish.large_files import append_csv, check_output, escape_formulas, write_csv

    if FLAGS.output:
        check_output(study.folder, source, FLAGS.output)
    frames = study.prediction_frames(source, choice)
    if FLAGS.threshold is not None:
        from model_search.finish.decisions.threshold import frames_above

        frames = frames_above(frames, study.task, _threshold(study, choice))
    frames = map(escape_formulas, frames) if FLAGS.escape_formulas else frames
    if FLAGS.output:
        say(f"{write_csv(frames, FLAGS.output)} predictions written to {FLAGS.output}", file=sys.stderr)
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:  # an error in the middle prints nothing
        append_csv(frames, file)
        file.seek(0)
        for line in file:
            sys.stdout.write(printable(line) if sys.stdout.isatty() else line)


def _threshold(study: Study, choice: ModelChoice) -> float:
    """The number that --threshold gives, or the best one for --optimization_metric; for the study's where absent."""
    from model_search.finish.decisions.threshold import check_threshold, metric_of_classes

    given = FLAGS.threshold if FLAGS.threshold == "best" else _number(FLAGS.threshold)
    check_threshold(given, study.record.data)
    if given != "best":
        return given
    metric = FLAGS.optimization_metric if FLAGS["optimization_metric"].present else None
    advice = "give --optimization_metric=f1, or accuracy, beside --threshold=best"
    return study.threshold(choice, metric_of_classes(metric, study.metric, study.task, advice))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--threshold={text}: expected a probability between 0 and 1, or best") from None


def _evaluate(words: list[str]) -> None:
    source = _one(words, "evaluate", "CSV file with labels")
    for name, value in _study().evaluate(source, _model_choice()).items():
        say(f"{name}: {value:.6g}")


def _export(words: list[str]) -> None:
    target = _one(words, "export", "folder to make, or a path ending in .keras")
    for kind, path in _study().export(target, _model_choice()).items():
        say(f"{kind}: {path}")


def own_flags() -> list[flags.Flag]:
    """The flags of this module that have an effect, in the order of their definition."""
    return [flag for flag in FLAGS.flags_by_module_dict()[_MODULE] if flag.name not in _WITHOUT_EFFECT]


def _flag_help() -> list[str]:
    return [f"  --{flag.name}: {flag.help}" for flag in own_flags()]


if __name__ == "__main__":
    run()
