"""The contract of every block: subclass `BlockContract` and name the blocks.

    from model_search.testing.block_contract import BlockContract

    class TestMyBlocks(BlockContract):
        names = ("MY_BLOCK_8", "MY_BLOCK_16")

A block is fed inputs of the rank that it reads in the catalogue (`reads_rank`; of all ranks where that is None), with
the lowest values of its own hyperparameters, and must write what the catalogue says.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from model_search.blocks import catalogue
from model_search.blocks.block import BlockSettings, call_block
from model_search.blocks.registration import make_block, own_settings
from model_search.data.rows import InputSpec
from model_search.problem import MAP_RANK, SEQUENCE_RANK, VECTOR_RANK, problem_types
from model_search.towers.builder import TowerSpec, build_tower

Shape = tuple[int, ...]
Array = NDArray[Any]

# Shapes of one row by rank: vectors [width], sequences [steps, width], maps [height, width, channels].
SHAPES: dict[int, tuple[Shape, ...]] = {
    VECTOR_RANK: ((1,), (3,), (200,)),
    SEQUENCE_RANK: ((5, 3), (1, 2), (7, 1)),
    MAP_RANK: ((5, 5, 6), (4, 4, 3), (1, 1, 2), (5, 3, 1)),
}
# The default shape.
USUAL: dict[int, Shape] = {VECTOR_RANK: (3,), SEQUENCE_RANK: (5, 3), MAP_RANK: (5, 5, 6)}
LENGTHS = (5, 3, 1, 4)
LOGITS = 2
SEEDS = range(8)

# Plain Keras, in safe mode, where model_search cannot be imported.
_LOADER = """
import json, pathlib, sys
sys.modules["model_search"] = None
import keras, numpy as np
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    arrays = np.load(path.with_suffix(".npz"), allow_pickle=False)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
        inputs = [arrays[name] for name in sorted(arrays.files)]
        found[path.stem] = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0]).tolist()
    except Exception as error:
        found[path.stem] = repr(error)
print(json.dumps(found))
"""


def ranks_of(name: str) -> tuple[int, ...]:
    """Ranks of one row's input that the block reads."""
    rank = catalogue.get(name).reads_rank
    return tuple(SHAPES) if rank is None else (rank,)


def reads_sequences(name: str) -> bool:
    """Whether the block is for sequences in particular."""
    return catalogue.get(name).reads_rank == SEQUENCE_RANK


def reads_what_it_writes(name: str) -> bool:
    """Whether the block can follow another one of its kind."""
    info = catalogue.get(name)
    return info.reads_rank is None or info.output_rank(info.reads_rank) == info.reads_rank


def shape_of(name: str) -> Shape:
    """A shape of one row that the block reads."""
    return USUAL[ranks_of(name)[0]]


def rows(shape: Shape, count: int = 16, seed: int = 0) -> Array:
    """Random rows, float32 [count, *shape]."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def settings_of(name: str) -> dict[str, float]:
    """The lowest value of each of the block's own hyperparameters, by its name in the search space."""
    info = catalogue.get(name)
    return {info.hyperparameter_names[own.name]: own.minimum for own in info.hyperparameters}


def tower(name: str, shape: Shape, seed: int = 0, **others: Any) -> keras.Model:
    """A tower of this block alone."""
    return build_tower(_spec((name,), shape, block_hparams=settings_of(name), seed=seed, **others))


def _spec(architecture: Sequence[str], shape: Shape, label_per_step: bool = False, **others: Any) -> TowerSpec:
    """A problem type whose towers read rows of that shape, and have one label per row, or per step."""
    of_rank = (
        known.name
        for known in problem_types()
        if known.input_rank == len(shape) and known.label_per_step == label_per_step
    )
    return TowerSpec(tuple(architecture), {"features": InputSpec(shape)}, LOGITS, problem_type=next(of_rank), **others)


def build_block(
    name: str, tensors: list[keras.KerasTensor], lengths: keras.KerasTensor | None = None
) -> list[keras.KerasTensor]:
    """The block's output for these tensors."""
    settings = BlockSettings(own_settings(catalogue.get(name), settings_of(name)))
    return list(call_block(make_block(name), tensors, lengths, settings))


def block_with_lengths(name: str, shape: Shape) -> keras.Model:
    """The block alone, from float32 [batch, steps, width] and int32 [batch] to its output."""
    inputs, lengths = keras.Input(shape, name="features"), keras.Input((), dtype="int32", name="lengths")
    # A block may do without the lengths; the model has both inputs all the same.
    output = build_block(name, [inputs], lengths)[-1]
    unused = ops.cast(ops.reshape(lengths, (-1, *(1 for _ in output.shape[1:]))), output.dtype) * 0.0
    return keras.Model([inputs, lengths], output + unused)


def load_with_plain_keras(folder: pathlib.Path, names: Iterable[str]) -> dict[str, tuple[Array, Any]]:
    """Saves models of each block and loads all in one fresh process.

    Returns:
        By name the outputs here, and the outputs or the error there. The model of a block that reads sequences has
        lengths, that of another one is a tower.
    """
    expected: dict[str, Array] = {}
    for name in names:
        shape = shape_of(name)
        inputs = [rows(shape, len(LENGTHS))]
        if reads_sequences(name):
            model = block_with_lengths(name, shape)
            inputs.append(np.array(LENGTHS, "int32"))
        else:
            model = tower(name, shape, dropout_rate=0.2)
        model.save(folder / f"{name}.keras")
        arrays: dict[str, Any] = {str(number): array for number, array in enumerate(inputs)}
        np.savez(folder / f"{name}.npz", **arrays)
        expected[name] = np.asarray(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - no shell; this Python, the loader above
        [sys.executable, "-c", _LOADER, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=folder,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: (outputs, found[name]) for name, outputs in expected.items()}


# Ways to train a tower for a few steps; the gradients of deep normalised networks are too large for the first ones.
_OPTIMIZERS: tuple[Callable[[], keras.optimizers.Optimizer], ...] = (
    lambda: keras.optimizers.SGD(0.05),
    lambda: keras.optimizers.SGD(0.005),
    lambda: keras.optimizers.Adam(1e-4),
)


def _loss_after(model: keras.Model, optimizer: keras.optimizers.Optimizer, steps: int = 8) -> float:
    """The loss of a tower after a few steps of training, as a share of the loss before."""
    shape = model.input_shape[1:]
    features, labels = rows(shape, 64), rows((LOGITS,), 64, seed=1) * 0.1 + 1
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(features, training=True) - labels) ** 2)
        gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
        optimizer.apply(gradients, model.trainable_weights)
        losses.append(float(loss))
    return losses[-1] / losses[0]


class BlockContract:
    """The checks; each runs for every block of `names`."""

    names: ClassVar[Sequence[str]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every check runs for every block; the names need not be registered yet."""
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", self.names)

    @pytest.fixture(scope="class")
    @classmethod
    def loaded(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Array, Any]]:
        """What `load_with_plain_keras` gives for all blocks."""
        return load_with_plain_keras(tmp_path_factory.mktemp("towers"), cls.names)

    def test_appends_one_float32_tensor_of_the_rank_in_the_catalogue(self, name: str) -> None:
        """The list is extended, not changed; the output has known sizes."""
        for rank in ranks_of(name):
            for shape in SHAPES[rank]:
                before = [keras.Input(shape), keras.Input(shape)]
                given = list(before)
                after = build_block(name, given)
                assert given == before
                assert all(a is b for a, b in zip(after, before, strict=False))
                assert len(after) == len(before) + 1
                output = after[-1]
                assert output.dtype == "float32"
                assert output.shape[0] is None
                assert all(size is not None and size >= 1 for size in output.shape[1:])
                assert len(output.shape) - 1 == catalogue.get(name).output_rank(rank)

    def test_a_tower_gives_finite_logits(self, name: str) -> None:
        """Whatever the shape of its input, and without lengths."""
        for shape in (shape for rank in ranks_of(name) for shape in SHAPES[rank]):
            logits = tower(name, shape)(rows(shape), training=False)
            assert logits.shape == (16, LOGITS)
            assert logits.dtype == tf.float32
            assert np.isfinite(logits).all()

    def test_gradients_reach_the_input_and_all_weights(self, name: str) -> None:
        """For at least one of a few seeds: a ReLU of a narrow layer may be inactive for all rows of one seed."""
        shape, reached = shape_of(name), None
        # All steps of a sequence are looked at: a layer that reads backwards has read nothing before the last one.
        writes_steps = len(shape) == catalogue.get(name).output_rank(len(shape)) == SEQUENCE_RANK
        for seed in SEEDS:
            model = tower(name, shape, seed, label_per_step=writes_steps)
            features = tf.constant(rows(shape))
            with tf.GradientTape() as tape:
                tape.watch(features)
                logits = model(features, training=False)
                loss = tf.reduce_sum(logits * rows(logits.shape[1:], seed=1))
            gradients = tape.gradient(loss, [features, *(w.value for w in model.trainable_weights)])
            assert all(gradient is not None for gradient in gradients)
            found = np.array([bool(np.any(gradient)) for gradient in gradients])
            reached = found if reached is None else reached | found
            if reached.all():
                break
        assert reached is not None and reached.all()

    def test_the_seed_decides_the_weights(self, name: str) -> None:
        """The same seed gives the same weights, a different seed different ones."""
        shape = shape_of(name)
        one, same, other = tower(name, shape, 5), tower(name, shape, 5), tower(name, shape, 6)
        assert [w.shape for w in one.weights] == [w.shape for w in other.weights]
        assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), same.get_weights(), strict=True))
        for a, b, weight in zip(one.get_weights(), other.get_weights(), one.weights, strict=True):
            if weight.name == "kernel":
                assert not np.array_equal(a, b)

    def test_names_do_not_depend_on_what_was_built_before(self, name: str) -> None:
        """Layers are named after the block and its position."""
        shape = shape_of(name)
        first = [layer.name for layer in tower(name, shape, dropout_rate=0.5).layers]
        keras.layers.Dense(2)
        assert [layer.name for layer in tower(name, shape, dropout_rate=0.5).layers] == first
        # The input and the head have names of their own.
        others = {layer.name for rank in SHAPES for layer in tower("IDENTITY", USUAL[rank]).layers}
        assert all(part.startswith(f"0_{name}_") for part in first if part not in others)

    def test_stands_twice_in_a_tower(self, name: str) -> None:
        """Where it can read what it writes."""
        if not reads_what_it_writes(name):
            pytest.skip(f"{name} does not read what it writes")
        model = build_tower(_spec((name, name), shape_of(name), block_hparams=settings_of(name)))
        names = [layer.name for layer in model.layers]
        assert len(set(names)) == len(names)

    def test_training_lowers_the_loss(self, name: str) -> None:
        """A few steps of training reduce the loss, with one of a few optimizers."""
        assert any(_loss_after(tower(name, shape_of(name), 1), make()) < 0.9 for make in _OPTIMIZERS)

    def test_is_made_of_stock_layers(self, name: str) -> None:
        """An exported model then loads with Keras alone."""
        assert all(type(layer).__module__.startswith("keras.") for layer in tower(name, shape_of(name)).layers)

    def test_loads_with_plain_keras_in_safe_mode(self, name: str, loaded: dict[str, tuple[Array, Any]]) -> None:
        """With the same outputs; blocks that read sequences with lengths."""
        expected, found = loaded[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_padded_steps_do_not_influence_valid_ones(self, name: str) -> None:
        """For a block that reads sequences: neither the values nor the number of padded steps matter."""
        if not reads_sequences(name):
            pytest.skip(f"{name} does not read sequences in particular")
        steps, width = USUAL[SEQUENCE_RANK]
        lengths = np.array(LENGTHS, "int32")
        is_valid = np.arange(steps)[None, :, None] < lengths[:, None, None]
        features = rows((steps, width), len(lengths))
        model = block_with_lengths(name, (steps, width))
        output = np.asarray(model([features, lengths], training=False))
        other = np.where(is_valid, features, 100 * rows((steps, width), len(lengths), seed=1)).astype("float32")
        after = np.asarray(model([other, lengths], training=False))
        is_sequence = output.ndim == 3
        for row, length in enumerate(LENGTHS):
            kept = slice(length) if is_sequence else slice(None)
            np.testing.assert_allclose(after[row, kept], output[row, kept], rtol=1e-4, atol=1e-5)
            short = block_with_lengths(name, (length, width))
            short.set_weights(model.get_weights())
            alone = short([features[row : row + 1, :length], lengths[row : row + 1]], training=False)
            np.testing.assert_allclose(np.asarray(alone)[0, kept], output[row, kept], rtol=1e-4, atol=1e-5)
