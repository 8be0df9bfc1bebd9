"""Bodies of towers for tables: what combines the columns. All read a vector, whatever encoded it."""

from __future__ import annotations

import keras
from keras import initializers, layers, ops

from model_search.blocks.dense import DenseBlock
from model_search.blocks.tabular.encodings import NEAR_ONE

_HE = "he_normal"


class MlpBlock(DenseBlock):
    """A fully connected layer with a ReLU, its initial weights as in He et al., ICCV 2015.

    Args:
        units: Width of its output.
    """

    def __init__(self, units: int = 256) -> None:
        super().__init__()
        self._units = units

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        return layers.Dense(self._units, "relu", kernel_initializer=_HE, name=f"{self.name}_dense")(vector)


class GatedBlock(DenseBlock):
    """A linear layer times the sigmoid of another one, plus the input where it is as wide.

    Gated linear units: Dauphin et al., ICML 2017; Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202.

    Args:
        units: Width of its output.
    """

    def __init__(self, units: int = 128) -> None:
        super().__init__()
        self._units = units

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        gate = self.dense(vector, self._units, "gate", activation="sigmoid")
        output = self.dense(vector, self._units, "value", activation=None) * gate
        return output + vector if vector.shape[-1] == self._units else output


class TabularResnetBlock(DenseBlock):
    """x + f(x), where f is batch normalisation, a layer of twice the width with a ReLU, and a linear layer.

    The ResNet of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021; an input of
    another width goes through a linear layer first.

    Args:
        units: Width of its output.
    """

    def __init__(self, units: int = 128) -> None:
        super().__init__()
        self._units = units

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        if vector.shape[-1] != self._units:
            vector = self.dense(vector, self._units, "projection", activation=None)
        output = layers.BatchNormalization(name=f"{self.name}_batch_normalization")(vector)
        output = layers.Dense(2 * self._units, "relu", kernel_initializer=_HE, name=f"{self.name}_wide")(output)
        return vector + self.dense(output, self._units, "narrow", activation=None)


class TabMBlock(DenseBlock):
    """Several networks that share their weights, but for factors of their own: a batch ensemble.

    After Gorishniy et al., "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling", ICLR 2025, and
    Wen et al., "BatchEnsemble", ICLR 2020. Each member multiplies the input by random factors, and each layer's output
    by factors that begin near 1. The members' outputs are put side by side, so that a linear layer behind it adds up
    predictions of all members.

    Args:
        members: Number of networks.
        units: Width of their layers.
        depth: Number of their layers.
    """

    def __init__(self, members: int = 8, units: int = 128, depth: int = 3) -> None:
        super().__init__()
        self._members = members
        self._units = units
        self._depth = depth

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        output = layers.EinsumDense(
            "bd,kd->bkd",
            (self._members, vector.shape[1]),
            kernel_initializer=initializers.RandomNormal(stddev=1.0),
            name=f"{self.name}_start",
        )(vector)
        for number in range(self._depth):
            name = f"{self.name}_{number}"
            output = layers.Dense(self._units, use_bias=False, kernel_initializer=_HE, name=f"{name}_shared")(output)
            shape, near_one = (self._members, self._units), initializers.RandomUniform(*NEAR_ONE)
            output = layers.EinsumDense(
                "bkh,kh->bkh", shape, "relu", "kh", kernel_initializer=near_one, name=f"{name}_own"
            )(output)
        return ops.reshape(output, (-1, self._members * self._units))
