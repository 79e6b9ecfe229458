"""Whether what lies in a folder can be read from its disk: what encrypts it, the folder, the disk, or nothing.

Linux says so: fscrypt by ``FS_IOC_GET_ENCRYPTION_POLICY_EX`` (its documentation, «Getting policies»), dm-crypt by the
device's uuid, which begins with ``CRYPT-``.  Of other file systems nobody can tell from here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys as sys_
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

_POLICY_IOCTL = (3 << 30) | (9 << 16) | (ord("f") << 8) | 22
"""_IOWR('f', 22, __u8[9])."""

_POLICY_BYTES = 24
_IN_MEMORY = ("tmpfs", "ramfs")
_UNTOLD = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)
"""Said by a file system that encrypts no folders."""


class Rest(Enum):
    """How something lies on its disk."""

    FOLDER = "encrypted by its file system"
    DISK = "on an encrypted disk"
    MEMORY = "in memory, and in swap"
    CLEAR = "in clear"
    UNKNOWN = "on a file system that does not say"


def at_rest(path: Path, *, sys: Path = Path("/sys"), mounts: Path = Path("/proc/self/mountinfo")) -> Rest:
    """How a folder, or the nearest one above it that is there, lies on its disk.

    ``sys``, ``mounts``: where the kernel tells of devices and of what is mounted.

    Raises:
        OSError: it cannot be looked at.
    """
    folder = next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())
    if _has_policy(folder):
        return Rest.FOLDER
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    kind, source = next(((k, s) for n, k, s in _mounted(mounts) if n == number), ("", ""))
    if kind in _IN_MEMORY:
        return Rest.MEMORY
    block = sys / "dev" / "block" / number
    if not block.exists() and source.startswith("/dev/"):  # btrfs numbers its own
        block = sys / "class" / "block" / Path(source).resolve().name
    if not block.exists():
        return Rest.UNKNOWN
    return Rest.DISK if _is_encrypted(block.resolve()) else Rest.CLEAR


def _has_policy(folder: Path) -> bool:
    asked = bytearray(8 + _POLICY_BYTES)
    asked[:8] = _POLICY_BYTES.to_bytes(8, sys_.byteorder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _POLICY_IOCTL, asked)
    except OSError as problem:
        if problem.errno in (errno.ENODATA, *_UNTOLD):
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _mounted(mounts: Path) -> Iterator[tuple[str, str, str]]:
    """Device number, kind of file system and source of what is mounted."""
    for line in mounts.read_text("utf-8", "replace").splitlines():
        place, _, kind = line.partition(" - ")
        yield place.split()[2], *kind.split()[:2]  # type: ignore[misc]


def _is_encrypted(block: Path) -> bool:
    """A device is when dm-crypt makes it, or all that it is made of are: LVM or RAID above it."""
    uuid = block / "dm" / "uuid"
    if uuid.is_file() and uuid.read_text("ascii", "replace").startswith("CRYPT-"):
        return True
    if (block / "partition").exists():
        return _is_encrypted(block.parent)
    below = list((block / "slaves").glob("*"))
    return bool(below) and all(_is_encrypted(one.resolve()) for one in below)
