"""Problem types: the input that towers read, how their blocks are ordered, and the head that they end in.

All code that depends on the problem type reads these records; none compares names. A new problem type is one
more record: add it to the table below, or pass it to `register_problem_type`. Imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_search.errors import UnsupportedError, UserError

# Ranks of one row's input, without the batch axis.
VECTOR_RANK = 1
SEQUENCE_RANK = 2
MAP_RANK = 3

# The flatten block of a tower of maps that names none.
DEFAULT_FLATTEN = "PLATE_REDUCTION_FLATTEN"


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """A tower, and some of its hyperparameters; the sampler chooses the others.

    Attributes:
        architecture: Names of blocks, input to output.
        hyperparameters: Values by name.
        least_rows: Training rows from which it is tried.
        most_rows: Training rows up to which it is tried; None for any number.
    """

    architecture: tuple[str, ...]
    hyperparameters: Mapping[str, int | float | str | bool] = dataclasses.field(hash=False)
    least_rows: int = 0
    most_rows: int | None = None

    def suits(self, rows: int | None) -> bool:
        """Whether it is for data of so many training rows; None where that is not known."""
        return rows is None or (self.least_rows <= rows and (self.most_rows is None or rows <= self.most_rows))


@dataclasses.dataclass(frozen=True)
class ProblemType:
    """A problem type.

    Attributes:
        name: Its name in a specification.
        input_rank: Rank of one row's main input without the batch axis: 1 for a vector, 2 for a sequence, 3 for a map.
        ordered_by_rank: Whether blocks that read maps or sequences come first, then one flatten block, then the blocks
            that read vectors. Otherwise every order of blocks is legal.
        added_block: The flatten block that a tower gets where it names none. It counts towards the tower's size.
        first_block: The embedding that a tower begins with where it names none; a specification that names embeddings
            has one. It counts towards the tower's size, too.
        head: Name of the head that turns the last block's output into logits (see `towers/heads.py`).
        needs_lengths: Whether the rows have lengths, because their steps are padded.
        label_per_step: Whether every step of a row has a label of its own.
        starting_points: Towers that a search may begin with.
    """

    name: str
    input_rank: int
    ordered_by_rank: bool = False
    added_block: str | None = None
    first_block: str | None = None
    head: str = "dense"
    needs_lengths: bool = False
    label_per_step: bool = False
    starting_points: tuple[StartingPoint, ...] = ()

    def __post_init__(self) -> None:
        if self.input_rank < VECTOR_RANK:
            raise UserError(f"The input rank of {self.name} is {self.input_rank}; expected at least {VECTOR_RANK}.")
        if self.added_block is not None and not self.ordered_by_rank:
            raise UserError(
                f"{self.name} adds {self.added_block} to its towers, but its blocks have no order; "
                "set ordered_by_rank, or leave added_block out."
            )

    @property
    def added_size(self) -> int:
        """How many blocks a tower has besides those that are searched."""
        return (self.added_block is not None) + (self.first_block is not None)

    @property
    def reads_maps(self) -> bool:
        """Whether a row's main input is a map."""
        return self.input_rank == MAP_RANK


# Chosen by `benchmarks/starting_points.py`; a dropout rate of -1 means none.
_DENSE_STARTING_POINTS = (
    StartingPoint(
        (
            "FIXED_OUTPUT_FULLY_CONNECTED_1024",
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM",
            "FIXED_OUTPUT_FULLY_CONNECTED_1024",
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM",
            "FIXED_OUTPUT_FULLY_CONNECTED_512",
        ),
        {"optimizer": "rmsprop", "learning_rate": 0.0097, "dropout_rate": -1.0},
    ),
    StartingPoint(
        (
            "FIXED_OUTPUT_FULLY_CONNECTED_128",
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM",
            "FIXED_OUTPUT_FULLY_CONNECTED_256",
            "FIXED_OUTPUT_FULLY_CONNECTED_256",
            "FIXED_OUTPUT_FULLY_CONNECTED_512",
        ),
        {"optimizer": "rmsprop", "learning_rate": 0.0011, "dropout_rate": -1.0},
    ),
    StartingPoint(
        (
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM",
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES",
        ),
        {"optimizer": "rmsprop", "learning_rate": 0.0079, "dropout_rate": 0.1},
    ),
    StartingPoint(
        (
            "FIXED_OUTPUT_FULLY_CONNECTED_128",
            "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM",
            "FIXED_OUTPUT_FULLY_CONNECTED_512",
            "FIXED_OUTPUT_FULLY_CONNECTED_512",
            "FIXED_OUTPUT_FULLY_CONNECTED_512",
        ),
        {"optimizer": "rmsprop", "learning_rate": 0.00095, "dropout_rate": -1.0},
    ),
)

# Three convolutional networks, a residual and a densely connected one. Most of the time goes into layers of full
# resolution, so that the first block has few channels or halves the map. The stock specification is `image`.
_OF_IMAGES: Mapping[str, int | float | str | bool] = {
    "optimizer": "adam",
    "learning_rate": 0.005,
    "dropout_rate": -1.0,
    "weight_decay": 0.05,
    "augment_flip": 0.0,
    "augment_crop": 0.0625,
    "augment_cutout": 0.0,
    "augment_mixup": 0.2,
}
_OF_MIRRORED_IMAGES: Mapping[str, int | float | str | bool] = {**_OF_IMAGES, "augment_flip": 0.5}
_IMAGE_STARTING_POINTS = (
    StartingPoint(
        (
            "BATCHNORM_CONVOLUTION_32",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_64",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_128",
            "GLOBAL_MEAN_MAX_FLATTEN",
        ),
        _OF_IMAGES,
    ),
    StartingPoint(
        (
            "BATCHNORM_CONVOLUTION_STRIDE_64_2",
            "BATCHNORM_CONVOLUTION_64",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_128",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_128",
            "GLOBAL_MEAN_MAX_FLATTEN",
        ),
        _OF_MIRRORED_IMAGES,
    ),
    StartingPoint(
        (
            "BATCHNORM_CONVOLUTION_STRIDE_64_2",
            "BATCHNORM_CONVOLUTION_64",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_128",
            "BATCHNORM_CONVOLUTION_128",
            "MAX_POOLING_2X2",
            "BATCHNORM_CONVOLUTION_128",
            "BATCHNORM_CONVOLUTION_128",
            "GLOBAL_MEAN_MAX_FLATTEN",
        ),
        _OF_MIRRORED_IMAGES,
    ),
    StartingPoint(
        (
            "BATCHNORM_CONVOLUTION_STRIDE_64_2",
            "PREACTIVATION_RESNET_64",
            "PREACTIVATION_RESNET_STRIDE_128_2",
            "PREACTIVATION_RESNET_128",
            "GLOBAL_MEAN_MAX_FLATTEN",
        ),
        _OF_MIRRORED_IMAGES,
    ),
    StartingPoint(
        (
            "BATCHNORM_CONVOLUTION_STRIDE_64_2",
            "DENSENET_24_4",
            "DENSENET_TRANSITION",
            "DENSENET_24_4",
            "GLOBAL_MEAN_MAX_FLATTEN",
        ),
        _OF_IMAGES,
    ),
)

# Convolutions, a recurrent network and attention, each with pooling of the valid steps. The stock specification is
# `sequence`. On spoken digits of unheard speakers, learning rates that fall to zero are better by 0.02.
_SEQUENCE_STARTING_POINTS = (
    StartingPoint(
        ("BATCHNORM_CONV1D_128_5", "BATCHNORM_CONV1D_128_3", "MASKED_MEAN_MAX_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.001, "dropout_rate": 0.2, "schedule": "cosine"},
    ),
    StartingPoint(
        ("BI_LSTM_64", "MASKED_MEAN_MAX_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.002, "dropout_rate": 0.2, "schedule": "cosine"},
    ),
    StartingPoint(
        ("TRANSFORMER_ENCODER_64_4", "TRANSFORMER_ENCODER_64_4", "MASKED_MEAN_MAX_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.001, "dropout_rate": 0.1, "schedule": "cosine"},
    ),
)

# The same for sound, where the loudness, the microphone and the voice are subtracted first. The stock specification is
# `sound`; those above follow, since a steady sound is lost by that. There is no dropout (-1): after every block, the
# first of which leaves a spectrum, it costs accuracy on voices that are not in training; and no augmentation, which
# brings such voices nothing within a thousand steps.
_OF_SOUND: Mapping[str, int | float | str | bool] = {
    "optimizer": "adam",
    "learning_rate": 0.002,
    "dropout_rate": -1.0,
    "schedule": "cosine",
    "augment_time_mask": 0.0,
    "augment_frequency_mask": 0.0,
    "augment_time_shift": 0.0,
}
_SOUND_STARTING_POINTS = (
    StartingPoint(
        ("TILTED_MEAN_SUBTRACTION", "BATCHNORM_CONV1D_128_5", "BATCHNORM_CONV1D_128_3", "MASKED_MEAN_MAX_POOLING"),
        _OF_SOUND,
    ),
    StartingPoint(
        ("MEAN_SUBTRACTION", "BATCHNORM_CONV1D_128_5", "BATCHNORM_CONV1D_128_3", "MASKED_MEAN_MAX_POOLING"),
        _OF_SOUND,
    ),
    StartingPoint(
        ("TILTED_MEAN_SUBTRACTION", "BI_LSTM_64", "MASKED_MEAN_MAX_POOLING"),
        _OF_SOUND,
    ),
)

# The mean of the words' vectors, convolutions and a recurrent network. The stock specification is `text`.
_TEXT_STARTING_POINTS = (
    StartingPoint(
        ("EMBEDDING", "MASKED_MEAN_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.005, "dropout_rate": 0.3, "EMBEDDING_width": 64},
    ),
    StartingPoint(
        ("EMBEDDING", "BATCHNORM_CONV1D_128_3", "MASKED_MAX_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.001, "dropout_rate": 0.3, "EMBEDDING_width": 64},
    ),
    StartingPoint(
        ("EMBEDDING", "BI_LSTM_32", "MASKED_MEAN_MAX_POOLING"),
        {"optimizer": "adam", "learning_rate": 0.002, "dropout_rate": 0.3, "EMBEDDING_width": 64},
    ),
)

# The default where a specification names no problem type.
DEFAULT_PROBLEM_TYPE = "DNN"

_PROBLEM_TYPES: dict[str, ProblemType] = {}


def register_problem_type(problem: ProblemType) -> None:
    """Registers a problem type under its name.

    Raises:
        UserError: if the name is taken by another one.
    """
    if _PROBLEM_TYPES.setdefault(problem.name, problem) != problem:
        raise UserError(f"There is already a problem type {problem.name!r}; register yours under another name.")


def problem_type(name: str) -> ProblemType:
    """The problem type of that name.

    Raises:
        UnsupportedError: if there is none.
    """
    if name not in _PROBLEM_TYPES:
        raise UnsupportedError(f"There is no problem type {name!r}; expected one of {', '.join(_PROBLEM_TYPES)}.")
    return _PROBLEM_TYPES[name]


def problem_types() -> tuple[ProblemType, ...]:
    """All problem types, in the order of their registration."""
    return tuple(_PROBLEM_TYPES.values())


for _problem in (
    ProblemType("DNN", VECTOR_RANK, starting_points=_DENSE_STARTING_POINTS),
    ProblemType(
        "CNN",
        MAP_RANK,
        ordered_by_rank=True,
        added_block=DEFAULT_FLATTEN,
        starting_points=_IMAGE_STARTING_POINTS,
    ),
    ProblemType("RNN_ALL_ACTIVATIONS", SEQUENCE_RANK, head="dense_per_step", needs_lengths=True, label_per_step=True),
    ProblemType(
        "RNN_LAST_ACTIVATIONS",
        SEQUENCE_RANK,
        head="dense_last_step",
        needs_lengths=True,
        starting_points=(*_SOUND_STARTING_POINTS, *_SEQUENCE_STARTING_POINTS, *_TEXT_STARTING_POINTS),
    ),
):
    register_problem_type(_problem)
