"""A UDP socket whose losses are known: what the kernel had no room for is nowhere else to be seen.  Linux: udp(7)."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

ROOM_BYTES = 16 * 1024 * 1024
"""Asked of the kernel; it gives no more than net.core.rmem_max."""

# The columns of /proc/net/udp and udp6 (Linux: Documentation/networking/proc_net_tcp, udp4_format_sock).
_INODE, _DROPS = 9, 12


def datagrams(address: tuple[str, int], family: socket.AddressFamily) -> socket.socket:
    """A socket that listens, with much room.

    Raises:
        OSError: the address cannot be listened on.
    """
    listening = socket.socket(family, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
    try:
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


class Dropped:
    """Datagrams that the kernel has dropped since the last look."""

    def __init__(self, listening: socket.socket, table: Path | None = None) -> None:
        self._inode = str(os.fstat(listening.fileno()).st_ino)
        self._table = table or Path("/proc/net/udp6" if listening.family == socket.AF_INET6 else "/proc/net/udp")
        self._before = 0

    def look(self) -> int:
        """How many; none where the machine does not say."""
        now = self._now()
        more, self._before = max(now - self._before, 0), max(now, self._before)
        return more

    def _now(self) -> int:
        try:
            lines = self._table.read_text("ascii").splitlines()
        except OSError:
            return 0
        for line in lines:
            columns = line.split()
            if len(columns) > _DROPS and columns[_INODE] == self._inode:
                return int(columns[_DROPS])
        return 0
