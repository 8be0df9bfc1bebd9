"""Plans that train a tower longer."""

import dataclasses

import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study

from model_search.errors import UserError
from model_search.metadata.trial import (
    Artefact,
    EnsemblePlan,
    StartKind,
    TrialKind,
    TrialPlan,
    TrialState,
    WarmStart,
)
from model_search.search.planning.longer import CYCLE_SHARE, LongerTraining, longer_plan

OPTIMIZER = Artefact("optimizer.npz", "trials/000001/optimizer.npz", "0" * 64, 8)


def trained(loss=0.5, artefacts=(OPTIMIZER,), **changes):
    trial = completed(1, loss, make_plan(1, ("FULLY_CONNECTED",), steps=90))
    plan = dataclasses.replace(trial.plan, **changes)
    return dataclasses.replace(trial, plan=plan, result=dataclasses.replace(trial.result, artefacts=artefacts))


def test_it_goes_on_from_a_trial_with_a_cycle_and_the_augmentations():
    before = trained(
        hyperparameters={"cooldown_share": 0.5, "learning_rate": 0.01, "augment_flip": 0.0, "augment_crop": 0.0},
        rung=1, bracket=2, total_steps=270, random=True,
    )  # fmt: skip
    plan = longer_plan(7, before, LongerTraining(100, augmentations=("flip", "crop", "cutout", "colour")))
    assert plan.hyperparameters == {
        "learning_rate": 0.01, "one_cycle_share": CYCLE_SHARE, "augment_flip": 0.0, "augment_crop": 0.0625,
        "augment_cutout": 0.25,
    }  # fmt: skip
    assert (plan.kind, plan.parent, plan.first_step, plan.steps) == (TrialKind.LONGER, 1, 90, 190)
    assert plan.start == WarmStart(StartKind.RESUME, (1,))
    assert (plan.rung, plan.bracket, plan.is_in_full, plan.random) == (0, 0, True, False)
    assert plan.can_train_longer and not plan.is_searched and not plan.is_on_labels_alone and not plan.is_promotion
    assert TrialPlan.from_json(plan.to_json()) == plan
    chosen = trained(hyperparameters={"augment_flip": 0.5, "augment_crop": 0.0})
    kept = longer_plan(7, chosen, LongerTraining(100, augmentations=("flip", "crop"))).hyperparameters
    assert (kept["augment_flip"], kept["augment_crop"]) == (0.5, 0.0)
    assert kept["test_time_flip"] == 1  # what mirrors pictures answers for both sides
    plain = longer_plan(7, chosen, LongerTraining(100, augmentations=("crop",))).hyperparameters
    assert "test_time_flip" not in plain
    flipped = longer_plan(7, before, LongerTraining(100, augmentations=("flip", "crop"), may_flip=True)).hyperparameters
    assert (flipped["augment_flip"], flipped["augment_crop"], flipped["test_time_flip"]) == (0.5, 0.0625, 1)
    without = longer_plan(7, before, LongerTraining(100, one_cycle=False))
    assert without.hyperparameters == before.plan.hyperparameters
    assert len({before.plan.key, plan.key, without.key}) == 3


@pytest.mark.parametrize("artefacts", [(), (dataclasses.replace(OPTIMIZER, pruned=True),)])
def test_without_the_state_of_the_optimizer_it_begins_anew(artefacts):
    plan = longer_plan(2, trained(artefacts=artefacts), LongerTraining(10))
    assert plan.start == WarmStart(StartKind.CONTINUE, (1,))


def test_a_trial_that_was_stopped_goes_on_from_there():
    before = trained()
    before = dataclasses.replace(before, result=dataclasses.replace(before.result, stopped_at=40))
    plan = longer_plan(2, before, LongerTraining(10))
    assert (plan.first_step, plan.steps) == (40, 50)


def test_what_has_no_tower_or_no_end_is_refused():
    whole = trained()
    ensemble = trained(trial_id=3, members=(1, 2), ensemble=EnsemblePlan("average"), architecture=())
    with pytest.raises(UserError, match="choose one of its towers: trials 1, 2"):
        longer_plan(4, ensemble, LongerTraining(10))
    with pytest.raises(UserError, match="trial 1 is running; only a completed trial"):
        longer_plan(4, dataclasses.replace(whole, state=TrialState.RUNNING, result=None), LongerTraining(10))
    with pytest.raises(UserError, match="1,000,000,000 at most in all"):
        longer_plan(4, whole, LongerTraining(10**9))
    for steps in (0, True, 1.5, 10**10):
        with pytest.raises(UserError, match="expected a whole number from 1"):
            LongerTraining(steps)


def test_a_search_does_not_learn_from_longer_trainings():
    spec = make_spec("ADAPTIVE_COORDINATE_DESCENT")
    planner, again = make_planner(spec), make_planner(spec)
    history = run_study(planner, 12, lambda plan: len(plan.architecture))
    expected = planner.plan(14, history)
    longer = longer_plan(13, history.best(1)[0], LongerTraining(100))
    history.update([completed(13, 0.0, longer)])
    assert history.best(1)[0].id == 13 and 13 not in [trial.id for trial in history.towers.completed]
    assert again.plan(14, history) == expected
