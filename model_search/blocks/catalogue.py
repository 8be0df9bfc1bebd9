"""The catalogue of blocks, without building them: name, id, family, arguments and role. Never imports TensorFlow.

The table below lists the names and ids of the archived Model Search. A family whose `module` is None is known, so that
old specifications are understood, but has no builder in this version.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from model_search.errors import SpecError, UserError
from model_search.problem import MAP_RANK, SEQUENCE_RANK, VECTOR_RANK

EMPTY_BLOCK = "EMPTY_BLOCK"  # padding of architectures; id 0, not a block that can be built
EMPTY_BLOCK_ID = 0

# Hyperparameters of every trial; a block's own cannot be called like one of them.
GENERAL_HYPERPARAMETERS = frozenset(
    {
        "batch_size", "cooldown_share", "dropout_rate", "exponential_decay_rate", "exponential_decay_steps",
        "gradient_max_norm", "l2_regularization", "learning_rate", "momentum", "optimizer", "weight_decay",
    }
)  # fmt: skip
# Entries that the archived system recorded besides an architecture; they have no meaning here.
IGNORED_HYPERPARAMETERS = ("new_block_type", "initial_architecture")

_DENSE = "model_search.blocks.dense"


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
        module: Where that class is; None if this version cannot build it (or for a block with a `builder`).
        init_args: Arguments of the constructor.
        reads_rank: Rank of the input that it reads, without the batch axis: 1 for a vector, 2 for a sequence, 3 for a
            map; None if it takes any.
        writes_rank: Rank of its output; None if it is that of its input.
        is_flatten: Whether it comes between the blocks that read maps and those that read vectors. A tower of
            maps has one such block, which a mutation does not replace.
        is_reduction: Whether it makes maps smaller.
        input_order_important: The value of the class (`is_input_order_important`); only asked of a block that
            reads any rank.
        hyperparameters: Its hyperparameters that the search may choose.
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
    input_order_important: bool = False
    hyperparameters: tuple[BlockHyperparameter, ...] = ()
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
    def is_buildable(self) -> bool:
        """Whether this version can build it."""
        return self.module is not None or self.builder is not None

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

    def buildable(self, name: str) -> bool:
        """Whether there is a block of that name and this version can build it."""
        return name in self._by_name and self._by_name[name].is_buildable

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
        """The names in the search space of all hyperparameters of these blocks; unknown blocks have none."""
        return frozenset(
            full
            for name in set(blocks)
            if name in self._by_name
            for full in self._by_name[name].hyperparameter_names.values()
        )

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
        """The lowest free id above those of the stock blocks (ids from 10001 on are experimental ones)."""
        taken = [number for number in self._by_id if number < _EXPERIMENTAL]
        return max(taken, default=EMPTY_BLOCK_ID) + 1


_EXPERIMENTAL = 10001


@dataclasses.dataclass(frozen=True)
class _Family:
    """Blocks of one class: names with id and constructor arguments."""

    family: str
    blocks: Mapping[str, tuple[int, dict[str, Any]]]
    module: str | None = None
    reads_rank: int | None = None
    writes_rank: int | None = None
    is_flatten: bool = False
    is_reduction: bool = False
    hyperparameters: tuple[BlockHyperparameter, ...] = ()

    def infos(self) -> Iterator[BlockInfo]:
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "blocks"}
        for name, (enum_id, init_args) in self.blocks.items():
            yield BlockInfo(name=name, enum_id=enum_id, init_args=init_args, **shared)


_Blocks = dict[str, tuple[int, dict[str, Any]]]


def _sized(prefix: str, argument: str, ids: Mapping[int, int], **others: Any) -> _Blocks:
    """`<prefix>_<size>` for every size."""
    return {f"{prefix}_{size}": (number, {argument: size, **others}) for size, number in ids.items()}


def _kernels(prefix: str, ids: Mapping[tuple[int, int], int], argument: str = "kernel_size") -> _Blocks:
    """`<prefix>_<height>X<width>` for every kernel or window."""
    return {f"{prefix}_{h}X{w}": (number, {argument: (h, w)}) for (h, w), number in ids.items()}


def _svdf(prefix: str, ids: Mapping[tuple[int, ...], int], **others: Any) -> _Blocks:
    """`<prefix>_<output>_<memory>_<rank>[_<projection>]`."""
    arguments = ("output_size", "memory_size", "rank", "projection_size")
    return {
        f"{prefix}_{'_'.join(map(str, sizes))}": (number, dict(zip(arguments, sizes, strict=False)) | others)
        for sizes, number in ids.items()
    }


def _residual(name: str) -> _Blocks:
    """Both variants of a residual fully connected block: without and with batch normalisation."""
    first = {"force_match_shapes": 79, "concat": 81, "project": 83}[name]
    block = f"FULLY_CONNECTED_RESIDUAL_{name.upper()}"
    return {
        block: (first, {"residual": name, "batch_norm": False}),
        f"{block}_BATCHNORM": (first + 1, {"residual": name, "batch_norm": True}),
    }


# Ranks that the blocks of a family read and write.
_MAPS: dict[str, Any] = {"reads_rank": MAP_RANK, "writes_rank": MAP_RANK}
_SEQUENCES: dict[str, Any] = {"reads_rank": SEQUENCE_RANK, "writes_rank": SEQUENCE_RANK}
_FLATTEN: dict[str, Any] = {
    "module": "model_search.blocks.flatten",
    "reads_rank": MAP_RANK,
    "writes_rank": VECTOR_RANK,
    "is_flatten": True,
}

_WIDTHS = (64, 128, 256, 512, 1024)
_MEMORIES = (4, 8, 16)

_FAMILIES = (
    _Family(
        "FullyConnectedBlock",
        {"FULLY_CONNECTED": (14, {}), **_residual("force_match_shapes"), **_residual("concat"), **_residual("project")},
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    _Family(
        "FixedOutputFullyConnectedBlock",
        _sized("FIXED_OUTPUT_FULLY_CONNECTED", "output_size", {64: 151, 128: 22, 256: 23, 512: 24, 1024: 25}),
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    _Family(
        "FullyConnectedPyramidBlock", {"FULLY_CONNECTED_PYRAMID": (15, {})}, module=_DENSE, writes_rank=VECTOR_RANK
    ),
    _Family(
        "LowRankLayerBlock",
        {
            **{f"LOWRANK_{level}": (129 + level, {"level": level, "skip": False}) for level in (1, 2, 3)},
            **{f"LOWRANK_{level}_SKIP": (132 + level, {"level": level, "skip": True}) for level in (1, 2, 3)},
        },
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    _Family(
        "BottleNeckBlock",
        {
            **_sized("BOTTLENECK", "size", {32: 126, 64: 127}, skip=False),
            "BOTTLENECK_32_SKIP": (128, {"size": 32, "skip": True}),
            "BOTTLENECK_64_SKIP": (129, {"size": 64, "skip": True}),
        },
        module=_DENSE,
        writes_rank=VECTOR_RANK,
    ),
    _Family("IdentityBlock", {"IDENTITY": (125, {})}, module=_DENSE),
    _Family(
        "FixedChannelConvolutionBlock",
        {
            **_sized("FIXED_CHANNEL_CONVOLUTION", "channels", {16: 1, 32: 2, 64: 3, 96: 72, 120: 33}, stride=1),
            "FIXED_CHANNEL_STRIDE_96_2": (68, {"channels": 96, "stride": 2}),
        },
        **_MAPS,
    ),
    _Family(
        "ConvolutionBlock",
        _kernels(
            "CONVOLUTION",
            {(3, 3): 4, (4, 4): 147, (5, 5): 5, (1, 3): 26, (1, 5): 27, (1, 7): 28, (3, 1): 29, (5, 1): 30, (7, 1): 31},
        ),
        **_MAPS,
    ),
    _Family("IncreaseChannelsBlock", _kernels("INCREASE_CHANNELS", {(3, 3): 12, (4, 4): 150, (5, 5): 13}), **_MAPS),
    _Family(
        "DownsampleConvolutionBlock",
        _kernels("DOWNSAMPLE_CONVOLUTION", {(3, 3): 6, (4, 4): 148, (5, 5): 7}),
        is_reduction=True,
        **_MAPS,
    ),
    _Family(
        "AveragePoolBlock", _kernels("AVERAGE_POOL", {(2, 2): 8, (4, 4): 9}, "pool_size"), is_reduction=True, **_MAPS
    ),
    _Family(
        "MaxPoolingBlock",
        _kernels("MAX_POOLING", {(2, 2): 152, (3, 3): 17, (5, 5): 18}, "pool_size"),
        is_reduction=True,
        **_MAPS,
    ),
    _Family("ResnetBlock", _kernels("RESNET", {(3, 3): 10, (4, 4): 149, (5, 5): 11}), **_MAPS),
    _Family("DilatedConvolutionBlock", _sized("DILATED_CONVOLUTION", "dilation_rate", {2: 19, 4: 20}), **_MAPS),
    _Family("DualResnetBlock", {"DUAL_RESNET": (35, {})}, **_MAPS),
    _Family("GeneralBlock", {"GENERAL_BLOCK": (32, {})}, **_MAPS),
    _Family("FlattenBlock", {"FLATTEN": (16, {})}, **_FLATTEN),
    _Family(
        "DownsampleFlattenBlock",
        {"DOWNSAMPLE_FLATTEN": (21, {})},
        **_FLATTEN,
        is_reduction=True,
    ),
    _Family(
        "PlateReductionFlatten",
        {"PLATE_REDUCTION_FLATTEN": (34, {})},
        **_FLATTEN,
        is_reduction=True,
    ),
    _Family(
        "RnnBlock",
        {
            **_sized("RNN_CELL", "units", {64: 60, 128: 36, 256: 37, 512: 38, 1024: 39}, skip=False),
            **_sized("SKIP_RNN_CELL", "units", {64: 110, 128: 111, 256: 124, 512: 112, 1024: 113}, skip=True),
        },
        **_SEQUENCES,
    ),
    _Family(
        "Conv1DBlock",
        {
            **_sized(
                "RECURRENT_DENSE", "filters", {64: 61, 128: 40, 256: 41, 512: 42, 1024: 43}, kernel_size=1, skip=False
            ),
            "CONV1D_128_3": (89, {"filters": 128, "kernel_size": 3, "skip": False}),
            "CONV1D_128_5": (90, {"filters": 128, "kernel_size": 5, "skip": False}),
            "SKIP_CONV1D_128_3": (114, {"filters": 128, "kernel_size": 3, "skip": True}),
            "SKIP_CONV1D_128_5": (115, {"filters": 128, "kernel_size": 5, "skip": True}),
        },
        **_SEQUENCES,
    ),
    _Family(
        "SvdfBlock",
        {
            **_svdf("SVDF_CELL", {(64, memory, 1): 62 + m for m, memory in enumerate(_MEMORIES)}, convolve=False),
            **_svdf(
                "SVDF_CELL",
                {
                    (width, memory, 1): 44 + 4 * m + w
                    for m, memory in enumerate(_MEMORIES)
                    for w, width in enumerate(_WIDTHS[1:])
                },
                convolve=False,
            ),
            **_svdf(
                "SVDF_CELL",
                {(32, 32, 1): 75, (576, 8, 1, 64): 137, (576, 8, 1, 16): 138, (576, 8, 1, 7): 139, (32, 32, 1, 2): 140},
                convolve=False,
            ),
            **_svdf(
                "SVDF_CONV",
                {
                    (576, 8, 1, 64): 141,
                    (576, 8, 1, 16): 142,
                    (576, 8, 1, 7): 143,
                    (32, 32, 1): 144,
                    (32, 32, 1, 2): 145,
                },
                convolve=True,
            ),
            **_svdf(
                "SVDF_CONV",
                {
                    (width, memory, 1, 64): 10001 + 5 * m + w
                    for m, memory in enumerate(_MEMORIES)
                    for w, width in enumerate(_WIDTHS)
                },
                convolve=True,
            ),
        },
        **_SEQUENCES,
    ),
    _Family(
        "TunableSvdfBlock",
        {"TUNABLE_SVDF": (10016, {})},
        hyperparameters=(
            BlockHyperparameter("output_size", 50, 100),
            BlockHyperparameter("memory_size", 4, 32),
            BlockHyperparameter("rank", 1, 3),
            BlockHyperparameter("projection_size", 0, 128),
        ),
        **_SEQUENCES,
    ),
    _Family(
        "LSTMBlock",
        {
            **_sized("LSTM", "units", {128: 56, 256: 57, 512: 58, 1024: 59}, skip=False),
            **_sized("SKIP_LSTM", "units", {128: 116, 256: 117, 512: 118, 1024: 119}, skip=True),
        },
        **_SEQUENCES,
    ),
    _Family(
        "BidirectionalLSTMBlock",
        {
            **_sized("BI_LSTM", "units", {128: 85, 256: 86, 512: 87, 1024: 88}, skip=False),
            **_sized("SKIP_BI_LSTM", "units", {128: 120, 256: 121, 512: 122, 1024: 123}, skip=True),
        },
        **_SEQUENCES,
    ),
)


_CATALOGUE = Catalogue(info for family in _FAMILIES for info in family.infos())

get = _CATALOGUE.get
hyperparameter_names = _CATALOGUE.hyperparameter_names
names = _CATALOGUE.names
is_known = _CATALOGUE.is_known
buildable = _CATALOGUE.buildable
nearest = _CATALOGUE.nearest
unknown = _CATALOGUE.unknown
register = _CATALOGUE.register
unregister = _CATALOGUE.unregister
next_free_id = _CATALOGUE.next_free_id
