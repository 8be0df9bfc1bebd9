"""Towers of several inputs: each is read by itself until it is a vector, then all vectors are read together.

The blocks of an architecture are the same for all inputs, their weights are not: a block that reads maps is built once
for each map, one that reads sequences once for each sequence. The first block that reads vectors reads those of all
inputs side by side. An input may have blocks of its own in front of those, be read by some of them only, or be read by
the layers of another input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

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
        read_by: Blocks of the architecture that read it by itself; empty for all that suit it.
    """

    name: str
    tensors: list[keras.KerasTensor]
    lengths: keras.KerasTensor | None = None
    vocabulary: int = 0
    columns: InputSpec | None = None
    read_by: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Rank of what the next block reads."""
        return len(self.tensors[-1].shape) - 1

    @property
    def holds_ids(self) -> bool:
        """Whether they are token ids, which are no quantities."""
        return self.tensors[-1].dtype == "int32"

    def is_read_by(self, info: BlockInfo) -> bool:
        """Whether a block that suits it may read it; what makes a vector of it always may."""
        return not self.read_by or info.name in self.read_by or info.output_rank(self.rank) == VECTOR_RANK


class Blocks(Protocol):
    """Builds blocks on branches; each returns the branch's tensors with the block's output appended."""

    def searched(self, position: int, branch: Branch) -> list[keras.KerasTensor]:
        """The block at a position of the architecture."""

    def own(self, name: str, place: int, branch: Branch) -> list[keras.KerasTensor]:
        """A block of the branch's own, `place` being its position among those."""


def has_own_towers(specs: InputSpecs, problem: ProblemType) -> bool:
    """Whether inputs are read one by one before they are joined."""
    read = main_inputs(specs).values()
    is_wide = problem.input_rank > VECTOR_RANK
    return len(read) > 1 and any(spec.own_tower and (is_wide or spec.blocks or spec.same_tower) for spec in read)


def several_towers(
    specs: InputSpecs, architecture: Sequence[str], problem: ProblemType, blocks: Blocks
) -> tuple[Mapping[str, keras.KerasTensor], list[keras.KerasTensor]]:
    """Builds the blocks of a tower of several inputs.

    Args:
        specs: The inputs.
        architecture: Names of blocks, input to output.
        problem: The problem type.
        blocks: Builds a block on a branch.

    Returns:
        The Keras inputs by name, and the tensors of the joined part, the last of which is the tower's.

    Raises:
        TrialError: if no input is what a block reads.
    """
    inputs, begins = entrances(specs)
    by_name = {
        name: Branch(label, [begin.tensor], begin.lengths, specs[name].vocabulary, read_by=specs[name].read_by)
        for (name, begin), label in zip(begins.items(), _labels(list(begins)), strict=True)
    }
    twins = _twins(specs, by_name)
    branches = [branch for name, branch in by_name.items() if name not in twins]
    for name, branch in by_name.items():
        for place, block in enumerate(() if name in twins else specs[name].blocks):
            branch.tensors = blocks.own(block, place, branch)
    joined: Branch | None = None
    for position, name in enumerate(architecture):
        readers = None if joined is not None else _readers(catalogue.get(name), branches)
        if readers:
            for branch in readers:
                branch.tensors = blocks.searched(position, branch)
        else:
            joined = joined or _joined(by_name, twins, problem)
            joined.tensors = blocks.searched(position, joined)
    return inputs, (joined or _joined(by_name, twins, problem)).tensors


def _twins(specs: InputSpecs, branches: Mapping[str, Branch]) -> dict[str, Branch]:
    """By the names of inputs that the layers of another one read: the branch of that one.

    Raises:
        TrialError: if there is no such input, or it has no layers of its own.
    """
    found = {name: specs[name].same_tower for name in branches if specs[name].same_tower is not None}
    for name, other in found.items():
        if other is None or other not in branches or other in found:
            raise TrialError(f"the input {name!r} is to be read by the layers of {other!r}, which has none of its own")
    return {name: branches[str(other)] for name, other in found.items()}


def _read_alike(twin: Branch, other: Branch) -> Branch:
    """The twin with what the layers of the other branch make of it."""
    given = [other.tensors[0], *([] if other.lengths is None else [other.lengths])]
    own = [twin.tensors[0], *([] if twin.lengths is None else [twin.lengths])]
    if len(other.tensors) == 1:
        return twin
    outputs = keras.Function(given, other.tensors[-1]).call(own)  # the layers themselves, not a model of them
    return dataclasses.replace(twin, tensors=[*twin.tensors, outputs])


def _readers(info: BlockInfo, branches: Sequence[Branch]) -> list[Branch]:
    """The inputs that a block reads one by one; none where it reads their vectors together."""
    named = [branch for branch in branches if info.name in branch.read_by and info.reads_rank in (None, branch.rank)]
    if named:
        return named
    if info.is_embedding:
        found = [branch for branch in branches if branch.holds_ids]
    elif info.reads_rank is None:
        return [branch for branch in branches if branch.rank > VECTOR_RANK and branch.is_read_by(info)]
    elif info.reads_rank == VECTOR_RANK:
        return []
    else:
        found = [branch for branch in branches if branch.rank == info.reads_rank and branch.is_read_by(info)]
    if not found:
        what = "token ids" if info.is_embedding else _READ.get(info.reads_rank or 0, "other inputs")
        shapes = {branch.name: tuple(branch.tensors[-1].shape[1:]) for branch in branches}
        raise TrialError(f"The block {info.name} reads {what}, and the inputs there have the shapes {shapes}.")
    return found


def _joined(branches: Mapping[str, Branch], twins: Mapping[str, Branch], problem: ProblemType) -> Branch:
    """The vectors of all inputs side by side."""
    read = [_read_alike(branch, twins[name]) if name in twins else branch for name, branch in branches.items()]
    vectors = [_vector(branch, problem) for branch in read]
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
    if problem.input_rank == VECTOR_RANK:
        return layers.Flatten(name=f"{branch.name}_flat")(tensor)
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
