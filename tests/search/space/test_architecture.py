import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.problem import problem_type as problem_type_named
from model_search.problem import problem_types
from model_search.search.space.architecture import (
    DEFAULT_FLATTEN,
    EMPTY_BLOCK,
    canonical,
    fix_order,
    get_allowed_depth,
    grow,
    reorders,
    replace,
    replaceable_positions,
)

PROBLEMS = problem_types()
CNN = problem_type_named("CNN")
architectures = st.lists(st.sampled_from([*catalogue.names(), EMPTY_BLOCK]), max_size=12)
blocks = st.sampled_from(catalogue.names())


@pytest.mark.parametrize(
    ("completed", "thresholds", "maximum", "depth"),
    [
        *[(n, (), 5, 1) for n in (0, 4)],
        *[(n, (), 5, 2) for n in (5, 9)],
        *[(n, (), 5, 3) for n in (10, 14)],
        *[(n, (), 5, 4) for n in (15, 19)],
        *[(n, (), 5, 5) for n in (20, 21, 10_000)],
        *[(n, (10, 30, 50), 20, 0) for n in (0, 9)],
        *[(n, (10, 30, 50), 20, 1) for n in (10, 29)],
        *[(n, (10, 30, 50), 20, 2) for n in (30, 49)],
        *[(n, (10, 30, 50), 20, 20) for n in (50, 51)],
        (0, (), 1, 1),
        (0, (0,), 7, 7),
    ],
)
def test_allowed_depth(completed, thresholds, maximum, depth):
    assert get_allowed_depth(completed, thresholds, maximum) == depth


def test_more_thresholds_than_depths_are_refused():
    with pytest.raises(SpecError, match="has 3 values but maximum_depth is 2"):
        get_allowed_depth(0, [1, 2, 3], 2)
    assert get_allowed_depth(0, [1, 2], 2) == 0


@pytest.mark.parametrize(
    ("given_order", "fixed"),
    [
        (["CONVOLUTION_3X3"], ["CONVOLUTION_3X3", DEFAULT_FLATTEN]),
        ([], [DEFAULT_FLATTEN]),
        (
            ["FULLY_CONNECTED", "CONVOLUTION_3X3", "LOWRANK_1", "RESNET_3X3"],
            ["CONVOLUTION_3X3", "RESNET_3X3", DEFAULT_FLATTEN, "FULLY_CONNECTED", "LOWRANK_1"],
        ),
        (
            ["FLATTEN", "CONVOLUTION_3X3", "DOWNSAMPLE_FLATTEN", "IDENTITY"],
            ["CONVOLUTION_3X3", "FLATTEN", "IDENTITY"],
        ),
        (["CONVOLUTION_3X3", EMPTY_BLOCK, "DOWNSAMPLE_FLATTEN"], ["CONVOLUTION_3X3", "DOWNSAMPLE_FLATTEN"]),
        # Makes maps smaller, has no FLATTEN in its role: keeps its place.
        (["AVERAGE_POOL_2X2", "CONVOLUTION_3X3"], ["AVERAGE_POOL_2X2", "CONVOLUTION_3X3", DEFAULT_FLATTEN]),
    ],
)
def test_cnn_order(given_order, fixed):
    assert fix_order(given_order, CNN) == tuple(fixed)


@pytest.mark.parametrize("problem_type", [known for known in PROBLEMS if known != CNN], ids=lambda known: known.name)
def test_elsewhere_every_order_that_can_be_read_is_legal(problem_type):
    for architecture in (
        ("FULLY_CONNECTED", "FLATTEN", "CONVOLUTION_3X3"),
        ("FULLY_CONNECTED", "LSTM_128"),
        ("LSTM_128", "LAYER_NORMALIZATION", "RNN_CELL_64", "FULLY_CONNECTED", "IDENTITY", "FLATTEN"),
        ("LSTM_128", "MASKED_MEAN_POOLING", "LOWRANK_1"),
    ):
        assert fix_order(architecture, problem_type) == architecture


@pytest.mark.parametrize(
    ("given_order", "fixed"),
    [
        (
            ["GRU_64", "ATTENTION_POOLING", "IDENTITY", "LSTM_128"],
            ["GRU_64", "LSTM_128", "ATTENTION_POOLING", "IDENTITY"],
        ),
        (["MASKED_MAX_POOLING", "MASKED_MEAN_POOLING"], ["MASKED_MAX_POOLING"]),
        (["MASKED_MEAN_POOLING", "LOWRANK_1", "LSTM_32"], ["LSTM_32", "MASKED_MEAN_POOLING", "LOWRANK_1"]),
    ],
)
def test_what_reads_sequences_comes_before_what_pools_them(given_order, fixed):
    for problem_type in PROBLEMS:
        if problem_type.input_rank == 2:
            assert fix_order(given_order, problem_type) == tuple(fixed)
            assert reorders(given_order, problem_type)
            assert not reorders(["LSTM_128", "IDENTITY"], problem_type)


@given(architectures, st.sampled_from(PROBLEMS))
def test_fixing_twice_changes_nothing_more(architecture, problem_type):
    fixed = fix_order(architecture, problem_type)
    assert fix_order(fixed, problem_type) == fixed == canonical(fixed, problem_type)
    assert EMPTY_BLOCK not in fixed


@given(architectures)
def test_a_fixed_cnn_is_convolutions_flatten_dense(architecture):
    roles = [catalogue.get(name) for name in fix_order(architecture, CNN)]
    (flatten,) = [i for i, role in enumerate(roles) if role.is_flatten]
    assert all(role.order_important for role in roles[:flatten])
    assert not any(role.order_important for role in roles[flatten + 1 :])
    kept = [name for name in architecture if name != EMPTY_BLOCK and not catalogue.get(name).is_flatten]
    assert sorted(kept) == sorted(role.name for i, role in enumerate(roles) if i != flatten)


@pytest.mark.parametrize(
    ("architecture", "block", "grown"),
    [
        (
            ["CONVOLUTION_3X3", "FLATTEN", "FULLY_CONNECTED"],
            "RESNET_3X3",
            ["CONVOLUTION_3X3", "RESNET_3X3", "FLATTEN", "FULLY_CONNECTED"],
        ),
        (
            ["CONVOLUTION_3X3", "FLATTEN", "FULLY_CONNECTED"],
            "LOWRANK_1",
            ["CONVOLUTION_3X3", "FLATTEN", "FULLY_CONNECTED", "LOWRANK_1"],
        ),
        (["FLATTEN"], "RESNET_3X3", ["RESNET_3X3", "FLATTEN"]),
        # A fully convolutional one, as no search makes it: it gets its flatten block.
        (["CONVOLUTION_3X3"], "RESNET_3X3", ["CONVOLUTION_3X3", "RESNET_3X3", DEFAULT_FLATTEN]),
    ],
)
def test_cnn_growth(architecture, block, grown):
    assert grow(architecture, block, CNN) == tuple(grown)


@given(architectures, blocks, st.sampled_from(PROBLEMS))
def test_growth_keeps_the_order_of_what_was_there(architecture, block, problem_type):
    before = fix_order(architecture, problem_type)
    after = grow(before, block, problem_type)
    assert after == fix_order(after, problem_type)
    second_flatten = problem_type == CNN and catalogue.get(block).is_flatten
    assert len(after) == len(before) + (0 if second_flatten else 1)
    remaining = iter(after)
    assert all(name in remaining for name in before)


@given(architectures, blocks, st.sampled_from(PROBLEMS), st.data())
def test_replacing_keeps_the_flatten_block(architecture, block, problem_type, data):
    before = fix_order(architecture, problem_type)
    positions = replaceable_positions(before)
    assert not [name for i, name in enumerate(before) if (i in positions) == catalogue.get(name).has_own_place]
    if positions:
        after = replace(before, data.draw(st.sampled_from(positions)), block, problem_type)
        assert after == fix_order(after, problem_type)
        assert len(after) <= len(before)
