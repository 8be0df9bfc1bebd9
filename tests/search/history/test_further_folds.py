"""How trials are ranked that were trained on further folds."""

import dataclasses
import random

import pytest
from search_factory import completed, make_trial, running

from model_search.metadata.trial import TrialState
from model_search.search.history.history import History
from model_search.search.planning.classic_models import classic_plan
from model_search.search.planning.fold_plans import FoldLadder, bag_plan

LADDER = FoldLadder(2)


def on_folds(trial_id, alone, rung, state=TrialState.COMPLETED, **metrics):
    return make_trial(trial_id, state, LADDER._plan(trial_id, alone, rung), **metrics)


def figures(history):
    return {trial.id: round(trial.objective("loss"), 9) for trial in history.completed}


@pytest.fixture
def history():
    found = History("loss", "minimize")
    found.update(completed(number, 0.1 * number) for number in range(1, 7))
    return found


def test_a_trial_is_ranked_by_the_mean_of_its_folds_set_off_by_how_hard_they_are(history):
    first, second = history.best(2)
    history.update([on_folds(7, first, 0, loss=0.9)])
    assert figures(history) == {
        number: pytest.approx(0.1 * number) for number in range(1, 7)
    }  # no fold is compared yet
    history.update([on_folds(8, second, 0, loss=0.6)])
    # The folds are harder by (0.8 + 0.4) / 2: the first has 0.3 there, the second 0.0.
    assert figures(history) == {2: 0.1, 1: 0.2, 3: 0.3, 4: 0.4, 5: 0.5, 6: 0.6}
    assert [trial.id for trial in history.completed] == [2, 1, 3, 4, 5, 6]
    assert history.completed_count == 6 and len(history) == 8
    assert history.get(1).objective("loss") == pytest.approx(0.1)  # its own figures stay
    assert history.towers.best(1)[0].id == 2 and len(history.towers) == 6
    assert [trial.id for trial in history.latest(6)] == [1, 2, 3, 4, 5, 6]
    history.update([completed(9, 0.15)])
    assert [trial.id for trial in history.best(3)] == [2, 9, 1]


def test_a_poor_trial_falls_behind_those_without_further_folds(history):
    first, second, third = history.best(3)
    further = [(7, first, 1.8), (8, second, 0.6), (9, third, 0.4)]
    history.update(on_folds(number, alone, 0, loss=loss) for number, alone, loss in further)
    assert [trial.id for trial in history.completed] == [3, 2, 4, 5, 1, 6]


def test_only_what_completed_trials_have_completed_counts(history):
    first = history.best(1)[0]
    history.update([on_folds(7, first, 0, TrialState.FAILED), on_folds(8, first, 1, TrialState.RUNNING)])
    history.update([on_folds(9, first, 1, auc=0.5)])  # without the metric
    assert history.further_folds.parts(1) == () and len(history.further_folds) == 0
    assert history.completed_count == 6


def test_the_order_in_which_trials_become_known_does_not_matter(history):
    everything = list(history.trials)
    everything += [on_folds(7, history.get(1), 0, loss=0.9), on_folds(8, history.get(2), 0, loss=0.6)]
    everything += [on_folds(9, history.get(2), 1, loss=0.3), on_folds(10, history.get(3), 0, loss=0.8)]
    expected = History("loss", "minimize")
    for trial in everything:
        expected.update([trial])
    for seed in range(5):
        other = History("loss", "minimize")
        other.update(random.Random(seed).sample(everything, len(everything)))
        assert figures(other) == figures(expected)
    assert figures(expected.before(10)) != figures(expected)
    assert figures(expected.before(8)) == figures(history)


def test_a_snapshot_keeps_its_figures(history):
    taken = history.snapshot()
    history.update([on_folds(7, history.get(1), 0, loss=0.9), on_folds(8, history.get(2), 0, loss=0.6)])
    assert taken.best(1)[0].id == 1 and len(taken.further_folds) == 0
    later = history.snapshot()
    history.update([on_folds(9, history.get(1), 1, loss=0.0), on_folds(10, history.get(2), 1, loss=9.0)])
    assert later.best(1)[0].id == 2 and history.best(1)[0].id == 1


def test_bags_are_ranked_by_their_own_figures_and_lead(history):
    history.update([on_folds(7, history.get(1), 0, loss=0.9), on_folds(8, history.get(2), 0, loss=0.6)])
    history.update([completed(9, 0.55, bag_plan(9, history.best(1)[0], 8))])
    assert history.leader.id == 9
    assert figures(history)[9] == 0.55


def test_models_that_are_no_towers_have_further_folds_too(history):
    trees = completed(7, 0.05, classic_plan("boosted_trees", 7, 1))
    trees = dataclasses.replace(trees, result=dataclasses.replace(trees.result, best_step=40))
    history.update([trees, running(8)])
    history.update([on_folds(9, trees, 0, loss=0.9), on_folds(10, history.get(1), 0, loss=0.2)])
    assert history.best(1)[0].id == 1
    assert history.get(9).plan.steps == 40
