"""Models that leave the house: a SavedModel for raw columns, a `.keras` file for typed ones, and a card about both.

path/saved_model/     signatures `serving_default` (every column as text, as in a CSV file) and `serving_typed`
path/model.keras      loads in plain Keras, in safe mode, without this package
path/model_card.md
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from model_search.data.features import FeatureSchema
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.model_card import model_card
from model_search.finish.names import keras_names, signature_names
from model_search.finish.predict import class_array
from model_search.finish.preprocessing_layers import input_dtype, lookup_token, preprocessing_model
from model_search.finish.raw_text import typed_from_text

SAVED_MODEL, KERAS_FILE, CARD = "saved_model", "model.keras", "model_card.md"
FORMATS = ("saved_model", "keras")
FEATURES = "features"  # the one input of a model whose data came from an input function


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A tower with all that is needed to serve it.

    Attributes:
        tower: Features in, logits out.
        task: What is predicted.
        schema: How raw columns become features; None where features go in as they are.
        temperature: Divides the logits.
        metadata: For the model card: study, trial, architecture, metrics, environment.
    """

    tower: keras.Model
    task: Task
    schema: FeatureSchema | None
    temperature: float = 1.0
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def serving_model(bundle: ModelBundle) -> keras.Model:
    """The model that people load: typed columns in, answers out.

    Inputs are a dict by column name (`names.keras_names` says where a name had to give way), each [rows]; for a study
    without a schema one input "features" [rows, ...]. Outputs are a dict: "label" [rows] and "probabilities"
    [rows, classes] for classes; "prediction" [rows] (or [rows, targets]) in the user's units for numbers.
    """
    core = _core(bundle)
    if bundle.schema is None:
        entry = keras.Input(bundle.tower.input_shape[1:], name=FEATURES)
        return keras.Model(entry, core(entry), name="model")
    names = keras_names(bundle.schema.columns)
    inputs = {
        name: keras.Input((), dtype=input_dtype(feature), name=name)
        for name, feature in zip(names, bundle.schema.features, strict=True)
    }
    features = preprocessing_model(bundle.schema)([inputs[name] for name in names])
    return keras.Model(inputs, core(features), name="model")


def _core(bundle: ModelBundle) -> keras.Model:
    """Features to answers."""
    features = keras.Input(bundle.tower.input_shape[1:], name=FEATURES)
    logits = bundle.tower(features)
    task = bundle.task
    if task.kind is TaskKind.REGRESSION:
        values = logits * np.float32(task.target_scale) + np.float32(task.target_mean)
        return keras.Model(features, {"prediction": values[:, 0] if task.logits_dimension == 1 else values})
    probabilities = ops.softmax(logits / np.float32(bundle.temperature))
    best = ops.argmax(probabilities, axis=-1)
    return keras.Model(features, {"label": _labels(best, task), "probabilities": probabilities}, name="answers")


def _labels(index: Any, task: Task) -> Any:
    """The class of each row: a number where all classes are numbers, else text."""
    classes = class_array(task)
    if classes.dtype.kind == "i":
        return ops.take(classes.astype("int32" if np.abs(classes).max(initial=0) < 2**31 else "int64"), index)
    if classes.dtype.kind == "f":
        return ops.take(classes.astype("float32"), index)
    texts = [str(value) for value in classes.tolist()]
    lookup = keras.layers.StringLookup(
        vocabulary=texts, oov_token=lookup_token(texts), num_oov_indices=0, invert=True, name="label"
    )
    return lookup(index)


def export(
    bundle: ModelBundle, path: str | os.PathLike[str], formats: Sequence[str] = FORMATS
) -> dict[str, pathlib.Path]:
    """Writes the model; it appears whole or not at all.

    Args:
        bundle: What to write.
        path: A folder to make (an earlier export there is replaced), or a path ending in `.keras` for that file alone.
        formats: Some of "saved_model" and "keras".

    Returns:
        What was written, by format.

    Raises:
        UserError: if the folder holds something else, or cannot be written.
    """
    target = pathlib.Path(path).expanduser()
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UserError(f"unknown formats {unknown}; expected some of {list(FORMATS)}")
    single = target.suffix == ".keras"
    if single and target.is_dir():
        raise UserError(f"{target} is a folder; a path ending in .keras is a file, name another")
    if not single:
        _refuse_foreign(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder, _quiet():
            written = _write(bundle, pathlib.Path(folder), ("keras",) if single else formats)
            if single:
                (pathlib.Path(folder) / KERAS_FILE).replace(target)
                return {"keras": target}
            _replace_folder(pathlib.Path(folder), target)
    except OSError as error:
        raise UserError(f"the model cannot be written to {target}: {error.strerror or error}") from error
    return {name: target / file for name, file in written.items()}


def _write(bundle: ModelBundle, folder: pathlib.Path, formats: Sequence[str]) -> dict[str, str]:
    model = serving_model(bundle)
    written = {}
    if "keras" in formats:
        model.save(folder / KERAS_FILE)
        written["keras"] = KERAS_FILE
    if "saved_model" in formats:
        _save_saved_model(bundle, model, folder / SAVED_MODEL)
        written["saved_model"] = SAVED_MODEL
    (folder / CARD).write_text(model_card(bundle.task, bundle.schema, bundle.metadata), encoding="utf-8")
    written["card"] = CARD
    return written


def _save_saved_model(bundle: ModelBundle, model: keras.Model, path: pathlib.Path) -> None:
    module = tf.Module()
    module.model = model
    schema = bundle.schema
    if schema is None:
        shape = [None, *bundle.tower.input_shape[1:]]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name=FEATURES)])
        def serve_features(features: Any) -> Any:
            return model(features, training=False)

        tf.saved_model.save(module, str(path), signatures={"serving_default": serve_features})
        return
    keras_input = keras_names(schema.columns)
    served = signature_names(schema.columns)
    raw = {name: tf.TensorSpec([None], tf.string, name=name) for name in served}
    typed = {
        name: tf.TensorSpec([None], input_dtype(feature), name=name)
        for name, feature in zip(served, schema.features, strict=True)
    }

    @tf.function(input_signature=[raw])
    def serve_raw(cells: Any) -> Any:
        columns = zip(keras_input, served, schema.features, strict=True)
        return model({own: typed_from_text(feature, cells[name]) for own, name, feature in columns}, training=False)

    @tf.function(input_signature=[typed])
    def serve_typed(columns: Any) -> Any:
        return model({own: columns[name] for own, name in zip(keras_input, served, strict=True)}, training=False)

    signatures = {"serving_default": serve_raw, "serving_typed": serve_typed}
    tf.saved_model.save(module, str(path), signatures=signatures)


def _refuse_foreign(target: pathlib.Path) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; name a folder to make, or a path ending in .keras")
    if target.is_dir() and any(target.iterdir()) and not (target / CARD).is_file():
        raise UserError(f"{target} holds something else than an exported model; name another folder")


def _replace_folder(new: pathlib.Path, target: pathlib.Path) -> None:
    """Moves the new folder's content into place; an earlier export is moved away first."""
    fresh = new / "fresh"
    fresh.mkdir()
    for item in list(new.iterdir()):
        if item != fresh:
            item.rename(fresh / item.name)
    if target.exists():
        target.rename(new / "old")
    fresh.rename(target)
    target.chmod(0o755)
    shutil.rmtree(new / "old", ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keras and TensorFlow narrate their saving."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
