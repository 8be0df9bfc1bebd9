"""Whether the rows of a study can be divided into folds."""

from __future__ import annotations

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.tabular.arrangement import BY_TIME
from model_search.data.tabular.table import GIVEN_VALIDATION
from model_search.search.planning.fold_plans import FOLDS


def undivided(data: PreparedData) -> str | None:
    """Why the rows cannot be divided into folds, in words; None if they can."""
    if not isinstance(data, TableData):
        return "the data are a stream, of which no rows are kept"
    by: object = data.description.get("split", {}).get("by")
    if by == GIVEN_VALIDATION:
        return "validation rows were given, and are used as they are"
    if by == BY_TIME:
        return "rows are validated on by their time, the latest ones, and folds would train on later rows"
    return None


def no_further_folds(data: PreparedData) -> str | None:
    """Why trials cannot be evaluated on further folds during the search, in words; None if they can."""
    reason = undivided(data)
    if reason is not None or not isinstance(data, TableData):
        return reason
    if data.other_tasks:
        return "there are several tasks"
    groups = FOLDS if data.groups is None else len(np.unique(data.groups))
    return None if groups >= FOLDS else f"there are {groups} groups of rows, and it takes {FOLDS}"
