"""Checking what a specification says of several tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_search.blocks import catalogue
from model_search.proto.phoenix_spec_pb2 import TaskSpec
from model_search.spec import supported
from model_search.spec.diagnostics import Path

if TYPE_CHECKING:
    from model_search.spec.check import Checker


def tasks(checker: Checker) -> None:
    """Names, losses and architectures of the tasks."""
    spec = checker.spec
    names = checker.named_once("multi_task_spec", "label_name", "task")
    for index, task in enumerate(spec.multi_task_spec):
        _task(checker, task, ("multi_task_spec", index))
    primary = spec.primary_task_name
    if names and primary and primary not in names:
        checker.add(
            f"primary_task_name is {primary!r}; expected one of {', '.join(map(repr, names))}.", ("primary_task_name",)
        )


def _task(checker: Checker, task: TaskSpec, path: Path) -> None:
    checker.at_least(task, 1, path, ["number_of_classes"])
    if not 0 < task.loss_weight < math.inf:
        checker.add(f"loss_weight is {task.loss_weight:.7g}; expected more than 0.", (*path, "loss_weight"))
    fixed_blocks(checker, task.architecture, path, "a task")
    for name, instead in supported.UNREAD_OF_TASKS.items():
        if getattr(task, name) != TaskSpec.DESCRIPTOR.fields_by_name[name].default_value:
            checker.add(f"{name} of a task is not read: {instead}.", (*path, name), severity="warning")


def fixed_blocks(checker: Checker, names: Sequence[str], path: Path, whose: str) -> None:
    """Blocks that no search chooses: the `architecture` of a task or of an input.

    Args:
        checker: What is found goes there.
        names: The blocks.
        path: Where the message stands that names them.
        whose: Whose they are, for the messages.
    """
    for place, name in enumerate(names):
        where = (*path, "architecture", place)
        if name == catalogue.EMPTY_BLOCK:
            checker.add(f"{name} is padding and cannot be built; remove it.", where)
            continue
        checker.block(name, where)
        if catalogue.is_known(name) and catalogue.get(name).hyperparameters:
            checker.add(f"{name} has hyperparameters, which are not searched for the blocks of {whose}.", where)
