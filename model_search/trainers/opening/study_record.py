"""What a study remembers of its data and settings, and whether others fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_search import problem
from model_search.data.prepared_data import PreparedData
from model_search.data.rows import FEATURES
from model_search.errors import StudyError
from model_search.metadata.shared_artefacts import ID_SETTING, new_id
from model_search.metadata.store import StudyRecord
from model_search.search.planning.planner import PlannerSettings
from model_search.spec.load import incompatibilities, stored_spec, to_text
from model_search.trainers.opening.same_reading import other_readings
from model_search.trainers.opening.study_settings import members_of_search, search_version
from model_search.trainers.options import SearchOptions
from model_search.training.metrics import ResolvedMetric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def data_record(data: PreparedData, settings: TrainingSettings) -> dict[str, Any]:
    """What the study remembers of its data, and of the models that are built for them."""
    return {
        "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()},
        "label_per_step": problem.problem_type(settings.problem_type).label_per_step,
        **data.description,
        **_columns(data),
        "model": {
            "problem_type": settings.problem_type,
            "dropout_between_blocks": settings.dropout_between_blocks,
            "disable_last_dense_layer": settings.disable_last_dense_layer,
            "temperature": settings.temperature,
            **_task_blocks(settings),
        },
    }


def _task_blocks(settings: TrainingSettings) -> dict[str, Any]:
    blocks = {name: list(blocks) for name, blocks in settings.task_blocks.items()}
    return {"task_blocks": blocks} if blocks else {}


def _columns(data: PreparedData) -> dict[str, Any]:
    """The features to read later, where the provider's description leaves the inputs to its rows.

    A single input that is called "features" is read from whatever holds one array.
    """
    names = list(data.input_specs)
    if data.description.get("schema") is not None or "inputs" in data.description or names == [FEATURES]:
        return {}
    return {"columns": names}


def settings_record(
    options: SearchOptions, planned: PlannerSettings, spec: PhoenixSpec, existing: StudyRecord | None
) -> dict[str, Any]:
    """The settings of a study, which may change when it is continued.

    Args:
        options: What the user asks for.
        planned: What the planner is told.
        spec: The specification.
        existing: The study's record where it exists already.
    """
    return {
        "number_models": options.number_models,
        "train_steps": planned.train_steps,
        "steps_from_data": planned.budget is not None,
        "eval_steps": options.eval_steps,
        "batch_size": planned.batch_size,
        "sampler": options.sampler,
        "search_version": search_version(existing),
        "time_limit": options.time_limit,
        "deterministic": options.deterministic,
        "members": members_of_search(options, existing),
        "spec": to_text(spec),
    }


def place_record(options: SearchOptions, existing: StudyRecord | None) -> dict[str, Any]:
    """Where the files are; of a new study, with what tells it from others of its name in that place."""
    place: dict[str, Any] = {"artefacts": options.artefacts}
    if options.artefacts is None:
        return place
    own_id = new_id() if existing is None else existing.settings.get(ID_SETTING)
    return place if own_id is None else place | {ID_SETTING: own_id}


def check_same_study(
    existing: StudyRecord, data: PreparedData, spec: PhoenixSpec, metric: ResolvedMetric, options: SearchOptions
) -> None:
    """Checks that a study can be continued with these data, this specification and this metric.

    Raises:
        StudyError: naming every difference.
    """
    differences = []
    if existing.data_fingerprint != data.fingerprint:
        now = {**data.description, **_columns(data)}
        differences.append(f"the training data differ ({_data_difference(existing.data, now)})")
    else:
        differences += other_readings(existing.data, data)
    if (existing.metric, existing.goal) != (metric.name, metric.goal):
        differences.append(f"its metric is {existing.metric} ({existing.goal}), not {metric.name} ({metric.goal})")
    differences += incompatibilities(stored_spec(existing.spec_text, existing.name), spec)
    if differences:
        raise StudyError(
            f"study {options.experiment_name!r} cannot be continued: {'; '.join(differences)}. "
            "Begin anew with overwrite=True, or choose another experiment_name"
        )


def _data_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get("columns") != new.get("columns"):
        missing = [c for c in old.get("columns", ()) if c not in new.get("columns", ())]
        added = [c for c in new.get("columns", ()) if c not in old.get("columns", ())]
        return f"columns gone: {missing or 'none'}, columns new: {added or 'none'}"
    if old.get("split") != new.get("split"):
        return f"split {old.get('split')} before, {new.get('split')} now"
    return "the same columns, other values"
