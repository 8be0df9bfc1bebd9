import pathlib
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.blocks import catalogue
from model_search.blocks.catalogue import BlockHyperparameter, BlockInfo, Catalogue
from model_search.errors import SpecError, UserError

# The names and ids of the archived system, by class; "ordered" where the order of such blocks matters.
TABLE = """
FixedChannelConvolutionBlock ordered: FIXED_CHANNEL_CONVOLUTION_16=1 FIXED_CHANNEL_CONVOLUTION_32=2
    FIXED_CHANNEL_CONVOLUTION_64=3 FIXED_CHANNEL_CONVOLUTION_120=33 FIXED_CHANNEL_STRIDE_96_2=68
    FIXED_CHANNEL_CONVOLUTION_96=72
ConvolutionBlock ordered: CONVOLUTION_3X3=4 CONVOLUTION_4X4=147 CONVOLUTION_5X5=5 CONVOLUTION_1X3=26
    CONVOLUTION_1X5=27 CONVOLUTION_1X7=28 CONVOLUTION_3X1=29 CONVOLUTION_5X1=30 CONVOLUTION_7X1=31
IncreaseChannelsBlock ordered: INCREASE_CHANNELS_3X3=12 INCREASE_CHANNELS_4X4=150 INCREASE_CHANNELS_5X5=13
DownsampleConvolutionBlock ordered: DOWNSAMPLE_CONVOLUTION_3X3=6 DOWNSAMPLE_CONVOLUTION_4X4=148
    DOWNSAMPLE_CONVOLUTION_5X5=7
AveragePoolBlock ordered: AVERAGE_POOL_2X2=8 AVERAGE_POOL_4X4=9
ResnetBlock ordered: RESNET_3X3=10 RESNET_4X4=149 RESNET_5X5=11
FullyConnectedBlock free: FULLY_CONNECTED=14 FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES=79
    FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM=80 FULLY_CONNECTED_RESIDUAL_CONCAT=81
    FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM=82 FULLY_CONNECTED_RESIDUAL_PROJECT=83
    FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM=84
LowRankLayerBlock free: LOWRANK_1=130 LOWRANK_2=131 LOWRANK_3=132 LOWRANK_1_SKIP=133 LOWRANK_2_SKIP=134
    LOWRANK_3_SKIP=135
FixedOutputFullyConnectedBlock free: FIXED_OUTPUT_FULLY_CONNECTED_64=151 FIXED_OUTPUT_FULLY_CONNECTED_128=22
    FIXED_OUTPUT_FULLY_CONNECTED_256=23 FIXED_OUTPUT_FULLY_CONNECTED_512=24 FIXED_OUTPUT_FULLY_CONNECTED_1024=25
BottleNeckBlock free: BOTTLENECK_32=126 BOTTLENECK_64=127 BOTTLENECK_32_SKIP=128 BOTTLENECK_64_SKIP=129
IdentityBlock free: IDENTITY=125
FullyConnectedPyramidBlock free: FULLY_CONNECTED_PYRAMID=15
MaxPoolingBlock ordered: MAX_POOLING_2X2=152 MAX_POOLING_3X3=17 MAX_POOLING_5X5=18
DilatedConvolutionBlock ordered: DILATED_CONVOLUTION_2=19 DILATED_CONVOLUTION_4=20
FlattenBlock free: FLATTEN=16
DownsampleFlattenBlock free: DOWNSAMPLE_FLATTEN=21
DualResnetBlock ordered: DUAL_RESNET=35
GeneralBlock ordered: GENERAL_BLOCK=32
PlateReductionFlatten free: PLATE_REDUCTION_FLATTEN=34
RnnBlock ordered: RNN_CELL_64=60 RNN_CELL_128=36 RNN_CELL_256=37 RNN_CELL_512=38 RNN_CELL_1024=39
    SKIP_RNN_CELL_64=110 SKIP_RNN_CELL_128=111 SKIP_RNN_CELL_256=124 SKIP_RNN_CELL_512=112 SKIP_RNN_CELL_1024=113
Conv1DBlock ordered: RECURRENT_DENSE_64=61 RECURRENT_DENSE_128=40 RECURRENT_DENSE_256=41 RECURRENT_DENSE_512=42
    RECURRENT_DENSE_1024=43 CONV1D_128_3=89 CONV1D_128_5=90 SKIP_CONV1D_128_3=114 SKIP_CONV1D_128_5=115
SvdfBlock ordered: SVDF_CELL_64_4_1=62 SVDF_CELL_128_4_1=44 SVDF_CELL_256_4_1=45 SVDF_CELL_512_4_1=46
    SVDF_CELL_1024_4_1=47 SVDF_CELL_64_8_1=63 SVDF_CELL_128_8_1=48 SVDF_CELL_256_8_1=49 SVDF_CELL_512_8_1=50
    SVDF_CELL_1024_8_1=51 SVDF_CELL_64_16_1=64 SVDF_CELL_128_16_1=52 SVDF_CELL_256_16_1=53 SVDF_CELL_512_16_1=54
    SVDF_CELL_1024_16_1=55 SVDF_CELL_32_32_1=75 SVDF_CELL_576_8_1_64=137 SVDF_CELL_576_8_1_16=138
    SVDF_CELL_576_8_1_7=139 SVDF_CELL_32_32_1_2=140 SVDF_CONV_576_8_1_64=141 SVDF_CONV_576_8_1_16=142
    SVDF_CONV_576_8_1_7=143 SVDF_CONV_32_32_1=144 SVDF_CONV_32_32_1_2=145 SVDF_CONV_64_4_1_64=10001
    SVDF_CONV_128_4_1_64=10002 SVDF_CONV_256_4_1_64=10003 SVDF_CONV_512_4_1_64=10004 SVDF_CONV_1024_4_1_64=10005
    SVDF_CONV_64_8_1_64=10006 SVDF_CONV_128_8_1_64=10007 SVDF_CONV_256_8_1_64=10008 SVDF_CONV_512_8_1_64=10009
    SVDF_CONV_1024_8_1_64=10010 SVDF_CONV_64_16_1_64=10011 SVDF_CONV_128_16_1_64=10012 SVDF_CONV_256_16_1_64=10013
    SVDF_CONV_512_16_1_64=10014 SVDF_CONV_1024_16_1_64=10015
TunableSvdfBlock ordered: TUNABLE_SVDF=10016
LSTMBlock ordered: LSTM_128=56 LSTM_256=57 LSTM_512=58 LSTM_1024=59 SKIP_LSTM_128=116 SKIP_LSTM_256=117
    SKIP_LSTM_512=118 SKIP_LSTM_1024=119
BidirectionalLSTMBlock ordered: BI_LSTM_128=85 BI_LSTM_256=86 BI_LSTM_512=87 BI_LSTM_1024=88
    SKIP_BI_LSTM_128=120 SKIP_BI_LSTM_256=121 SKIP_BI_LSTM_512=122 SKIP_BI_LSTM_1024=123
"""


def table():
    rows = {}
    for family, order, pairs in re.findall(r"^(\w+) (ordered|free): ((?:[A-Z0-9_]+=\d+\s*)+)", TABLE, re.MULTILINE):
        for pair in pairs.split():
            name, number = pair.split("=")
            rows[name] = (int(number), family, order == "ordered")
    return rows


STOCK = sorted(table())


def test_every_archived_name_has_its_id_class_and_order():
    assert len(table()) == 136
    known = {name: catalogue.get(name) for name in STOCK}
    assert {name: (i.enum_id, i.family, i.order_important) for name, i in known.items()} == table()


def test_ids_are_unique_and_names_come_by_id():
    ids = [catalogue.get(name).enum_id for name in catalogue.names()]
    assert ids == sorted(set(ids))
    assert set(STOCK) <= set(catalogue.names())


DENSE = {
    "FullyConnectedBlock", "FixedOutputFullyConnectedBlock", "FullyConnectedPyramidBlock", "LowRankLayerBlock",
    "BottleNeckBlock", "IdentityBlock",
}  # fmt: skip
FLATTENING = {"FlattenBlock", "DownsampleFlattenBlock", "PlateReductionFlatten"}


def stock_names():
    """The package's own blocks; other tests may have registered some besides."""
    return [name for name in catalogue.names() if catalogue.get(name).is_stock]


def test_every_block_has_a_class_that_builds_it():
    for name in stock_names():
        info = catalogue.get(name)
        assert info.module is not None
        path = pathlib.Path(__file__).parents[2].joinpath(*info.module.split(".")).with_suffix(".py")
        assert re.search(rf"^class {info.family}\(", path.read_text(), re.MULTILINE), name


def test_added_blocks_have_ids_of_their_own():
    added = set(stock_names()) - set(STOCK)
    assert {catalogue.get(name).enum_id for name in added} <= set(range(200, 500))


def test_every_block_says_what_it_reads_and_writes():
    sequences = {"RnnBlock", "Conv1DBlock", "SvdfBlock", "TunableSvdfBlock", "LSTMBlock", "BidirectionalLSTMBlock"}
    for name in STOCK:
        info = catalogue.get(name)
        if info.family == "IdentityBlock":
            expected = (None, None)
        elif info.family in DENSE:
            expected = (None, 1)
        elif info.family in sequences:
            expected = (2, 2)
        else:
            expected = (3, 1 if info.family in FLATTENING else 3)
        assert (info.reads_rank, info.writes_rank) == expected
    assert [catalogue.get("IDENTITY").output_rank(rank) for rank in (1, 2, 3)] == [1, 2, 3]
    assert [catalogue.get("FULLY_CONNECTED").output_rank(rank) for rank in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reads_rank": 0}, "reads_rank of block 'MINE' is 0; expected 1 for a vector, 2 for a sequence, 3 for a map"),
        ({"writes_rank": "map"}, "writes_rank of block 'MINE' is 'map'"),
        ({"is_flatten": True, "writes_rank": 3}, "flattens but writes_rank is 3"),
    ],
)
def test_ranks_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        BlockInfo("MINE", 153, "Mine", None, **fields)


def test_roles():
    flat = {name for name in STOCK if catalogue.get(name).is_flatten}
    assert flat == {"FLATTEN", "DOWNSAMPLE_FLATTEN", "PLATE_REDUCTION_FLATTEN"}
    reducing = {name for name in STOCK if catalogue.get(name).is_reduction}
    assert reducing == {name for name in STOCK if re.search("REDUCTION|DOWNSAMPLE|POOL", name)}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("FULLY_CONNECTED", {}),
        ("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", {"residual": "concat", "batch_norm": True}),
        ("FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES", {"residual": "force_match_shapes", "batch_norm": False}),
        ("FIXED_OUTPUT_FULLY_CONNECTED_128", {"output_size": 128}),
        ("LOWRANK_2_SKIP", {"level": 2, "skip": True}),
        ("LOWRANK_3", {"level": 3, "skip": False}),
        ("BOTTLENECK_32_SKIP", {"size": 32, "skip": True}),
        ("CONVOLUTION_1X7", {"kernel_size": (1, 7)}),
        ("FIXED_CHANNEL_STRIDE_96_2", {"channels": 96, "stride": 2}),
        (
            "SVDF_CONV_576_8_1_7",
            {"output_size": 576, "memory_size": 8, "rank": 1, "projection_size": 7, "convolve": True},
        ),
        ("SKIP_LSTM_512", {"units": 512, "skip": True}),
    ],
)
def test_arguments_follow_from_the_name(name, arguments):
    assert dict(catalogue.get(name).init_args) == arguments


@pytest.mark.parametrize("name", [n for n in STOCK if n not in ("TUNABLE_SVDF", "DUAL_RESNET") and re.search(r"\d", n)])
def test_every_number_in_a_name_is_an_argument(name):
    values = []
    for value in catalogue.get(name).init_args.values():
        values += value if isinstance(value, tuple) else [value]
    numbers = [int(number) for number in re.findall(r"\d+", name.replace("CONV1D", ""))]
    assert [v for v in values if not isinstance(v, bool)][: len(numbers)] == numbers


def test_the_tunable_block_has_the_archived_ranges():
    ranges = {h.name: (h.minimum, h.maximum) for h in catalogue.get("TUNABLE_SVDF").hyperparameters}
    assert ranges == {"output_size": (50, 100), "memory_size": (4, 32), "rank": (1, 3), "projection_size": (0, 128)}
    assert not any(catalogue.get(name).hyperparameters for name in STOCK if name != "TUNABLE_SVDF")


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(SpecError, match=r"no block 'FULY_CONECTED'; the nearest names are FULLY_CONNECTED\b"):
        catalogue.get("FULY_CONECTED")
    assert catalogue.nearest("fixed_output_fully_connected_128")[0] == "FIXED_OUTPUT_FULLY_CONNECTED_128"
    assert catalogue.nearest("FULLY_CONNECTED_PYRAMD", n=1) == ["FULLY_CONNECTED_PYRAMID"]
    with pytest.raises(SpecError, match="register it with register_block"):
        catalogue.get("§§§")
    assert not catalogue.is_known("FULY_CONECTED")


def test_a_block_registered_by_a_user_is_known():
    blocks = Catalogue([catalogue.get("IDENTITY")])

    class Mine:
        pass

    blocks.register(BlockInfo("MINE", 153, "Mine", None, builder=Mine))
    assert blocks.names() == ("IDENTITY", "MINE")
    assert blocks.get("MINE").builder is Mine


def test_only_a_block_of_a_user_can_be_taken_out():
    blocks = Catalogue([catalogue.get("IDENTITY"), BlockInfo("MINE", 153, "Mine", None, builder=int)])
    blocks.unregister("MINE")
    assert blocks.names() == ("IDENTITY",)
    blocks.register(BlockInfo("MINE", 153, "Mine", None, builder=float))
    with pytest.raises(UserError, match="IDENTITY is a stock block and stays"):
        blocks.unregister("IDENTITY")
    with pytest.raises(SpecError, match="There is no block 'OTHER'"):
        blocks.unregister("OTHER")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (BlockInfo("IDENTITY", 153, "Mine", None), "already a block 'IDENTITY'"),
        (BlockInfo("MINE", 125, "Mine", None), "belongs to IDENTITY; the next free id is 126"),
        (BlockInfo("MINE", 0, "Mine", None), "from 1"),
        (BlockInfo("", 153, "Mine", None), "cannot be named ''"),
        (BlockInfo("EMPTY_BLOCK", 153, "Mine", None), "cannot be named 'EMPTY_BLOCK'"),
    ],
)
def test_a_registration_that_clashes_is_refused(info, message):
    blocks = Catalogue([catalogue.get("IDENTITY")])
    with pytest.raises(UserError, match=message):
        blocks.register(info)
    assert blocks.names() == ("IDENTITY",)


def test_the_next_free_id_is_after_the_archived_ones():
    assert Catalogue(catalogue.get(name) for name in STOCK).next_free_id() == 153
    assert Catalogue().next_free_id() == 1
    # 300 to 399 are kept for blocks of the package.
    for last, following in ((298, 299), (299, 500), (350, 500), (499, 500), (500, 501)):
        assert Catalogue([BlockInfo("MINE", last, "Mine", None)]).next_free_id() == following


def test_a_hyperparameter_range_must_not_be_empty():
    with pytest.raises(UserError, match="'rank' goes from 3 to 1"):
        BlockHyperparameter("rank", 3, 1)


@given(st.text(max_size=40))
def test_any_name_is_known_or_refused(name):
    if not catalogue.is_known(name):
        with pytest.raises(SpecError, match="There is no block"):
            catalogue.get(name)


def test_the_catalogue_loads_nothing_heavy():
    code = "import sys, model_search.blocks.catalogue; print(*sys.modules)"
    root = pathlib.Path(__file__).parents[2]
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"tensorflow", "keras", "numpy", "google.protobuf"} & set(loaded.split())
