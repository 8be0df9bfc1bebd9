"""Hyperparameters that the predictor of the search finds most promising for an architecture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_search.metadata.trial import HyperparameterValue
from model_search.search.algorithms.tower_search import one_thread
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor, Predictors
from model_search.search.samplers.sampler import Sampler, register_sampler
from model_search.search.space.architecture import Architecture
from model_search.search.space.hyperparameter_space import Space
from model_search.search.space.hyperparameters import Parameter


@register_sampler("predictor")
class PredictorSampler(Sampler):
    """What the predictor of the guided beam finds most promising for this architecture.

    The predictor has learnt from all trials what architectures and hyperparameters lead to (`predictor.py`). Of random
    values, and of changed values of the trials that are expected to be the best, those with the highest upper
    confidence bound are taken. It draws at random until five trials are completed.
    """

    RANDOM_TRIALS = 5
    DRAWN = 96
    CHANGED = 64
    PARENTS = 5
    KEPT = 0.7
    EXPLORATION = 1.5

    def __init__(self, predictors: Predictors) -> None:
        """With the predictors of the study."""
        self._predictors = predictors

    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """The values with which the architecture is most promising."""
        nothing_to_choose = all(p.name in fixed or len(p.bins) == 1 for p in space.parameters)
        if nothing_to_choose or self.is_random(history):
            return space.draw(rng, fixed)
        with one_thread():
            return self._most_promising(space, self._predictors.of(history), rng, fixed, architecture)

    def is_random(self, history: History) -> bool:
        """As long as there are too few trials to learn from."""
        return not Predictor.can_learn(history, self.RANDOM_TRIALS)

    def _most_promising(
        self,
        space: Space,
        predictor: Predictor,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture,
    ) -> dict[str, HyperparameterValue]:
        candidates = [space.draw(rng, fixed) for _ in range(self.DRAWN)]
        parents = np.argsort(-predictor.expected, kind="stable")[: self.PARENTS]
        for number in range(self.CHANGED):
            parent = predictor.tried[int(parents[number % len(parents)])].hyperparameters
            candidates.append(self._changed(space, parent, fixed, rng))
        predicted = predictor.predict([architecture] * len(candidates), candidates)
        return candidates[int(np.argmax(predicted.mean + self.EXPLORATION * predicted.deviation))]

    def _changed(
        self,
        space: Space,
        parent: Mapping[str, HyperparameterValue],
        fixed: Mapping[str, HyperparameterValue],
        rng: np.random.Generator,
    ) -> dict[str, HyperparameterValue]:
        """The values of another trial, some of them drawn anew, numbers moved within their bin."""

        def choose(parameter: Parameter) -> HyperparameterValue:
            value = parent.get(parameter.name)
            if value is None or not parameter.holds(value) or rng.random() > self.KEPT:
                return parameter.draw(rng)
            return parameter.draw_in(parameter.bin(value), rng)

        return space.fill(fixed, choose)
