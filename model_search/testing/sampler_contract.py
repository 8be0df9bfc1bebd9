"""What every sampler of hyperparameters keeps to, built-in or not: subclass `SamplerContract` and name the sampler.

from model_search.testing.sampler_contract import SamplerContract

class TestMySampler(SamplerContract):
name = "mine"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest

from model_search.metadata.trial import HyperparameterValue
from model_search.search.history.history import History
from model_search.search.samplers.sampler import Sampler, make_sampler
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space, build_space
from model_search.testing.pretended_studies import completed, failed, make_plan, make_planner, make_spec, run_study

COUNTS = (0, 9, 10, 150)


def _space() -> Space:
    learning = {"apply_exponential_decay": True, "apply_gradient_clipping": True, "apply_momentum": True}
    return build_space(make_spec(learning=learning, apply_dropouts_between_blocks=True), 1000)


def _history(space: Space, count: int) -> History:
    history, rng = History("loss", "minimize"), np.random.default_rng(7)
    for trial_id in range(1, count + 1):
        values = space.draw(rng)
        plan = make_plan(trial_id, hyperparameters=values)
        loss = abs(float(values["exponential_decay_rate"]) - 0.8)
        history.update([failed(trial_id, plan) if trial_id % 8 == 5 else completed(trial_id, loss, plan)])
    return history


class SamplerContract:
    """The contract.

    Attributes:
        name: Name of the sampler.
    """

    name: ClassVar[str]

    def _sample(
        self, history: History, seed: int, fixed: Mapping[str, HyperparameterValue]
    ) -> dict[str, HyperparameterValue]:
        sampler: Sampler = make_sampler(self.name, Grammar.of(make_spec()))
        return dict(sampler.sample(_space(), history, np.random.default_rng(seed), fixed, ("FULLY_CONNECTED",)))

    @pytest.mark.parametrize("count", COUNTS)
    def test_it_gives_what_is_in_effect_within_its_range(self, count: int) -> None:
        space = _space()
        history = _history(space, count)
        for seed in range(3):
            values = self._sample(history, seed, {"optimizer": "momentum"})
            assert values["optimizer"] == "momentum"
            active = [parameter for parameter in space.parameters if parameter.is_active(values)]
            assert set(values) == {parameter.name for parameter in active}
            assert all(parameter.holds(values[parameter.name]) for parameter in active)

    @pytest.mark.parametrize("count", COUNTS)
    def test_the_same_generator_gives_the_same_values(self, count: int) -> None:
        history = _history(_space(), count)
        assert self._sample(history, 3, {}) == self._sample(history, 3, {})

    def test_other_generators_give_other_values(self) -> None:
        history = _history(_space(), 20)
        assert len({str(self._sample(history, seed, {})) for seed in range(5)}) > 1

    def test_a_study_runs_with_it(self) -> None:
        planner = make_planner(make_spec(), sampler=self.name)
        history = run_study(planner, 30, lambda plan: float(len(plan.architecture)))
        assert len({trial.plan.key for trial in history.completed if trial.plan is not None}) == 30
