"""From token ids to a sequence of vectors."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import Block, BlockSettings
from model_search.errors import TrialError


class EmbeddingBlock(Block):
    """A vector for each token id, learnt from the start: float32 [batch, steps, width].

    After Bengio et al., "A Neural Probabilistic Language Model", JMLR 2003. Its hyperparameter `width` is the length of
    the vectors; `hparams.vocabulary`, which the data decide, is the number of different ids.
    """

    @property
    def reads_token_ids(self) -> bool:
        """See `Block`."""
        return True

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the vectors of the last tensor's ids.

        Raises:
            TrialError: if these are no ids of a known vocabulary, int32 [batch, steps].
        """
        tokens, settings = input_tensors[-1], hparams or BlockSettings()
        if tokens.dtype != "int32" or len(tokens.shape) != 2 or "vocabulary" not in settings:
            raise TrialError(
                f"The block {self.name} received {tokens.dtype} of shape {tuple(tokens.shape)}; expected int32 [batch, "
                "steps], the ids of tokens of a known vocabulary, as text_data makes them."
            )
        layer = layers.Embedding(int(settings.vocabulary), int(settings.width), name=f"{self.name}_vectors")
        return [*input_tensors, layer(tokens)]
