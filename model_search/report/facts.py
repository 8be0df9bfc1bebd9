"""The data of a report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.metadata.final_models import Calibration, FinalModel
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Trial
from model_search.search.history.history import History

if TYPE_CHECKING:
    from model_search.report.comparison import Comparison


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """A snapshot of a study.

    Attributes:
        record: What it is about.
        history: Its trials.
        final_models: What the final stage has made.
        best: The model that is used by default; None where there is none yet.
        recommended: The trial that is recommended, noise considered; None where none is completed.
        calibration: Of the best model; None where there is none.
        root: The folder of studies that contains the study, as its user writes it.
        made_at: When the report is made, for people.
        artefacts: Where its user says that the study keeps its files; None for its own folder.
        comparison: Of families of blocks, of which this study searched one; None where there is none.
    """

    record: StudyRecord
    history: History
    final_models: tuple[FinalModel, ...]
    best: Trial | FinalModel | None
    recommended: Trial | None
    calibration: Calibration | None
    root: str
    made_at: str
    artefacts: str | None = None
    comparison: Comparison | None = None
