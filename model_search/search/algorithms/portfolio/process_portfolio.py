"""PREDICTOR_GUIDED_BEAM: a portfolio of a guided beam, plain steps and a process over edit distances. The default."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.gaussian_process import GaussianProcessSearch
from model_search.search.algorithms.guided_beam import NEW, WARM_UP, GuidedBeam
from model_search.search.algorithms.portfolio_beam import NAME, PortfolioBeam
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.robust_beam import RobustBeam
from model_search.search.algorithms.tower_search import one_thread
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor, has_own
from model_search.spec.searches import LATEST_VERSION, SEARCHES, VERSION, Setting

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

PROCESS_FROM = 16  # the first trial that may be the process's
EXPLORING_FROM = 5  # the version from which on the process explores more when progress has stalled
STEPPING_FROM = 6  # the version from which on steps follow the first trained towers where most fail
_EARLIER: dict[int, type[GuidedBeam]] = {1: GuidedBeam, 2: RobustBeam, 3: PortfolioBeam}


@register_search(
    NAME,
    reads=("starting_points",),
    settings=[
        Setting(VERSION, LATEST_VERSION, minimum=1, maximum=LATEST_VERSION),
        Setting("most_steps", 0.5, minimum=0.0, maximum=1.0),
        Setting("most_process", 0.8, minimum=0.0, maximum=1.0),
        Setting("doubt", 0.1, minimum=0.0, maximum=1.0),
        Setting("stalled_exploration", 2.0, minimum=0.0, maximum=100.0),
    ],
    describe=lambda spec: f"of many children of the best {spec.beam_size}, the one a predictor finds most promising.",
)
@dataclasses.dataclass
class ProcessPortfolio(PortfolioBeam):
    """The portfolio beam, with a share of trials for a Gaussian process over edit distances.

    The predictor believes that a block has an effect of its own: at its place, and by how often it occurs. Where that
    is so, it knows a space after twenty trials. Where blocks count only by what surrounds them, the same belief makes
    it sure of what it has not seen. It then stays in a corner of the space. `GaussianProcessSearch` believes only that
    towers of few edits are alike, and is never sure far from what was tried.

    The trials decide between the two. The likelier it is that no part counts by itself (`Predictor.whole_share`), the
    more of the trials are the process's: half of `most_process` where the probability is `doubt`. The longer nothing
    was better, the smaller is the probability that suffices; at last the predictor is not believed, whatever it is. Of
    the trials that are left, some are plain steps, as in the portfolio beam.

    A process that is asked the same thing again and again stays at a local optimum: whatever it finds promising is
    beside it. So the uncertainty weighs more in its confidence bound the longer nothing was better: up to
    1 + `stalled_exploration` times as much, where no part is believed to count by itself. What it proposes then lies
    further from all that was tried. Where parts do count, the best is beside what is known to be good.

    The process proposes no architecture twice. Where hyperparameters are searched, too, its greatest share is half.

    Where most towers fail, so few random ones can be trained that the predictor had nothing to learn from for long.
    As long as it has not, and more towers have failed than have been trained, trials are plain steps from these: what
    can be trained has neighbours that can.

    Versions 1, 2 and 3 are `GuidedBeam`, `RobustBeam` and `PortfolioBeam`; in version 4 the process always explores as
    much, and up to version 5 all trials are random until the predictor learns. Studies go on with the version that they
    began with.

    Attributes:
        most_process: The greatest share of trials that the process over edit distances proposes.
        doubt: How likely it is that no part counts by itself, where the process has half of that share.
        stalled_exploration: By how much the process's exploration grows until progress has stalled, as a share of what
            it is at first, where no part counts by itself.
        steps_early: Whether trials are plain steps where most towers fail and the predictor cannot learn yet.
    """

    most_process: float = 0.8
    doubt: float = 0.1
    stalled_exploration: float = 2.0
    steps_early: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._process = GaussianProcessSearch(self.grammar, trials_before_fit=WARM_UP)

    @classmethod
    def of(cls, spec: PhoenixSpec) -> GuidedBeam:  # type: ignore[override] # or an earlier version
        """The search that a spec asks for, in the version that it names."""
        settings = SEARCHES.get(NAME).values(spec)
        version = int(settings[VERSION])
        if version in _EARLIER:
            return _EARLIER[version].of(spec)
        found = PortfolioBeam.of(spec)
        share, doubt = float(settings["most_process"]), float(settings["doubt"])
        growth = float(settings["stalled_exploration"]) if version >= EXPLORING_FROM else 0.0
        early = version >= STEPPING_FROM
        return cls(found.beam, found.repeats, found.starting_points, found.most_steps, share, doubt, growth, early)

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """What the process over edit distances finds most promising, or what the portfolio beam proposes."""
        can_learn = Predictor.can_learn(history, WARM_UP)
        if self.steps_early and not can_learn and history.failures.prevail:
            return self._step(history, rng)
        if can_learn:
            # The same for all draws of a trial.
            coin = np.random.default_rng([len(history), history.completed_count, 3]).random()
            if coin < self.most_process and coin < self._share_of_process(history):
                return self._exploring(history).propose(history, rng)
        return super().propose(history, rng)

    def _exploring(self, history: History) -> GaussianProcessSearch:
        """The process, which explores the more the longer nothing was better, if no part counts by itself."""
        growth = self.stalled_exploration * self._stalled(history)
        if growth > 0:
            growth *= self._belief(history, self.doubt)
        return dataclasses.replace(self._process, exploration=(1 + growth) * self._process.exploration)

    def _share_of_process(self, history: History) -> float:
        if not has_own(history, PROCESS_FROM - 1):
            return 0.0
        most = self.most_process * (1 if self.repeats == 1 else NEW)
        if not most > 0:
            return 0.0
        needed = self.doubt * (1 - self._stalled(history))
        if not needed > 0:
            return most
        return most * self._belief(history, needed)

    def _belief(self, history: History, needed: float) -> float:
        """How far it is believed that no part counts by itself: half where that is as likely as `needed`."""
        with one_thread():
            probability = self._predictors.of(history).whole_share
        return probability / (probability + needed) if probability > 0 else 0.0
