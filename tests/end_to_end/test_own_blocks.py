"""A user's own blocks that read maps and sequences, searched from a provider of their own."""

import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import model_search
from model_search import blocks, single_trainer
from model_search.blocks import catalogue
from model_search.metadata.trial import TrialState
from model_search.spec.load import load_text


class Convolution(blocks.Block):
    """As the archived README teaches: without `hparams`."""

    def build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, layers.Conv2D(2, 3, padding="same", activation="relu")(input_tensors[-1])]


class Flatten(blocks.Block):
    def build(self, input_tensors, is_training):
        return [*input_tensors, layers.GlobalMaxPooling2D()(input_tensors[-1])]


class Gru(blocks.Block):
    def build(self, input_tensors, is_training, lengths=None):
        steps = np.arange(input_tensors[-1].shape[1], dtype="int32")
        mask = None if lengths is None else ops.expand_dims(lengths, 1) > steps
        return [*input_tensors, layers.GRU(3, return_sequences=True)(input_tensors[-1], mask=mask)]


class Rows(model_search.data.Provider):
    def __init__(self, *shape):
        rng = np.random.default_rng(0)
        self._features = rng.normal(size=(64, *shape)).astype("float32")
        self._labels = (self._features.reshape(64, -1).mean(axis=1) > 0).astype("int32")

    def get_input_fn(self, hparams, mode, batch_size):
        def input_fn():
            data = tf.data.Dataset.from_tensor_slices((self._features, self._labels)).batch(batch_size)
            return data.repeat() if mode == "train" else data

        return input_fn

    def number_of_classes(self):
        return 2


@pytest.fixture
def own_blocks():
    blocks.register_block("E2E_CONVOLUTION", reads_rank=3, writes_rank=3)(Convolution)
    blocks.register_block("E2E_FLATTEN", reads_rank=3, writes_rank=1)(Flatten)
    blocks.register_block("E2E_GRU", reads_rank=2, writes_rank=2)(Gru)
    yield
    for name in ("E2E_CONVOLUTION", "E2E_FLATTEN", "E2E_GRU"):
        catalogue.unregister(name)


@pytest.mark.parametrize(
    ("problem_type", "names", "shape", "flatten"),
    [
        ("CNN", ["E2E_CONVOLUTION", "FULLY_CONNECTED"], (6, 6, 1), "PLATE_REDUCTION_FLATTEN"),
        ("CNN", ["E2E_CONVOLUTION", "E2E_FLATTEN"], (6, 6, 1), "E2E_FLATTEN"),
        ("RNN_LAST_ACTIVATIONS", ["E2E_GRU"], (5, 2), None),
    ],
)
def test_a_search_over_own_blocks(own_blocks, tmp_path, problem_type, names, shape, flatten):
    spec = load_text(f"problem_type: {problem_type} maximum_depth: 3 blocks_to_use: {names}")
    study = single_trainer.SingleTrainer(data=Rows(*shape), spec=spec).try_models(
        number_models=2,
        train_steps=4,
        eval_steps=2,
        root_dir=str(tmp_path),
        batch_size=16,
        experiment_name="own",
        experiment_owner="me",
        progress=False,
        finish="neither",
    )
    trials = study.history.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 2
    for trial in trials:
        assert trial.plan.architecture.count(flatten) == (flatten is not None)
