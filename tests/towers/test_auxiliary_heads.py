import keras
import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.problem import problem_type
from model_search.towers.auxiliary import auxiliary_place
from model_search.towers.builder import TowerSpec, build_tower, build_with_auxiliary_head

DENSE, FLAT = "FULLY_CONNECTED", "PLATE_REDUCTION_FLATTEN"
SPEC = InputSpec((12, 12, 3))


def built(architecture, inputs, problem_type):
    return build_with_auxiliary_head(TowerSpec(architecture, inputs, 2, problem_type))


@pytest.mark.parametrize(
    ("problem", "architecture", "place"),
    [
        ("DNN", (DENSE,), None),
        ("DNN", (DENSE, DENSE, DENSE), 1),
        ("RNN_LAST_ACTIVATIONS", ("GRU_64", "GRU_64"), 1),
        ("CNN", (FLAT, DENSE), None),
        ("CNN", ("CONVOLUTION_3X3", FLAT, DENSE), 1),
    ],
)
def test_where_a_head_stands(problem, architecture, place):
    assert auxiliary_place(architecture, problem_type(problem)) == place


@pytest.mark.parametrize(
    ("architecture", "inputs", "problem", "shape"),
    [
        ((DENSE, DENSE), {"features": InputSpec((4,))}, "DNN", (2, 2)),
        (("CONVOLUTION_3X3", FLAT), {"features": SPEC}, "CNN", (2, 2)),
        (("CONVOLUTION_3X3", "MAX_POOLING_2X2", FLAT), {"features": SPEC}, "CNN", (2, 2)),
        (("GRU_64", "GRU_64"), {"features": InputSpec((5, 3))}, "RNN_LAST_ACTIVATIONS", (2, 2)),
        (("GRU_64", "GRU_64"), {"features": InputSpec((5, 3))}, "RNN_ALL_ACTIVATIONS", (2, 5, 2)),
    ],
)
def test_the_tower_is_as_without_the_head(architecture, inputs, problem, shape):
    tower, model = built(architecture, inputs, problem)
    assert model.output_shape == (None, *shape)
    plain = build_tower(TowerSpec(architecture, inputs, 2, problem))
    assert [weight.path for weight in tower.weights] == [weight.path for weight in plain.weights]
    rows = np.random.default_rng(0).normal(size=(3, *inputs["features"].shape)).astype("float32")
    both = np.asarray(model(rows))
    np.testing.assert_array_equal(both[:, 0], plain(rows))
    assert not np.allclose(both[:, 1], both[:, 0])


def test_padded_steps_do_not_influence_the_head():
    inputs = {"features": InputSpec((5, 3), lengths="lengths"), "lengths": InputSpec((), "int32")}
    _, model = built(("GRU_64", "GRU_64"), inputs, "RNN_LAST_ACTIVATIONS")
    rng, lengths = np.random.default_rng(0), np.array([2, 5], "int32")
    one, other = (rng.normal(size=(2, 5, 3)).astype("float32") for _ in range(2))
    other[0, :2], other[1] = one[0, :2], one[1]
    found = [model({"features": values, "lengths": lengths}) for values in (one, other)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "is_nasnet"), [(12, True), (4, False)])
def test_large_maps_have_the_head_of_nasnet_before_the_last_block_that_makes_them_smaller(size, is_nasnet):
    tower, model = built(("CONVOLUTION_3X3", "MAX_POOLING_2X2", FLAT), {"features": InputSpec((size, size, 3))}, "CNN")
    own = {layer.name for layer in tower.layers}
    added = [layer for layer in model.layers if layer.name not in own and layer.weights]
    convolutions = [layer for layer in added if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == ([128, 768] if is_nasnet else [])
