"""The interface of the planner's rules, and how one is declared."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from model_search.errors import SpecError, UserError
from model_search.metadata.trial import TrialPlan
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.spec.schedules import PLANNER_RULES, DeclaredRule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


class PlannerRule(abc.ABC):
    """Decides what some trials do. Pure: the same specification and request give the same plan.

    Attributes:
        make: Makes plans.
    """

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        """Reads what the rule needs of a specification; a subclass calls this first."""
        del spec
        self.make = make

    @abc.abstractmethod
    def plan(self, request: Request) -> TrialPlan | None:
        """The plan of a trial; None where the rule leaves it to those after it.

        Raises:
            SpaceExhaustedError: if the study is to end.
        """


_Class = TypeVar("_Class", bound=type[PlannerRule])


def register_planner_rule(name: str, order: float) -> Callable[[_Class], _Class]:
    """Declares a class as a rule of the planner.

    The built-in rules always take part; one of the user's own does where `planner_rules` of the specification names it.

    Args:
        name: Its name, a word.
        order: Its place: rules are asked from the lowest to the highest, and the first that has a plan decides. The
            built-in ones have 10, 20, ... (`docs/search.md` lists them).

    Raises:
        UserError: if the name is taken, or the class is no `PlannerRule` with a method `plan`.
    """

    def register(cls: _Class) -> _Class:
        if not isinstance(cls, type) or not issubclass(cls, PlannerRule) or cls.__abstractmethods__:
            raise UserError(f"planner's rule {name!r} is {cls!r}; expected a PlannerRule with a method plan")
        PLANNER_RULES.add(name, DeclaredRule(order, cls), cls)
        return cls

    return register


def rules_of(spec: PhoenixSpec, make: PlanMaker) -> tuple[PlannerRule, ...]:
    """The rules of a study, in the order in which they are asked.

    Raises:
        SpecError: if the specification names a rule that is not declared.
    """
    unknown = [name for name in spec.planner_rules if name not in PLANNER_RULES]
    if unknown:
        raise SpecError(PLANNER_RULES.unknown(unknown[0]))
    own = PLANNER_RULES.of_users()
    declared = [PLANNER_RULES.get(name) for name in PLANNER_RULES if name not in own or name in spec.planner_rules]
    return tuple(found.rule(make, spec) for found in sorted(declared, key=lambda found: found.order))
