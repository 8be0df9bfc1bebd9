"""What a plan says of itself."""

import pytest

from model_search.metadata.trial import DistillationPlan, EnsemblePlan, TrialKind, TrialPlan


def plan(*architecture, **others):
    return TrialPlan(9, TrialKind.SEARCH, architecture, {}, 10, 8, 1, "key", **others)


@pytest.mark.parametrize(
    ("made", "described", "towers"),
    [
        (plan("A", "B"), "A > B", (9,)),
        (plan("A", teacher=(3,), distillation=DistillationPlan("balanced")), "A", (9,)),
        (plan(members=(1, 4), ensemble=EnsemblePlan("average")), "trials 1, 4", (1, 4)),
        (plan("A", members=(1, 4), ensemble=EnsemblePlan("weighted")), "A with trials 1, 4", (1, 4, 9)),
        (plan("A", members=(1, 4), ensemble=EnsemblePlan("average", freeze=False)), "A with trials 1, 4", (9,)),
    ],
)
def test_a_plan_is_described_and_names_its_towers(made, described, towers):
    assert (made.described, made.towers) == (described, towers)
    assert TrialPlan.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"members": (1, 2)}, "go together"),
        ({"ensemble": EnsemblePlan("average")}, "go together"),
        ({"members": (2, 1), "ensemble": EnsemblePlan("average")}, "in order"),
        ({"members": (9,), "ensemble": EnsemblePlan("average")}, "earlier trials"),
        ({"teacher": (1, 1), "distillation": DistillationPlan("balanced")}, "different"),
    ],
)
def test_a_plan_that_makes_no_sense_cannot_be_made(others, message):
    with pytest.raises(ValueError, match=message):
        plan("A", **others)


def test_ways_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="average, weighted"):
        EnsemblePlan("mean")
    with pytest.raises(ValueError, match="mse_logits"):
        DistillationPlan("kl")
    with pytest.raises(ValueError, match="temperature"):
        DistillationPlan("balanced", temperature=0.0)
