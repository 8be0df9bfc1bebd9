"""Which search algorithm belongs to which `search_type` of a spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from model_search.search.algorithm import SearchAlgorithm
from model_search.search.annealing import SimulatedAnnealing
from model_search.search.beam import AdaptiveBeam
from model_search.search.constrained import ConstrainedBeam
from model_search.search.evolution import RegularizedEvolution
from model_search.search.gaussian_process import GaussianProcessSearch
from model_search.search.grid import GridSearch
from model_search.search.guided_beam import GuidedBeam
from model_search.search.harmonica import Harmonica
from model_search.search.linear_model import LinearModel
from model_search.search.local_search import LocalSearch
from model_search.search.random_search import RandomSearch
from model_search.search.reinforce import Reinforce
from model_search.spec.check import search_type

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

ALGORITHMS: Mapping[str, Callable[[PhoenixSpec], SearchAlgorithm]] = {
    "ADAPTIVE_COORDINATE_DESCENT": AdaptiveBeam.of,
    "PREDICTOR_GUIDED_BEAM": GuidedBeam.of,
    "NONADAPTIVE_RANDOM_SEARCH": RandomSearch.of,
    "GRID_SEARCH": GridSearch.of,
    "REGULARIZED_EVOLUTION": RegularizedEvolution.of,
    "SIMULATED_ANNEALING": SimulatedAnnealing.of,
    "LOCAL_SEARCH": LocalSearch.of,
    "GAUSSIAN_PROCESS": GaussianProcessSearch.of,
    "REINFORCE": Reinforce.of,
    "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT": ConstrainedBeam.of,
    "HARMONICA_SEARCH": Harmonica.of,
    "LINEAR_MODEL": LinearModel.of,
}


def make_algorithm(spec: PhoenixSpec) -> SearchAlgorithm:
    """The algorithm that a spec asks for.

    Raises:
        SpecError: if its settings make no sense.
    """
    return ALGORITHMS[search_type(spec)](spec)
