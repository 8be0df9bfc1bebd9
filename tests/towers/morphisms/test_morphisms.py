"""A larger tower begins as the function of a smaller one: logits in inference mode to 1e-5 of the largest one."""

import keras
import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.errors import NoMorphismError
from model_search.towers.builder import TowerSpec, build_traced
from model_search.towers.morphisms.morphism import morph
from model_search.towers.morphisms.tensors import width

SHAPES = {"DNN": (5,), "CNN": (6, 6, 2), "RNN_LAST_ACTIVATIONS": (4, 3)}
DENSE, WIDE = "FIXED_OUTPUT_FULLY_CONNECTED_64", "FIXED_OUTPUT_FULLY_CONNECTED_128"
PLAIN = "FIXED_CHANNEL_CONVOLUTION_16"
WIDE_CONV = "BATCHNORM_CONVOLUTION_32"
CONV, FLAT = "BATCHNORM_CONVOLUTION_16", "FLATTEN"
PROJECT = "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM"


def traced(problem, blocks, seed):
    spec = TowerSpec(tuple(blocks), {"features": InputSpec(SHAPES[problem])}, 3, problem_type=problem, seed=seed)
    return build_traced(spec)


def trained(problem, blocks):
    """A tower whose weights are like trained ones: no bias, average or scale is as Keras makes it."""
    tower, rng = traced(problem, blocks, 1), np.random.default_rng(0)
    for variable in tower.model.weights:
        noise = 0.1 * rng.normal(size=variable.shape)
        variable.assign(np.abs(variable + noise) + 0.1 if "variance" in variable.path else variable + noise)
    return tower


def rows_of(problem):
    return np.random.default_rng(1).normal(size=(32, *SHAPES[problem])).astype("float32")


def grown(problem, old, new):
    """Logits of the tower before and of the larger one."""
    before, after, rows = trained(problem, old), traced(problem, new, 2), rows_of(problem)
    morph(after, before, np.random.default_rng(3), lambda model: np.asarray(model(rows)))
    return np.asarray(before.model(rows)), np.asarray(after.model(rows)), after


MORPHISMS = [
    ("DNN", [DENSE], [WIDE]),
    ("DNN", [DENSE, "FULLY_CONNECTED"], [DENSE, DENSE, "FULLY_CONNECTED", WIDE]),
    ("DNN", [DENSE], [DENSE, "FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM"]),
    ("DNN", [DENSE], ["FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES", DENSE]),
    ("DNN", [DENSE], [DENSE, PROJECT]),
    ("DNN", ["BOTTLENECK_32"], ["BOTTLENECK_64", "IDENTITY", "LOWRANK_1_SKIP"]),
    ("DNN", ["MLP_64", "LAYER_NORMALIZATION"], ["MLP_128", "LAYER_NORMALIZATION"]),
    ("DNN", ["GLU_64", "TABULAR_RESNET_64"], ["GLU_128", "TABULAR_RESNET_128"]),
    ("DNN", ["MLP_64"], ["MLP_64", "TABULAR_RESNET_128", "GLU_128"]),
    (
        "CNN",
        [CONV, "MAX_POOLING_2X2", FLAT],
        ["BATCHNORM_CONVOLUTION_32", "BATCHNORM_CONVOLUTION_32", "MAX_POOLING_2X2", FLAT],
    ),
    (
        "CNN",
        ["FIXED_CHANNEL_CONVOLUTION_16", "CONVOLUTION_3X3", FLAT],
        [*("FIXED_CHANNEL_CONVOLUTION_32",) * 2, "CONVOLUTION_5X5", FLAT],
    ),
    ("CNN", [CONV, "GLOBAL_MEAN_MAX_FLATTEN"], [CONV, "DENSENET_12_4", "GLOBAL_MEAN_MAX_FLATTEN"]),
    ("CNN", [CONV, FLAT, "MLP_64"], [CONV, "RESNET_3X3", "DUAL_RESNET", "PREACTIVATION_RESNET_16", FLAT, "MLP_128"]),
    ("CNN", ["SQUEEZE_INVERTED_RESIDUAL_16", FLAT], ["SQUEEZE_INVERTED_RESIDUAL_32", "CONVNEXT_7X7", FLAT]),
    ("CNN", ["SEPARABLE_CONVOLUTION_32", FLAT], ["SEPARABLE_CONVOLUTION_64", "DILATED_CONVOLUTION_2", FLAT]),
    ("RNN_LAST_ACTIVATIONS", ["LSTM_32"], ["LSTM_64", "SKIP_CONV1D_128_3"]),
    ("RNN_LAST_ACTIVATIONS", ["GRU_64", "MASKED_MEAN_POOLING"], ["GRU_128", "MASKED_MEAN_POOLING"]),
    ("RNN_LAST_ACTIVATIONS", ["BI_LSTM_32", "RNN_CELL_64"], ["BI_LSTM_64", "RNN_CELL_128", "SKIP_RNN_CELL_128"]),
    ("RNN_LAST_ACTIVATIONS", ["BATCHNORM_CONV1D_64_3"], ["BATCHNORM_CONV1D_128_5"]),
    ("RNN_LAST_ACTIVATIONS", ["LSTM_64"], ["LSTM_64", "TRANSFORMER_ENCODER_64_4"]),
]


@pytest.mark.parametrize(("problem", "old", "new"), MORPHISMS)
def test_the_child_begins_as_its_parent(problem, old, new):
    before, after, tower = grown(problem, old, new)
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()
    assert np.abs(before - before[0]).max() > 0.01 * np.abs(before).max()  # they do depend on the rows
    assert len(tower.architecture) == len(new)


@pytest.mark.parametrize(
    ("problem", "old", "new", "why"),
    [
        ("DNN", [WIDE], [DENSE], "expected at least the 128"),
        ("DNN", [DENSE, DENSE], [DENSE], "blocks are missing"),
        ("DNN", [DENSE], [DENSE, "LOWRANK_1"], "LOWRANK_1"),
        ("DNN", ["FULLY_CONNECTED_PYRAMID"], [DENSE, "FULLY_CONNECTED_PYRAMID"], "may be negative|expected at least"),
        ("DNN", ["TABM_8_64_3"], ["TABM_8_128_3"], "cannot read more channels"),
        ("CNN", ["CONVOLUTION_5X5", FLAT], ["CONVOLUTION_3X3", FLAT], "is smaller than"),
        ("CNN", [CONV, FLAT], [CONV, "BATCHNORM_CONVOLUTION_STRIDE_32_2", FLAT], "no tap"),
        ("RNN_LAST_ACTIVATIONS", ["LSTM_32"], ["LSTM_32", "LSTM_32"], "cannot be the identity"),
        ("RNN_LAST_ACTIVATIONS", ["LSTM_32"], ["GRU_64"], "stands where"),
    ],
)
def test_what_cannot_keep_the_function_is_told_and_left_as_it_is(problem, old, new, why):
    before, after = trained(problem, old), traced(problem, new, 2)
    fresh = after.model.get_weights()
    with pytest.raises(NoMorphismError, match=why):
        morph(after, before, np.random.default_rng(0))
    for now, then in zip(after.model.get_weights(), fresh, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_tensor_of_any_number_of_steps_has_no_width():
    with pytest.raises(NoMorphismError, match="no channels of a fixed number"):
        width(keras.Input((None,)))


def test_copies_of_a_unit_share_unevenly_so_that_they_learn_different_things():
    _, _, tower = grown("DNN", [DENSE, DENSE], [WIDE, DENSE])
    kernel = tower.model.layers[-2].get_weights()[0]
    first, second = kernel[:64], kernel[64:]
    assert (np.abs(first - second) > 1e-4).mean() > 0.9


def test_normalisation_that_is_inserted_changes_little_in_training_mode_too():
    rows = rows_of("CNN")
    before, after = traced("CNN", [CONV, FLAT], 1), traced("CNN", [CONV, CONV, FLAT], 2)
    norm = before.model.layers[2]
    for _ in range(60):  # its averages become those of the rows
        before.model(rows, training=True)
    assert not np.allclose(norm.moving_mean, 0)
    expected = np.asarray(before.model(rows, training=True))
    for predict, bound in ((None, np.inf), (lambda model: np.asarray(model(rows)), 0.05)):
        morph(after, before, np.random.default_rng(0), predict)
        error = np.abs(np.asarray(after.model(rows, training=True)) - expected).max() / np.abs(expected).max()
        assert error < bound
    assert error < 0.05
