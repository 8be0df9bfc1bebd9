"""Infers the kind of each raw column from the training rows alone, and fits the records of `features.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepare_options import (
    RULES_AS_IN_FILES,
    RULES_OF_ALL_ROWS,
    RULES_OF_NEW_STUDIES,
    RULES_WITH_UNITS,
)
from model_search.data.tabular import columns
from model_search.data.tabular.categories.number_codes import with_codes
from model_search.data.tabular.categories.target_means import MOST_TEXTS, Target, least_shared_rows, with_means
from model_search.data.tabular.categories.telling_words import MOST_WORDS, telling_words
from model_search.data.tabular.features import (
    DATE_PARTS,
    MISSING_CATEGORY,
    CategoryFeature,
    DateFeature,
    Feature,
    FeatureSchema,
    NumberFeature,
)
from model_search.data.tabular.text_columns import (
    TextNumbers,
    can_be_looked_up,
    counts_of,
    point_of_thousands,
    text_dates,
    text_numbers,
    unit_of,
)
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

NUMBER, TEXT = "number", "text"  # kinds that a user can choose for a column

MAX_CATEGORIES = 100
MOST_CATEGORIES = 300  # where a table is small
BUDGET_OF_CATEGORIES = 4_000_000  # cells of the matrix
MIN_COVERAGE = 0.1  # share of rows that the vocabulary must cover
NOTED_SHARE = 0.01  # rare categories are mentioned where they take more of the rows
RARE_SHARE_OF_CLASSES = 0.5  # and so many for shares of three classes or more: models are worse with them otherwise
MOSTLY = 0.95  # share of the values that must be numbers (or dates); the rest then count as missing
MIN_MISSING_SHARE = 0.005
IQR_OF_NORMAL = 1.349
MIN_ROWS_OF_COUNTER = 20
COUNTER_EXPECTED_TIES = 10.0
SHORTEST_SEASON = 183.0  # days, from which on dates have the parts of a year
LEAST_WORDS = 1.5  # of the texts of a column, on average, whose words are read; ...
RARE_SHARE_OF_TEXTS = 0.5  # ... so many rows hold rare ones: what is there often is told by itself, and better
_WORDS_OF_TEXT = 3  # on average, from which on a column of rare texts is free text


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result for one column: a feature, or the reason why there is none; and a note for people."""

    feature: Feature | None = None
    dropped: str = ""
    note: str = ""
    fallback: Feature | None = None  # for an identifier: the feature to use if there is no other


def infer_schema(
    frame: pd.DataFrame,
    target: Target,
    kinds: Mapping[str, str] | None = None,
    rules: int = RULES_OF_NEW_STUDIES,
    *,
    with_units: bool = True,
    time: str = "",
) -> tuple[FeatureSchema, list[str]]:
    """Fits the features.

    Args:
        frame: The training rows, features only; text or typed columns.
        target: Their labels.
        kinds: The user's choices for columns: "number" or "text".
        rules: The study's `PrepareOptions.reading_rules`.
        with_units: Whether texts such as "1.234 kg" are numbers; not in files with decimal commas, where they are
            ambiguous.
        time: The column by which rows are split by time; empty for none.

    Returns:
        The schema, and sentences for people.

    Raises:
        DataError: if no column can be used; the message gives the reasons.
    """
    most = most_categories(*frame.shape) if rules >= RULES_OF_ALL_ROWS else MAX_CATEGORIES
    findings = {
        str(name): _infer(frame[name], target, (kinds or {}).get(name), rules, with_units, most)
        for name in frame.columns
    }
    features = {name: found.feature for name, found in findings.items() if found.feature is not None}
    notes = [f"column {name!r}: {found.note}" for name, found in findings.items() if found.note]
    if not features:
        features = {name: found.fallback for name, found in findings.items() if found.fallback is not None}
        notes += [f"column {name!r} looks like an identifier, yet there is no other column" for name in features]
    dropped = {name: found.dropped for name, found in findings.items() if name not in features}
    if time in dropped:
        dropped[time] += "; rows are split by it all the same"
    notes += [f"column {name!r} was left out: {reason}" for name, reason in dropped.items()]
    if not features:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in dropped.items())
        raise DataError(f"no column can be learnt from ({reasons or 'there is none besides the label'})")
    return FeatureSchema(tuple(features.values()), dropped), notes


def most_categories(rows: int, columns_: int) -> int:
    """How many categories of a column have a feature of their own.

    More than usual where a table is so small that all of its columns could have as many: models read each feature of
    each row, and time and memory go with them.
    """
    return min(MOST_CATEGORIES, max(MAX_CATEGORIES, BUDGET_OF_CATEGORIES // max(1, rows * columns_)))


def _infer(series: pd.Series, target: Target, kind: str | None, rules: int, with_units: bool, most: int) -> Finding:
    import pandas as pd
    import pandas.api.types as types

    name = str(series.name)
    dtype = series.dtype
    if kind is None and columns.is_typed_number(series):
        if types.is_complex_dtype(dtype):
            return Finding(dropped="complex numbers are not supported")
        values, changes = columns.read_numbers(series)
        return _noted(_number(name, values, target, rules), changes)
    if kind is None and columns.is_typed_date(series):
        days = columns.dates_of(series, "ymd", in_seconds=rules >= RULES_AS_IN_FILES)
        return _date(name, days, "ymd", target, rules)
    if columns.is_duration(series, of_arrow=rules >= 4):
        return Finding(dropped="durations are not supported; give them as a number of seconds or days")
    is_category = isinstance(dtype, pd.CategoricalDtype) or types.is_bool_dtype(dtype)
    if kind == TEXT or (is_category and kind != NUMBER):
        plain = types.is_bool_dtype(dtype) or (
            isinstance(dtype, pd.CategoricalDtype) and not types.is_string_dtype(dtype.categories.dtype)
        )
        return _category(series, target, numeric=plain and kind != TEXT, rules=rules, most=most)
    numbers, unit = _read_numbers(series, kind, with_units and rules >= RULES_WITH_UNITS)
    if numbers is not None:
        found = _with_unit(_number_from_text(name, numbers, target, rules, forced=kind == NUMBER), unit)
        is_unsure = rules >= RULES_AS_IN_FILES and unit.is_currency
        return _noted(
            found, [_of_points(example)] if is_unsure and (example := point_of_thousands(series, unit)) else []
        )
    dates = text_dates(series, MOSTLY, short_zones=rules >= 3)
    if dates is not None:
        found = _date(name, dates.days, dates.order, target, rules)
        if dates.guessed and found.feature is not None:
            reading = "day first" if dates.order == "dmy" else "month first"
            found = dataclasses.replace(found, note=f"its dates could be read in two ways; they are read {reading}")
        return _noted(found, dates.notes)
    return _category(series, target, numeric=False, rules=rules, most=most)


def _read_numbers(series: pd.Series, kind: str | None, with_units: bool) -> tuple[TextNumbers | None, columns.Unit]:
    """A column of text as numbers, and the unit without which they are read; None where it holds other texts."""
    numbers = text_numbers(series, MOSTLY)
    if numbers is None and with_units and (unit := unit_of(series)):
        numbers = text_numbers(series, 0.0 if kind == NUMBER else MOSTLY, unit)
        if numbers is not None:
            return numbers, unit
    if numbers is None and kind == NUMBER:
        numbers = text_numbers(series, 0.0)
    return numbers, columns.NO_UNIT


def _of_points(example: str) -> str:
    how = "its point is a decimal point; where points separate thousands, leave them out"
    return f"{example!r} could be read in two ways; {how}"


def _with_unit(found: Finding, unit: columns.Unit) -> Finding:
    if not unit or not isinstance(found.feature, NumberFeature):
        return found
    feature = dataclasses.replace(found.feature, before=unit.before, after=unit.after)
    note = "; ".join(filter(None, (f"its texts are read as numbers, without {unit}", found.note)))
    return dataclasses.replace(found, feature=feature, note=note)


def _noted(found: Finding, changes: Sequence[object]) -> Finding:
    """The finding with a note of what is not taken as it is."""
    if found.feature is None and found.fallback is None:
        return found
    return dataclasses.replace(found, note="; ".join(filter(None, (found.note, *map(str, changes)))))


def _number_from_text(name: str, numbers: TextNumbers, target: Target, rules: int, *, forced: bool = False) -> Finding:
    if not numbers.present:
        return Finding(dropped="it has no values")
    found = _noted(_number(name, numbers.values, target, rules, forced=forced), numbers.notes)
    if not isinstance(found.feature, NumberFeature):
        return found
    found = dataclasses.replace(found, feature=dataclasses.replace(found.feature, as_text=numbers.as_text))
    return _noted(found, [numbers.zeros] if numbers.zeros else [])


def _number(name: str, values: np.ndarray, target: Target, rules: int, *, forced: bool = False) -> Finding:
    missing = np.isnan(values)
    present = values[~missing]
    if not len(present):
        return Finding(dropped="it has no values")
    indicator = _indicator(missing, target)
    lowest, highest = float(present.min()), float(present.max())
    if lowest == highest and not indicator:
        return Finding(dropped="it has the same value in every row")
    whole = bool((present == np.rint(present)).all())
    center, scale = robust_scale(present)
    feature = NumberFeature(name, center, scale, indicator=indicator, whole=whole)
    if whole and not missing.any() and not forced and _is_counter(present, highest - lowest):
        reason = "it numbers the rows (whole numbers, each of them once)"
        return Finding(dropped=reason, fallback=feature)
    if rules >= RULES_OF_ALL_ROWS and not forced and (codes := with_codes(feature, values, target)) is not None:
        return Finding(codes, note=_of_means(codes, len(np.unique(present)), "whole numbers"))
    return Finding(feature)


def robust_scale(values: np.ndarray) -> tuple[float, float]:
    """Median, and interquartile range / 1.349; the standard deviation where that is 0; 1 where both are."""
    low, center, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    spread = (high - low) / IQR_OF_NORMAL or float(np.std(values))
    smallest = 1e-12 * max(abs(center), 1e-12)  # differences due to rounding alone
    return center, spread if np.isfinite(spread) and spread > smallest else 1.0


def _is_counter(values: np.ndarray, extent: float) -> bool:
    """Whether whole numbers, all different, were numbered consecutively (perhaps a sample of such numbers).

    Numbers drawn at random from that extent would show about n**2 / (2 * extent) ties.
    """
    rows = len(values)
    if rows < MIN_ROWS_OF_COUNTER or rows * rows / (2 * (extent + 1)) < COUNTER_EXPECTED_TIES:
        return False
    return len(np.unique(values)) == rows


def _indicator(missing: np.ndarray, target: Target) -> bool:
    share = float(missing.mean())
    return MIN_MISSING_SHARE <= share <= 1 - MIN_MISSING_SHARE and target.depends_on(missing)


def _date(name: str, days: np.ndarray, order: str, target: Target, rules: int) -> Finding:
    missing = np.isnan(days)
    if missing.all():
        return Finding(dropped="it has no values")
    fitted = {}
    for part, values in zip(DATE_PARTS, columns.date_parts(days[~missing], DATE_PARTS), strict=True):
        if values.min() != values.max():
            fitted[part] = robust_scale(values)
    if rules >= RULES_OF_ALL_ROWS:
        fitted |= _circular_parts(days[~missing])
    indicator = _indicator(missing, target)
    if not fitted:
        return Finding(dropped="it has the same date in every row")
    centers, scales = zip(*fitted.values(), strict=True)
    in_seconds = rules >= RULES_AS_IN_FILES
    return Finding(DateFeature(name, tuple(fitted), centers, scales, indicator, order, in_seconds))


def _circular_parts(days: np.ndarray) -> dict[str, tuple[float, float]]:
    """Parts of a year and of a week, whose last day is next to the first one, as they are: centers 0, scales 1."""
    is_long = float(days.max() - days.min()) > SHORTEST_SEASON
    varying = [
        name
        for name, values in zip(columns.WEEKDAY_PARTS, columns.date_parts(days, columns.WEEKDAY_PARTS), strict=True)
        if values.min() != values.max()
    ]
    return dict.fromkeys([*(columns.SEASON_PARTS if is_long else ()), *varying], (0.0, 1.0))


def _category(series: pd.Series, target: Target, *, numeric: bool, rules: int, most: int) -> Finding:
    name, counts = str(series.name), counts_of(series)
    if rules >= RULES_AS_IN_FILES and _are_midnights(series, counts):
        counts = {text.removesuffix(columns.MIDNIGHT): count for text, count in counts.items()}
    if not any(counts):
        return Finding(dropped="it has no values")
    rows = sum(counts.values())
    present = {text: count for text, count in counts.items() if text}
    if len(counts) == 1:
        return Finding(dropped="it has the same value in every row")
    least = 2 if rows < 200 else 3 if rows < 1000 else 5
    filled = sum(present.values())
    words = sum(len(text.split()) * count for text, count in present.items()) / filled
    rare_rows = sum(count for count in present.values() if count < least)
    has_words = rules >= RULES_OF_ALL_ROWS and words >= LEAST_WORDS and rare_rows > RARE_SHARE_OF_TEXTS * filled
    told = telling_words(series, target) if has_words else ()
    if not told and len(present) == filled and len(present) > 2:
        return Finding(dropped="it is an identifier or free text (every row has its own)")
    fewest = least_shared_rows(np.array([*counts.values()]))
    by_rows = sorted((text for text, count in counts.items() if count >= fewest), key=lambda t: (-counts[t], t))
    frequent = [text for text in by_rows if counts[text] >= least]
    vocabulary = tuple(sorted(frequent[:most]))
    covered = sum(counts[text] for text in vocabulary)
    is_covered = bool(vocabulary) and sum(counts[text] for text in frequent[:MAX_CATEGORIES]) >= MIN_COVERAGE * rows
    means = None
    least_rare = rows * (NOTED_SHARE if target.classes <= 2 else RARE_SHARE_OF_CLASSES)
    if rules >= RULES_OF_ALL_ROWS and rows - covered > least_rare and (is_covered or words < _WORDS_OF_TEXT):
        own = tuple(sorted(filter(can_be_looked_up, by_rows[:MOST_TEXTS])))
        shown = vocabulary if is_covered else ()
        bare = CategoryFeature(name, shown, numeric=numeric, mean_texts=own, places=True)
        means = with_means(bare, series, target)
    if not is_covered and means is None and not told:
        what = "it is free text" if words >= _WORDS_OF_TEXT else "it has too many different values to be categories"
        return Finding(dropped=f"{what} ({len(present)} different ones in {rows} rows)")
    if len(vocabulary) == 1 and covered > rows - least and not told:
        return Finding(dropped=f"it has the same value in nearly every row ({vocabulary[0] or 'missing'!r})")
    notes = []
    rare = len(present) - len(vocabulary) + (MISSING_CATEGORY in vocabulary)
    if is_covered and rows - covered > NOTED_SHARE * rows:
        notes.append(f"{rare} of its {len(present)} categories are rare; they share one feature")
    if means is not None:
        notes.append(_of_means(means, len(present), "categories"))
    if told:
        at_most = f" (at most {MOST_WORDS})" if len(told) >= MOST_WORDS else ""
        notes.append(f"its texts are read by {len(told)} words that go with the label{at_most}")
    feature = means or CategoryFeature(name, vocabulary if is_covered else (), numeric=numeric)
    return Finding(dataclasses.replace(feature, words=told), note="; ".join(notes))


def _of_means(feature: NumberFeature | CategoryFeature, count: int, values: str) -> str:
    own, also = feature.mean_count, "also "
    if isinstance(feature, CategoryFeature):
        own -= MISSING_CATEGORY in feature.mean_texts
        also = "also " if feature.one_hot else ""
    most = f" (at most {MOST_TEXTS})" if feature.mean_count >= MOST_TEXTS else ""
    what = "the mean of the label" if feature.outputs == 1 else "the share of each class of the label"
    return f"its {count} {values} are {also}read as {what}, which {own} of them have for themselves{most}"


def _are_midnights(series: pd.Series, texts: Iterable[str]) -> bool:
    """Whether typed times are all days, which pandas writes to a CSV file without a time."""
    import pandas as pd
    import pandas.api.types as types

    dtype = series.dtype.categories.dtype if isinstance(series.dtype, pd.CategoricalDtype) else series.dtype
    return types.is_datetime64_any_dtype(dtype) and all(text.endswith(columns.MIDNIGHT) for text in texts if text)
