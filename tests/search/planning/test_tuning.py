"""The last trials of a study: other hyperparameters for the best architectures."""

import collections
import dataclasses

import pytest
from search_factory import completed, make_plan, make_spec, make_trial, run_study

from model_search.errors import SpecError
from model_search.metadata.trial import StartKind, TrialKind, TrialState, WarmStart
from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule as Settings
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.planning.tuning import Tuning
from model_search.search.predictor.recommend import recommend
from model_search.search.space.grammar import Grammar


def tuning_planner(number_models, trials, architectures=3, spec=None):
    spec = spec or make_spec("NONADAPTIVE_RANDOM_SEARCH")
    spec.tuning.trials = trials
    spec.tuning.architectures = architectures
    settings = PlannerSettings(seed=0, train_steps=90, batch_size=32, number_models=number_models)
    return Planner(spec, settings, "loss", "minimize")


def loss_of(plan):
    """The architecture first, then a learning rate near 0.002."""
    return sum(map(len, plan.architecture)) + abs(plan.hyperparameters["learning_rate"] - 0.002)


def kinds(history):
    return [history.get(number).plan.kind for number in range(1, len(history) + 1)]


def test_the_last_trials_tune_the_best_architectures_by_turns():
    history = run_study(tuning_planner(20, 6, 2), 20, loss_of)
    assert kinds(history) == [TrialKind.SEARCH] * 14 + [TrialKind.TUNING] * 6
    searched = sorted((history.get(number) for number in range(1, 15)), key=lambda trial: trial.objective("loss"))
    best = list(dict.fromkeys(trial.plan.architecture for trial in searched))[:2]
    tuned = [history.get(number).plan for number in range(15, 21)]
    assert collections.Counter(plan.architecture for plan in tuned) == {best[0]: 3, best[1]: 3}
    assert all(plan.steps == 90 and history.get(plan.parent).plan.architecture == plan.architecture for plan in tuned)
    assert len({trial.plan.key for trial in history.trials}) == 20


def test_a_study_that_goes_on_searches_again_before_it_tunes():
    history = run_study(tuning_planner(10, 3), 10, loss_of)
    history = run_study(tuning_planner(20, 3), 10, loss_of, history)
    searched, tuned = TrialKind.SEARCH, TrialKind.TUNING
    assert kinds(history) == [searched] * 7 + [tuned] * 3 + [searched] * 10
    assert run_study(tuning_planner(22, 3), 2, loss_of, history).get(21).plan.kind == searched


def test_a_failed_search_trial_is_made_up_for():
    planner, history = tuning_planner(6, 2), History("loss", "minimize")
    for number in range(1, 8):
        plan = planner.plan(number, history)
        failed = number == 2
        history.update([make_trial(number, TrialState.FAILED, plan) if failed else completed(number, 1.0, plan)])
    assert kinds(history) == [TrialKind.SEARCH] * 5 + [TrialKind.TUNING] * 2


def test_trials_of_other_workers_count_even_before_they_have_a_plan():
    planner, history = tuning_planner(4, 1), History("loss", "minimize")
    history.update([completed(1, 1.0, planner.plan(1, history)), make_trial(2, TrialState.CLAIMED)])
    assert planner.plan(3, history).kind == TrialKind.SEARCH
    history.update([make_trial(3, TrialState.CLAIMED)])
    assert planner.plan(4, history).kind == TrialKind.TUNING


def test_without_anything_to_tune_the_search_goes_on():
    planner, history = tuning_planner(2, 5), History("loss", "minimize")
    assert planner.plan(1, history).kind == TrialKind.SEARCH
    assert tuning_planner(None, 5).plan(9, history).kind == TrialKind.SEARCH


def test_what_is_tuned_after_a_schedule_is_trained_in_full():
    spec = make_spec("NONADAPTIVE_RANDOM_SEARCH")
    spec.evaluation_schedule.kind = Settings.ASHA
    history = run_study(tuning_planner(40, 10, 1, spec), 40, loss_of)
    tuned = [history.get(number).plan for number in range(31, 41)]
    assert {(plan.kind, plan.steps, plan.first_step) for plan in tuned} == {(TrialKind.TUNING, 90, 0)}
    (architecture,) = {plan.architecture for plan in tuned}
    top = [trial for trial in history.completed if trial.plan.rung == 2 and trial.plan.kind == TrialKind.SEARCH]
    assert architecture == top[0].plan.architecture


def test_the_sampler_knows_the_trials_of_the_architecture_alone():
    history = History("loss", "minimize")
    for number, architecture in enumerate((["LOWRANK_1"], ["IDENTITY"], ["LOWRANK_1"]), start=1):
        history.update([completed(number, number / 10, make_plan(number, architecture))])
    short = make_plan(4, ["LOWRANK_1"], rung=1, first_step=5, start=WarmStart(StartKind.CONTINUE, (1,)), total_steps=20)
    history.update([completed(4, 0.05, short)])
    task = Tuning(1, 1, tuple).assign(5, history, history)
    assert task.best.id == 4 and [trial.id for trial in task.history.completed] == [1, 3]


def test_tuning_finds_better_hyperparameters():
    history = run_study(tuning_planner(60, 40, 1), 60, loss_of)
    searched, tuned = (
        [t for t in history.completed if (t.plan.kind == TrialKind.TUNING) is on] for on in (False, True)
    )
    assert tuned[0].objective("loss") < searched[0].objective("loss")


@pytest.mark.parametrize("wrong", [{"trials": -1}, {"architectures": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SpecError, match="tuning"):
        Tuning(**({"trials": 1, "architectures": 1} | wrong), canonical=tuple)


def test_a_tuned_trial_can_be_recommended():
    history = run_study(tuning_planner(20, 6, 2), 14, loss_of)
    best = history.best(1)[0].plan
    tuned = make_plan(15, best.architecture, hyperparameters=dict(best.hyperparameters))
    history.update([completed(15, -10.0, dataclasses.replace(tuned, kind=TrialKind.TUNING))])
    assert recommend(history, Grammar.of(make_spec())).id == 15
