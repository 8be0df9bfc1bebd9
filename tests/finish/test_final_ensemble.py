"""The final ensemble from what trials have stored, and the architectures that may become its student."""

import dataclasses
import math

import numpy as np
import pytest

from model_search.data.labelled_rows import LabelledRows
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.finish import final_stage
from model_search.finish.ensemble_selection import paired_gain
from model_search.finish.final_ensemble import MetricFunctions, StudyParts, candidates, make_ensemble
from model_search.finish.final_stage import StageOptions, run_stage
from model_search.finish.selection_objectives import make_objective
from model_search.finish.students import distillation
from model_search.finish.students.distillation import DistillationContext, distilled_student
from model_search.finish.students.student import work
from model_search.finish.validation_rows import keep_training, keep_validation
from model_search.metadata.artefacts import LocalArtefacts, save_arrays
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.paths import TRAIN_LOGITS, VALID_LOGITS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import TrialKind, TrialPlan, TrialResult
from model_search.search.history.history import History
from model_search.training.metrics import ResolvedMetric
from model_search.training.outcome import TrainingSettings

TASK = Task(TaskKind.CLASSIFICATION, "label", 2, ("no", "yes"))
LABELS = np.random.default_rng(0).integers(2, size=200).astype(np.int32)
ROWS = Rows.of(np.zeros((200, 1), np.float32), LABELS)
DATA = TableData(TASK, ROWS, ROWS, "f", {"task": TASK.to_json()})
SPEC = "problem_type: DNN minimum_depth: 1 maximum_depth: 2 blocks_to_use: 'FULLY_CONNECTED'"
SETTINGS = {"train_steps": 10, "batch_size": 8, "spec": SPEC}


def logits(noise, seed):
    """The truth, and noise that differs by seed."""
    score = 2.0 * LABELS - 1 + np.random.default_rng(seed).normal(size=200) * noise
    return np.stack([-score, score], axis=1).astype(np.float32)


@pytest.fixture
def study(tmp_path):
    """A study with a trial for each array of validation logits; the parameters of trial n are 100 n."""

    def make(*arrays):
        store, artefacts = SqliteStore(tmp_path / "study.db"), LocalArtefacts(tmp_path)
        record = StudyRecord("s", "me", "", "loss", "minimize", 1, "f", DATA.description, SETTINGS, {})
        store.create_study(record)
        keep_validation(store, artefacts, DATA, own_metric=False)
        for number, found in enumerate(arrays, 1):
            claim = store.claim("w", 100)
            store.commit_plan(
                claim, TrialPlan(number, TrialKind.SEARCH, ("IDENTITY",) * number, {}, 10, 8, number, str(number))
            )
            file = save_arrays(artefacts, number, VALID_LOGITS, {"valid_logits": found})
            store.complete(claim, TrialResult({"loss": 0.1 * number}, 100 * number, 10, {}, artefacts=(file,)))
        history = History("loss", "minimize")
        history.update(store.history()[0])
        return StudyParts(store, artefacts, record, history)

    return make


def test_independent_models_are_accepted_with_all_their_members(study):
    made, mixed = make_ensemble(study(*(logits(1.5, seed) for seed in range(4))), MetricFunctions())
    assert made.accepted
    assert len(made.members) > 1
    assert mixed.shape == (200, 2)


def test_an_accepted_ensemble_leads_but_not_in_a_study_of_an_earlier_version(study):
    parts = study(*(logits(1.5, seed) for seed in range(4)))
    assert not make_ensemble(parts, MetricFunctions())[0].leads
    record = dataclasses.replace(parts.record, settings=SETTINGS | {"members": "auto"})
    assert make_ensemble(dataclasses.replace(parts, record=record), MetricFunctions())[0].leads


def test_an_ensemble_without_a_gain_is_not_accepted(study):
    made, _ = make_ensemble(study(logits(1.0, 1), logits(1.0, 1)), MetricFunctions())
    assert not made.accepted
    assert "by a cross-fitted estimate it is not better than the best single model" in made.notes


def in_folds(parts, parent, loss, noise, seed):
    """The study with one more bag: what it has predicted of training and validation rows differs from the truth."""
    plan = parts.history.get(parent).plan
    claim = parts.store.claim("w", 100)
    number, key = claim.trial_id, f"bag {claim.trial_id}"
    changes = {"trial_id": number, "kind": TrialKind.BAGGING, "key": key, "parent": parent, "folds": 8}
    parts.store.commit_plan(claim, dataclasses.replace(plan, **changes))
    keep_training(parts.store, parts.artefacts, ROWS)
    files = [
        save_arrays(parts.artefacts, number, file, {name: logits(noise, seed + place)})
        for place, (file, name) in enumerate(((VALID_LOGITS, "valid_logits"), (TRAIN_LOGITS, "train_logits")))
    ]
    parts.store.complete(claim, TrialResult({"loss": loss}, 800, 10, {}, artefacts=tuple(files)))
    history = History("loss", "minimize")
    history.update(parts.store.history()[0])
    return dataclasses.replace(parts, history=history)


BEHIND = "the models trained in folds are clearly worse there than the best trial"


@pytest.mark.parametrize(
    ("noise", "parent", "loss", "metric", "is_behind"),
    [
        (1.0, 2, 0.105, "loss", False),  # no worse than the best trial
        (1.1, 2, 0.105, "loss", False),  # worse, as may be by luck
        (3.0, 2, 0.105, "loss", True),  # clearly worse on the same rows
        (3.0, 2, 0.105, "accuracy", True),
        (3.0, 1, 0.3, "loss", False),  # of the best trial itself, which may have had luck
        (1.0, 2, 0.3, "loss", True),  # of a trial with twice the loss, so that no bag leads
    ],
)
def test_bags_are_selected_among_unless_they_are_clearly_worse_than_the_best_trial(
    study, noise, parent, loss, metric, is_behind
):
    parts = study(logits(1.0, 1), logits(1.0, 2))
    for place in range(2):
        parts = in_folds(parts, parent, loss + 0.001 * place, noise, 5 + 2 * place)
    known = ResolvedMetric(metric, "minimize" if metric == "loss" else "maximize")
    found = candidates(parts, parts.kept().rows, metric=known)
    assert {trial.id for trial in found.trials} == ({1, 2, 3, 4} if is_behind else {3, 4})
    assert len(found.rows.labels) == (200 if is_behind else 400)
    assert any(BEHIND in note for note in found.notes) is is_behind
    made, mixed = make_ensemble(parts, MetricFunctions())
    assert len(mixed) == 200
    if metric == "loss":
        assert any(BEHIND in note for note in made.notes) is is_behind
    # Parts of an ensemble are compared on all rows where their members are bags, and else on those that all know.
    of_bags, mixed_up = (candidates(parts, parts.kept().rows, only) for only in ({3, 4}, {1, 3}))
    assert len(of_bags.rows.labels) == 400 and len(mixed_up.rows.labels) == 200
    assert [trial.id for trial in mixed_up.trials] == [1, 3]


def test_the_best_of_many_models_that_are_equally_good_is_not_clearly_better_than_a_bag(study):
    """It has been chosen by the rows, which have not chosen the bags."""
    measure, rows = make_objective(TASK, None)[0], LabelledRows(TASK, LABELS, None)
    seeds = sorted(range(60), key=lambda seed: measure.single(logits(1.0, seed), LABELS, None))
    assert paired_gain(rows, None, logits(1.0, seeds[0]), logits(1.0, seeds[40]), 1).is_clear  # if there were but two
    parts = study(*(logits(1.0, seed) for seed in seeds))
    for place in range(2):
        parts = in_folds(parts, 2, 0.105 + 0.001 * place, 1.0, seeds[40 + place])
    assert [trial.id for trial in candidates(parts, rows).trials] == [61, 62]


def test_logits_of_other_rows_take_no_part(study):
    made, _ = make_ensemble(study(logits(1.5, 1), logits(1.5, 2)[:150], logits(1.5, 3)), MetricFunctions())
    assert 2 not in {member.trial for member in made.members}
    assert made.notes[0] == "1 trials took no part: their validation logits are gone"


@pytest.mark.parametrize(("of_teacher", "given", "fit"), [(950, None, [1, 2, 3]), (950, 250, [1, 2]), (250, None, [])])
def test_a_student_has_at_most_a_third_of_its_teacher_and_no_more_than_is_given(
    study, monkeypatch, of_teacher, given, fit
):
    parts = study(*(logits(1.5, seed) for seed in range(5)))
    offered = []

    def distil(job, candidates, on_progress=None, fresh=None):
        offered.extend(candidate.trial for candidate in candidates)
        raise StudyError("enough is known")

    monkeypatch.setattr(distillation, "distil", distil)
    monkeypatch.setattr(distillation, "parts_of", lambda *ensemble: [])
    members = (FinalMember(1, 0.5, 0.1, 0.2), FinalMember(2, 0.5, 0.2, 0.1))
    teacher = FinalModel(FinalKind.ENSEMBLE, {"loss": 0.1}, of_teacher, 0.0, (1, 2), members=members)
    context = DistillationContext(DATA, TrainingSettings("DNN", "loss", "minimize"), given)
    with pytest.raises(StudyError, match="enough is known" if fit else "no student: no architecture"):
        distilled_student(parts, teacher, logits(0.1, 9), context)
    assert offered == fit


@pytest.mark.parametrize(("settings", "is_limited"), [({}, False), ({"members": "auto"}, True)])
def test_a_student_gets_half_of_what_the_trials_took_and_in_earlier_studies_what_it_takes(
    study, monkeypatch, settings, is_limited
):
    parts = study(*(logits(1.5, seed) for seed in range(3)))
    parts = dataclasses.replace(parts, record=dataclasses.replace(parts.record, settings=SETTINGS | settings))
    jobs = []

    def distil(job, candidates, on_progress=None, fresh=None):
        jobs.append(job)
        raise StudyError("enough is known")

    monkeypatch.setattr(distillation, "distil", distil)
    monkeypatch.setattr(distillation, "parts_of", lambda *ensemble: [])
    teacher = FinalModel(FinalKind.ENSEMBLE, {"loss": 0.1}, 950, 0.0, (1, 2), members=(FinalMember(1, 1.0),))
    context = DistillationContext(DATA, TrainingSettings("DNN", "loss", "minimize"))
    with pytest.raises(StudyError, match="enough is known"):
        distilled_student(parts, teacher, logits(0.1, 9), context)
    assert jobs[0].deadline.is_set == is_limited
    expected = 0.5 * 10 * sum(work(8, parameters) for parameters in (100, 200, 300))
    assert jobs[0].budget == (pytest.approx(expected) if is_limited else math.inf)


def another_trial(parts, number):
    """A further trial, completed by another process."""
    claim = parts.store.claim("other", 100)
    parts.store.commit_plan(claim, TrialPlan(number, TrialKind.SEARCH, ("IDENTITY",), {}, 10, 8, 1, f"other {number}"))
    file = save_arrays(parts.artefacts, number, VALID_LOGITS, {"valid_logits": logits(1.5, 10 + number)})
    parts.store.complete(claim, TrialResult({"loss": 0.01}, 100, 10, {}, artefacts=(file,)))


def interfering(monkeypatch, *acts):
    """Another process acts while an ensemble is selected: the first act in the first selection, and so on."""
    make, waiting = final_stage.make_ensemble, list(acts)

    def made(study, *given):
        found = make(study, *given)
        if waiting:
            waiting.pop(0)(study)
        return found

    monkeypatch.setattr(final_stage, "make_ensemble", made)


def finished_by_another(parts):
    """Another process's final stage, with one more trial."""
    number = max(trial.id for trial in parts.store.history()[0]) + 1
    another_trial(parts, number)
    made, _ = make_ensemble(dataclasses.replace(parts, history=latest_history(parts)), MetricFunctions())
    parts.store.save_final_models([dataclasses.replace(made, notes=("the other's",))])


def latest_history(parts):
    history = History("loss", "minimize")
    history.update(parts.store.history()[0])
    return history


def test_final_models_of_further_trials_are_not_overwritten(study, monkeypatch):
    parts, said = study(*(logits(1.5, seed) for seed in range(3))), []
    interfering(monkeypatch, finished_by_another)
    (made,) = run_stage(parts, StageOptions(say=said.append))
    assert [made] == parts.store.final_models()
    assert (made.trials, made.notes) == ((1, 2, 3, 4), ("the other's",))
    assert said == ["final stage: another process has made the final models meanwhile; they stay"]


def test_final_models_of_the_same_trials_are_replaced(study, monkeypatch):
    parts = study(*(logits(1.5, seed) for seed in range(3)))

    def finish(parts):
        other = FinalModel(FinalKind.ENSEMBLE, {}, 9, 0.0, (1, 2, 3), members=(FinalMember(3, 1.0),))
        parts.store.save_final_models([other])

    interfering(monkeypatch, finish)
    (made,) = run_stage(parts, StageOptions())
    assert [made] == parts.store.final_models()
    assert made.metrics


def test_the_final_stage_is_run_again_where_files_of_a_member_are_gone(study, monkeypatch):
    parts, said, pruned = study(*(logits(1.5, seed) for seed in range(5))), [], []

    def prune(parts):
        made, _ = make_ensemble(parts, MetricFunctions())
        pruned.append(made.members[0].trial)
        for artefact in parts.store.prune(pruned):
            parts.artefacts.delete(artefact)

    interfering(monkeypatch, prune)
    (made,) = run_stage(parts, StageOptions(say=said.append))
    assert pruned[0] not in {member.trial for member in made.members}
    assert parts.store.final_models() == [made]
    assert said[0] == "final stage: another process has changed the study meanwhile; it is run again"


def test_a_final_stage_that_is_never_left_alone_says_so(study, monkeypatch):
    parts = study(*(logits(1.5, seed) for seed in range(2)))

    def more(parts):
        finished_by_another(parts)
        another_trial(parts, parts.store.history()[0][-1].id + 1)

    interfering(monkeypatch, *[more] * 9)
    with pytest.raises(StudyError, match="other processes have changed study 's' 5 times"):
        run_stage(parts, StageOptions())
