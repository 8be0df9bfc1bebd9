"""How the hyperparameters of a trial are chosen."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import UserError
from model_search.metadata.trial import HyperparameterValue, Trial
from model_search.search.algorithms.tower_search import one_thread
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor
from model_search.search.space.architecture import Architecture
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space
from model_search.search.space.hyperparameters import Choice, Parameter, Real, Whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial


AUTO = "auto"  # whatever goes with the search


class Sampler(abc.ABC):
    """Chooses hyperparameters. The same history and generator give the same values."""

    @abc.abstractmethod
    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """A value for every hyperparameter of the space that is in effect.

        Args:
            space: The hyperparameters that the architecture has.
            history: The trials so far, finished and running.
            rng: Source of all randomness.
            fixed: Values that are given; they come back unchanged.
            architecture: What is to be trained with them.
        """


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


class BayesianSampler(Sampler):
    """The tree-structured Parzen estimator of Optuna, on the study's own metric and goal.

    It models which values the good trials have (the best tenth) and which the others. It sees the 25 best trials and
    the 50 latest ones, so that its cost stays bounded while the history grows. Unfinished trials count as bad ones, so
    that parallel workers spread. It draws at random until ten trials are completed.

    Paper: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.

    Args:
        random_trials: Completed trials from which on it learns.
    """

    RANDOM_TRIALS = 10
    BEST = 25
    LATEST = 50
    RUNNING = 32

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
        return [*self._cache.values(), *running]


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

    def __init__(self, grammar: Grammar) -> None:
        """Of the architectures that the specification speaks of."""
        self._grammar = grammar

    def sample(
        self,
        space: Space,
        history: History,
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
        architecture: Architecture = (),
    ) -> dict[str, HyperparameterValue]:
        """The values with which the architecture is most promising."""
        if not Predictor.can_learn(history, self.RANDOM_TRIALS) or all(len(p.bins) == 1 for p in space.parameters):
            return space.draw(rng, fixed)
        with one_thread():
            return self._most_promising(space, Predictor.of(history, self._grammar), rng, fixed, architecture)

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


def make_sampler(name: str, grammar: Grammar, of_the_search: str = "random") -> Sampler:
    """The sampler of that name: "auto", "random", "bayesian" or "predictor".

    Args:
        name: The name.
        grammar: The architectures that the specification speaks of.
        of_the_search: What "auto" stands for.

    Raises:
        UserError: if there is none.
    """
    if name != AUTO and name not in SAMPLERS:
        raise UserError(f"the sampler is {name!r}; expected one of {AUTO}, {', '.join(SAMPLERS)}")
    return SAMPLERS[of_the_search if name == AUTO else name](grammar)


SAMPLERS: Mapping[str, Callable[[Grammar], Sampler]] = {
    "random": lambda grammar: RandomSampler(),
    "bayesian": lambda grammar: BayesianSampler(),
    "predictor": PredictorSampler,
}


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
