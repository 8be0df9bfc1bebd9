"""What is handed back, trained again on all rows."""

import dataclasses

import numpy as np
import pytest

import model_search
from model_search import constants, single_trainer
from model_search.data import array_data, image_data, sequence_data
from model_search.deadline import Deadline
from model_search.errors import UserError
from model_search.metadata import paths
from model_search.metadata.final_models import FinalKind, FinalModel
from model_search.metadata.sqlite_store import SqliteStore
from model_search.spec.load import load_spec
from model_search.study import load_study
from model_search.trainers.bags import refit
from model_search.trainers.bags.refit import MARGIN, plan_of_all_rows, seconds_to_refit, with_refit
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions

PLAIN = {
    "number_models": 2,
    "train_steps": 8,
    "eval_steps": None,
    "batch_size": 16,
    "experiment_name": "s",
    "experiment_owner": "",
    "finish": "ensemble",
    "folds": None,
}
OPTIONS = {"train_steps": 20, "batch_size": 32, "seed": 1, "progress": False, "finish": "ensemble", "folds": None}


def data(rows=200):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return x, x[:, 0] * 2 + rng.normal(size=rows)


def test_weights_are_those_of_all_rows_and_metrics_those_of_before(tmp_path, capsys):
    x, y = data()
    before = model_search.fit(x, y, number_models=2, root_dir=tmp_path / "a", experiment_name="s", **OPTIONS)
    after = model_search.fit(
        x, y, number_models=2, root_dir=tmp_path / "b", experiment_name="s", refit=True, **OPTIONS | {"progress": None}
    )
    assert "models were trained again on all 200 rows" in capsys.readouterr().err
    assert [trial.result.metrics for trial in after.trials] == [trial.result.metrics for trial in before.trials]
    assert after.best == before.best
    one, other = before.predict(x), after.predict(x)
    assert not np.allclose(one, other)
    assert one == pytest.approx(other, abs=1.5)  # the same towers, with more rows
    assert load_study(tmp_path / "b", "s").predict(x) == pytest.approx(other, abs=1e-6)
    assert after.replay(after.best_trial.id, array_data.Provider(x, y)).same  # the trial itself is what it was


def test_what_has_no_time_and_what_failed_keep_their_weights_and_a_note_counts_them(tmp_path, capsys, monkeypatch):
    x, y = data()
    given = {"number_models": 1, "root_dir": tmp_path, "experiment_name": "s", **OPTIONS | {"progress": None}}
    study = model_search.fit(x, y, **given)
    study.train_longer(1, 100, array_data.Provider(x, y))
    before = model_search.fit(x, y, **given).predict(x)
    asked = []

    def first_fails_others_have_no_time(trial, growth, seconds):
        asked.append(trial.id)
        return plan_of_all_rows(trial, growth, seconds if len(asked) == 1 else 0.0)

    monkeypatch.setattr(refit, "plan_of_all_rows", first_fails_others_have_no_time)
    monkeypatch.setattr(refit, "_trained", lambda *args: None)
    again = model_search.fit(x, y, refit=True, **given)
    reasons = "for 1 no time was left; for 1 training failed or led to a worse one"
    assert f"0 of 2 models were trained again on all 200 rows; {reasons}\n" in capsys.readouterr().err
    assert again.predict(x) == pytest.approx(before, abs=1e-6)


def test_what_was_trained_longer_goes_on_with_all_rows(tmp_path, capsys):
    x, y = data()
    given = {"number_models": 1, "root_dir": tmp_path, "experiment_name": "s", **OPTIONS | {"progress": None}}
    before = model_search.fit(x, y, **given)
    before.train_longer(1, 100, array_data.Provider(x, y))
    one = before.predict(x)
    after = model_search.fit(x, y, **given, refit=True)
    assert after.best_trial.plan.first_step == 20
    assert "2 of 2 models were trained again on all 200 rows" in capsys.readouterr().err
    assert not np.allclose(one, after.predict(x)) and after.predict(x) == pytest.approx(one, abs=1.5)


def test_it_goes_on_for_a_third_of_the_steps_at_a_lower_rate(tmp_path):
    x, y = data()
    study = model_search.fit(x, y, number_models=1, root_dir=tmp_path, experiment_name="s", **OPTIONS)
    trial = study.train_longer(1, 90, array_data.Provider(x, y))
    seconds = MARGIN * trial.result.timings["trial"]

    plan, until = plan_of_all_rows(trial, 1.25, np.inf)
    assert (plan.first_step, plan.steps, until) == (110, 140, 140)
    assert plan.start.trials == (trial.id,) and plan.resumes
    rate = trial.plan.hyperparameters["learning_rate"]
    assert plan.hyperparameters["learning_rate"] == pytest.approx(rate / 2)
    assert plan_of_all_rows(trial, 1.25, 1.001 * seconds / 6)[0].steps == 125
    assert plan_of_all_rows(trial, 1.25, seconds / 15) is None
    cut = dataclasses.replace(trial, result=dataclasses.replace(trial.result, stopped_at=50))  # time was up
    assert plan_of_all_rows(cut, 1.25, np.inf)[0].steps == 60  # a third of 30 steps, each of which took longer
    assert plan_of_all_rows(cut, 1.25, 1.001 * seconds / 6)[0].steps == 55


def test_by_itself_after_a_final_training(tmp_path):
    rng = np.random.default_rng(0)
    pictures, y = rng.integers(256, size=(60, 8, 8, 1), dtype=np.uint8), rng.integers(2, size=60)

    def is_refit(folder, final=True, given=None, **changes):
        options = SearchOptions.of(PLAIN | {"root_dir": tmp_path / folder, "time_limit": 600} | changes)
        provider = image_data.Provider(x=pictures, y=y, validation=given)
        session = open_session(provider, load_spec(constants.DEFAULT_IMAGE), options)
        found = with_refit(session, options, final)
        session.store.close()
        made.append(found.finish)
        return found.refit

    made = []
    assert is_refit("a", finish="both") is True
    assert is_refit("b", final=False) is False  # no table of columns
    assert is_refit("c", folds=5) is False  # these take the place of the final training
    assert is_refit("d", time_limit=None) is False  # nothing is trained longer then
    assert is_refit("e", given=(pictures[:20], y[:20])) is False
    assert is_refit("f", refit=False, finish="both") is False
    assert is_refit("g", finish="distil") is True
    assert is_refit("h", final=False, finish="both") is False
    assert [made[0], *made[-3:]] == ["ensemble", "both", "distil", "both"]  # all rows in place of a student


def test_towers_of_a_bag_of_few_folds_have_seen_all_rows(tmp_path, capsys):
    x, y = data()
    given = {"number_models": 3, "root_dir": tmp_path, **OPTIONS | {"folds": 3, "progress": None}}
    given |= {"members": "networks"}
    before = model_search.fit(x, y, experiment_name="a", **given)
    after = model_search.fit(x, y, experiment_name="b", refit=True, **given)
    bags = [trial.id for trial in after.trials if trial.plan.folds]
    assert f"{len(bags)} of {len(bags)} models were trained again on all 200 rows" in capsys.readouterr().err
    assert [trial.result.metrics for trial in after.trials] == [trial.result.metrics for trial in before.trials]
    one, other = before.predict(x, trial=bags[0]), after.predict(x, trial=bags[0])
    assert not np.allclose(one, other) and one == pytest.approx(other, abs=1.5)
    assert after.replay(bags[0], array_data.Provider(x, y)).same
    after.export(tmp_path / "exported")


def test_a_bag_has_fewer_models_on_all_rows_where_time_is_short(tmp_path):
    x, y = data(100)
    study = model_search.fit(x, y, number_models=2, root_dir=tmp_path, **OPTIONS | {"folds": 4, "members": "networks"})
    bag = next(trial for trial in study.trials if trial.plan.folds)
    of_one = MARGIN * bag.result.timings["trial"] / 3  # all rows, where a model of the bag lacks a quarter of them

    def models(seconds):
        found = plan_of_all_rows(bag, 1.25, seconds)
        return None if found is None else found[0].folds

    assert [models(share * of_one) for share in (0.5, 1.5, 2.5, 3.5, 9)] == [None, None, 2, 3, 4]
    assert plan_of_all_rows(bag, 1.25, np.inf)[1] == bag.result.best_step


def test_by_itself_for_bags_of_sequences_with_few_groups(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=60)
    x = (rng.normal(size=(60, 5, 2)) + y[:, None, None]).astype(np.float32)
    provider = sequence_data.Provider(x, y, groups=np.arange(60) % 3)
    options = {"number_models": 3, "train_steps": 8, "eval_steps": None, "batch_size": 16, "seed": 1, "time_limit": 600}
    study = single_trainer.SingleTrainer(provider, constants.DEFAULT_SEQUENCE).try_models(
        root_dir=str(tmp_path), experiment_name="s", experiment_owner="", finish="ensemble", **options
    )
    assert any(trial.plan.folds == 3 for trial in study.trials)
    assert "models were trained again on all 60 rows" in capsys.readouterr().err
    study.close()


def test_the_final_stage_leaves_bags_of_few_folds_a_fifth_of_the_time():
    def seconds(folds):
        options = SearchOptions(1, None, None, "runs", None, "s", "", time_limit=100, refit=True, folds=folds)
        return seconds_to_refit(None, options, Deadline(100))

    assert seconds(5) == 20.0


def test_rows_that_were_given_to_validate_on_are_not_trained_on(tmp_path, capsys):
    x, y = data(100)
    model_search.fit(
        x,
        y,
        number_models=1,
        root_dir=tmp_path,
        validation=(x[:20], y[:20]),
        refit=True,
        **OPTIONS | {"train_steps": 2},
    )
    assert "refit has no effect" in capsys.readouterr().err


def test_by_itself_for_a_table_with_a_time_limit(tmp_path, capsys):
    """A limit that two short trials do not reach: no clock decides here."""
    x, y = data(100)
    given = {**OPTIONS, "train_steps": 5, "progress": None, "root_dir": tmp_path, "number_models": 2}
    model_search.fit(x, y, time_limit=600, experiment_name="limited", **given)
    assert "models were trained again on all 100 rows" in capsys.readouterr().err
    model_search.fit(x, y, experiment_name="counted", **given)
    model_search.fit(x, y, time_limit=600, refit=False, experiment_name="refused", **given)
    model_search.fit(x, y, time_limit=600, validation=(x[:20], y[:20]), experiment_name="validated", **given)
    assert "refit" not in capsys.readouterr().err
    with pytest.raises(UserError, match="refit is 'yes'; expected True, False or 'auto'"):
        model_search.fit(x, y, refit="yes", **given)


def with_a_student(study):
    """The final models of a study, to which a student is added that is the best of all."""
    (ensemble,) = study.final_models
    metrics = dict.fromkeys(ensemble.metrics, 0.0)
    student = FinalModel(FinalKind.STUDENT, metrics, 5, 1.0, ensemble.trials, plan=study.best_trial.plan)
    store = SqliteStore(study.folder / paths.DATABASE)
    store.save_final_models([ensemble, student])
    store.close()
    study.close()
    return ensemble, student


def test_a_student_is_dropped_or_named_since_it_is_not_trained_on_all_rows(tmp_path, capsys):
    x, y = data()
    given = {"number_models": 3, "root_dir": tmp_path, "experiment_name": "s", **OPTIONS | {"members": "networks"}}
    ensemble, _ = with_a_student(model_search.fit(x, y, **given))
    capsys.readouterr()

    kept = model_search.fit(x, y, refit=True, **given)
    assert kept.best == "student"
    assert "refit has no effect: the best model is the student" in capsys.readouterr().err
    kept.close()
    after = model_search.fit(x, y, refit=True, **given | {"finish": "both", "progress": None})
    assert after.final_models == (ensemble,)
    said = capsys.readouterr().err
    assert "the study's student is dropped: refit=True" in said
    assert "models were trained again on all 200 rows" in said
    weights = after.predict(x)
    after.close()
    again = model_search.fit(x, y, refit=False, **given)
    assert again.predict(x) == pytest.approx(weights, abs=1e-6)  # as the page says
    assert capsys.readouterr().err == ""


def test_a_student_stays_where_there_are_no_more_rows_to_train_on(tmp_path, capsys):
    x, y = data()
    given = {"number_models": 2, "root_dir": tmp_path, "experiment_name": "s", "validation": (x[:50], y[:50])}
    given |= OPTIONS | {"train_steps": 5}
    made = with_a_student(model_search.fit(x, y, **given))
    after = model_search.fit(x, y, refit=True, **given | {"finish": "both"})
    assert after.final_models == made
    said = capsys.readouterr().err
    assert "refit has no effect" in said and "dropped" not in said
