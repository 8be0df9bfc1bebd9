"""Every evaluator of the package keeps the contract."""

from evaluator_contract import EvaluatorContract

from model_search.training.evaluator import EVALUATORS


class TestEngine(EvaluatorContract):
    name = "engine"


class TestSupernetEvaluator(EvaluatorContract):
    name = "supernet"


def test_every_evaluator_has_a_contract_test():
    own = EVALUATORS.of_users()
    assert {name for name in EVALUATORS if name not in own} == {cls.name for cls in EvaluatorContract.__subclasses__()}
