"""A part of an ensemble that is small enough to be its student: some of its models, and of each some models or trees.

Where trees are most of an ensemble, a small network follows it less well than a third of it does (ensemble pruning;
Margineantu and Dietterich, "Pruning Adaptive Boosting", ICML 1997). Of averaged trees any number will do; of a bag,
some of the models.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterator, Mapping, Sequence

from model_search.finish.final_ensemble import StudyParts
from model_search.metadata.final_models import FinalMember, FinalModel
from model_search.towers.classic_arrays import parameters_of
from model_search.training.folds.thinning import Weights, is_averaged, models_of, thinned
from model_search.training.outcome import TrainedTower


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of an ensemble.

    Attributes:
        members: What is left of its members.
        parameters: How many numbers it has.
        note: Which part it is, for people.
    """

    members: tuple[FinalMember, ...]
    parameters: int
    note: str


_MOST_ALONE = 3


class Way(enum.Enum):
    """How the room of a part is used."""

    DIVIDED = "by the weights; what a small member does not need is left to the larger ones"
    BY_WEIGHT = "the heaviest members come first, each with all that there is room for"
    BY_DENSITY = "the same in the order of weight per parameter"


@dataclasses.dataclass(frozen=True)
class Whole:
    """A member of an ensemble.

    Attributes:
        member: Its trial and its weight.
        sizes: Trainable parameters of each of its towers, by their trials.
        divisible: The bag or classic model that it is, with the weights that it answers with; None for others, which
            are kept as a whole or not at all.
    """

    member: FinalMember
    sizes: Mapping[int, int]
    divisible: TrainedTower | None = None

    def size(self, counted: Collection[int] = ()) -> int:
        """Parameters of its towers, but for those that count already."""
        return sum(size for number, size in self.sizes.items() if number not in counted)

    def within(self, room: float, counted: Collection[int]) -> tuple[float, int, str] | None:
        """How much of it there is room for: its share, its parameters, and its description; None for nothing."""
        size, name = self.size(counted), f"trial {self.member.trial}"
        if size <= room:
            return 1.0, size, name
        if self.divisible is None:
            return None
        share = room / size
        kept = thinned(self.divisible, share)
        if kept is None:
            return None
        every, some = models_of(self.divisible), models_of(kept)
        if self.divisible.plan.classic is not None:
            size = sum(map(parameters_of, some))
        else:
            size = size * len(some) // len(every)
        return share, size, f"{_amount(every, some)} of {name}"


def parts_of(study: StudyParts, teacher: FinalModel, most_parameters: int) -> Iterator[Part]:
    """The ensemble with as much of its members as is small enough, in three ways; and the heaviest by themselves.

    Args:
        study: The study.
        teacher: Its final ensemble.
        most_parameters: Of a part.

    Raises:
        StudyError: if a model's arrays are gone.
    """
    from model_search.finish.study_models import StudyModels

    models, every = StudyModels(study), list[Whole]()
    for member in teacher.members:
        trial = study.history.get(member.trial)
        if trial is None or trial.plan is None or trial.result is None:
            return
        sizes = {number: _tower_parameters(study, number) for number in trial.plan.towers}
        is_divisible = trial.plan.towers == (trial.id,) and bool(trial.plan.folds or trial.plan.classic)
        every.append(Whole(member, sizes, models.answering(trial.id) if is_divisible else None))
    ways = [part_of(every, most_parameters, way) for way in Way]
    heaviest = sorted(every, key=lambda whole: (-whole.member.weight, whole.member.trial))[:_MOST_ALONE]
    alone = [part_of([whole], most_parameters) for whole in heaviest]
    yield from dict.fromkeys(part for part in (*ways, *alone) if part is not None)


def _tower_parameters(study: StudyParts, number: int) -> int:
    trial = study.history.get(number)
    return 0 if trial is None or trial.result is None else trial.result.tower_parameters


def part_of(every: Sequence[Whole], most_parameters: int, way: Way = Way.DIVIDED) -> Part | None:
    """As much of some members as is small enough; None where there is none.

    Args:
        every: The members.
        most_parameters: Of all parts together.
        way: How the room is used.
    """
    left = most_parameters
    kept: list[tuple[FinalMember, float, str]] = []
    counted: set[int] = set()
    ordered = sorted(every, key=lambda whole: (_order(whole, way), whole.member.trial))
    for place, whole in enumerate(ordered):
        room: float = left
        if way is Way.DIVIDED:
            room *= whole.member.weight / sum(other.member.weight for other in ordered[place:])
        found = whole.within(room, counted)
        if found is not None:
            share, size, words = found
            kept.append((whole.member, share, words))
            left -= size
            counted |= whole.sizes.keys()
    if not kept:
        return None
    total = sum(member.weight for member, _, _ in kept)
    kept.sort(key=lambda found: (-found[0].weight, found[0].trial))
    return Part(
        tuple(FinalMember(member.trial, member.weight / total, share=share) for member, share, _ in kept),
        most_parameters - left,
        f"it is {_together([words for _, _, words in kept])}",
    )


def _order(whole: Whole, way: Way) -> float:
    if way is Way.DIVIDED:
        return whole.size()
    return -whole.member.weight / (1 if way is Way.BY_WEIGHT else max(whole.size(), 1))


def _amount(every: Sequence[Weights], some: Sequence[Weights]) -> str:
    """How much was kept, for people: "12 of 60 trees"."""
    if is_averaged(every):
        trees, all_trees = (sum(len(arrays["root"]) for arrays in models) for models in (some, every))
        return f"{trees} of {all_trees} trees"
    return f"{len(some)} of {len(every)} models"


def _together(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
