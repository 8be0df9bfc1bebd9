import pathlib
import re

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import SpecError
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.registry import SEARCHES, make_algorithm
from model_search.search.history.history import History
from model_search.testing.algorithm_contract import AlgorithmContract


class TestAdaptiveBeam(AlgorithmContract):
    search_type = "ADAPTIVE_COORDINATE_DESCENT"
    reachable = 2 + 4


class TestRandomSearch(AlgorithmContract):
    search_type = "NONADAPTIVE_RANDOM_SEARCH"
    reachable = 2


class TestGridSearch(AlgorithmContract):
    search_type = "GRID_SEARCH"
    reachable = 2 + 4
    draws_at_random = False


class TestRegularizedEvolution(AlgorithmContract):
    search_type = "REGULARIZED_EVOLUTION"
    reachable = 2 + 4


class TestSimulatedAnnealing(AlgorithmContract):
    search_type = "SIMULATED_ANNEALING"
    reachable = 2 + 4


class TestLocalSearch(AlgorithmContract):
    search_type = "LOCAL_SEARCH"
    reachable = 2 + 4


class TestGaussianProcess(AlgorithmContract):
    search_type = "GAUSSIAN_PROCESS"
    reachable = 2 + 4


class TestAutoKeras(AlgorithmContract):
    search_type = "AUTO_KERAS"
    reachable = 2 + 4
    draws_at_random = False


class TestReinforce(AlgorithmContract):
    search_type = "REINFORCE"
    reachable = 2 + 4


class TestConstrainedBeam(AlgorithmContract):
    search_type = "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT"
    reachable = 2 + 4
    knows_positions = False


class TestHarmonica(AlgorithmContract):
    search_type = "HARMONICA_SEARCH"
    reachable = 2


class TestLinearModel(AlgorithmContract):
    search_type = "LINEAR_MODEL"
    reachable = 2 + 4


def _history(*losses):
    history = History("loss", "minimize")
    history.update(completed(i, loss, make_plan(i, ["IDENTITY"] * i)) for i, loss in enumerate(losses, start=1))
    return history


def _proposals(spec, history, count=200):
    algorithm = make_algorithm(spec)
    return [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(count)]


def test_there_is_an_algorithm_for_every_search_type_and_a_contract_test_for_every_algorithm():
    assert set(SEARCHES.builtin) >= set(PhoenixSpec.SearchType.keys()) - {"UNKNOWN_SEARCH_TYPE"}
    tests = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r"\(AlgorithmContract\):\n +search_type = \"(\w+)\"", tests)) >= set(SEARCHES.builtin)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"beam_size": 0}, "beam_size is 0"),
        ({"increase_complexity_probability": 1.5}, "increase_complexity_probability is 1.5"),
        ({"minimum_depth": 3, "maximum_depth": 2}, "minimum_depth is 3 and maximum_depth is 2"),
        ({"minimum_depth": 0}, "minimum_depth is 0"),
        ({"blocks_to_use": ()}, "names no block"),
        ({"increase_complexity_minimum_trials": [1, 2, 3, 4, 5]}, "has 5 values but maximum_depth is 4"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(make_spec(**fields))


def test_the_first_beam_proposals_are_random_architectures_of_the_least_depth():
    spec = make_spec(minimum_depth=3, increase_complexity_minimum_trials=[10])
    proposals = _proposals(spec, _history())
    assert {len(p.architecture) for p in proposals} == {3}
    assert {p.parent for p in proposals} == {None}


def test_the_beam_holds_the_best_trials_only():
    history = _history(5.0, 1.0, 3.0, 2.0)
    assert {p.parent for p in _proposals(make_spec(beam_size=1), history)} == {2}
    assert {p.parent for p in _proposals(make_spec(beam_size=3), history)} == {2, 3, 4}


def test_running_trials_are_no_parents():
    history = _history(5.0, 1.0)
    history.update([running(3)])
    assert {p.parent for p in _proposals(make_spec(beam_size=5), history)} == {1, 2}


def test_growth_waits_for_enough_completed_trials():
    few, enough = _history(*[1.0] * 4), _history(*[1.0] * 5)
    assert {len(p.architecture) for p in _proposals(make_spec(), few)} == {1}
    assert {len(p.architecture) for p in _proposals(make_spec(), enough)} == {2}


def test_growth_is_as_probable_as_the_spec_says():
    spec = make_spec(increase_complexity_probability=0.25)
    grown = [len(p.architecture) == 2 for p in _proposals(spec, _history(*[1.0] * 5), count=1000)]
    assert 0.2 < np.mean(grown) < 0.3


def test_a_mutation_changes_one_block_at_most():
    history = _history(3.0, 2.0, 1.0)
    changed = [sum(b != "IDENTITY" for b in p.architecture) for p in _proposals(make_spec(), history)]
    assert set(changed) == {0, 1}


def test_where_nothing_grows_the_deeper_architectures_are_out_of_reach():
    algorithm = make_algorithm(make_spec(increase_complexity_probability=0.0))
    assert {len(p.architecture) for p in algorithm.everything(_history(), np.random.default_rng(0))} == {1}


BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "BOTTLENECK_64", "LOWRANK_1", "LOWRANK_2", "LOWRANK_3")


@pytest.mark.parametrize("minimum_depth", [1, 5])
def test_the_beam_beats_random_search_where_every_block_adds_its_own(minimum_depth):
    """Additive: each place in the tower has its own value for each block, and the loss is what is missing."""
    wins = 0
    for seed in range(8):
        values = np.random.default_rng(1000 + seed).random((5, len(BLOCKS)))

        def loss(plan, values=values):
            return 5 - sum(values[i, BLOCKS.index(name)] for i, name in enumerate(plan.architecture))

        best = {}
        for search_type, depth in (("ADAPTIVE_COORDINATE_DESCENT", minimum_depth), ("NONADAPTIVE_RANDOM_SEARCH", 5)):
            spec = make_spec(search_type, blocks_to_use=BLOCKS, minimum_depth=depth, maximum_depth=5, beam_size=3)
            history = run_study(make_planner(spec, seed), 100, loss)
            best[search_type] = history.best(1)[0].objective("loss")
        wins += best["ADAPTIVE_COORDINATE_DESCENT"] < best["NONADAPTIVE_RANDOM_SEARCH"]
    assert wins >= 7
