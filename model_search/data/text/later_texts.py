"""Texts to predict or to evaluate on after the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.data.checked_json import need
from model_search.data.rows import Rows
from model_search.data.tabular.chosen_rows import Labels, evaluated_rows
from model_search.data.tabular.csv_file import Encoding
from model_search.data.tabular.preprocess import Note
from model_search.data.text.text_files import TextColumns, evaluated_texts, later_texts
from model_search.data.text.tokens import TextFormat, tokenized


def texts_of(source: Any, description: Mapping[str, Any], note: Note | None = None) -> dict[str, np.ndarray]:
    """The inputs of a tower: ids of the texts' words, and how many there are.

    Args:
        source: As for `text_files.later_texts`.
        description: The study's description of its data.
        note: Called with a sentence if texts are cut, or links to folders are left out.

    Raises:
        DataError: if the texts cannot be read.
    """
    return _inputs(later_texts(source, _columns(description), _encoding(description), note), description, note)


def labelled_texts(source: Any, description: Mapping[str, Any], note: Note | None = None) -> Rows:
    """Texts with labels to evaluate on; those without one are dropped.

    Args:
        source: As for `text_files.evaluated_texts`.
        description: The study's description of its data.
        note: Called with a sentence if texts are cut, links to folders left out, or labels not taken as they are.

    Raises:
        DataError: as `texts_of`, or if there are no labels.
    """
    found = evaluated_texts(source, _columns(description), _encoding(description), note)
    inputs = _inputs(found.texts, description, note)
    if note is not None:
        for sentence in found.notes:
            note(sentence)
    labels = found.labels or Labels(())
    return evaluated_rows(inputs, labels, "texts", description, note)


def _columns(description: Mapping[str, Any]) -> TextColumns:
    reading = need(description.get("reading", {}), Mapping, "how texts are read")
    return TextColumns(**need(reading.get("columns", {}), Mapping, "the columns of texts"))


def _encoding(description: Mapping[str, Any]) -> Encoding:
    return Encoding.stored(description.get("reading"))


def _inputs(texts: Any, description: Mapping[str, Any], note: Note | None) -> dict[str, np.ndarray]:
    wanted = TextFormat.from_json(description["text"])
    read = tokenized(texts, wanted.reading_rules)
    longer = int((read.counts > wanted.steps).sum())
    if longer and note is not None:
        note(f"{longer} of {len(read)} texts have more than {wanted.steps} words; what follows is cut off")
    return wanted.inputs(read)
