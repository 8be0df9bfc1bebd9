"""Texts that are read by words: which ones, and what becomes of later texts."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.array_data import Provider
from model_search.data.later_rows import inputs_of
from model_search.data.prepare_options import RULES_AS_IN_FILES, PrepareOptions
from model_search.data.rows import FEATURES
from model_search.data.tabular.categories import telling_words
from model_search.data.tabular.categories.target_means import Target
from model_search.data.tabular.categories.words import words_in, words_of
from model_search.data.tabular.features import CategoryFeature, FeatureSchema
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema
from model_search.errors import DamagedRecordError

ROWS = 600
PLAIN = [f"word{number}" for number in range(40)]


def reviews(rows=ROWS, seed=0, numbered=True):
    """Texts, each one of its own where they are numbered; "good" and "bad" decide the label."""
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 3, rows)
    texts = [
        f"{' '.join(rng.choice(PLAIN, 4))} {['It is GOOD!', 'so bad,', 'well'][kind]} {number if numbered else ''}"
        for number, kind in enumerate(said)
    ]
    return pd.DataFrame({"text": texts, "x": rng.normal(size=rows)}), np.where(
        said == 0, 1.0, np.where(said == 1, -1.0, 0)
    )


def text_feature(frame, target, **more):
    schema, notes = infer_schema(frame, target, **more)
    return next((feature for feature in schema.features if feature.column == "text"), None), notes


@pytest.mark.parametrize("numbered", [True, False])
def test_texts_are_read_by_the_words_that_go_with_the_label(numbered):
    frame, labels = reviews(numbered=numbered)
    feature, notes = text_feature(frame, Target(labels, 0))
    assert {"good", "bad"} <= {*feature.words} <= {"good", "bad", "it", "is", "so", "well"}
    assert (feature.vocabulary, feature.means, feature.width) == ((), (), len(feature.words))
    said = f"column 'text': its texts are read by {len(feature.words)} words that go with the label"
    assert said in notes
    matrix = Preprocessor(FeatureSchema((feature,))).transform(frame)
    for index, word in enumerate(feature.words):
        np.testing.assert_array_equal(matrix[:, index], [word in words_of(text) for text in frame["text"]])


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_words_of_classes(classes):
    frame, labels = reviews()
    found = np.searchsorted([-1.0, 0.0, 1.0], labels) if classes > 2 else (labels > 0).astype(int)
    feature, _ = text_feature(frame, Target(found, classes))
    assert "good" in feature.words
    assert not {*feature.words} & {*PLAIN}


def test_words_that_do_not_go_with_the_label_are_not_read():
    frame, _ = reviews()
    feature, _ = text_feature(frame, Target(np.random.default_rng(1).normal(size=ROWS), 0))
    assert feature is None


def test_studies_that_began_before_have_none():
    frame, labels = reviews()
    assert text_feature(frame, Target(labels, 0), rules=RULES_AS_IN_FILES)[0] is None


def test_texts_that_all_have_a_feature_of_their_own_are_categories():
    frame, labels = reviews()
    frame["text"] = np.where(labels > 0, "it is good", np.where(labels < 0, "it is bad", "it is not"))
    assert text_feature(frame, Target(labels, 0))[0] == CategoryFeature(
        "text", ("it is bad", "it is good", "it is not")
    )


def test_texts_that_are_there_often_are_categories():
    """Names of shops, say: their words would tell no more than the names."""
    kind = np.random.default_rng(0).integers(0, 2, 400)
    names = np.array([f"{['good', 'bad'][which]} shop number {number}" for number, which in enumerate(kind)])
    shops = np.arange(2400) % 400
    frame, labels = pd.DataFrame({"text": names[shops]}), kind[shops] * 1.0
    assert telling_words.telling_words(frame["text"], Target(labels, 0)) == ("bad", "good")
    assert text_feature(frame, Target(labels, 0))[0].words == ()


def test_the_clearest_words_are_read_and_no_rare_ones(monkeypatch):
    frame, labels = reviews()
    rare = np.flatnonzero(labels > 0)[: telling_words.LEAST_ROWS - 1]
    frame.loc[rare, "text"] += " marvellous"
    labels[rare] += 50
    assert "marvellous" not in telling_words.telling_words(frame["text"], Target(labels, 0))
    frame.loc[np.flatnonzero(labels > 0)[: len(rare) + 1], "text"] += " marvellous"
    monkeypatch.setattr(telling_words, "MOST_WORDS", 1)
    assert telling_words.telling_words(frame["text"], Target(labels, 0)) == ("marvellous",)


def test_rows_of_no_weight_do_not_count():
    frame, labels = reviews()
    weights = np.ones(ROWS)
    weights[:200] = 0
    turned = labels.copy()
    turned[:200] = 100 * (np.arange(200) % 2)
    frame.loc[np.arange(0, 200, 2), "text"] += " odd"
    assert "odd" in telling_words.telling_words(frame["text"], Target(turned, 0))
    assert "odd" not in telling_words.telling_words(frame["text"], Target(turned, 0, weights))


def test_later_texts_are_new_and_none_is_called_unknown():
    frame, labels = reviews()
    data = Provider(frame, labels).prepare(PrepareOptions(seed=3, batch_size=8))
    feature = data.preprocessor.schema.features[0]
    later = pd.DataFrame({"text": ["Never seen: GOOD", "", None, "bad.bad bad"], "x": [0.0] * 4})
    said = []
    matrix = data.preprocessor.transform(later, said.append)
    assert said == []
    place = {word: index for index, word in enumerate(feature.words)}
    np.testing.assert_array_equal(matrix[:, place["good"]], [1, 0, 0, 0])
    np.testing.assert_array_equal(matrix[:, place["bad"]], [0, 0, 0, 1])
    assert matrix[1:3, : len(place)].sum() == 0
    stored = json.loads(json.dumps(data.description))
    np.testing.assert_array_equal(inputs_of(later, stored)[FEATURES], matrix)


@pytest.mark.parametrize("words", [["a", "a"], ["A"], ["a b"], [""], ["it's"]])
def test_damaged_words_are_refused(words):
    stored = FeatureSchema((CategoryFeature("text", (), words=("a",)),)).to_json()
    assert FeatureSchema.from_json(stored).features[0].words == ("a",)
    stored["features"][0]["words"] = words
    with pytest.raises(DamagedRecordError, match="column 'text' has the words"):
        FeatureSchema.from_json(stored)


@given(st.text())
def test_words_have_no_space_no_capital_and_no_punctuation(text):
    found = words_of(text)
    assert all(words_of(word) == [word] for word in found)
    assert words_in(tuple(dict.fromkeys(found)), [text]).all()
