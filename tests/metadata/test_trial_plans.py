"""What a plan says of itself."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.metadata.trial import (
    DistillationPlan,
    EnsemblePlan,
    StartKind,
    TrialKind,
    TrialPlan,
    UnknownStartError,
    WarmStart,
)


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
        ({"start": WarmStart(StartKind.COPY, (9,))}, "not an earlier trial than 9"),
        ({"start": WarmStart(StartKind.COPY, (1,)), "first_step": 5}, "continues another one"),
        ({"start": WarmStart(StartKind.CONTINUE, (1,))}, "continues another one"),
        ({"start": WarmStart(StartKind.CONTINUE, (1,)), "first_step": 10}, "continues another one"),
        ({"start": WarmStart(StartKind.CONTINUE, (1,)), "first_step": -1}, "continues another one"),
        ({"first_step": 5}, "continues another one"),
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
        (
            plan("A", first_step=5, start=WarmStart(StartKind.CONTINUE, (1,)), rung=1),
            {"one tower", "on labels", "in full", "compared", "searched"},
        ),
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


# What a plan starts from

STARTS = [None, WarmStart(StartKind.COPY, (3,)), WarmStart(StartKind.CONTINUE, (8,))]


def started(start):
    continues = start is not None and start.kind is StartKind.CONTINUE
    return plan("A", start=start, first_step=4 if continues else 0)


def former(made):
    """The same plan as versions before the record wrote it: with a bare number, or null."""
    return json.dumps(json.loads(made.to_json()) | {"warm_start": made.warm_start}, sort_keys=True)


@settings(deadline=None)
@given(st.sampled_from(STARTS))
def test_a_start_is_read_back_as_it_was_written_and_as_former_versions_wrote_it(start):
    made = started(start)
    again = TrialPlan.from_json(made.to_json())
    assert again == made and (start is None or type(again.start.kind) is StartKind)
    assert TrialPlan.from_json(former(made)) == made


def test_the_record_is_written_where_the_number_was_and_other_plans_are_written_as_before():
    assert json.loads(started(STARTS[1]).to_json())["warm_start"] == {"kind": "copy", "trials": [3]}
    assert json.loads(started(STARTS[2]).to_json())["warm_start"] == {"kind": "continue", "trials": [8]}
    assert all("start" not in json.loads(started(start).to_json()) for start in STARTS)
    assert started(None).to_json() == former(started(None))


def test_a_start_is_something_to_build_on():
    both = plan("A", teacher=(2,), distillation=DistillationPlan("balanced"), start=STARTS[1])
    assert both.builds_on == (2, 3) and both.warm_start == 3
    assert plan("A").builds_on == () and plan("A").warm_start is None
    assert [started(start).is_promotion for start in STARTS] == [False, False, True]


@pytest.mark.parametrize("trials", [(), (1, 2), (0,), (True,), (1.5,), ("1",)])
def test_a_start_names_one_trial(trials):
    with pytest.raises(ValueError, match="expected one trial's number"):
        WarmStart(StartKind.COPY, trials)


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(1, 8), st.floats(1e-9, 1e9), min_size=1),
    st.floats(0, 10) | st.just(1.0),
)
def test_a_mean_is_read_back_as_it_was_written(shares, discount):
    mean = WarmStart(StartKind.AVERAGE, tuple(shares), tuple(shares.values()), discount)
    for start in (mean, WarmStart(StartKind.GIVEN, source="model")):
        made = started(start)
        assert TrialPlan.from_json(made.to_json()) == made
        assert made.builds_on == start.trials and not start.takes_all


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": StartKind.AVERAGE}, "names (); expected trials' numbers"),
        ({"kind": StartKind.AVERAGE, "trials": (1, 1), "shares": (1.0, 1.0)}, "expected trials' numbers"),
        ({"kind": StartKind.AVERAGE, "trials": (1, 2), "shares": (1.0,)}, "has the shares (1.0,)"),
        ({"kind": StartKind.AVERAGE, "trials": (1,), "shares": (0.0,)}, "has the shares (0.0,)"),
        ({"kind": StartKind.AVERAGE, "trials": (1,), "shares": (1.0,), "discount": -1.0}, "has the discount -1.0"),
        ({"kind": StartKind.COPY, "trials": (1,), "shares": (1.0,)}, "has the shares (1.0,)"),
        ({"kind": StartKind.COPY, "trials": (1,), "discount": 0.5}, "has the discount 0.5"),
        ({"kind": StartKind.GIVEN}, "has the source ''"),
        ({"kind": StartKind.GIVEN, "trials": (1,), "source": "model"}, "expected no trial"),
        ({"kind": StartKind.COPY, "trials": (1,), "source": "model"}, "has the source 'model'"),
    ],
)
def test_a_start_says_what_its_kind_needs_and_no_more(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        WarmStart(**fields)


def test_a_start_of_a_later_version_is_refused_by_its_name():
    text = started(STARTS[1]).to_json().replace('"copy"', '"morphism"')
    with pytest.raises(UnknownStartError, match="'morphism'; this version knows continue, resume, copy"):
        TrialPlan.from_json(text)


@pytest.mark.parametrize("start", ['{"kind": "copy"}', "[1]", '"5"', '{"kind": "copy", "trials": 3}'])
def test_a_start_that_is_no_record_is_refused(start):
    values = json.loads(started(None).to_json())
    with pytest.raises(ValueError, match="not a trial plan"):
        TrialPlan.from_json(json.dumps(values | {"warm_start": json.loads(start)}))
