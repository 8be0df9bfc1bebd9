"""Whether data that are given again are read as the study reads them: its models would not fit another reading.

The fingerprint of pictures, recordings and sequences is that of the numbers that towers read. That of tables, texts and
inputs by name is that of cells and words, which options of a provider may turn into other numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from model_search.data.inputs import InputLayout
from model_search.data.named.prepare import text_formats
from model_search.data.prepared_data import PreparedData
from model_search.data.tabular.features import CategoryFeature, DateFeature, Feature, FeatureSchema, NumberFeature
from model_search.data.task import TargetKind, Task, tasks_of
from model_search.data.text.tokens import TextFormat

_SHOWN = 3  # columns, and classes
_LEFT_OUT = "left out"

_Description = Mapping[str, Any]


def other_readings(stored: Mapping[str, Any], data: PreparedData) -> list[str]:
    """What is read otherwise: a sentence for each difference, without a full stop.

    What people are told, how a source is opened, and the scales that follow from the rows may differ; so may what
    earlier versions did not store.

    Args:
        stored: The study's description of its data.
        data: Data with the study's fingerprint.

    Raises:
        DamagedRecordError: if the study's description is none.
    """
    given = {"inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}, **data.description}
    received = {name: json.loads(json.dumps(given[name])) for name in _KEYS if name in given}
    found = [
        sentence
        for keys, compare in _COMPARED.items()
        if any(stored.get(key) != received.get(key) for key in keys)
        for sentence in compare(stored, received)
    ]
    return found or list(_of_inputs(stored, received))


def _of_tasks(stored: _Description, received: _Description) -> Iterator[str]:
    before, now = tasks_of(stored), tasks_of(received)
    if len(before) != len(now):
        yield f"its tasks are {_names(before)}, not {_names(now)} (give the same labels)"
        return
    for (name, one), other in zip(before.items(), now.values(), strict=True):
        if not _is_same_task(one, other):
            what = "task" if one.log_target == other.log_target else "log_target"
            yield f"{name!r} is predicted as {_predicted(one)}, not as {_predicted(other)} (give the same {what})"


def _is_same_task(one: Task, other: Task) -> bool:
    """Whether the same is predicted; a class may be 1 in a frame and "1" in a file."""
    keys = [(task.target, task.logits_dimension, task.quantiles, task.log_target) for task in (one, other)]
    return keys[0] == keys[1] and (
        one.classes == other.classes or [*map(str, one.classes)] == [*map(str, other.classes)]
    )


def _predicted(task: Task) -> str:
    if task.target is TargetKind.QUANTILES:
        return f"the quantiles {', '.join(f'{share:g}' for share in task.quantiles)}"
    if task.log_target:
        return "a number, by its logarithm"
    if task.target is TargetKind.NUMBERS:
        return "a number" if task.logits_dimension == 1 else f"{task.logits_dimension} numbers"
    more = ", ..." if len(task.classes) > _SHOWN else ""
    shown = f" ({', '.join(map(str, task.classes[:_SHOWN]))}{more})" if task.classes else ""
    return f"one of {task.logits_dimension} {task.target.value}{shown}"


def _of_columns(stored: _Description, received: _Description) -> Iterator[str]:
    if stored.get("schema") is None or received.get("schema") is None:
        yield "its data are a table of columns in one of the two alone (give the same provider)"
        return
    before, now = _columns(stored), _columns(received)
    other = [name for name in dict.fromkeys([*before, *now]) if _reading(before.get(name)) != _reading(now.get(name))]
    for name in other[:_SHOWN]:
        one, two = _words(before.get(name)), _words(now.get(name))
        yield f"column {name!r} is {one}, not {two if two != one else 'one of others'}"
    if len(other) > _SHOWN:
        yield f"{len(other) - _SHOWN} more columns are read otherwise"
    if other:
        yield "give the columns the same kinds (record_defaults, or the types of a frame)"
    elif [*before] != [*now]:
        yield "its columns have another order (give them in the same order)"


def _columns(description: _Description) -> dict[str, Feature]:
    return {feature.column: feature for feature in FeatureSchema.from_json(description.get("schema")).features}


def _reading(feature: Feature | None) -> tuple[object, ...]:
    """What decides which numbers of a tower's input are those of a column."""
    if isinstance(feature, CategoryFeature):
        return CategoryFeature, feature.vocabulary, feature.outputs, feature.has_place, feature.words
    if isinstance(feature, DateFeature):
        return DateFeature, feature.parts, feature.indicator
    return (None,) if feature is None else (NumberFeature, feature.outputs, feature.indicator)


def _words(feature: Feature | None) -> str:
    if feature is None:
        return _LEFT_OUT
    if isinstance(feature, CategoryFeature):
        means = ", with the mean of the label" if feature.outputs else ""
        means += " and its place" if feature.has_place else ""
        means += f" and {len(feature.words)} words" if feature.words else ""
        return f"a category of {len(feature.vocabulary)} values{means}"
    kind = f"a date ({', '.join(feature.parts)})" if isinstance(feature, DateFeature) else "a number"
    if isinstance(feature, NumberFeature) and feature.outputs:
        kind += ", with the mean of the label"
    return f"{kind}, with a mark where it is missing" if feature.indicator else kind


def _of_texts(stored: _Description, received: _Description) -> Iterator[str]:
    before, now = text_formats(stored), text_formats(received)
    for name in before.keys() & now.keys():
        if _extent_of(before[name]) != _extent_of(now[name]):
            whose = "its texts are" if "text" in stored else f"the texts of input {name!r} are"
            yield f"{whose} read {_extent(before[name])}, not {_extent(now[name], before[name])}"
            if "text" in stored:
                yield "give the same max_tokens and vocabulary"


def _extent_of(texts: TextFormat) -> tuple[int, tuple[str, ...]]:
    """What decides which ids are a text's: earlier versions did not store by which rules words are told apart."""
    return texts.steps, texts.vocabulary


def _extent(texts: TextFormat, other: TextFormat | None = None) -> str:
    words = len(texts.vocabulary)
    has_others = other is not None and len(other.vocabulary) == words and other.vocabulary != texts.vocabulary
    return f"up to {texts.steps} words, with a vocabulary of {words}{' others' if has_others else ''}"


def _of_inputs(stored: _Description, received: _Description) -> Iterator[str]:
    """What towers read has the same size, where nothing else says why it has not."""
    if "inputs" not in stored or stored["inputs"] == received["inputs"]:
        return
    before, now = (InputLayout.from_description(one).specs for one in (stored, received))
    if before.keys() != now.keys():
        yield f"its inputs are {_names(before)}, not {_names(now)} (give the same inputs)"
        return
    for name, one in before.items():
        other = now[name]
        if (one.shape, one.lengths) != (other.shape, other.lengths):
            yield f"input {name!r} has the shape {list(one.shape)} a row, not {list(other.shape)} (give it as before)"


def _names(named: Mapping[str, object]) -> str:
    return ", ".join(map(repr, named))


_COMPARED: dict[tuple[str, ...], Callable[[_Description, _Description], Iterator[str]]] = {
    ("task", "other_tasks"): _of_tasks,
    ("schema",): _of_columns,
    ("text", "named"): _of_texts,
}
_KEYS = ("inputs", "columns", *(key for keys in _COMPARED for key in keys))
