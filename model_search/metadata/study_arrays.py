"""Arrays of the study itself that could be computed again from its trials, and are kept so that they need not be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError, load_arrays, save_arrays
from model_search.metadata.store import Store

_LOG = logging.getLogger(__name__)


class StudyArrays:
    """Keeps arrays as files of the study, each with its SHA-256. It belongs to the thread of its store.

    Whoever keeps something here can do without it: a file that is missing or damaged is told about, and read as None.

    Args:
        store: The study's.
        artefacts: Where its files are.
        note: Takes a sentence for people.
    """

    def __init__(self, store: Store, artefacts: ArtefactStore, note: Callable[[str], None]) -> None:
        self._store = store
        self._artefacts = artefacts
        self._note = note
        self._noted: set[str] = set()

    def names(self) -> frozenset[str]:
        """The names of all files of the study itself."""
        return frozenset(self._store.files())

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of that name; None where there are none, or they cannot be read."""
        found = self._store.files().get(name)
        if found is None:
            return None
        try:
            return load_arrays(self._artefacts, found)
        except DamagedArtefactError as error:
            if name in self._store.files():  # otherwise another worker has deleted it meanwhile
                self.distrust(name, str(error))
            return None

    def distrust(self, name: str, why: str) -> None:
        """Tells, once, that a file cannot be used; it stays, so that it can be looked at."""
        if name not in self._noted:
            self._noted.add(name)
            self._note(f"{name} is not used, and computed again from the trials: {why}")

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores arrays; whoever computes the same ones stores the same file.

        Raises:
            StoreError: if they cannot be written; DiskFullError if there is no room.
        """
        self._store.save_file(save_arrays(self._artefacts, None, name, arrays))

    def forget(self, names: Iterable[str]) -> None:
        """Deletes what has these names; the record first, so that no record is without its file.

        Raises:
            StoreError: if a file cannot be deleted.
        """
        for artefact in self._store.forget_files(names):
            self._artefacts.delete(artefact)
            _LOG.debug("%s is deleted", artefact.path)
