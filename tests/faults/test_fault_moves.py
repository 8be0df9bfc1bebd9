"""A study that is moved, deleted or begun anew by somebody while a search runs on it."""

import json
import shutil

import pytest
from programs import DATABASE, make_record

from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState

QUICK = {"beat": 0.1, "grace": 2.0}
GONE = "it was moved, deleted or overwritten while it was in use"


def completed_of(folder):
    store = SqliteStore(folder / DATABASE, create=False)
    found = {trial.id for trial in store.history()[0] if trial.state is TrialState.COMPLETED}
    store.close()
    return found


def move_study(root):
    (root / "x").rename(root / "y")
    return root / "y"


def move_root(root):
    root.rename(root.with_name("elsewhere"))
    return root.with_name("elsewhere") / "x"


def delete(root):
    while (root / "x").exists():  # files are made meanwhile
        shutil.rmtree(root / "x", ignore_errors=True)


def delete_database(root):
    (root / "x" / DATABASE).unlink()


def begin_anew(root):
    """Another study is in its place at once."""
    kept = move_study(root)
    (root / "x").mkdir()
    store = SqliteStore(root / "x" / DATABASE)
    store.create_study(make_record(seed=2))
    store.close()
    return kept


ACTS = [move_study, move_root, delete, delete_database, begin_anew]


@pytest.mark.parametrize("long", [False, True], ids=["between trials", "in a long trial"])
def test_a_study_that_is_gone(start, count, figure, tmp_path, long):
    times, stopped, kept_results, last = count(3, 1), 0, 0, "trials of 0.02 s"
    for turn in range(times):
        for act in ACTS:
            root = tmp_path / f"{turn}-{act.__name__}" / "runs"
            (root / "x").mkdir(parents=True)
            if long:  # the heartbeat notices; nothing is finished
                last = "a trial of ten minutes"
                program = start("search", folder=root / "x", target=10**6, seconds=600.0, **QUICK)
                program.wait_for(lambda thing: "begun" in thing)
            else:
                program = start("search", folder=root / "x", target=10**6, seconds=0.02, **QUICK)
                program.wait_for(lambda thing: thing.get("done", 0) >= 3)
            kept = act(root)
            assert program.join() == 0
            said = program.said()[-1]
            assert said["error"] == "VanishedStudyError", said
            assert GONE in said["message"]
            assert "\n" not in said["message"]
            stopped += 1
            left = sorted(path.name for path in (root / "x").iterdir()) if (root / "x").exists() else None
            assert (
                (left is None) if act in (move_study, move_root, delete) else (DATABASE in left) is (act is begin_anew)
            )
            if act is begin_anew:
                assert completed_of(root / "x") == set()
            if kept is None:
                continue
            acknowledged = {thing["done"] for thing in program.done()}
            assert acknowledged <= completed_of(kept)
            kept_results += len(acknowledged)
            again = start("search", folder=kept, target=len(acknowledged) + 3, **QUICK)
            assert again.join() == 0
            assert again.said()[-1] == {"stopped": "finished"}
            assert len(completed_of(kept)) == len(acknowledged) + 3
    figure(
        f"a study is moved, deleted or begun anew while a search runs on it ({last}), {stopped} times",
        f"{stopped} searches stop with one sentence, nothing is written in its place; {kept_results} acknowledged "
        "results in the moved ones, which go on",
    )


@pytest.mark.parametrize("act", [move_study, move_root, delete, begin_anew])
def test_with_two_worker_processes(start, figure, tmp_path, act):
    root = tmp_path / "runs"
    program = start("programs_studies.in_two_processes", target=10**6, seconds=0.05)
    for number in (1, 2, 3):
        program.wait_for(lambda thing, number=number: thing.get("done") == number)
    kept = act(root)
    assert program.join() == 0
    said = program.said()[-1]
    assert said.get("error") in ("VanishedStudyError", "StopStudyError"), json.dumps(said)
    assert GONE in said["message"]
    left = {path.name for path in (root / "x").iterdir()} if (root / "x").exists() else set()
    assert left <= {DATABASE}, sorted(map(str, root.rglob("*")))
    if kept is not None:
        acknowledged = {thing["done"] for thing in program.done()}
        assert acknowledged <= completed_of(kept)
    figure(f"the same with two worker processes: {act.__name__.replace('_', ' ')}", "one sentence; nothing lost")
