"""Options of a provider's `prepare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from model_search.data.checked_json import need
from model_search.data.named.own_towers import OwnTower
from model_search.data.task import TaskKind
from model_search.errors import DataError

# How cells are read; a study goes on with the rules that it began with. With rules 1 as version 1.0 did (see
# `tabular/earlier_rules.py`); from 2 on as they are written; from 3 on "10:30:00+01" and "10:30:00 UTC" are times, too,
# and texts such as "inf" are missing among labels that are numbers; for pictures, see `images/picture_format.py`. From
# 4 on durations of Arrow are left out, as those of NumPy are: they were categories of their texts. From 5 on names of
# folders are classes, whatever they say, files that declare classes or numbers are believed, times that are whole
# numbers are compared exactly, the punctuation of all scripts stands between words, and a channel of a sequence or of a
# map is constant if it varies little beside its own largest value, not beside 1. From 6 on texts such as "$1,200" and
# "36 months" are numbers, in columns where nearly all have the same unit. From 7 on typed times end with their whole
# second, as those in a text do: they were rounded to the nearest; and typed days that serve as categories are written
# without a time, as in a CSV file of them. In long CSV files of sequences points are read as in tables since 6. From 8
# on the numbers that a table's models predict lie between those of all its rows, and not of those for training alone;
# and categories of which many are rare are read as the mean of the label, too (`tabular/categories/target_means.py`),
# as are whole numbers that are codes (`number_codes.py`), in small tables up to 300 categories have a feature of their
# own, and dates have parts for the season and each weekday.
RULES_AS_WRITTEN = 2
RULES_AS_DECLARED = RULES_OF_ANY_SCALE = 5
RULES_WITH_UNITS = 6
RULES_AS_IN_FILES = 7
RULES_OF_ALL_ROWS = 8
RULES_OF_NEW_STUDIES = 8


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """How to prepare data.

    Attributes:
        seed: Decides the split, and the order in which a stream's rows come.
        batch_size: Rows per batch.
        eval_steps: Batches that the frozen evaluation rows of a stream may hold; None reads all of them (an endless
            stream is cut).
        task_kind: The user's choice of a task; inferred if None.
        valid_fraction: Share of the rows to validate on, where there are no validation data.
        lengths: Name of the feature with the number of valid steps of padded sequences.
        weights: Name of the feature or the column with the weights of rows (or steps); empty for none but those that
            a provider gives itself.
        token_ids: Whether rows of whole numbers, [rows, steps], are padded sequences where there are lengths for all;
            blocks that read vectors alone take them for numbers.
        embedding: The block that towers begin with, which reads token ids; None where they read numbers.
        label_per_step: Whether there is a label for each step.
        flat_inputs: Whether all features of a stream are concatenated into one vector, as version 1.0 did, so that
            its studies can be continued.
        reading_rules: How cells and pictures are read; a study goes on with the rules that it began with.
        primary_task: Of several tasks, the one by which models are compared; the provider's first one where None.
        input_towers: What is particular to the tower of an input, by the input's name.
    """

    seed: int
    batch_size: int
    eval_steps: int | None = None
    task_kind: TaskKind | None = None
    valid_fraction: float = 0.2
    lengths: str = "lengths"
    weights: str = ""
    token_ids: bool = True
    embedding: str | None = None
    label_per_step: bool = False
    flat_inputs: bool = False
    reading_rules: int = RULES_OF_NEW_STUDIES
    primary_task: str | None = None
    input_towers: Mapping[str, OwnTower] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch_size is {self.batch_size}; expected at least 1")
        if self.eval_steps is not None and self.eval_steps < 1:
            raise DataError(f"eval_steps is {self.eval_steps}; expected at least 1, or None for all there is")
        if not 0 < self.valid_fraction < 1:
            raise DataError(f"valid_fraction is {self.valid_fraction}; expected a share between 0 and 1")


def reading_rules_of(description: Mapping[str, Any]) -> int:
    """The reading rules of a study, from its description of its data.

    Raises:
        DamagedRecordError: if they are no number.
    """
    return int(need(description.get("reading_rules", 1), int, "how cells are read"))
