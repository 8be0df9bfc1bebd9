"""Every check, with the place that it names."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search import constants
from model_search.blocks import catalogue
from model_search.problem import problem_types
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec, TaskSpec
from model_search.spec import supported
from model_search.spec.check import check
from model_search.spec.searches import message_owners, readers
from model_search.spec.text import parse

FIRST = 'blocks_to_use: "IDENTITY"\n'


def found(text, severity="error"):
    parsed = parse(FIRST + text)
    assert parsed.problems == ()
    return [problem for problem in check(parsed.spec, parsed.positions) if problem.severity == severity]


RANGE = "the minimum must not be above the maximum"

DISTILLING = "distillation_spec { distillation_type: ADAPTIVELY_BALANCE_LOSSES "
EVOLUTION = "search_type: REGULARIZED_EVOLUTION "
PROCESS = "search_type: GAUSSIAN_PROCESS "
CELLS = "search_type: CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT "
ANNEALING = "search_type: SIMULATED_ANNEALING "

ERRORS = [
    ("minimum_depth: 0", 2, 16, "minimum_depth is 0; expected at least 1."),
    ("maximum_depth: 1", 2, 16, "maximum_depth is 1; expected at least 1 and minimum_depth (2)."),
    ("minimum_depth: 31", 2, 16, "maximum_depth is 30; expected at least 1 and minimum_depth (31)."),
    ("beam_size: 0", 2, 12, "beam_size is 0; expected at least 1."),
    ("increase_complexity_probability: 1.1", 2, 34, "is 1.1; expected a probability from 0 to 1."),
    ("increase_complexity_probability: nan", 2, 34, "is nan; expected a probability"),
    ("mutate_probability: -0.5", 2, 21, "mutate_probability is -0.5; expected a probability"),
    ("crossover_probability: 2", 2, 24, "crossover_probability is 2; expected a probability"),
    ("random_architecture_probability: 2", 2, 34, "random_architecture_probability is 2; expected"),
    ("random_baseline_share: 1.5", 2, 24, "random_baseline_share is 1.5; expected a share from 0 to 1."),
    ("temperature: 0", 2, 14, "temperature is 0; expected more than 0."),
    ("temperature: nan", 2, 14, "temperature is nan"),
    ("linear_model { }", 2, 1, "linear_model does not fit search_type PREDICTOR_GUIDED_BEAM; it is for"),
    ("search_type: LINEAR_MODEL linear_model { ridge_penalty: -1 }", 2, 57, "ridge_penalty is -1; expected at least"),
    ("search_type: LINEAR_MODEL linear_model { trials_before_fit: 0 }", 2, 61, "trials_before_fit is 0; expected at"),
    (CELLS + "num_blocks_in_cell: 0", 2, 74, "num_blocks_in_cell is 0; expected at least 1."),
    (CELLS + "reduction_block_type: 'NO'", 2, 76, "There is no block 'NO'"),
    (
        CELLS + "minimum_depth: 2 maximum_depth: 2 stages { last: 1 }",
        2, 88, "stages do not go with CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT, which has cells.",
    ),
    (EVOLUTION + "evolution { sample_size: 0 }", 2, 61, "sample_size is 0; expected at least 1."),
    (EVOLUTION + "evolution { population_size: 9 }", 2, 65, "population_size is 9; expected at least sample_size (10)"),
    (ANNEALING + "simulated_annealing { initial_temperature: 0 }", 2, 77, "initial_temperature is 0; expected more"),
    (ANNEALING + "simulated_annealing { cooling: 1.5 }", 2, 65, "cooling is 1.5; expected a factor above 0 and at"),
    ("search_type: LOCAL_SEARCH local_search { random_starts: 0 }", 2, 57, "random_starts is 0; expected at least 1."),
    (PROCESS + "gaussian_process { trials_before_fit: 1 }", 2, 69, "trials_before_fit is 1; expected at least 2."),
    (PROCESS + "gaussian_process { exploration: -1 }", 2, 63, "exploration is -1; expected 0 or more"),
    ("evaluation_schedule { reduction_factor: 1 }", 2, 41, "reduction_factor is 1; expected at least 2."),
    ("evaluation_schedule { minimum_share: 0 }", 2, 38, "minimum_share is 0; expected a share above 0"),
    ("evaluation_schedule { minimum_share: 2 }", 2, 38, "minimum_share is 2; expected a share above 0"),
    ("evaluation_schedule { grace_steps: -1 }", 2, 36, "grace_steps is -1; expected at least 0."),
    ("tuning { trials: -1 }", 2, 18, "trials is -1; expected at least 0."),
    ("tuning { architectures: 0 }", 2, 25, "architectures is 0; expected at least 1."),
    ("search_type: REINFORCE reinforce { entropy_weight: -1 }", 2, 52, "entropy_weight is -1; expected at least 0."),
    ("search_type: REINFORCE reinforce { hidden_units: 0 }", 2, 50, "hidden_units is 0; expected at least 1."),
    (
        "search_type: REINFORCE reinforce { controller_learning_rate: 0 }",
        2, 62, "controller_learning_rate is 0; expected more than 0.",
    ),
    ("search_type: LOCAL_SEARCH evolution { }", 2, 27, "evolution does not fit search_type LOCAL_SEARCH; it is for RE"),
    ("maximum_depth: 2\nincrease_complexity_minimum_trials: [1, 2, 3]", 3, 44, "has 3 thresholds and maximum_depth"),
    ("increase_complexity_minimum_trials: [3, 2]", 2, 41, "has 2 after 3; expected thresholds that never fall."),
    ("increase_complexity_minimum_trials: -3", 2, 37, "has -3; expected 0 or more trials."),
    ("blocks_to_use: 'FULY_CONECTED'", 2, 16, "There is no block 'FULY_CONECTED'; the nearest names are FULLY_"),
    ("problem_type: CNN cnn_data_format: ''", 2, 36, "cnn_data_format is ''; expected 'NHWC' or 'NCHW'."),
    ("problem_type: CNN cnn_data_format: 'nchw'", 2, 36, "cnn_data_format is 'nchw'; expected 'NHWC' or 'NCHW'."),
    ("blocks_to_use: 'EMPTY_BLOCK'", 2, 16, "EMPTY_BLOCK is padding"),
    ("user_suggestions { architecture: ['IDENTITY', 'X_Y'] }", 2, 47, "There is no block 'X_Y'"),
    ("user_suggestions { }", 2, 1, "This user suggestion has no blocks"),
    ("user_suggestions { architecture: 'EMPTY_BLOCK' }", 2, 1, "This user suggestion has no blocks"),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam {\nkey: 'optimizer' value {bytes_value: 'a'}}}}",
        3, 18, "The optimizer of a user suggestion is 'a'; expected adagrad, adam, momentum, nesterov, rmsprop or sgd.",
    ),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'optimizer' value { int64_value: 1 }}}}",
        2, 81, "The optimizer of a user suggestion is 1",
    ),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'a' value { } } } }",
        2, 73, "Hyperparameter 'a' of a user suggestion has no value.",
    ),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'a' value { int64_list { } } } } }",
        2, 73, "Hyperparameter 'a' of a user suggestion is a list; expected one value.",
    ),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'a' value { float_value: nan } } } }",
        2, 73, "Hyperparameter 'a' of a user suggestion is nan; expected a finite number.",
    ),
    (
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'a' value { bytes_value: '\\xff' } } } }",
        2, 73, "Hyperparameter 'a' of a user suggestion is not UTF-8 text.",
    ),
    (
        "learning_spec { apply_exponential_decay: true min_learning_rate_decay_rate: 0.96 }",
        2, 77, "min_learning_rate_decay_rate is 0.96 and max_learning_rate_decay_rate is 0.95; " + RANGE,
    ),
    (
        "learning_spec { apply_exponential_decay: true min_learning_rate_decay_rate: 0 }",
        2, 77, "min_learning_rate_decay_rate is 0; expected more than 0 and at most 1.",
    ),
    (
        "learning_spec { apply_exponential_decay: true max_decay_times: 1 }",
        2, 64, "min_decay_times is 1 and max_decay_times is 1; expected 1 <= min_decay_times < max_decay_times",
    ),
    (
        "learning_spec { apply_gradient_clipping: true max_gradient_norm_when_clipping: 1 }",
        2, 80, "min_gradient_norm_when_clipping is 2 and max_gradient_norm_when_clipping is 1; " + RANGE,
    ),
    (
        "learning_spec { apply_gradient_clipping: true min_gradient_norm_when_clipping: 0 }",
        2, 80, "min_gradient_norm_when_clipping is 0; expected at least 1.",
    ),
    ("learning_spec { apply_l2_regularization: true max_l2_regularization: -1 }", 2, 70, "is -1; expected 0 or more."),
    ("learning_spec { apply_l2_regularization: true min_l2_regularization: 1 }", 2, 70, RANGE),
    ("learning_spec { min_dropout: 0.7 } apply_dropouts_between_blocks: true", 2, 30, RANGE),
    ("apply_dropouts_between_blocks: true learning_spec { max_dropout: 1.5 }", 2, 66, "is 1.5; expected from 0 to 1."),
    ("learning_spec { apply_momentum: true min_momentum: 0.99 }", 2, 52, RANGE),
    ("learning_spec { apply_momentum: true max_momentum: 1 }", 2, 52, "is 1; expected at least 0 and below 1."),
    ("learning_spec { apply_weight_decay: true min_weight_decay: 1 }", 2, 60, RANGE),
    ("learning_spec { apply_weight_decay: true max_weight_decay: inf }", 2, 60, "is inf; expected 0 or more."),
    ("learning_spec { lr_warmup_steps: -1 }", 2, 34, "lr_warmup_steps is -1; expected at least 0."),
    ("learning_spec { no_dropout_share: 1.5 }", 2, 35, "no_dropout_share is 1.5; expected a share from 0 to 1."),
    ("learning_spec { cooldown_share: -1 }", 2, 33, "cooldown_share is -1; expected a share"),
    ("learning_spec { batch_sizes: [32, 0] }", 2, 35, "batch_sizes has 0; expected at least 1 row."),
    ("learning_spec { optimizers: ['sgd', 'adm'] }", 2, 37, "There is no optimizer 'adm'; expected adagrad, adam,"),
    ("learning_spec { learning_rate_range { minimum: 1 maximum: 0.1 } }", 2, 17, "goes from 1 to 0.1; expected a"),
    ("learning_spec { learning_rate_range { maximum: 0.1 } }", 2, 17, "goes from 0 to 0.1"),
    (
        "learning_spec { learning_rate_range { optimizer: 'x' minimum: 1 maximum: 1 } }",
        2, 50, "There is no optimizer 'x'; expected adagrad, adam, momentum, nesterov, rmsprop or sgd, or none for all",
    ),
    (
        "learning_spec { learning_rate_range: [{minimum: 1 maximum: 1}, {minimum: 1 maximum: 2}] }",
        2, 64, "This is a second learning_rate_range for all optimizers",
    ),
    (
        "ensemble_spec { ensemble_search_type: ADAPTIVE_ENSEMBLE_SEARCH intermixed_search { } }",
        2, 64, "intermixed_search does not fit ensemble_search_type ADAPTIVE_ENSEMBLE_SEARCH; it is for INTERMIXED_NON",
    ),
    ("ensemble_spec { nonadaptive_search { } }", 2, 17, "does not fit ensemble_search_type UNKNOWN_ENSEMBLE_SEARCH"),
    (
        "ensemble_spec { ensemble_search_type: RESIDUAL_ENSEMBLE_SEARCH adaptive_search { increase_width_every: 0 } }",
        2, 104, "increase_width_every is 0; expected at least 1.",
    ),
    (
        "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH nonadaptive_search {minimal_pool_size: -1}}",
        2, 106, "minimal_pool_size is -1; expected at least 0.",
    ),
    ("distillation_spec { minimal_pool_size: -1 }", 2, 40, "minimal_pool_size is -1; expected at least 0."),
    ("distillation_spec { temperature: 0 }", 2, 34, "temperature of the distillation is 0; expected more than 0."),
    ("transfer_learning_spec { max_completed_trials: 0 }", 2, 48, "max_completed_trials is 0; expected at least 1."),
    (
        "transfer_learning_spec { previous_trials_discount_factor: -1 }",
        2, 59, "previous_trials_discount_factor is -1; expected at least 0.",
    ),
    ("morphisms { steps_share: 0 }", 2, 26, "steps_share is 0; expected a share above 0 and at most 1."),
    (
        "evaluation_schedule { kind: ASHA } morphisms { }",
        2, 36, "morphisms do not go with evaluation_schedule ASHA; expected FULL",
    ),
    (
        "transfer_learning_spec { previous_trials_discount_factor: inf }",
        2, 59, "previous_trials_discount_factor is inf; expected a finite number.",
    ),
    ("multi_task_spec { number_of_classes: 2 }", 2, 1, "This task has no label_name"),
    ("multi_task_spec { label_name: 'a' number_of_classes: 0 }", 2, 54, "number_of_classes is 0; expected at least 1"),
    ("multi_task_spec { label_name: 'a' loss_weight: 0 }", 2, 48, "loss_weight is 0; expected more than 0"),
    ("multi_task_spec { label_name: 'a' architecture: 'NO' }", 2, 49, "There is no block 'NO'"),
    ("multi_task_spec { label_name: 'a' architecture: 'EMPTY_BLOCK' }", 2, 49, "EMPTY_BLOCK is padding"),
    ("multi_task_spec { label_name: 'a' architecture: 'TUNABLE_SVDF' }", 2, 49, "TUNABLE_SVDF has hyperparameters"),
    ("multi_task_spec { label_name: 'a' } primary_task_name: 'b'", 2, 56, "primary_task_name is 'b'; expected one"),
    (
        "multi_task_spec { label_name: 'a' } multi_task_spec { label_name: 'a' }",
        2, 67, "This is a second task of 'a'; give each label once.",
    ),
    ("input_towers { blocks_to_use: 'IDENTITY' }", 2, 1, "This tower has no input_name"),
    ("input_towers { input_name: 'a' } input_towers { input_name: 'a' }", 2, 61, "a second tower of 'a'"),
    ("input_towers { input_name: 'a' architecture: 'NO' }", 2, 46, "There is no block 'NO'"),
    ("input_towers { input_name: 'a' architecture: 'EMPTY_BLOCK' }", 2, 46, "EMPTY_BLOCK is padding"),
    ("input_towers { input_name: 'a' architecture: 'TUNABLE_SVDF' }", 2, 46, "TUNABLE_SVDF has hyperparameters"),
    ("input_towers { input_name: 'a' blocks_to_use: 'LSTM_32' }", 2, 47, "LSTM_32 is no block of the search"),
    ("input_towers { input_name: 'a' shares_weights_with: 'a' }", 2, 53, "expected another input"),
    (
        "input_towers { input_name: 'a' shares_weights_with: 'b' blocks_to_use: 'IDENTITY' }",
        2, 1, "This tower shares the layers of another one",
    ),
    ("use_auxiliary_head: true", 2, 21, "auxiliary_head_loss_weight is 0; expected more than 0"),
    ("replay { }", 2, 1, "replay has no towers; name at least one, or leave replay out."),
    ("replay { towers { architecture: 'NOPE' } }", 2, 33, "There is no block 'NOPE'"),
    ("replay { towers { } }", 2, 10, "This replayed tower has no blocks; name its architecture."),
    ("replay { towers { architecture: 'no_search' } }", 2, 33, "There is no block 'no_search'"),
    (
        "replay { towers { architecture: 'IDENTITY' hparams { hparam { key: 'optimizer' value { bytes_value: 'x' } } } "
        "} }",
        2, 80, "The optimizer of a replayed tower is 'x'; expected",
    ),
    (DISTILLING + "balance_losses_spec { num_ramp_trials: -1 } }", 2, 105, "num_ramp_trials is -1; expected at least"),
    (DISTILLING + "balance_losses_spec { minimum_lambda: -0.5 } }", 2, 104, "minimum_lambda is -0.5; expected 0 or"),
    (
        DISTILLING + "balance_losses_spec { num_ramp_trials: 1 minimum_lambda: 2 } }",
        2, 123, "minimum_lambda is 2 and maximum_lambda is 1; the minimum must not be above",
    ),
    (DISTILLING + "temperature: inf }", 2, 79, "temperature of the distillation is inf; expected more than 0."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS)
def test_an_error_says_what_and_where(text, line, column, message):
    problems = found(text)
    assert [(problem.line, problem.column) for problem in problems] == [(line, column)]
    assert message in problems[0].message
    assert problems[0].message.endswith(".")
    assert str(problems[0]) == f"line {line}, column {column}: {problems[0].message}"


WARNINGS = [
    ("mutate_probability: 0.5", 21, "mutate_probability is not read by PREDICTOR_GUIDED_BEAM; it is for REGUL"),
    ("crossover_probability: 0.5", 24, "crossover_probability is not read"),
    ("random_architecture_probability: 0.5", 34, "random_architecture_probability is not read"),
    ("use_synchronous_optimizer: true", 28, "use_synchronous_optimizer is not read in this version: each trial is"),
    ("cnn_data_format: 'NCHW'", 18, "cnn_data_format is not read: only towers of maps have one."),
    (
        "problem_type: CNN cnn_data_format: 'NCHW'",
        36, "cnn_data_format is 'NCHW'; towers have their channels last on every device, and read a provider's maps as",
    ),
    ("auxiliary_head_loss_weight: 0.4", 29, "auxiliary_head_loss_weight is not read without use_auxiliary_head."),
    (
        "multi_task_spec { label_name: 'a' weight_feature_name: 'w' }",
        56,
        "weight_feature_name of a task is not read: rows weigh what the weights given",
    ),
    ("replicate_cell: true", 17, "replicate_cell is not read by PREDICTOR_GUIDED_BEAM; it is for CONSTRAINED_ADAP"),
    (
        "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH nonadaptive_search { width: 1 } }",
        95, "width is 1 and an ensemble has at least 2 members; trials that would ensemble are search trials.",
    ),
    (
        "ensemble_spec { ensemble_search_type: INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH intermixed_search { "
        "num_trials_to_consider: 1 } }",
        122, "num_trials_to_consider is 1 and an ensemble has at least 2 members",
    ),
    (
        "distillation_spec { distillation_type: MSE_LOGITS balance_losses_spec { } }",
        51, "balance_losses_spec is not read by MSE_LOGITS; it is for ADAPTIVELY_BALANCE_LOSSES.",
    ),
    (
        "replay { towers { architecture: 'IDENTITY' } } distillation_spec { distillation_type: MSE_LOGITS }",
        48, "distillation_spec is not read in a replay.",
    ),
    (
        "replay { towers { architecture: 'IDENTITY' } } user_suggestions { architecture: 'IDENTITY' }",
        48, "user_suggestions is not read in a replay.",
    ),
    (
        "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH } "
        "replay { towers { architecture: 'IDENTITY' } towers { architecture: 'IDENTITY' } }",
        114, "The last tower of this replay stands for the ensemble of the others; its blocks are not built.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "message"), WARNINGS)
def test_what_is_not_done_is_a_warning(text, column, message):
    assert found(text) == []
    (problem,) = found(text, "warning")
    assert (problem.line, problem.column) == (2, column)
    assert message in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "search_type: NONADAPTIVE_RANDOM_SEARCH problem_type: DNN",
        "problem_type: CNN",
        "problem_type: RNN_ALL_ACTIVATIONS",
        "problem_type: RNN_LAST_ACTIVATIONS",
        EVOLUTION + "mutate_probability: 0.5 crossover_probability: 1 random_architecture_probability: 0.1",
        CELLS + "num_blocks_in_cell: 2 replicate_cell: true reduction_block_type: 'LOWRANK_1'",
        "search_type: HARMONICA_SEARCH",
        "search_type: LINEAR_MODEL linear_model { network_alignment: NET_ALIGN_BASE }",
        EVOLUTION + "evolution { population_size: 20 sample_size: 20 }",
        "maximum_depth: 3 increase_complexity_minimum_trials: [0, 5, 5]",
        "minimum_depth: 1 maximum_depth: 1",
        "mutate_probability: 0",
        "use_synchronous_optimizer: false",
        "ensemble_spec { }",
        "distillation_spec { }",
        "distillation_spec { distillation_type: MSE_LOGITS }",
        "ensemble_spec { ensemble_search_type: ADAPTIVE_ENSEMBLE_SEARCH adaptive_search {} }",
        "replay { towers { architecture: 'IDENTITY' } towers { architecture: 'IDENTITY' } }",
        "ensemble_spec { ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH } "
        "replay { towers { architecture: 'IDENTITY' } towers { architecture: 'no_search' } }",
        "transfer_learning_spec { transfer_learning_type: NO_TRANSFER_LEARNING }",
        "transfer_learning_spec { transfer_learning_type: SNAPSHOT_TRANSFER_LEARNING }",
        "user_suggestions { architecture: ['IDENTITY', 'EMPTY_BLOCK'] hparams { hparam { key: 'optimizer' value "
        "{ bytes_value: 'adam' } } hparam { key: 'learning_rate' value { float_value: 0.1 } } } }",
        "user_suggestions { architecture: 'IDENTITY' hparams { hparam { key: 'initial_architecture' value "
        "{ bytes_list { value: 'LSTM_128' } } } } }",
        "learning_spec { min_dropout: 3 min_l2_regularization: 9 }",  # off
        "learning_spec { learning_rate_range { minimum: 1e-6 maximum: 0.01 } "
        "optimizers: ['momentum', 'sgd', 'adagrad', 'adam', 'rmsprop'] }",
    ],
)
def test_what_is_right_is_left_alone(text):
    assert found(text) == []
    assert found(text, "warning") == []


def test_no_blocks_at_all():
    (problem,) = check(PhoenixSpec())
    assert problem.message == "blocks_to_use is empty; name at least one block."
    assert str(problem) == problem.message


def test_a_message_without_text_is_checked_without_places():
    problems = check(PhoenixSpec(blocks_to_use=["NO"], beam_size=0))
    assert {(problem.line, problem.column) for problem in problems} == {(None, None)}
    assert len(problems) == 2


def test_everything_is_told_at_once_in_the_order_of_the_text():
    text = "beam_size: 0\nblocks_to_use: 'NO'\nminimum_depth: 0\nuse_synchronous_optimizer: true\n"
    parsed = parse(text + "linear_model { }")
    problems = check(parsed.spec, parsed.positions)
    assert [problem.line for problem in problems] == [1, 2, 3, 4, 5]


@given(st.lists(st.sampled_from([*catalogue.names()[:40], "NOPE", "EMPTY_BLOCK"]), min_size=1, max_size=6))
def test_blocks_that_are_not_known_are_named(blocks):
    messages = [problem.message for problem in check(PhoenixSpec(blocks_to_use=blocks))]
    assert len(messages) == sum(not catalogue.is_known(name) for name in blocks)
    assert all(re.search("no block 'NOPE'|EMPTY_BLOCK is padding", message) for message in messages)


@given(st.floats(width=32))
def test_a_probability_is_from_0_to_1(value):
    problems = check(PhoenixSpec(blocks_to_use=["IDENTITY"], increase_complexity_probability=value))
    assert (not problems) == (not math.isnan(value) and 0 <= value <= 1)


def test_the_tables_speak_of_names_that_exist():
    fields = set(PhoenixSpec.DESCRIPTOR.fields_by_name)
    assert set(supported.UNREAD) | set(message_owners()) <= fields
    assert set(supported.UNREAD_OF_TASKS) <= set(TaskSpec.DESCRIPTOR.fields_by_name)
    reading = set().union(*message_owners().values(), *readers().values())
    assert reading <= set(PhoenixSpec.SearchType.keys())
    assert {known.name for known in problem_types()} == set(PhoenixSpec.ProblemType.keys()) - {"UNKNOWN_PROBLEM_TYPE"}
    searches = set().union(*supported.ENSEMBLE_SEARCH_SPECS.values())
    assert searches == set(EnsemblingSpec.EnsembleSearchType.keys()) - {"UNKNOWN_ENSEMBLE_SEARCH"}
    oneof = EnsemblingSpec.DESCRIPTOR.oneofs_by_name["search_spec"]
    assert set(supported.ENSEMBLE_SEARCH_SPECS) == {field.name for field in oneof.fields}


def test_every_field_is_read_or_told_about():
    """A new field of PhoenixSpec must be decided upon."""
    read = {
        "minimum_depth", "maximum_depth", "search_type", "increase_complexity_minimum_trials", "problem_type",
        "blocks_to_use", "apply_dropouts_between_blocks", "learning_spec", "ensemble_spec", "user_suggestions",
        "beam_size", "increase_complexity_probability", "transfer_learning_spec", "use_parameter_scaled_training",
        "linear_model", "distillation_spec", "replay", "temperature", "disable_last_dense_layer",
        "position_choices", "stages", "identity_blocks", "random_baseline_share",
        "evaluation_schedule", "tuning", "final_training", "trial_limits", "morphisms", "search",
        "search_settings", "planner_rules",
        "augmentations", "cell", "input_towers", "lengths_feature_name", "weight_feature_name",
        "cnn_data_format", "use_auxiliary_head", "auxiliary_head_loss_weight",
        "multi_task_spec", "primary_task_name", "merge_losses_of_multitask",
        *message_owners(), *readers(),
    }  # fmt: skip
    told = set(supported.UNREAD)
    assert not read & told
    assert read | told == set(PhoenixSpec.DESCRIPTOR.fields_by_name)


def test_every_optimizer_that_can_be_named_can_be_trained_with_and_has_a_range():
    from model_search.search.space import hyperparameter_space
    from model_search.training import optimizers

    assert set(hyperparameter_space.DEFAULT_LEARNING_RATES) == set(constants.OPTIMIZERS)
    assert set(optimizers._SLOTS) == set(constants.OPTIMIZERS)


@pytest.mark.parametrize("unread", ["reduction_factor: 2", "minimum_share: 0.5", "fidelity: ROWS", "grace_steps: 5"])
def test_settings_of_a_schedule_that_is_not_asked_for_are_warned_of(unread):
    name = unread.split(":")[0]
    (problem,) = found(f"evaluation_schedule {{ {unread} }}", "warning")
    assert f"{name} is not read" in problem.message
    assert not found(f"evaluation_schedule {{ kind: ASHA stopping: MEDIAN {unread} }}", "warning")
