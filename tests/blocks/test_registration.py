import subprocess
import sys
import types

import keras
import pytest
from example_blocks import ArchivedBlock, GatedBlock, TunableBlock, registered_examples

import model_search
from model_search import block_builder, blocks
from model_search.blocks import Block, BlockHyperparameter, BlockSettings, catalogue, register_block
from model_search.blocks.block import accepted_arguments, call_block
from model_search.blocks.registration import make_block, own_settings
from model_search.data.rows import InputSpec
from model_search.errors import UnsupportedError, UserError
from model_search.towers.builder import TowerSpec, build_tower


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
    assert catalogue.is_known("T_LARGE")


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


def test_what_cannot_be_made():
    with pytest.raises(UnsupportedError, match="nearest names are FULLY_CONNECTED"):
        make_block("FULY_CONNECTED")


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


class WithoutHparams(Block):
    """As the archived README teaches."""

    def build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, keras.layers.Dense(3)(input_tensors[-1])]


class WithoutEither(Block):
    def build(self, input_tensors, is_training):
        return [*input_tensors, keras.layers.Dense(3)(input_tensors[-1])]


class ArchivedWithoutHparams(Block):
    def block_build(self, input_tensors, is_training, lengths=None):
        return [*input_tensors, keras.layers.Dense(3)(input_tensors[-1])]


class WithoutLengths(Block):
    def block_build(self, input_tensors, is_training, *, hparams=None):
        return [*input_tensors, keras.layers.Dense(3)(input_tensors[-1])]


class WithKeywords(Block):
    def build(self, input_tensors, is_training, **others):
        assert set(others) == {"lengths", "hparams"}
        return [*input_tensors, keras.layers.Dense(3)(input_tensors[-1])]


@pytest.mark.parametrize("cls", [WithoutHparams, WithoutEither, ArchivedWithoutHparams, WithoutLengths, WithKeywords])
def test_a_block_may_leave_out_lengths_and_hparams(cls):
    register_block("T_SHORT")(cls)
    tower = build_tower(TowerSpec(("T_SHORT", "IDENTITY"), {"features": InputSpec((5,))}, 2))
    assert tower.output_shape == (None, 2)
    # Either spelling reaches the one that is overridden.
    other = cls().build if cls.build is Block.build else cls().block_build
    assert other([keras.Input((5,))], None, lengths=None, hparams=None)[-1].shape == (None, 3)


def test_arguments_reach_the_block_that_takes_them():
    class Takes(Block):
        def build(self, input_tensors, is_training, lengths=None, hparams=None):
            return [is_training, lengths, hparams]

    assert call_block(Takes(), [], lengths=1, hparams=2) == [None, 1, 2]
    assert accepted_arguments(Takes()) == {"lengths", "hparams"}
    assert accepted_arguments(WithoutHparams()) == {"lengths"}
    assert accepted_arguments(WithoutLengths()) == {"hparams"}


def test_a_block_that_asks_for_hyperparameters_must_take_them():
    class Deaf(WithoutHparams):
        def requires_hparams(self):
            return [BlockHyperparameter("units", 2, 8)]

    with pytest.raises(UserError, match="build method of Deaf takes no hparams; add the argument"):
        register_block("T_DEAF")(Deaf)
    assert not catalogue.is_known("T_DEAF")


def asking_for(*names):
    return asking(*(Int(name, 2, 8) for name in names))


def test_two_blocks_cannot_share_the_name_of_a_hyperparameter():
    register_block("T_A")(asking_for("B_x"))
    with pytest.raises(
        UserError, match="'x' of block 'T_A_B' is called T_A_B_x in the search space, like one of block 'T_A'"
    ):
        register_block("T_A_B")(asking_for("x"))
    assert not catalogue.is_known("T_A_B")
    register_block("T_A_B")(asking_for("y"))
    values = {"T_A_B_x": 3, "T_A_B_y": 4}
    assert own_settings(catalogue.get("T_A"), values) == {"B_x": 3}
    assert own_settings(catalogue.get("T_A_B"), values) == {"y": 4}
    assert catalogue.hyperparameter_names(["T_A", "T_A", "IDENTITY", "NO_SUCH_BLOCK"]) == {"T_A_B_x"}


@pytest.mark.parametrize(
    ("block", "name"), [("learning", "rate"), ("dropout", "rate"), ("new", "block_type_x"), ("batch", "size")]
)
def test_a_hyperparameter_cannot_be_called_like_a_general_one(block, name):
    with pytest.raises(UserError, match=f"is called {block}_{name} in the search space, which has another meaning"):
        register_block(block)(asking_for(name))
    assert not catalogue.is_known(block)


def test_a_block_cannot_have_two_hyperparameters_of_one_name():
    with pytest.raises(UserError, match="two hyperparameters of one name"):
        register_block("T_TWICE")(asking_for("x", "x"))


def test_a_hyperparameter_must_fit_its_scale():
    with pytest.raises(UserError, match="'units' begins at 0; a logarithmic scale needs a minimum above 0"):
        BlockHyperparameter("units", 0, 8, log=True)
    with pytest.raises(UserError, match=r"goes from 0\.5 to 2; expected whole numbers, or whole=False"):
        BlockHyperparameter("rate", 0.5, 2)


def test_ranks_and_roles_are_registered():
    register_block("T_POOL", reads_rank=3, writes_rank=3, is_reduction=True)(Passing)
    register_block("T_MEAN", reads_rank=3, writes_rank=1)(Passing)
    register_block("T_NOT_FLAT", reads_rank=3, writes_rank=1, is_flatten=False)(Passing)
    register_block("T_LAST", reads_rank=2, writes_rank=1)(Passing)
    register_block("T_VECTOR", reads_rank=1)(Passing)
    roles = {
        name: (catalogue.get(name).is_flatten, catalogue.get(name).is_reduction, catalogue.get(name).order_important)
        for name in ("T_POOL", "T_MEAN", "T_NOT_FLAT", "T_LAST", "T_VECTOR")
    }
    assert roles == {
        "T_POOL": (False, True, True),
        "T_MEAN": (True, False, False),
        "T_NOT_FLAT": (False, False, True),
        "T_LAST": (False, False, True),
        "T_VECTOR": (False, False, False),
    }
    with pytest.raises(UserError, match="reads_rank of block 'T_NONE' is 0"):
        register_block("T_NONE", reads_rank=0)(Passing)
    assert "T_MEAN" in {member.name for member in block_builder.FLATTEN_TYPES}
