"""A network file system is warned about."""

import collections

import psutil
import pytest

from model_search.metadata.filesystem import network_file_system, place_warning

Mount = collections.namedtuple("Mount", "device mountpoint fstype opts")


@pytest.fixture
def mounts(monkeypatch, tmp_path):
    """`mounts(tmp_path="nfs4")` pretends that folders below the test's are mounted."""

    def pretend(**kinds):
        found = [Mount("root", "/", "ext4", "")]
        found += [Mount("x", str(tmp_path / name), kind, "") for name, kind in kinds.items()]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)

    return pretend


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "CIFS", "fuse.sshfs", "lustre"])
def test_a_network_file_system_is_named(mounts, tmp_path, kind):
    mounts(shared=kind)
    assert network_file_system(tmp_path / "shared" / "runs" / "x") == kind.lower()
    assert kind.lower() in place_warning(tmp_path / "shared" / "runs")
    assert place_warning(tmp_path / "sharedness") == place_warning(tmp_path) == ""


def test_the_nearest_mount_counts(mounts, tmp_path):
    mounts(**{"shared": "nfs", "shared/scratch": "xfs"})
    assert network_file_system(tmp_path / "shared" / "scratch" / "x") is None
    assert network_file_system(tmp_path / "shared" / "x") == "nfs"


def test_a_link_to_a_network_file_system_is_followed(mounts, tmp_path):
    mounts(shared="nfs")
    (tmp_path / "shared").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    assert network_file_system(tmp_path / "link" / "runs") == "nfs"


def test_an_unknown_file_system_is_not_warned_about(monkeypatch, tmp_path):
    def fails(all):
        raise PermissionError

    monkeypatch.setattr(psutil, "disk_partitions", fails)
    assert place_warning(tmp_path) == ""
