"""Text from a list to the exported model."""

import json
import pathlib
import shlex

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_documented_modalities import examples

from model_search import constants, main, single_trainer
from model_search.data import sequence_data, text_data
from model_search.errors import DataWarning, UserError
from model_search.spec.load import load_text

GLAD, SAD, OTHER = (
    ["good", "fine", "lovely", "happy"],
    ["bad", "awful", "poor", "sad"],
    ["the", "film", "was", "a", "story", "of", "it"],
)


def made(count=80, seed=0):
    """Sentences, each with two words that give its class away, and this class."""
    rng = np.random.default_rng(seed)
    moods = np.arange(count) % 2
    texts = []
    for mood in moods:
        words = [*rng.choice(OTHER, rng.integers(2, 9)), *rng.choice((SAD, GLAD)[mood], 2)]
        texts.append(" ".join(rng.permutation(words)).capitalize() + ".")
    return texts, np.array(["sad", "glad"])[moods]


def search(folder, provider, spec, **options):
    arguments = {
        "number_models": 1, "train_steps": 100, "eval_steps": None, "root_dir": folder, "batch_size": 16,
        "experiment_name": "text", "experiment_owner": "tests", "seed": 1, "progress": False, "finish": "neither",
    } | options  # fmt: skip
    return single_trainer.SingleTrainer(provider, spec).try_models(**arguments)


SPEC = """problem_type: RNN_LAST_ACTIVATIONS blocks_to_use: ["EMBEDDING", "MASKED_MEAN_POOLING"] minimum_depth: 1
maximum_depth: 2 user_suggestions { architecture: ["EMBEDDING", "MASKED_MEAN_POOLING"]
  hparams { hparam { key: "optimizer" value { bytes_value: "adam" } }
            hparam { key: "learning_rate" value { float_value: 0.01 } } } }"""


@pytest.mark.slow
def test_the_documented_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples("text.md", "python"):
        exec(example, names)
    study, asked = names["study"], ["a mapping of keys to values", ""]
    assert [trial.plan.architecture[0] for trial in study.history.completed] == ["EMBEDDING"] * 3
    np.testing.assert_allclose(names["served"]["probabilities"], study.predict_proba(asked), atol=1e-5)
    texts, moods = made()
    lines = [f'"{text}",{mood}\n' for text, mood in zip(texts, moods, strict=True)]
    pathlib.Path("reviews.csv").write_text("review,mood\n" + "".join(lines))
    for line in (line for block in examples("text.md", "bash") for line in block.splitlines()):
        assert main.main([*shlex.split(line), "--model_dir=runs", "--finish=ensemble"]) == 0
    shown = capsys.readouterr().out
    assert "probability_glad" in shown
    assert "accuracy" in shown


@pytest.fixture(scope="module")
def moods(tmp_path_factory):
    texts, labels = made()
    return search(tmp_path_factory.mktemp("runs"), text_data.Provider(texts, labels), load_text(SPEC))


def test_texts_are_learnt_evaluated_and_predicted_from_any_source(moods, tmp_path):
    texts, labels = made(seed=1)
    predicted = moods.predict(texts)
    assert (predicted == labels).mean() > 0.9
    assert moods.evaluate((texts, labels))["accuracy"] == pytest.approx((predicted == labels).mean())
    (tmp_path / "new.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    for row, text in enumerate(texts):
        (tmp_path / labels[row]).mkdir(exist_ok=True)
        (tmp_path / labels[row] / f"{row:02}.txt").write_text(text)
    assert (moods.predict(tmp_path / "new.csv") == predicted).all()
    assert (moods.predict({"text": texts}) == predicted).all()
    assert moods.evaluate(tmp_path) == pytest.approx(moods.evaluate((texts, labels)))
    assert moods.predict(tmp_path / "sad" / "00.txt").tolist() == [predicted[0]]


def test_what_is_exported_reads_text_as_the_study_does(moods, tmp_path):
    texts = ["A GOOD film!", "", "Bad; awful, sad", "unheard-of", "film " * 40, "caf\u00e9 \u4f60\u597d good"]
    with pytest.warns(DataWarning, match="1 of 6 texts have more than"):
        expected = moods.predict_proba(texts).to_numpy()
    written = moods.export(tmp_path / "exported")
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    np.testing.assert_allclose(serve(text=tf.constant(texts))["probabilities"], expected, atol=1e-5)
    about = json.loads((written["card"].parent / "export.json").read_text(encoding="utf-8"))
    ids = {word: number for number, word in enumerate(about["texts"]["tokens"]["vocabulary"], start=2)}
    tokens = np.zeros((1, about["texts"]["tokens"]["steps"]), np.int32)
    tokens[0, :3] = [ids["a"], ids["good"], ids["film"]]
    loaded = keras.models.load_model(written["keras"], safe_mode=True)
    answer = loaded({"tokens": tokens, "lengths": np.array([3], np.int32)})
    np.testing.assert_allclose(answer["probabilities"], expected[:1], atol=1e-5)
    assert "takes `text`" in written["card"].read_text(encoding="utf-8")


def test_numbers_are_predicted_from_text(tmp_path):
    texts, labels = made()
    stars = np.where(labels == "glad", 4.5, 1.5) + np.arange(len(texts)) / 1000
    study = search(tmp_path, text_data.Provider(texts, stars), load_text(SPEC))
    assert np.abs(study.predict(texts) - stars).mean() < 0.5


def test_text_needs_an_embedding_and_an_embedding_needs_text(tmp_path):
    texts, labels = made()
    with pytest.raises(UserError, match=r"use the specification constants\.DEFAULT_TEXT"):
        search(tmp_path, text_data.Provider(texts, labels), constants.DEFAULT_SEQUENCE)
    with pytest.raises(UserError, match=r"use the specification constants\.DEFAULT_TEXT"):
        search(tmp_path, text_data.Provider(texts, labels), constants.DEFAULT_DNN)
    sequences = sequence_data.Provider(np.zeros((20, 3, 2)), np.arange(20) % 2)
    with pytest.raises(UserError, match="begin with EMBEDDING, which reads token ids, and the data have none"):
        search(tmp_path, sequences, constants.DEFAULT_TEXT)
