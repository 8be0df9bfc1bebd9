"""The messages against a table of what the archived system had, and against the `.proto` files."""

import pathlib
import re
import subprocess
import sys

import pytest

from model_search.proto import (
    distillation_spec_pb2,
    ensembling_spec_pb2,
    hparam_pb2,
    phoenix_spec_pb2,
    transfer_learning_spec_pb2,
)
from model_search.spec.text import _is_repeated

PROTO = pathlib.Path(phoenix_spec_pb2.__file__).parent
ROOT = PROTO.parents[1]
MODULES = {
    "distillation_spec": (distillation_spec_pb2, "learning.adanets.phoenix.meta.proto.distillation_spec"),
    "ensembling_spec": (ensembling_spec_pb2, "learning.adanets.phoenix.proto.ensembling_spec"),
    "hparam": (hparam_pb2, "model_search"),
    "phoenix_spec": (phoenix_spec_pb2, "learning.adanets.phoenix.proto"),
    "transfer_learning_spec": (
        transfer_learning_spec_pb2,
        "learning.adanets.phoenix.meta.proto.transfer_learning_spec",
    ),
}

# message: field=tag type [default]; a "*" after the type: repeated. No default: zero.
TABLE = """
PhoenixSpec: minimum_depth=1 int32 2; maximum_depth=2 int32 30; search_type=3 SearchType UNKNOWN_SEARCH_TYPE
PhoenixSpec: increase_complexity_minimum_trials=4 int32*; problem_type=5 ProblemType UNKNOWN_PROBLEM_TYPE
PhoenixSpec: blocks_to_use=6 string*; apply_dropouts_between_blocks=20 bool; learning_spec=21 LearningSpec
PhoenixSpec: ensemble_spec=22 EnsemblingSpec; lengths_feature_name=23 string lengths; use_synchronous_optimizer=24 bool
PhoenixSpec: user_suggestions=25 TowerSuggestion*; weight_feature_name=26 string; multi_task_spec=27 TaskSpec*
PhoenixSpec: primary_task_name=28 string; cnn_data_format=30 string NHWC; beam_size=31 int32 1
PhoenixSpec: increase_complexity_probability=32 float 1.0; transfer_learning_spec=33 TransferLearningSpec
PhoenixSpec: use_parameter_scaled_training=34 bool; use_auxiliary_head=35 bool; auxiliary_head_loss_weight=36 float
PhoenixSpec: mutate_probability=37 float; crossover_probability=38 float; random_architecture_probability=39 float
PhoenixSpec: num_blocks_in_cell=40 int32 4; reduction_block_type=41 string DOWNSAMPLE_CONVOLUTION_3X3
PhoenixSpec: replicate_cell=42 bool; linear_model=43 LinearModelSpec; distillation_spec=45 DistillationSpec
PhoenixSpec: is_input_shared=46 bool; replay=47 ArchitectureReplay; temperature=48 float 1.0
PhoenixSpec: disable_last_dense_layer=50 bool; pass_label_dict_as_is=51 bool; merge_losses_of_multitask=52 bool
PhoenixSpec: position_choices=1000 PositionChoices*; stages=1001 Stage*; identity_blocks=1002 string*
PhoenixSpec: random_baseline_share=1003 float; starting_points=1004 bool true
PhoenixSpec: search=1005 string; search_settings=1006 HParamDef; planner_rules=1007 string*; augmentations=1008 string*
PhoenixSpec: input_towers=1009 InputTower*
InputTower: input_name=1 string; architecture=2 string*; blocks_to_use=3 string*; shares_weights_with=4 string
PhoenixSpec: evolution=1010 EvolutionSpec; local_search=1012 LocalSearchSpec
PhoenixSpec: simulated_annealing=1011 SimulatedAnnealingSpec; gaussian_process=1013 GaussianProcessSpec
PhoenixSpec: reinforce=1014 ReinforceSpec
PositionChoices: blocks=1 string*
PhoenixSpec: evaluation_schedule=1100 EvaluationSchedule; tuning=1101 TuningSpec
PhoenixSpec: final_training=1102 FinalTraining; trial_limits=1103 TrialLimits; cell=1200 CellSpec
CellSpec: nodes=1 int32 3; operations=2 string*; repeats=3 int32 1; reductions=4 int32 1; channels=5 int32*
CellSpec: stem_stride=6 int32 1; units=7 int32*; layers=8 int32; heights=9 int32*; widths=10 int32*
CellSpec: filters=11 int32*; strides=12 int32*
PhoenixSpec: morphisms=1120 MorphismSpec
MorphismSpec: steps_share=1 float 0.33
EvaluationSchedule: kind=1 Kind FULL; reduction_factor=2 int32 3; minimum_share=3 float 0.1; fidelity=4 Fidelity STEPS
EvaluationSchedule: stopping=5 Stopping NONE; grace_steps=6 int32
EvaluationSchedule: schedule=1000 string; stopping_rule=1001 string
TuningSpec: trials=1 int32; architectures=2 int32 3
FinalTraining: time_share=1 float; towers=2 int32 1; one_cycle=3 bool true
TrialLimits: seconds=1 float; parameters_at_most=2 int64; megabytes=3 float
Stage: first=1 int32; last=2 int32; blocks=3 string*; first_changes_shape=4 bool true
EvolutionSpec: population_size=1 int32 50; sample_size=2 int32 10
SimulatedAnnealingSpec: initial_temperature=1 float 1.0; cooling=2 float 0.97
LocalSearchSpec: random_starts=1 int32 1
GaussianProcessSpec: acquisition=1 Acquisition UPPER_CONFIDENCE_BOUND; exploration=2 float 2.0
GaussianProcessSpec: trials_before_fit=3 int32 10
ReinforceSpec: reward=1 Reward STANDARDIZED; entropy_weight=2 float 0.01; controller_learning_rate=3 float 0.02
ReinforceSpec: hidden_units=4 int32 32; update_every=5 int32 5; replicas=6 int32 1; memory_weight=7 float
LearningSpec: apply_exponential_decay=1 bool; min_decay_times=2 int32 1; max_decay_times=3 int32 5
LearningSpec: min_learning_rate_decay_rate=4 float 0.75; max_learning_rate_decay_rate=5 float 0.95
LearningSpec: apply_gradient_clipping=6 bool; min_gradient_norm_when_clipping=7 int32 2
LearningSpec: max_gradient_norm_when_clipping=8 int32 5; apply_l2_regularization=9 bool
LearningSpec: min_l2_regularization=10 float; max_l2_regularization=11 float 0.05; lr_warmup_steps=12 int32
LearningSpec: min_dropout=13 float 0.1; max_dropout=14 float 0.6
LearningSpec: learning_rate_range=1000 LearningRateRange*; optimizers=1001 string*; apply_momentum=1002 bool
LearningSpec: min_momentum=1003 float 0.8; max_momentum=1004 float 0.98; apply_weight_decay=1005 bool
LearningSpec: min_weight_decay=1006 float 1e-6; max_weight_decay=1007 float 1e-2; batch_sizes=1008 int32*
LearningSpec: no_dropout_share=1009 float 0.5; cooldown_share=1010 float 0.5; schedules=1011 string*
LearningSpec: warmup_shares=1012 float*; beta2s=1013 float*; kernel_decays=1014 float*; label_smoothings=1015 float*
LearningSpec: class_balances=1016 float*
LearningRateRange: optimizer=1 string; minimum=2 float; maximum=3 float
TowerSuggestion: architecture=1 string*; hparams=2 HParamDef; cells=1000 string
ArchitectureReplay: towers=1 TowerSuggestion*
TaskSpec: label_name=1 string; number_of_classes=2 int32 2; architecture=3 string*; weight_feature_name=4 string
TaskSpec: weight_is_a_feature=5 bool true; apply_activation_on_shared_logits=7 bool true; loss_weight=1000 float 1.0
LinearModelSpec: network_alignment=1 NetworkAlignment NET_ALIGN_HEAD; ridge_penalty=2 float 0.001
LinearModelSpec: remove_outliers=3 bool true; trials_before_fit=4 int32 10
EnsemblingSpec: freeze_previous=1 bool true; combining_type=2 CombiningType AVERAGE_ENSEMBLE
EnsemblingSpec: ensemble_search_type=3 EnsembleSearchType UNKNOWN_ENSEMBLE_SEARCH
EnsemblingSpec: nonadaptive_search=4 NonadaptiveSearchSpec; adaptive_search=5 AdaptiveSearchSpec
EnsemblingSpec: intermixed_search=6 IntermixedSearchSpec; no_train_speedup=7 int32 100
NonadaptiveSearchSpec: width=1 int32 3; minimal_pool_size=2 int32 100; num_trials_to_consider=3 int32 10
AdaptiveSearchSpec: increase_width_every=1 int32 5; minimal_pool_size=2 int32 100
IntermixedSearchSpec: width=1 int32 3; try_ensembling_every=2 int32 5; num_trials_to_consider=3 int32 10
DistillationSpec: distillation_type=1 DistillationType UNKNOWN_DISTILLATION_TYPE; minimal_pool_size=2 int32 100
DistillationSpec: temperature=3 float 1.0; balance_losses_spec=5 BalanceLossesSpec
BalanceLossesSpec: num_ramp_trials=1 int32; minimum_lambda=2 float 1.0; maximum_lambda=3 float 1.0
TransferLearningSpec: transfer_learning_type=1 TransferLearningType UNKNOWN_TRANSFER_LEARNING_TYPE
TransferLearningSpec: previous_trials_discount_factor=2 float 1.0; max_completed_trials=3 int32 1000000
HParamDef: hparam=1 HparamEntry*
HParamType: int64_value=1 int64; float_value=2 float; bytes_value=3 bytes; int64_list=4 Int64List
HParamType: float_list=5 FloatList; bytes_list=6 BytesList; bool_value=7 bool; bool_list=8 BoolList
HparamEntry: key=1 string; value=2 HParamType
Int64List: value=1 int64*
FloatList: value=1 float*
BytesList: value=1 bytes*
BoolList: value=1 bool*
"""

ENUMS = {
    "SearchType": {
        "UNKNOWN_SEARCH_TYPE": 0,
        "ADAPTIVE_COORDINATE_DESCENT": 1,
        "NONADAPTIVE_RANDOM_SEARCH": 2,
        "HARMONICA_SEARCH": 4,
        "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT": 6,
        "LINEAR_MODEL": 7,
        "GRID_SEARCH": 1000,
        "REGULARIZED_EVOLUTION": 1001,
        "SIMULATED_ANNEALING": 1002,
        "LOCAL_SEARCH": 1003,
        "GAUSSIAN_PROCESS": 1004,
        "REINFORCE": 1005,
        "PREDICTOR_GUIDED_BEAM": 1100,
    },
    "Acquisition": {"UPPER_CONFIDENCE_BOUND": 0, "EXPECTED_IMPROVEMENT": 1},
    "Kind": {"FULL": 0, "SUCCESSIVE_HALVING": 1, "HYPERBAND": 2, "ASHA": 3},
    "Fidelity": {"STEPS": 0, "ROWS": 1},
    "Stopping": {"NONE": 0, "MEDIAN": 1, "LEARNING_CURVE": 2},
    "Reward": {"STANDARDIZED": 0, "RANK": 1, "CUBE": 2},
    "ProblemType": {
        "UNKNOWN_PROBLEM_TYPE": 0,
        "CNN": 1,
        "DNN": 2,
        "RNN_ALL_ACTIVATIONS": 3,
        "RNN_LAST_ACTIVATIONS": 4,
    },
    "NetworkAlignment": {"NET_ALIGN_UNSPECIFIED": 0, "NET_ALIGN_HEAD": 1, "NET_ALIGN_BASE": 2},
    "CombiningType": {"UNKNOWN_ENSEMBLING_TYPE": 0, "WEIGHTED_ENSEMBLE": 1, "AVERAGE_ENSEMBLE": 2},
    "EnsembleSearchType": {
        "UNKNOWN_ENSEMBLE_SEARCH": 0,
        "ADAPTIVE_ENSEMBLE_SEARCH": 1,
        "NONADAPTIVE_ENSEMBLE_SEARCH": 2,
        "RESIDUAL_ENSEMBLE_SEARCH": 3,
        "INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH": 4,
    },
    "DistillationType": {
        "UNKNOWN_DISTILLATION_TYPE": 0,
        "MSE_LOGITS": 1,
        "MSE_SOFTMAX": 2,
        "CROSS_ENTROPY": 3,
        "ADAPTIVELY_BALANCE_LOSSES": 5,
    },
    "TransferLearningType": {
        "UNKNOWN_TRANSFER_LEARNING_TYPE": 0,
        "NO_TRANSFER_LEARNING": 1,
        "UNIFORM_AVERAGE_TRANSFER_LEARNING": 2,
        "SNAPSHOT_TRANSFER_LEARNING": 3,
        "LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING": 4,
    },
}

ONEOFS = {
    "PhoenixSpec": {
        "search_spec": [
            "linear_model", "evolution", "simulated_annealing", "local_search", "gaussian_process", "reinforce",
        ]
    },
    "EnsemblingSpec": {"search_spec": ["nonadaptive_search", "adaptive_search", "intermixed_search"]},
    "HParamType": {
        "kind": [
            "int64_value", "float_value", "bytes_value", "int64_list", "float_list", "bytes_list", "bool_value",
            "bool_list",
        ]
    },
}  # fmt: skip


def messages():
    found = {}
    waiting = [
        message for module, _ in MODULES.values() for message in module.DESCRIPTOR.message_types_by_name.values()
    ]
    while waiting:
        message = waiting.pop()
        found[message.name] = message
        waiting += message.nested_types
    return found


def enums():
    return {enum.name: enum for message in messages().values() for enum in message.enum_types}


def table():
    rows = {}
    for line in TABLE.strip().splitlines():
        message, fields = line.split(": ")
        for field in fields.split("; "):
            name, rest = field.split("=")
            rows[message, name] = rest.split(" ")
    return rows


def test_every_field_is_in_the_table_and_the_other_way_round():
    fields = {(message.name, field.name) for message in messages().values() for field in message.fields}
    assert fields == set(table())


@pytest.mark.parametrize(("message", "name"), table())
def test_tag_type_and_default(message, name):
    tag, kind, *default = table()[message, name]
    field = messages()[message].fields_by_name[name]
    named = field.message_type or field.enum_type
    types = {1: "double", 2: "float", 3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}
    assert field.number == int(tag)
    assert (named.name if named else types[field.type]) + "*" * _is_repeated(field) == kind
    if _is_repeated(field) or field.message_type:
        return
    value = field.enum_type.values_by_number[field.default_value].name if field.enum_type else field.default_value
    if isinstance(value, bool):
        value = "true" if value else ""
    if default and isinstance(value, int | float):
        assert value == pytest.approx(float(default[0]), rel=1e-6)
    else:
        assert str(value or "") == "".join(default) or (not default and value in (0, b""))


@pytest.mark.parametrize("name", ENUMS)
def test_enum_numbers(name):
    assert {value.name: value.number for value in enums()[name].values} == ENUMS[name]


def test_there_are_no_other_enums_and_the_oneofs_are_the_archived_ones():
    assert set(enums()) == set(ENUMS)
    oneofs = {
        name: {oneof.name: [field.name for field in oneof.fields] for oneof in message.oneofs}
        for name, message in messages().items()
        if message.oneofs
    }
    assert oneofs == ONEOFS


@pytest.mark.parametrize("stem", MODULES)
def test_packages(stem):
    module, package = MODULES[stem]
    assert module.DESCRIPTOR.package == package
    assert module.DESCRIPTOR.name == f"model_search/proto/{stem}.proto"


def test_removed_tags_stay_reserved():
    from google.protobuf import descriptor_pb2

    described = descriptor_pb2.DescriptorProto()
    phoenix_spec_pb2.PhoenixSpec.DESCRIPTOR.CopyToProto(described)
    reserved = {tag for given in described.reserved_range for tag in range(given.start, given.end)}
    assert reserved == {8, 29}


def shown(field):
    """The default of a field as the `.proto` file may show it; None where that has nothing to say."""
    if not field.has_default_value:
        return None
    if field.enum_type is not None:
        return field.enum_type.values_by_number[field.default_value].name
    if isinstance(field.default_value, bool):
        return str(field.default_value).lower()
    return field.default_value if isinstance(field.default_value, str) else f"{field.default_value:.6g}"


def written_default(text):
    value = text.strip().strip('"')
    return f"{float(value):.6g}" if re.fullmatch(r"[0-9.e-]+", value) else value


@pytest.mark.parametrize("stem", MODULES)
def test_the_generated_code_is_that_of_the_proto_file(stem):
    """Every `name = number [default]` of the file is in the descriptors, and nothing else is."""
    text = re.sub(r"//[^\n]*", "", (PROTO / f"{stem}.proto").read_text())
    written = {
        (name, number, written_default(default) if default else None)
        for name, number, default in re.findall(r"(\w+)\s*=\s*(\d+)\s*(?:\[default = ([^\]]*)\])?;", text)
    }
    waiting = list(MODULES[stem][0].DESCRIPTOR.message_types_by_name.values())
    generated = set()
    while waiting:
        message = waiting.pop()
        if message.GetOptions().map_entry:
            continue
        waiting += message.nested_types
        generated |= {(field.name, str(field.number), shown(field)) for field in message.fields}
        generated |= {(value.name, str(value.number), None) for enum in message.enum_types for value in enum.values}
    assert written == generated


@pytest.mark.parametrize("stem", MODULES)
def test_the_generated_code_runs_with_the_oldest_protobuf_that_is_supported(stem):
    generated = (PROTO / f"{stem}_pb2.py").read_text()
    assert re.search(r"# Protobuf Python Version: 5\.29\.", generated)


def test_the_warning_of_protobuf_6_about_our_generated_code_is_not_shown():
    """protobuf 6 finds code of version 5 outdated; its warning about other packages still shows."""
    warning = (
        "Protobuf gencode version 5.29.0 is exactly one major version older at {}/phoenix_spec.proto. Please update"
    )
    code = (
        "import sys, warnings, model_search.proto\n"
        f"warnings.warn({warning.format('model_search/proto')!r})\n"
        f"warnings.warn({warning.format('other')!r})\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "at other/" in ran.stderr
    assert "at model_search/proto" not in ran.stderr
