import subprocess
import sys
import types

import pytest
from example_blocks import ArchivedBlock, GatedBlock, TunableBlock, registered_examples

import model_search
from model_search import blocks
from model_search.blocks import Block, BlockHyperparameter, BlockSettings, catalogue, register_block
from model_search.blocks.registration import make_block, own_settings
from model_search.errors import UnsupportedError, UserError


@pytest.fixture(autouse=True)
def restored_catalogue():
    before = set(catalogue.names())
    yield
    for name in set(catalogue.names()) - before:
        catalogue.unregister(name)


class Passing(Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors


def test_stacked_decorators_register_each_name():
    @register_block("T_SMALL", init_args={"units": 1}, enum_id=30001)
    @register_block("T_LARGE", init_args={"units": 2})
    class Sized(Passing):
        def __init__(self, units):
            self.units = units

    assert make_block("T_SMALL").units == 1
    assert make_block("T_LARGE").units == 2
    assert catalogue.get("T_SMALL").enum_id == 30001
    assert catalogue.get("T_SMALL").family == "Sized"
    assert catalogue.buildable("T_LARGE")


def test_numbers_are_the_next_free_ones():
    free = catalogue.next_free_id()
    register_block("T_ONE")(Passing)
    register_block("T_TWO")(Passing)
    assert [catalogue.get(name).enum_id for name in ("T_ONE", "T_TWO")] == [free, free + 1]


def test_the_decorator_returns_the_class():
    assert register_block("T_SAME")(Passing) is Passing


@pytest.mark.parametrize("name", ["FULLY_CONNECTED", "LSTM_128"])
def test_stock_names_are_refused(name):
    with pytest.raises(UserError, match="already a block"):
        register_block(name)(Passing)


def test_another_class_under_a_taken_name_is_refused():
    register_block("T_TAKEN")(Passing)
    with pytest.raises(UserError, match="already a block 'T_TAKEN'"):
        register_block("T_TAKEN")(ArchivedBlock)
    assert catalogue.get("T_TAKEN").builder is Passing


def test_a_taken_number_is_refused():
    with pytest.raises(UserError, match="belongs to FULLY_CONNECTED"):
        register_block("T_NUMBER", enum_id=14)(Passing)
    assert not catalogue.is_known("T_NUMBER")


def definition(units):
    """The same class again, as a second run of a notebook's cell defines it."""

    class Redefined(Passing):
        width = units

    return Redefined


def test_running_a_definition_again_replaces_it():
    register_block("T_AGAIN", enum_id=30001)(definition(1))
    second = register_block("T_AGAIN")(definition(2))
    assert catalogue.get("T_AGAIN").builder is second
    assert make_block("T_AGAIN").width == 2
    assert catalogue.get("T_AGAIN").enum_id == 30001


def test_a_refused_replacement_keeps_the_earlier_definition():
    first = register_block("T_AGAIN")(definition(1))
    with pytest.raises(UserError, match="belongs to FULLY_CONNECTED"):
        register_block("T_AGAIN", enum_id=14)(definition(2))
    assert catalogue.get("T_AGAIN").builder is first


@pytest.mark.parametrize("wrong", [object, "Passing", lambda: None])
def test_only_blocks_can_be_registered(wrong):
    with pytest.raises(UserError, match="expected a subclass"):
        register_block("T_WRONG")(wrong)


def test_a_block_must_build():
    class Idle(Block):
        pass

    with pytest.raises(UserError, match=r"Idle.*has no build method"):
        register_block("T_IDLE")(Idle)
    for method in (Idle().build, Idle().block_build):
        with pytest.raises(UserError, match=r"override Block\.build"):
            method([], None)


def test_init_args_must_fit():
    with pytest.raises(UserError, match=r"T_ARGS.*Passing refuses its init_args \{'size': 3\}"):
        register_block("T_ARGS", init_args={"size": 3})(Passing)
    assert not catalogue.is_known("T_ARGS")


def test_both_spellings_build():
    class Old(Block):
        def block_build(self, input_tensors, is_training, lengths=None, hparams=None):
            return [*input_tensors, (is_training, lengths, hparams)]

    class New(Block):
        def build(self, input_tensors, is_training, lengths=None, hparams=None):
            return [*input_tensors, (is_training, lengths, hparams)]

    for block in (Old(), New()):
        for method in (block.build, block.block_build):
            assert method([0], True, lengths=1, hparams=2) == [0, (True, 1, 2)]


def test_names():
    assert make_block("IDENTITY").name == "IDENTITY"
    assert make_block("IDENTITY", "3_IDENTITY").name == "3_IDENTITY"
    assert Passing().name == "block"
    assert Passing(name="mine").name == "mine"
    with registered_examples():
        assert make_block("EXAMPLE_ARCHIVED").name == "EXAMPLE_ARCHIVED"  # its constructor calls no other


@pytest.mark.parametrize(
    ("name", "words"),
    [("LSTM_128", "cannot build the block LSTM_128"), ("FULY_CONNECTED", "nearest names are FULLY_CONNECTED")],
)
def test_what_cannot_be_made(name, words):
    with pytest.raises(UnsupportedError, match=words):
        make_block(name)


def test_order_is_asked_of_the_block():
    register_block("T_GATED", {"units": 1})(GatedBlock)
    register_block("T_DEFAULT")(Passing)
    assert catalogue.get("T_GATED").order_important is False
    assert catalogue.get("T_DEFAULT").order_important is True


def test_hyperparameters_of_a_block():
    register_block("T_TUNABLE")(TunableBlock)
    info = catalogue.get("T_TUNABLE")
    assert info.hyperparameters == (BlockHyperparameter("units", 2, 9),)
    values = {"T_TUNABLE_units": 3, "T_TUNABLE_other": 4, "learning_rate": 0.1}
    assert own_settings(info, values) == {"units": 3}
    assert own_settings(catalogue.get("IDENTITY"), values) == {}


class Int:
    def __init__(self, name, min_value, max_value, sampling=None):
        self.name, self.min_value, self.max_value, self.sampling = name, min_value, max_value, sampling


class Float(Int):
    pass


class Choice:
    name = "kind"


def asking(*entries):
    class Asking(Passing):
        def requires_hparams(self):
            return types.SimpleNamespace(space=list(entries))

    return Asking


def test_a_keras_tuner_space_is_understood():
    register_block("T_TUNER")(asking(Int("units", 2, 8), Float("rate", 0.01, 1.0, sampling="log")))
    assert catalogue.get("T_TUNER").hyperparameters == (
        BlockHyperparameter("units", 2, 8),
        BlockHyperparameter("rate", 0.01, 1.0, whole=False, log=True),
    )


def test_other_kinds_of_hyperparameters_are_refused():
    with pytest.raises(UnsupportedError, match="of the kind Choice"):
        register_block("T_CHOICE")(asking(Choice()))


def test_settings_are_read_by_name_or_attribute():
    settings = BlockSettings(units=3)
    assert settings.units == settings["units"] == 3
    with pytest.raises(AttributeError, match=r"no hyperparameter 'size'; there are \['units'\]"):
        settings.size  # noqa: B018


def test_all_the_ways_to_reach_it():
    assert model_search.block.register_block is model_search.blocks.register_block is register_block
    assert model_search.block.Block is blocks.Block


def test_registering_needs_no_tensorflow():
    program = """
import sys
from model_search import blocks, block, block_builder, registry
@blocks.register_block("MINE", init_args={})
class Mine(blocks.Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None): return input_tensors
assert block_builder.BlockType.MINE == blocks.catalogue.get("MINE").enum_id
print(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "pandas", "sklearn"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
