"""Warns if a study's database lies on a network file system rather than on a local disk."""

from __future__ import annotations

import os
import pathlib

# Their locks cannot be relied on, and two machines could write at once.
_NETWORK = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs", "fuse.glusterfs",
    "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "wekafs",
}  # fmt: skip


def network_file_system(path: str | os.PathLike[str]) -> str | None:
    """The kind of network file system that a path lies on ("nfs4"); None for a local disk or an unknown one."""
    import psutil

    try:
        place = pathlib.Path(path).resolve()
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError, psutil.Error):
        return None
    above = [mount for mount in mounts if place.is_relative_to(mount.mountpoint)]
    if not above:
        return None
    kind = max(above, key=lambda mount: len(pathlib.Path(mount.mountpoint).parts)).fstype.lower()
    return kind if kind in _NETWORK else None


def place_warning(path: str | os.PathLike[str]) -> str:
    """A warning if a database should not lie on this path; empty otherwise."""
    kind = network_file_system(path)
    if kind is None:
        return ""
    return (
        f"{path} is on a network file system ({kind}), whose locks cannot be relied on: let only one machine work on "
        "this study, or choose a root_dir on a local disk (executor='ray' lets many machines work on it there)"
    )
