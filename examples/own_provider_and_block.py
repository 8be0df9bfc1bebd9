"""Your own provider and your own block, searched together.

python examples/own_provider_and_block.py
"""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from model_search import blocks, data, single_trainer

SPEC = """
minimum_depth: 1
maximum_depth: 3
problem_type: DNN
search_type: ADAPTIVE_COORDINATE_DESCENT
beam_size: 3
blocks_to_use: ["GATED_64", "FIXED_OUTPUT_FULLY_CONNECTED_128", "FULLY_CONNECTED_PYRAMID"]
"""


@blocks.register_block(lookup_name="GATED_64", init_args={"units": 64}, enum_id=20100)
class GatedBlock(blocks.Block):
    """A dense layer whose output is gated by a second one."""

    def __init__(self, units):
        """Takes the width."""
        self._units = units

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        """Reads the last tensor and appends its own."""
        x = input_tensors[-1]
        gate = keras.layers.Dense(self._units, activation="sigmoid")(x)
        return [*input_tensors, keras.layers.Multiply()([keras.layers.Dense(self._units)(x), gate])]


class Spirals(data.Provider):
    """Two spirals, as batches of (features, labels)."""

    def get_input_fn(self, hparams, mode, batch_size):
        """Returns a function without arguments that returns a dataset."""

        def input_fn():
            rng = np.random.default_rng(0 if mode == "train" else 1)
            labels = rng.integers(0, 2, 1000)
            angle = rng.uniform(0.5, 8, 1000)
            turned = angle + np.pi * labels
            points = np.stack([angle * np.cos(turned), angle * np.sin(turned)], axis=1) / 8
            features = (points + rng.normal(0, 0.02, points.shape)).astype("float32")
            return tf.data.Dataset.from_tensor_slices(({"point": features}, labels)).batch(batch_size)

        return input_fn

    def number_of_classes(self):
        """Two spirals."""
        return 2


def main():
    with tempfile.TemporaryDirectory() as folder:
        spec = pathlib.Path(folder) / "spec.pbtxt"
        spec.write_text(SPEC)
        study = single_trainer.SingleTrainer(data=Spirals(), spec=str(spec)).try_models(
            number_models=6,
            train_steps=200,
            eval_steps=20,
            root_dir=folder,
            batch_size=64,
            experiment_name="spirals",
            experiment_owner="example",
            metric="accuracy",
            seed=1,
        )
        study.print_leaderboard()
        study.close()


if __name__ == "__main__":
    main()
