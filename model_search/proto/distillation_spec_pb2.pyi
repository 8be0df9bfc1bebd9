from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BalanceLossesSpec(_message.Message):
    __slots__ = ("num_ramp_trials", "minimum_lambda", "maximum_lambda")
    NUM_RAMP_TRIALS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_LAMBDA_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_LAMBDA_FIELD_NUMBER: _ClassVar[int]
    num_ramp_trials: int
    minimum_lambda: float
    maximum_lambda: float
    def __init__(self, num_ramp_trials: _Optional[int] = ..., minimum_lambda: _Optional[float] = ..., maximum_lambda: _Optional[float] = ...) -> None: ...

class DistillationSpec(_message.Message):
    __slots__ = ("distillation_type", "minimal_pool_size", "temperature", "balance_losses_spec")
    class DistillationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_DISTILLATION_TYPE: _ClassVar[DistillationSpec.DistillationType]
        MSE_LOGITS: _ClassVar[DistillationSpec.DistillationType]
        MSE_SOFTMAX: _ClassVar[DistillationSpec.DistillationType]
        CROSS_ENTROPY: _ClassVar[DistillationSpec.DistillationType]
        ADAPTIVELY_BALANCE_LOSSES: _ClassVar[DistillationSpec.DistillationType]
    UNKNOWN_DISTILLATION_TYPE: DistillationSpec.DistillationType
    MSE_LOGITS: DistillationSpec.DistillationType
    MSE_SOFTMAX: DistillationSpec.DistillationType
    CROSS_ENTROPY: DistillationSpec.DistillationType
    ADAPTIVELY_BALANCE_LOSSES: DistillationSpec.DistillationType
    DISTILLATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    MINIMAL_POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    BALANCE_LOSSES_SPEC_FIELD_NUMBER: _ClassVar[int]
    distillation_type: DistillationSpec.DistillationType
    minimal_pool_size: int
    temperature: float
    balance_losses_spec: BalanceLossesSpec
    def __init__(self, distillation_type: _Optional[_Union[DistillationSpec.DistillationType, str]] = ..., minimal_pool_size: _Optional[int] = ..., temperature: _Optional[float] = ..., balance_losses_spec: _Optional[_Union[BalanceLossesSpec, _Mapping]] = ...) -> None: ...
