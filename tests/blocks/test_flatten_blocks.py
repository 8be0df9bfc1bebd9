import keras
import numpy as np
import pytest
from keras import layers

from model_search.blocks import Block, catalogue, register_block
from model_search.blocks.registration import make_block
from model_search.data.rows import InputSpec
from model_search.errors import TrialError
from model_search.metadata.trial import Trial, TrialResult, TrialState
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_text
from model_search.towers.builder import TowerSpec, build_tower

FLATTEN = ("FLATTEN", "DOWNSAMPLE_FLATTEN", "PLATE_REDUCTION_FLATTEN")


def block_model(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make_block(name).build([inputs], None)[-1])


def cnn(architecture, shape):
    return build_tower(TowerSpec(architecture, {"features": InputSpec(shape)}, 2, problem_type="CNN"))


def maps(*shape):
    return np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("FLATTEN", (5, 4, 3), 60),
        ("FLATTEN", (5, 4), 20),
        ("PLATE_REDUCTION_FLATTEN", (5, 4, 3), 3),
        ("PLATE_REDUCTION_FLATTEN", (1, 1, 3), 3),
        # 8x8x3 -> 4x4x6 -> 2x2x12 -> 1x1x24
        ("DOWNSAMPLE_FLATTEN", (8, 8, 3), 24),
        # The width is 1 from the beginning on; the height does not matter.
        ("DOWNSAMPLE_FLATTEN", (9, 1, 3), 27),
        # 5x3x2 -> 3x2x4 -> 2x1x8
        ("DOWNSAMPLE_FLATTEN", (5, 3, 2), 16),
        # 301 channels are not doubled any more, 300 are.
        ("DOWNSAMPLE_FLATTEN", (4, 4, 301), 16 * 301),
        ("DOWNSAMPLE_FLATTEN", (4, 4, 300), 4 * 600),
    ],
)
def test_widths(name, shape, width):
    assert block_model(name, shape).output_shape == (None, width)


@pytest.mark.parametrize("name", FLATTEN)
def test_a_vector_is_handed_on(name):
    features = maps(6)
    np.testing.assert_array_equal(block_model(name, (6,))(features), features)


@pytest.mark.parametrize("name", FLATTEN[1:])
def test_a_sequence_is_refused(name):
    with pytest.raises(TrialError, match=rf"{name} received a tensor of shape \(None, 5, 4\); expected a map"):
        block_model(name, (5, 4))


def test_the_mean_is_that_of_every_channel():
    features = maps(5, 4, 3)
    found = block_model("PLATE_REDUCTION_FLATTEN", (5, 4, 3))(features)
    np.testing.assert_allclose(found, features.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_flatten_keeps_every_number():
    features = maps(5, 4, 3)
    np.testing.assert_array_equal(block_model("FLATTEN", (5, 4, 3))(features), features.reshape(4, 60))


def test_downsampling_in_numpy():
    model = block_model("DOWNSAMPLE_FLATTEN", (2, 2, 3))
    kernel, bias = model.get_weights()
    assert kernel.shape == (2, 2, 3, 6)
    features = maps(2, 2, 3)
    expected = np.maximum(np.einsum("bhwc,hwcd->bd", features, kernel) + bias, 0)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FLATTEN)
def test_the_class_agrees_with_the_catalogue(name):
    assert make_block(name).is_input_order_important is catalogue.get(name).order_important is False


class OwnConvolution(Block):
    def build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, layers.Conv2D(4, 3, padding="same", activation="relu")(input_tensors[-1])]


class OwnFlatten(Block):
    def build(self, input_tensors, is_training):
        return [*input_tensors, layers.GlobalMaxPooling2D()(input_tensors[-1])]


@pytest.fixture
def own_blocks():
    register_block("OWN_CONVOLUTION", reads_rank=3, writes_rank=3)(OwnConvolution)
    register_block("OWN_FLATTEN", reads_rank=3, writes_rank=1)(OwnFlatten)
    yield
    for name in ("OWN_CONVOLUTION", "OWN_FLATTEN"):
        catalogue.unregister(name)


@pytest.mark.parametrize("flatten", [*FLATTEN, "OWN_FLATTEN"])
def test_a_tower_of_a_user_s_own_convolutions_learns(own_blocks, flatten):
    model = cnn(("OWN_CONVOLUTION", "OWN_CONVOLUTION", flatten, "FULLY_CONNECTED"), (8, 8, 1))
    rng = np.random.default_rng(1)
    features = rng.normal(size=(64, 8, 8, 1)).astype("float32")
    labels = (features[:, :4].mean(axis=(1, 2, 3)) > 0).astype("int32")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(features, labels, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


SPEC = """
problem_type: CNN
maximum_depth: 4
blocks_to_use: ["OWN_CONVOLUTION", "FULLY_CONNECTED", %s]
"""


@pytest.mark.parametrize(
    ("named", "expected"), [("'IDENTITY'", "PLATE_REDUCTION_FLATTEN"), ("'OWN_FLATTEN'", "OWN_FLATTEN")]
)
def test_every_tower_of_a_search_over_a_user_s_own_blocks_can_be_built(own_blocks, named, expected):
    spec = load_text(SPEC % named)
    planner = Planner(spec, PlannerSettings(seed=0, train_steps=10, batch_size=4), "loss", "minimize")
    history, sizes = History("loss", "minimize"), set()
    for trial_id in range(1, 16):
        plan = planner.plan(trial_id, history)
        assert plan.architecture.count(expected) == 1
        model = cnn(plan.architecture, (6, 6, 1))
        assert model.output_shape == (None, 2)
        sizes.add(len(plan.architecture))
        result = TrialResult({"loss": float(trial_id)}, 1, 1, {})
        history.update([Trial(trial_id, TrialState.COMPLETED, 1, trial_id, "w", plan=plan, result=result)])
    assert max(sizes) > 1
