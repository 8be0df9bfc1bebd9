import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_search.search.space.edit_distance import PADDING, encode, hamming, levenshtein

NUMBERS = {"IDENTITY": 0, "LOWRANK_1": 1, "LOWRANK_2": 2}
towers = st.lists(st.lists(st.sampled_from([*NUMBERS, "LOWRANK_3"]), max_size=5).map(tuple), min_size=1, max_size=4)


def _plain(one, other):
    """The textbook's recursion, for one pair."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        above, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
    return row[-1]


@given(towers, towers)
def test_edits_are_those_of_the_textbook(first, second):
    found = levenshtein(encode(first, NUMBERS), encode(second, NUMBERS))
    assert found.tolist() == [[_plain(one, other) for other in second] for one in first]


@given(towers)
def test_every_missing_block_is_a_difference(many):
    found = hamming(encode(many, NUMBERS), encode([()], NUMBERS))
    assert found[:, 0].tolist() == [len(one) for one in many]


def test_flatten_blocks_do_not_count():
    rows = encode([("IDENTITY", "FLATTEN", "LOWRANK_2"), ("LOWRANK_3",)], NUMBERS)
    assert rows.tolist() == [[0, 2], [3, PADDING]]
    assert np.issubdtype(rows.dtype, np.integer)
