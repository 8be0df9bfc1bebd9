"""Studies in the real store whose trials were never trained."""

import dataclasses
import math

from model_search.metadata.final_models import Calibration, FinalKind, FinalMember, FinalModel
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialPlan, TrialResult
from model_search.study import load_study

SPEC = """
minimum_depth: 1 maximum_depth: 3 problem_type: DNN search_type: ADAPTIVE_COORDINATE_DESCENT beam_size: 3
blocks_to_use: "IDENTITY" blocks_to_use: "FULLY_CONNECTED" blocks_to_use: "FULLY_CONNECTED_PYRAMID"
"""
TASK = {"kind": "classification", "label": "income", "logits_dimension": 2, "classes": ["<=50K", ">50K"]}
SCHEMA = {"features": [{}, {}], "dropped": {"id": "a different value in every row"}}
BLOCKS = ("FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "IDENTITY")


def make_record(name="adult", label="income", goal="minimize", spec=SPEC, **settings):
    data = {"task": TASK | {"label": label}, "schema": SCHEMA, "notes": ["age: 3 values are missing"]}
    kept = {"number_models": 20, "train_steps": 100, "batch_size": 32, "spec": spec} | settings
    return StudyRecord(name, "me", spec, "loss", goal, 7, "ab" * 32, data, kept, {})


def make_plan(number, **changes):
    values = {
        "trial_id": number,
        "kind": TrialKind.SEARCH,
        "architecture": (BLOCKS[number % 3],) * (1 + number % 2),
        "hyperparameters": {"learning_rate": 0.001 * number, "optimizer": "adam"},
        "steps": 100,
        "batch_size": 32,
        "seed": number,
        "key": f"key {number}",
    }
    return TrialPlan(**(values | changes))


def make_result(loss=0.5, evaluations=5, **changes):
    values = {
        "metrics": {"loss": loss, "accuracy": 0.75},
        "parameters": 1234,
        "best_step": 8,
        "timings": {"train": 1.5, "trace": 0.25, "total": 1.75, "trial": 2.0},
        "curve": tuple((20 * step, loss + math.exp(-step)) for step in range(1, evaluations + 1)),
        "environment": {"tensorflow": "2.21"},
    }
    return TrialResult(**(values | changes))


def make_final(kind=FinalKind.ENSEMBLE, loss=0.01, **changes):
    values = {
        "kind": kind,
        "metrics": {"loss": loss},
        "parameters": 2468,
        "seconds": 0.5,
        "trials": (1, 2),
        "members": (FinalMember(2, 0.75, 0.2, 0.3), FinalMember(1, 0.25, 0.3, 0.2)),
        "calibration": Calibration(0.8, True, 0.4, 0.3, 0.12, 0.05),
        "gain": 0.02,
        "gain_error": 0.01,
    }
    return FinalModel(**(values | changes))


class Made:
    """A study that is being made: `run` completes a trial, `fail` ends one, `start` leaves one running."""

    def __init__(self, root, record=None):
        from model_search.metadata import paths

        self.root, self.record = root, record or make_record()
        folder = paths.study_dir(root, self.record.name)
        folder.mkdir(parents=True)
        self.store = SqliteStore(folder / paths.DATABASE)
        self.store.create_study(self.record)
        self.store.change_settings(self.record.settings, without=self.store.study().settings)

    def start(self, **changes):
        claim = self.store.claim("w", 10**6)
        self.store.commit_plan(claim, make_plan(claim.trial_id, **changes))
        return claim

    def run(self, loss=0.5, result=None, **changes):
        self.store.complete(self.start(**changes), result or make_result(loss))

    def fail(self, reason):
        self.store.fail(self.start(), reason)

    def finish(self, *models):
        self.store.save_final_models(models)

    @property
    def study(self):
        return load_study(self.root, self.record.name)


def combined(*members, **changes):
    """Fields of the plan of an average ensemble."""
    return {
        "kind": TrialKind.ENSEMBLE,
        "architecture": (),
        "hyperparameters": {},
        "steps": 0,
        "members": members,
        "ensemble": EnsemblePlan("average"),
    } | changes


def with_name(record, name):
    return dataclasses.replace(record, name=name)
