"""The contents of each section of the report, ready for the template."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import model_search
from model_search.cells import in_words
from model_search.data.inputs import InputLayout
from model_search.data.task import Task, TaskKind, tasks_of
from model_search.metadata.final_models import FinalKind, FinalModel
from model_search.metadata.store import WORSE_THAN_CONSTANT
from model_search.metadata.trial import Trial, TrialKind, TrialState
from model_search.report.cell_drawings import cell_drawings
from model_search.report.charts import Chart, Point, curves_chart, trials_chart
from model_search.report.facts import StudyFacts
from model_search.report.leaderboard import final_in_words, ranked_models, seconds_of
from model_search.report.lineage import lineage, value
from model_search.report.one_shot import in_sentences, shared_weights
from model_search.report.summaries import baseline, baseline_in_words, classic_in_words, elapsed, failures, phases
from model_search.search.planning.random_baseline import Baseline
from model_search.search.predictor.recommend import LEAST_TRIALS

TOP = 50
CURVES = 5
_MOST_CLASSES = 50


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the leaderboard."""

    rank: int
    trial: int | None
    kind: str
    metric: float | None
    blocks: str
    hyperparameters: str
    parameters: int
    seconds: float
    parent: int | None
    is_best: bool


def sections(facts: StudyFacts) -> Mapping[str, Any]:
    """Everything that the template renders."""
    history, record = facts.history, facts.record
    trials = sorted(history.trials, key=lambda trial: trial.id)
    ranked = ranked_models(history, facts.final_models)
    times, found_baseline = phases(history, facts.final_models), baseline(history)
    short = found_baseline is not None and found_baseline.steps is not None  # to be compared with short trainings alone
    return {
        "name": record.name or "(no name)",
        "owner": record.owner,
        "metric": record.metric,
        "goal": record.goal,
        "made_at": facts.made_at,
        "version": model_search.__version__,
        "status": _status(trials, record.settings.get("number_models")),
        "elapsed": elapsed(trials),
        "best": _best(facts),
        "best_single": history.completed[0] if history.completed else None,
        "recommended": _recommended(facts),
        "classic": classic_in_words(history),
        "use": _use(facts),
        "trials_chart": _trials_chart(facts, trials, None if short else found_baseline),
        "rows": _rows(ranked, facts),
        "more": max(0, len(ranked) - TOP),
        "final_models": facts.final_models,
        "members": _members(facts),
        "lineage": _lineage(facts),
        "curves_chart": _curves(facts),
        "curves": CURVES,
        "phases": times,
        "total_seconds": sum(phase.seconds for phase in times),
        "failures": failures(history),
        "baseline": baseline_in_words(history, found_baseline),
        "comparison": None if facts.comparison is None else facts.comparison.shown(),
        "shared_weights": _shared_weights(facts),
        "searched": _searched(facts),
        "spec_text": record.settings.get("spec") or record.spec_text,
        "environments": _environments(history.completed, record.environment),
        "final_in_words": final_in_words,
        "value": value,
    }


def kind_of(trial: Trial) -> str:
    """The kind of a trial's mark in the plot."""
    if trial.state in (TrialState.FAILED, TrialState.LOST) or trial.plan is None:
        return "failed"
    if trial.plan.kind is not TrialKind.SEARCH:
        return trial.plan.kind.value
    if not trial.plan.is_in_full:
        return "short training"
    return "random" if trial.plan.random else "search"


def _status(trials: Sequence[Trial], target: int | None) -> list[str]:
    counts = {state: sum(1 for trial in trials if trial.state is state) for state in TrialState}
    completed = counts[TrialState.COMPLETED]
    wanted = f" of {target}" if target and target > completed else ""
    failed = counts[TrialState.FAILED] + counts[TrialState.LOST]
    running = counts[TrialState.RUNNING] + counts[TrialState.CLAIMED]
    said = [f"{completed}{wanted} model{'' if completed == 1 and not wanted else 's'} trained"]
    said += [f"{failed} failed"] if failed else []
    said += [f"{running} running when this was written"] if running else []
    said += [f"{counts[TrialState.INTERRUPTED]} interrupted"] if counts[TrialState.INTERRUPTED] else []
    return said


def _best(facts: StudyFacts) -> dict[str, Any] | None:
    best = facts.best
    if best is None:
        return None
    metric = facts.record.metric
    if isinstance(best, FinalModel):
        blocks = best.plan.architecture if best.plan is not None else ()
        members = tuple(member.trial for member in best.members)
        classic = None
        name, metrics, parameters = f"final {best.kind}", best.metrics, best.parameters
    else:
        blocks = best.plan.architecture if best.plan is not None else ()
        members = best.plan.members if best.plan is not None else ()
        classic = best.plan.described if best.plan is not None and best.plan.classic is not None else None
        name, metrics = f"trial {best.id}", best.result.metrics if best.result is not None else {}
        parameters = best.result.parameters if best.result is not None else 0
    drawn = facts.history.get(members[0]) if members and not blocks else None
    drawings, cells = cell_drawings(blocks if drawn is None or drawn.plan is None else drawn.plan.architecture)
    return {
        "name": name,
        "value": metrics.get(metric),
        "others": [(key, found) for key, found in sorted(metrics.items()) if key != metric],
        "blocks": in_words(blocks),
        "drawings": drawings,
        "cells": cells,
        "drawn": None if drawn is None else drawn.id,
        "members": members,
        "classic": classic,
        "parameters": parameters,
        "calibration": facts.calibration,
        "warning": facts.record.settings.get(WORSE_THAN_CONSTANT),
        "is_final": isinstance(best, FinalModel),
    }


def _is_compared(trial: Trial) -> bool:
    """Whether a trial can be recommended."""
    return trial.plan is not None and trial.plan.trains_one_tower_in_full


def _recommended(facts: StudyFacts) -> dict[str, Any] | None:
    """The recommended trial and the best one of its kind; None where there are too few to tell them from luck."""
    trial, own = facts.recommended, [found for found in facts.history.completed if _is_compared(found)]
    if trial is None or not _is_compared(trial) or len(own) < LEAST_TRIALS:
        return None
    metric, best = facts.record.metric, own[0]
    return {
        "trial": trial,
        "value": trial.objective(metric),
        "is_best": trial.id == best.id,
        "best": best,
        "best_value": best.objective(metric),
    }


def new_files(data: Mapping[str, Any]) -> str | None:
    """What stands in examples for new data to predict; None where a study was not made from files or a table."""
    source = _fields(data.get("reading")).get("source")
    if source in ("images", "audio", "text"):
        return "NEW.csv" if source == "text" else "FOLDER"
    return None if data.get("schema") is None else "NEW.csv"


def _use(facts: StudyFacts) -> dict[str, Any]:
    """Lines to copy."""
    name = facts.record.name
    place = "" if facts.artefacts is None else f", artefacts={facts.artefacts!r}"
    study = f"load_study({facts.root!r}, {name!r}{place})"
    words = [f"--model_dir={facts.root}", f"--experiment_name={name}"]
    words += [] if facts.artefacts is None else [f"--artefacts={facts.artefacts}"]
    where = shlex.join(words)
    files = new_files(facts.record.data)
    rows = "rows" if files is None else f'"{files}"'
    python = ["import model_search", f"study = model_search.{study}", f"study.predict({rows})"]
    if _fields(facts.record.data.get("task")).get("kind") == TaskKind.CLASSIFICATION:
        python += [f"study.predict_proba({rows})"]
    shell = [] if files is None else [f"model_search predict {files} {where}"]
    shell += [f"model_search export exported {where}"]
    return {"python": "\n".join(python), "shell": shell, "where": where}


def _trials_chart(facts: StudyFacts, trials: Sequence[Trial], found_baseline: Baseline | None) -> Chart | None:
    metric, points = facts.record.metric, []
    for trial in trials:
        if not trial.state.is_final:
            continue
        found = None if trial.result is None else trial.result.metrics.get(metric)
        if trial.state is TrialState.COMPLETED and found is None:
            continue
        text = f"{found:.5g}" if found is not None else trial.reason or "failed"
        points.append(Point(trial.id, found, kind_of(trial), f"trial {trial.id}, {kind_of(trial)}: {text[:200]}"))
    if not any(point.y is not None for point in points):
        return None
    place = points[-1].x
    finals = [
        Point(place + 1, model.metrics[metric], "final", f"{final_in_words(model)[0]}: {model.metrics[metric]:.5g}")
        for model in facts.final_models
        if metric in model.metrics
    ]
    expected = None if found_baseline is None else found_baseline.expected
    return trials_chart(points, facts.history.ranking.objective, finals, expected)


def _rows(ranked: Sequence[Trial | FinalModel], facts: StudyFacts) -> list[Row]:
    rows = []
    for rank, entry in enumerate(ranked[:TOP], 1):
        plan = entry.plan
        if isinstance(entry, FinalModel):
            kind, blocks = final_in_words(entry)
            number, found = None, entry.metrics.get(facts.record.metric)
            parameters, seconds = entry.parameters, entry.seconds
        elif plan is not None and entry.result is not None:
            kind, blocks = plan.kind.value, plan.described
            kind = f"{kind}, {kind_of(entry)}" if kind_of(entry) in ("random", "short training") else kind
            number, found = entry.id, entry.objective(facts.record.metric)
            parameters, seconds = entry.result.parameters, seconds_of(entry.result)
        else:
            continue
        settings = {} if plan is None else plan.hyperparameters
        text = ", ".join(f"{name} {value(settings[name])}" for name in sorted(settings))
        parent = None if plan is None or number is None else plan.parent
        rows.append(Row(rank, number, kind, found, blocks, text, parameters, seconds, parent, _same(entry, facts.best)))
    return rows


def _same(entry: Trial | FinalModel, best: Trial | FinalModel | None) -> bool:
    if isinstance(entry, Trial):
        return isinstance(best, Trial) and best.id == entry.id
    return isinstance(best, FinalModel) and best.kind is entry.kind


def _members(facts: StudyFacts) -> list[dict[str, Any]]:
    ensemble = next((model for model in facts.final_models if model.kind is FinalKind.ENSEMBLE), None)
    found = []
    for member in () if ensemble is None else ensemble.members:
        trial = facts.history.get(member.trial)
        plan = None if trial is None else trial.plan
        parameters = None if trial is None or trial.result is None else trial.result.parameters
        blocks = "" if plan is None else plan.described
        found.append({"member": member, "blocks": blocks, "parameters": parameters})
    return found


def _lineage(facts: StudyFacts) -> dict[str, Any] | None:
    """The ancestors of the best model, or of the best trial where the best model is an ensemble of the final stage."""
    best, history = facts.best, facts.history
    if best is None or not history.completed:
        return None
    single, why = history.completed[0], "the best trial"
    if isinstance(best, FinalModel):
        start = best.plan.warm_start or best.plan.parent if best.plan is not None else None
        if best.members:
            start, why = best.members[0].trial, f"the heaviest member of the final {best.kind}"
        elif start is not None:
            why = "which the final student comes from"
        single = (None if start is None else history.get(start)) or single
    return {"why": why, "trial": single.id, "steps": lineage(single, history)}


def _curves(facts: StudyFacts) -> Chart | None:
    metric, curves = facts.record.metric, []
    for trial in facts.history.completed:
        if trial.result is not None and len(trial.result.curve) > 1:
            points = [(step, found) for step, found in trial.result.curve if found == found]
            curves.append((f"trial {trial.id} ({trial.objective(metric):.4g})", points))
        if len(curves) == CURVES:
            break
    return curves_chart(curves, facts.history.ranking.objective)


def _shared_weights(facts: StudyFacts) -> list[str]:
    found = shared_weights(facts.history)
    return [] if found is None else in_sentences(found, facts.record.metric)


def _searched(facts: StudyFacts) -> list[tuple[str, str]]:
    record, settings = facts.record, facts.record.settings
    found = [("search", line) for line in _spec_in_words(settings.get("spec") or record.spec_text, record.name)]
    found += [("metric", f"validation {record.metric}, {record.goal}d")]
    names = ("number_models", "train_steps", "batch_size", "eval_steps", "sampler", "deterministic")
    shown = [f"{name} {settings[name]}" for name in names if settings.get(name) is not None]
    found += [("settings", ", ".join(shown))] if shown else []
    found += [("seed", str(record.seed)), *_data_in_words(record.data)]
    return [*found, ("data fingerprint", record.data_fingerprint)]


def _spec_in_words(text: str, study: str) -> list[str]:
    from model_search.errors import ModelSearchError
    from model_search.spec.load import explain, stored_spec

    try:
        return explain(stored_spec(text, study)).splitlines()
    except ModelSearchError:
        return ["The specification cannot be read by this version; it is shown below as it is stored."]


def _data_in_words(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    try:
        tasks = tasks_of(data)
    except (KeyError, TypeError, ValueError):
        return
    for place, task in enumerate(tasks.values()):
        yield from _task_in_words(task, "predicted besides" if place else "predicted")
    yield from _inputs_in_words(data)


def _task_in_words(task: Task, what: str) -> Iterable[tuple[str, str]]:
    if task.kind is TaskKind.CLASSIFICATION:
        classes = ", ".join(map(repr, task.classes[:_MOST_CLASSES]))
        rest = len(task.classes) - _MOST_CLASSES
        named = f": {classes}{f' and {rest} more' if rest > 0 else ''}" if task.classes else ""
        yield what, f"{task.label}, {task.logits_dimension} {'ordered ' if task.ordered else ''}classes{named}"
    elif task.quantiles:
        yield what, f"{task.label}, the quantiles {', '.join(f'{quantile:g}' for quantile in task.quantiles)}"
    else:
        by = ", by its logarithm" if task.log_target else ""
        yield what, f"{task.label}, {'a number' if task.logits_dimension == 1 else 'numbers'}{by}"


def _inputs_in_words(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    schema = _fields(data.get("schema"))
    if schema:
        yield "columns read", str(len(_items(schema.get("features"))))
        for column, reason in _fields(schema.get("dropped")).items():
            yield "column not read", f"{column}: {reason}"
    elif "inputs" in data or "feature_shape" in data:
        for name, spec in InputLayout.from_description(data).specs.items():
            yield f"input {name}", f"{' x '.join(map(str, spec.shape)) or 'a number'} a row, {spec.dtype}"
    for note in _items(data.get("notes")):
        yield "note", str(note)


def _fields(value: Any) -> Mapping[str, Any]:
    """An object of the record; without fields where it was edited into something else."""
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    """A list of the record; empty where it was edited into something else."""
    return value if isinstance(value, list | tuple) else ()


def _environments(completed: Iterable[Trial], own: Mapping[str, Any]) -> list[str]:
    """The different environments that trials ran in."""
    all_of_them = [own, *(trial.result.environment for trial in completed if trial.result is not None)]
    seen: dict[str, None] = {}
    for environment in all_of_them:
        plain = [f"{name} {environment[name]}" for name in sorted(environment) if name not in ("training", "seed")]
        if plain:
            seen[", ".join(plain)] = None
    return list(seen)[:20]
