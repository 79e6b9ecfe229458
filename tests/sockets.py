"""What the kernel knows of a connection of this machine: tests wait for that, and not for a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

CLOSE_WAIT = 8
"""The peer has closed its half (include/net/tcp_states.h)."""


def unread(sock: socket.socket) -> int:
    """Bytes that we have sent and the local peer has not read."""
    ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    return sum(queued for port, remote, _, queued in _connections() if (port, remote) == (theirs, ours))


def closed_by(port: int) -> bool:
    """Whether a connection of ours has been closed by the server at a port."""
    return any(remote == port and state == CLOSE_WAIT for _, remote, state, _ in _connections())


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _connections() -> Iterator[tuple[int, int, int, int]]:
    """Local port, remote port, state, and bytes received that nobody has read (proc_net_tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        ports = (int(end.rpartition(":")[2], 16) for end in (local, remote))
        yield *ports, int(state, 16), int(queues.partition(":")[2], 16)
