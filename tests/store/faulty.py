"""A way to an object store on which requests and answers go wrong as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Fault:
    """What becomes of a request: ``status`` with an error's ``code`` instead of the store's answer; or the answer
    after ``seconds``, ``cut`` off in the middle of its body, or with ``wrong`` bytes; or, where a body goes to the
    store, ``lost`` bytes in it."""

    status: int = 0
    code: str = ""
    seconds: float = 0.0
    cut: bool = False
    wrong: bool = False
    lost: bool = False


Says = Callable[[Asked], Fault | None]


@dataclass
class Faulty:
    """Carries requests to a store, and notes them."""

    to: int
    says: Says = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    without: tuple[str, ...] = ()
    """Headers that the store does not see, as one that does not know them."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        return [one.method for one in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    way: Faulty

    def _carry(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = bytearray(self.rfile.read(length))
        asked = Asked(self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
        self.way.asked.append(asked)
        fault = self.way.says(asked) or Fault()
        time.sleep(fault.seconds)
        if fault.status:
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>no</Message></Error>"
            self._answer(fault.status, {"Content-Type": "application/xml"}, text.encode(), fault)
            return
        if fault.lost and body:
            body[len(body) // 2] ^= 1
        status, headers, answer = self._asked_of_the_store(bytes(body))
        if fault.wrong and answer:
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        self._answer(status, headers, answer, fault)

    def _asked_of_the_store(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.way.to, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in self.way.without}
        connection.request(self.command, self.path, body or None, headers)
        reply = connection.getresponse()
        answer = reply.read()
        kept = {key: value for key, value in reply.getheaders() if key.lower() not in _HOP}
        kept["Content-Length"] = reply.headers.get("Content-Length") or str(len(answer))
        connection.close()
        return reply.status, kept, answer

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
        self.send_response_only(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if fault.cut else body)
        if fault.cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _carry

    def handle(self) -> None:
        with suppress(OSError, HTTPException, ValueError):  # who asked has gone
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def faulty(to: int) -> Iterator[Faulty]:
    """A way to a port, until it is left."""
    way = Faulty(to)
    handler = type("Handler", (_Handler,), {"way": way})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    way.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield way
    finally:
        server.shutdown()
        server.server_close()


def after(count: int, fault: Fault, *methods: str) -> Says:
    """Good for so many requests of these methods, and then the fault."""
    seen = []

    def says(asked: Asked) -> Fault | None:
        if methods and asked.method not in methods:
            return None
        seen.append(asked)
        return fault if len(seen) > count else None

    return says


def first(count: int, fault: Fault, *methods: str) -> Says:
    """The fault for so many requests of these methods, and then good."""
    seen = []

    def says(asked: Asked) -> Fault | None:
        if methods and asked.method not in methods:
            return None
        seen.append(asked)
        return fault if len(seen) <= count else None

    return says
