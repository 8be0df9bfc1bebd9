"""Every evaluator of the package keeps the contract."""

import pytest
from engine_cases import class_table, settings
from evaluator_contract import EvaluatorContract

from model_search.errors import UserError
from model_search.training import evaluator


class TestEngine(EvaluatorContract):
    name = "engine"


def test_every_evaluator_has_a_contract_test():
    assert set(evaluator._BUILT_IN) == {cls.name for cls in EvaluatorContract.__subclasses__()}


def test_an_unknown_evaluator_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"no evaluator 'supernet'; expected one of .*engine"):
        evaluator.make_evaluator("supernet", class_table(), settings())
