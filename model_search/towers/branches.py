"""Towers of several inputs: each is read by itself until it is a vector, then all vectors are read together.

The blocks of an architecture are the same for all inputs, their weights are not: a block that reads maps is built once
for each map, one that reads sequences once for each sequence. The first block that reads vectors reads those of all
inputs side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
from keras import layers, ops

from model_search.blocks import catalogue
from model_search.blocks.catalogue_records import BlockInfo
from model_search.blocks.sequences.sequence_block import without_padding
from model_search.data.rows import InputSpec, InputSpecs, main_inputs
from model_search.errors import TrialError
from model_search.problem import MAP_RANK, SEQUENCE_RANK, VECTOR_RANK, ProblemType
from model_search.towers.heads import last_valid_step
from model_search.towers.inputs import entrances
from model_search.towers.weight_names import plain_name

_READ = {SEQUENCE_RANK: "sequences", MAP_RANK: "maps"}


@dataclasses.dataclass
class Branch:
    """What blocks have made of one input so far.

    Attributes:
        name: What its layers are told apart by; empty for that of all inputs.
        tensors: The input and the outputs of all blocks so far.
        lengths: int32 [batch], the valid steps; None where no step is padded.
        vocabulary: How many different token ids there are; 0 where it holds none.
        columns: The spec of a table, which says what is known of its columns; None for anything else.
    """

    name: str
    tensors: list[keras.KerasTensor]
    lengths: keras.KerasTensor | None = None
    vocabulary: int = 0
    columns: InputSpec | None = None

    @property
    def rank(self) -> int:
        """Rank of what the next block reads."""
        return len(self.tensors[-1].shape) - 1

    @property
    def holds_ids(self) -> bool:
        """Whether they are token ids, which are no quantities."""
        return self.tensors[-1].dtype == "int32"


Stack = Callable[[int, Branch], list[keras.KerasTensor]]


def has_own_towers(specs: InputSpecs, problem: ProblemType) -> bool:
    """Whether inputs are read one by one before they are joined."""
    read = main_inputs(specs).values()
    return len(read) > 1 and problem.input_rank > VECTOR_RANK and any(spec.own_tower for spec in read)


def several_towers(
    specs: InputSpecs, architecture: Sequence[str], problem: ProblemType, stack: Stack
) -> tuple[Mapping[str, keras.KerasTensor], list[keras.KerasTensor]]:
    """Builds the blocks of a tower of several inputs.

    Args:
        specs: The inputs.
        architecture: Names of blocks, input to output.
        problem: The problem type.
        stack: Builds the block at a position on a branch; returns its tensors with the block's output appended.

    Returns:
        The Keras inputs by name, and the tensors of the joined part, the last of which is the tower's.

    Raises:
        TrialError: if no input is what a block reads.
    """
    inputs, begins = entrances(specs)
    branches = [
        Branch(label, [begin.tensor], begin.lengths, specs[name].vocabulary)
        for (name, begin), label in zip(begins.items(), _labels(list(begins)), strict=True)
    ]
    joined: Branch | None = None
    for position, name in enumerate(architecture):
        readers = None if joined is not None else _readers(catalogue.get(name), branches)
        if readers:
            for branch in readers:
                branch.tensors = stack(position, branch)
        else:
            joined = joined or _joined(branches, problem)
            joined.tensors = stack(position, joined)
    return inputs, (joined or _joined(branches, problem)).tensors


def _readers(info: BlockInfo, branches: Sequence[Branch]) -> list[Branch]:
    """The inputs that a block reads one by one; none where it reads their vectors together."""
    if info.is_embedding:
        found = [branch for branch in branches if branch.holds_ids]
    elif info.reads_rank is None:
        return [branch for branch in branches if branch.rank > VECTOR_RANK]
    elif info.reads_rank == VECTOR_RANK:
        return []
    else:
        found = [branch for branch in branches if branch.rank == info.reads_rank]
    if not found:
        what = "token ids" if info.is_embedding else _READ.get(info.reads_rank or 0, "other inputs")
        shapes = {branch.name: tuple(branch.tensors[-1].shape[1:]) for branch in branches}
        raise TrialError(f"The block {info.name} reads {what}, and the inputs there have the shapes {shapes}.")
    return found


def _joined(branches: Sequence[Branch], problem: ProblemType) -> Branch:
    """The vectors of all inputs side by side."""
    vectors = [_vector(branch, problem) for branch in branches]
    return Branch("", [layers.Concatenate(name="inputs_side_by_side")(vectors)])


def _vector(branch: Branch, problem: ProblemType) -> keras.KerasTensor:
    """What is left of an input that no block has made a vector of: as the head reads it, or the mean."""
    tensor = branch.tensors[-1]
    if branch.holds_ids:
        raise TrialError(
            f"The token ids of {branch.name} reach a block that reads numbers; name EMBEDDING in blocks_to_use."
        )
    if branch.rank == VECTOR_RANK:
        return tensor
    if branch.rank > SEQUENCE_RANK:
        return ops.mean(tensor, axis=tuple(range(1, branch.rank)))
    if problem.head == "dense_last_step":
        return last_valid_step(tensor, branch.lengths)
    steps = tensor.shape[1] if branch.lengths is None else ops.expand_dims(ops.cast(branch.lengths, "float32"), 1)
    return ops.sum(without_padding(tensor, branch.lengths), axis=1) / steps


def _labels(names: Sequence[str]) -> list[str]:
    """Names for layers: letters, digits and a few signs, each different."""
    found: list[str] = []
    for number, name in enumerate(names):
        plain = plain_name(name)
        found.append(f"{plain}~{number}" if plain in found else plain)
    return found
