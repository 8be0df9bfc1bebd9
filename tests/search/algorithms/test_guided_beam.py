import numpy as np
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.metadata.trial import EnsemblePlan, StartKind, TrialKind, TrialPlan, WarmStart
from model_search.search.algorithms.guided_beam import WARM_UP, GuidedBeam
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.planning.fidelity_views import Survivors
from model_search.search.predictor.predictor import Memory
from model_search.search.predictor.recommend import recommend
from model_search.search.space.grammar import Grammar
from model_search.testing.algorithm_contract import AlgorithmContract

NAME = "PREDICTOR_GUIDED_BEAM"
BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "BOTTLENECK_64", "LOWRANK_1", "LOWRANK_2", "LOWRANK_3")


class TestGuidedBeam(AlgorithmContract):
    search_type = "PREDICTOR_GUIDED_BEAM"
    reachable = 2 + 4


def _fixed_spec(search_type=NAME, depth=5, **fields):
    """Towers of one length whose hyperparameters have one value only, so that nothing is tried again."""
    learning = {"optimizers": ["adam"]}
    spec = make_spec(
        search_type, blocks_to_use=BLOCKS, minimum_depth=depth, maximum_depth=depth, learning=learning, **fields
    )
    spec.learning_spec.learning_rate_range.add(minimum=1e-3, maximum=1e-3)
    return spec


def _additive(seed):
    """The loss of a world in which each place has its own value for each block."""
    values = np.random.default_rng(seed).random((5, len(BLOCKS)))
    return lambda plan: 5 - sum(values[i, BLOCKS.index(name)] for i, name in enumerate(plan.architecture))


def test_it_is_what_a_spec_gets_that_names_no_search():
    assert isinstance(make_algorithm(make_spec("UNKNOWN_SEARCH_TYPE", "UNKNOWN_PROBLEM_TYPE")), GuidedBeam)


def _best_losses(search_type, seeds, trials, **fields):
    for seed in seeds:
        loss = _additive(1000 + seed)
        history = run_study(make_planner(_fixed_spec(search_type, beam_size=3, **fields), seed), trials, loss)
        yield history.best(1)[0].objective("loss")


def test_it_beats_the_plain_beam_where_places_count():
    guided = np.array(list(_best_losses(NAME, range(8), 32)))
    plain = np.array(list(_best_losses("ADAPTIVE_COORDINATE_DESCENT", range(8), 32)))
    assert (guided <= plain).sum() >= 7
    assert guided.mean() < plain.mean() - 0.1


def test_it_is_no_worse_than_the_plain_beam_where_nothing_can_be_learnt():
    """Losses by chance: what is found is the luck of the number of trials, the same for both."""

    def best(search_type, seed):
        def loss(plan):
            return float(np.random.default_rng(plan.seed).random())

        return run_study(make_planner(_fixed_spec(search_type), seed), 30, loss).best(1)[0].objective("loss")

    guided = [best(NAME, seed) for seed in range(3)]
    assert np.mean(guided) < 0.1


def test_the_first_trials_are_random():
    algorithm = make_algorithm(_fixed_spec())
    history = History("loss", "minimize")
    history.update(completed(i, float(i), make_plan(i, ["IDENTITY"] * 5)) for i in range(1, WARM_UP))
    proposals = [algorithm.propose(history, np.random.default_rng(seed)) for seed in range(20)]
    assert {proposal.parent for proposal in proposals} == {None}
    assert len({proposal.architecture for proposal in proposals}) == 20


def test_what_is_running_is_not_proposed_again_and_workers_get_different_proposals():
    spec = _fixed_spec()
    loss = _additive(3)
    planner = make_planner(spec)
    history = run_study(planner, 20, loss)
    for trial_id in range(21, 29):
        history.update([running(trial_id, planner.plan(trial_id, history))])
    assert len({trial.plan.architecture for trial in history.unfinished}) == 8


def test_new_results_change_what_is_proposed():
    """The fitted predictor is kept between the draws of a trial, and only then."""
    algorithm = make_algorithm(_fixed_spec())
    history = run_study(make_planner(_fixed_spec()), 20, _additive(3))
    before = algorithm.propose(history, np.random.default_rng(0))
    usual = history.best(1)[0].plan.hyperparameters
    better = ("LOWRANK_1",) * 5
    history.update([completed(21, -100.0, make_plan(21, better, hyperparameters=usual))])
    after = algorithm.propose(history, np.random.default_rng(0))
    assert before != after
    assert sum(name == "LOWRANK_1" for name in after.architecture) >= 3


def _deepest_proposals(counts, **fields):
    """The greatest depth proposed after so many trials, in a world where deeper is better."""
    algorithm = make_algorithm(make_spec(NAME, beam_size=3, maximum_depth=6, **fields))
    for count in counts:
        history = History("loss", "minimize")
        depths = [min(1 + i // 2, 6) for i in range(count)]
        history.update(
            completed(i, 10.0 - depth, make_plan(i, ["FULLY_CONNECTED"] * depth))
            for i, depth in enumerate(depths, start=1)
        )
        yield max(len(algorithm.propose(history, np.random.default_rng(seed)).architecture) for seed in range(20))


def test_a_depth_opens_every_two_trials():
    assert list(_deepest_proposals([1, 2, 4, 6, 8, 10, 30])) == [1, 2, 3, 4, 5, 6, 6]


def test_depth_opens_as_the_spec_says():
    assert list(_deepest_proposals([9, 20, 30], increase_complexity_minimum_trials=[0, 0, 0, 0, 10, 30])) == [4, 5, 6]


def test_ensembles_teach_the_predictor_nothing():
    algorithm = make_algorithm(_fixed_spec())
    history = run_study(make_planner(_fixed_spec()), 12, _additive(3))
    before = algorithm.propose(history, np.random.default_rng(0))
    plan = TrialPlan(13, TrialKind.ENSEMBLE, (), {}, 0, 8, 1, "key", members=(1, 2), ensemble=EnsemblePlan("average"))
    history.update([completed(13, -1.0, plan)])
    assert algorithm.propose(history, np.random.default_rng(0)).architecture == before.architecture


def _grammar():
    return Grammar.of(_fixed_spec())


def test_nothing_is_recommended_of_nothing_and_the_best_of_a_few():
    history = History("loss", "minimize")
    assert recommend(history, _grammar()) is None
    history.update(completed(i, 10.0 - i, make_plan(i, ["IDENTITY"] * 5)) for i in range(1, 4))
    assert recommend(history, _grammar()).id == 3


def test_recommendation_sees_through_noise():
    """The recommended trials are on average better than those with the best of noisy results.

    In most studies they are the same ones, so that it takes many to see it.
    """
    gains = []
    for seed in range(60):
        clean, rng = _additive(seed), np.random.default_rng([seed, 1])
        plans = [make_plan(i, rng.choice(BLOCKS, 5)) for i in range(1, 101)]
        losses = [clean(plan) + 0.2 * rng.standard_normal() for plan in plans]
        found = {}
        for goal, sign in (("minimize", 1), ("maximize", -1))[: 2 if seed < 5 else 1]:
            history = History("loss", goal)
            history.update(completed(i, sign * losses[i - 1], plans[i - 1]) for i in range(1, 101))
            found[goal] = recommend(history, _grammar())
        assert len({trial.id for trial in found.values()}) == 1
        gains.append(clean(plans[int(np.argmin(losses))]) - clean(found["minimize"].plan))
    assert np.mean(gains) > 0.02


def test_an_ensemble_is_not_recommended():
    history = run_study(make_planner(_fixed_spec()), 12, _additive(3))
    plan = TrialPlan(13, TrialKind.ENSEMBLE, (), {}, 0, 8, 1, "key", members=(1, 2), ensemble=EnsemblePlan("average"))
    history.update([completed(13, -1.0, plan)])
    assert recommend(history, _grammar()).id != 13


def test_it_knows_how_many_hyperparameters_there_are():
    learning = {"optimizers": ["adam", "momentum"], "apply_momentum": True}
    assert make_algorithm(make_spec(NAME)).repeats == 3 * 10
    assert make_algorithm(make_spec(NAME, learning={"optimizers": ["adam"]})).repeats == 10
    assert make_algorithm(make_spec(NAME, learning=learning)).repeats == 10 + 10 * 10


def test_the_tower_of_a_cnn_with_its_flatten_block_is_not_too_deep():
    planner = make_planner(make_spec(NAME, "CNN", maximum_depth=4))
    history = run_study(planner, 40, lambda plan: -float(len(plan.architecture)))
    assert max(len(trial.plan.architecture) for trial in history.completed) == 4


def test_a_promotion_that_takes_the_place_of_its_trial_is_noticed():
    """Neither the number of completed trials nor what runs has changed then."""
    made = []
    memory = Memory()
    history = Survivors("loss", "minimize", top=1)
    history.update([completed(1, 0.5, make_plan(1, rung=0)), completed(2, 0.4, make_plan(2, rung=0))])
    memory.recall(history, lambda: made.append(1))
    memory.recall(history, lambda: made.append(1))
    history.update([completed(3, 0.3, make_plan(3, rung=1, start=WarmStart(StartKind.CONTINUE, (2,)), first_step=1))])
    memory.recall(history, lambda: made.append(1))
    assert history.completed_count == 2 and len(made) == 2
