"""What a worker process is sent: of arrays in files their place, while the files stay what they were."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from model_search.data import image_data
from model_search.data.files import mapped_arrays
from model_search.data.files.disk_cache import DiskCache
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError
from model_search.trainers.serialization import SerializedJob


def sent(job):
    return [bytearray(memoryview(part).cast("B")) for part in job.parts]


def size(job):
    return sum(len(part) for part in sent(job))


@pytest.fixture
def mapping(tmp_path):
    values = np.arange(60_000, dtype=np.float32).reshape(200, 300)
    (tmp_path / "values").write_bytes(b"before--" + values.tobytes())
    return np.memmap(tmp_path / "values", np.float32, "r", 8, values.shape)


VIEWS = {
    "all": lambda array: array,
    "rows": lambda array: array[40:190],
    "columns": lambda array: array[:, 7:290],
    "every third": lambda array: array[5:180:3, ::2],
    "from the end": lambda array: array[::-1, ::-3],
    "turned": lambda array: array.T[3:],
    "repeated": lambda array: np.broadcast_to(array[10:20, None], (10, 5, 300), subok=True),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_worker_is_sent_the_place_of_an_array_in_a_file(mapping, view):
    array = VIEWS[view](mapping)
    with contextlib.closing(SerializedJob({"rows": array})) as job:
        assert size(job) < 5000 < array.nbytes
        found = SerializedJob.opened(sent(job))["rows"]
    np.testing.assert_array_equal(found, array)
    assert not found.flags.writeable


def test_another_machine_is_sent_the_values(mapping):
    job = SerializedJob(mapping, far=True)
    assert size(job) > mapping.nbytes and not job.descriptors
    pathlib.Path(mapping.filename).unlink()
    np.testing.assert_array_equal(SerializedJob.opened(sent(job)), mapping)


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_what_can_be_changed_is_sent_as_it_is(mapping, mode):
    array = np.memmap(mapping.filename, np.float32, mode, 8, mapping.shape)
    job = SerializedJob(array)
    array[0] = -1.0
    found = SerializedJob.opened(sent(job))
    assert not job.descriptors and found.nbytes == array.nbytes
    found[0] = 5.0


def test_a_file_that_was_replaced_before_is_not_taken_for_the_array(mapping, tmp_path):
    (tmp_path / "other").write_bytes(bytes(len(mapping.tobytes()) + 8))
    (tmp_path / "other").replace(mapping.filename)
    with contextlib.closing(SerializedJob(mapping)) as job:
        np.testing.assert_array_equal(SerializedJob.opened(sent(job)), mapping)


READ = """
import sys
import numpy as np
from model_search.trainers.serialization import SerializedJob
print(float(np.sum(SerializedJob.opened(SerializedJob.receive(sys.stdin.buffer)), dtype="float64")))
"""


@pytest.mark.skipif(os.name != "posix", reason="files that are open cannot be deleted")
def test_a_process_that_is_given_the_open_file_reads_it_after_it_was_deleted(mapping):
    with contextlib.closing(SerializedJob(mapping)) as job:
        pathlib.Path(mapping.filename).unlink()
        pathlib.Path(mapping.filename).write_bytes(bytes(500_000))  # another one in its place
        child = subprocess.Popen(
            [sys.executable, "-c", READ], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=job.descriptors
        )
        with child.stdin:
            job.write(child.stdin)
        said = child.stdout.read()
        child.stdout.close()
        assert child.wait() == 0
    assert float(said) == mapping.sum(dtype="float64")


def test_a_file_that_is_gone_is_named(mapping, tmp_path):
    found, file = mapped_arrays.mapped(mapping)
    file.close()
    pathlib.Path(mapping.filename).rename(tmp_path / "elsewhere")
    (tmp_path / "values").write_bytes((tmp_path / "elsewhere").read_bytes())
    with pytest.raises(DataError, match=r"values, which holds the data, is gone or another one; expected it as it was"):
        dataclasses.replace(found, number=10**6).opened()
    (tmp_path / "elsewhere").replace(tmp_path / "values")
    np.testing.assert_array_equal(dataclasses.replace(found, number=10**6).opened(), mapping)


def test_pictures_on_disk_are_not_sent(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(folder / f"{number}.png")
    provider = image_data.Provider(
        input_dir=str(tmp_path / "pictures"), image_width=64, image_height=64,
        cache=DiskCache(memory_gb=0, folder=tmp_path / "cache"),
    )  # fmt: skip
    data = provider.prepare(PrepareOptions(seed=1, batch_size=8))
    with contextlib.closing(SerializedJob(data)) as job:
        assert size(job) < data.valid.nbytes + 20_000 < 40 * 64 * 64 * 3
        found = SerializedJob.opened(sent(job))
    one, other = (next(each.train_batches(3)) for each in (data, found))
    np.testing.assert_array_equal(one.inputs["image"], other.inputs["image"])
    np.testing.assert_array_equal(one.label, other.label)
