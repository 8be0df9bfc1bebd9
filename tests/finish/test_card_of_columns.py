"""The program on the card for `model.keras` gives the model the typed columns that the package would."""

import csv
import re
import sys
import types

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_search.data.tabular import columns
from model_search.data.tabular.features import CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.task import Task, TaskKind
from model_search.finish.export import export
from model_search.finish.model_card import description, model_card
from model_search.finish.serving import ModelBundle

TASK = Task(TaskKind.REGRESSION, "y", 1)
PARTS = ("days", "month", "day", "weekday", "hour")


def date(name, order):
    return DateFeature(
        name, PARTS, (1.8e4, 6.0, 15.0, 3.0, 12.0), (3e3, 3.0, 9.0, 2.0, 7.0), indicator=True, order=order
    )


SCHEMA = FeatureSchema(
    (
        NumberFeature("number", 3.0, 2.0, indicator=True),
        NumberFeature("price", 1e9, 2.0, indicator=True, before="$", after="months"),
        CategoryFeature("flag", ("FALSE", "TRUE")),
        CategoryFeature("kind", ("", "Oslo", "true", "x")),
        date("dmy", "dmy"),
        date("mdy", "mdy"),
        date("ymd", "ymd"),
    )
)
CELLS = (
    *(
        "",
        " NA ",
        "None",
        "-",
        "1,234.5",
        "1,23",
        "+.5",
        "5.",
        "1e5",
        "1e999",
        "inf",
        "1_000",
        "0x10",
        "١٢",
        "abc",
        "3.0",
    ),
    *("$5", "$ 1,200.50 months", "-$5 month", "5 kg", "TRUE", "True", "false", "Oslo", "oslo"),
    *("2020-1-2", "2020-02/01", "13.12.1999 7:08:09.25", "2/30/2020", "20/12/31", "1-1-2020 25:00", "0000-01-01"),
    *("1/2/2020 6:05 pm", "1/2/2020 12:00AM", "1/2/2020 12:30 pm", "1/2/2020 13:00 PM", "2020-01-01  9:30"),
    *("2020-01-01T10:00:00Z", "2020-01-01 10:00:00.25+02", "2020-01-01 10:00 -0330", "2020-01-01 10:00:00 UTC"),
    *("2020-01-01-05", "2020-01-01 +05", "1.2.2020 10:00 PM UTC", "2020-01-01 10:00+02Z", "4.3.2021", "4/3/2021"),
)
cells = st.one_of(
    st.sampled_from(CELLS),
    # Typed columns of float32 hold no numbers beyond 3.4e38.
    st.from_regex(columns.PLAIN_NUMBER, fullmatch=True).filter(lambda text: abs(float(text)) < columns.LARGEST),
    st.dates().map(lambda day: f"{day.day}/{day.month}/{day.year:04}"),
    st.dates().map(lambda day: f"{day.month}.{day.day}.{day.year:04}"),
    st.datetimes().map(str),
)


def bundle_of(schema):
    features = keras.Input((schema.width,), name="features")
    return ModelBundle(keras.Model(features, keras.layers.Dense(1)(features)), TASK, schema)


def program_of(bundle):
    card = model_card(description(bundle), ("keras",))
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return program


def typed_by_the_program(program, rows, folder, monkeypatch):
    """What the program gives the model, for these cells of each column."""
    with (folder / "new.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([SCHEMA.columns, *([cell] * len(SCHEMA.columns) for cell in rows)])
    stub = types.ModuleType("keras")
    stub.models = types.SimpleNamespace(load_model=lambda path: lambda given: given)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "keras", stub)
        patch.chdir(folder)
        scope = {}
        exec(program, scope)
    return {name: values.numpy() for name, values in scope["answers"].items()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export(bundle_of(SCHEMA), folder / "model", formats=("keras",))
    return program_of(bundle_of(SCHEMA)), folder / "model"


def check(rows, exported, monkeypatch):
    found = typed_by_the_program(exported[0], rows, exported[1], monkeypatch)
    frame = dict.fromkeys(SCHEMA.columns, rows)
    preprocessor = Preprocessor(SCHEMA)
    for name, values in preprocessor.typed_columns(frame).items():
        assert values.dtype == found[name].dtype
    texts = {
        name: values if values.dtype != object else [one.decode() for one in values] for name, values in found.items()
    }
    np.testing.assert_allclose(preprocessor.transform(texts), preprocessor.transform(frame), atol=1e-5)


def test_every_known_writing(exported, monkeypatch):
    check(list(CELLS), exported, monkeypatch)


@given(rows=st.lists(cells, min_size=1, max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cells(exported, monkeypatch, rows):
    check(rows, exported, monkeypatch)


def test_a_program_for_a_table_without_dates_does_not_speak_of_them():
    program = program_of(bundle_of(FeatureSchema(SCHEMA.features[:3])))
    assert "date" not in program
    compile(program, "card", "exec")
