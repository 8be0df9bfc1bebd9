"""What an actor keeps in memory of a study's trials answers like the store itself."""

import pickle

import numpy as np
import pytest
from made_records import RECORD, make_plan, make_result
from store_contract import StoreContract

from model_search.metadata import ray_store
from model_search.metadata.ray_store import News
from model_search.metadata.sqlite_store import SqliteStore


class ByNews(SqliteStore):
    """A store whose history comes out of memory."""

    _news = None

    def history(self, since=0):
        self._news = self._news or News(SqliteStore(self._db.path))
        pickled, revision = self._news.since(since)
        return sorted(map(pickle.loads, pickled), key=lambda trial: trial.id), revision


class TestByNews(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: ByNews(tmp_path / "study.db")


@pytest.mark.parametrize("kept", [3, 5000])
def test_every_reader_gets_what_the_store_says_at_any_time(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(ray_store, "_NEWS", kept)
    store, rng = SqliteStore(tmp_path / "study.db"), np.random.default_rng(0)
    store.create_study(RECORD)
    news, claims, seen = News(store), [], [0]
    for _ in range(150):
        match rng.integers(4):
            case 0:
                claims.append((store.claim("w", 1000), False))
            case 1 if claims:
                claim, planned = claims.pop(rng.integers(len(claims)))
                if not planned:
                    store.commit_plan(claim, make_plan(claim.trial_id))
                    claims.append((claim, True))
                else:
                    store.complete(claim, make_result(float(rng.random())))
            case 2 if claims:
                store.fail(claims.pop(rng.integers(len(claims)))[0], "no reason")
            case _:
                since = int(rng.choice(seen))
                pickled, revision = news.since(since)
                assert (sorted(map(pickle.loads, pickled), key=lambda t: t.id), revision) == store.history(since)
                seen.append(revision)
    assert len(seen) > 20
    store.close()
