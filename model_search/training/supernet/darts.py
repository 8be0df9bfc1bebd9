"""DARTS: every choice is a mixture, whose shares are learnt by gradients beside the weights."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.metadata.trial import Candidate
from model_search.ranking import Objective
from model_search.training.runtime import tensorflow
from model_search.training.supernet.method import Method
from model_search.training.supernet.network import Choice, Mixture, Sampled
from model_search.training.supernet.paths import Path
from model_search.training.supernet.shared_weights import TINY

_BETA_1, _BETA_2, _DECAY = 0.5, 0.999, 1e-3  # of Adam for the shares, and their weight decay
_STEP = 0.01  # of the finite difference, divided by the norm of the gradient
_HOTTER, _DRAWS = 1.15, 16
_MEASUREMENTS, _WINDOW = 50, 5  # of the eigenvalue, and how many are averaged
_ROWS, _WIDTH, _ITERATIONS, _TOLERANCE = 256, 0.05, 20, 0.01  # of the power iteration


class Differentiable(Method):
    """Shares of all choices and weights are trained in turn, each on one half of the training rows.

    Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019; `order: 2` is its second-order form, by a
    finite difference. An end before skips take over as in Liang et al., "DARTS+", 2019: from `most_identities` edges of
    the normal cell on that would do nothing, the shares stay as they are. Another end, with `eigenvalue_ratio`: see
    `Curvature`. With `sampled` each update goes through one path that is drawn by the shares, see `Sampled`; paths have
    the form in which candidates are compared. With `warm_up` the first part of the updates is of the weights alone.
    Departures: what an edge reads has shares, too, instead of an edge for each pair of nodes; weights are
    trained with Adam.
    """

    name = "DARTS"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        tf = tensorflow()
        self._sizes = [len(names) for names in self.paths.plan.positions]
        rng = np.random.default_rng([self.plan.seed, 2])
        self._alphas = tf.Variable((1e-3 * rng.standard_normal(sum(self._sizes))).astype(np.float32))
        self._moments = [tf.Variable(tf.zeros_like(self._alphas)) for _ in range(2)]
        halves = rng.permutation(len(self.shared.data.train)).astype(np.int32)
        self._halves = np.array_split(halves, 2)
        self._updates = 0
        self._is_frozen = False
        self._curvature = Curvature(sum(self._sizes), float(self.settings.get("eigenvalue_ratio", 0.0)), rng)
        rows = tf.TensorSpec([self.plan.batch_size], tf.int32)
        number = tf.TensorSpec([], tf.float32)
        path = tf.TensorSpec([len(self._sizes)], tf.int32)
        of_shares, of_weights = [rows, rows, path, number, number, number], [rows, path, number, number]
        self._train_shares = tf.function(self._update_shares, autograph=False, input_signature=of_shares)
        self._train_weights = tf.function(self._update_weights, autograph=False, input_signature=of_weights)
        self._slope_at = tf.function(self._slope_on_fixed_rows, autograph=False)

    def step(self, rows: np.ndarray, rate: float, rng: np.random.Generator) -> float:
        """See `Method`; first the shares, then the weights."""
        own, others = (half[rows % len(half)] for half in self._halves)
        self._updates += 1
        numbers = np.float32(rate), np.float32(self._temperature())
        learns = self._updates - self._first
        if learns > 0 and not self._is_frozen:
            self._train_shares(own, others, self._sample(rng), *numbers, np.float32(learns))
            loss = float(self._train_weights(own, self._sample(rng), *numbers))
            self._is_frozen = self._has_collapsed() or self._has_become_sharp()
            return loss
        return float(self._train_weights(own, self._sample(rng), *numbers))

    def propose(self, scored: Sequence[Candidate], objective: Objective, rng: np.random.Generator) -> Path:
        """The choices with the greatest shares; then others, drawn by their shares."""
        known = {candidate.choices for candidate in scored}
        path = self._greatest()
        for draw in range(_DRAWS):
            if path not in known:
                break
            path = self._drawn(rng, _HOTTER**draw)
        return path

    def state(self) -> dict[str, np.ndarray]:
        """See `Method`."""
        moments = {f"moment_{number}": moment.numpy() for number, moment in enumerate(self._moments)}
        counts = np.array([self._updates, int(self._is_frozen)])
        return {"alphas": self._alphas.numpy(), "counts": counts, **moments, **self._curvature.state()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Method`."""
        self._alphas.assign(arrays["alphas"])
        for number, moment in enumerate(self._moments):
            moment.assign(arrays[f"moment_{number}"])
        self._updates, self._is_frozen = int(arrays["counts"][0]), bool(arrays["counts"][1])
        self._curvature.load(arrays)

    def metrics(self) -> dict[str, float]:
        """See `Method`: the last eigenvalue, where it is measured, and whether the shares have been fixed."""
        found = self._curvature.eigenvalues
        return ({"eigenvalue": found[-1]} if found else {}) | {"shares_fixed": float(self._is_frozen)}

    def _temperature(self) -> float:
        """That of the softmax: from the first one to the last one in equal ratios."""
        first, last = (float(self.settings[name]) for name in ("temperature", "last_temperature"))
        return float(first * (last / first) ** (self._updates / self._total))

    @property
    def _samples(self) -> bool:
        return bool(self.settings.get("sampled", False))

    @property
    def _first(self) -> int:
        """Updates of the weights alone, before those of the shares."""
        return round(float(self.settings.get("warm_up", 0.0)) * self._total)

    @property
    def _total(self) -> int:
        return self.plan.total_steps or self.plan.steps

    def _sample(self, rng: np.random.Generator) -> np.ndarray:
        """A path for an update, drawn by the shares, int32 [positions]; zeros, which nobody reads, for a mixture."""
        path = self._drawn(rng, self._temperature()) if self._samples else np.zeros(len(self._sizes))
        return np.asarray(path, np.int32)

    def _update_shares(self, own: Any, others: Any, path: Any, rate: Any, temperature: Any, updates: Any) -> None:
        """One update of the shares, the one with this number, on the other half of the rows."""
        tf = tensorflow()
        gradient = self._gradient(own, others, path, rate, temperature) + _DECAY * self._alphas
        first, second = self._moments
        first.assign(_BETA_1 * first + (1 - _BETA_1) * gradient)
        second.assign(_BETA_2 * second + (1 - _BETA_2) * tf.square(gradient))
        mean, square = first / (1 - _BETA_1**updates), second / (1 - _BETA_2**updates)
        self._alphas.assign_sub(float(self.settings["alpha_learning_rate"]) * mean / (tf.sqrt(square) + TINY))

    def _update_weights(self, own: Any, path: Any, rate: Any, temperature: Any) -> Any:
        """One update of the weights on their own half of the rows; returns the loss."""
        return self.shared.update(self._choice(self._alphas, path, temperature), own, rate)

    def _gradient(self, own: Any, others: Any, path: Any, rate: Any, temperature: Any) -> Any:
        """That of the loss on the other half by the shares; of second order with the weights one step further on."""
        tf = tensorflow()
        if int(self.settings["order"]) == 1:
            return self._slopes(others, path, temperature, self.shared.values)[0]
        weights = tf.convert_to_tensor(self.shared.values)
        ahead = weights - rate * self._slopes(own, path, temperature, weights)[1]
        by_shares, by_weights = self._slopes(others, path, temperature, ahead)
        width = _STEP / tf.maximum(tf.linalg.norm(by_weights), TINY)
        above = self._slopes(own, path, temperature, weights + width * by_weights)[0]
        below = self._slopes(own, path, temperature, weights - width * by_weights)[0]
        return by_shares - rate * (above - below) / (2 * width)

    def _slopes(self, rows: Any, path: Any, temperature: Any, values: Any) -> tuple[Any, Any]:
        """The gradients of the loss on rows by the shares and by the weights."""
        tf = tensorflow()
        alphas, values = tf.convert_to_tensor(self._alphas), tf.convert_to_tensor(values)
        with tf.GradientTape() as tape:
            tape.watch([alphas, values])
            loss = self.shared.loss_of(self._choice(alphas, path, temperature), rows, values)
        by_shares, by_weights = tape.gradient(loss, [alphas, values])
        return by_shares, by_weights

    def _choice(self, alphas: Any, path: Any, temperature: Any) -> Choice:
        """What an update goes through: everything in shares, or a path that was drawn by them."""
        mixture = self._mixture(alphas, temperature)
        return Sampled(path, mixture.shares) if self._samples else mixture

    def _mixture(self, alphas: Any, temperature: Any) -> Mixture:
        tf = tensorflow()
        parts = tf.split(tf.convert_to_tensor(alphas), self._sizes)
        return Mixture([tf.nn.softmax(part / temperature) for part in parts])

    def _parts(self) -> list[np.ndarray]:
        return np.split(self._alphas.numpy(), np.cumsum(self._sizes)[:-1])

    def _greatest(self) -> Path:
        return self._path([int(np.argmax(part)) for part in self._parts()])

    def _drawn(self, rng: np.random.Generator, temperature: float) -> Path:
        noisy = [part / temperature + rng.gumbel(size=len(part)) for part in self._parts()]
        return self._path([int(np.argmax(part)) for part in noisy])

    def _path(self, choices: Sequence[int]) -> Path:
        return self.paths.path(self.paths.plan.architecture_of(choices))

    def _has_collapsed(self) -> bool:
        most = int(self.settings["most_identities"])
        if not most:
            return False
        blocks = self.paths.architecture(self._greatest())
        normal = [name for before, name in itertools.pairwise(blocks) if before.startswith("NORMAL")]
        return normal.count("CELL_IDENTITY") >= most

    def _has_become_sharp(self) -> bool:
        """Measures the curvature, if it is time to; where it has grown too much, the earlier shares come back."""
        every = max(self._total // _MEASUREMENTS, 1)
        if not self._curvature.least_ratio or self._updates % every:
            return False
        # By what the softmax is taken of, so that a falling temperature is not taken for curvature.
        temperature, alphas = self._temperature(), self._alphas.numpy()
        earlier = self._curvature.measure(alphas, lambda change: self._slope_at(alphas / temperature + change).numpy())
        if earlier is None:
            return False
        self._alphas.assign(earlier)
        return True

    def _slope_on_fixed_rows(self, logits: Any) -> Any:
        """The gradient by the logits of all shares, of the loss on the same rows at every call."""
        tf = tensorflow()
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = self.shared.loss_of(self._mixture(logits, 1.0), self._halves[1][:_ROWS])
        return tape.gradient(loss, logits)


@dataclasses.dataclass
class Curvature:
    """The dominant eigenvalue of the Hessian of the validation loss by the shares, and where it has grown too much.

    Paper: Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020: DARTS finds bad
    cells where the loss becomes sharp in the shares. The search ends when the mean of five measurements is more than
    1 / `least_ratio` of the mean of the five before them (0.75 in the paper), and the shares of that time are taken.
    Departures: the same rows each time; products with the Hessian by finite differences of gradients.

    Attributes:
        size: Number of shares.
        least_ratio: Of the earlier mean to the later one; 0 for no measurements.
        rng: Gives the first direction of the power iteration; one in which nothing changes would stay so.
        eigenvalues: All measurements, the greatest absolute value each.
    """

    size: int
    least_ratio: float
    rng: dataclasses.InitVar[np.random.Generator]
    eigenvalues: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self, rng: np.random.Generator) -> None:
        drawn = rng.standard_normal(self.size)
        self._direction = (drawn / np.linalg.norm(drawn)).astype(np.float32)
        self._kept = np.empty((0, self.size), np.float32)  # the shares at the latest measurements

    def measure(self, alphas: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
        """Measures at these shares, where `slope` is the gradient for a small change of them.

        Returns:
            The shares to go back to, where the loss has become too sharp.
        """
        self.eigenvalues.append(self._dominant(slope))
        self._kept = np.concatenate([self._kept, alphas[None]])[-_WINDOW - 1 :]
        if len(self.eigenvalues) < 2 * _WINDOW:
            return None
        before, after = np.mean(np.reshape(self.eigenvalues[-2 * _WINDOW :], (2, _WINDOW)), axis=1)
        return self._kept[0] if before < self.least_ratio * after else None

    def state(self) -> dict[str, np.ndarray]:
        """What it has measured, by name; nothing where it does not measure."""
        if not self.least_ratio:
            return {}
        return {"eigenvalues": np.array(self.eigenvalues), "direction": self._direction, "kept": self._kept}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        if "eigenvalues" in arrays:
            self.eigenvalues = arrays["eigenvalues"].tolist()
            self._direction, self._kept = arrays["direction"], arrays["kept"]

    def _dominant(self, slope: Callable[[np.ndarray], np.ndarray]) -> float:
        """By power iteration from the direction of the last measurement."""
        value = 0.0
        for _ in range(_ITERATIONS):
            change = np.float32(_WIDTH) * self._direction
            product = (slope(change) - slope(-change)) / (2 * _WIDTH)
            length = float(np.linalg.norm(product))
            if length < TINY:
                return 0.0
            self._direction = (product / length).astype(np.float32)
            if abs(length - value) < _TOLERANCE * length:
                return length
            value = length
        return value
