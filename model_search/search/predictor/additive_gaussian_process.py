"""A small ensemble of Gaussian processes over trials: the predictor of the search."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from model_search.search.predictor.encoding import Encoded, Encoder, Similarity

_JITTER = 1e-6
LIKELIHOOD_ROWS = 128  # that the variances are learnt from
_REACHES = (0.8, 2.0, 5.0)
_NOISE = 0.2  # at first, where the components are about 1 together
_STEPS = 6
_CAUTION = 1.0  # trials, that a component is taken to have explained as expected
_MOST_STEP = 4.0  # so that one trial that is far off does not decide
_WHOLE_REACHES = (1.0, 2.5, 6.0)
_SHARES = (0.35, 0.1, 0.1)  # of the whole, and of the hyperparameters for any architecture and for like ones


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """What may be true of a search space: how much each component of the covariance counts.

    Attributes:
        reach: In how many places, about, architectures may differ and still be alike as a whole.
        weights: The variance of each component. [components]
        noise: The variance that the same trial would show again.
    """

    reach: float
    weights: np.ndarray
    noise: float

    def covariance(self, similarity: Similarity, positions: int) -> np.ndarray:
        """The covariance without noise."""
        count = len(similarity.parts)
        total = (self.weights[:count] @ similarity.parts.reshape(count, -1)).reshape(similarity.level.shape)
        for weight, product in zip(self.weights[count:], _products(similarity, positions, self.reach), strict=True):
            total += np.multiply(product, weight, out=product)
        return total


def components(similarity: Similarity, positions: int, reach: float) -> np.ndarray:
    """What a covariance is a sum of: [components, n, m].

    They are the parts of the similarity; architectures as a whole, with all orders of interaction; and hyperparameters,
    all together, for any architecture and for like ones.
    """
    return np.concatenate([similarity.parts, np.stack(_products(similarity, positions, reach))])


def _products(similarity: Similarity, positions: int, reach: float) -> list[np.ndarray]:
    whole = similarity.whole(positions / reach)
    return [whole] if similarity.hyper is None else [whole, similarity.hyper.copy(), similarity.hyper * whole]


def learn(similarity: Similarity, shares: np.ndarray, positions: int, targets: np.ndarray, reach: float) -> Hypothesis:
    """How much each component counts, by what was seen.

    Each step multiplies each variance by the square root of the ratio of what it explains to what it was expected to
    explain, beside an unknown mean: by itself no such step makes the likelihood smaller (Zhou, Hu, Zhou, Lange, "MM
    Algorithms for Variance Components Models", JCGS 2019). What the trials say little of (hyperparameters that hardly
    differed, say) stays as it is taken to be at first, and a single trial that is far off does not decide.

    Args:
        similarity: The trials with each other.
        shares: What each part of the similarity is taken to count at first.
        positions: The greatest length of an architecture.
        targets: What came out, mean 0. [n]
        reach: As in `Hypothesis`.
    """
    from scipy.linalg import cho_factor, cho_solve

    n = len(targets)
    parts = components(similarity, positions, reach)
    usual = np.maximum(np.einsum("kii->k", parts) / n, 1e-3)
    start = np.concatenate([shares, _SHARES[: len(parts) - len(shares)]]) / usual
    weights, noise, flat, unit = start, _NOISE, parts.reshape(len(parts), -1), np.eye(n)
    for _ in range(_STEPS):
        covariance = (weights @ flat).reshape(n, n) + (noise + _JITTER) * unit
        inverse = cho_solve(cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False), unit)
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums, sums) / sums.sum()
        alpha = inverse @ targets
        explained, expected = flat @ np.outer(alpha, alpha).ravel(), flat @ inverse.ravel()
        weights = weights * _ratio(weights * explained, weights * expected) ** 0.5
        noise = noise * float(_ratio(noise * (alpha @ alpha), noise * np.trace(inverse)) ** 0.5)
    return Hypothesis(reach, weights, noise)


def _ratio(explained: np.ndarray, expected: np.ndarray) -> np.ndarray:
    ratio = (np.maximum(explained, 0.0) + _CAUTION) / (np.maximum(expected, 0.0) + _CAUTION)
    return np.clip(ratio, 1 / _MOST_STEP, _MOST_STEP)


@dataclasses.dataclass(frozen=True)
class _Member:
    """One hypothesis, fitted.

    Attributes:
        hypothesis: The hypothesis.
        share: What it counts in the ensemble.
        factor: Cholesky factor of the covariance with noise, lower triangle.
        alpha: Covariance inverse times target.
        variance: The factor of all variances.
    """

    hypothesis: Hypothesis
    share: float
    factor: np.ndarray
    alpha: np.ndarray
    variance: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is expected of some trials: mean and standard deviation (without noise), in the units of the targets."""

    mean: np.ndarray
    deviation: np.ndarray


class GaussianProcesses:
    """An average of Gaussian processes, each weighed by the likelihood of what was seen.

    The kernel is a sum of components (`components`), after Duvenaud et al., "Additive Gaussian Processes", NeurIPS
    2011; the exponential of the matches is the product kernel of categorical variables. How much each counts, and how
    noisy the targets are, is learnt (`learn`) for each of a few reaches.
    """

    def __init__(
        self, encoder: Encoder, trials: Encoded, targets: np.ndarray, likelihood_rows: int = LIKELIHOOD_ROWS
    ) -> None:
        """Fits.

        Args:
            encoder: What encoded the trials.
            trials: What was tried.
            targets: What came out, larger is better. [n]
            likelihood_rows: Of so many trials, the better half and a spread of the others, the variances are learnt.
        """
        self._encoder, self._trials = encoder, trials
        self._positions = trials.head.shape[1]
        self._center = float(targets.mean())
        self._centered = targets - self._center
        self._members = tuple(self._fit(encoder.compare(trials, trials), likelihood_rows))

    def _fit(self, similarity: Similarity, likelihood_rows: int) -> list[_Member]:
        rows = _spread(self._centered, likelihood_rows)
        part = similarity.block(rows) if len(rows) < len(self._centered) else similarity
        some = self._centered[rows]
        found = [learn(part, self._encoder.shares, self._positions, some, reach) for reach in _REACHES]
        scores = self._likelihoods(found, part, some)
        self._sample = (part, some, scores)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        return [self._member(each, float(share), similarity) for each, share in zip(found, shares, strict=True)]

    def _likelihoods(self, found: Sequence[Hypothesis], part: Similarity, some: np.ndarray) -> np.ndarray:
        return np.array([self._likelihood(hypothesis, part, some) for hypothesis in found])

    @functools.cached_property
    def whole_share(self) -> float:
        """The posterior probability, from 0 to 1, that no part of an architecture counts by itself.

        Architectures are then alike as a whole or not at all. Of the two, both as likely at first, it compares the
        mean likelihoods over a few reaches.
        """
        from scipy.special import expit, logsumexp

        part, some, scores = self._sample
        shares = self._encoder.shares_of_wholes
        whole = [learn(part, shares, self._positions, some, reach) for reach in _WHOLE_REACHES]
        odds = logsumexp(self._likelihoods(whole, part, some)) - logsumexp(scores)
        return float(expit(odds + math.log(len(_REACHES) / len(_WHOLE_REACHES))))

    def _likelihood(self, hypothesis: Hypothesis, similarity: Similarity, centered: np.ndarray) -> float:
        factor, _, variance = self._solve(hypothesis, similarity, centered)
        return float(-0.5 * len(centered) * math.log(variance) - np.log(np.diag(factor)).sum())

    def _member(self, hypothesis: Hypothesis, share: float, similarity: Similarity) -> _Member:
        return _Member(hypothesis, share, *self._solve(hypothesis, similarity, self._centered))

    def _solve(
        self, hypothesis: Hypothesis, similarity: Similarity, centered: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Factor, solution, and the factor of all variances that is most likely (its weak prior is 1)."""
        from scipy.linalg import cho_solve, cholesky

        covariance = hypothesis.covariance(similarity, self._positions)
        covariance[np.diag_indices_from(covariance)] += hypothesis.noise + _JITTER
        factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        alpha = cho_solve((factor, True), centered, check_finite=False)
        variance = (float(centered @ alpha) + 1.0) / (len(centered) + 1.0)
        return factor, alpha, max(variance, 1e-12)

    def predict(self, trials: Encoded, running: Encoded | None = None) -> Prediction:
        """What is expected of trials.

        Args:
            trials: Those to predict.
            running: Trials that have started: their results are taken to be what is expected of them, which leaves
                the means as they are and makes what is like them less uncertain.
        """
        from scipy.linalg import solve_triangular

        similarity = self._encoder.compare(trials, self._trials)
        alone = self._encoder.alone(trials)
        means, variances = [], []
        for member in self._members:
            cross = member.hypothesis.covariance(similarity, self._positions)
            explained = solve_triangular(member.factor, cross.T, lower=True, check_finite=False)
            prior = member.hypothesis.covariance(alone, self._positions)[:, 0]
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

        hypothesis, compare = member.hypothesis, self._encoder.compare
        seen = solve_triangular(
            member.factor,
            hypothesis.covariance(compare(self._trials, running), self._positions),
            lower=True,
            check_finite=False,
        )
        inner = hypothesis.covariance(compare(running, running), self._positions)
        inner[np.diag_indices_from(inner)] += hypothesis.noise + _JITTER
        factor = cholesky(inner - seen.T @ seen, lower=True, check_finite=False)
        cross = hypothesis.covariance(compare(running, trials), self._positions) - seen.T @ explained
        return (solve_triangular(factor, cross, lower=True, check_finite=False) ** 2).sum(axis=0)

    def fitted(self) -> np.ndarray:
        """What is expected of each of the trials themselves: what they reached, with the noise taken out."""
        noise = sum(member.share * (member.hypothesis.noise + _JITTER) * member.alpha for member in self._members)
        return self._center + self._centered - noise

    def leave_one_out(self) -> np.ndarray:
        """What the likeliest member expects of each trial by all the others, of shape [n]."""
        from scipy.linalg import solve_triangular

        member = max(self._members, key=lambda each: each.share)
        inverse = solve_triangular(member.factor, np.eye(len(self._centered)), lower=True, check_finite=False)
        return self._center + self._centered - member.alpha / (inverse**2).sum(axis=0)


def _spread(targets: np.ndarray, most: int) -> np.ndarray:
    """The better half and a spread of the others, `most` in all."""
    if len(targets) <= most:
        return np.arange(len(targets))
    order = np.argsort(-targets, kind="stable")
    best = most // 2
    rest = np.linspace(best, len(targets) - 1, most - best).round().astype(int)
    return np.sort(np.concatenate([order[:best], order[rest]]))
