"""What versions 4 to 6 of the guided beam add: a process over edit distances, which explores, and early steps."""

import types

import numpy as np
import pytest
from search_factory import completed, failed, make_plan, make_planner, make_spec, rough_loss, run_study

from model_search.search.algorithms.guided_beam import GuidedBeam
from model_search.search.algorithms.portfolio.process_portfolio import PROCESS_FROM, ProcessPortfolio
from model_search.search.algorithms.portfolio_beam import NAME, STALLED, PortfolioBeam
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.robust_beam import RobustBeam
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")


def _spec(version=None, tunes=False, search=NAME, **settings):
    """Towers of six blocks; their hyperparameters have one value only, unless the learning rate is searched."""
    spec = make_spec(search, blocks_to_use=BLOCKS, learning={"optimizers": ["adam"]}, minimum_depth=6, maximum_depth=6)
    spec.learning_spec.learning_rate_range.add(minimum=1e-3, maximum=1e-1 if tunes else 1e-3)
    for name, value in settings.items():
        spec.search_settings.hparam[name].float_value = value
    if version is not None:
        spec.search_settings.hparam["version"].int64_value = version
    return spec


def _history(losses, seed=0):
    """Trials of random towers with these losses; a function gives the loss of a tower."""
    rng, history, count = np.random.default_rng(seed), History("loss", "minimize"), 40
    values = losses if isinstance(losses, list) else [None] * count
    for number, value in enumerate(values, start=1):
        plan = make_plan(number, [BLOCKS[int(rng.integers(4))] for _ in range(6)])
        history.update([completed(number, losses(plan) if value is None else value, plan)])
    return history


def _believing(probability, **settings):
    """An algorithm whose predictor is so sure that no part counts by itself."""
    algorithm = make_algorithm(_spec(**settings))
    algorithm.use(types.SimpleNamespace(of=lambda history: types.SimpleNamespace(whole_share=probability)))
    return algorithm


def test_each_version_is_its_own_class():
    classes = {
        None: ProcessPortfolio,
        6: ProcessPortfolio,
        5: ProcessPortfolio,
        4: ProcessPortfolio,
        3: PortfolioBeam,
        2: RobustBeam,
        1: GuidedBeam,
    }
    assert {version: type(make_algorithm(_spec(version))) for version in classes} == classes


def test_the_share_of_the_process_follows_the_probability_that_no_part_counts():
    history = _history([2.0] * (PROCESS_FROM - 1) + [1.0])  # the last is the best
    shares = [_believing(p, most_process=0.6)._share_of_process(history) for p in (0.0, 0.01, 0.1, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[1] < 0.06
    assert shares[2] == pytest.approx(0.3)
    assert shares[3] > 0.5
    assert _believing(0.1, most_process=0.6, doubt=0.3)._share_of_process(history) == pytest.approx(0.15)


def test_the_predictor_is_not_believed_where_nothing_was_better_for_long():
    shares = [
        _believing(0.001, most_process=0.6)._share_of_process(_history([1.0] + [2.0] * later))
        for later in (PROCESS_FROM, 30, STALLED, 3 * STALLED)
    ]
    assert shares[0] < shares[1] < shares[2] == shares[3] == pytest.approx(0.6)


def test_the_first_trials_are_not_those_of_the_process():
    assert _believing(1.0)._share_of_process(_history([1.0] + [2.0] * (PROCESS_FROM - 3))) == 0
    assert _believing(1.0)._share_of_process(_history([1.0] + [2.0] * (PROCESS_FROM - 2))) > 0
    assert _believing(1.0, most_process=0.0)._share_of_process(_history([1.0] + [2.0] * 90)) == 0


def test_the_process_has_at_most_half_where_hyperparameters_are_searched_too():
    history = _history([1.0] + [2.0] * STALLED)
    assert _believing(1.0, tunes=True, most_process=0.8)._share_of_process(history) == pytest.approx(0.4)


def test_as_many_proposals_are_those_of_the_process_as_its_share_says():
    """Both know the same trials: only the process's proposals are what it proposes by itself."""
    counts = []
    for most in (0.0, 0.5, 1.0):
        algorithm, asked = make_algorithm(_spec(most_process=most)), []
        process = types.SimpleNamespace(propose=lambda *given, asked=asked: asked.append(given))
        algorithm._exploring = lambda history, process=process: process
        for later in range(STALLED, STALLED + 20):
            algorithm.propose(_history([1.0] + [2.0] * later), np.random.default_rng(0))
        counts.append(len(asked))
    assert counts[0] == 0 and 4 <= counts[1] <= 16 and counts[2] == 20


def _explorations(probability=1e9, **settings):
    """How much the process explores at first, halfway to a stall, at it, and long after it."""
    algorithm = _believing(probability, **settings)
    return [
        algorithm._exploring(_history([1.0] + [2.0] * later)).exploration
        for later in (0, STALLED // 2, STALLED, 3 * STALLED)
    ]


def test_the_process_explores_more_where_nothing_was_better_for_long():
    assert _explorations() == pytest.approx([2.0, 4.0, 6.0, 6.0])
    assert _explorations(stalled_exploration=0.5) == pytest.approx([2.0, 2.5, 3.0, 3.0])
    assert _explorations(probability=0.1) == pytest.approx([2.0, 3.0, 4.0, 4.0])  # as likely as `doubt`: half of it
    assert _explorations(probability=0.0) == pytest.approx([2.0] * 4)


def test_in_version_4_the_process_explores_as_much_at_all_times():
    assert _explorations(version=4, stalled_exploration=2.0) == pytest.approx([2.0] * 4)


def test_what_it_proposes_is_less_promising_and_less_known_where_progress_has_stalled():
    value, expected = _by_places(3), []
    history = _history(value, 3)
    for growth in (0.0, 100.0):
        algorithm = _believing(1.0, stalled_exploration=growth)
        algorithm._stalled = lambda history: 1.0
        expected.append(
            np.mean(
                [
                    value(algorithm._exploring(history).propose(history, np.random.default_rng(seed)))
                    for seed in range(12)
                ]
            )
        )
    assert expected[0] + 0.3 < expected[1]  # losses; their standard deviation is 0.7


def _codes(plan):
    return [BLOCKS.index(name) for name in plan.architecture]


def _by_places(seed):
    effects = np.random.default_rng(seed).random((6, 4))
    return lambda plan: 10 - sum(effects[place, code] for place, code in enumerate(_codes(plan)))


def _by_neighbourhoods(seed):
    """The sum of six random functions of four places each: no place counts by itself."""
    tables = np.random.default_rng(seed).standard_normal((6, 4, 4, 4, 4))
    for axis in range(1, 5):
        tables = tables - tables.mean(axis=axis, keepdims=True)
    return lambda plan: 10 - sum(tables[(i, *(_codes(plan) * 2)[i : i + 4])] for i in range(6))


def test_the_trials_say_whether_parts_of_an_architecture_count():
    grammar = make_algorithm(_spec()).grammar
    parts, wholes = (
        [Predictor(_history(kind(seed), seed), grammar, likelihood_rows=64).whole_share for seed in range(6)]
        for kind in (_by_places, _by_neighbourhoods)
    )
    assert np.median(parts) < 0.05
    assert np.median(wholes) > 0.3
    assert all(0 <= probability <= 1 for probability in (*parts, *wholes))


def test_it_is_no_worse_than_the_process_alone_where_much_interacts():
    def best(search, seed):
        planner = make_planner(_spec(search=search), seed, sampler="auto")
        return run_study(planner, 50, rough_loss(BLOCKS, seed)).best(1)[0].objective("loss")

    differences = [best(NAME, seed) - best("GAUSSIAN_PROCESS", seed) for seed in range(6)]
    assert np.mean(differences) < 0.25  # random search is worse by 0.55


def _mostly_failing(trained, failing):
    """So many trained towers, then failed ones, all of them random."""
    rng, history = np.random.default_rng(1), History("loss", "minimize")
    for number in range(1, trained + failing + 1):
        plan = make_plan(number, [BLOCKS[int(rng.integers(4))] for _ in range(6)])
        history.update([completed(number, 1.0, plan) if number <= trained else failed(number, plan)])
    return history


def _edits(one, other):
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize(("trained", "failing", "steps"), [(0, 4, False), (1, 1, False), (1, 2, True), (4, 5, True)])
def test_where_most_towers_fail_the_first_that_were_trained_are_followed(trained, failing, steps):
    history = _mostly_failing(trained, failing)
    known = {trial.id: trial.plan.architecture for trial in history.completed}
    for seed in range(10):
        proposal = make_algorithm(_spec()).propose(history, np.random.default_rng(seed))
        assert (proposal.parent is not None) == steps
        assert not steps or _edits(proposal.architecture, known[proposal.parent]) == 1
        earlier = make_algorithm(_spec(version=5)).propose(history, np.random.default_rng(seed))
        assert (earlier.parent, earlier.random) == (None, True)


def test_a_tower_that_cannot_be_trained_is_not_tried_as_a_step():
    history = _mostly_failing(1, 2)
    start = history.completed[0].plan.architecture
    grammar = make_algorithm(_spec()).grammar
    beside = grammar.neighbours(start)
    history.update(failed(4 + place, make_plan(4 + place, tower)) for place, tower in enumerate(beside[:-1]))
    proposals = [make_algorithm(_spec()).propose(history, np.random.default_rng(seed)) for seed in range(5)]
    assert {proposal.architecture for proposal in proposals} == {beside[-1]}
