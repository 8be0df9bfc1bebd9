"""What is deleted to save room, and what never is."""

import dataclasses

import numpy as np
import pytest

from model_search.errors import UserError
from model_search.metadata.artefacts import LocalArtefacts, save_arrays
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Claim, StudyRecord
from model_search.metadata.trial import (
    DistillationPlan,
    EnsemblePlan,
    StartKind,
    TrialKind,
    TrialPlan,
    TrialResult,
    WarmStart,
)
from model_search.search.history.history import History
from model_search.trainers import pruning
from model_search.trainers.options import SearchOptions
from model_search.trainers.pruning import Keeping, Pruner

BYTES = 1000


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(tmp_path / "study.db")
    opened.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
    yield opened
    opened.close()


@pytest.fixture
def run(store, tmp_path):
    """`run(loss, **plan)` completes a trial; `run(None, **plan)` leaves it running."""

    def run_one(loss, stopped_at=None, **changes):
        claim = store.claim("w", 10**6)
        values = {"architecture": ("IDENTITY",), "kind": TrialKind.SEARCH, "steps": 1} | changes
        plan = TrialPlan(claim.trial_id, hyperparameters={}, batch_size=1, seed=1, key=str(claim), **values)
        store.commit_plan(claim, plan)
        if loss is not None:
            weights = save_arrays(LocalArtefacts(tmp_path), claim.trial_id, "weights.npz", {"a": np.zeros(BYTES, "u1")})
            result = TrialResult({"loss": loss}, 1, 1, {}, artefacts=(weights,), stopped_at=stopped_at)
            store.complete(claim, result)
        return claim.trial_id

    return run_one


@pytest.fixture
def prune(store, tmp_path):
    def prune_to(models=10**6, size=None):
        history = History("loss", "minimize")
        history.update(store.history()[0])
        return Pruner(store, LocalArtefacts(tmp_path), history, Keeping(models, size)).prune()

    return prune_to


def kept(store):
    trials = [trial for trial in store.history()[0] if trial.result is not None]
    return [trial.id for trial in trials if not trial.result.artefacts[0].pruned]


def test_the_best_keep_their_files(store, run, prune, tmp_path):
    for loss in (0.5, 0.1, 0.4, 0.2, 0.3):
        run(loss)
    assert prune(2) == [1, 3, 5]
    assert kept(store) == [2, 4]
    assert sorted(int(file.parent.name) for file in tmp_path.glob("trials/*/*.npz")) == [2, 4]
    assert prune(2) == []
    assert len(store.history()[0]) == 5


def test_what_another_process_needs_meanwhile_is_pruned_when_it_is_done(store, run, tmp_path):
    for loss in (0.5, 0.1, 0.4, 0.2):
        run(loss)
    history = History("loss", "minimize")
    history.update(store.history()[0])
    pruner = Pruner(store, LocalArtefacts(tmp_path), history, Keeping(2))
    of_another = run(None, start=WarmStart(StartKind.COPY, (1,)))
    assert pruner.prune() == [3]
    store.fail(Claim(of_another, 1, "w"), "no luck")
    store.prune([1])  # by the other process
    assert pruner.prune() == [1]
    assert pruner.prune() == []


def test_towers_that_a_schedule_may_still_continue_keep_their_files(store, run, prune):
    short = [run(loss, total_steps=9) for loss in (0.9, 0.8, 0.95)]
    run(0.7, start=WarmStart(StartKind.CONTINUE, (short[1],)), first_step=1, steps=9, rung=1)
    full = [run(loss) for loss in (0.1, 0.2, 0.3, 0.4)]
    prune(2)
    assert kept(store) == [*short, *full[:2]]


def test_of_many_towers_that_wait_the_best_of_each_rung_keep_their_files(store, run, prune, monkeypatch):
    monkeypatch.setattr(pruning, "_RECENT", 3)
    low = [run(loss, total_steps=9) for loss in (0.9, 0.8, 0.95, 0.7, 0.85)]
    high = [run(loss, total_steps=9, rung=1) for loss in (0.6, 0.65)]
    run(0.1)
    prune(1)
    assert kept(store) == [low[1], low[3], low[4], *high, high[-1] + 1]


def test_a_tower_that_was_stopped_is_not_waited_for(store, run, prune):
    stopped, waiting = run(0.9, total_steps=9, stopped_at=1), run(0.95, total_steps=9)
    run(0.1)
    prune(1)
    assert stopped not in kept(store) and waiting in kept(store)


def test_brackets_that_are_over_keep_nothing(store, run, prune, monkeypatch):
    monkeypatch.setattr(pruning, "_RECENT", 2)
    over = [run(0.9, total_steps=9, bracket=0) for _ in range(3)]
    waiting = [run(0.9, total_steps=9, bracket=1) for _ in range(2)]
    run(0.1)
    prune(1)
    assert not set(over) & set(kept(store)) and set(waiting) <= set(kept(store))


def test_what_is_built_on_keeps_its_files(store, run, prune):
    average = EnsemblePlan("average")
    teaching = DistillationPlan("mse_logits")
    for _ in range(8):
        run(1.0)
    best = run(0.1, members=(1, 2), architecture=(), ensemble=average, kind=TrialKind.ENSEMBLE)
    run(None, members=(3,), ensemble=average)
    run(None, teacher=(4,), distillation=teaching)
    run(None, start=WarmStart(StartKind.COPY, (5,)))
    store.save_final_models([FinalModel(FinalKind.ENSEMBLE, {}, 1, 0.1, (1,), members=(FinalMember(6, 1.0),))])
    single = run(0.2)
    assert prune(1) == [7, 8]
    assert kept(store) == [1, 2, 3, 4, 5, 6, best, single]


def test_what_the_last_trials_were_built_on_keeps_its_files(store, run, prune):
    run(1.0)
    run(0.9)
    run(0.5, start=WarmStart(StartKind.COPY, (1,)))
    assert prune(1) == [2]


def test_a_study_that_replays_keeps_all(store, run, prune):
    for _ in range(3):
        run(1.0, kind=TrialKind.REPLAY)
    assert prune(1) == []


def test_bytes_are_a_limit_too_and_the_worst_go_first(store, run, prune):
    for loss in (0.5, 0.1, 0.4, 0.2, 0.3):
        run(loss)
    size = store.trial(1).result.artefacts[0].size
    assert prune(size=3 * size) == [1, 3]
    assert prune(size=size // 2) == [4, 5]  # the best one stays, whatever its size
    assert kept(store) == [2]


def test_a_limit_of_bytes_takes_nothing_that_is_needed(store, run, prune):
    worst = run(0.9)
    others = [run(loss) for loss in (0.1, 0.2, 0.3)]
    run(None, kind=TrialKind.ENSEMBLE, architecture=(), members=(worst, others[0]), ensemble=EnsemblePlan("average"))
    size = store.trial(1).result.artefacts[0].size
    assert prune(size=2 * size) == others[1:]
    assert prune(size=1) == []
    assert kept(store) == [worst, others[0]]


def test_a_few_too_many_are_left_for_the_next_time(store, run, prune):
    for number in range(41):
        run(float(number))
    assert prune(40) == []
    run(99.0)
    run(100.0)
    assert prune(40) == [41, 42, 43]


def test_what_is_asked_for_is_checked(tmp_path):
    def keeping(**changes):
        values = {
            "number_models": 1, "train_steps": 1, "eval_steps": 1, "root_dir": tmp_path, "batch_size": 1,
            "experiment_name": "x", "experiment_owner": "",
        }  # fmt: skip
        return SearchOptions(**values | changes).keeping

    assert keeping() == Keeping(1000)
    assert keeping(keep_models=None) is None
    assert keeping(keep_models=5, disk_limit=0.5) == Keeping(5, 500_000_000)
    assert keeping(keep_models=None, disk_limit=1).size == 10**9
    assert dataclasses.asdict(keeping(keep_models=7)) == {"models": 7, "size": None}
    with pytest.raises(UserError, match="keep_models is 0"):
        keeping(keep_models=0)
    with pytest.raises(UserError, match="disk_limit is -1"):
        keeping(disk_limit=-1)


def test_towers_that_new_ones_may_start_from_keep_their_files(store, run, prune, monkeypatch):
    monkeypatch.setattr(pruning, "MOST_SOURCES", 2)
    for loss in (0.9, 0.2, 0.8, 0.1, 0.7, 0.6):
        run(loss)
    run(0.5, start=WarmStart(StartKind.AVERAGE, (1,), (1.0,)))
    assert prune(1) == [3, 5]  # 1 is built on; 2 and 4 are the best; 6 and 7 the latest
