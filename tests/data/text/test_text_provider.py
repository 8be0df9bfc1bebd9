"""The text provider: every form of texts, words and ids, and the sentences that mistakes become."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import text_data
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.text.text_files import TextColumns
from model_search.data.text.tokens import TextFormat, tokenized, words_of
from model_search.errors import DataError
from model_search.finish.media.encoded_text import TextEncoder

OPTIONS = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")


def made(count=40):
    texts = [f"the {('cat', 'dog')[row % 2]} sat on mat number{row}" for row in range(count)]
    return texts, [("meow", "woof")[row % 2] for row in range(count)]


def as_described(data):
    return {**data.description, "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}}


def texts_of(data, rows):
    words = ["", "?", *data.description["text"]["vocabulary"]]
    return [
        " ".join(words[number] for number in ids[:length])
        for ids, length in zip(rows.inputs["tokens"], rows.inputs["lengths"], strict=True)
    ]


def test_a_list_of_texts():
    texts, labels = made()
    data = text_data.Provider(texts, labels).prepare(OPTIONS)
    assert data.task.classes == ("meow", "woof")
    assert (len(data.train), len(data.valid)) == (32, 8)
    words = ["mat", "on", "sat", "the", "cat", "dog"]
    assert data.description["text"] == {"steps": 6, "vocabulary": words, "reading_rules": 8}
    assert set(texts_of(data, data.valid)) == {"the cat sat on mat ?", "the dog sat on mat ?"}
    assert data.input_specs["tokens"].vocabulary == 8
    assert data.description["notes"] == []


def test_the_vocabulary_is_that_of_the_training_texts():
    texts, labels = made()
    other = ["zebra zebra the cat"] * 10, labels[:10]
    data = text_data.Provider(texts, labels, validation=other).prepare(OPTIONS)
    assert "zebra" not in data.description["text"]["vocabulary"]
    assert set(texts_of(data, data.valid)) == {"? ? the cat"}
    few = text_data.Provider(texts, labels, vocabulary=2).prepare(OPTIONS)
    assert few.description["text"]["vocabulary"] == ["mat", "on"]


def test_long_texts_are_cut_and_empty_ones_are_one_unknown_word_each_with_one_note():
    texts, labels = made()
    texts[0], texts[1], texts[2], texts[3], texts[4] = "the cat " * 5000, None, "", float("nan"), " ?! "
    texts[5] = "the d\u00f6g".encode()
    data = text_data.Provider(texts, labels).prepare(OPTIONS)
    assert data.description["notes"] == [
        "1 of 40 texts have more than 6 words (up to 10,000); what follows is cut off (max_tokens)",
        "4 of 40 texts hold no word and count as one unknown word",
    ]
    assert {*texts_of(data, data.train), *texts_of(data, data.valid)} >= {"the cat the cat the cat", "?", "the ?"}
    assert text_data.Provider(texts, labels, max_tokens=300).prepare(OPTIONS).input_specs["tokens"].shape == (300,)


def test_texts_without_a_label_are_left_out_with_a_note():
    texts, labels = made()
    data = text_data.Provider(texts, [None, None, *labels[2:]]).prepare(OPTIONS)
    assert data.description["notes"] == ["2 texts have no label and are left out"]
    assert len(data.train) + len(data.valid) == 38


def test_labels_whose_index_is_in_another_order_are_refused():
    words, labels = made()
    texts = pd.Series(words, index=range(100, 140))
    y = pd.Series(labels, index=texts.index)
    shuffled, notes = y.sample(frac=1, random_state=2), []
    data = text_data.Provider(texts, y).prepare(OPTIONS)
    assert data.description["notes"] == []
    for make in (
        lambda: text_data.Provider(texts, shuffled),
        lambda: text_data.Provider(texts, y, weights=pd.Series(1.0, index=shuffled.index)),
        lambda: text_data.Provider(texts, y, validation=(texts, shuffled)).prepare(OPTIONS),
        lambda: labelled_rows((texts, shuffled), as_described(data)),
    ):
        with pytest.raises(DataError, match=r"(labels|weights) has the entries .* in another order"):
            make()
    expected = "the index of the labels is not that of the features"
    other = y.reset_index(drop=True)
    assert text_data.Provider(texts, other).prepare(OPTIONS).description["notes"][0].startswith(expected)
    labelled_rows((texts, other), as_described(data), notes.append)
    assert notes[0].startswith(expected)


def test_weights_stay_with_their_texts():
    texts, labels = made()
    data = text_data.Provider(texts, labels, weights=[1.0 + row % 2 for row in range(40)]).prepare(OPTIONS)
    assert data.task.weight == "weight"
    assert np.array_equal(data.train.weight == 2.0, data.train.label == data.task.classes.index("woof"))


def test_csv_files_and_folders_give_the_same_as_lists(tmp_path):
    texts, labels = made()
    by_list = text_data.Provider(texts, labels).prepare(OPTIONS)
    frame = pd.DataFrame({"what": texts, "who": labels, "heavy": 1})
    frame.to_csv(tmp_path / "three.csv", index=False)
    frame.rename(columns={"what": "text", "who": "label"})[["label", "text"]].to_csv(tmp_path / "two.csv", index=False)
    columns = TextColumns("what", "who")
    for filename, given_columns in (("three.csv", columns), ("two.csv", None)):
        found = text_data.Provider(filename=tmp_path / filename, columns=given_columns).prepare(OPTIONS)
        assert [values.tolist() for values in found.train.inputs.values()] == [
            values.tolist() for values in by_list.train.inputs.values()
        ]
    for row, text in enumerate(texts):
        (tmp_path / "folder" / labels[row]).mkdir(exist_ok=True, parents=True)
        (tmp_path / "folder" / labels[row] / f"{row:02}.txt").write_text(text, encoding="utf-8-sig")
    (tmp_path / "folder" / "woof" / "damaged.txt").write_bytes(b"\xff\xfe\x00")
    provider = text_data.Provider(input_dir=tmp_path / "folder")
    found = provider.prepare(OPTIONS)
    assert provider.number_of_classes() == 2
    assert found.task.classes == by_list.task.classes
    assert "1 of 41 files are left out" in found.description["notes"][0]
    assert "damaged.txt: it is no text in UTF-8" in found.description["notes"][0]
    weighted = text_data.Provider(filename=tmp_path / "three.csv", columns=TextColumns("what", "who", "heavy"))
    assert weighted.prepare(OPTIONS).train.weight.tolist() == [1.0] * 32


def test_the_fingerprint_follows_words_labels_and_weights():
    texts, labels = made()
    prints = {
        text_data.Provider(*changed).prepare(OPTIONS).fingerprint
        for changed in ((texts, labels), (["a cat", *texts[1:]], labels), (texts, labels[::-1]))
    }
    prints.add(text_data.Provider(texts, labels, weights=[2.0] * 40).prepare(OPTIONS).fingerprint)
    assert len(prints) == 4
    assert text_data.Provider(texts, labels).prepare(OPTIONS).fingerprint in prints


def test_later_texts_come_in_the_same_forms(tmp_path):
    texts, labels = made()
    about = as_described(text_data.Provider(texts, labels).prepare(OPTIONS))
    expected = inputs_of(texts, about)
    frame = pd.DataFrame({"text": texts, "label": labels, "more": 1})
    frame.to_csv(tmp_path / "all.csv", index=False)
    for source in (np.array(texts), pd.Series(texts, dtype=object), frame, {"text": texts}, tmp_path / "all.csv"):
        found = inputs_of(source, about)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    notes = []
    rows = labelled_rows((["the cat", "a dog " * 90], ["meow", None]), about, notes.append)
    assert rows.label.tolist() == [0]
    assert notes == [
        "1 of 2 texts have more than 6 words; what follows is cut off",
        "1 texts have no label and are left out",
    ]
    assert labelled_rows(frame, about).label.tolist() == labelled_rows((texts, labels), about).label.tolist()


def test_a_file_of_texts_alone_needs_a_header(tmp_path):
    texts, labels = made()
    about = as_described(text_data.Provider(texts, labels).prepare(OPTIONS))
    (tmp_path / "bare.csv").write_text("good product\nbad product\nfine product\n")
    with pytest.raises(DataError, match=r"one column, and its first row is 'good product'.* put 'text' above"):
        inputs_of(tmp_path / "bare.csv", about)
    (tmp_path / "head.csv").write_text("text\ngood product\nbad product\nfine product\n")
    assert len(inputs_of(tmp_path / "head.csv", about)["tokens"]) == 3
    frame = pd.DataFrame({"review": texts, "label": labels})
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[["review"]].to_csv(tmp_path / "alone.csv", index=False)
    own = as_described(text_data.Provider(filename=tmp_path / "all.csv").prepare(OPTIONS))
    assert len(inputs_of(tmp_path / "alone.csv", own)["tokens"]) == 40
    with pytest.raises(DataError, match="put 'review' above the texts"):
        inputs_of(tmp_path / "head.csv", own)


def test_links_out_of_a_folder_are_refused_at_prediction(tmp_path):
    texts, labels = made()
    for row, text in enumerate(texts):
        (tmp_path / "root" / labels[row]).mkdir(exist_ok=True, parents=True)
        (tmp_path / "root" / labels[row] / f"{row:02}.txt").write_text(text)
    (tmp_path / "outer.txt").write_text("the cat")
    (tmp_path / "root" / "meow" / "outer.txt").symlink_to(tmp_path / "outer.txt")
    about = as_described(text_data.Provider(input_dir=tmp_path / "root").prepare(OPTIONS))
    for read in (inputs_of, labelled_rows):
        with pytest.raises(DataError, match=r"1 of 41 texts cannot be read: .*outer\.txt: it is a link out of"):
            read(tmp_path / "root", about)


def test_a_linked_folder_is_left_out_of_predictions_with_a_note(tmp_path):
    texts, labels = made()
    for row, text in enumerate(texts):
        (tmp_path / "root" / labels[row]).mkdir(exist_ok=True, parents=True)
        (tmp_path / "root" / labels[row] / f"{row:02}.txt").write_text(text)
    about = as_described(text_data.Provider(input_dir=tmp_path / "root").prepare(OPTIONS))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "more.txt").write_text("the cat")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "other")
    for read in (inputs_of, labelled_rows):
        said = []
        found = read(tmp_path / "root", about, said.append)
        assert len(found["tokens"] if isinstance(found, dict) else found) == 40
        assert said == [
            f"1 link to a folder is left out: {tmp_path}/root/linked: it is a link to a folder, which is not followed; "
            "put the folder itself there"
        ]


TEXTS, LABELS = made()
MISTAKES = [
    (text_data.Provider, "received no texts; expected one of texts, filename, input_dir"),
    (lambda: text_data.Provider(TEXTS), "texts and labels belong together"),
    (lambda: text_data.Provider("a text", ["a"]), "texts are str; expected a list of texts"),
    (lambda: text_data.Provider(TEXTS, LABELS, columns=TextColumns()), "columns are those of a CSV file"),
    (lambda: text_data.Provider(TEXTS, LABELS, max_tokens=0), "max_tokens is 0; expected 1 to 4096"),
    (lambda: text_data.Provider(TEXTS, LABELS, vocabulary=0), "vocabulary is 0; expected 1 to 500000 words"),
    (lambda: text_data.Provider(filename="x.csv", weights=[1]), "weights belong to texts"),
    (lambda: text_data.Provider(TEXTS, LABELS, validation=3), "validation is expected as"),
    (lambda: text_data.Provider(TEXTS, LABELS[1:]), r"40 texts, labels of shape \(39,\)"),
    (lambda: text_data.Provider([*TEXTS[1:], 7], LABELS), r"text 40 is of type int \(7\); expected a str"),
    (lambda: text_data.Provider([*TEXTS[1:], np.array([1, 2])], LABELS), r"text 40 is of type ndarray \(array"),
    (lambda: text_data.Provider([b"\xff", *TEXTS[1:]], LABELS), "text 1 is bytes that are not UTF-8"),
    (lambda: text_data.Provider(TEXTS[:5], LABELS[:5]), "there are 5 texts with a label; expected 10 or more"),
    (lambda: text_data.Provider(list("abcdefghijkl"), LABELS[:12]), "no word occurs twice"),
    (lambda: text_data.Provider(TEXTS, LABELS, weights=[-1.0] * 40), "weight column 'weight' holds -1.0 in row 1"),
]


@pytest.mark.parametrize(("make", "said"), MISTAKES, ids=[said[:40] for _, said in MISTAKES])
def test_mistakes_are_one_sentence(make, said):
    with pytest.raises(DataError, match=said):
        make().prepare(OPTIONS)


def test_columns_that_cannot_be_told(tmp_path):
    pd.DataFrame({"a": TEXTS, "b": TEXTS, "label": LABELS}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="has the columns a, b, label; name that of the texts"):
        text_data.Provider(filename=tmp_path / "a.csv").prepare(OPTIONS)
    with pytest.raises(DataError, match="has no column 'c'; its columns are a, b, label"):
        text_data.Provider(filename=tmp_path / "a.csv", columns=TextColumns("c")).prepare(OPTIONS)


def test_missing_texts_of_every_kind_are_empty():
    texts, labels = made()
    expected = text_data.Provider(["", "", "", "", *texts[4:]], labels).prepare(OPTIONS).fingerprint
    for source in ([None, np.nan, pd.NA, pd.NaT, *texts[4:]], pd.Series([pd.NA] * 4 + texts[4:], dtype="string")):
        assert text_data.Provider(source, labels).prepare(OPTIONS).fingerprint == expected


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_csv_file_in_another_encoding(tmp_path, encoding):
    rows = "".join(f"{text} caf\u00e9,{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "a.csv").write_text("text,label\n" + rows, encoding=encoding)
    with pytest.raises(DataError, match=r"a\.csv is (not utf-8: byte 0xe9 in line 2|UTF-16).*; .*='(cp1252|utf-16)'$"):
        text_data.Provider(filename=tmp_path / "a.csv").prepare(OPTIONS)
    found = text_data.Provider(filename=tmp_path / "a.csv", validation=tmp_path / "a.csv", encoding=encoding)
    data, plain = found.prepare(OPTIONS), text_data.Provider(TEXTS, LABELS).prepare(OPTIONS)
    assert "caf\u00e9" in data.description["text"]["vocabulary"]
    assert len(inputs_of(tmp_path / "a.csv", as_described(data))["tokens"]) == 40
    assert len(labelled_rows(tmp_path / "a.csv", as_described(data))) == 40
    for read in (inputs_of, labelled_rows):
        with pytest.raises(DataError, match=r"(not utf-8|UTF-16).*; save it as UTF-8, which this study reads$"):
            read(tmp_path / "a.csv", as_described(plain))
    with pytest.raises(DataError, match=f"encoding is '{encoding}', which is for a CSV file"):
        text_data.Provider(TEXTS, LABELS, encoding=encoding)
    (tmp_path / "b.csv").write_text("text;label\na;b;c\n")
    with pytest.raises(DataError, match="line 2 has 3 fields"):
        text_data.Provider(filename=tmp_path / "b.csv").prepare(OPTIONS)


def test_words():
    assert words_of("Don't PANIC: 42 \u00dcber-B\u00e4r!") == ["don", "t", "panic", "42", "\u00fcber", "b\u00e4r"]
    assert words_of("\u4f60\u597d, \u30c6\u30b9") == ["\u4f60", "\u597d", "\u30c6", "\u30b9"]


VOCABULARY = ("a", "i\u0307", "\u00df", "\u00fc", "42", "\u4f60", "good", "\u03c3", "\u03c2")
ENCODER = TextEncoder(TextFormat(5, VOCABULARY))
ALPHABET = st.one_of(
    st.sampled_from("aA\u0130\u1e9e\u00dc42\u4f60 .\u2014\u03a3_\0"),
    st.characters(exclude_categories=["Cs"]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(ALPHABET, max_size=30), min_size=1, max_size=4))
def test_tensorflow_reads_texts_as_python_does(texts):
    expected = TextFormat(5, VOCABULARY).inputs(tokenized(texts))
    ids, lengths = ENCODER.encoded(tf.constant(texts))
    assert lengths.numpy().tolist() == expected["lengths"].tolist()
    assert ids.numpy().tolist() == expected["tokens"].tolist()


def test_every_character_is_the_same_word_to_both():
    """Lower case, separators and ideographs: what TensorFlow makes of a character is what Python makes of it."""
    characters = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    plain = tf.strings.lower(tf.constant(characters), encoding="utf-8").numpy()
    differ = [one for one, found in zip(characters[1:], plain[1:], strict=True) if found.decode() != one.lower()]
    # The letters of a few old scripts became pairs of cases after this TensorFlow's tables were made.
    assert all(unicodedata.ucd_3_2_0.category(one) == "Cn" for one in differ)
    assert len(differ) < 100
    few = [one for one in characters[:0x3100] if one not in differ]
    wanted = TextFormat(3, tuple(dict.fromkeys(word for one in few for word in words_of(one))))
    ids, lengths = TextEncoder(wanted).encoded(tf.constant(few))
    expected = wanted.inputs(tokenized(few))
    assert np.array_equal(lengths, expected["lengths"])
    assert np.array_equal(ids, expected["tokens"])
