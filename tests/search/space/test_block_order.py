"""The order of blocks in a CNN against a plain implementation of the archived rules, exhaustively."""

import itertools

import pytest

from model_search import blocks
from model_search.blocks import catalogue
from model_search.problem import problem_type, problem_types
from model_search.search.space.architecture import fix_order, grow, replace, replaceable_positions

CNN = problem_type("CNN")
ADDED = range(200, 500)  # ids of blocks that the archived system does not have
STOCK = tuple(
    name for name in catalogue.names() if catalogue.get(name).is_stock and catalogue.get(name).enum_id not in ADDED
)
FLATTEN = ("FLATTEN", "DOWNSAMPLE_FLATTEN", "PLATE_REDUCTION_FLATTEN")
# Blocks of these families treat all orders of their inputs alike (COMPAT, section 9), all others do not.
INSENSITIVE = (
    "FULLY_CONNECTED", "FIXED_OUTPUT_FULLY_CONNECTED", "LOWRANK", "BOTTLENECK", "IDENTITY", *FLATTEN,
)  # fmt: skip


def _is_ordered(name):
    return not name.startswith(INSENSITIVE)


def _representatives():
    """The first block of every family, and all flatten blocks."""
    chosen = {}
    for name in STOCK:
        chosen.setdefault(catalogue.get(name).family, name)
    return (*dict.fromkeys([*chosen.values(), *FLATTEN]),)


REPRESENTATIVES = _representatives()


def expected_fix(names):
    """5.5: the first flatten block or a new one, order-important blocks before it, the others behind it."""
    names = [name for name in names if name != "EMPTY_BLOCK"]
    flatten = [name for name in names if name in FLATTEN]
    kept = flatten[0] if flatten else "PLATE_REDUCTION_FLATTEN"
    others = [name for name in names if name not in FLATTEN]
    ordered = [name for name in others if _is_ordered(name)]
    return (*ordered, kept, *(name for name in others if not _is_ordered(name)))


def expected_growth(names, block):
    """5.5: an order-important block just before the first insensitive one, any other at the end."""
    names = list(names)
    if not _is_ordered(block):
        return expected_fix([*names, block])
    for place, name in enumerate(names):
        if not _is_ordered(name):
            return expected_fix([*names[:place], block, *names[place:]])
    return expected_fix([*names, block])


def test_the_representatives_are_of_every_family_and_role():
    families = {catalogue.get(name).family for name in REPRESENTATIVES}
    assert families == {catalogue.get(name).family for name in STOCK}
    assert len(families) == 25 and set(FLATTEN) <= set(REPRESENTATIVES)
    assert {catalogue.get(name).reads_rank for name in REPRESENTATIVES} == {None, 2, 3}


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_every_tower_of_representatives_is_put_in_the_archived_order(depth):
    for names in itertools.product((*REPRESENTATIVES, "EMPTY_BLOCK"), repeat=depth):
        assert fix_order(names, CNN) == expected_fix(names)


def test_every_pair_of_all_blocks_is_put_in_the_archived_order():
    assert len(STOCK) == 136
    for names in itertools.product(STOCK, repeat=2):
        assert fix_order(names, CNN) == expected_fix(names)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_tower_of_representatives_grows_as_in_the_archived_system(depth):
    for *names, block in itertools.product(REPRESENTATIVES, repeat=depth + 1):
        for before in {tuple(names), expected_fix(names)}:
            assert grow(before, block, CNN) == expected_growth(before, block)


def test_every_block_grows_every_block_as_in_the_archived_system():
    for name, block in itertools.product(STOCK, repeat=2):
        before = expected_fix([name])
        assert grow(before, block, CNN) == expected_growth(before, block)


def test_a_mutation_replaces_all_but_the_flatten_blocks():
    for names in itertools.product(REPRESENTATIVES, repeat=2):
        before = expected_fix(names)
        places = replaceable_positions(before)
        assert places == [place for place, name in enumerate(before) if name not in FLATTEN]
        for place, block in itertools.product(places, REPRESENTATIVES):
            after = expected_fix([*before[:place], block, *before[place + 1 :]])
            assert replace(before, place, block, CNN) == after


@pytest.mark.parametrize("other", [known for known in problem_types() if known != CNN], ids=lambda known: known.name)
def test_elsewhere_every_pair_stays_as_it_is(other):
    for names in itertools.product(STOCK, repeat=2):
        assert fix_order(names, other) == names
        assert grow(names[:1], names[1], other) == names


class Passing(blocks.Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors


@pytest.fixture
def own_blocks():
    """Blocks of a user, of every role."""
    before = set(catalogue.names())
    blocks.register_block("OWN_MAPS", reads_rank=3, writes_rank=3)(Passing)
    blocks.register_block("OWN_REDUCTION", reads_rank=3, writes_rank=3, is_reduction=True)(Passing)
    blocks.register_block("OWN_POOLING", reads_rank=3, writes_rank=1)(Passing)
    blocks.register_block("OWN_FLATTEN", is_flatten=True)(Passing)
    blocks.register_block("OWN_VECTORS", reads_rank=1)(Passing)
    blocks.register_block("OWN_ANY")(Passing)
    yield
    for name in set(catalogue.names()) - before:
        catalogue.unregister(name)


def test_blocks_of_a_user_stand_where_their_ranks_say(own_blocks):
    mixed = ("OWN_VECTORS", "OWN_FLATTEN", "OWN_MAPS", "OWN_ANY", "OWN_POOLING", "OWN_REDUCTION", "IDENTITY")
    # One that says nothing is asked for `is_input_order_important`, which is True unless overridden.
    ordered = ("OWN_MAPS", "OWN_ANY", "OWN_REDUCTION", "OWN_FLATTEN", "OWN_VECTORS", "IDENTITY")
    assert fix_order(mixed, CNN) == ordered
    assert replaceable_positions(ordered) == [0, 1, 2, 4, 5]
    assert grow(ordered, "OWN_MAPS", CNN) == (*ordered[:3], "OWN_MAPS", *ordered[3:])
    assert grow(ordered, "OWN_VECTORS", CNN) == (*ordered, "OWN_VECTORS")


def test_a_block_of_a_user_that_reads_maps_and_writes_vectors_flattens(own_blocks):
    assert catalogue.get("OWN_POOLING").is_flatten
    assert fix_order(("OWN_POOLING", "OWN_MAPS"), CNN) == ("OWN_MAPS", "OWN_POOLING")
