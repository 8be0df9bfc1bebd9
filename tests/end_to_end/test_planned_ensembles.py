"""What the planner asks for, the engine carries out: ensembles, students and replays on real data."""

import pytest

from model_search import single_trainer
from model_search.data import csv_data
from model_search.metadata.trial import TrialState

BASE = """
minimum_depth: 1 maximum_depth: 3 search_type: ADAPTIVE_COORDINATE_DESCENT problem_type: DNN beam_size: 2
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_64" blocks_to_use: "LOWRANK_1" blocks_to_use: "IDENTITY"
"""
DISTILLING = "distillation_spec { distillation_type: %s minimal_pool_size: 2 }"
SPECS = {
    "distillation alone": DISTILLING % "MSE_LOGITS",
    "nonadaptive, tuned": "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH freeze_previous: false "
    "nonadaptive_search { minimal_pool_size: 3 width: 2 } }" + DISTILLING % "MSE_SOFTMAX",
    "adaptive, weighted": "ensemble_spec { ensemble_search_type: ADAPTIVE_ENSEMBLE_SEARCH combining_type: "
    "WEIGHTED_ENSEMBLE adaptive_search { minimal_pool_size: 1 increase_width_every: 1 } }",
    "residual": "ensemble_spec { ensemble_search_type: RESIDUAL_ENSEMBLE_SEARCH adaptive_search { minimal_pool_size: 1 "
    "increase_width_every: 2 } }" + DISTILLING % "CROSS_ENTROPY",
    "intermixed": "ensemble_spec { ensemble_search_type: INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH intermixed_search { "
    "try_ensembling_every: 3 width: 2 } }" + DISTILLING % "ADAPTIVELY_BALANCE_LOSSES",
}
KINDS = {
    "distillation alone": ["search", "search", "distillation", "search", "distillation"],
    "nonadaptive, tuned": ["search", "search", "distillation", "ensemble", "distillation"],
    "adaptive, weighted": ["search", *["ensemble"] * 4],
    "residual": ["search", "ensemble", "distillation", "ensemble", "distillation"],
    "intermixed": ["search", "search", "ensemble", "distillation", "search"],
}


def _run(tmp_path, cancer_csv, spec, number_models=5):
    path = tmp_path / "spec.pbtxt"
    path.write_text(BASE + spec)
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    return single_trainer.SingleTrainer(data=provider, spec=str(path)).try_models(
        number_models=number_models,
        train_steps=30,
        eval_steps=10,
        root_dir=tmp_path,
        batch_size=32,
        experiment_name="study",
        experiment_owner="tests",
        seed=1,
        progress=False,
    )


@pytest.mark.parametrize("name", SPECS)
def test_every_kind_of_trial_is_carried_out_and_predicts(name, tmp_path, cancer_csv):
    study = _run(tmp_path, cancer_csv, SPECS[name])
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETED] * 5
    assert [trial.plan.kind.value for trial in study.trials] == KINDS[name]
    for trial in study.trials[2:]:
        assert len(study.predict(str(cancer_csv), trial.id)) == 569


def test_a_replay_trains_its_towers_whatever_number_of_models_is_asked_for(tmp_path, cancer_csv):
    tower = (
        "towers { architecture: '%s' hparams { hparam { key: 'optimizer' value { bytes_value: 'adam' } } "
        "hparam { key: 'learning_rate' value { float_value: 0.01 } } } }"
    )
    towers = " ".join(tower % name for name in ("LOWRANK_1", "FIXED_OUTPUT_FULLY_CONNECTED_64", "no_search"))
    ensemble = "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH }"
    study = _run(tmp_path, cancer_csv, f"{ensemble} replay {{ {towers} }}", number_models=20)
    assert [trial.plan.kind.value for trial in study.trials] == ["replay"] * 3
    assert [trial.plan.architecture for trial in study.trials[:2]] == [
        ("LOWRANK_1",),
        ("FIXED_OUTPUT_FULLY_CONNECTED_64",),
    ]
    assert study.trials[2].plan.members == (1, 2)
    assert study.trials[1].plan.hyperparameters["learning_rate"] == 0.01
    assert len(study.predict(str(cancer_csv), 3)) == 569
