"""Normalisation of inputs of any rank."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import Block, BlockSettings


class LayerNormalizationBlock(Block):
    """Normalises the last axis of its input, of any rank: every row, step or place by itself.

    After Ba et al., "Layer Normalization", arXiv 1607.06450, 2016. An input of width 1 passes unchanged.
    """

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the last tensor, normalised."""
        tensor = input_tensors[-1]
        if tensor.shape[-1] == 1:
            return [*input_tensors, tensor]
        return [*input_tensors, layers.LayerNormalization(name=f"{self.name}_norm")(tensor)]

    @property
    def is_input_order_important(self) -> bool:
        """Never: it is invariant to permutations of its inputs."""
        return False
