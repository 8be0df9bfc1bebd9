"""Whole networks as blocks, against those of `keras.applications`."""

import keras
import numpy as np
import pytest
from keras import applications

from model_search.testing.block_contract import build_block

SHAPE = (97, 97, 3)  # the smallest map that is halved at all five places
NETWORKS = {
    "RESNET50_BACKBONE": (applications.ResNet50, {}, 0),
    "MOBILENET_V3_SMALL_BACKBONE": (applications.MobileNetV3Small, {"include_preprocessing": False}, 0),
    # It divides by 255 first, and has three weights of a normalisation.
    "EFFICIENTNET_B0_BACKBONE": (applications.EfficientNetB0, {}, 3),
}


def output(name, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build_block(name, [inputs])[-1])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_backbone_is_the_network_of_keras(name):
    make, options, others = NETWORKS[name]
    theirs, ours = make(include_top=False, weights=None, input_shape=SHAPE, **options), output(name, SHAPE)
    rng = np.random.default_rng(0)
    weights = [
        rng.uniform(0.5, 1, array.shape) if array.ndim == 1 else array for array in theirs.get_weights()[others:]
    ]
    theirs.set_weights(theirs.get_weights()[:others] + weights)
    ours.set_weights(weights)
    x = rng.normal(size=(2, *SHAPE)).astype("float32")
    expected = theirs(x * 255 if others else x, training=False)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours(x, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("MOBILENET_V2_BACKBONE", applications.MobileNetV2),
        ("MOBILENET_V3_LARGE_BACKBONE", applications.MobileNetV3Large),
    ],
)
def test_a_backbone_has_the_weights_of_keras(name, make):
    with keras.StatelessScope(initialize_variables=False):
        theirs, ours = make(include_top=False, weights=None, input_shape=SHAPE), output(name, SHAPE)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    assert ours.output_shape == theirs.output_shape


@pytest.mark.parametrize(
    ("shape", "size"),
    [((28, 28, 1), (4, 4)), ((32, 32, 3), (4, 4)), ((64, 40, 3), (8, 5)), ((97, 97, 3), (4, 4)), ((5, 2, 1), (5, 2))],
)
def test_small_maps_are_not_made_smaller_than_four_by_four(shape, size):
    inputs = keras.Input(shape)
    assert build_block("RESNET18_QUARTER_BACKBONE", [inputs])[-1].shape == (None, *size, 128)


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    [
        ("RESNET18_BACKBONE", 512, 11_186_112),
        ("RESNET34_BACKBONE", 512, 21_301_696),
        ("MOBILENET_V2_QUARTER_BACKBONE", 1280, 248_768),
    ],
)
def test_networks_that_keras_does_not_have(name, channels, parameters):
    with keras.StatelessScope(initialize_variables=False):
        model = output(name, (32, 32, 3))
    assert model.output_shape == (None, 4, 4, channels)
    assert model.count_params() == parameters
