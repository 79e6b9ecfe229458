"""By what a file tells which process writes it, so that another one knows when nobody does any more."""

from __future__ import annotations

import os
import re
import socket
import zlib

MARK = re.compile(r"([0-9]+)\.([0-9a-f]{8})")

OTHERS_SECONDS = 3600.0
"""After this a file of another machine's process, which we know nothing of, is nobody's."""


def mark() -> str:
    """This process, on this machine; without ``-`` and ``/``."""
    return f"{os.getpid()}.{_host()}"


def is_gone(text: str, silent_seconds: float) -> bool:
    """Whether the process of a mark writes no more; ``silent_seconds`` is since it last did.  No mark is nobody's."""
    found = MARK.fullmatch(text)
    if found is None:
        return True
    if found[2] != _host():
        return silent_seconds > OTHERS_SECONDS
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def life() -> str:
    """This process, told from all that had or will have its number while the machine runs."""
    return f"{os.getpid()} {_started(os.getpid())}"


def is_over(text: str) -> bool:
    """Whether the process of such a text has ended, or was of another machine."""
    number, _, started = text.partition(" ")
    return not started or not number.isdecimal() or _started(int(number)) != started


def _started(number: int) -> str:
    """When a process was started, in the kernel's ticks; empty where there is none."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
