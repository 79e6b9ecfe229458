"""What only one may have at a time: a data folder, and an address to listen on; and who has it.  Linux: /proc."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from xds.errors import Unusable

LOCK = "serve.lock"
"""In the data folder: held while a server runs, with its process id."""

_LISTENS = "0A"  # state of a socket in /proc/net/tcp: TCP_LISTEN


class Folder:
    """A data folder that is this process's own until it ends, however that is.

    A POSIX lock, not flock(2): it belongs to the process and not to the descriptor, so that a child that outlives a
    supervisor that was killed does not hold it.  Nothing else here may open and close the file: that would free it.
    """

    def __init__(self, folder: Path) -> None:
        """Take it.

        Raises:
            Unusable: another process has it; the message says which.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        said = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise Unusable(f"the data folder {folder} is in use: process {said or '?'} serves it") from None
        self.was_killed = bool(said)
        """Whether the server before did not end by itself: processes of it may still be ending."""
        self._write(f"{os.getpid()}\n".encode())

    def done(self) -> None:
        """Give it back: the server ended as it should."""
        self._write(b"")
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)


def check_free(name: str, address: tuple[str, int], kind: socket.SocketKind, patience_seconds: float = 0.0) -> None:
    """See that nobody listens at an address, ``name`` being its setting; wait for who is about to leave.

    Raises:
        Unusable: somebody does, still; or it is no address of this machine.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            _bind(address, kind)
        except OSError as problem:
            if time.monotonic() >= deadline:
                host, port = address
                pids = listeners(port) if kind is socket.SOCK_STREAM else []
                who = f": process {pids[0]} listens there" if pids else f": {problem.strerror}"
                raise Unusable(f"{name} cannot be {host}:{port}{who}") from None
            time.sleep(0.1)
        else:
            return


def _bind(address: tuple[str, int], kind: socket.SocketKind) -> None:
    family, _, _, _, at = socket.getaddrinfo(*address, type=kind)[0]
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:  # what the last server's connections leave behind does not matter
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(at)
        if kind is socket.SOCK_STREAM:
            probe.listen(1)


def listeners(port: int) -> Sequence[int]:
    """Processes that listen on a TCP port, as far as this one may see them, the first one first."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if any(str(link.readlink()) in wanted for link in (entry / "fd").iterdir()):
                    found.append(int(entry.name))
    return sorted(found)


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
