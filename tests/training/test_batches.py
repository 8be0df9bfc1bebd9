import numpy as np
import pytest
from engine_cases import class_rows
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.rows import Rows
from model_search.errors import DataError
from model_search.training.batches import RowOrder, StreamOrder


@given(st.integers(1, 30), st.integers(1, 12), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_every_epoch_shows_each_row_once(rows, batch_size, takes):
    order = RowOrder(rows, batch_size, seed=3)
    seen = np.concatenate([order.take(take) for take in takes])
    assert seen.shape == (sum(takes), batch_size)
    assert seen.dtype == np.int32
    flat = seen.ravel()
    for start in range(0, len(flat) - rows + 1, rows):
        assert sorted(flat[start : start + rows]) == list(range(rows))
    tail = flat[len(flat) // rows * rows :]
    assert len(set(tail)) == len(tail)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_how_chunks_are_cut_changes_nothing(takes):
    once = RowOrder(11, 4, seed=9).take(sum(takes))
    order = RowOrder(11, 4, seed=9)
    assert np.array_equal(once, np.concatenate([order.take(take) for take in takes]))


def test_another_seed_and_another_epoch_are_another_order():
    assert not np.array_equal(RowOrder(50, 50, 0).take(1), RowOrder(50, 50, 1).take(1))
    two = RowOrder(50, 50, 0).take(2)
    assert not np.array_equal(two[0], two[1])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 6), st.booleans())
def test_a_stream_is_cut_into_equal_batches_without_losing_rows(sizes, batch_size, weighted):
    rows = class_rows(sum(sizes), weighted=weighted)

    def pieces():
        start = 0
        for size in sizes:
            cut = slice(start, start + size)
            yield Rows.of(rows.inputs["features"][cut], rows.label[cut], rows.weight[cut] if weighted else None)
            start += size

    order = StreamOrder(pieces(), batch_size, rows)
    batches = sum(sizes) // batch_size
    taken = [order.take(1) for _ in range(batches)]
    for number, batch in enumerate(taken):
        cut = slice(number * batch_size, (number + 1) * batch_size)
        assert np.array_equal(batch.inputs["features"], rows.inputs["features"][cut])
        assert np.array_equal(batch.label, rows.label[cut])
        assert (batch.weight is None) == (not weighted)
    with pytest.raises(DataError, match="training data ended"):
        order.take(1)


def test_a_stream_that_changes_its_shape_is_refused():
    order = StreamOrder(iter([class_rows(8, width=5)]), 4, class_rows(8, width=4))
    with pytest.raises(DataError, match=r"shape \(5,\).*\(4,\)"):
        order.take(1)
