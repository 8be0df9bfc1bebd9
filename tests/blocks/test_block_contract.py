import pytest
from example_blocks import EXAMPLES, registered_examples
from keras import layers

from model_search.blocks import Block, catalogue, register_block
from model_search.testing.block_contract import BlockContract, ranks_of

# Blocks of token ids are in `sequences/test_embedding.py`: the contract feeds numbers.
STOCK = tuple(name for name in catalogue.names() if not catalogue.get(name).is_embedding)
# For the contract in full: the narrowest member, or two, of every family; `--every-block` adds the others.
NARROW = (
    "FULLY_CONNECTED", "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES", "FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM",
    "FULLY_CONNECTED_RESIDUAL_PROJECT", "FIXED_OUTPUT_FULLY_CONNECTED_64", "FULLY_CONNECTED_PYRAMID", "LOWRANK_1",
    "LOWRANK_2_SKIP", "BOTTLENECK_32", "BOTTLENECK_32_SKIP", "IDENTITY", "FLATTEN", "DOWNSAMPLE_FLATTEN",
    "PLATE_REDUCTION_FLATTEN", "FIXED_CHANNEL_CONVOLUTION_16", "FIXED_CHANNEL_STRIDE_96_2", "CONVOLUTION_1X3",
    "INCREASE_CHANNELS_3X3", "DOWNSAMPLE_CONVOLUTION_4X4", "AVERAGE_POOL_2X2", "MAX_POOLING_2X2", "RESNET_3X3",
    "DILATED_CONVOLUTION_2", "DUAL_RESNET", "GENERAL_BLOCK", "RNN_CELL_64", "SKIP_RNN_CELL_64", "RECURRENT_DENSE_64",
    "CONV1D_128_3", "SKIP_CONV1D_128_5", "SVDF_CELL_64_4_1", "SVDF_CONV_32_32_1_2", "TUNABLE_SVDF", "LSTM_32",
    "BI_LSTM_32", "TUNABLE_CONVOLUTION", "BATCHNORM_CONVOLUTION_16", "PREACTIVATION_RESNET_16",
    "PREACTIVATION_RESNET_STRIDE_32_2", "DENSENET_12_4", "DENSENET_TRANSITION", "SEPARABLE_CONVOLUTION_STRIDE_64_2",
    "INVERTED_RESIDUAL_16", "SQUEEZE_INVERTED_RESIDUAL_STRIDE_32_2", "SQUEEZE_EXCITATION", "CONVNEXT_7X7",
    "CONVNEXT_DOWNSAMPLE", "GROUP_NORMALIZATION_8", "GLOBAL_MEAN_MAX_FLATTEN", "GRU_64", "BI_GRU_64",
    "NORMAL_CELL_INPUT_0", "RECURRENT_CELL_INPUT_0", "CELL_SEPARABLE_CONVOLUTION_3X3", "CELL_TANH",
    "TEMPORAL_CONVOLUTION_64_2", "GATED_CONVOLUTION_64_3", "BATCHNORM_CONV1D_64_3", "TRANSFORMER_ENCODER_64_4",
    "MASKED_MEAN_MAX_POOLING", "ATTENTION_POOLING", "TILTED_MEAN_SUBTRACTION", "SPECTRAL_CONVOLUTION_8",
    "LAYER_NORMALIZATION", "FEATURE_SCALING",
    "QUANTILES_48", "PLE_16", "PBLD_16_4", "CATEGORY_EMBEDDING", "MLP_64", "GLU_64", "TABULAR_RESNET_64", "TABM_8_64_3",
    "FEATURE_ATTENTION_16",
)  # fmt: skip
# No tower by themselves; tests/towers/test_macro_tower.py builds towers of them.
PARTS_OF_TOWERS = {"MacroPartBlock"}
# Whole networks are deep; the contract runs for small ones of the same classes.
SMALL_NETWORKS = {"ResNetBackbone": "EXAMPLE_SMALL_RESNET", "InvertedResidualBackbone": "EXAMPLE_SMALL_MOBILE"}


@pytest.fixture(scope="module", autouse=True)
def examples():
    with registered_examples():
        yield


class TestEveryBlock(BlockContract):
    names = (*NARROW, *EXAMPLES)


class TestWideBlocks(BlockContract):
    """Only with --every-block."""

    names = tuple(name for name in STOCK if name not in NARROW and catalogue.get(name).family not in PARTS_OF_TOWERS)


def test_every_family_has_a_narrow_block():
    narrow = {catalogue.get(name).family for name in NARROW}
    assert {catalogue.get(name).family for name in STOCK} == narrow | set(SMALL_NETWORKS) | PARTS_OF_TOWERS
    assert set(SMALL_NETWORKS.values()) <= set(EXAMPLES)
    assert len(STOCK) >= 136


def test_vectors_sequences_and_maps_are_fed():
    assert {ranks_of(name) for name in (*NARROW, *EXAMPLES)} == {(1, 2, 3), (1,), (2,), (3,)}


class Backwards(Block):
    """Reads padded steps first, because nobody tells it of the lengths."""

    def build(self, input_tensors, is_training):
        layer = layers.GRU(2, return_sequences=True, go_backwards=True)
        return [*input_tensors, layer(input_tensors[-1])]


class Forwards(Block):
    """Needs no lengths: a step reads only those before it."""

    def build(self, input_tensors, is_training):
        return [*input_tensors, layers.GRU(2, return_sequences=True)(input_tensors[-1])]


class Mean(Block):
    def build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, layers.GlobalAveragePooling1D()(input_tensors[-1])]


@pytest.fixture
def register():
    names = []

    def add(cls, **others):
        name = f"T_CONTRACT_{len(names)}"
        register_block(name, **others)(cls)
        names.append(name)
        return name

    yield add
    for name in names:
        catalogue.unregister(name)


@pytest.mark.parametrize(("cls", "writes"), [(Backwards, 2), (Mean, 1)])
def test_a_block_that_reads_padded_steps_is_found_out(register, cls, writes):
    name = register(cls, reads_rank=2, writes_rank=writes)
    BlockContract().test_appends_one_float32_tensor_of_the_rank_in_the_catalogue(name)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        BlockContract().test_padded_steps_do_not_influence_valid_ones(name)


def test_a_block_that_reads_only_earlier_steps_needs_no_lengths(register):
    BlockContract().test_padded_steps_do_not_influence_valid_ones(register(Forwards, reads_rank=2, writes_rank=2))


def test_a_block_that_writes_another_rank_than_it_says_is_found_out(register):
    name = register(Mean, reads_rank=2, writes_rank=2)
    with pytest.raises(AssertionError):
        BlockContract().test_appends_one_float32_tensor_of_the_rank_in_the_catalogue(name)
