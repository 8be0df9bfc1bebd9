"""Hyperparameters by the tree-structured Parzen estimator of Optuna."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from model_search.metadata.trial import HyperparameterValue, Trial, TrialState
from model_search.search.history.history import History
from model_search.search.samplers.sampler import Sampler, register_sampler
from model_search.search.space.architecture import Architecture
from model_search.search.space.hyperparameter_space import Space
from model_search.search.space.hyperparameters import Choice, Parameter, Real, Whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial


@register_sampler("bayesian")
class BayesianSampler(Sampler):
    """The tree-structured Parzen estimator of Optuna, on the study's own metric and goal.

    It models which values the good trials have (the best tenth) and which the others. It sees the 25 best trials and
    the 50 latest ones, so that its cost stays bounded while the history grows. Unfinished trials count as bad ones, so
    that parallel workers spread, and failed ones as the worst, unless their blocks are to blame. It draws at random
    until ten trials are completed.

    Paper: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.

    Args:
        random_trials: Completed trials from which on it learns.
    """

    RANDOM_TRIALS = 10
    BEST = 25
    LATEST = 50
    RUNNING = 32
    FAILED = 25

    def __init__(self, random_trials: int = RANDOM_TRIALS) -> None:
        self._random_trials = random_trials
        self._space: Space | None = None
        self._cache: dict[int, FrozenTrial] = {}

    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """Values that the trials so far let expect to be good."""
        del architecture
        if history.completed_count < self._random_trials:
            return space.draw(rng, fixed)
        trial = self._ask(space, history, int(rng.integers(2**31)))
        return space.fill(fixed, lambda parameter: _suggest(trial, parameter))

    def _ask(self, space: Space, history: History, seed: int) -> OptunaTrial:
        import optuna

        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=0,
            multivariate=True,
            constant_liar=True,
        )
        with _silence():
            study = optuna.create_study(sampler=sampler, direction=optuna.study.StudyDirection[history.goal.name])
            study.add_trials(self._frozen(space, history))
            return study.ask()

    def _frozen(self, space: Space, history: History) -> list[FrozenTrial]:
        chosen = {trial.id: trial for trial in (*history.best(self.BEST), *history.latest(self.LATEST))}
        if self._space != space:
            self._space, self._cache = space, {}
        self._cache = {
            trial_id: self._cache.get(trial_id) or _freeze(space, trial, trial.objective(history.metric))
            for trial_id, trial in sorted(chosen.items())
        }
        running = [_freeze(space, trial, None) for trial in history.unfinished[-self.RUNNING :]]
        failed = [_freeze(space, trial, worst) for trial, worst in _failed(history)[-self.FAILED :]]
        return [*self._cache.values(), *failed, *running]


def _failed(history: History) -> list[tuple[Trial, float]]:
    """Failed trials, each with the worst value of a completed one; without those that failed for their blocks."""
    if not history.failed or not history.completed_count:
        return []
    worst = max(history.completed, key=lambda trial: history.ranking.objective.loss(trial.objective(history.metric)))
    value, to_blame = worst.objective(history.metric), history.failures.blocks
    return [
        (trial, value)
        for trial in history.failed
        if trial.state == TrialState.FAILED and trial.plan is not None and to_blame.isdisjoint(trial.plan.architecture)
    ]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps Optuna from announcing every study, and leaves its verbosity as the user has set it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _label(parameter: Parameter) -> str:
    """Optuna's name of a hyperparameter: one name must always mean one distribution."""
    if parameter.condition is None:
        return parameter.name
    return f"{parameter.name}|{','.join(map(str, parameter.condition.values))}"


def _suggest(trial: OptunaTrial, parameter: Parameter) -> HyperparameterValue:
    if isinstance(parameter, Choice):
        choice = trial.suggest_categorical(_label(parameter), parameter.values)
        return parameter.values[parameter.values.index(choice)]
    if isinstance(parameter, Whole):
        return trial.suggest_int(_label(parameter), parameter.minimum, parameter.maximum, log=parameter.log)
    if isinstance(parameter, Real):
        return trial.suggest_float(_label(parameter), parameter.minimum, parameter.maximum, log=parameter.log)
    raise TypeError(f"the Bayesian sampler does not know how to choose a {type(parameter).__name__}")


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, Whole):
        return IntDistribution(parameter.minimum, parameter.maximum, log=parameter.log)
    if isinstance(parameter, Real):
        return FloatDistribution(parameter.minimum, parameter.maximum, log=parameter.log)
    raise TypeError(f"the Bayesian sampler does not know how to choose a {type(parameter).__name__}")


def _freeze(space: Space, trial: Trial, value: float | None) -> FrozenTrial:
    """A past trial as Optuna wants it; values from outside of the space are left out."""
    import optuna

    tried = trial.plan.hyperparameters if trial.plan is not None else {}
    parameters = [
        parameter
        for parameter in space.parameters
        if parameter.name in tried and parameter.is_active(tried) and parameter.holds(tried[parameter.name])
    ]
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING if value is None else optuna.trial.TrialState.COMPLETE,
        value=value,
        params={_label(parameter): tried[parameter.name] for parameter in parameters},
        distributions={_label(parameter): _distribution(parameter) for parameter in parameters},
    )
