"""Longer training of a trial's tower: by itself, interrupted and taken up again, and at the end of a search."""

import dataclasses
import itertools

import numpy as np
import pytest

import model_search
from model_search import single_trainer
from model_search.data import array_data
from model_search.deadline import Deadline
from model_search.errors import StudyError, UserError
from model_search.metadata.paths import DATABASE, OPTIMIZER
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import StartKind, TrialKind, TrialPlan, TrialResult, TrialState, WarmStart
from model_search.search.history.history import History
from model_search.spec.load import load_text
from model_search.trainers import dispatch
from model_search.trainers.longer import training, winners
from model_search.trainers.longer.learning_curves import loss_after
from model_search.trainers.longer.training import LongerOptions, train_longer
from model_search.trainers.longer.winners import FinalTraining, affordable_steps, train_winners
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions
from model_search.trainers.worker import StopReason

SPEC = """
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_64" minimum_depth: 1 maximum_depth: 2
learning_spec { optimizers: "adam" }
final_training { time_share: 0.5 }
"""


@pytest.fixture(scope="module")
def provider():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 5)).astype("float32")
    return array_data.Provider(x, (x[:, 0] * x[:, 1] > 0).astype("int64"))


def options(folder, **changes):
    given = {
        "number_models": 2, "train_steps": 24, "eval_steps": None, "root_dir": folder, "batch_size": 16,
        "experiment_name": "e", "experiment_owner": "me", "seed": 1, "progress": False, "finish": "neither",
    }  # fmt: skip
    return SearchOptions.of(given | changes)


@pytest.fixture(scope="module")
def study(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer")
    return single_trainer.SingleTrainer(provider, load_text(SPEC)).run(options(folder))


def test_a_tower_is_trained_longer_and_replayed(study, provider):
    before = study.best_trial
    longer = study.train_longer(before.id, 40, provider, progress=False)
    plan = longer.plan
    assert (plan.kind, plan.parent, plan.first_step, plan.steps) == (TrialKind.LONGER, before.id, 24, 64)
    assert plan.start.kind is StartKind.RESUME and plan.hyperparameters["one_cycle_share"] > 0
    assert [step for step, _ in longer.result.curve][-1] == 64
    assert {artefact.name for artefact in longer.artefacts} >= {OPTIMIZER}
    assert "longer" in list(study.leaderboard()["kind"])
    assert longer.id not in [trial.id for trial in study.history.towers.completed]
    assert study.replay(longer.id, provider).same
    assert study.predict(np.zeros((3, 5), "float32"), longer.id).shape == (3,)
    with pytest.raises(UserError, match=f"trial {longer.id} .completed. already trains trial {before.id}"):
        study.train_longer(before.id, 40, provider, progress=False)
    further = study.train_longer(longer.id, 8, provider, one_cycle=False, progress=False)
    assert (further.plan.first_step, further.plan.steps) == (64, 72)
    ended = len(study.trials)
    with pytest.raises(StudyError, match="training data of study 'e' differ"):
        study.train_longer(before.id, 5, array_data.Provider(np.eye(20, 5, dtype="float32"), [0, 1] * 10))
    with pytest.raises(StudyError, match="no trial 99"):
        study.train_longer(99, 5, provider)
    with pytest.raises(UserError, match="steps is 0"):
        study.train_longer(before.id, 0, provider)
    with pytest.raises(UserError, match="data is a str"):
        study.train_longer(before.id, 5, "train.csv")
    assert len(study.trials) == ended


def test_what_was_interrupted_is_taken_up_again(study, provider, monkeypatch):
    number, trained = study.best_trial.id, len(study.trials)

    class Pressed(training.Interrupts):
        asked = True

    with monkeypatch.context() as patched:
        patched.setattr(training, "Interrupts", Pressed)
        with pytest.raises(KeyboardInterrupt):
            study.train_longer(number, 16, provider, progress=False)
    waiting = study.trial(trained + 1)
    assert (waiting.state, waiting.plan.kind) == (TrialState.INTERRUPTED, TrialKind.LONGER)
    ended = study.train_longer(number, 16, provider, progress=False)
    assert (ended.id, ended.attempt, ended.state) == (waiting.id, 2, TrialState.COMPLETED)


def test_a_trial_without_its_optimizer_state_is_continued_with_a_note(study, provider, tmp_path, capsys):
    import shutil

    folder = tmp_path / "moved"
    shutil.copytree(study.folder, folder)
    store = SqliteStore(folder / DATABASE)
    store._db.execute("DELETE FROM artefacts WHERE name = ?", (OPTIMIZER,))
    store.close()
    number = train_longer(folder, LongerOptions(1, 8, provider))
    assert "the state of trial 1's optimizer is not stored; it begins anew" in capsys.readouterr().err
    copied = model_search.load_study(tmp_path, "moved")
    assert copied.trial(number).plan.start.kind is StartKind.CONTINUE
    copied.close()


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_search_with_a_time_limit_trains_its_winner_longer(provider, tmp_path):
    clock, spec = Clock(), load_text(SPEC)
    given = options(tmp_path, time_limit=100.0)
    single_trainer.SingleTrainer(provider, spec).run(dataclasses.replace(given, time_limit=None)).close()
    session, deadline = open_session(provider, spec, given), Deadline(100.0, clock=clock)
    final = FinalTraining.of(spec)
    assert final.seconds(given) == 50.0
    assert final.seconds(dataclasses.replace(given, folds=5)) == 0.0  # which take its place
    clock.now = 20.0
    best = max(session.store.history()[0], key=lambda trial: -trial.result.metrics["loss"])
    assert train_winners(session, final, given, deadline, StopReason.FINISHED) is StopReason.FINISHED
    trials = session.store.history()[0]
    assert [trial.plan.kind for trial in trials] == [TrialKind.SEARCH] * 2 + [TrialKind.LONGER]
    assert trials[-1].plan.parent == best.id
    assert trials[-1].plan.steps - 24 == affordable_steps(best, 20.0, session.data)
    train_winners(session, final, given, deadline, StopReason.FINISHED)
    assert len(session.store.history()[0]) == 3  # once
    session.store.close()


def test_a_larger_tower_is_trained_longer_beside_the_best_if_there_is_time(provider, study, tmp_path):
    session = open_session(provider, load_text(SPEC), options(tmp_path))
    best = study.history.completed[0]

    def trial(number, parameters, seconds):
        timings = {"train": seconds, "build": 0.0}
        result = dataclasses.replace(best.result, parameters=parameters, timings=timings, metrics={"loss": number / 10})
        plan = dataclasses.replace(best.plan, kind=TrialKind.SEARCH, start=None, first_step=0, steps=101)
        return dataclasses.replace(best, id=number, plan=plan, result=result)

    history = History(session.record.ranking)
    history.update(
        [trial(1, 100, 1.0), trial(2, 150, 1.0), trial(3, 900, 90.0), trial(4, 300, 1.0), trial(5, 250, 1.0)]
    )
    chosen = {
        (count, seconds): [one.id for one in winners._winners(history, count, seconds, session.data)]
        for count, seconds in ((1, 100.0), (2, 100.0), (3, 100.0), (2, 4.0))
    }
    assert chosen == {(1, 100.0): [1], (2, 100.0): [1, 4], (3, 100.0): [1, 4], (2, 4.0): [1]}
    session.store.close()


def test_what_is_as_accurate_within_noise_is_trained_longer_if_its_loss_is_less(provider, study, tmp_path):
    session = open_session(provider, load_text(SPEC), options(tmp_path))
    best, rows = study.history.completed[0], len(session.data.valid)

    def trial(number, accuracy, **metrics):
        result = dataclasses.replace(best.result, metrics={"accuracy": accuracy, **metrics})
        plan = dataclasses.replace(best.plan, kind=TrialKind.SEARCH, start=None, first_step=0, steps=101)
        return dataclasses.replace(best, id=number, plan=plan, result=result)

    error = (0.5 * 0.5 / rows) ** 0.5
    trials = [
        trial(1, 0.5, loss=1.5), trial(2, 0.5 - 0.9 * error, loss=1.2), trial(3, 0.5 - 1.2 * error, loss=0.9),
        trial(4, 0.5),
    ]  # fmt: skip
    for metric, expected in (("accuracy", 2), ("loss", 3)):
        history = History(metric, "maximize" if metric == "accuracy" else "minimize")
        history.update(trials)
        assert [one.id for one in winners._winners(history, 1, 100.0, session.data)] == [expected]
    session.store.close()


def test_steps_of_a_final_training_follow_from_the_time(study, provider, tmp_path):
    session = open_session(provider, load_text(SPEC), options(tmp_path))
    trial = study.trial(1)
    timings = {"train": 2.3, "build": 1.0, "trace": 2.0, "validate": 1.0}  # a tenth of a second a step
    trial = dataclasses.replace(trial, result=dataclasses.replace(trial.result, timings=timings))
    assert affordable_steps(trial, 14.0, session.data) == int(0.85 * 100)
    assert affordable_steps(trial, 4.5, session.data) is None  # 4 steps
    rows = len(session.data.train)
    assert affordable_steps(trial, 1e9, session.data) == 300 * -(-rows // 16)
    session.store.close()


def test_a_final_fit_trains_the_best_tower_until_it_gets_no_better(study, provider, monkeypatch):
    monkeypatch.setattr(training, "MOST_EPOCHS", 12)
    best = next(trial for trial in study.history.completed if trial.plan.kind is not TrialKind.LONGER)
    final = study.final_fit(provider, best.id, patience=2, progress=False)
    steps = [step for step, _ in final.result.curve]
    epoch = -(-round(0.8 * 240) // 16)
    assert {after - before for before, after in itertools.pairwise(steps)} == {epoch}
    losses = [loss for _, loss in final.result.curve]
    if final.result.stopped_at is None:
        assert steps[-1] == final.plan.steps
    else:
        assert min(losses[-2:]) >= min(losses[:-2]) and final.result.stopped_at == steps[-1]
    assert final.plan.patience == 2 and final.plan.parent == best.id
    for patience in (-1, 0):
        with pytest.raises(UserError, match=f"patience is {patience}"):
            study.final_fit(provider, patience=patience)
    with pytest.raises(UserError, match="steps is None"):
        study.train_longer(best.id, None, provider)


def rungs(study, points, number=1, **changes):
    """Trials of one tower, each of which goes on from the one before: one for each (steps, loss) of `points`."""
    found, best = [], study.history.completed[0]
    for place, (steps, loss) in enumerate(points):
        begun = {} if not found else {"start": WarmStart(StartKind.RESUME, (found[-1].id,)), "parent": found[-1].id}
        first = 0 if not found else found[-1].plan.steps
        plan = dataclasses.replace(
            best.plan, **{"kind": TrialKind.SEARCH, "start": None, "parent": None} | begun | changes,
            trial_id=number + place, steps=steps, first_step=first, rung=place,
        )  # fmt: skip
        timings = {"train": (steps - first - 1) / 10, "build": 0.0}
        result = dataclasses.replace(best.result, metrics={"loss": loss}, timings=timings, stopped_at=None)
        found.append(dataclasses.replace(best, id=number + place, plan=plan, result=result))
    return found


def history_of(session, trials):
    history = History(session.record.ranking)
    history.update(trials)
    return history


def test_a_loss_is_foretold_by_a_power_law_through_two_rungs(provider, study, tmp_path):
    session = open_session(provider, load_text(SPEC), options(tmp_path))
    first, second = rungs(study, [(100, 2.0), (200, 1.0)])  # halved where the steps are doubled
    history = history_of(session, [first, second])
    assert loss_after(second, 200, history) == pytest.approx(0.5)
    assert loss_after(first, 200, history) is None
    assert loss_after(second, 200, history_of(session, [second])) is None
    worse = dataclasses.replace(second, result=dataclasses.replace(second.result, metrics={"loss": 3.0}))
    assert loss_after(worse, 200, history) == 3.0  # no worse than it is
    for metrics in ({"loss": -1.0}, {"accuracy": 1.0}):
        strange = dataclasses.replace(second, result=dataclasses.replace(second.result, metrics=metrics))
        assert loss_after(strange, 200, history) is None
    session.store.close()


def test_what_is_trained_longer_is_what_its_rungs_foretell(provider, study, tmp_path):
    session = open_session(provider, load_text(SPEC), options(tmp_path))
    fast = rungs(study, [(100, 0.9), (300, 0.8)], 1, architecture=("FIXED_OUTPUT_FULLY_CONNECTED_64",))
    slow = rungs(study, [(100, 1.6), (300, 0.85)], 3, architecture=("FIXED_OUTPUT_FULLY_CONNECTED_64",) * 2)
    same = rungs(study, [(100, 1.6), (300, 0.86)], 5, architecture=("FIXED_OUTPUT_FULLY_CONNECTED_64",) * 2)
    fell = rungs(study, [(100, 1.6), (300, 0.5), (900, 0.9)], 7, architecture=("FIXED_OUTPUT_FULLY_CONNECTED_64",) * 2)
    history = history_of(session, [*fast, *slow, *same, *fell])  # the last one's second rung promised much
    larger = rungs(study, [(100, 2.0)], 20)[0]
    larger = dataclasses.replace(larger, result=dataclasses.replace(larger.result, parameters=10**6))
    history.update([larger])
    epochs = 0.85 * 10 * 16 / len(session.data.train)  # of a second

    def chosen(count, seconds):
        return [trial.id for trial in winners._winners(history, count, seconds, session.data)]

    assert chosen(1, 100.0) == [4]  # now 2 is better
    assert chosen(2, 2 * 39 / epochs) == [4]
    assert chosen(2, 2 * 42 / epochs) == [4, 20]  # 40 epochs each, and twice the parameters of the first
    session.store.close()


def test_longer_trainings_of_another_call_do_not_count_as_models_of_this_one(provider, tmp_path, monkeypatch):
    run, turns = dispatch.run_session, iter([1])

    def run_beside_another(session, *given):
        for _ in turns:
            claim = session.store.claim_trial("another")
            plan = TrialPlan(claim.trial_id, TrialKind.LONGER, ("IDENTITY",), {}, 8, 8, 1, "longer")
            session.store.commit_plan(claim, plan)
            session.store.complete(claim, TrialResult({"loss": 9.0}, 1, 8, {}))
        return run(session, *given)

    monkeypatch.setattr(dispatch, "run_session", run_beside_another)
    study = single_trainer.SingleTrainer(provider, load_text(SPEC)).run(options(tmp_path))
    kinds = [trial.plan.kind for trial in study.trials]
    assert len(kinds) - kinds.count(TrialKind.LONGER) == 2
