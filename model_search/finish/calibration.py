"""How far probabilities can be trusted: a fitted temperature, and the error that it leaves. NumPy only.

Guo et al. 2017, "On Calibration of Modern Neural Networks": logits divided by one temperature, fitted on validation
rows. It never changes which class is the most probable one. Departing from it, a weak prior holds the temperature near
1 where rows are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import TaskKind
from model_search.errors import UserError
from model_search.metadata.final_models import Calibration

BINS = 15
FEWEST_ROWS = 20  # with fewer, the temperature stays 1
_PRIOR_SPREAD = 0.5  # of log(temperature), as a normal distribution around 0
_LARGEST = math.log(20.0)  # of |log(temperature)|
_LONGEST_STEP, _SMALLEST_STEP, _MOST_STEPS = 0.7, 1e-5, 50


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The log of softmax(logits) along the last axis, float64."""
    scaled = np.asarray(logits, dtype=np.float64)
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The temperature with the least log loss, regularised towards 1 where there are few rows.

    Args:
        logits: [rows, classes].
        labels: Whole numbers [rows].
        weights: [rows], or None where all rows weigh the same.

    Returns:
        A number from 1/20 to 20; 1 with fewer than 20 rows that count.
    """
    shares, rows = _shares(len(labels), weights)
    if rows < FEWEST_ROWS - 1e-6:  # the sum of weights is rounded
        return 1.0
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=1, keepdims=True)
    of_truth = float(shares @ np.take_along_axis(values, labels[:, None], axis=1)[:, 0])
    prior = 1 / (_PRIOR_SPREAD**2 * rows)
    place = 0.0  # log(1 / temperature); the log loss is convex in 1 / temperature
    for _ in range(_MOST_STEPS):
        inverse = math.exp(place)
        powers = np.exp(values * inverse)
        powers /= powers.sum(axis=1, keepdims=True)
        means = (powers * values).sum(axis=1)
        slope = inverse * (float(shares @ means) - of_truth) + prior * place
        spread = float(shares @ np.maximum((powers * np.square(values)).sum(axis=1) - np.square(means), 0))
        step = -slope / (inverse**2 * spread + prior)
        step = min(max(step, -_LONGEST_STEP), _LONGEST_STEP)
        before, place = place, min(max(place + step, -_LARGEST), _LARGEST)
        if abs(place - before) < _SMALLEST_STEP:
            break
    return math.exp(-place)


def log_loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of -log(probability of the true class); arguments as in `fit_temperature`."""
    shares, _ = _shares(len(labels), weights)
    return -float(shares @ np.take_along_axis(log_probabilities(logits), labels[:, None], axis=1)[:, 0])


def calibration_error(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy.

    Rows are put into 15 equally wide bins by the probability of the most probable class; arguments as in
    `fit_temperature`.
    """
    shares, _ = _shares(len(labels), weights)
    found = log_probabilities(logits)
    sure = np.exp(found.max(axis=1))
    right = found.argmax(axis=1) == labels
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, shares * (right - sure), BINS)).sum())


def calibrate(
    rows: LabelledRows,
    logits: np.ndarray,
    given: float | None = None,
    others: Iterable[tuple[LabelledRows, np.ndarray]] = (),
) -> Calibration | None:
    """The temperature of a model and what it changes.

    Args:
        rows: The validation rows.
        logits: Of these rows [rows, classes], flattened as `LabelledRows.logits` does.
        given: The specification's own temperature, which wins over the fitted one; None where it names none.
        others: The validation rows of each further task, with its logits.

    Returns:
        None where numbers are predicted.

    Raises:
        UserError: if the given temperature is not above 0.
    """
    if rows.task.kind is not TaskKind.CLASSIFICATION:
        return None
    if given is not None and not given > 0:
        raise UserError(f"The temperature is {given}; expected a number above 0.")
    labels, weights = rows.labels, rows.weights
    temperature = fit_temperature(logits, labels, weights) if given is None else given
    scaled = logits / temperature
    return Calibration(
        temperature=temperature,
        fitted=given is None,
        log_loss_before=log_loss(logits, labels, weights),
        log_loss_after=log_loss(scaled, labels, weights),
        error_before=calibration_error(logits, labels, weights),
        error_after=calibration_error(scaled, labels, weights),
        others=tuple(_temperature_of_other(*pair) if given is None else given for pair in others),
    )


def _temperature_of_other(rows: LabelledRows, logits: np.ndarray) -> float:
    """The temperature of a further task; 1 where it predicts numbers, or no row has a label of it."""
    if rows.task.kind is not TaskKind.CLASSIFICATION or (rows.weights is not None and not rows.weights.any()):
        return 1.0
    return fit_temperature(logits, rows.labels, rows.weights)


def is_calibrated(calibration: Calibration | None, given: float | None) -> bool:
    """Whether a calibration is what `calibrate` returns for this given temperature (None for a fitted one)."""
    if calibration is None:
        return True
    return calibration.fitted if given is None else not calibration.fitted and calibration.temperature == given


def _shares(rows: int, weights: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Weights normalised to sum 1, and the effective number of rows."""
    shares = np.ones(rows) if weights is None else np.asarray(weights, dtype=np.float64)
    total = shares.sum()
    if not total > 0:
        shares, total = np.ones(rows), float(rows)
    shares = shares / total
    return shares, 1 / float(shares @ shares)
