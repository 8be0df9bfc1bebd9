from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TransferLearningSpec(_message.Message):
    __slots__ = ("transfer_learning_type", "previous_trials_discount_factor", "max_completed_trials")
    class TransferLearningType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_TRANSFER_LEARNING_TYPE: _ClassVar[TransferLearningSpec.TransferLearningType]
        NO_TRANSFER_LEARNING: _ClassVar[TransferLearningSpec.TransferLearningType]
        UNIFORM_AVERAGE_TRANSFER_LEARNING: _ClassVar[TransferLearningSpec.TransferLearningType]
        SNAPSHOT_TRANSFER_LEARNING: _ClassVar[TransferLearningSpec.TransferLearningType]
        LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING: _ClassVar[TransferLearningSpec.TransferLearningType]
    UNKNOWN_TRANSFER_LEARNING_TYPE: TransferLearningSpec.TransferLearningType
    NO_TRANSFER_LEARNING: TransferLearningSpec.TransferLearningType
    UNIFORM_AVERAGE_TRANSFER_LEARNING: TransferLearningSpec.TransferLearningType
    SNAPSHOT_TRANSFER_LEARNING: TransferLearningSpec.TransferLearningType
    LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING: TransferLearningSpec.TransferLearningType
    TRANSFER_LEARNING_TYPE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_TRIALS_DISCOUNT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_COMPLETED_TRIALS_FIELD_NUMBER: _ClassVar[int]
    transfer_learning_type: TransferLearningSpec.TransferLearningType
    previous_trials_discount_factor: float
    max_completed_trials: int
    def __init__(self, transfer_learning_type: _Optional[_Union[TransferLearningSpec.TransferLearningType, str]] = ..., previous_trials_discount_factor: _Optional[float] = ..., max_completed_trials: _Optional[int] = ...) -> None: ...
