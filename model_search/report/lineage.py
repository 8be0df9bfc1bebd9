"""Where a model comes from: its ancestors, and what each step has changed."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence

from model_search.metadata.trial import StartKind, Trial, TrialPlan
from model_search.search.history.history import History

MOST_STEPS = 40
MOST_SOURCES = 8  # of an average that are named


@dataclasses.dataclass(frozen=True)
class Step:
    """One ancestor, or the model itself.

    Attributes:
        trial: The trial.
        role: Its relation to the next step ("the parent of trial 7"); empty for the model itself.
        changes: Differences from the trial that it was derived from; a phrase each.
        members: The trials that it combines.
        teacher: The trials that it was distilled from.
    """

    trial: Trial
    role: str
    changes: tuple[str, ...]
    members: tuple[Trial, ...] = ()
    teacher: tuple[Trial, ...] = ()


def lineage(trial: Trial, history: History) -> list[Step]:
    """The trial and its ancestors, the trial first, at most `MOST_STEPS` of them.

    An ancestor is the trial that an architecture was grown or mutated from, whose weights were the start, or, of an
    ensemble without a tower of its own, its best member.
    """
    steps: list[Step] = []
    role, current = "", trial
    seen: set[int] = set()
    while current.plan is not None and current.id not in seen and len(steps) < MOST_STEPS:
        seen.add(current.id)
        plan = current.plan
        ancestor, next_role = _ancestor(plan, history)
        before = None if ancestor is None or next_role == "the best member" else ancestor.plan
        steps.append(
            Step(
                current,
                role,
                tuple(beginning(plan) if before is None else changes(before, plan)),
                tuple(_known(plan.members, history)),
                tuple(_known(plan.teacher, history)),
            )
        )
        if ancestor is None:
            break
        role, current = f"{next_role} of trial {current.id}", ancestor
    return steps


def changes(before: TrialPlan, after: TrialPlan) -> Iterator[str]:
    """The differences between two plans, in phrases."""
    if after.first_step:
        yield f"trained on from step {after.first_step} to step {after.steps}"
    yield from _blocks_changed(before.architecture, after.architecture)
    changed = ", ".join(_values_changed(before.hyperparameters, after.hyperparameters))
    if changed:
        yield changed
    if after.distillation is not None:
        yield f"learns from trial{'s' if len(after.teacher) > 1 else ''} {', '.join(map(str, after.teacher))}"
    yield from beginning(after)


def beginning(plan: TrialPlan) -> Iterator[str]:
    """The weights that a tower starts from, in a phrase; nothing for fresh ones, or a training that goes on."""
    start = plan.start
    if start is None or plan.first_step:
        return
    if start.kind is StartKind.GIVEN:
        yield f"starts from what fits of the given model {start.source}"
    elif start.kind is StartKind.AVERAGE and len(start.trials) > 1:
        heaviest = sorted(zip(start.shares, start.trials, strict=True), reverse=True)
        named = ", ".join(str(number) for _, number in heaviest[:MOST_SOURCES])
        more = f" and {len(heaviest) - MOST_SOURCES} more" if len(heaviest) > MOST_SOURCES else ""
        yield f"starts from the mean of what fits of trials {named}{more}"
    elif start.kind is StartKind.MORPH:
        yield f"begins as the function of trial {start.trials[0]}, if it can"
    elif start.kind is StartKind.AVERAGE:
        yield f"starts from what fits of trial {start.trials[0]}"
    else:
        yield f"starts from the weights of trial {start.trials[0]}"


def _ancestor(plan: TrialPlan, history: History) -> tuple[Trial | None, str]:
    for number, role in ((plan.parent, "the parent"), (_start(plan), "the starting point")):
        if number is not None:
            return history.get(number), role
    known = {trial.id for trial in _known(plan.members, history)}
    best = next((trial for trial in history.completed if trial.id in known), None) if known else None
    return best, "the best member"


def _start(plan: TrialPlan) -> int | None:
    """The trial whose weights count the most in what a tower starts from; the latest of equals."""
    if plan.start is None or plan.start.kind is not StartKind.AVERAGE:
        return plan.warm_start
    return max(zip(plan.start.shares, plan.start.trials, strict=True))[1]


def _known(numbers: Sequence[int], history: History) -> Iterator[Trial]:
    for number in numbers:
        trial = history.get(number)
        if trial is not None:
            yield trial


def _blocks_changed(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for what, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        old, new = " > ".join(before[i:j]), " > ".join(after[k:m])
        if what == "insert":
            yield f"added {new} as block {k + 1}"
        elif what == "delete":
            yield f"took out block {i + 1}, {old}"
        elif what == "replace":
            yield f"replaced {old} by {new} at block {k + 1}"


def _values_changed(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield f"{name} {value(old)} → {value(new)}"


def value(found: object) -> str:
    """The value of a hyperparameter, as short as possible; "none" where it has none."""
    if found is None:
        return "none"
    return f"{found:.4g}" if isinstance(found, float) else str(found)
