"""The interface of a search algorithm: a pure function, history in, proposal out."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from model_search.metadata.trial import HyperparameterValue
from model_search.registries import construct
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import LIKELIHOOD_ROWS
from model_search.search.predictor.scales import Scale, targets
from model_search.search.space.grammar import Grammar
from model_search.spec.searches import SEARCHES, search_type

if TYPE_CHECKING:
    from typing import Self

    from model_search.metadata.study_arrays import StudyArrays
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.search.predictor.predictor import Predictors
    from model_search.search.space.starting_points import StartingPoint

# Architectures of suspect blocks that a walk through a space passes over. Nearly all may have such blocks, in a space
# that is too large to be gone through.
MOST_AVOIDED = 10_000


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

    A subclass needs `propose` and no more; `register_search` gives it the name that a specification says. The planner
    asks for proposals until one leads to a trial that is no repetition; where too many in a row are repetitions, it
    goes through `everything`::

        algorithm.propose(history, rng)        # repeated
        algorithm.propose(history, rng)        # repeated, and so on
        algorithm.everything(history, rng)     # (a,), (b,), (a, a), ... until one is new, or the space is exhausted

    Attributes:
        grammar: The architectures there are: drawn, changed, crossed and enumerated by its methods.
        settings: Values of the declared settings, by name.
        sampler: The sampler of hyperparameters that goes with it, unless the user names one.
        evaluator: Name of the evaluator that trains what it proposes (`training/evaluator.py`).
        starting_points: What the first trials of a study try, whatever it would propose.
        scales: The scales that the predictors of the study learn on (`predictor/scales.py`).
        trial_patience: Epochs without a better evaluation after which its trials end; 0 for no such limit.
        morphs: Whether its proposals begin as the function of their parent, where they can, whatever the specification.
        likelihood_rows: How many trials their variances are learnt from.
        draws_least_depth: Whether its towers have `minimum_depth` blocks, however many are allowed.
        has_baseline: Whether a few trials are random search unless the specification says how many, so that the report
            can tell what that would have reached.
    """

    sampler: ClassVar[str] = "random"
    evaluator: ClassVar[str] = "engine"
    starting_points: tuple[StartingPoint, ...] = ()
    scales: ClassVar[tuple[Scale, ...]] = (targets,)
    likelihood_rows: ClassVar[int] = LIKELIHOOD_ROWS
    draws_least_depth: ClassVar[bool] = False
    has_baseline: ClassVar[bool] = False
    trial_patience: ClassVar[int] = 0
    morphs: ClassVar[bool] = False
    grammar: Grammar
    settings: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, grammar: Grammar, **settings: Any) -> None:
        """Keeps what it is given; a subclass may take a keyword for each of its settings instead."""
        self.grammar = grammar
        self.settings = settings

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Self:
        """The algorithm that a spec asks for: made with `grammar` and a keyword for each declared setting.

        Raises:
            SpecError: if its settings make no sense.
        """
        grammar = Grammar.of(spec)
        search = SEARCHES.find(search_type(spec))
        values = {} if search is None else search.values(spec)
        algorithm = construct(cls, f"search {search_type(spec)}", {"grammar": grammar, **values})
        if not hasattr(algorithm, "grammar"):  # its constructor did not take it
            algorithm.grammar = grammar
        return algorithm

    @abc.abstractmethod
    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """Proposes one architecture, seeing finished *and running* trials.

        Raises:
            SpaceExhaustedError: if everything there is has been tried.
        """

    def for_short_histories(self) -> SearchAlgorithm:
        """What searches in its place where it would be shown a few trials of the study at a time."""
        return self

    def use(self, predictors: Predictors) -> None:
        """Takes the predictors of the study, which its sampler uses too; most algorithms have no use for them."""
        del predictors

    def keep_in(self, arrays: StudyArrays | None) -> None:
        """Takes where it may keep what it has learnt, so that others need not learn it again, or None for nowhere.

        What it proposes must be the same with it and without; most algorithms have no use for it.
        """
        del arrays

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """Goes once through all architectures that the algorithm may ever propose; here all, the shallow ones first."""
        grammar = without_failing_blocks(self.grammar, history)
        for draws in grammar.draws:
            for architecture in grammar.enumerate(draws, rng):
                yield Proposal(architecture)


def without_failing_blocks(grammar: Grammar, history: History) -> Grammar:
    """The grammar without the blocks that fail by themselves; the whole one where a position would have no block."""
    failing = history.failures.blocks
    kept = tuple(name for name in grammar.blocks if name not in failing)
    positions = tuple(tuple(name for name in choices if name not in failing) for choices in grammar.positions)
    if len(kept) == len(grammar.blocks) or not kept or not all(positions):
        return grammar
    return dataclasses.replace(grammar, blocks=kept, positions=positions)
