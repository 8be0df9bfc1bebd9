"""The samplers that come with the package, and one of a user's own, keep to the contract."""

import pytest

import model_search
from model_search.errors import UserError
from model_search.search.samplers.random_sampler import RandomSampler
from model_search.search.samplers.sampler import SAMPLERS, Sampler, make_sampler, sampler_names
from model_search.testing.pretended_studies import make_planner, make_spec
from model_search.testing.sampler_contract import SamplerContract


class TestRandom(SamplerContract):
    name = "random"


class TestBayesian(SamplerContract):
    name = "bayesian"


class TestPredictor(SamplerContract):
    name = "predictor"


class MiddleSampler(Sampler):
    """The middle of three random values of each hyperparameter, by their order as texts."""

    def __init__(self, grammar):
        self.grammar = grammar

    def sample(self, space, history, rng, fixed, architecture=()):
        draws = [space.draw(rng, fixed) for _ in range(3)]
        return sorted(draws, key=lambda values: str(sorted(values.items())))[1]


@pytest.fixture(autouse=True)
def middle():
    model_search.register_sampler("middle")(MiddleSampler)
    yield
    SAMPLERS.remove("middle")


class TestOwn(SamplerContract):
    name = "middle"


def test_it_can_be_asked_for_by_name_and_is_given_the_grammar():
    assert {"auto", "random", "bayesian", "predictor", "middle"} == set(sampler_names())
    assert make_planner(make_spec(), sampler="middle")
    assert make_sampler("middle", "the grammar").grammar == "the grammar"


def test_what_cannot_be_a_sampler_is_refused():
    with pytest.raises(UserError, match="expected a subclass of Sampler with a method sample"):
        model_search.register_sampler("nothing")(type("Nothing", (), {}))
    with pytest.raises(UserError, match="expected a subclass of Sampler with a method sample"):
        model_search.register_sampler("abstract")(type("Abstract", (Sampler,), {}))
    with pytest.raises(UserError, match="cannot be called 'auto'"):
        model_search.register_sampler("auto")(RandomSampler)
    with pytest.raises(UserError, match="needs depth; it is given grammar, predictors"):
        model_search.register_sampler("deep")(type("Deep", (RandomSampler,), {"__init__": lambda self, depth: None}))
    with pytest.raises(UserError, match="the sampler 'random' exists already"):
        model_search.register_sampler("random")(MiddleSampler)
    assert "deep" not in SAMPLERS
