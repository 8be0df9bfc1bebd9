"""The recurrent network that draws architectures for REINFORCE: an LSTM with its gradient, in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Step = tuple[_Floats, ...]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclasses.dataclass
class Controller:
    """A policy over sequences of tokens: an LSTM that reads the token before and has a softmax over the next one.

    Token 0 is the beginning (never drawn), the others are blocks and perhaps an end.

    Attributes:
        weights: "embedding" [tokens, 4h], "recurrent" [h, 4h], "bias" [4h], "output" [h, tokens] and "output_bias"
            [tokens], where h is the number of units.
        moments: First and second moments of Adam, as the weights.
        updates: Updates so far.
    """

    weights: dict[str, _Floats]
    moments: tuple[dict[str, _Floats], dict[str, _Floats]]
    updates: int = 0

    @classmethod
    def make(cls, tokens: int, hidden: int, rng: np.random.Generator) -> Controller:
        """A controller whose first draws are nearly uniform."""
        shapes = {
            "embedding": (tokens, 4 * hidden),
            "recurrent": (hidden, 4 * hidden),
            "bias": (4 * hidden,),
            "output": (hidden, tokens),
            "output_bias": (tokens,),
        }
        weights = {name: 0.1 * rng.standard_normal(shape) for name, shape in shapes.items()}
        moments = tuple({name: np.zeros(shape) for name, shape in shapes.items()} for _ in range(2))
        return cls(weights, (moments[0], moments[1]))

    def copy(self) -> Controller:
        """One that shares nothing with it."""
        first, second = self.moments
        return Controller(_copied(self.weights), (_copied(first), _copied(second)), self.updates)

    def begin(self, rows: int = 1) -> tuple[_Floats, _Floats]:
        """The state before the first token: output and cell, [rows, h] each."""
        hidden = len(self.weights["output"])
        return np.zeros((rows, hidden)), np.zeros((rows, hidden))

    def step(self, tokens: NDArray[np.int64], state: tuple[_Floats, _Floats]) -> tuple[_Floats, _Step]:
        """Reads a token per row.

        Returns:
            Logits of the next one, [rows, tokens], and what the step computed: output and cell come first.
        """
        output, cell = state
        weights = self.weights
        gates = weights["embedding"][tokens] + output @ weights["recurrent"] + weights["bias"]
        hidden = cell.shape[1]
        squashed = 1 / (1 + np.exp(-gates[:, : 3 * hidden]))
        keep, take, show = (squashed[:, i * hidden : (i + 1) * hidden] for i in range(3))
        fresh = np.tanh(gates[:, 3 * hidden :])
        new_cell = keep * cell + take * fresh
        shown = np.tanh(new_cell)
        new_output = show * shown
        logits = new_output @ weights["output"] + weights["output_bias"]
        return logits, (new_output, new_cell, keep, take, show, fresh, shown, output, cell)

    def learn(self, batch: Batch, entropy_weight: float, learning_rate: float) -> None:
        """One step of Adam up `gradient`.

        Args:
            batch: Sequences with their advantages.
            entropy_weight: Weight of the entropy of each draw, in nats.
            learning_rate: Adam's.
        """
        self.ascend(self.gradient(batch, entropy_weight), learning_rate)

    def gradient(self, batch: Batch, entropy_weight: float) -> dict[str, _Floats]:
        """That of: mean over rows of sum_t (advantage * log p(token) + weight * entropy), by the weights."""
        rows, length = batch.tokens.shape
        state, steps, slopes = self.begin(rows), [], []
        before = np.zeros(rows, dtype=np.int64)
        for t in range(length):
            logits, step = self.step(before, state)
            steps.append((before, step))
            slopes.append(_slope(logits, batch, t, entropy_weight) / rows)
            state, before = (step[0], step[1]), batch.tokens[:, t]
        return self._back_through_time(steps, slopes)

    def log_probabilities(self, batch: Batch) -> _Floats:
        """How probable each sequence is, in nats, [rows]."""
        rows, length = batch.tokens.shape
        state, before, found = self.begin(rows), np.zeros(rows, dtype=np.int64), np.zeros(rows)
        for t in range(length):
            logits, step = self.step(before, state)
            state, before = (step[0], step[1]), batch.tokens[:, t]
            alive = np.flatnonzero(batch.possible[:, t].any(axis=1))
            found[alive] += np.log(probabilities(logits, batch.possible[:, t])[alive, before[alive]])
        return found

    def _back_through_time(
        self, steps: list[tuple[NDArray[np.int64], _Step]], slopes: list[_Floats]
    ) -> dict[str, _Floats]:
        """From the slopes of the logits to those of the weights."""
        gradient = {name: np.zeros_like(value) for name, value in self.weights.items()}
        output_slope, cell_slope = (np.zeros_like(part) for part in steps[0][1][:2])
        for (tokens, step), logits in zip(reversed(steps), reversed(slopes), strict=True):
            new_output, _, keep, take, show, fresh, shown, output, cell = step
            gradient["output"] += new_output.T @ logits
            gradient["output_bias"] += logits.sum(axis=0)
            output_slope = output_slope + logits @ self.weights["output"].T
            cell_slope = cell_slope + output_slope * show * (1 - shown**2)
            gates = np.concatenate(
                [
                    cell_slope * cell * keep * (1 - keep),
                    cell_slope * fresh * take * (1 - take),
                    output_slope * shown * show * (1 - show),
                    cell_slope * take * (1 - fresh**2),
                ],
                axis=1,
            )
            np.add.at(gradient["embedding"], tokens, gates)
            gradient["recurrent"] += output.T @ gates
            gradient["bias"] += gates.sum(axis=0)
            output_slope = gates @ self.weights["recurrent"].T
            cell_slope = cell_slope * keep
        return gradient

    def ascend(self, gradient: Mapping[str, _Floats], learning_rate: float) -> None:
        """One step of Adam up a gradient by the weights."""
        self.updates += 1
        corrections = [1 - beta**self.updates for beta in _BETAS]
        for name, slope in gradient.items():
            for moment, beta, seen in zip(self.moments, _BETAS, (slope, slope**2), strict=True):
                moment[name] = beta * moment[name] + (1 - beta) * seen
            first, second = (moment[name] / part for moment, part in zip(self.moments, corrections, strict=True))
            self.weights[name] = self.weights[name] + learning_rate * first / (np.sqrt(second) + _EPSILON)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Sequences to learn from.

    Attributes:
        tokens: What was drawn, [rows, length], anything behind the end.
        possible: What could have been drawn, [rows, length, tokens]; nothing behind the end.
        advantages: How much better than expected each row was, [rows].
    """

    tokens: NDArray[np.int64]
    possible: NDArray[np.bool_]
    advantages: _Floats


def probabilities(logits: _Floats, possible: NDArray[np.bool_]) -> _Floats:
    """Softmax over what is possible, along the last axis; zeros where nothing is."""
    masked = np.where(possible, logits, -np.inf)
    highest = np.max(masked, axis=-1, keepdims=True)
    powers = np.exp(masked - np.where(np.isfinite(highest), highest, 0))
    total = powers.sum(axis=-1, keepdims=True)
    return powers / np.where(total > 0, total, 1)


def _slope(logits: _Floats, batch: Batch, t: int, entropy_weight: float) -> _Floats:
    """The gradient of advantage * log p(token) + weight * entropy by the logits, [rows, tokens]."""
    possible = batch.possible[:, t]
    drawn = probabilities(logits, possible)
    alive = possible.any(axis=1)
    chosen = np.zeros_like(drawn)
    chosen[np.flatnonzero(alive), batch.tokens[alive, t]] = 1
    log = np.log(np.where(drawn > 0, drawn, 1))
    entropy = -(drawn * log).sum(axis=1, keepdims=True)
    return batch.advantages[:, None] * (chosen - drawn) - entropy_weight * drawn * (log + entropy)


def _copied(arrays: Mapping[str, _Floats]) -> dict[str, _Floats]:
    return {name: value.copy() for name, value in arrays.items()}
