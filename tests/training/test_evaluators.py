"""Evaluators by name: a search says which one trains its trials."""

import numpy as np
import pytest
from engine_cases import DENSE, class_table, plan, settings

import model_search
from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import UserError
from model_search.search.algorithms.random_search import RandomSearch
from model_search.spec.load import load_text
from model_search.spec.searches import SEARCHES
from model_search.training.engine import Engine
from model_search.training.evaluator import EVALUATORS, Evaluator, make_evaluator, register_evaluator
from model_search.training.outcome import TrialOutcome


class Constant(Evaluator):
    """Answers with the shares of the classes, whatever the plan: no tower is trained."""

    def __init__(self, data, settings):
        self._data, self._engine = data, Engine(data, settings)

    def run(self, plan, given=None, on_progress=None):
        shares = np.bincount(self._data.train.label) / len(self._data.train)
        logits = np.repeat(np.log(shares)[None], len(self._data.valid), axis=0).astype(np.float32)
        loss = float(-np.log(shares)[self._data.valid.label].mean())
        weights = self._engine.run(plan, given, lambda progress: True).weights
        return TrialOutcome({"loss": loss, "constant": 1.0}, 0, plan.steps, {"total": 0.0}, (), weights, logits)

    def forward(self, towers):
        return self._engine.forward(towers)

    def logits_of(self, tower):
        return self._engine.logits_of(tower)


class ConstantSearch(RandomSearch):
    """Random architectures, trained by the evaluator above."""

    evaluator = "CONSTANT"


@pytest.fixture
def registered():
    model_search.register_evaluator("CONSTANT")(Constant)
    model_search.register_search("CONSTANT_SEARCH")(ConstantSearch)
    yield
    EVALUATORS.remove("CONSTANT")
    SEARCHES.remove("CONSTANT_SEARCH")


def test_the_engine_is_the_evaluator_unless_a_search_names_another():
    made = make_evaluator(settings().evaluator, class_table(), settings())
    assert isinstance(made, Engine)
    assert made.run(plan(DENSE)).metrics["loss"] > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_search_is_trained_by_the_evaluator_that_it_names(registered, tmp_path, workers):
    x = np.random.default_rng(0).normal(size=(60, 3))
    spec = load_text('search: "CONSTANT_SEARCH" blocks_to_use: ["FULLY_CONNECTED", "LOWRANK_1"] maximum_depth: 3')
    study = single_trainer.SingleTrainer(array_data.Provider(x, np.arange(60) % 3), spec).try_models(
        number_models=3,
        train_steps=5,
        eval_steps=None,
        root_dir=tmp_path,
        batch_size=8,
        experiment_name="constant",
        experiment_owner="tests",
        progress=False,
        finish="neither",
        workers=workers,
    )
    found = [trial.result.metrics for trial in study.history.completed]
    assert len(found) == 3 and all(metrics["constant"] == 1 for metrics in found)
    assert found[0]["loss"] == pytest.approx(np.log(3), abs=0.01)


def test_what_is_no_evaluator_is_refused():
    with pytest.raises(UserError, match="expected a subclass of Evaluator with all of its methods"):
        register_evaluator("SOME")(type("Some", (Evaluator,), {}))
    with pytest.raises(UserError, match="There is no evaluator 'ENGIN'"):
        make_evaluator("ENGIN", class_table(), settings())
