"""Every command and example that is documented runs; every flag is documented; every link leads somewhere."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]


def fenced(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def run(arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "data", folder / "data")
    return folder


def test_the_commands_of_the_readme_run(place):
    commands = [line for block in fenced(ROOT / "README.md", "bash") for line in block.splitlines()]
    binary = [line for line in commands if line.startswith("model_search")]
    assert len(binary) == 6
    for line in binary:
        words = shlex.split(line)[1:]
        if any(word.startswith("--filename") for word in words):
            words = [w.replace("num_trials=20", "num_trials=2") for w in words] + ["--phoenix_train_steps=30"]
        run([sys.executable, "-m", "model_search", *words], place)
    assert (place / "runs" / "breast_cancer" / "report.html").is_file()
    assert (place / "exported" / "model.keras").is_file()
    assert (place / "predictions.csv").is_file()


def test_the_python_of_the_readme_runs(place):
    code = "\n".join(fenced(ROOT / "README.md", "python"))
    code = re.sub(r"number_models=\d+", "number_models=2", code)
    run([sys.executable, "-c", re.sub(r"train_steps=\d+", "train_steps=30", code)], place)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_runs(example, tmp_path):
    assert run([sys.executable, str(example)], tmp_path).stdout


def test_the_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for page in PAGES for word in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert {"search", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_path_in_contributing_is_there():
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 60
    for path in named:
        if path != "docs/NAME.md":
            assert (ROOT / path).exists() or (ROOT / "model_search" / path).exists(), path


def test_every_page_is_in_the_table_of_the_readme():
    linked = set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")} <= linked


def test_every_flag_is_explained():
    shown = run([sys.executable, "-m", "model_search", "--help"], ROOT).stdout
    from model_search import main

    for flag in main.own_flags():
        assert f"--{flag.name}: " in shown
        assert flag.help
