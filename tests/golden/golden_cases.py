"""What the golden studies are made of: specifications, options and providers, for their maker and for their test.

Every case is a folder beside this file. It holds the study ("study"), the rows it was made from ("train.csv" or
"train.npz"), other rows ("rows.csv" or "rows.npz") and what the version that made it answered for them
("expected.json", "expected.npz"). Only the public interface of the package is used here.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import model_search
from model_search.data import array_data, csv_data
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

HERE = pathlib.Path(__file__).parent
NAME = "study"
FINAL = ("best", "single", "ensemble", "student")
BUDGET = {"eval_steps": 8, "experiment_name": NAME, "experiment_owner": "golden", "progress": False}


@dataclasses.dataclass(frozen=True)
class Case:
    """One study.

    Attributes:
        name: Of its folder.
        spec: The specification as text.
        provider: Makes the provider, given the folder.
        rows: Reads rows to predict, given the folder.
        labelled: Reads rows with labels, given the folder; None where the study has no columns to look for them in.
        options: Arguments of `try_models`, the seed among them.
        number_models: Models that were asked for.
        finish: What the final stage made.
        more: Models that a continuation asks for.
        replayed: Trials to replay.
        exported: Whether there are exported models of it.
    """

    name: str
    spec: str
    provider: Callable[[pathlib.Path], model_search.data.Provider]
    rows: Callable[[pathlib.Path], Any]
    labelled: Callable[[pathlib.Path], Any] | None
    options: dict[str, Any]
    number_models: int
    finish: str
    more: int
    replayed: tuple[int, ...]
    exported: bool = False

    @property
    def folder(self) -> pathlib.Path:
        return HERE / self.name

    def message(self) -> PhoenixSpec:
        from google.protobuf import text_format

        return text_format.Parse(self.spec, PhoenixSpec())

    def search(self, folder, provider=None, **changes):
        """Makes the study in a folder that holds its data, or continues it (a study keeps its seed)."""
        arguments = BUDGET | self.options | {"number_models": self.number_models, "finish": self.finish} | changes
        if (folder / NAME).exists():
            del arguments["seed"]
        trainer = model_search.SingleTrainer(data=provider or self.provider(folder), spec=self.message())
        return trainer.try_models(root_dir=folder, **arguments)


def load_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def read_frame(path):
    """Typed columns: dates, a category and booleans beside numbers."""
    return pd.read_csv(path, parse_dates=["measured"], dtype={"sex": "category"})


class ArrayBatches(model_search.data.Provider):
    """A stream of the user's own: one tensor of features or a dict of them, by way of `tf.data`.

    The rows are in a file: "x" (or "x_NAME" for each feature), "y" and perhaps "weights". The last third is for
    evaluation.
    """

    def __init__(self, path, classes):
        self._arrays = load_npz(path)
        self._classes = classes

    def get_input_fn(self, hparams, mode, batch_size):
        import tensorflow as tf

        count = len(self._arrays["y"])
        chosen = slice(0, 2 * count // 3) if mode == "train" else slice(2 * count // 3, count)
        labels = self._arrays["y"][chosen]
        x = {name: values[chosen] for name, values in features(self._arrays).items()}
        parts = (x.get("", x), labels.astype(object) if labels.dtype.kind == "U" else labels)
        if "weights" in self._arrays:
            parts += (self._arrays["weights"][chosen],)
        return lambda: tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)

    def number_of_classes(self):
        return self._classes


def features(arrays):
    """Features by name, "" for those that have none."""
    return {name.removeprefix("x").removeprefix("_"): values for name, values in arrays.items() if name[0] == "x"}


def array_provider(folder):
    arrays = load_npz(folder / "train.npz")
    names = ("valid_x", "valid_y", "valid_weights")
    validation = tuple(arrays[name] for name in names) if "valid_x" in arrays else None
    return array_data.Provider(arrays["x"], arrays["y"], weights=arrays.get("weights"), validation=validation)


def array_rows(folder):
    return load_npz(folder / "rows.npz")["x"]


def array_labelled(folder):
    arrays = load_npz(folder / "rows.npz")
    return tuple(arrays[name] for name in ("x", "y", "weights") if name in arrays)


def frame_provider(folder):
    frame = read_frame(folder / "train.csv")
    return array_data.Provider(frame.drop(columns="progression"), frame["progression"])


def tensor_provider(classes):
    return lambda folder: ArrayBatches(folder / "train.npz", classes)


def stream_rows(folder):
    x = features(load_npz(folder / "rows.npz"))
    return x.get("", x)


CASES = [
    # Text, numbers with thousands separators, missing cells and weights from a file; averages, students, dropout, a
    # block with moving averages; the default search.
    Case(
        name="classification",
        spec="""
            minimum_depth: 1 maximum_depth: 3 beam_size: 2
            blocks_to_use: ["FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "LOWRANK_2_SKIP",
                            "FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM"]
            apply_dropouts_between_blocks: true
            learning_spec { apply_exponential_decay: true apply_gradient_clipping: true }
            ensemble_spec {
              combining_type: AVERAGE_ENSEMBLE ensemble_search_type: INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH
              intermixed_search { width: 2 try_ensembling_every: 3 num_trials_to_consider: 4 }
            }
            distillation_spec {
              distillation_type: ADAPTIVELY_BALANCE_LOSSES minimal_pool_size: 2 temperature: 2
              balance_losses_spec { num_ramp_trials: 4 minimum_lambda: 0.5 maximum_lambda: 1 }
            }
        """,
        provider=lambda folder: csv_data.Provider(
            filename=str(folder / "train.csv"), label="cultivar", weight="weight"
        ),
        rows=lambda folder: str(folder / "rows.csv"),
        labelled=lambda folder: str(folder / "rows.csv"),
        options={"train_steps": 40, "batch_size": 16, "seed": 11},
        number_models=8,
        finish="both",
        more=9,
        replayed=(2, 3, 4),
        exported=True,
    ),
    # Weighted ensembles of frozen towers and students of logits; row weights and own validation rows.
    Case(
        name="weighted",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: ADAPTIVE_COORDINATE_DESCENT
            blocks_to_use: ["FULLY_CONNECTED", "FULLY_CONNECTED_RESIDUAL_PROJECT", "BOTTLENECK_32_SKIP"]
            learning_spec { batch_sizes: [8, 16] apply_weight_decay: true apply_l2_regularization: true }
            ensemble_spec {
              combining_type: WEIGHTED_ENSEMBLE ensemble_search_type: NONADAPTIVE_ENSEMBLE_SEARCH
              nonadaptive_search { width: 2 minimal_pool_size: 3 num_trials_to_consider: 3 }
            }
            distillation_spec { distillation_type: MSE_LOGITS minimal_pool_size: 3 }
        """,
        provider=array_provider,
        rows=array_rows,
        labelled=array_labelled,
        options={"train_steps": 40, "batch_size": 16, "seed": 12, "metric": "accuracy"},
        number_models=6,
        finish="ensemble",
        more=8,
        replayed=(4, 5),
    ),
    # Ensembles that grow, whose members are tuned with them.
    Case(
        name="tuned",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: REGULARIZED_EVOLUTION
            evolution { population_size: 3 sample_size: 2 }
            blocks_to_use: ["FULLY_CONNECTED", "LOWRANK_1", "FULLY_CONNECTED_RESIDUAL_FORCE_MATCH_SHAPES_BATCHNORM"]
            ensemble_spec {
              combining_type: WEIGHTED_ENSEMBLE ensemble_search_type: ADAPTIVE_ENSEMBLE_SEARCH freeze_previous: false
              adaptive_search { increase_width_every: 2 minimal_pool_size: 2 }
            }
        """,
        provider=array_provider,
        rows=array_rows,
        labelled=array_labelled,
        options={"train_steps": 30, "batch_size": 16, "seed": 13},
        number_models=5,
        finish="ensemble",
        more=6,
        replayed=(3, 5),
    ),
    # A frame with dates, a category and booleans; towers that learn what the others get wrong; a metric to maximise.
    Case(
        name="regression",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: SIMULATED_ANNEALING
            blocks_to_use: ["FULLY_CONNECTED_PYRAMID", "FULLY_CONNECTED_RESIDUAL_CONCAT", "BOTTLENECK_32"]
            ensemble_spec {
              combining_type: AVERAGE_ENSEMBLE ensemble_search_type: RESIDUAL_ENSEMBLE_SEARCH
              adaptive_search { increase_width_every: 2 minimal_pool_size: 2 }
            }
        """,
        provider=frame_provider,
        rows=lambda folder: read_frame(folder / "rows.csv"),
        labelled=lambda folder: read_frame(folder / "rows.csv"),
        options={"train_steps": 60, "batch_size": 16, "seed": 14, "metric": "r2"},
        number_models=5,
        finish="both",
        more=6,
        replayed=(2, 4),
        exported=True,
    ),
    # Two features by name, text labels and weights from a custom provider; students of probabilities.
    Case(
        name="stream",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: LOCAL_SEARCH
            blocks_to_use: ["FULLY_CONNECTED_PYRAMID", "LOWRANK_2", "BOTTLENECK_32"]
            distillation_spec { distillation_type: CROSS_ENTROPY minimal_pool_size: 3 }
        """,
        provider=tensor_provider(3),
        rows=stream_rows,
        labelled=None,
        options={"train_steps": 30, "batch_size": 10, "seed": 15, "eval_steps": 5},
        number_models=5,
        finish="both",
        more=6,
        replayed=(2, 5),
    ),
    # Pictures as one tensor [8, 8, 1], which the dense blocks flatten.
    Case(
        name="map",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: NONADAPTIVE_RANDOM_SEARCH temperature: 1.5
            blocks_to_use: ["FULLY_CONNECTED_PYRAMID", "BOTTLENECK_32"]
        """,
        provider=tensor_provider(10),
        rows=stream_rows,
        labelled=None,
        options={"train_steps": 30, "batch_size": 16, "seed": 23, "eval_steps": None},
        number_models=4,
        finish="ensemble",
        more=5,
        replayed=(1,),
    ),
    # Short trainings, promotions, early stopping, tuning.
    Case(
        name="schedule",
        spec="""
            minimum_depth: 1 maximum_depth: 2 search_type: ADAPTIVE_COORDINATE_DESCENT
            blocks_to_use: ["FULLY_CONNECTED", "LOWRANK_1_SKIP"]
            evaluation_schedule { kind: ASHA reduction_factor: 2 minimum_share: 0.25 stopping: MEDIAN }
            tuning { trials: 1 architectures: 1 }
        """,
        provider=array_provider,
        rows=array_rows,
        labelled=array_labelled,
        options={"train_steps": 40, "batch_size": 16, "seed": 17, "sampler": "random"},
        number_models=9,
        finish="ensemble",
        more=10,
        replayed=(),  # the first promotion; the maker writes its number
    ),
    # Stopped by Ctrl-C in the middle of a trial, after one that failed: four of six models are missing.
    Case(
        name="stopped",
        spec="""
            minimum_depth: 1 maximum_depth: 2
            blocks_to_use: ["FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"]
            user_suggestions {
              architecture: ["FULLY_CONNECTED", "FULLY_CONNECTED"]
              hparams {
                hparam { key: "optimizer" value { bytes_value: "sgd" } }
                hparam { key: "learning_rate" value { float_value: 3e38 } }
              }
            }
        """,
        provider=tensor_provider(2),
        rows=stream_rows,
        labelled=None,
        options={"train_steps": 30, "batch_size": 10, "seed": 18, "eval_steps": 4},
        number_models=6,
        finish="both",
        more=4,
        replayed=(2,),
    ),
]
BY_NAME = {case.name: case for case in CASES}


def choices(study):
    """Every model that the study can be asked for: completed trials by number, then the names that mean something."""
    numbers = [trial.id for trial in study.trials if trial.result is not None]
    kinds = {model.kind.value for model in study.final_models}
    return [*numbers, *(name for name in FINAL if name in kinds or name in ("best", "single"))]


def answers(case, study, folder, choice):
    """What a model says of the rows of a case: arrays by name."""
    rows = case.rows(folder)
    if study.task.kind.value == "regression":
        return {"predict": study.predict(rows, trial=choice)}
    return {
        "predict": np.array([str(label) for label in study.predict(rows, trial=choice)]),
        "proba": study.predict_proba(rows, trial=choice).to_numpy(),
    }


def board(study):
    """The leaderboard without what depends on the clock, as JSON has it."""
    return json.loads(study.leaderboard().drop(columns="seconds").to_json(orient="records", double_precision=15))


def plan(trial):
    """A trial's plan as it is stored; None where it has none."""
    return None if trial.plan is None else json.loads(trial.plan.to_json())


def story(trial):
    """What happened to a trial, without what depends on the clock or the machine."""
    described = {"id": trial.id, "state": trial.state.value, "attempt": trial.attempt, "plan": plan(trial)}
    if trial.reason is not None:
        described["reason"] = trial.reason
    if trial.result is not None:
        names = ("metrics", "parameters", "tower_parameters", "best_step", "stopped_at")
        described["result"] = {name: getattr(trial.result, name) for name in names}
        described["result"]["metrics"] = dict(trial.result.metrics)
        described["result"]["curve"] = [list(point) for point in trial.result.curve]
        described["result"]["files"] = sorted(artefact.name for artefact in trial.result.artefacts)
    return described
