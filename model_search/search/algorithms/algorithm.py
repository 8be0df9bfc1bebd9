"""The interface of a search algorithm: a pure function, history in, proposal out."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from model_search.metadata.trial import HyperparameterValue
from model_search.search.history.history import History

if TYPE_CHECKING:
    from model_search.search.space.starting_points import StartingPoint


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What to try next.

    Attributes:
        architecture: Names of the blocks, input to output, in a legal order.
        parent: The trial it was grown or mutated from, if any.
        hyperparameters: Values that the algorithm itself chose; the sampler fills in the others.
        random: Whether the architecture was drawn from the whole space, whatever was tried before.
    """

    architecture: tuple[str, ...]
    parent: int | None = None
    hyperparameters: Mapping[str, HyperparameterValue] = dataclasses.field(default_factory=dict)
    random: bool = False


class SearchAlgorithm(abc.ABC):
    """Proposes architectures. Holds settings only: the same history and generator give the same proposal.

    The planner asks for proposals until one leads to a trial that is no repetition; where too many in a row are
    repetitions, it goes through `everything`::

        algorithm.propose(history, rng)        # repeated
        algorithm.propose(history, rng)        # repeated, and so on
        algorithm.everything(history, rng)     # (a,), (b,), (a, a), ... until one is new, or the space is exhausted

    Attributes:
        sampler: The sampler of hyperparameters that goes with it, unless the user names one.
        starting_points: What the first trials of a study try, whatever it would propose.
    """

    sampler: ClassVar[str] = "random"
    starting_points: tuple[StartingPoint, ...] = ()

    @abc.abstractmethod
    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """Proposes one architecture, seeing finished *and running* trials.

        Raises:
            SpaceExhaustedError: if everything there is has been tried.
        """

    def for_short_histories(self) -> SearchAlgorithm:
        """What searches in its place where it would be shown a few trials of the study at a time."""
        return self

    @abc.abstractmethod
    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """Goes once through all architectures that the algorithm may ever propose, those allowed now first."""
