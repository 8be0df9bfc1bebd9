"""What the failed trials of a study have in common, so that the search can avoid it."""

from __future__ import annotations

import bisect
import copy
import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from model_search.metadata.trial import Trial, TrialState

Blocks = frozenset[str]

_CERTAIN = 2  # failed trials that one block explains
_PATIENCE = 40  # completed trials after which such a block may be tried again


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Blocks to avoid.

    Attributes:
        blocks: Blocks that fail by themselves.
        together: Sets of blocks of which at least one fails, so that all of them together are expected to fail.
    """

    blocks: Blocks = frozenset()
    together: tuple[Blocks, ...] = ()


class Failures:
    """Predicts which architectures fail, from those that have failed and those that have been trained.

    A block of a completed trial can be built, so that the others of a failed architecture are suspect. A block explains
    failures where it was suspect in at least two of them, more often than any other suspect of the same trials. Where
    no single block is found, architectures with all suspects of a failed one are avoided. An architecture that failed
    is avoided itself, whatever its hyperparameters, unless another trial of it was completed.

    No suspected block is avoided for ever: it may be tried again when 40 trials have been completed since its
    last failure, after the next one when 80 have, and so on.

    Only trials of towers by themselves count. A trial that was lost with its worker says nothing of its architecture.
    """

    def __init__(self) -> None:
        self._built: set[tuple[str, ...]] = set()
        self._sound: set[str] = set()
        self._completed: list[int] = []
        self._failed: dict[int, tuple[str, ...]] = {}
        self._architectures: frozenset[tuple[str, ...]] | None = frozenset()
        self._verdict: Verdict | None = None
        self._takes_risks = False

    def add(self, trial: Trial) -> None:
        """Adds a trial that has ended."""
        plan = trial.plan
        if plan is None or not plan.architecture:
            return
        if trial.state == TrialState.COMPLETED:
            self._built.add(plan.architecture)
            self._sound.update(plan.architecture)
            bisect.insort(self._completed, trial.id)
        elif trial.state == TrialState.FAILED and plan.is_on_labels_alone:
            self._failed[trial.id] = plan.architecture
        self._architectures = self._verdict = None

    def copy(self) -> Failures:
        """A copy that does not change with this object."""
        other = Failures()
        other._built, other._sound = set(self._built), set(self._sound)
        other._completed, other._failed = list(self._completed), dict(self._failed)
        other._architectures = self._architectures
        return other

    def taking_risks(self) -> Failures:
        """A view in which no block is suspect: only architectures that failed themselves are avoided."""
        other = copy.copy(self)
        other._takes_risks = True
        return other

    @property
    def any_completed(self) -> bool:
        """Whether any tower has been trained."""
        return bool(self._completed)

    @property
    def prevail(self) -> bool:
        """Whether some towers have been trained, and more have failed."""
        return 0 < len(self._completed) < len(self._failed)

    @property
    def in_a_row(self) -> int:
        """How many towers have failed since the last one that was trained, by their ids."""
        last = self._completed[-1] if self._completed else 0
        return sum(1 for number in self._failed if number > last)

    @property
    def architectures(self) -> frozenset[tuple[str, ...]]:
        """Architectures that have failed whenever they were tried; the same object until another trial ends."""
        if self._architectures is None:
            self._architectures = frozenset(self._failed.values()) - self._built
        return self._architectures

    @property
    def blocks(self) -> Blocks:
        """Blocks that fail by themselves."""
        return self.verdict.blocks

    @property
    def verdict(self) -> Verdict:
        """The blocks to avoid now."""
        if self._takes_risks:
            return Verdict()
        if self._verdict is None:
            self._verdict = self._assess() if self._failed else Verdict()
        return self._verdict

    def avoids(self, architecture: Sequence[str]) -> bool:
        """Whether an architecture is expected to fail."""
        if not self._failed:
            return False
        architecture = tuple(architecture)
        if architecture in self._built:
            return False
        verdict, blocks = self.verdict, frozenset(architecture)
        return (
            not verdict.blocks.isdisjoint(blocks)
            or any(suspects <= blocks for suspects in verdict.together)
            or architecture in self.architectures
        )

    def _assess(self) -> Verdict:
        suspects = {number: frozenset(failed) - self._sound for number, failed in self._failed.items()}
        unexplained = [blocks for blocks in suspects.values() if blocks]
        failing: set[str] = set()
        while True:
            found = _explaining(unexplained)
            if not found:
                break
            failing |= found
            unexplained = [blocks for blocks in unexplained if blocks.isdisjoint(found)]
        kept = frozenset(block for block in failing if not self._has_another_chance(block, suspects.items()))
        return Verdict(kept, tuple({blocks for blocks in unexplained if len(blocks) > 1}))

    def _has_another_chance(self, block: str, suspects: Iterable[tuple[int, Blocks]]) -> bool:
        failed = [number for number, blocks in suspects if block in blocks]
        since = len(self._completed) - bisect.bisect_right(self._completed, max(failed))
        return since >= _PATIENCE * (len(failed) - 1)


def _explaining(failures: Sequence[Blocks]) -> Blocks:
    """The suspects of most failures; nothing if they are in too few, or cannot be distinguished."""
    counts = Counter(block for blocks in failures for block in blocks)
    most = max(counts.values(), default=0)
    if most < _CERTAIN:
        return frozenset()
    leading = {block for block, count in counts.items() if count == most}
    return frozenset(
        block for block in leading if not any(block in blocks and len(blocks & leading) > 1 for blocks in failures)
    )
