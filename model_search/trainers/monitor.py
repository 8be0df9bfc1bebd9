"""Monitors a study from outside its workers: shows every trial that ends, and calls the user's callbacks."""

from __future__ import annotations

from model_search.search.history.history import History
from model_search.trainers.session import RunContext, Session


class Monitor:
    """Reads the changes of the store, whichever process made them."""

    def __init__(self, session: Session, context: RunContext):
        self._store = session.store
        self._display = context.display
        self._callbacks = context.options.callbacks
        self._revision = 0
        self.history = History(session.record.ranking)

    def resume(self) -> int:
        """Reads the trials that exist already; returns the number of models among them."""
        trials, self._revision = self._store.history(self._revision)
        self.history.update(trials)
        self._display.resume(self.history)
        return self.history.completed_count

    def follow(self) -> int:
        """Reports the trials that have ended since; returns the number of models among them."""
        trials, self._revision = self._store.history(self._revision)
        before = self.history.completed_count
        ended = sorted((trial for trial in trials if trial.state.is_final), key=lambda trial: trial.revision)
        for trial in ended:
            self.history.update([trial])
            self._display.finish(trial, self.history)
            for callback in self._callbacks:
                callback(trial)
        self.history.update(trials)
        return self.history.completed_count - before
