"""What every evaluation schedule keeps to, and what each of them does."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from search_factory import make_plan, make_spec, make_trial, run_study

from model_search.errors import SpecError
from model_search.metadata.trial import StartKind, TrialKind, TrialResult, TrialState, WarmStart
from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule as Settings
from model_search.ranking import as_ranking
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.planning.evaluation_schedule import Cell, Rung, SuccessiveHalving, make_rungs
from model_search.search.planning.fidelity_views import View, Views
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.predictor.predictor import Predictor
from model_search.search.space.grammar import Grammar
from model_search.spec.schedules import SCHEDULES, schedule_name

STEPS = 900
KINDS = sorted(set(SCHEDULES) - {"FULL"})


def scheduled(kind, eta=3, share=0.1, **fields):
    spec = make_spec(beam_size=3, **fields)
    if kind in Settings.Kind.DESCRIPTOR.values_by_name:
        spec.evaluation_schedule.kind = Settings.Kind.Value(kind)
    else:
        spec.evaluation_schedule.schedule = kind
    spec.evaluation_schedule.reduction_factor = eta
    spec.evaluation_schedule.minimum_share = share
    return spec


def planner_of(spec, **settings):
    return Planner(spec, PlannerSettings(seed=0, train_steps=STEPS, batch_size=32, **settings), "loss", "minimize")


def loss_of(plan):
    """Better with every step; what an architecture is worth shows at once."""
    return float(np.random.default_rng(plan.seed).random()) + 100 / plan.steps


def short(trial_id, loss, steps=100, **changes):
    """A completed trial of a rung of `steps` steps."""
    plan = make_plan(trial_id, steps=steps, total_steps=STEPS)
    result = TrialResult({"loss": loss}, 1, steps, {}, **changes)
    return dataclasses.replace(make_trial(trial_id, TrialState.COMPLETED, plan), result=result)


def cell_of(*trials):
    cell = Cell(as_ranking("loss", "minimize"))
    for trial in trials:
        cell.add(trial)
    return cell


def test_only_an_earlier_shorter_trial_that_has_a_metric_and_ran_to_its_end_is_continued():
    good = short(3, 0.5)
    assert cell_of(good, short(9, 0.1)).next_of_best(2, 8, 300) is good  # the better one has a larger number
    assert cell_of(good, short(2, 0.1, steps=300)).next_of_best(2, 8, 300) is good
    assert cell_of(good, short(2, 0.1, stopped_at=50)).next_of_best(2, 8, 300) is good
    assert cell_of(good).next_of_best(1, 8, 300) is good
    without = make_trial(2, TrialState.COMPLETED, make_plan(2, steps=100, total_steps=STEPS), accuracy=0.5)
    assert cell_of(without).next_of_best(1, 8, 300) is None
    assert cell_of(without).completed == 0
    promoted = cell_of(good, short(4, 0.6))
    promoted.promote(3)
    assert promoted.next_of_best(2, 8, 300).id == 4
    assert promoted.next_of_best(1, 8, 300) is None


class ParallelStudy:
    """Several workers on one study: trials begin and end in any order."""

    def __init__(self, spec):
        self.spec = spec
        self.planner = planner_of(spec)
        self.history = History("loss", "minimize")
        self.running = {}
        self.all = {}

    def begin(self):
        trial_id = len(self.all) + 1
        plan = self.planner.plan(trial_id, self.history)
        self._check(plan)
        self.running[trial_id] = plan
        self._put(make_trial(trial_id, TrialState.RUNNING, plan))
        return plan

    def end(self, which, how):
        trial_id = sorted(self.running)[which % len(self.running)]
        plan = self.running.pop(trial_id)
        if how == "failed":
            self._put(make_trial(trial_id, TrialState.FAILED, plan))
            return
        result = TrialResult({"loss": loss_of(plan)}, 1, 1, {}, stopped_at=1 if how == "stopped" else None)
        self._put(dataclasses.replace(make_trial(trial_id, TrialState.FAILED, plan), state="completed", result=result))

    def _put(self, trial):
        trial = dataclasses.replace(trial, state=TrialState(trial.state))
        self.all[trial.id] = trial
        self.history.update([trial])

    def plans(self):
        return [trial.plan for trial in self.all.values()]

    def in_rung(self, rung, bracket, *states):
        trials = [t for t in self.all.values() if (t.plan.rung, t.plan.bracket) == (rung, bracket)]
        return [t for t in trials if not states or t.state in states]

    def _check(self, plan):
        """A promoted trial is among the best 1/eta of its rung, continues itself, and does so for the first time."""
        assert plan.key not in {other.key for other in self.plans()}
        if not plan.is_promotion:
            assert plan.first_step == 0 and plan.warm_start is None
            return
        before = self.all[plan.warm_start]
        assert before.state is TrialState.COMPLETED and before.result.stopped_at is None
        assert plan.warm_start not in [other.warm_start for other in self.plans()]
        assert (plan.rung, plan.bracket) == (before.plan.rung + 1, before.plan.bracket)
        assert (plan.first_step, plan.parent) == (before.plan.steps, before.id) and plan.steps > before.plan.steps
        for same in ("architecture", "hyperparameters", "batch_size", "seed"):
            assert getattr(plan, same) == getattr(before.plan, same)
        eta = self.spec.evaluation_schedule.reduction_factor
        ended = self.in_rung(before.plan.rung, before.plan.bracket, TrialState.COMPLETED, TrialState.FAILED)
        ranked = sorted(self.in_rung(before.plan.rung, before.plan.bracket, TrialState.COMPLETED), key=_loss)
        assert before.id in [trial.id for trial in ranked[: max(1, len(ended) // eta)]]
        # Schedules that wait for nobody may find better ones later.
        if issubclass(SCHEDULES.get(schedule_name(self.spec)), SuccessiveHalving):
            so_far = [other for other in self.in_rung(plan.rung, plan.bracket) if other.plan.is_promotion]
            assert len(so_far) < max(1, len(ended) // eta)


def _loss(trial):
    return (trial.result.metrics["loss"], trial.id)


def random_life(spec, seed, events=90):
    """A study of up to six workers, after so many random events."""
    rng = np.random.default_rng(seed)
    study = ParallelStudy(spec)
    for _ in range(events):
        if (len(study.running) < 6 and rng.random() < 0.5) or not study.running:
            study.begin()
        else:
            study.end(int(rng.integers(6)), str(rng.choice(["completed", "failed", "stopped"], p=[0.8, 0.1, 0.1])))
    return study


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32), eta=st.sampled_from([2, 3]))
def test_only_the_best_share_is_promoted_and_nobody_twice(kind, seed, eta):
    random_life(scheduled(kind, eta), seed)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_another_worker_would_plan_the_same(kind, seed):
    study = random_life(scheduled(kind), seed)
    afresh = History("loss", "minimize")
    afresh.update(study.all.values())
    number = len(study.all) + 1
    assert planner_of(study.spec).plan(number, afresh) == study.planner.plan(number, study.history)


@pytest.mark.parametrize("kind", KINDS)
def test_one_worker_comes_to_full_trainings(kind):
    history = run_study(planner_of(scheduled(kind)), 60, loss_of)
    plans = [trial.plan for trial in sorted(history.trials, key=lambda trial: trial.id)]
    rungs = [sum(plan.rung == rung for plan in plans) for rung in range(3)]
    assert rungs[2] >= 3 and sum(rungs) == 60
    assert {plan.steps for plan in plans if plan.rung == 2} == {STEPS}
    assert {plan.total_steps for plan in plans if plan.rung < 2} == {STEPS}
    assert {plan.total_steps for plan in plans if plan.rung == 2} == {None}
    assert history.best(1)[0].plan.rung == 2


def test_asha_promotes_as_soon_as_it_may():
    history = run_study(planner_of(scheduled("ASHA")), 13, loss_of)
    rungs = [history.get(number).plan.rung for number in range(1, 14)]
    assert rungs[:4] == [0, 0, 0, 1]  # one of three
    assert rungs.index(2) == 1 + [place for place, rung in enumerate(rungs) if rung == 1][2]


def test_successive_halving_waits_for_the_whole_rung_and_halves_it():
    history = run_study(planner_of(scheduled("SUCCESSIVE_HALVING")), 26, loss_of)
    plans = [history.get(number).plan for number in range(1, 27)]
    assert [plan.rung for plan in plans] == ([0] * 9 + [1] * 3 + [2]) * 2
    assert [plan.bracket for plan in plans] == [0] * 13 + [1] * 13
    first = sorted((history.get(number) for number in range(1, 10)), key=_loss)[:3]
    assert [plan.warm_start for plan in plans[9:12]] == [trial.id for trial in first]


def test_a_failed_trial_does_not_hold_up_its_bracket():
    study = ParallelStudy(scheduled("SUCCESSIVE_HALVING"))
    for number in range(9):
        study.begin()
        study.end(0, "failed" if number in (2, 5) else "completed")
    assert study.begin().rung == 1


def test_other_workers_begin_the_next_bracket():
    study = ParallelStudy(scheduled("SUCCESSIVE_HALVING"))
    for _ in range(10):
        study.begin()
    assert [plan.bracket for plan in study.plans()] == [0] * 9 + [1]


def test_hyperband_begins_in_ever_higher_rungs():
    history = run_study(planner_of(scheduled("HYPERBAND")), 22 + 13, loss_of)
    plans = [history.get(number).plan for number in range(1, 36)]
    counted = [(plan.bracket, plan.rung) for plan in plans]
    assert counted[:22] == [(0, 0)] * 9 + [(0, 1)] * 3 + [(0, 2)] + [(1, 1)] * 5 + [(1, 2)] + [(2, 2)] * 3
    assert counted[22:] == [(3, 0)] * 9 + [(3, 1)] * 3 + [(3, 2)]
    assert all(not plan.is_promotion for plan in plans[13:18]) and plans[13].steps == STEPS // 3


def test_a_full_schedule_plans_as_ever():
    plan = planner_of(make_spec()).plan(1, History("loss", "minimize"))
    assert (plan.rung, plan.first_step, plan.total_steps, plan.row_share, plan.steps) == (0, 0, None, 1.0, STEPS)


def test_rows_as_fidelity_cut_rows_and_steps():
    spec = scheduled("ASHA")
    spec.evaluation_schedule.fidelity = Settings.ROWS
    planner = planner_of(spec)
    assert planner.shares_rows and not planner_of(scheduled("ASHA")).shares_rows
    history = run_study(planner, 30, loss_of)
    shares = {(trial.plan.rung, trial.plan.steps): trial.plan.row_share for trial in history.trials}
    assert shares == {(0, 100): pytest.approx(1 / 9), (1, 300): pytest.approx(1 / 3), (2, 900): 1.0}


def test_rungs_are_as_many_as_the_share_allows():
    assert [rung.steps for rung in make_rungs(1000, 2, 0.125, rows=False)] == [125, 250, 500, 1000]
    assert make_rungs(1000, 3, 0.5, rows=False) == (Rung(1000),)
    assert make_rungs(2, 3, 0.01, rows=False) == (Rung(1), Rung(2))
    assert make_rungs(1, 3, 0.01, rows=True) == (Rung(1),)


@given(st.integers(1, 5000), st.integers(2, 6), st.floats(0.001, 1), st.booleans())
def test_rungs_rise(steps, eta, share, rows):
    rungs = make_rungs(steps, eta, share, rows)
    assert rungs[-1] == Rung(steps)
    assert all(low.steps < high.steps for low, high in itertools.pairwise(rungs))
    assert all(low.row_share <= high.row_share for low, high in itertools.pairwise(rungs))


@pytest.mark.parametrize("wrong", [{"eta": 1}, {"share": 0.0}, {"share": 1.5}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SpecError):
        planner_of(scheduled("ASHA", **wrong))


def _trial(number, loss, rung=0, warm_start=None, **fields):
    first = {} if warm_start is None else {"start": WarmStart(StartKind.CONTINUE, (warm_start,)), "first_step": 1}
    return make_trial(number, TrialState.COMPLETED, make_plan(number, rung=rung, **first, **fields), loss=loss)


def test_algorithms_see_each_tower_once_and_rungs_apart():
    history = History("loss", "minimize")
    trials = [_trial(1, 0.1), _trial(2, 0.5), _trial(3, 0.3), _trial(4, 0.4, rung=1, warm_start=2)]
    history.update(trials)
    view = View(history, planner_of(scheduled("ASHA"))._make.evaluation)
    view.follow()
    assert [trial.id for trial in view.survivors.completed] == [4, 1, 3]
    assert [trial.id for trial in view.survivors.latest(9)] == [1, 3, 4]
    history.update([_trial(5, 0.05, rung=1, warm_start=1), make_trial(6, TrialState.RUNNING, make_plan(6))])
    view.follow()
    assert [trial.id for trial in view.survivors.completed] == [5, 4, 3]
    assert [trial.id for trial in view.survivors.unfinished] == [6]
    assert [trial.id for trial in history.completed] == [5, 1, 3, 4, 2]


def test_what_values_of_different_rungs_are_worth_is_learnt_from_promotions():
    history = History("loss", "minimize")
    history.update([_trial(1, 0.5), _trial(2, 0.6), _trial(3, 0.9), make_trial(7, TrialState.COMPLETED, loss=0.2)])
    view = View(history, planner_of(scheduled("ASHA"))._make.evaluation)
    view.follow()
    worth = view.survivors.value
    assert worth(history.get(3)) == 0.9
    history.update([_trial(4, 0.4, rung=1, warm_start=1), _trial(5, 0.3, rung=1, warm_start=2)])
    history.update([_trial(6, 0.1, rung=2, warm_start=5)])
    view.follow()
    assert worth(history.get(6)) == 0.1
    assert worth(history.get(4)) == pytest.approx(0.4 - 0.2)
    assert worth(history.get(3)) == pytest.approx(0.9 - 0.2 - 0.2)
    assert history.value(history.get(3)) == 0.9


def _where_promotions_cost():
    """On few rows losses are small: the best towers lost some by being promoted."""
    blocks = ("IDENTITY", "LOWRANK_1", "BOTTLENECK_32")
    history = History("loss", "minimize")
    for number in range(1, 31):
        history.update([_trial(number, 0.1 + 0.1 * (number % 3), architecture=[blocks[number % 3]] * 2)])
    for number in range(31, 36):
        history.update([_trial(number, 0.6, rung=1, warm_start=3 * (number - 30), architecture=["IDENTITY"] * 2)])
    view = View(history, planner_of(scheduled("ASHA"))._make.evaluation)
    view.follow()
    return view.survivors, blocks


def test_evolution_does_not_take_a_short_training_for_better():
    history, blocks = _where_promotions_cost()
    spec = make_spec("REGULARIZED_EVOLUTION", blocks_to_use=blocks)
    spec.evolution.population_size = spec.evolution.sample_size = 20
    proposed = [make_algorithm(spec).propose(history, np.random.default_rng(seed)) for seed in range(20)]
    assert {history.get(each.parent).plan.architecture[0] for each in proposed} == {"IDENTITY"}


def test_the_predictor_does_not_take_a_short_training_for_better():
    history, blocks = _where_promotions_cost()
    predictor = Predictor(history, Grammar.of(make_spec(blocks_to_use=blocks)))
    promoted, short, shorter = predictor.predict([(block,) * 2 for block in blocks]).mean
    assert promoted > short + 0.5 > shorter + 1.0


def test_samplers_learn_from_the_highest_rung_with_enough_trials():
    history = History("loss", "minimize")
    history.update([_trial(number, number / 10) for number in range(1, 21)])
    view = View(history, planner_of(scheduled("ASHA"))._make.evaluation)
    view.follow()
    assert view.comparable.completed_count == 20
    history.update([_trial(20 + number, number / 10, rung=1, warm_start=number) for number in range(1, 11)])
    view.follow()
    assert {trial.plan.rung for trial in view.comparable.completed} == {1}


def test_a_view_is_that_of_the_history_that_is_asked_about():
    views = Views(planner_of(scheduled("ASHA"))._make.evaluation)
    one, other = History("loss", "minimize"), History("loss", "minimize")
    one.update([_trial(1, 0.5)])
    other.update([_trial(1, 0.5), _trial(2, 0.4)])
    assert [views.algorithm(history).completed_count for history in (one, other, one)] == [1, 2, 1]
    plain = Views(planner_of(make_spec())._make.evaluation)
    assert plain.algorithm(one) is one and plain.sampler(one) is one


def test_suggestions_take_part():
    spec = scheduled("ASHA")
    spec.user_suggestions.add(architecture=["LOWRANK_1"])
    history = run_study(planner_of(spec), 4, lambda plan: 0.0 if plan.kind == TrialKind.SUGGESTION else 1.0)
    promoted = history.get(4).plan
    assert (promoted.kind, promoted.warm_start, promoted.architecture) == (TrialKind.SUGGESTION, 1, ("LOWRANK_1",))
