"""The wheel: everything that is needed is in it, and it works outside the checkout, without protoc."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(code, site, cwd):
    # -I keeps the checkout and PYTHONPATH out.
    lines = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
    done = subprocess.run([sys.executable, "-I", "-c", lines], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_stock_specifications_ship_inside_and_resolve_from_any_directory(unpacked, tmp_path):
    code = """
import model_search
from model_search import constants
from model_search.spec.load import load_spec
assert model_search.__file__.startswith(sys.path[0]), model_search.__file__
for name in ("DNN", "CNN", "RNN_ALL", "RNN_LAST", "IMAGE", "SEQUENCE", "SOUND"):
    path = getattr(constants, f"DEFAULT_{name}")
    assert type(path) is str and path.startswith(sys.path[0]) and open(path).read(), path
print(load_spec(constants.DEFAULT_DNN).maximum_depth)
"""
    assert run(code, unpacked, tmp_path) == "5\n"


def test_the_command_and_the_licence_of_the_wheel_are_in_order(unpacked):
    (points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "model_search = model_search.__main__:run" in points.read_text()
    (licence,) = unpacked.glob("*.dist-info/**/LICENSE")
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    assert "License: Apache-2.0" in metadata.read_text()
    assert not [path for path in unpacked.rglob("*") if path.parts[-1] in ("tests", "benchmarks", "data.csv")]


def test_the_templates_of_the_report_ship_inside(unpacked):
    folder = unpacked / "model_search" / "report" / "templates"
    names = {path.name for path in (ROOT / "model_search" / "report" / "templates").iterdir()}
    assert {path.name for path in folder.iterdir()} == names


def test_a_search_runs_from_the_wheel(unpacked, tmp_path):
    code = f"""
import runpy
sys.argv = ["model_search", "--filename={ROOT / "data" / "wine.csv"}", "--label=cultivar",
            "--experiment_max_num_trials=1", "--phoenix_train_steps=20"]
try:
    runpy.run_module("model_search", run_name="__main__")
except SystemExit as done:
    assert done.code == 0, done.code
"""
    assert "best model: trial 1" in run(code, unpacked, tmp_path)
    assert (tmp_path / "runs" / "wine" / "final" / "model.keras").is_file()
