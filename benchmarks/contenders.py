"""The ways to train one tower, or several, that the throughput benchmark compares."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from towers import plain_beam

from model_search.data.prepared_data import TableData
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.training.engine import Engine
from model_search.training.outcome import TrainingSettings
from model_search.training.runtime import tensorflow

BLOCK_WITH_BATCH_NORMALISATION = "BENCHMARK_256_BATCHNORM"
SETTINGS = TrainingSettings("DNN", "loss", "minimize", dropout_between_blocks=True)
EVALUATIONS = 5  # evaluations of a single tower by Keras

FIT_WAYS = ("numpy", "tf.data", "tf.data, steps_per_execution=100")


def register_own_block() -> None:
    """A dense layer of 256 units, batch normalisation and ReLU, which no stock block is."""
    from keras import layers

    from model_search.blocks.block import Block
    from model_search.blocks.registration import register_block

    @register_block(lookup_name=BLOCK_WITH_BATCH_NORMALISATION, init_args={}, enum_id=900_001)
    class DenseWithBatchNormalisation(Block):
        def build(self, input_tensors: list[Any], is_training: Any, lengths: Any = None, hparams: Any = None) -> list:
            output = layers.BatchNormalization()(layers.Dense(256)(input_tensors[-1]))
            return [*input_tensors, layers.ReLU()(output)]


def plan_of(architecture: Sequence[str], steps: int, batch_size: int) -> TrialPlan:
    """A plan with Adam and clipping, as the stock specification would sample it."""
    return TrialPlan(
        trial_id=1,
        kind=TrialKind.SEARCH,
        architecture=tuple(architecture),
        hyperparameters={"optimizer": "adam", "learning_rate": 1e-3, "gradient_max_norm": 3},
        steps=steps,
        batch_size=batch_size,
        seed=7,
        key="benchmark",
    )


def compiled_model(data: TableData, plan: TrialPlan, steps_per_execution: int = 1) -> Any:
    """The tower of a plan, compiled by Keras with the plan's optimizer, decay and clipping."""
    tensorflow()
    import keras

    model = Engine(data, SETTINGS).build(plan)
    given = plan.hyperparameters
    rate: Any = given["learning_rate"]
    if given.get("exponential_decay_steps"):
        rate = keras.optimizers.schedules.ExponentialDecay(
            rate, given["exponential_decay_steps"], given["exponential_decay_rate"], staircase=True
        )
    kinds = {"adam": "Adam", "rmsprop": "RMSprop", "adagrad": "Adagrad", "sgd": "SGD", "momentum": "SGD"}
    extra = {"momentum": given.get("momentum", 0.9)} if given["optimizer"] == "momentum" else {}
    optimizer = getattr(keras.optimizers, kinds[str(given["optimizer"])])(
        learning_rate=rate, global_clipnorm=given.get("gradient_max_norm"), **extra
    )
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def run_engine(data: TableData, plans: Sequence[TrialPlan]) -> list[dict[str, float]]:
    """Trains plans one after the other in this process; seconds by phase for each."""
    engine, found = Engine(data, SETTINGS), []
    for plan in plans:
        started = time.perf_counter()
        outcome = engine.run(plan)
        seconds = time.perf_counter() - started
        found.append({**outcome.timings, "seconds": seconds, "accuracy": outcome.metrics["accuracy"]})
    return found


def run_fit(data: TableData, plan: TrialPlan, way: str, repetitions: int = 2) -> list[dict[str, float]]:
    """Trains a plan's tower with `fit`, five evaluations on the way and `evaluate` at the end, repeatedly."""
    found = []
    for _ in range(repetitions):
        started = time.perf_counter()
        found.append({"accuracy": _fit_once(data, plan, way), "seconds": time.perf_counter() - started})
    return found


def _fit_once(data: TableData, plan: TrialPlan, way: str) -> float:
    tf = tensorflow()
    train, valid = data.train, data.valid
    model = compiled_model(data, plan, 100 if "steps_per_execution" in way else 1)
    epochs = 2 * EVALUATIONS  # of fewer steps than the table has batches: Keras does not go on over the end of an array
    steps = plan.steps // epochs
    if way == "numpy":
        training: dict[str, Any] = {"x": train.inputs["features"], "y": train.label, "batch_size": plan.batch_size}
    else:
        rows = tf.data.Dataset.from_tensor_slices((train.inputs["features"], train.label))
        batches = rows.shuffle(len(train), seed=plan.seed).repeat().batch(plan.batch_size, drop_remainder=True)
        training = {"x": batches.prefetch(tf.data.AUTOTUNE)}
    model.fit(
        **training,
        epochs=epochs,
        steps_per_epoch=steps,
        validation_data=(valid.inputs["features"], valid.label),
        validation_freq=2,
        verbose=0,
    )
    return float(model.evaluate(valid.inputs["features"], valid.label, verbose=0)[1])


def run_keras_tuner(data: TableData, plans: Sequence[TrialPlan]) -> list[dict[str, float]]:
    """Trains plans with KerasTuner as it does by default: it evaluates and writes a checkpoint after each epoch."""
    tensorflow()
    import keras_tuner

    seconds: list[dict[str, float]] = []

    class Towers(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return compiled_model(data, plans[hp.Int("tower", 0, len(plans) - 1)])

    class Timed(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            histories = super().run_trial(trial, *arguments, **options)
            best = max(histories[0].history["val_accuracy"])
            seconds.append({"seconds": time.perf_counter() - started, "accuracy": float(best)})
            return histories

    with tempfile.TemporaryDirectory() as folder:
        tuner = Timed(Towers(), objective="val_loss", max_trials=len(plans), directory=folder, project_name="towers")
        batches = len(data.train) // plans[0].batch_size
        epochs = -(-plans[0].steps // batches)
        tuner.search(
            data.train.inputs["features"],
            data.train.label,
            batch_size=plans[0].batch_size,
            epochs=epochs,
            steps_per_epoch=plans[0].steps // epochs,
            validation_data=(data.valid.inputs["features"], data.valid.label),
            verbose=0,
        )
    return seconds


def search_and_time(
    prepare: Callable[[], Any], steps: int, batch_size: int, models: int, folder: str
) -> list[TrialPlan]:
    """Runs a whole search of the stock space by the plain beam; returns the plans of its completed trials."""
    from model_search import single_trainer

    study = single_trainer.SingleTrainer(prepare(), plain_beam()).try_models(
        number_models=models,
        train_steps=steps,
        eval_steps=100,
        root_dir=pathlib.Path(folder),
        batch_size=batch_size,
        experiment_name="throughput",
        experiment_owner="benchmark",
        seed=1,
        progress=False,
        finish="neither",
    )
    plans = [trial.plan for trial in study.trials if trial.result is not None and trial.plan is not None]
    study.close()
    return [dataclasses.replace(plan, parent=None) for plan in plans]
