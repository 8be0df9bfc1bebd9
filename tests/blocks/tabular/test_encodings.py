import keras
import numpy as np
import pytest

from model_search.blocks.registration import make_block
from model_search.blocks.tabular.encodings import piecewise_linear
from model_search.data.rows import InputSpec
from model_search.data.tabular.column_statistics import Columns
from model_search.towers.builder import TowerSpec, build_tower

EDGES = tuple(np.linspace(-2, 2, 9))
# A number, a category of 20 values, a number of three values, a flag.
SPEC = InputSpec(
    (23,), widths=(1, 20, 1, 1), quantiles=(EDGES, (), (-1.0, 0.0, 1.0), ()), distinct=(EDGES, (), (-1.0, 0.0, 1.0), ())
)


def encoder(name, before=()):
    """The block alone, behind others: a model from the table's input."""
    source = keras.Input((23,))
    tensors = [source, *(keras.layers.Dense(size)(source) for size in before)]
    output = make_block(name).build(tensors, None, columns=SPEC)[-1]
    return keras.Model(source, output)


def rows(count=50):
    rng = np.random.default_rng(0)
    table = np.zeros((count, 23), np.float32)
    table[:, 0] = rng.normal(size=count)
    table[np.arange(count), 1 + rng.integers(0, 20, count)] = 1
    table[:, 21] = rng.integers(-1, 2, count)
    table[:, 22] = rng.integers(0, 2, count)
    return table


def test_piecewise_linear_encoding_is_that_of_the_paper():
    edges = Columns.of(23, SPEC).edges(32)
    numbers = keras.Input((2,))
    found = keras.Model(numbers, piecewise_linear(numbers, edges))(np.array([[-3, 0], [0.3, -0.5], [5, 1]], "float32"))
    expected = np.zeros((3, 2, 8))
    for row, values in enumerate([(-3, 0), (0.3, -0.5), (5, 1)]):
        for column, value in enumerate(values):
            for t, (low, high) in enumerate(zip(edges[column], edges[column][1:], strict=False)):
                expected[row, column, t] = min(max((value - low) / (high - low), 0), 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("FEATURE_SCALING", 23),
        ("QUANTILES_48", 25),
        ("PLE_16", 2 * 8 + 21),
        ("PLE_BINS_16", 2 + 8 + 2 + 21),
        ("PLE_16_EMBEDDING", 2 * 8 + round(1.6 * 20**0.56) + 1),
        ("PBLD_16_4", 2 * 4 + 21),
        ("CATEGORY_EMBEDDING", 2 + round(1.6 * 20**0.56) + 1),
        ("FEATURE_ATTENTION_16", 4 * 16),
    ],
)
def test_only_numbers_are_encoded_and_wide_categories_embedded(name, width):
    assert encoder(name).output_shape == (None, width)
    assert np.isfinite(encoder(name)(rows())).all()


def test_other_columns_pass_as_they_are():
    table = rows()
    np.testing.assert_array_equal(np.asarray(encoder("PLE_16")(table))[:, -21:], np.delete(table, [0, 21], axis=1))


def test_behind_another_block_the_encoded_input_is_put_beside_its_output():
    model = encoder("PLE_16", before=(5, 7))
    assert model.output_shape == (None, 7 + 2 * 8 + 21)
    table = rows()
    np.testing.assert_array_equal(np.asarray(model(table))[:, -21:], np.delete(table, [0, 21], axis=1))


def test_quantiles_go_from_minus_one_to_one():
    table = rows(3)
    table[:, 0] = [-2.0, 0.0, 7.0]
    np.testing.assert_allclose(np.asarray(encoder("QUANTILES_48")(table))[:, 2], [-1, 0, 1], atol=1e-6)


def test_a_tower_reads_what_the_study_knows_of_its_columns():
    spec = TowerSpec(("PLE_16", "MLP_64"), {"features": SPEC}, 2)
    plain = TowerSpec(("PLE_16", "MLP_64"), {"features": InputSpec((23,))}, 2)
    assert build_tower(spec).get_layer("1_MLP_64_dense").kernel.shape == (37, 64)
    assert build_tower(plain).get_layer("1_MLP_64_dense").kernel.shape == (23 * 8, 64)


def test_a_table_of_categories_alone_and_one_of_very_many_columns_can_be_encoded():
    categories = InputSpec((4,), widths=(4,), quantiles=((),), distinct=((),))
    for name in ("PLE_16", "QUANTILES_48", "PLE_BINS_16", "PBLD_16_4", "FEATURE_SCALING", "FEATURE_ATTENTION_16"):
        model = build_tower(TowerSpec((name, "MLP_64"), {"features": categories}, 2))
        assert np.isfinite(model(np.eye(4, dtype="float32"))).all()
    wide = build_tower(TowerSpec(("FEATURE_ATTENTION_16",), {"features": InputSpec((500,))}, 2))
    assert wide.count_params() < 500 * 16 * 16 * 2
