"""What decides and what remembers runs without TensorFlow; its imports show it."""

import ast
import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(importlib.util.find_spec("model_search").origin).parent
LIGHT = [
    *sorted(path for room in ("search", "metadata", "spec") for path in (ROOT / room).rglob("*.py")),
    ROOT / "blocks" / "catalogue.py",
    ROOT / "data" / "task.py",
    ROOT / "data" / "rows.py",
    ROOT / "data" / "prepared_data.py",
    ROOT / "data" / "labelled_rows.py",
    ROOT / "data" / "tabular" / "features.py",
    ROOT / "training" / "outcome.py",
]
FORBIDDEN = {"tensorflow", "keras"}


def _module(path):
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", LIGHT, ids=_module)
def test_no_line_imports_tensorflow(path):
    assert not [name for name in _imported(path) if name.split(".")[0] in FORBIDDEN]


def test_importing_them_all_loads_neither_tensorflow_nor_a_sampler():
    modules = [_module(path) for path in LIGHT]
    assert "model_search.search.planning.planner" in modules
    code = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
print(sorted({sorted(FORBIDDEN | {"optuna", "sklearn"})!r} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
