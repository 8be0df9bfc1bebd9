"""A thread that beats for the trial in hand."""

import sqlite3
import threading
import time

import pytest

from model_search.errors import StaleClaimError, StoreError
from model_search.metadata.sqlite_store import SqliteStore
from model_search.trainers.heartbeat import Heartbeat

LONG = 120.0  # before a test gives up; nothing takes so long


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(tmp_path / "study.db")
    yield opened
    opened.close()


def wait_until(true):
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def beats(store):
    return store.heartbeats()[0].counter


def test_it_beats_while_the_main_thread_is_busy(store):
    claim = store.claim("w", 5)
    before = beats(store)
    with Heartbeat(store.another, seconds=0.01).of(claim):
        wait_until(lambda: beats(store) >= before + 3)
    wait_until(lambda: all(thread.name != "heartbeat" for thread in threading.enumerate()))


def test_a_lost_claim_raises_at_the_next_check(store):
    claim = store.claim("w", 5)
    heartbeat = Heartbeat(store.another, seconds=0.01)

    def is_lost():
        try:
            heartbeat.check()
        except StaleClaimError:
            return True
        return False

    with heartbeat.of(claim):
        assert not is_lost()
        while not store.reclaim(store.heartbeats()):
            pass
        wait_until(is_lost)
    with heartbeat.of(store.claim("w", 5)):
        assert not is_lost()


def test_a_trial_that_does_not_move_is_not_kept_alive(store):
    claim = store.claim("w", 5)
    now, asked = [0.0], []

    def clock():
        asked.append(now[0])
        return now[0]

    heartbeat = Heartbeat(store.another, seconds=0.01, patience=5.0, clock=clock)
    with heartbeat.of(claim):
        wait_until(lambda: beats(store) > 1)
        now[0] = 6.0
        wait_until(lambda: asked.count(6.0) > 1)  # the beat that was under way is over
        silent = beats(store)
        wait_until(lambda: asked.count(6.0) > 5)
        assert beats(store) == silent
        heartbeat.check()
        wait_until(lambda: beats(store) > silent)


def test_a_store_that_cannot_be_written_is_tried_again(store):
    claim = store.claim("w", 5)
    before, tries = beats(store), []

    def another():
        tries.append(1)
        if len(tries) < 3:
            raise StoreError("the disk is full")
        return store.another()

    with Heartbeat(another, seconds=0.01).of(claim):
        wait_until(lambda: beats(store) > before)
    assert len(tries) == 3


def test_a_database_that_is_locked_does_not_hold_up_the_end_of_a_trial(store, tmp_path):
    claim = store.claim("w", 5)
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begun = threading.Event()

    def another():
        begun.set()
        return store.another()

    started = time.monotonic()
    with Heartbeat(another, seconds=0.01).of(claim):
        assert begun.wait(LONG)
    assert time.monotonic() - started < LONG
    other.execute("ROLLBACK")
    other.close()
