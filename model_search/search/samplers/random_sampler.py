"""Hyperparameters drawn at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_search.metadata.trial import HyperparameterValue
from model_search.search.history.history import History
from model_search.search.samplers.sampler import Sampler, register_sampler
from model_search.search.space.architecture import Architecture
from model_search.search.space.hyperparameter_space import Space


@register_sampler("random")
class RandomSampler(Sampler):
    """Draws every hyperparameter from the space, whatever the history."""

    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """Random values, independent of each other but for the conditions."""
        del history, architecture
        return space.draw(rng, fixed)

    def is_random(self, history: History) -> bool:
        """Always."""
        del history
        return True
