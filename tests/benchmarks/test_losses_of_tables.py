"""The second table of the benchmark of tables: log loss, networks only, and what students keep."""

import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def tabular():
    """The module of the benchmark, which lies beside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import tabular

        yield tabular
    finally:
        sys.path.remove(str(BENCHMARKS))


def run_of(single, handed_back, **more):
    errors = {"single": single, "handed_back": handed_back, "networks": single, "ensemble": handed_back}
    return {"networks": 0.9, "errors": errors | {name: more[name] for name in more if name == "student"}} | {
        name: value for name, value in more.items() if name != "student"
    }


def test_losses_are_compared_with_those_of_before_and_students_with_their_ensembles(tabular):
    runs = {
        "phoneme": [
            run_of(0.28, 0.2, student=0.24, student_parameters=0.2),
            run_of(0.28, 0.28, student=0.3, student_parameters=0.3),  # an ensemble without a gain
        ],
        "abalone": [run_of(2.2, 2.1)],
        "adult": [{"score": 0.8}],  # of an earlier version
    }
    lines = tabular.losses_of(runs)
    found = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:4]}
    assert found["phoneme"] == ["0.9000", "0.28", "0.28", "0.24", f"{1 - 0.24 / 0.2626:.1%}", "0.30", "50%"]
    assert found["abalone"] == ["0.9000", "2.2", "2.2", "2.1", "", "", ""]
    assert "mean of 1 sets: 8.6% less log loss" in lines[4]
    assert "students keep 50% of the gain" in lines[5]
