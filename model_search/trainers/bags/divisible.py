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
    if groups_of(data) == 1:
        return "all rows are of one group, which no fold can be without"
    return None


def groups_of(data: PreparedData) -> int | None:
    """How many groups the training and validation rows have: each is in one fold. None where rows are independent."""
    return len(np.unique(data.groups)) if isinstance(data, TableData) and data.groups is not None else None


def no_further_folds(data: PreparedData) -> str | None:
    """Why trials cannot be evaluated on further folds during the search, in words; None if they can."""
    reason = undivided(data)
    if reason is not None or not isinstance(data, TableData):
        return reason
    if data.other_tasks:
        return "there are several tasks"
    groups = groups_of(data)
    few = groups is not None and groups < FOLDS
    return f"there are {groups} groups of rows, and it takes {FOLDS}" if few else None
