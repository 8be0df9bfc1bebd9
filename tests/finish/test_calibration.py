"""Temperatures and calibration errors on cases with known answers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.calibration import calibrate, calibration_error, fit_temperature, is_calibrated, log_loss
from model_search.finish.validation_rows import KeptRows

CLASSES = Task(TaskKind.CLASSIFICATION, "y", 3)


def drawn(rows=20_000, seed=0):
    """Logits, and labels drawn from exactly their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(rows, 3))
    powers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (powers.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).astype(np.int32)
    return logits, np.minimum(labels, 2)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    logits, labels = drawn()
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_least_log_loss():
    logits, labels = drawn(2000)
    found = fit_temperature(3 * logits, labels)
    least = log_loss(3 * logits / found, labels)
    for other in (0.9, 1.1):
        assert least < log_loss(3 * logits / (other * found), labels)


def test_few_rows_hold_it_near_one():
    logits, labels = drawn(40)
    right = 5.0 * np.eye(3)[labels]
    assert 0.2 < fit_temperature(right, labels) < 1
    assert fit_temperature(logits[:19], labels[:19]) == 1.0
    assert fit_temperature(logits, labels, np.repeat([1.0, 0.0], [10, 30])) == 1.0


def test_weights_count_like_copies():
    logits, labels = drawn(6000)
    copies = np.arange(6000) % 3 + 1
    repeated = fit_temperature(2 * np.repeat(logits, copies, axis=0), np.repeat(labels, copies))
    assert fit_temperature(2 * logits, labels, copies) == pytest.approx(repeated, rel=2e-3)
    assert calibration_error(logits, labels, copies) == pytest.approx(
        calibration_error(np.repeat(logits, copies, axis=0), np.repeat(labels, copies))
    )


def test_the_calibration_error_of_known_cases():
    labels = np.array([0] * 80 + [1] * 20)
    always_sure = np.tile([50.0, 0, 0], (100, 1))
    assert calibration_error(always_sure, labels) == pytest.approx(0.2)
    as_sure_as_right = np.log(np.tile([0.8, 0.1, 0.1], (100, 1)))
    assert calibration_error(as_sure_as_right, labels) == pytest.approx(0, abs=1e-9)
    logits, drawn_labels = drawn()
    assert calibration_error(logits, drawn_labels) < 0.02 < calibration_error(3 * logits, drawn_labels)


def test_a_record_says_what_changed():
    logits, labels = drawn(3000)
    found = calibrate(LabelledRows(CLASSES, labels), 3 * logits)
    assert found.fitted
    assert found.log_loss_after < found.log_loss_before
    assert found.error_after < found.error_before
    weights = np.where(labels == 0, 5.0, 0.5)
    weighted = calibrate(LabelledRows(CLASSES, labels, weights), 3 * logits).temperature
    assert weighted == fit_temperature(3 * logits, labels, weights) != found.temperature
    given_one = calibrate(LabelledRows(CLASSES, labels), 3 * logits, given=2.0)
    assert (given_one.temperature, given_one.fitted) == (2.0, False)
    assert calibrate(LabelledRows(Task(TaskKind.REGRESSION, "y", 1), logits[:, :1]), logits[:, :1]) is None
    with pytest.raises(UserError, match="temperature is -1"):
        calibrate(LabelledRows(CLASSES, labels), logits, given=-1.0)


def test_a_record_says_that_there_were_too_few_rows():
    logits, labels = drawn()
    few = calibrate(LabelledRows(CLASSES, labels[:19]), logits[:19])
    assert (few.temperature, few.has_too_few_rows) == (1.0, True)
    assert not calibrate(LabelledRows(CLASSES, labels[:20]), logits[:20]).has_too_few_rows
    assert not calibrate(LabelledRows(CLASSES, labels[:19]), logits[:19], given=1.0).has_too_few_rows


def test_a_record_goes_with_a_given_temperature_or_with_a_fitted_one():
    logits, labels = drawn()
    fitted, given_one = (calibrate(LabelledRows(CLASSES, labels), logits, given=value) for value in (None, 2.0))
    assert is_calibrated(fitted, None) and not is_calibrated(fitted, 2.0)
    assert is_calibrated(given_one, 2.0) and not is_calibrated(given_one, 3.0) and not is_calibrated(given_one, None)
    assert is_calibrated(None, None) and is_calibrated(None, 2.0)  # numbers have no temperature


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_whatever_the_logits_it_is_a_temperature_that_does_not_harm(rows, seed, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(rows, 3))).astype(np.float32)
    labels = rng.integers(3, size=rows).astype(np.int32)
    found = fit_temperature(logits, labels)
    assert 1 / 20 - 1e-9 <= found <= 20 + 1e-9
    assert log_loss(logits / found, labels) <= log_loss(logits, labels) + 1e-6


def test_each_further_task_has_a_temperature_of_its_own():
    logits, labels = drawn(3000)
    numbers = LabelledRows(Task(TaskKind.REGRESSION, "n", 1), logits[:, :1])
    rows, weights = LabelledRows(CLASSES, labels), np.where(np.arange(3000) % 2, 1.0, 0.0)
    kept = KeptRows(rows, False, False, (numbers, LabelledRows(CLASSES, labels, weights)))
    outputs = np.concatenate([logits, logits[:, :1], 3 * logits], axis=1)
    found = calibrate(rows, logits, None, kept.of_others(outputs))
    assert found.others == (1.0, fit_temperature(3 * logits, labels, weights))
    assert found.others[1] == pytest.approx(3, rel=0.1)
    assert calibrate(rows, logits, 2.0, kept.of_others(outputs)).others == (2.0, 2.0)
    unknown = LabelledRows(CLASSES, labels, np.zeros(3000))
    assert calibrate(rows, logits, None, [(unknown, logits)]).others == (1.0,)
    assert KeptRows(rows, False, False).of_others(outputs) == []
    with pytest.raises(ValueError, match="temperature is 0"):
        dataclasses.replace(found, others=(0,))
