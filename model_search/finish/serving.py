"""The serving model: typed columns in, predictions in the user's own classes and units out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from model_search.data.audio.log_mel import LogMel
from model_search.data.checked_json import need
from model_search.data.images.picture_format import PictureFormat
from model_search.data.inputs import InputLayout
from model_search.data.named.prepare import text_formats
from model_search.data.rows import InputSpec, InputSpecs
from model_search.data.tabular.columns import LARGEST
from model_search.data.tabular.csv_file import Encoding
from model_search.data.tabular.features import Feature, FeatureSchema, NumberFeature, float_type
from model_search.data.task import MOST_LOG, Task, TaskKind, logits_of_tasks, tasks_of
from model_search.data.text.tokens import TextFormat
from model_search.errors import UserError
from model_search.finish.input_names import keras_names
from model_search.finish.predict import class_array, class_names
from model_search.finish.preprocessing_layers import lookup_token, preprocessing_model
from model_search.towers.heads import named_operation, probabilities_of
from model_search.towers.inputs import fresh_inputs, renamed, structured
from model_search.towers.keras_inputs import row_name

_FAR = 1e3  # mean of targets in their standard deviations, from which predictions are float64
_MOST_LOG32 = 87.0  # of a number that float32 holds, and its inverse; float64 where logarithms may come near it
_SCALES = 20  # that an answer may be away from the mean of logarithms


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A tower with all that is needed to serve it.

    Attributes:
        tower: Inputs [rows, ...] in, logits float32 [rows, ..., logits_dimension] out.
        task: What is predicted.
        schema: How raw columns become features; None where inputs go in as they are.
        temperature: Divides the logits.
        metadata: JSON-able, for the model card: study, trial, architecture, metrics, environment.
        inputs: What the tower's inputs are; taken from the tower where None.
        images: The format of the pictures that it reads; None where it reads none.
        audio: The features of the recordings that it reads; None where it reads none.
        texts: The format of the texts that it reads, by the input that holds their ids.
        channels: The names of the channels of the sequences that it reads, in their order; empty where they have none.
        other_tasks: Further tasks by name; their logits follow those of `task`.
        other_temperatures: Divide their logits.
        file: How the CSV file of the training data is read, JSON-able; None where they came from no CSV file.
    """

    tower: keras.Model
    task: Task
    schema: FeatureSchema | None
    temperature: float = 1.0
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: InputSpecs | None = None
    images: PictureFormat | None = None
    audio: LogMel | None = None
    texts: Mapping[str, TextFormat] = dataclasses.field(default_factory=dict)
    channels: tuple[str, ...] = ()
    other_tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    other_temperatures: tuple[float, ...] = ()
    file: Mapping[str, Any] | None = None

    @classmethod
    def of_study(
        cls,
        tower: keras.Model,
        description: Mapping[str, Any],
        temperatures: Sequence[float],
        metadata: Mapping[str, Any],
    ) -> ModelBundle:
        """A model of a study, from the study's description of its data and the temperature of each task.

        Raises:
            DamagedRecordError: if the description is no study's.
        """
        schema, images, audio = (description.get(name) for name in ("schema", "images", "audio"))
        tasks = list(tasks_of(description).values())
        return cls(
            tower=tower,
            task=tasks[0],
            other_tasks={task.label: task for task in tasks[1:]},
            other_temperatures=tuple(temperatures[1:]),
            schema=None if schema is None else FeatureSchema.from_json(schema),
            inputs=InputLayout.from_description(description).specs,
            images=None if images is None else PictureFormat.from_json(images),
            audio=None if audio is None else LogMel.from_json(audio),
            texts=text_formats(description),
            channels=tuple(description.get("sequences", {}).get("names", ())),
            temperature=temperatures[0],
            metadata=metadata,
            file=None if schema is None else _file_of(description),
        )

    @property
    def input_specs(self) -> InputSpecs:
        """What the tower's inputs are."""
        if self.inputs is not None:
            return self.inputs
        return {row_name(one.name): InputSpec(tuple(one.shape[1:]), str(one.dtype)) for one in self.tower.inputs}

    def __post_init__(self) -> None:
        if self.schema is not None and tuple(self.tower.input_shape[1:]) != (self.schema.width,):
            raise UserError(
                f"the tower reads {self.tower.input_shape[1:]} features a row, the columns give {self.schema.width}"
            )


def _file_of(description: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a program reads the CSV file that a study of a table was made from; see `model_card.description`."""
    reading = need(description.get("reading", {}), Mapping, "how the data are read")
    if "delimiter" not in reading:
        return None
    names = need(description.get("columns"), list, "the columns")
    encoding = Encoding.stored(reading)
    return {
        "delimiter": need(reading["delimiter"], str, "the delimiter"),
        "encoding": "utf-8-sig" if encoding.is_utf_8 else encoding.name,
        "names": names if reading.get("header") is False else None,
        "decimal_commas": need(reading.get("number_columns", names), list, "the columns of numbers")
        if reading.get("decimal") == ","
        else [],
        "grouped_columns": need(reading.get("grouped_columns", []), list, "the columns with thousands"),
    }


class Pieces(NamedTuple):
    """The three parts of a serving model; `preprocessing` is None where all inputs are whole numbers."""

    preprocessing: keras.Model | None
    tower: keras.Model
    answers: keras.Model

    def answer(self, inputs: Any) -> dict[str, Any]:
        """From typed columns (a list, as `preprocessing_model` takes them) or the tower's inputs to outputs by name."""
        features = inputs if self.preprocessing is None else self.preprocessing(inputs, training=False)
        return self.answers(self.tower(features, training=False), training=False)


def input_names(bundle: ModelBundle) -> tuple[str, ...]:
    """The user's names of the inputs of a model without columns, in the order in which the tower reads them."""
    return tuple(row_name(tensor.name) for tensor in bundle.tower.inputs)


def typed_dtype(feature: Feature) -> str:
    """The dtype of a typed column."""
    return feature.dtype if isinstance(feature, NumberFeature) else "string"


def serving_model(bundle: ModelBundle) -> keras.Model:
    """The whole model.

    Its inputs are a dict by column name (`input_names.keras_names` says which names are changed), each [rows];
    without a schema, the inputs of a row, one by itself or a dict by name (changed likewise). Its outputs are a dict.
    For classes: "label" [rows] (whole or fractional numbers where all classes are such, else text) and "probabilities"
    [rows, classes]. For numbers: "prediction" [rows] in the user's units ([rows, targets] for several targets,
    [rows, quantiles] for quantiles, rising), of `units_dtype`. Of several tasks, these are of the primary one, and
    "label/TASK" and the like are of each. With a label for each step, all of them have an axis of steps after the rows.
    """
    names = keras_names(input_names(bundle) if bundle.schema is None else bundle.schema.columns)
    pieces = serving_pieces(bundle, taken=names)
    if bundle.schema is None:
        read = bundle.tower.inputs
        own = {n: keras.Input(one.shape[1:], dtype=one.dtype, name=n) for n, one in zip(names, read, strict=True)}
        features = {one.name: own[n] for n, one in zip(names, read, strict=True)}
        return keras.Model(structured(own), pieces.answer(structured(features)), name="model")
    inputs = {
        name: keras.Input((), dtype=typed_dtype(feature), name=name)
        for name, feature in zip(names, bundle.schema.features, strict=True)
    }
    return keras.Model(inputs, pieces.answer([inputs[name] for name in names]), name="model")


def serving_pieces(bundle: ModelBundle, taken: Collection[str] = ()) -> Pieces:
    """The parts of the whole model; they share the tower's weights.

    Args:
        bundle: What to serve.
        taken: Names that no part may have (in Keras, layers and inputs share their names).
    """

    def free(name: str) -> str:
        while name in taken:
            name = f"{name}_"
        return name

    preprocessing = _limits(bundle.tower) if bundle.schema is None else preprocessing_model(bundle.schema)
    if preprocessing is not None:
        preprocessing.name = free("preprocessing")
    tower = renamed(bundle.tower, free("tower"))
    return Pieces(preprocessing, tower, _answers(bundle, free("answers")))


def _limits(tower: keras.Model) -> keras.Model | None:
    """From a tower's inputs to the same with floats of at most 1e30, as they are read for the study's own predictions.

    A model of its own, in which the names of Keras' operations are none of the user's.
    """
    if not any(one.dtype == "float32" for one in tower.inputs):
        return None
    given = fresh_inputs(tower)
    limited = {name: ops.clip(one, -LARGEST, LARGEST) if one.dtype == "float32" else one for name, one in given.items()}
    return keras.Model(structured(given), structured(limited))


def _answers(bundle: ModelBundle, name: str) -> keras.Model:
    """The outputs from the logits."""
    logits = keras.Input(bundle.tower.output_shape[1:], name="logits")
    if not bundle.other_tasks:
        return keras.Model(logits, _answers_of_task(logits, bundle.task, bundle.temperature), name=name)
    tasks = {bundle.task.label: bundle.task, **bundle.other_tasks}
    found: dict[str, Any] = {}
    for place, (task, columns) in enumerate(logits_of_tasks(tasks).items()):
        temperature = bundle.other_temperatures[place - 1] if place else bundle.temperature
        answers = _answers_of_task(logits[..., columns], tasks[task], temperature, f"_{place}" if place else "")
        found |= {} if place else answers
        found |= {f"{key}/{task}": value for key, value in answers.items()}
    return keras.Model(logits, found, name=name)


def _answers_of_task(logits: Any, task: Task, temperature: float, suffix: str = "") -> dict[str, Any]:
    """The outputs of one task from its logits; `suffix` makes the names of its layers unique."""
    if task.kind is TaskKind.REGRESSION:
        if task.quantiles:
            logits = named_operation(lambda values: ops.sort(values, axis=-1), logits, f"rising{suffix}")
        values = _in_units(logits, task, suffix)
        return {"prediction": values if task.quantiles or task.logits_dimension > 1 else values[..., 0]}
    probabilities = probabilities_of(logits, temperature, suffix)
    chosen = _median(probabilities) if task.ordered else ops.argmax(probabilities, axis=-1)
    label = _labels(chosen, class_array(task), suffix)
    return {"label": label, "probabilities": probabilities}


def _median(probabilities: Any) -> Any:
    """The number of the class in the middle, as `predicted_classes` has it."""
    up_to = ops.cumsum(probabilities, axis=-1)[..., :-1]
    return ops.sum(ops.cast(ops.less(up_to, 0.5), "int32"), axis=-1)


def _in_units(logits: Any, task: Task, suffix: str) -> Any:
    is_float32 = units_dtype(task) == "float32"
    if is_float32:
        values = layers.Rescaling(task.target_scale, offset=task.target_mean, name=f"units{suffix}")(logits)
    else:  # the layer would make float32 of its numbers first
        scale, mean = np.array(task.target_scale, "float64"), np.array(task.target_mean, "float64")
        values = ops.cast(logits, "float64") * scale + mean
    if not task.log_target:
        return values
    most = _MOST_LOG32 if is_float32 else MOST_LOG
    return named_operation(lambda logs: ops.exp(ops.clip(logs, -most, most)), values, f"exponential{suffix}")


def units_dtype(task: Task) -> str:
    """The dtype of predicted numbers: float64 where float32 does not hold them closely enough, or not at all."""
    if task.log_target:
        return "float32" if abs(task.target_mean) + _SCALES * task.target_scale < _MOST_LOG32 else "float64"
    return float_type(task.target_mean, task.target_scale, _FAR)


def _labels(codes: Any, classes: np.ndarray, suffix: str) -> Any:
    """The class of each row: a number where all classes are numbers, else text."""
    if classes.dtype.kind in "if":
        return ops.take(classes, codes, axis=0)
    texts = class_texts(classes)
    lookup = layers.StringLookup(
        vocabulary=texts, oov_token=lookup_token(texts), num_oov_indices=0, invert=True, name=f"label{suffix}"
    )
    return lookup(codes)


def class_texts(classes: np.ndarray) -> list[str]:
    """The classes as different texts, in their order.

    As `class_names` has them; as Python writes them where one ends with a zero byte, too (Keras cuts it off).
    """
    texts = class_names(classes.tolist())
    return [repr(label) for label in classes.tolist()] if any(text.endswith("\0") for text in texts) else texts
