"""Texts to token ids inside a SavedModel; the counterpart of `TextFormat.inputs`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model_search.data.text.separators import separators_by
from model_search.data.text.tokens import IDEOGRAPHS, PADDING, UNKNOWN, TextFormat


class TextEncoder(tf.Module):
    """Splits texts into words and looks these up; a module, so that its table is saved.

    Args:
        wanted: The study's format.
    """

    def __init__(self, wanted: TextFormat):
        super().__init__()
        self._steps = wanted.steps
        self._separators = separators_by(wanted.reading_rules)
        ids = tf.range(2, wanted.size, dtype=tf.int32)
        entries = tf.lookup.KeyValueTensorInitializer(tf.constant(wanted.vocabulary, tf.string), ids)
        self.table = tf.lookup.StaticHashTable(entries, UNKNOWN)

    def encoded(self, texts: Any) -> tuple[Any, Any]:
        """Ids int32 [texts, steps] and how many of them are valid, int32 [texts].

        Args:
            texts: Strings in UTF-8 [texts].
        """
        apart = tf.strings.regex_replace(texts, self._separators, " ")
        spaced = tf.strings.regex_replace(apart, IDEOGRAPHS, r" \0 ")
        words = tf.strings.split(tf.strings.lower(spaced, encoding="utf-8"))  # `lower` would end at a zero byte
        counts = tf.cast(words.row_lengths(), tf.int32)
        found = self.table.lookup(words.to_tensor("", shape=[None, self._steps]))
        places = tf.range(self._steps)
        is_read = places < tf.maximum(counts, 1)[:, None]
        return tf.where(is_read, found, PADDING), tf.clip_by_value(counts, 1, self._steps)
