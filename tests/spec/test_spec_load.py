import os
import pathlib
import subprocess
import sys

import pytest

from model_search import constants
from model_search.errors import SpecError
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.guided_beam import GuidedBeam
from model_search.search.algorithms.registry import make_algorithm
from model_search.spec.load import load_spec, load_text, to_text

ROOT = pathlib.Path(__file__).parents[2]


def write(folder, text):
    path = folder / "a.pbtxt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def run(code, path, folder):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_path_is_read(tmp_path, kind):
    path = write(tmp_path, 'blocks_to_use: "IDENTITY"\nproblem_type: DNN\nsearch_type: NONADAPTIVE_RANDOM_SEARCH')
    assert load_spec(kind(path)) == PhoenixSpec(blocks_to_use=["IDENTITY"], problem_type="DNN", search_type=2)


def test_what_is_not_given_is_filled_in_and_the_message_stays_as_it_is():
    given = PhoenixSpec(blocks_to_use=["IDENTITY"])
    loaded = load_spec(given)
    assert loaded.search_type == PhoenixSpec.PREDICTOR_GUIDED_BEAM
    assert loaded.problem_type == PhoenixSpec.DNN
    assert given == PhoenixSpec(blocks_to_use=["IDENTITY"])
    loaded.blocks_to_use.append("LOWRANK_1")
    assert given.blocks_to_use == ["IDENTITY"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = write(tmp_path, b'\xef\xbb\xbf# text\r\nblocks_to_use: "IDENTITY"\r\nbeam_size: 2\r\n')
    assert load_spec(path).beam_size == 2


def test_places_count_windows_lines_once(tmp_path):
    path = write(tmp_path, b'# text\r\nblocks_to_use: "IDENTITY"\r\n  beam_size: 0\r\n')
    with pytest.raises(SpecError, match="line 3, column 14: beam_size is 0"):
        load_spec(path)


def test_one_problem_is_one_sentence(tmp_path):
    path = write(tmp_path, "blocks_to_use: 'IDENTITY'\nbeam_size: 0")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}, line 2, column 12: beam_size is 0; expected at least 1."


def test_all_problems_are_told_at_once_in_the_order_of_the_text():
    with pytest.raises(SpecError) as caught:
        load_text("beam_size: 0\nblocks: 'IDENTITY'\nblocks_to_use: 'IDENTITY'\nminimum_depth: x\nblocks_to_use: 'NO'")
    head, *lines = str(caught.value).splitlines()
    assert head == "The specification has 4 problems:"
    assert [line[: line.index(":")] for line in lines] == [
        "  line 1, column 12",
        "  line 2, column 1",
        "  line 4, column 16",
        "  line 5, column 16",
    ]


def test_after_a_syntax_error_nothing_is_guessed():
    with pytest.raises(SpecError) as caught:
        load_text("beam_size: 0 foo: 1 learning_spec {")
    assert str(caught.value).splitlines() == [
        "The specification has 2 problems:",
        "  line 1, column 14: PhoenixSpec has no field 'foo'; docs/spec.md lists the fields.",
        "  line 1, column 35: This '{' is never closed.",
    ]


def test_a_message_is_checked_too():
    with pytest.raises(SpecError, match=r"^The specification: blocks_to_use is empty; name at least one block.$"):
        load_spec(PhoenixSpec())


def test_warnings_do_not_stop_it():
    assert load_text("blocks_to_use: 'IDENTITY' mutate_probability: 0.5").mutate_probability == 0.5


@pytest.mark.parametrize("text", ["", " \n\t", "\ufeff"])
def test_an_empty_file(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(SpecError, match=r"a.pbtxt is empty; expected a PhoenixSpec"):
        load_spec(path)


def test_a_file_that_is_not_utf_8(tmp_path):
    path = write(tmp_path, b"# caf\xe9")
    with pytest.raises(SpecError, match=r"a.pbtxt is not UTF-8 at byte 5; save"):
        load_spec(path)


def test_no_such_file(tmp_path):
    with pytest.raises(SpecError, match=r"There is no specification file .*missing.pbtxt; give the path"):
        load_spec(tmp_path / "missing.pbtxt")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SpecError, match=r"Cannot read the specification .*directory"):
        load_spec(tmp_path)


@pytest.mark.parametrize("source", ["blocks_to_use: 'IDENTITY'\n" * 300, "a\0b"])
def test_text_in_place_of_a_path(source):
    with pytest.raises(SpecError, match=r"Cannot read the specification|is not a path"):
        load_spec(source)


def test_a_loaded_specification_comes_back_from_its_text():
    spec = load_spec(constants.DEFAULT_DNN)
    assert load_text(to_text(spec)) == spec
    assert "increase_complexity_probability: 0.9\n" in to_text(spec)


STOCK = {
    "dnn": constants.DEFAULT_DNN,
    "cnn": constants.DEFAULT_CNN,
    "rnn_all": constants.DEFAULT_RNN_ALL,
    "rnn_last": constants.DEFAULT_RNN_LAST,
    "small_dnn": constants.DEFAULT_DNN.replace("dnn_config", "small_dnn_config"),
}


def raw(path):
    from model_search.spec.text import parse

    parsed = parse(pathlib.Path(path).read_text())
    assert parsed.problems == ()
    return parsed.spec


@pytest.mark.parametrize("name", STOCK)
def test_the_stock_specifications_have_the_archived_names_and_values(name):
    assert pathlib.Path(STOCK[name]).name == f"{name}_config.pbtxt"
    assert pathlib.Path(STOCK[name]).is_absolute()
    spec = raw(STOCK[name])
    depths = {"dnn": (1, 5), "small_dnn": (1, 5), "cnn": (2, 20), "rnn_all": (1, 4), "rnn_last": (1, 4)}
    blocks = {"dnn": 11, "small_dnn": 21, "cnn": 33, "rnn_all": 29, "rnn_last": 29}
    assert (spec.minimum_depth, spec.maximum_depth) == depths[name]
    assert len(set(spec.blocks_to_use)) == len(spec.blocks_to_use) == blocks[name]
    assert spec.learning_spec.apply_exponential_decay


@pytest.mark.parametrize("name", STOCK)
def test_the_stock_specifications_leave_the_search_to_the_default(name):
    assert not raw(STOCK[name]).HasField("search_type")
    assert isinstance(make_algorithm(raw(STOCK[name])), GuidedBeam)


@pytest.mark.parametrize("name", ["dnn", "small_dnn", "cnn"])
def test_stock_beams_and_ensembles(name):
    spec = raw(STOCK[name])
    assert spec.beam_size == 5
    assert spec.increase_complexity_probability == pytest.approx(0.9)
    search = spec.ensemble_spec.intermixed_search
    assert (search.width, search.try_ensembling_every, search.num_trials_to_consider) == (3, 5, 15)
    assert spec.HasField("distillation_spec") == (name != "cnn")


def test_what_is_special_of_the_stock_specifications():
    assert raw(STOCK["cnn"]).learning_spec.max_decay_times == 10000
    assert raw(STOCK["cnn"]).use_parameter_scaled_training
    assert list(raw(STOCK["cnn"]).user_suggestions[0].architecture) == ["FIXED_CHANNEL_CONVOLUTION_96"] * 2
    for name in ("dnn", "small_dnn", "rnn_all", "rnn_last"):
        spec = raw(STOCK[name])
        assert spec.apply_dropouts_between_blocks
        assert spec.learning_spec.apply_gradient_clipping
    assert raw(STOCK["rnn_all"]).problem_type == PhoenixSpec.RNN_ALL_ACTIVATIONS
    assert raw(STOCK["rnn_last"]).problem_type == PhoenixSpec.RNN_LAST_ACTIVATIONS
    assert not raw(STOCK["rnn_last"]).HasField("ensemble_spec")
    assert raw(STOCK["rnn_all"]).blocks_to_use == raw(STOCK["rnn_last"]).blocks_to_use
    assert list(raw(STOCK["rnn_all"]).blocks_to_use[10:14]) == [
        "SVDF_CELL_64_4_1",
        "SVDF_CELL_64_8_1",
        "SVDF_CELL_64_16_1",
        "SVDF_CELL_128_4_1",
    ]


@pytest.mark.parametrize("name", sorted(STOCK))
def test_the_stock_specifications_can_be_searched(name):
    expected = raw(STOCK[name])
    expected.search_type = PhoenixSpec.PREDICTOR_GUIDED_BEAM
    assert load_spec(STOCK[name]) == expected


def test_all_stock_blocks_are_known():
    from model_search.blocks import catalogue

    for path in STOCK.values():
        for block in raw(path).blocks_to_use:
            assert catalogue.is_known(block)


def test_the_constants_resolve_from_any_directory(tmp_path):
    code = (
        "import os; from model_search import constants as c; print(type(c.DEFAULT_DNN), os.path.isfile(c.DEFAULT_DNN))"
    )
    assert run(code, ROOT, tmp_path) == "<class 'str'> True\n"


def test_specifications_inside_the_package_come_first(tmp_path):
    """As it is once installed: the files are beside the modules."""
    package = tmp_path / "model_search"
    (package / "specs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "constants.py").write_text(pathlib.Path(constants.__file__).read_text())
    code = "from model_search import constants as c; print(c.DEFAULT_CNN)"
    assert run(code, tmp_path, tmp_path).strip() == str(package / "specs" / "cnn_config.pbtxt")


def test_loading_needs_nothing_heavy():
    code = "import sys, model_search.spec.load; print(*sys.modules)"
    assert not {"tensorflow", "keras", "numpy", "pandas"} & set(run(code, ROOT, ROOT).split())
