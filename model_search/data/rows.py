"""Rows that are ready to be trained on: inputs by name, labels by task. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.checked_json import damaged, read_record
from model_search.data.tabular.columns import LARGEST
from model_search.errors import DataError
from model_search.metadata.limits import MOST_HYPERPARAMETER, MOST_ROW_NUMBERS
from model_search.problem import MAP_RANK

if TYPE_CHECKING:
    import pandas as pd

FEATURES = "features"  # the only input of a table
LABEL = "label"  # the default name of the task

Arrays = Mapping[str, np.ndarray]


def with_missing(values: Any, *, floats: bool = True) -> Any:
    """Values as they are; of a masked array of NumPy, an array in which masked entries are missing.

    Args:
        values: Anything; of a list, masked arrays in it are turned, too.
        floats: Whether masked whole numbers become float64 and NaN; else they stay whole in an array of objects.

    Returns:
        For a masked array: NaN (of dates NaT) where an entry is masked; None where the type has neither.
    """
    if isinstance(values, list | tuple) and any(isinstance(one, np.ma.MaskedArray) for one in values):
        return [with_missing(one, floats=floats) for one in values]
    if not isinstance(values, np.ma.MaskedArray):
        return values
    data, mask = np.ma.getdata(values, subok=False), np.ma.getmaskarray(values)
    if data.dtype.names is not None or not mask.any():
        return data
    if data.ndim == 0:
        return math.nan
    if floats and data.dtype.kind in "iu":
        data = data.astype(np.float64)
    missing = math.nan if data.dtype.kind in "fc" else np.array("NaT", data.dtype) if data.dtype.kind in "mM" else None
    found = data.astype(object) if missing is None else data.copy()
    found[mask] = missing
    return found


def is_empty(source: Any) -> bool:
    """Whether it is a list, or an array of one axis, without rows; what a row would be it does not say."""
    return source.shape == (0,) if isinstance(source, np.ndarray) else isinstance(source, list | tuple) and not source


def clip(floats: np.ndarray) -> int:
    """Brings finite numbers beyond 1e30, whose sums may be no float32, to 1e30, as those of tables; in place.

    Args:
        floats: [rows, ...].

    Returns:
        How many rows hold such numbers.
    """
    rows = rows_beyond(floats)
    if rows:
        np.clip(floats, -LARGEST, LARGEST, out=floats)
    return rows


def rows_beyond(floats: np.ndarray) -> int:
    """How many rows [rows, ...] hold numbers beyond 1e30."""
    if not floats.size or max(floats.max(), -floats.min()) <= LARGEST:
        return 0  # without copies of what may be large
    return int((np.abs(floats) > LARGEST).any(axis=tuple(range(1, floats.ndim))).sum())


def note_of_clipped(rows: int, what: str = "rows") -> str:
    """A sentence on rows, or `what` they are, that hold numbers beyond 1e30; empty where there are none."""
    return f"{rows} {what} hold numbers beyond {LARGEST:g}, read as {LARGEST:g}" if rows else ""


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The specification of an input.

    Attributes:
        shape: Shape of one row's values.
        dtype: NumPy's name of their type: "float32" features, "uint8" images, "int32" token ids or lengths.
        lengths: Name of the input that holds the number of valid steps of each row; None where no step is padded.
        columns: The raw features that it concatenates; empty if it is a single feature.
        mean: For each channel (the last axis) what a tower subtracts from the values; empty if it reads them as they
            are.
        deviation: For each channel what it then divides them by.
        own_tower: Whether blocks that read its rank read it by itself, before it is joined with the other inputs.
        blocks: Blocks of its own tower, in front of those of an architecture.
        read_by: Blocks of an architecture that read it by itself; empty for all that suit it. Those that make a vector
            of it always do.
        same_tower: The name of the input whose layers read this one, too; None where it has layers of its own.
        widths: Of a table, the adjacent columns that belong together: 1 for a number, more for a category. Empty where
            nothing is known of the columns.
        quantiles: For each of those, quantiles of its training values, equally spaced; empty if it is no number.
        distinct: For each of those, the same of its distinct values.
        vocabulary: How many different token ids there are, from 0 on; 0 where the values are no ids, or nobody knows.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    lengths: str | None = None
    columns: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    widths: tuple[int, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    distinct: tuple[tuple[float, ...], ...] = ()
    vocabulary: int = 0
    own_tower: bool = False
    blocks: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    same_tower: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        found: dict[str, Any] = {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "lengths": self.lengths,
            "columns": list(self.columns),
        }
        if self.mean:
            found |= {"mean": list(self.mean), "deviation": list(self.deviation)}
        if self.widths:
            found["widths"] = list(self.widths)
            found |= {"quantiles": list(map(list, self.quantiles)), "distinct": list(map(list, self.distinct))}
        if self.vocabulary:
            found["vocabulary"] = self.vocabulary
        if self.own_tower:
            found["own_tower"] = True
        found |= {name: list(names) for name in ("blocks", "read_by") if (names := getattr(self, name))}
        if self.same_tower is not None:
            found["same_tower"] = self.same_tower
        return found

    @classmethod
    def from_json(cls, values: Any) -> InputSpec:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        spec = read_record(cls, values, "an input")
        large = math.prod(spec.shape) > MOST_ROW_NUMBERS
        if min(spec.shape, default=1) < 1 or large or not _is_numeric(spec.dtype):
            raise damaged("an input", f"its shape is {spec.shape}, its type {spec.dtype}")
        if not 0 <= spec.vocabulary <= MOST_HYPERPARAMETER:
            raise damaged("an input", f"its vocabulary is {spec.vocabulary}")
        channels = spec.shape[-1:] if spec.mean or spec.deviation else ()
        if (len(spec.mean), len(spec.deviation)) != (channels * 2 or (0, 0)) or min(spec.deviation, default=1.0) <= 0:
            raise damaged("an input", f"its mean is {spec.mean}, its deviation {spec.deviation}")
        quantiles, distinct = tuple(map(tuple, spec.quantiles)), tuple(map(tuple, spec.distinct))
        spec = dataclasses.replace(spec, quantiles=quantiles, distinct=distinct)
        if not _are_statistics(spec):
            raise damaged("an input", f"what it says of its columns does not fit its shape, {spec.shape}")
        return spec


def _are_statistics(spec: InputSpec) -> bool:
    """Whether there are statistics of all columns, or of none."""
    if not spec.widths:
        return not (spec.quantiles or spec.distinct)
    if len(spec.shape) != 1 or sum(spec.widths) != spec.shape[0] or min(spec.widths) < 1:
        return False
    if not len(spec.widths) == len(spec.quantiles) == len(spec.distinct):
        return False
    return all(
        (not values and not others) or (width == 1 and _rises(values) and _rises(others))
        for width, values, others in zip(spec.widths, spec.quantiles, spec.distinct, strict=True)
    )


def _rises(values: Sequence[float]) -> bool:
    """Whether there are at least two finite numbers that never fall, and the last is above the first."""
    return (
        len(values) > 1
        and all(map(math.isfinite, values))
        and all(one <= other for one, other in itertools.pairwise(values))
        and values[0] < values[-1]
    )


def _is_numeric(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "fiu"
    except TypeError:
        return False


InputSpecs = Mapping[str, InputSpec]


def main_inputs(specs: InputSpecs) -> dict[str, InputSpec]:
    """The inputs that blocks read: all but those that hold lengths of others."""
    lengths = {spec.lengths for spec in specs.values()}
    return {name: spec for name, spec in specs.items() if name not in lengths}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows with stable numbers.

    Attributes:
        inputs: By name, [rows, ...], each of its own type. Lengths of padded steps are an ordinary int32 input [rows].
        labels: By task. Classes: int32 [rows], indices into `Task.classes`. Numbers: float32 [rows, targets], scaled
            ((value - target_mean) / target_scale). With a label per step there is a second axis, the steps; the labels
            of padded steps are 0 with weight 0.
        weights: By task, float32 [rows] (or [rows, steps]); a task without weights is left out.
    """

    inputs: Arrays
    labels: Arrays
    weights: Arrays = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {
            name: len(values) for part in (self.inputs, self.labels, self.weights) for name, values in part.items()
        }
        if not self.labels or len(set(counts.values())) > 1:
            raise DataError(f"rows have inputs, labels and weights of these lengths: {counts}; expected one length")

    @classmethod
    def of(cls, inputs: np.ndarray | Arrays, labels: np.ndarray | Arrays, weights: np.ndarray | None = None) -> Rows:
        """Rows from single arrays: one input named "features", one task named "label"."""
        by_name = inputs if isinstance(inputs, Mapping) else {FEATURES: inputs}
        by_task = labels if isinstance(labels, Mapping) else {LABEL: labels}
        return cls(by_name, by_task, {} if weights is None else {next(iter(by_task)): weights})

    def __len__(self) -> int:
        return len(self.label)

    @property
    def task(self) -> str:
        """Name of the primary task, the first one."""
        return next(iter(self.labels))

    @property
    def label(self) -> np.ndarray:
        """The labels of the primary task."""
        return self.labels[self.task]

    @property
    def weight(self) -> np.ndarray | None:
        """The weights of the primary task; None where all rows weigh the same."""
        return self.weights.get(self.task)

    def take(self, numbers: np.ndarray | slice) -> Rows:
        """Some of the rows, by number (an array, a mask or a slice); the only way to choose rows."""
        return Rows(
            {name: values[numbers] for name, values in self.inputs.items()},
            {name: values[numbers] for name, values in self.labels.items()},
            {name: values[numbers] for name, values in self.weights.items()},
        )

    def with_inputs(self, more: Arrays) -> Rows:
        """The same rows with further inputs."""
        return dataclasses.replace(self, inputs={**self.inputs, **more})

    def mirrored(self, specs: InputSpecs) -> Rows:
        """The same rows, with maps mirrored left to right; no array is copied."""
        maps = {name for name, spec in main_inputs(specs).items() if len(spec.shape) == MAP_RANK}
        return self.with_inputs({name: values[:, :, ::-1] for name, values in self.inputs.items() if name in maps})

    def blocks(self, rows: int) -> Iterator[Rows]:
        """The rows in order, in blocks of at most `rows`."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return sum(values.nbytes for part in (self.inputs, self.labels, self.weights) for values in part.values())

    def specs(self, lengths: Mapping[str, str] | None = None) -> dict[str, InputSpec]:
        """The specs of the inputs; `lengths` names, for each padded input, the one that holds its lengths."""
        return input_specs(self.inputs, lengths)


def input_specs(inputs: Arrays, lengths: Mapping[str, str] | None = None) -> dict[str, InputSpec]:
    """The specs of some inputs.

    Args:
        inputs: By name, [rows, ...].
        lengths: For each padded input, the name of the one that holds its lengths.
    """
    return {
        name: InputSpec(tuple(values.shape[1:]), str(values.dtype), (lengths or {}).get(name))
        for name, values in inputs.items()
    }


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Concatenates rows; weights are kept if all parts have them.

    Raises:
        DataError: if the parts do not have the same inputs and labels.
    """
    first = parts[0]
    for part in parts:
        if part.inputs.keys() != first.inputs.keys() or part.labels.keys() != first.labels.keys():
            raise DataError(
                f"received rows with inputs {sorted(part.inputs)} and labels {sorted(part.labels)} after rows with "
                f"{sorted(first.inputs)} and {sorted(first.labels)}; expected the same names"
            )
    shared = [name for name in first.weights if all(name in part.weights for part in parts)]
    return Rows(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in first.inputs},
        {name: np.concatenate([part.labels[name] for part in parts]) for name in first.labels},
        {name: np.concatenate([part.weights[name] for part in parts]) for name in shared},
    )


def check_form(values: Any, subject: str) -> None:
    """Refuses what looks like an array or a dict, and is none: a sparse matrix, and a Bunch of scikit-learn.

    Args:
        values: Anything.
        subject: What it is and a verb, to begin a message with ("the features are").

    Raises:
        DataError: with what to give instead.
    """
    if hasattr(values, "tocsr") and hasattr(values, "toarray"):
        size = math.prod(values.shape) * values.dtype.itemsize
        raise DataError(
            f"{subject} a sparse matrix ({type(values).__name__} of shape {tuple(values.shape)}); expected an array or "
            f"a frame: give its .toarray() ({size / 1e6:,.3g} MB)"
        )
    if isinstance(values, Mapping) and type(values).__name__ == "Bunch":
        raise DataError(
            f"{subject} a Bunch of scikit-learn (with {', '.join(map(str, values))}); expected its parts: .data for "
            "the features, .target for the labels"
        )


def as_pandas(values: Any, what: str) -> Any:
    """A table of another library (Polars, Arrow) as a frame of pandas, which keeps the names; anything else as it is.

    Raises:
        DataError: if a table with names of columns cannot be turned into one, or for what `check_form` refuses.
    """
    import pandas as pd

    check_form(values, f"the {what} are")
    has_names = hasattr(values, "columns") or hasattr(values, "column_names")
    if not has_names or isinstance(values, pd.DataFrame | Mapping | np.ndarray):
        return values
    advice = "expected a DataFrame of pandas, or a dict of columns"
    if not hasattr(values, "to_pandas"):
        raise DataError(f"the {what} are a {type(values).__name__}, which has no to_pandas(); {advice}")
    try:
        found = values.to_pandas()
    except Exception as error:  # whatever the other library raises, often since it lacks a package
        raise DataError(f"to_pandas() of the {what} ({type(values).__name__}) fails: {error}; {advice}") from error
    return found


def index_of(x: Any) -> pd.Index | None:
    """The index of features: that of a frame, or of all frames and Series of a dict; None where there is none."""
    import pandas as pd

    if isinstance(x, pd.DataFrame | pd.Series):
        return x.index
    given = x.values() if isinstance(x, Mapping) else []
    found = [one.index for one in given if isinstance(one, pd.DataFrame | pd.Series)]
    return found[0] if found and all(one.equals(found[0]) for one in found) else None


def index_notes(index: pd.Index | None, beside: Mapping[str, Any]) -> list[str]:
    """A note on each pandas object whose index is not that of the features.

    Args:
        index: That of the features.
        beside: Labels, weights and the like by what they are called; by task where they are dicts.

    Raises:
        DataError: if an index has the same entries in another order: most likely the rows were shuffled on one side.
    """
    import pandas as pd

    notes = []
    for what, given in beside.items():
        for values in given.values() if isinstance(given, Mapping) else [given]:
            own = values.index if isinstance(values, pd.Series | pd.DataFrame) else None
            if index is None or own is None or len(own) != len(index) or own.equals(index):
                continue
            pairs = enumerate(zip(own, index, strict=True))
            row = next((row for row, pair in pairs if not _is_same_entry(*pair)), None)
            if row is None:
                continue  # of another type, with the same entries
            here, there = (one[row : row + 1].tolist()[0] for one in (own, index))
            seen = f"in row {row + 1} it has {here!r:.40}, that of the features {there!r:.40}"
            if own.is_unique and index.is_unique and own.isin(index).all():
                name = "y" if what == "labels" else what
                raise DataError(
                    f"the index of the {what} has the entries of the features' index in another order ({seen}); rows "
                    f"go together by position: use {name}.loc[x.index], or {name}.to_numpy() if the order is right"
                )
            notes.append(f"the index of the {what} is not that of the features ({seen}); rows go together by position")
    return list(dict.fromkeys(notes))


def _is_same_entry(one: Any, other: Any) -> bool:
    """Whether two entries of an index are equal; missing ones are, although pandas' NA compares with nothing."""
    import pandas as pd

    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_same_entry, one, other))
    missing = [bool(pd.isna(one)), bool(pd.isna(other))]
    return all(missing) if any(missing) else bool(one == other)
