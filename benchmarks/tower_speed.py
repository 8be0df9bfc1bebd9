"""How much processor time does a step of training take, beside `keras.Model.fit` on the same tower and batches?

    python benchmarks/tower_speed.py --datasets DIR
    python benchmarks/tower_speed.py --datasets DIR --only cnn --repetitions 5

cnn    Towers of convolutions on CIFAR-10 pictures, batches of 64.
lstm   LSTMs on Japanese Vowels with lengths (12 channels, 29 steps at most), batches of 32.

The tower, optimizer (Adam, clipped to a norm of 3), rows and batch size are the same. Both train in this process, one
after the other, `--repetitions` times; each time is that of a long training less that of a short one, so that building,
tracing and evaluating count for neither. Printed are the medians of the processor milliseconds a step, and of the
ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from contenders import plan_of
from tables import add_datasets_flag

from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.training.outcome import TrainingSettings

CONVOLUTIONS, RECURRENT = "cnn", "lstm"
GOALS = {CONVOLUTIONS: 1.3, RECURRENT: 2.0}
WIDE = 128  # units from which on parity is the goal: the stock layer is as fast


@dataclasses.dataclass(frozen=True)
class Work:
    """Towers on some data.

    Attributes:
        towers: Their blocks.
        settings: As the problem type trains.
        batch: Rows a step.
        steps: Of the short and of the long training.
    """

    towers: tuple[tuple[str, ...], ...]
    settings: TrainingSettings
    batch: int
    steps: tuple[int, int]


WORKS = {
    CONVOLUTIONS: Work(
        (
            ("BATCHNORM_CONVOLUTION_32", "BATCHNORM_CONVOLUTION_STRIDE_32_2", "BATCHNORM_CONVOLUTION_32"),
            ("PREACTIVATION_RESNET_32", "PREACTIVATION_RESNET_32"),
            ("SEPARABLE_CONVOLUTION_64", "SEPARABLE_CONVOLUTION_64"),
        ),
        TrainingSettings("CNN", "loss", "minimize"),
        64,
        (20, 80),
    ),
    RECURRENT: Work(
        (("LSTM_32",), ("LSTM_64",), ("LSTM_128",)),
        TrainingSettings("RNN_LAST_ACTIVATIONS", "loss", "minimize"),
        32,
        (50, 400),
    ),
}


def pictures(datasets: pathlib.Path) -> TableData:
    """A fifth of the CIFAR-10 folders' pictures validates."""
    from model_search.data.image_data import Provider

    return prepared(Provider(str(datasets / "images" / "cifar10" / "train"), 32, 32))


def vowels(datasets: pathlib.Path) -> TableData:
    """Japanese Vowels, padded, with lengths."""
    from model_search.data.sequence_data import Provider

    file = np.load(datasets / "sequences" / "japanese_vowels.npz")
    return prepared(Provider(file["train_x"], file["train_y"], lengths=file["train_lengths"]))


def prepared(provider: Any) -> TableData:
    """The rows of a provider."""
    found: TableData = provider.prepare(PrepareOptions(seed=1, batch_size=32, eval_steps=None))
    return found


def seconds_a_step(train: Callable[[int], None], steps: tuple[int, int]) -> float:
    """Processor seconds of one step: those of a long training less those of a short one."""
    taken = []
    for count in steps:
        started = time.process_time()
        train(count)
        taken.append(time.process_time() - started)
    return (taken[1] - taken[0]) / (steps[1] - steps[0])


def compare(data: TableData, work: Work, architecture: tuple[str, ...], repetitions: int) -> tuple[float, float, float]:
    """Medians of the processor seconds a step of `fit`, of ours, and of their ratio."""
    import keras

    from model_search.training.engine import Engine

    engine = Engine(data, work.settings)

    def ours(steps: int) -> None:
        engine.run(plan_of(architecture, steps, work.batch))

    def fit(steps: int) -> None:
        model = engine.build(plan_of(architecture, steps, work.batch))
        model.compile(
            keras.optimizers.Adam(1e-3, global_clipnorm=3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        _fit(model, data, work.batch, steps)

    found = []
    for _ in range(repetitions):
        theirs, own = (seconds_a_step(way, work.steps) for way in (fit, ours))
        found.append((theirs, own, theirs / own))
    theirs, own, ratios = zip(*found, strict=True)
    return statistics.median(theirs), statistics.median(own), statistics.median(ratios)


def _fit(model: Any, data: TableData, batch: int, steps: int) -> None:
    """Steps of `fit` on NumPy arrays: one epoch, of rows that are repeated, since beginning an epoch takes its time."""
    rows = np.resize(np.arange(len(data.train)), steps * batch)
    inputs = {tensor.name: data.train.inputs[tensor.name][rows] for tensor in model.inputs}
    x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    model.fit(x, data.train.label[rows], batch_size=batch, epochs=1, verbose=0)


def main() -> None:
    """Reads the flags and prints a line for each tower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--only", default=",".join(WORKS), help="comma-separated, of " + ", ".join(WORKS))
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    read = {CONVOLUTIONS: pictures, RECURRENT: vowels}
    for name in options.only.split(","):
        work, data = WORKS[name], read[name](pathlib.Path(options.datasets))
        for architecture in work.towers:
            theirs, own, ratio = compare(data, work, architecture, options.repetitions)
            goal = 1.0 if architecture[0].endswith(f"_{WIDE}") else GOALS[name]
            verdict = "reached" if ratio >= goal else "NOT reached"
            print(
                f"{name} {' > '.join(architecture)}: fit {1e3 * theirs:.2f} ms a step, this trainer {1e3 * own:.2f}: "
                f"{ratio:.2f} times (goal {goal:g}: {verdict})",
                flush=True,
            )


if __name__ == "__main__":
    main()
