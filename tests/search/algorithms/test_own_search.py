"""Adding a search with one setting is one file, and it passes the contract."""

import pathlib

import own_search

from model_search.search.algorithms.registry import make_algorithm
from model_search.testing.algorithm_contract import AlgorithmContract
from model_search.testing.pretended_studies import make_spec

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "search.md"


class TestChangeOfTheBest(AlgorithmContract):
    search_type = "CHANGE_OF_THE_BEST"


def test_its_setting_is_that_of_the_specification():
    spec = make_spec("CHANGE_OF_THE_BEST")
    assert make_algorithm(spec).share_of_random == 0.2
    spec.search_settings.hparam["share_of_random"].float_value = 0.5
    assert make_algorithm(spec).share_of_random == 0.5


def test_the_docs_show_the_same_file():
    text = pathlib.Path(own_search.__file__).read_text(encoding="utf-8")
    code = text[text.index("from model_search") :]
    assert code in DOCS.read_text(encoding="utf-8")
