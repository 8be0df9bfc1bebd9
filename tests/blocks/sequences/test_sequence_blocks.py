"""Recurrent, convolution and SVDF blocks against their definitions, and padding that never matters."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.blocks import catalogue
from model_search.blocks.cells.recurrent import recurrent_cell
from model_search.errors import TrialError
from model_search.testing.block_contract import block_with_lengths, build_block

WIDTH = 3
# The narrowest block of every family that reads sequences, and one of each kind that masks.
NARROW = (
    "RNN_CELL_64", "SKIP_RNN_CELL_64", "RECURRENT_DENSE_64", "CONV1D_128_3", "SKIP_CONV1D_128_5", "SVDF_CELL_64_4_1",
    "SVDF_CONV_32_32_1_2", "TUNABLE_SVDF", "LSTM_32", "BI_LSTM_32", "GRU_64", "BI_GRU_64", "TEMPORAL_CONVOLUTION_64_2",
    "GATED_CONVOLUTION_64_3", "BATCHNORM_CONV1D_64_3", "TRANSFORMER_ENCODER_64_4", "MASKED_MEAN_MAX_POOLING",
    "ATTENTION_POOLING", "TILTED_MEAN_SUBTRACTION", "SPECTRAL_CONVOLUTION_8", "RECURRENT_CELL_INPUT_0", "CELL_TANH",
)  # fmt: skip


def block_model(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build_block(name, [inputs])[-1])


def randomised(model, seed=0):
    """The model with all weights drawn anew, so that a bias of zero hides nothing."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-0.4, 0.6, weight.shape).astype("float32") for weight in model.weights])
    return model


def weights_of(model, part):
    (layer,) = [layer for layer in model.layers if layer.name.endswith(part)]
    return layer.get_weights()


def sequences(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_every_family_is_here():
    families = {catalogue.get(n).family for n in catalogue.names() if catalogue.get(n).reads_rank == 2}
    assert {catalogue.get(name).family for name in NARROW} == families


LONG, SHORT = 9, 6
MODELS = {}


def models(name):
    """The block for sequences of at most 9 and of at most 6 steps, with the same weights."""
    if name not in MODELS:
        long, short = (block_with_lengths(name, (steps, WIDTH)) for steps in (LONG, SHORT))
        short.set_weights(randomised(long).get_weights())
        MODELS[name] = long, short
    return MODELS[name]


@pytest.mark.parametrize("name", NARROW)
@settings(max_examples=6)
@given(
    lengths=st.lists(st.integers(1, SHORT), min_size=4, max_size=4),
    seeds=st.tuples(st.integers(0, 9), st.integers(10, 19)),
    scale=st.sampled_from([0.0, 1.0, -1e4]),
)
def test_neither_what_padding_contains_nor_how_much_there_is_matters(name, lengths, seeds, scale):
    long, short = models(name)
    valid = np.arange(LONG)[None, :, None] < np.array(lengths)[:, None, None]
    features = sequences(4, LONG, WIDTH, seed=seeds[0])
    other = np.where(valid, features, scale * sequences(4, LONG, WIDTH, seed=seeds[1])).astype("float32")
    given_lengths = np.array(lengths, "int32")
    one, two = (np.asarray(long([x, given_lengths], training=False)) for x in (features, other))
    three = np.asarray(short([other[:, :SHORT], given_lengths], training=False))
    for row, length in enumerate(lengths):
        kept = slice(length) if one.ndim == 3 else slice(None)
        np.testing.assert_allclose(two[row, kept], one[row, kept], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(three[row, kept], one[row, kept], rtol=1e-4, atol=1e-4)


def test_a_simple_recurrent_block_in_numpy():
    model = randomised(block_model("SKIP_RNN_CELL_64", (4, WIDTH)))
    by_name = {
        f"{layer.name.removeprefix('SKIP_RNN_CELL_64_')}/{w.name}": w.numpy()
        for layer in model.layers
        for w in layer.weights
    }
    x = sequences(2, 4, WIDTH)
    state, expected = np.zeros((2, 64)), []
    for step in range(4):
        state = np.tanh(
            x[:, step] @ by_name["forwards/kernel"]
            + state @ by_name["forwards/recurrent_kernel"]
            + by_name["forwards/bias"]
        )
        expected.append(state + x[:, step] @ by_name["projection/kernel"] + by_name["projection/bias"])
    np.testing.assert_allclose(model(x), np.stack(expected, 1), rtol=1e-4, atol=1e-4)


def test_an_input_of_the_same_width_is_added_as_it_is():
    assert len(block_model("SKIP_RNN_CELL_64", (4, 64)).weights) == 3
    assert len(block_model("SKIP_BI_LSTM_128", (4, 256)).weights) == 6


def test_the_backward_half_is_in_the_order_of_the_steps():
    """A bidirectional LSTM is an LSTM beside another one over the reversed valid steps."""
    model = randomised(block_with_lengths("BI_LSTM_128", (5, WIDTH)))
    one = block_model("LSTM_128", (5, WIDTH))
    forwards, backwards = weights_of(model, "forwards"), weights_of(model, "backwards")
    x, lengths = sequences(2, 5, WIDTH), np.array([5, 3], "int32")
    found = np.asarray(model([x, lengths]))
    one.set_weights(forwards)
    np.testing.assert_allclose(found[..., :128], one(x), rtol=1e-4, atol=1e-4)
    one.set_weights(backwards)
    for row, length in enumerate(lengths):
        reversed_steps = np.zeros((1, 5, WIDTH), "float32")
        reversed_steps[0, :length] = x[row, :length][::-1]
        expected = np.asarray(one(reversed_steps))[0, :length][::-1]
        np.testing.assert_allclose(found[row, :length, 128:], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("RECURRENT_DENSE_64", 1), ("CONV1D_128_3", 3), ("CONV1D_128_5", 5)])
def test_convolutions_over_steps_in_numpy(name, size):
    model = randomised(block_model(name, (6, WIDTH)))
    kernel, bias = model.get_weights()
    assert kernel.shape[:2] == (size, WIDTH)
    x = sequences(2, 6, WIDTH)
    padded = np.pad(x, [(0, 0), (size // 2, size // 2), (0, 0)])
    expected = np.stack([np.einsum("bsw,swf->bf", padded[:, i : i + size], kernel) + bias for i in range(6)], 1)
    np.testing.assert_allclose(model(x), np.maximum(expected, 0) if size > 1 else expected, rtol=1e-4, atol=1e-4)


def svdf_cell(x, features, time, bias, rank):
    """The cell step by step: what the feature filters say goes into a memory, which the time filters read."""
    filters, memory = features.shape[1], time.shape[0]
    remembered, outputs = np.zeros((len(x), memory, filters)), []
    for step in range(x.shape[1]):
        remembered = np.concatenate([remembered[:, 1:], (x[:, step] @ features)[:, None]], axis=1)
        units = (np.einsum("bmf,mf->bf", remembered, time) + bias).reshape(len(x), -1, rank).sum(axis=-1)
        outputs.append(np.maximum(units, 0))
    return np.stack(outputs, 1)


@pytest.mark.parametrize(
    "name", ["SVDF_CELL_64_4_1", "SVDF_CONV_32_32_1", "SVDF_CELL_32_32_1_2", "SVDF_CONV_64_4_1_64"]
)
def test_svdf_is_its_cell_in_numpy(name):
    model = randomised(block_model(name, (7, WIDTH)))
    features, time, bias, *projection = model.get_weights()
    x = sequences(2, 7, WIDTH)
    expected = svdf_cell(x, features, time.reshape(time.shape[0], -1), bias, 1)
    if projection:
        expected = expected @ projection[0] + projection[1]
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


def test_svdf_of_a_higher_rank_sums_the_filters_of_a_unit():
    from model_search.blocks.sequences.svdf import Svdf

    inputs = keras.Input((7, WIDTH))
    model = randomised(keras.Model(inputs, Svdf(5, 3, rank=2).build(inputs, "svdf", convolve=True)))
    features, time, bias = model.get_weights()
    assert features.shape == (WIDTH, 10)
    x = sequences(2, 7, WIDTH)
    expected = svdf_cell(x, features, time.reshape(3, -1), bias, 2)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "features", "time"),
    [("SVDF_CELL_64_4_1", (6 / (64 + 3)) ** 0.5, (6 / (64 + 4)) ** 0.5), ("SVDF_CONV_64_4_1_64", 0.16, 0.16)],
)
def test_initial_weights_of_svdf(name, features, time):
    found = block_model(name, (7, WIDTH)).get_weights()
    for weights, limit in zip(found[:2], (features, time), strict=True):
        assert 0.8 * limit < np.abs(weights).max() <= limit * 1.0001


@pytest.mark.parametrize("name", ["LSTM_128", "CONV1D_128_3", "SVDF_CELL_64_4_1"])
@pytest.mark.parametrize("shape", [(5,), (4, 4, 3)])
def test_what_is_no_sequence_is_refused_in_a_sentence(name, shape):
    with pytest.raises(TrialError, match=rf"{name} received a tensor of shape .*; expected a sequence.*before the"):
        block_model(name, shape)


def test_every_archived_block_of_sequences_has_its_width(monkeypatch):
    # Orthogonal matrices of a thousand rows take long to draw.
    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", lambda self, shape, dtype: np.zeros(shape, dtype))
    for name in catalogue.names():
        info = catalogue.get(name)
        if info.reads_rank != 2 or info.enum_id in range(300, 500):
            continue
        numbers = [int(part) for part in name.split("_") if part.isdigit()]
        if "SVDF" in name:
            expected = 50 if name == "TUNABLE_SVDF" else numbers[3] if len(numbers) == 4 else numbers[0]
        else:
            expected = numbers[0] * (2 if "BI_LSTM" in name else 1)
        assert block_model(name, (4, WIDTH)).output_shape == (None, 4, expected), name


def test_a_recurrent_cell_keeps_its_state_over_many_steps_before_it_is_trained():
    chain = tuple(((number, "CELL_TANH"),) for number in range(4))
    sequence = keras.Input([16, 3])
    model = keras.Model(sequence, recurrent_cell(sequence, chain, 16, "cell_"))
    x = np.zeros([4, 16, 3], np.float32)
    x[:, 0] = np.random.default_rng(0).normal(size=[4, 3])
    states = np.linalg.norm(model.predict(x, verbose=0), axis=-1)
    assert (states[:, -1] > 0.03 * states[:, 0]).all()  # four gates that are half open would leave 1e-18
