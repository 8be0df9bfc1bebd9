"""The front end of an exported model: typed raw columns in, the float32 matrix of features out.

Built of stock Keras layers and `keras.ops` alone, from a `FeatureSchema` alone, so that plain Keras loads it in safe
mode. It gives what `data/preprocess.py` gives (a test holds the two equal), in float32 throughout.

Typed columns: numbers are float32 with NaN for missing; categories are text, "" for missing; dates are text,
"YYYY-MM-DD" or "YYYY-MM-DD HH:MM:SS", "" for missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from model_search.data.features import CategoryFeature, DateFeature, Feature, FeatureSchema, NumberFeature
from model_search.data.preprocess import CLIP

_FARTHEST = 1e6  # standardised values are cut here, before their squares overflow; the smooth clip is flat by then
_DATE_LENGTH = len("YYYY-MM-DD HH:MM:SS")
_DIGITS_OF = {
    "year": (0, 1, 2, 3),
    "month": (5, 6),
    "day": (8, 9),
    "hour": (11, 12),
    "minute": (14, 15),
    "second": (17, 18),
}
_DAYS_BEFORE_1970 = 719468  # from 0000-03-01, where the civil calendar's 400 years begin


def input_dtype(feature: Feature) -> str:
    """The dtype of a typed column."""
    return "float32" if isinstance(feature, NumberFeature) else "string"


def preprocessing_model(schema: FeatureSchema) -> keras.Model:
    """Typed columns to features.

    Args:
        schema: The features.

    Returns:
        A functional model: a list of inputs, one per feature in the schema's order, each [rows] -> float32
        [rows, schema.width].
    """
    inputs = [
        keras.Input((), dtype=input_dtype(feature), name=f"column_{index}")
        for index, feature in enumerate(schema.features)
    ]
    parts: list[Any] = []
    sources: list[np.ndarray] = []  # for each part, where its columns belong in the matrix
    starts = np.cumsum([0, *(feature.width for feature in schema.features)])
    numbers = [i for i, feature in enumerate(schema.features) if isinstance(feature, NumberFeature)]
    if numbers:
        chosen = [feature for feature in schema.features if isinstance(feature, NumberFeature)]
        values = ops.stack([inputs[i] for i in numbers], axis=1)
        parts.append(_standardised(values, [f.center for f in chosen], [f.scale for f in chosen]))
        sources.append(np.array([starts[i] for i in numbers]))
        marked = [position for position, feature in enumerate(chosen) if feature.indicator]
        if marked:
            missing = ops.cast(ops.isnan(ops.take(values, np.array(marked, "int32"), axis=1)), "float32")
            parts.append(missing)
            sources.append(np.array([starts[numbers[position]] + 1 for position in marked]))
    for i, feature in enumerate(schema.features):
        if isinstance(feature, CategoryFeature):
            parts.append(_one_hot(inputs[i], feature))
        elif isinstance(feature, DateFeature):
            parts.append(_date_columns(inputs[i], feature))
        else:
            continue
        sources.append(np.arange(starts[i], starts[i + 1]))
    joined = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    order = np.argsort(np.concatenate(sources)).astype("int32")
    matrix = joined if (order == np.arange(len(order))).all() else ops.take(joined, order, axis=1)
    return keras.Model(inputs, matrix, name="preprocessing")


def lookup_token(vocabulary: Sequence[str]) -> str:
    """A token for "none of these" that is none of these."""
    token = "[other]"
    while token in vocabulary:
        token = f"[{token}]"
    return token


def _standardised(values: Any, centers: Sequence[float], scales: Sequence[float]) -> Any:
    """As `data.preprocess.standardise`, in float32; NaN gives 0."""
    center, scale = np.array([centers], "float32"), np.array([scales], "float32")
    z = (ops.where(ops.isnan(values), center, values) - center) / scale
    z = ops.clip(z, -_FARTHEST, _FARTHEST)
    return z / ops.sqrt(1.0 + ops.square(z / CLIP))


def _one_hot(texts: Any, feature: CategoryFeature) -> Any:
    """The lookup puts "everything else" first; the matrix wants it last."""
    size = len(feature.vocabulary)
    lookup = keras.layers.StringLookup(
        vocabulary=list(feature.vocabulary), oov_token=lookup_token(feature.vocabulary), num_oov_indices=1
    )
    found = ops.one_hot(lookup(texts), size + 1)
    return ops.take(found, np.array([*range(1, size + 1), 0], "int32"), axis=1)


def _date_columns(texts: Any, feature: DateFeature) -> Any:
    characters = keras.layers.TextVectorization(
        standardize=None,
        split="character",
        vocabulary=list("0123456789-: "),
        output_sequence_length=_DATE_LENGTH,
    )(texts)
    digits = ops.cast(characters, "int32") - 2  # the layer keeps 0 for padding and 1 for everything else
    number = {name: _number(digits, places) for name, places in _DIGITS_OF.items()}
    valid = _is_date(digits, number)
    days = _days_since_1970(number["year"], number["month"], number["day"])
    seconds = (number["hour"] * 60 + number["minute"]) * 60 + number["second"]
    columns = []
    for part, center, scale in zip(feature.parts, feature.centers, feature.scales, strict=True):
        if part == "days":
            # Whole days are compared as whole numbers: float32 cannot hold a day's fraction beside 20,000 days.
            whole = int(np.floor(center))
            near = ops.cast(days - whole, "float32") + (ops.cast(seconds, "float32") / 86400.0 - (center - whole))
            z = near / scale
        else:
            values = (days + 3) % 7 if part == "weekday" else number[part]
            z = (ops.cast(values, "float32") - center) / scale
        z = ops.clip(ops.where(valid, z, ops.zeros_like(z)), -_FARTHEST, _FARTHEST)
        columns.append(z / ops.sqrt(1.0 + ops.square(z / CLIP)))
    if feature.indicator:
        columns.append(1.0 - ops.cast(valid, "float32"))
    return ops.stack(columns, axis=1)


def _number(digits: Any, places: Sequence[int]) -> Any:
    value = ops.zeros_like(digits[:, 0])
    for place in places:
        value = value * 10 + ops.clip(digits[:, place], 0, 9)
    return value


def _is_date(digits: Any, number: dict[str, Any]) -> Any:
    """Whether there are digits where a date has them, and the day is one of its month's."""
    year, month, day = number["year"], number["month"], number["day"]
    valid = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1)
    for place in (*_DIGITS_OF["year"], *_DIGITS_OF["month"], *_DIGITS_OF["day"]):
        valid = valid & (digits[:, place] >= 0) & (digits[:, place] <= 9)
    # `==` between Keras tensors compares the objects, hence `ops.equal`.
    leap = (ops.equal(year % 4, 0) & (year % 100 > 0)) | ops.equal(year % 400, 0)
    long = ops.equal(month <= 7, month % 2 > 0)  # July and August are both long
    length = ops.where(ops.equal(month, 2), ops.where(leap, 29, 28), ops.where(long, 31, 30))
    time = (number["hour"] <= 23) & (number["minute"] <= 59) & (number["second"] <= 59)
    return valid & (day <= length) & time


def _days_since_1970(year: Any, month: Any, day: Any) -> Any:
    """Days of the proleptic Gregorian calendar; years begin in March, so that a leap day is a year's last."""
    year = year - ops.cast(month <= 2, "int32")
    since_march = (month + 9) % 12
    day_of_year = (153 * since_march + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - _DAYS_BEFORE_1970
