"""Blocks as users write them, and a fixture's worth of registering and forgetting them again."""

import contextlib

from example_recurrent import GruBlock
from keras import layers, ops

from model_search import block, blocks
from model_search.blocks import catalogue
from model_search.blocks.images.mobile_backbone import HARD_SWISH, SWISH, InvertedResidualBackbone, Network, Stage
from model_search.blocks.images.resnet_backbone import ResNetBackbone


class GatedBlock(blocks.Block):
    """The current way: `build`; layers without names; looks back along the list."""

    def __init__(self, units):
        super().__init__()
        self._units = units

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        first, last = input_tensors[0], input_tensors[-1]
        gate = layers.Dense(self._units, activation="sigmoid")(first)
        output = layers.Dense(self._units)(last) * gate
        return [*input_tensors, layers.Dropout(0.1)(output, training=is_training)]

    @property
    def is_input_order_important(self):
        return False


class ArchivedBlock(block.Block):
    """The archived way: `block_build`, no call of `Block.__init__`, the same name for two layers."""

    def __init__(self, units=2):
        self._units = units

    def block_build(self, input_tensors, is_training, lengths=None, hparams=None):
        net = layers.Dense(self._units, name="dense")(input_tensors[-1])
        net = ops.tanh(net)
        net = layers.Dense(self._units, name="dense")(net)
        return input_tensors + [net]  # noqa: RUF005 (as archived blocks do)

    @property
    def is_input_order_important(self):
        return False


class TunableBlock(blocks.Block):
    """A block with a hyperparameter of its own."""

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        units = int(hparams.units) if hparams else 5
        return [*input_tensors, layers.Dense(units, activation="relu")(input_tensors[-1])]

    def requires_hparams(self):
        return (blocks.BlockHyperparameter("units", 2, 9),)


class ConvolutionBlock(blocks.Block):
    """A convolution that keeps the size of the map, built as the archived README teaches: without `hparams`."""

    def build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, layers.Conv2D(4, 3, padding="same", activation="relu")(input_tensors[-1])]


class PoolingFlattenBlock(blocks.Block):
    """A flatten block of the user's own: the largest value of every channel."""

    def build(self, input_tensors, is_training):
        return [*input_tensors, layers.GlobalMaxPooling2D()(input_tensors[-1])]


class SmallResNet(ResNetBackbone):
    """One bottleneck in each of two stages."""

    def __init__(self):
        super().__init__(units=(1, 1), bottleneck=True, channels=4)


class SmallMobile(InvertedResidualBackbone):
    """Every kind of unit once."""

    def __init__(self):
        super().__init__()
        stages = (Stage(8, 1), Stage(8, 3, 5, 2, True, True, HARD_SWISH), Stage(8, 2, squeezes=True, activation=SWISH))
        self._network = Network(8, stages, 16, SWISH)


_MAPS = {"reads_rank": 3, "writes_rank": 3}
_EXAMPLES = {
    "EXAMPLE_GATED_8": (GatedBlock, {"units": 8}, {"reads_rank": 1}),
    "EXAMPLE_GATED_16": (GatedBlock, {"units": 16}, {"reads_rank": 1}),
    "EXAMPLE_ARCHIVED": (ArchivedBlock, {"units": 4}, {}),
    "EXAMPLE_TUNABLE": (TunableBlock, {}, {}),
    "EXAMPLE_CONVOLUTION": (ConvolutionBlock, {}, _MAPS),
    "EXAMPLE_FLATTEN": (PoolingFlattenBlock, {}, {"reads_rank": 3, "writes_rank": 1}),
    "EXAMPLE_SMALL_RESNET": (SmallResNet, {}, _MAPS),
    "EXAMPLE_SMALL_MOBILE": (SmallMobile, {}, _MAPS),
    "EXAMPLE_GRU_8": (GruBlock, {"units": 8}, {"reads_rank": 2, "writes_rank": 2}),
}
EXAMPLES = tuple(_EXAMPLES)


@contextlib.contextmanager
def registered_examples():
    """The examples are in the catalogue within it, and gone afterwards."""
    for name, (cls, init_args, others) in _EXAMPLES.items():
        blocks.register_block(name, init_args, **others)(cls)
    try:
        yield
    finally:
        for name in EXAMPLES:
            catalogue.unregister(name)
