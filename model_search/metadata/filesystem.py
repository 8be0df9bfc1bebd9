"""What the file system has to do with errors: databases on network file systems, and what helps when a write fails."""

from __future__ import annotations

import errno
import os
import pathlib

# Their locks cannot be relied on, and two machines could write at once.
_NETWORK = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs", "fuse.glusterfs",
    "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "wekafs",
}  # fmt: skip

FileIdentity = tuple[int, int]  # device and number


def identity_of(path: pathlib.Path) -> FileIdentity | None:
    """Device and number of a file or folder; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR})


def what_helps(error: BaseException, otherwise: str = "give another path") -> str:
    """What to do when a file cannot be written where the user wants it.

    Args:
        error: What was raised.
        otherwise: What to do about anything else than lacking room, rights or folders.
    """
    code = getattr(error, "errno", None)
    if code is None:  # of a library that only has words for it
        known = (one for one in (*NO_ROOM, *_NO_RIGHT) if os.strerror(one).casefold() in str(error).casefold())
        code = next(known, None)
    if code in NO_ROOM:
        return "make room, or give a path on another disk"
    if code in _NO_RIGHT:
        return "give a path in a folder that you may write to"
    if code in _NO_PLACE:
        return "give a path in a folder that exists"
    return otherwise
