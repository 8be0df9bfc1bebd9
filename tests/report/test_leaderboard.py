"""The order of trials and final models."""

import pytest
from made_studies import Made, make_final, make_plan, make_record

from model_search.metadata.final_models import FinalKind
from model_search.report.leaderboard import ranked_models

STUDENT = {"kind": FinalKind.STUDENT, "members": (), "gain": None, "gain_error": None}


def order_of(root, losses, *models, goal="minimize"):
    made = Made(root, make_record(goal=goal))
    for loss in losses:
        made.run(loss)
    made.finish(*models)
    study = made.study
    ranked = ranked_models(study.history, study.final_models)
    chosen = study.best
    entries = [getattr(entry, "id", None) or entry.kind.value for entry in ranked]
    assert entries[0] == chosen
    assert study.leaderboard()["rank"].tolist() == list(range(1, len(ranked) + 1))
    return entries


@pytest.mark.parametrize(
    ("ensemble", "student", "order"),
    [
        (0.1, 0.3, ["ensemble", 2, "student", 1]),
        (0.2, 0.4, [2, "ensemble", 1, "student"]),
        (0.1, 0.1, ["ensemble", "student", 2, 1]),
        (0.9, 0.05, ["student", 2, 1, "ensemble"]),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_final_models_stand_among_the_trials_by_the_metric(tmp_path, ensemble, student, order, sign):
    models = (
        make_final(loss=sign * ensemble),
        make_final(loss=sign * student, plan=make_plan(3), **STUDENT),
    )
    losses = [sign * 0.4, sign * 0.2]
    assert order_of(tmp_path, losses, *models, goal="minimize" if sign > 0 else "maximize") == order


def test_a_model_that_may_not_be_the_best_stands_behind_the_best_trial(tmp_path):
    refused = make_final(loss=0.1, accepted=False)
    student = make_final(loss=0.15, plan=make_plan(3), **STUDENT)
    assert order_of(tmp_path, [0.4, 0.2], refused, student) == ["student", 2, "ensemble", 1]


def test_an_ensemble_that_leads_stands_before_trials_that_were_chosen_among_many(tmp_path):
    student = make_final(loss=0.1, plan=make_plan(3), **STUDENT)
    refused = make_final(loss=0.05, plan=make_plan(3), accepted=False, **STUDENT)
    assert order_of(tmp_path / "1", [0.4, 0.2], make_final(loss=0.3, leads=True)) == ["ensemble", 2, 1]
    assert order_of(tmp_path / "2", [0.4, 0.2], make_final(loss=0.3, leads=True), student) == [
        "student",
        "ensemble",
        2,
        1,
    ]
    assert order_of(tmp_path / "3", [0.4, 0.2], make_final(loss=0.3, leads=True), refused)[0] == "ensemble"


@pytest.mark.parametrize(
    ("later", "order"),
    [(0.25, [3, "ensemble", 2, 1]), (0.35, ["ensemble", 3, 2, 1]), (0.1, [3, "ensemble", 2, 1])],
)
def test_a_trial_that_is_newer_than_an_ensemble_and_better_stands_before_it(tmp_path, later, order):
    """As after a longer training, or where a search goes on without a final stage."""
    assert order_of(tmp_path, [0.5, 0.4, later], make_final(loss=0.3, leads=True)) == order


def test_a_model_without_the_metric_comes_last(tmp_path):
    assert order_of(tmp_path, [0.4, 0.2], make_final(metrics={"accuracy": 1.0})) == [2, 1, "ensemble"]
