"""Words of texts, as Keras' `TextVectorization` splits them: in small letters, without punctuation, at white space."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

# Of ASCII alone, as TensorFlow has it.
_PLAIN = str.maketrans(string.ascii_uppercase + "\t\n\v\f\r", string.ascii_lowercase + " " * 5, string.punctuation)


def words_of(text: str) -> list[str]:
    """The words of a text, each as often as it is there."""
    return [word for word in text.translate(_PLAIN).split(" ") if word]


def words_in(words: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Which words are in each text: 1 or 0, float32 [texts, words]."""
    place = {word: index for index, word in enumerate(words)}
    found = np.zeros((len(texts), len(words)), np.float32)
    for row, text in enumerate(texts):
        there = [place[word] for word in words_of(text) if word in place]
        found[row, there] = 1.0
    return found
