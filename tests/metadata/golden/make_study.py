"""Makes a golden database: python make_study.py study_v1.db, with the version that introduced that schema.

Later versions must read it (tests/metadata/test_migrations.py). A golden file is never made again.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from made_records import RECORD, make_plan, run_one

from model_search.metadata.sqlite_store import SqliteStore


def main(path):
    store = SqliteStore(path)
    store.create_study(RECORD)
    run_one(store, 9, loss=0.25)
    failed = store.claim("w", 9)
    store.commit_plan(failed, make_plan(2, parent=1))
    store.fail(failed, "the loss is NaN at step 3")
    stopped = store.claim("w", 9)
    store.commit_plan(stopped, make_plan(3))
    store.claim("v", 9)
    store.release(stopped)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1])
