"""Every tower that a search over a stock specification proposes can be built."""

import keras
import numpy as np
import pytest

from model_search import constants
from model_search.blocks import catalogue
from model_search.data.rows import InputSpec
from model_search.metadata.trial import Trial, TrialResult, TrialState
from model_search.problem import problem_type
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.check import problem_type as problem_type_of
from model_search.spec.load import load_spec
from model_search.towers.builder import TowerSpec, build_tower

STOCK = {
    "cnn": constants.DEFAULT_CNN,
    "image": constants.DEFAULT_IMAGE,
    "rnn_all": constants.DEFAULT_RNN_ALL,
    "rnn_last": constants.DEFAULT_RNN_LAST,
    "sequence": constants.DEFAULT_SEQUENCE,
    "sound": constants.DEFAULT_SOUND,
    "text": constants.DEFAULT_TEXT,
}
TRIALS = 10
LENGTHS = {"lengths": InputSpec((), "int32")}
SEQUENCE = {"features": InputSpec((6, 3), lengths="lengths")} | LENGTHS
TEXT = {"tokens": InputSpec((6,), "int32", "lengths", vocabulary=9)} | LENGTHS


@pytest.mark.parametrize("name", STOCK)
def test_whatever_is_drawn_grown_and_mutated_is_a_tower(name, monkeypatch):
    # Orthogonal matrices of a thousand rows take long to draw.
    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", lambda self, shape, dtype: np.zeros(shape, dtype))
    spec = load_spec(STOCK[name])
    problem = problem_type(problem_type_of(spec))
    inputs = {"features": InputSpec((8, 8, 1))} if problem.reads_maps else TEXT if name == "text" else SEQUENCE
    planner = Planner(spec, PlannerSettings(seed=2, train_steps=10, batch_size=4), "loss", "minimize")
    history, sizes = History("loss", "minimize"), set()
    for trial_id in range(1, TRIALS + 1):
        plan = planner.plan(trial_id, history)
        if plan.architecture:
            tower = TowerSpec(
                plan.architecture, inputs, 4, problem_type=problem.name, block_hparams=plan.hyperparameters
            )
            assert build_tower(tower).output_shape == ((None, 6, 4) if problem.label_per_step else (None, 4))
            sizes.add(len(plan.architecture))
        result = TrialResult({"loss": 1 / trial_id}, 1, 1, {})
        history.update([Trial(trial_id, TrialState.COMPLETED, 1, trial_id, "w", plan=plan, result=result)])
    assert len(sizes) > 1


@pytest.mark.parametrize("name", ["image", "sequence", "sound", "text"])
def test_a_search_over_modern_blocks_begins_with_its_starting_points(name):
    spec = load_spec(STOCK[name])
    points = [
        point
        for point in problem_type(problem_type_of(spec)).starting_points
        if set(point.architecture) <= set(spec.blocks_to_use)
        and ("EMBEDDING" in point.architecture) == (name == "text")
    ]
    assert len(points) == {"image": 5, "sequence": 3, "sound": 6, "text": 3}[name]
    planner = Planner(spec, PlannerSettings(seed=2, train_steps=10, batch_size=4), "loss", "minimize")
    history = History("loss", "minimize")
    for trial_id, point in enumerate(points, 1):
        plan = planner.plan(trial_id, history)
        if not plan.members:  # an ensemble may take its place
            assert plan.architecture == point.architecture
            assert plan.hyperparameters.items() >= point.hyperparameters.items()
        result = TrialResult({"loss": 1 / trial_id}, 1, 1, {})
        history.update([Trial(trial_id, TrialState.COMPLETED, 1, trial_id, "w", plan=plan, result=result)])


def test_a_starting_point_is_made_of_known_blocks():
    for name in ("CNN", "RNN_LAST_ACTIVATIONS"):
        points = problem_type(name).starting_points
        assert len(points) == (5 if name == "CNN" else 9)
        assert all(catalogue.is_known(block) for point in points for block in point.architecture)
