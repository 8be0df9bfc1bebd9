"""docs/spec.md names every field with its default, and its examples are read."""

import pathlib
import re

import pytest

from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule, LearningSpec, PhoenixSpec, TuningSpec
from model_search.search.space import hyperparameter_space
from model_search.spec import supported
from model_search.spec.load import load_text, warnings_of
from model_search.spec.searches import message_owners
from model_search.spec.text import _is_repeated

DOCS = (pathlib.Path(__file__).parents[2] / "docs" / "spec.md").read_text()
EXAMPLES = re.findall(r"```pbtxt\n(.*?)```", DOCS, re.DOTALL)
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in DOCS.splitlines() if line.startswith("| `")]
DEFAULTS = {}
for row in ROWS:
    names = re.findall(r"`(\w+)`", row[0])
    given = [value.strip() for value in row[1].split(",")]
    DEFAULTS |= dict(zip(names, given * len(names) if len(given) == 1 else given, strict=False))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_specifications_without_warnings(example):
    assert warnings_of(load_text(example)) == []


def test_there_are_examples():
    assert len(EXAMPLES) == 6


MESSAGES = (PhoenixSpec, LearningSpec, EvaluationSchedule, TuningSpec)
FIELDS = [field for message in MESSAGES for field in message.DESCRIPTOR.fields]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_is_explained_with_its_default(field):
    written = DEFAULTS[field.name]
    if _is_repeated(field) or field.message_type or field.enum_type:
        return
    if isinstance(field.default_value, bool):
        assert written == str(field.default_value).lower()
    elif isinstance(field.default_value, str):
        assert written == f'"{field.default_value}"'
    else:
        assert float(written) == pytest.approx(field.default_value, rel=1e-6)


def test_unread_is_what_the_program_does_not_read():
    unread = {name for row in ROWS if row[-1].startswith("Unread") for name in re.findall(r"`(\w+)`", row[0])}
    assert unread == set(supported.UNREAD)


def test_every_field_of_the_other_messages_is_named():
    others = (
        "ensemble_spec", "distillation_spec", "transfer_learning_spec", "position_choices", "stages",
        "evaluation_schedule", "tuning", "final_training", "trial_limits",
    )  # fmt: skip
    for field in (*others, *message_owners()):
        for inner in PhoenixSpec.DESCRIPTOR.fields_by_name[field].message_type.fields:
            assert f"`{inner.name}`" in DOCS


def test_the_learning_rates_are_the_default_ones():
    section = DOCS[DOCS.index("| optimizer | from | to |") :].split("\n\n")[0]
    written = {}
    for line in section.splitlines()[2:]:
        names, low, high = (cell.strip() for cell in line.strip("|").split("|"))
        written |= {name: (float(low), float(high)) for name in names.split(", ")}
    assert written == dict(hyperparameter_space.DEFAULT_LEARNING_RATES)
    assert DEFAULTS["optimizers"] == hyperparameter_space.DEFAULT_OPTIMIZERS[0]
    assert f"| {', '.join(hyperparameter_space.DEFAULT_OPTIMIZERS)} |" in DOCS
