"""Which trials begin as the function of their parent, and for how long they train."""

import dataclasses

import pytest
from search_factory import completed, make_plan, make_planner, make_spec

from model_search.blocks import catalogue
from model_search.metadata.trial import Artefact, StartKind, TrialKind, WarmStart
from model_search.search.history.history import History
from model_search.search.planning.morphisms import Morphisms
from model_search.search.space.grammar import Grammar
from model_search.search.space.morphisms import is_morphism, is_wider, larger

DENSE, WIDE = "FIXED_OUTPUT_FULLY_CONNECTED_64", "FIXED_OUTPUT_FULLY_CONNECTED_128"
BLOCKS = (DENSE, WIDE, "BOTTLENECK_32_SKIP", "LOWRANK_1")


def spec_of(search="ADAPTIVE_COORDINATE_DESCENT", share=0.25, **fields):
    spec = make_spec(search, blocks_to_use=BLOCKS, **fields)
    spec.morphisms.steps_share = share
    return spec


def history_of(*towers):
    history = History("loss", "minimize")
    for number, blocks in enumerate(towers, 1):
        trial = completed(number, 1 / number, make_plan(number, blocks))
        weights = Artefact("weights.npz", "a", "", 1)
        history.update([dataclasses.replace(trial, result=dataclasses.replace(trial.result, artefacts=(weights,)))])
    return history


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ((DENSE, DENSE), (DENSE,), True),
        ((WIDE,), (DENSE,), True),
        (("BOTTLENECK_32_SKIP", WIDE, WIDE), (DENSE,), True),
        ((DENSE,), (DENSE,), False),
        ((DENSE,), (WIDE,), False),
        ((DENSE, "LOWRANK_1"), (DENSE,), False),
        (("LOWRANK_1", DENSE), ("LOWRANK_1",), True),
        ((DENSE,), (DENSE, DENSE), False),
        (("GRU_64",), ("LSTM_32",), False),
    ],
)
def test_blocks_are_inserted_or_replaced_by_wider_ones(new, old, expected):
    assert is_morphism(new, old) is expected


def test_a_block_is_wider_than_another_one_of_its_kind():
    assert is_wider("CONVOLUTION_5X5", "CONVOLUTION_3X3") and not is_wider("CONVOLUTION_3X3", "CONVOLUTION_5X5")
    assert is_wider("LSTM_256", "LSTM_128") and not is_wider("SKIP_LSTM_256", "LSTM_128")
    assert not catalogue.get("FIXED_CHANNEL_STRIDE_96_2").can_be_inserted


def test_all_towers_that_are_one_morphism_larger():
    grammar = Grammar.of(spec_of(maximum_depth=2))
    found = list(larger((DENSE,), grammar, 2))
    others = (DENSE, WIDE, "BOTTLENECK_32_SKIP")
    expected = {*((DENSE, name) for name in others), *((name, DENSE) for name in others), (WIDE,)}
    assert set(found) == expected and len(found) == len(expected)
    assert list(larger((WIDE, WIDE), grammar, 2)) == []
    assert all(is_morphism(tower, (DENSE,)) for tower in found)


def test_a_child_trains_for_a_share_of_the_steps_from_its_parent():
    history, morphisms = history_of((DENSE,)), Morphisms.of(spec_of(share=0.25))
    child = make_plan(5, (DENSE, WIDE), parent=1, steps=10, random=True)
    started = morphisms.started(child, history)
    assert started == dataclasses.replace(child, start=WarmStart(StartKind.MORPH, (1,)), steps=3, random=False)
    for other in (
        dataclasses.replace(child, parent=None),
        dataclasses.replace(child, architecture=("LOWRANK_1",)),
        dataclasses.replace(child, kind=TrialKind.TUNING),
        dataclasses.replace(child, start=WarmStart(StartKind.COPY, (1,))),
    ):
        assert morphisms.started(other, history) is other
    assert Morphisms.of(make_spec()).started(child, history) is child


@pytest.mark.parametrize("search", ["ADAPTIVE_COORDINATE_DESCENT", "REGULARIZED_EVOLUTION", "GAUSSIAN_PROCESS"])
def test_beam_evolution_and_gaussian_process_grow_trained_towers(search):
    fields = {"evolution": {"population_size": 4, "sample_size": 2}} if search == "REGULARIZED_EVOLUTION" else {}
    if search == "GAUSSIAN_PROCESS":
        fields = {"gaussian_process": {"trials_before_fit": 2}}
    spec = spec_of(search, increase_complexity_minimum_trials=[0, 0, 0, 0], **fields)
    planner = make_planner(spec, train_steps=100)
    history = history_of((DENSE,), (DENSE, DENSE), (WIDE,), ("LOWRANK_1", DENSE), (DENSE, WIDE))
    plans = [planner.plan(number, history) for number in range(6, 22)]
    grown = [plan for plan in plans if plan.start is not None]
    assert grown and all(plan.steps == 25 and plan.start.kind is StartKind.MORPH for plan in grown)
    assert all(is_morphism(plan.architecture, history.get(plan.parent).plan.architecture) for plan in grown)
    assert all(plan.steps == 100 for plan in plans if plan.start is None)
