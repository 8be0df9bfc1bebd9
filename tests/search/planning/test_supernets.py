"""The trials of a search with shared weights, without training."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, running

from model_search import cells
from model_search.metadata import records
from model_search.metadata.trial import Candidate, StartKind, SupernetPlan, Trial, TrialKind, TrialResult, TrialState
from model_search.ranking import Goal, Objective
from model_search.report.one_shot import expected_best, in_sentences, shared_weights, spearman
from model_search.search.algorithms.registry import SEARCHES
from model_search.search.history.history import History
from model_search.search.planning.supernets import why_anew
from model_search.spec.check import check
from model_search.spec.load import load_text, warnings_of

TEXT = """problem_type: CNN search: 'SPOS' starting_points: false
cell { nodes: 2 channels: 4 operations: ['CELL_IDENTITY', 'CELL_CONVOLUTION_1X1'] }
learning_spec { optimizers: 'adam' learning_rate_range { minimum: 0.01 maximum: 0.01 } }
search_settings { hparam { key: 'supernet_parts' value { int64_value: 3 } }
                  hparam { key: 'random_share' value { float_value: 0.5 } } }"""


def planner(text=TEXT):
    return make_planner(load_text(text))


def scored(plan, count=8):
    """A completed supernet that prefers convolutions."""
    rng, space, found = np.random.default_rng(0), plan.supernet, {}
    while len(found) < count:
        choices = tuple(int(rng.integers(len(names))) for names in space.positions)
        blocks = space.architecture_of(choices)
        found.setdefault(cells.canonical(blocks), (choices, float(blocks.count("CELL_IDENTITY"))))
    candidates = tuple(Candidate(choices, value, place < 4) for place, (choices, value) in enumerate(found.values()))
    return finished(plan, candidates if plan.supernet.candidates else ())


def finished(plan, candidates=()):
    result = TrialResult({"supernet_loss": 1.0}, 10, plan.steps, {"trial": 30.0}, candidates=candidates)
    return Trial(plan.trial_id, TrialState.COMPLETED, 1, plan.trial_id, "w", plan, result)


@pytest.fixture
def after_the_supernet():
    history, plans, make = History("loss", "minimize"), [], planner()
    for number in (1, 2, 3):
        plans.append(make.plan(number, history))
        history.update([scored(plans[-1])])
    return make, history, plans


def test_the_first_trials_train_the_supernet_in_parts_that_go_on(after_the_supernet):
    _, history, plans = after_the_supernet
    assert [plan.kind for plan in plans] == [TrialKind.SUPERNET] * 3
    assert [plan.first_step for plan in plans] == [0, plans[0].steps, plans[1].steps]
    assert [plan.start and (plan.start.kind, plan.start.trials) for plan in plans[1:]] == [
        (StartKind.RESUME, (1,)),
        (StartKind.RESUME, (2,)),
    ]
    assert len({plan.seed for plan in plans}) == 1 and len({plan.key for plan in plans}) == 3
    assert [plan.supernet.candidates for plan in plans] == [0, 0, 200]
    assert plans[0].hyperparameters["cell_channels"] == 4
    assert not history.completed and list(history.supernets) == [1, 2, 3]
    assert records.read_plan(3, records.write_plan(plans[2])) == plans[2]


def test_then_the_best_candidates_and_random_ones_are_trained(after_the_supernet):
    make, history, plans = after_the_supernet
    candidates = history.get(3).result.candidates
    values = {cells.canonical(plans[2].supernet.architecture_of(c.choices)): c.value for c in candidates}
    found = []
    for number in range(4, 10):
        plan = make.plan(number, history)
        found.append(plan)
        history.update([completed(number, 1.0 + number % 3, plan)])
    assert {plan.random for plan in found} == {True, False}
    assert len({cells.canonical(plan.architecture[:-1]) for plan in found}) == 6
    best = [values[cells.canonical(plan.architecture[:-1])] for plan in found if not plan.random]
    assert best == sorted(best)
    facts = shared_weights(history)
    assert facts.correlation.pairs == 6 and len(facts.random) == sum(plan.random for plan in found)
    text = " ".join(in_sentences(facts, "loss"))
    assert "compared 8 architectures in" in text
    assert "Spearman" in text and "random architectures reached" in text
    assert "At equal cost random search would have trained" in text
    if len(facts.random) >= 4:
        assert f"as far as {len(facts.random)} random ones tell" in text


def test_meanwhile_another_worker_trains_random_architectures():
    make, history = planner(), History("loss", "minimize")
    history.update([running(1, make.plan(1, history))])
    other = make.plan(2, history)
    assert other.supernet is None and cells.has_cells(other.architecture)


def test_a_part_that_fails_is_tried_again_and_at_last_given_up():
    make, history, keys = planner(), History("loss", "minimize"), set()
    for number in range(1, 4):
        plan = make.plan(number, history)
        keys.add(plan.key)
        history.update([Trial(number, TrialState.FAILED, 1, number, "w", plan, reason="too little memory")])
    assert len(keys) == 3 and make.plan(4, history).supernet is None


def test_where_a_part_failed_the_one_before_it_is_made_anew():
    """The files that it began with may be damaged."""
    make, history = planner(), History("loss", "minimize")
    history.update([finished(make.plan(1, history))])
    history.update([finished(make.plan(2, history))])
    broken = make.plan(3, history)
    history.update([Trial(3, TrialState.FAILED, 1, 3, "w", broken, reason="weights.npz is damaged")])
    again = make.plan(4, history)
    assert (broken.start.trials, again.start.trials) == ((2,), (1,))
    assert (again.first_step, again.steps) == (history.get(2).plan.first_step, history.get(2).plan.steps)
    history.update([Trial(4, TrialState.FAILED, 1, 4, "w", again, reason="weights.npz is damaged")])
    anew = make.plan(5, history)
    assert anew.start is None and anew.first_step == 0
    assert len({history.get(number).plan.key for number in range(1, 5)} | {anew.key}) == 5


def test_a_part_that_was_cut_off_is_made_anew():
    make, history = planner(), History("loss", "minimize")
    history.update([finished(make.plan(1, history))])
    cut = finished(make.plan(2, history))
    history.update([dataclasses.replace(cut, result=dataclasses.replace(cut.result, best_step=cut.plan.first_step))])
    anew = make.plan(3, history)
    assert (anew.start, anew.steps) == (cut.plan.start, cut.plan.steps) and anew.key != cut.plan.key


@pytest.mark.parametrize("fewer", [60, 20, 9, 1])
def test_with_fewer_steps_one_short_part_more_compares(fewer):
    def of_steps(steps):
        settings = f"search_settings {{ hparam {{ key: 'supernet_steps' value {{ int64_value: {steps} }} }}"
        return planner(TEXT.replace("search_settings {", settings))

    make, history = of_steps(90), History("loss", "minimize")
    for number in (1, 2):
        history.update([finished(make.plan(number, history))])
    last = of_steps(fewer).plan(3, history)
    assert (last.first_step, last.steps, last.total_steps) == (60, 60 + max(fewer // 3, 1), None)
    assert last.start.trials == (2,) and last.supernet.candidates == 200


ADDED = TEXT.replace("'CELL_CONVOLUTION_1X1'", "'CELL_CONVOLUTION_1X1', 'CELL_MAX_POOLING_3X3'")
REORDERED = TEXT.replace("'CELL_IDENTITY', 'CELL_CONVOLUTION_1X1'", "'CELL_CONVOLUTION_1X1', 'CELL_IDENTITY'")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ADDED, "operations"),
        (REORDERED, "order"),
        (TEXT.replace("SPOS", "DARTS"), "DARTS and was SPOS"),
        (TEXT.replace("channels: 4", "channels: 6"), "layout"),
    ],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_with_other_options_the_supernet_begins_anew(text, reason, parts):
    """Its weights would be those of other operations, or of other shapes."""
    before, make, history = planner(), planner(text), History("loss", "minimize")
    for number in range(1, parts + 1):
        history.update([scored(before.plan(number, history))])
    history.update([Trial(4, TrialState.FAILED, 1, 4, "w", before.plan(4, History("loss", "minimize")), reason="no")])
    plan = make.plan(5, history)
    assert plan.supernet is not None and (plan.start, plan.first_step) == (None, 0)
    assert not history.contains_key(plan.key) and plan.key.endswith(":0")
    assert reason in why_anew(plan, history)
    history.update([finished(plan)])
    onward = make.plan(6, history)
    assert onward.start.trials == (5,) and why_anew(onward, history) is None


def test_another_controller_begins_anew():
    enas = TEXT.replace("SPOS", "ENAS")
    units = "search_settings { hparam { key: 'controller_units' value { int64_value: 8 } }"
    history = History("loss", "minimize")
    history.update([finished(planner(enas).plan(1, history))])
    assert planner(enas).plan(2, history).first_step
    anew = planner(enas.replace("search_settings {", units)).plan(2, history)
    assert not anew.first_step and "controller" in why_anew(anew, history)


def test_candidates_of_another_supernet_are_not_trained(after_the_supernet):
    _, history, _ = after_the_supernet
    make = planner(ADDED)
    unplanned = history.snapshot()
    unplanned.update([running(4, make.plan(4, history))])
    assert make.plan(5, unplanned).random


def test_no_part_goes_on_from_a_later_trial():
    """A worker that died before it had a plan leaves its number to another one."""
    make, history = planner(), History("loss", "minimize")
    history.update([finished(make.plan(2, history))])
    assert make.plan(1, history).supernet is None
    assert make.plan(3, history).start.trials == (2,)


def test_a_result_with_candidates_is_stored(after_the_supernet):
    _, history, _ = after_the_supernet
    result = history.get(3).result
    text = records.write_result(3, result)
    assert records.read_result(3, text, (), {}, ()).candidates == result.candidates


@pytest.mark.parametrize("values", [{"method": "MADE_UP"}, {"candidates": -1}, {"positions": ((1,),)}])
def test_a_supernet_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValueError, match=r"supernet|method|candidates"):
        SupernetPlan(**{"method": "SPOS", "positions": (("IDENTITY",),), **values})
    with pytest.raises(ValueError, match="no blocks of its own"):
        dataclasses.replace(make_plan(1, ("IDENTITY",)), supernet=SupernetPlan("SPOS", (("IDENTITY",),)))


def test_the_page_has_every_setting_and_its_examples_are_specifications():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "one_shot.md").read_text()
    for name in ("SPOS", "ENAS", "DARTS"):
        assert all(f"`{setting.name}`" in page for setting in SEARCHES.get(name).settings)
    for example in re.findall(r"```pbtxt\n(.*?)```", page, re.DOTALL):
        assert warnings_of(load_text(example)) == []


@pytest.mark.parametrize(("metric", "goal", "sign"), [("loss", "minimize", -1), ("accuracy", "maximize", 1)])
def test_the_best_of_random_draws_is_that_of_drawing_them(metric, goal, sign):
    values, rng = [0.1, 0.4, 0.2, 0.9], np.random.default_rng(0)
    objective = Objective(metric, Goal.of(goal))
    drawn = sign * (sign * rng.choice(values, (20_000, 3))).max(axis=1)
    assert expected_best(values, 3, objective) == pytest.approx(drawn.mean(), abs=0.01)
    assert expected_best(values, 1, objective) == pytest.approx(0.4)
    assert expected_best(values, 1e6, objective) == pytest.approx(sign * max(sign * value for value in values))


def test_spearman_of_the_same_and_of_the_opposite_order():
    rising = [(float(i), float(i**3)) for i in range(12)]
    assert spearman(rising).value == pytest.approx(1)
    assert spearman([(one, -other) for one, other in rising]).high == pytest.approx(-1)
    assert spearman(rising[:3]) is None and spearman([(1.0, float(i)) for i in range(9)]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("problem_type: CNN", "problem_type: RNN_LAST_ACTIVATIONS"),
            "Shared weights are for cells of maps",
        ),
        (f"{TEXT} evaluation_schedule {{ kind: ASHA }}", "trains what it finds in full"),
        (TEXT.replace("channels: 4", "channels: [4, 8]"), "one number of channels"),
    ],
)
def test_an_error_says_what_does_not_go_with_shared_weights(text, message):
    from google.protobuf import text_format

    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

    assert any(message in problem.message for problem in check(text_format.Parse(text, PhoenixSpec())))
