"""Several tasks: blocks and a linear layer of each behind the blocks that they share."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import layers

from model_search.blocks.block import BlockSettings, call_block
from model_search.blocks.registration import make_block
from model_search.errors import ModelSearchError, TrialError
from model_search.towers.heads import HEAD_NAME, add_head
from model_search.towers.naming import seeded


class TaskHead(NamedTuple):
    """What answers one task: `units` logits, behind blocks of its own."""

    units: int
    architecture: tuple[str, ...] = ()


def add_task_heads(
    tensors: list[keras.KerasTensor],
    heads: tuple[TaskHead, ...],
    head: str,
    lengths: keras.KerasTensor | None,
    seed: int,
) -> keras.KerasTensor:
    """The logits of all tasks side by side.

    Args:
        tensors: The tower's input and the outputs of the blocks that the tasks share.
        heads: Of each task.
        head: Name of the head, as in `add_head`.
        lengths: As in `add_head`.
        seed: Seed of the initial weights.

    Raises:
        TrialError: if a block cannot be built.
    """
    found = []
    for number, task in enumerate(heads):
        prefix = f"task_{number}"
        own = list(tensors)
        for position, name in enumerate(task.architecture):
            block = make_block(name, f"{prefix}_{position}_{name}")
            with seeded(seed, block.name):
                own = _built(block, name, own, lengths)
        with seeded(seed, f"{prefix}_head"):
            found.append(add_head(own[-1], task.units, head, lengths, f"{prefix}_{HEAD_NAME}"))
    return layers.Concatenate(name=HEAD_NAME)(found)


def _built(block: object, name: str, tensors: list[keras.KerasTensor], lengths: object) -> list[keras.KerasTensor]:
    shape = tuple(tensors[-1].shape)
    try:
        return list(call_block(block, tensors, lengths=lengths, hparams=BlockSettings()))  # type: ignore[arg-type]
    except ModelSearchError:
        raise
    except Exception as error:
        raise TrialError(
            f"The block {name} of a task on an input of shape {shape} could not be built: "
            f"{type(error).__name__}: {error}"
        ) from error
