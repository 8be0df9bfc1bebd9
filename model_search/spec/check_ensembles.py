"""Checking what a specification says of ensembles, distillation and replay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from model_search.blocks import catalogue
from model_search.proto.distillation_spec_pb2 import DistillationSpec
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.spec import supported

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker
    from model_search.spec.diagnostics import Path

_FEWEST_MEMBERS = 2
_UNREAD_IN_REPLAY = {"user_suggestions", "distillation_spec"}


def in_words(spec: PhoenixSpec) -> list[str]:
    """Ensembles, distillation and replay of a specification, a sentence each."""
    sentences = []
    ensemble, distillation = spec.ensemble_spec, spec.distillation_spec
    if ensemble.ensemble_search_type:
        search = EnsemblingSpec.EnsembleSearchType.Name(ensemble.ensemble_search_type)
        how = "weighted" if ensemble.combining_type == EnsemblingSpec.WEIGHTED_ENSEMBLE else "average"
        sentences.append(f"Ensembles: {search}, {how}, members {'frozen' if ensemble.freeze_previous else 'tuned'}.")
    if distillation.distillation_type:
        sentences.append(f"Students: {DistillationSpec.DistillationType.Name(distillation.distillation_type)}.")
    if spec.replay.towers:
        sentences.append(f"Nothing is searched; towers to train again: {len(spec.replay.towers)}.")
    return sentences


def ensembles(checker: Checker) -> None:
    """The `ensemble_spec`: its settings fit its kind and make sense."""
    if not checker.spec.HasField("ensemble_spec"):
        return
    ensemble = checker.spec.ensemble_spec
    search = EnsemblingSpec.EnsembleSearchType.Name(ensemble.ensemble_search_type)
    given = ensemble.WhichOneof("search_spec")
    if given:
        path: Path = ("ensemble_spec", given)
        fitting = sorted(supported.ENSEMBLE_SEARCH_SPECS[given])
        if search not in fitting:
            expected = " or ".join(fitting)
            checker.add(f"{given} does not fit ensemble_search_type {search}; it is for {expected}.", path)
        settings = getattr(ensemble, given)
        names = [field.name for field in settings.DESCRIPTOR.fields]
        checker.at_least(settings, 1, path, [name for name in names if name != "minimal_pool_size"])
        checker.at_least(settings, 0, path, [name for name in names if name == "minimal_pool_size"])
        _few_members(checker, settings, path)


def _few_members(checker: Checker, settings: Any, path: Path) -> None:
    for name in ("width", "num_trials_to_consider"):
        if getattr(settings, name, None) == 1:
            checker.add(
                f"{name} is 1 and an ensemble has at least {_FEWEST_MEMBERS} members; trials that would ensemble are "
                "search trials.",
                (*path, name),
                severity="warning",
            )


def distillation(checker: Checker) -> None:
    """The `distillation_spec`."""
    if not checker.spec.HasField("distillation_spec"):
        return
    settings, path = checker.spec.distillation_spec, ("distillation_spec",)
    checker.at_least(settings, 0, path, ["minimal_pool_size"])
    if not 0 < settings.temperature < math.inf:
        checker.add(
            f"temperature of the distillation is {settings.temperature:.7g}; expected more than 0.",
            (*path, "temperature"),
        )
    _balance(checker, settings)


def _balance(checker: Checker, settings: DistillationSpec) -> None:
    path: Path = ("distillation_spec", "balance_losses_spec")
    if not settings.HasField("balance_losses_spec"):
        return
    if settings.distillation_type not in (
        DistillationSpec.UNKNOWN_DISTILLATION_TYPE,
        DistillationSpec.ADAPTIVELY_BALANCE_LOSSES,
    ):
        kind = DistillationSpec.DistillationType.Name(settings.distillation_type)
        checker.add(
            f"balance_losses_spec is not read by {kind}; it is for ADAPTIVELY_BALANCE_LOSSES.", path, severity="warning"
        )
    balance = settings.balance_losses_spec
    checker.at_least(balance, 0, path, ["num_ramp_trials"])
    for name in ("minimum_lambda", "maximum_lambda"):
        value = getattr(balance, name)
        if not 0 <= value < math.inf:
            checker.add(f"{name} is {value:.7g}; expected 0 or more.", (*path, name))
    if balance.num_ramp_trials > 0 and balance.minimum_lambda > balance.maximum_lambda:
        checker.add(
            f"minimum_lambda is {balance.minimum_lambda:.7g} and maximum_lambda is {balance.maximum_lambda:.7g}; "
            "the minimum must not be above the maximum.",
            (*path, "minimum_lambda"),
            (*path, "maximum_lambda"),
        )


def replay(checker: Checker) -> None:
    """The towers of a replay; where members are combined, the last one stands for their ensemble."""
    towers = checker.spec.replay.towers
    if checker.spec.HasField("replay") and not towers:
        checker.add("replay has no towers; name at least one, or leave replay out.", ("replay",))
    combined = len(towers) > 1 and checker.spec.ensemble_spec.ensemble_search_type in (
        EnsemblingSpec.NONADAPTIVE_ENSEMBLE_SEARCH,
        EnsemblingSpec.INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH,
    )
    for index, tower in enumerate(towers):
        path: Path = ("replay", "towers", index)
        if not combined or index < len(towers) - 1:
            checker.tower(tower, path, "replayed tower")
            continue
        checker.hyperparameters(tower, path, "replayed tower")
        if any(name not in (supported.NO_SEARCH, catalogue.EMPTY_BLOCK) for name in tower.architecture):
            checker.add(
                "The last tower of this replay stands for the ensemble of the others; its blocks are not built.",
                path,
                severity="warning",
            )
    if towers:
        for name in sorted({field.name for field, _ in checker.spec.ListFields()} & _UNREAD_IN_REPLAY):
            checker.add(f"{name} is not read in a replay.", (name, 0), (name,), severity="warning")
