"""Applies the augmentations that a trial asks for to the rows of each update."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.augmentations import AUGMENTATIONS, PREFIX
from model_search.data.rows import InputSpec, InputSpecs, main_inputs
from model_search.errors import TrialError
from model_search.metadata.trial import HyperparameterValue
from model_search.training.augmentation import maps, steps
from model_search.training.runtime import tensorflow
from model_search.training.training_objectives import Batch, Objective

_MAPS = {"flip": maps.flip, "crop": maps.crop, "cutout": maps.cutout, "colour": maps.colour}
_STEPS = {
    "time_shift": steps.time_shift,
    "time_mask": steps.time_mask,
    "frequency_mask": steps.frequency_mask,
    "noise": steps.noise,
}
_DRAWS = 1009  # random draws of one update, at most


@dataclasses.dataclass(frozen=True)
class Augmenter:
    """Augments rows; what it draws follows from the trial's seed and the number of the update.

    Attributes:
        strengths: Of each augmentation that has an effect.
        specs: The inputs.
        seed: The trial's.
    """

    strengths: Mapping[str, float]
    specs: InputSpecs
    seed: int

    @classmethod
    def of(cls, hyperparameters: Mapping[str, HyperparameterValue], specs: InputSpecs, seed: int) -> Augmenter | None:
        """Reads a plan's hyperparameters; None where nothing is augmented.

        Raises:
            TrialError: if an augmentation is unknown, or its strength is no number from 0 on.
        """
        given = {name.removeprefix(PREFIX): value for name, value in hyperparameters.items() if name.startswith(PREFIX)}
        for name, value in given.items():
            if name not in AUGMENTATIONS:
                raise TrialError(f"{PREFIX}{name}: expected one of {', '.join(PREFIX + one for one in AUGMENTATIONS)}")
            if isinstance(value, bool | str) or not (math.isfinite(value) and value >= 0):
                raise TrialError(f"{PREFIX}{name} is {value!r}; expected a number of at least 0")
        strengths = {name: float(given[name]) for name in AUGMENTATIONS if given.get(name)}
        if "mixup" in strengths and any(spec.dtype == "int32" for spec in main_inputs(specs).values()):
            raise TrialError("token ids cannot be mixed; leave mixup out of the specification's augmentations")
        return cls(strengths, specs, seed) if strengths else None

    def batch(self, batch: Batch, update: Any) -> Batch:
        """The batch with augmented inputs, each of its own type, inside a graph.

        Args:
            batch: The rows of an update.
            update: The update's number, an int32 tensor.
        """
        found = dict(batch.inputs)
        for place, (name, spec) in enumerate(main_inputs(self.specs).items()):
            if name in found:
                found[name] = self._input(found, name, spec, self._seed(update, 100 * (place + 1)))
        return batch._replace(inputs=found)

    def mixed_loss(self, objective: Objective, batch: Batch, update: Any, model: Any) -> Any:
        """The loss of a batch whose rows are mixed with each other (Zhang et al. 2018), or of the batch as it is.

        Args:
            objective: What is minimised.
            batch: What `batch` gives.
            update: The update's number, an int32 tensor.
            model: From inputs by name to outputs.
        """
        if "mixup" not in self.strengths:
            return objective.batch_loss(batch, model(batch.inputs))
        tf = tensorflow()
        seed = self._seed(update, 0)
        alpha = [self.strengths["mixup"]] * 2
        one, two = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
        weight = tf.math.divide_no_nan(one, one + two)
        rows = tf.shape(batch.label)[0]
        order = tf.argsort(tf.random.stateless_uniform([rows], seed + 1))
        parts = (batch.inputs, batch.labels, batch.weights)
        inputs, labels, weights = ({name: tf.gather(values, order) for name, values in part.items()} for part in parts)
        other = Batch(inputs, labels, weights, batch.update)
        lengths = {spec.lengths for spec in self.specs.values()}
        mixed = {}
        for name, values in batch.inputs.items():
            if name in lengths:
                mixed[name] = tf.maximum(values, other.inputs[name])
                continue
            own, others = (tf.cast(given, tf.float32) for given in (values, other.inputs[name]))
            mixed[name] = _as(weight * own + (1.0 - weight) * others, values)
        outputs = model(mixed)
        return weight * objective.batch_loss(batch, outputs) + (1.0 - weight) * objective.batch_loss(other, outputs)

    def _input(self, inputs: Mapping[str, Any], name: str, spec: InputSpec, seed: Any) -> Any:
        tf = tensorflow()
        given = inputs[name]
        rank = len(spec.shape)
        chosen = _MAPS if rank == 3 else _STEPS if rank == 2 else {}
        wanted = [(place, one, self.strengths[one]) for place, one in enumerate(chosen) if one in self.strengths]
        if not wanted:
            return given
        values = tf.ensure_shape(tf.cast(given, tf.float32), [None, *spec.shape])
        for place, one, strength in wanted:
            own = seed + 10 * place
            if one in _MAPS:
                values = _MAPS[one](values, strength, own)
                continue
            lengths = inputs[spec.lengths] if spec.lengths else tf.fill([tf.shape(values)[0]], spec.shape[0])
            mean = np.array(spec.mean or [0.0], np.float32)
            deviation = np.array(spec.deviation or [1.0], np.float32)
            values = _STEPS[one](steps.Steps(values, lengths, mean, deviation), strength, own)
        return _as(values, given)

    def _seed(self, update: Any, draw: int) -> Any:
        tf = tensorflow()
        return tf.stack([tf.constant(self.seed % (2**31), tf.int32), update * _DRAWS + draw])


def _as(values: Any, like: Any) -> Any:
    """Float values in another tensor's type; bytes are rounded and kept between 0 and 255."""
    tf = tensorflow()
    if like.dtype == tf.uint8:
        return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)
    return tf.cast(values, like.dtype)
