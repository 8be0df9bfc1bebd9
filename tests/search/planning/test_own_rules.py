"""Schedules, stopping rules and planner's rules of a user's own are declared and named like the built-in ones."""

import dataclasses

import pytest
from search_factory import make_planner, make_spec, run_study

import model_search
from model_search.errors import SpecError, UserError
from model_search.metadata.trial import TrialKind
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.early_stopping import StoppingRule
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.evaluation_schedule import EvaluationSchedule, Place
from model_search.search.planning.rules.rule import PlannerRule
from model_search.spec.load import explain, load_text
from model_search.spec.schedules import PLANNER_RULES, SCHEDULES, STOPPING_RULES

BASE = "blocks_to_use: ['IDENTITY', 'LOWRANK_1'] minimum_depth: 1 maximum_depth: 3 search: 'GRID_SEARCH'\n"


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    for registry in (PLANNER_RULES, SCHEDULES, STOPPING_RULES):
        for name in registry.of_users():
            registry.remove(name)


def refused(text):
    with pytest.raises(SpecError) as caught:
        load_text(BASE + text)
    return str(caught.value)


def test_the_built_in_rules_have_their_places():
    order = sorted(PLANNER_RULES, key=lambda name: PLANNER_RULES.get(name).order)
    assert order == [
        "replay", "suggestions", "supernet", "tuning", "ensembles", "distillation", "random_share", "classic",
        "starting_points", "folds", "promotion", "search",
    ]  # fmt: skip


def register_third_is_identity():
    @model_search.register_planner_rule("third_is_identity", order=15)
    class ThirdIsIdentity(PlannerRule):
        def plan(self, request):
            if request.trial_id % 3:
                return None
            source = self.make.source(request, Composition(TrialKind.SEARCH), Proposal(("IDENTITY",)))
            return self.make.first_drawn(request, source)


def test_a_rule_takes_part_where_the_specification_names_it():
    register_third_is_identity()
    plain, named = load_text(BASE), load_text(BASE + "planner_rules: 'third_is_identity'")
    planned = {}
    for name, spec in (("plain", plain), ("named", named)):
        trials = run_study(make_planner(spec), 9, lambda plan: 1.0).trials
        planned[name] = {trial.id: trial.plan.architecture for trial in trials}
    assert {planned["named"][number] for number in (3, 6, 9)} == {("IDENTITY",)}
    assert planned["plain"][6] != ("IDENTITY",)


def test_a_rule_that_is_not_declared_is_told_with_its_place():
    assert "line 2, column 17: There is no planner's rule 'serch'; the nearest names are search" in refused(
        "planner_rules: ['serch']"
    )
    with pytest.raises(SpecError, match="There is no planner's rule 'mine'"):
        make_planner(make_spec(planner_rules=["mine"]))
    with pytest.raises(UserError, match="expected a PlannerRule with a method plan"):
        model_search.register_planner_rule("nothing", order=5)(type("Nothing", (), {}))


def test_a_schedule_of_ones_own_promotes():
    @model_search.register_schedule("EVERY_SECOND")
    @dataclasses.dataclass(frozen=True)
    class EverySecond(EvaluationSchedule):
        def promotion(self, ladder, trial_id):
            if trial_id % 2:
                return None
            return self.next_promotion(ladder, Place(0), ladder.cell(Place(0)).completed, trial_id)

    spec = load_text(BASE + "evaluation_schedule { schedule: 'EVERY_SECOND' minimum_share: 0.2 }")
    assert "EVERY_SECOND: towers begin with" in explain(spec)
    history = run_study(make_planner(spec, train_steps=900), 6, lambda plan: 1.0)
    assert [history.get(number).plan.steps for number in range(1, 7)] == [300, 900, 300, 900, 300, 900]


def test_a_stopping_rule_of_ones_own_stops():
    @model_search.register_stopping_rule("WORSE_THAN_TWO")
    @dataclasses.dataclass(frozen=True)
    class WorseThanTwo(StoppingRule):
        def is_hopeless(self, plan, curve, peers):
            return bool(curve[-1, 1] > 2) and len(peers) == 2

    spec = load_text(BASE + "evaluation_schedule { stopping_rule: 'WORSE_THAN_TWO' grace_steps: 5 }")
    planner = make_planner(spec)
    history = run_study(planner, 2, lambda plan: float(plan.trial_id))
    plan = history.get(1).plan
    assert planner.stops(plan, [(10, 2.1)], history)
    assert not planner.stops(plan, [(10, 1.9)], history)
    assert not planner.stops(plan, [(4, 2.1)], history)
    assert "Hopeless trials are stopped early (WORSE_THAN_TWO)." in explain(spec)


def test_names_of_schedules_are_checked():
    assert "There is no evaluation schedule 'ASHAA'; the nearest names are ASHA" in refused(
        "evaluation_schedule { schedule: 'ASHAA' }"
    )
    assert "There is no stopping rule 'MEAN'; the nearest names are MEDIAN" in refused(
        "evaluation_schedule { stopping_rule: 'MEAN' }"
    )
    assert "schedule is 'ASHA' and kind is HYPERBAND; give only one of the two." in refused(
        "evaluation_schedule { schedule: 'ASHA' kind: HYPERBAND }"
    )
    load_text(BASE + "evaluation_schedule { schedule: 'ASHA' kind: ASHA stopping_rule: 'MEDIAN' grace_steps: 3 }")
    with pytest.raises(UserError, match="expected a subclass of EvaluationSchedule"):
        model_search.register_schedule("nothing")(type("Nothing", (), {}))
    with pytest.raises(UserError, match="expected a subclass of StoppingRule"):
        model_search.register_stopping_rule("nothing")(type("Nothing", (), {}))
