"""What a plan says of itself."""

import pytest

from model_search.metadata.trial import DistillationPlan, EnsemblePlan, TrialKind, TrialPlan


def plan(*architecture, kind=TrialKind.SEARCH, **others):
    return TrialPlan(9, kind, architecture, {}, 10, 8, 1, "key", **others)


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


TAUGHT = {"teacher": (3,), "distillation": DistillationPlan("balanced")}
COMBINED = {"members": (1, 4), "ensemble": EnsemblePlan("average")}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (plan("A"), {"one tower", "on labels", "in full", "compared", "searched"}),
        (plan("A", random=True), {"one tower", "on labels", "in full", "compared", "searched"}),
        (plan("A", total_steps=20), {"one tower", "on labels", "searched"}),
        (plan("A", row_share=0.5), {"one tower", "on labels", "searched"}),
        (plan("A", first_step=5, warm_start=1, rung=1), {"one tower", "on labels", "in full", "compared", "searched"}),
        (plan("A", **TAUGHT), {"one tower", "in full"}),
        (plan(**COMBINED), {"in full"}),
        (plan("A", **COMBINED), {"in full"}),
        (plan("A", kind=TrialKind.SUGGESTION), {"one tower", "on labels", "in full", "compared", "searched"}),
        (plan("A", kind=TrialKind.TUNING), {"one tower", "on labels", "in full", "compared"}),
        (plan("A", kind=TrialKind.REPLAY), {"one tower", "on labels", "in full", "compared"}),
    ],
)
def test_a_plan_says_what_it_trains(made, says):
    asked = {
        "one tower": made.trains_one_tower,
        "on labels": made.is_on_labels_alone,
        "in full": made.is_in_full,
        "compared": made.trains_one_tower_in_full,
        "searched": made.is_searched,
    }
    assert {name for name, answer in asked.items() if answer} == says
