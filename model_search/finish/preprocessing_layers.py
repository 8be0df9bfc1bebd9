"""The front end of an exported model: typed raw columns in, the float32 matrix of features out.

Built from a `FeatureSchema`, of stock Keras layers and `keras.ops` only, so that plain Keras loads it in safe mode. It
gives what `data/tabular/preprocess.py` gives; a test holds the two equal. Columns of a kind go through it together: a
thousand columns make no larger a graph than three, and one lookup table serves all categories.

Typed columns: numbers with NaN for missing; categories as text, "" for missing; dates as text, "YYYY-MM-DD" or
"YYYY-MM-DD HH:MM:SS", "" for missing. Surrounding white space and other writings are for `raw_text.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from model_search.data.tabular.columns import DAYS_OF_YEAR, LARGEST, WEEKDAY_PARTS
from model_search.data.tabular.features import CategoryFeature, DateFeature, Feature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import CLIP

_DATE_LENGTH = len("YYYY-MM-DD HH:MM:SS")
_PLACES = {
    "year": (0, 1, 2, 3),
    "month": (5, 6),
    "day": (8, 9),
    "hour": (11, 12),
    "minute": (14, 15),
    "second": (17, 18),
}
_CHARACTERS = "0123456789-: T"
_ABSENT, _DASH, _COLON = -2, 10, 11  # character codes, less the two that the layer reserves
_NEVER_FOUND = -1
_DAYS_BEFORE_1970 = 719468  # from 0000-03-01, where the Gregorian calendar's 400 years begin


def preprocessing_model(schema: FeatureSchema) -> keras.Model:
    """Typed columns to features.

    Args:
        schema: The features; at least one.

    Returns:
        A functional model from a list of tensors [rows], one per feature in the schema's order (numbers float64, the
        others string), to float32 [rows, schema.width].
    """
    inputs = [
        keras.Input((), dtype="float64" if isinstance(feature, NumberFeature) else "string", name=f"column_{index}")
        for index, feature in enumerate(schema.features)
    ]
    starts = schema.starts
    parts: list[Any] = []
    places: list[int] = []  # where each column of the parts belongs in the matrix
    for kind, build in (
        (NumberFeature, _number_columns),
        (CategoryFeature, _category_columns),
        (DateFeature, _date_columns),
    ):
        chosen = [index for index, feature in enumerate(schema.features) if isinstance(feature, kind)]
        if chosen:
            features: list[Any] = [schema.features[index] for index in chosen]
            stacked, columns = build([inputs[index] for index in chosen], features)
            parts.append(stacked)
            places += [starts[chosen[position]] + column for position, column in columns]
    joined = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if places != sorted(places):
        joined = ops.take(joined, np.argsort(places).astype("int32"), axis=1)
    return keras.Model(inputs, joined, name="preprocessing")


def lookup_token(vocabulary: Collection[str]) -> str:
    """An out-of-vocabulary token that is not in the vocabulary."""
    token = "[other]"  # noqa: S105 - a word that stands for all others
    while token in vocabulary:
        token = f"[{token}]"
    return token


def input_kind(feature: Feature) -> str:
    """What a typed column holds: "number", "text" or "date"."""
    if isinstance(feature, NumberFeature):
        return "number"
    return "text" if isinstance(feature, CategoryFeature) else "date"


# Each builder returns a tensor float32 [rows, columns] and, for each of its columns, which feature it is of and which
# of that feature's columns it is.
_Columns = tuple[Any, list[tuple[int, int]]]


def _number_columns(inputs: Sequence[Any], features: Sequence[NumberFeature]) -> _Columns:
    values = ops.stack(inputs, axis=1)
    present = ops.isfinite(values)
    values = ops.clip(values, -LARGEST, LARGEST)
    centers = np.array([[feature.center for feature in features]], "float64")
    scales = np.array([[feature.scale for feature in features]], "float64")
    matrix = ops.cast(_standardised(values, present, centers, scales), "float32")
    columns = [(position, 0) for position in range(len(features))]
    for position, feature in enumerate(features):
        if feature.outputs:
            matrix = ops.concatenate(
                [matrix, _means_of_numbers(values[:, position], present[:, position], feature)], axis=1
            )
            columns += [(position, feature.mean_start + output) for output in range(feature.outputs)]
    marked = [position for position, feature in enumerate(features) if feature.indicator]
    if marked:
        missing = ops.cast(ops.logical_not(ops.take(present, np.array(marked, "int32"), axis=1)), "float32")
        matrix = ops.concatenate([matrix, missing], axis=1)
        columns += [(position, features[position].width - 1) for position in marked]
    return matrix, columns


def _means_of_numbers(values: Any, present: Any, feature: NumberFeature) -> Any:
    """The means of the label, float32 [rows, outputs], by a search among the numbers that have one for themselves."""
    known = np.array(feature.mean_values, "float64")
    place = ops.cast(ops.searchsorted(known, values), "int32")
    there = present & ops.equal(ops.take(np.append(known, np.inf), place), values)
    return ops.take(feature.mean_table, ops.where(there, place, len(known)), axis=0)


def _standardised(values: Any, present: Any, centers: np.ndarray, scales: np.ndarray) -> Any:
    """As `data.preprocess.standardise`, in float64; 0 where a value is missing."""
    z = (ops.where(present, values, centers) - centers) / scales
    return z / ops.sqrt(1.0 + ops.square(z / CLIP))


def _category_columns(inputs: Sequence[Any], features: Sequence[CategoryFeature]) -> _Columns:
    parts: list[Any] = []
    columns: list[tuple[int, int]] = []
    shown = [position for position, feature in enumerate(features) if feature.one_hot]
    if shown:
        hot, of_hot = _one_hot([inputs[position] for position in shown], [features[position] for position in shown])
        parts.append(hot)
        columns += [(shown[position], entry) for position, entry in of_hot]
    for position, feature in enumerate(features):
        if feature.outputs:
            parts.append(_means(inputs[position], feature))
            columns += [(position, column) for column in range(feature.one_hot, feature.word_start)]
        if feature.words:
            parts.append(_words(inputs[position], feature))
            columns += [(position, column) for column in range(feature.word_start, feature.width)]
    return (ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]), columns


def _one_hot(inputs: Sequence[Any], features: Sequence[CategoryFeature]) -> _Columns:
    """One lookup for all columns; a column's own vocabulary is then a choice among the numbers that it gives."""
    lookup, number = _lookup({text for feature in features for text in feature.vocabulary})
    found = ops.cast(lookup(ops.stack(inputs, axis=1)), "int32")
    owners = [position for position, feature in enumerate(features) for _ in feature.vocabulary]
    wanted = [number.get(text, _NEVER_FOUND) for feature in features for text in feature.vocabulary]
    spread = ops.take(found, np.array(owners, "int32"), axis=1)
    hits = ops.cast(ops.equal(spread, np.array([wanted], "int32")), "float32")
    ends = np.cumsum([len(feature.vocabulary) for feature in features]).astype("int32")
    until = ops.take(ops.cumsum(hits, axis=1), ends - 1, axis=1)
    before = ops.pad(until[:, :-1], ((0, 0), (1, 0)))
    others = 1.0 - (until - before)
    columns = [(position, entry) for position, feature in enumerate(features) for entry in range(feature.one_hot - 1)]
    columns += [(position, feature.one_hot - 1) for position, feature in enumerate(features)]
    return ops.concatenate([hits, others], axis=1), columns


def _means(texts: Any, feature: CategoryFeature) -> Any:
    """The means of the label, and the place, float32 [rows, columns], by a lookup of the column's own."""
    lookup, number = _lookup(set(feature.mean_texts))
    place = {text: index for index, text in enumerate(feature.mean_texts)}
    order = [len(place), *(place[text] for text in number)]  # what is out of vocabulary comes first
    return ops.take(feature.told[order], ops.cast(lookup(texts), "int32"), axis=0)


def _words(texts: Any, feature: CategoryFeature) -> Any:
    """Which words are in the texts, float32 [rows, words]."""
    split = layers.TextVectorization(
        standardize="lower_and_strip_punctuation",
        split="whitespace",
        output_mode="multi_hot",
        vocabulary=list(feature.words),
    )
    return ops.cast(split(texts), "float32")[:, 1:]  # the first column is that of all other words


def _lookup(texts: Collection[str]) -> tuple[layers.StringLookup, dict[str, int]]:
    """A lookup of texts, and the number that it gives for each of them, in this order; 0 for all others."""
    # Keras passes a vocabulary through NumPy, which drops a NUL at the end of a text: such a category cannot be found.
    vocabulary = sorted(text for text in texts if not text.endswith("\0"))
    number = {text: index for index, text in enumerate(vocabulary, start=1)}
    return layers.StringLookup(vocabulary=vocabulary, oov_token=lookup_token(number), num_oov_indices=1), number


def _date_columns(inputs: Sequence[Any], features: Sequence[DateFeature]) -> _Columns:
    read = layers.TextVectorization(
        standardize=None, split="character", vocabulary=list(_CHARACTERS), output_sequence_length=_DATE_LENGTH
    )
    codes = ops.stack([ops.cast(read(texts), "int32") for texts in inputs], axis=1) - 2  # [rows, features, characters]
    number = {name: _number(codes, places) for name, places in _PLACES.items()}
    valid = _is_written_as_date(codes) & _is_in_calendar(number)
    days = _days_since_1970(number["year"], number["month"], number["day"])
    seconds = (number["hour"] * 60 + number["minute"]) * 60 + number["second"]
    weekday = (days + 3) % 7
    january = ops.ones_like(days)
    season = ops.cast(days - _days_since_1970(number["year"], january, january), "float64") * 2 * math.pi / DAYS_OF_YEAR
    values = {
        "days": ops.cast(days, "float64") + ops.cast(seconds, "float64") / 86400.0,
        "weekday": weekday,
        "season_sine": ops.sin(season),
        "season_cosine": ops.cos(season),
        **{name: ops.equal(weekday, day) for day, name in enumerate(WEEKDAY_PARTS)},
        **{name: number[name] for name in ("month", "day", "hour")},
    }
    parts, columns = [], []
    for position, feature in enumerate(features):
        present = valid[:, position]
        for column, (part, center, scale) in enumerate(
            zip(feature.parts, feature.centers, feature.scales, strict=True)
        ):
            chosen = ops.cast(values[part][:, position], "float64")
            z = _standardised(chosen, present, np.array(center, "float64"), np.array(scale, "float64"))
            parts.append(ops.cast(z, "float32"))
            columns.append((position, column))
        if feature.indicator:
            parts.append(1.0 - ops.cast(present, "float32"))
            columns.append((position, feature.width - 1))
    return ops.stack(parts, axis=1), columns


def _number(codes: Any, places: Sequence[int]) -> Any:
    """The number that the digits at these positions make; missing ones count as 0."""
    digits = ops.clip(codes[:, :, places[0] : places[-1] + 1], 0, 9)
    return ops.sum(digits * np.array([10 ** (len(places) - 1 - i) for i in range(len(places))], "int32"), axis=-1)


def _is_written_as_date(codes: Any) -> Any:
    """Whether digits and separators are where they belong; the time, or its seconds, may be absent."""

    def digits(*names: str) -> Any:
        places = np.array([place for name in names for place in _PLACES[name]], "int32")
        chosen = ops.take(codes, places, axis=2)
        return ops.all((chosen >= 0) & (chosen <= 9), axis=-1)

    def at(place: int, code: int) -> Any:
        return ops.equal(codes[:, :, place], code)

    date = digits("year", "month", "day") & at(4, _DASH) & at(7, _DASH)
    without_seconds = at(16, _ABSENT) | (at(16, _COLON) & digits("second"))
    separated = ops.equal(codes[:, :, 10], _CHARACTERS.index(" ")) | ops.equal(codes[:, :, 10], _CHARACTERS.index("T"))
    time = separated & digits("hour", "minute") & at(13, _COLON) & without_seconds
    return date & (at(10, _ABSENT) | time)


def _is_in_calendar(number: dict[str, Any]) -> Any:
    year, month, day = number["year"], number["month"], number["day"]
    leap = (ops.equal(year % 4, 0) & ops.not_equal(year % 100, 0)) | ops.equal(year % 400, 0)
    long = ops.equal(month <= 7, ops.equal(month % 2, 1))  # July and August both have 31 days
    length = ops.where(ops.equal(month, 2), ops.where(leap, 29, 28), ops.where(long, 31, 30))
    time = (number["hour"] <= 23) & (number["minute"] <= 59) & (number["second"] <= 59)
    return (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length) & time


def _days_since_1970(year: Any, month: Any, day: Any) -> Any:
    """Days of the proleptic Gregorian calendar; years begin in March, so that a leap day is a year's last."""
    year = year - ops.cast(month <= 2, "int32")
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - _DAYS_BEFORE_1970
