import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import DENSE, MIXED, make_spec

from model_search.blocks import Block, catalogue, register_block
from model_search.errors import SpecError
from model_search.problem import problem_type as problem_type_named
from model_search.search.space.architecture import EMPTY_BLOCK, body_of, fix_order
from model_search.search.space.equivalence import Equivalence, Stage
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import build_space


def _grammar(problem_type, minimum, maximum, names):
    return Grammar(tuple(names), problem_type_named(problem_type), minimum, maximum)


def test_a_grammar_reads_a_spec_and_leaves_out_padding_and_repetitions():
    spec = make_spec(problem_type="CNN", blocks_to_use=["IDENTITY", EMPTY_BLOCK, "RESNET_3X3", "IDENTITY"])
    assert Grammar.of(spec) == _grammar("CNN", 1, 4, ["IDENTITY", "RESNET_3X3"])


def test_random_architectures_are_uniform():
    grammar = _grammar("DNN", 2, 3, DENSE[:2])
    counts = {}
    for seed in range(400):
        drawn = grammar.random(np.random.default_rng(seed))
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 4
    assert all(60 < count < 140 for count in counts.values())


def test_a_tower_of_nothing_but_flatten_is_mutated_by_growing():
    grammar = _grammar("CNN", 1, 3, ["RESNET_3X3"])
    assert grammar.mutate(("FLATTEN",), np.random.default_rng(0)) == ("RESNET_3X3", "FLATTEN")


def test_the_flatten_block_counts_towards_the_depth():
    assert _grammar("CNN", 1, 4, MIXED).draws == range(1, 4)
    assert _grammar("CNN", 3, 3, MIXED).draws == range(3, 4)
    assert _grammar("DNN", 1, 4, DENSE).draws == range(1, 5)


@pytest.mark.parametrize(("problem_type", "count"), [("DNN", 9), ("CNN", 7)])
def test_enumeration_has_every_architecture_once(problem_type, count):
    """Two convolutions a, b and a dense block c give 9 pairs; in a CNN ac = ca and bc = cb, that is 7."""
    grammar = _grammar(problem_type, 1, 5, ["CONVOLUTION_3X3", "RESNET_3X3", "FULLY_CONNECTED"])
    found = list(grammar.enumerate(2, np.random.default_rng(0)))
    assert len(found) == len(set(found)) == count


# Positions 0-1, 2-4 and 5-7 are stages whose first block changes the shape; "0" is an identity.
MACRO = {
    "blocks_to_use": ("IDENTITY", "LOWRANK_1", "LOWRANK_2"),
    "minimum_depth": 8,
    "maximum_depth": 8,
    "identity_blocks": ["IDENTITY"],
    "stages": [{"first": 0, "last": 1}, {"first": 2, "last": 4}, {"first": 5, "last": 7}],
}
POSITIONED = {
    "minimum_depth": 3,
    "maximum_depth": 3,
    "position_choices": [{"blocks": ["LOWRANK_1"]}, {"blocks": ["IDENTITY", "BOTTLENECK_32"]}, {}],
}
FIXED_CNN = {
    "problem_type": "CNN",
    "minimum_depth": 3,
    "maximum_depth": 3,
    "position_choices": [
        {"blocks": ["CONVOLUTION_3X3", "RESNET_3X3"]},
        {"blocks": ["MAX_POOLING_2X2", "RESNET_3X3"]},
        {"blocks": ["FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"]},
    ],
}
FREE_WITH_IDENTITY = {"identity_blocks": ["IDENTITY"], "maximum_depth": 3}
SPACES = {
    "free": {},
    "free cnn": {"problem_type": "CNN"},
    "identity": FREE_WITH_IDENTITY,
    "macro": MACRO,
    "positioned": POSITIONED,
    "fixed cnn": FIXED_CNN,
    "one length": {"minimum_depth": 3, "maximum_depth": 3},
}


def _space(name):
    return Grammar.of(make_spec(**SPACES[name]))


def _is_legal(grammar, architecture):
    depths = range(grammar.minimum_depth, grammar.maximum_depth + 1)
    ordered = architecture == fix_order(architecture, grammar.problem_type)
    return ordered and grammar.fits(architecture) and (len(body_of(architecture)) in depths)


def _draw(grammar, seed):
    rng = np.random.default_rng(seed)
    return grammar.random_of_any_depth(rng), rng


@given(st.lists(st.sampled_from(["I", "A", "B"]), min_size=8, max_size=8), st.booleans())
def test_the_reduced_form_is_one_for_all_places_of_an_identity_block(blocks, has_stages):
    stages = (Stage(0, 1), Stage(2, 4), Stage(5, 7)) if has_stages else ()
    equivalence = Equivalence(frozenset("I"), stages)
    reduced = equivalence.reduce(blocks)
    assert equivalence.reduce(reduced) == reduced
    assert [name for name in reduced if name != "I"] == [name for name in blocks if name != "I"]
    if has_stages:
        assert [reduced[i] for i in (0, 2, 5)] == [blocks[i] for i in (0, 2, 5)]
        assert all(reduced[i] != "I" or reduced[i + 1] == "I" for i in (3, 6))
    else:
        assert "I" not in reduced


def test_a_space_of_three_stages_has_as_many_towers_as_were_counted():
    found = list(_space("macro").enumerate(8, np.random.default_rng(0)))
    assert len(found) == 3969
    assert len({_space("macro").canonical(architecture) for architecture in found}) == 3969


def test_towers_with_identity_blocks_are_those_without():
    grammar = _space("identity")
    found = [a for draws in grammar.draws for a in grammar.enumerate(draws, np.random.default_rng(0))]
    others = len(DENSE) - 1
    assert len(found) == 1 + others + others**2 + others**3
    assert grammar.canonical(["IDENTITY", "LOWRANK_1", "IDENTITY"]) == ("LOWRANK_1",)
    assert grammar.canonical(["IDENTITY"]) == ()


def test_a_space_of_few_towers_under_many_names_is_gone_through():
    grammar = Grammar.of(
        make_spec(blocks_to_use=DENSE[:2], minimum_depth=30, maximum_depth=30, identity_blocks=DENSE[:1])
    )
    found = [grammar.canonical(architecture) for architecture in grammar.enumerate(30)]
    assert sorted(map(len, found)) == list(range(31))


@given(st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(0, 2**31))
def test_of_each_tower_the_first_name_is_found(minimum, more, identities, seed):
    fields = {"blocks_to_use": DENSE[:4], "identity_blocks": DENSE[:identities]}
    if not more:
        fields["position_choices"] = [{"blocks": DENSE[1:4]}, *[{}] * (minimum - 1)]
    grammar = Grammar.of(make_spec(minimum_depth=minimum, maximum_depth=minimum + more, **fields))
    for draws in grammar.draws:
        order = [grammar.blocks[place] for place in np.random.default_rng(seed).permutation(len(grammar.blocks))]
        choices = [[name for name in order if name in grammar.choices(place)] for place in range(draws)]
        expected = {}
        for drawn in itertools.product(*choices):
            if draws == minimum or not set(DENSE[:identities]) & set(drawn):
                expected.setdefault(grammar.canonical(drawn), drawn)
        assert list(grammar.enumerate(draws, np.random.default_rng(seed))) == list(expected.values())


def test_positions_have_their_own_choices():
    grammar = _space("positioned")
    assert len(list(grammar.enumerate(3, np.random.default_rng(0)))) == 1 * 2 * len(DENSE)
    assert grammar.positions == (("LOWRANK_1",), ("IDENTITY", "BOTTLENECK_32"), DENSE)


def test_a_stage_gives_its_blocks_to_positions_without_their_own():
    stages = [{"first": 1, "last": 2, "blocks": ["LOWRANK_1"]}]
    choices = [{}, {"blocks": ["IDENTITY"]}, {}]
    grammar = Grammar.of(make_spec(minimum_depth=3, maximum_depth=3, stages=stages, position_choices=choices))
    assert grammar.positions == (DENSE, ("IDENTITY",), ("LOWRANK_1",))


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10_000))
def test_whatever_is_drawn_changed_or_crossed_is_legal(name, seed):
    grammar = _space(name)
    one, rng = _draw(grammar, seed)
    other = grammar.random_of_any_depth(rng)
    changes = (grammar.replace, grammar.swap, grammar.delete)
    drawn = [grammar.random(rng), one, other, grammar.mutate(one, rng), grammar.vary(one, rng)]
    drawn += [changed for change in changes if (changed := change(one, rng)) is not None]
    drawn.append(grammar.cross(one, other, rng))
    if len(one) < grammar.maximum_depth:
        drawn += [c for change in (grammar.insert, grammar.duplicate) if (c := change(one, rng)) is not None]
    assert all(_is_legal(grammar, architecture) for architecture in drawn)
    assert all(len(architecture) <= max(grammar.maximum_depth, grammar.minimum_depth + 1) for architecture in drawn)


@pytest.mark.parametrize("name", SPACES)
def test_neighbours_are_other_towers_each_once_and_all_that_a_change_leads_to(name):
    grammar = _space(name)
    for seed in range(5):
        architecture, rng = _draw(grammar, seed)
        neighbours = [grammar.canonical(a) for a in grammar.neighbours(architecture)]
        assert len(neighbours) == len(set(neighbours))
        assert grammar.canonical(architecture) not in neighbours
        changed = {grammar.canonical(grammar.vary(architecture, rng)) for _ in range(100)}
        assert changed <= set(neighbours)
        assert len(changed) > 1


def test_nothing_grows_beyond_the_allowed_depth():
    grammar = _space("free")
    two = ("LOWRANK_1", "IDENTITY")
    depths = {len(grammar.vary(two, np.random.default_rng(seed), allowed_depth=2)) for seed in range(100)}
    assert depths == {1, 2}
    assert {len(a) for a in grammar.neighbours(two, allowed_depth=2)} == {1, 2}
    assert {len(a) for a in grammar.neighbours(two)} == {1, 2, 3}


def test_the_changes_do_what_they_are_called():
    grammar, rng = _space("free"), np.random.default_rng(0)
    three = ("LOWRANK_1", "IDENTITY", "BOTTLENECK_32")
    assert sorted(grammar.swap(three, rng)) == sorted(three)
    assert grammar.swap(three, rng) != three
    assert len(grammar.insert(three, rng)) == 4
    deleted = grammar.delete(three, rng)
    assert len(deleted) == 2 and set(deleted) < set(three)
    doubled = grammar.duplicate(three, rng)
    assert len(doubled) == 4 and any(doubled[i] == doubled[i + 1] for i in range(3)) and set(doubled) == set(three)
    assert sum(a != b for a, b in zip(grammar.replace(three, rng), three, strict=True)) == 1
    assert grammar.delete(("LOWRANK_1",), rng) is None
    assert grammar.swap(("LOWRANK_1", "LOWRANK_1"), rng) is None


def test_a_child_of_two_has_blocks_of_both_at_their_positions():
    grammar = _space("macro")
    one, other = ("LOWRANK_1",) * 8, ("LOWRANK_2",) * 8
    child = grammar.cross(one, other, np.random.default_rng(1))
    assert set(child) == {"LOWRANK_1", "LOWRANK_2"}
    free = _space("free").cross(one[:3], other[:3], np.random.default_rng(3))
    assert set(free) <= {"LOWRANK_1", "LOWRANK_2"} and 1 <= len(free) <= 4


def test_a_fixed_length_has_no_growth():
    grammar = _space("positioned")
    architecture, rng = _draw(grammar, 0)
    with pytest.raises(ValueError, match="does not grow"):
        grammar.grow(architecture, rng)
    assert (
        grammar.insert(architecture, rng) is grammar.delete(architecture, rng) is grammar.duplicate(architecture, rng)
    )


def test_an_architecture_that_does_not_fit_gives_way_to_one_that_does():
    grammar, rng = _space("positioned"), np.random.default_rng(0)
    for stranger in (("LOWRANK_1",), ("BOTTLENECK_32",) * 3):
        assert not grammar.fits(stranger)
        assert grammar.fits(grammar.mutate(stranger, rng))
        assert grammar.fits(grammar.vary(stranger, rng))
        assert grammar.neighbours(stranger) == []


CONVOLUTIONS, DENSES = {"blocks": ["CONVOLUTION_3X3"]}, {"blocks": ["FULLY_CONNECTED"]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"maximum_depth": 3, "position_choices": [{}, {}]}, "there are 2 positions"),
        ({"maximum_depth": 2, "minimum_depth": 2, "position_choices": [{}]}, "there are 1 positions"),
        ({"maximum_depth": 1, "position_choices": [{"blocks": ["LSTM_128"]}]}, "position 0 may have LSTM_128"),
        ({"maximum_depth": 1, "stages": [{"first": 0, "last": 1}]}, "the last position is 0"),
        ({"maximum_depth": 1, "stages": [{"first": 1, "last": 0}]}, "expected 0 <= first <= last"),
        ({"maximum_depth": 1, "stages": [{"first": 0, "last": 0}] * 2}, "overlap"),
        (
            {"minimum_depth": 2, "maximum_depth": 2, "problem_type": "CNN", "position_choices": [DENSES, CONVOLUTIONS]},
            "put convolutions first",
        ),
        ({"maximum_depth": 1, "problem_type": "CNN", "position_choices": [{}]}, "only convolutions or only"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        Grammar.of(make_spec(**fields))


class _Passing(Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors


@pytest.fixture
def own_blocks():
    register_block("OWN_FLATTEN", reads_rank=3, writes_rank=1)(_Passing)
    register_block("OWN_SECOND_FLATTEN", is_flatten=True)(_Passing)
    register_block("OWN_CONVOLUTION", reads_rank=3, writes_rank=3)(_Passing)
    yield
    for name in ("OWN_FLATTEN", "OWN_SECOND_FLATTEN", "OWN_CONVOLUTION"):
        catalogue.unregister(name)


@pytest.mark.parametrize(
    ("flatten", "added"),
    [
        ([], "PLATE_REDUCTION_FLATTEN"),
        (["FLATTEN"], "PLATE_REDUCTION_FLATTEN"),
        (["OWN_FLATTEN"], "OWN_FLATTEN"),
        (["OWN_SECOND_FLATTEN", "OWN_FLATTEN"], "OWN_SECOND_FLATTEN"),
        (["OWN_FLATTEN", "FLATTEN"], "PLATE_REDUCTION_FLATTEN"),
    ],
)
def test_a_tower_without_a_flatten_block_gets_the_user_s_own_where_only_that_is_named(own_blocks, flatten, added):
    spec = make_spec(problem_type="CNN", blocks_to_use=["OWN_CONVOLUTION", *flatten, "FULLY_CONNECTED"])
    grammar = Grammar.of(spec)
    assert grammar.canonical(["FULLY_CONNECTED", "OWN_CONVOLUTION"]) == ("OWN_CONVOLUTION", added, "FULLY_CONNECTED")
    assert build_space(spec, 1000).canonical(["FULLY_CONNECTED"]) == (added, "FULLY_CONNECTED")


def test_a_tower_with_the_user_s_own_flatten_block_keeps_it(own_blocks):
    spec = make_spec(problem_type="CNN", blocks_to_use=["OWN_CONVOLUTION", "OWN_FLATTEN", "FULLY_CONNECTED"])
    grammar = Grammar.of(spec)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        tower = grammar.random_of_any_depth(rng)
        for changed in (tower, grammar.mutate(tower, rng), grammar.vary(tower, rng), grammar.cross(tower, tower, rng)):
            assert changed.count("OWN_FLATTEN") == 1
            assert not {"PLATE_REDUCTION_FLATTEN", "FLATTEN"} & set(changed)
            assert set(changed[: changed.index("OWN_FLATTEN")]) <= {"OWN_CONVOLUTION"}


@given(
    st.integers(1, 3),
    st.integers(0, 2),
    st.lists(st.sampled_from(DENSE[:3]), min_size=1, max_size=5),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_neighbours_of_plain_towers_are_those_that_the_rules_of_order_give(least, more, architecture, allowed):
    grammar, by_rules = (_grammar("DNN", least, least + more, DENSE[:3]) for _ in range(2))
    by_rules.__dict__["_plain_blocks"] = frozenset()  # as if the order of blocks had rules
    found = grammar.neighbours(architecture, allowed)
    assert found == by_rules.neighbours(architecture, allowed)
    assert all(type(neighbour) is tuple for neighbour in found)
