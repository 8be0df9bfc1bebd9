"""What a provider's `prepare` returns, checked before a study is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from model_search.data.named.own_towers import with_own_towers
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData, StreamData, TableData
from model_search.data.provider import Provider
from model_search.data.rows import main_inputs
from model_search.data.stream.input_functions import in_words
from model_search.data.task import Task
from model_search.errors import DataError, ModelSearchError, ProviderError
from model_search.training.training_objectives import FROZEN


def prepared(provider: Provider, options: PrepareOptions) -> PreparedData:
    """The provider's data, ready to be trained on.

    Raises:
        DataError: if what `prepare` returns cannot be used; lists what is missing and what is expected.
        ProviderError: if `prepare` raises anything but an error of this package.
    """
    name = f"{type(provider).__name__}.prepare"
    try:
        data = provider.prepare(options)
    except (ModelSearchError, MemoryError):
        raise
    except Exception as error:
        raise ProviderError(f"{name} raised {in_words(error)}") from error
    if not isinstance(data, TableData | StreamData):
        raise DataError(
            f"{name} returned {type(data).__name__}; expected model_search.data.prepared_data.TableData or StreamData"
        )
    problems = list(_problems(data))
    if problems:
        raise DataError(f"{name} returned a {type(data).__name__} that cannot be used: {'; '.join(problems)}")
    read = main_inputs(data.input_specs).values()
    if options.embedding is not None and not any(spec.dtype == "int32" and spec.lengths for spec in read):
        raise DataError(
            f"the specification's towers begin with {options.embedding}, which reads token ids, and the data have "
            "none: leave it out of blocks_to_use, or give text (text_data)"
        )
    if options.weights:
        rows = data.train if isinstance(data, TableData) else data.valid
        if rows.weight is None:
            raise DataError(
                f"weight_feature_name is {options.weights!r}, and the data have no feature or column of this name that "
                f"holds weights; give {type(provider).__name__} the weights, and leave weight_feature_name out"
            )
        data = dataclasses.replace(data, description={**data.description, "weight_feature": options.weights})
    if options.input_towers:
        specs = with_own_towers(data.input_specs, options.input_towers)
        if isinstance(data, TableData):  # the inputs of a stream have no towers of their own, and are refused above
            data = dataclasses.replace(data, own_specs=specs)
    if FROZEN in data.input_specs:
        raise DataError(
            f"a feature is called {FROZEN!r}; the search gives rows an input of this name, the logits of towers that "
            "an ensemble keeps as they are: give the feature another name"
        )
    return data


def _problems(data: PreparedData) -> list[str]:
    found = []
    if not isinstance(data.task, Task):
        found.append(f"task is {type(data.task).__name__}; expected model_search.data.task.Task")
    if not isinstance(data.fingerprint, str) or not data.fingerprint:
        found.append(f"fingerprint is {data.fingerprint!r}; expected a text that changes with the rows")
    found += [
        f"input {name!r} is {spec.dtype}; expected numbers"
        for name, spec in data.input_specs.items()
        if np.dtype(spec.dtype).kind not in "fiu"
    ]
    if isinstance(data, TableData) and data.other_tasks:
        found += _problems_of_tasks(data)
    if not isinstance(data.description, Mapping):
        return [*found, f"description is {type(data.description).__name__}; expected a dict"]
    expected = {"task": "task.to_json()"}
    if data.description.get("schema") is not None:  # otherwise rows are features without column names
        expected["columns"] = "the names of all columns, in order"
    missing = {name: what for name, what in expected.items() if name not in data.description}
    if missing:
        wanted = ", ".join(f"{name!r}: {what}" for name, what in missing.items())
        found.append(f"description lacks {', '.join(map(repr, missing))}; expected {{{wanted}}}")
    return found


def _problems_of_tasks(data: TableData) -> list[str]:
    """What several tasks lack: labels under the names of all tasks, the primary one first, and their description."""
    names = [data.task.label, *data.other_tasks]
    found = [
        f"{what} has labels of {', '.join(map(repr, rows.labels))}; expected {', '.join(map(repr, names))}"
        for what, rows in (("train", data.train), ("valid", data.valid))
        if [*rows.labels] != names
    ]
    said = [task.to_json() for task in data.other_tasks.values()]
    if [task["label"] for task in said] != names[1:]:
        found.append("other_tasks has tasks under other names than their label")
    if isinstance(data.description, Mapping) and data.description.get("other_tasks") != said:
        found.append("description lacks 'other_tasks'; expected [task.to_json() for task in other_tasks.values()]")
    return found
