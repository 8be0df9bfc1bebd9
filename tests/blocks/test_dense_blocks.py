import keras
import numpy as np
import pytest

from model_search.blocks import catalogue
from model_search.blocks.dense import FullyConnectedBlock
from model_search.blocks.registration import make_block
from model_search.errors import UserError

DENSE = [name for name in catalogue.names() if catalogue.get(name).module == "model_search.blocks.dense"]


def block_model(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make_block(name).build([inputs], None)[-1])


def randomised(model, seed=0):
    """The model with all weights drawn anew, so that a bias of zero hides nothing."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.2, 1.0, weight.shape).astype("float32") for weight in model.weights])
    return model


def relu(values):
    return np.maximum(values, 0)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("FULLY_CONNECTED", {1: 2, 3: 3, 100: 100, 200: 100}),
        ("FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES", {1: 2, 3: 3, 200: 100}),
        ("FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM", {1: 2, 3: 3, 200: 100}),
        ("FULLY_CONNECTED_RESIDUAL_CONCAT", {1: 3, 3: 6, 200: 300}),
        ("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", {1: 3, 3: 6, 200: 300}),
        ("FULLY_CONNECTED_RESIDUAL_PROJECT", {1: 2, 3: 3, 200: 100}),
        ("FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM", {1: 2, 3: 3, 200: 100}),
        ("FULLY_CONNECTED_PYRAMID", {1: 2, 3: 2, 7: 3, 199: 99, 400: 100}),
        ("FIXED_OUTPUT_FULLY_CONNECTED_64", {1: 64, 200: 64}),
        ("FIXED_OUTPUT_FULLY_CONNECTED_1024", {3: 1024}),
        ("LOWRANK_1", {1: 1, 3: 3, 200: 200}),
        ("LOWRANK_3_SKIP", {1: 1, 200: 200}),
        ("BOTTLENECK_32", {1: 1, 200: 200}),
        ("BOTTLENECK_64_SKIP", {3: 3}),
        ("IDENTITY", {1: 1, 200: 200}),
    ],
)
def test_widths(name, widths):
    assert {width: block_model(name, (width,)).output_shape[1] for width in widths} == widths


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("FULLY_CONNECTED", [(200, 100), (100,)]),
        ("FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM", [(200, 100), (100,), *[(100,)] * 4]),
        ("FULLY_CONNECTED_RESIDUAL_PROJECT", [(200, 100), (100,), (200, 100), (100,)]),
        ("LOWRANK_2", [(200, 2), (2, 200), (200,)]),
        ("BOTTLENECK_32_SKIP", [(200, 32), (32,), (32, 200), (200,)]),
        ("IDENTITY", []),
    ],
)
def test_weights(name, shapes):
    assert sorted(tuple(weight.shape) for weight in block_model(name, (200,)).weights) == sorted(shapes)


def test_equal_widths_need_no_projection():
    assert len(block_model("FULLY_CONNECTED_RESIDUAL_PROJECT", (3,)).weights) == 2


@pytest.mark.parametrize("width", [1, 3, 120])
def test_residuals_in_numpy(width):
    features = np.random.default_rng(1).normal(size=(5, width)).astype("float32")
    units = max(min(width, 100), 2)
    fitted = np.zeros((5, units), "float32")
    fitted[:, : min(width, units)] = features[:, : min(width, units)]
    for kind in ("FORCE_MATCH_SHAPES", "CONCAT", "PROJECT"):
        model = randomised(block_model(f"FULLY_CONNECTED_RESIDUAL_{kind}", (width,)))
        by_name = {f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in layer.weights}
        prefix = f"FULLY_CONNECTED_RESIDUAL_{kind}"
        layer = relu(features @ by_name[f"{prefix}_dense/kernel"] + by_name[f"{prefix}_dense/bias"])
        if kind == "CONCAT":
            expected = np.concatenate([features, layer], axis=1)
        elif kind == "FORCE_MATCH_SHAPES":
            expected = fitted + layer
        elif width == units:
            expected = features + layer
        else:
            projected = features @ by_name[f"{prefix}_projection/kernel"] + by_name[f"{prefix}_projection/bias"]
            expected = projected + layer
        np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-4)


def test_batch_normalisation_follows_the_activation():
    model = block_model("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", (6,))
    features = np.random.default_rng(2).normal(size=(64, 6)).astype("float32")
    normalised = np.asarray(model(features, training=True))[:, 6:]
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-4)
    assert (normalised < 0).any()


@pytest.mark.parametrize("skip", [False, True])
def test_low_rank_and_bottleneck_in_numpy(skip):
    features = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")
    suffix = "_SKIP" if skip else ""
    low = randomised(block_model(f"LOWRANK_2{suffix}", (4,)))
    left, right, bias = low.get_weights()
    np.testing.assert_allclose(low(features), relu(features @ left @ right + bias) + features * skip, rtol=1e-4)
    narrow = randomised(block_model(f"BOTTLENECK_32{suffix}", (4,)))
    down, down_bias, up, up_bias = narrow.get_weights()
    hidden = relu(features @ down + down_bias)
    np.testing.assert_allclose(narrow(features), relu(hidden @ up + up_bias) + features * skip, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in DENSE if name != "IDENTITY"])
def test_higher_ranks_are_flattened(name):
    model = block_model(name, (2, 3))
    assert model.output_shape == block_model(name, (6,)).output_shape


def test_identity_keeps_the_rank():
    assert block_model("IDENTITY", (2, 3)).output_shape == (None, 2, 3)


@pytest.mark.parametrize("name", DENSE)
def test_the_class_agrees_with_the_catalogue(name):
    assert make_block(name).is_input_order_important is catalogue.get(name).order_important is False


def test_unknown_residual():
    with pytest.raises(UserError, match=r"'sum'.*force_match_shapes, concat, project"):
        FullyConnectedBlock(residual="sum")
