"""Augmentations: what each changes and what it leaves, and that the same seed and update give the same rows."""

import numpy as np
import pytest
import tensorflow as tf

from model_search.augmentations import AUGMENTATIONS
from model_search.data.rows import InputSpec
from model_search.errors import TrialError
from model_search.training.augmentation import maps, steps
from model_search.training.augmentation.augmenter import Augmenter
from model_search.training.training_objectives import Batch, Objective

SEED = tf.constant([3, 5], tf.int32)
PICTURES = np.random.default_rng(0).uniform(0, 255, (64, 8, 12, 3)).astype(np.float32)
LENGTHS = np.array([3, 9, 10, 1] * 16, np.int32)
SEQUENCES = np.random.default_rng(1).normal(5.0, 2.0, (64, 10, 4)).astype(np.float32)
MEAN, DEVIATION = np.full(4, 5.0, np.float32), np.full(4, 2.0, np.float32)


def given():
    return steps.Steps(tf.constant(SEQUENCES), tf.constant(LENGTHS), MEAN, DEVIATION)


def test_flip_mirrors_a_share_of_the_pictures():
    found = maps.flip(tf.constant(PICTURES), 0.5, SEED).numpy()
    mirrored = [np.array_equal(one, other[:, ::-1]) for one, other in zip(found, PICTURES, strict=True)]
    same = [np.array_equal(one, other) for one, other in zip(found, PICTURES, strict=True)]
    assert 10 < sum(mirrored) < 54
    assert sum(mirrored) + sum(same) == 64


def test_crop_moves_each_picture_by_its_own_amount():
    found = maps.crop(tf.constant(PICTURES), 0.25, SEED).numpy()
    moves = set()
    for one, picture in zip(found, PICTURES, strict=True):
        padded = np.pad(picture, ((2, 2), (3, 3), (0, 0)), mode="reflect")
        places = [(i, j) for i in range(5) for j in range(7) if np.array_equal(padded[i : i + 8, j : j + 12], one)]
        assert len(places) == 1
        moves.add(places[0])
    assert len(moves) > 15


def test_cutout_blanks_a_square():
    found = maps.cutout(tf.constant(PICTURES), 0.5, SEED).numpy()
    for one, picture in zip(found, PICTURES, strict=True):
        changed = (one != picture).any(axis=2)
        assert 1 <= changed.sum() <= 5 * 7
        assert np.allclose(one[changed], picture.mean(axis=(0, 1)), rtol=1e-5)


def test_colour_keeps_every_picture_within_its_bounds():
    found = maps.colour(tf.constant(PICTURES), 0.2, SEED).numpy()
    means = found.mean(axis=(1, 2, 3)) / PICTURES.mean(axis=(1, 2, 3))
    assert (means > 0.79).all()
    assert (means < 1.21).all()
    assert means.std() > 0.05


def test_time_mask_blanks_valid_steps_only():
    found = steps.time_mask(given(), 0.3, SEED).numpy()
    masked = (found == MEAN).all(axis=2)
    assert masked.any(axis=1).sum() > 10
    for row, length in enumerate(LENGTHS):
        places = np.flatnonzero(masked[row])
        assert len(places) <= 0.3 * length + 1
        assert not len(places) or places[-1] - places[0] + 1 == len(places)
        assert (places < length).all()


def test_frequency_mask_leaves_a_channel():
    found = steps.frequency_mask(given(), 0.9, SEED).numpy()
    masked = (found == MEAN).all(axis=1)
    assert masked.any(axis=1).sum() > 10
    assert masked.sum(axis=1).max() == 3


def test_time_shift_moves_valid_steps_and_leaves_padding():
    found = steps.time_shift(given(), 0.4, SEED).numpy()
    moved = 0
    for row, length in enumerate(LENGTHS):
        assert np.array_equal(found[row, length:], SEQUENCES[row, length:])
        most = round(0.4 * length)
        places = [np.clip(np.arange(length) + shift, 0, length - 1) for shift in range(-most, most + 1)]
        assert any(np.array_equal(found[row, :length], SEQUENCES[row, place]) for place in places)
        moved += not np.array_equal(found[row], SEQUENCES[row])
    assert moved > 20


def test_noise_has_the_asked_deviation():
    added = steps.noise(given(), 0.1, SEED).numpy() - SEQUENCES
    assert abs(added.std() - 0.2) < 0.01


def pictures_batch():
    labels = {"label": tf.constant(np.arange(64) % 2, tf.int32)}
    return Batch({"image": tf.constant(PICTURES.astype(np.uint8))}, labels, {})


def augmenter(**strengths):
    specs = {"image": InputSpec((8, 12, 3), "uint8")}
    return Augmenter.of({f"augment_{name}": value for name, value in strengths.items()}, specs, seed=11)


def test_what_is_drawn_follows_from_the_seed_and_the_update():
    chosen = augmenter(flip=0.5, crop=0.25, cutout=0.5, colour=0.4)
    one, again, other = (chosen.batch(pictures_batch(), tf.constant(update)).inputs["image"] for update in (4, 4, 5))
    assert one.dtype == tf.uint8
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_nothing_is_augmented_at_strength_zero():
    assert augmenter(flip=0.0, mixup=0.0) is None
    assert augmenter() is None


@pytest.mark.parametrize(
    ("strengths", "sentence"),
    [
        ({"turn": 1.0}, "augment_turn: expected one of augment_flip"),
        ({"flip": -1.0}, "augment_flip is -1.0; expected a number"),
        ({"flip": "yes"}, "augment_flip is 'yes'; expected a number"),
        ({"flip": True}, "augment_flip is True; expected a number"),
    ],
)
def test_mistakes_fail_the_trial(strengths, sentence):
    with pytest.raises(TrialError, match=sentence):
        augmenter(**strengths)


def test_token_ids_are_not_mixed():
    with pytest.raises(TrialError, match="token ids cannot be mixed"):
        Augmenter.of({"augment_mixup": 0.2}, {"ids": InputSpec((9,), "int32", "lengths"), "lengths": InputSpec(())}, 1)


def test_mixup_weighs_rows_and_losses_alike():
    """With a model that answers with its input, and labels equal to it, what is left of the loss of each row is 0."""
    values = np.arange(64, dtype=np.float32)[:, None]
    batch = Batch({"x": tf.constant(values)}, {"label": tf.constant(values)}, {})
    chosen = Augmenter.of({"augment_mixup": 0.4}, {"x": InputSpec((1,))}, seed=2)
    seen = {}

    def model(inputs):
        seen["x"] = inputs["x"].numpy()
        return inputs["x"]

    of_row = np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)
    objective = Objective(lambda labels, outputs, weights: tf.reduce_sum(of_row * (outputs - labels)))
    loss = chosen.mixed_loss(objective, batch, tf.constant(3), model)
    assert abs(float(loss)) < 1e-2  # weight * (mixed - own) + (1 - weight) * (mixed - other) is 0
    assert not np.array_equal(seen["x"], values)
    assert abs(seen["x"].mean() - values.mean()) < 1e-3


def test_every_augmentation_is_applied_somewhere():
    from model_search.training.augmentation import augmenter as module

    assert set(AUGMENTATIONS) == {*module._MAPS, *module._STEPS, "mixup"}
