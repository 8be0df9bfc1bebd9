"""What a tower's loss will be after more steps, foretold from its rungs of an evaluation schedule."""

from __future__ import annotations

import math

from model_search.metadata.trial import Trial
from model_search.search.history.history import History


def loss_after(trial: Trial, steps: int, history: History) -> float | None:
    """The validation loss that a trial's tower will have after some more steps, by a power law through its last rungs.

    Losses fall about as a power of the steps (Hestness et al. 2017, for rows). Small towers look better than large ones
    while they are trained for short; how fast the loss falls tells them apart.

    Args:
        trial: A completed one.
        steps: Steps besides those that it was trained for.
        history: Has the trial that it went on from.

    Returns:
        None where the trial did not go on from another one, or the losses are not above 0.
    """
    plan = trial.plan
    before = None if plan is None or not plan.first_step or plan.warm_start is None else history.get(plan.warm_start)
    if before is None:
        return None
    earlier, later = _point(before), _point(trial)
    if earlier is None or later is None or earlier[0] >= later[0]:
        return None
    falling = max(0.0, math.log(earlier[1] / later[1]) / math.log(later[0] / earlier[0]))
    return later[1] * ((later[0] + steps) / later[0]) ** -falling


def _point(trial: Trial) -> tuple[int, float] | None:
    """The steps that a tower was trained for, and its loss then."""
    plan, result = trial.plan, trial.result
    if plan is None or result is None:
        return None
    loss = result.metrics.get("loss", 0.0)
    return (plan.steps if result.stopped_at is None else result.stopped_at, loss) if loss > 0 else None
