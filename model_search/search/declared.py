"""What the user has declared beside the built-in searches, samplers, schedules and rules: for other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_search.registries import Registry
from model_search.search.samplers.sampler import SAMPLERS
from model_search.spec.schedules import PLANNER_RULES, SCHEDULES, STOPPING_RULES
from model_search.spec.searches import SEARCHES

_REGISTRIES: Mapping[str, Registry[Any]] = {
    "searches": SEARCHES,
    "samplers": SAMPLERS,
    "schedules": SCHEDULES,
    "stopping rules": STOPPING_RULES,
    "planner's rules": PLANNER_RULES,
}


def declarations_of_users() -> dict[str, Any]:
    """All of them, as an object that cloudpickle can send."""
    return {what: registry.of_users() for what, registry in _REGISTRIES.items()}


def restore_declarations(declared: Mapping[str, Any]) -> None:
    """Declares in this process what `declarations_of_users` has gathered in another."""
    for what, declarations in declared.items():
        _REGISTRIES[what].restore(declarations)
