"""Shards of a controller's parameters: workers that are killed while they write them, two at once, and damage"""

import shutil
import signal

import numpy as np
import pytest
from programs import DATABASE, make_record

from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.study_arrays import StudyArrays
from model_search.metadata.trial import TrialState
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.reinforce.shards import UPDATES_A_VERSION
from model_search.search.history.history import History
from model_search.spec.load import load_text

SHARDS = 3
A_BATCH = 2
A_VERSION = A_BATCH * UPDATES_A_VERSION  # trials
QUICK = {"beat": 0.1, "grace": 2.0}


def spec(shards, replicas):
    return f"""problem_type: DNN search_type: REINFORCE minimum_depth: 4 maximum_depth: 4
    blocks_to_use: ["FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1"] learning_spec {{ optimizers: "adam" }}
    reinforce {{ replicas: {replicas} update_every: {A_BATCH} }}
    search_settings {{ hparam {{ key: "shards" value {{ int64_value: {shards} }} }} }}"""


def trials_of(folder):
    store = SqliteStore(folder / DATABASE)
    trials = store.history()[0]
    store.close()
    return trials


def what_was_done(folder):
    return [(trial.id, trial.plan, dict(trial.result.metrics)) for trial in trials_of(folder)]


def shards_of(folder):
    """The hash of each shard, by name."""
    store = SqliteStore(folder / DATABASE)
    found = {name: file.sha256 for name, file in store.files().items() if name.startswith("controller-")}
    store.close()
    return found


def proposal(folder, shards, replicas):
    """What comes next, and the sentences that were said; a fresh worker, with what the study keeps or without."""
    store, notes, history = SqliteStore(folder / DATABASE), [], History("loss", "minimize")
    history.update(store.history()[0])
    algorithm = make_algorithm(load_text(spec(shards, replicas)))
    algorithm.keep_in(StudyArrays(store, LocalArtefacts(folder), notes.append))
    found = algorithm.propose(history, np.random.default_rng(0))
    store.close()
    return found, notes


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_worker_that_is_killed_while_it_writes_shards_changes_no_trial(start, count, figure, tmp_path, replicas):
    versions = count(6, 2)
    target = versions * A_VERSION + 5
    undisturbed, with_shards = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, with_shards):
        folder.mkdir()
    assert start("search", folder=undisturbed, target=target, spec=spec(0, replicas)).join() == 0
    kills = there = 0
    for version in range(versions):
        # The first kill leaves a version in part, the second one hits whoever goes on with it: no trial is lost.
        places = ("before the file", "before its record")
        for place in places if version % 2 else reversed(places):
            after = 0 if kills % 2 else (SHARDS - there if version else 0) + version % SHARDS
            options = {"target": target, "spec": spec(SHARDS, replicas), "place": place, "after": after}
            program = start("programs_shards.killed", folder=with_shards, **options, **QUICK)
            assert program.join() == -signal.SIGKILL, program.said()
            kills += 1
        there = version % SHARDS
        assert sum(f"-{(version + 1) * UPDATES_A_VERSION}-" in name for name in shards_of(with_shards)) == there
    last = start("search", folder=with_shards, target=target, spec=spec(SHARDS, replicas), **QUICK)
    assert last.join() == 0
    assert what_was_done(with_shards) == what_was_done(undisturbed)
    kept = {name.rsplit("-", 3)[0] for name in shards_of(with_shards)}
    assert len(kept) == 2 and len(shards_of(with_shards)) == 2 * SHARDS and not shards_of(undisturbed)
    figure(
        f"SIGKILL while a controller of {replicas} replicas writes its {SHARDS} shards, {kills} times",
        f"the same {target} trials as undisturbed and without shards; the two latest versions are whole",
    )


def test_two_workers_that_write_shards_at_once_write_the_same(start, count, figure, tmp_path):
    target = count(12, 4) * A_VERSION
    both = [start("search", target=target, name=f"w{i}", spec=spec(SHARDS, 3), notes=True, **QUICK) for i in range(2)]
    assert [program.join() for program in both] == [0, 0]
    assert sum(trial.state is TrialState.COMPLETED for trial in trials_of(tmp_path)) == target
    assert not [thing for program in both for thing in program.said() if "damaged" in str(thing.get("note"))]
    kept = shards_of(tmp_path)
    assert kept
    # One who has seen nothing but the trials comes to the same bytes.
    alone = tmp_path / "alone"
    alone.mkdir()
    store, history = SqliteStore(alone / DATABASE), History("loss", "minimize")
    store.create_study(make_record())
    algorithm = make_algorithm(load_text(spec(SHARDS, 3)))
    algorithm.keep_in(StudyArrays(store, LocalArtefacts(alone), pytest.fail))
    for trial in sorted(trials_of(tmp_path), key=lambda trial: trial.revision):
        history.update([trial])
        algorithm.propose(history, np.random.default_rng(0))
    store.close()
    again = shards_of(alone)
    same = kept.keys() & again.keys()
    assert same and all(kept[name] == again[name] for name in same)
    assert proposal(tmp_path, SHARDS, 3) == proposal(tmp_path, 0, 3)
    figure(
        f"two workers write the {SHARDS} shards of one controller at once, {target // A_VERSION} versions",
        "the same bytes as a worker by itself; what comes next is the same with shards and without",
    )


def test_a_damaged_shard_is_passed_over(start, count, figure, tmp_path):
    target, times = 3 * A_VERSION + 3, count(20, 4)
    assert start("search", target=target, spec=spec(SHARDS, 1)).join() == 0
    expected, notes = proposal(tmp_path, SHARDS, 1)
    assert not notes and expected == proposal(tmp_path, 0, 1)[0]
    rng, told = np.random.default_rng(1), 0
    for number in range(times):
        copy = tmp_path / f"copy{number}"
        copy.mkdir()
        shutil.copy(tmp_path / DATABASE, copy / DATABASE)
        shutil.copytree(tmp_path / "files", copy / "files")
        for file in sorted((copy / "files").glob("controller-*"))[:: 1 if number % 3 == 0 else 2]:
            content = bytearray(file.read_bytes())
            content[int(rng.integers(len(content)))] ^= 0xFF
            file.write_bytes(content[: len(content) // 2] if number % 2 else content)
        found, notes = proposal(copy, SHARDS, 1)
        assert found == expected
        told += bool(notes) and all("is not used, and computed again from the trials" in note for note in notes)
    assert told == times
    program = start("search", folder=copy, target=target + 1, spec=spec(SHARDS, 1), notes=True)
    assert program.join() == 0
    assert any("is not used" in str(thing.get("note")) for thing in program.said())
    figure(
        f"shards of a controller truncated or flipped, {times} times",
        f"{told} told about, none loaded; what comes next is what it would have been",
    )
