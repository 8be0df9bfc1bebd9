"""Several inputs by name: a picture and a table, two sequences, a text and a table; from training to export."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from test_documented_modalities import examples

from model_search import single_trainer
from model_search.data import array_data
from model_search.data.later_rows import inputs_of
from model_search.errors import DataError
from model_search.spec.load import load_text

ROWS = 90
SETTINGS = {
    "number_models": 1, "train_steps": 120, "eval_steps": None, "batch_size": 16, "experiment_name": "several",
    "experiment_owner": "tests", "seed": 1, "progress": False, "finish": "neither",
}  # fmt: skip
ADAM = """ hparams { hparam { key: "optimizer" value { bytes_value: "adam" } }
           hparam { key: "learning_rate" value { float_value: 0.01 } } } }"""


def spec(problem, *architecture):
    blocks = ", ".join(f'"{name}"' for name in architecture)
    return load_text(
        f"problem_type: {problem} blocks_to_use: [{blocks}] minimum_depth: 1 maximum_depth: {len(architecture) + 1} "
        f"user_suggestions {{ architecture: [{blocks}] {ADAM}"
    )


def search(folder, x, y, specification, **options):
    provider = array_data.Provider(x, y)
    return single_trainer.SingleTrainer(provider, specification).try_models(root_dir=folder, **SETTINGS | options)


def check_everywhere(study, folder, x, y, least):
    predicted = study.predict(x)
    assert (predicted == y).mean() > least
    assert study.evaluate((x, y))["accuracy"] == pytest.approx((predicted == y).mean())
    expected = study.predict_proba(x).to_numpy()
    written, typed = study.export(folder / "exported"), inputs_of(x, study.record.data)
    served = tf.saved_model.load(str(written["saved_model"])).signatures["serving_typed"]
    answers = served(**{name: tf.constant(values) for name, values in typed.items()})
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    loaded = keras.models.load_model(written["keras"], safe_mode=True)
    np.testing.assert_allclose(loaded(typed)["probabilities"], expected, atol=1e-5)
    return written


@pytest.mark.slow
def test_the_documented_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    (example,) = [one for one in examples("data.md", "python") if "exported_both" in one]
    exec(example, names)
    assert len(names["study"].predict(names["rows"])) == 80


def test_a_picture_and_a_table(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % 2
    light, heavy = rng.integers(0, 2, (2, ROWS))
    pictures = (rng.integers(0, 100, (ROWS, 6, 6, 3)) + 100 * light[:, None, None, None]).astype(np.uint8)
    table = pd.DataFrame({"kilos": 1000.0 + 10 * heavy, "noise": rng.normal(size=ROWS)})
    y = (light & heavy).astype(int)  # neither is enough
    architecture = ("BATCHNORM_CONVOLUTION_16", "PLATE_REDUCTION_FLATTEN", "FIXED_OUTPUT_FULLY_CONNECTED_64")
    x = {"a picture": pictures, "table": table}
    study = search(tmp_path, x, y, spec("CNN", *architecture), train_steps=250)
    assert study.record.data["inputs"]["a picture"]["dtype"] == "uint8"
    check_everywhere(study, tmp_path, x | {"table": table[["noise", "kilos"]]}, y, 0.9)


def sequences(rng):
    x = {"one": [rng.normal(size=(2 + row % 5, 2)) for row in range(ROWS)], "two": rng.normal(size=(ROWS, 9, 3))}
    x["two_lengths"] = rng.integers(1, 10, ROWS)
    valid = np.arange(9) < x["two_lengths"][:, None]
    first = np.array([one[:, 0].mean() for one in x["one"]])
    return x, valid, (first + (x["two"][..., 0] * valid).sum(axis=1) / x["two_lengths"] > 0).astype(int)


def test_two_sequences_of_different_lengths(tmp_path):
    x, valid, y = sequences(np.random.default_rng(1))
    study = search(tmp_path, x, y, spec("RNN_LAST_ACTIVATIONS", "RECURRENT_DENSE_64", "MASKED_MEAN_POOLING"))
    names = [variable.path for variable in study.tower().weights]
    assert sum("RECURRENT_DENSE_64_one" in name for name in names) == 2
    assert sum("RECURRENT_DENSE_64_two" in name for name in names) == 2
    check_everywhere(study, tmp_path, x, y, 0.85)
    spoilt = x | {"two": np.where(valid[..., None], x["two"], 1e3)}
    np.testing.assert_allclose(study.predict_proba(spoilt), study.predict_proba(x), atol=1e-5)


def test_two_sequences_that_share_their_layers_beside_a_table_with_blocks_of_its_own(tmp_path):
    rng = np.random.default_rng(4)
    x = {
        "left": rng.normal(size=(ROWS, 6, 2)),
        "right": rng.normal(size=(ROWS, 6, 2)),
        "table": rng.normal(size=(ROWS, 2)),
    }
    y = (x["left"][:, :, 0].mean(axis=1) + x["right"][:, :, 0].mean(axis=1) > 0).astype(int)
    specification = spec("RNN_LAST_ACTIVATIONS", "RECURRENT_DENSE_64", "MASKED_MEAN_POOLING")
    specification.input_towers.add(input_name="right", shares_weights_with="left")
    specification.input_towers.add(input_name="table", architecture=["FULLY_CONNECTED"])
    study = search(tmp_path, x, y, specification, train_steps=200)
    names = [variable.path for variable in study.tower().weights]
    assert sum("RECURRENT_DENSE_64_left" in name for name in names) == 2
    assert not any("_right" in name for name in names)
    check_everywhere(study, tmp_path, x, y, 0.85)


def test_a_text_and_a_table_and_what_is_exported_takes_text(tmp_path):
    rng = np.random.default_rng(2)
    texts = [" ".join(rng.permutation(["good", "bad", "film", "story"])[:3]) for _ in range(ROWS)]
    x = {"review": texts, "stars": rng.normal(size=(ROWS, 1))}
    y = np.array(["yes" if "good" in text else "no" for text in texts])
    study = search(tmp_path, x, y, spec("RNN_LAST_ACTIVATIONS", "EMBEDDING", "MASKED_MEAN_POOLING"))
    written = check_everywhere(study, tmp_path, x, y, 0.9)
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    served = serve(review=tf.constant(texts), stars=tf.constant(x["stars"], tf.float32))
    np.testing.assert_allclose(served["probabilities"], study.predict_proba(x), atol=1e-5)
    assert "takes `review`" in written["card"].read_text(encoding="utf-8")
    with pytest.raises(DataError, match="'review' is text, which is read by towers that begin with an embedding"):
        search(tmp_path / "b", x, y, spec("RNN_LAST_ACTIVATIONS", "GRU_64"))


def test_a_block_that_suits_no_input_fails_its_trial(tmp_path):
    x, _, y = sequences(np.random.default_rng(3))
    text = """problem_type: RNN_LAST_ACTIVATIONS blocks_to_use: "MASKED_MEAN_POOLING" minimum_depth: 1 maximum_depth: 2
    user_suggestions { architecture: ["BATCHNORM_CONVOLUTION_16"] }"""
    study = search(tmp_path, x, y, load_text(text), number_models=1, train_steps=10)
    assert study.trial(1).state == "failed"
    assert "reads maps, and the inputs there have the shapes {'one': (6, 2), 'two': (9, 3)}" in study.trial(1).reason
    assert study.history.completed
