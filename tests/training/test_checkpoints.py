import math

import numpy as np
import pytest
from engine_cases import class_rows
from hypothesis import given
from hypothesis import strategies as st

from model_search.training.checkpoints import (
    EVALUATIONS,
    BestCheckpoint,
    Evaluation,
    EvaluationRows,
    evaluation_count,
    evaluation_updates,
)
from model_search.training.flat_tower import Snapshot


@given(st.integers(1, 5000))
def test_evaluations_are_spread_evenly_and_end_with_the_training(updates):
    evaluations = evaluation_updates(updates)
    assert evaluations[-1] == updates
    assert evaluations[0] >= 1
    assert len(evaluations) == min(updates, EVALUATIONS)
    assert max(np.diff((0, *evaluations))) <= math.ceil(updates / EVALUATIONS) + 1


@pytest.mark.parametrize(("updates", "rows", "expected"), [(33, 500, 2), (100, 500, 4), (300, 960, 6), (900, 1000, 8)])
def test_a_short_trial_on_pictures_is_evaluated_less_often(updates, rows, expected):
    count = evaluation_count(64 * updates, rows)
    assert count == expected
    assert evaluation_updates(updates, 0, count)[-1] == updates
    assert len(evaluation_updates(updates, 0, count)) == expected


def test_without_updates_there_is_nothing_to_evaluate_in_between():
    assert evaluation_updates(0) == (0,)


@pytest.mark.parametrize(
    ("updates", "batch", "eval_steps", "rows", "expected"),
    [
        (1000, 32, None, 1000, 1000),
        (1000, 32, None, 9000, 1600),
        (10, 32, None, 9000, 500),
        (1000, 32, 10, 9000, 320),
        (1000, 32, 100, 9000, 1600),
    ],
)
def test_evaluations_read_no_more_than_they_may(updates, batch, eval_steps, rows, expected):
    valid = class_rows(rows, weighted=True)
    chosen = EvaluationRows.of(valid, updates, batch, eval_steps)
    assert len(chosen.rows) == len(chosen.rows.weight) == expected
    assert chosen.complete == (expected == rows)
    again = EvaluationRows.of(valid, updates, batch, eval_steps)
    assert np.array_equal(chosen.rows.inputs["features"], again.rows.inputs["features"])


def best_of(goal, *evaluations):
    best = BestCheckpoint(goal)
    for update, (metric, loss) in enumerate(evaluations):
        best.offer(Evaluation(update, metric, loss, np.empty(0)), Snapshot((update,)))
    assert best.snapshot.values == (best.evaluation.update,)
    return best.evaluation.update


def test_the_best_checkpoint_is_kept_and_the_loss_breaks_ties():
    assert best_of("minimize", (3.0, 1.0), (2.0, 9.0), (2.5, 0.0)) == 1
    assert best_of("maximize", (3.0, 1.0), (2.0, 9.0), (2.5, 0.0)) == 0
    assert best_of("maximize", (0.5, 1.0), (0.5, 0.9), (0.5, 0.95)) == 1
    assert best_of("maximize", (0.5, 1.0), (0.5, 1.0)) == 0


def test_a_metric_that_cannot_be_computed_gives_way_to_any_other():
    nan = math.nan
    assert best_of("maximize", (nan, 1.0), (0.1, 9.0), (nan, 0.0)) == 1
    assert best_of("minimize", (nan, 1.0), (nan, 0.5), (nan, 0.7)) == 1
