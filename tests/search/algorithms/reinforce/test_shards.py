"""A controller's parameters in shards: the same proposals with them and without, whatever has become of them."""

import dataclasses
import hashlib

import numpy as np
import pytest
from search_factory import completed, failed, make_plan, make_spec

from model_search.errors import SpecError
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.study_arrays import StudyArrays
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.reinforce import Reinforce
from model_search.search.algorithms.reinforce.shards import UPDATES_A_VERSION
from model_search.search.history.history import History
from model_search.spec.check import check
from model_search.spec.describe import explain

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")
KINDS = [{}, {"replicas": 3}, {"memory_weight": 0.1}, {"reward": 1, "replicas": 2}]
BATCH = 2
A_VERSION = BATCH * UPDATES_A_VERSION


def spec(shards=None, **fields):
    fields = {"update_every": BATCH, "hidden_units": 8} | fields
    found = make_spec("REINFORCE", blocks_to_use=BLOCKS, minimum_depth=5, maximum_depth=5, reinforce=fields)
    if shards is not None:
        found.search_settings.hparam["shards"].int64_value = shards
    return found


@pytest.fixture
def arrays(tmp_path):
    """The arrays of a study, and what is said of them."""
    store = SqliteStore(tmp_path / "study.db")
    store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
    notes = []
    kept = StudyArrays(store, LocalArtefacts(tmp_path), notes.append)
    kept.notes, kept.folder = notes, tmp_path
    yield kept
    store.close()


@pytest.fixture
def updates(monkeypatch):
    """The updates that are computed."""
    found, learn = [], Reinforce._learn

    def counted(algorithm, learnt, drawn):
        found.append(drawn.mark)
        learn(algorithm, learnt, drawn)

    monkeypatch.setattr(Reinforce, "_learn", counted)
    return found


def histories(number, seed=0):
    """A history of so many trials that grows, one trial at a time."""
    rng, history = np.random.default_rng(seed), History("loss", "minimize")
    for trial_id in range(1, number + 1):
        plan = make_plan(trial_id, [BLOCKS[i] for i in rng.integers(4, size=5)])
        history.update([completed(trial_id, float(rng.random()), plan)])
        yield history


def history_of(number, seed=0):
    *_, last = histories(number, seed)
    return last


def worker(arrays, shards=3, **fields):
    algorithm = make_algorithm(spec(shards, **fields))
    algorithm.keep_in(arrays)
    return algorithm


def next_of(algorithm, history, seed=5):
    return algorithm.propose(history, np.random.default_rng(seed))


def grown(arrays, number):
    """A worker that has proposed after each of so many trials, and their history."""
    live = worker(arrays)
    for history in histories(number):
        next_of(live, history)
    return live, history


def shards_in(arrays):
    return sorted(name for name in arrays.names() if name.startswith("controller-"))


def damage(arrays, name):
    (path,) = (arrays.folder / "files").glob(name.removesuffix(".npz") + ".*")
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("fields", KINDS)
def test_proposals_are_the_same_with_shards_and_without(arrays, fields):
    live, alone = worker(arrays, **fields), make_algorithm(spec(0, **fields))
    for number, history in enumerate(histories(2 * A_VERSION + 7), start=1):
        expected = next_of(alone, history, number)
        assert next_of(live, history, number) == expected
        if number % 5 == 0:
            assert next_of(worker(arrays, **fields), history, number) == expected
    assert len(shards_in(arrays)) == 6 and not arrays.notes


@pytest.mark.parametrize("fields", KINDS)
def test_a_fresh_worker_has_the_same_bits_and_makes_only_the_later_updates(arrays, updates, fields):
    history = history_of(2 * A_VERSION + 3 * BATCH)
    alone = make_algorithm(spec(0, **fields))
    next_of(alone, history)
    next_of(worker(arrays, **fields), history)
    assert len(updates) == 2 * (2 * UPDATES_A_VERSION + 3)
    updates.clear()
    fresh = worker(arrays, **fields)
    assert next_of(fresh, history) == next_of(alone, history)
    assert len(updates) == 3
    expected, found = alone._learnt, fresh._learnt
    assert found.controller.updates == expected.controller.updates
    for one, other in zip(
        [expected.controller.weights, *expected.controller.moments],
        [found.controller.weights, *found.controller.moments],
        strict=True,
    ):
        assert all((one[name] == other[name]).all() for name in one)
    for field in ("marks", "past", "losses", "total", "squares", "baseline"):
        assert getattr(found, field) == getattr(expected, field)
    assert found.fetched.keys() == expected.fetched.keys()


def test_a_worker_that_is_behind_takes_what_others_have_learnt(arrays, updates):
    behind = worker(arrays)
    next_of(behind, history_of(4))
    history = history_of(A_VERSION + 6)
    next_of(worker(arrays), history)
    updates.clear()
    expected = next_of(make_algorithm(spec(0)), history)
    updates.clear()
    assert next_of(behind, history) == expected
    assert len(updates) == 3


@pytest.mark.parametrize("way", ["damaged", "missing"])
@pytest.mark.parametrize("shard", [0, 2])
def test_without_a_shard_the_version_before_is_taken(arrays, updates, way, shard):
    live, history = grown(arrays, 2 * A_VERSION)
    newest = shards_in(arrays)[3 + shard]
    assert f"-{2 * UPDATES_A_VERSION}-" in newest
    if way == "missing":
        arrays.forget([newest])
    else:
        damage(arrays, newest)
    updates.clear()
    assert next_of(worker(arrays), history) == next_of(live, history)
    assert len(updates) == UPDATES_A_VERSION
    assert [newest in note for note in arrays.notes] == ([True] if way == "damaged" else [])
    # Whoever computes a version again writes what is missing.
    assert len(shards_in(arrays)) == 6


def test_with_all_versions_damaged_all_trials_are_learnt_from(arrays, updates):
    history = history_of(2 * A_VERSION)
    expected = next_of(worker(arrays), history)
    for name in shards_in(arrays):
        damage(arrays, name)
    updates.clear()
    assert next_of(worker(arrays), history) == expected
    assert len(updates) == 2 * UPDATES_A_VERSION
    assert "is not used, and computed again from the trials" in arrays.notes[0]


@pytest.mark.parametrize("change", ["nan", "shape", "type", "another", "name"])
def test_a_whole_file_with_other_contents_is_not_taken(arrays, updates, change):
    history = history_of(A_VERSION)
    expected = next_of(worker(arrays), history)
    name = shards_in(arrays)[1]
    stored = {shard: arrays.load(shard) for shard in shards_in(arrays)}
    parameters, whole = stored[name]["parameters"].copy(), stored[name]["whole"]
    if change == "nan":  # with the digest that goes with it
        parameters[0, 0] = np.nan
        matrix = np.concatenate([parameters if shard == name else stored[shard]["parameters"] for shard in stored], 1)
        whole = np.frombuffer(hashlib.sha256(matrix.tobytes()).digest(), np.uint8)
        for shard in stored:
            arrays.save(shard, {**stored[shard], "whole": whole})
    elif change == "another":
        parameters[0, 0] += 1e-12
    elif change == "shape":
        parameters = parameters[:-1]
    elif change == "type":
        parameters = parameters.astype("f4")
    arrays.save(name, {"parameters": parameters, "whole": whole} if change != "name" else {"weights": parameters})
    updates.clear()
    assert next_of(worker(arrays), history) == expected
    assert len(updates) == UPDATES_A_VERSION and len(arrays.notes) == 1


@pytest.mark.parametrize(
    "fields",
    [{"hidden_units": 9}, {"entropy_weight": 0.5}, {"controller_learning_rate": 0.1}, {"reward": 2}, {"replicas": 2},
     {"memory_weight": 0.3}],
)  # fmt: skip
def test_what_was_learnt_with_other_settings_is_not_taken(arrays, updates, fields):
    history = history_of(A_VERSION)
    next_of(worker(arrays), history)
    updates.clear()
    next_of(worker(arrays, **fields), history)
    assert len(updates) == UPDATES_A_VERSION


def test_what_was_learnt_from_other_results_is_not_taken(arrays, updates):
    next_of(worker(arrays), history_of(A_VERSION))
    updates.clear()
    next_of(worker(arrays), history_of(A_VERSION, seed=1))
    assert len(updates) == UPDATES_A_VERSION
    assert len(shards_in(arrays)) == 3  # and replaces it


def test_failed_trials_count_as_the_worst_one_so_that_a_later_loss_changes_what_was_learnt(arrays):
    history, alone, live = History("loss", "minimize"), make_algorithm(spec(0)), worker(arrays)
    rng = np.random.default_rng(3)
    for trial_id in range(1, 2 * A_VERSION + 1):
        plan = make_plan(trial_id, [BLOCKS[i] for i in rng.integers(4, size=5)])
        is_failed = trial_id in (3, 11)
        loss = 10.0 if trial_id == A_VERSION + 5 else float(rng.random())
        trial = failed(trial_id, plan) if is_failed else completed(trial_id, loss, plan)
        history.update([dataclasses.replace(trial, revision=trial_id)])
        expected = next_of(alone, history)
        assert next_of(live, history) == expected
        if trial_id % 10 == 0:
            assert next_of(worker(arrays), history) == expected


def test_two_versions_are_kept_and_a_late_worker_writes_no_earlier_one(arrays):
    grown(arrays, 4 * A_VERSION)
    kept = shards_in(arrays)
    numbers = {int(name.split("-")[2]) for name in kept}
    assert numbers == {3 * UPDATES_A_VERSION, 4 * UPDATES_A_VERSION} and len(kept) == 6
    assert len(list((arrays.folder / "files").glob("controller-*"))) == 6
    next_of(worker(arrays), history_of(2 * A_VERSION))
    assert shards_in(arrays) == kept


def test_a_new_window_follows_the_old_one(arrays, monkeypatch):
    monkeypatch.setattr("model_search.search.algorithms.reinforce.search._WINDOW", 2 * A_VERSION)
    live, alone = worker(arrays), make_algorithm(spec(0))
    for history in histories(6 * A_VERSION + 1):
        expected = next_of(alone, history)
        assert next_of(live, history) == expected
    assert {name.split("-")[1] for name in shards_in(arrays)} == {"1", "2"}  # the latest of either
    assert next_of(worker(arrays), history) == expected


def test_the_same_bytes_whoever_writes_them(tmp_path):
    hashes = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        store = SqliteStore(folder / "study.db")
        store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
        kept = StudyArrays(store, LocalArtefacts(folder), pytest.fail)
        if name == "one":
            next_of(worker(kept, replicas=2), history_of(2 * A_VERSION))
        else:
            live = worker(kept, replicas=2)
            for history in histories(2 * A_VERSION):
                next_of(live, history)
        hashes.append({f.name: f.sha256 for f in store.files().values() if f"-{2 * UPDATES_A_VERSION}-" in f.name})
        store.close()
    assert hashes[0] == hashes[1] and len(hashes[0]) == 3


@pytest.mark.parametrize("shards", [1, 20])
def test_any_number_of_shards_and_another_one_later(arrays, updates, shards):
    history = history_of(A_VERSION)
    expected = next_of(worker(arrays, shards), history)
    assert len(shards_in(arrays)) == shards
    updates.clear()
    assert next_of(worker(arrays, 7), history) == expected and not updates


def test_without_shards_nothing_is_kept(arrays):
    next_of(worker(arrays, 0), history_of(A_VERSION))
    assert not shards_in(arrays)


def test_nothing_is_kept_after_the_end_of_a_worker(arrays):
    live = worker(arrays)
    live.keep_in(None)
    next_of(live, history_of(A_VERSION))
    assert not shards_in(arrays)


def test_shards_is_a_setting(tmp_path):
    assert make_algorithm(spec()).shards == 1 and make_algorithm(spec(4)).shards == 4
    assert "Settings: shards 4" in explain(spec(4))
    with pytest.raises(SpecError, match="shards is -1; expected at least 0"):
        make_algorithm(spec(-1))
    assert not check(spec(4)) and check(spec(101))
