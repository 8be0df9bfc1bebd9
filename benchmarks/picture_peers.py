"""KerasTuner and AutoKeras on folders of pictures, with a time limit; runs in their environments, without this package.

Neither has a time limit of its own. Both train with `timed_best`, which keeps the model of the epoch with the best
validation accuracy among all trials, and ends the search after the batch in which the time is over. That model is
judged on the test pictures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PEERS = {  # what pip installs into an environment of their own
    "kerastuner": ("keras-tuner==1.4.8", "keras==3.15.1", "tensorflow==2.21.0", "tensorboard==2.21.0"),
    # Keras 3.13 and newer refuse the numbers of units that AutoKeras gives its layers: NumPy's are no `int`.
    "autokeras": (
        "autokeras==3.0.0",
        "keras-tuner==1.4.8",
        "keras==3.12.4",
        "tensorflow==2.21.0",
        "tensorboard==2.21.0",
    ),
}
VALIDATED = 0.2  # of the pictures of each class, as in our own rows
EPOCHS, PATIENCE = 30, 5  # of a trial of KerasTuner, and epochs without a gain after which it ends
BATCH = 64
SIDE = 32  # pixels of the pictures' sides, as in our own rows


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures, float32 [pictures, height, width, 3] from 0 to 255, and their classes, one-hot [pictures, classes]."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of_folder(cls, folder: pathlib.Path, side: int) -> Pictures:
        """Those of a folder of classes."""
        import keras

        found = keras.utils.image_dataset_from_directory(
            folder, label_mode="categorical", batch_size=None, image_size=(side, side), shuffle=False, verbose=False
        )
        x, y = zip(*found.as_numpy_iterator(), strict=True)
        return cls(np.stack(x), np.stack(y))

    def split(self, seed: int) -> tuple[Pictures, Pictures]:
        """Pictures to train on, and a fifth of each class to validate on."""
        rng, classes = np.random.default_rng(seed), self.y.argmax(axis=1)
        chosen = [rng.permutation(np.flatnonzero(classes == one)) for one in range(self.y.shape[1])]
        valid = np.zeros(len(self.y), bool)
        valid[np.concatenate([rows[: round(VALIDATED * len(rows))] for rows in chosen])] = True
        return Pictures(self.x[~valid], self.y[~valid]), Pictures(self.x[valid], self.y[valid])


def timed_best(deadline: float, file: pathlib.Path) -> Any:
    """A callback of Keras that keeps the best model of all trials in a file, and ends the search at the deadline.

    Args:
        deadline: Of `time.monotonic`.
        file: Where the model is kept.
    """
    import keras
    from keras_tuner import errors

    class TimeIsOver(errors.FatalError):
        """Ends the whole search: of other exceptions a tuner makes a failed trial."""

    class TimedBest(keras.callbacks.Callback):
        """One for all trials: a tuner's copies of it are itself."""

        over = TimeIsOver

        def __init__(self) -> None:
            super().__init__()
            self.best = -1.0

        def __deepcopy__(self, memo: dict[int, Any]) -> TimedBest:
            return self

        def _check(self) -> None:
            if time.monotonic() >= deadline:
                raise TimeIsOver("the time is over")

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._check()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._check()

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self._check()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs["val_accuracy"] > self.best:
                self.best = logs["val_accuracy"]
                self.model.save(file)

    return TimedBest()


def searched(
    train_folder: pathlib.Path,
    test_folder: pathlib.Path,
    seconds: float,
    seed: int,
    search: Callable[[Pictures, Pictures, int, Any, str], None],
    custom_objects: dict[str, Any] | None = None,
) -> float:
    """The test accuracy of the best model that a search finds in the time.

    Args:
        train_folder: Folders of classes to train and to validate on.
        test_folder: Those to judge by.
        seconds: For reading, splitting and searching.
        seed: Of the split and of the search.
        search: Given the pictures to train and to validate on, the seed, the callback and a scratch folder.
        custom_objects: What loading the model needs.

    Raises:
        RuntimeError: if no epoch ends before the time is over.
    """
    import keras

    deadline = time.monotonic() + seconds
    keras.utils.set_random_seed(seed)
    train, valid = Pictures.of_folder(train_folder, SIDE).split(seed)
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "best.keras"
        callback = timed_best(deadline, file)
        with contextlib.suppress(callback.over):
            search(train, valid, seed, callback, scratch)
        if not file.exists():
            raise RuntimeError(f"no epoch ended within {seconds:g} seconds; give more time")
        model = keras.saving.load_model(file, custom_objects=custom_objects)
    test = Pictures.of_folder(test_folder, SIDE)
    found = model.predict(test.x, batch_size=BATCH, verbose=0)
    return float((found.argmax(axis=1) == test.y.argmax(axis=1)).mean())


def kerastuner(train_folder: pathlib.Path, test_folder: pathlib.Path, seconds: float, seed: int) -> float:
    """KerasTuner: random search of convolutional networks and their training."""
    import keras
    import keras_tuner

    def search(train: Pictures, valid: Pictures, seed: int, callback: Any, scratch: str) -> None:
        def build(choices: keras_tuner.HyperParameters) -> keras.Model:
            return network(choices, train.y.shape[1])

        tuner = keras_tuner.RandomSearch(
            build, "val_accuracy", max_trials=100_000, seed=seed, directory=scratch, project_name="tuner"
        )
        stopping = keras.callbacks.EarlyStopping("val_accuracy", patience=PATIENCE)
        tuner.search(
            train.x,
            train.y,
            validation_data=(valid.x, valid.y),
            epochs=EPOCHS,
            batch_size=BATCH,
            callbacks=[stopping, callback],
            verbose=0,
        )

    return searched(train_folder, test_folder, seconds, seed, search)


def network(choices: Any, classes: int) -> Any:
    """A compiled network of `choices`: stages of convolutions with batch normalisation, each half as large a map.

    Args:
        choices: KerasTuner's hyperparameters.
        classes: How many.
    """
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    found = layers.Rescaling(1 / 127.5, -1)(inputs)
    if choices.Boolean("augmentation", default=True):
        found = layers.RandomFlip("horizontal")(found)
        found = layers.RandomTranslation(0.1, 0.1, "nearest")(found)
    width = choices.Choice("width", [32, 48, 64])
    kernel = choices.Choice("kernel", [3, 5])
    for stage in range(choices.Int("stages", 2, 4)):
        for _ in range(choices.Int("convolutions", 1, 2)):
            found = layers.Conv2D(min(256, width * 2**stage), kernel, padding="same", use_bias=False)(found)
            found = layers.ReLU()(layers.BatchNormalization()(found))
        found = layers.MaxPooling2D()(found)
    pooling = layers.GlobalAveragePooling2D() if choices.Boolean("average") else layers.Flatten()
    found = layers.Dropout(choices.Float("dropout", 0.0, 0.5, step=0.1))(pooling(found))
    units = choices.Choice("units", [0, 128, 256])
    if units:
        found = layers.Dense(units, activation="relu")(found)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(found))
    rate = choices.Float("learning_rate", 3e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def autokeras(train_folder: pathlib.Path, test_folder: pathlib.Path, seconds: float, seed: int) -> float:
    """AutoKeras: its `ImageClassifier` as it is."""
    import autokeras as package

    def search(train: Pictures, valid: Pictures, seed: int, callback: Any, scratch: str) -> None:
        classifier = package.ImageClassifier(
            max_trials=100_000, objective="val_accuracy", directory=scratch, project_name="tuner", seed=seed
        )
        classifier.fit(
            train.x, train.y, validation_data=(valid.x, valid.y), batch_size=BATCH, callbacks=[callback], verbose=0
        )

    return searched(train_folder, test_folder, seconds, seed, search, package.CUSTOM_OBJECTS)


SEARCHES = {"kerastuner": kerastuner, "autokeras": autokeras}
