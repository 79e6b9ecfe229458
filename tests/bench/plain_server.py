"""The floor of an upload: a server that reads the socket, hashes twice, writes the file and syncs it; no more.

Run as ``python -m tests.bench.plain_server PORT FILE``.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from pathlib import Path

BUFFER_BYTES = 256 * 1024
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def take(connection: socket.socket, path: Path) -> None:
    """One request into the file; answered when the file is on disk."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    head = b""
    while (end := head.find(b"\r\n\r\n")) < 0:
        head += connection.recv(BUFFER_BYTES)
    length = re.search(rb"(?i)content-length: *(\d+)", head[:end])
    left = int(length[1]) if length else 0
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        piece = memoryview(head[end + 4 :])
        while True:
            sha1.update(piece)
            sha256.update(piece)
            file.write(piece)
            left -= len(piece)
            if left <= 0:
                break
            piece = buffer[: connection.recv_into(buffer)]
        os.fsync(file.fileno())
    connection.sendall(REPLY)


def main() -> None:
    port, path = int(sys.argv[1]), Path(sys.argv[2])
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                # Whoever only looks whether we listen sends nothing.
                if connection.recv(1, socket.MSG_PEEK):
                    take(connection, path)


if __name__ == "__main__":
    main()
