"""The catalogue of blocks, without building them: name, id, family, arguments and role. Never imports TensorFlow.

`catalogue_archived.py` lists the blocks of the archived Model Search under its names and ids; those that were added are
in `catalogue_tabular.py` (tables), `catalogue_cells.py` (parts of cells) and `catalogue_modern.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from model_search.blocks.catalogue_archived import ARCHIVED
from model_search.blocks.catalogue_cells import CELLS
from model_search.blocks.catalogue_modern import MODERN
from model_search.blocks.catalogue_records import BlockHyperparameter, BlockInfo
from model_search.blocks.catalogue_tabular import TABULAR
from model_search.cells import LAYOUT, PARTS
from model_search.errors import SpecError, UserError

__all__ = [
    "EMPTY_BLOCK", "EMPTY_BLOCK_ID", "GENERAL_HYPERPARAMETERS", "IGNORED_HYPERPARAMETERS", "BlockHyperparameter",
    "BlockInfo", "Catalogue", "get", "hyperparameter_names", "is_known", "names", "nearest",
    "next_free_id", "register", "unknown", "unregister",
]  # fmt: skip

EMPTY_BLOCK = "EMPTY_BLOCK"  # padding of architectures; id 0, not a block that can be built
EMPTY_BLOCK_ID = 0

# Hyperparameters of every trial; a block's own cannot be called like one of them.
GENERAL_HYPERPARAMETERS = frozenset(
    {
        *LAYOUT, "batch_size", "beta2", "class_balance", "cooldown_share", "dropout_rate", "epochs",
        "exponential_decay_rate", "exponential_decay_steps", "gradient_max_norm", "kernel_decay", "l2_regularization",
        "label_smoothing", "learning_rate", "momentum", "optimizer", "schedule", "warmup_share", "weight_decay",
    }
)  # fmt: skip
# Entries that the archived system recorded besides an architecture; they have no meaning here.
IGNORED_HYPERPARAMETERS = ("new_block_type", "initial_architecture")

_ADDED = range(300, 500)  # ids of blocks that this package adds to the archived ones
_EXPERIMENTAL = 10001  # ids from here on are the archived system's experimental ones


class Catalogue:
    """Blocks by name. Names and ids are unique."""

    def __init__(self, blocks: Iterable[BlockInfo] = ()) -> None:
        self._by_name: dict[str, BlockInfo] = {}
        self._by_id: dict[int, BlockInfo] = {}
        for info in blocks:
            self.register(info)

    def get(self, name: str) -> BlockInfo:
        """The block of that name.

        Raises:
            SpecError: if there is none; the message has the nearest names.
        """
        if name not in self._by_name:
            raise SpecError(self.unknown(name))
        return self._by_name[name]

    def names(self) -> tuple[str, ...]:
        """All names, by id."""
        return tuple(self._by_id[number].name for number in sorted(self._by_id))

    def is_known(self, name: str) -> bool:
        """Whether there is a block of that name."""
        return name in self._by_name

    def nearest(self, name: str, n: int = 3) -> list[str]:
        """Up to `n` known names similar to `name`, most similar first."""
        by_capitals = {known.upper(): known for known in self._by_name}
        return [by_capitals[match] for match in difflib.get_close_matches(name.upper(), by_capitals, n=n, cutoff=0.6)]

    def unknown(self, name: str) -> str:
        """An error message that there is no such block, with the nearest names."""
        near = self.nearest(name)
        if near:
            return f"There is no block {name!r}; the nearest names are {', '.join(near)}."
        return f"There is no block {name!r}; register it with register_block before the specification is read."

    def register(self, info: BlockInfo) -> None:
        """Adds a block.

        Raises:
            UserError: if the name or the id is taken or is not usable.
        """
        if not info.name or info.name == EMPTY_BLOCK:
            raise UserError(f"A block cannot be named {info.name!r}; give it a name of its own.")
        if info.name in self._by_name:
            raise UserError(f"There is already a block {info.name!r}; register yours under another name.")
        if info.enum_id <= EMPTY_BLOCK_ID:
            raise UserError(f"Block {info.name!r} has the id {info.enum_id}; expected a whole number from 1.")
        if info.enum_id in self._by_id:
            other = self._by_id[info.enum_id].name
            raise UserError(
                f"Block {info.name!r} has the id {info.enum_id}, which belongs to {other}; "
                f"the next free id is {self.next_free_id()}."
            )
        self._check_hyperparameters(info)
        self._by_name[info.name] = info
        self._by_id[info.enum_id] = info

    def _check_hyperparameters(self, info: BlockInfo) -> None:
        """No hyperparameter of the block has the name of another, so that no value reaches the wrong place."""
        owners = {full: other.name for other in self._by_name.values() for full in other.hyperparameter_names.values()}
        if len(info.hyperparameter_names) < len(info.hyperparameters):
            own = [hyperparameter.name for hyperparameter in info.hyperparameters]
            raise UserError(f"Block {info.name!r} has two hyperparameters of one name ({', '.join(own)}); rename one.")
        for own_name, full in info.hyperparameter_names.items():
            if full in GENERAL_HYPERPARAMETERS or full.startswith(IGNORED_HYPERPARAMETERS):
                raise UserError(
                    f"Hyperparameter {own_name!r} of block {info.name!r} is called {full} in the search space, which "
                    "has another meaning there; rename the block or the hyperparameter."
                )
            if full in owners:
                raise UserError(
                    f"Hyperparameter {own_name!r} of block {info.name!r} is called {full} in the search space, like "
                    f"one of block {owners[full]!r}; rename the block or the hyperparameter."
                )

    def hyperparameter_names(self, blocks: Iterable[str]) -> frozenset[str]:
        """The names in the search space of all hyperparameters of these blocks; unknown blocks have none.

        The layout of cells belongs to the parts of cells.
        """
        known = {name for name in blocks if name in self._by_name}
        own = (full for name in known for full in self._by_name[name].hyperparameter_names.values())
        return frozenset((*own, *(LAYOUT if known & PARTS else ())))

    def unregister(self, name: str) -> None:
        """Takes out a block that a user registered, so that it can be defined anew.

        Raises:
            SpecError: if there is no such block.
            UserError: if it is a stock block.
        """
        info = self.get(name)
        if info.builder is None:
            raise UserError(f"{name} is a stock block and stays; register yours under another name.")
        del self._by_name[name]
        del self._by_id[info.enum_id]

    def next_free_id(self) -> int:
        """The lowest free id above those of the other blocks, without 300 to 499 and those from 10001 on."""
        free = max((number for number in self._by_id if number < _EXPERIMENTAL), default=EMPTY_BLOCK_ID) + 1
        return _ADDED.stop if free in _ADDED else free


_CATALOGUE = Catalogue(info for family in (*ARCHIVED, *TABULAR, *MODERN, *CELLS) for info in family.infos())

get = _CATALOGUE.get
hyperparameter_names = _CATALOGUE.hyperparameter_names
names = _CATALOGUE.names
is_known = _CATALOGUE.is_known
nearest = _CATALOGUE.nearest
unknown = _CATALOGUE.unknown
register = _CATALOGUE.register
unregister = _CATALOGUE.unregister
next_free_id = _CATALOGUE.next_free_id
