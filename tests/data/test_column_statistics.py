import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.data import array_data
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import FEATURES, InputSpec
from model_search.data.tabular import column_statistics
from model_search.data.tabular.column_statistics import Columns
from model_search.data.tabular.features import FeatureSchema, NumberFeature
from model_search.errors import DamagedRecordError

FINITE = st.floats(-3, 3, width=32)


def spec_of(columns, labels):
    data = array_data.Provider(pd.DataFrame(columns), labels).prepare(PrepareOptions(seed=0, batch_size=8))
    return data.input_specs[FEATURES], data


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    columns = {
        "number": rng.normal(size=300),
        "colour": rng.choice(["red", "green", "blue"], 300),
        "flag": rng.integers(0, 2, 300),
        "skewed": np.exp(2 * rng.normal(size=300)),
    }
    return spec_of(columns, rng.integers(0, 2, 300))


def test_a_table_says_which_columns_belong_together_and_how_numbers_are_distributed(mixed):
    spec, data = mixed
    assert spec.widths == (1, 4, 1, 1)
    assert [bool(values) for values in spec.quantiles] == [True, False, False, True]
    columns = Columns.of(7, spec)
    assert (columns.numbers, columns.others, columns.categories) == ((0, 6), (1, 2, 3, 4, 5), ((1, 5),))
    values = data.train.inputs[FEATURES][:, 6]
    np.testing.assert_allclose(spec.quantiles[3][0], values.min())
    np.testing.assert_allclose(spec.quantiles[3][24], np.median(values), atol=0.02)
    np.testing.assert_allclose(spec.quantiles[3][-1], values.max())


def test_means_of_codes_are_numbers():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 300, 1500).astype(float)
    labels = rng.normal(size=300)[codes.astype(int)] + 0.1 * rng.normal(size=1500)
    codes[::20], labels[::20] = np.nan, labels[::20] + 3
    spec, data = spec_of({"code": codes}, labels)
    assert spec.widths == (1, 1, 1)
    assert [bool(values) for values in spec.quantiles] == [True, True, False]
    assert spec.quantiles[1][0] == data.train.inputs[FEATURES][:, 1].min()


def test_means_of_categories_are_numbers():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 200, 1000)
    spec, data = spec_of(
        {"code": [f"k{code}" for code in codes], "x": rng.normal(size=1000)},
        rng.normal(size=200)[codes] + 0.1 * rng.normal(size=1000),
    )
    hot = data.preprocessor.schema.features[0].one_hot
    assert spec.widths == (hot, 1, 1, 1)
    assert [bool(values) for values in spec.quantiles] == [False, True, True, True]
    values = data.train.inputs[FEATURES][:, hot]
    assert spec.quantiles[1][0] == values.min()
    assert spec.quantiles[1][-1] == values.max()


def test_statistics_come_back_from_json(mixed):
    spec, _ = mixed
    assert InputSpec.from_json(spec.to_json()) == spec
    plain = InputSpec((7,))
    assert "widths" not in plain.to_json()
    assert InputSpec.from_json(plain.to_json()) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [1, 4, 1, 2]},
        {"widths": [1, 4, 1]},
        {"quantiles": [[0.0, 1.0], [], [], [1.0, 0.0]]},
        {"distinct": [[0.0], [], [], [0.0, 1.0]]},
        {"quantiles": [[0.0, float("nan")], [], [], [0.0, 1.0]]},
        {"widths": []},
    ],
)
def test_damaged_statistics_are_refused(mixed, change):
    with pytest.raises(DamagedRecordError, match="columns"):
        InputSpec.from_json({**mixed[0].to_json(), **change})


@given(st.lists(FINITE, min_size=3, max_size=300), st.sampled_from([4, 16, 32, 48]))
def test_edges_rise_and_span_the_values(values, bins):
    values = np.sort(np.array(values))
    distinct = np.unique(values)
    if len(distinct) < 3:
        return
    spec = InputSpec(
        (1,),
        widths=(1,),
        quantiles=(column_statistics._points(values, 49),),
        distinct=(column_statistics._points(distinct, 49),),
    )
    (edges,) = Columns.of(1, spec).edges(bins)
    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (distinct[0], distinct[-1])
    assert 1 <= len(edges) - 1 <= bins
    if len(distinct) <= min(bins, 48):
        assert np.array_equal(edges, distinct)


def test_without_statistics_all_columns_are_numbers():
    columns = Columns.of(3, InputSpec((3,)))
    assert (columns.numbers, columns.others) == ((0, 1, 2), ())
    assert len(columns.edges(16)) == 3


def test_very_wide_tables_have_fewer_quantiles():
    schema = FeatureSchema(tuple(NumberFeature(f"x{i}", 0.0, 1.0) for i in range(1200)))
    matrix = np.random.default_rng(0).normal(size=(60, 1200)).astype(np.float32)
    assert {len(values) for values in column_statistics.table_spec(schema, matrix).quantiles} == {20_000 // 2400}
