"""The evaluation schedules, stopping rules and planner's rules that a specification can name.

They are declared beside their classes in `model_search/search/planning/` and found there, as searches are
(`searches.py`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.registries import Registry


@dataclasses.dataclass(frozen=True)
class DeclaredRule:
    """A rule that says which trial does what.

    Attributes:
        order: Its place among the rules, the lowest first.
        rule: The class.
    """

    order: float
    rule: Any


_PLANNING = "model_search.search.planning"

SCHEDULES: Registry[Any] = Registry("evaluation schedule", _PLANNING, "model_search.register_schedule")
STOPPING_RULES: Registry[Any] = Registry("stopping rule", _PLANNING, "model_search.register_stopping_rule")
PLANNER_RULES: Registry[DeclaredRule] = Registry(
    "planner's rule", f"{_PLANNING}.rules", "model_search.register_planner_rule"
)


def schedule_name(spec: PhoenixSpec) -> str:
    """Name of the evaluation schedule, whichever field gives it."""
    settings = spec.evaluation_schedule
    return settings.schedule or type(settings).Kind.Name(settings.kind)


def stopping_name(spec: PhoenixSpec) -> str:
    """Name of the stopping rule, whichever field gives it."""
    settings = spec.evaluation_schedule
    return settings.stopping_rule or type(settings).Stopping.Name(settings.stopping)
