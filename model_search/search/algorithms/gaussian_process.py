"""GAUSSIAN_PROCESS: Bayesian optimisation over architectures, with a kernel on their edit distance."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_search.errors import SpecError
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch, best_and_latest, best_of, one_thread
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Memory
from model_search.search.space.architecture import Architecture
from model_search.search.space.edit_distance import encode, hamming, levenshtein
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

_Floats = NDArray[np.float64]

_BEST, _LATEST, _RUNNING = 50, 50, 16
_ROOTS, _NEWCOMERS, _CHILDREN, _ROUNDS = 8, 8, 6, 3
_LENGTHS = (0.25, 1.0, 2.0, 4.0, 8.0)
_NOISES = (1e-2, 0.1, 0.3, 1.0)
# Losses further above the median than this many times the median's distance from the best say no more than "bad".
_CLIP = 3.0


def _check(checker: Checker) -> None:
    settings, path = checker.spec.gaussian_process, ("gaussian_process",)
    checker.at_least(settings, 2, path, ["trials_before_fit"])
    if not 0 <= settings.exploration < math.inf:
        checker.add(
            f"exploration is {settings.exploration:.7g}; expected 0 or more standard deviations.",
            (*path, "exploration"),
        )


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """What a history has taught, the same for all draws of a trial.

    Attributes:
        process: The process; None where there are too few towers.
        roots: The best towers.
        tried: What was tried, in its canonical form.
    """

    process: _Process | None
    roots: tuple[Proposal, ...] = ()
    tried: frozenset[Architecture] = frozenset()


@register_search(
    "GAUSSIAN_PROCESS",
    message="gaussian_process",
    describe=lambda spec: (
        f"after {spec.gaussian_process.trials_before_fit} random towers, what a Gaussian process finds most promising."
    ),
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class GaussianProcessSearch(TowerSearch):
    """Bayesian optimisation with a Gaussian process over architectures.

    The covariance of two towers is exp(-d / l), where d is the number of edits between their canonical forms: blocks
    that differ where all towers have one length, blocks to replace, insert or delete elsewhere. The length l and the
    noise are those of the greatest marginal likelihood on a grid. A proposal is the untried tower with the best
    acquisition among those that a tree of changes reaches: its roots are the best towers so far and a few random ones,
    and in each round the most promising leaves, taken with some noise that anneals, get children. What is running
    counts as having brought what is expected of it, so that parallel workers spread.

    Papers: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System", KDD 2019; for the running
    trials Ginsbourger et al., "Kriging is well-suited to parallelize optimization", 2010. Departures: lengths and
    noises for which the edit distance gives no covariance are passed over (Auto-Keras embeds the distances); widths of
    blocks do not enter the distance; and the process sees the 50 best trials and the 50 latest ones only, which bounds
    its cost.

    Attributes:
        acquisition: "UPPER_CONFIDENCE_BOUND" or "EXPECTED_IMPROVEMENT".
        exploration: Standard deviations that the confidence bound adds.
        trials_before_fit: Random trials at the beginning.
    """

    grammar: Grammar
    acquisition: str = "UPPER_CONFIDENCE_BOUND"
    exploration: float = 2.0
    trials_before_fit: int = 10
    _memory: Memory[_Learnt] = dataclasses.field(default_factory=Memory, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.acquisition not in _ACQUISITIONS:
            raise SpecError(f"acquisition is {self.acquisition!r}; expected one of {', '.join(_ACQUISITIONS)}")
        if not 0 <= self.exploration < math.inf:
            raise SpecError(f"exploration is {self.exploration:g}; expected 0 or more standard deviations")
        if self.trials_before_fit < 2:
            raise SpecError(f"trials_before_fit is {self.trials_before_fit}; expected at least 2")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> GaussianProcessSearch:
        """The search that a spec asks for."""
        settings = spec.gaussian_process
        acquisition = type(settings).Acquisition.Name(settings.acquisition)
        return cls(Grammar.of(spec), acquisition, settings.exploration, settings.trials_before_fit)

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The untried tower of the best acquisition that was found; random ones at the beginning."""
        with one_thread():
            learnt = self._memory.recall(history, lambda: self._learn(history))
            best = None if learnt.process is None else self._climb(learnt.process, learnt, history, rng)
        return best or self.unlike_running(history, lambda: self.draw(history, rng))

    def _learn(self, history: History) -> _Learnt:
        towers = self.towers(history)
        begun = len(towers) + len(history.unfinished)
        if len(towers) < 2 or begun < self.trials_before_fit:
            return _Learnt(None)
        known = best_and_latest(self.towers_with_failed(history), _BEST, _LATEST)
        roots = tuple(Proposal(tower.architecture, parent=tower.trial.id) for tower in best_of(towers, _ROOTS))
        process = self._fit(known, sorted(self.running(history))[-_RUNNING:])
        return _Learnt(process, roots, frozenset(self.tried(history)))

    def _fit(self, towers: Sequence[Tower], running: Sequence[Architecture]) -> _Process:
        known = [self.grammar.canonical(tower.architecture) for tower in towers]
        numbers = {name: number for number, name in enumerate(self.grammar.blocks)}
        losses = np.array([tower.loss for tower in towers])
        process = _Process.fit(known, _tame(losses), numbers, is_fixed=self.grammar.is_fixed)
        return process.believe(running) if running else process

    def _climb(self, process: _Process, learnt: _Learnt, history: History, rng: np.random.Generator) -> Proposal | None:
        """The best of a tree of changes; None where it finds nothing untried."""
        allowed = self.allowed_depth(history)
        seen, leaves = set(learnt.tried), list(learnt.roots)
        newcomers = [Proposal(self.grammar.random_of_any_depth(rng, allowed)) for _ in range(_NEWCOMERS)]
        avoids = history.failures.avoids
        pool = [
            proposal for proposal in newcomers if self._is_new(proposal, seen) and not avoids(proposal.architecture)
        ]
        scores = self._score(process, pool)
        for turn in range(_ROUNDS):
            children = [
                Proposal(self.grammar.vary(leaf.architecture, rng, allowed), parent=leaf.parent)
                for leaf in leaves
                for _ in range(_CHILDREN)
            ]
            children = [child for child in children if self._is_new(child, seen) and not avoids(child.architecture)]
            pool += children
            scores = np.concatenate([scores, self._score(process, children)])
            if not pool:
                return None
            temperature = float(scores.std()) * (1 - (turn + 1) / _ROUNDS)
            order = np.argsort(-(scores + temperature * rng.gumbel(size=len(scores))), kind="stable")
            leaves = [pool[i] for i in order[:_ROOTS]]
        return pool[int(np.argmax(scores))]

    def _is_new(self, proposal: Proposal, seen: set[Architecture]) -> bool:
        """Whether nothing like it was seen; from now on it was."""
        same = self.grammar.canonical(proposal.architecture)
        if same in seen:
            return False
        seen.add(same)
        return True

    def _score(self, process: _Process, proposals: Sequence[Proposal]) -> _Floats:
        if not proposals:
            return np.zeros(0)
        mean, deviation = process.predict([self.grammar.canonical(p.architecture) for p in proposals])
        if self.acquisition == "EXPECTED_IMPROVEMENT":
            return _expected_improvement(process.best, mean, deviation)
        return self.exploration * deviation - mean


_ACQUISITIONS = ("UPPER_CONFIDENCE_BOUND", "EXPECTED_IMPROVEMENT")


def _expected_improvement(best: float, mean: _Floats, deviation: _Floats) -> _Floats:
    """By how much a value is expected to be below `best`, being counted as none where it is above."""
    from scipy.special import ndtr

    scale = np.maximum(deviation, 1e-9)
    distance = (best - mean) / scale
    return scale * (distance * ndtr(distance) + np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi))


@dataclasses.dataclass(frozen=True)
class _Process:
    """A Gaussian process on canonical architectures; values are standardized losses.

    Attributes:
        known: The architectures it knows.
        values: Their values, [n].
        kernel: What the covariance of two architectures is.
        noise: Variance of the noise, relative to that of the process.
        scale: Variance of the process.
        factor: Lower Cholesky factor of covariance and noise, [n, n].
    """

    known: tuple[Architecture, ...]
    values: _Floats
    kernel: _Kernel
    noise: float
    scale: float
    factor: _Floats

    @classmethod
    def fit(
        cls, known: Sequence[Architecture], values: _Floats, numbers: Mapping[str, int], *, is_fixed: bool
    ) -> _Process:
        """The process of the greatest marginal likelihood on a grid of lengths and noises."""
        fitted = []
        distances = _Kernel(numbers, is_fixed, 1.0).distances(known, known)
        for length, noise in itertools.product(_LENGTHS, _NOISES):
            factor = _factor(np.exp(-distances / length), noise)
            if factor is not None:
                scale = max(float(np.mean(_solve(factor, values) ** 2)), 1e-12)
                likelihood = -len(values) * math.log(scale) - 2 * float(np.log(np.diagonal(factor)).sum())
                fitted.append((likelihood, length, noise, scale, factor))
        _, length, noise, scale, factor = max(fitted, key=lambda found: found[0])
        return cls(tuple(known), values, _Kernel(numbers, is_fixed, length), noise, scale, factor)

    def believe(self, running: Sequence[Architecture]) -> _Process:
        """The same process after these have brought what is expected of them."""
        expected, _ = self.predict(running)
        known = (*self.known, *running)
        factor = _factor(self.kernel(known, known), self.noise)
        if factor is None:
            return self
        return dataclasses.replace(self, known=known, values=np.concatenate([self.values, expected]), factor=factor)

    def predict(self, architectures: Sequence[Architecture]) -> tuple[_Floats, _Floats]:
        """Mean and standard deviation of the noise-free value of each."""
        projected = _solve(self.factor, self.kernel(self.known, architectures))
        mean = projected.T @ _solve(self.factor, self.values)
        variance = np.maximum(1 - (projected**2).sum(axis=0), 0)
        return mean, np.sqrt(self.scale * variance)

    @property
    def best(self) -> float:
        """The least value that it expects of what it knows."""
        return float(self.predict(self.known)[0].min())


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """exp(-edits / length).

    Attributes:
        numbers: The number of each block.
        is_fixed: Whether all towers have one length.
        length: Edits after which the correlation has fallen to 1/e.
    """

    numbers: Mapping[str, int]
    is_fixed: bool
    length: float

    def distances(self, first: Sequence[Architecture], second: Sequence[Architecture]) -> _Floats:
        """Edits between each pair."""
        measure = hamming if self.is_fixed else levenshtein
        return measure(encode(first, self.numbers), encode(second, self.numbers))

    def __call__(self, first: Sequence[Architecture], second: Sequence[Architecture]) -> _Floats:
        return np.exp(-self.distances(first, second) / self.length)


def _factor(covariance: _Floats, noise: float) -> _Floats | None:
    """The Cholesky factor with the noise added; None where even so it is no covariance."""
    try:
        return np.asarray(np.linalg.cholesky(covariance + noise * np.eye(len(covariance))), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None


def _solve(factor: _Floats, right: _Floats) -> _Floats:
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, right, lower=True, check_finite=False)


def _tame(losses: _Floats) -> _Floats:
    """Standardized losses, the very bad ones as bad as each other."""
    best, median = losses.min(), float(np.median(losses))
    tamed = np.minimum(losses, median + _CLIP * (median - best)) if median > best else losses
    deviation = tamed.std()
    return (tamed - tamed.mean()) / (deviation if deviation > 0 else 1.0)
