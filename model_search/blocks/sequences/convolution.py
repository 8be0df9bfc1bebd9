"""Convolutions over the steps of a sequence."""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import INITIALIZER, SequenceBlock, valid_steps, without_padding


class Conv1DBlock(SequenceBlock):
    """A convolution over steps that reads as many before a step as after it; padded steps read as zeros.

    Kernels of more than one step have a ReLU; those of one step (RECURRENT_DENSE) are linear, as in the archived
    system.

    Args:
        filters: Width of the output.
        kernel_size: Number of steps that the kernel reads.
        skip: Whether the input is added, through a linear layer where the widths differ.
    """

    def __init__(self, filters: int = 128, kernel_size: int = 1, skip: bool = False) -> None:
        super().__init__()
        self._filters = filters
        self._kernel_size = kernel_size
        self._skip = skip

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        output = layers.Conv1D(
            self._filters,
            self._kernel_size,
            padding="same",
            activation="relu" if self._kernel_size > 1 else None,
            kernel_initializer=INITIALIZER,
            name=f"{self.name}_convolution",
        )(without_padding(sequence, lengths) if self._kernel_size > 1 else sequence)
        return self.plus_input(sequence, output) if self._skip else output


class BatchNormConv1DBlock(SequenceBlock):
    """A convolution over steps, batch normalisation over the valid steps, and a ReLU.

    After Wang et al., "Time Series Classification from Scratch with Deep Neural Networks", IJCNN 2017.

    Args:
        filters: Width of the output.
        kernel_size: Number of steps that the kernel reads.
    """

    def __init__(self, filters: int = 64, kernel_size: int = 3) -> None:
        super().__init__()
        self._filters = filters
        self._kernel_size = kernel_size

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        output = layers.Conv1D(
            self._filters,
            self._kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer=INITIALIZER,
            name=f"{self.name}_convolution",
        )(without_padding(sequence, lengths))
        mask = None if lengths is None else valid_steps(output, lengths)
        output = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm")(output, mask=mask)
        # An operation, unlike a layer, does not pass Keras' mask on; later blocks have the lengths.
        return ops.relu(output)


class TemporalConvolutionBlock(SequenceBlock):
    """relu(x + f(x)), where f is two causal convolutions over 3 steps, spread by `dilation_rate`.

    Each has layer normalisation and a ReLU; a linear layer projects x where the widths differ. After Bai et al., "An
    Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", arXiv 1803.01271, 2018,
    which normalises weights instead.

    Args:
        filters: Width of the output.
        dilation_rate: The kernel reads a step, the one that many before it, and the one twice as many before it.
    """

    def __init__(self, filters: int = 64, dilation_rate: int = 1) -> None:
        super().__init__()
        self._filters = filters
        self._dilation_rate = dilation_rate

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        output = sequence
        for number in range(2):
            output = layers.Conv1D(
                self._filters,
                3,
                padding="causal",
                dilation_rate=self._dilation_rate,
                kernel_initializer=INITIALIZER,
                name=f"{self.name}_convolution_{number}",
            )(output)
            output = layers.LayerNormalization(name=f"{self.name}_norm_{number}")(output)
            output = layers.ReLU(name=f"{self.name}_relu_{number}")(output)
        return layers.ReLU(name=f"{self.name}_relu")(self.plus_input(sequence, output))


class GatedConvolutionBlock(SequenceBlock):
    """A convolution over steps times the sigmoid of another one, plus the input.

    After Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017.

    Args:
        filters: Width of the output.
        kernel_size: Number of steps that the kernels read.
    """

    def __init__(self, filters: int = 64, kernel_size: int = 3) -> None:
        super().__init__()
        self._filters = filters
        self._kernel_size = kernel_size

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        both = layers.Conv1D(
            2 * self._filters,
            self._kernel_size,
            padding="same",
            kernel_initializer=INITIALIZER,
            name=f"{self.name}_convolution",
        )(without_padding(sequence, lengths))
        output = both[..., : self._filters] * ops.sigmoid(both[..., self._filters :])
        return self.plus_input(sequence, output)
