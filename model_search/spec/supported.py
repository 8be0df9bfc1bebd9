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

RUNNABLE_TRANSFERS: frozenset[str] = frozenset({"NO_TRANSFER_LEARNING"})

# Fields without which the search would not be the one that is asked for.
REFUSED: Mapping[str, str] = {
    "multi_task_spec": "several tasks at once are not built in this version; search for each task by itself",
}

# Fields that are not read, with what happens instead.
UNREAD: Mapping[str, str] = {
    "use_synchronous_optimizer": "each trial is trained by one process",
    "use_auxiliary_head": "towers have their main head only",
    "auxiliary_head_loss_weight": "towers have their main head only",
    "is_input_shared": "every trial is a tower of its own",
    "primary_task_name": "there is one task",
    "merge_losses_of_multitask": "there is one task",
    "pass_label_dict_as_is": "labels are those of the data provider",
}
