import pytest
from block_contract import BlockContract, load_with_plain_keras
from example_blocks import EXAMPLES, registered_examples

from model_search.blocks import catalogue

STOCK = tuple(name for name in catalogue.names() if catalogue.get(name).module is not None)
NAMES = (*STOCK, *EXAMPLES)


@pytest.fixture(scope="module", autouse=True)
def examples():
    with registered_examples():
        yield


@pytest.fixture(scope="module")
def loaded(examples, tmp_path_factory):
    return load_with_plain_keras(tmp_path_factory.mktemp("towers"), NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestEveryBlock(BlockContract):
    pass


def test_there_are_the_dense_blocks():
    assert len(STOCK) == 24
