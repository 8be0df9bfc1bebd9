"""Tables with nothing given but the data: the stock specification for tables, and steps that follow from the rows."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import model_search
from model_search import constants
from model_search.spec.load import load_spec

OPTIONS = {"experiment_name": "table", "progress": False, "finish": "neither", "seed": 1}

# Plain Keras, in safe mode, where model_search cannot be imported.
LOADER = """
import json, sys
sys.modules["model_search"] = None
import keras, numpy as np
columns = json.loads(sys.argv[2])
inputs = {name: np.array(values, object if name == "c" else "float32") for name, values in columns.items()}
answers = keras.saving.load_model(sys.argv[1], safe_mode=True).predict(inputs, verbose=0)
print(answers["probabilities"].tolist())
"""


def table(rows=160):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.exponential(size=rows), "c": rng.choice(list("xyz"), rows)})
    return x, np.where(np.sin(3 * x.a) + (x.c == "x") > 0.5, "yes", "no")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    x, y = table()
    return model_search.fit(x, y, number_models=3, root_dir=tmp_path_factory.mktemp("runs"), **OPTIONS)


def test_the_stock_specification_for_tables_is_the_default(study):
    assert [trial.plan.architecture for trial in study.trials[:2]] == [("PLE_16", "MLP_64"), ("PLE_16", "GLU_64")]
    first = study.trials[0].plan
    assert first.hyperparameters["epochs"] == 64
    assert (first.batch_size, first.steps) == (256, 100)


def test_what_was_learnt_of_the_columns_is_stored(study):
    again = model_search.load_study(study.folder.parent, "table")
    x, y = table()
    assert (again.predict(x) == study.predict(x)).all()
    assert (again.predict(x) == y).mean() > 0.8


def test_an_exported_model_loads_with_plain_keras_and_predicts_the_same(study, tmp_path):
    x = table()[0].head(10)
    path = study.export(tmp_path / "model.keras", 1)["keras"]
    words = [sys.executable, "-c", LOADER, str(path), json.dumps({name: x[name].tolist() for name in x})]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found, study.predict_proba(x, 1).to_numpy(), atol=1e-5)


def test_a_study_that_was_begun_with_another_specification_goes_on_with_its_own(tmp_path):
    x, y = table()
    classic = {"spec": constants.DEFAULT_DNN, "train_steps": 20, "batch_size": 16}
    model_search.fit(x, y, number_models=1, root_dir=tmp_path, **OPTIONS, **classic)
    study = model_search.fit(x, y, number_models=2, root_dir=tmp_path, **OPTIONS)
    blocks = set(load_spec(constants.DEFAULT_DNN).blocks_to_use)
    assert all(set(trial.plan.architecture) <= blocks for trial in study.trials)
    assert [(trial.plan.steps, trial.plan.batch_size) for trial in study.trials] == [(20, 16)] * 2
