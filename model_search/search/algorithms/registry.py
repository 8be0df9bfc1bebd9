"""Which search algorithm belongs to which `search_type` of a spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from model_search.search.algorithms.adaptive_beam import AdaptiveBeam
from model_search.search.algorithms.algorithm import SearchAlgorithm
from model_search.search.algorithms.constrained_beam import ConstrainedBeam
from model_search.search.algorithms.gaussian_process import GaussianProcessSearch
from model_search.search.algorithms.grid_search import GridSearch
from model_search.search.algorithms.guided_beam import GuidedBeam
from model_search.search.algorithms.harmonica import Harmonica
from model_search.search.algorithms.linear_model import LinearModel
from model_search.search.algorithms.local_search import LocalSearch
from model_search.search.algorithms.random_search import RandomSearch
from model_search.search.algorithms.regularized_evolution import RegularizedEvolution
from model_search.search.algorithms.reinforce import Reinforce
from model_search.search.algorithms.simulated_annealing import SimulatedAnnealing
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
