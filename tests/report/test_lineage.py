from made_studies import Made, combined, make_plan

from model_search.metadata.trial import DistillationPlan, StartKind, TrialKind, WarmStart
from model_search.report.lineage import MOST_STEPS, changes, lineage


def said(before, after):
    return list(changes(make_plan(1, **before), make_plan(2, **({"hyperparameters": {}} | after))))


def test_what_a_mutation_changed():
    a, b, c = "IDENTITY", "FULLY_CONNECTED", "BOTTLENECK_32"
    none = {"hyperparameters": {}}
    assert said({"architecture": (a,)} | none, {"architecture": (a, b)}) == [f"added {b} as block 2"]
    assert said({"architecture": (a, b, c)} | none, {"architecture": (a, c)}) == [f"took out block 2, {b}"]
    assert said({"architecture": (a, b)} | none, {"architecture": (c, b)}) == [f"replaced {a} by {c} at block 1"]
    assert said({"architecture": (a,)} | none, {"architecture": (a,)}) == []


def test_what_changed_in_the_hyperparameters():
    before, after = {"rate": 0.5, "optimizer": "adam", "kept": 1}, {"rate": 0.25, "kept": 1, "decay": True}
    same = {"architecture": ("IDENTITY",)}
    expected = ["decay none → True, optimizer adam → none, rate 0.5 → 0.25"]
    assert said(same | {"hyperparameters": before}, same | {"hyperparameters": after}) == expected


def test_the_line_goes_on_through_parents_teachers_and_members(tmp_path):
    made = Made(tmp_path)
    made.run(0.9)
    made.run(0.8, parent=1)
    made.run(0.7)
    made.run(0.6, **combined(2, 3))
    distilled = {
        "teacher": (2, 3),
        "start": WarmStart(StartKind.COPY, (2,)),
        "distillation": DistillationPlan("mse_logits"),
    }
    made.run(0.5, kind=TrialKind.DISTILLATION, **distilled)
    made.run(0.4, start=WarmStart(StartKind.CONTINUE, (5,)), parent=5, first_step=100, steps=200)
    history = made.study.history
    steps = lineage(history.get(6), history)
    assert [step.trial.id for step in steps] == [6, 5, 2, 1]
    assert [step.role for step in steps[:3]] == ["", "the parent of trial 6", "the starting point of trial 5"]
    assert steps[0].changes[0] == "trained on from step 100 to step 200"
    assert {"learns from trials 2, 3", "starts from the weights of trial 2"} <= set(steps[1].changes)
    assert [trial.id for trial in steps[1].teacher] == [2, 3]
    of_ensemble = lineage(history.get(4), history)
    assert [step.trial.id for step in of_ensemble] == [4, 3]
    assert [member.id for member in of_ensemble[0].members] == [2, 3] and of_ensemble[0].changes == ()


def test_the_weights_that_a_tower_starts_from_are_drawn(tmp_path):
    made = Made(tmp_path)
    for loss in (0.9, 0.8, 0.7):
        made.run(loss)
    made.run(0.6, start=WarmStart(StartKind.AVERAGE, (1, 2, 3), (0.2, 0.7, 0.1)))
    made.run(0.5, start=WarmStart(StartKind.AVERAGE, (4,), (1.0,)))
    made.run(0.4, start=WarmStart(StartKind.GIVEN, source="model"))
    history = made.study.history
    steps = lineage(history.get(5), history)
    assert [(step.trial.id, step.role) for step in steps] == [
        (5, ""),
        (4, "the starting point of trial 5"),
        (2, "the starting point of trial 4"),
    ]
    assert steps[0].changes[-1] == "starts from what fits of trial 4"
    assert steps[1].changes[-1] == "starts from the mean of what fits of trials 2, 1, 3"
    assert lineage(history.get(6), history)[0].changes == ("starts from what fits of the given model model",)


def test_a_long_line_is_cut(tmp_path):
    made = Made(tmp_path)
    for number in range(1, MOST_STEPS + 11):
        made.run(1 / number, parent=number - 1 or None)
    history = made.study.history
    assert len(lineage(history.best(1)[0], history)) == MOST_STEPS
