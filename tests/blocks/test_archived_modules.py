import pytest

from model_search import block, block_builder, registry
from model_search.blocks import catalogue
from model_search.blocks.dense import FixedOutputFullyConnectedBlock, FullyConnectedBlock
from model_search.data.provider import Provider
from model_search.errors import UserError


@pytest.fixture
def forget():
    names = []
    yield names.append
    for name in names:
        catalogue.unregister(name)


class Passing(block.Block):
    def block_build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors


def test_block_type():
    types = block_builder.BlockType
    assert types.EMPTY_BLOCK == 0
    assert types.FULLY_CONNECTED == 14
    assert types(10016).name == "TUNABLE_SVDF"
    assert {member.name for member in types} == {*catalogue.names(), "EMPTY_BLOCK"}
    assert block_builder.BlockType is types


def test_block_type_grows_with_registrations(forget):
    block.register_block(lookup_name="T_NEW", init_args={}, enum_id=30001)(Passing)
    forget("T_NEW")
    assert block_builder.BlockType.T_NEW == 30001


def test_flatten_types():
    assert {member.name for member in block_builder.FLATTEN_TYPES} == {
        "FLATTEN",
        "DOWNSAMPLE_FLATTEN",
        "PLATE_REDUCTION_FLATTEN",
        "GLOBAL_MAX_FLATTEN",
        "GLOBAL_MEAN_MAX_FLATTEN",
    }


def test_no_other_attribute():
    with pytest.raises(AttributeError, match="'Others'"):
        block_builder.Others  # noqa: B018


def test_blocks():
    made = block_builder.Blocks()
    kind = block_builder.BlockType.FULLY_CONNECTED
    assert isinstance(made[kind], FullyConnectedBlock)
    assert made[kind] is made[kind]
    assert made.get_new(kind) is not made[kind]
    assert made.get_new(kind, override_name="mine").name == "mine"
    assert made[block_builder.BlockType.LSTM_128].name == "LSTM_128"


def test_search_space():
    space = block_builder.Blocks.search_space(["TUNABLE_SVDF", "IDENTITY"])
    assert set(space) == {f"TUNABLE_SVDF_{part}" for part in ("output_size", "memory_size", "rank", "projection_size")}
    assert block_builder.Blocks.search_space().items() > space.items()
    assert block_builder.Blocks.search_space(["IDENTITY"]) == {}


def test_registry_of_blocks(forget):
    registry.register(block.Block, lookup_name="T_REG", init_args={}, enum_id=30001)(Passing)
    forget("T_REG")
    assert isinstance(registry.lookup("T_REG", block.Block), Passing)
    assert isinstance(registry.lookup("FIXED_OUTPUT_FULLY_CONNECTED_64", block.Block), FixedOutputFullyConnectedBlock)
    assert registry.get_base_enum(block.Block)["T_REG"] == 30001
    assert any(isinstance(made, Passing) for made in registry.lookup_all(block.Block))


def test_registry_names_a_class_after_itself(forget):
    registry.register(block.Block)(Passing)
    forget("Passing")
    assert catalogue.get("Passing").builder is Passing


def test_registry_of_providers():
    @registry.register(Provider, lookup_name="archived_modules_provider")
    class Mine(Provider):
        def number_of_classes(self):
            return 2

    assert isinstance(registry.lookup("archived_modules_provider", Provider), Mine)


def test_registry_of_anything_else():
    with pytest.raises(UserError, match="expected the base Block or Provider"):
        registry.register(dict)
    with pytest.raises(UserError, match="expected the base Block"):
        registry.lookup_all(Provider)
