"""Texts to tokens, and tokens to their ids: what a tower reads of text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.checked_json import damaged, read_record
from model_search.data.prepare_options import RULES_AS_WRITTEN, RULES_OF_NEW_STUDIES
from model_search.data.text.separators import separators_by
from model_search.errors import DataError
from model_search.metadata.limits import MOST_HYPERPARAMETER, MOST_ROW_NUMBERS

TOKENS = "tokens"  # the input of a tower that reads text
LENGTHS = "lengths"  # the input that holds how many tokens a text has
PADDING, UNKNOWN = 0, 1  # ids; those of the vocabulary's tokens follow
MOST_TOKENS = 4096  # that are ever read of a text
USUAL_TOKENS = 256  # that are read of a text, at most, where the user names no number
LONG_SHARE = 0.95  # of the texts are read whole

# Chinese and Japanese are written without blanks: each of their characters is a word.
IDEOGRAPHS = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_IDEOGRAPHS = re.compile(IDEOGRAPHS)


def words_of(text: str, rules: int = RULES_OF_NEW_STUDIES) -> list[str]:
    """The words of a text, in lower case: what stands between blanks and punctuation.

    Args:
        text: The text.
        rules: The study's `PrepareOptions.reading_rules`, see `separators.py`.

    >>> words_of("Don't PANIC: 42!")
    ['don', 't', 'panic', '42']
    """
    plain = text.encode("utf-8", "replace").decode("utf-8")
    spaced = _IDEOGRAPHS.sub(r" \g<0> ", re.sub(separators_by(rules), " ", plain))
    return [word for word in spaced.lower().split(" ") if word]


def is_missing(value: Any) -> bool:
    """Whether there is no value: None, NaN, NaT or pandas' NA. An array is none of these."""
    if value is None or isinstance(value, str | bytes):
        return value is None
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def as_text(value: Any, row: int) -> str:
    """One text; a missing one is empty.

    Raises:
        DataError: if it is no text, or bytes that are not UTF-8; names the row.
    """
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"text {row} is bytes that are not UTF-8; decode it to a str") from None
    if not isinstance(value, str):
        raise DataError(f"text {row} is of type {type(value).__name__} ({value!r:.60}); expected a str")
    return value


@dataclasses.dataclass(frozen=True)
class Tokenized:
    """Texts as numbers of words, of which there may be more than a vocabulary keeps.

    Attributes:
        codes: For each text the numbers of its words, int32 [words]; at most `MOST_TOKENS`.
        words: The words by number.
        counts: How many words each text has, int64 [texts].
    """

    codes: Sequence[np.ndarray]
    words: Sequence[str]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)


def tokenized(texts: Iterable[Any], rules: int = RULES_OF_NEW_STUDIES) -> Tokenized:
    """Splits texts into words and numbers these in the order of their first use.

    Args:
        texts: The texts.
        rules: As for `words_of`.

    Raises:
        DataError: as `as_text`.
    """
    numbers: dict[str, int] = {}
    codes, counts = [], []
    for row, value in enumerate(texts, start=1):
        words = words_of(as_text(value, row), rules)
        counts.append(len(words))
        codes.append(np.array([numbers.setdefault(word, len(numbers)) for word in words[:MOST_TOKENS]], dtype=np.int32))
    return Tokenized(codes, list(numbers), np.array(counts, dtype=np.int64))


def usual_steps(texts: Tokenized, rows: np.ndarray) -> int:
    """How many tokens are read of a text where nobody says so: as many as most of these texts have, within bounds."""
    usual = int(np.ceil(np.quantile(texts.counts[rows], LONG_SHARE)))
    return min(max(usual, 1), USUAL_TOKENS)


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """How texts become rows of token ids.

    Attributes:
        steps: How many tokens of a text are read; later ones are cut off.
        vocabulary: The tokens that have an id, which is their place plus 2. 0 is padding, 1 any other token.
        reading_rules: As in `PrepareOptions`, by which the study's texts become words.
    """

    steps: int
    vocabulary: tuple[str, ...]
    reading_rules: int = RULES_OF_NEW_STUDIES

    @property
    def size(self) -> int:
        """How many different ids there are."""
        return len(self.vocabulary) + 2

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        return {"steps": self.steps, "vocabulary": list(self.vocabulary), "reading_rules": self.reading_rules}

    @classmethod
    def from_json(cls, values: Any) -> TextFormat:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        if isinstance(values, Mapping):
            values = {"reading_rules": RULES_AS_WRITTEN, **values}  # earlier versions had none
        found = read_record(cls, values, "the format of texts")
        if not (1 <= found.steps <= MOST_ROW_NUMBERS and found.size <= MOST_HYPERPARAMETER):
            raise damaged("the format of texts", f"it has {found.steps} steps and {len(found.vocabulary)} words")
        return found

    @classmethod
    def fitted(cls, texts: Tokenized, rows: np.ndarray, steps: int, most: int, rules: int) -> TextFormat:
        """The format with the most frequent words of some rows; what occurs once is no part of the vocabulary.

        Args:
            texts: All texts.
            rows: The numbers of the texts to learn from.
            steps: How many tokens of a text are read.
            most: How many words have an id, at most.
            rules: By which the texts became words.
        """
        read = [texts.codes[row][:steps] for row in rows]
        uses = np.bincount(np.concatenate([*read, np.empty(0, np.int32)]), minlength=len(texts.words))
        often = np.flatnonzero(uses > 1)
        kept = sorted(often.tolist(), key=lambda code: (-uses[code], texts.words[code]))[:most]
        return cls(steps, tuple(texts.words[code] for code in kept), rules)

    def inputs(self, texts: Tokenized) -> dict[str, np.ndarray]:
        """The inputs of a tower: ids int32 [texts, steps] and lengths int32 [texts].

        A text without a word is one unknown token.
        """
        place = {word: number for number, word in enumerate(self.vocabulary, start=2)}
        table = np.array([*(place.get(word, UNKNOWN) for word in texts.words), UNKNOWN], dtype=np.int32)
        found = np.full((len(texts), self.steps), PADDING, dtype=np.int32)
        lengths = np.minimum(np.maximum(texts.counts, 1), self.steps).astype(np.int32)
        for row, codes in enumerate(texts.codes):
            ids = table[codes[: self.steps]] if len(codes) else table[-1:]
            found[row, : len(ids)] = ids
        return {TOKENS: found, LENGTHS: lengths}
