"""REINFORCE: a recurrent controller draws architectures and learns from what they bring."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_search.errors import SpecError
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.controller import Batch, Controller, probabilities
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture, body_of, fix_order
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

REWARDS = ("STANDARDIZED", "RANK", "CUBE")

# The controller learns from the latest trials: at most twice as many as this, in whole windows.
_WINDOW = 500
_SEED = 20170417
_BASELINE_DECAY = 0.9
_REDRAWS = 16
_TEMPERATURE_FACTOR = 1.15


def _check(checker: Checker) -> None:
    settings, path = checker.spec.reinforce, ("reinforce",)
    checker.at_least(settings, 0, path, ["entropy_weight", "memory_weight"])
    checker.at_least(settings, 1, path, ["hidden_units", "update_every", "replicas"])
    if not 0 < settings.controller_learning_rate < math.inf:
        checker.add(
            f"controller_learning_rate is {settings.controller_learning_rate:.7g}; expected more than 0.",
            (*path, "controller_learning_rate"),
        )


def _replicas_in_words(spec: PhoenixSpec) -> str:
    count = spec.reinforce.replicas
    return f" of each of its {count} replicas" if count > 1 else ""


@register_search(
    "REINFORCE",
    message="reinforce",
    describe=lambda spec: (
        f"towers drawn by a recurrent network of {spec.reinforce.hidden_units} units, which learns from every "
        f"{spec.reinforce.update_every} trials{_replicas_in_words(spec)}."
    ),
    check=_check,
)
@dataclasses.dataclass
class Reinforce(TowerSearch):
    """A controller that is trained by REINFORCE.

    An LSTM draws the blocks one after the other, and the end where the length is free. After every `update_every`
    completed trials it takes one step of Adam: towers that were better than expected become more probable. Its state is
    no secret of a process: it is learnt again from the trials in their order of completion, so that a restart or
    another worker comes to the same one; only what was learnt before is kept for the next call, which changes no
    result.

    With several `replicas` each draws `update_every` towers in turn, from the weights as they were when its own last
    ones were completed, and its gradient at those weights is applied to what the others have made of them by then, in
    the order in which batches are completed: the asynchronous updates of the paper's section 3.2. The store's trials
    are the messages to the parameter servers, and every worker computes what those would keep.

    With a `memory_weight` each step also makes earlier architectures, drawn uniformly, more probable, so that the
    controller can still reconstruct what it has tried.

    Paper: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017; the entropy bonus as in
    Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018. Departures: it learns from the
    latest 500 to 1,000 trials only, which bounds its cost; trials that something else proposed (suggestions) count as
    drawn; a tower that was tried is drawn anew, from a hotter distribution each time; the weights are in no shards,
    since each worker has them all; and skips of a macro tower are drawn by the same network, which reads the decisions
    before, in place of attention to anchor points.

    Attributes:
        reward: "STANDARDIZED" (the metric in standard deviations), "RANK" (the share of earlier trials that were worse)
            or "CUBE" (that share to the third power, which stresses the best as the paper's cubed accuracy does).
        entropy_weight: Weight of the entropy of each draw.
        learning_rate: Of Adam.
        hidden_units: Units of the LSTM.
        update_every: Trials in a batch.
        replicas: Of the controller.
        memory_weight: Weight of the log probability of earlier architectures.
    """

    grammar: Grammar
    reward: str = "STANDARDIZED"
    entropy_weight: float = 0.01
    learning_rate: float = 0.02
    hidden_units: int = 32
    update_every: int = 5
    replicas: int = 1
    memory_weight: float = 0.0

    def __post_init__(self) -> None:
        self._learnt: _Learnt | None = None
        if self.reward not in REWARDS:
            raise SpecError(f"reward is {self.reward!r}; expected one of {', '.join(REWARDS)}")
        if not self.entropy_weight >= 0:
            raise SpecError(f"entropy_weight is {self.entropy_weight:g}; expected 0 or more")
        if not self.learning_rate > 0:
            raise SpecError(f"controller_learning_rate is {self.learning_rate:g}; expected more than 0")
        if not self.memory_weight >= 0:
            raise SpecError(f"memory_weight is {self.memory_weight:g}; expected 0 or more")
        if min(self.hidden_units, self.update_every, self.replicas) < 1:
            raise SpecError(
                f"hidden_units is {self.hidden_units}, update_every is {self.update_every} and replicas is "
                f"{self.replicas}; expected at least 1"
            )

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Reinforce:
        """The search that a spec asks for."""
        settings = spec.reinforce
        return cls(
            grammar=Grammar.of(spec),
            reward=type(settings).Reward.Name(settings.reward),
            entropy_weight=settings.entropy_weight,
            learning_rate=settings.controller_learning_rate,
            hidden_units=settings.hidden_units,
            update_every=settings.update_every,
            replicas=settings.replicas,
            memory_weight=settings.memory_weight,
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """What the controller draws after all trials so far."""
        controller = self._controller(history)
        tried, allowed = self.tried(history), self.allowed_depth(history)
        architecture: Architecture = ()
        for draw in range(_REDRAWS):
            architecture = self._draw_from(controller, rng, allowed, temperature=_TEMPERATURE_FACTOR**draw)
            if self.grammar.canonical(architecture) not in tried and not history.failures.avoids(architecture):
                break
        return Proposal(architecture)

    def _controller(self, history: History) -> Controller:
        """The controller that draws next; what earlier calls have learnt from the first trials is taken over."""
        towers = self.towers_with_failed(history)
        if self.replicas == 1:
            start = max(len(towers) // _WINDOW - 1, 0) * _WINDOW
            usable = [tower for tower in towers[start:] if self._is_drawable(tower.architecture)]
            ends = range(self.update_every, len(usable) + 1, self.update_every)
            batches = [_Drawn(0, tuple(usable[end - self.update_every : end])) for end in ends]
            return self._after(batches).controller
        planned = self._planned(history, towers)
        drawn = self._batches_of_replicas(planned, towers)
        start = max(len(drawn) * self.update_every // _WINDOW - 1, 0) * _WINDOW // self.update_every
        learnt = self._after(drawn[start:])
        return learnt.fetched.get(self._replica(len(planned)), learnt.beginning)

    def _planned(self, history: History, towers: list[Tower]) -> list[int]:
        """The numbers of all trials whose towers count as drawn, finished and running, in order."""
        running = {
            trial.id
            for trial in history.unfinished
            if trial.plan is not None and trial.plan.is_on_labels_alone and self._is_drawable(trial.plan.architecture)
        }
        return sorted(running | {tower.trial.id for tower in towers if self._is_drawable(tower.architecture)})

    def _replica(self, place: int) -> int:
        """The replica that draws the tower at this place: each draws a batch in turn."""
        return place // self.update_every % self.replicas

    def _batches_of_replicas(self, planned: list[int], towers: list[Tower]) -> list[_Drawn]:
        """What replicas have drawn and trained, in the order in which batches were completed."""
        order = {tower.trial.id: (place, tower) for place, tower in enumerate(towers)}
        found = []
        for first in range(0, len(planned) - self.update_every + 1, self.update_every):
            numbers = planned[first : first + self.update_every]
            if all(number in order for number in numbers):
                last = max(order[number][0] for number in numbers)
                found.append((last, _Drawn(self._replica(first), tuple(order[number][1] for number in numbers))))
        return [drawn for _, drawn in sorted(found, key=lambda pair: pair[0])]

    def _after(self, batches: list[_Drawn]) -> _Learnt:
        """What the controller has learnt from these."""
        marks = [drawn.mark for drawn in batches]
        learnt = self._learnt
        if learnt is None or learnt.marks != marks[: len(learnt.marks)]:
            rng = np.random.default_rng(_SEED)
            learnt = _Learnt(Controller.make(len(self.grammar.blocks) + 2, self.hidden_units, rng))
        if len(learnt.marks) < len(marks):
            learnt = learnt.copy()
            for drawn in batches[len(learnt.marks) :]:
                self._learn(learnt, drawn)
            learnt.marks = marks
        self._learnt = learnt
        return learnt

    def _learn(self, learnt: _Learnt, drawn: _Drawn) -> None:
        rewards = np.array([learnt.reward(tower.loss, self.reward) for tower in drawn.towers])
        if learnt.baseline is None:
            learnt.baseline = float(rewards.mean())
        advantages = rewards - learnt.baseline
        learnt.baseline += (1 - _BASELINE_DECAY) * float(advantages.mean())
        drawn_by = learnt.fetched.get(drawn.replica, learnt.beginning) if self.replicas > 1 else learnt.controller
        bodies = [body_of(tower.architecture) for tower in drawn.towers]
        gradient = drawn_by.gradient(self.batch(bodies, advantages), self.entropy_weight)
        if self.memory_weight:
            learnt.past += bodies
            rng = np.random.default_rng([_SEED, len(learnt.past)])
            places = rng.integers(len(learnt.past), size=self.update_every)
            earlier = self.batch([learnt.past[place] for place in places], np.full(len(places), self.memory_weight))
            remembered = learnt.controller.gradient(earlier, 0.0)
            gradient = {name: slope + remembered[name] for name, slope in gradient.items()}
        learnt.controller.ascend(gradient, self.learning_rate)
        if self.replicas > 1:
            learnt.fetched[drawn.replica] = learnt.controller.copy()

    def batch(self, bodies: Sequence[Architecture], advantages: NDArray[np.float64]) -> Batch:
        """Towers as sequences of tokens.

        Args:
            bodies: Drawable towers without flatten blocks and embeddings.
            advantages: How much better than expected each was.
        """
        length = self._limit(self.grammar.maximum_depth)
        end = len(self.grammar.blocks) + 1
        tokens = np.zeros((len(bodies), length), dtype=np.int64)
        possible = np.zeros((len(bodies), length, end + 1), dtype=bool)
        for row, body in enumerate(bodies):
            drawn = [self.grammar.blocks.index(name) + 1 for name in body]
            drawn += [end] if len(drawn) < length else []
            tokens[row, : len(drawn)] = drawn
            for place in range(len(drawn)):
                possible[row, place] = self._possible(place)
        return Batch(tokens, possible, advantages)

    def log_probabilities(self, history: History, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """How probable these towers are to be drawn next, in nats; what was tried counts like any other."""
        bodies = [body_of(architecture) for architecture in architectures]
        return self._controller(history).log_probabilities(self.batch(bodies, np.zeros(len(bodies))))

    def _draw_from(
        self, controller: Controller, rng: np.random.Generator, allowed: int, temperature: float
    ) -> Architecture:
        state, before, names = controller.begin(), 0, []
        for place in range(self._limit(allowed)):
            logits, step = controller.step(np.array([before]), state)
            state = (step[0], step[1])
            shares = probabilities(logits[0] / temperature, self._possible(place))
            before = int(rng.choice(len(shares), p=shares))
            if before > len(self.grammar.blocks):
                break
            names.append(self.grammar.blocks[before - 1])
        return fix_order(names, self.grammar.problem_type)

    def _possible(self, place: int) -> NDArray[np.bool_]:
        """The tokens that may be drawn at a place: 0 never, the blocks of the place, and the end where it may be."""
        choices = set(self.grammar.choices(place))
        can_end = place >= self.grammar.minimum_depth
        return np.array([False, *(name in choices for name in self.grammar.blocks), can_end])

    def _limit(self, size: int) -> int:
        """How many blocks are drawn at most for an architecture of this size."""
        added = self.grammar.problem_type.added_size
        return max(min(size - added, self.grammar.draws[-1]), self.grammar.minimum_depth)

    def _is_drawable(self, architecture: Architecture) -> bool:
        body = body_of(architecture)
        return (
            len(body) in self.grammar.draws
            and self.grammar.fits(architecture)
            and all(name in self.grammar.blocks for name in body)
        )


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A batch that a replica has drawn."""

    replica: int
    towers: tuple[Tower, ...]

    @property
    def mark(self) -> tuple[int, tuple[tuple[int, float], ...]]:
        """What tells it from others: the replica, the trials and their losses."""
        return self.replica, tuple((tower.trial.id, tower.loss) for tower in self.towers)


@dataclasses.dataclass
class _Learnt:
    """A controller, what it has learnt from, and the scale of the rewards so far.

    Attributes:
        fetched: By replica the controller as it was when its latest batch was completed.
        beginning: The controller before it had learnt anything.
        past: What was drawn, without flatten blocks and embeddings, where it is remembered.
    """

    controller: Controller
    marks: list[tuple[int, tuple[tuple[int, float], ...]]] = dataclasses.field(default_factory=list)
    fetched: dict[int, Controller] = dataclasses.field(default_factory=dict)
    past: list[Architecture] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)  # sorted
    total: float = 0.0
    squares: float = 0.0
    baseline: float | None = None

    def __post_init__(self) -> None:
        self.beginning = self.controller.copy()

    def copy(self) -> _Learnt:
        found = dataclasses.replace(
            self,
            controller=self.controller.copy(),
            losses=list(self.losses),
            fetched=dict(self.fetched),
            past=list(self.past),
        )
        found.beginning = self.beginning
        return found

    def reward(self, loss: float, shape: str) -> float:
        """The reward of a trial, by the trials before it, which it then joins."""
        seen = len(self.losses)
        if shape == "STANDARDIZED":
            mean = self.total / seen if seen else loss
            deviation = (max(self.squares / seen - mean**2, 0.0)) ** 0.5 if seen else 0.0
            reward = float(np.clip((mean - loss) / deviation, -3, 3)) if deviation > 0 else 0.0
        else:
            share = (seen - bisect.bisect_right(self.losses, loss)) / seen if seen else 0.5
            reward = share**3 if shape == "CUBE" else share
        bisect.insort(self.losses, loss)
        self.total += loss
        self.squares += loss**2
        return reward
