"""Providers with several inputs, lengths and a label for each step, from training to the exported model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import model_search
from model_search import blocks, single_trainer
from model_search.blocks import catalogue
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError, UserError
from model_search.spec.load import load_text

STEPS, ROWS = 6, 90


class Gru(blocks.Block):
    """A GRU over the valid steps."""

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        sequence = input_tensors[-1]
        valid = None
        if lengths is not None:
            valid = keras.ops.expand_dims(lengths, 1) > np.arange(sequence.shape[1], dtype="int32")
        return [*input_tensors, keras.layers.GRU(8, return_sequences=True)(sequence, mask=valid)]


class Embedding(blocks.Block):
    """Token ids to vectors; it fails on anything but whole numbers."""

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        if input_tensors[-1].dtype != "int32":
            raise TypeError(f"received {input_tensors[-1].dtype}")
        return [*input_tensors, keras.layers.Embedding(10, 4)(input_tensors[-1])]


class Pool(blocks.Block):
    """The mean of a sequence's steps."""

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return [*input_tensors, keras.layers.GlobalAveragePooling1D()(input_tensors[-1])]


@pytest.fixture(scope="module", autouse=True)
def own_blocks():
    blocks.register_block("NAMED_GRU", reads_rank=2, writes_rank=2)(Gru)
    blocks.register_block("NAMED_EMBEDDING", reads_rank=1, writes_rank=2)(Embedding)
    blocks.register_block("NAMED_POOL", reads_rank=2, writes_rank=1)(Pool)
    yield
    for name in ("NAMED_GRU", "NAMED_EMBEDDING", "NAMED_POOL"):
        catalogue.unregister(name)


class Provider(model_search.data.Provider):
    """Rows as an `input_fn` yields them: a dict of features, labels, perhaps weights."""

    def __init__(self, rows, classes=2, per_batch=None):
        self.rows, self.classes, self.per_batch = rows, classes, per_batch or (lambda batch: batch)

    def get_input_fn(self, hparams, mode, batch_size):
        def batches():
            count = len(self.rows[1])
            for start in range(0, count, batch_size):
                cut = slice(start, start + batch_size)
                yield self.per_batch(tuple(take(part, cut) for part in self.rows))

        return lambda: list(batches())

    def number_of_classes(self):
        return self.classes


def take(part, cut):
    return {name: values[cut] for name, values in part.items()} if isinstance(part, dict) else part[cut]


def sequences(seed=0, per_step=False):
    """Sequences with lengths beside a vector; what stands in padded steps is noise that must not matter."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(ROWS, STEPS, 3)).astype(np.float32)
    lengths = rng.integers(1, STEPS + 1, ROWS)
    valid = np.arange(STEPS) < lengths[:, None]
    age = rng.normal(size=ROWS)
    features = {"signal": signal, "lengths": lengths, "age": age, "height": rng.normal(size=ROWS)}
    if per_step:
        return features, (signal[..., 0] > 0).astype(int), valid
    return features, ((signal[..., 0] * valid).sum(axis=1) + age > 0).astype(int), valid


def with_other_padding(features, valid):
    noise = np.where(valid[..., None], features["signal"], 1e3).astype(np.float32)
    return {**features, "signal": noise}


def search(tmp_path, provider, text, number_models=4, **options):
    arguments = {
        "train_steps": 30,
        "eval_steps": None,
        "root_dir": tmp_path,
        "batch_size": 16,
        "experiment_name": "named",
        "experiment_owner": "tests",
        "seed": 3,
        "progress": False,
    } | options
    spec = load_text(text)
    return single_trainer.SingleTrainer(provider, spec).try_models(number_models=number_models, **arguments)


ENSEMBLES = """
ensemble_spec { ensemble_search_type: INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH combining_type: WEIGHTED_ENSEMBLE
  intermixed_search { width: 2 try_ensembling_every: 3 num_trials_to_consider: 2 } }
"""


def test_two_inputs_and_lengths_in_a_tower_of_vectors(tmp_path):
    features, labels, valid = sequences()
    text = f'blocks_to_use: ["FULLY_CONNECTED", "LOWRANK_1"] maximum_depth: 2 {ENSEMBLES}'
    study = search(tmp_path, Provider((features, labels)), text)
    stored = study.record.data["inputs"]
    assert {name: spec["dtype"] for name, spec in stored.items()} == {
        "features": "float32",
        "signal": "float32",
        "lengths": "int32",
    }
    assert stored["signal"]["lengths"] == "lengths" and stored["features"]["columns"] == ["age", "height"]
    assert any(trial.plan.members for trial in study.trials) and study.final_models
    check_everywhere(study, tmp_path, features, labels, valid)


def test_a_sequence_and_a_vector_in_a_recurrent_tower(tmp_path):
    features, labels, valid = sequences()
    text = f'problem_type: RNN_LAST_ACTIVATIONS blocks_to_use: "NAMED_GRU" maximum_depth: 2 {ENSEMBLES}'
    study = search(tmp_path, Provider((features, labels)), text, finish="ensemble")
    check_everywhere(study, tmp_path, features, labels, valid)


def check_everywhere(study, tmp_path, features, labels, valid):
    """Every model predicts; padding never matters; what is evaluated, exported and loaded in plain Keras agrees."""
    models = [trial.id for trial in study.history.completed] + [model.kind.value for model in study.final_models]
    for choice in models:
        expected = study.predict_proba(features, choice).to_numpy()
        assert np.isfinite(expected).all()
        other = study.predict_proba(with_other_padding(features, valid), choice).to_numpy()
        np.testing.assert_allclose(other, expected, atol=1e-5)
        found = study.evaluate((features, labels), choice)["accuracy"]
        assert found == pytest.approx((study.predict(features, choice) == labels).mean())
    written = study.export(tmp_path / "exported")
    best = study.predict_proba(features).to_numpy()
    inputs = [spec.name for spec in study.tower().inputs]
    typed = {"signal": features["signal"], "lengths": features["lengths"].astype(np.int32)}
    typed["features"] = np.stack([features["age"], features["height"]], axis=1).astype(np.float32)
    assert sorted(inputs) == sorted(typed)
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    served = serve(**{name: tf.constant(values) for name, values in typed.items()})
    np.testing.assert_allclose(served["probabilities"].numpy(), best, atol=1e-5)
    loaded = keras.models.load_model(written["keras"], safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(typed)["probabilities"]), best, atol=1e-5)
    about = json.loads((written["card"].parent / "export.json").read_text(encoding="utf-8"))
    assert set(about["inputs"]) == set(typed)
    assert "lengths" in written["card"].read_text(encoding="utf-8")


def test_a_label_for_each_step(tmp_path):
    features, labels, valid = sequences(per_step=True)
    text = f'problem_type: RNN_ALL_ACTIVATIONS blocks_to_use: "NAMED_GRU" maximum_depth: 2 {ENSEMBLES}'
    study = search(tmp_path, Provider((features, labels)), text, train_steps=150, finish="ensemble")
    spoilt = np.where(valid, labels, 1 - labels)  # what padded steps are labelled with must not matter
    again = search(tmp_path / "again", Provider((features, spoilt)), text, train_steps=150, finish="ensemble")
    for one, other in zip(study.history.completed, again.history.completed, strict=True):
        assert one.result.metrics == other.result.metrics
    proba = study.predict_proba(features, "single")
    assert proba.shape == (valid.sum(), 2) and proba.index.names == ["row", "step"]
    predicted = study.predict(features, "single")
    assert predicted.shape == labels.shape
    right = (predicted == labels)[valid]
    assert right.mean() > 0.8
    found = study.evaluate((features, labels), "single")
    assert found["accuracy"] == pytest.approx(right.mean())
    assert study.calibration("single").log_loss_after <= study.calibration("single").log_loss_before + 1e-6
    with pytest.raises(DataError, match=r"expected \[90 rows, steps\]"):
        study.evaluate((features, labels[:, 0]), "single")
    check_exported_steps(study, tmp_path, features, proba, valid)


def check_exported_steps(study, tmp_path, features, proba, valid):
    """What is exported answers each step, although the block gives its recurrent layer a mask."""
    written = study.export(tmp_path / "exported", "single")
    typed = {"signal": features["signal"], "lengths": features["lengths"].astype(np.int32)}
    typed["features"] = np.stack([features["age"], features["height"]], axis=1).astype(np.float32)
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    served = serve(**{name: tf.constant(values) for name, values in typed.items()})
    loaded = keras.models.load_model(written["keras"], safe_mode=True)(typed)
    for answers in (served, loaded):
        assert answers["label"].shape == valid.shape
        np.testing.assert_allclose(np.asarray(answers["probabilities"])[valid], proba, atol=1e-5)


def test_an_architecture_without_steps_fails_its_trial_alone(tmp_path):
    features, labels, _ = sequences(per_step=True)
    text = (
        'problem_type: RNN_ALL_ACTIVATIONS blocks_to_use: ["NAMED_POOL", "NAMED_GRU"] minimum_depth: 1 '
        'maximum_depth: 1 user_suggestions { architecture: "NAMED_POOL" } '
        'user_suggestions { architecture: "NAMED_GRU" }'
    )
    study = search(tmp_path, Provider((features, labels)), text, number_models=1, finish="neither")
    assert study.trial(1).state == "failed" and "expected [batch, steps, channels]" in study.trial(1).reason
    assert [trial.plan.architecture for trial in study.history.completed] == [("NAMED_GRU",)]


class Table(model_search.data.Provider):
    """Rows that a provider prepares itself, with nothing in the description but the task."""

    def __init__(self, rows, lengths):
        self.all, self.lengths = rows, lengths
        self.task = Task(TaskKind.CLASSIFICATION, "label", 2, (0, 1))

    def number_of_classes(self):
        return 2

    def prepare(self, options):
        train, valid = self.all.take(slice(0, 60)), self.all.take(slice(60, None))
        return TableData(self.task, train, valid, "rows", {"task": self.task.to_json()}, lengths=self.lengths)


def test_a_table_of_named_inputs_predicts_and_evaluates(tmp_path):
    features, labels, _ = sequences()
    vector = np.stack([features["age"], features["height"]], axis=1).astype(np.float32)
    inputs = {"signal": features["signal"], "lengths": features["lengths"].astype(np.int32), "vector": vector}
    provider = Table(Rows.of(inputs, labels.astype(np.int32)), {"signal": "lengths"})
    study = search(tmp_path, provider, 'blocks_to_use: "FULLY_CONNECTED"', number_models=1, finish="neither")
    predicted = study.predict(inputs)
    assert predicted.shape == (ROWS,)
    assert study.evaluate((inputs, labels))["accuracy"] == pytest.approx((predicted == labels).mean())
    with pytest.raises(UserError, match="'vector' are missing"):
        study.predict({name: inputs[name] for name in ("signal", "lengths")})


def test_a_table_with_a_label_for_each_step_predicts_and_evaluates(tmp_path):
    features, labels, valid = sequences(per_step=True)
    inputs = {"signal": features["signal"], "lengths": features["lengths"].astype(np.int32)}
    rows = Rows.of(inputs, np.where(valid, labels, 0).astype(np.int32), valid.astype(np.float32))
    text = 'problem_type: RNN_ALL_ACTIVATIONS blocks_to_use: "NAMED_GRU" minimum_depth: 1 maximum_depth: 1'
    study = search(tmp_path, Table(rows, {"signal": "lengths"}), text, number_models=1, finish="neither")
    predicted = study.predict(inputs)
    assert predicted.shape == labels.shape and (predicted.mask == ~valid).all()
    assert study.evaluate((inputs, labels))["accuracy"] == pytest.approx((predicted == labels)[valid].mean())


NAMES = ("grid/1", "grid_1", "logits", "answers", "tower", "cast", "my feature", "x", "x_flatten", "vector", "features")


def test_features_may_have_any_name(tmp_path):
    rng = np.random.default_rng(4)
    features = {name: rng.normal(size=(ROWS, 3, 2)).astype(np.float32) for name in NAMES}
    features |= {"age": rng.normal(size=ROWS)}
    labels = (features["grid/1"][:, 0, 0] + features["logits"][:, 0, 0] > 0).astype(int)
    ensemble = """ensemble_spec { ensemble_search_type: ADAPTIVE_ENSEMBLE_SEARCH combining_type: WEIGHTED_ENSEMBLE
      adaptive_search { minimal_pool_size: 1 increase_width_every: 1 } }"""
    study = search(
        tmp_path, Provider((features, labels)), f'blocks_to_use: "FULLY_CONNECTED" {ensemble}', number_models=2
    )
    assert {trial.state.value for trial in study.trials} == {"completed"} and study.trial(2).plan.members
    expected = study.predict_proba(features, 2).to_numpy()
    changed = {**features, "logits": features["logits"] + 1}
    assert not np.allclose(study.predict_proba(changed, 2), expected, atol=1e-4)
    found = study.evaluate((features, labels), 2)["accuracy"]
    assert found == pytest.approx((study.predict(features, 2) == labels).mean())
    written = study.export(tmp_path / "exported", 2)
    inputs = json.loads((written["card"].parent / "export.json").read_text(encoding="utf-8"))["inputs"]
    assert set(inputs) == {*NAMES, "vector_"} and inputs["vector_"]["columns"] == ["age"]
    values = {**features, "vector_": features["age"].astype(np.float32)[:, None]}
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    served = serve(**{spec["saved_model"]: tf.constant(values[name]) for name, spec in inputs.items()})
    np.testing.assert_allclose(served["probabilities"].numpy(), expected, atol=1e-5)
    loaded = keras.models.load_model(written["keras"], safe_mode=True)
    answers = loaded({spec["keras"]: values[name] for name, spec in inputs.items()})
    np.testing.assert_allclose(np.asarray(answers["probabilities"]), expected, atol=1e-5)
    assert {inputs[name]["keras"] for name in ("logits", "tower", "grid_1")} == {"logits", "tower", "grid_1"}
    assert "`grid/1` is `grid_1_2` in model.keras" in written["card"].read_text(encoding="utf-8")


def test_one_odd_name(tmp_path):
    features, labels, _ = sequences()
    features = {"a/b c": features["signal"]}
    text = 'blocks_to_use: "FULLY_CONNECTED"'
    study = search(tmp_path, Provider((features, labels)), text, number_models=1, finish="neither")
    expected = study.predict_proba(features).to_numpy()
    written = study.export(tmp_path / "exported")
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    served = serve(a_b_c=tf.constant(features["a/b c"]))["probabilities"].numpy()
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_the_one_name_that_is_taken(tmp_path):
    features, labels, _ = sequences()
    features = {"frozen_logits": features["signal"], "age": features["age"]}
    with pytest.raises(DataError, match=r"a feature is called 'frozen_logits'.*another name"):
        search(tmp_path, Provider((features, labels)), 'blocks_to_use: "FULLY_CONNECTED"', number_models=1)


def test_token_ids_stay_whole_numbers(tmp_path):
    rng = np.random.default_rng(1)
    tokens, lengths = rng.integers(1, 10, (ROWS, STEPS)), rng.integers(2, STEPS + 1, ROWS)
    labels = (tokens[:, 0] > 5).astype(int)
    text = (
        'problem_type: RNN_LAST_ACTIVATIONS blocks_to_use: ["NAMED_EMBEDDING", "NAMED_GRU"] minimum_depth: 2 '
        'maximum_depth: 2 user_suggestions { architecture: ["NAMED_EMBEDDING", "NAMED_GRU"] }'
    )
    features = {"tokens": tokens, "lengths": lengths}
    study = search(tmp_path, Provider((features, labels)), text, number_models=1, finish="neither")
    assert study.trial(1).plan.architecture == ("NAMED_EMBEDDING", "NAMED_GRU")
    assert study.record.data["inputs"]["tokens"]["dtype"] == "int32"
    shorter = {"tokens": tokens[:5, :4], "lengths": np.minimum(lengths[:5], 4)}
    padded = {"tokens": np.pad(shorter["tokens"], [(0, 0), (0, 2)], constant_values=9), "lengths": shorter["lengths"]}
    np.testing.assert_allclose(study.predict_proba(shorter), study.predict_proba(padded), atol=1e-6)
    with pytest.raises(DataError, match="a fraction"):
        study.predict({"tokens": tokens + 0.5, "lengths": lengths})
    with pytest.raises(DataError, match="expected 1 to 6 steps"):
        study.predict({"tokens": tokens, "lengths": lengths + 9})
    with pytest.raises(UserError, match="'lengths' are missing"):
        study.predict({"tokens": tokens})


def test_pictures_stay_bytes_and_batches_may_be_padded_to_their_own_longest(tmp_path):
    features, labels, _ = sequences()
    features = {**features, "picture": np.random.default_rng(2).integers(0, 256, (ROWS, 4, 4, 1), dtype=np.uint8)}

    def cut(batch):
        longest = int(batch[0]["lengths"].max())
        return {**batch[0], "signal": batch[0]["signal"][:, :longest]}, *batch[1:]

    text = 'blocks_to_use: "FULLY_CONNECTED" maximum_depth: 2'
    study = search(tmp_path, Provider((features, labels), per_batch=cut), text, number_models=1, finish="neither")
    assert study.record.data["inputs"]["picture"] == {
        "shape": [4, 4, 1],
        "dtype": "uint8",
        "lengths": None,
        "columns": [],
    }
    as_floats = {**features, "picture": features["picture"].astype(np.float32)}
    np.testing.assert_allclose(study.predict_proba(features), study.predict_proba(as_floats), atol=1e-6)
    with pytest.raises(DataError, match=r"a pair \(features, labels\)"):
        study.evaluate(features)


def test_weights_of_steps(tmp_path):
    features, labels, _ = sequences(per_step=True)
    weights = np.random.default_rng(3).uniform(0.5, 2, labels.shape).astype(np.float32)
    weights[:, 0] = 0
    text = 'problem_type: RNN_ALL_ACTIVATIONS blocks_to_use: "NAMED_GRU" maximum_depth: 2'
    study = search(tmp_path, Provider((features, labels, weights)), text, number_models=1, finish="neither")
    other = labels.copy()
    other[:, 0] = 1 - other[:, 0]
    again = search(tmp_path / "o", Provider((features, other, weights)), text, number_models=1, finish="neither")
    # The first step weighs nothing, so its label does not matter.
    assert study.trial(1).result.metrics["accuracy"] == again.trial(1).result.metrics["accuracy"]


def test_a_loss_of_the_providers_own_reads_valid_steps_alone(tmp_path):
    features, labels, valid = sequences(per_step=True)
    spoilt = np.where(valid, labels, 1 - labels)

    def own_loss(labels, logits):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    text = 'problem_type: RNN_ALL_ACTIVATIONS blocks_to_use: "NAMED_GRU" maximum_depth: 2'
    found = []
    for folder, rows, loss in (("own", spoilt, own_loss), ("usual", labels, None)):
        provider = Provider((features, rows))
        provider.get_loss_fn = lambda loss=loss: loss
        study = search(tmp_path / folder, provider, text, number_models=1, finish="neither")
        found.append(study.trial(1).result.metrics)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
