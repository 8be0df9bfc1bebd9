"""What holds for the package as a whole: light import, import directions, files that stay readable."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "model_search"
HEAVY = {"tensorflow", "keras", "pandas", "sklearn", "optuna", "scipy"}

# A room may import those after it, never those before it.
ROOMS = [
    "main", "quick", "single_trainer", "study", "trainers", "finish", "report", "training", "towers", "blocks", "data",
    "search", "metadata", "spec", "constants", "catalogue", "proto", "registries", "errors",
]  # fmt: skip
WITHOUT_TENSORFLOW = ["search", "metadata", "spec", "proto", "report", "trainers"]
SHIMS = {"block", "block_builder", "registry"}


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def room_of(parts):
    if parts[:2] == ("blocks", "catalogue"):
        return "catalogue"
    return parts[0] if parts else "package"


def imports_of(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, model_search, model_search.data; model_search.data.Provider; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_leaderboard_needs_no_tensorflow():
    code = "import sys, model_search.study, model_search.report.leaderboard, model_search.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras"} & set(loaded)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = room_of(parts)
    if room in SHIMS or room in ("__init__", "__main__"):
        return
    for name in imports_of(path):
        if name.startswith("model_search."):
            target = room_of(tuple(name.split(".")[1:3]))
            if target in ROOMS and target != room:
                assert ROOMS.index(target) > ROOMS.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("room", WITHOUT_TENSORFLOW)
def test_rooms_without_tensorflow_never_import_it(room):
    for path in (PACKAGE / room).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports_of(path)} & {"tensorflow", "keras"}, path


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_past_600_lines_and_no_function_takes_many_parameters(path):
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            pytest.fail(f"{path.name}:{node.lineno}: assert in the package")
