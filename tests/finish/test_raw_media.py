"""What a SavedModel reads of files and waveforms is what the provider read of them in training."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model_search.data.audio.log_mel import LogMel
from model_search.data.images.picture_format import PictureFormat
from model_search.finish.media.decoded_pictures import decoded_picture
from model_search.finish.media.encoded_sound import log_mel_features


def smooth(channels):
    """A picture without edges, whose pixels any sound way of stretching keeps alike."""
    place = np.mgrid[0:24, 0:36].sum(axis=0)[..., None] * np.arange(1, channels + 1)
    return np.squeeze((127 + 100 * np.sin(place / 23)).astype(np.uint8))


def encoded(picture, kind):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("size", [(24, 36), (48, 50), (9, 11)])
@pytest.mark.parametrize(
    ("kind", "stored", "channels"),
    [("PNG", 1, 1), ("PNG", 3, 3), ("PNG", 4, 4), ("PNG", 1, 3), ("JPEG", 3, 3), ("JPEG", 1, 1)],
)
def test_pictures(kind, stored, channels, size):
    content, wanted = encoded(smooth(stored), kind), PictureFormat(*size, channels)
    served = decoded_picture(tf.constant(content), wanted).numpy()
    assert served.shape == wanted.shape
    assert np.abs(served.astype(int) - wanted.read_bytes(content)).max() <= (0 if size == (24, 36) else 1)


def as_png(picture, **more):
    file = io.BytesIO()
    picture.save(file, "PNG", **more)
    return file.getvalue()


def files_without_alpha():
    colour, deep = Image.fromarray(smooth(3)), np.random.default_rng(0).integers(0, 2**16, (24, 36), np.uint16)
    return {
        **{f"palette of {count}": as_png(colour.quantize(count)) for count in (2, 4, 16, 200)},
        "black and white": as_png(colour.convert("1")),
        "grey": encoded(smooth(1), "PNG"),
        "colour": encoded(smooth(3), "PNG"),
        "sixteen bits": encoded(deep, "PNG"),
        **{f"JPEG of {channels}": encoded(smooth(channels), "JPEG") for channels in (1, 3)},
        "GIF": encoded(smooth(1), "GIF"),
    }


def files_with_alpha():
    return {
        "grey and alpha": as_png(Image.fromarray(smooth(4)[..., 2:], "LA")),
        "palette and alpha": as_png(Image.fromarray(smooth(3)).quantize(16), transparency=bytes(range(0, 160, 10))),
    }


@pytest.mark.parametrize("size", [(24, 36), (48, 50)])
def test_a_model_of_pictures_with_alpha_reads_files_of_all_kinds(size, tmp_path):
    wanted = PictureFormat(*size, 4)
    module = tf.Module()
    module.read = tf.function(lambda one: decoded_picture(one, wanted), input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    read = tf.saved_model.load(str(tmp_path)).read
    for kind, content in (files_without_alpha() | files_with_alpha()).items():
        served, expected = read(tf.constant(content)).numpy(), wanted.read_bytes(content)
        assert np.abs(served.astype(int) - expected).max() <= (0 if size == (24, 36) else 1), kind
        assert (served[..., 3] == 255).all() == (kind in files_without_alpha()), kind


def test_sixteen_bits_and_the_first_picture_of_a_phones_file():
    deep = encoded(np.random.default_rng(0).integers(0, 2**16, (40, 30), np.uint16), "PNG")
    served = decoded_picture(tf.constant(deep), PictureFormat(40, 30, 1)).numpy()
    assert np.array_equal(served, PictureFormat(40, 30, 1).read_bytes(deep))
    file, picture = io.BytesIO(), Image.fromarray(smooth(3))
    picture.save(file, "MPO", save_all=True, append_images=[picture.resize((9, 6))])
    served = decoded_picture(tf.constant(file.getvalue()), PictureFormat(24, 36, 3)).numpy()
    assert np.array_equal(served, PictureFormat(24, 36, 3).read_bytes(file.getvalue()))


@pytest.mark.parametrize(
    "more", [{}, {"centred": True, "most_steps": 30}, {"centred": True, "top_db": 3.0, "most_steps": 30}]
)
def test_sound(more):
    generator, wanted = np.random.default_rng(0), dataclasses.replace(LogMel.usual(8000), **more)
    waveforms = [generator.normal(scale=0.1, size=samples).astype(np.float32) for samples in (90, 200, 2000, 5000)]
    longest = max(map(len, waveforms))
    padded = np.full((4, longest), 7.0, np.float32)  # what is beyond the valid samples does not matter
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    samples = tf.constant([len(waveform) for waveform in waveforms], tf.int32)
    features, lengths = log_mel_features(tf.constant(padded), samples, wanted, steps=wanted.steps(4000))
    for found, steps, waveform in zip(features.numpy(), lengths.numpy(), waveforms, strict=True):
        expected = wanted.features(waveform)[: wanted.steps(4000)]
        assert steps == len(expected)
        assert np.abs(found[:steps] - expected).max() < 1e-3


def test_more_valid_samples_than_there_are_mean_all_of_them():
    wanted = LogMel.usual(8000)
    waveforms = tf.constant(np.random.default_rng(0).normal(scale=0.1, size=(2, 2000)).astype(np.float32))
    whole, steps = log_mel_features(waveforms, tf.constant([2000, 900]), wanted, steps=40)
    found, more = log_mel_features(waveforms, tf.constant([5000, 900]), wanted, steps=40)
    assert more.numpy().tolist() == steps.numpy().tolist()
    assert np.array_equal(found, whole)
