"""What the processes of the races run: python race_worker.py ROLE DATABASE [NUMBER]. Prints JSON lines."""

import json
import sys
import time
from pathlib import Path

from store_contract import RECORD, make_plan, make_result

from model_search.metadata.sqlite_store import SqliteStore


def wait_for_start(database):
    """So that all begin together: says that it is ready, waits for the file "go" beside the database."""
    print(json.dumps("ready"), flush=True)
    while not (database.parent / "go").exists():
        time.sleep(0.001)


def claims(database, number):
    """Claims `number` trials."""
    store = SqliteStore(database)
    wait_for_start(database)
    print(json.dumps([store.claim("w", 10**6).trial_id for _ in range(number)]))


def create(database, number):
    """Creates the study, each with a seed of its own."""
    wait_for_start(database)
    values = {field: getattr(RECORD, field) for field in RECORD.__dataclass_fields__}
    record = SqliteStore(database).create_study(type(RECORD)(**values | {"seed": number}))
    print(json.dumps(record.seed))


def hold(database, number):
    """Claims a trial (plans it where `number` is not 0) and holds it until it is killed."""
    store = SqliteStore(database)
    claim = store.claim("holder", 10**6)
    if number:
        store.commit_plan(claim, make_plan(claim.trial_id))
    print(json.dumps(claim.trial_id), flush=True)
    time.sleep(600)


def endless(database, number):
    """Runs trials until it is killed, saying so after each."""
    store = SqliteStore(database)
    while True:
        claim = store.claim("endless", 10**6)
        store.commit_plan(claim, claim.plan or make_plan(claim.trial_id))
        store.complete(claim, make_result(environment={"number": number}))
        print(json.dumps(claim.trial_id), flush=True)
        time.sleep(0.003)  # so that the other one has its turn


def reclaim(database, number):
    """Puts back trials of dead processes."""
    store = SqliteStore(database)
    wait_for_start(database)
    print(json.dumps(store.reclaim_dead()))


if __name__ == "__main__":
    role, database, number = sys.argv[1:]
    globals()[role](Path(database), int(number))
