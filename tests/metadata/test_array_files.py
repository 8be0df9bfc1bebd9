"""A file of arrays never takes more memory than it has bytes."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from model_search.metadata.array_files import read_arrays


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(shape, descr="<f4", data=b"", version=(1, 0)):
    buffer = io.BytesIO()
    write = {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version]
    write(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def refused(content, match):
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, zipfile.BadZipFile), match=match):
            read_arrays(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content) + (1 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_is_stored_is_read(version):
    found = read_arrays(zipped([("a.npy", npy((2, 2), data=bytes(16), version=version))]))
    np.testing.assert_array_equal(found["a"], np.zeros((2, 2), np.float32))


def test_a_zip_bomb_is_refused():
    refused(zipped([("a.npy", npy((1 << 24,), data=bytes(1 << 26)))], zipfile.ZIP_DEFLATED), "is compressed")


def test_a_member_that_only_says_that_it_is_not_compressed_is_refused():
    content = bytearray(zipped([("a.npy", npy((1 << 22,), data=bytes(1 << 24)))], zipfile.ZIP_DEFLATED))
    start = content.rindex(b"PK\1\2")
    content[start + 10 : start + 12] = struct.pack("<H", 0)
    refused(bytes(content), "is compressed")


def test_members_that_share_their_bytes_are_refused():
    content = bytearray(zipped([("a.npy", npy((1 << 16,), data=bytes(1 << 18)))]))
    start, end = content.rindex(b"PK\1\2"), content.rindex(b"PK\5\6")
    entry = bytes(content[start:end])
    count = 100
    central = b"".join(entry.replace(b"a.npy", b"%d.npy" % (number % 10)) for number in range(count))
    last = struct.pack("<HHHHIIH", 0, 0, count, count, len(central), start, 0)
    refused(bytes(content[:start]) + central + b"PK\5\6" + last, "would take|Overlapped")


@pytest.mark.parametrize(
    ("shape", "descr"),
    [((10**6, 10**6), "<f4"), ((10**12,), "<f4"), ((1,), f"|S{10**9}"), ((2**62, 4), "<f8"), ((10**12,), "|S0")],
)
def test_a_shape_without_its_numbers_is_refused(shape, descr):
    refused(zipped([("a.npy", npy(shape, descr))]), "takes")


@pytest.mark.parametrize("shape", [(-1, 4), (-2, -2)])
def test_a_negative_shape_is_refused(shape):
    refused(zipped([("a.npy", npy(shape, data=bytes(16)))]), "takes")


def test_more_numbers_than_the_shape_says_are_refused():
    refused(zipped([("a.npy", npy((2,), data=bytes(16)))]), "takes 8 bytes; there are 16")


def test_objects_are_refused():
    refused(zipped([("a.npy", npy((1,), "|O", data=b"cos\nsystem\n"))]), "never unpickled")


def test_an_unknown_version_is_refused():
    content = bytearray(npy((1,), data=bytes(4)))
    content[6] = 9
    refused(zipped([("a.npy", bytes(content))]), r"version \(9, 0\)")


def test_two_arrays_of_one_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        content = zipped([("a.npy", npy((0,))), ("a.npy", npy((0,)))])
    refused(content, "one name")


def test_too_many_members_are_refused(monkeypatch):
    monkeypatch.setattr("model_search.metadata.array_files.MOST_ARRAYS", 3)
    refused(zipped([(f"{number}.npy", npy((0,))) for number in range(4)]), "holds 4 arrays; expected 3")
