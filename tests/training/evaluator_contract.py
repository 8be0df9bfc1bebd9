"""What every evaluator keeps to. Subclass `EvaluatorContract` and name the evaluator."""

import math
from typing import ClassVar

import numpy as np
import pytest
from engine_cases import DENSE, WITH_STATE, class_stream, class_table, number_table, plan, settings

from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialPlan
from model_search.training.evaluator import make_evaluator
from model_search.training.metrics import compute_metric
from model_search.training.outcome import FrozenTowers, Given, TrainedTower

CASES = {
    "classes": (class_table, settings("accuracy", "maximize")),
    "numbers": (number_table, settings()),
    "stream": (class_stream, settings()),
}


class EvaluatorContract:
    """The contract; `name` is the evaluator's."""

    name: ClassVar[str]

    @pytest.fixture(params=CASES)
    def case(self, request):
        make_data, chosen = CASES[request.param]
        data = make_data()
        return data, chosen, make_evaluator(self.name, data, chosen)

    def test_metrics_are_those_of_the_logits_on_all_validation_rows(self, case):
        data, chosen, evaluator = case
        outcome = evaluator.run(plan(DENSE))
        assert len(outcome.valid_logits) == len(data.valid) and outcome.valid_logits.dtype == np.float32
        expected = compute_metric(chosen.metric, data.task, data.valid.label, outcome.valid_logits)
        assert outcome.metrics[chosen.metric] == pytest.approx(expected, rel=1e-4)
        assert 0 <= outcome.best_step <= 20 and outcome.parameters > 0

    def test_the_weights_give_the_logits(self, case):
        data, _, evaluator = case
        asked = plan(DENSE, WITH_STATE)
        outcome = evaluator.run(asked)
        tower = TrainedTower(asked, outcome.weights)
        valid, train = evaluator.logits_of(tower)
        np.testing.assert_allclose(valid, outcome.valid_logits, atol=1e-4)
        np.testing.assert_allclose(evaluator.forward([tower, tower])(data.valid.inputs), [valid, valid], atol=1e-5)
        assert (train is None) == (not hasattr(data, "train"))

    def test_the_same_plan_gives_the_same_numbers(self, case):
        data, chosen, evaluator = case
        first = evaluator.run(plan(DENSE))
        again = make_evaluator(self.name, data, chosen).run(plan(DENSE))
        assert first.metrics == again.metrics and first.weights.keys() == again.weights.keys()

    def test_progress_is_reported_and_may_end_the_training(self, case):
        _, _, evaluator = case
        seen = []
        outcome = evaluator.run(plan(DENSE, steps=4000), on_progress=lambda now: seen.append(now) or now.step > 0)
        assert seen[0].step == 0 and {now.steps for now in seen} == {4000}
        assert outcome.best_step < 4000 and all(map(math.isfinite, outcome.metrics.values()))

    def test_what_the_caller_raises_comes_back(self, case):
        def stop(progress):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            case[2].run(plan(DENSE), on_progress=stop)

    def test_weights_may_be_given(self, case):
        evaluator = case[2]
        trained = evaluator.run(plan(DENSE, steps=100))
        copied = evaluator.run(plan(DENSE, steps=0, seed=77), Given(trained.weights))
        np.testing.assert_allclose(copied.valid_logits, trained.valid_logits, atol=1e-5)

    def test_frozen_logits_are_combined(self):
        data = class_table()
        evaluator = make_evaluator(self.name, data, settings())
        logits = np.random.default_rng(0).normal(size=(2, len(data.valid), 2)).astype(np.float32)
        average = TrialPlan(
            3, TrialKind.ENSEMBLE, (), {}, 0, 8, 1, "average", members=(1, 2), ensemble=EnsemblePlan("average")
        )
        outcome = evaluator.run(average, Given(frozen=FrozenTowers(logits)))
        np.testing.assert_allclose(outcome.valid_logits, logits.mean(axis=0), atol=1e-6)
