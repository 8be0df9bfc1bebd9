"""Trials on further folds among the others: counted, interrupted and gone on with like these, and no bags."""

import pytest
from pretended import nothing, open_pretended

from model_search.deadline import Deadline
from model_search.metadata.trial import TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.planning.finalists import finalists
from model_search.trainers.bags.bagging import bag_finalists, trials_after_searches
from model_search.trainers.dispatch import run_session
from model_search.trainers.executors.in_process import run_in_this_process
from model_search.trainers.worker import StopReason


def opened(folder, act=nothing, **options):
    folder.mkdir(exist_ok=True)
    return open_pretended(
        folder, act, **{"workers": 1, "number_models": 14, "finish": "neither", "further_folds": 2, "seed": 3} | options
    )


def trials(session):
    return session.store.history()[0]


def searched(folder):
    session, context = opened(folder)
    try:
        assert run_session(session, context.options, Deadline(None)) is StopReason.FINISHED
        return [(trial.plan, trial.metrics) for trial in sorted(trials(session), key=lambda trial: trial.id)]
    finally:
        session.store.close()


def test_they_count_as_trials_and_an_interrupted_one_is_gone_on_with(tmp_path):
    expected = searched(tmp_path / "whole")
    kinds = [plan.kind for plan, _ in expected]
    assert len(kinds) == 14 and 2 <= kinds.count(TrialKind.FOLDS) <= 6
    stopped = []

    def act(plan, earlier):
        if plan.kind is TrialKind.FOLDS and not earlier:
            stopped.append(plan.trial_id)
            session_context[1].interrupts.ask()

    session_context = session, context = opened(tmp_path / "stopped", act)
    try:
        reasons = [_run(session, context) for _ in range(10)]
        found = sorted(trials(session), key=lambda trial: trial.id)
        assert [(trial.plan, trial.metrics) for trial in found] == expected
        assert stopped == [plan.trial_id for plan, _ in expected if plan.kind is TrialKind.FOLDS]
        assert reasons[-1] is StopReason.FINISHED
        assert trials_after_searches(session) == 0
    finally:
        session.store.close()


def _run(session, context):
    context.interrupts._asked = False
    return run_in_this_process(session, context)


def test_one_that_a_time_limit_has_interrupted_is_no_bag(tmp_path):
    clock = type("Clock", (), {"now": 0.0, "__call__": lambda self: self.now})()

    def act(plan, earlier):
        clock.now += 200 if plan.kind is TrialKind.FOLDS else 0

    session, context = opened(tmp_path, act, folds=3)
    try:
        assert run_session(session, context.options, Deadline(100, clock=clock)) is StopReason.TIME_LIMIT
        (waiting,) = [trial for trial in trials(session) if trial.state is TrialState.INTERRUPTED]
        assert waiting.plan.kind is TrialKind.FOLDS
        history = History(session.record.ranking)
        history.update(trials(session))
        chosen = finalists(history)
        assert bag_finalists(session, context.options, Deadline(None)) is StopReason.FINISHED
        bags = [trial.plan.parent for trial in trials(session) if trial.plan.is_bag]
        assert sorted(bags) == sorted(trial.id for trial in chosen)
        assert bag_finalists(session, context.options, Deadline(None)) is None
        assert session.store.trial(waiting.id).state is TrialState.INTERRUPTED
        assert trials_after_searches(session) == len(bags)
    finally:
        session.store.close()


@pytest.mark.parametrize("options", [{"further_folds": None}, {"further_folds": 2}])
def test_a_user_is_told_where_they_have_no_effect(tmp_path, monkeypatch, options):
    monkeypatch.setattr(
        "model_search.trainers.opening.study_settings.no_further_folds", lambda data: "the rows are few"
    )
    session, context = opened(tmp_path, **options)
    try:
        told = [warning for warning in session.warnings if "further_folds" in warning]
        asked = options["further_folds"] is not None
        assert told == (["further_folds=2 has no effect: the rows are few"] if asked else [])
        run_session(session, context.options, Deadline(None))
        assert not [trial for trial in trials(session) if trial.plan.left_out]
    finally:
        session.store.close()
