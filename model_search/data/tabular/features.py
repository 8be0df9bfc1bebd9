"""How raw columns become the numbers a tower reads: records fitted on the training rows, JSON-round-tripping.

The same records drive the NumPy transform (`data/tabular/preprocess.py`) and the exported model's layers
(`finish/preprocessing_layers.py`); a test holds the two equal.

Every feature becomes one or more adjacent columns of a float32 matrix, in the order of `FeatureSchema.features`:

* `NumberFeature`: ``z = (x - center) / scale`` with missing replaced by `center`, then the smooth clip
  ``z / sqrt(1 + (z / 3)**2)`` (Holzmueller et al. 2024, RealMLP); then, where whole numbers are codes, the mean of the
  label for each of them, as for categories; and, with `indicator`, 1.0 where it was missing.
* `CategoryFeature`: one column per vocabulary entry and a last one for everything else (unseen, missing if that is not
  in the vocabulary); then, where it has means, the mean of the label for each category, see
  `categories/target_means.py`, and its place among the others in the order of their texts; then, where texts are read
  by their words, 1.0 for each word that is there. Texts are stripped of surrounding white space; whole numbers are
  written without a fraction.
* `DateFeature`: parts of a date, each one standardised like a number.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.data.checked_json import damaged, need, read_record
from model_search.data.tabular.categories.words import words_of
from model_search.data.tabular.columns import SEASON_PARTS, WEEKDAY_PARTS, Unit

DATE_PARTS = ("days", "month", "day", "weekday", "hour")
MISSING_CATEGORY = ""  # the missing value in a vocabulary, if it is informative
_FAR = 1e4  # from 0, in units of the scale: there float32 has an error of a thousandth of it
_SMALLEST, _LARGEST = 1e-30, 1e30


def float_type(center: float, scale: float, far: float) -> str:
    """float32 for numbers around `center`, `scale` apart; float64 where that is further from 0 than `far` scales."""
    return "float32" if abs(center) < far * scale and _SMALLEST < scale < _LARGEST else "float64"


class WithMeans:
    """A feature some of whose columns tell the mean of the label, for some of its values and for all others.

    Attributes:
        means: For each value with a mean for itself, in order, and then for all others, a number for each of the
            columns that tell it, as these stand in the matrix; empty where there are no means.
    """

    means: tuple[float, ...]

    @property
    def mean_count(self) -> int:
        """How many values have a mean for themselves."""
        raise NotImplementedError

    @property
    def mean_start(self) -> int:
        """The first of the feature's columns that tells the mean."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """How many columns, from `mean_start` on, tell the mean of the label."""
        return len(self.means) // (self.mean_count + 1)

    @functools.cached_property
    def mean_table(self) -> np.ndarray:
        """The means, float32 [values with a mean and a last row for all others, outputs]."""
        return np.array(self.means, np.float32).reshape(self.mean_count + 1, -1)


@dataclasses.dataclass(frozen=True)
class NumberFeature(WithMeans):
    """A column of numbers.

    `as_text`: the file holds them as text, perhaps with blanks, thousands separators or a unit, part of it `before` and
    part of it `after` the numbers. `mean_values` are the whole numbers, rising, that have a mean of the label for
    themselves (see `WithMeans`), where they are codes.
    """

    column: str
    center: float
    scale: float
    indicator: bool = False
    as_text: bool = False
    whole: bool = False  # every training value was a whole number (the column's type at serving: a hint for people)
    before: str = ""
    after: str = ""
    mean_values: tuple[float, ...] = ()
    means: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns in the matrix."""
        return 1 + self.outputs + self.indicator

    @property
    def mean_count(self) -> int:
        """How many numbers have a mean for themselves."""
        return len(self.mean_values)

    @property
    def mean_start(self) -> int:
        """The first of the columns that tell the mean."""
        return 1

    @property
    def unit(self) -> Unit:
        """What texts are read without."""
        return Unit(self.before, self.after)

    @property
    def dtype(self) -> str:
        """The type of typed values: float32, or float64 where that does not hold them closely enough."""
        if self.mean_values:
            return "float64"
        return float_type(self.center, self.scale, _FAR)


@dataclasses.dataclass(frozen=True)
class CategoryFeature(WithMeans):
    """A column of categories; `numeric` where the raw values are numbers or booleans rather than text.

    `mean_texts` are the categories that have a mean of the label for themselves (see `WithMeans`). Where there are
    means the vocabulary may be empty: then there is no column for everything else, either. `places`: the next column is
    the place of the category among `mean_texts`, standardised; all others come before the first. Names and codes that
    begin alike are often alike, and by their places trees can tell categories from each other, which by the means they
    cannot: the rows of a category have different means while models are trained on them. `words` of texts: the last
    columns tell which of them a text has (see `categories/words.py`); then the vocabulary may be empty, too.
    """

    column: str
    vocabulary: tuple[str, ...]
    numeric: bool = False
    mean_texts: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    places: bool = False
    words: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns in the matrix."""
        return self.word_start + len(self.words)

    @property
    def word_start(self) -> int:
        """The first of the columns that tell the words."""
        return self.one_hot + self.outputs + self.has_place

    @property
    def has_place(self) -> bool:
        """Whether a column tells the place; a category without means has none."""
        return self.places and bool(self.means)

    @property
    def one_hot(self) -> int:
        """How many columns, the first ones, are 1 for a category and 0 for all others."""
        return len(self.vocabulary) + 1 if self.vocabulary or not (self.means or self.words) else 0

    @property
    def mean_count(self) -> int:
        """How many categories have a mean for themselves."""
        return len(self.mean_texts)

    @property
    def mean_start(self) -> int:
        """The first of the columns that tell the mean."""
        return self.one_hot

    @functools.cached_property
    def told(self) -> np.ndarray:
        """The means and the place, float32 [categories with a mean and a last row for all others, columns]."""
        if not self.has_place:
            return self.mean_table
        places = np.append(np.arange(1.0, self.mean_count + 1), 0.0)
        return np.column_stack([self.mean_table, (places - places.mean()) / (places.std() or 1.0)]).astype(np.float32)

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The categories that are told from others."""
        return frozenset((*self.vocabulary, *self.mean_texts))

    @functools.cached_property
    def spelled_booleans(self) -> Mapping[str, str]:
        """The category for "true" and the one for "false", of which any spelling is read ("TRUE", "True", "true").

        Empty where a column has categories beside one of them alone, or one of them in several spellings.
        """
        spelled = {word: [text for text in self.known if text.lower() == word] for word in ("true", "false")}
        found = {word: texts[0] for word, texts in spelled.items() if len(texts) == 1}
        others = self.known - {MISSING_CATEGORY, *found.values()}
        return found if len(found) == 2 or not others else {}


@dataclasses.dataclass(frozen=True)
class DateFeature:
    """A column of dates or times.

    `parts` are some of "days" (days since 1970-01-01, with the fraction of the day), "month" (1-12), "day" (1-31),
    "weekday" (0 = Monday) and "hour" (0-23); from rules 8 on "season_sine" and "season_cosine" (of the day of the year
    as an angle) and "monday" to "sunday" (1 on that day, 0 on others), too. `centers` and `scales` go with them.
    `order` says how a text with the year last is read: "dmy" or "mdy"; "ymd" where training had none: then a later one
    is read by those beside it (see `columns.date_order`). A text with the year first is always read as year, month,
    day. `in_seconds`: typed times are cut to whole seconds, as those of a text are; before rules 7 they were rounded.
    """

    column: str
    parts: tuple[str, ...]
    centers: tuple[float, ...]
    scales: tuple[float, ...]
    indicator: bool = False
    order: str = "ymd"
    in_seconds: bool = False

    @property
    def width(self) -> int:
        """Number of columns in the matrix."""
        return len(self.parts) + self.indicator


Feature = NumberFeature | CategoryFeature | DateFeature
_KINDS: dict[str, type[NumberFeature] | type[CategoryFeature] | type[DateFeature]] = {
    "number": NumberFeature,
    "category": CategoryFeature,
    "date": DateFeature,
}


@dataclasses.dataclass(frozen=True)
class FeatureSchema:
    """The features, in matrix order, and the dropped columns, with the reason for each."""

    features: tuple[Feature, ...]
    dropped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(feature.width for feature in self.features)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first column of each feature in the matrix."""
        return tuple(itertools.accumulate((feature.width for feature in self.features[:-1]), initial=0))

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that are read."""
        return tuple(feature.column for feature in self.features)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        kind_of = {cls: kind for kind, cls in _KINDS.items()}
        return {
            "features": [{"kind": kind_of[type(f)], **_as_read(dataclasses.asdict(f))} for f in self.features],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_json(cls, values: Any) -> FeatureSchema:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        what = "the schema of the features"
        features = []
        for item in need(need(values, Mapping, what).get("features"), list, what):
            kind = need(item, Mapping, f"a feature of {what}").get("kind")
            if not isinstance(kind, str) or kind not in _KINDS:
                raise damaged(what, f"a feature is of the kind {kind!r}; known are {', '.join(_KINDS)}")
            fields = {name: value for name, value in item.items() if name != "kind"}
            feature: Feature = read_record(_KINDS[kind], fields, f"a feature of {what}")
            if isinstance(feature, DateFeature):
                _check_parts(feature, what)
            else:
                _check_means(feature, what)
                _check_words(feature, what)
            features.append(feature)
        if not features:
            raise damaged(what, "it has no feature")
        return cls(tuple(features), dict(need(values.get("dropped", {}), Mapping, f"what was left out of {what}")))


def _as_read(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are read again from JSON, which has lists and no tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _check_parts(feature: DateFeature, what: str) -> None:
    same = len(feature.parts) == len(feature.centers) == len(feature.scales)
    if not same or not set(feature.parts) <= {*DATE_PARTS, *SEASON_PARTS, *WEEKDAY_PARTS} or not feature.parts:
        raise damaged(what, f"the date {feature.column!r} has the parts {', '.join(feature.parts) or 'none'}")


def _check_means(feature: NumberFeature | CategoryFeature, what: str) -> None:
    count, known = len(feature.means), feature.mean_count
    if count % (known + 1) or (known and not count) or not all(map(math.isfinite, feature.means)):
        raise damaged(what, f"column {feature.column!r} has {count} means of {known} values and all others")
    if isinstance(feature, NumberFeature) and not all(map(operator.lt, feature.mean_values, feature.mean_values[1:])):
        raise damaged(what, f"the numbers of column {feature.column!r} that have means do not rise")


def _check_words(feature: NumberFeature | CategoryFeature, what: str) -> None:
    words = feature.words if isinstance(feature, CategoryFeature) else ()
    if len({*words}) != len(words) or not all(words_of(word) == [word] for word in words):
        raise damaged(what, f"column {feature.column!r} has the words {', '.join(map(repr, words))}")
