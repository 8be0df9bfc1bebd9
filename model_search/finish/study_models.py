"""From what a study keeps to Keras models: of a trial, of its final ensemble, of its student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras

from model_search.data.inputs import InputLayout
from model_search.errors import StudyError
from model_search.finish.distillation import STUDENT_WEIGHTS
from model_search.finish.final_ensemble import StudyParts
from model_search.metadata.artefacts import load_arrays
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import Artefact, Trial, TrialPlan
from model_search.towers.builder import build_tower
from model_search.towers.ensemble_models import (
    Tensors,
    ensemble_model,
    mean_of_answers,
    mean_of_logits,
    mixture_of_logits,
)
from model_search.training.assembly import trained_model
from model_search.training.outcome import TrainedTower
from model_search.training.tower_specs import tower_spec

if TYPE_CHECKING:
    import numpy as np

WEIGHTS, MIXTURE = "weights.npz", "mixture.npz"


class StudyModels:
    """Builds models of one study: preprocessed inputs in, logits out."""

    def __init__(self, study: StudyParts):
        self._study = study

    def of_trial(self, trial: Trial) -> keras.Model:
        """What a completed trial answers, an ensemble with its members.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        numbers = self._plan(trial).towers
        if numbers == (trial.id,):
            return self._own_tower(trial.id)
        return ensemble_model(self._towers(numbers), lambda logits: self._answer(trial, logits))

    def of_final(self, model: FinalModel) -> keras.Model:
        """A final ensemble as one model, each of its towers in it once; or the student.

        Raises:
            StudyError: if a tower's weights are gone.
        """
        if model.plan is not None:
            return self._with_weights(model.plan, self._arrays(model.artefacts, STUDENT_WEIGHTS, "the student"))
        trials = [self._trial(member.trial) for member in model.members]

        def combine(logits: Tensors) -> keras.KerasTensor:
            return mean_of_answers(
                [self._answer(trial, logits) for trial in trials],
                [member.weight for member in model.members],
                self._study.task.kind,
            )

        numbers = dict.fromkeys(number for trial in trials for number in self._plan(trial).towers)
        return ensemble_model(self._towers(numbers), combine)

    def _answer(self, trial: Trial, logits: Tensors) -> keras.KerasTensor:
        """A trial's logits from those of its towers."""
        plan = self._plan(trial)
        own = [logits[number] for number in plan.towers]
        if len(own) == 1 and (plan.ensemble is None or not plan.ensemble.freeze):
            return own[0]
        if plan.ensemble is None or plan.ensemble.combining == "average":
            return mean_of_logits(own)
        mixture = self._arrays(_artefacts(trial), MIXTURE, f"trial {trial.id}")
        return mixture_of_logits(own, mixture["kernel"], mixture["bias"], f"mixture_{trial.id}")

    def _towers(self, numbers: Iterable[int]) -> dict[int, keras.Model]:
        return {number: self._own_tower(number) for number in numbers}

    def _own_tower(self, number: int) -> keras.Model:
        return trained_model(self.trained(number), self._build)

    def trained(self, number: int) -> TrainedTower:
        """The own tower of a completed trial, to be built or trained on.

        Raises:
            StudyError: if its weights are gone.
        """
        trial = self._trial(number)
        plan = self._plan(trial)
        weights = self._arrays(_artefacts(trial), WEIGHTS, f"trial {number}")
        joint = plan.ensemble is not None and not plan.ensemble.freeze
        mixed = joint and any(artefact.name == MIXTURE for artefact in _artefacts(trial))
        mixture = self._arrays(_artefacts(trial), MIXTURE, f"trial {number}") if mixed else {}
        return TrainedTower(
            plan=plan,
            weights=[weights[key] for key in sorted(weights)],
            mixture=[mixture[key] for key in ("kernel", "bias") if key in mixture],
            members=tuple(self.trained(member) for member in plan.members) if joint else (),
        )

    def _build(self, plan: TrialPlan) -> keras.Model:
        record = self._study.record
        specs = InputLayout.from_description(record.data).specs
        return build_tower(tower_spec(plan, specs, self._study.task.logits_dimension, record.data["model"]))

    def _with_weights(self, plan: TrialPlan, arrays: Mapping[str, np.ndarray]) -> keras.Model:
        model = self._build(plan)
        model.set_weights([arrays[key] for key in sorted(arrays)])
        return model

    def _trial(self, number: int) -> Trial:
        known = self._study.history.get(number)
        trial = None if known is None else self._study.store.trial(number)  # whose files may have been pruned since
        if trial is None or trial.result is None:
            raise StudyError(f"trial {number} is not completed, or no longer there; run the final stage again")
        return trial

    def _plan(self, trial: Trial) -> TrialPlan:
        if trial.plan is None or trial.result is None:
            raise StudyError(f"trial {trial.id} is {trial.state} and has no model")
        return trial.plan

    def _arrays(self, artefacts: Iterable[Artefact], name: str, whose: str) -> dict[str, Any]:
        found = [artefact for artefact in artefacts if artefact.name == name]
        if not found:
            raise StudyError(f"the weights of {whose} are no longer stored ({name} is missing)")
        return load_arrays(self._study.artefacts, found[0])


def _artefacts(trial: Trial) -> tuple[Artefact, ...]:
    return () if trial.result is None else trial.result.artefacts
