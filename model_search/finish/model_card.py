"""The card that goes with an exported model: what it is, what it takes, how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_search.data.features import CategoryFeature, Feature, FeatureSchema, NumberFeature
from model_search.data.task import Task, TaskKind
from model_search.finish.names import keras_names, signature_names


def model_card(task: Task, schema: FeatureSchema | None, metadata: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    lines = [f"# A model that predicts {task.label}", ""]
    lines += _origin(metadata)
    lines += ["## What it answers", "", *_answers(task), ""]
    if schema is None:
        lines += ["## What it takes", "", "One input, `features`: float32 rows as the data provider made them.", ""]
        return "\n".join(lines)
    lines += ["## What it takes", "", *_columns(schema), ""]
    lines += ["## How to use it", "", *_usage(schema), ""]
    return "\n".join(lines)


def _origin(metadata: Mapping[str, Any]) -> list[str]:
    lines = []
    if "study" in metadata:
        lines.append(f"Found by Model Search: study {metadata['study']!r}, trial {metadata.get('trial')}.")
    if metadata.get("architecture"):
        lines.append(f"Blocks: {' > '.join(metadata['architecture'])}.")
    if metadata.get("metrics"):
        figures = ", ".join(f"{name} {value:.5g}" for name, value in sorted(metadata["metrics"].items()))
        lines.append(f"On validation rows (optimistic: these figures chose the model): {figures}.")
    versions = {k: v for k, v in metadata.get("environment", {}).items() if k in ("tensorflow", "keras", "python")}
    if versions:
        lines.append("Made with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return [*lines, ""]


def _answers(task: Task) -> list[str]:
    if task.kind is TaskKind.REGRESSION:
        return ["`prediction`: a number in the units of the training data."]
    classes = ", ".join(f"`{value!r}`" for value in task.classes) or f"{task.logits_dimension} classes by number"
    return ["`label`: the most probable class; `probabilities`: one column per class, in this order:", "", classes]


def _columns(schema: FeatureSchema) -> list[str]:
    rows = ["| column | name in model.keras | name in the SavedModel | typed as |", "|---|---|---|---|"]
    names = zip(schema.features, keras_names(schema.columns), signature_names(schema.columns), strict=True)
    rows += [f"| {_cell(f.column)} | {_cell(own)} | {served} | {_type(f)} |" for f, own, served in names]
    if schema.dropped:
        rows += ["", "Not read: " + ", ".join(_cell(column) for column in schema.dropped) + "."]
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ") or "(no name)"


def _type(feature: Feature) -> str:
    if isinstance(feature, NumberFeature):
        return "number (float32, NaN for missing)"
    return "text" if isinstance(feature, CategoryFeature) else "date as text, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"


def _usage(schema: FeatureSchema) -> list[str]:
    served = signature_names(schema.columns)
    own = keras_names(schema.columns)
    pairs = ", ".join(f"{column!r}: {name!r}" for column, name in zip(schema.columns, served, strict=True))
    kinds = ", ".join(
        f"{name!r}: ({feature.column!r}, {'number' if isinstance(feature, NumberFeature) else 'str'})"
        for name, feature in zip(own, schema.features, strict=True)
    )
    return [
        "The SavedModel takes every column as text, as it stands in a CSV file; it needs TensorFlow alone:",
        "",
        "```python",
        "import csv",
        "import tensorflow as tf",
        "",
        'serve = tf.saved_model.load("saved_model").signatures["serving_default"]',
        f"names = {{{pairs}}}",
        'rows = list(csv.DictReader(open("new.csv")))',
        "answers = serve(**{name: tf.constant([row[column] for row in rows]) for column, name in names.items()})",
        "```",
        "",
        "The `.keras` file takes typed columns; it needs Keras with TensorFlow:",
        "",
        "```python",
        "import csv",
        "import keras",
        "import tensorflow as tf",
        "",
        'model = keras.models.load_model("model.keras")',
        "",
        "def number(text):",
        '    return float(text or "nan")',
        "",
        f"columns = {{{kinds}}}",
        'rows = list(csv.DictReader(open("new.csv")))',
        "answers = model({name: tf.constant([kind(row[column]) for row in rows])",
        "                 for name, (column, kind) in columns.items()})",
        "```",
    ]
