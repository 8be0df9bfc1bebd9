"""SPOS, ENAS, DARTS: weights that all cells share are trained once, and say which cells to train from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from model_search.metadata.trial import Candidate, SupernetPlan, Trial
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import Setting, register_search
from model_search.search.algorithms.tower_search import TowerSearch
from model_search.search.history.history import History
from model_search.search.space.architecture import fix_order
from model_search.spec.schedules import schedule_name

if TYPE_CHECKING:
    from model_search.spec.check import Checker

_COMMON = (
    Setting("supernet_steps", 0, minimum=0),  # of the supernet; 0 for five times those of a trial
    Setting("supernet_parts", 4, minimum=1, maximum=100),  # trials that its training is divided among
    Setting("supernet_learning_rate", 0.01, minimum=1e-6, maximum=10.0),
    Setting("candidates", 200, minimum=4, maximum=10_000),  # architectures that are compared with shared weights
    Setting("random_share", 0.25, minimum=0.0, maximum=1.0),  # of the trials from scratch; the others are the best
)


def _check(checker: Checker) -> None:
    spec = checker.spec
    if not spec.HasField("cell") or not checker.problem_type.reads_maps:
        checker.add("Shared weights are for cells of maps; expected problem_type CNN and cell.", ("search",))
    if spec.cell.layers:
        checker.add("Shared weights are for cells, not for a macro tower; leave layers out.", ("cell", "layers"))
    if schedule_name(spec) != "FULL":
        checker.add(
            "A search with shared weights trains what it finds in full; leave evaluation_schedule out.",
            ("evaluation_schedule",),
        )
    if len(spec.cell.channels) > 1:
        checker.add("A supernet has one number of channels; give one.", ("cell", "channels", 1))


class OneShot(TowerSearch):
    """What searches with shared weights have in common.

    The first trials of a study are the parts of the training of a supernet, the last of which compares `candidates`
    architectures (the planner's rule `supernet`). Every other trial trains an architecture from scratch, as any search
    does: the best candidate that has not been tried, or, for `random_share` of them, a random one. Without a supernet,
    and while another worker trains it, architectures are drawn at random.

    Attributes:
        method: How the supernet's paths are chosen, one of `SUPERNETS`.
    """

    evaluator: ClassVar[str] = "supernet"
    method: ClassVar[str]

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The best candidate that has not been tried, a random one, or any architecture at random."""
        found = compared(history, self.suits)
        if found is None or found.plan is None or found.plan.supernet is None or found.result is None:
            return self.draw(history, rng)
        tried, space = self.tried(history), found.plan.supernet
        random = bool(rng.random() < self.settings["random_share"])
        candidates = found.result.candidates if random else self._ranked(found.result.candidates, history)
        for candidate in candidates:
            architecture = fix_order(space.architecture_of(candidate.choices), self.grammar.problem_type)
            is_wanted = candidate.random or not random
            if is_wanted and self.grammar.canonical(architecture) not in tried and self.grammar.fits(architecture):
                return Proposal(architecture, random=random)
        return self.draw(history, rng)

    def suits(self, supernet: SupernetPlan) -> bool:
        """Whether a supernet is of this method, and of the architectures that are searched now."""
        return supernet.method == self.method and supernet.positions == self.grammar.positions

    def of_method(self) -> dict[str, Any]:
        """The settings of the method alone, which the evaluator reads."""
        common = {setting.name for setting in _COMMON}
        return {name: value for name, value in self.settings.items() if name not in common}

    def _ranked(self, candidates: tuple[Candidate, ...], history: History) -> list[Candidate]:
        loss = history.ranking.objective.loss
        return sorted(candidates, key=lambda candidate: loss(candidate.value))


def compared(history: History, suits: Callable[[SupernetPlan], bool] | None = None) -> Trial | None:
    """The last trial that has compared architectures with shared weights; None where there is none.

    Args:
        history: The trials of the study.
        suits: Says which supernets are asked for; None for any.
    """
    found = [
        trial
        for trial in history.supernets.values()
        if trial.result is not None
        and trial.result.candidates
        and trial.plan is not None
        and trial.plan.supernet is not None
        and (suits is None or suits(trial.plan.supernet))
    ]
    return max(found, key=lambda trial: trial.id, default=None)


@register_search(
    "SPOS",
    settings=_COMMON,
    describe="weights shared by all cells are trained on paths drawn at random; the best of many are trained alone.",
    check=_check,
)
class SinglePathOneShot(OneShot):
    """Single-path one-shot search with uniform sampling.

    Paper: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020.
    """

    method = "SPOS"


@register_search(
    "ENAS",
    settings=(
        *_COMMON,
        Setting("controller_units", 32, minimum=1, maximum=1024),
        Setting("controller_every", 10, minimum=1),  # updates of the weights between two of the controller
        Setting("controller_learning_rate", 0.01, minimum=1e-6, maximum=10.0),
        Setting("entropy_weight", 0.01, minimum=0.0),
    ),
    describe="weights shared by all cells are trained on paths that a controller draws; the best are trained alone.",
    check=_check,
)
class ControllerOneShot(OneShot):
    """Shared weights and a controller that learns from them.

    Paper: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018.
    """

    method = "ENAS"


@register_search(
    "DARTS",
    settings=(
        *_COMMON,
        Setting("order", 1, minimum=1, maximum=2),  # of the gradient by the shares
        Setting("alpha_learning_rate", 0.01, minimum=1e-6, maximum=10.0),
        Setting("temperature", 1.0, minimum=1e-3, maximum=1e3),  # of the softmax over choices, at the beginning
        Setting("last_temperature", 1.0, minimum=1e-3, maximum=1e3),
        Setting("most_identities", 0, minimum=0),  # of a normal cell, from which on the shares stay; 0 for any number
        Setting("warm_up", 0.0, minimum=0.0, maximum=1.0),  # part of the updates, before shares are learnt
        Setting("sampled", False),  # whether an update goes through one path, drawn by the shares
        Setting("eigenvalue_ratio", 0.0, minimum=0.0, maximum=1.0),  # of the loss's curvature; 0 for no measurements
    ),
    describe="all operations of a cell are mixed, and their shares learnt by gradients; the best are trained alone.",
    check=_check,
)
class DifferentiableOneShot(OneShot):
    """Differentiable search.

    Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019.
    """

    method = "DARTS"
