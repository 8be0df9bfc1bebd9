"""Blocks of maps that the archived system does not have, against their definitions."""

import keras
import numpy as np
import pytest

from model_search.testing.block_contract import build_block


def block_model(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build_block(name, [inputs])[-1])


def randomised(model, seed=0):
    """The model with all weights drawn anew and positive variances."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 0.6, weight.shape).astype("float32") for weight in model.weights])
    return model


def maps(*shape):
    return np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")


def applied(model, part, x):
    (layer,) = [layer for layer in model.layers if layer.name.endswith(f"_{part}")]
    return np.asarray(layer(x, training=False) if "norm" in part else layer(x))


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("BATCHNORM_CONVOLUTION_STRIDE_32_2", (4, 3, 32)),
        ("PREACTIVATION_RESNET_STRIDE_64_2", (4, 3, 64)),
        ("DENSENET_24_4", (7, 6, 5 + 96)),
        ("DENSENET_TRANSITION", (4, 3, 2)),
        ("SEPARABLE_CONVOLUTION_STRIDE_64_2", (4, 3, 64)),
        ("INVERTED_RESIDUAL_STRIDE_32_2", (4, 3, 32)),
        ("SQUEEZE_INVERTED_RESIDUAL_16", (7, 6, 16)),
        ("CONVNEXT_DOWNSAMPLE", (4, 3, 10)),
        ("GLOBAL_MAX_FLATTEN", (5,)),
        ("GLOBAL_MEAN_MAX_FLATTEN", (10,)),
        ("TUNABLE_CONVOLUTION", (7, 6, 8)),
    ],
)
def test_shapes(name, shape):
    assert block_model(name, (7, 6, 5)).output_shape[1:] == shape


def test_batch_norm_convolution():
    model = randomised(block_model("BATCHNORM_CONVOLUTION_16", (4, 4, 3)))
    x = maps(4, 4, 3)
    inner = applied(model, "convolution", x)
    np.testing.assert_allclose(model(x), relu(applied(model, "norm", inner)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "channels"),
    [("PREACTIVATION_RESNET_16", 16), ("PREACTIVATION_RESNET_16", 3), ("PREACTIVATION_RESNET_STRIDE_32_2", 32)],
)
def test_a_preactivation_residual_block_adds_its_input_or_a_projection(name, channels):
    model = randomised(block_model(name, (4, 4, channels)))
    x = maps(4, 4, channels)
    active = relu(applied(model, "norm_0", x))
    inner = applied(model, "convolution_0", active)
    added = applied(model, "convolution_1", relu(applied(model, "norm_1", inner)))
    same = name == "PREACTIVATION_RESNET_16" and channels == 16
    shortcut = x if same else applied(model, "projection", active)
    np.testing.assert_allclose(model(x), shortcut + added, rtol=1e-4, atol=1e-3)


def test_a_dense_block_keeps_what_it_reads():
    x = maps(4, 4, 3)
    np.testing.assert_array_equal(np.asarray(block_model("DENSENET_12_4", (4, 4, 3))(x))[..., :3], x)


@pytest.mark.parametrize(("channels", "is_added"), [(16, True), (3, False)])
def test_an_inverted_residual_adds_an_input_of_its_own_width(channels, is_added):
    model = randomised(block_model("INVERTED_RESIDUAL_16", (4, 4, channels)))
    x = maps(4, 4, channels)
    inner = x
    for part in ("expansion", "depthwise"):
        inner = np.clip(applied(model, f"{part}_norm", applied(model, part, inner)), 0, 6)
    assert inner.shape[-1] == 4 * channels
    output = applied(model, "projection_norm", applied(model, "projection", inner))
    np.testing.assert_allclose(model(x), x + output if is_added else output, rtol=1e-4, atol=1e-3)


def test_squeeze_and_excitation_multiplies_each_channel_by_one_factor():
    model = randomised(block_model("SQUEEZE_EXCITATION", (4, 4, 8)))
    x = maps(4, 4, 8)
    factor = np.asarray(model(x)) / x
    assert np.ptp(factor, axis=(1, 2)).max() < 1e-4 and factor.min() >= 0 and factor.max() <= 1
    means = x.mean(axis=(1, 2), keepdims=True)
    expected = applied(model, "excitation", applied(model, "squeeze", means))
    np.testing.assert_allclose(factor, np.broadcast_to(expected, x.shape), rtol=1e-3, atol=1e-4)


def test_a_convnext_block_adds_its_input():
    model = randomised(block_model("CONVNEXT_7X7", (4, 4, 6)))
    x = maps(4, 4, 6)
    inner = applied(model, "norm", applied(model, "depthwise", x))
    added = applied(model, "projection", applied(model, "expansion", inner))
    np.testing.assert_allclose(model(x), x + added, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (6, 2), (5, 1)])
def test_groups_divide_the_channels(channels, groups):
    x = maps(4, 4, channels)
    parts = x.reshape(2, 16, groups, -1)
    mean, variance = parts.mean(axis=(1, 3), keepdims=True), parts.var(axis=(1, 3), keepdims=True)
    expected = ((parts - mean) / np.sqrt(variance + 1e-3)).reshape(x.shape)
    found = block_model("GROUP_NORMALIZATION_8", (4, 4, channels))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5)])
def test_layer_normalisation_of_the_last_axis(shape):
    x = maps(*shape)
    expected = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(block_model("LAYER_NORMALIZATION", shape)(x), expected, rtol=1e-3, atol=1e-4)


def test_global_pooling():
    x = maps(4, 5, 3)
    maximum = x.max(axis=(1, 2))
    np.testing.assert_allclose(block_model("GLOBAL_MAX_FLATTEN", (4, 5, 3))(x), maximum, rtol=1e-5)
    both = np.concatenate([x.mean(axis=(1, 2)), maximum], axis=-1)
    np.testing.assert_allclose(block_model("GLOBAL_MEAN_MAX_FLATTEN", (4, 5, 3))(x), both, rtol=1e-4, atol=1e-5)


def test_a_tunable_convolution_has_the_sizes_that_it_is_told():
    from model_search.blocks.block import BlockSettings, call_block
    from model_search.blocks.registration import make_block

    inputs = keras.Input((7, 6, 5))
    sizes = BlockSettings(height=2, width=5, number=11, stride=2)
    output = call_block(make_block("TUNABLE_CONVOLUTION"), [inputs], hparams=sizes)[-1]
    assert output.shape == (None, 4, 3, 11)
    assert keras.Model(inputs, output).weights[0].shape == (2, 5, 5, 11)
