"""What each search does besides keeping to the contract."""

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import SpecError
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.simulated_annealing import SimulatedAnnealing
from model_search.search.history.history import History
from model_search.search.space.grammar import Grammar

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "BOTTLENECK_64", "LOWRANK_1", "LOWRANK_2", "LOWRANK_3")
FIXED = {"blocks_to_use": BLOCKS, "minimum_depth": 5, "maximum_depth": 5}


def _history(*losses, architectures=None):
    history = History("loss", "minimize")
    known = architectures or [["IDENTITY"] * 3] * len(losses)
    history.update(completed(i, loss, make_plan(i, known[i - 1])) for i, loss in enumerate(losses, start=1))
    return history


def _proposals(spec, history, count=100):
    algorithm = make_algorithm(spec)
    return [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(count)]


def _distance(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def best_after(spec, seed, trials, loss):
    history = run_study(make_planner(spec, seed), trials, loss)
    return history.best(1)[0].objective("loss")


@pytest.mark.parametrize("search_type", ["REGULARIZED_EVOLUTION", "SIMULATED_ANNEALING", "LOCAL_SEARCH"])
def test_better_than_random_where_every_block_adds_its_own(search_type):
    """Additive: each place in the tower has its own value for each block, and the loss is what is missing."""
    extra = {"evolution": {"population_size": 20, "sample_size": 5}} if search_type.startswith("REG") else {}
    wins = 0
    for seed in range(6):
        values = np.random.default_rng(1000 + seed).random((5, len(BLOCKS)))

        def loss(plan, values=values):
            return 5 - sum(values[i, BLOCKS.index(name)] for i, name in enumerate(plan.architecture))

        found = best_after(make_spec(search_type, **FIXED, **extra), seed, 120, loss)
        wins += found < best_after(make_spec("NONADAPTIVE_RANDOM_SEARCH", **FIXED), seed, 120, loss)
    assert wins == 6


def test_the_grid_goes_through_the_towers_in_order():
    spec = make_spec("GRID_SEARCH", blocks_to_use=("LOWRANK_1", "IDENTITY"), maximum_depth=2)
    history = run_study(make_planner(spec), 8, lambda plan: 1.0)
    tried = [history.get(i).plan.architecture for i in range(1, 9)]
    assert tried[:4] == [("LOWRANK_1",), ("IDENTITY",), ("LOWRANK_1",) * 2, ("LOWRANK_1", "IDENTITY")]
    assert tried[6:] == tried[:2]


def test_the_grid_leaves_out_what_is_running():
    history = History("loss", "minimize")
    history.update([running(1, make_plan(1, ("FULLY_CONNECTED",)))])
    (proposal,) = _proposals(make_spec("GRID_SEARCH"), history, count=1)
    assert proposal.architecture == ("FULLY_CONNECTED_PYRAMID",)


def _evolution(population=3, sample=3, **fields):
    sizes = {"population_size": population, "sample_size": sample}
    return make_spec("REGULARIZED_EVOLUTION", evolution=sizes, minimum_depth=3, maximum_depth=3, **fields)


def test_evolution_begins_with_a_random_population_that_counts_the_running():
    history = _history(1.0, 2.0)
    assert {p.parent for p in _proposals(_evolution(), history)} == {None}
    assert all(p.random for p in _proposals(_evolution(), history))
    history.update([running(3)])
    assert {p.parent for p in _proposals(_evolution(), history)} <= {1, 2}


def test_a_tower_dies_of_age():
    history = _history(0.0, 5.0, 4.0, 3.0)
    assert {p.parent for p in _proposals(_evolution(sample=1), history)} == {2, 3, 4}


def test_a_large_tournament_is_won_by_the_best():
    parents = [p.parent for p in _proposals(_evolution(), _history(1.0, 3.0, 2.0))]
    assert parents.count(1) > parents.count(3) > parents.count(2)


def test_a_child_of_one_parent_differs_by_one_change():
    children = [p.architecture for p in _proposals(_evolution(), _history(1.0, 1.0, 1.0))]
    assert {_distance(child, ["IDENTITY"] * 3) for child in children} == {1}


def test_newcomers_come_as_often_as_the_spec_says():
    spec = _evolution(random_architecture_probability=0.3)
    newcomers = [p.parent is None for p in _proposals(spec, _history(1.0, 1.0, 1.0), count=400)]
    assert 0.22 < np.mean(newcomers) < 0.38


def test_crossover_has_blocks_of_two_parents_and_mutation_others():
    parents = [["IDENTITY"] * 3, ["LOWRANK_1"] * 3, ["LOWRANK_1"] * 3]
    history = _history(1.0, 1.0, 1.0, architectures=parents)

    def mixed(**fields):
        spec = _evolution(sample=1, **fields)
        return [set(p.architecture) for p in _proposals(spec, history)]

    crossed = mixed(crossover_probability=1.0)
    assert {"IDENTITY", "LOWRANK_1"} in crossed
    both = [blocks for blocks in crossed if len(blocks & {"IDENTITY", "LOWRANK_1"}) == 2]
    assert sum(len(blocks) > 2 for blocks in both) < sum(
        len(blocks) > 2 for blocks in mixed(crossover_probability=1.0, mutate_probability=1.0)
    )


def test_a_hot_walk_follows_every_step_and_a_cold_one_only_those_for_the_better():
    history = _history(3.0, 1.0, 2.0, 4.0)
    hot, cold = (
        make_spec("SIMULATED_ANNEALING", simulated_annealing={"initial_temperature": t, "cooling": 1.0})
        for t in (1e6, 1e-6)
    )
    assert {p.parent for p in _proposals(hot, history)} == {4}
    assert {p.parent for p in _proposals(cold, history)} == {2}


def test_the_walk_takes_steps_for_the_worse_as_often_as_the_temperature_says():
    algorithm = SimulatedAnnealing(Grammar.of(make_spec()), initial_temperature=1.0, cooling=1.0)
    accepted = []
    for seed in range(400):
        history = History("loss", "minimize")
        history.update(completed(i, loss, make_plan(i, ("IDENTITY",), seed=seed)) for i, loss in ((1, 0.0), (2, 1.0)))
        accepted.append(algorithm.propose(history, np.random.default_rng(0)).parent == 2)
    # The step is two standard deviations of (0, 1) long.
    assert np.mean(accepted) == pytest.approx(np.exp(-2), abs=0.05)


@pytest.mark.parametrize("losses", [(1e-300, 2e-300), (0.0, 5e-324, 1e-310), (1.0, 1.0 + 2**-52, 1.0)])
def test_a_walk_follows_every_step_where_results_differ_by_rounding_only(losses):
    proposals = _proposals(make_spec("SIMULATED_ANNEALING"), _history(*losses))
    assert {proposal.parent for proposal in proposals} == {len(losses)}


def test_local_search_stays_with_the_best_until_all_its_neighbours_were_tried():
    spec = make_spec("LOCAL_SEARCH", blocks_to_use=("LOWRANK_1", "LOWRANK_2"), minimum_depth=3, maximum_depth=3)
    goal = ("LOWRANK_1",) * 3
    planner = make_planner(spec, seed=3)
    history = run_study(planner, 8, lambda plan: float(_distance(plan.architecture, goal)))
    assert len({trial.plan.architecture for trial in history.completed}) >= 7
    found = [history.get(i).plan for i in range(1, 9)]
    # Every child has its parent's blocks but one.
    assert found[0].parent is None
    for plan in found[1:]:
        if plan.parent is not None:
            assert _distance(plan.architecture, history.get(plan.parent).plan.architecture) == 1


def test_local_search_moves_to_what_is_better_and_not_to_what_is_worse():
    history = _history(2.0)
    spec = make_spec("LOCAL_SEARCH", minimum_depth=3, maximum_depth=3)
    child = ("LOWRANK_1", "IDENTITY", "IDENTITY")
    history.update([completed(2, 3.0, make_plan(2, child, parent=1))])
    assert {p.parent for p in _proposals(spec, history)} == {1}
    history.update([completed(3, 1.0, make_plan(3, ("BOTTLENECK_32", "IDENTITY", "IDENTITY"), parent=1))])
    assert {p.parent for p in _proposals(spec, history)} == {3}
    assert child not in {p.architecture for p in _proposals(spec, history)}


def test_parallel_local_searches_try_other_neighbours():
    spec = make_spec("LOCAL_SEARCH", minimum_depth=3, maximum_depth=3)
    history = _history(2.0)
    neighbours = Grammar.of(spec).neighbours(("IDENTITY",) * 3)
    for trial_id in range(2, len(neighbours) + 1):
        (proposal,) = _proposals(spec, history, count=1)
        assert proposal.parent == 1
        history.update([running(trial_id, make_plan(trial_id, proposal.architecture, parent=1))])
    assert {trial.plan.architecture for trial in history.unfinished} < set(neighbours)


def test_a_descent_begins_with_as_many_random_towers_as_the_spec_says():
    spec = make_spec("LOCAL_SEARCH", local_search={"random_starts": 3})
    assert {p.parent for p in _proposals(spec, _history(2.0, 1.0))} == {None}
    assert {p.parent for p in _proposals(spec, _history(2.0, 1.0, 3.0))} == {2}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"search_type": "REGULARIZED_EVOLUTION", "evolution": {"population_size": 5}}, "sample_size is 10"),
        ({"search_type": "SIMULATED_ANNEALING", "simulated_annealing": {"cooling": 2.0}}, "cooling is 2"),
        ({"search_type": "SIMULATED_ANNEALING", "simulated_annealing": {"initial_temperature": 0.0}}, "temperature is"),
        ({"search_type": "LOCAL_SEARCH", "local_search": {"random_starts": 0}}, "random_starts is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(make_spec(**fields))
