"""Checking what a specification says of how long trials are trained, and of the tuning phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_search.spec.check import Checker

_READ_BY_SCHEDULES = ("reduction_factor", "minimum_share", "fidelity")


def schedule(checker: Checker) -> None:
    """The `evaluation_schedule`: its numbers make sense, and are read by its kind."""
    settings, path = checker.spec.evaluation_schedule, ("evaluation_schedule",)
    checker.at_least(settings, 2, path, ["reduction_factor"])
    checker.at_least(settings, 0, path, ["grace_steps"])
    if not 0 < settings.minimum_share <= 1:
        checker.add(
            f"minimum_share is {settings.minimum_share:.7g}; expected a share above 0 and at most 1.",
            (*path, "minimum_share"),
        )
    if settings.kind == type(settings).FULL:
        for name in _READ_BY_SCHEDULES:
            if settings.HasField(name):
                checker.add(
                    f"{name} is not read where all trials are trained in full; give a kind of evaluation_schedule.",
                    (*path, name),
                    severity="warning",
                )
    if settings.HasField("grace_steps") and settings.stopping == type(settings).NONE:
        checker.add("grace_steps is not read without stopping.", (*path, "grace_steps"), severity="warning")


def tuning(checker: Checker) -> None:
    """The `tuning` phase."""
    checker.at_least(checker.spec.tuning, 0, ("tuning",), ["trials"])
    checker.at_least(checker.spec.tuning, 1, ("tuning",), ["architectures"])
