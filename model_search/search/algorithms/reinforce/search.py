"""REINFORCE: a recurrent controller draws architectures and learns from what they bring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_search.errors import SpecError
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import SEARCHES, Setting, register_search
from model_search.search.algorithms.reinforce.controller import Batch, Controller, probabilities
from model_search.search.algorithms.reinforce.learning import Drawn, Learnt
from model_search.search.algorithms.reinforce.shards import UPDATES_A_VERSION, Shards
from model_search.search.algorithms.tower_search import Tower, TowerSearch
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture, body_of, fix_order
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.metadata.study_arrays import StudyArrays
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

SHARDS = Setting("shards", 1, minimum=0, maximum=100)
REWARDS = ("STANDARDIZED", "RANK", "CUBE")

# The controller learns from the latest trials: at most twice as many as this, in whole windows.
_WINDOW = 500
_SEED = 20170417
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
    settings=[SHARDS],
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
    no secret of a process: it follows from the trials in their order of completion, so that a restart or another worker
    comes to the same one. So that not all of them are learnt from again each time, the parameters are kept: in memory
    for the next call, and in `shards` of the study for other workers. Neither changes a result.

    With several `replicas` each draws `update_every` towers in turn, from the weights as they were when its own last
    ones were completed, and its gradient at those weights is applied to what the others have made of them by then, in
    the order in which batches are completed: the asynchronous updates of the paper's section 3.2. The store's trials
    are the messages to the parameter servers, and every worker computes what those would keep.

    With a `memory_weight` each step also makes earlier architectures, drawn uniformly, more probable, so that the
    controller can still reconstruct what it has tried.

    Paper: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017; the entropy bonus as in
    Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018. Departures: it learns from the
    latest 500 to 1,000 trials only, which bounds its cost; trials that something else proposed (suggestions) count as
    drawn; a tower that was tried is drawn anew, from a hotter distribution each time; no server updates the shards,
    since every worker that comes to an update computes the same ones; and skips of a macro tower are drawn by the same
    network, which reads the decisions before, in place of attention to anchor points.

    Attributes:
        reward: "STANDARDIZED" (the metric in standard deviations), "RANK" (the share of earlier trials that were worse)
            or "CUBE" (that share to the third power, which stresses the best as the paper's cubed accuracy does).
        entropy_weight: Weight of the entropy of each draw.
        learning_rate: Of Adam.
        hidden_units: Units of the LSTM.
        update_every: Trials in a batch.
        replicas: Of the controller.
        memory_weight: Weight of the log probability of earlier architectures.
        shards: Parts in which the study keeps the parameters; 0 where every worker learns from all trials itself.
    """

    grammar: Grammar
    reward: str = "STANDARDIZED"
    entropy_weight: float = 0.01
    learning_rate: float = 0.02
    hidden_units: int = 32
    update_every: int = 5
    replicas: int = 1
    memory_weight: float = 0.0
    shards: int = 0

    def __post_init__(self) -> None:
        self._learnt: Learnt | None = None
        self._shards: Shards | None = None
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
        shards = SEARCHES.get("REINFORCE").values(spec)[SHARDS.name]
        return cls(
            grammar=Grammar.of(spec),
            reward=type(settings).Reward.Name(settings.reward),
            entropy_weight=settings.entropy_weight,
            learning_rate=settings.controller_learning_rate,
            hidden_units=settings.hidden_units,
            update_every=settings.update_every,
            replicas=settings.replicas,
            memory_weight=settings.memory_weight,
            shards=int(shards),
        )

    def keep_in(self, arrays: StudyArrays | None) -> None:
        """See `SearchAlgorithm`."""
        self._shards = None
        if arrays is not None and self.shards:
            grammar = self.grammar
            space = [grammar.problem_type.name, grammar.blocks, grammar.positions, list(grammar.draws)]
            sizes = [grammar.minimum_depth, grammar.maximum_depth, self.hidden_units, self.update_every, self.replicas]
            rates = [self.reward, self.entropy_weight, self.learning_rate, self.memory_weight]
            self._shards = Shards(arrays, self.shards, [_SEED, space, sizes, rates])

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
            window = max(len(towers) // _WINDOW - 1, 0)
            usable = [tower for tower in towers[window * _WINDOW :] if self._is_drawable(tower.architecture)]
            ends = range(self.update_every, len(usable) + 1, self.update_every)
            batches = [Drawn(0, tuple(usable[end - self.update_every : end])) for end in ends]
            return self._after(batches, window).controller
        planned = self._planned(history, towers)
        drawn = self._batches_of_replicas(planned, towers)
        window = max(len(drawn) * self.update_every // _WINDOW - 1, 0)
        learnt = self._after(drawn[window * _WINDOW // self.update_every :], window)
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

    def _batches_of_replicas(self, planned: list[int], towers: list[Tower]) -> list[Drawn]:
        """What replicas have drawn and trained, in the order in which batches were completed."""
        order = {tower.trial.id: (place, tower) for place, tower in enumerate(towers)}
        found = []
        for first in range(0, len(planned) - self.update_every + 1, self.update_every):
            numbers = planned[first : first + self.update_every]
            if all(number in order for number in numbers):
                last = max(order[number][0] for number in numbers)
                found.append((last, Drawn(self._replica(first), tuple(order[number][1] for number in numbers))))
        return [drawn for _, drawn in sorted(found, key=lambda pair: pair[0])]

    def _after(self, batches: list[Drawn], window: int) -> Learnt:
        """What the controller has learnt from these; the number of the window tells later shards from earlier ones."""
        marks = [drawn.mark for drawn in batches]
        learnt = self._learnt
        if learnt is None or learnt.marks != marks[: len(learnt.marks)]:
            learnt = self._beginning()
        if len(learnt.marks) < len(marks):
            learnt = self._stored(learnt, batches, window) or learnt.copy()
            # An update is kept if its number is a round one, the last one of several.
            kept = len(marks) // UPDATES_A_VERSION * UPDATES_A_VERSION
            for number, drawn in enumerate(batches[len(learnt.marks) :], start=len(learnt.marks) + 1):
                self._learn(learnt, drawn)
                if number == kept and self._shards is not None:
                    self._shards.write(window, marks[:number], learnt)
            learnt.marks = marks
        self._learnt = learnt
        return learnt

    def _beginning(self) -> Learnt:
        rng = np.random.default_rng(_SEED)
        return Learnt(Controller.make(len(self.grammar.blocks) + 2, self.hidden_units, rng))

    def _stored(self, learnt: Learnt, batches: list[Drawn], window: int) -> Learnt | None:
        """What the study keeps, if that saves more updates than reading it costs; without the later batches."""
        if self._shards is None or len(batches) - len(learnt.marks) < UPDATES_A_VERSION:
            return None
        marks = [drawn.mark for drawn in batches]
        found = self._beginning()
        replicas = sorted({drawn.replica for drawn in batches}) if self.replicas > 1 else []
        known = len(learnt.marks)
        updates = self._shards.read(window, marks, known + 1, found, replicas)
        if not updates:
            return None
        for drawn in batches[:updates]:
            self._advantages(found, drawn)
        found.marks = marks[:updates]
        return found

    def _advantages(self, learnt: Learnt, drawn: Drawn) -> NDArray[np.float64]:
        """How much better than expected the towers of a batch were, by the batches before, which it then joins."""
        if self.memory_weight:
            learnt.past += [body_of(tower.architecture) for tower in drawn.towers]
        return learnt.advantages([tower.loss for tower in drawn.towers], self.reward)

    def _learn(self, learnt: Learnt, drawn: Drawn) -> None:
        advantages = self._advantages(learnt, drawn)
        drawn_by = learnt.fetched.get(drawn.replica, learnt.beginning) if self.replicas > 1 else learnt.controller
        bodies = [body_of(tower.architecture) for tower in drawn.towers]
        gradient = drawn_by.gradient(self.batch(bodies, advantages), self.entropy_weight)
        if self.memory_weight:
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
