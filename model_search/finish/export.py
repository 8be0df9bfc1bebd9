"""Exported models: a SavedModel for raw columns, a `.keras` file for typed ones, and a model card for both.

path/saved_model/     signatures `serving_default` (every column as text, as in a CSV file) and `serving_typed`
path/model.keras      loads in plain Keras, in safe mode, without this package
path/model_card.md    for people
path/export.json      for programs: columns and their names in both forms, classes, where the model comes from
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from model_search.data.audio.log_mel import LogMel
from model_search.data.images.later_pictures import IMAGE
from model_search.data.images.picture_format import PictureFormat
from model_search.data.sequences.padded import LENGTHS, SEQUENCE
from model_search.data.stream.input_functions import in_words
from model_search.data.text.text_files import TEXT
from model_search.data.text.tokens import TOKENS
from model_search.errors import UserError
from model_search.finish.input_names import signature_names
from model_search.finish.media.decoded_pictures import decoded_picture
from model_search.finish.media.encoded_sound import log_mel_features
from model_search.finish.media.encoded_text import TextEncoder
from model_search.finish.model_card import description, model_card
from model_search.finish.raw_text import parse_columns
from model_search.finish.replacing import whole_or_not
from model_search.finish.serving import ModelBundle, Pieces, input_names, serving_model, serving_pieces, typed_dtype
from model_search.metadata.filesystem import what_helps
from model_search.metadata.study_folder import OpenFolder
from model_search.towers.inputs import structured

__all__ = ["FORMATS", "ModelBundle", "export", "serving_model"]

SAVED_MODEL, KERAS_FILE, CARD, DESCRIPTION = "saved_model", "model.keras", "model_card.md", "export.json"
FORMATS = ("saved_model", "keras")


def export(
    bundle: ModelBundle,
    path: str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    study: OpenFolder | None = None,
) -> dict[str, pathlib.Path]:
    """Writes the model atomically: completely or not at all.

    Args:
        bundle: What to write.
        path: A folder to make (an earlier export is replaced, if nothing else is in its folder), or a path ending in
            `.keras` for that file alone.
        formats: Some of "saved_model" and "keras".
        study: The folder of the model's study, if any, as it was when the study was opened.

    Returns:
        What was written, by format; the model card as "card".

    Raises:
        UserError: if the path holds something else, or cannot be written.
        VanishedStudyError: if the path is in the study's folder, and that was moved, deleted or overwritten.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UserError(f"received the formats {list(formats)}; expected some of {list(FORMATS)}")
    target = pathlib.Path(path).expanduser()
    target = target.resolve() if target.is_symlink() else target
    try:
        if target.suffix == ".keras":
            if target.is_dir():
                raise UserError(f"{target} is a folder; a path ending in .keras is a file, name another")
            with whole_or_not(target, study) as temporary:
                _save_keras(bundle, temporary)
            return {"keras": target}
        _refuse_foreign(target)
        with whole_or_not(target, study, _refuse_foreign) as temporary:
            temporary.mkdir()
            written = _fill(bundle, temporary, formats)
        return {name: target / file for name, file in written.items()}
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or in_words(error)
        raise UserError(f"the model cannot be written to {target}: {reason}; {what_helps(error)}") from error


def _refuse_foreign(target: pathlib.Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; name a folder to make, or a path ending in .keras")
    held = sorted(item.name for item in target.iterdir())
    others = [name for name in held if name not in (SAVED_MODEL, KERAS_FILE, CARD, DESCRIPTION)]
    if others or (held and DESCRIPTION not in held):
        shown = ", ".join((others or held)[:3])
        raise UserError(
            f"{target} holds something other than an exported model ({shown}); move it or name another folder"
        )


def _fill(bundle: ModelBundle, folder: pathlib.Path, formats: Sequence[str]) -> dict[str, str]:
    written = {}
    if "saved_model" in formats:
        _save_saved_model(bundle, folder / SAVED_MODEL)
        written["saved_model"] = SAVED_MODEL
    if "keras" in formats:
        _save_keras(bundle, folder / KERAS_FILE)
        written["keras"] = KERAS_FILE
    about = description(bundle)
    (folder / DESCRIPTION).write_text(json.dumps(about, indent=1, default=str) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(about, written), encoding="utf-8")
    return written | {"card": CARD}


def _save_keras(bundle: ModelBundle, path: pathlib.Path) -> None:
    serving_model(bundle).save(path)


def _save_saved_model(bundle: ModelBundle, path: pathlib.Path) -> None:
    pieces = serving_pieces(bundle)
    module = tf.Module()
    # The models themselves would be traced and saved as well, which takes twice as long for no use.
    module.variables_read = [variable.value for variable in pieces.tower.variables]
    module.lookups = [layer for piece in pieces if piece is not None for layer in piece.layers if _has_table(layer)]
    functions = _serving_functions(bundle, pieces, module)
    with _without_narration():
        tf.saved_model.save(module, str(path), signatures=functions)


def _has_table(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.StringLookup | keras.layers.TextVectorization)


def _serving_functions(bundle: ModelBundle, pieces: Pieces, module: tf.Module) -> dict[str, Callable[..., Any]]:
    """The signatures, by name; what they need besides the pieces is given to the module."""
    if bundle.images is not None:
        return _picture_functions(bundle.images, pieces)
    if bundle.audio is not None:
        return _waveform_functions(bundle, bundle.audio, pieces)
    if bundle.texts:
        module.encoders = {name: TextEncoder(wanted) for name, wanted in bundle.texts.items()}
        return _text_functions(bundle, module.encoders, pieces)
    if bundle.schema is None:
        return _features_function(bundle, pieces)
    return _column_functions(bundle, pieces)


def _picture_functions(wanted: PictureFormat, pieces: Pieces) -> dict[str, Callable[..., Any]]:
    """`serving_default` takes the contents of PNG, JPEG or GIF files, `serving_typed` decoded pictures."""
    encoded = {IMAGE: tf.TensorSpec([None], tf.string, name=IMAGE)}
    decoded = {IMAGE: tf.TensorSpec([None, *wanted.shape], tf.uint8, name=IMAGE)}

    def serve_encoded(given: dict[str, Any]) -> dict[str, Any]:
        pictures = tf.map_fn(
            lambda one: decoded_picture(one, wanted),
            given[IMAGE],
            fn_output_signature=tf.TensorSpec(wanted.shape, tf.uint8),
        )
        return _answer(pieces, pictures)

    def serve_typed(given: dict[str, Any]) -> dict[str, Any]:
        return _answer(pieces, given[IMAGE])

    return {
        "serving_default": tf.function(serve_encoded, input_signature=[encoded], autograph=False),
        "serving_typed": tf.function(serve_typed, input_signature=[decoded], autograph=False),
    }


def _waveform_functions(bundle: ModelBundle, wanted: LogMel, pieces: Pieces) -> dict[str, Callable[..., Any]]:
    """`serving_default` takes padded waveforms and how many samples are valid, `serving_typed` features and steps."""
    waveforms = {
        "waveform": tf.TensorSpec([None, None], tf.float32, name="waveform"),
        "samples": tf.TensorSpec([None], tf.int32, name="samples"),
    }
    steps = bundle.input_specs[SEQUENCE].shape[0]

    def serve_waveforms(given: dict[str, Any]) -> dict[str, Any]:
        features, lengths = log_mel_features(given["waveform"], given["samples"], wanted, steps)
        return _answer(pieces, {SEQUENCE: features, LENGTHS: lengths})

    return {
        "serving_default": tf.function(serve_waveforms, input_signature=[waveforms], autograph=False),
        "serving_typed": _features_function(bundle, pieces)["serving_typed"],
    }


def _text_functions(
    bundle: ModelBundle, encoders: Mapping[str, TextEncoder], pieces: Pieces
) -> dict[str, Callable[..., Any]]:
    """`serving_default` takes texts, `serving_typed` token ids and how many of them are valid."""
    read = bundle.tower.inputs
    rows = input_names(bundle)
    served = dict(zip(rows, signature_names([TEXT if name == TOKENS else name for name in rows]), strict=True))
    lengths = {str(bundle.input_specs[name].lengths): name for name in encoders}
    specs = {
        served[name]: tf.TensorSpec([None], tf.string, name=served[name])
        if name in encoders
        else tf.TensorSpec(tensor.shape, tensor.dtype, name=served[name])
        for name, tensor in zip(rows, read, strict=True)
        if name not in lengths
    }

    def serve_texts(given: dict[str, Any]) -> dict[str, Any]:
        encoded = {name: encoder.encoded(given[served[name]]) for name, encoder in encoders.items()}
        own = {name: ids for name, (ids, _) in encoded.items()}
        own |= {name: encoded[text][1] for name, text in lengths.items()}
        found = {name: own[name] if name in own else given[served[name]] for name in rows}
        return _answer(pieces, {one.name: found[name] for name, one in zip(rows, read, strict=True)})

    return {
        "serving_default": tf.function(serve_texts, input_signature=[specs], autograph=False),
        "serving_typed": _features_function(bundle, pieces)["serving_typed"],
    }


def _features_function(bundle: ModelBundle, pieces: Pieces) -> dict[str, Callable[..., Any]]:
    """A model that takes inputs as they are has nothing to parse: both signatures are the same."""
    read = bundle.tower.inputs
    names = signature_names(input_names(bundle))
    specs = {name: tf.TensorSpec(one.shape, one.dtype, name=name) for name, one in zip(names, read, strict=True)}

    def answer(given: Any) -> dict[str, Any]:
        if len(read) == 1:
            return _answer(pieces, given)
        return _answer(pieces, {one.name: given[name] for name, one in zip(names, read, strict=True)})

    serve = tf.function(answer, input_signature=[structured(specs)], autograph=False)
    return {"serving_default": serve, "serving_typed": serve}


def _answer(pieces: Pieces, inputs: Any) -> dict[str, Any]:
    """As `Pieces.answer`; no rows are answered as one, which is cut off: a convolution takes no empty batch.

    Args:
        pieces: The model.
        inputs: The tower's inputs, one or several by name.
    """
    rows = tf.shape(tf.nest.flatten(inputs)[0])[0]
    more = tf.cast(rows == 0, tf.int32)

    def filled(tensor: Any) -> Any:
        # Ones are valid lengths and token ids, too.
        found = tf.pad(tensor, [[0, more], *[[0, 0]] * (len(tensor.shape) - 1)], constant_values=1)
        return tf.ensure_shape(found, [None, *tensor.shape[1:]])

    return {name: values[:rows] for name, values in pieces.answer(tf.nest.map_structure(filled, inputs)).items()}


def _column_functions(bundle: ModelBundle, pieces: Pieces) -> dict[str, Callable[..., Any]]:
    features = bundle.schema.features if bundle.schema is not None else ()
    names = signature_names([feature.column for feature in features])
    raw = {name: tf.TensorSpec([None], tf.string, name=name) for name in names}
    typed = {
        name: tf.TensorSpec([None], typed_dtype(feature), name=name)
        for name, feature in zip(names, features, strict=True)
    }
    answer = tf.function(pieces.answer, autograph=False)  # traced once for both

    def serve_raw(cells: dict[str, Any]) -> dict[str, Any]:
        return answer(parse_columns([cells[name] for name in names], features))

    def as_read(column: Any) -> Any:
        return column if column.dtype == tf.string else tf.cast(column, tf.float64)

    def serve_typed(columns: dict[str, Any]) -> dict[str, Any]:
        return answer([as_read(columns[name]) for name in names])

    return {
        "serving_default": tf.function(serve_raw, input_signature=[raw], autograph=False),
        "serving_typed": tf.function(serve_typed, input_signature=[typed], autograph=False),
    }


@contextlib.contextmanager
def _without_narration() -> Iterator[None]:
    """TensorFlow logs through absl what it saves, and where."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
