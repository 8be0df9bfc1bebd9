"""The parameters of a controller as shards of the study, so that a worker need not learn again from all trials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_search.metadata.study_arrays import StudyArrays
from model_search.search.algorithms.reinforce.controller import Controller
from model_search.search.algorithms.reinforce.learning import Learnt, Mark

UPDATES_A_VERSION = 10  # a version is kept after so many: replaying fewer costs less than a file does
_KEPT = 2  # versions: where a shard of the newest one is damaged, there is the one before
_DIGITS = 16
_NAME = re.compile(r"controller-(\d{1,6})-(\d{1,6})-([0-9a-f]{16})-(\d{1,3})-of-(\d{1,3})\.npz")


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """The parameters after some update.

    Attributes:
        window: The window of trials that they are learnt from.
        updates: Made in the window.
        digest: Of the settings and of the trials with their losses; whoever has the same has the same parameters.
        shards: Their number.
    """

    window: int
    updates: int
    digest: str
    shards: int

    def name(self, shard: int) -> str:
        """That of a shard's file."""
        return f"controller-{self.window}-{self.updates}-{self.digest}-{shard}-of-{self.shards}.npz"

    @property
    def names(self) -> list[str]:
        """The names of all shards."""
        return [self.name(shard) for shard in range(self.shards)]


class Shards:
    """Keeps versions of a controller's parameters, each in several shards, and finds them again.

    A version is a pure function of what its digest is of. So it is written once, two workers that write it at once
    write the same bytes, and none that was learnt from other trials is ever taken. A version that lacks a shard, since
    its writer was killed, or has a damaged one, is passed over: there is the one before, or the trials themselves. Bits
    of two machines, whose arithmetic may differ in the last digit, are never mixed: each shard has the digest of all.

    A shard is a part of the columns of a matrix, float64 [3 + replicas, parameters]: weights, first and second moments
    of the optimizer, and the weights that each replica draws with.

    Args:
        arrays: Where the study keeps them.
        shards: How many.
        settings: What the parameters depend on besides the trials, as JSON.
    """

    def __init__(self, arrays: StudyArrays, shards: int, settings: Sequence[Any]) -> None:
        self._arrays = arrays
        self._shards = shards
        self._settings = json.dumps(settings).encode()

    def write(self, window: int, marks: Sequence[Mark], learnt: Learnt) -> None:
        """Keeps what was learnt from all of these, unless there is the same or a later version.

        Raises:
            StoreError: if it cannot be written; DiskFullError if there is no room.
        """
        version = Version(window, len(marks), self._digests(marks)[-1], self._shards)
        names = self._arrays.names()
        known = _versions(names)
        if any((other.window, other.updates) > (window, len(marks)) for other in known):
            return
        missing = [shard for shard in range(self._shards) if version.name(shard) not in names]
        if not missing:
            return
        matrix = _matrix(learnt)
        whole = _whole(matrix)
        parts = np.array_split(matrix, self._shards, axis=1)
        for shard in missing:
            self._arrays.save(version.name(shard), {"parameters": parts[shard], "whole": whole})
        # One of the same update was learnt from other trials: the losses of failed ones count otherwise by now, say.
        earlier = sorted(other for other in known if (other.window, other.updates) < (window, len(marks)))
        outdated = known - {version, *earlier[1 - _KEPT :]}
        self._arrays.forget(name for other in sorted(outdated) for name in other.names)

    def read(self, window: int, marks: Sequence[Mark], least: int, into: Learnt, replicas: Sequence[int]) -> int:
        """Takes the parameters of the newest version that was learnt from the first of these.

        Args:
            window: The window of trials.
            marks: What there is to learn from.
            least: Updates that a version must have.
            into: A controller before its first update, which gets the parameters.
            replicas: The replicas that have drawn any of it, in order; none where there is only one.

        Returns:
            Its updates; 0 where there is none that is whole.
        """
        names, digests = self._arrays.names(), self._digests(marks)
        for version in sorted(_versions(names), reverse=True):
            if version.window != window or not least <= version.updates <= len(marks):
                continue
            if version.digest != digests[version.updates - 1] or not names.issuperset(version.names):
                continue
            drawn = {replica for replica, _ in marks[: version.updates]}
            present = [replica for replica in replicas if replica in drawn]
            if self._take(version, into, present):
                return version.updates
        return 0

    def _take(self, version: Version, into: Learnt, replicas: Sequence[int]) -> bool:
        rows, size = 3 + len(replicas), _size(into.controller)
        widths = [len(part) for part in np.array_split(np.empty(size, bool), version.shards)]
        parts, wholes = [], []
        for name, width in zip(version.names, widths, strict=True):
            found = self._arrays.load(name)
            if found is None:
                return False
            part, whole = found.get("parameters"), found.get("whole")
            if part is None or whole is None or part.shape != (rows, width) or part.dtype != np.float64:
                self._arrays.distrust(name, f"expected parameters, float64 [{rows}, {width}], and the digest of all")
                return False
            parts.append(part)
            wholes.append(whole)
        matrix = np.concatenate(parts, axis=1)
        expected = _whole(matrix)
        if not all(np.array_equal(whole, expected) for whole in wholes) or not np.isfinite(matrix).all():
            self._arrays.distrust(version.name(0), "its shards are not of one controller")
            return False
        _fill(into, matrix, version.updates, replicas)
        return True

    def _digests(self, marks: Sequence[Mark]) -> list[str]:
        """The digest after each update."""
        running, found = hashlib.sha256(self._settings), []
        for mark in marks:
            running.update(json.dumps(mark).encode())
            found.append(running.hexdigest()[:_DIGITS])
        return found


def _versions(names: frozenset[str]) -> set[Version]:
    """The versions of which there is any shard."""
    matches = (_NAME.fullmatch(name) for name in names)
    return {Version(int(m[1]), int(m[2]), m[3], int(m[5])) for m in matches if m is not None and int(m[5])}


def _matrix(learnt: Learnt) -> NDArray[np.float64]:
    first, second = learnt.controller.moments
    replicas = (learnt.fetched[replica].weights for replica in sorted(learnt.fetched))
    rows = [learnt.controller.weights, first, second, *replicas]
    names = list(learnt.controller.weights)
    return np.stack([np.concatenate([row[name].ravel() for name in names]) for row in rows])


def _size(controller: Controller) -> int:
    return sum(array.size for array in controller.weights.values())


def _fill(learnt: Learnt, matrix: NDArray[np.float64], updates: int, replicas: Sequence[int]) -> None:
    shapes = {name: array.shape for name, array in learnt.controller.weights.items()}
    ends = np.cumsum([array.size for array in learnt.controller.weights.values()])[:-1]

    def named(row: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        parts = np.split(row, ends)
        return {name: part.reshape(shape).copy() for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    weights, first, second, *fetched = map(named, matrix)
    learnt.controller = Controller(weights, (first, second), updates)
    # A replica's copy draws and gives gradients; the moments are those of the one that learns.
    learnt.fetched = {replica: Controller(row, ({}, {})) for replica, row in zip(replicas, fetched, strict=True)}


def _whole(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).digest(), np.uint8)
