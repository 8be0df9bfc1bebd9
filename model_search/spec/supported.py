"""What this version can do, a table each; a new kind of ensemble is one more line here."""

from __future__ import annotations

from collections.abc import Mapping

# What is meant where nothing is said.
DEFAULT_SEARCH_TYPE = "PREDICTOR_GUIDED_BEAM"

ENSEMBLE_SEARCH_SPECS: Mapping[str, frozenset[str]] = {
    "nonadaptive_search": frozenset({"NONADAPTIVE_ENSEMBLE_SEARCH"}),
    "adaptive_search": frozenset({"ADAPTIVE_ENSEMBLE_SEARCH", "RESIDUAL_ENSEMBLE_SEARCH"}),
    "intermixed_search": frozenset({"INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH"}),
}

# What the archived system wrote as the architecture of an ensemble in a replay.
NO_SEARCH = "no_search"

# Fields that are not read, with what happens instead.
UNREAD: Mapping[str, str] = {
    "use_synchronous_optimizer": "each trial is trained by one process",
    "is_input_shared": "the towers of a model read the same inputs, which have no weights",
    "pass_label_dict_as_is": "labels are those of the data provider",
}

# The same of the fields of a task.
UNREAD_OF_TASKS: Mapping[str, str] = {
    "weight_feature_name": "rows weigh what the weights given to the data provider say",
    "weight_is_a_feature": "weights are no features",
    "apply_activation_on_shared_logits": "a task's blocks read the last block that the tasks share",
}
