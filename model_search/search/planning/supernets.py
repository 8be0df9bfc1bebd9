"""The trials that train a supernet: its training in parts, each of which goes on where the one before ended."""

from __future__ import annotations

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
from model_search.search.algorithms.one_shot import OneShot, compared
from model_search.search.history.history import History
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.space.hyperparameters import Choice

STEPS_FACTOR = 5  # times the steps of a trial
MOST_FAILURES = 2  # after which the study goes on without a supernet


def next_part(make: PlanMaker, request: Request) -> TrialPlan | None:
    """The next part of the training of the supernet that the search asks for.

    A part that failed is not tried again from the same trial: its files may be damaged. The part before is made anew,
    or the first one.

    Returns:
        None where the search has no supernet, another worker trains the next part, or all is done; and for a trial
        that a worker left without a plan while later ones trained parts, since no trial builds on a later one.
    """
    algorithm, history = make.algorithm, request.history
    if not isinstance(algorithm, OneShot) or not _has_cells(make) or compared(history) is not None:
        return None
    failed = [trial.plan for trial in history.failed if trial.plan is not None and trial.plan.supernet is not None]
    if (
        len(failed) > MOST_FAILURES
        or _is_being_trained(history)
        or max(history.supernets, default=0) > request.trial_id
    ):
        return None
    settings = algorithm.settings
    total = settings["supernet_steps"] or STEPS_FACTOR * make.settings.train_steps
    distrusted = {number for plan in failed for number in plan.builds_on}
    trusted = [trial for trial in history.supernets.values() if _is_whole(trial) and trial.id not in distrusted]
    cut_off = sum(not _is_whole(trial) for trial in history.supernets.values())
    before = max(trusted, key=lambda trial: trial.plan.steps if trial.plan else 0, default=None)
    done = 0 if before is None or before.plan is None else before.plan.steps
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
        key=f"supernet:{algorithm.method}:{end}:{len(failed) + cut_off}",
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


def _is_being_trained(history: History) -> bool:
    states = (TrialState.RUNNING, TrialState.INTERRUPTED, TrialState.CLAIMED)
    unfinished = (trial for trial in history.unfinished if trial.state in states)
    return any(trial.plan is not None and trial.plan.supernet is not None for trial in unfinished)


def _layout(make: PlanMaker) -> dict[str, HyperparameterValue]:
    """The layout of the towers, of which a supernet has one."""
    choices = (parameter for parameter in make.space.parameters if parameter.name in LAYOUT)
    return {choice.name: choice.values[0] for choice in choices if isinstance(choice, Choice)}
