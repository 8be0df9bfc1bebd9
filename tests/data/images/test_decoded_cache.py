"""Decoded pictures on disk: made once, checked, bounded, and read batch by batch."""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib

import numpy as np
import pytest
from picture_makers import write_digits

from model_search.data import image_data
from model_search.data.files.disk_cache import DiskCache
from model_search.data.images import decoded_cache
from model_search.data.images.decoded_cache import on_disk
from model_search.data.images.picture_format import PictureFormat
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import StreamData
from model_search.errors import DataError

FORMAT = PictureFormat(8, 8, 1)
OPTIONS = PrepareOptions(seed=1, batch_size=16)


@pytest.fixture
def paths(tmp_path):
    found = write_digits(tmp_path / "digits", 40)
    found[3].write_text("no picture")
    return found


def cache(tmp_path, **others):
    return DiskCache(memory_gb=0, folder=tmp_path / "cache", **others)


def expected(paths):
    return np.stack([FORMAT.read_file(path) for number, path in enumerate(paths) if number != 3])


def test_pictures_are_decoded_once(tmp_path, paths, monkeypatch):
    found = on_disk(paths, FORMAT, cache(tmp_path))
    assert isinstance(found.pictures, np.memmap) and not found.pictures.flags.writeable
    np.testing.assert_array_equal(found.pictures, expected(paths))
    assert [row for row, _ in found.damaged] == [3]
    monkeypatch.setattr(decoded_cache, "decoded_blocks", None)
    again = on_disk(paths, FORMAT, cache(tmp_path))
    np.testing.assert_array_equal(again.pictures, expected(paths))
    assert again.damaged == found.damaged


def test_other_files_and_other_formats_are_other_caches(tmp_path, paths):
    first = on_disk(paths, FORMAT, cache(tmp_path)).file
    assert on_disk(paths[:20], FORMAT, cache(tmp_path)).file != first
    assert on_disk(paths, PictureFormat(4, 4, 1), cache(tmp_path)).file != first
    os.utime(paths[0], ns=(1, 1))
    assert on_disk(paths, FORMAT, cache(tmp_path)).file != first


@pytest.mark.parametrize("harm", ["flip", "cut", "no json", "bad json", "other shape", "empty"])
def test_what_is_damaged_is_made_again(tmp_path, paths, harm):
    file = on_disk(paths, FORMAT, cache(tmp_path)).file
    about = file.with_suffix(".json")
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[100] ^= 1
        file.write_bytes(content)
    elif harm == "cut":
        file.write_bytes(content[:-1])
    elif harm == "no json":
        about.unlink()
    elif harm == "bad json":
        about.write_text(json.dumps({"rows": "many"}))
    elif harm == "other shape":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"shape": [4, 16, 1]}))
    else:
        file.write_bytes(b"")
    np.testing.assert_array_equal(on_disk(paths, FORMAT, cache(tmp_path)).pictures, expected(paths))


class _Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_writer_leaves_nothing_that_is_believed(tmp_path, paths, monkeypatch):
    def killed(*arguments):
        yield np.zeros((2, *FORMAT.shape), np.uint8), []
        raise _Killed

    monkeypatch.setattr(decoded_cache, "decoded_blocks", killed)
    monkeypatch.setattr(pathlib.Path, "unlink", lambda *a, **k: None)  # nor does it clean up
    with pytest.raises(_Killed):
        on_disk(paths, FORMAT, cache(tmp_path))
    monkeypatch.undo()
    assert any(file.name.startswith(".") for file in (tmp_path / "cache").iterdir())
    np.testing.assert_array_equal(on_disk(paths, FORMAT, cache(tmp_path)).pictures, expected(paths))
    assert not any(file.name.startswith(".") for file in (tmp_path / "cache").iterdir())


def test_two_processes_make_one_cache(tmp_path, paths):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        found = list(pool.map(on_disk, [paths] * 2, [FORMAT] * 2, [cache(tmp_path)] * 2))
    for one in found:
        np.testing.assert_array_equal(one.pictures, expected(paths))
    assert len(list((tmp_path / "cache").glob("*.pictures"))) == 1


def test_caches_that_were_not_used_for_longest_make_room(tmp_path, paths):
    small = 39 * 64 * 2.5 / 2**30
    first, second, third = (paths[start:] + paths[:start] for start in (0, 5, 10))
    files = [on_disk(paths, FORMAT, cache(tmp_path)).file for paths in (first, second)]
    for file, moment in zip(files, (2, 1), strict=True):
        os.utime(file, ns=(moment, moment))
    on_disk(third, FORMAT, cache(tmp_path, most_gb=small))
    assert files[0].exists() and not files[1].exists() and not files[1].with_suffix(".json").exists()


def test_without_room_it_is_said(tmp_path, paths, monkeypatch):
    with pytest.raises(DataError, match=r"need 0\.0 GiB on disk; expected at most 0: choose a smaller image_height"):
        on_disk(paths, FORMAT, cache(tmp_path, most_gb=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be kept in .*name another folder"):
        on_disk(paths, FORMAT, DiskCache(0, tmp_path / "file" / "below"))
    with pytest.raises(DataError, match="memory_gb is -1"):
        DiskCache(memory_gb=-1)


def test_a_study_reads_its_training_pictures_from_disk(tmp_path, paths):
    def provider(**others):
        return image_data.Provider(tmp_path / "digits", 8, 8, channels=1, **others)

    whole, data = provider().prepare(OPTIONS), provider(cache=cache(tmp_path)).prepare(OPTIONS)
    assert isinstance(data, StreamData)
    assert data.fingerprint == whole.fingerprint and data.input_specs == whole.input_specs
    np.testing.assert_array_equal(data.valid.inputs["image"], whole.valid.inputs["image"])
    said = [note for note in data.description["notes"] if str(tmp_path / "cache") in note]
    assert len(said) == 1 and "GiB" in said[0]
    batches, count = data.train_batches(3), len(whole.train)
    epoch = [next(batches) for _ in range(-(-count // 16))]
    seen = np.concatenate([batch.inputs["image"] for batch in epoch])
    assert sorted(picture.tobytes() for picture in seen) == sorted(p.tobytes() for p in whole.train.inputs["image"])
    again = next(data.train_batches(3))
    np.testing.assert_array_equal(again.inputs["image"], epoch[0].inputs["image"])
    np.testing.assert_array_equal(again.label, epoch[0].label)
    assert not np.array_equal(next(batches).inputs["image"], epoch[0].inputs["image"])
