"""Conversion between records and the database's rows: strict JSON, and checks of what is read back.

The contents of a database may have been edited by hand: an invalid value is refused in a sentence that
names the trial, never passed on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from model_search.errors import StoreError, UnstorableError
from model_search.metadata import limits
from model_search.metadata.final_models import FinalModel
from model_search.metadata.paths import check_relative, name_of
from model_search.metadata.processes import ProcessIdentity
from model_search.metadata.store import Heartbeat, StudyRecord
from model_search.metadata.trial import Artefact, Candidate, TrialPlan, TrialResult, TrialState, UnknownStartError

_WORD = 2**64
_MOST_PROCESSES = 2**31
_RECORD_TEXTS = ("name", "owner", "spec_text", "metric", "goal", "data_fingerprint")
_SHORT_TEXTS = ("name", "owner", "metric", "goal", "data_fingerprint")
_LONGEST = 10_000


def named_by_folder(record: StudyRecord, folder: pathlib.Path) -> StudyRecord:
    """The record with the name that its folder has: a study that was copied or renamed is found under that one."""
    name = name_of(folder.absolute())
    return record if name is None else dataclasses.replace(record, name=name)


def strict_json(value: Any, what: str) -> str:
    """JSON without NaN, infinities or keys that are no text, keys sorted.

    Raises:
        UnstorableError: if there is no such JSON; `what` names it in the message.
    """
    try:
        _check_keys(value, what)
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableError(
            f"{what} cannot be stored as JSON: {error}; expected texts, finite numbers, lists, dicts"
        ) from (error)


def plain_text(text: str) -> str:
    """A text that every database can hold: half of a surrogate pair (from an undecodable file name) is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def plan_key(key: str) -> str:
    """A plan's key as its column holds it: one to one, and without characters that databases cut texts at."""
    return json.dumps(key)[1:-1]


def write_plan(plan: TrialPlan) -> str:
    """The plan's column.

    Raises:
        UnstorableError: if the plan holds what JSON cannot.
    """
    too_large = _beyond_limits(plan)
    if too_large:
        raise UnstorableError(f"the plan of trial {plan.trial_id} is too large: {too_large}")
    try:
        return plan.to_json()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableError(
            f"the plan of trial {plan.trial_id} cannot be stored as JSON: {error}; expected texts and finite numbers"
        ) from error


def read_plan(trial_id: int, text: str) -> TrialPlan:
    """Reads the plan's column.

    Raises:
        StoreError: if it is not this trial's plan.
    """
    try:
        plan = TrialPlan.from_json(text)
    except UnknownStartError as error:
        raise StoreError(
            f"the plan of trial {trial_id} was made by a later version: {error}; open the study with that version"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(trial_id, "plan", str(error)) from error
    if plan.trial_id != trial_id:
        raise _damaged(trial_id, "plan", f"it is that of trial {plan.trial_id!r}")
    whole = [plan.trial_id, plan.steps, plan.batch_size, plan.seed, *plan.members, *plan.teacher]
    whole += [plan.rung, plan.first_step, plan.bracket, plan.folds, *plan.left_out]
    maybe = [number for number in (plan.parent, plan.total_steps) if number is not None]
    if not all(type(number) is int for number in (*whole, *maybe)):
        raise _damaged(trial_id, "plan", "a number of it is not whole")
    if not isinstance(plan.key, str) or not 0 <= plan.seed < _WORD:
        raise _damaged(trial_id, "plan", "its key is no text, or its seed beyond 64 bits")
    if not isinstance(plan.hyperparameters, dict) or not all(isinstance(block, str) for block in plan.architecture):
        raise _damaged(trial_id, "plan", "its architecture or hyperparameters are something else")
    if not all(isinstance(value, str | int | float) for value in plan.hyperparameters.values()):
        raise _damaged(trial_id, "plan", "a hyperparameter is neither a number nor a text")
    too_large = _beyond_limits(plan)
    if too_large:
        raise _damaged(trial_id, "plan", too_large)
    return plan


def _beyond_limits(plan: TrialPlan) -> str:
    """What of a plan is larger than anything that is trained, in words; empty where nothing is."""
    steps = max(plan.steps, plan.total_steps or 0, plan.first_step)
    wholes = [abs(value) for value in plan.hyperparameters.values() if type(value) is int]
    sizes = {
        "as a hyperparameter": (max(wholes, default=0), limits.MOST_HYPERPARAMETER),
        "blocks": (len(plan.architecture), limits.MOST_BLOCKS),
        "positions": (0 if plan.supernet is None else len(plan.supernet.positions), limits.MOST_BLOCKS),
        "hyperparameters": (len(plan.hyperparameters), limits.MOST_HYPERPARAMETERS),
        "steps": (steps, limits.MOST_STEPS),
        "rows a batch": (plan.batch_size, limits.MOST_BATCH),
        "trials that it builds on": (len(plan.builds_on), limits.MOST_TRIALS),
    }
    return "; ".join(f"{size:,} {what}, at most {most:,}" for what, (size, most) in sizes.items() if size > most)


def write_result(trial_id: int, result: TrialResult) -> str:
    """The result's column: metrics, parameters, best step, timings; the rest has tables of its own."""
    try:
        document: dict[str, Any] = {
            "metrics": {name: float(value) for name, value in result.metrics.items()},
            "parameters": int(result.parameters),
            "best_step": int(result.best_step),
            "timings": {name: float(value) for name, value in result.timings.items()},
        }
        if result.own_parameters is not None:
            document["own_parameters"] = int(result.own_parameters)
        if result.stopped_at is not None:
            document["stopped_at"] = int(result.stopped_at)
        if result.candidates:
            document["candidates"] = [[list(c.choices), float(c.value), bool(c.random)] for c in result.candidates]
    except (TypeError, ValueError, OverflowError) as error:
        raise UnstorableError(f"the result of trial {trial_id} cannot be stored: {error}; expected numbers") from error
    return strict_json(document, f"the result of trial {trial_id}")


def read_result(
    trial_id: int,
    text: str,
    curve: Sequence[tuple[int, float | None]],
    environment: Mapping[str, Any],
    artefacts: Sequence[tuple[str, str, str, int, int]],
) -> TrialResult:
    """Rebuilds a result.

    Args:
        trial_id: Whose it is.
        text: The result's column.
        curve: (step, value) in order; None stands for NaN.
        environment: Versions and hardware.
        artefacts: (name, path, sha256, size, whether it was pruned) in order.

    Raises:
        StoreError: if a part of it is invalid.
    """
    try:
        document = json.loads(text)
        if not all(type(step) is int for step, _ in curve):
            raise ValueError("a step of the curve is not whole")
        metrics = _numbers(document["metrics"])
        timings = _numbers(document["timings"])
        parameters, best_step = document["parameters"], document["best_step"]
        own_parameters, stopped_at = document.get("own_parameters"), document.get("stopped_at")
        if not all(type(number) is int for number in (parameters, best_step, own_parameters or 0, stopped_at or 0)):
            raise ValueError("parameters, own_parameters, best_step and stopped_at are whole numbers")
        return TrialResult(
            metrics=metrics,
            parameters=parameters,
            best_step=best_step,
            timings=timings,
            curve=tuple((step, math.nan if value is None else float(value)) for step, value in curve),
            environment=dict(environment),
            artefacts=tuple(read_artefact(*fields) for fields in artefacts),
            own_parameters=own_parameters,
            stopped_at=stopped_at,
            candidates=tuple(_candidate(*fields) for fields in document.get("candidates", ())),
        )
    except (KeyError, TypeError, ValueError, RecursionError, StoreError) as error:
        raise _damaged(trial_id, "result", str(error)) from error


def _candidate(choices: Any, value: Any, random: Any) -> Candidate:
    if not all(type(choice) is int for choice in choices) or type(value) is not float or type(random) is not bool:
        raise ValueError("a candidate is no list of choices with a value")
    return Candidate(tuple(choices), value, random)


def write_curve(trial_id: int, curve: Sequence[tuple[int, float]]) -> list[tuple[int, int, int, float | None]]:
    """The curve's rows: trial, position, step, value (None for NaN, which SQLite does not know).

    Raises:
        UnstorableError: if a point is no pair of numbers.
    """
    try:
        return [
            (trial_id, position, int(step), None if math.isnan(value) else float(value))
            for position, (step, value) in enumerate(curve)
        ]
    except (TypeError, ValueError, OverflowError) as error:
        raise UnstorableError(
            f"the curve of trial {trial_id} cannot be stored: {error}; expected (step, value)"
        ) from error


def write_artefact(artefact: Artefact) -> tuple[str, str, str, int]:
    """An artefact's row; StoreError where its path leads out of the study's folder."""
    return plain_text(artefact.name), check_relative(artefact.path), artefact.sha256, int(artefact.size)


def read_artefact(name: str, path: str, sha256: str, size: int, pruned: int = 0) -> Artefact:
    """An artefact's row; StoreError where its path leads out of the study's folder."""
    return Artefact(name, check_relative(path), sha256, size, bool(pruned))


def write_final(model: FinalModel) -> str:
    """A final model's record.

    Raises:
        StoreError: if it holds what JSON cannot, or a path that leads out of the study's folder.
    """
    for artefact in model.artefacts:
        check_relative(artefact.path)
    try:
        return model.to_json()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableError(
            f"the final {model.kind} cannot be stored as JSON: {error}; expected finite numbers"
        ) from error


def read_final(kind: str, text: str) -> FinalModel:
    """Reads what `write_final` wrote.

    Raises:
        StoreError: if it is something else.
    """
    try:
        model = FinalModel.from_json(text)
        if model.kind.value != kind:
            raise ValueError(f"it is that of the {model.kind}")
        if model.plan is not None:
            read_plan(model.plan.trial_id, model.plan.to_json())
        whole = (model.parameters, *model.trials, *(member.trial for member in model.members))
        if not all(type(number) is int for number in whole):
            raise ValueError("a number of it is not whole")
        for artefact in model.artefacts:
            check_relative(artefact.path)
    except (ValueError, TypeError, RecursionError, StoreError) as error:
        raise StoreError(
            f"the final {kind} is damaged in the database: {error}; run the final stage again to replace it"
        ) from error
    return model


def check_columns(trial_id: int, wholes: Sequence[Any], texts: Sequence[Any], texts_or_none: Sequence[Any]) -> None:
    """Checks the types of a trial's columns, which SQLite does not.

    Raises:
        StoreError: if one is of another type.
    """
    if not all(type(value) is int for value in (trial_id, *wholes)):
        raise _damaged(trial_id, "row", "a number of it is not whole")
    if not all(isinstance(value, str) for value in (*texts, *(value for value in texts_or_none if value is not None))):
        raise _damaged(trial_id, "row", "a text of it is something else")


def read_heartbeat(trial_id: int, attempt: int, counter: int) -> Heartbeat:
    """A heartbeat; StoreError where a number of it is something else."""
    check_columns(trial_id, (attempt, counter), (), ())
    return Heartbeat(trial_id, attempt, counter)


def read_process(trial_id: int, host: str, boot: str, namespace: str, pid: int, started: str) -> ProcessIdentity:
    """The process that is said to run a trial.

    Its number becomes part of a path of the system: StoreError where it is no number.
    """
    check_columns(trial_id, (pid,), (host, boot, namespace, started), ())
    if not 0 < pid < _MOST_PROCESSES:
        raise _damaged(trial_id, "attempt", f"its process is number {pid}")
    return ProcessIdentity(host, boot, namespace, pid, started)


def read_state(trial_id: int, text: str) -> TrialState:
    """A state's column; StoreError where there is no such state."""
    try:
        return TrialState(text)
    except ValueError as error:
        raise _damaged(trial_id, "state", str(error)) from error


def write_study(record: StudyRecord) -> tuple[str, str, str]:
    """What never changes, the settings and the environment, each as JSON."""
    lasting = {name: getattr(record, name) for name in _RECORD_TEXTS}
    other = [name for name in _RECORD_TEXTS if not isinstance(lasting[name], str)]
    if other:
        raise UnstorableError(f"the {other[0]} of the study is {lasting[other[0]]!r}; expected a text")
    long = [name for name in _SHORT_TEXTS if len(str(lasting[name])) > _LONGEST]
    if long:
        raise UnstorableError(
            f"the {long[0]} of the study has {len(lasting[long[0]]):,} characters; at most {_LONGEST:,}"
        )
    lasting |= {"seed": int(record.seed), "data": dict(record.data)}
    return (
        strict_json(lasting, f"the record of study {record.name!r}"),
        strict_json(dict(record.settings), f"the settings of study {record.name!r}"),
        strict_json(dict(record.environment), f"the environment of study {record.name!r}"),
    )


def read_study(record: str, settings: str, environment: str) -> StudyRecord:
    """Reads what `write_study` wrote.

    Raises:
        StoreError: if it is something else.
    """
    try:
        lasting = read_object(record)
        if type(lasting["seed"]) is not int or not all(isinstance(lasting[name], str) for name in _RECORD_TEXTS):
            raise ValueError("a text or the seed is something else")
        if any(len(lasting[name]) > _LONGEST for name in _SHORT_TEXTS):
            raise ValueError(f"a text is longer than {_LONGEST:,} characters")
        if not isinstance(lasting["data"], dict):
            raise ValueError("the data's description is no object")
        return StudyRecord(**lasting, settings=read_object(settings), environment=read_object(environment))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the study's own row is damaged: {error}; restore a copy of the database") from error


def read_environment(environment_id: int, text: str | None) -> dict[str, Any]:
    """An environment's document; StoreError where it is missing or something else."""
    try:
        return read_object(text or "")
    except (ValueError, RecursionError) as error:
        raise StoreError(f"environment {environment_id} is damaged in the database: {error}; restore a copy") from error


def read_object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError where it is something else."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, received {text[:40]!r}")
    return value


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
        raise ValueError("expected numbers by name")
    return {name: float(value) for name, value in values.items()}


def _check_keys(value: Any, what: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UnstorableError(f"{what} has the key {key!r}; JSON would turn it into a text, so write it as one")
            _check_keys(inner, what)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner, what)


def _damaged(trial_id: int, column: str, why: str) -> StoreError:
    return StoreError(f"the {column} of trial {trial_id} is damaged in the database: {why}; restore a copy of it")
