"""The blocks of the archived Model Search, with its names and ids. Never imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_search.blocks.catalogue_records import (
    MAP_TO_VECTOR,
    MAPS,
    SEQUENCES,
    BlockHyperparameter,
    Blocks,
    Family,
    kernels,
    sized,
)
from model_search.problem import VECTOR_RANK

_DENSE = "model_search.blocks.dense"
_FLATTEN = "model_search.blocks.flatten"
_CONVOLUTION = "model_search.blocks.images.convolution"
_RESIDUAL = "model_search.blocks.images.residual"
_MAP_POOLING = "model_search.blocks.images.pooling"
_RECURRENT = "model_search.blocks.sequences.recurrent"
_TEMPORAL = "model_search.blocks.sequences.convolution"
_SVDF = "model_search.blocks.sequences.svdf"


def _svdf(prefix: str, ids: Mapping[tuple[int, ...], int], **others: Any) -> Blocks:
    """`<prefix>_<output>_<memory>_<rank>[_<projection>]`."""
    arguments = ("output_size", "memory_size", "rank", "projection_size")
    return {
        f"{prefix}_{'_'.join(map(str, sizes))}": (number, dict(zip(arguments, sizes, strict=False)) | others)
        for sizes, number in ids.items()
    }


def _residual(name: str) -> Blocks:
    """Both variants of a residual fully connected block: without and with batch normalisation."""
    first = {"force_match_shapes": 79, "concat": 81, "project": 83}[name]
    block = f"FULLY_CONNECTED_RESIDUAL_{name.upper()}"
    return {
        block: (first, {"residual": name, "batch_norm": False}),
        f"{block}_BATCHNORM": (first + 1, {"residual": name, "batch_norm": True}),
    }


_WIDTHS = (64, 128, 256, 512, 1024)
_MEMORIES = (4, 8, 16)

ARCHIVED = (
    Family(
        "FullyConnectedBlock",
        {"FULLY_CONNECTED": (14, {}), **_residual("force_match_shapes"), **_residual("concat"), **_residual("project")},
        module=_DENSE,
        can_be_identity=True,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "FixedOutputFullyConnectedBlock",
        sized("FIXED_OUTPUT_FULLY_CONNECTED", "output_size", {64: 151, 128: 22, 256: 23, 512: 24, 1024: 25}),
        module=_DENSE,
        can_be_identity=True,
        writes_rank=VECTOR_RANK,
    ),
    Family("FullyConnectedPyramidBlock", {"FULLY_CONNECTED_PYRAMID": (15, {})}, module=_DENSE, writes_rank=VECTOR_RANK),
    Family(
        "LowRankLayerBlock",
        {
            **{f"LOWRANK_{level}": (129 + level, {"level": level, "skip": False}) for level in (1, 2, 3)},
            **{f"LOWRANK_{level}_SKIP": (132 + level, {"level": level, "skip": True}) for level in (1, 2, 3)},
        },
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "BottleNeckBlock",
        {
            **sized("BOTTLENECK", "size", {32: 126, 64: 127}, skip=False),
            "BOTTLENECK_32_SKIP": (128, {"size": 32, "skip": True}),
            "BOTTLENECK_64_SKIP": (129, {"size": 64, "skip": True}),
        },
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    Family("IdentityBlock", {"IDENTITY": (125, {})}, module=_DENSE, can_be_identity=True),
    Family(
        "FixedChannelConvolutionBlock",
        {
            **sized("FIXED_CHANNEL_CONVOLUTION", "channels", {16: 1, 32: 2, 64: 3, 96: 72, 120: 33}, stride=1),
            "FIXED_CHANNEL_STRIDE_96_2": (68, {"channels": 96, "stride": 2}),
        },
        module=_CONVOLUTION,
        can_be_identity=True,
        **MAPS,
    ),
    Family(
        "ConvolutionBlock",
        kernels(
            "CONVOLUTION",
            {(3, 3): 4, (4, 4): 147, (5, 5): 5, (1, 3): 26, (1, 5): 27, (1, 7): 28, (3, 1): 29, (5, 1): 30, (7, 1): 31},
        ),
        module=_CONVOLUTION,
        can_be_identity=True,
        **MAPS,
    ),
    Family(
        "IncreaseChannelsBlock",
        kernels("INCREASE_CHANNELS", {(3, 3): 12, (4, 4): 150, (5, 5): 13}),
        module=_CONVOLUTION,
        **MAPS,
    ),
    Family(
        "DownsampleConvolutionBlock",
        kernels("DOWNSAMPLE_CONVOLUTION", {(3, 3): 6, (4, 4): 148, (5, 5): 7}),
        is_reduction=True,
        module=_CONVOLUTION,
        **MAPS,
    ),
    Family(
        "AveragePoolBlock",
        kernels("AVERAGE_POOL", {(2, 2): 8, (4, 4): 9}, "pool_size"),
        is_reduction=True,
        module=_MAP_POOLING,
        **MAPS,
    ),
    Family(
        "MaxPoolingBlock",
        kernels("MAX_POOLING", {(2, 2): 152, (3, 3): 17, (5, 5): 18}, "pool_size"),
        is_reduction=True,
        module=_MAP_POOLING,
        **MAPS,
    ),
    Family(
        "ResnetBlock",
        kernels("RESNET", {(3, 3): 10, (4, 4): 149, (5, 5): 11}),
        module=_RESIDUAL,
        can_be_identity=True,
        **MAPS,
    ),
    Family(
        "DilatedConvolutionBlock",
        sized("DILATED_CONVOLUTION", "dilation_rate", {2: 19, 4: 20}),
        module=_CONVOLUTION,
        can_be_identity=True,
        **MAPS,
    ),
    Family("DualResnetBlock", {"DUAL_RESNET": (35, {})}, module=_RESIDUAL, can_be_identity=True, **MAPS),
    Family("GeneralBlock", {"GENERAL_BLOCK": (32, {})}, module=_RESIDUAL, **MAPS),
    Family("FlattenBlock", {"FLATTEN": (16, {})}, module=_FLATTEN, **MAP_TO_VECTOR),
    Family(
        "DownsampleFlattenBlock",
        {"DOWNSAMPLE_FLATTEN": (21, {})},
        module=_FLATTEN,
        **MAP_TO_VECTOR,
        is_reduction=True,
    ),
    Family(
        "PlateReductionFlatten",
        {"PLATE_REDUCTION_FLATTEN": (34, {})},
        module=_FLATTEN,
        **MAP_TO_VECTOR,
        is_reduction=True,
    ),
    Family(
        "RnnBlock",
        {
            **sized("RNN_CELL", "units", {64: 60, 128: 36, 256: 37, 512: 38, 1024: 39}, skip=False),
            **sized("SKIP_RNN_CELL", "units", {64: 110, 128: 111, 256: 124, 512: 112, 1024: 113}, skip=True),
        },
        module=_RECURRENT,
        **SEQUENCES,
    ),
    Family(
        "Conv1DBlock",
        {
            **sized(
                "RECURRENT_DENSE", "filters", {64: 61, 128: 40, 256: 41, 512: 42, 1024: 43}, kernel_size=1, skip=False
            ),
            "CONV1D_128_3": (89, {"filters": 128, "kernel_size": 3, "skip": False}),
            "CONV1D_128_5": (90, {"filters": 128, "kernel_size": 5, "skip": False}),
            "SKIP_CONV1D_128_3": (114, {"filters": 128, "kernel_size": 3, "skip": True}),
            "SKIP_CONV1D_128_5": (115, {"filters": 128, "kernel_size": 5, "skip": True}),
        },
        module=_TEMPORAL,
        can_be_identity=True,
        **SEQUENCES,
    ),
    Family(
        "SvdfBlock",
        {
            **_svdf("SVDF_CELL", {(64, memory, 1): 62 + m for m, memory in enumerate(_MEMORIES)}, convolve=False),
            **_svdf(
                "SVDF_CELL",
                {
                    (width, memory, 1): 44 + 4 * m + w
                    for m, memory in enumerate(_MEMORIES)
                    for w, width in enumerate(_WIDTHS[1:])
                },
                convolve=False,
            ),
            **_svdf(
                "SVDF_CELL",
                {(32, 32, 1): 75, (576, 8, 1, 64): 137, (576, 8, 1, 16): 138, (576, 8, 1, 7): 139, (32, 32, 1, 2): 140},
                convolve=False,
            ),
            **_svdf(
                "SVDF_CONV",
                {
                    (576, 8, 1, 64): 141,
                    (576, 8, 1, 16): 142,
                    (576, 8, 1, 7): 143,
                    (32, 32, 1): 144,
                    (32, 32, 1, 2): 145,
                },
                convolve=True,
            ),
            **_svdf(
                "SVDF_CONV",
                {
                    (width, memory, 1, 64): 10001 + 5 * m + w
                    for m, memory in enumerate(_MEMORIES)
                    for w, width in enumerate(_WIDTHS)
                },
                convolve=True,
            ),
        },
        module=_SVDF,
        **SEQUENCES,
    ),
    Family(
        "TunableSvdfBlock",
        {"TUNABLE_SVDF": (10016, {})},
        hyperparameters=(
            BlockHyperparameter("output_size", 50, 100),
            BlockHyperparameter("memory_size", 4, 32),
            BlockHyperparameter("rank", 1, 3),
            BlockHyperparameter("projection_size", 0, 128),
        ),
        module=_SVDF,
        **SEQUENCES,
    ),
    Family(
        "LSTMBlock",
        {
            **sized("LSTM", "units", {128: 56, 256: 57, 512: 58, 1024: 59}, skip=False),
            **sized("SKIP_LSTM", "units", {128: 116, 256: 117, 512: 118, 1024: 119}, skip=True),
        },
        module=_RECURRENT,
        **SEQUENCES,
    ),
    Family(
        "BidirectionalLSTMBlock",
        {
            **sized("BI_LSTM", "units", {128: 85, 256: 86, 512: 87, 1024: 88}, skip=False),
            **sized("SKIP_BI_LSTM", "units", {128: 120, 256: 121, 512: 122, 1024: 123}, skip=True),
        },
        module=_RECURRENT,
        **SEQUENCES,
    ),
)
