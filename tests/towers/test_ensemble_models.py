"""Towers put together: what they answer, and that plain Keras loads them."""

import subprocess
import sys

import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.ensemble_selection import ensemble_logits
from model_search.finish.export import ModelBundle, serving_model
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.ensemble_models import ensemble_model, mean_of_logits, mean_of_predictions, mixture_of_logits

CLASSES, NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
WEIGHTS = (0.5, 0.3, 0.2)
LOAD = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1], safe_mode=True)
assert "model_search" not in sys.modules
answers = model(np.load(sys.argv[2]))
np.savez(sys.argv[3], labels=np.asarray(answers["label"]).astype("S"), probabilities=answers["probabilities"])
"""


def towers(width=3):
    """All of the same blocks, so that every layer is named like two others."""
    blocks = ("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", "FIXED_OUTPUT_FULLY_CONNECTED_64")
    inputs = {"features": InputSpec((4,))}
    return {n: build_tower(TowerSpec(blocks, inputs, width, dropout_rate=0.2, seed=n)) for n in (3, 7, 8)}


def rows(count=20):
    return np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)


def final(made, kind):
    return ensemble_model(made, lambda logits: mean_of_predictions([logits[n] for n in made], WEIGHTS, kind))


@pytest.mark.parametrize("kind", [CLASSES, NUMBERS])
def test_a_final_ensemble_answers_as_selection_reckons(kind):
    made = towers()
    model = final(made, kind)
    own = [np.asarray(tower(rows())) for tower in made.values()]
    expected = ensemble_logits(Task(kind, "y", 3), own, WEIGHTS)
    np.testing.assert_allclose(np.asarray(model(rows())), expected, atol=1e-5)
    assert model.count_params() == sum(tower.count_params() for tower in made.values())


def test_sure_members_make_no_nan():
    made = towers()
    features = 1e6 * rows()
    assert np.isfinite(np.asarray(final(made, CLASSES)(features))).all()


def test_ensembles_of_the_search():
    made = towers()
    own = np.stack([np.asarray(tower(rows())) for tower in made.values()])
    mean = ensemble_model(made, lambda logits: mean_of_logits(list(logits.values())))
    np.testing.assert_allclose(np.asarray(mean(rows())), own.mean(axis=0), atol=1e-5)
    kernel = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    bias = np.arange(3, dtype=np.float32)
    mixed = ensemble_model(made, lambda logits: mixture_of_logits(list(logits.values()), kernel, bias, "mixture_9"))
    expected = np.concatenate(list(own), axis=1) @ kernel + bias
    np.testing.assert_allclose(np.asarray(mixed(rows())), expected, atol=1e-4)


def test_an_ensemble_of_nothing_is_refused():
    with pytest.raises(UserError, match="at least one tower"):
        ensemble_model({}, lambda logits: mean_of_logits([]))


def test_plain_keras_loads_an_ensemble_in_safe_mode(tmp_path):
    task = Task(CLASSES, "y", 3, ("a", "b", "c"))
    model = serving_model(ModelBundle(final(towers(), CLASSES), task, None, temperature=1.3))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "rows.npy", rows())
    files = [str(tmp_path / name) for name in ("model.keras", "rows.npy", "answers.npz")]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers, own = np.load(files[2]), model(rows())
    np.testing.assert_allclose(answers["probabilities"], np.asarray(own["probabilities"]), atol=1e-6)
    assert set(answers["labels"].tolist()) <= {b"a", b"b", b"c"}
