"""Supernets whose process is killed while it trains shared weights: the study ends as an undisturbed one"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

from sklearn.datasets import load_digits

from model_search import load_study, single_trainer
from model_search.data import image_data
from model_search.metadata.trial import TrialKind, TrialState
from model_search.spec.load import load_text
from model_search.training.supernet.method import SinglePath

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
UPDATES, PARTS = 12, 3
SPEC = f"""problem_type: CNN search: "SPOS" starting_points: false
cell {{ nodes: 1 channels: 2 reductions: 0 operations: ["CELL_IDENTITY", "CELL_CONVOLUTION_1X1"] }}
learning_spec {{ optimizers: "adam" }}
search_settings {{ hparam {{ key: "supernet_steps" value {{ int64_value: {UPDATES} }} }}
                  hparam {{ key: "supernet_parts" value {{ int64_value: {PARTS} }} }}
                  hparam {{ key: "candidates" value {{ int64_value: 6 }} }} }}"""


def search(root):
    """A study of a supernet in three parts and a tower from scratch."""
    digits = load_digits()
    provider = image_data.Provider(x=digits.images[:120].astype("uint8"), y=digits.target[:120])
    return single_trainer.SingleTrainer(provider, load_text(SPEC)).try_models(
        PARTS + 1, 4, None, root, 16, "s", "me", metric="accuracy", seed=3, progress=False, finish="neither",
        deterministic=True,
    )  # fmt: skip


def search_until_killed(root, updates):
    """As `search`, but the process gets SIGKILL before the update with this number."""
    step, made = SinglePath.step, 0

    def counted(method, *given):
        nonlocal made
        if made == updates:
            os.kill(os.getpid(), signal.SIGKILL)
        made += 1
        return step(method, *given)

    SinglePath.step = counted
    search(root)


def run(act):
    """Runs `act` with this module in a process of its own: the same threads, and so the same bits, each time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(HERE)))}
    words = [sys.executable, "-c", f"from test_fault_supernet import search, search_until_killed; {act}"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def what_it_did(study):
    """Plans, results and the hashes of all files, trial by trial."""
    trials = study.trials
    return {
        "plans": [trial.plan for trial in trials],
        "metrics": [dict(trial.result.metrics) for trial in trials],
        "candidates": [trial.result.candidates for trial in trials],
        "files": [{file.name: file.sha256 for file in trial.artefacts} for trial in trials],
    }


def test_a_supernet_that_is_killed_ends_as_an_undisturbed_one(count, figure, tmp_path):
    undisturbed, killed, damaged = (str(tmp_path / name) for name in ("undisturbed", "killed", "damaged"))
    moments, made, part = count((0, 3, 4, 9), (6,)), 0, UPDATES // PARTS
    for moment in moments:
        ended = run(f"search_until_killed({killed!r}, {moment - made})")
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        made = moment // part * part  # the part that was begun is made again
        trials = load_study(killed, "s").trials
        assert trials[-1].plan.kind is TrialKind.SUPERNET and trials[-1].plan.first_step == made
        assert [trial.state for trial in trials[:-1]] == [TrialState.COMPLETED] * (made // part)
    shutil.copytree(killed, damaged)
    damage(damaged)
    ended = run(f"[search(root) for root in ({undisturbed!r}, {killed!r}, {damaged!r})]")
    assert ended.returncode == 0, ended.stderr
    found = load_study(killed, "s")
    did, expected = what_it_did(found), what_it_did(load_study(undisturbed, "s"))
    for what in expected:
        assert did[what] == expected[what]
    assert sum(trial.attempt - 1 for trial in found.trials) == len(moments)
    figure(
        f"SIGKILL while a supernet is trained, {len(moments)} times",
        f"the same {len(found.trials)} plans, results and SHA-256 of all files as undisturbed; at most the part that "
        "was begun is trained again",
    )
    check_damaged(load_study(damaged, "s").trials)
    figure("a flipped bit in the checkpoint of a supernet", "noticed by its SHA-256, not loaded; the part is made anew")


def damage(root):
    """Flips a bit in the weights that the part to come begins with."""
    trials = load_study(root, "s").trials
    weights = next(file for file in trials[-2].artefacts if file.name == "weights.npz")
    path = pathlib.Path(root) / "s" / weights.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def check_damaged(trials):
    """The part that began with damaged weights has failed, and the one before it was made anew."""
    failed = next(trial for trial in trials if trial.state is TrialState.FAILED)
    (began_with,) = failed.plan.start.trials
    anew = trials[failed.id]
    assert "cannot be built on" in failed.reason and "is damaged" in failed.reason
    assert anew.state is TrialState.COMPLETED and anew.plan.steps == trials[began_with - 1].plan.steps
    assert anew.plan.start == trials[began_with - 1].plan.start
