"""What accompanies an exported model: a description for programs and a card for people."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from model_search.data.sequences.padded import SEQUENCE
from model_search.data.tabular.columns import (
    DATE_YEAR_FIRST,
    DATE_YEAR_LAST,
    GROUPED_NUMBER,
    MISSING_MARKERS,
    PLAIN_NUMBER,
    TIME_OF_DAY,
    ZONE_ALONE,
)
from model_search.data.tabular.features import CategoryFeature, DateFeature, Feature
from model_search.data.task import Task, TaskKind
from model_search.data.text.text_files import TEXT
from model_search.data.text.tokens import TOKENS
from model_search.finish.calibration import FEWEST_ROWS
from model_search.finish.final_ensemble import StudyParts, trial_calibration
from model_search.finish.input_names import keras_names, signature_names
from model_search.finish.preprocessing_layers import input_kind
from model_search.finish.serving import ModelBundle, input_names
from model_search.metadata.final_models import Calibration, FinalModel
from model_search.metadata.trial import Trial
from model_search.printable import printable_line
from model_search.search.history.history import History
from model_search.training.tower_specs import flips_at_test_time

_KINDS = {
    "number": "number ({dtype}), NaN for missing",
    "text": 'text, "" for missing',
    "date": 'date as text, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, "" for missing',
}
_LIST = re.compile(r"^(\d{1,9}(?=[.)])|(?=[-+*#=]))")
_MARKUP = re.compile(r"[<>&|`~\[\]]|\\(?=[!-/:-@\[-`{-~])")  # a backslash means itself but before punctuation
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# Parts of the programs of a card, which read a file as the study does, without this package.
_READ_DESCRIPTION = """\
with open("export.json", encoding="utf-8") as file:
    about = json.load(file)
columns = about["columns"]
"""
_DECIMAL_COMMAS = """
# Numbers such as 1.234,5 are written 1234.5.
decimal_comma = re.compile(r"[+-]?([0-9]{1,3}([.][0-9]{3})+|[0-9]*),[0-9]+([eE][+-]?[0-9]+)?")
groups = re.compile(r"[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+")
grouped = set(about["file"]["grouped_columns"])
for name in {c["column"] for c in columns} & set(about["file"]["decimal_commas"]):
    for row in rows:
        cell = row[name].strip()
        if decimal_comma.fullmatch(cell) or (name in grouped and groups.fullmatch(cell)):
            row[name] = row[name].replace(".", "").replace(",", ".")
"""
_USE_SAVED_MODEL = """
serve = tf.saved_model.load("saved_model").signatures["serving_default"]
answers = serve(**{c["saved_model"]: tf.constant([row[c["column"]] for row in rows]) for c in columns})
print({name: values.numpy() for name, values in answers.items()})
"""
_USE_KERAS = f"""
# In lower case.
missing = {{{", ".join(f'"{marker}"' for marker in sorted(MISSING_MARKERS))}}}
number = re.compile(r"{PLAIN_NUMBER.pattern}", re.ASCII)
thousands = re.compile(r"{GROUPED_NUMBER.pattern}", re.ASCII)


def typed(cells, column):
    cells = ["" if cell.strip().lower() in missing else cell.strip() for cell in cells]
    if column["kind"] == "date":
        return tf.constant(dates(cells, column["order"]))
    if column["kind"] == "text":
        booleans = column.get("booleans", {{}})
        return tf.constant([booleans.get(cell.lower(), cell) for cell in cells])
    if "unit" in column:
        cells = [re.sub(column["unit"], r"\\1\\2", cell) for cell in cells]
    cells = [cell.replace(",", "") if thousands.fullmatch(cell) else cell for cell in cells]
    numbers = [float(cell) if number.fullmatch(cell) else float("nan") for cell in cells]
    return tf.constant(numbers, column.get("dtype", "float32"))


model = keras.models.load_model("model.keras")
answers = model({{c["keras"]: typed([row[c["column"]] for row in rows], c) for c in columns}})
print({{name: values.numpy() for name, values in answers.items()}})
"""
_OF_DATES = """\
    if column["kind"] == "date":
        return tf.constant(dates(cells, column["order"]))
"""
_DATES = rf"""
clock = (
    r"{TIME_OF_DAY}"
    r"{ZONE_ALONE}"
)
year_first = re.compile(r"{DATE_YEAR_FIRST}" + clock, re.ASCII)
year_last = re.compile(r"{DATE_YEAR_LAST}" + clock, re.ASCII)


def dates(cells, order):
    month_first = order == "mdy"
    last = [found for found in map(year_last.fullmatch, cells) if found]
    if last and order == "ymd":  # no date of training had the year last
        by_number = any(int(found[3]) > 12 for found in last)
        month_first = (by_number or last[0][2] == "/") and not any(int(found[1]) > 12 for found in last)
    return [iso(cell, month_first) for cell in cells]


def iso(cell, month_first):
    found = year_first.fullmatch(cell) or year_last.fullmatch(cell)
    if not found:
        return ""
    year, month, day = found.group(1, 3, 4) if len(found[1]) == 4 else found.group(4, 3, 1)
    if month_first and len(found[1]) < 4:
        month, day = day, month
    hour, minute, second = (int(found[place] or 0) for place in (5, 6, 7))
    if found[8]:
        hour = hour % 12 + (12 if found[8].lower() == "pm" else 0)
    return f"{{year}}-{{int(month):02}}-{{int(day):02}} {{hour:02}}:{{minute:02}}:{{second:02}}"

"""


def description(bundle: ModelBundle) -> dict[str, Any]:
    """A JSON-able description of an exported model.

    Returns:
        "task" (see `Task.to_json`), "other_tasks" if there are several; "columns", for each column that is
        read its "column" (the user's name), its names as an input of the "keras" file and of the "saved_model", and its
        "kind" ("number", "text" or "date"), the "dtype" of numbers that are not float32, the "unit" that texts
        of numbers may have, as a regular expression whose two groups are what is left, the "booleans", which
        categories "true" and "false" stand for in whatever case they are written, and of dates the "order" (see
        `DateFeature`);
        "inputs", the inputs by name of a model without columns (shape of a row, dtype, the input with its lengths, the
        features that it puts side by side, its names as an input of the "keras" file and of the "saved_model");
        "texts", of a model that reads text by the input that holds ids how many words are read ("steps") and which have
        an id ("vocabulary"); "images", the size that pictures are brought into, or "audio", how the features of a
        recording are made, of a model that reads such; "channels", the names of the channels of sequences in their
        order, where they have names;
        "file", of a study of a CSV file its "delimiter", its "encoding", the "names" of its columns where it has no
        header (else None), the columns with "decimal_commas", and the "grouped_columns" among them, whose points
        separate thousands; None for another study;
        "not_read", the reason for every other column; "metadata" as given.
    """
    schema = bundle.schema
    features = () if schema is None else schema.features
    names = [feature.column for feature in features]
    read = input_names(bundle) if schema is None else ()
    outside = {
        name: {"keras": own, "saved_model": served}
        for name, own, served in zip(read, keras_names(read), signature_names(read), strict=True)
    }
    return {
        "task": bundle.task.to_json(),
        "inputs": {name: bundle.input_specs[name].to_json() | outside[name] for name in read},
        "columns": [
            {
                "column": feature.column,
                "keras": own,
                "saved_model": served,
                "kind": input_kind(feature),
                **_further(feature),
            }
            for feature, own, served in zip(features, keras_names(names), signature_names(names), strict=True)
        ],
        **({"other_tasks": [one.to_json() for one in bundle.other_tasks.values()]} if bundle.other_tasks else {}),
        "file": None if bundle.file is None else dict(bundle.file),
        "texts": {name: wanted.to_json() for name, wanted in bundle.texts.items()},
        **({} if bundle.images is None else {"images": bundle.images.to_json()}),
        **({} if bundle.audio is None else {"audio": bundle.audio.to_json()}),
        **({"channels": list(bundle.channels)} if bundle.channels else {}),
        "not_read": {} if schema is None else dict(schema.dropped),
        "metadata": dict(bundle.metadata),
    }


def _further(feature: Feature) -> dict[str, Any]:
    """What a program has to know of a column besides its kind."""
    if isinstance(feature, CategoryFeature):
        return {"booleans": dict(feature.spelled_booleans)} if feature.spelled_booleans else {}
    if isinstance(feature, DateFeature):
        return {"order": feature.order}
    unit = {"unit": feature.unit.pattern} if feature.unit else {}
    return ({"dtype": feature.dtype} if feature.dtype != "float32" else {}) | unit


def origin_of(chosen: Trial | FinalModel, history: History, study: StudyParts) -> dict[str, Any]:
    """Where a model comes from, JSON-able, for its description and its card."""
    if isinstance(chosen, Trial):
        found, result = trial_calibration(study, chosen), chosen.result
        return {
            "kind": chosen.plan.kind.value if chosen.plan else "",
            "trial": chosen.id,
            "architecture": list(chosen.plan.architecture) if chosen.plan else [],
            "towers": list(chosen.plan.towers) if chosen.plan else [],
            "mirrored": _mirrored([chosen]),
            "parameters": result.parameters if result else 0,
            "metrics": dict(result.metrics) if result else {},
            "calibration": None if found is None else dataclasses.asdict(found),
            "environment": dict(result.environment) if result else {},
        }
    trials = [history.get(member.trial) for member in chosen.members] or history.best(1)
    environments = [trial.result.environment for trial in trials if trial is not None and trial.result is not None]
    return {
        "kind": f"final {chosen.kind}",
        "trial": None,
        "architecture": list(chosen.plan.architecture) if chosen.plan else [],
        "members": [dataclasses.asdict(member) for member in chosen.members],
        "mirrored": _mirrored(trials if chosen.members else []),
        "parameters": chosen.parameters,
        "metrics": dict(chosen.metrics),
        "calibration": None if chosen.calibration is None else dataclasses.asdict(chosen.calibration),
        "notes": list(chosen.notes),
        "environment": dict(environments[0]) if environments else {},
    }


def _mirrored(trials: Iterable[Trial | None]) -> list[int]:
    """Those of the trials whose towers answer for a picture and its mirror image together."""
    plans = [trial.plan for trial in trials if trial is not None and trial.plan is not None]
    return [plan.trial_id for plan in plans if flips_at_test_time(plan)]


def model_card(about: Mapping[str, Any], formats: Collection[str]) -> str:
    """The card, as Markdown.

    Args:
        about: See `description`.
        formats: The formats that were written.
    """
    task = Task.from_json(about["task"])
    columns = about["columns"]
    lines = [f"# A model that predicts {_plain(task.label)}", "", *_origin(about["metadata"])]
    lines += [
        "## What it answers",
        "",
        *_answers(task),
        *_other_answers(about),
        "",
        "## What it takes",
        "",
        *_inputs(about),
        "",
    ]
    lines += ["## How to use it", ""]
    if not columns:
        lines += ["`model.keras` needs Keras with TensorFlow, `saved_model` TensorFlow alone."]
    if columns and "saved_model" in formats:
        lines += ["`saved_model` takes every column as text, as it stands in a CSV file: surrounding blanks, thousands"]
        lines += ["separators and the usual writings of a missing value are understood. It needs TensorFlow alone."]
        lines += ["(Its signature `serving_typed` takes typed columns.) In this folder:", ""]
        lines += ["```python", *_program(about["file"], _USE_SAVED_MODEL), "```", ""]
    if columns and "keras" in formats:
        lines += ["`model.keras` takes typed columns. It needs Keras with TensorFlow. In this folder:", ""]
        lines += ["```python", *_program(about["file"], _use_keras(columns)), "```"]
    return "\n".join(lines).rstrip() + "\n"


def _use_keras(columns: Sequence[Mapping[str, Any]]) -> str:
    """The part of a program that reads cells as typed columns; `columns` as of `description`."""
    if any(column["kind"] == "date" for column in columns):
        return _USE_KERAS.replace("\n\ndef typed", f"{_DATES}\ndef typed")
    return _USE_KERAS.replace(_OF_DATES, "")


def _program(form: Mapping[str, Any] | None, use: str) -> list[str]:
    """The lines of a program that reads "new.csv", a file of the form of the study's.

    Args:
        form: "file" of `description`.
        use: What it does with the rows.
    """
    encoding, delimiter, names = "utf-8-sig", ",", ["names = cells.pop(0)"]
    has_commas = form is not None and bool(form["decimal_commas"])
    if form is not None:
        encoding, delimiter = form["encoding"], form["delimiter"]
        # As the search names the columns of a file.
        names = ['names = [name.strip() or f"column_{place}" for place, name in enumerate(cells.pop(0))]']
        if form["names"] is not None:
            names = ["# There is no header: the columns are all those of training, in their order, the label's, too."]
            names += ['names = about["file"]["names"]']
    own = "" if delimiter == "," else f", delimiter={_quoted(delimiter)}"
    lines = ["import csv", "import json", *(["import re"] if has_commas or "re." in use else []), ""]
    lines += [*(["import keras"] if "keras." in use else []), "import tensorflow as tf", ""]
    lines += _READ_DESCRIPTION.splitlines()
    lines += [f'with open("new.csv", encoding={_quoted(encoding)}, newline="") as file:']
    lines += [f"    cells = [row for row in csv.reader(file{own}) if row]", *names]
    lines += ["rows = [dict(zip(names, row, strict=True)) for row in cells]"]
    return [*lines, *(_DECIMAL_COMMAS.splitlines() if has_commas else []), *use.splitlines()]


def _quoted(text: str) -> str:
    """Text as Python writes it, in double quotes where it can be."""
    shown = ascii(text)
    return shown if '"' in shown else f'"{shown[1:-1]}"'


def _origin(metadata: Mapping[str, Any]) -> list[str]:
    sentences = []
    if "study" in metadata:
        which = f"trial {metadata['trial']}" if metadata.get("trial") is not None else _plain(metadata.get("kind"))
        sentences.append(f"Found by Model Search: study {_plain(metadata['study'])}, {which}.")
    if metadata.get("members"):
        shares = ", ".join(f"trial {one['trial']} ({one['weight']:.3f})" for one in metadata["members"])
        mean = "The weighted mean of the answers of"
        sentences.append(f"{mean} {len(metadata['members'])} models: {shares}.")
    elif len(metadata.get("towers", ())) > 1:
        sentences.append(f"An ensemble of the towers of trials {', '.join(map(str, metadata['towers']))}.")
    if metadata.get("architecture"):
        sentences.append(f"Blocks, input to output: {', '.join(map(_plain, metadata['architecture']))}.")
    if metadata.get("mirrored"):
        which = f"trial{'s' if len(metadata['mirrored']) > 1 else ''} {', '.join(map(str, metadata['mirrored']))}"
        sentences.append(f"The logits of {which} are the mean of those for a picture and for its mirror image.")
    if metadata.get("metrics"):
        figures = ", ".join(f"{_plain(name)} {value:.5g}" for name, value in sorted(metadata["metrics"].items()))
        sentences.append(f"On validation rows: {figures}. These figures chose the model, so they are optimistic.")
    sentences += [_sentence(note) for note in metadata.get("notes", ())]
    sentences += _calibration(metadata.get("calibration"))
    versions = [
        f"{k} {_plain(v)}" for k, v in metadata.get("environment", {}).items() if k in ("python", "tensorflow", "keras")
    ]
    if versions:
        sentences.append(f"Made with {', '.join(versions)}.")
    return [line for sentence in sentences for line in (sentence, "")]


def _calibration(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return []
    if Calibration(**found).has_too_few_rows:
        return [f"Probabilities are softmax(logits): a temperature is fitted on {FEWEST_ROWS} validation rows or more."]
    how = "fitted on the validation rows" if found["fitted"] else "given by the specification"
    return [
        f"Probabilities are softmax(logits / {found['temperature']:.4g}); the temperature was {how}. On the validation "
        f"rows, it changed the log loss from {found['log_loss_before']:.5g} to {found['log_loss_after']:.5g} and the "
        f"expected calibration error (15 bins) from {found['error_before']:.4g} to {found['error_after']:.4g}."
    ]


def _answers(task: Task) -> list[str]:
    if task.quantiles:
        shown = ", ".join(f"{quantile:g}" for quantile in task.quantiles)
        return [f"`prediction`: the quantiles {shown} of each row, rising, in the units of the training data."]
    if task.kind is TaskKind.REGRESSION:
        shape = "one number a row" if task.logits_dimension == 1 else f"{task.logits_dimension} numbers a row"
        of_logs = "; the exponential of its expected logarithm, nearer to the median than to the mean"
        return [f"`prediction`: {shape}, in the units of the training data{of_logs if task.log_target else ''}."]
    classes = ", ".join(f"{_code(repr(label))}" for label in task.classes) or f"0 to {task.logits_dimension - 1}"
    return [
        f"`label`: the {'class in the middle of the probabilities' if task.ordered else 'most probable class'} of each "
        f"row; `probabilities`: a column for each class, in this order"
        f"{' (from the least to the most)' if task.ordered else ''}:",
        "",
        f"{classes}.",
    ]


def _other_answers(about: Mapping[str, Any]) -> list[str]:
    """What is answered besides the primary task."""
    lines = []
    for task in map(Task.from_json, about.get("other_tasks", [])):
        lines += ["", f"Besides, of {_plain(task.label)}, with {_code('/' + task.label)} behind each name:", ""]
        lines += _answers(task)
    return lines


def _inputs(about: Mapping[str, Any]) -> list[str]:
    if not about["columns"]:
        lines = [
            "Rows as the data provider made them:",
            "",
            "| input | shape of a row | type | holds |",
            "|---|---|---|---|",
        ]
        lines += [_input_line(name, spec, about["inputs"]) for name, spec in about["inputs"].items()]
        for name, spec in about["inputs"].items():
            own, served = spec["keras"], spec["saved_model"]
            if {own, served} != {name}:
                lines += ["", f"{_code(name)} is {_code(own)} in model.keras, {_code(served)} in saved_model."]
        return lines + _channels(about) + _media(about) + _text(about)
    rows = [
        f"| {_plain(c['column'])} | {_plain(c['keras'])} | {c['saved_model']} | {_typed(c)} |" for c in about["columns"]
    ]
    lines = ["| column | in model.keras | in saved_model | typed |", "|---|---|---|---|", *rows]
    lines += [
        "",
        "A category that was not there in training counts as unknown; what cannot be read as a number or a date, and",
        "an infinite number, as missing; a number beyond 1e30 as 1e30.",
    ]
    if about["not_read"]:
        lines += [
            "",
            "Not read: " + "; ".join(f"{_plain(k)} ({_plain(v)})" for k, v in about["not_read"].items()) + ".",
        ]
    return lines


def _channels(about: Mapping[str, Any]) -> list[str]:
    """The names of the channels of sequences, which a model tells apart by their place."""
    names = ", ".join(map(_plain, about.get("channels", [])))
    return ["", f"A step of {_code(SEQUENCE)} has the channels, in this order: {names}."] if names else []


def _media(about: Mapping[str, Any]) -> list[str]:
    """What the SavedModel reads in place of decoded pictures, or of the features of recordings."""
    if "images" in about:
        return ["", "`serving_default` of saved_model takes `image`, the contents of PNG, JPEG or GIF files."]
    if "audio" not in about:
        return []
    made = about["audio"]
    softest = f", at most {made['top_db']:g} dB below the loudest one" if made.get("top_db") else ""
    centred = softest + (", less its mean over the recording" if made.get("centred") else "")
    return [
        "",
        "`serving_default` of saved_model takes `waveform`, float32 [rows, samples] from -1 to 1 at "
        f"{made['rate']} Hz,",
        f"padded, and `samples`, how many of a row are valid. A step is the logarithm of {made['bands']} mel bands of",
        f"{made['frame']} samples{centred}; the next one begins {made['hop']} samples later.",
    ]


def _text(about: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, wanted in about.get("texts", {}).items():
        served = TEXT if name == TOKENS else about["inputs"][name]["saved_model"]
        lines += [
            "",
            f"`serving_default` of saved_model takes {_code(served)}, UTF-8 strings, in place of {_code(name)} and its",
            f"lengths, and reads the first {wanted['steps']} words of each. Words are what stands between blanks and",
            f"punctuation, in lower case. In {_code(name)}, 0 is padding, 1 is a word without an id; the",
            f"{len(wanted['vocabulary'])} words from 2 on are those under `texts` in export.json, in their order.",
        ]
    return lines


def _typed(column: Mapping[str, Any]) -> str:
    """What a column holds in typed form."""
    return _KINDS[column["kind"]].format(**{"dtype": "float32", **column})


def _input_line(name: str, spec: Mapping[str, Any], specs: Mapping[str, Any]) -> str:
    padded = [other for other, values in specs.items() if values["lengths"] == name]
    holds = "the features " + ", ".join(map(_plain, spec["columns"])) if spec["columns"] else ""
    if padded:
        holds = f"the valid steps of {', '.join(map(_plain, padded))}"
    elif spec["lengths"]:
        holds = f"padded steps, the first axis; {_code(spec['lengths'])} says how many are valid"
    shape = " x ".join(map(str, spec["shape"])) or "one number"
    return f"| {_code(name)} | {shape} | {spec['dtype']} | {holds} |"


def _plain(text: Any) -> str:
    """Text that stays within its line and its cell of a table, and is neither HTML nor a link nor code."""
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), _in_one_line(text)) or "(no name)"


def _sentence(text: Any) -> str:
    """Text as a sentence at the beginning of a line; "8." and "- this" begin no list."""
    return _LIST.sub(lambda match: f"{match[0]}\\", f"{_plain(text)}.")


def _code(text: Any) -> str:
    """Text as code: whatever it holds is shown as it is."""
    shown = _in_one_line(text).replace("|", "\\|") or "(no name)"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    room = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{room}{shown}{room}{fence}"


def _in_one_line(text: Any) -> str:
    return printable_line(" ".join(str(text).split()))
