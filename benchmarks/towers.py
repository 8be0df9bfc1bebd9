"""Work for the benchmarks: towers of the stock specification, drawn at random, and a search that is cheap to plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model_search import constants
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.space.hyperparameter_space import build_space
from model_search.spec.load import load_spec


def sampled_plans(count: int, steps: int, batch_size: int, seed: int) -> Iterator[TrialPlan]:
    """Plans of one to five blocks of the stock specification for tables, as a search would make them."""
    spec = load_spec(constants.DEFAULT_DNN)
    space = build_space(spec, steps)
    rng = np.random.default_rng(seed)
    for number in range(1, count + 1):
        depth = 1 + (number - 1) % spec.maximum_depth
        architecture = tuple(str(name) for name in rng.choice(list(spec.blocks_to_use), size=depth))
        hyperparameters = space.active(architecture).draw(rng)
        yield TrialPlan(
            trial_id=number,
            kind=TrialKind.SEARCH,
            architecture=architecture,
            hyperparameters=hyperparameters,
            steps=steps,
            batch_size=batch_size,
            seed=int(rng.integers(2**31)),
            key=space.key(architecture, hyperparameters),
        )


def plain_beam() -> PhoenixSpec:
    """The stock specification for tables, searched by the plain beam, as the archived one was.

    It is the same work whatever the default search is; and it plans in no time, so that nothing but what is measured
    takes any.
    """
    spec = load_spec(constants.DEFAULT_DNN)
    spec.search_type = PhoenixSpec.ADAPTIVE_COORDINATE_DESCENT
    return spec
