"""Keras models from what a study keeps: of a trial, of the final ensemble, of the student."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from model_search.blocks import catalogue
from model_search.data.checked_json import damaged, need
from model_search.data.inputs import InputLayout
from model_search.data.rows import Arrays
from model_search.errors import StudyError
from model_search.finish.final_ensemble import StudyParts
from model_search.metadata.artefacts import load_arrays
from model_search.metadata.final_models import FinalMember, FinalModel
from model_search.metadata.paths import MIXTURE, STUDENT_WEIGHTS, refit_weights
from model_search.metadata.trial import HyperparameterValue, Trial, TrialKind, TrialPlan
from model_search.problem import problem_types
from model_search.towers.builder import MOST_PARAMETERS, build_tower
from model_search.towers.classic_models import bag_of_classic_models, classic_model
from model_search.towers.ensemble_models import (
    Tensors,
    ensemble_model,
    mean_of_all_predictions,
    mean_of_logits,
    mixture_of_logits,
)
from model_search.towers.heads import within_range
from model_search.training.assembly import trained_model
from model_search.training.folds.bags import folds_of, weights_by_fold
from model_search.training.folds.thinning import thinned
from model_search.training.outcome import TrainedTower
from model_search.training.stored_towers import needed_arrays, stored_tower
from model_search.training.tower_specs import tower_spec


class StudyModels:
    """Builds models of one study: preprocessed inputs in, logits out.

    Args:
        study: The study.
        inputs: Inputs that the models must have room for: padded sequences may have more steps than in training, if
            the tower's weights do not depend on their number.
        compiled: Whether trees are compiled, for predictions; such models are not to be saved.

    Attributes:
        specs: The inputs that the models read, by name.
    """

    def __init__(self, study: StudyParts, inputs: Arrays | None = None, *, compiled: bool = False):
        self._study = study
        self._compiled = compiled
        layout = InputLayout.from_description(study.record.data)
        self.specs = layout.specs if inputs is None else layout.with_room(inputs).specs

    def of(self, chosen: Trial | FinalModel) -> keras.Model:
        """The model of a completed trial or a final model.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        return self.of_final(chosen) if isinstance(chosen, FinalModel) else self.of_trial(chosen)

    def of_trial(self, trial: Trial) -> keras.Model:
        """The model of a completed trial; an ensemble with its members.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        numbers = self._plan(trial).towers
        if numbers == (trial.id,):
            return self._in_range(self._own_tower(trial.id))
        return self._in_range(ensemble_model(self._towers(numbers), lambda logits: self._combined(trial, logits)))

    def of_final(self, model: FinalModel) -> keras.Model:
        """A final ensemble, or a part of it, as one model with each of its towers once; or a trained student.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        if model.plan is not None:
            weights = needed_arrays(self._study.artefacts, model.artefacts, STUDENT_WEIGHTS, "the student")
            return self.of_tower(TrainedTower(model.plan, weights))
        return self.of_members(model.members)

    def of_members(self, members: Sequence[FinalMember]) -> keras.Model:
        """The weighted mean of what trials predict, or of what the kept shares of them do.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        trials = [self._trial(member.trial) for member in members]

        def combine(logits: Tensors) -> keras.KerasTensor:
            return mean_of_all_predictions(
                [self._combined(trial, logits) for trial in trials],
                [member.weight for member in members],
                self._study.tasks,
            )

        numbers = dict.fromkeys(number for trial in trials for number in self._plan(trial).towers)
        shares = {member.trial: member.share for member in members}
        towers = {number: self._own_tower(number, shares.get(number, 1.0)) for number in numbers}
        return self._in_range(ensemble_model(towers, combine))

    def of_tower(self, tower: TrainedTower) -> keras.Model:
        """The model of a tower by itself, or of a bag.

        Raises:
            StudyError: if its weights are not those of its plan.
        """
        return self._in_range(self._with_weights(tower))

    def _in_range(self, model: keras.Model) -> keras.Model:
        """The model with predictions cut off at the range of the known targets, where the task has one."""
        found = self._study.task.target_range
        if found is None or len(self._study.tasks) > 1:
            return model
        return within_range(model, *found)

    def _combined(self, trial: Trial, logits: Tensors) -> keras.KerasTensor:
        """A trial's logits from those of its towers."""
        plan = self._plan(trial)
        own = [logits[number] for number in plan.towers]
        if len(own) == 1 and (plan.ensemble is None or not plan.ensemble.freeze):
            return own[0]
        if plan.ensemble is None or plan.ensemble.combining == "average":
            return mean_of_logits(own)
        mixture = needed_arrays(self._study.artefacts, trial.artefacts, MIXTURE, f"trial {trial.id}")
        return mixture_of_logits(own, mixture["kernel"], mixture["bias"], f"mixture_{trial.id}")

    def _towers(self, numbers: Iterable[int]) -> dict[int, keras.Model]:
        return {number: self._own_tower(number) for number in numbers}

    def _own_tower(self, number: int, share: float = 1.0) -> keras.Model:
        tower = self.answering(number)
        kept = tower if share == 1 else thinned(tower, share)
        if kept is None:
            raise StudyError(
                f"nothing is left of trial {number}, of which {share:g} is kept; run the final stage again"
            )
        return self._with_weights(kept)

    def answering(self, number: int) -> TrainedTower:
        """A trial's tower; with the weights that it has from all rows, where it was trained again on them.

        Raises:
            StudyError: if its weights are gone.
        """
        tower = self.trained(number)
        again = self._study.store.files().get(refit_weights(number))
        if again is None:
            return tower
        weights, plan = load_arrays(self._study.artefacts, again), tower.plan
        plan = dataclasses.replace(plan, folds=folds_of(weights)) if plan.folds else plan
        return dataclasses.replace(tower, plan=plan, weights=weights)

    def _with_weights(self, tower: TrainedTower) -> keras.Model:
        """A tower is no larger than its stored weights, whatever its plan and the data's description say."""
        whose, width = f"trial {tower.plan.trial_id}", self._study.task.logits_dimension
        if tower.plan.folds:
            plan, tasks = dataclasses.replace(tower.plan, folds=0), self._study.tasks
            weights, shares = weights_by_fold(tower), [1 / tower.plan.folds] * tower.plan.folds

            def combine(logits: list[keras.KerasTensor]) -> keras.KerasTensor:
                return mean_of_all_predictions(logits, shares, tasks)

            if plan.classic is not None:
                return bag_of_classic_models(weights, width, whose, combine, compiled=self._compiled)
            parts = [self._with_weights(TrainedTower(plan, own)) for own in weights]
            return ensemble_model(dict(enumerate(parts)), lambda logits: combine(list(logits.values())), "tower")
        if tower.plan.classic is not None:
            return classic_model(tower.weights, width, whose, compiled=self._compiled)
        stored = sum(array.size for array in tower.weights.values())
        return trained_model(tower, lambda plan: self._build(plan, stored))

    def trained(self, number: int) -> TrainedTower:
        """The own tower of a completed trial, to be built or trained further.

        Raises:
            StudyError: if its weights are gone.
        """
        return stored_tower(self._stored_trial, self._study.artefacts, number)

    def parameters(self, architecture: tuple[str, ...], hyperparameters: Mapping[str, HyperparameterValue]) -> int:
        """How many trainable parameters a tower would have.

        Args:
            architecture: Its blocks.
            hyperparameters: Those of its blocks are read.

        Raises:
            TrialError: if it cannot be built.
        """
        plan = TrialPlan(1, TrialKind.SEARCH, architecture, dict(hyperparameters), 1, 1, 0, "size")
        return sum(math.prod(weight.shape) for weight in self._build(plan, MOST_PARAMETERS).trainable_weights)

    def _build(self, plan: TrialPlan, most_parameters: int) -> keras.Model:
        record = self._study.record
        widths = {name: task.logits_dimension for name, task in self._study.tasks.items()}
        spec = tower_spec(plan, self.specs, widths, _options(record.data))
        return build_tower(spec, most_parameters)

    def _trial(self, number: int) -> Trial:
        trial = self._stored_trial(number)
        if trial is None or trial.result is None:
            raise StudyError(f"trial {number} is not completed, or no longer there; run the final stage again")
        return trial

    def _stored_trial(self, number: int) -> Trial | None:
        """The trial as the store has it now: its files may have been pruned since the history was read."""
        return None if self._study.history.get(number) is None else self._study.store.trial(number)

    def _plan(self, trial: Trial) -> TrialPlan:
        if trial.plan is None or trial.result is None:
            raise StudyError(f"trial {trial.id} is {trial.state} and has no model")
        return trial.plan


class LatestModel:
    """The compiled model that was built last: predictions one after the other build and compile it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: tuple[object, keras.Model] | None = None

    def of(self, study: StudyParts, chosen: Trial | FinalModel, inputs: Arrays | None) -> keras.Model:
        """The model of a completed trial or a final model; see `StudyModels` for the arguments.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        models = StudyModels(study, inputs, compiled=True)
        made_of = (chosen, models.specs, study.store.files())
        with self._lock:
            if self._built is None or self._built[0] != made_of:
                self._built = None  # two of them might be too large
                self._built = (made_of, models.of(chosen))
            return self._built[1]


def _options(description: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the study's models are built, as `tower_spec` reads it."""
    what = "how models are built"
    options: Mapping[str, Any] = need(description.get("model"), Mapping, what)
    name = need(options.get("problem_type"), str, f"problem_type of {what}")
    if name not in {known.name for known in problem_types()}:
        raise damaged(what, f"its problem type is {name!r}")
    for flag in ("dropout_between_blocks", "disable_last_dense_layer"):
        need(options.get(flag), bool, f"{flag} of {what}")
    for task, blocks in need(options.get("task_blocks", {}), Mapping, f"task_blocks of {what}").items():
        for block in need(blocks, list, f"blocks of the task {task!r}"):
            if not isinstance(block, str) or not catalogue.is_known(block):
                raise damaged(what, f"a block of the task {task!r} is {block!r}")
    return options
