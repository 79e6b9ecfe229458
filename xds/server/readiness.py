"""What ``/readyz`` says: each thing that this node depends on, and whether it is there.

Its own database, log and documents make it ready or not.  A peer that does not answer is told, and leaves a node ready
for whatever else it serves; only one that plays no actor, and has its registry elsewhere, is of no use without it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

from xds.errors import Unusable
from xds.server import expiry
from xds.settings.sections import Location, Settings
from xds.store.audit import records as audit_store
from xds.store.engine import reading
from xds.store.work import Database
from xds.system.disk import Reserve
from xds.wire.client import client_context

log = logging.getLogger("xds.server.readiness")

ASKED_EVERY_SECONDS = 10.0
"""A peer is tried at most so often, whoever asks whether this node is ready."""

PATIENCE_SECONDS = 1.0
"""For a peer to take a connection."""

AT_ONCE = 16
"""Peers that are tried at once."""

_AWAY = "the object store does not answer"


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that a node needs, and what is wrong with it; empty: nothing."""

    name: str
    wrong: str = ""
    is_needed: bool = True  # without it the node is not ready


class Readiness:
    """Safe with threads."""

    def __init__(
        self, settings: Settings, database: Database, disk: Reserve, troubles: Callable[[], Mapping[str, str]] = dict
    ) -> None:  # fmt: skip
        """``troubles``: what is wrong with files of who may do what, by what it is; the last good ones are in force."""
        self._troubles, self._disk = troubles, disk
        self._settings, self._database, self._peers = settings, database, list(peers(settings))
        self._needed = f"registry {_host(settings.console.registry_url)}" if not settings.server.actors else ""
        self._lock, self._tried, self._wrong = Lock(), float("-inf"), list[str]()

    def report(self) -> tuple[bool, str]:
        """Whether the node is ready, and a line for each thing; the first word is «ready» when all is well."""
        files = [Dependency(name, wrong, is_needed=False) for name, wrong in self._troubles().items()]
        found = [*own(self._database, self._disk), *files, *self._certificates(), *self._asked()]
        is_ready = not any(one.wrong and one.is_needed for one in found)
        lines = [f"{one.name}: {one.wrong or 'ok'}" for one in sorted(found, key=lambda one: not one.wrong)]
        if any(one.wrong for one in found):
            return is_ready, "\n".join([*(["partly ready"] if is_ready else []), *lines])
        return True, "\n".join(["ready", *lines])

    def _certificates(self) -> Iterator[Dependency]:
        """Certificates and CRLs, where there is something to say of them: peers may not get in, or too many do."""
        wrong = "; ".join(expiry.warnings(self._settings))
        if wrong:
            yield Dependency("certificates", wrong, is_needed=False)

    def _asked(self) -> Sequence[Dependency]:
        """Each peer with what was wrong when it was tried last, a little while ago; one request at a time tries it."""
        with self._lock:
            if self._peers and time.monotonic() - self._tried > ASKED_EVERY_SECONDS:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    self._wrong = list(pool.map(reached, [peer for _, peer in self._peers]))
                self._tried = time.monotonic()
            told = zip(self._peers, self._wrong, strict=True)
            return [Dependency(name, wrong, name == self._needed) for (name, _), wrong in told]


def own(database: Database, disk: Reserve) -> Iterator[Dependency]:
    """What belongs to the node itself."""
    late, unreadable = "", ""
    try:
        with reading(database.engine) as connection:
            if audit_store.oldest_unnumbered_seconds(connection) > 30:
                late = "records wait for the sequencer for over 30 s"
    except Exception:
        log.exception("database.unreachable")
        unreadable = "cannot be read"
    yield Dependency("database", unreadable)
    yield Dependency("audit", late or (unreadable and "the database cannot be read"))
    answers, *others = database.blobs.answers()
    yield Dependency("documents", _documents(database, disk, answers=answers))
    for is_there in others:  # documents move out of it: what is in the first is served
        yield Dependency("documents_also", "" if is_there else _AWAY, is_needed=False)


def _documents(database: Database, disk: Reserve, *, answers: bool) -> str:
    if not os.access(database.blobs.staging, os.W_OK):
        return "cannot be written"
    if disk.is_low(anew=True):
        return f"nothing is taken in: less than {disk.least_bytes // 2**20} MiB of the disk are left"
    return "" if answers else _AWAY


def peers(settings: Settings) -> Iterator[tuple[str, Location]]:
    """Other nodes that this one calls, by what they are called here; hosts only: this page is for anybody."""
    tls = settings.tls
    for url in filter(None, (settings.console.registry_url, settings.repository.registry_url)):
        yield f"registry {_host(url)}", Location(url, tls.certificate, tls.key, tls.trusted)
    if settings.imaging_source.dicomweb:
        url = settings.imaging_source.dicomweb
        yield f"PACS {_host(url)}", Location(url, tls.certificate, tls.key, tls.trusted)
    tables: Mapping[str, Mapping[str, Location]] = {
        "repository": settings.repositories, "imaging source": settings.imaging_sources
    }  # fmt: skip
    for kind, table in tables.items():
        for peer in table.values():
            yield f"{kind} {peer.name or _host(peer.url)}", peer


def reached(peer: Location) -> str:
    """What is wrong with a peer; a TLS handshake is carried through, so that nothing there takes us for a stranger."""
    try:
        parts = urlsplit(peer.url)
        is_tls = parts.scheme == "https"
        at = (parts.hostname or "", parts.port or (443 if is_tls else 80))
        with socket.create_connection(at, PATIENCE_SECONDS) as sock:
            if is_tls:
                context = client_context(peer.certificate, peer.key, peer.trusted)
                with context.wrap_socket(sock, server_hostname=parts.hostname):
                    pass
    except TimeoutError:
        return f"no answer within {PATIENCE_SECONDS:g} s"
    except (OSError, ValueError, Unusable) as problem:
        return f"does not answer: {getattr(problem, 'strerror', None) or type(problem).__name__}"
    return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "?"
