"""The trials that train a supernet: its training in parts, each of which goes on where the one before ended."""

from __future__ import annotations

import hashlib
import json

from model_search.cells import LAYOUT
from model_search.metadata.trial import (
    HyperparameterValue,
    StartKind,
    SupernetPlan,
    Trial,
    TrialKind,
    TrialPlan,
    TrialState,
    WarmStart,
)
from model_search.search.algorithms.one_shot import OneShot
from model_search.search.history.history import History
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.space.hyperparameters import Choice

STEPS_FACTOR = 5  # times the steps of a trial
MOST_FAILURES = 2  # after which the study goes on without a supernet
_OF_SHAPES = ("controller_units",)  # settings of methods that say what shapes their arrays have


def next_part(make: PlanMaker, request: Request) -> TrialPlan | None:
    """The next part of the training of the supernet that the search asks for.

    A part that failed is not tried again from the same trial: its files may be damaged. The part before is made anew,
    or the first one.

    Returns:
        None where the search has no supernet, another worker trains the next part, or all is done; and for a trial
        that a worker left without a plan while later ones trained parts, since no trial builds on a later one.
    """
    algorithm, history = make.algorithm, request.history
    if not isinstance(algorithm, OneShot) or not _has_cells(make):
        return None
    own = [trial for trial in history.supernets.values() if _is_of_today(trial, make, algorithm)]
    failed = [trial.plan for trial in history.failed if trial.plan is not None and _is_of_today(trial, make, algorithm)]
    if (
        any(trial.result is not None and trial.result.candidates for trial in own)
        or len(failed) > MOST_FAILURES
        or any(_is_being_trained(trial) and _is_of_today(trial, make, algorithm) for trial in history.unfinished)
        or max((trial.id for trial in own), default=0) > request.trial_id
    ):
        return None
    settings = algorithm.settings
    total = settings["supernet_steps"] or STEPS_FACTOR * make.settings.train_steps
    distrusted = {number for plan in failed for number in plan.builds_on}
    trusted = [trial for trial in own if _is_whole(trial) and trial.id not in distrusted]
    cut_off = sum(not _is_whole(trial) for trial in own)
    before = max(trusted, key=lambda trial: trial.plan.steps if trial.plan else 0, default=None)
    done = 0 if before is None or before.plan is None else before.plan.steps
    if done >= total:  # fewer steps are asked for by now: what was trained is used, and ends with a small learning rate
        total = done + max(total // settings["supernet_parts"], 1)
    ends = [max(total * part // settings["supernet_parts"], 1) for part in range(1, settings["supernet_parts"] + 1)]
    end = next((end for end in ends if end > done), total)
    is_last = end >= total
    return TrialPlan(
        trial_id=request.trial_id,
        kind=TrialKind.SUPERNET,
        architecture=(),
        hyperparameters={"learning_rate": settings["supernet_learning_rate"], **_layout(make)},
        steps=end,
        batch_size=make.settings.batch_size,
        seed=make.trial_seed(request.trial_id) if before is None or before.plan is None else before.plan.seed,
        key=f"supernet:{algorithm.method}:{_space_in_short(make)}:{end}:{len(failed) + cut_off}",
        start=None if before is None else WarmStart(StartKind.RESUME, (before.id,)),
        first_step=done,
        total_steps=None if is_last else total,
        supernet=SupernetPlan(
            algorithm.method, make.grammar.positions, settings["candidates"] if is_last else 0, algorithm.of_method()
        ),
    )


def _has_cells(make: PlanMaker) -> bool:
    return make.grammar.equivalence.of_cells and make.grammar.problem_type.reads_maps


def _is_whole(trial: Trial) -> bool:
    """Whether a part was trained to its end."""
    return trial.plan is not None and trial.result is not None and trial.result.best_step >= trial.plan.steps


def why_anew(plan: TrialPlan, history: History) -> str | None:
    """A sentence for the user where a plan begins a supernet although the study has parts of another one.

    Args:
        plan: A plan that was just made.
        history: The trials before it.
    """
    if plan.supernet is None or plan.first_step:
        return None
    plans = [trial.plan for trial in history.supernets.values() if trial.plan is not None]
    earlier = max(plans, key=lambda earlier: earlier.trial_id, default=None)
    if earlier is None or earlier.supernet is None:
        return None
    reasons = {
        f"the search is {plan.supernet.method} and was {earlier.supernet.method}": (
            plan.supernet.method != earlier.supernet.method
        ),
        "the operations of the cell, their order or the number of nodes have changed": (
            plan.supernet.positions != earlier.supernet.positions
        ),
        "the layout of the cells has changed": _layout_of(plan) != _layout_of(earlier),
        "what its controller looks like has changed": _shapes(plan.supernet) != _shapes(earlier.supernet),
    }
    said = [reason for reason, holds in reasons.items() if holds]
    return f"the supernet is trained anew: {'; '.join(said)}" if said else None


def _is_of_today(trial: Trial, make: PlanMaker, algorithm: OneShot) -> bool:
    """Whether a trial trains the supernet that today's options ask for: its weights have the same names and shapes."""
    plan = trial.plan
    return (
        plan is not None
        and plan.supernet is not None
        and algorithm.suits(plan.supernet)
        and _layout_of(plan) == _layout(make)
        and _shapes(plan.supernet) == {name: algorithm.settings[name] for name in _shapes(plan.supernet)}
    )


def _shapes(supernet: SupernetPlan) -> dict[str, HyperparameterValue]:
    return {name: supernet.settings[name] for name in _OF_SHAPES if name in supernet.settings}


def _is_being_trained(trial: Trial) -> bool:
    return trial.state in (TrialState.RUNNING, TrialState.INTERRUPTED, TrialState.CLAIMED)


def _space_in_short(make: PlanMaker) -> str:
    """A few letters that tell supernets of one study apart, in the keys of plans."""
    algorithm = make.algorithm
    shapes = {name: algorithm.settings[name] for name in _OF_SHAPES if name in algorithm.settings}
    text = json.dumps([make.grammar.positions, sorted(_layout(make).items()), sorted(shapes.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _layout_of(plan: TrialPlan) -> dict[str, HyperparameterValue]:
    return {name: value for name, value in plan.hyperparameters.items() if name in LAYOUT}


def _layout(make: PlanMaker) -> dict[str, HyperparameterValue]:
    """The layout of the towers, of which a supernet has one."""
    choices = (parameter for parameter in make.space.parameters if parameter.name in LAYOUT)
    return {choice.name: choice.values[0] for choice in choices if isinstance(choice, Choice)}
