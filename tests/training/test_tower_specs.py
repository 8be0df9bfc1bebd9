import pytest

from model_search.blocks import Block, BlockHyperparameter, catalogue, register_block
from model_search.data.rows import InputSpec
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.planning.morphisms import sizes
from model_search.training.tower_specs import tower_spec

OPTIONS = {"problem_type": "DNN", "dropout_between_blocks": False, "disable_last_dense_layer": False}
VALUES = {"T_A_x": 1, "T_A_B_x": 2, "T_A_unknown": 3, "learning_rate": 0.1}


class Tuned(Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors

    def requires_hparams(self):
        return [BlockHyperparameter("x", 1, 9)]


@pytest.fixture(autouse=True)
def two_blocks():
    for name in ("T_A", "T_A_B"):
        register_block(name)(Tuned)
    yield
    for name in ("T_A", "T_A_B"):
        catalogue.unregister(name)


def plan_of(*architecture):
    return TrialPlan(1, TrialKind.SEARCH, architecture, VALUES, steps=1, batch_size=1, seed=1, key="k")


@pytest.mark.parametrize(
    ("architecture", "own"),
    [
        (("T_A",), {"T_A_x": 1}),
        (("T_A_B",), {"T_A_B_x": 2}),
        (("T_A", "T_A_B", "T_A"), {"T_A_x": 1, "T_A_B_x": 2}),
        (("IDENTITY",), {}),
    ],
)
def test_a_tower_gets_the_hyperparameters_of_its_own_blocks(architecture, own):
    plan = plan_of(*architecture)
    assert tower_spec(plan, {"features": InputSpec((3,))}, 2, OPTIONS).block_hparams == own
    assert sizes(plan) == own
