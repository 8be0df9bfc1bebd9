import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import SpecError
from model_search.search.algorithms.gaussian_process import _expected_improvement, _Process
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")
NUMBERS = {name: number for number, name in enumerate(BLOCKS)}


def _towers(count, length, seed=0):
    rng = np.random.default_rng(seed)
    drawn = {tuple(BLOCKS[i] for i in rng.integers(len(BLOCKS), size=length)) for _ in range(4 * count)}
    return sorted(drawn)[:count]


def _value(tower):
    return float(sum(name == "LOWRANK_1" for name in tower))


@pytest.mark.parametrize("is_fixed", [True, False])
def test_the_process_predicts_what_it_has_not_seen(is_fixed):
    towers = _towers(80, 5)
    known, unknown = towers[::2], towers[1::2]
    values = np.array([_value(tower) for tower in known]) - 1
    mean, deviation = _Process.fit(known, values, NUMBERS, is_fixed=is_fixed).predict(unknown)
    assert np.corrcoef(mean, [_value(tower) for tower in unknown])[0, 1] > (0.8 if is_fixed else 0.5)
    assert (deviation > 0).all()


def test_noise_is_told_from_differences():
    towers = _towers(60, 5)
    rng = np.random.default_rng(0)
    smooth = np.array([_value(tower) for tower in towers])
    plain = _Process.fit(towers, smooth - smooth.mean(), NUMBERS, is_fixed=True)
    noisy = _Process.fit(towers, rng.normal(size=len(towers)), NUMBERS, is_fixed=True)
    assert noisy.noise > plain.noise


def test_where_it_knows_it_is_sure():
    towers = _towers(30, 5)
    process = _Process.fit(towers[:20], np.array([_value(t) for t in towers[:20]]) - 1, NUMBERS, is_fixed=True)
    assert process.predict(towers[:20])[1].max() < process.predict(towers[20:])[1].min()


def test_what_is_running_is_believed_to_bring_what_is_expected():
    towers = _towers(30, 5)
    process = _Process.fit(towers[:20], np.array([_value(t) for t in towers[:20]]) - 1, NUMBERS, is_fixed=True)
    believing = process.believe(towers[20:21])
    before, after = process.predict(towers[20:]), believing.predict(towers[20:])
    assert after[0] == pytest.approx(before[0], abs=0.15)
    assert after[1][0] < before[1][0]


def test_expected_improvement_is_the_integral():
    mean, deviation = np.array([0.0, 1.0, -1.0]), np.array([1.0, 0.5, 0.0])
    draws = mean[:, None] + deviation[:, None] * np.random.default_rng(0).standard_normal((3, 200_000))
    improvement = np.maximum(0.2 - draws, 0).mean(axis=1)
    assert _expected_improvement(0.2, mean, deviation) == pytest.approx(improvement, abs=5e-3)


def _study(trials=40, **fields):
    spec = make_spec("GAUSSIAN_PROCESS", blocks_to_use=BLOCKS, minimum_depth=5, maximum_depth=5, **fields)
    return spec, run_study(make_planner(spec), trials, lambda plan: -_value(plan.architecture))


@pytest.mark.parametrize("acquisition", ["UPPER_CONFIDENCE_BOUND", "EXPECTED_IMPROVEMENT"])
def test_the_best_of_1024_towers_is_found_in_forty(acquisition):
    spec = make_spec("GAUSSIAN_PROCESS").gaussian_process
    settings = {"acquisition": type(spec).Acquisition.Value(acquisition)}
    _, history = _study(gaussian_process=settings)
    assert history.best(1)[0].objective("loss") == -5


def test_a_diverged_trial_does_not_spoil_the_rest():
    spec, history = _study(trials=20)
    history.update([completed(21, 1e30, make_plan(21, ("IDENTITY",) * 5))])
    later = run_study(make_planner(spec), 15, lambda plan: -_value(plan.architecture), history)
    assert later.best(1)[0].objective("loss") == -5


def test_nothing_tried_or_running_is_proposed_while_there_is_something_else():
    spec, history = _study()
    algorithm = make_algorithm(spec)
    seen = {trial.plan.architecture for trial in history.completed}
    for trial_id in range(41, 61):
        proposal = algorithm.propose(history, np.random.default_rng(trial_id))
        assert proposal.architecture not in seen
        seen.add(proposal.architecture)
        history.update([running(trial_id, make_plan(trial_id, proposal.architecture, parent=proposal.parent))])


def test_more_exploration_goes_further_away():
    _, history = _study(trials=30)
    distance = {}
    for exploration in (0.0, 10.0):
        spec, _ = _study(trials=1, gaussian_process={"exploration": exploration})
        found = [make_algorithm(spec).propose(history, np.random.default_rng(seed)).architecture for seed in range(20)]
        distance[exploration] = np.mean([5 - _value(tower) for tower in found])
    assert distance[0.0] < distance[10.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"exploration": -1.0}, "exploration is -1"), ({"trials_before_fit": 1}, "trials_before_fit is 1")],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(make_spec("GAUSSIAN_PROCESS", gaussian_process=settings))


def test_no_history_gives_random_towers():
    proposals = [
        make_algorithm(make_spec("GAUSSIAN_PROCESS")).propose(History("loss", "minimize"), np.random.default_rng(seed))
        for seed in range(20)
    ]
    assert {proposal.parent for proposal in proposals} == {None}


def test_all_draws_of_a_trial_share_one_process_and_propose_what_each_would_by_itself(monkeypatch):
    spec = make_spec("GAUSSIAN_PROCESS", blocks_to_use=BLOCKS, minimum_depth=5, maximum_depth=5)
    history = run_study(
        make_planner(spec), 16, lambda plan: None if plan.trial_id % 4 == 0 else _value(plan.architecture)
    )
    fitted, fit = [], _Process.fit.__func__
    monkeypatch.setattr(_Process, "fit", classmethod(lambda *given, **more: fitted.append(1) or fit(*given, **more)))
    kept = make_algorithm(spec)
    for number, changed in enumerate([completed, running, running, completed], start=17):
        seeds = range(4)
        shared = [kept.propose(history, np.random.default_rng(seed)) for seed in seeds]
        assert len(fitted) == 1
        assert shared == [make_algorithm(spec).propose(history, np.random.default_rng(seed)) for seed in seeds]
        plan = make_plan(number, shared[0].architecture)
        history.update([running(number, plan) if changed is running else completed(number, 2.0, plan)])
        fitted.clear()
