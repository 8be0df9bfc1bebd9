"""What stands between words, in Python and in an exported model, by the rules of new studies and of those before."""

import dataclasses
import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from model_search.data import array_data, text_data
from model_search.data.later_rows import inputs_of
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES, PrepareOptions
from model_search.data.text.separators import separators_by
from model_search.data.text.tokens import TextFormat, tokenized, words_of
from model_search.finish.media.encoded_text import TextEncoder

OPTIONS = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")
BEFORE = dataclasses.replace(OPTIONS, reading_rules=4)
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HINDI = ["यह फिल्म अच्छी।", "वह किताब खराब है।"] * 10


@pytest.mark.parametrize("rules", [4, 5])
def test_every_character_separates_words_for_both_or_for_neither(rules):
    separators = separators_by(rules)
    texts = ["a".join(CHARACTERS[start : start + 4096]) for start in range(0, len(CHARACTERS), 4096)]
    found = tf.strings.regex_replace(tf.constant(texts), separators, " ").numpy().tolist()
    assert found == [re.sub(separators, " ", text).encode() for text in texts]


def test_separators_are_punctuation_blanks_and_symbols_of_all_scripts():
    separators = re.compile(separators_by(5))
    are = {one: bool(separators.fullmatch(one)) for one in CHARACTERS}
    kinds = {one: unicodedata.category(one) for one in CHARACTERS}
    wanted = [one for one, kind in kinds.items() if kind[0] in "PZ" or (kind[0] == "S" and one < "\U00010000")]
    later = [one for one in wanted if not are[one]]  # in Unicode since version 14
    assert len(later) < 100 and (later == [] or unicodedata.unidata_version != "14.0.0")
    letters = [one for one, is_one in are.items() if is_one and kinds[one][0] in "LMN"]
    assert set(letters) <= set(map(chr, range(0xA9))) | set(map(chr, range(0x2000, 0x3040)))
    earlier = re.compile(separators_by(4))
    assert all(are[one] for one in CHARACTERS if earlier.fullmatch(one))


def test_words_of_other_scripts():
    assert words_of("यह अच्छी।") == ["यह", "अच्छी"]
    assert words_of("نعم، شكراً؟") == ["نعم", "شكراً"]
    assert words_of("5€, \u1680ok\u166e good😀") == ["5", "ok", "good😀"]
    assert words_of("यह अच्छी। 5€", rules=4) == ["यह", "अच्छी।", "5€"]


@pytest.mark.parametrize("rules", [4, 5])
def test_an_exported_model_has_the_words_of_its_study(rules):
    read = tokenized(HINDI, rules)
    wanted = TextFormat.fitted(read, np.arange(len(HINDI)), 4, 100, rules)
    assert wanted == TextFormat.from_json(wanted.to_json())
    assert ("अच्छी।" in wanted.vocabulary) == (rules == 4)
    ids, lengths = TextEncoder(wanted).encoded(tf.constant(HINDI))
    expected = wanted.inputs(read)
    assert np.array_equal(ids, expected["tokens"]) and np.array_equal(lengths, expected["lengths"])


@pytest.mark.parametrize("named", [False, True])
def test_a_study_that_began_before_goes_on_with_its_words(named):
    labels = ["good", "bad"] * 10
    if named:
        table = np.ones((20, 2))
        provider = array_data.Provider({"words": HINDI, "table": table}, labels)
        source, key = {"words": HINDI[:2], "table": table[:2]}, "words"
    else:
        provider, source, key = text_data.Provider(HINDI, labels), HINDI[:2], "tokens"
    found = {}
    for options in (OPTIONS, BEFORE):
        data = provider.prepare(options)
        specs = {name: spec.to_json() for name, spec in data.input_specs.items()}
        about = {"inputs": specs, **data.description}
        form = about["named"]["words"]["text"] if named else about["text"]
        found[options.reading_rules] = "अच्छी।" in form["vocabulary"]
        assert (inputs_of(source, about)[key] > 1).sum() == 7
        if options is BEFORE:
            del form["reading_rules"]  # what an earlier version stored
            assert (inputs_of(source, about)[key] > 1).sum() == 7
    assert found == {RULES_OF_NEW_STUDIES: False, 4: True}
