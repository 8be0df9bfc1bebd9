"""Early stopping inside of a trial: whether its curve, compared with those of other trials, is worth going on with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from model_search.errors import SpecError, UserError
from model_search.metadata.trial import TrialPlan
from model_search.ranking import Objective
from model_search.search.history.history import History
from model_search.spec.schedules import STOPPING_RULES, stopping_name

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

LearningCurve = Sequence[tuple[int, float]]

_FEWEST_PEERS = 5
_PEERS = 500  # of the trials that were completed last
_FEWEST_EVALUATIONS = 4
_EXPONENTS = np.geomspace(0.05, 3.0, 25)
_DEVIATIONS = 2.0
_PLAUSIBLE = 4.0  # a curve is, whose squared errors are no more than so many variances above the best one's
_DEFAULT_GRACE = 0.25


def is_out_of_patience(plan: TrialPlan, curve: LearningCurve, objective: Objective) -> bool:
    """Whether as many evaluations as a plan's patience have not been better than the best one before them."""
    if not plan.patience or len(curve) <= plan.patience or curve[-1][0] >= plan.steps:
        return False
    losses = [objective.loss(value) for _, value in curve]
    return min(losses[-plan.patience :]) >= min(losses[: -plan.patience])


@dataclasses.dataclass(frozen=True)
class StoppingRule:
    """Stops nothing.

    Only trials of a tower that began and are to end at the same steps are compared. Samples of random search go on.

    Attributes:
        grace_steps: Steps of a trial before which it is not stopped; a quarter of its steps where None.
    """

    grace_steps: int | None = None

    @classmethod
    def of(cls, spec: PhoenixSpec) -> StoppingRule:
        """The rule that a spec asks for.

        Raises:
            SpecError: if its grace makes no sense.
        """
        settings = spec.evaluation_schedule
        grace = settings.grace_steps if settings.HasField("grace_steps") else None
        if grace is not None and grace < 0:
            raise SpecError(f"grace_steps is {grace}; expected 0 or more steps")
        name = stopping_name(spec)
        if name not in STOPPING_RULES:
            raise SpecError(STOPPING_RULES.unknown(name))
        rule: StoppingRule = STOPPING_RULES.get(name)(grace)
        return rule

    @property
    def is_active(self) -> bool:
        """Whether it ever stops a trial."""
        return type(self) is not StoppingRule

    def stops(self, plan: TrialPlan, curve: LearningCurve, history: History) -> bool:
        """Whether to end a trial now.

        Args:
            plan: The trial's plan.
            curve: Its curve so far: (step, value of the study's metric), in order.
            history: The trials of the study.
        """
        if not self.is_active or not curve or plan.random or not plan.is_on_labels_alone:
            return False
        last = curve[-1][0]
        grace = _DEFAULT_GRACE * (plan.steps - plan.first_step) if self.grace_steps is None else self.grace_steps
        if last >= plan.steps or last - plan.first_step < grace:
            return False
        objective = history.ranking.objective
        losses = _losses(curve, objective)
        peers = [_losses(peer, objective) for peer in _curves_of_peers(plan, history)]
        return bool(len(losses)) and self.is_hopeless(plan, losses, peers)

    def is_hopeless(self, plan: TrialPlan, curve: np.ndarray, peers: Sequence[np.ndarray]) -> bool:
        """The decision, which each rule overrides; `stops` asks it only after the grace and before the last step.

        Args:
            plan: The trial's plan.
            curve: Its curve so far, float64 [evaluations, 2]: (step, loss), less being better; at least one evaluation.
            peers: The curves of the completed trials that it is compared with; a curve may be empty.
        """
        del plan, curve, peers
        return False


_Class = TypeVar("_Class", bound=type[StoppingRule])


def register_stopping_rule(name: str) -> Callable[[_Class], _Class]:
    """Declares a class as a stopping rule that `evaluation_schedule { stopping_rule: "NAME" }` can name.

    Args:
        name: Its name, a word. It is made with `grace_steps`, as the specification says.

    Raises:
        UserError: if the name is taken, or the class is no `StoppingRule`.
    """

    def register(cls: _Class) -> _Class:
        if not isinstance(cls, type) or not issubclass(cls, StoppingRule):
            raise UserError(f"stopping rule {name!r} is {cls!r}; expected a subclass of StoppingRule")
        STOPPING_RULES.add(name, cls, cls)
        return cls

    return register


register_stopping_rule("NONE")(StoppingRule)


@register_stopping_rule("MEDIAN")
@dataclasses.dataclass(frozen=True)
class MedianStopping(StoppingRule):
    """Stops a trial whose best value so far is worse than the median of what the others were on average by then.

    Paper: Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2.
    """

    def is_hopeless(self, plan: TrialPlan, curve: np.ndarray, peers: Sequence[np.ndarray]) -> bool:
        """See `StoppingRule`."""
        step = curve[-1, 0]
        averages = [float(peer[peer[:, 0] <= step, 1].mean()) for peer in peers if len(peer) and peer[0, 0] <= step]
        return len(averages) >= _FEWEST_PEERS and float(curve[:, 1].min()) > float(np.median(averages))


@register_stopping_rule("LEARNING_CURVE")
@dataclasses.dataclass(frozen=True)
class CurveExtrapolation(StoppingRule):
    """Stops a trial whose learning curve, seen with hope, would end worse than the best one so far.

    The curve is taken to be a power law, `end + gain * step ** -exponent`, with noise. Among the exponents under which
    its evaluations are plausible, the most promising one counts, and two deviations of the noise count in its favour.

    Paper: after Domhan, Springenberg and Hutter, "Speeding up Automatic Hyperparameter Optimization of Deep Neural
    Networks by Extrapolation of Learning Curves", IJCAI 2015. Departures: one family of curves instead of eleven, and a
    bound from least squares instead of sampling from the posterior, which takes well under a millisecond.
    """

    def is_hopeless(self, plan: TrialPlan, curve: np.ndarray, peers: Sequence[np.ndarray]) -> bool:
        """See `StoppingRule`."""
        if len(curve) < _FEWEST_EVALUATIONS or not any(map(len, peers)):
            return False
        best = min(float(peer[:, 1].min()) for peer in peers if len(peer))
        return hopeful_end(curve, plan.steps) > best


def hopeful_end(curve: np.ndarray, steps: int) -> float:
    """The least loss that a curve may plausibly come down to until `steps`.

    Args:
        curve: float64 [evaluations, 2], (step from 1, loss), at least 3 evaluations.
        steps: Where the training ends.
    """
    step, loss = curve[:, 0] / steps, curve[:, 1]
    ends, errors = [], []
    for exponent in _EXPONENTS:
        fall = step**-exponent
        varied = fall - fall.mean()
        spread = float(varied @ varied)
        gain = max(0.0, float(varied @ loss) / spread) if spread > 0 else 0.0
        end = float(loss.mean()) - gain * float(fall.mean())
        ends.append(end + gain)
        errors.append(float(np.square(loss - end - gain * fall).sum()))
    variance = min(errors) / max(1, len(loss) - 3)
    plausible = [end for end, error in zip(ends, errors, strict=True) if error <= min(errors) + _PLAUSIBLE * variance]
    return min(*plausible, float(loss.min())) - _DEVIATIONS * math.sqrt(variance)


def _curves_of_peers(plan: TrialPlan, history: History) -> list[LearningCurve]:
    """The curves of completed trials that are comparable with this one."""
    found: list[LearningCurve] = []
    for trial in history.latest(_PEERS):
        other = trial.plan
        if other is None or trial.result is None or not other.is_on_labels_alone:
            continue
        if (other.first_step, other.steps, other.row_share) == (plan.first_step, plan.steps, plan.row_share):
            found.append(trial.result.curve)
    return found


def _losses(curve: LearningCurve, objective: Objective) -> np.ndarray:
    """Finite evaluations at a step from 1 on, as (step, loss)."""
    pairs = [(step, objective.loss(value)) for step, value in curve if step > 0 and math.isfinite(value)]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)
