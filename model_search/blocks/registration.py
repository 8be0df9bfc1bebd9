"""Makes blocks by name: `register_block` registers a user's block, `make_block` makes any. Never imports TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from model_search.blocks import catalogue
from model_search.blocks.block import Block, accepted_arguments
from model_search.blocks.catalogue import BlockHyperparameter, BlockInfo
from model_search.errors import UnsupportedError, UserError
from model_search.problem import MAP_RANK, VECTOR_RANK

BlockClass = TypeVar("BlockClass", bound=type[Block])


def register_block(
    lookup_name: str,
    init_args: Mapping[str, Any] | None = None,
    enum_id: int | None = None,
    *,
    reads_rank: int | None = None,
    writes_rank: int | None = None,
    is_flatten: bool | None = None,
    is_reduction: bool = False,
) -> Callable[[BlockClass], BlockClass]:
    """Makes a class a block that `blocks_to_use` can name.

    >>> @register_block("MY_DENSE_8", init_args={"units": 8})                                   # doctest: +SKIP
    ... @register_block("MY_DENSE_16", init_args={"units": 16})
    ... class MyDense(Block): ...

    Args:
        lookup_name: Name of the block; a class may be registered under several, with other arguments each.
        init_args: Arguments of the constructor.
        enum_id: Number of the block, from 1; the next free one where None.
        reads_rank: Rank of the input that it reads, without the batch axis: 1 for a vector, 2 for a sequence, 3 for a
            map. None if it takes any; `is_input_order_important` then says whether a tower of maps has it before its
            flatten block.
        writes_rank: Rank of its output; None if it is that of its input.
        is_flatten: Whether it comes between the blocks that read maps and those that read vectors. Where None, a block
            does that reads maps and writes vectors.
        is_reduction: Whether it makes maps smaller.

    Raises:
        UserError: if the name or the number is taken, the ranks make no sense, or the class cannot be made or has no
            `build`. Running the definition of the same class again (in a notebook, say) replaces it.
    """

    def register(cls: BlockClass) -> BlockClass:
        _check_class(cls, lookup_name)
        arguments = dict(init_args or {})
        example = _construct(cls, lookup_name, arguments)
        hyperparameters = _hyperparameters(example, lookup_name)
        if hyperparameters and "hparams" not in accepted_arguments(example):
            raise UserError(
                f"Block {lookup_name!r} asks for hyperparameters, but the build method of {cls.__name__} takes no "
                "hparams; add the argument hparams=None."
            )
        earlier = _earlier_definition(cls, lookup_name)
        info = BlockInfo(
            name=lookup_name,
            enum_id=_number(enum_id, earlier),
            family=cls.__name__,
            module=None,
            init_args=arguments,
            reads_rank=reads_rank,
            writes_rank=writes_rank,
            is_flatten=(reads_rank, writes_rank) == (MAP_RANK, VECTOR_RANK) if is_flatten is None else is_flatten,
            is_reduction=is_reduction,
            is_embedding=bool(example.reads_token_ids),
            input_order_important=bool(example.is_input_order_important),
            hyperparameters=hyperparameters,
            builder=cls,
        )
        _replace(earlier, info)
        return cls

    return register


def make_block(lookup_name: str, name: str | None = None) -> Block:
    """Makes the block of that name; the first of a family loads its module, and Keras with it.

    Args:
        lookup_name: Its name in the catalogue.
        name: The block's own name within a tower; the name in the catalogue where None.

    Raises:
        UnsupportedError: if there is no such block.
    """
    if not catalogue.is_known(lookup_name):
        raise UnsupportedError(catalogue.unknown(lookup_name))
    info = catalogue.get(lookup_name)
    cls = info.builder or getattr(importlib.import_module(str(info.module)), info.family)
    block = _construct(cls, lookup_name, info.init_args)
    # Set from outside, because a user's constructor need not accept a name.
    block.name = lookup_name if name is None else name
    return block


def own_settings(info: BlockInfo, values: Mapping[str, Any]) -> dict[str, Any]:
    """A block's own hyperparameters out of all of a trial's: those named `<BLOCK>_<name>`, without the prefix."""
    return {name: values[full] for name, full in info.hyperparameter_names.items() if full in values}


def _check_class(cls: Any, lookup_name: str) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Block)):
        raise UserError(f"Block {lookup_name!r} is a {cls!r}; expected a subclass of model_search.blocks.Block.")
    if cls.build is Block.build and cls.block_build is Block.block_build:
        raise UserError(f"The class {cls.__name__} of block {lookup_name!r} has no build method; override Block.build.")


def _construct(cls: type[Block], lookup_name: str, init_args: Mapping[str, Any]) -> Block:
    try:
        return cls(**init_args)
    except TypeError as error:
        raise UserError(
            f"Block {lookup_name!r} cannot be made: {cls.__name__} refuses its init_args {dict(init_args)} ({error})."
        ) from error


def _earlier_definition(cls: type[Block], lookup_name: str) -> BlockInfo | None:
    """The registration of an earlier definition of the same class under that name."""
    if not catalogue.is_known(lookup_name):
        return None
    earlier = catalogue.get(lookup_name)
    same = earlier.builder is not None and _identity(earlier.builder) == _identity(cls)
    return earlier if same else None


def _number(enum_id: int | None, earlier: BlockInfo | None) -> int:
    if enum_id is not None:
        return enum_id
    return catalogue.next_free_id() if earlier is None else earlier.enum_id


def _replace(earlier: BlockInfo | None, info: BlockInfo) -> None:
    if earlier is None:
        catalogue.register(info)
        return
    catalogue.unregister(earlier.name)
    try:
        catalogue.register(info)
    except UserError:
        catalogue.register(earlier)
        raise


def _identity(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _hyperparameters(block: Block, lookup_name: str) -> tuple[BlockHyperparameter, ...]:
    wanted = block.requires_hparams()
    if wanted is None:
        return ()
    entries = getattr(wanted, "space", wanted)  # a KerasTuner space has its entries in `space`
    return tuple(_hyperparameter(entry, lookup_name) for entry in entries)


def _hyperparameter(entry: Any, lookup_name: str) -> BlockHyperparameter:
    if isinstance(entry, BlockHyperparameter):
        return entry
    kind = type(entry).__name__
    if kind not in ("Int", "Float"):
        raise UnsupportedError(
            f"Block {lookup_name!r} asks for a hyperparameter of the kind {kind}; a block's own hyperparameters are "
            "numbers: give BlockHyperparameter(name, minimum, maximum), or Int and Float of KerasTuner."
        )
    return BlockHyperparameter(
        name=entry.name,
        minimum=entry.min_value,
        maximum=entry.max_value,
        whole=kind == "Int",
        log=getattr(entry, "sampling", None) == "log",
    )
