"""Columns of text in little memory: a pandas array that holds cells as UTF-8, not as Python objects.

A Python object takes about 60 bytes a cell. Here a cell takes 1 or 2 bytes where the column repeats itself, and its own
length plus 1 or 2 bytes elsewhere. Cells become Python objects again block by block, when they are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype

BLOCK_ROWS = 2**16  # rows that are Python objects at the same time
_SAMPLE = 1000


@dataclasses.dataclass(frozen=True)
class _Packed:
    """Cells one after the other, with their lengths in characters."""

    text: bytes
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def cells(self) -> np.ndarray:
        """The cells, object [rows]."""
        text = self.text.decode("utf-8", "surrogatepass")
        found = np.empty(len(self), dtype=object)
        ends = np.cumsum(self.lengths, dtype=np.int64).tolist()
        found[:] = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return found

    @property
    def nbytes(self) -> int:
        return len(self.text) + self.lengths.nbytes


@dataclasses.dataclass(frozen=True)
class _Coded:
    """The different cells, and for each row which of them it holds."""

    values: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def cells(self) -> np.ndarray:
        """The cells, object [rows]."""
        return self.values[self.codes]

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + 64 * len(self.values)


Block = _Packed | _Coded


def pack(cells: Sequence[str]) -> Block:
    """Packs cells in the way that takes less memory."""
    if len(set(cells[:_SAMPLE])) * 2 <= min(len(cells), _SAMPLE) or len(cells) < 2:
        numbers: dict[str, int] = {}
        codes = np.fromiter((numbers.setdefault(cell, len(numbers)) for cell in cells), np.int32, len(cells))
        if len(numbers) * 4 <= max(len(cells), 4):
            values = np.empty(len(numbers), dtype=object)
            values[:] = list(numbers)
            return _Coded(values, codes.astype(np.min_scalar_type(max(len(numbers) - 1, 0))))
    lengths = np.fromiter(map(len, cells), np.int64, len(cells))
    kind = np.min_scalar_type(int(lengths.max())) if len(cells) else np.uint8
    return _Packed("".join(cells).encode("utf-8", "surrogatepass"), lengths.astype(kind))


class Selection:
    """Chosen rows of a table; its columns share it, so that it is held once.

    Args:
        numbers: Row numbers in order; None for all rows.
    """

    def __init__(self, numbers: np.ndarray | None = None):
        self.numbers = numbers
        self.ascending = numbers is None or bool((numbers[1:] >= numbers[:-1]).all())
        self._latest: tuple[np.ndarray, Selection] | None = None

    def take(self, indices: np.ndarray) -> Selection:
        """Some of the chosen rows. The columns of a frame ask one after the other for the same ones."""
        if self._latest is None or self._latest[0] is not indices:
            self._latest = (indices, Selection(indices if self.numbers is None else self.numbers[indices]))
        return self._latest[1]


class PackedDtype(ExtensionDtype):
    """The type of a `PackedText`."""

    name = "packed text"
    type: Any = str
    kind = "O"
    na_value = None

    @classmethod
    def construct_array_type(cls) -> Any:
        """The array of this type."""
        return PackedText


class PackedText(ExtensionArray):
    """A column of texts that cannot be changed; none is missing.

    Args:
        blocks: The cells in order.
        rows: Which of them, in which order; all where None.
    """

    def __init__(self, blocks: Sequence[Block], rows: Selection | None = None):
        self._blocks = tuple(blocks)
        self._ends = np.cumsum([0, *map(len, self._blocks)])
        self._rows = rows or Selection()

    @classmethod
    def of(cls, cells: Iterable[str]) -> PackedText:
        """Packs cells."""
        texts = list(cells)
        return cls([pack(texts[start : start + BLOCK_ROWS]) for start in range(0, len(texts), BLOCK_ROWS)])

    def cells(self) -> Iterator[np.ndarray]:
        """The cells in order, object [rows], block by block."""
        numbers = self._rows.numbers
        if numbers is None:
            for block in self._blocks:
                yield block.cells()
            return
        if self._rows.ascending:  # block after block is read once
            bounds = np.searchsorted(numbers, self._ends)
            for block, first, start, end in zip(self._blocks, self._ends[:-1], bounds[:-1], bounds[1:], strict=True):
                if end > start:
                    yield block.cells()[numbers[start:end] - first]
            return
        for start in range(0, len(numbers), BLOCK_ROWS):
            yield self._gather(numbers[start : start + BLOCK_ROWS])

    def _gather(self, numbers: np.ndarray) -> np.ndarray:
        """The cells of these rows, in any order."""
        found = np.empty(len(numbers), dtype=object)
        which = np.searchsorted(self._ends, numbers, side="right") - 1
        for place in np.unique(which):
            mask = which == place
            found[mask] = self._blocks[place].cells()[numbers[mask] - self._ends[place]]
        return found

    @property
    def dtype(self) -> PackedDtype:
        """The type of the array."""
        return PackedDtype()

    @property
    def nbytes(self) -> int:
        """Size in bytes, about; rows that are shared with other columns are left out."""
        return sum(block.nbytes for block in self._blocks)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._rows.numbers is None else len(self._rows.numbers)

    def __iter__(self) -> Iterator[str]:
        for found in self.cells():
            yield from found

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, int | np.integer):
            place = int(item) + (len(self) if item < 0 else 0)
            if not 0 <= place < len(self):
                raise IndexError(f"row {item} of {len(self)}")
            return self.take(np.array([place])).__array__()[0]
        item = pd.api.indexers.check_array_indexer(self, item)
        if isinstance(item, slice):
            if item == slice(None):
                return PackedText(self._blocks, self._rows)
            return self.take(np.arange(*item.indices(len(self))))
        return self.take(np.flatnonzero(item) if item.dtype == bool else item)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        parts = list(self.cells())
        found = np.concatenate(parts) if parts else np.empty(0, dtype=object)
        return found if dtype is None or np.dtype(dtype) == object else found.astype(dtype)

    def __eq__(self, other: Any) -> Any:
        return np.asarray(self) == np.asarray(other, dtype=object)

    __hash__ = ExtensionArray.__hash__

    def map_cells(self, convert: Callable[[Sequence[str]], Sequence[str]]) -> PackedText:
        """The same rows with other cells."""
        if self._rows.numbers is not None:
            return PackedText([pack(convert(cells.tolist())) for cells in self.cells()])
        return PackedText([pack(convert(block.cells().tolist())) for block in self._blocks], self._rows)

    def isna(self) -> np.ndarray:
        """Which cells are missing: none."""
        return np.zeros(len(self), dtype=bool)

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> PackedText:
        """These rows.

        Raises:
            ValueError: if missing rows are asked for.
        """
        numbers = np.asarray(indices, dtype=np.intp)
        if len(numbers) and numbers.min() < 0:
            if allow_fill:
                raise ValueError("a packed column has no missing cells; expected row numbers from 0")
            numbers = np.where(numbers < 0, numbers + len(self), numbers)
        if len(numbers) and numbers.max() >= len(self):
            raise IndexError(f"row {numbers.max()} of {len(self)}")
        return PackedText(self._blocks, self._rows.take(numbers))

    def copy(self) -> PackedText:
        """The same cells; they cannot be changed, so nothing is copied."""
        return PackedText(self._blocks, self._rows)

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> PackedText:
        return cls.of(scalars)

    @classmethod
    def _from_factorized(cls, values: Any, original: PackedText) -> PackedText:
        return cls.of(values)

    def _values_for_factorize(self) -> tuple[np.ndarray, Any]:
        return np.asarray(self), None

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[PackedText]) -> PackedText:
        return cls([pack(found.tolist()) for one in to_concat for found in one.cells()])
