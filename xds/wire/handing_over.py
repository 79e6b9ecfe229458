"""Connections handed from one process to another, with what was read of them."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
from typing import Any

from xds.wire.pace import PIECE, Paced


def give(path: str, sock: socket.socket, client: Any, gathered: bytes) -> None:
    """Hand a connection, its peer's address and what was read of it to the process that listens at a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(1.0)
        channel.connect(path)
        head = json.dumps(client).encode()
        socket.send_fds(channel, [struct.pack("!II", len(head), len(gathered))], [sock.fileno()])
        channel.sendall(head + gathered)


def carry(peer: Paced, ours: socket.socket) -> None:
    """Carry bytes both ways until either side ends; a peer that is too slow is cut off."""
    with ours, contextlib.suppress(OSError), selectors.DefaultSelector() as ready:
        raw: Any = peer.raw
        raw.setblocking(True)
        ready.register(raw, selectors.EVENT_READ)
        ready.register(ours, selectors.EVENT_READ)
        while True:
            readable = {key.fileobj for key, _ in ready.select()}
            if ours in readable:
                data = ours.recv(PIECE)
                if not data:
                    break
                peer.sendall(data)
            if raw in readable:
                data = peer.recv(PIECE)
                while raw.pending():
                    data += peer.recv(PIECE)
                if not data:
                    break
                ours.sendall(data)
    with contextlib.suppress(OSError):
        peer.raw.close()


def take(channel: socket.socket) -> tuple[socket.socket, Any, bytes] | None:
    """A connection handed over, its peer's address and what was read of it."""
    with channel:
        channel.settimeout(1.0)
        try:
            start, descriptors, _, _ = socket.recv_fds(channel, 8, 1)
            if len(start) != 8 or not descriptors:
                return None
            head, body = struct.unpack("!II", start)
            sock = socket.socket(fileno=descriptors[0])
            data = b""
            while len(data) < head + body:
                chunk = channel.recv(head + body - len(data))
                if not chunk:
                    sock.close()
                    return None
                data += chunk
        except OSError:
            return None
    client = json.loads(data[:head])
    return sock, tuple(client) if isinstance(client, list) else client, data[head:]
