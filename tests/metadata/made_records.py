"""Records for tests of stores: a study, plans, results and final models, and trials that have them."""

from model_search.metadata.final_models import Calibration, FinalKind, FinalMember, FinalModel
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import (
    Artefact,
    TrialKind,
    TrialPlan,
    TrialResult,
)

RECORD = StudyRecord(
    name="adult",
    owner="me",
    spec_text="minimum_depth: 1\n",
    metric="loss",
    goal="minimize",
    seed=0,
    data_fingerprint="ab" * 32,
    data={"task": {"kind": "classification"}, "columns": ["age", "naïve"], "split": {"seed": 0}},
    settings={"train_steps": 1000, "time_limit": None},
    environment={"tensorflow": "2.21", "threads": 2},
)


def make_plan(trial_id, key=None, **changes):
    values = {
        "trial_id": trial_id,
        "kind": TrialKind.SEARCH,
        "architecture": ("FULLY_CONNECTED", "IDENTITY"),
        "hyperparameters": {"learning_rate": 1e-3, "optimizer": "adam", "decay": True, "units": 7},
        "steps": 10,
        "batch_size": 4,
        "seed": 2**63 + 11,
        "key": f"key-{trial_id}" if key is None else key,
    }
    return TrialPlan(**(values | changes))


def make_result(loss=0.5, **changes):
    values = {
        "metrics": {"loss": loss, "accuracy": 0.75},
        "parameters": 1234,
        "best_step": 8,
        "timings": {"train": 0.25, "total": 0.5},
        "curve": ((4, 0.75), (8, loss)),
        "environment": {"tensorflow": "2.21", "cpu": "some"},
        "artefacts": (Artefact("weights.npz", "trials/000001/weights.00.npz", "00" * 32, 17),),
    }
    return TrialResult(**(values | changes))


def make_ensemble(**changes):
    values = {
        "kind": FinalKind.ENSEMBLE,
        "metrics": {"loss": 0.25},
        "parameters": 77,
        "seconds": 0.5,
        "trials": (1, 2, 3),
        "gain": 0.01,
        "gain_error": 0.005,
        "members": (FinalMember(3, 0.75, 0.3, 0.35), FinalMember(1, 0.25)),
        "calibration": Calibration(1.25, True, 0.26, 0.25, 0.04, 0.02),
        "notes": ("a note",),
    }
    return FinalModel(**(values | changes))


def make_student(**changes):
    weights = Artefact("student_weights.npz", "files/student_weights.00.npz", "00" * 32, 17)
    values = {
        "kind": FinalKind.STUDENT,
        "metrics": {"loss": 0.3},
        "parameters": 7,
        "seconds": 1.5,
        "trials": (1, 2, 3),
        "plan": make_plan(4),
        "artefacts": (weights,),
    }
    return FinalModel(**(values | changes))


def run_one(store, target, loss=0.5, worker="w"):
    claim = store.claim(worker, target)
    plan = claim.plan or make_plan(claim.trial_id)
    store.commit_plan(claim, plan)
    store.complete(claim, make_result(loss))
    return claim.trial_id


def vanish(store):
    """Puts back every trial that is held, as if its worker had vanished."""
    return store.reclaim(store.heartbeats())
