"""The examples of docs/images.md and docs/sequences.md run as they stand, one after the other in one folder."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from model_search import main

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def examples(page, language):
    """The fenced blocks of a page; searches in them leave the student out, which takes most of the time."""
    found = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [block.replace('experiment_owner="me",', 'experiment_owner="me", finish="ensemble",') for block in found]


@pytest.mark.slow
def test_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples("images.md", "python"):
        exec(example, names)
    study = names["study"]
    folder = sorted(pathlib.Path("digits/0").iterdir())
    assert np.array_equal(study.predict("digits/0"), study.predict(folder))
    served = names["serve"](image=names["tf"].constant([f.read_bytes() for f in folder]))
    assert (
        np.abs(served["probabilities"].numpy() - study.predict_proba(folder).to_numpy()).max() < 0.05
    )  # pixels differ by 1
    (searching, *reading) = [line for block in examples("images.md", "bash") for line in block.splitlines()]
    assert "--input_dir" in searching
    for line in reading:
        assert main.main([*shlex.split(line), "--model_dir=runs"]) == 0
    shown = capsys.readouterr().out
    assert "digits/0" in shown
    assert "accuracy" in shown


@pytest.mark.slow
def test_sequences_and_sound(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples("sequences.md", "python"):
        exec(example.replace("seeds=2,", "seeds=1,"), names)
    assert any(words in str(names["found"]) for words in ("cannot tell", "is better than"))
    assert pathlib.Path("comparison.html").read_text().startswith("<!DOCTYPE html>")
    study, waveforms = names["study"], [names["samples"], names["samples"][:900]]
    served = tf.saved_model.load("exported_tones/saved_model").signatures["serving_default"](
        waveform=tf.constant([waveforms[0], np.pad(waveforms[1], (0, len(waveforms[0]) - 900))], tf.float32),
        samples=tf.constant([len(one) for one in waveforms], tf.int32),
    )
    assert np.abs(served["probabilities"].numpy() - study.predict_proba(waveforms).to_numpy()).max() < 1e-3
