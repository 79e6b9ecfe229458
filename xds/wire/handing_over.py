"""Connections handed from one process to another, with who is at their other end and what was read of them."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
from typing import Any

from xds.wire.pace import PIECE, Paced
from xds.wire.peers import Peer

_SIZES = struct.Struct("!III")


def give(path: str, sock: socket.socket, peer: Peer, gathered: bytes) -> None:
    """Hand a connection, its peer and what was read of it to the process that listens at a path.

    The certificate goes with it: where TLS ends here, the other process has nothing else to know its peer by.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(1.0)
        channel.connect(path)
        head = json.dumps({"address": peer.address, "scheme": peer.scheme}).encode()
        sizes = _SIZES.pack(len(head), len(peer.certificate), len(gathered))
        socket.send_fds(channel, [sizes], [sock.fileno()])
        channel.sendall(head + peer.certificate + gathered)


def carry(peer: Paced, ours: socket.socket) -> None:
    """Carry bytes both ways until either side ends; a peer that is too slow is cut off."""
    peer.restart()
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


def take(channel: socket.socket) -> tuple[socket.socket, Peer, bytes] | None:
    """A connection handed over, its peer and what was read of it."""
    with channel:
        channel.settimeout(1.0)
        try:
            start, descriptors, _, _ = socket.recv_fds(channel, _SIZES.size, 1)
            if len(start) != _SIZES.size or not descriptors:
                return None
            head, certificate, body = _SIZES.unpack(start)
            sock = socket.socket(fileno=descriptors[0])
            data = b""
            while len(data) < head + certificate + body:
                chunk = channel.recv(head + certificate + body - len(data))
                if not chunk:
                    sock.close()
                    return None
                data += chunk
        except OSError:
            return None
    told = json.loads(data[:head])
    address = tuple(told["address"]) if isinstance(told["address"], list) else told["address"]
    return sock, Peer(address, data[head : head + certificate], told["scheme"]), data[head + certificate :]
