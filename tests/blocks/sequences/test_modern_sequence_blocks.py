"""Blocks of sequences that the archived system does not have, against their definitions."""

import keras
import numpy as np
import pytest

from model_search.testing.block_contract import block_with_lengths, build_block

WIDTH, STEPS = 3, 5
LENGTHS = np.array([5, 2, 1], "int32")
VALID = np.arange(STEPS)[None, :, None] < LENGTHS[:, None, None]


def randomised(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 0.6, weight.shape).astype("float32") for weight in model.weights])
    return model


def sequences(width=WIDTH, seed=1):
    return np.random.default_rng(seed).normal(size=(len(LENGTHS), STEPS, width)).astype("float32")


def layer_of(model, part):
    (layer,) = [layer for layer in model.layers if layer.name.endswith(f"_{part}")]
    return layer


def test_pooling_in_numpy():
    x = sequences()
    mean = np.where(VALID, x, 0).sum(axis=1) / LENGTHS[:, None]
    maximum = np.where(VALID, x, -np.inf).max(axis=1)
    expected = {
        "MASKED_MEAN_POOLING": mean,
        "MASKED_MAX_POOLING": maximum,
        "MASKED_MEAN_MAX_POOLING": np.concatenate([mean, maximum], axis=-1),
    }
    for name, values in expected.items():
        found = block_with_lengths(name, (STEPS, WIDTH))([x, LENGTHS])
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)


def test_normalisation_of_a_row_in_numpy():
    x = sequences()
    mean = np.where(VALID, x, 0).sum(axis=1, keepdims=True) / LENGTHS[:, None, None]
    centred = np.where(VALID, x - mean, 0)
    variance = np.square(centred).sum(axis=1, keepdims=True) / LENGTHS[:, None, None]
    expected = {
        "MEAN_SUBTRACTION": centred,
        "TILTED_MEAN_SUBTRACTION": centred,
        "STEP_NORMALIZATION": centred / np.sqrt(variance + 1e-3),
    }
    for name, values in expected.items():
        found = np.asarray(block_with_lengths(name, (STEPS, WIDTH))([x, LENGTHS]))
        np.testing.assert_allclose(np.where(VALID, found, 0), values, rtol=1e-4, atol=1e-5)
        louder = np.asarray(block_with_lengths(name, (STEPS, WIDTH))([x + 3, LENGTHS]))
        np.testing.assert_allclose(np.where(VALID, louder, 0), values, rtol=1e-3, atol=1e-4)


def test_a_spectral_convolution_finds_a_pattern_in_other_bands_too():
    x = np.zeros((2, STEPS, 32), np.float32)
    x[0, 3:6, 8:12], x[1, 3:6, 16:20] = 1.0, 1.0  # eight bands higher: one of the four bands that are left
    model = block_with_lengths("SPECTRAL_CONVOLUTION_8", (STEPS, 32))
    found = np.asarray(model([x, np.array([STEPS, STEPS])])).reshape(2, STEPS, 4, 16)
    assert found.any()
    np.testing.assert_allclose(found[0, :, 1], found[1, :, 2], rtol=1e-5, atol=1e-6)


def test_a_tilt_is_another_slope_and_bend_for_each_row_in_training():
    x = sequences(width=5)
    model = block_with_lengths("TILTED_MEAN_SUBTRACTION", (STEPS, 5))
    added = np.asarray(model([x, LENGTHS], training=True)) - np.asarray(model([x, LENGTHS]))
    assert not added[~VALID[..., 0]].any()
    first = added[:, 0]
    np.testing.assert_allclose(np.where(VALID, first[:, None], 0), added, atol=1e-5)  # the same at every step
    np.testing.assert_allclose(
        np.polyval(np.polyfit(np.arange(5), first.T, 2)[:, 1], np.arange(5)), first[1], atol=1e-4
    )
    assert np.abs(first[:, -1] - first[:, 0]).min() > 1e-3 and len(np.unique(first[:, 0])) == len(first)


def test_without_lengths_all_steps_are_pooled():
    inputs, x = keras.Input((STEPS, WIDTH)), sequences()
    model = keras.Model(inputs, build_block("MASKED_MEAN_MAX_POOLING", [inputs])[-1])
    expected = np.concatenate([x.mean(axis=1), x.max(axis=1)], axis=-1)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


def test_attention_pooling_is_a_weighted_mean_in_numpy():
    model = randomised(block_with_lengths("ATTENTION_POOLING", (STEPS, WIDTH)))
    x = sequences()
    scores = np.asarray(layer_of(model, "scores")(layer_of(model, "inner")(x)))
    weights = np.where(VALID, np.exp(scores), 0)
    expected = (x * weights / weights.sum(axis=1, keepdims=True)).sum(axis=1)
    np.testing.assert_allclose(model([x, LENGTHS]), expected, rtol=1e-4, atol=1e-5)


def test_batch_normalisation_in_training_reads_valid_steps_alone():
    """Otherwise padding would decide what the valid steps become, and the moving averages."""
    x = sequences(seed=3)
    found = []
    for padding in (0, 1e3):
        model = block_with_lengths("BATCHNORM_CONV1D_64_3", (STEPS, WIDTH))
        if not found:
            initial = model.get_weights()
        model.set_weights(initial)
        output = np.asarray(model([np.where(VALID, x, padding).astype("float32"), LENGTHS], training=True))
        found.append((output[VALID[..., 0]], *layer_of(model, "norm").get_weights()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    linear = np.asarray(layer_of(model, "convolution")(np.where(VALID, x, 0).astype("float32")))[VALID[..., 0]]
    expected = (linear - linear.mean(axis=0)) / np.sqrt(linear.var(axis=0) + 1e-3)
    np.testing.assert_allclose(found[0][0], np.maximum(expected, 0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dilation", [1, 4])
def test_a_temporal_convolution_never_reads_later_steps(dilation):
    name = f"TEMPORAL_CONVOLUTION_64_{dilation}"
    model = randomised(block_with_lengths(name, (STEPS, WIDTH)))
    x = sequences()
    before = np.asarray(model([x, np.full(3, STEPS, "int32")]))
    for step in range(STEPS):
        changed = x.copy()
        changed[:, step] += 1
        after = np.asarray(model([changed, np.full(3, STEPS, "int32")]))
        differs = np.abs(after - before).max(axis=(0, 2)) > 1e-4
        assert not differs[:step].any() and differs[step]
        assert not differs[step + 1 : step + dilation].any()


def test_a_gated_convolution_in_numpy():
    model = randomised(block_with_lengths("GATED_CONVOLUTION_64_3", (STEPS, WIDTH)))
    x = sequences()
    both = np.asarray(layer_of(model, "convolution")(np.where(VALID, x, 0).astype("float32")))
    expected = both[..., :64] / (1 + np.exp(-both[..., 64:])) + np.asarray(layer_of(model, "projection")(x))
    found = np.asarray(model([x, LENGTHS]))
    np.testing.assert_allclose(found[VALID[..., 0]], expected[VALID[..., 0]], rtol=1e-4, atol=1e-4)


def test_a_transformer_layer_reads_the_order_of_steps_and_valid_ones_alone():
    model = randomised(block_with_lengths("TRANSFORMER_ENCODER_64_4", (STEPS, 64)))
    x = np.random.default_rng(2).normal(size=(3, STEPS, 64)).astype("float32")
    lengths = np.full(3, STEPS, "int32")
    order = [0, 2, 1, 3, 4]
    found, swapped = np.asarray(model([x, lengths])), np.asarray(model([x[:, order], lengths]))
    assert np.abs(swapped[:, 0] - found[:, 0]).max() > 1e-4  # without positions the first step would not notice
    shorter = np.asarray(model([x, np.full(3, 2, "int32")]))
    assert np.abs(shorter[:, 0] - found[:, 0]).max() > 1e-4


def test_positions_are_sines_and_cosines():
    from model_search.blocks.sequences.attention import positions

    inputs = keras.Input((STEPS, 6))
    found = np.asarray(keras.Model(inputs, positions(inputs))(sequences(6)))
    angles = np.arange(STEPS)[:, None] * 10_000.0 ** -(np.arange(3) / 3)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)


def test_no_block_passes_the_mask_of_keras_on():
    """Layers that know no masks would warn of it."""
    inputs, lengths = keras.Input((STEPS, WIDTH)), keras.Input((), dtype="int32")
    for name in ("BATCHNORM_CONV1D_64_3", "BI_LSTM_32", "BI_GRU_64", "TRANSFORMER_ENCODER_64_4"):
        output = build_block(name, [inputs], lengths)[-1]
        assert getattr(output, "_keras_mask", None) is None
