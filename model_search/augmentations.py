"""Augmentations that a specification may name: how strong each may be, and what it changes. Imports nothing heavy.

Each is a hyperparameter, `augment_NAME`, whose value 0 leaves the data as they are. `training/augmentation` applies
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_search.problem import MAP_RANK, SEQUENCE_RANK

PREFIX = "augment_"
FLIP = "flip"
# The hyperparameter of a tower whose predictions are the mean of those for a picture and for its mirror image.
TEST_TIME_FLIP = "test_time_flip"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """An augmentation.

    Attributes:
        rank: Rank of the inputs that it changes: 2 for sequences, 3 for maps; 0 for rows of any kind.
        strengths: The values of its hyperparameter.
        meaning: What a strength is, for people.
        keeps_steps: Whether every step stays where it is, so that labels of steps still fit.
        can_change_labels: Whether rows of some data are of another class afterwards: a mirrored letter, a red light.
    """

    rank: int
    strengths: tuple[float, ...]
    meaning: str
    keeps_steps: bool = True
    can_change_labels: bool = False

    def fits(self, input_rank: int, label_per_step: bool) -> bool:
        """Whether it can be applied to rows whose main input has this rank."""
        return self.rank in (0, input_rank) and (self.keeps_steps or not label_per_step)


AUGMENTATIONS: Mapping[str, Augmentation] = {
    FLIP: Augmentation(
        MAP_RANK, (0.0, 0.5), "share of pictures that are mirrored left to right", can_change_labels=True
    ),
    "crop": Augmentation(MAP_RANK, (0.0, 0.0625, 0.125), "most that a picture is moved, as a share of its size"),
    "cutout": Augmentation(MAP_RANK, (0.0, 0.25, 0.5), "side of a square that is blanked, as a share of the size"),
    "colour": Augmentation(
        MAP_RANK,
        (0.0, 0.2, 0.4),
        "most by which brightness, contrast and saturation change",
        can_change_labels=True,
    ),
    "mixup": Augmentation(0, (0.0, 0.1, 0.2), "parameter of the beta distribution of the mixing weight"),
    "time_mask": Augmentation(SEQUENCE_RANK, (0.0, 0.1, 0.2), "most steps that are blanked, as a share"),
    "frequency_mask": Augmentation(SEQUENCE_RANK, (0.0, 0.1, 0.2), "most channels that are blanked, as a share"),
    "time_shift": Augmentation(
        SEQUENCE_RANK,
        (0.0, 0.1, 0.2),
        "most that a sequence is moved, as a share",
        keeps_steps=False,
    ),
    "noise": Augmentation(SEQUENCE_RANK, (0.0, 0.05, 0.1), "deviation of added noise, in deviations of the channel"),
}
