"""MobileNetV2, MobileNetV3 and EfficientNet-B0 as blocks: networks of inverted residuals.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018; Howard et al., "Searching for
MobileNetV3", ICCV 2019; Tan and Le, "EfficientNet: Rethinking Model Scaling", ICML 2019 (without its dropped branches).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.backbone import Backbone

DIVISOR = 8  # of every number of channels
SQUEEZE = 4  # channels for each one that squeeze and excitation keep
RELU, RELU6, SWISH, HARD_SWISH = "relu", "relu6", "silu", "hard_silu"


class Stage(NamedTuple):
    """Units of one kind; the first of them may halve the map."""

    channels: int
    expansion: float
    kernel_size: int = 3
    units: int = 1
    halves: bool = False
    squeezes: bool = False
    activation: str = RELU6


class Network(NamedTuple):
    """A network of the literature.

    Attributes:
        stem: Channels of the first convolution.
        stages: Its inverted residuals.
        last: Channels of the last convolution; 0 for six times those of the last stage.
        activation: The activation of the first and of the last convolution.
        gate: The activation of squeeze and excitation.
    """

    stem: int
    stages: Sequence[Stage]
    last: int
    activation: str
    gate: str = "hard_sigmoid"


def _v3(channels: int, expansion: float, kernel_size: int, kind: str, units: int = 1, halves: bool = False) -> Stage:
    """A stage of MobileNetV3; `kind` is "RE" or "HS" as in the article, with "+" for squeeze and excitation."""
    activation = RELU if kind.startswith("RE") else HARD_SWISH
    return Stage(channels, expansion, kernel_size, units, halves, kind.endswith("+"), activation)


def _b0(channels: int, expansion: int, kernel_size: int, units: int, halves: bool = False) -> Stage:
    return Stage(channels, expansion, kernel_size, units, halves, True, SWISH)


NETWORKS: Mapping[str, Network] = {
    "mobilenet_v2": Network(
        32,
        (
            Stage(16, 1),
            Stage(24, 6, units=2, halves=True),
            Stage(32, 6, units=3, halves=True),
            Stage(64, 6, units=4, halves=True),
            Stage(96, 6, units=3),
            Stage(160, 6, units=3, halves=True),
            Stage(320, 6),
        ),
        1280,
        RELU6,
    ),
    "mobilenet_v3_small": Network(
        16,
        (
            _v3(16, 1, 3, "RE+", halves=True),
            _v3(24, 72 / 16, 3, "RE", halves=True),
            _v3(24, 88 / 24, 3, "RE"),
            _v3(40, 4, 5, "HS+", halves=True),
            _v3(40, 6, 5, "HS+", units=2),
            _v3(48, 3, 5, "HS+", units=2),
            _v3(96, 6, 5, "HS+", units=3, halves=True),
        ),
        0,
        HARD_SWISH,
    ),
    "mobilenet_v3_large": Network(
        16,
        (
            _v3(16, 1, 3, "RE"),
            _v3(24, 4, 3, "RE", halves=True),
            _v3(24, 3, 3, "RE"),
            _v3(40, 3, 5, "RE+", units=3, halves=True),
            _v3(80, 6, 3, "HS", halves=True),
            _v3(80, 2.5, 3, "HS"),
            _v3(80, 2.3, 3, "HS", units=2),
            _v3(112, 6, 3, "HS+", units=2),
            _v3(160, 6, 5, "HS+", units=3, halves=True),
        ),
        0,
        HARD_SWISH,
    ),
    "efficientnet_b0": Network(
        32,
        (
            _b0(16, 1, 3, 1),
            _b0(24, 6, 3, 2, halves=True),
            _b0(40, 6, 5, 2, halves=True),
            _b0(80, 6, 3, 3, halves=True),
            _b0(112, 6, 5, 3),
            _b0(192, 6, 5, 4, halves=True),
            _b0(320, 6, 3, 1),
        ),
        1280,
        SWISH,
        "sigmoid",
    ),
}


class InvertedResidualBackbone(Backbone):
    """A 3x3 convolution, stages of inverted residuals, and a 1x1 convolution; batch normalisation after each.

    Args:
        network: One of `NETWORKS`.
        width: By what the channels of all but the last convolution are multiplied.
    """

    def __init__(self, network: str = "mobilenet_v2", width: float = 1.0) -> None:
        super().__init__()
        self._network = NETWORKS[network]
        self._width = width

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        network = self._network
        strides = self.strides(tensor)
        stem = rounded(network.stem * self._width)
        tensor = self.normalised(tensor, stem, 3, "stem", strides=next(strides), activation=network.activation)
        for number, stage in enumerate(network.stages):
            for unit in range(stage.units):
                stride = next(strides) if stage.halves and not unit else 1
                tensor = self._unit(tensor, stage, stride, f"{number}_{unit}")
        last = network.last or rounded(6 * tensor.shape[-1])
        return self.normalised(tensor, last, 1, "last", activation=network.activation)

    def _unit(self, tensor: keras.KerasTensor, stage: Stage, stride: int, part: str) -> keras.KerasTensor:
        read, written = tensor.shape[-1], rounded(stage.channels * self._width)
        activation = stage.activation
        inner = tensor
        if stage.expansion != 1:
            expanded = rounded(read * stage.expansion)
            inner = self.normalised(inner, expanded, 1, f"{part}_expansion", activation=activation)
        inner = self.normalised(inner, 0, stage.kernel_size, f"{part}_depthwise", strides=stride, activation=activation)
        if stage.squeezes:
            inner = self._squeezed(inner, read, stage, part)
        output = self.normalised(inner, written, 1, f"{part}_projection")
        if stride > 1 or read != written:
            return output
        return layers.Add(name=f"{self.name}_{part}_sum")([tensor, output])

    def _squeezed(self, tensor: keras.KerasTensor, read: int, stage: Stage, part: str) -> keras.KerasTensor:
        """Every channel times a factor from 0 to 1 that depends on the means of all channels.

        EfficientNet keeps a quarter of the channels that the unit reads, MobileNetV3 a quarter of the expanded ones.
        """
        channels = tensor.shape[-1]
        kept = max(read // SQUEEZE, 1) if stage.activation == SWISH else rounded(channels / SQUEEZE)
        activation = SWISH if stage.activation == SWISH else RELU
        means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{self.name}_{part}_means")(tensor)
        squeezed = self.convolve(means, kept, 1, f"{part}_squeeze", activation=activation)
        factors = self.convolve(squeezed, channels, 1, f"{part}_excitation", activation=self._network.gate)
        return layers.Multiply(name=f"{self.name}_{part}_gated")([tensor, factors])


def rounded(channels: float) -> int:
    """The nearest multiple of 8, but at least 8, and not less than nine tenths of the number."""
    found = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return found + DIVISOR if found < 0.9 * channels else found
