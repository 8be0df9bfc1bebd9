"""Records of the catalogue of blocks: what is known of a block, and of a family of them. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from model_search.errors import UserError
from model_search.problem import MAP_RANK, SEQUENCE_RANK, VECTOR_RANK

# Ranks that the blocks of a family read and write.
MAPS: Mapping[str, Any] = {"reads_rank": MAP_RANK, "writes_rank": MAP_RANK}
SEQUENCES: Mapping[str, Any] = {"reads_rank": SEQUENCE_RANK, "writes_rank": SEQUENCE_RANK}
MAP_TO_VECTOR: Mapping[str, Any] = {"reads_rank": MAP_RANK, "writes_rank": VECTOR_RANK, "is_flatten": True}

Blocks = dict[str, tuple[int, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class BlockHyperparameter:
    """A hyperparameter of one block; in the search space its name is `<BLOCK>_<name>`.

    Attributes:
        name: Name of the block's own setting.
        minimum: Lowest value.
        maximum: Highest value, included.
        whole: Whether only whole numbers are meant.
        log: Whether it is searched on a logarithmic scale.
    """

    name: str
    minimum: float
    maximum: float
    whole: bool = True
    log: bool = False

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise UserError(
                f"Hyperparameter {self.name!r} goes from {self.minimum:g} to {self.maximum:g}; "
                "the minimum must not be above the maximum."
            )
        if self.whole and not (float(self.minimum).is_integer() and float(self.maximum).is_integer()):
            raise UserError(
                f"Hyperparameter {self.name!r} goes from {self.minimum:g} to {self.maximum:g}; expected whole numbers, "
                "or whole=False."
            )
        if self.log and not self.minimum > 0:
            raise UserError(
                f"Hyperparameter {self.name!r} begins at {self.minimum:g}; a logarithmic scale needs a minimum above 0."
            )


@dataclasses.dataclass(frozen=True)
class BlockInfo:
    """The catalogue's entry of one block.

    Attributes:
        name: Its name in `blocks_to_use`.
        enum_id: Its number, from 1.
        family: Name of the class that builds it.
        module: Where that class is; None for a block with a `builder`.
        init_args: Arguments of the constructor.
        reads_rank: Rank of the input that it reads, without the batch axis: 1 for a vector, 2 for a sequence, 3 for a
            map; None if it takes any.
        writes_rank: Rank of its output; None if it is that of its input.
        is_flatten: Whether it comes between the blocks that read maps and those that read vectors. A tower of
            maps has one such block, which a mutation does not replace.
        is_reduction: Whether it makes maps smaller.
        is_embedding: Whether it makes vectors of token ids, int32 [steps]; a tower of them begins with one such block,
            which a mutation does not replace.
        input_order_important: The value of the class (`is_input_order_important`); only asked of a block that
            reads any rank.
        hyperparameters: Its hyperparameters that the search may choose.
        can_be_identity: Whether it can have weights with which it changes nothing: it adds to its input, or can be the
            identity behind a ReLU where it is as wide as its input (`towers/morphisms/`).
        builder: The class of a block that a user registered.
    """

    name: str
    enum_id: int
    family: str
    module: str | None
    init_args: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    reads_rank: int | None = None
    writes_rank: int | None = None
    is_flatten: bool = False
    is_reduction: bool = False
    is_embedding: bool = False
    input_order_important: bool = False
    hyperparameters: tuple[BlockHyperparameter, ...] = ()
    can_be_identity: bool = False
    builder: type | None = None

    def __post_init__(self) -> None:
        for what, rank in (("reads_rank", self.reads_rank), ("writes_rank", self.writes_rank)):
            if rank is not None and (not isinstance(rank, int) or rank < VECTOR_RANK):
                raise UserError(
                    f"{what} of block {self.name!r} is {rank!r}; expected {VECTOR_RANK} for a vector, {SEQUENCE_RANK} "
                    f"for a sequence, {MAP_RANK} for a map, or None."
                )
        if self.is_flatten and self.writes_rank not in (None, VECTOR_RANK):
            raise UserError(
                f"Block {self.name!r} flattens but writes_rank is {self.writes_rank}; a flatten block writes vectors: "
                f"expected {VECTOR_RANK} or None."
            )

    @property
    def has_own_place(self) -> bool:
        """Whether the problem type decides where it stands: a flatten block, or an embedding."""
        return self.is_flatten or self.is_embedding

    @property
    def can_be_inserted(self) -> bool:
        """Whether a tower may keep its function when the block is inserted."""
        halves = self.is_reduction or self.init_args.get("stride", 1) != 1
        return (self.can_be_identity or bool(self.init_args.get("skip"))) and not halves

    @property
    def is_stock(self) -> bool:
        """Whether it is part of this package, rather than registered by a user."""
        return self.builder is None

    @property
    def order_important(self) -> bool:
        """Whether it comes before the flatten block in a tower of maps: it reads neighbours, in space or in time."""
        if self.is_flatten:
            return False
        return self.input_order_important if self.reads_rank is None else self.reads_rank > VECTOR_RANK

    @property
    def hyperparameter_names(self) -> dict[str, str]:
        """The name in the search space of each of its hyperparameters, by its own name."""
        return {own.name: f"{self.name}_{own.name}" for own in self.hyperparameters}

    def output_rank(self, input_rank: int) -> int:
        """Rank of the output for an input of that rank."""
        if self.is_flatten:
            return VECTOR_RANK
        return input_rank if self.writes_rank is None else self.writes_rank


@dataclasses.dataclass(frozen=True)
class Family:
    """Blocks of one class: names with id and constructor arguments."""

    family: str
    blocks: Mapping[str, tuple[int, dict[str, Any]]]
    module: str
    reads_rank: int | None = None
    writes_rank: int | None = None
    is_flatten: bool = False
    is_reduction: bool = False
    is_embedding: bool = False
    hyperparameters: tuple[BlockHyperparameter, ...] = ()
    can_be_identity: bool = False

    def infos(self) -> Iterator[BlockInfo]:
        """The entry of each block."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "blocks"}
        for name, (enum_id, init_args) in self.blocks.items():
            yield BlockInfo(name=name, enum_id=enum_id, init_args=init_args, **shared)


def sized(prefix: str, argument: str, ids: Mapping[int, int], **others: Any) -> Blocks:
    """`<prefix>_<size>` for every size."""
    return {f"{prefix}_{size}": (number, {argument: size, **others}) for size, number in ids.items()}


def kernels(prefix: str, ids: Mapping[tuple[int, int], int], argument: str = "kernel_size") -> Blocks:
    """`<prefix>_<height>X<width>` for every kernel or window."""
    return {f"{prefix}_{h}X{w}": (number, {argument: (h, w)}) for (h, w), number in ids.items()}
