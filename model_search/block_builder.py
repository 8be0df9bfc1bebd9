"""`BlockType` and `Blocks` of the archived Model Search, on top of `model_search.blocks`.

`BlockType` has the blocks that are registered when it is read: `block_builder.BlockType` always has all of them, while
`from model_search.block_builder import BlockType` keeps those of that moment.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from typing import Any

from model_search.blocks import catalogue
from model_search.blocks.block import Block
from model_search.blocks.catalogue import BlockHyperparameter
from model_search.blocks.registration import make_block


class Blocks:
    """Makes blocks of any type.

    >>> Blocks()[BlockType.IDENTITY]                                                            # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._made: dict[str, Block] = {}

    def __getitem__(self, block_type: enum.IntEnum) -> Block:
        """The block of that type, the same one each time; raises UnsupportedError where it cannot be built."""
        if block_type.name not in self._made:
            self._made[block_type.name] = self.get_new(block_type)
        return self._made[block_type.name]

    def get_new(self, block_type: enum.IntEnum, override_name: str | None = None) -> Block:
        """A new block of that type, whose layers are named after `override_name` if that is given."""
        return make_block(block_type.name, override_name)

    @staticmethod
    def search_space(blocks_to_use: Iterable[str] | None = None) -> dict[str, BlockHyperparameter]:
        """The hyperparameters of the blocks of these names (of all if None), by name in the search space."""
        wanted = catalogue.names() if blocks_to_use is None else blocks_to_use
        return {
            catalogue.get(name).hyperparameter_names[hyperparameter.name]: hyperparameter
            for name in wanted
            for hyperparameter in catalogue.get(name).hyperparameters
        }


@functools.lru_cache(maxsize=1)
def _block_type(names: tuple[str, ...]) -> type[enum.IntEnum]:
    members = {catalogue.EMPTY_BLOCK: catalogue.EMPTY_BLOCK_ID, **{name: catalogue.get(name).enum_id for name in names}}
    return enum.IntEnum("BlockType", members, module=__name__)  # type: ignore[return-value]


def __getattr__(name: str) -> Any:
    if name not in ("BlockType", "FLATTEN_TYPES"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    block_type = _block_type(catalogue.names())
    if name == "BlockType":
        return block_type
    return tuple(block_type[block] for block in catalogue.names() if catalogue.get(block).is_flatten)
