"""Text: lists, CSV files with a column of texts, and folders of classes, as token ids."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.array_data import parse_kinds
from model_search.data.files.labelled_files import find_in_folders
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import InputSpec
from model_search.data.tabular.chosen_rows import Choice, Labels, choose_rows, infer
from model_search.data.tabular.csv_file import Encoding
from model_search.data.task import TaskKind
from model_search.data.text.text_files import TEXTS, LabelledTexts, TextColumns, of_csv, of_files
from model_search.data.text.tokens import LENGTHS, MOST_TOKENS, TOKENS, TextFormat, Tokenized, tokenized, usual_steps
from model_search.errors import DataError, UserError

WHAT = "texts"
MOST_WORDS = 500_000  # of a vocabulary


class Provider(BaseProvider):
    """Texts and their labels.

    Args:
        texts: A list of texts (str, or bytes in UTF-8). A missing one (None, NaN) counts as empty.
        labels: A label for each text; of several tasks a dict of labels by name, or a frame of label columns.
        filename: A CSV file instead, with columns of texts and labels.
        input_dir: Or a folder with a folder of `.txt` files for each class; or with folders "train" and, where there
            are validation texts, "valid", each of which holds folders of classes (a "test" folder is left alone).
        columns: The columns of the CSV file.
        validation: (texts, labels), or the path of a CSV file, to validate on; a part of the texts where None.
        weights: Weights of the texts, at least 0; of several tasks also a dict by name.
        max_tokens: How many tokens of a text are read; where None the 95th percentile of the training texts, at most
            256.
        vocabulary: How many words have an id: the most frequent ones in training that occur twice or more. All other
            words are one unknown word.
        task: "classification" or "regression"; inferred from the labels where None. Of several tasks a dict by name.
        encoding: Of the text of CSV files; `.txt` files are UTF-8.

    Raises:
        DataError: if the arguments do not fit.
    """

    def __init__(
        self,
        texts: Any = None,
        labels: Any = None,
        *,
        filename: str | os.PathLike[str] | None = None,
        input_dir: str | os.PathLike[str] | None = None,
        columns: TextColumns | None = None,
        validation: Any = None,
        weights: Any = None,
        max_tokens: int | None = None,
        vocabulary: int = 10_000,
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        encoding: str = "utf-8",
    ):
        sources = {"texts": texts, "filename": filename, "input_dir": input_dir}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise DataError(f"received {' and '.join(given) or 'no texts'}; expected one of texts, filename, input_dir")
        if (texts is None) != (labels is None):
            raise DataError("texts and labels belong together: a label for each text")
        if weights is not None and texts is None:
            raise DataError("weights belong to texts; of a CSV file name a column: columns=TextColumns(weight=...)")
        if columns is not None and filename is None:
            raise DataError("columns are those of a CSV file; give it as filename")
        if max_tokens is not None and not 1 <= max_tokens <= MOST_TOKENS:
            raise DataError(f"max_tokens is {max_tokens}; expected 1 to {MOST_TOKENS}")
        if not 1 <= vocabulary <= MOST_WORDS:
            raise DataError(f"vocabulary is {vocabulary}; expected 1 to {MOST_WORDS} words")
        self._filename, self._input_dir, self._columns = filename, input_dir, columns or TextColumns()
        self._encoding = Encoding.given(encoding, filename is not None or isinstance(validation, str | os.PathLike))
        self._texts = None if texts is None else _given_texts(texts, labels, weights)
        self._validation = validation
        self._max_tokens, self._vocabulary = max_tokens, vocabulary
        self._task = parse_kinds(task)

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        return infer([_labels_of(self._parts()[0])], WHAT, self._task).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Splits the texts, fits the vocabulary on those to train on, and makes ids of all words."""
        if options.label_per_step:
            raise DataError("a text has one label; expected the problem type RNN_LAST_ACTIVATIONS")
        if options.embedding is None:
            raise UserError(
                "text is learnt by towers that begin with an embedding; use the specification constants.DEFAULT_TEXT, "
                'or one of RNN_LAST_ACTIVATIONS whose blocks_to_use name "EMBEDDING"'
            )
        parts = self._parts(options.weights)
        notes = [note for part in parts for note in part.notes]
        choice = choose_rows([_labels_of(part) for part in parts], WHAT, self._task, options)
        read = [tokenized(part.texts, options.reading_rules) for part in parts]
        wanted = self._format(read[choice.train.part], choice, options.reading_rules)
        notes += [*choice.notes, *_notes(read, choice, wanted)]
        inputs = [wanted.inputs(part) for part in read]
        columns = dataclasses.asdict(parts[0].columns)
        return TableData(
            task=choice.task,
            train=choice.train.rows(inputs[choice.train.part], choice.tasks),
            valid=choice.valid.rows(inputs[choice.valid.part], choice.tasks),
            fingerprint=_fingerprint(read, choice),
            description={
                **choice.described,
                "reading_rules": options.reading_rules,
                "text": wanted.to_json(),
                "columns": [TOKENS, LENGTHS],
                "reading": {"source": "text", "columns": columns, **self._encoding.to_json()},
                "notes": notes,
            },
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
            lengths={TOKENS: LENGTHS},
            own_specs={TOKENS: InputSpec((wanted.steps,), "int32", LENGTHS, vocabulary=wanted.size)},
            other_tasks=choice.others,
        )

    def _parts(self, weight: str = "") -> list[LabelledTexts]:
        """The texts to train on; then, where they are given, those to validate on.

        Args:
            weight: The column of the weights of a CSV file, where `columns` names none.
        """
        if self._input_dir is not None:
            found = find_in_folders(self._input_dir, TEXTS)
            train = of_files(found.train)
            if found.test is not None:
                note = f"the texts in {found.test} are left alone, for `evaluate`"
                train = dataclasses.replace(train, notes=(*train.notes, note))
            parts = [train] if found.valid is None else [train, of_files(found.valid)]
        elif self._filename is not None:
            columns = dataclasses.replace(self._columns, weight=self._columns.weight or weight or None)
            parts = [of_csv(self._filename, columns, self._encoding, needs_label=True)]
        else:
            parts = [] if self._texts is None else [self._texts]
        if self._validation is None:
            return parts
        return [parts[0], _validation_texts(self._validation, parts[0].columns, self._encoding)]

    def _format(self, texts: Tokenized, choice: Choice, rules: int) -> TextFormat:
        rows = choice.train.numbers
        if self._max_tokens is None:
            steps = usual_steps(texts, rows)
        else:
            steps = min(self._max_tokens, max(1, int(texts.counts.max())))
        found = TextFormat.fitted(texts, rows, steps, self._vocabulary, rules)
        if not found.vocabulary:
            raise DataError("no word occurs twice in the texts to train on; expected texts that share words")
        return found


def _given_texts(texts: Any, labels: Any, weights: Any) -> LabelledTexts:
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__"):
        raise DataError(f"texts are {type(texts).__name__}; expected a list of texts")
    own = Labels.of(labels, weights)
    return LabelledTexts(list(texts), own, notes=own.index_notes(texts))


def _validation_texts(given: Any, columns: TextColumns, encoding: Encoding) -> LabelledTexts:
    if isinstance(given, str | os.PathLike):
        return of_csv(given, columns, encoding, needs_label=True)
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise DataError("validation is expected as (texts, labels), (texts, labels, weights) or the path of a CSV file")
    return _given_texts(*given, *([None] * (3 - len(given))))


def _labels_of(part: LabelledTexts) -> tuple[int, Labels]:
    return len(part.texts), part.labels or Labels(())


def _notes(read: Sequence[Tokenized], choice: Choice, wanted: TextFormat) -> list[str]:
    """Sentences on texts that are cut, and on those without a word."""
    counts = np.concatenate([read[part.part].counts[part.numbers] for part in (choice.train, choice.valid)])
    notes = []
    longer, empty = int((counts > wanted.steps).sum()), int((counts == 0).sum())
    if longer:
        notes.append(
            f"{longer} of {len(counts)} texts have more than {wanted.steps} words (up to {counts.max():,}); what "
            "follows is cut off (max_tokens)"
        )
    if empty:
        notes.append(f"{empty} of {len(counts)} texts hold no word and count as one unknown word")
    return notes


def _fingerprint(read: Sequence[Tokenized], choice: Choice) -> str:
    digest = hashlib.sha256(repr((choice.task.kind.value, choice.task.label, choice.task.classes)).encode())
    for part in (choice.train, choice.valid):
        texts = read[part.part]
        for row in part.numbers:
            words = "\0".join(texts.words[code] for code in texts.codes[row])
            digest.update(hashlib.sha256(words.encode()).digest())
        digest.update(part.digested)
    return digest.hexdigest()
