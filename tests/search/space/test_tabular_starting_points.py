import pytest

from model_search import constants
from model_search.search.algorithms.guided_beam import WARM_UP
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import build_space
from model_search.search.space.starting_points import starting_points
from model_search.search.space.tabular_starting_points import TABULAR_STARTING_POINTS
from model_search.spec.load import load_spec


def test_all_lie_in_the_stock_space_for_tables_and_in_no_other():
    spec = load_spec(constants.DEFAULT_TABULAR)
    assert starting_points(Grammar.of(spec), build_space(spec, train_steps=1000)) == TABULAR_STARTING_POINTS
    for other in (constants.DEFAULT_DNN, constants.DEFAULT_SEQUENCE, constants.DEFAULT_IMAGE):
        spec = load_spec(other)
        found = starting_points(Grammar.of(spec), build_space(spec, train_steps=1000))
        assert not set(found) & set(TABULAR_STARTING_POINTS)


@pytest.mark.parametrize("rows", [1, 999, 1_000, 4_999, 5_000, 20_000, 20_001, 10**7])
def test_tables_of_every_size_have_some_and_leave_room_for_random_towers(rows):
    towers = [point.architecture for point in TABULAR_STARTING_POINTS if point.suits(rows)]
    assert 2 <= len(set(towers)) == len(towers) < WARM_UP
