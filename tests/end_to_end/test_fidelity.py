"""A search with short trainings, early stopping and a tuning phase, trained for real."""

import collections

import pytest

from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import StudyError, UnsupportedError
from model_search.metadata.trial import TrialKind
from model_search.spec.load import load_text

SPEC = """
blocks_to_use: ["FIXED_OUTPUT_FULLY_CONNECTED_64", "BOTTLENECK_32"]
search_type: ADAPTIVE_COORDINATE_DESCENT minimum_depth: 1 maximum_depth: 2
"""
BUDGET = {
    "train_steps": 36, "eval_steps": None, "batch_size": 16, "experiment_name": "e", "experiment_owner": "me",
    "seed": 1, "progress": False,
}  # fmt: skip


def search(provider, folder, more, **changes):
    trainer = single_trainer.SingleTrainer(provider, load_text(SPEC + more))
    return trainer.try_models(**({"root_dir": folder, "number_models": 12, "members": "networks"} | BUDGET | changes))


@pytest.fixture
def provider():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 5)).astype("float32")
    return array_data.Provider(x, (x[:, 0] * x[:, 1] > 0).astype("int64"))


def test_a_schedule_is_kept_to(provider, tmp_path):
    more = "evaluation_schedule { kind: ASHA fidelity: ROWS } tuning { trials: 2 architectures: 1 }"
    study = search(provider, tmp_path / "through", more)
    through = {trial.id: trial for trial in study.trials}
    study.close()
    assert len(through) == 12
    plans = [through[number].plan for number in range(1, 13)]
    assert [plan.kind for plan in plans] == [TrialKind.SEARCH] * 10 + [TrialKind.TUNING] * 2
    searched = collections.Counter((plan.rung, plan.first_step, plan.steps) for plan in plans[:10])
    assert set(searched) <= {(0, 0, 4), (1, 4, 12), (2, 12, 36)}
    assert searched[0, 0, 4] >= 6 and searched[1, 4, 12] >= 2
    for plan in plans:
        steps = [step for step, _ in through[plan.trial_id].result.curve]
        assert min(steps) > plan.first_step and steps[-1] == plan.steps
        if plan.is_promotion:
            assert plan.warm_start == plan.parent and through[plan.parent].plan.steps == plan.first_step
    with pytest.raises(StudyError, match="evaluation_schedule was ASHA"):
        search(provider, tmp_path / "through", "", seed=None)


def test_a_stream_has_no_rows_to_choose_from(tmp_path):
    import numpy as np
    import tensorflow as tf

    from model_search.data.provider import Provider

    class Stream(Provider):
        def get_input_fn(self, hparams, mode, batch_size):
            x = np.ones((40, 3), "float32")
            return lambda: tf.data.Dataset.from_tensor_slices((x, np.arange(40) % 2)).batch(batch_size)

        def number_of_classes(self):
            return 2

    with pytest.raises(UnsupportedError, match="fidelity ROWS"):
        search(Stream(), tmp_path, "evaluation_schedule { kind: ASHA fidelity: ROWS }", eval_steps=2)
    assert not (tmp_path / "e").exists()


def test_hopeless_trials_are_stopped_and_say_so(provider, tmp_path):
    more = (
        "evaluation_schedule { stopping: MEDIAN grace_steps: 0 } "
        "learning_spec { learning_rate_range { minimum: 1e-6 maximum: 0.01 } }"
    )
    study = search(provider, tmp_path, more, number_models=14)
    trials = study.trials
    study.close()
    stopped = [trial for trial in trials if trial.result.stopped_at is not None]
    assert stopped and all(trial.id > 5 for trial in stopped)
    for trial in stopped:
        assert trial.result.curve[-1][0] == trial.result.stopped_at < trial.plan.steps
    assert {trial.result.curve[-1][0] for trial in trials if trial not in stopped} == {36}
