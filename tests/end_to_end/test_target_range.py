"""Numbers that are predicted stay within the range of the training targets, however a model is served."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import model_search


def test_predictions_are_cut_off_at_the_range_of_the_training_targets(tmp_path):
    x = pd.DataFrame({"a": np.linspace(-1, 1, 200)})
    y = 3 * x["a"].to_numpy() + 10
    study = model_search.fit(
        x,
        y,
        number_models=1,
        train_steps=60,
        batch_size=32,
        root_dir=tmp_path,
        seed=1,
        finish="neither",
        progress=False,
    )
    far = pd.DataFrame({"a": [-50.0, 0.0, 50.0]})
    predicted = study.predict(far)
    assert y.min() - 1e-4 <= predicted.min() and predicted.max() <= y.max() + 1e-4
    assert 8 < predicted[1] < 12
    inputs = {"a": tf.constant(far["a"], "float32")}
    for path in study.export(tmp_path / "exported").values():
        if str(path).endswith(".keras"):
            found = keras.models.load_model(path, safe_mode=True)(inputs)
            found = found if not isinstance(found, dict) else next(iter(found.values()))
            np.testing.assert_allclose(np.ravel(found), predicted, rtol=1e-5)
