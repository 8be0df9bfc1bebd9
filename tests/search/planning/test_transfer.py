"""Which weights new towers start from: the three kinds of transfer learning, and given models."""

import dataclasses
import math

import pytest
from search_factory import completed, make_plan, make_planner, make_spec

from model_search.metadata.trial import Artefact, StartKind, TrialKind, WarmStart
from model_search.proto.transfer_learning_spec_pb2 import TransferLearningSpec
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.planning.transfer import GivenTower, Transfer

KINDS = {
    "uniform": "UNIFORM_AVERAGE_TRANSFER_LEARNING",
    "snapshot": "SNAPSHOT_TRANSFER_LEARNING",
    "loss": "LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING",
}


def transferring(kind, search="ADAPTIVE_COORDINATE_DESCENT", discount=1.0, most=1_000_000, **fields):
    spec = make_spec(search, **fields)
    settings = spec.transfer_learning_spec
    settings.transfer_learning_type = TransferLearningSpec.TransferLearningType.Value(KINDS[kind])
    settings.previous_trials_discount_factor, settings.max_completed_trials = discount, most
    return spec


def stored(number, loss, *architecture, pruned=False, **fields):
    trial = completed(number, loss, make_plan(number, architecture, **fields))
    weights = Artefact("weights.npz", "a", "", 1, pruned)
    return dataclasses.replace(trial, result=dataclasses.replace(trial.result, artefacts=(weights,)))


def history_of(*trials):
    history = History("loss", "minimize")
    history.update(trials)
    return history


FOUR = history_of(
    stored(1, 0.5, "IDENTITY", "LOWRANK_1"),
    stored(2, 0.1, "LOWRANK_1"),
    stored(3, 0.3, "FULLY_CONNECTED"),
    stored(4, 0.2, "LOWRANK_1", pruned=True),
    completed(5, 0.0, make_plan(5, ("LOWRANK_1",))),
)


def start(kind, history=FOUR, architecture=("LOWRANK_1", "BOTTLENECK_32"), plan=None, **fields):
    planned = make_plan(9, architecture, random=True) if plan is None else plan
    return Transfer.of(transferring(kind, **fields)).started(planned, history)


def test_the_mean_is_of_the_latest_trials_with_a_block_in_common_whose_weights_are_there():
    plan = start("uniform", discount=0.5)
    assert plan.start == WarmStart(StartKind.AVERAGE, (1, 2), (1.0, 1.0), 0.5)
    assert plan.builds_on == (1, 2) and not plan.random
    assert start("uniform", most=1).start.trials == (2,)
    assert start("uniform", architecture=("BOTTLENECK_32",)).start is None


def test_the_better_ones_count_more_by_the_softmax_of_their_loss_without_a_further_division():
    found = start("loss").start
    assert found.trials == (1, 2) and sum(found.shares) == pytest.approx(1)
    assert found.shares[1] / found.shares[0] == pytest.approx(math.exp(0.5 - 0.1))
    assert start("loss", most=1).start.trials == (2,)


def test_a_snapshot_is_that_of_the_parent():
    child = make_plan(9, ("LOWRANK_1", "IDENTITY"), parent=1)
    assert start("snapshot", plan=child).start == WarmStart(StartKind.AVERAGE, (1,), (1.0,))
    for parent in (None, 3, 4, 5):  # none, nothing in common, files deleted, nothing stored
        assert start("snapshot", plan=dataclasses.replace(child, parent=parent)).start is None


def test_what_has_a_start_or_trains_no_new_tower_is_left_as_it_is():
    copied = make_plan(9, ("LOWRANK_1",), start=WarmStart(StartKind.COPY, (3,)))
    again = dataclasses.replace(make_plan(9, ("LOWRANK_1",)), kind=TrialKind.REPLAY)
    for plan in (copied, again, make_plan(9, ("LOWRANK_1",), folds=2)):
        assert start("uniform", plan=plan) is plan
    assert Transfer.of(make_spec()).started(again, FOUR) is again


def test_the_planner_starts_towers_so_and_leaves_the_samples_of_random_search_fresh():
    spec = transferring("uniform", search="NONADAPTIVE_RANDOM_SEARCH", random_baseline_share=0.5)
    planner = make_planner(spec)
    history = history_of(*(stored(n, 1 / n, "IDENTITY", "LOWRANK_1", "FULLY_CONNECTED") for n in range(1, 6)))
    plans = [planner.plan(number, history) for number in range(6, 40)]
    started = [plan.start is not None for plan in plans]
    assert any(started) and not all(started)
    assert not any(plan.random for plan in plans if plan.start is not None)
    assert any(plan.random for plan in plans if plan.start is None)
    assert plans == [make_planner(spec).plan(number, history) for number in range(6, 40)]


def test_a_tower_starts_from_the_given_one_with_which_it_begins_where_no_trial_fits():
    given = (
        GivenTower("1", ("IDENTITY",)),
        GivenTower("2", ("LOWRANK_1", "BOTTLENECK_32")),
        GivenTower("3", ("LOWRANK_1",)),
    )
    transfer = Transfer(given=given)
    towers = [("LOWRANK_1", "BOTTLENECK_32", "IDENTITY"), ("FULLY_CONNECTED",), ("FULLY_CONNECTED", "IDENTITY")]
    starts = [transfer.started(make_plan(1, blocks), history_of()).start for blocks in towers]
    assert [one and one.source for one in starts] == ["2", None, "1"]
    own = Transfer.of(transferring("uniform"), given).started(make_plan(9, ("LOWRANK_1",)), FOUR).start
    assert own.kind is StartKind.AVERAGE
    planner = Planner(make_spec(), PlannerSettings(0, 10, 8, given=(GivenTower("model"),)), "loss", "minimize")
    assert planner.plan(1, history_of()).start == WarmStart(StartKind.GIVEN, source="model")
