import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import UserError
from model_search.metadata.trial import TrialPlan
from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule
from model_search.report.summaries import baseline, baseline_in_words
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.planning.random_baseline import expected_best, random_baseline, sampled_steps

VALUES = [3.0, 1.0, 4.0, 1.5, 9.0]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.integers(1, 6))
def test_the_expected_best_is_the_mean_over_all_draws(values, draws):
    rng = np.random.default_rng(0)
    drawn = np.array(values)[rng.integers(len(values), size=(20_000, draws))].max(axis=1)
    tolerance = 0.05 * (max(values) - min(values)) + 1e-9
    assert expected_best(values, draws) == pytest.approx(drawn.mean(), abs=tolerance)


def test_one_draw_is_the_mean_and_many_are_the_best():
    assert expected_best(VALUES, 1) == pytest.approx(np.mean(VALUES))
    assert expected_best(VALUES, 1000) == pytest.approx(9.0)


def _study(values, goal, others=()):
    history = History("loss", goal)
    plans = [make_plan(i, random=True) for i in range(1, len(values) + 1)]
    history.update(completed(plan.trial_id, value, plan) for plan, value in zip(plans, values, strict=True))
    history.update(completed(100 + i, value) for i, value in enumerate(others))
    return history


@pytest.mark.parametrize("budget", [1, 3, 5])
def test_the_baseline_knows_the_goal_and_the_random_trials_alone(budget):
    up = random_baseline(_study(VALUES, "maximize", others=[100.0]), budget)
    down = random_baseline(_study([-value for value in VALUES], "minimize", others=[-100.0]), budget)
    assert up.expected == pytest.approx(expected_best(VALUES, budget))
    assert (down.expected, down.at_most) == pytest.approx((-up.expected, -up.at_most))
    assert up.trials == 5 and up.is_certain


def test_beyond_the_sample_the_truth_is_in_between():
    rng = np.random.default_rng(0)
    truth = np.mean([rng.normal(size=200).max() for _ in range(500)])
    found = [random_baseline(_study(rng.normal(size=20).tolist(), "maximize"), 200) for _ in range(50)]
    assert not any(baseline.is_certain for baseline in found)
    assert np.mean([baseline.expected for baseline in found]) < truth
    assert np.mean([baseline.at_most for baseline in found]) == pytest.approx(truth, abs=0.3)


def test_one_that_went_astray_does_not_make_the_rest_look_better():
    values = np.random.default_rng(0).normal(1.0, 0.1, size=20).tolist()
    calm, astray = (random_baseline(_study(found, "minimize"), 500) for found in (values, [*values, 1e6]))
    assert astray.at_most == pytest.approx(calm.at_most, abs=0.05)
    same = random_baseline(_study([0.5, 0.5, 0.5, 9.0], "minimize"), 500)
    assert (same.expected, same.at_most) == (0.5, 0.5)


def test_too_few_random_trials_say_nothing():
    assert random_baseline(_study([1.0], "minimize", others=VALUES), 10) is None
    with pytest.raises(UserError, match="the budget is 0"):
        random_baseline(_study(VALUES, "minimize"), 0)


def _random_trials(history):
    return [trial.id for trial in history.completed if trial.plan.random]


@pytest.mark.parametrize("sampler", ["random", "bayesian"])
def test_as_many_trials_are_random_as_the_spec_says_and_the_search_learns_from_them(sampler):
    spec = make_spec("ADAPTIVE_COORDINATE_DESCENT", random_baseline_share=0.25)
    history = run_study(make_planner(spec, sampler=sampler), 80, lambda plan: float(plan.trial_id))
    held_out = _random_trials(history)
    assert 10 <= len(held_out) <= 32
    assert {len(history.get(number).plan.architecture) for number in held_out} == {1, 2, 3, 4}
    assert {history.get(number).plan.parent for number in held_out} == {None}


def test_without_a_share_there_are_none():
    history = run_study(make_planner(make_spec("ADAPTIVE_COORDINATE_DESCENT")), 30, lambda plan: 1.0)
    assert _random_trials(history) == []


def test_which_trials_are_random_does_not_depend_on_the_history():
    planner = make_planner(make_spec(random_baseline_share=0.3), seed=5)
    empty, full = History("loss", "minimize"), History("loss", "minimize")
    full.update([running(i) for i in range(1, 50)])
    for trial_id in range(50, 90):
        plans = [planner.plan(trial_id, history, attempt) for history in (empty, full) for attempt in (0, 1)]
        assert len({plan.random for plan in plans}) == 1


def test_the_first_random_trials_of_towers_of_one_length_count():
    fields = {"minimum_depth": 3, "maximum_depth": 3, "evolution": {"population_size": 10, "sample_size": 5}}
    for sampler, expected in (("random", list(range(1, 11))), ("bayesian", [])):
        planner = make_planner(make_spec("REGULARIZED_EVOLUTION", **fields), sampler=sampler)
        assert sorted(_random_trials(run_study(planner, 20, lambda plan: 1.0))) == expected


def _default(**fields):
    return make_spec("PREDICTOR_GUIDED_BEAM", **fields)


def _ids_of_random(spec, count, **settings):
    planner = Planner(spec, PlannerSettings(3, 1000, 32, "random", **settings), "loss", "minimize")
    return sorted(_random_trials(run_study(planner, count, lambda plan: float(plan.trial_id % 7))))


def test_the_default_search_has_three_random_trials_of_forty():
    assert _ids_of_random(_default(), 40, number_models=40) == [12, 24, 36]


def test_small_studies_other_searches_and_a_share_of_zero_have_none():
    assert _ids_of_random(_default(), 40, number_models=39) == []
    assert _ids_of_random(_default(random_baseline_share=0.0), 40) == []
    assert _ids_of_random(make_spec("REGULARIZED_EVOLUTION"), 40) == []
    earlier = _default()
    earlier.search_settings.hparam["version"].int64_value = 1
    assert _ids_of_random(earlier, 40) == []


def test_a_random_trial_is_made_up_for_where_another_rule_takes_its_turn():
    """Every fourth trial is an ensemble, and so trial 12, 24 and 36."""
    spec = _default()
    spec.ensemble_spec.ensemble_search_type = 4
    spec.ensemble_spec.intermixed_search.try_ensembling_every = 4
    assert _ids_of_random(spec, 40) == [13, 25, 37]


def test_a_study_that_had_no_random_trials_gets_them_one_at_a_time():
    history = History("loss", "minimize")
    history.update(completed(i, float(i), make_plan(i, ["FULLY_CONNECTED"] * (1 + i % 4))) for i in range(1, 301))
    planner = Planner(_default(), PlannerSettings(3, 1000, 32, "random"), "loss", "minimize")
    assert planner.plan(301, history).random
    history.update([completed(301, 1.0, planner.plan(301, history))])
    assert not planner.plan(302, history).random


def test_a_random_trial_begins_no_descent():
    spec = make_spec("LOCAL_SEARCH", minimum_depth=3, maximum_depth=3, random_baseline_share=0.3)
    history = run_study(make_planner(spec), 12, lambda plan: float(plan.trial_id))
    parents = [history.get(i).plan for i in range(2, 13)]
    assert {plan.parent for plan in parents if not plan.random} == {1 if not history.get(1).plan.random else None, 1}
    assert any(plan.random for plan in parents)


def test_the_mark_is_kept():
    plan = make_plan(1, random=True)
    assert TrialPlan.from_json(plan.to_json()) == plan


SCHEDULED = {"evaluation_schedule": EvaluationSchedule(kind=EvaluationSchedule.ASHA, minimum_share=0.1)}


def test_with_a_schedule_the_searchs_own_random_trials_begin_short_and_may_be_promoted():
    planner = Planner(_default(**SCHEDULED), PlannerSettings(3, 900, 32, "random"), "loss", "minimize")
    history = run_study(planner, 60, lambda plan: 0.0 if plan.trial_id in (12, 24) else 1.0 + plan.trial_id)
    plans = {trial.id: trial.plan for trial in history.completed}
    random = sorted(_random_trials(history))
    assert random[:3] == [12, 24, 36]
    assert all(not plans[number].is_in_full and plans[number].first_step == 0 for number in random)
    promoted = [plan for plan in plans.values() if plan.is_promotion]
    assert {12, 24} <= {plan.warm_start for plan in promoted} and not any(plan.random for plan in promoted)


def test_what_is_asked_for_is_trained_in_full_whatever_the_schedule():
    planner = make_planner(_default(random_baseline_share=1.0, **SCHEDULED))
    plan = planner.plan(1, History("loss", "minimize"), 0)
    assert plan.random and plan.is_in_full


def _short(number, value, random=False, steps=100):
    return completed(number, value, make_plan(number, random=random, steps=steps, total_steps=900))


def test_short_random_trials_are_compared_with_short_trainings():
    history = History("loss", "minimize")
    history.update([_short(number, value, True) for number, value in ((1, 5.0), (2, 4.0), (3, 3.0))])
    history.update([_short(4, 2.0), completed(5, 0.1, make_plan(5, steps=900))])
    assert sampled_steps(history) == 100
    found = baseline(history)
    assert (found.steps, found.trials, found.budget) == (100, 3, 13)
    assert found.expected == pytest.approx(random_baseline(history, 13, 100).expected)
    said = " ".join(baseline_in_words(history, found))
    assert "13 trials of 100 steps each" in said and "has 2 after 100 steps" in said and "0.1" not in said
    history.update([completed(number, 3.0, make_plan(number, random=True, steps=900)) for number in (6, 7)])
    assert sampled_steps(history) is None and baseline(history).trials == 2
