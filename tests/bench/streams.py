"""A client for long bodies: a socket, ``sendfile`` out and one buffer in, so that it is not what is measured."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Broken

BUFFER_BYTES = 1024 * 1024
KEPT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A reply: how long until its first byte and its last, how long its body is, and how that begins."""

    first_byte_seconds: float
    seconds: float
    body_bytes: int
    begin: bytes


class Connection:
    """One connection to a local server, kept alive."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def exchange(self, request: bytes, file: Path | None = None, offset: int = 0, tail: bytes = b"") -> Exchanged:
        """Send a request, with a file's bytes from an offset on in its body; read the whole reply.

        Raises:
            Broken: the reply is not 200, or not whole.
        """
        started = time.perf_counter()
        self._socket.sendall(request)
        if file is not None:
            with file.open("rb") as opened:
                self._socket.sendfile(opened, offset)
            self._socket.sendall(tail)
        return self._reply(started)

    def _reply(self, started: float) -> Exchanged:
        count = self._socket.recv_into(self._buffer)
        first = time.perf_counter() - started
        data = bytes(self._buffer[: min(count, KEPT_BYTES)])
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = self._socket.recv(KEPT_BYTES)
            if not more:
                raise Broken("the server closed the connection")
            data, count = data + more, count + len(more)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", data[:end])
        if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) or length is None:
            raise Broken(f"the reply is {data[:60]!r}")
        size, got, begin = int(length[1]), count - end - 4, data[end + 4 :]
        while got < size:
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise Broken(f"the reply broke off after {got} of {size} bytes")
            got += count
            if len(begin) < KEPT_BYTES:
                begin += bytes(self._buffer[: min(count, KEPT_BYTES)])
        return Exchanged(first, time.perf_counter() - started, size, begin)


def post(path: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """The head of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers)]
    return ("\r\n".join([*lines, f"Content-Length: {length}"]) + "\r\n\r\n").encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def get_all(port: int, paths: Sequence[str], size_bytes: int) -> float:
    """Seconds to GET files over one connection, one after the other.

    Raises:
        Broken: they are not so many bytes.
    """
    requests = [get(path) for path in paths]
    with Connection(port) as connection:
        started = time.perf_counter()
        total = sum(connection.exchange(request).body_bytes for request in requests)
        seconds = time.perf_counter() - started
    if total != size_bytes:
        raise Broken(f"{total} bytes came, not {size_bytes}")
    return seconds


def write_file(path: Path, size_bytes: int) -> Path:
    """A file of so many bytes that no layer can compress much."""
    block = os.urandom(16 * 1024 * 1024)
    with path.open("wb") as file:
        for begin in range(0, size_bytes, len(block)):
            file.write(block[: size_bytes - begin])
        file.flush()
        os.fsync(file.fileno())
    return path
