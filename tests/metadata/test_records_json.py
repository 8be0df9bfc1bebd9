"""What may stand in a database: JSON that every reader understands the same way."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import UnstorableError
from model_search.metadata.records import strict_json


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_without_json_are_refused(number):
    with pytest.raises(UnstorableError, match="metrics cannot be stored as JSON"):
        strict_json({"accuracy": [1.0, number]}, "metrics")


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {1: "a"}, {"a": object()}])
def test_values_without_json_are_refused(value):
    with pytest.raises(UnstorableError, match="metrics"):
        strict_json(value, "metrics")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_JSON)
def test_everything_else_comes_back_as_it_was(value):
    assert json.loads(strict_json(value, "a value")) == value
