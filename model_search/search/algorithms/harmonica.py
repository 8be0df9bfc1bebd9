"""HARMONICA_SEARCH: a sparse polynomial in the Fourier characters of the blocks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_search.search.algorithms.algorithm import Proposal, without_failing_blocks
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch, best_and_latest, one_thread
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture, body_of, fix_order
from model_search.search.space.grammar import Grammar

_Floats = NDArray[np.float64]

_MONOMIALS = 10
_ALPHA = 0.05
_BEST, _LATEST = 75, 75
_GRID, _RANDOM = 500, 500
_MOST_TERMS = 40


@register_search(
    "HARMONICA_SEARCH",
    describe=lambda spec: (
        f"towers of {spec.minimum_depth} blocks that a sparse polynomial in their blocks finds most promising."
    ),
)
@dataclasses.dataclass(frozen=True)
class Harmonica(TowerSearch):
    """Sparse Fourier regression over towers of `minimum_depth` blocks.

    The block number t of K at a position is encoded by its characters: cos and sin of 2 pi t k / K, K - 1 numbers. A
    Lasso finds a sparse polynomial of degree 2 in them. The positions that its ten largest monomials speak of are the
    relevant ones: every combination of blocks there (the others being drawn at random) and as many random towers are
    asked of the polynomial, and the best one is next.

    Paper: Hazan, Klivans and Yuan, "Hyperparameter Optimization: A Spectral Approach", ICLR 2018. Departures from the
    archived system: it fitted real coefficients to the complex characters, which cannot tell block t from block K - t;
    losses are standardized, so that neither the scale of the metric nor its goal matters; monomials are ranked by
    magnitude whatever their sign; towers that were tried are left out; and so that a proposal stays cheap, the
    polynomial is fitted to the 75 best and the 75 latest trials, at most 500 combinations and 500 random towers are
    asked, and of more than 40 characters only the first ones of each position are used.
    """

    draws_least_depth: ClassVar[bool] = True
    grammar: Grammar

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The most promising untried tower; random where there are fewer than two trials or blocks."""
        towers = best_and_latest(
            [tower for tower in self.towers_with_failed(history) if self._is_known(tower.architecture)], _BEST, _LATEST
        )
        if len(towers) < 2 or len(self.grammar.blocks) == 1:
            return self.unlike_running(history, lambda: self._draw(rng))
        with one_thread():
            polynomial = self._fit(towers)
        tried = self.tried(history)
        candidates = [
            tower
            for tower in self._candidates(polynomial, rng)
            if self.grammar.canonical(tower) not in tried and not history.failures.avoids(tower)
        ]
        if not candidates:
            return self.unlike_running(history, lambda: self._draw(rng))
        with one_thread():
            values = polynomial.values(self._encode(candidates))
        return Proposal(candidates[int(np.argmin(values))])

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All architectures of `minimum_depth` blocks."""
        grammar = without_failing_blocks(self.grammar, history)
        for architecture in grammar.enumerate(grammar.minimum_depth, rng):
            yield Proposal(architecture)

    def _draw(self, rng: np.random.Generator) -> Proposal:
        return Proposal(self.grammar.random(rng), random=self.grammar.is_fixed)

    def _is_known(self, architecture: Architecture) -> bool:
        body = body_of(architecture)
        return len(body) == self.grammar.minimum_depth and all(name in self.grammar.blocks for name in body)

    @property
    def _characters(self) -> int:
        """Characters of each position."""
        return min(max(len(self.grammar.blocks) - 1, 1), max(_MOST_TERMS // self.grammar.minimum_depth, 1))

    def _encode(self, architectures: Sequence[Architecture]) -> _Floats:
        """The characters of the blocks, [n, positions * characters]; a missing block has none."""
        numbers = {name: number for number, name in enumerate(self.grammar.blocks)}
        depth, characters = self.grammar.minimum_depth, self._characters
        turns = 2 * np.pi * np.outer(np.arange(len(numbers)), np.arange(1, len(numbers) // 2 + 1)) / len(numbers)
        # cos 1, sin 1, cos 2, ...; where K is even the last sine is zero everywhere and falls away.
        waves = np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(len(numbers), -1)[:, :characters]
        encoded = np.zeros((len(architectures), depth, waves.shape[1]))
        for row, architecture in zip(encoded, architectures, strict=True):
            body = body_of(architecture)[:depth]
            row[: len(body)] = waves[[numbers[name] for name in body]]
        return encoded.reshape(len(architectures), -1)

    def _fit(self, towers: Sequence[Tower]) -> _Polynomial:
        from sklearn.linear_model import Lasso

        encoded = self._encode([tower.architecture for tower in towers])
        losses = np.array([tower.loss for tower in towers])
        target = (losses - losses.mean()) / (losses.std() or 1.0)
        pairs = np.array(list(itertools.combinations(range(encoded.shape[1]), 2)), dtype=int).reshape(-1, 2)
        terms = np.concatenate([encoded, encoded[:, pairs[:, 0]] * encoded[:, pairs[:, 1]]], axis=1)
        lasso = Lasso(alpha=_ALPHA, max_iter=1000, tol=1e-2).fit(terms, target)
        count = encoded.shape[1]
        return _Polynomial(float(lasso.intercept_), lasso.coef_[:count], lasso.coef_[count:], pairs)

    def _candidates(self, polynomial: _Polynomial, rng: np.random.Generator) -> list[Architecture]:
        """Combinations of blocks at the relevant positions, and random towers; each once, in a legal order."""
        relevant = [variable // self._characters for variable in polynomial.relevant(_MONOMIALS)]
        positions = list(dict.fromkeys(relevant))
        while positions and np.prod([float(len(self.grammar.choices(place))) for place in positions]) > _GRID:
            positions.pop()
        found: list[Architecture] = []
        base = list(body_of(self.grammar.random(rng)))
        # Where the order of a CNN has moved blocks, or a flatten block was drawn, positions say nothing.
        if len(base) == self.grammar.minimum_depth and positions:
            for blocks in itertools.product(*(self.grammar.choices(place) for place in positions)):
                for place, name in zip(positions, blocks, strict=True):
                    base[place] = name
                found.append(fix_order(base, self.grammar.problem_type))
        found += [self.grammar.random(rng) for _ in range(_RANDOM)]
        # A flatten block among the drawn ones leaves a tower too short.
        return [tower for tower in dict.fromkeys(found) if len(body_of(tower)) == self.grammar.minimum_depth]


@dataclasses.dataclass(frozen=True)
class _Polynomial:
    """Of degree 2, without squares.

    Attributes:
        constant: Its value at zero.
        linear: Coefficients of the variables, [v].
        bilinear: Coefficients of the pairs, [p].
        pairs: The variables of each pair, [p, 2].
    """

    constant: float
    linear: _Floats
    bilinear: _Floats
    pairs: NDArray[np.int64]

    def values(self, points: _Floats) -> _Floats:
        """Its values at points [n, v]."""
        matrix = np.zeros((len(self.linear), len(self.linear)))
        matrix[self.pairs[:, 0], self.pairs[:, 1]] = self.bilinear
        return self.constant + points @ self.linear + ((points @ matrix) * points).sum(axis=1)

    def relevant(self, count: int) -> list[int]:
        """The variables of the largest monomials that are not zero, the largest first."""
        sizes = np.abs(np.concatenate([self.linear, self.bilinear]))
        variables: list[int] = []
        for monomial in np.argsort(-sizes, kind="stable")[:count]:
            if sizes[monomial] == 0:
                break
            pair = monomial - len(self.linear)
            variables += [int(monomial)] if pair < 0 else [int(variable) for variable in self.pairs[pair]]
        return variables
