"""Features of recordings on disk: the same as in memory, made once, checked, and read batch by batch."""

import concurrent.futures
import json
import os

import numpy as np
import pytest
from scipy.io import wavfile

from model_search.data import audio_data
from model_search.data.audio import recordings, stored_features, streamed_recordings
from model_search.data.audio.log_mel import LogMel
from model_search.data.audio.recordings import each_features, steps_by_header
from model_search.data.audio.stored_features import features_on_disk
from model_search.data.files.disk_cache import DiskCache
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import StreamData, TableData
from model_search.errors import DataError

RATE = 8000
WANTED = LogMel.usual(RATE, 8)
OPTIONS = PrepareOptions(seed=1, batch_size=4)


@pytest.fixture
def paths(tmp_path):
    """Noise of different lengths in folders of two classes; the fourth is no recording."""
    rng, found = np.random.default_rng(0), []
    for row in range(30):
        path = tmp_path / "sounds" / "ab"[row % 2] / f"{row:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.uniform(-0.5, 0.5, 400 + 80 * (row % 7) + 400 * (row % 2))
        wavfile.write(path, RATE, (noise * 32767).astype(np.int16))
        found.append(path)
    found[3].write_text("no recording")
    return found


def cache(tmp_path, **others):
    return DiskCache(memory_gb=0, folder=tmp_path / "cache", **others)


def on_disk(paths, tmp_path, wanted=WANTED):
    return features_on_disk(paths, wanted, 1000, cache(tmp_path))


def expected(paths, wanted=WANTED):
    return [found for found in each_features(paths, wanted) if not isinstance(found, str)]


def check_same(found, features):
    assert found.lengths.tolist() == [len(one) for one in features]
    for stored, own in zip(found.each(np.arange(len(found))), features, strict=True):
        np.testing.assert_array_equal(stored, own)


def test_features_are_computed_once(tmp_path, paths, monkeypatch):
    found = on_disk(paths, tmp_path)
    assert isinstance(found.values, np.memmap) and not found.values.flags.writeable
    check_same(found, expected(paths))
    assert [row for row, _ in found.damaged] == [3]
    features = expected(paths)
    monkeypatch.setattr(stored_features, "each_features", None)
    again = on_disk(paths, tmp_path)
    check_same(again, features)
    assert again.damaged == found.damaged


def test_other_files_and_other_settings_are_other_caches(tmp_path, paths):
    first = on_disk(paths, tmp_path).file
    assert on_disk(paths[:20], tmp_path).file != first
    for other in (LogMel.usual(RATE, 9), LogMel(RATE, 200, 80, 8, centred=True), LogMel(RATE, 200, 80, 8, 5)):
        found = on_disk(paths, tmp_path, other)
        assert found.file != first
        check_same(found, expected(paths, other))
    os.utime(paths[0], ns=(1, 1))
    assert on_disk(paths, tmp_path).file != first


@pytest.mark.parametrize("harm", ["flip", "flip a length", "cut", "no json", "bad json", "other steps", "empty"])
def test_what_is_damaged_is_computed_again(tmp_path, paths, harm):
    file = on_disk(paths, tmp_path).file
    about = file.with_suffix(".json")
    content = bytearray(file.read_bytes())
    if harm.startswith("flip"):
        content[100 if harm == "flip" else -4] ^= 1
        file.write_bytes(content)
    elif harm == "cut":
        file.write_bytes(content[:-1])
    elif harm == "no json":
        about.unlink()
    elif harm == "bad json":
        about.write_text(json.dumps({"rows": "many"}))
    elif harm == "other steps":
        values = json.loads(about.read_text())
        about.write_text(json.dumps(values | {"steps": values["steps"] - 1, "rows": values["rows"] + 8}))
    else:
        file.write_bytes(b"")
    check_same(on_disk(paths, tmp_path), expected(paths))


class AtOnce(concurrent.futures.Executor):
    """A pool that is never slower than who reads its results."""

    def __init__(self, threads):
        del threads

    def submit(self, function, *arguments):
        found = concurrent.futures.Future()
        found.set_result(function(*arguments))
        return found


def test_few_recordings_are_read_before_their_features_are_written(paths, monkeypatch):
    read, read_wav = [], recordings.read_wav
    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr(recordings, "read_wav", lambda path: read.append(path) or read_wav(path))
    for taken, _ in enumerate(each_features(paths, WANTED, threads=2)):
        assert len(read) <= taken + 9
    assert read == paths


def test_a_study_reads_its_training_recordings_from_disk(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(streamed_recordings, "_AT_ONCE", 3000)  # bytes: seven recordings

    def prepared(**others):
        return audio_data.Provider(tmp_path / "sounds", bands=8, **others).prepare(OPTIONS)

    whole, data = prepared(), prepared(cache=cache(tmp_path))
    assert isinstance(whole, TableData) and isinstance(data, StreamData)
    assert data.fingerprint == whole.fingerprint and data.lengths == whole.lengths and data.task == whole.task
    for name, spec in whole.input_specs.items():
        other = data.input_specs[name]
        assert (other.shape, other.lengths) == (spec.shape, spec.lengths)
        np.testing.assert_allclose(other.mean or (), spec.mean or (), rtol=1e-12)
        np.testing.assert_allclose(other.deviation or (), spec.deviation or (), rtol=1e-12)
    for name, values in whole.valid.inputs.items():
        np.testing.assert_array_equal(data.valid.inputs[name], values)
    np.testing.assert_array_equal(data.valid.label, whole.valid.label)
    said = [note for note in data.description["notes"] if note not in whole.description["notes"]]
    assert len(said) == 1 and str(tmp_path / "cache") in said[0]
    assert data.description | {"notes": 0} == whole.description | {"notes": 0}
    batches = data.train_batches(3)
    epoch = [next(batches) for _ in range(-(-len(whole.train) // 4))]
    assert sorted(signature(row) for batch in epoch for row in rows_of(batch)) == sorted(
        signature(row) for row in rows_of(whole.train)
    )
    again = next(data.train_batches(3))
    np.testing.assert_array_equal(again.inputs["sequence"], epoch[0].inputs["sequence"])
    assert signature(next(rows_of(next(batches)))) != signature(next(rows_of(epoch[0])))


def rows_of(rows):
    inputs = rows.inputs
    return zip(inputs["sequence"], inputs["lengths"], rows.label, strict=True)


def signature(row):
    return b"".join(part.tobytes() for part in row)


def test_several_tasks_and_no_room_are_refused(tmp_path, paths):
    lines = "".join(f"{path},{row % 2},{row % 3}\n" for row, path in enumerate(paths))
    (tmp_path / "two.csv").write_text("path,a,b\n" + lines)
    both = audio_data.Provider(filename=tmp_path / "two.csv", label=["a", "b"], cache=cache(tmp_path))
    with pytest.raises(DataError, match=r"several tasks are learnt from recordings in memory; .*memory_gb="):
        both.prepare(OPTIONS)
    with pytest.raises(DataError, match=r"need 0\.0 GiB on disk; expected at most 0: choose fewer bands"):
        features_on_disk(paths, WANTED, 1000, cache(tmp_path, most_gb=0))
    with pytest.raises(DataError, match="none of the 1 files can be read"):
        on_disk(paths[3:4], tmp_path)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.int32])
def test_steps_are_known_from_the_header(tmp_path, kind):
    wavfile.write(tmp_path / "a.wav", 16000, np.zeros((4000, 2), kind))
    found = steps_by_header(tmp_path / "a.wav", WANTED)
    (features,) = expected([tmp_path / "a.wav"])
    assert len(features) <= found <= len(features) + 1
    assert steps_by_header(tmp_path / "none.wav", WANTED) == 0
    (tmp_path / "b.wav").write_text("no recording" * 100)
    assert steps_by_header(tmp_path / "b.wav", WANTED) == 0
