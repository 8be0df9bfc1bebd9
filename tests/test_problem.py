import ast
import pathlib
import re
import subprocess
import sys

import pytest

from model_search import problem
from model_search.errors import UnsupportedError, UserError
from model_search.problem import ProblemType, problem_type, problem_types, register_problem_type
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec import check

PACKAGE = pathlib.Path(problem.__file__).parent


@pytest.fixture
def restored():
    before = set(problem._PROBLEM_TYPES)
    yield
    for name in set(problem._PROBLEM_TYPES) - before:
        del problem._PROBLEM_TYPES[name]


def test_the_four_problem_types():
    assert [known.name for known in problem_types()] == ["DNN", "CNN", "RNN_ALL_ACTIVATIONS", "RNN_LAST_ACTIVATIONS"]
    assert [known.input_rank for known in problem_types()] == [1, 3, 2, 2]
    assert [known.added_size for known in problem_types()] == [0, 1, 0, 0]
    assert [known.ordered_by_rank for known in problem_types()] == [False, True, False, False]
    assert [known.reads_maps for known in problem_types()] == [False, True, False, False]
    assert [known.needs_lengths for known in problem_types()] == [False, False, True, True]
    assert [known.label_per_step for known in problem_types()] == [False, False, True, False]
    assert problem_type("CNN").added_block == "PLATE_REDUCTION_FLATTEN"
    assert len({known.head for known in problem_types()}) == 3


def test_every_problem_type_of_a_specification_is_described():
    names = set(PhoenixSpec.ProblemType.keys()) - {"UNKNOWN_PROBLEM_TYPE"}
    assert {known.name for known in problem_types()} == names
    assert check.problem_type(PhoenixSpec()) == problem.DEFAULT_PROBLEM_TYPE == "DNN"


def test_an_unknown_name_brings_those_that_are_known():
    with pytest.raises(UnsupportedError, match="no problem type 'GNN'; expected one of DNN, CNN"):
        problem_type("GNN")


def test_a_problem_type_is_added_by_one_declaration(restored):
    mine = ProblemType("GRAPH", 2, head="dense")
    register_problem_type(mine)
    register_problem_type(ProblemType("GRAPH", 2, head="dense"))
    assert problem_type("GRAPH") is mine
    with pytest.raises(UserError, match="already a problem type 'GRAPH'"):
        register_problem_type(ProblemType("GRAPH", 1))


def test_records_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="input rank of X is 0; expected at least 1"):
        ProblemType("X", 0)
    with pytest.raises(UserError, match="adds FLATTEN to its towers, but its blocks have no order"):
        ProblemType("X", 3, added_block="FLATTEN")


def test_nothing_else_compares_the_names_of_problem_types():
    """No `== CNN` outside `problem.py`: what depends on the problem type asks the record."""
    names = {known.name for known in problem_types()}
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "problem.py" or path.name.endswith("_pb2.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                compared = ast.unparse(node)
                if any(re.search(rf"\b{name}\b", compared) for name in names):
                    found.append(f"{path.name}:{node.lineno}: {compared}")
    assert not found


def test_it_imports_nothing_heavy():
    program = "import sys, model_search.problem; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "numpy", "google.protobuf"} & set(loaded)
