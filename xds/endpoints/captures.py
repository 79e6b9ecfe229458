"""Captures what a named sender really sends, for as long as somebody has asked for; nobody's reply waits for it.

A message is sealed before it is kept: who serves cannot read it, who holds the key of ``capture.certificate`` can.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from lxml import etree

from xds.access.senders import Senders
from xds.settings.sections import Capture
from xds.store import captures as store
from xds.store.audit.records import now_microseconds
from xds.store.captures import Captured
from xds.store.engine import reading
from xds.store.work import Database
from xds.wire.http import HttpRequest
from xds.wire.mtom import Piece
from xds.wire.sealing import certificate, seal
from xds.wire.xml import Element, NotXml, parse

log = logging.getLogger("xds.endpoints.captures")

LOOK_SECONDS = 2.0
"""How often a process looks which captures run."""

ERASE_SECONDS = 600.0
"""How often it erases those that are past their time."""


class Captures:
    """The captures of a deployment, as one process sees them.

    Raises:
        Unusable: ``capture.certificate`` cannot be used.
    """

    def __init__(self, settings: Capture, database: Database, senders: Senders) -> None:
        self._settings, self._database, self._senders = settings, database, senders
        self._recipient = certificate(Path(settings.certificate)) if settings.certificate else None
        self._running: dict[str, int] = {}
        self._looked = self._erased = 0.0
        self._lock = Lock()

    def keep(self, request: HttpRequest, root: bytes, reply: Sequence[Piece]) -> None:
        """Keep a message and its reply, without their documents, where a capture of its sender runs."""
        if self._recipient is None:
            return
        try:
            capture_id = self._capture_of(request, root)
            if capture_id is not None:
                self._keep(capture_id, request, root, reply)
        except Exception:
            log.exception("message.not_captured")

    def _capture_of(self, request: HttpRequest, root: bytes) -> int | None:
        running = self._look()
        if not running:
            return None
        return running.get(self._senders.of(request, _parsed(root)).name)

    def _look(self) -> dict[str, int]:
        with self._lock:
            now = time.monotonic()
            if not self._looked or now - self._looked > LOOK_SECONDS:
                with reading(self._database.engine) as connection:
                    self._running = store.running(connection, now_microseconds())
                self._looked = now
            due = not self._erased or now - self._erased > ERASE_SECONDS
            if due:
                self._erased = now
        if due:
            with self._database.engine.begin() as connection:
                store.erase(connection, now_microseconds())
        return self._running

    def _keep(self, capture_id: int, request: HttpRequest, root: bytes, reply: Sequence[Piece]) -> None:
        assert self._recipient is not None  # noqa: S101  asked before
        most = self._settings.message_bytes
        answered = b"".join(piece if isinstance(piece, bytes) else b"[document]" for piece in reply)
        message = Captured(
            0, capture_id, now_microseconds(), request.url[-128:], request.remote_address[:64],
            request.content_type[:256], seal(root[:most], self._recipient), seal(answered[:most], self._recipient),
        )  # fmt: skip
        with self._database.engine.begin() as connection:
            if not store.add(connection, message, self._settings.messages):
                log.warning("capture.full", extra={"capture": capture_id})


def _parsed(root: bytes) -> Element:
    """A message to be looked into; what is no XML has nothing to find."""
    try:
        return parse(root)
    except NotXml:
        return etree.Element("none")
