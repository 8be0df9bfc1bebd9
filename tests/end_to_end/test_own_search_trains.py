"""A search of a user's own, from its file to trained models: here, by the command, and in worker processes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import model_search
from model_search.data import array_data
from model_search.spec.load import load_text
from model_search.spec.searches import SEARCHES

ROOT = pathlib.Path(__file__).parents[2]
OWN = ROOT / "tests" / "search" / "algorithms" / "own_search.py"
SPEC = """
blocks_to_use: ["FIXED_OUTPUT_FULLY_CONNECTED_64", "BOTTLENECK_32"] minimum_depth: 1 maximum_depth: 2
search: "CHANGE_OF_THE_BEST"
search_settings { hparam { key: "share_of_random" value { float_value: 0.5 } } }
"""


@pytest.fixture
def registered():
    before = SEARCHES.of_users()
    for name in before:
        SEARCHES.remove(name)
    exec(compile(OWN.read_text(encoding="utf-8"), str(OWN), "exec"), {"__name__": "own_search_of_this_test"})
    yield
    for name in SEARCHES.of_users():
        SEARCHES.remove(name)
    SEARCHES.restore(before)


def test_it_trains_and_its_study_is_read_where_it_is_not_registered(registered, tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    provider = array_data.Provider(x, (x[:, 0] > 0).astype("int64"))
    study = model_search.SingleTrainer(provider, load_text(SPEC)).try_models(
        3, 12, None, tmp_path, 16, "own", "me", seed=1, progress=False, finish="neither"
    )
    assert len(study.trials) == 3
    study.close()
    SEARCHES.remove("CHANGE_OF_THE_BEST")
    read = model_search.load_study(tmp_path, "own")
    assert read.recommended_trial.id == read.best_trial.id
    assert "CHANGE_OF_THE_BEST, a search that is not registered here." in read.report().read_text()
    with pytest.raises(model_search.UserError, match="There is no search 'CHANGE_OF_THE_BEST'"):
        load_text(SPEC)


@pytest.mark.slow
def test_the_command_finds_it_in_the_provider_s_module_and_workers_get_it(tmp_path):
    (tmp_path / "spec.pbtxt").write_text(SPEC)
    rows = [f"{a},{b},{int(a > b)}" for a, b in np.random.default_rng(0).integers(9, size=(200, 2))]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,label", *rows]))
    flags = [
        f"--provider_module={OWN}", "--phoenix_spec_filename=spec.pbtxt", "--filename=rows.csv", "--label=label",
        "--experiment_max_num_trials=3", "--phoenix_train_steps=12", "--workers=2", "--finish=neither",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "model_search", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(model_search.load_study(tmp_path / "runs", "rows").trials) >= 3
