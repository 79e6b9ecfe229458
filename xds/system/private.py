"""Files and folders that are this account's alone: 0600 and 0700."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

UMASK = 0o077
"""What no file that a process of ours makes lets others do."""

LOOKED_AT = 2000
"""Files of a folder whose modes are looked at: enough to see what a start with another umask has left."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private() -> None:
    """Let nobody else read what this process and its children make from now on."""
    os.umask(UMASK)


def write(path: Path, data: bytes, *, replaces: bool = False) -> None:
    """Write a file of 0600, whole or not at all, and durably.

    Raises:
        FileExistsError: there is one, which it must not replace.
        OSError: it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            os.replace(temporary, path)  # noqa: PTH105
        else:
            os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def wider(paths: Sequence[Path]) -> Iterator[Path]:
    """What of these, and in the folders among them, others may read, write or list."""
    for path in paths:
        for seen, one in enumerate(_under(path)):
            if seen >= LOOKED_AT:
                break
            if _mode(one) & _OTHERS:
                yield one


def _mode(path: Path) -> int:
    """Permission bits; none of what is not there, or of a link, whose own say nothing."""
    try:
        found = path.lstat().st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(found) else stat.S_IMODE(found)


def _under(path: Path) -> Iterator[Path]:
    """A path, and all that is beneath it; what is in a folder of 0700 nobody else reaches, whatever its mode."""
    yield path
    if not path.is_dir() or path.is_symlink() or not _mode(path) & _OTHERS:
        return
    try:
        entries = sorted(path.iterdir())
    except OSError:
        return
    for one in entries:
        yield from _under(one)
