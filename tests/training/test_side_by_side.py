"""Towers of a bag that are trained in one graph, and models of a bag in threads."""

import dataclasses
import math
import threading

import numpy as np
import pytest
from engine_cases import DENSE, WITH_STATE, class_table, number_table, plan, settings

from model_search.errors import TrialError
from model_search.metadata.trial import TrialKind
from model_search.training.engine import Engine
from model_search.training.evaluation import ValidationMetrics
from model_search.training.folds.bags import weights_by_fold
from model_search.training.folds.evaluator import WithFolds
from model_search.training.folds.in_threads import run_jobs
from model_search.training.folds.side_by_side import TowersSideBySide
from model_search.training.outcome import Progress, TrainedTower


def bag(steps, *blocks, **hyperparameters):
    alone = plan(*blocks, steps=steps, **hyperparameters)
    return dataclasses.replace(alone, trial_id=2, kind=TrialKind.BAGGING, parent=1, folds=3)


def together(table):
    return TowersSideBySide(table, settings(), Engine(table, settings()).build)


def both_ways(data, given):
    """The outcomes of towers side by side, and of one after the other."""
    return [
        WithFolds(Engine, data, settings(), way).run(given, None, lambda progress: None) for way in (together, None)
    ]


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (class_table(40, classes=3), bag(1, DENSE, DENSE, kernel_decay=0.1)),
        (number_table(40), bag(1, WITH_STATE, gradient_max_norm=0.1, schedule="cosine")),
    ],
)
def test_a_tower_beside_others_is_trained_as_by_itself(data, given):
    one, other = both_ways(data, given)
    for found, expected in zip(
        *(weights_by_fold(TrainedTower(given, way.weights)) for way in (one, other)), strict=True
    ):
        assert list(found) == list(expected)
        for name in found:
            assert found[name] == pytest.approx(expected[name], abs=2e-5)
    assert one.train_logits == pytest.approx(other.train_logits, abs=1e-4)
    assert one.parameters == other.parameters


def test_one_step_is_chosen_for_all_towers_by_what_they_predict_together():
    data, given = class_table(60), bag(40, DENSE, learning_rate=0.3)
    reports = []
    outcome = WithFolds(Engine, data, settings(), together).run(given, None, reports.append)
    assert [step for step, _ in outcome.curve] == [5, 10, 15, 20, 25, 30, 35, 40]
    best = min(outcome.curve, key=lambda point: point[1])
    assert outcome.best_step == best[0]
    whole = together(data)
    logits = np.concatenate([outcome.train_logits, outcome.valid_logits])
    assert whole.metrics.all(logits)["loss"] == pytest.approx(best[1], rel=1e-5)
    assert outcome.metrics == ValidationMetrics(data, settings()).all(outcome.valid_logits)
    assert reports[-1].step == 40
    assert reports[-1].best == pytest.approx(min(value for _, value in outcome.curve[:-1]))


def test_a_bag_that_is_ended_keeps_its_best_weights_so_far():
    evaluator = WithFolds(Engine, class_table(60), settings(), together)
    outcome = evaluator.run(bag(40, DENSE), None, lambda progress: progress.step >= 20)
    assert 0 < outcome.curve[-1][0] < 40
    assert outcome.weights


def test_a_loss_that_is_not_finite_fails_the_trial():
    with pytest.raises(TrialError, match="a lower learning rate or gradient clipping helps"):
        both_ways(number_table(40), bag(30, DENSE, learning_rate=1e30, optimizer="sgd"))


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_give_the_same_in_any_number_of_threads(threads):
    reports, names = [], set()

    def job(number):
        def work(report):
            names.add(threading.current_thread().name)
            report(Progress(5, 10, 1.0, None))
            return number

        return work

    assert run_jobs([job(number) for number in range(6)], threads, reports.append) == list(range(6))
    assert threading.current_thread().name not in names
    assert (reports[-1].step, reports[-1].steps, reports[-1].loss) == (30, 60, 1.0)


def test_what_a_report_or_a_job_raises_ends_all_jobs():
    def endless(report):
        while True:
            report(Progress(1, 2, math.nan, None))

    def interrupted(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([endless] * 3, 2, interrupted)

    def broken(report):
        raise TrialError("no luck")

    with pytest.raises(TrialError, match="no luck"):
        run_jobs([endless, broken, endless], 2, lambda progress: None)


def test_towers_without_some_folds_are_those_of_the_bag_and_judged_by_their_rows():
    data, given = class_table(40, classes=3), bag(1, DENSE, kernel_decay=0.1)
    whole = WithFolds(Engine, data, settings(), together).run(given, None, lambda progress: None)
    some = dataclasses.replace(given, kind=TrialKind.FOLDS, left_out=(0, 2))
    found = [
        WithFolds(Engine, data, settings(), way).run(some, None, lambda progress: None) for way in (together, None)
    ]
    everything = np.concatenate([whole.train_logits, whole.valid_logits])
    for outcome in found:
        assert len(everything) // 2 < len(outcome.valid_logits) < len(everything)
        places = [int(np.abs(everything - row).sum(axis=1).argmin()) for row in outcome.valid_logits]
        assert len(set(places)) == len(places)
        assert outcome.valid_logits == pytest.approx(everything[places], abs=1e-4)
    assert found[0].metrics["loss"] == pytest.approx(found[1].metrics["loss"], abs=1e-4)
    assert found[0].curve[-1][1] == pytest.approx(found[0].metrics[settings().metric], abs=1e-4)
