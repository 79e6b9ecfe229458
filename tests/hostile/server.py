"""A real ``xds serve`` for tests: its processes, its data, and peers that speak to it byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from tests.builders import ANNA, AUTHORITY, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.wire.messages import read
from xds.actors.document_consumer import Retrieved, Search, read_entries, retrieve
from xds.actors.document_source import Content, provide
from xds.demo.site import as_toml, free_port
from xds.ebxml import query
from xds.ebxml.rim import Slot
from xds.ebxml.xdsb import DocumentRequest
from xds.settings.configuration import load
from xds.settings.sections import Settings
from xds.store.deployment import with_identity
from xds.system.parent import ends_with_us
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.wire.client import Client
from xds.wire.spool import Spool
from xds.wire.xml import Element, name, parse

PATIENCE_SECONDS = 200.0


@dataclass
class Served:
    """One ``xds serve``: its folder, its port, and what its settings say beside the usual."""

    folder: Path
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    scheme: str = "http"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "xds.toml"

    @property
    def settings(self) -> Settings:
        return with_identity(load(self.config, {})).settings

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text("utf-8", "replace")

    def start(self) -> Served:
        """Start it, and wait until it is ready."""
        self.launch()
        try:
            wait_for(self.ready, PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(self.log) from None
        return self

    def write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        usual: dict[str, dict[str, Any]] = {
            # One web process: bounds are held of a process, and a test is to say of which.
            "server": {"data": str(self.data), "listen": f"127.0.0.1:{self.port}", "workers": 1},
            "domain": {"patients": "open", "assigning_authorities": [AUTHORITY]},
        }
        sections = {key: {**usual.get(key, {}), **self.sections.get(key, {})} for key in {*usual, *self.sections}}
        self.config.write_text(as_toml(sections), "utf-8")

    def launch(self) -> None:
        self.write_config()
        with (self.folder / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "xds", "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, preexec_fn=ends_with_us
            )

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        if self.scheme == "https":
            return bool(self._web_workers())  # without a certificate there is nothing to ask it
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as reply:  # noqa: S310
                return int(reply.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> int:
        """Stop it as an operator does; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not stop\n{self.log}") from None

    def kill(self) -> None:
        """Kill all of it at once, as a power cut does."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    # Its processes.

    def processes(self) -> list[int]:
        """Its living processes, the supervisor first."""
        assert self.process is not None
        return [self.process.pid, *(pid for pid, (_, group) in _processes().items() if group == self.process.pid
                                    and pid != self.process.pid)]  # fmt: skip

    def web_worker(self) -> int:
        """The process that serves requests."""
        (worker,) = self._web_workers()
        return worker

    def _web_workers(self) -> list[int]:
        """Those that listen, without the one that has started them."""
        assert self.process is not None
        running, sockets = _processes(), _listening(self.port)
        listening = [pid for pid in self.processes() if sockets & _sockets(pid)]
        return [pid for pid in listening if running.get(pid, (0, 0))[0] in listening]

    @contextmanager
    def memory_within(self, more_bytes: int = 200 * 1024 * 1024) -> Iterator[None]:
        """Its web process' memory does not rise by more meanwhile."""
        worker = self.web_worker()
        Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak counts anew
        before = _status(worker, "VmRSS")
        yield
        assert self.web_worker() == worker, f"its process has died\n{self.log}"
        more = _status(worker, "VmHWM") - before
        assert more < more_bytes, f"{more >> 20} MiB"

    def staged(self) -> list[Path]:
        return list((self.data / "documents" / "staging").iterdir())

    # What peers ask of it.

    def provide(self, content: bytes, folder: Path, *, client: Client | None = None) -> DocumentRequest:
        """ITI-41 of one document; returns what it can be asked for by.

        Raises:
            NoReply, Faulted, Refused: it was not acknowledged.
        """
        entry = an_entry(hash=hashlib.sha1(content, usedforsecurity=False).hexdigest(), size=len(content),
                         repository_unique_id=None)  # fmt: skip
        with Spool(folder) as spool:
            client = client or Client(f"{self.url}/repository")
            provide(client, ITI_41.action, symbolic(a_submission(entries=[entry])), [Content.of(content)], spool)
        return DocumentRequest(self.settings.repository.unique_id, entry.unique_id)

    def found(self, *, client: Client | None = None) -> set[str]:
        """The uniqueIds of all documents of Anna's, by ITI-18."""
        query_id, parameters = Search(ANNA).query()
        slots = tuple(Slot(f"${key}", tuple(values)) for key, values in parameters.items())
        body = etree.tostring(query.write_request(query.AdhocQuery(query_id, "LeafClass", slots)))
        client = client or Client(f"{self.url}/registry", seconds=30)
        with Spool(self.folder / "spool") as spool:
            answer = client.send(ITI_18.action, [body], spool, as_mtom=False)
        return {str(entry.unique_id) for entry in read_entries(answer.body)}

    def retrieved(self, request: DocumentRequest) -> bytes | None:
        """A document by ITI-43, if it is there."""
        with Spool(self.folder / "spool") as spool:
            got: Retrieved = retrieve(Client(f"{self.url}/repository"), ITI_43.action, [request], spool)
            spooled = got.documents.get(request.document_unique_id)
            return None if spooled is None else spooled.path.read_bytes()


def _processes() -> dict[int, tuple[int, int]]:
    """Every living process with its parent and its group."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if state not in "ZX":
                found[int(folder.name)] = (int(parent), int(group))
    return found


def group_is_gone(group: int) -> bool:
    return all(own != group for _, own in _processes().values())


def _listening(port: int) -> set[str]:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # the process or the file has just gone
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(file.readlink()))
    return found


def _status(pid: int, key: str) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


# Peers, byte by byte.


@dataclass(frozen=True)
class Reply:
    """An HTTP reply as it came, with the envelope in it where there is one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def mtom(self) -> bool:
        return self.headers.get("content-type", "").startswith("multipart/")

    def envelope(self, folder: Path) -> Element:
        return parse(read(self.body, folder, content_type=self.headers["content-type"]).root)

    def codes(self, folder: Path) -> list[str]:
        return [value.text or "" for value in self.envelope(folder).iter(name("soap:Value"))]

    def reason(self, folder: Path) -> str:
        return self.envelope(folder).findtext(f".//{name('soap:Text')}") or ""


def head(path: str, content_type: str = "application/soap+xml", *, length: int | None = None) -> bytes:
    """A POST's header; chunked where no length is given."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{size}\r\n\r\n".encode()


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def connected(port: int, *, buffer_bytes: int = 0, source: str = "") -> socket.socket:
    """A connection; ``source``: the address of the loopback that it comes from, another for another peer."""
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    return sock


def send(sock: socket.socket, pieces: Iterable[bytes]) -> int:
    """Send until the other side answers or closes; return how many bytes went out."""
    sent, ready = 0, select.poll()
    ready.register(sock, select.POLLIN)
    for piece in pieces:
        if ready.poll(0):
            break
        try:
            sock.sendall(piece)
        except ConnectionError:
            break
        sent += len(piece)
    return sent


def reply_of(sock: socket.socket) -> Reply | None:
    """The reply; None when the connection ended without a whole one."""
    data = b""
    try:
        while not data.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)  # not a byte of the next reply
            if not byte:
                return None
            data += byte
        headers, body = _headers(data.strip()), b""
        while missing := int(headers.get("content-length", 0)) - len(body):
            chunk = sock.recv(min(missing, 65536))
            if not chunk:
                return None
            body += chunk
    except ConnectionError:
        return None
    return Reply(int(data.split()[1]), headers, body)


def _headers(data: bytes) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in data.split(b"\r\n")[1:])
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def ask(port: int, pieces: Iterable[bytes], *, source: str = "") -> Reply | None:
    """Send one request on a connection of its own; what came back."""
    with connected(port, source=source) as sock:
        send(sock, pieces)
        return reply_of(sock)


def readyz_seconds(port: int) -> float:
    """How long ``/readyz`` takes to say that all is well."""
    started = time.monotonic()
    got = ask(port, [b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert got is not None
    assert got.status == 200, got.body
    return time.monotonic() - started
