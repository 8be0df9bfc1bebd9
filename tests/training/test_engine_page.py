"""The example of docs/engine.md runs, and the page names every metric."""

import pathlib
import re

import pytest
from engine_cases import DENSE, class_table, plan, settings

from model_search.spec.searches import SEARCHES
from model_search.training import evaluator, metrics

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")


@pytest.fixture
def restored_names():
    yield
    evaluator.EVALUATORS.remove("half")
    SEARCHES.remove("QUICK_LOOK")


def test_the_evaluator_of_the_page_runs(restored_names):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"data": class_table(), "settings": settings(), "plan": plan(DENSE, steps=1000), "__name__": "engine_page"}
    exec(example, names)
    assert 500 <= names["outcome"].curve[-1][0] < 1000
    assert names["QuickLook"].evaluator == "half"


def test_the_page_describes_every_method_of_an_evaluator():
    described = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    assert described == set(evaluator.Evaluator.__abstractmethods__)


def test_every_metric_is_named():
    section = PAGE[PAGE.index("## Metrics") :].split("\n## ")[0]
    assert set(metrics._METRICS) <= set(re.findall(r"`(\w+)`", section))
