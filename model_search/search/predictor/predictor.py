"""What the trials of a study let expect of others: a predictor that is trained on its history."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from model_search.metadata.trial import Trial, TrialState
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import LIKELIHOOD_ROWS, GaussianProcesses, Prediction
from model_search.search.predictor.encoding import Encoded, Encoder, Hyperparameters
from model_search.search.predictor.scales import Scale, targets
from model_search.search.space.architecture import DEFAULT_FLATTEN, Architecture
from model_search.search.space.grammar import Grammar

_T = TypeVar("_T")

MOST_TRIALS = 384
MOST_RUNNING = 32
MOST_FAILED = 64  # of the latest
_ROOM_TO_GROW = 2  # blocks, by which an architecture may be longer than all before and still be seen whole


@dataclasses.dataclass(frozen=True)
class Tried:
    """A trial as the predictor sees it: its canonical architecture, hyperparameters, and the trial itself."""

    architecture: Architecture
    hyperparameters: Hyperparameters
    trial: Trial


class Memory(Generic[_T]):
    """The last thing made of a history, so that the draws of a trial need not make it again.

    It changes no result: what is made must depend on the history alone. It travels to no other process.
    """

    def __init__(self) -> None:
        self._last: tuple[History, object, _T] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": None}

    def recall(self, history: History, make: Callable[[], _T]) -> _T:
        """What was made of this history as it is now, or is made now."""
        running = tuple((trial.id, trial.plan.key) for trial in history.unfinished if trial.plan is not None)
        # A completed trial changes with further folds alone: their number, the last trial and the number of trials say
        # whether there is anything new.
        latest = tuple(trial.id for trial in history.latest(1))
        state = (
            len(history),
            history.completed_count,
            latest,
            len(history.failed),
            len(history.further_folds),
            running,
        )
        last = self._last
        if last is not None and last[0] is history and last[1] == state:
            return last[2]
        made = make()
        self._last = (history, state, made)
        return made


def is_own(trial: Trial) -> bool:
    """Whether the result of a trial says how good its own architecture is: no ensemble, nothing distilled."""
    return trial.plan is not None and trial.plan.is_on_labels_alone


def has_own(history: History, least: int) -> bool:
    """Whether at least `least` trials, of whatever state, are of an architecture of their own."""
    return sum(1 for _ in itertools.islice(filter(is_own, history.trials), least)) >= least


def chosen(history: History, most: int = MOST_TRIALS) -> list[Trial]:
    """The completed trials that a predictor learns from, best first.

    All of them up to `most`; beyond that the best half, a quarter of the latest, and a spread of the others.
    """
    own = [trial for trial in history.completed if is_own(trial)]
    if len(own) <= most:
        return own
    best = most // 2
    places = set(range(best))
    latest = set(sorted(trial.id for trial in own)[-(most // 4) :])
    places.update(place for place in range(best, len(own)) if own[place].id in latest)
    free = most - len(places)
    places.update(int(place) for place in np.linspace(best, len(own) - 1, max(free, 0)).round())
    return [own[place] for place in sorted(places)]


class Predictor:
    """Expects of a trial what trials like it have reached. Pure: the same history gives the same predictions.

    Attributes:
        tried: The completed trials that it learnt from, best first.
        targets: What they reached, on the predictor's scale.
    """

    def __init__(
        self, history: History, grammar: Grammar, scale: Scale = targets, likelihood_rows: int = LIKELIHOOD_ROWS
    ) -> None:
        """Learns from the completed trials; `can_learn` says whether there are enough.

        Args:
            history: The study's trials.
            grammar: The architectures there are.
            scale: The scale that it learns on (`scales.py`).
            likelihood_rows: See `GaussianProcesses`.
        """
        self._grammar = grammar
        self.tried = [_tried(trial, grammar) for trial in chosen(history)]
        running = [_tried(trial, grammar) for trial in history.unfinished[-MOST_RUNNING:] if is_own(trial)]
        telling = [trial for trial in history.failed if _tells(trial)]
        failed = [_tried(trial, grammar) for trial in telling[-MOST_FAILED:]]
        values = [-history.loss(item.trial) for item in self.tried]
        # A trial that failed is as bad as the worst that did not.
        every = scale(np.array([*values, *([min(values, default=0.0)] * len(failed))]))
        self.targets = every[: len(values)]
        known = [item.architecture for item in (*self.tried, *failed, *running)]
        longest = max(map(len, known), default=1)
        positions = max(longest, min(longest + _ROOM_TO_GROW, grammar.maximum_depth), 1)
        self._encoder = Encoder(
            (*grammar.blocks, DEFAULT_FLATTEN, *itertools.chain.from_iterable(known)),
            positions,
            all(len(architecture) == positions for architecture in known) and grammar.is_fixed,
            [item.hyperparameters for item in (*self.tried, *failed)],
        )
        self._trained_on = self._encode([*self.tried, *failed])
        self._running = self._encode(running) if running else None
        self._processes = GaussianProcesses(self._encoder, self._trained_on, every, likelihood_rows)

    @staticmethod
    def can_learn(history: History, least: int) -> bool:
        """Whether at least `least` trials tell about their own architecture."""
        if history.completed_count < least:
            return False
        return sum(1 for _ in itertools.islice(filter(is_own, history.completed), least)) >= least

    def _encode(self, tried: Sequence[Tried]) -> Encoded:
        return self._encoder.encode([item.architecture for item in tried], [item.hyperparameters for item in tried])

    def predict(
        self, architectures: Sequence[Architecture], hyperparameters: Sequence[Hyperparameters] | None = None
    ) -> Prediction:
        """What is expected of architectures, trained with these hyperparameters or with those of the best trial.

        What is running counts as known, so that it makes what is like it less uncertain.
        """
        values = hyperparameters or [self.tried[0].hyperparameters] * len(architectures)
        # A sampler asks for one architecture with many hyperparameters.
        forms = {names: self._grammar.canonical(names) for names in dict.fromkeys(architectures)}
        encoded = self._encoder.encode([forms[names] for names in architectures], values)
        return self._processes.predict(encoded, self._running)

    @property
    def whole_share(self) -> float:
        """How likely it is that architectures are alike as a whole or not at all, from 0 to 1."""
        return self._processes.whole_share

    @functools.cached_property
    def expected(self) -> np.ndarray:
        """What is expected of each tried trial, with its own hyperparameters: its result, with the noise taken out."""
        return self._processes.fitted()[: len(self.tried)]

    @functools.cached_property
    def skill(self) -> float:
        """How well it predicts each trial from all the others: the correlation of the ranks; 0 where undefined."""
        predicted = self._processes.leave_one_out()[: len(self.tried)]
        if len(predicted) < 3 or not (predicted.std() > 0 and self.targets.std() > 0):
            return 0.0
        return float(np.corrcoef(_ranks(predicted), _ranks(self.targets))[0, 1])


class Predictors:
    """Makes the predictors of a study; one is made once for the search and the sampler of a trial.

    Args:
        grammar: The architectures there are.
        scales: The scales that predictors learn on, one at a time: the trials take turns at random.
        likelihood_rows: See `GaussianProcesses`.
    """

    def __init__(
        self, grammar: Grammar, scales: Sequence[Scale] = (targets,), likelihood_rows: int = LIKELIHOOD_ROWS
    ) -> None:
        self._grammar = grammar
        self._rows = likelihood_rows
        self._scales = tuple(scales)
        self._memory: Memory[Predictor] = Memory()

    def of(self, history: History) -> Predictor:
        """The predictor that has learnt from a history."""
        return self._memory.recall(history, lambda: self._make(history))

    def _make(self, history: History) -> Predictor:
        return Predictor(history, self._grammar, self._scale(history), self._rows)

    def _scale(self, history: History) -> Scale:
        """The scale for the next trial; workers that plan at the same time may have different ones."""
        if len(self._scales) == 1:
            return self._scales[0]
        rng = np.random.default_rng([len(history), history.completed_count, len(self._scales)])
        return self._scales[int(rng.integers(len(self._scales)))]


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def _tells(trial: Trial) -> bool:
    """Whether a trial that has not been completed says something of its architecture; a lost one does not."""
    return trial.state == TrialState.FAILED and is_own(trial)


def _tried(trial: Trial, grammar: Grammar) -> Tried:
    if trial.plan is None:
        raise ValueError(f"trial {trial.id} has no plan")
    return Tried(grammar.canonical(trial.plan.architecture), trial.plan.hyperparameters, trial)
