"""Checking what a specification says of how long trials are trained, of the tuning phase and of the final training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_search.registries import Registry
from model_search.spec.schedules import PLANNER_RULES, SCHEDULES, STOPPING_RULES, schedule_name, stopping_name

if TYPE_CHECKING:
    from model_search.spec.check import Checker

MOST_TIME_SHARE = 0.8  # of a time limit, for the final training; the search needs some, too
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
    _named(checker, SCHEDULES, ("schedule", "kind"), "FULL")
    _named(checker, STOPPING_RULES, ("stopping_rule", "stopping"), "NONE")
    if schedule_name(checker.spec) == "FULL":
        for name in _READ_BY_SCHEDULES:
            if settings.HasField(name):
                checker.add(
                    f"{name} is not read where all trials are trained in full; give a kind of evaluation_schedule.",
                    (*path, name),
                    severity="warning",
                )
    if settings.HasField("grace_steps") and stopping_name(checker.spec) == "NONE":
        checker.add("grace_steps is not read without stopping.", (*path, "grace_steps"), severity="warning")


def _named(checker: Checker, registry: Registry[Any], fields: tuple[str, str], default: str) -> None:
    """A name in the one field is declared, and does not contradict what the other field says."""
    settings, (field, other) = checker.spec.evaluation_schedule, fields
    name, kind = getattr(settings, field), settings.DESCRIPTOR.fields_by_name[other].enum_type
    chosen = kind.values_by_number[getattr(settings, other)].name
    place = ("evaluation_schedule", field)
    if name and name not in registry:
        checker.add(registry.unknown(name), place)
    if name and chosen not in (default, name):
        checker.add(f"{field} is {name!r} and {other} is {chosen}; give only one of the two.", place)


def rules(checker: Checker) -> None:
    """The `planner_rules` are declared."""
    for index, name in enumerate(checker.spec.planner_rules):
        if name not in PLANNER_RULES:
            checker.add(PLANNER_RULES.unknown(name), ("planner_rules", index))


def tuning(checker: Checker) -> None:
    """The `tuning` phase."""
    checker.at_least(checker.spec.tuning, 0, ("tuning",), ["trials"])
    checker.at_least(checker.spec.tuning, 1, ("tuning",), ["architectures"])


def final_training(checker: Checker) -> None:
    """The `final_training`."""
    settings, path = checker.spec.final_training, ("final_training",)
    if not 0 <= settings.time_share <= MOST_TIME_SHARE:
        checker.add(
            f"time_share is {settings.time_share:.7g}; expected a share from 0 to {MOST_TIME_SHARE}.",
            (*path, "time_share"),
        )
    checker.at_least(settings, 1, path, ["towers"])


def morphisms(checker: Checker) -> None:
    """The `morphisms`: shorter trials, which go with no rungs."""
    spec, path = checker.spec, ("morphisms",)
    if not spec.HasField("morphisms"):
        return
    share = spec.morphisms.steps_share
    if not 0 < share <= 1:
        message = f"steps_share is {share:.7g}; expected a share above 0 and at most 1."
        checker.add(message, (*path, "steps_share"), path)
    if schedule_name(spec) != "FULL":
        checker.add(
            f"morphisms do not go with evaluation_schedule {schedule_name(spec)}; expected FULL: towers that begin as "
            "another one's function are not compared with others after as many steps.",
            path,
        )


def trial_limits(checker: Checker) -> None:
    """The `trial_limits`, each above 0 where it is given."""
    settings = checker.spec.trial_limits
    for name in ("seconds", "parameters_at_most", "megabytes"):
        value = getattr(settings, name)
        if settings.HasField(name) and not value > 0:
            checker.add(f"{name} is {value:.7g}; expected a number above 0.", ("trial_limits", name))
