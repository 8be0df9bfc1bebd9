import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import SpecError
from model_search.proto.hparam_pb2 import HParamDef
from model_search.search.planning.suggestions import read_hparams


def _hparams(name, kind, value):
    message = HParamDef()
    setattr(message.hparam[name], kind, value)
    return message


@given(st.text(max_size=20), st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text()))
def test_values_come_back_as_they_were_given(name, value):
    name = "mine " + name
    kind = {bool: "bool_value", int: "int64_value", str: "bytes_value"}[type(value)]
    values = read_hparams(_hparams(name, kind, value.encode() if isinstance(value, str) else value))
    assert values == {name: value} and type(values[name]) is type(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_come_back_to_the_digits_that_32_bits_hold(value):
    assert read_hparams(_hparams("x", "float_value", value))["x"] == pytest.approx(value, rel=1e-6, abs=1e-44)


def test_a_float_reads_as_it_was_written():
    assert read_hparams(_hparams("learning_rate", "float_value", 0.001)) == {"learning_rate": 0.001}


@pytest.mark.parametrize(
    ("name", "kind", "value", "words"),
    [
        ("x", "float_value", float("nan"), "'x' of a suggestion is nan; expected a finite number"),
        ("x", "float_value", float("inf"), "is inf"),
        ("optimizer", "bytes_value", b"\xff", "'optimizer' of a suggestion is not text in UTF-8"),
        ("batch_size", "int64_value", 0, "batch_size of a suggestion is 0"),
        ("batch_size", "float_value", 32.0, "batch_size of a suggestion is 32.0"),
        ("batch_size", "bool_value", True, "batch_size of a suggestion is True"),
    ],
)
def test_values_that_cannot_be_are_refused(name, kind, value, words):
    with pytest.raises(SpecError, match=words):
        read_hparams(_hparams(name, kind, value))


def test_a_value_that_is_not_set_is_refused():
    message = HParamDef()
    message.hparam["x"].SetInParent()
    with pytest.raises(SpecError, match="'x' of a suggestion is not set"):
        read_hparams(message)
