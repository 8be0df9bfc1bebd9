"""Records of final models: round trips, and states that cannot be."""

import dataclasses
import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import make_ensemble, make_plan, make_student

from model_search.errors import StoreError
from model_search.metadata.final_models import Calibration, FinalKind, FinalMember, FinalModel
from model_search.metadata.sqlite_store import SqliteStore

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
CALIBRATIONS = st.builds(Calibration, POSITIVE, st.booleans(), FINITE, FINITE, FINITE, FINITE)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def ensembles(draw):
    parts = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=5))
    members = tuple(
        FinalMember(trial, part / sum(parts), draw(st.none() | FINITE), draw(st.none() | FINITE))
        for trial, part in enumerate(parts, 1)
    )
    return make_ensemble(
        members=members,
        metrics=draw(st.dictionaries(TEXTS, FINITE, max_size=3)),
        calibration=draw(st.none() | CALIBRATIONS),
        gain=draw(st.none() | FINITE),
        accepted=draw(st.booleans()),
        notes=draw(st.lists(TEXTS, max_size=2).map(tuple)),
    )


@settings(max_examples=60, deadline=None)
@given(ensembles())
def test_an_ensemble_is_read_as_it_was_written(model):
    assert FinalModel.from_json(model.to_json()) == model


def test_a_student_is_read_as_it_was_written():
    assert FinalModel.from_json(make_student().to_json()) == make_student()
    members = (FinalMember(3, 0.75), FinalMember(5, 0.25, share=0.5))
    part = dataclasses.replace(make_student(), plan=None, members=members)
    assert FinalModel.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": ()}, "0 members"),
        ({"kind": FinalKind.STUDENT, "plan": make_plan(4)}, "2 members and the plan"),
        ({"members": (FinalMember(4, 1.0, share=0.5),)}, "a part of a member"),
        ({"plan": make_plan(4)}, "expected one with a student only"),
        ({"members": (FinalMember(1, 0.5),)}, "add up to 0.5"),
        ({"leads": True, "accepted": False}, "that leads"),
        ({"metrics": {"loss": float("inf")}}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(make_ensemble(), **change)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5, float("nan")])
def test_a_weight_is_a_share(weight):
    with pytest.raises(ValueError, match="weight"):
        FinalMember(1, weight)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"kind": "teacher"}', "1", "x"])
def test_something_else_is_no_final_model(text):
    with pytest.raises(ValueError):
        FinalModel.from_json(text)


CLIMBS = [{"name": "w", "path": "../../w.npz", "sha256": "ab", "size": 1}]


@pytest.mark.parametrize(
    "change",
    [{"kind": "student"}, {"parameters": "many"}, {"members": []}, {"trials": None}, {"artefacts": CLIMBS}],
)
def test_a_damaged_row_is_one_sentence(tmp_path, change):
    store = SqliteStore(tmp_path / "study.db")
    store.save_final_models([make_ensemble()])
    record = json.loads(make_ensemble().to_json()) | change
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE final_models SET record = ?", (json.dumps(record),))
    connection.close()
    with pytest.raises(StoreError, match=r"the final ensemble is damaged.*run the final stage again"):
        store.final_models()
    store.close()


def test_a_student_in_the_row_of_an_ensemble_is_refused(tmp_path):
    store = SqliteStore(tmp_path / "study.db")
    store.save_final_models([make_ensemble()])
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE final_models SET record = ?", (make_student().to_json(),))
    connection.close()
    with pytest.raises(StoreError, match=r"the final ensemble is damaged.*it is that of the student"):
        store.final_models()
    store.close()
