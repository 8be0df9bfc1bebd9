"""A search is declared in one place: `register_search`, and a specification names it."""

import pickle

import cloudpickle
import numpy as np
import pytest
from search_factory import make_planner, make_spec, run_study

import model_search
from model_search.errors import SpecError, UserError
from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.declared import declarations_of_users, restore_declarations
from model_search.search.history.history import History
from model_search.spec.check import check
from model_search.spec.load import explain, load_spec, load_text
from model_search.spec.searches import SEARCHES, Setting, readers

BASE = "blocks_to_use: ['IDENTITY', 'LOWRANK_1'] minimum_depth: 1 maximum_depth: 3\n"


class FromTheBest(SearchAlgorithm):
    """Changes the best tower; `shares` of the proposals are random."""

    def propose(self, history, rng):
        best = history.best(1)
        if not best or rng.random() < self.settings["share"]:
            return Proposal(self.grammar.random(rng))
        return Proposal(self.grammar.vary(best[0].plan.architecture, rng), parent=best[0].id)


SETTINGS = [
    Setting("share", 0.25, minimum=0, maximum=1),
    Setting("steps", 3, minimum=1),
    Setting("where", "FRONT", choices=("FRONT", "BACK")),
]


@pytest.fixture
def registered():
    model_search.register_search("FROM_THE_BEST", settings=SETTINGS, describe="a change of the best tower.")(
        FromTheBest
    )
    yield
    SEARCHES.remove("FROM_THE_BEST")


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(SEARCHES)
    yield
    for name in set(SEARCHES) - before:
        SEARCHES.remove(name)


def messages(text):
    with pytest.raises(SpecError) as caught:
        load_text(BASE + text)
    return str(caught.value)


def test_a_specification_names_it_without_a_search_type(registered):
    spec = load_text(BASE + "search: 'FROM_THE_BEST'")
    assert spec.search_type == 0 and load_spec(spec) == spec
    algorithm = make_algorithm(spec)
    assert isinstance(algorithm, FromTheBest)
    assert algorithm.settings == {"share": 0.25, "steps": 3, "where": "FRONT"}
    assert len(run_study(make_planner(spec), 20, lambda plan: len(plan.architecture)).completed) == 20


def test_its_settings_are_those_of_the_specification(registered):
    spec = load_text(
        BASE + "search: 'FROM_THE_BEST' search_settings { hparam { key: 'share' value { float_value: 0.1 } } "
        "hparam { key: 'where' value { bytes_value: 'BACK' } } }"
    )
    assert make_algorithm(spec).settings == {"share": 0.1, "steps": 3, "where": "BACK"}
    assert "FROM_THE_BEST: a change of the best tower. Settings: share 0.1, steps 3, where BACK." in explain(spec)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("key: 'share' value { float_value: 2 }", "share is 2; expected at least 0 and at most 1."),
        ("key: 'steps' value { float_value: 2 }", "steps is 2.0; expected a whole number."),
        ("key: 'steps' value { int64_value: 0 }", "steps is 0; expected at least 1."),
        ("key: 'where' value { bytes_value: 'UP' }", "where is 'UP'; expected one of FRONT, BACK."),
        (
            "key: 'shares' value { int64_value: 1 }",
            "FROM_THE_BEST has no setting 'shares'; the nearest ones are share.",
        ),
        ("key: 'share' value { }", "share has no value"),
    ],
)
def test_wrong_settings_are_told_with_their_place(registered, value, words):
    told = messages(f"search: 'FROM_THE_BEST'\nsearch_settings {{ hparam {{ {value} }} }}")
    assert words in told and "line 3" in told


def test_a_built_in_search_has_a_name_too():
    spec = load_text(BASE + "search: 'GRID_SEARCH'")
    assert spec == load_text(BASE + "search: 'GRID_SEARCH' search_type: GRID_SEARCH")
    assert type(make_algorithm(spec)) is type(make_algorithm(load_text(BASE + "search_type: GRID_SEARCH")))
    assert "its settings are fields of evolution" in messages(
        "search: 'REGULARIZED_EVOLUTION' search_settings { hparam { key: 'a' value { int64_value: 1 } } }"
    )
    assert "it has none" in messages("search: 'GRID_SEARCH' search_settings { hparam { key: 'a' } }")


def test_two_names_that_contradict_each_other_are_refused_with_their_place():
    told = messages("search: 'GRID_SEARCH'\nsearch_type: REINFORCE")
    assert "line 2, column 9: search is 'GRID_SEARCH' and search_type is REINFORCE; give only one of the two." in told


def test_an_unknown_name_is_told_with_the_nearest_ones():
    told = messages("search: 'GRID_SERCH'")
    assert "line 2, column 9: There is no search 'GRID_SERCH'; the nearest names are GRID_SEARCH" in told
    with pytest.raises(SpecError, match="There is no search 'GRID_SERCH'"):
        make_algorithm(make_spec("UNKNOWN_SEARCH_TYPE", search="GRID_SERCH"))


def test_where_it_is_not_registered_it_is_a_name_only(registered):
    spec = load_text(BASE + "search: 'FROM_THE_BEST'")
    SEARCHES.remove("FROM_THE_BEST")
    assert "FROM_THE_BEST, a search that is not registered here." in explain(spec)


def test_a_search_without_a_sentence_is_called_by_its_name():
    model_search.register_search("SILENT")(type("Silent", (FromTheBest,), {}))
    assert "\nSILENT.\n" in explain(load_text(BASE + "search: 'SILENT'"))


def test_the_constructor_takes_what_it_names():
    @model_search.register_search("OWN_CONSTRUCTOR", settings=[Setting("steps", 3)])
    class OwnConstructor(FromTheBest):
        def __init__(self, steps):
            self.steps = steps

    algorithm = make_algorithm(load_text(BASE + "search: 'OWN_CONSTRUCTOR'"))
    assert algorithm.steps == 3 and algorithm.grammar.blocks == ("IDENTITY", "LOWRANK_1")


def test_a_plain_class_with_propose_is_enough():
    @model_search.register_search("PLAIN")
    class Plain:
        def propose(self, history, rng):
            return Proposal(self.grammar.random(rng))

    algorithm = make_algorithm(load_text(BASE + "search: 'PLAIN'"))
    assert isinstance(algorithm, Plain) and isinstance(algorithm, SearchAlgorithm)
    everything = [p.architecture for p in algorithm.everything(History("loss", "minimize"), np.random.default_rng(0))]
    assert len(everything) == len(set(everything)) == 2 + 4 + 8
    assert [len(a) for a in everything] == sorted(len(a) for a in everything)


def test_what_cannot_be_a_search_is_refused():
    register = model_search.register_search
    with pytest.raises(UserError, match="has no method propose"):
        register("NOTHING")(type("Nothing", (), {}))
    with pytest.raises(UserError, match="expected a class with a method propose"):
        register("FUNCTION")(lambda history, rng: None)
    with pytest.raises(UserError, match="needs steps; it is given grammar"):
        register("NEEDS")(type("Needs", (FromTheBest,), {"__init__": lambda self, grammar, steps: None}))
    with pytest.raises(UserError, match="expected a word"):
        register("two words")(FromTheBest)
    with pytest.raises(UserError, match="the search 'GRID_SEARCH' exists already"):
        register("GRID_SEARCH")(FromTheBest)


def test_the_same_class_defined_again_replaces_its_earlier_definition(registered):
    again = type("FromTheBest", (FromTheBest,), {"__module__": FromTheBest.__module__})
    again.__qualname__ = FromTheBest.__qualname__
    model_search.register_search("FROM_THE_BEST")(again)
    assert type(make_algorithm(load_text(BASE + "search: 'FROM_THE_BEST'"))) is again


def test_fields_that_it_alone_reads_are_warned_of_elsewhere():
    model_search.register_search("READER", reads=["mutate_probability"])(type("Reader", (FromTheBest,), {}))
    assert readers()["mutate_probability"] == {"READER", "REGULARIZED_EVOLUTION"}
    warned = [problem.message for problem in check(load_text(BASE + "mutate_probability: 0.5"))]
    assert warned == [
        "mutate_probability is not read by PREDICTOR_GUIDED_BEAM; it is for READER or REGULARIZED_EVOLUTION."
    ]


def test_it_brings_its_own_check():
    def odd(checker):
        if checker.spec.beam_size % 2 == 0:
            checker.add("beam_size is even; expected an odd number.", ("beam_size",))

    model_search.register_search("ODD", check=odd)(type("Odd", (FromTheBest,), {}))
    assert "line 2, column 26: beam_size is even" in messages("search: 'ODD' beam_size: 4")
    load_text(BASE + "search: 'GRID_SEARCH' beam_size: 4")


def test_it_travels_to_other_processes(registered):
    sent = cloudpickle.dumps(declarations_of_users())
    SEARCHES.remove("FROM_THE_BEST")
    restore_declarations(pickle.loads(sent))
    assert make_algorithm(load_text(BASE + "search: 'FROM_THE_BEST'")).settings["steps"] == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "two words", "default": 1}, "expected a word"),
        ({"name": "list", "default": [1]}, "expected a number or a text"),
        ({"name": "low", "default": 1, "minimum": 2}, "default of setting low is 1; expected at least 2"),
        ({"name": "high", "default": 3.0, "maximum": 2}, "expected at most 2"),
        ({"name": "nan", "default": float("nan")}, "expected a finite number"),
        ({"name": "text", "default": "c", "choices": ("a", "b")}, "expected one of a, b"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(values, words):
    with pytest.raises(UserError, match=words):
        Setting(**values)
