"""What docs/search.md says is so."""

import pathlib
import re

import pytest
from google.protobuf import text_format

from model_search.constants import OPTIMIZERS
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.registry import SEARCHES
from model_search.search.space.hyperparameter_space import DEFAULT_LEARNING_RATES, DEFAULT_OPTIMIZERS, build_space

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
EVERYTHING = """
    problem_type: DNN blocks_to_use: "IDENTITY" apply_dropouts_between_blocks: true
    learning_spec { apply_exponential_decay: true apply_gradient_clipping: true apply_l2_regularization: true
                    apply_momentum: true apply_weight_decay: true batch_sizes: [8, 16] cooldown_share: 0.5 }
"""


def test_the_archived_space_is_as_written():
    (text,) = re.findall(r"```\n(learning_spec .*?)```", TEXT, flags=re.DOTALL)
    spec = text_format.Parse(text, PhoenixSpec(apply_dropouts_between_blocks=True))
    optimizer, rate, dropout = build_space(spec, 1000).parameters
    assert (rate.name, rate.minimum, rate.maximum, rate.log, rate.condition) == (
        "learning_rate",
        1e-6,
        0.01,
        True,
        None,
    )
    assert set(optimizer.values) == set(OPTIMIZERS) - {"nesterov"}
    assert dropout.weights == pytest.approx([1 / 11] * 11, rel=1e-5)


def test_every_hyperparameter_is_documented():
    names = {p.name for p in build_space(text_format.Parse(EVERYTHING, PhoenixSpec()), 1000).parameters}
    assert len(names) == 11
    documented = set(re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE))
    assert names <= documented


def test_every_algorithm_is_documented():
    assert set(re.findall(r"^\*\*`(\w+)`\*\*", TEXT, flags=re.MULTILINE)) == set(SEARCHES.builtin)


def test_the_default_learning_rates_are_documented():
    rows = re.findall(r"^\| ([a-z, ]+) \| ([\d.]+) \| ([\d.]+) \|$", TEXT, flags=re.MULTILINE)
    documented = {name: (float(low), float(high)) for names, low, high in rows for name in names.split(", ")}
    assert documented == DEFAULT_LEARNING_RATES
    assert f"{', '.join(DEFAULT_OPTIMIZERS)} by default" in TEXT
