"""Towers that start from the weights of others: of the same study, of another one, of a stock Keras model."""

import keras
import numpy as np
import pytest

from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import StudyError, UserError
from model_search.metadata.trial import StartKind
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.proto.transfer_learning_spec_pb2 import TransferLearningSpec
from model_search.study import load_study
from model_search.trainers.starting.given_models import fit_of_given, given_settings, given_towers, read_given

DENSE = "FIXED_OUTPUT_FULLY_CONNECTED_64"
SMALL = "FULLY_CONNECTED_PYRAMID"


def rows(count=120):
    features = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return features, (features[:, 0] * features[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def provider():
    return array_data.Provider(*rows())


def search(root, provider, number_models=4, kind="NO", **options):
    spec = PhoenixSpec(search="NONADAPTIVE_RANDOM_SEARCH", blocks_to_use=[DENSE, SMALL], maximum_depth=3)
    transfer = f"{kind}_TRANSFER_LEARNING"
    spec.transfer_learning_spec.transfer_learning_type = TransferLearningSpec.TransferLearningType.Value(transfer)
    spec.transfer_learning_spec.previous_trials_discount_factor = 0.9
    arguments = {"experiment_name": kind, "seed": 2, "progress": False, "finish": "neither"} | options
    trainer = single_trainer.SingleTrainer(provider, spec)
    return trainer.try_models(number_models, 12, None, root, 16, experiment_owner="", **arguments)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, provider):
    return search(tmp_path_factory.mktemp("transfer"), provider, kind="LOSS_WEIGHTED_AVERAGE")


def test_a_trial_that_starts_from_others_is_recorded_drawn_and_run_again(averaged, provider):
    last = averaged.trial(4)
    assert last.plan.start.kind is StartKind.AVERAGE and len(last.plan.start.trials) > 1
    assert averaged.replay(4, provider).same
    assert "starts from the mean of what fits of trials" in averaged.report().read_text(encoding="utf-8")


def test_another_study_and_a_stock_model_give_their_weights(averaged, provider, tmp_path):
    plain = search(tmp_path, provider, 1)
    study = search(tmp_path, provider, 2, experiment_name="next", warm_start_from=averaged)
    starts = [trial.plan.start for trial in study.trials]
    assert {start.kind for start in starts} == {StartKind.GIVEN}
    assert study.trial(1).plan.architecture == plain.trial(1).plan.architecture
    assert study.trial(1).result.curve[0] != plain.trial(1).result.curve[0]
    assert study.replay(2, provider).same
    stock = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)])
    stock.save(tmp_path / "stock.keras")
    fit = search(tmp_path, provider, 1, experiment_name="stock", warm_start_from=tmp_path / "stock.keras")
    assert fit.trial(1).plan.start.source == "model"
    again = search(tmp_path, provider, 2, experiment_name="stock")  # the study has kept it
    assert again.trial(2).plan.start.source == "model" and again.replay(2, provider).same
    with pytest.raises(StudyError, match=r"starts its towers from .*stock\.keras; leave warm_start_from out"):
        search(tmp_path, provider, 3, experiment_name="stock", warm_start_from=averaged.folder)


def test_a_search_says_how_many_towers_began_with_given_weights(averaged, provider, tmp_path, capfd):
    study = search(tmp_path, provider, 2, experiment_name="some", warm_start_from=averaged, progress=True)
    taken = [trial.result.environment["taken_over"] for trial in study.trials]
    assert min(taken) > 0
    shown = f"2 of 2 towers began with weights of the best towers of study 'LOSS_WEIGHTED_AVERAGE' (up to {max(taken)} "
    assert shown in capfd.readouterr().err
    stock = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Conv2D(3, 3, name="other")], name="pictures")
    none = search(tmp_path, provider, 2, experiment_name="none", warm_start_from=stock)
    assert [trial.result.environment["taken_over"] for trial in none.trials] == [0, 0]
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "warm_start_from" in line]
    assert "none of the 2 towers of this search began with weights of the Keras model pictures" in said


def test_towers_without_a_block_in_common_with_given_ones_count_as_such(averaged):
    settings = given_settings(read_given(averaged), {})
    history = averaged.history
    assert fit_of_given({}, history) is None
    none = {"given": settings["given"] | {"towers": [{"name": "1", "blocks": ["SWISH"]}]}}
    found = fit_of_given(none, history)
    assert found.is_none and len(found.taken_over) == sum(trial.plan.start is None for trial in history.completed) > 0


def test_a_tower_that_was_grown_begins_as_its_parent_and_is_run_again(tmp_path, provider):
    spec = PhoenixSpec(
        search="ADAPTIVE_COORDINATE_DESCENT", blocks_to_use=[DENSE], minimum_depth=1, maximum_depth=3,
        increase_complexity_minimum_trials=[0, 0, 0],
    )  # fmt: skip
    spec.morphisms.steps_share = 0.5
    trainer = single_trainer.SingleTrainer(provider, spec)
    study = trainer.try_models(
        2, 12, None, tmp_path, 16, "morphisms", "", seed=2, progress=False, finish="neither", members="networks"
    )
    parent, child = study.trials
    assert child.plan.start.kind is StartKind.MORPH and child.plan.steps == 6
    assert len(child.plan.architecture) == len(parent.plan.architecture) + 1
    assert child.result.environment["began"] == "as the function of 1"
    assert study.replay(2, provider).same
    assert "begins as the function of trial 1, if it can" in study.report().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "is a int; expected a Study"),
        ("nowhere", "expected the folder of a study"),
        (keras.Sequential(), "no weights"),
    ],
)
def test_what_is_no_trained_model_is_refused(source, message):
    with pytest.raises(UserError, match=message):
        read_given(source)


def test_a_damaged_file_is_no_model(tmp_path):
    (tmp_path / "cut.keras").write_bytes(b"PK")
    with pytest.raises(UserError, match="cannot be read"):
        read_given(tmp_path / "cut.keras")


def test_the_same_models_may_be_given_again(averaged):
    first, again = read_given(averaged), read_given(str(averaged.folder))
    settings = given_settings(first, {})
    assert given_settings(again, settings) == given_settings(None, settings) == settings
    assert given_towers(settings)[0].name == str(averaged.best_trial.id)
    assert given_towers({}) == ()


def test_a_study_whose_files_are_elsewhere_gives_its_weights(tmp_path, provider):
    place = str(tmp_path / "files")
    source = search(tmp_path, provider, 1, experiment_name="source", artefacts=place)
    for found in (
        read_given(source),
        read_given(source, str(tmp_path / "others")),
        read_given(source.folder, place),
        read_given(load_study(tmp_path, "source"), place),
    ):
        assert [tower.name for tower in found.towers] == ["1"]
    with pytest.raises(StudyError, match=r"keeps the files of its trials in .* only if you name it"):
        read_given(source.folder)


def test_a_study_in_its_own_folder_starts_a_search_with_files_elsewhere(averaged, tmp_path):
    assert read_given(averaged.folder, str(tmp_path / "files")).digest == read_given(averaged).digest


def test_weights_of_bfloat16_become_float32():
    dense = keras.layers.Dense(2, dtype="bfloat16")
    given = read_given(keras.Sequential([keras.Input((4,)), dense]))
    kernel, bias = given.arrays.values()
    assert kernel.dtype == bias.dtype == np.float32
    np.testing.assert_array_equal(kernel, np.asarray(dense.get_weights()[0], np.float32))


@pytest.mark.parametrize("stored", [3, {"towers": 3}, {"towers": [{"name": 1, "blocks": []}]}, {"towers": [{}]}])
def test_damaged_settings_are_told(stored):
    with pytest.raises(StudyError, match="are damaged: given is"):
        given_towers({"given": stored})
