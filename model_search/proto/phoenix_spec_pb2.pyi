from model_search.proto import distillation_spec_pb2 as _distillation_spec_pb2
from model_search.proto import ensembling_spec_pb2 as _ensembling_spec_pb2
from model_search.proto import hparam_pb2 as _hparam_pb2
from model_search.proto import transfer_learning_spec_pb2 as _transfer_learning_spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LearningRateRange(_message.Message):
    __slots__ = ("optimizer", "minimum", "maximum")
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    optimizer: str
    minimum: float
    maximum: float
    def __init__(self, optimizer: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ...) -> None: ...

class LearningSpec(_message.Message):
    __slots__ = ("apply_exponential_decay", "min_decay_times", "max_decay_times", "min_learning_rate_decay_rate", "max_learning_rate_decay_rate", "apply_gradient_clipping", "min_gradient_norm_when_clipping", "max_gradient_norm_when_clipping", "apply_l2_regularization", "min_l2_regularization", "max_l2_regularization", "lr_warmup_steps", "min_dropout", "max_dropout", "learning_rate_range", "optimizers", "apply_momentum", "min_momentum", "max_momentum", "apply_weight_decay", "min_weight_decay", "max_weight_decay", "batch_sizes", "no_dropout_share", "cooldown_share", "schedules", "warmup_shares", "beta2s", "kernel_decays", "label_smoothings", "class_balances")
    APPLY_EXPONENTIAL_DECAY_FIELD_NUMBER: _ClassVar[int]
    MIN_DECAY_TIMES_FIELD_NUMBER: _ClassVar[int]
    MAX_DECAY_TIMES_FIELD_NUMBER: _ClassVar[int]
    MIN_LEARNING_RATE_DECAY_RATE_FIELD_NUMBER: _ClassVar[int]
    MAX_LEARNING_RATE_DECAY_RATE_FIELD_NUMBER: _ClassVar[int]
    APPLY_GRADIENT_CLIPPING_FIELD_NUMBER: _ClassVar[int]
    MIN_GRADIENT_NORM_WHEN_CLIPPING_FIELD_NUMBER: _ClassVar[int]
    MAX_GRADIENT_NORM_WHEN_CLIPPING_FIELD_NUMBER: _ClassVar[int]
    APPLY_L2_REGULARIZATION_FIELD_NUMBER: _ClassVar[int]
    MIN_L2_REGULARIZATION_FIELD_NUMBER: _ClassVar[int]
    MAX_L2_REGULARIZATION_FIELD_NUMBER: _ClassVar[int]
    LR_WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    MIN_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_RANGE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZERS_FIELD_NUMBER: _ClassVar[int]
    APPLY_MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    MIN_MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    MAX_MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    APPLY_WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MIN_WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    NO_DROPOUT_SHARE_FIELD_NUMBER: _ClassVar[int]
    COOLDOWN_SHARE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    WARMUP_SHARES_FIELD_NUMBER: _ClassVar[int]
    BETA2S_FIELD_NUMBER: _ClassVar[int]
    KERNEL_DECAYS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHINGS_FIELD_NUMBER: _ClassVar[int]
    CLASS_BALANCES_FIELD_NUMBER: _ClassVar[int]
    apply_exponential_decay: bool
    min_decay_times: int
    max_decay_times: int
    min_learning_rate_decay_rate: float
    max_learning_rate_decay_rate: float
    apply_gradient_clipping: bool
    min_gradient_norm_when_clipping: int
    max_gradient_norm_when_clipping: int
    apply_l2_regularization: bool
    min_l2_regularization: float
    max_l2_regularization: float
    lr_warmup_steps: int
    min_dropout: float
    max_dropout: float
    learning_rate_range: _containers.RepeatedCompositeFieldContainer[LearningRateRange]
    optimizers: _containers.RepeatedScalarFieldContainer[str]
    apply_momentum: bool
    min_momentum: float
    max_momentum: float
    apply_weight_decay: bool
    min_weight_decay: float
    max_weight_decay: float
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    no_dropout_share: float
    cooldown_share: float
    schedules: _containers.RepeatedScalarFieldContainer[str]
    warmup_shares: _containers.RepeatedScalarFieldContainer[float]
    beta2s: _containers.RepeatedScalarFieldContainer[float]
    kernel_decays: _containers.RepeatedScalarFieldContainer[float]
    label_smoothings: _containers.RepeatedScalarFieldContainer[float]
    class_balances: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, apply_exponential_decay: bool = ..., min_decay_times: _Optional[int] = ..., max_decay_times: _Optional[int] = ..., min_learning_rate_decay_rate: _Optional[float] = ..., max_learning_rate_decay_rate: _Optional[float] = ..., apply_gradient_clipping: bool = ..., min_gradient_norm_when_clipping: _Optional[int] = ..., max_gradient_norm_when_clipping: _Optional[int] = ..., apply_l2_regularization: bool = ..., min_l2_regularization: _Optional[float] = ..., max_l2_regularization: _Optional[float] = ..., lr_warmup_steps: _Optional[int] = ..., min_dropout: _Optional[float] = ..., max_dropout: _Optional[float] = ..., learning_rate_range: _Optional[_Iterable[_Union[LearningRateRange, _Mapping]]] = ..., optimizers: _Optional[_Iterable[str]] = ..., apply_momentum: bool = ..., min_momentum: _Optional[float] = ..., max_momentum: _Optional[float] = ..., apply_weight_decay: bool = ..., min_weight_decay: _Optional[float] = ..., max_weight_decay: _Optional[float] = ..., batch_sizes: _Optional[_Iterable[int]] = ..., no_dropout_share: _Optional[float] = ..., cooldown_share: _Optional[float] = ..., schedules: _Optional[_Iterable[str]] = ..., warmup_shares: _Optional[_Iterable[float]] = ..., beta2s: _Optional[_Iterable[float]] = ..., kernel_decays: _Optional[_Iterable[float]] = ..., label_smoothings: _Optional[_Iterable[float]] = ..., class_balances: _Optional[_Iterable[float]] = ...) -> None: ...

class TowerSuggestion(_message.Message):
    __slots__ = ("architecture", "hparams", "cells")
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    HPARAMS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    architecture: _containers.RepeatedScalarFieldContainer[str]
    hparams: _hparam_pb2.HParamDef
    cells: str
    def __init__(self, architecture: _Optional[_Iterable[str]] = ..., hparams: _Optional[_Union[_hparam_pb2.HParamDef, _Mapping]] = ..., cells: _Optional[str] = ...) -> None: ...

class ArchitectureReplay(_message.Message):
    __slots__ = ("towers",)
    TOWERS_FIELD_NUMBER: _ClassVar[int]
    towers: _containers.RepeatedCompositeFieldContainer[TowerSuggestion]
    def __init__(self, towers: _Optional[_Iterable[_Union[TowerSuggestion, _Mapping]]] = ...) -> None: ...

class TaskSpec(_message.Message):
    __slots__ = ("label_name", "number_of_classes", "architecture", "weight_feature_name", "weight_is_a_feature", "apply_activation_on_shared_logits", "loss_weight")
    LABEL_NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_OF_CLASSES_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_IS_A_FEATURE_FIELD_NUMBER: _ClassVar[int]
    APPLY_ACTIVATION_ON_SHARED_LOGITS_FIELD_NUMBER: _ClassVar[int]
    LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    label_name: str
    number_of_classes: int
    architecture: _containers.RepeatedScalarFieldContainer[str]
    weight_feature_name: str
    weight_is_a_feature: bool
    apply_activation_on_shared_logits: bool
    loss_weight: float
    def __init__(self, label_name: _Optional[str] = ..., number_of_classes: _Optional[int] = ..., architecture: _Optional[_Iterable[str]] = ..., weight_feature_name: _Optional[str] = ..., weight_is_a_feature: bool = ..., apply_activation_on_shared_logits: bool = ..., loss_weight: _Optional[float] = ...) -> None: ...

class InputTower(_message.Message):
    __slots__ = ("input_name", "architecture", "blocks_to_use", "shares_weights_with")
    INPUT_NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_TO_USE_FIELD_NUMBER: _ClassVar[int]
    SHARES_WEIGHTS_WITH_FIELD_NUMBER: _ClassVar[int]
    input_name: str
    architecture: _containers.RepeatedScalarFieldContainer[str]
    blocks_to_use: _containers.RepeatedScalarFieldContainer[str]
    shares_weights_with: str
    def __init__(self, input_name: _Optional[str] = ..., architecture: _Optional[_Iterable[str]] = ..., blocks_to_use: _Optional[_Iterable[str]] = ..., shares_weights_with: _Optional[str] = ...) -> None: ...

class LinearModelSpec(_message.Message):
    __slots__ = ("network_alignment", "ridge_penalty", "remove_outliers", "trials_before_fit")
    class NetworkAlignment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NET_ALIGN_UNSPECIFIED: _ClassVar[LinearModelSpec.NetworkAlignment]
        NET_ALIGN_HEAD: _ClassVar[LinearModelSpec.NetworkAlignment]
        NET_ALIGN_BASE: _ClassVar[LinearModelSpec.NetworkAlignment]
    NET_ALIGN_UNSPECIFIED: LinearModelSpec.NetworkAlignment
    NET_ALIGN_HEAD: LinearModelSpec.NetworkAlignment
    NET_ALIGN_BASE: LinearModelSpec.NetworkAlignment
    NETWORK_ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    RIDGE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    REMOVE_OUTLIERS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_BEFORE_FIT_FIELD_NUMBER: _ClassVar[int]
    network_alignment: LinearModelSpec.NetworkAlignment
    ridge_penalty: float
    remove_outliers: bool
    trials_before_fit: int
    def __init__(self, network_alignment: _Optional[_Union[LinearModelSpec.NetworkAlignment, str]] = ..., ridge_penalty: _Optional[float] = ..., remove_outliers: bool = ..., trials_before_fit: _Optional[int] = ...) -> None: ...

class PositionChoices(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, blocks: _Optional[_Iterable[str]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("first", "last", "blocks", "first_changes_shape")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    FIRST_CHANGES_SHAPE_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    blocks: _containers.RepeatedScalarFieldContainer[str]
    first_changes_shape: bool
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ..., blocks: _Optional[_Iterable[str]] = ..., first_changes_shape: bool = ...) -> None: ...

class EvolutionSpec(_message.Message):
    __slots__ = ("population_size", "sample_size")
    POPULATION_SIZE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    population_size: int
    sample_size: int
    def __init__(self, population_size: _Optional[int] = ..., sample_size: _Optional[int] = ...) -> None: ...

class SimulatedAnnealingSpec(_message.Message):
    __slots__ = ("initial_temperature", "cooling")
    INITIAL_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    COOLING_FIELD_NUMBER: _ClassVar[int]
    initial_temperature: float
    cooling: float
    def __init__(self, initial_temperature: _Optional[float] = ..., cooling: _Optional[float] = ...) -> None: ...

class LocalSearchSpec(_message.Message):
    __slots__ = ("random_starts",)
    RANDOM_STARTS_FIELD_NUMBER: _ClassVar[int]
    random_starts: int
    def __init__(self, random_starts: _Optional[int] = ...) -> None: ...

class GaussianProcessSpec(_message.Message):
    __slots__ = ("acquisition", "exploration", "trials_before_fit")
    class Acquisition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UPPER_CONFIDENCE_BOUND: _ClassVar[GaussianProcessSpec.Acquisition]
        EXPECTED_IMPROVEMENT: _ClassVar[GaussianProcessSpec.Acquisition]
    UPPER_CONFIDENCE_BOUND: GaussianProcessSpec.Acquisition
    EXPECTED_IMPROVEMENT: GaussianProcessSpec.Acquisition
    ACQUISITION_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    TRIALS_BEFORE_FIT_FIELD_NUMBER: _ClassVar[int]
    acquisition: GaussianProcessSpec.Acquisition
    exploration: float
    trials_before_fit: int
    def __init__(self, acquisition: _Optional[_Union[GaussianProcessSpec.Acquisition, str]] = ..., exploration: _Optional[float] = ..., trials_before_fit: _Optional[int] = ...) -> None: ...

class ReinforceSpec(_message.Message):
    __slots__ = ("reward", "entropy_weight", "controller_learning_rate", "hidden_units", "update_every", "replicas", "memory_weight")
    class Reward(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STANDARDIZED: _ClassVar[ReinforceSpec.Reward]
        RANK: _ClassVar[ReinforceSpec.Reward]
        CUBE: _ClassVar[ReinforceSpec.Reward]
    STANDARDIZED: ReinforceSpec.Reward
    RANK: ReinforceSpec.Reward
    CUBE: ReinforceSpec.Reward
    REWARD_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_UNITS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_EVERY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    reward: ReinforceSpec.Reward
    entropy_weight: float
    controller_learning_rate: float
    hidden_units: int
    update_every: int
    replicas: int
    memory_weight: float
    def __init__(self, reward: _Optional[_Union[ReinforceSpec.Reward, str]] = ..., entropy_weight: _Optional[float] = ..., controller_learning_rate: _Optional[float] = ..., hidden_units: _Optional[int] = ..., update_every: _Optional[int] = ..., replicas: _Optional[int] = ..., memory_weight: _Optional[float] = ...) -> None: ...

class EvaluationSchedule(_message.Message):
    __slots__ = ("kind", "reduction_factor", "minimum_share", "fidelity", "stopping", "grace_steps", "schedule", "stopping_rule")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FULL: _ClassVar[EvaluationSchedule.Kind]
        SUCCESSIVE_HALVING: _ClassVar[EvaluationSchedule.Kind]
        HYPERBAND: _ClassVar[EvaluationSchedule.Kind]
        ASHA: _ClassVar[EvaluationSchedule.Kind]
    FULL: EvaluationSchedule.Kind
    SUCCESSIVE_HALVING: EvaluationSchedule.Kind
    HYPERBAND: EvaluationSchedule.Kind
    ASHA: EvaluationSchedule.Kind
    class Fidelity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STEPS: _ClassVar[EvaluationSchedule.Fidelity]
        ROWS: _ClassVar[EvaluationSchedule.Fidelity]
    STEPS: EvaluationSchedule.Fidelity
    ROWS: EvaluationSchedule.Fidelity
    class Stopping(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[EvaluationSchedule.Stopping]
        MEDIAN: _ClassVar[EvaluationSchedule.Stopping]
        LEARNING_CURVE: _ClassVar[EvaluationSchedule.Stopping]
    NONE: EvaluationSchedule.Stopping
    MEDIAN: EvaluationSchedule.Stopping
    LEARNING_CURVE: EvaluationSchedule.Stopping
    KIND_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_SHARE_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    GRACE_STEPS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    STOPPING_RULE_FIELD_NUMBER: _ClassVar[int]
    kind: EvaluationSchedule.Kind
    reduction_factor: int
    minimum_share: float
    fidelity: EvaluationSchedule.Fidelity
    stopping: EvaluationSchedule.Stopping
    grace_steps: int
    schedule: str
    stopping_rule: str
    def __init__(self, kind: _Optional[_Union[EvaluationSchedule.Kind, str]] = ..., reduction_factor: _Optional[int] = ..., minimum_share: _Optional[float] = ..., fidelity: _Optional[_Union[EvaluationSchedule.Fidelity, str]] = ..., stopping: _Optional[_Union[EvaluationSchedule.Stopping, str]] = ..., grace_steps: _Optional[int] = ..., schedule: _Optional[str] = ..., stopping_rule: _Optional[str] = ...) -> None: ...

class TrialLimits(_message.Message):
    __slots__ = ("seconds", "parameters_at_most", "megabytes")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_AT_MOST_FIELD_NUMBER: _ClassVar[int]
    MEGABYTES_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    parameters_at_most: int
    megabytes: float
    def __init__(self, seconds: _Optional[float] = ..., parameters_at_most: _Optional[int] = ..., megabytes: _Optional[float] = ...) -> None: ...

class MorphismSpec(_message.Message):
    __slots__ = ("steps_share",)
    STEPS_SHARE_FIELD_NUMBER: _ClassVar[int]
    steps_share: float
    def __init__(self, steps_share: _Optional[float] = ...) -> None: ...

class FinalTraining(_message.Message):
    __slots__ = ("time_share", "towers", "one_cycle")
    TIME_SHARE_FIELD_NUMBER: _ClassVar[int]
    TOWERS_FIELD_NUMBER: _ClassVar[int]
    ONE_CYCLE_FIELD_NUMBER: _ClassVar[int]
    time_share: float
    towers: int
    one_cycle: bool
    def __init__(self, time_share: _Optional[float] = ..., towers: _Optional[int] = ..., one_cycle: bool = ...) -> None: ...

class CellSpec(_message.Message):
    __slots__ = ("nodes", "operations", "repeats", "reductions", "channels", "stem_stride", "units", "layers", "heights", "widths", "filters", "strides")
    NODES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    REDUCTIONS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    STEM_STRIDE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    HEIGHTS_FIELD_NUMBER: _ClassVar[int]
    WIDTHS_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    STRIDES_FIELD_NUMBER: _ClassVar[int]
    nodes: int
    operations: _containers.RepeatedScalarFieldContainer[str]
    repeats: int
    reductions: int
    channels: _containers.RepeatedScalarFieldContainer[int]
    stem_stride: int
    units: _containers.RepeatedScalarFieldContainer[int]
    layers: int
    heights: _containers.RepeatedScalarFieldContainer[int]
    widths: _containers.RepeatedScalarFieldContainer[int]
    filters: _containers.RepeatedScalarFieldContainer[int]
    strides: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, nodes: _Optional[int] = ..., operations: _Optional[_Iterable[str]] = ..., repeats: _Optional[int] = ..., reductions: _Optional[int] = ..., channels: _Optional[_Iterable[int]] = ..., stem_stride: _Optional[int] = ..., units: _Optional[_Iterable[int]] = ..., layers: _Optional[int] = ..., heights: _Optional[_Iterable[int]] = ..., widths: _Optional[_Iterable[int]] = ..., filters: _Optional[_Iterable[int]] = ..., strides: _Optional[_Iterable[int]] = ...) -> None: ...

class TuningSpec(_message.Message):
    __slots__ = ("trials", "architectures")
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURES_FIELD_NUMBER: _ClassVar[int]
    trials: int
    architectures: int
    def __init__(self, trials: _Optional[int] = ..., architectures: _Optional[int] = ...) -> None: ...

class PhoenixSpec(_message.Message):
    __slots__ = ("minimum_depth", "maximum_depth", "search_type", "increase_complexity_minimum_trials", "problem_type", "blocks_to_use", "apply_dropouts_between_blocks", "learning_spec", "ensemble_spec", "lengths_feature_name", "use_synchronous_optimizer", "user_suggestions", "weight_feature_name", "multi_task_spec", "primary_task_name", "cnn_data_format", "beam_size", "increase_complexity_probability", "transfer_learning_spec", "use_parameter_scaled_training", "use_auxiliary_head", "auxiliary_head_loss_weight", "mutate_probability", "crossover_probability", "random_architecture_probability", "num_blocks_in_cell", "reduction_block_type", "replicate_cell", "linear_model", "evolution", "simulated_annealing", "local_search", "gaussian_process", "reinforce", "distillation_spec", "is_input_shared", "replay", "temperature", "disable_last_dense_layer", "pass_label_dict_as_is", "merge_losses_of_multitask", "position_choices", "stages", "identity_blocks", "random_baseline_share", "starting_points", "search", "search_settings", "planner_rules", "augmentations", "input_towers", "evaluation_schedule", "tuning", "final_training", "trial_limits", "morphisms", "cell")
    class SearchType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_SEARCH_TYPE: _ClassVar[PhoenixSpec.SearchType]
        ADAPTIVE_COORDINATE_DESCENT: _ClassVar[PhoenixSpec.SearchType]
        NONADAPTIVE_RANDOM_SEARCH: _ClassVar[PhoenixSpec.SearchType]
        HARMONICA_SEARCH: _ClassVar[PhoenixSpec.SearchType]
        CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT: _ClassVar[PhoenixSpec.SearchType]
        LINEAR_MODEL: _ClassVar[PhoenixSpec.SearchType]
        GRID_SEARCH: _ClassVar[PhoenixSpec.SearchType]
        REGULARIZED_EVOLUTION: _ClassVar[PhoenixSpec.SearchType]
        SIMULATED_ANNEALING: _ClassVar[PhoenixSpec.SearchType]
        LOCAL_SEARCH: _ClassVar[PhoenixSpec.SearchType]
        GAUSSIAN_PROCESS: _ClassVar[PhoenixSpec.SearchType]
        REINFORCE: _ClassVar[PhoenixSpec.SearchType]
        PREDICTOR_GUIDED_BEAM: _ClassVar[PhoenixSpec.SearchType]
    UNKNOWN_SEARCH_TYPE: PhoenixSpec.SearchType
    ADAPTIVE_COORDINATE_DESCENT: PhoenixSpec.SearchType
    NONADAPTIVE_RANDOM_SEARCH: PhoenixSpec.SearchType
    HARMONICA_SEARCH: PhoenixSpec.SearchType
    CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT: PhoenixSpec.SearchType
    LINEAR_MODEL: PhoenixSpec.SearchType
    GRID_SEARCH: PhoenixSpec.SearchType
    REGULARIZED_EVOLUTION: PhoenixSpec.SearchType
    SIMULATED_ANNEALING: PhoenixSpec.SearchType
    LOCAL_SEARCH: PhoenixSpec.SearchType
    GAUSSIAN_PROCESS: PhoenixSpec.SearchType
    REINFORCE: PhoenixSpec.SearchType
    PREDICTOR_GUIDED_BEAM: PhoenixSpec.SearchType
    class ProblemType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_PROBLEM_TYPE: _ClassVar[PhoenixSpec.ProblemType]
        CNN: _ClassVar[PhoenixSpec.ProblemType]
        DNN: _ClassVar[PhoenixSpec.ProblemType]
        RNN_ALL_ACTIVATIONS: _ClassVar[PhoenixSpec.ProblemType]
        RNN_LAST_ACTIVATIONS: _ClassVar[PhoenixSpec.ProblemType]
    UNKNOWN_PROBLEM_TYPE: PhoenixSpec.ProblemType
    CNN: PhoenixSpec.ProblemType
    DNN: PhoenixSpec.ProblemType
    RNN_ALL_ACTIVATIONS: PhoenixSpec.ProblemType
    RNN_LAST_ACTIVATIONS: PhoenixSpec.ProblemType
    MINIMUM_DEPTH_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SEARCH_TYPE_FIELD_NUMBER: _ClassVar[int]
    INCREASE_COMPLEXITY_MINIMUM_TRIALS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_TYPE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_TO_USE_FIELD_NUMBER: _ClassVar[int]
    APPLY_DROPOUTS_BETWEEN_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_SPEC_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_SPEC_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
    USE_SYNCHRONOUS_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    USER_SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
    MULTI_TASK_SPEC_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    CNN_DATA_FORMAT_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    INCREASE_COMPLEXITY_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_LEARNING_SPEC_FIELD_NUMBER: _ClassVar[int]
    USE_PARAMETER_SCALED_TRAINING_FIELD_NUMBER: _ClassVar[int]
    USE_AUXILIARY_HEAD_FIELD_NUMBER: _ClassVar[int]
    AUXILIARY_HEAD_LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MUTATE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    CROSSOVER_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RANDOM_ARCHITECTURE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    NUM_BLOCKS_IN_CELL_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_BLOCK_TYPE_FIELD_NUMBER: _ClassVar[int]
    REPLICATE_CELL_FIELD_NUMBER: _ClassVar[int]
    LINEAR_MODEL_FIELD_NUMBER: _ClassVar[int]
    EVOLUTION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_ANNEALING_FIELD_NUMBER: _ClassVar[int]
    LOCAL_SEARCH_FIELD_NUMBER: _ClassVar[int]
    GAUSSIAN_PROCESS_FIELD_NUMBER: _ClassVar[int]
    REINFORCE_FIELD_NUMBER: _ClassVar[int]
    DISTILLATION_SPEC_FIELD_NUMBER: _ClassVar[int]
    IS_INPUT_SHARED_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    DISABLE_LAST_DENSE_LAYER_FIELD_NUMBER: _ClassVar[int]
    PASS_LABEL_DICT_AS_IS_FIELD_NUMBER: _ClassVar[int]
    MERGE_LOSSES_OF_MULTITASK_FIELD_NUMBER: _ClassVar[int]
    POSITION_CHOICES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_BASELINE_SHARE_FIELD_NUMBER: _ClassVar[int]
    STARTING_POINTS_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    SEARCH_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PLANNER_RULES_FIELD_NUMBER: _ClassVar[int]
    AUGMENTATIONS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOWERS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    FINAL_TRAINING_FIELD_NUMBER: _ClassVar[int]
    TRIAL_LIMITS_FIELD_NUMBER: _ClassVar[int]
    MORPHISMS_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    minimum_depth: int
    maximum_depth: int
    search_type: PhoenixSpec.SearchType
    increase_complexity_minimum_trials: _containers.RepeatedScalarFieldContainer[int]
    problem_type: PhoenixSpec.ProblemType
    blocks_to_use: _containers.RepeatedScalarFieldContainer[str]
    apply_dropouts_between_blocks: bool
    learning_spec: LearningSpec
    ensemble_spec: _ensembling_spec_pb2.EnsemblingSpec
    lengths_feature_name: str
    use_synchronous_optimizer: bool
    user_suggestions: _containers.RepeatedCompositeFieldContainer[TowerSuggestion]
    weight_feature_name: str
    multi_task_spec: _containers.RepeatedCompositeFieldContainer[TaskSpec]
    primary_task_name: str
    cnn_data_format: str
    beam_size: int
    increase_complexity_probability: float
    transfer_learning_spec: _transfer_learning_spec_pb2.TransferLearningSpec
    use_parameter_scaled_training: bool
    use_auxiliary_head: bool
    auxiliary_head_loss_weight: float
    mutate_probability: float
    crossover_probability: float
    random_architecture_probability: float
    num_blocks_in_cell: int
    reduction_block_type: str
    replicate_cell: bool
    linear_model: LinearModelSpec
    evolution: EvolutionSpec
    simulated_annealing: SimulatedAnnealingSpec
    local_search: LocalSearchSpec
    gaussian_process: GaussianProcessSpec
    reinforce: ReinforceSpec
    distillation_spec: _distillation_spec_pb2.DistillationSpec
    is_input_shared: bool
    replay: ArchitectureReplay
    temperature: float
    disable_last_dense_layer: bool
    pass_label_dict_as_is: bool
    merge_losses_of_multitask: bool
    position_choices: _containers.RepeatedCompositeFieldContainer[PositionChoices]
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    identity_blocks: _containers.RepeatedScalarFieldContainer[str]
    random_baseline_share: float
    starting_points: bool
    search: str
    search_settings: _hparam_pb2.HParamDef
    planner_rules: _containers.RepeatedScalarFieldContainer[str]
    augmentations: _containers.RepeatedScalarFieldContainer[str]
    input_towers: _containers.RepeatedCompositeFieldContainer[InputTower]
    evaluation_schedule: EvaluationSchedule
    tuning: TuningSpec
    final_training: FinalTraining
    trial_limits: TrialLimits
    morphisms: MorphismSpec
    cell: CellSpec
    def __init__(self, minimum_depth: _Optional[int] = ..., maximum_depth: _Optional[int] = ..., search_type: _Optional[_Union[PhoenixSpec.SearchType, str]] = ..., increase_complexity_minimum_trials: _Optional[_Iterable[int]] = ..., problem_type: _Optional[_Union[PhoenixSpec.ProblemType, str]] = ..., blocks_to_use: _Optional[_Iterable[str]] = ..., apply_dropouts_between_blocks: bool = ..., learning_spec: _Optional[_Union[LearningSpec, _Mapping]] = ..., ensemble_spec: _Optional[_Union[_ensembling_spec_pb2.EnsemblingSpec, _Mapping]] = ..., lengths_feature_name: _Optional[str] = ..., use_synchronous_optimizer: bool = ..., user_suggestions: _Optional[_Iterable[_Union[TowerSuggestion, _Mapping]]] = ..., weight_feature_name: _Optional[str] = ..., multi_task_spec: _Optional[_Iterable[_Union[TaskSpec, _Mapping]]] = ..., primary_task_name: _Optional[str] = ..., cnn_data_format: _Optional[str] = ..., beam_size: _Optional[int] = ..., increase_complexity_probability: _Optional[float] = ..., transfer_learning_spec: _Optional[_Union[_transfer_learning_spec_pb2.TransferLearningSpec, _Mapping]] = ..., use_parameter_scaled_training: bool = ..., use_auxiliary_head: bool = ..., auxiliary_head_loss_weight: _Optional[float] = ..., mutate_probability: _Optional[float] = ..., crossover_probability: _Optional[float] = ..., random_architecture_probability: _Optional[float] = ..., num_blocks_in_cell: _Optional[int] = ..., reduction_block_type: _Optional[str] = ..., replicate_cell: bool = ..., linear_model: _Optional[_Union[LinearModelSpec, _Mapping]] = ..., evolution: _Optional[_Union[EvolutionSpec, _Mapping]] = ..., simulated_annealing: _Optional[_Union[SimulatedAnnealingSpec, _Mapping]] = ..., local_search: _Optional[_Union[LocalSearchSpec, _Mapping]] = ..., gaussian_process: _Optional[_Union[GaussianProcessSpec, _Mapping]] = ..., reinforce: _Optional[_Union[ReinforceSpec, _Mapping]] = ..., distillation_spec: _Optional[_Union[_distillation_spec_pb2.DistillationSpec, _Mapping]] = ..., is_input_shared: bool = ..., replay: _Optional[_Union[ArchitectureReplay, _Mapping]] = ..., temperature: _Optional[float] = ..., disable_last_dense_layer: bool = ..., pass_label_dict_as_is: bool = ..., merge_losses_of_multitask: bool = ..., position_choices: _Optional[_Iterable[_Union[PositionChoices, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., identity_blocks: _Optional[_Iterable[str]] = ..., random_baseline_share: _Optional[float] = ..., starting_points: bool = ..., search: _Optional[str] = ..., search_settings: _Optional[_Union[_hparam_pb2.HParamDef, _Mapping]] = ..., planner_rules: _Optional[_Iterable[str]] = ..., augmentations: _Optional[_Iterable[str]] = ..., input_towers: _Optional[_Iterable[_Union[InputTower, _Mapping]]] = ..., evaluation_schedule: _Optional[_Union[EvaluationSchedule, _Mapping]] = ..., tuning: _Optional[_Union[TuningSpec, _Mapping]] = ..., final_training: _Optional[_Union[FinalTraining, _Mapping]] = ..., trial_limits: _Optional[_Union[TrialLimits, _Mapping]] = ..., morphisms: _Optional[_Union[MorphismSpec, _Mapping]] = ..., cell: _Optional[_Union[CellSpec, _Mapping]] = ...) -> None: ...
