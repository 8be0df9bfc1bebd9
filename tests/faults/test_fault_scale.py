"""A study with very many trials."""

import sqlite3
import time

import numpy as np
from programs import DATABASE, make_plan, make_record, make_result

from model_search.metadata import records
from model_search.metadata.sqlite_store import SqliteStore

MOST_CLAIM_SECONDS, MOST_OPEN_SECONDS = 0.05, 1.0


def fill(path, trials):
    """Completed trials, written past the store, for it writes each to the disk."""
    store = SqliteStore(path)
    store.create_study(make_record())
    claim = store.claim("w", 1)
    store.commit_plan(claim, make_plan(1))
    store.complete(claim, make_result(1))
    store.close()
    connection = sqlite3.connect(path)
    (columns,) = connection.execute("SELECT group_concat(name) FROM pragma_table_info('trials')").fetchall()[0]
    template = dict(
        zip(columns.split(","), connection.execute(f"SELECT {columns} FROM trials").fetchone(), strict=True)
    )
    rows = []
    for number in range(2, trials + 1):
        plan = make_plan(number)
        texts = {
            "plan": plan.to_json(),
            "plan_key": plan.key,
            "result": records.write_result(number, make_result(number)),
        }
        rows.append(tuple((template | texts | {"id": number, "revision": number + 3}).values()))
    connection.executemany(f"INSERT INTO trials ({columns}) VALUES ({','.join('?' * len(template))})", rows)
    numbers = [(number,) for number in range(2, trials + 1)]
    connection.executemany(
        "INSERT INTO attempts SELECT ?, attempt, worker, host, pid, boot, namespace, started, heartbeats, began_at, "
        "ended_at, ending FROM attempts WHERE trial_id = 1",
        numbers,
    )
    artefact = "position, name, path, sha256, size, pruned_at"
    for table, column in (("curve", "position, step, value"), ("artefacts", artefact)):
        connection.executemany(f"INSERT INTO {table} SELECT ?, {column} FROM {table} WHERE trial_id = 1", numbers)
    connection.commit()
    connection.close()


def test_very_many_trials(full, count, figure, tmp_path):
    trials, claims = count(100_000, 2_000), count(500, 50)
    fill(tmp_path / DATABASE, trials)
    started = time.perf_counter()
    store = SqliteStore(tmp_path / DATABASE)
    store.study()
    opened = time.perf_counter() - started
    took = []
    for _ in range(claims):
        started = time.perf_counter()
        claim = store.claim("w", 10**7)
        took.append(time.perf_counter() - started)
        store.commit_plan(claim, make_plan(claim.trial_id))
        store.complete(claim, make_result(claim.trial_id))
    revision = store.history(10**9)[1]
    started = time.perf_counter()
    assert store.history(revision - 1)[0][0].id == trials + claims
    latest = time.perf_counter() - started
    started = time.perf_counter()
    assert len(store.history()[0]) == trials + claims
    everything = time.perf_counter() - started
    store.close()
    slowest = float(np.quantile(took, 0.99))
    figure(
        f"{trials:,} trials",
        f"claim p99 {1000 * slowest:.1f} ms (median {1000 * float(np.median(took)):.1f}), open {1000 * opened:.0f} ms, "
        f"history of one change {1000 * latest:.1f} ms, of all {everything:.1f} s",
    )
    if full:
        assert slowest <= MOST_CLAIM_SECONDS
        assert opened <= MOST_OPEN_SECONDS
