"""Bags after a search: when there are any, how long they take, and which fit into the time."""

import dataclasses
import types

import numpy as np
import pytest
from pretended import make_plan, open_pretended

from model_search.data.tabular.table import GIVEN_VALIDATION
from model_search.deadline import Deadline
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import Trial, TrialKind, TrialResult, TrialState
from model_search.search.history.history import History
from model_search.search.planning.classic_models import classic_plan
from model_search.search.planning.finalists import finalists
from model_search.search.planning.fold_plans import bag_plan
from model_search.trainers.bags.bag_seconds import BagSeconds
from model_search.trainers.bags.bagging import are_worth_while, bag_finalists, with_folds
from model_search.trainers.dispatch import run_session
from model_search.trainers.worker import StopReason, Worker


def ended(plan, seconds, stopped_at=None):
    result = TrialResult({"loss": 1.0}, 1, 1, {"trial": seconds}, stopped_at=stopped_at)
    return Trial(plan.trial_id, TrialState.COMPLETED, 1, plan.trial_id, "w", plan, result)


def history_of(*trials):
    history = History("loss", "minimize")
    history.update(trials)
    return history


def test_what_a_bag_has_taken_tells_how_long_the_next_one_takes():
    towers = [ended(make_plan(1), 2.0), ended(make_plan(2), 3.0)]
    trees = ended(classic_plan("boosted_trees", 3, 1), 1.0)
    unknown = BagSeconds(history_of(*towers, trees), 4)
    assert unknown.of(towers[1]) == pytest.approx(1.5 * unknown.of(towers[0]))
    bag, ended_early = (bag_plan(number, towers[0], 4) for number in (4, 5))
    early = ended(dataclasses.replace(ended_early, key="other"), 1e-3, stopped_at=1)
    known = BagSeconds(history_of(*towers, trees, ended(bag, 16.0), early), 4)
    assert known.of(towers[1]) == pytest.approx(4 * 2 * 3.0, rel=0.2)  # twice as long as four trainings
    assert known.of(towers[1]) > 4 * 2 * 3.0  # with a margin
    assert known.of(trees) == unknown.of(trees)  # of which nothing is known yet
    needed = known.of(towers[0])
    enough = needed + known.of(trees) + 0.1
    assert known.fitting([*towers, trees], enough, enough) == [towers[0], trees]
    assert known.fitting([*towers, trees], enough, needed - 0.1) == [trees]
    assert known.of(Trial(9, TrialState.RUNNING, 1, 1, "w", make_plan(9))) == float("inf")


@pytest.fixture
def session(tmp_path):
    opened, context = open_pretended(tmp_path, workers=1, number_models=40, finish="ensemble")
    yield opened, context.options
    opened.store.close()


def test_small_tables_have_folds_unless_the_user_says_how_trials_are_trained(session):
    opened, options = session

    def folds(changes=None, **settings):
        record = types.SimpleNamespace(settings={"steps_from_data": True, **settings}, metric="loss")
        data = dataclasses.replace(opened.data, **(changes or {}))
        asked = types.SimpleNamespace(record=record, data=data, planner=opened.planner)
        return [with_folds(asked, dataclasses.replace(options, **more)).folds for more in OPTIONS]

    assert folds() == [8, None, None, 5, None, 8]
    assert folds(steps_from_data=False) == [None, None, None, 5, None, None]
    # Where rows cannot be divided, asking for folds reserves no time, and leaves a final training what it has.
    assert folds({"description": {"split": {"by": GIVEN_VALIDATION}}}) == [None] * 6
    assert folds({"train": opened.data.train.take([0] * 20_000)})[0] is None
    assert folds({"other_tasks": {"z": opened.data.task}})[0] is None


def test_sequences_have_folds_where_they_have_groups(session):
    opened, options = session

    def folds(groups, lengths):
        numbers = None if groups is None else np.arange(len(opened.data.train) + len(opened.data.valid)) % groups
        data = dataclasses.replace(opened.data, groups=numbers, lengths=lengths)
        asked = types.SimpleNamespace(
            record=types.SimpleNamespace(settings={"steps_from_data": not lengths}), data=data, planner=opened.planner
        )
        return with_folds(asked, options).folds

    sequences = {"sequence": "lengths"}
    assert [folds(groups, sequences) for groups in (None, 2, 3, 5, 9)] == [None, None, 3, 5, 8]
    assert [folds(groups, {}) for groups in (None, 5, 9)] == [8, None, 8]


@pytest.mark.parametrize("lengths", [{}, {"sequence": "lengths"}])
@pytest.mark.parametrize(
    ("asked", "groups", "found", "said"),
    [
        (8, 5, 5, "folds=8 is more than there are groups of rows: there are 5 folds, one for each group"),
        (5, 5, 5, ""),
        (3, 5, 3, ""),
        (8, None, 8, ""),
        (2, 1, None, "folds=2 has no effect: all rows are of one group"),
    ],
)
def test_there_are_no_more_folds_than_groups_and_it_is_said(session, capsys, lengths, asked, groups, found, said):
    opened, options = session
    numbers = None if groups is None else np.arange(len(opened.data.train) + len(opened.data.valid)) % groups
    opened = dataclasses.replace(opened, data=dataclasses.replace(opened.data, groups=numbers, lengths=lengths))
    given = with_folds(opened, dataclasses.replace(options, folds=asked, time_limit=100.0))
    assert given.folds == found
    told = capsys.readouterr().err.splitlines()  # though the search is silent
    assert len(told) == bool(said) and said in "".join(told)
    if found is None:  # the search has the time of the folds
        assert given.seconds_to_finish < dataclasses.replace(given, folds=2).seconds_to_finish


@pytest.mark.parametrize("asked", [3, "auto"])
def test_where_towers_are_replayed_there_are_no_folds_and_who_asked_for_them_is_told(session, capsys, asked):
    opened, options = session
    replaying = types.SimpleNamespace(replayed_towers=2)
    opened = dataclasses.replace(opened, planner=replaying)
    assert with_folds(opened, dataclasses.replace(options, folds=asked)).folds is None
    told = capsys.readouterr().err
    assert told == "" if asked == "auto" else "folds=3 has no effect: the specification replays towers" in told


OPTIONS = [
    {},
    {"number_models": 39},
    {"finish": "neither"},
    {"folds": 5},
    {"folds": None},
    {"number_models": 3, "time_limit": 9.0},
]


class Clock:
    """Seconds that pass when it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_bags_are_trained_as_long_as_there_is_time_and_gone_on_with_later(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(BagSeconds, "of", lambda self, trial: 10.0)

    def act(plan, earlier):
        clock.now += 30 if plan.kind is TrialKind.BAGGING and not earlier else 0

    opened, context = open_pretended(tmp_path, act, workers=1, finish="neither", folds=3)
    try:
        options = context.options
        run_session(opened, options, Deadline(None))
        assert bag_finalists(opened, options, Deadline(100, clock=clock)) is StopReason.TIME_LIMIT
        states = [trial.state for trial in opened.store.history()[0][6:]]
        assert states == [TrialState.COMPLETED] * 3 + [TrialState.INTERRUPTED]
        assert bag_finalists(opened, options, Deadline(None)) is StopReason.FINISHED
        bags = [trial for trial in opened.store.history()[0] if trial.plan.folds]
        assert [trial.state for trial in bags] == [TrialState.COMPLETED] * 4
        assert len({trial.plan.parent for trial in bags}) == 4
        assert bag_finalists(opened, options, Deadline(None)) is None
    finally:
        opened.store.close()


@pytest.mark.parametrize("near", [(1, 2, 3), (1,), (2,)])
def test_a_bag_of_more_than_its_part_waits_for_the_others_unless_it_alone_may_lead(tmp_path, monkeypatch, near):
    clock = Clock()
    # With 100 s, none may take more than a third while others fit that may lead: the bag of trial 2 comes last then.
    monkeypatch.setattr(BagSeconds, "of", lambda self, trial: 50.0 if trial.id == 2 else 20.0)
    monkeypatch.setattr(History, "near_best", property(lambda self: [self.get(number) for number in near]))
    ended = []

    def act(plan, earlier):
        if plan.kind is TrialKind.BAGGING:
            clock.now += 50 if plan.parent == 2 else 20
            ended.append(plan.parent)

    opened, context = open_pretended(tmp_path, act, workers=1, number_models=3, finish="neither", folds=3)
    try:
        run_session(opened, context.options, Deadline(None))
        history = History(opened.record.ranking)
        history.update(opened.store.history()[0])
        ranked = [trial.id for trial in finalists(history, 3)]
        assert bag_finalists(opened, context.options, Deadline(101, clock=clock)) is StopReason.FINISHED
        assert ended == (
            ranked if near == (2,) else sorted(ranked, key=lambda number: (number == 2, ranked.index(number)))
        )
    finally:
        opened.store.close()


def test_a_bag_that_was_interrupted_is_gone_on_with_even_if_it_is_no_finalist_any_more(tmp_path, monkeypatch):
    clock = Clock()

    def act(plan, earlier):
        clock.now += 150 if plan.kind is TrialKind.BAGGING and not earlier else 0

    opened, context = open_pretended(tmp_path, act, workers=1, finish="neither", folds=3)
    try:
        run_session(opened, context.options, Deadline(None))
        history = History(opened.record.ranking)
        history.update(opened.store.history()[0])
        ranked = finalists(history, 6)
        # The first time all but the last would take too long.
        monkeypatch.setattr(BagSeconds, "of", lambda self, trial: 10.0 if trial.id == ranked[-1].id else 190.0)
        assert bag_finalists(opened, context.options, Deadline(100, clock=clock)) is StopReason.TIME_LIMIT
        assert opened.store.history()[0][-1].plan.parent == ranked[-1].id
        assert bag_finalists(opened, context.options, Deadline(None)) is StopReason.FINISHED
        bags = [trial for trial in opened.store.history()[0] if trial.plan.folds]
        assert {trial.state for trial in bags} == {TrialState.COMPLETED}
        assert bag_finalists(opened, context.options, Deadline(None)) is None
    finally:
        opened.store.close()


def test_bags_are_worth_while_if_several_fit_into_the_time(tmp_path, monkeypatch):
    opened, context = open_pretended(tmp_path, workers=1, finish="neither", folds=3)
    try:
        run_session(opened, context.options, Deadline(None))
        monkeypatch.setattr(BagSeconds, "of", lambda self, trial: 10.0)
        for seconds, enough in ((29, False), (31, True), (None, True)):  # three of them
            assert are_worth_while(opened, context.options, Deadline(seconds)) is enough
    finally:
        opened.store.close()


def test_where_only_bags_of_clearly_worse_models_would_fit_the_time_is_that_of_the_best_one(tmp_path, monkeypatch):
    clock, ended = Clock(), []

    def act(plan, earlier):
        if plan.kind is TrialKind.BAGGING:
            clock.now += 70 if plan.parent == best.id else 10
            ended.append(plan.parent)

    opened, context = open_pretended(tmp_path, act, workers=1, finish="neither", folds=3)
    try:
        run_session(opened, context.options, Deadline(None))
        history = History(opened.record.ranking)
        history.update(opened.store.history()[0])
        (best,) = history.near_best  # the losses are far apart
        monkeypatch.setattr(BagSeconds, "of", lambda self, trial: 70.0 if trial.id == best.id else 10.0)
        assert not are_worth_while(opened, context.options, Deadline(95, clock=clock))
        assert bag_finalists(opened, context.options, Deadline(95, clock=clock)) is StopReason.FINISHED
        assert ended[0] == best.id and 1 < len(ended) < 5
    finally:
        opened.store.close()


def test_two_programs_that_choose_the_same_bag_at_once_train_it_once(tmp_path, monkeypatch):
    """Both have waited for the last trial, and leave the search at the same moment."""
    sessions = [open_pretended(tmp_path, workers=1, finish="neither", folds=3) for _ in range(2)]
    (first, context), (second, _) = sessions
    run_session(first, context.options, Deadline())
    run_planned, turns = Worker.run_planned, []

    def after_the_other(worker, plan, interrupted=None):
        turns.append(worker)
        if len(turns) == 1:
            assert bag_finalists(second, context.options, Deadline()) is StopReason.FINISHED
        return run_planned(worker, plan, interrupted)

    monkeypatch.setattr(Worker, "run_planned", after_the_other)
    assert bag_finalists(first, context.options, Deadline()) is StopReason.FINISHED
    bags = [trial for trial in first.store.history()[0] if trial.plan is not None and trial.plan.is_bag]
    assert all(bag.state is TrialState.COMPLETED for bag in bags)
    assert len({bag.plan.key for bag in bags}) == len(bags) > 1


def test_the_result_of_a_bag_that_was_given_to_another_worker_is_dropped(tmp_path):
    """The program was stopped for a minute."""
    stolen = []

    def act(plan, earlier):
        if plan.is_bag and not stolen:
            store = SqliteStore(opened.folder / "study.db")
            stolen.extend(store.reclaim(store.heartbeats()))
            store.close()

    opened, context = open_pretended(tmp_path, act, workers=1, finish="neither", folds=3)
    run_session(opened, context.options, Deadline())
    assert bag_finalists(opened, context.options, Deadline()) is StopReason.FINISHED
    assert len(stolen) == 1
    assert opened.store.trial(stolen[0]).state is TrialState.COMPLETED  # taken up again
