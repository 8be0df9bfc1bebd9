import pytest

from model_search import constants
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec.load import explain, incompatibilities, load_spec, load_text, warnings_of

BASE = "blocks_to_use: ['IDENTITY', 'LOWRANK_1'] "


def differences(old, new):
    return incompatibilities(load_text(BASE + old), load_text(new if "blocks_to_use" in new else BASE + new))


@pytest.mark.parametrize(
    "new",
    [
        "",
        "beam_size: 3 minimum_depth: 1 maximum_depth: 7 increase_complexity_probability: 0.3",
        "blocks_to_use: ['FULLY_CONNECTED', 'LOWRANK_1', 'IDENTITY']",
        "learning_spec { apply_momentum: true batch_sizes: 3 }",
        "search_type: NONADAPTIVE_RANDOM_SEARCH problem_type: DNN",
        "user_suggestions { architecture: 'IDENTITY' }",
        "lengths_feature_name: 'lengths'",
        "evaluation_schedule { stopping: MEDIAN grace_steps: 3 } tuning { trials: 4 }",
    ],
)
def test_what_only_steers_the_search_may_change(new):
    assert differences("", new) == []


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("disable_last_dense_layer: true", "disable_last_dense_layer was false and is now true."),
        ("weight_feature_name: 'w'", "weight_feature_name was empty and is now 'w'."),
        ("blocks_to_use: 'LOWRANK_2'", "blocks_to_use no longer has IDENTITY, LOWRANK_1."),
        (
            "evaluation_schedule { kind: ASHA }",
            "evaluation_schedule was FULL and is now ASHA by 3 from 0.1 of the STEPS.",
        ),
        ("is_input_shared: true", "is_input_shared was false and is now true."),
    ],
)
def test_what_makes_trials_incomparable_may_not_change(new, message):
    assert differences("", new) == [message]


def test_another_problem_is_another_study():
    old, new = PhoenixSpec(problem_type="CNN"), PhoenixSpec()
    assert incompatibilities(old, new) == ["problem_type was CNN and is now DNN."]


def test_every_difference_is_named():
    assert len(differences("", "disable_last_dense_layer: true weight_feature_name: 'w'")) == 2


def test_the_stock_specification_warns_of_nothing():
    assert warnings_of(load_spec(constants.DEFAULT_DNN)) == []
    assert warnings_of(load_text(BASE)) == []


def test_the_summary_of_an_adaptive_search():
    spec = load_text(
        BASE + "search_type: ADAPTIVE_COORDINATE_DESCENT "
        "beam_size: 4 increase_complexity_probability: 0.3 maximum_depth: 6 apply_dropouts_between_blocks: true "
        "user_suggestions { architecture: 'IDENTITY' } mutate_probability: 0.5 learning_spec { optimizers: 'sgd' "
        "learning_rate_range { minimum: 1e-6 maximum: 0.01 } learning_rate_range { optimizer: 'sgd' minimum: 0.5 "
        "maximum: 1 } apply_l2_regularization: true cooldown_share: 0.25 batch_sizes: [32, 64] "
        "apply_weight_decay: true }"
    )
    assert explain(spec).splitlines() == [
        "Towers for DNN of 2 to 6 blocks.",
        "ADAPTIVE_COORDINATE_DESCENT: one of the best 4 grows with probability 0.3, "
        "else one of its blocks is replaced.",
        "2 blocks: IDENTITY, LOWRANK_1.",
        "Hyperparameters: optimizer (sgd), learning rate 1e-06 to 0.01, 0.5 to 1 for sgd, L2 0 to 0.05, "
        "weight decay 1e-06 to 0.01, dropout 0.1 to 0.6 or none, a learning rate that falls to zero over the last "
        "25% of the steps, batch size 32, 64.",
        "First 1 suggested by you.",
        "mutate_probability is not read by ADAPTIVE_COORDINATE_DESCENT; it is for REGULARIZED_EVOLUTION.",
    ]


def test_the_summary_of_a_search_that_nothing_is_said_about():
    text = explain(load_text(BASE + "beam_size: 3"))
    assert "PREDICTOR_GUIDED_BEAM: of many children of the best 3, the one a predictor" in text


def test_the_summary_of_a_random_search():
    text = explain(load_text(BASE + "search_type: NONADAPTIVE_RANDOM_SEARCH"))
    assert "NONADAPTIVE_RANDOM_SEARCH: every tower is drawn at random, with 2 blocks." in text


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("GRID_SEARCH", "all towers in order"),
        ("REGULARIZED_EVOLUTION", "children of the best of 10, drawn from the last 50 trials."),
        ("SIMULATED_ANNEALING", "a random walk that cools from 1 by 0.97 a trial."),
        ("GAUSSIAN_PROCESS", "after 10 random towers, what a Gaussian process"),
        ("CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT", "as the adaptive beam, in cells of 4 blocks."),
        ("HARMONICA_SEARCH", "towers of 2 blocks that a sparse polynomial"),
        ("LINEAR_MODEL", "after 10 random towers, what a linear model"),
        ("REINFORCE", "towers drawn by a recurrent network of 32 units, which learns from every 5 trials."),
        ("LOCAL_SEARCH", "from 1 random towers to ever better neighbours"),
    ],
)
def test_every_search_is_summarized(search, words):
    assert f"{search}: {words}" in explain(load_text(BASE + f"search_type: {search}"))


def test_the_summary_tells_of_ensembles_students_and_replays():
    spec = load_text(
        BASE + "ensemble_spec { ensemble_search_type: RESIDUAL_ENSEMBLE_SEARCH combining_type: WEIGHTED_ENSEMBLE "
        "freeze_previous: false } distillation_spec { distillation_type: MSE_LOGITS } "
        "replay { towers { architecture: 'IDENTITY' } }"
    )
    lines = explain(spec).splitlines()
    assert "Ensembles: RESIDUAL_ENSEMBLE_SEARCH, weighted, members tuned." in lines
    assert "Students: MSE_LOGITS." in lines
    assert "Nothing is searched; towers to train again: 1." in lines
    assert "Ensembles: INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH, average, members frozen." in explain(
        load_spec(constants.DEFAULT_DNN)
    )


def test_the_summary_tells_how_long_trials_are_trained():
    text = explain(
        load_text(BASE + "evaluation_schedule { kind: HYPERBAND fidelity: ROWS stopping: MEDIAN } tuning { trials: 7 }")
    )
    assert "HYPERBAND: towers begin with 10% or more of the steps, on the same share of the rows; one in 3 goes" in text
    assert "Hopeless trials are stopped early (MEDIAN)." in text
    assert "The last 7 trials tune the hyperparameters of the best 3 architectures." in text
