"""AUTO_KERAS: the loop of Auto-Keras: a Gaussian process on edit distances, and a tree of morphisms that anneals."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from model_search.blocks import catalogue
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.gaussian_process import GaussianProcessSearch
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import best_and_latest, one_thread
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture, fix_order
from model_search.search.space.grammar import Grammar
from model_search.search.space.morphisms import larger
from model_search.spec.schedules import schedule_name
from model_search.spec.searches import SEARCHES, Setting

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

NAME = "AUTO_KERAS"
BLOCKS_AT_FIRST = 3
_BEST, _LATEST, _RUNNING = 50, 50, 16


def _check(checker: Checker) -> None:
    if schedule_name(checker.spec) != "FULL":
        checker.add(
            f"AUTO_KERAS does not go with evaluation_schedule {schedule_name(checker.spec)}; expected FULL: its trials "
            "begin as the function of others and end by their patience.",
            ("evaluation_schedule",),
        )


@register_search(
    NAME,
    settings=[
        Setting("beta", 2.576, minimum=0),
        Setting("cooling", 0.9, minimum=0.01, maximum=0.999),
        Setting("end_temperature", 1e-4, minimum=1e-12, maximum=1),
        Setting("neighbours", 8, minimum=1, maximum=1000),
    ],
    describe="after three towers of different kinds, morphisms of trained ones that seem promising.",
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class AutoKeras(GaussianProcessSearch):
    """The search of Auto-Keras.

    The first three trials are towers of a plain, a residual and a densely connected block, as far as there are some.
    Then a Gaussian process with the edit distance of towers as in `GAUSSIAN_PROCESS` learns from the trials. A queue
    begins with all trained towers, each with its loss; of the first of the queue, `neighbours` random morphisms join it
    with their lower confidence bound. A tower whose bound is worse than the best one so far by d is passed over, but
    for a probability of exp(-d / t); the temperature t begins at 1 and is multiplied by `cooling` each time, until
    `end_temperature`. The morphism with the best bound is the proposal: it begins as the function of the trained tower
    that it comes from, and trains until five epochs in a row were not better (`patience`), or for `train_steps`.

    Paper: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System", KDD 2019. Departures:
    morphisms are those of blocks (`search/space/morphisms.py`), so that distances are edits of blocks, too; widths do
    not enter them; losses are standardized, so that the temperature does not depend on the metric; when no morphism is
    new, towers of any kind follow.

    Attributes:
        cooling: What the temperature is multiplied by.
        end_temperature: The temperature at which the search of a proposal ends.
        neighbours: Morphisms of one tower at a time.
    """

    trial_patience: ClassVar[int] = 5
    morphs: ClassVar[bool] = True
    cooling: float = 0.9
    end_temperature: float = 1e-4
    neighbours: int = 8

    @classmethod
    def of(cls, spec: PhoenixSpec) -> AutoKeras:
        """The search that a spec asks for."""
        values = SEARCHES.get(NAME).values(spec)
        return cls(
            Grammar.of(spec),
            exploration=float(values["beta"]),
            trials_before_fit=BLOCKS_AT_FIRST,
            cooling=float(values["cooling"]),
            end_temperature=float(values["end_temperature"]),
            neighbours=int(values["neighbours"]),
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """One of the first three towers; then the best morphism of a trained tower."""
        seen = set(self.tried(history))
        for blocks in self._first_towers():
            if self.grammar.canonical(blocks) not in seen and not history.failures.avoids(blocks):
                return Proposal(blocks)
        if len(self.towers(history)) < 2:
            return self.unlike_running(history, lambda: self.draw(history, rng))
        with one_thread():
            found = self._search(history, seen, rng)
        return found or self.unlike_running(history, lambda: self.draw(history, rng))

    def allowed_depth(self, history: History) -> int:
        """The greatest depth, unless the specification says from how many trials on which depth is allowed."""
        return super().allowed_depth(history) if self.grammar.thresholds else self.grammar.maximum_depth

    def _first_towers(self) -> list[Architecture]:
        """A plain, a residual and a densely connected tower, the same ones at any time; fewer without such blocks."""
        kinds: list[Callable[[str], bool]] = [
            lambda name: not _is_residual(name) and not _is_dense(name),
            _is_residual,
            _is_dense,
        ]
        allowed = self.grammar.maximum_depth - self.grammar.problem_type.added_size
        if self.grammar.thresholds:
            allowed = min(allowed, self.grammar.allowed_depth(0) - self.grammar.problem_type.added_size)
        depth = max(self.grammar.minimum_depth, min(BLOCKS_AT_FIRST, allowed))
        towers = []
        for fits in kinds:
            names = [name for name in self.grammar.blocks if fits(name) and not catalogue.get(name).has_own_place]
            if names and not self.grammar.positions:
                towers.append(fix_order(names[:1] * depth, self.grammar.problem_type))
        return [blocks for blocks in towers if len(blocks) <= self.grammar.maximum_depth]

    def _search(self, history: History, seen: set[Architecture], rng: np.random.Generator) -> Proposal | None:
        """The morphism with the best bound that an annealed tree search finds; None where it finds nothing new."""
        towers = self.towers(history)
        process = self._fit(
            best_and_latest(self.towers_with_failed(history), _BEST, _LATEST), sorted(self.running(history))[-_RUNNING:]
        )
        scores = self._score(process, [Proposal(tower.architecture) for tower in towers])
        queue = [
            (-float(score), number, Proposal(tower.architecture, parent=tower.trial.id))
            for number, (score, tower) in enumerate(zip(scores, towers, strict=True))
        ]
        heapq.heapify(queue)
        best, chosen, temperature, count = -math.inf, None, 1.0, len(queue)
        while queue and temperature > self.end_temperature:
            bound, _, tower = heapq.heappop(queue)
            temperature *= self.cooling
            if chosen is not None and rng.random() >= math.exp(min((-bound - best) / temperature, 0.0)):
                continue
            children = [child for child in self._morphisms(tower, history, rng) if self._is_new(child, seen)]
            for child, score in zip(children, self._score(process, children), strict=True):
                heapq.heappush(queue, (-float(score), count, child))
                count += 1
                if score > best:
                    best, chosen = float(score), child
        return chosen

    def _morphisms(self, tower: Proposal, history: History, rng: np.random.Generator) -> list[Proposal]:
        """A few random morphisms of a tower; the trained tower that they begin as is that of the tower."""
        found = list(larger(tower.architecture, self.grammar, self.allowed_depth(history)))
        drawn = rng.permutation(len(found))[: self.neighbours]
        chosen = (found[place] for place in drawn)
        return [Proposal(one, parent=tower.parent) for one in chosen if not history.failures.avoids(one)]


def _is_residual(name: str) -> bool:
    info = catalogue.get(name)
    adds = info.init_args.get("residual") not in (None, "concat") or bool(info.init_args.get("skip"))
    return adds or "RESNET" in name or "RESIDUAL" in info.family.upper()


def _is_dense(name: str) -> bool:
    return "DENSENET" in name or catalogue.get(name).init_args.get("residual") == "concat"
