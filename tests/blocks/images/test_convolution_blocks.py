import keras
import numpy as np
import pytest

from model_search.blocks import catalogue
from model_search.blocks.registration import make_block
from model_search.errors import TrialError


def block_model(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make_block(name).build([inputs], None)[-1])


def randomised(model, seed=0):
    """The model with all weights drawn anew, so that a bias of zero hides nothing."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-0.4, 0.6, weight.shape).astype("float32") for weight in model.weights])
    return model


def maps(*shape):
    return np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")


def relu(values):
    return np.maximum(values, 0)


def convolved(x, kernel, bias, stride=1, dilation=1):
    """A convolution as its definition says, the zeros around it divided as TensorFlow does: one more at the end."""
    (batch, *size, _), (*window, _, channels) = x.shape, kernel.shape
    reach = [(k - 1) * dilation + 1 for k in window]
    out = [-(-n // stride) for n in size]
    missing = [max((o - 1) * stride + r - n, 0) for o, r, n in zip(out, reach, size, strict=True)]
    padded = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    result = np.zeros((batch, *out, channels))
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride, j * stride
            part = padded[:, top : top + reach[0] : dilation, left : left + reach[1] : dilation]
            result[:, i, j] = np.einsum("bhwc,hwcd->bd", part, kernel) + bias
    return result


ONE = [
    ("FIXED_CHANNEL_CONVOLUTION_16", (3, 3), 16, {}),
    ("FIXED_CHANNEL_STRIDE_96_2", (3, 3), 96, {"stride": 2}),
    ("CONVOLUTION_4X4", (4, 4), 2, {}),
    ("CONVOLUTION_1X5", (1, 5), 2, {}),
    ("CONVOLUTION_7X1", (7, 1), 2, {}),
    ("INCREASE_CHANNELS_3X3", (3, 3), 4, {}),
    ("DOWNSAMPLE_CONVOLUTION_5X5", (5, 5), 4, {"stride": 2}),
    ("DILATED_CONVOLUTION_2", (3, 3), 2, {"dilation": 2}),
    ("DILATED_CONVOLUTION_4", (3, 3), 2, {"dilation": 4}),
]


@pytest.mark.parametrize(("name", "kernel_size", "channels", "options"), ONE, ids=[row[0] for row in ONE])
def test_single_convolutions_in_numpy(name, kernel_size, channels, options):
    model = randomised(block_model(name, (5, 6, 2)))
    kernel, bias = model.get_weights()
    assert kernel.shape == (*kernel_size, 2, channels)
    features = maps(5, 6, 2)
    np.testing.assert_allclose(
        model(features), relu(convolved(features, kernel, bias, **options)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["RESNET_3X3", "RESNET_5X5"])
def test_a_residual_block_in_numpy(name):
    model = randomised(block_model(name, (4, 5, 3)))
    first, first_bias, second, second_bias = model.get_weights()
    x = maps(4, 5, 3)
    inner = relu(convolved(x, first, first_bias))
    np.testing.assert_allclose(model(x), relu(x + convolved(inner, second, second_bias)), rtol=1e-4, atol=1e-3)


def weights_of(model, part):
    (layer,) = [layer for layer in model.layers if layer.name.endswith(part)]
    return layer.get_weights()


def test_the_dual_residual_block_in_numpy():
    model = randomised(block_model("DUAL_RESNET", (4, 4, 2)))
    x = maps(4, 4, 2)
    branches = [
        convolved(relu(convolved(x, *weights_of(model, f"{part}_0"))), *weights_of(model, f"{part}_1"))
        for part in ("first", "second")
    ]
    np.testing.assert_allclose(model(x), relu(x + sum(branches) / 2), rtol=1e-4, atol=1e-3)


def test_the_general_block_in_numpy():
    model = randomised(block_model("GENERAL_BLOCK", (3, 4, 11)))
    x = maps(3, 4, 11)
    reduced = convolved(x, *weights_of(model, "_reduction"))
    active = relu(reduced)
    branches = [
        convolved(relu(convolved(active, *weights_of(model, f"{part}_0"))), *weights_of(model, f"{part}_1"))
        for part in ("first", "second")
    ]
    padded = np.pad(active, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=np.nan)
    windows = np.stack([padded[:, i : i + 3, j : j + 4] for i in range(3) for j in range(3)])
    for part, pool in (("mean", np.nanmean), ("maximum", np.nanmax)):
        branches.append(convolved(pool(windows, axis=0), *weights_of(model, f"{part}_convolution")))
    expected = relu(np.concatenate([*branches, reduced], axis=-1))
    assert expected.shape[-1] == 10
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-3)


def test_the_general_block_passes_few_channels_on():
    x = maps(3, 4, 5)
    np.testing.assert_array_equal(block_model("GENERAL_BLOCK", (3, 4, 5))(x), x)


POOLS = [(f"{kind}_{n}X{n}", n) for kind, ns in (("AVERAGE_POOL", (2, 4)), ("MAX_POOLING", (2, 3, 5))) for n in ns]


@pytest.mark.parametrize(("name", "size"), POOLS)
def test_pools_in_numpy(name, size):
    pool = np.nanmean if name.startswith("AVERAGE") else np.nanmax
    x = maps(7, 5, 2)
    out = -(-7 // size), -(-5 // size)
    # The zeros that TensorFlow adds do not count; they are divided between both ends.
    missing = out[0] * size - 7, out[1] * size - 5
    padded = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)], constant_values=np.nan)
    expected = pool(padded.reshape(2, out[0], size, out[1], size, 2), axis=(2, 4))
    np.testing.assert_allclose(block_model(name, (7, 5, 2))(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "size"), POOLS)
@pytest.mark.parametrize("narrow", [(0, 9), (9, 0), (1, 1)])
def test_pools_pass_a_map_on_that_is_smaller_than_the_window(name, size, narrow):
    shape = tuple(min(size - 1, n) if n < 9 else 9 for n in narrow)
    shape = (max(shape[0], 1), max(shape[1], 1), 2)
    x = maps(*shape)
    np.testing.assert_array_equal(block_model(name, shape)(x), x)


@pytest.mark.parametrize("name", ["CONVOLUTION_3X3", "MAX_POOLING_2X2", "RESNET_3X3"])
@pytest.mark.parametrize("shape", [(5,), (5, 4)])
def test_what_is_no_map_is_refused_in_a_sentence(name, shape):
    with pytest.raises(TrialError, match=rf"{name} received a tensor of shape .*; expected a map.*before the blocks"):
        block_model(name, shape)


def test_every_archived_block_of_maps_has_its_shape():
    """Channels and size for a map of 12x10 with 9 channels."""
    found = {}
    for name in catalogue.names():
        info = catalogue.get(name)
        if info.reads_rank == 3 and not info.is_flatten and info.enum_id < 300:
            found[name] = block_model(name, (12, 10, 9)).output_shape[1:]
    same = {name for name in found if name.startswith(("CONVOLUTION", "DILATED", "RESNET", "DUAL"))}
    assert {found.pop(name) for name in same} == {(12, 10, 9)} and len(same) == 15
    assert found == {
        **{f"FIXED_CHANNEL_CONVOLUTION_{n}": (12, 10, n) for n in (16, 32, 64, 96, 120)},
        "FIXED_CHANNEL_STRIDE_96_2": (6, 5, 96),
        **{f"INCREASE_CHANNELS_{n}X{n}": (12, 10, 18) for n in (3, 4, 5)},
        **{f"DOWNSAMPLE_CONVOLUTION_{n}X{n}": (6, 5, 18) for n in (3, 4, 5)},
        "AVERAGE_POOL_2X2": (6, 5, 9),
        "AVERAGE_POOL_4X4": (3, 3, 9),
        "MAX_POOLING_2X2": (6, 5, 9),
        "MAX_POOLING_3X3": (4, 4, 9),
        "MAX_POOLING_5X5": (3, 2, 9),
        "GENERAL_BLOCK": (12, 10, 5),
    }
