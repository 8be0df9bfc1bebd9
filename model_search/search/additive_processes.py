"""A small ensemble of Gaussian processes over trials: the predictor of the search."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from model_search.search.encoding import Alikeness, Encoded, Encoder

_JITTER = 1e-6
_LIKELIHOOD_ROWS = 128
_MEMBERS = 3


@dataclasses.dataclass(frozen=True)
class Weights:
    """How much each part of the alikeness counts; a hypothesis about the search space.

    Attributes:
        position: Each position has its own value for each block.
        count: A block has a value wherever it stands.
        pair: Two blocks in a row have a value together.
        whole: Architectures that differ in few places are alike, whatever the places; all orders of interaction.
        reach: How many places that is, about.
        hyper: Hyperparameters count by themselves.
        joint: Hyperparameters count differently for different architectures.
        noise: The variance that the same trial would show again, as a share of the others together.
    """

    position: float
    count: float
    pair: float
    whole: float
    reach: float
    hyper: float
    joint: float
    noise: float

    def covariance(self, alike: Alikeness, positions: int) -> np.ndarray:
        """The covariance without noise."""
        whole = np.exp((alike.match - 1.0) * (positions / self.reach))
        total = self.position * alike.match + self.count * alike.count + self.pair * alike.pair + self.whole * whole
        if alike.hyper is None:
            return total
        return total + alike.hyper * (self.hyper + self.joint * whole)


@functools.cache
def hypotheses(count: int = 24) -> tuple[Weights, ...]:
    """Hypotheses that are spread over what is plausible; the data choose among them."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(count):
        position, counts, pair, whole = rng.dirichlet([1.0, 1.0, 0.7, 1.0])
        reach, noise = np.exp(rng.uniform(np.log([0.8, 0.01]), np.log([8.0, 1.0])))
        hyper, joint = np.exp(rng.uniform(np.log([0.2, 0.05]), np.log([3.0, 1.0])))
        found.append(Weights(position, 3 * counts, pair, whole, reach, hyper, joint, noise))
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class _Member:
    """One hypothesis, fitted.

    Attributes:
        weights: The hypothesis.
        share: What it counts in the ensemble.
        factor: Cholesky factor of the covariance with noise, lower triangle.
        alpha: Covariance inverse times target.
        variance: The factor of all variances.
        noise: The noise on the diagonal, before that factor.
    """

    weights: Weights
    share: float
    factor: np.ndarray
    alpha: np.ndarray
    variance: float
    noise: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is expected of some trials: mean and standard deviation (without noise), in the units of the targets."""

    mean: np.ndarray
    deviation: np.ndarray


class GaussianProcesses:
    """An average of Gaussian processes, each weighed by the likelihood of what was seen.

    The kernel is a sum of parts (`Weights`), after Duvenaud et al., "Additive Gaussian Processes", NeurIPS 2011; the
    exponential of the matches is the product kernel of categorical variables. Which parts count, and how noisy the
    targets are, is chosen by the marginal likelihood, from a fixed list of hypotheses: a search over a few dozen is
    cheaper than a descent and does not fail.
    """

    def __init__(self, encoder: Encoder, trials: Encoded, targets: np.ndarray) -> None:
        """Fits.

        Args:
            encoder: What encoded the trials.
            trials: What was tried.
            targets: What came out, larger is better. [n]
        """
        self._encoder, self._trials = encoder, trials
        self._positions = trials.head.shape[1]
        self._center = float(targets.mean())
        centered = targets - self._center
        alike = encoder.compare(trials, trials)
        self._members = tuple(self._fit(alike, centered))
        self._centered = centered

    def _fit(self, alike: Alikeness, centered: np.ndarray) -> list[_Member]:
        rows = _spread(centered, _LIKELIHOOD_ROWS)
        part = alike.block(rows) if len(rows) < len(centered) else alike
        scores = np.array([self._likelihood(weights, part, centered[rows]) for weights in hypotheses()])
        best = np.argsort(-scores, kind="stable")[:_MEMBERS]
        shares = np.exp(scores[best] - scores[best[0]])
        shares /= shares.sum()
        return [
            self._member(hypotheses()[index], float(share), alike, centered)
            for index, share in zip(best, shares, strict=True)
        ]

    def _likelihood(self, weights: Weights, alike: Alikeness, centered: np.ndarray) -> float:
        factor, _, variance, _ = self._solve(weights, alike, centered)
        n = len(centered)
        return float(-0.5 * n * math.log(variance) - np.log(np.diag(factor)).sum())

    def _member(self, weights: Weights, share: float, alike: Alikeness, centered: np.ndarray) -> _Member:
        factor, alpha, variance, noise = self._solve(weights, alike, centered)
        return _Member(weights, share, factor, alpha, variance, noise)

    def _solve(
        self, weights: Weights, alike: Alikeness, centered: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Factor, solution, the factor of all variances that is most likely (its weak prior is 1), and the noise."""
        from scipy.linalg import cho_solve, cholesky

        covariance = weights.covariance(alike, self._positions)
        noise = weights.noise * float(np.diag(covariance).mean()) + _JITTER
        covariance[np.diag_indices_from(covariance)] += noise
        factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        alpha = cho_solve((factor, True), centered, check_finite=False)
        variance = (float(centered @ alpha) + 1.0) / (len(centered) + 1.0)
        return factor, alpha, max(variance, 1e-12), noise

    def predict(self, trials: Encoded, running: Encoded | None = None) -> Prediction:
        """What is expected of trials.

        Args:
            trials: Those to predict.
            running: Trials that have started: their results are taken to be what is expected of them, which leaves
                the means as they are and makes what is like them less uncertain.
        """
        from scipy.linalg import solve_triangular

        alike = self._encoder.compare(trials, self._trials)
        match_self = _self_alikeness(trials)
        means, variances = [], []
        for member in self._members:
            cross = member.weights.covariance(alike, self._positions)
            explained = solve_triangular(member.factor, cross.T, lower=True, check_finite=False)
            prior = member.weights.covariance(match_self, self._positions)[:, 0]
            variance = prior - (explained**2).sum(axis=0)
            if running is not None and len(running):
                variance = variance - self._explained_by(member, trials, running, explained)
            means.append(cross @ member.alpha)
            variances.append(np.maximum(variance, 1e-9) * member.variance)
        shares = np.array([member.share for member in self._members])[:, None]
        mean = (shares * np.array(means)).sum(axis=0)
        spread = (shares * (np.array(variances) + (np.array(means) - mean) ** 2)).sum(axis=0)
        return Prediction(mean + self._center, np.sqrt(spread))

    def _explained_by(self, member: _Member, trials: Encoded, running: Encoded, explained: np.ndarray) -> np.ndarray:
        """The variance of `trials` that goes when `running` are known too."""
        from scipy.linalg import cholesky, solve_triangular

        weights, compare = member.weights, self._encoder.compare
        seen = solve_triangular(
            member.factor,
            weights.covariance(compare(self._trials, running), self._positions),
            lower=True,
            check_finite=False,
        )
        inner = weights.covariance(compare(running, running), self._positions)
        inner[np.diag_indices_from(inner)] += weights.noise * float(np.diag(inner).mean()) + _JITTER
        factor = cholesky(inner - seen.T @ seen, lower=True, check_finite=False)
        cross = weights.covariance(compare(running, trials), self._positions) - seen.T @ explained
        return (solve_triangular(factor, cross, lower=True, check_finite=False) ** 2).sum(axis=0)

    def fitted(self) -> np.ndarray:
        """What is expected of each of the trials themselves: what they reached, with the noise taken out."""
        noise = sum(member.share * member.noise * member.alpha for member in self._members)
        return self._center + self._centered - noise

    def leave_one_out(self) -> np.ndarray:
        """What the likeliest member expects of each trial by all the others, of shape [n]."""
        from scipy.linalg import solve_triangular

        member = self._members[0]
        inverse = solve_triangular(member.factor, np.eye(len(self._centered)), lower=True, check_finite=False)
        return self._center + self._centered - member.alpha / (inverse**2).sum(axis=0)


def _self_alikeness(trials: Encoded) -> Alikeness:
    """How alike each trial is to itself, as a column."""
    n = len(trials)
    ones = np.ones((n, 1))
    pair = ones if trials.pairs is None else (trials.pairs**2).sum(axis=1, keepdims=True)
    hyper = ones if trials.hyperparameters.shape[1] else None
    return Alikeness(ones, (trials.counts**2).sum(axis=1, keepdims=True), pair, hyper)


def _spread(targets: np.ndarray, most: int) -> np.ndarray:
    """The better half and a spread of the others, `most` in all."""
    if len(targets) <= most:
        return np.arange(len(targets))
    order = np.argsort(-targets, kind="stable")
    best = most // 2
    rest = np.linspace(best, len(targets) - 1, most - best).round().astype(int)
    return np.sort(np.concatenate([order[:best], order[rest]]))
