"""Disks that are full, files that are damaged, rows that were edited."""

import hashlib
import io
import shutil
import sqlite3

import numpy as np
import pytest
from programs import DATABASE

from model_search.errors import StoreError
from model_search.metadata.artefacts import DamagedArtefactError, LocalArtefacts, load_arrays
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState


def completed_of(folder):
    store = SqliteStore(folder / DATABASE)
    found = [trial for trial in store.history()[0] if trial.state is TrialState.COMPLETED]
    store.close()
    return found


def check_whole(folder):
    connection = sqlite3.connect(folder / DATABASE)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_full_disk(start, figure, tmp_path):
    ways = {"max_page_count": {"pages": 32}, "RLIMIT_FSIZE": {"file_bytes": 150_000}}
    ways["RLIMIT_FSIZE, weights"] = {"file_bytes": 150_000, "size": 50_000}
    results = []
    for way, limits in ways.items():
        folder = tmp_path / way
        folder.mkdir()
        assert start("search", folder=folder, target=3).join() == 0
        program = start("full_disk", folder=folder, target=200, **limits)
        assert program.join() == 0
        said = program.said()[-1]
        assert said["error"] == "DiskFullError"
        assert "make room" in said["message"]
        assert "Traceback" not in said["message"]
        check_whole(folder)
        before = {trial.id: trial.result.metrics for trial in completed_of(folder)}
        assert {thing["done"] for thing in program.done()} <= before.keys()
        target = len(before) + 3
        again = start("search", folder=folder, target=target)
        assert again.join() == 0
        assert again.said()[-1] == {"stopped": "finished"}
        after = {trial.id: trial.result.metrics for trial in completed_of(folder)}
        assert len(after) == target
        assert before.items() <= after.items()
        results.append(f"{way}: {said['error']} after {len(before)} results")
    figure("disk full", f"{'; '.join(results)}; integrity ok, all go on when there is room")


def test_damaged_checkpoints(start, count, figure, tmp_path):
    assert start("search", target=1, size=5000).join() == 0
    artefacts = LocalArtefacts(tmp_path)
    weights = next(
        artefact for artefact in completed_of(tmp_path)[0].result.artefacts if artefact.name == "weights.npz"
    )
    path, noticed = tmp_path / weights.path, 0
    whole = path.read_bytes()
    assert len(load_arrays(artefacts, weights)["logits/0"]) == 5000
    offsets = np.linspace(0, len(whole) - 1, count(20, 8)).astype(int)
    for number, offset in enumerate(offsets):
        changed = bytearray(whole[:offset] if number % 2 else whole)
        if not number % 2:
            changed[offset] ^= 1 << number % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(DamagedArtefactError, match=r"damaged|does not hold"):
            load_arrays(artefacts, weights)
        noticed += 1
    figure(f"checkpoint truncated or flipped at {len(offsets)} offsets", f"{noticed} noticed, 0 loaded")


CODE = "__import__('os').system('touch executed')"
EDITS = {
    "unknown kind": ("trials", "plan = json_set(plan, '$.kind', ?)", CODE),
    "plan no JSON object": ("trials", "plan = ?", "[]"),
    "plan empty": ("trials", "plan = ?", "{}"),
    "plan of another trial": ("trials", "plan = json_set(plan, '$.trial_id', ?)", 7),
    "steps a text": ("trials", "plan = json_set(plan, '$.steps', ?)", CODE),
    "steps negative": ("trials", "plan = json_set(plan, '$.steps', ?)", -1),
    "seed no whole number": ("trials", "plan = json_set(plan, '$.seed', ?)", 0.5),
    "hyperparameters a number": ("trials", "plan = json_set(plan, '$.hyperparameters', ?)", 2),
    "hyperparameter a list": ("trials", "plan = json_set(plan, '$.hyperparameters.x', json(?))", "[]"),
    "block a number": ("trials", "plan = json_set(plan, '$.architecture', json(?))", "[1]"),
    "unknown field": ("trials", "plan = json_set(plan, '$.hook', ?)", CODE),
    "own parent": ("trials", "plan = json_set(plan, '$.parent', 1)", None),
    "result no JSON object": ("trials", "result = ?", "[]"),
    "result empty": ("trials", "result = ?", "{}"),
    "metric a text": ("trials", "result = json_set(result, '$.metrics.loss', ?)", CODE),
    "metric infinite": ("trials", "result = json_set(result, '$.metrics.loss', json(?))", "9e999"),
    "unknown state": ("trials", "state = ?", "sleeping"),
    "path that climbs": ("artefacts", "path = ?", "../../executed"),
    "path absolute": ("artefacts", "path = ?", "/etc/passwd"),
    "path through a link": ("artefacts", "path = ?", "link/secret"),
    "size too small": ("artefacts", "size = ?", 1),
    "environment no object": ("environments", "document = ?", "[]"),
    "curve a text": ("curve", "value = ?", CODE),
    "pickled weights": ("artefacts", "", None),
}


class Executes:
    def __reduce__(self):
        return eval, (CODE,)


def edit(folder, artefact, table, change, value):
    """Writes past the store, as an editor of databases would."""
    connection = sqlite3.connect(folder / DATABASE)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    if change:
        where = {"trials": "id = 1", "environments": "1"}.get(table, "trial_id = 1")
        connection.execute(f"UPDATE {table} SET {change} WHERE {where}", () if value is None else (value,))
    else:
        buffer = io.BytesIO()
        np.savez(buffer, **{"0000": np.array([Executes()], dtype=object)})
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        (folder / artefact.path).write_bytes(buffer.getvalue())
        changed = (digest, len(buffer.getvalue()), artefact.name)
        connection.execute("UPDATE artefacts SET sha256 = ?, size = ? WHERE trial_id = 1 AND name = ?", changed)
    connection.commit()
    connection.close()


def read_everything(folder):
    """What the leaderboard, a member's weights and a continued search read."""
    store = SqliteStore(folder / DATABASE)
    try:
        for trial in store.history()[0]:
            for artefact in trial.result.artefacts if trial.result else ():
                load_arrays(LocalArtefacts(folder), artefact)
    finally:
        store.close()


def test_edited_rows(start, full, figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    refused, whole = [], tmp_path / "whole"
    whole.mkdir()
    assert start("search", folder=whole, target=1).join() == 0
    (whole / "link").symlink_to(outside)
    read_everything(whole)
    for number, (kind, (table, change, value)) in enumerate(EDITS.items()):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder, symlinks=True)
        edit(folder, completed_of(folder)[0].result.artefacts[0], table, change, value)
        with pytest.raises(StoreError) as caught:
            read_everything(folder)
        assert "Traceback" not in str(caught.value)
        refused.append(kind)
        if table == "trials" and (full or number == 0):  # a search that is continued says the same
            program = start("search", folder=folder, target=2)
            assert program.join() == 0
            assert program.said()[-1]["error"] == "StoreError"
    assert not list(tmp_path.rglob("executed"))
    figure(f"edited rows, {len(EDITS)} kinds", f"{len(refused)} refused in plain words, nothing executed")
