"""Convolutions over steps and channels of a sequence, for channels in an order, such as the bands of a spectrum."""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import SequenceBlock, valid_steps, without_padding

_LAYERS = ((1, 2), (2, 2), (2, 2))  # filters, in those of the first layer, and the stride over channels
_KERNEL = 3  # steps, and channels


class SpectralConvolutionBlock(SequenceBlock):
    """Three convolutions over steps and channels, each of which halves the channels, with batch normalisation and ReLU.

    What is learnt of a pattern in some bands holds for the same pattern in other ones, so that another voice, whose
    bands lie a little higher or lower, matters less (Abdel-Hamid et al., "Convolutional Neural Networks for Speech
    Recognition", IEEE/ACM TASLP 2014; the front end of Amodei et al., "Deep Speech 2", ICML 2016). The output has as
    many steps as the input; each is the filters of all remaining bands, one after the other.

    Args:
        filters: Filters of the first layer; the others have twice as many.
    """

    def __init__(self, filters: int = 16) -> None:
        super().__init__()
        self._filters = filters

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        steps = sequence.shape[1]
        output = ops.expand_dims(without_padding(sequence, lengths), -1)
        for number, (times, stride) in enumerate(_LAYERS, 1):
            output = layers.Conv2D(
                times * self._filters,
                _KERNEL,
                strides=(1, stride),
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{self.name}_convolution_{number}",
            )(output)
            mask = None
            if lengths is not None:  # of every band, since batch normalisation counts what a mask holds
                valid = ops.expand_dims(valid_steps(sequence, lengths), -1)
                mask = ops.repeat(valid, output.shape[2], axis=2)
            output = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm_{number}")(output, mask=mask)
            output = ops.relu(output)
            if lengths is not None:  # padded steps are zeros for the next convolution, as those beyond the end are
                output = ops.where(ops.expand_dims(mask, -1), output, ops.zeros_like(output))
        return ops.reshape(output, (-1, steps, output.shape[2] * output.shape[3]))
