from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NonadaptiveSearchSpec(_message.Message):
    __slots__ = ("width", "minimal_pool_size", "num_trials_to_consider")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    MINIMAL_POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    NUM_TRIALS_TO_CONSIDER_FIELD_NUMBER: _ClassVar[int]
    width: int
    minimal_pool_size: int
    num_trials_to_consider: int
    def __init__(self, width: _Optional[int] = ..., minimal_pool_size: _Optional[int] = ..., num_trials_to_consider: _Optional[int] = ...) -> None: ...

class AdaptiveSearchSpec(_message.Message):
    __slots__ = ("increase_width_every", "minimal_pool_size")
    INCREASE_WIDTH_EVERY_FIELD_NUMBER: _ClassVar[int]
    MINIMAL_POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    increase_width_every: int
    minimal_pool_size: int
    def __init__(self, increase_width_every: _Optional[int] = ..., minimal_pool_size: _Optional[int] = ...) -> None: ...

class IntermixedSearchSpec(_message.Message):
    __slots__ = ("width", "try_ensembling_every", "num_trials_to_consider")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    TRY_ENSEMBLING_EVERY_FIELD_NUMBER: _ClassVar[int]
    NUM_TRIALS_TO_CONSIDER_FIELD_NUMBER: _ClassVar[int]
    width: int
    try_ensembling_every: int
    num_trials_to_consider: int
    def __init__(self, width: _Optional[int] = ..., try_ensembling_every: _Optional[int] = ..., num_trials_to_consider: _Optional[int] = ...) -> None: ...

class EnsemblingSpec(_message.Message):
    __slots__ = ("freeze_previous", "combining_type", "ensemble_search_type", "nonadaptive_search", "adaptive_search", "intermixed_search", "no_train_speedup")
    class CombiningType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_ENSEMBLING_TYPE: _ClassVar[EnsemblingSpec.CombiningType]
        WEIGHTED_ENSEMBLE: _ClassVar[EnsemblingSpec.CombiningType]
        AVERAGE_ENSEMBLE: _ClassVar[EnsemblingSpec.CombiningType]
    UNKNOWN_ENSEMBLING_TYPE: EnsemblingSpec.CombiningType
    WEIGHTED_ENSEMBLE: EnsemblingSpec.CombiningType
    AVERAGE_ENSEMBLE: EnsemblingSpec.CombiningType
    class EnsembleSearchType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_ENSEMBLE_SEARCH: _ClassVar[EnsemblingSpec.EnsembleSearchType]
        ADAPTIVE_ENSEMBLE_SEARCH: _ClassVar[EnsemblingSpec.EnsembleSearchType]
        NONADAPTIVE_ENSEMBLE_SEARCH: _ClassVar[EnsemblingSpec.EnsembleSearchType]
        RESIDUAL_ENSEMBLE_SEARCH: _ClassVar[EnsemblingSpec.EnsembleSearchType]
        INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH: _ClassVar[EnsemblingSpec.EnsembleSearchType]
    UNKNOWN_ENSEMBLE_SEARCH: EnsemblingSpec.EnsembleSearchType
    ADAPTIVE_ENSEMBLE_SEARCH: EnsemblingSpec.EnsembleSearchType
    NONADAPTIVE_ENSEMBLE_SEARCH: EnsemblingSpec.EnsembleSearchType
    RESIDUAL_ENSEMBLE_SEARCH: EnsemblingSpec.EnsembleSearchType
    INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH: EnsemblingSpec.EnsembleSearchType
    FREEZE_PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    COMBINING_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_SEARCH_TYPE_FIELD_NUMBER: _ClassVar[int]
    NONADAPTIVE_SEARCH_FIELD_NUMBER: _ClassVar[int]
    ADAPTIVE_SEARCH_FIELD_NUMBER: _ClassVar[int]
    INTERMIXED_SEARCH_FIELD_NUMBER: _ClassVar[int]
    NO_TRAIN_SPEEDUP_FIELD_NUMBER: _ClassVar[int]
    freeze_previous: bool
    combining_type: EnsemblingSpec.CombiningType
    ensemble_search_type: EnsemblingSpec.EnsembleSearchType
    nonadaptive_search: NonadaptiveSearchSpec
    adaptive_search: AdaptiveSearchSpec
    intermixed_search: IntermixedSearchSpec
    no_train_speedup: int
    def __init__(self, freeze_previous: bool = ..., combining_type: _Optional[_Union[EnsemblingSpec.CombiningType, str]] = ..., ensemble_search_type: _Optional[_Union[EnsemblingSpec.EnsembleSearchType, str]] = ..., nonadaptive_search: _Optional[_Union[NonadaptiveSearchSpec, _Mapping]] = ..., adaptive_search: _Optional[_Union[AdaptiveSearchSpec, _Mapping]] = ..., intermixed_search: _Optional[_Union[IntermixedSearchSpec, _Mapping]] = ..., no_train_speedup: _Optional[int] = ...) -> None: ...
