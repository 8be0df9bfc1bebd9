"""Auxiliary heads: a second output from the middle of a tower, which is trained and then left out.

After Szegedy et al., "Going Deeper with Convolutions", CVPR 2015; for maps the head of Zoph et al., "Learning
Transferable Architectures for Scalable Image Recognition", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from model_search.blocks import catalogue
from model_search.problem import MAP_RANK, ProblemType, problem_type
from model_search.towers.heads import add_head

NAME = "auxiliary"
_WINDOW, _STRIDE = 5, 3  # of the mean at its beginning
_NARROW, _WIDE = 128, 768  # channels of its convolutions


def auxiliary_place(architecture: Sequence[str], problem: ProblemType) -> int | None:
    """After how many blocks the head reads at the latest; None where the tower is too short for one.

    In a tower of maps it reads what the flatten block reads, in others the output of the block in the middle.
    """
    if problem.reads_maps:
        flat = (place for place, name in enumerate(architecture) if catalogue.get(name).is_flatten)
        return next(flat, 0) or None
    return len(architecture) // 2 or None


def auxiliary_logits(
    tensors: Sequence[keras.KerasTensor],
    architecture: Sequence[str],
    problem_name: str,
    units: int,
    lengths: keras.KerasTensor | None,
) -> keras.KerasTensor:
    """The logits of the head, of the shape of the tower's own.

    In a tower of maps the head is that of NASNet, before the last block that makes the map smaller; where there is no
    such block, or the map there has fewer than 5x5 places, a linear layer on the means of what the flatten block reads.

    Args:
        tensors: The tower's input and the output of every block.
        architecture: Names of the blocks; `auxiliary_place` is not None for them.
        problem_name: Name of the problem type.
        units: Width of the logits.
        lengths: As in `add_head`.
    """
    problem = problem_type(problem_name)
    place = auxiliary_place(architecture, problem) or 0
    if not problem.reads_maps:
        return add_head(tensors[place], units, problem.head, lengths, NAME)
    smaller = [at for at in range(1, place) if catalogue.get(architecture[at]).is_reduction]
    tensor = tensors[smaller[-1]] if smaller else tensors[place]
    if smaller and len(tensor.shape) == 1 + MAP_RANK and min(tensor.shape[1:3]) >= _WINDOW:
        return add_head(_nasnet(tensor), units, name=NAME)
    tensor = tensors[place]
    if len(tensor.shape) == 1 + MAP_RANK:
        tensor = layers.GlobalAveragePooling2D(name=f"{NAME}_mean")(tensor)
    return add_head(tensor, units, name=NAME)


def _nasnet(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The mean of 5x5 windows, a 1x1 convolution, and one over the whole map: a vector."""
    tensor = layers.AveragePooling2D(_WINDOW, strides=_STRIDE, name=f"{NAME}_window")(tensor)
    for number, (channels, size) in enumerate(((_NARROW, (1, 1)), (_WIDE, tuple(tensor.shape[1:3])))):
        tensor = layers.Conv2D(channels, size, use_bias=False, name=f"{NAME}_convolution_{number}")(tensor)
        tensor = layers.BatchNormalization(momentum=0.9, name=f"{NAME}_norm_{number}")(tensor)
        tensor = layers.ReLU(name=f"{NAME}_relu_{number}")(tensor)
    return layers.Flatten(name=f"{NAME}_flat")(tensor)
