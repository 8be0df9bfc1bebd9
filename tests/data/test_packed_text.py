"""Columns that hold their cells packed are columns like any other."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.tabular import columns, packed_text, text_columns
from model_search.data.tabular.packed_text import PackedText, Selection, pack

CELLS = st.one_of(st.sampled_from(["", "a", "b", "ß", "1.5", " x ", "\ud800", "\x1f"]), st.text(max_size=6))


def shortened(change):
    """With as many examples as are kept of a column's parts."""
    return dataclasses.replace(change, examples=change.examples[:4])


def packed(cells, block_rows):
    return PackedText([pack(cells[start : start + block_rows]) for start in range(0, len(cells), block_rows)])


@given(st.lists(CELLS, min_size=1, max_size=60), st.integers(1, 9), st.data())
@settings(deadline=None, max_examples=150)
def test_whatever_rows_are_taken_the_cells_are_the_same(cells, block_rows, data):
    series = pd.Series(packed(cells, block_rows))
    plain = pd.Series(cells, dtype=object)
    assert series.tolist() == cells
    assert series.to_numpy(dtype=object).tolist() == cells
    assert [series.iloc[row] for row in range(len(cells))] == cells
    for _ in range(3):  # rows of rows of rows
        rows = np.array(data.draw(st.lists(st.integers(0, len(plain) - 1), min_size=1, max_size=40)))
        rows = np.sort(rows) if data.draw(st.booleans()) else rows
        series, plain = series.iloc[rows].reset_index(drop=True), plain.iloc[rows].reset_index(drop=True)
        assert series.tolist() == plain.tolist()
        assert [cell for block in columns.cells_of(series) for cell in block] == plain.tolist()
    assert series.iloc[1:-1].tolist() == plain.iloc[1:-1].tolist()
    assert series[series.to_numpy() != "a"].tolist() == plain[plain != "a"].tolist()
    assert pd.concat([series, series]).tolist() == plain.tolist() * 2


@given(st.lists(CELLS, min_size=1, max_size=60), st.integers(1, 9))
@settings(deadline=None, max_examples=100)
def test_blocks_change_nothing_that_is_read(cells, block_rows):
    series, plain = pd.Series(packed(cells, block_rows)), pd.Series(cells, dtype=object)
    codes, texts = columns.distinct_texts(series)
    assert [texts[code] for code in codes] == [columns.canonical_text(cell) for cell in cells]
    assert text_columns.counts_of(series) == text_columns.counts_of(plain)
    np.testing.assert_array_equal(columns.numbers_of(series), columns.numbers_of(plain))
    np.testing.assert_array_equal(columns.dates_of(series, "dmy"), columns.dates_of(plain, "dmy"))
    assert [shortened(c) for c in columns.read_numbers(series)[1]] == [
        shortened(c) for c in columns.read_numbers(plain)[1]
    ]
    for least in (0.0, 0.95):
        one, other = text_columns.text_numbers(series, least), text_columns.text_numbers(plain, least)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one.values, other.values)
            assert (one.present, one.as_text, one.notes, one.zeros) == (
                other.present,
                other.as_text,
                other.notes,
                other.zeros,
            )


def test_columns_of_a_table_share_the_rows_that_are_chosen():
    rows = Selection()
    frame = pd.DataFrame({name: PackedText([pack(["u", "v", "w"] * 10)], rows) for name in "abc"}, copy=False)
    some = frame.iloc[np.arange(3, 20)].iloc[np.array([5, 2])]
    assert some.to_numpy().tolist() == [["w"] * 3] * 2
    assert len({id(some[name].array._rows) for name in "abc"}) == 1


def test_cells_take_little_room():
    rng = np.random.default_rng(0)
    repeated = [f"city {number}" for number in rng.integers(0, 50, 20_000)]
    different = [f"{value:.6f}" for value in rng.normal(size=20_000)]
    assert PackedText.of(repeated).nbytes < 1.3 * len(repeated)
    assert PackedText.of(different).nbytes < sum(map(len, different)) + 1.1 * len(different)


def test_missing_rows_cannot_be_made():
    series = pd.Series(PackedText.of(["u", "v"]))
    with pytest.raises(ValueError, match="no missing cells"):
        series.reindex([0, 7])
    with pytest.raises(IndexError):
        series.array[2]


def test_large_columns_are_split(monkeypatch):
    monkeypatch.setattr(packed_text, "BLOCK_ROWS", 4)
    assert [len(block) for block in PackedText.of("abcdefghij").cells()] == [4, 4, 2]
