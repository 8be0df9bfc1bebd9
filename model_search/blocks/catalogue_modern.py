"""Blocks that this package adds to the archived ones; their ids are from 300 to 399. Never imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_search.blocks.catalogue_records import (
    MAP_TO_VECTOR,
    MAPS,
    SEQUENCES,
    BlockHyperparameter,
    Blocks,
    Family,
)
from model_search.problem import SEQUENCE_RANK, VECTOR_RANK

_IMAGES = "model_search.blocks.images"
_SEQUENCE = "model_search.blocks.sequences"
_SEQUENCE_TO_VECTOR: Mapping[str, Any] = {"reads_rank": SEQUENCE_RANK, "writes_rank": VECTOR_RANK}


def _numbered(first: int, prefix: str, argument: str, sizes: Sequence[int], suffix: str = "", **others: Any) -> Blocks:
    """`<prefix>_<size><suffix>` for every size, with ids from `first` on."""
    return {
        f"{prefix}_{size}{suffix}": (number, {argument: size, **others}) for number, size in enumerate(sizes, first)
    }


def _strided(first: int, prefix: str, sizes: Sequence[int], **others: Any) -> Blocks:
    """`<prefix>_STRIDE_<channels>_2` for every number of channels, with ids from `first` on."""
    return _numbered(first, f"{prefix}_STRIDE", "channels", sizes, "_2", stride=2, **others)


def _map_families(family: str, module: str, same: Blocks, smaller: Blocks) -> tuple[Family, Family]:
    """Blocks of one class: those that keep the size of a map, and can change nothing, and those that halve it."""
    return (
        Family(family, same, module=f"{_IMAGES}.{module}", can_be_identity=True, **MAPS),
        Family(family, smaller, module=f"{_IMAGES}.{module}", is_reduction=True, **MAPS),
    )


_FOR_MAPS = (
    Family(
        "TunableConvolutionBlock",
        {"TUNABLE_CONVOLUTION": (300, {})},
        module=f"{_IMAGES}.convolution",
        can_be_identity=True,
        hyperparameters=(
            BlockHyperparameter("height", 1, 7),
            BlockHyperparameter("width", 1, 7),
            BlockHyperparameter("number", 8, 128, log=True),
            BlockHyperparameter("stride", 1, 2),
        ),
        **MAPS,
    ),
    *_map_families(
        "BatchNormConvolutionBlock",
        "normalised",
        _numbered(301, "BATCHNORM_CONVOLUTION", "channels", (16, 32, 64, 128)),
        _strided(305, "BATCHNORM_CONVOLUTION", (32, 64, 128)),
    ),
    *_map_families(
        "PreactivationResnetBlock",
        "normalised",
        _numbered(308, "PREACTIVATION_RESNET", "channels", (16, 32, 64, 128)),
        _strided(312, "PREACTIVATION_RESNET", (32, 64, 128)),
    ),
    Family(
        "DenseNetBlock",
        _numbered(315, "DENSENET", "growth", (12, 24), "_4", number=4),
        module=f"{_IMAGES}.normalised",
        can_be_identity=True,
        **MAPS,
    ),
    Family(
        "DenseNetTransitionBlock",
        {"DENSENET_TRANSITION": (317, {})},
        module=f"{_IMAGES}.normalised",
        is_reduction=True,
        **MAPS,
    ),
    *_map_families(
        "SeparableConvolutionBlock",
        "mobile",
        _numbered(318, "SEPARABLE_CONVOLUTION", "channels", (32, 64, 128)),
        _strided(321, "SEPARABLE_CONVOLUTION", (64, 128)),
    ),
    *_map_families(
        "InvertedResidualBlock",
        "mobile",
        _numbered(323, "INVERTED_RESIDUAL", "channels", (16, 32, 64)),
        _strided(326, "INVERTED_RESIDUAL", (32, 64)),
    ),
    *_map_families(
        "InvertedResidualBlock",
        "mobile",
        _numbered(328, "SQUEEZE_INVERTED_RESIDUAL", "channels", (16, 32, 64), squeeze=True),
        _strided(331, "SQUEEZE_INVERTED_RESIDUAL", (32, 64), squeeze=True),
    ),
    Family("SqueezeExcitationBlock", {"SQUEEZE_EXCITATION": (333, {})}, module=f"{_IMAGES}.mobile", **MAPS),
    Family("ConvNextBlock", {"CONVNEXT_7X7": (334, {})}, module=f"{_IMAGES}.convnext", can_be_identity=True, **MAPS),
    Family(
        "ConvNextDownsampleBlock",
        {"CONVNEXT_DOWNSAMPLE": (335, {})},
        module=f"{_IMAGES}.convnext",
        is_reduction=True,
        **MAPS,
    ),
    Family(
        "GroupNormalizationBlock",
        _numbered(336, "GROUP_NORMALIZATION", "groups", (8,)),
        module=f"{_IMAGES}.normalised",
        **MAPS,
    ),
    Family(
        "GlobalPoolingFlatten",
        {
            "GLOBAL_MAX_FLATTEN": (338, {"mean": False}),
            "GLOBAL_MEAN_MAX_FLATTEN": (339, {"mean": True}),
        },
        module="model_search.blocks.flatten",
        is_reduction=True,
        **MAP_TO_VECTOR,
    ),
)

# Whole networks; ids from 380 on.
_BACKBONES = (
    Family(
        "ResNetBackbone",
        {
            "RESNET18_BACKBONE": (380, {"units": (2, 2, 2, 2)}),
            "RESNET34_BACKBONE": (381, {"units": (3, 4, 6, 3)}),
            "RESNET50_BACKBONE": (382, {"units": (3, 4, 6, 3), "bottleneck": True}),
            "RESNET18_QUARTER_BACKBONE": (383, {"units": (2, 2, 2, 2), "channels": 16}),
        },
        module=f"{_IMAGES}.resnet_backbone",
        is_reduction=True,
        **MAPS,
    ),
    Family(
        "InvertedResidualBackbone",
        {
            "MOBILENET_V2_BACKBONE": (384, {"network": "mobilenet_v2"}),
            "MOBILENET_V3_SMALL_BACKBONE": (385, {"network": "mobilenet_v3_small"}),
            "MOBILENET_V3_LARGE_BACKBONE": (386, {"network": "mobilenet_v3_large"}),
            "EFFICIENTNET_B0_BACKBONE": (387, {"network": "efficientnet_b0"}),
            "MOBILENET_V2_QUARTER_BACKBONE": (388, {"network": "mobilenet_v2", "width": 0.25}),
        },
        module=f"{_IMAGES}.mobile_backbone",
        is_reduction=True,
        **MAPS,
    ),
)

_FOR_SEQUENCES = (
    Family("GRUBlock", _numbered(340, "GRU", "units", (64, 128)), module=f"{_SEQUENCE}.recurrent", **SEQUENCES),
    Family(
        "BidirectionalGRUBlock",
        _numbered(342, "BI_GRU", "units", (64, 128)),
        module=f"{_SEQUENCE}.recurrent",
        **SEQUENCES,
    ),
    Family("LSTMBlock", _numbered(344, "LSTM", "units", (32, 64)), module=f"{_SEQUENCE}.recurrent", **SEQUENCES),
    Family(
        "BidirectionalLSTMBlock",
        _numbered(346, "BI_LSTM", "units", (32, 64)),
        module=f"{_SEQUENCE}.recurrent",
        **SEQUENCES,
    ),
    Family(
        "TemporalConvolutionBlock",
        _numbered(348, "TEMPORAL_CONVOLUTION_64", "dilation_rate", (1, 2, 4, 8), filters=64),
        module=f"{_SEQUENCE}.convolution",
        can_be_identity=True,
        **SEQUENCES,
    ),
    Family(
        "GatedConvolutionBlock",
        {
            **_numbered(352, "GATED_CONVOLUTION", "filters", (64, 128), "_3", kernel_size=3),
            **_numbered(354, "GATED_CONVOLUTION", "filters", (64, 128), "_5", kernel_size=5),
        },
        module=f"{_SEQUENCE}.convolution",
        **SEQUENCES,
    ),
    Family(
        "BatchNormConv1DBlock",
        {
            **_numbered(356, "BATCHNORM_CONV1D", "filters", (64, 128), "_3", kernel_size=3),
            **_numbered(358, "BATCHNORM_CONV1D", "filters", (64, 128), "_5", kernel_size=5),
        },
        module=f"{_SEQUENCE}.convolution",
        can_be_identity=True,
        **SEQUENCES,
    ),
    Family(
        "TransformerEncoderBlock",
        _numbered(360, "TRANSFORMER_ENCODER", "width", (64, 128), "_4", heads=4),
        module=f"{_SEQUENCE}.attention",
        can_be_identity=True,
        **SEQUENCES,
    ),
    Family(
        "MaskedPoolingBlock",
        {
            "MASKED_MEAN_POOLING": (362, {"mean": True, "maximum": False}),
            "MASKED_MAX_POOLING": (363, {"mean": False, "maximum": True}),
            "MASKED_MEAN_MAX_POOLING": (364, {"mean": True, "maximum": True}),
        },
        module=f"{_SEQUENCE}.pooling",
        **_SEQUENCE_TO_VECTOR,
    ),
    Family(
        "StepNormalizationBlock",
        {
            "MEAN_SUBTRACTION": (367, {}),
            "STEP_NORMALIZATION": (368, {"deviation": True}),
            "TILTED_MEAN_SUBTRACTION": (369, {"tilt": 1.0}),
        },
        module=f"{_SEQUENCE}.normalization",
        **SEQUENCES,
    ),
    Family(
        "SpectralConvolutionBlock",
        _numbered(370, "SPECTRAL_CONVOLUTION", "filters", (8, 16)),
        module=f"{_SEQUENCE}.spectral",
        **SEQUENCES,
    ),
    Family(
        "AttentionPoolingBlock", {"ATTENTION_POOLING": (365, {})}, module=f"{_SEQUENCE}.pooling", **_SEQUENCE_TO_VECTOR
    ),
)

_FOR_TOKENS = (
    Family(
        "EmbeddingBlock",
        {"EMBEDDING": (366, {})},
        module=f"{_SEQUENCE}.embedding",
        reads_rank=VECTOR_RANK,
        writes_rank=SEQUENCE_RANK,
        is_embedding=True,
        hyperparameters=(BlockHyperparameter("width", 16, 256, log=True),),
    ),
)

MODERN = (
    *_FOR_MAPS,
    *_BACKBONES,
    *_FOR_SEQUENCES,
    *_FOR_TOKENS,
    Family("LayerNormalizationBlock", {"LAYER_NORMALIZATION": (337, {})}, module="model_search.blocks.normalization"),
)
