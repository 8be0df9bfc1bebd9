"""Single-layer networks with a low-rank kernel over the latest steps (SVDF).

After Nakkiran et al., "Compressing Deep Neural Networks using a Rank-Constrained Topology", Interspeech 2015. Each unit
has `rank` filters; a filter is a vector over the features times a vector over the latest `memory_size` steps. A cell
whose memory is empty at the first step and a convolution compute the same; both are built as a dense layer and a causal
depthwise convolution.
"""

from __future__ import annotations

import dataclasses
import math

import keras
from keras import initializers, layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import INITIALIZER, SequenceBlock

# Initial weights of the archived system's convolutions are uniform within this.
LIMIT = 0.16


@dataclasses.dataclass(frozen=True)
class Svdf:
    """The sizes of one such network.

    Attributes:
        output_size: Number of units.
        memory_size: Number of latest steps that a unit reads, the present one included.
        rank: Number of filters of each unit.
        projection_size: Width of the linear layer that follows; 0 for none.
    """

    output_size: int
    memory_size: int
    rank: int = 1
    projection_size: int = 0

    def build(self, sequence: keras.KerasTensor, name: str, convolve: bool) -> keras.KerasTensor:
        """The network's output, float32 [batch, steps, output_size or projection_size].

        Args:
            sequence: float32 [batch, steps, width].
            name: What names of layers begin with.
            convolve: Whether initial weights are those of the archived convolutions; else those of its cells.
        """
        filters = self.rank * self.output_size
        # As Glorot for a matrix [filters, memory], which is what the cell has.
        limit = LIMIT if convolve else math.sqrt(6 / (filters + self.memory_size))
        features = layers.Dense(
            filters,
            use_bias=False,
            kernel_initializer=initializers.RandomUniform(-LIMIT, LIMIT) if convolve else INITIALIZER,
            name=f"{name}_features",
        )(sequence)
        padded = layers.ZeroPadding1D((self.memory_size - 1, 0), name=f"{name}_memory")(features)
        output = layers.DepthwiseConv1D(
            self.memory_size,
            depthwise_initializer=initializers.RandomUniform(-limit, limit),
            name=f"{name}_time",
        )(padded)
        if self.rank > 1:
            output = ops.sum(ops.reshape(output, (-1, sequence.shape[1], self.output_size, self.rank)), axis=-1)
        output = layers.ReLU(name=f"{name}_relu")(output)
        if not self.projection_size:
            return output
        return layers.Dense(self.projection_size, kernel_initializer=INITIALIZER, name=f"{name}_projection")(output)


class SvdfBlock(SequenceBlock):
    """An SVDF network with a ReLU; optionally a linear layer after it.

    Args:
        output_size: Number of units.
        memory_size: Number of latest steps that a unit reads, the present one included.
        rank: Number of filters of each unit.
        projection_size: Width of the linear layer; 0 for none. (The archived cells had one, too.)
        convolve: Whether initial weights are those of the archived convolutions (SVDF_CONV) or cells (SVDF_CELL).
    """

    def __init__(
        self,
        output_size: int = 100,
        memory_size: int = 10,
        rank: int = 1,
        projection_size: int = 0,
        convolve: bool = False,
    ) -> None:
        super().__init__()
        self._svdf = Svdf(output_size, memory_size, rank, projection_size)
        self._convolve = convolve

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        return self._svdf.build(sequence, self.name, self._convolve)


class TunableSvdfBlock(SequenceBlock):
    """An SVDF network whose sizes are hyperparameters."""

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        sizes = (hparams.output_size, hparams.memory_size, hparams.rank, hparams.projection_size)
        return Svdf(*map(int, sizes)).build(sequence, self.name, convolve=True)
