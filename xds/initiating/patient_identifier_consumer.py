"""Asks a PIX Manager whose a patient id of the archive is in the affinity domain; each question is on record.

ITI-9 (MLLP), ITI-45 (SOAP) and ITI-83 (FHIR).  ITI TF-1: 5; ITI TF-2: 3.9, 3.45, 3.83.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import urllib3

from xds.archives.interface import NotAnswering
from xds.archives.patients import Patients
from xds.audit.messages.events import AuditEvent
from xds.errors import Unusable
from xds.hl7 import pix
from xds.imaging.manifest import Patient
from xds.metadata.identifiers import Oid, PatientId
from xds.settings.sections import Tls
from xds.wire import mllp
from xds.wire.client import Client, Faulted, NoReply, client_context
from xds.wire.contexts import pool
from xds.wire.spool import Spool
from xds.wire.tls_trouble import why

KNOWN_SECONDS = 60.0
"""How long an answer is taken for true."""

UNKNOWN_SECONDS = 30.0
"""And how long that nothing is known of a patient."""

KNOWN = 10_000
"""Answers that are remembered."""

_SECONDS = 10.0
_JSON_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as its record says it (ITI TF-2: 3.9.5.1, 3.45.5.1, 3.83.5.1)."""

    id: str
    sent: bytes
    details: tuple[tuple[str, str], ...] = ()
    source: str = ""
    """FACILITY|APPLICATION that asks; empty where this node's address says it."""
    destination: str = ""
    """And that is asked; empty where the manager's address says it."""


Asked: TypeAlias = Callable[[Question], None]


class PixManager(Protocol):
    """A PIX Manager by one of its transactions."""

    url: str
    transaction: tuple[str, str]
    """Its number and title."""

    def ask(self, own: PatientId, wanted: Oid, asked: Asked) -> PatientId | None:
        """The id that an authority has for a patient, None where it has none; ``asked`` is told the question first.

        Raises:
            NotAnswering: no usable answer came.
        """
        ...


class ByMllp:
    """ITI-9 PIX Query."""

    transaction = ("ITI-9", "PIX Query")

    def __init__(self, url: str, context: ssl.SSLContext | None, sender: str) -> None:
        parts = urlsplit(url)
        facility, _, application = parts.path.strip("/").partition("/")
        if not parts.hostname or not parts.port or re.search(r"[^\w .-]", facility + application):
            raise Unusable("pix: mllp://HOST:PORT or mllp://HOST:PORT/FACILITY/APPLICATION")
        self.url, self._context, self._sender = url, context, sender
        self._receiver = f"{facility}|{application}" if facility else ""
        self._host, self._port = parts.hostname, parts.port

    def ask(self, own: PatientId, wanted: Oid, asked: Asked) -> PatientId | None:
        query = pix.v2_query(own, wanted, self._sender, self._receiver)
        control_id = (("MSH-10", query.control_id),)
        asked(Question(query.control_id, query.message, control_id, self._sender, self._receiver))
        try:
            answer = mllp.send(self._host, self._port, query.message, _SECONDS, self._context)
            return pix.v2_answer(answer, query, wanted)
        except (OSError, mllp.Malformed) as problem:
            raise _silent(problem) from None
        except pix.NotUnderstood as problem:
            raise NotAnswering(str(problem)) from None


class BySoap:
    """ITI-45 PIXV3 Query."""

    transaction = ("ITI-45", "PIXV3 Query")

    def __init__(self, client: Client, spool: Spool, sender: Oid) -> None:
        self.url, self._client, self._spool, self._sender = client.url, client, spool, sender

    def ask(self, own: PatientId, wanted: Oid, asked: Asked) -> PatientId | None:
        query = pix.v3_query(own, wanted, self._sender, wanted)
        asked(Question(query.id, query.parameters))
        try:
            answer = self._client.send(f"urn:hl7-org:v3:{pix.QUERY}", [query.message], self._spool, as_mtom=False)
            return pix.v3_answer(answer.body, wanted)
        except NoReply:
            raise NotAnswering("the PIX Manager does not answer") from None
        except Faulted:
            raise NotAnswering("the PIX Manager answers with a fault") from None
        except pix.NotUnderstood as problem:
            raise NotAnswering(str(problem)) from None


class ByFhir:
    """ITI-83 Mobile Patient Identifier Cross-reference Query."""

    transaction = ("ITI-83", "Mobile Patient Identifier Cross-reference Query")

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        self.url = url.rstrip("/")
        self._pool: Any = pool(context, timeout=_SECONDS, maxsize=4)

    def ask(self, own: PatientId, wanted: Oid, asked: Asked) -> PatientId | None:
        url = self.url + pix.fhir_query(own, wanted)
        asked(Question(self.transaction[0], url.encode()))
        try:
            answer = self._pool.request(
                "GET", url, headers={"Accept": "application/fhir+json"}, preload_content=False,
                redirect=False,
            )  # fmt: skip
            data = answer.read(_JSON_BYTES)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise _silent(problem) from None
        if answer.status == 404:  # an id that is not known (ITI TF-2: 3.83.4.2.2)
            return None
        if answer.status != 200:
            raise NotAnswering(f"the PIX Manager says HTTP {answer.status}")
        try:
            return pix.fhir_answer(json.loads(data), wanted)
        except (ValueError, RecursionError) as problem:
            reason = str(problem) if isinstance(problem, pix.NotUnderstood) else "the answer is no JSON"
            raise NotAnswering(f"the PIX Manager: {reason}") from None


def _silent(problem: BaseException) -> NotAnswering:
    reason = why(problem)
    return NotAnswering(f"the PIX Manager does not answer{f' ({reason})' if reason else ''}")


def manager(url: str, fhir: bool, tls: Tls, spool: Spool, sender: Oid) -> PixManager:
    """The PIX Manager at an address.

    Raises:
        Unusable: it is none, or a certificate cannot be used.
    """
    scheme = urlsplit(url).scheme
    secured = scheme in ("https", "mllps")
    context = client_context(tls.certificate, tls.key, tls.trusted) if secured else None
    if scheme in ("mllp", "mllps") and not fhir:
        return ByMllp(url, context, f"{sender}|XDS")
    if scheme not in ("http", "https"):
        raise Unusable("pix and pixm, where a PIX Manager is: a URL; of pix also mllp:// or mllps://HOST:PORT")
    if fhir:
        return ByFhir(url, context)
    client = Client(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted, seconds=_SECONDS)
    return BySoap(client, spool, sender)


class CrossReferenced:
    """``Patients`` by the table first; of whom that has nothing, the PIX Manager is asked."""

    def __init__(
        self, table: Patients, manager: PixManager, wanted: Oid,
        new_event: Callable[[tuple[str, str], str], AuditEvent], recorded: Callable[[AuditEvent], None],
    ) -> None:  # fmt: skip
        self._table, self._manager, self._wanted = table, manager, wanted
        self._new_event, self._recorded = new_event, recorded
        self._known: dict[PatientId, tuple[float, PatientId | None]] = {}
        self._lock = Lock()

    def own(self, patient: Patient) -> PatientId | None:
        return self._table.own(patient)

    def mapped(self, own: PatientId) -> PatientId | None:
        found = self._table.mapped(own)
        if found is not None:
            return found
        with self._lock:
            until, known = self._known.get(own, (0.0, None))
        if until > time.monotonic():
            return known
        answer = self._asked(own)
        with self._lock:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[own] = (time.monotonic() + (KNOWN_SECONDS if answer else UNKNOWN_SECONDS), answer)
        return answer

    def _asked(self, own: PatientId) -> PatientId | None:
        event = self._new_event(self._manager.transaction, self._manager.url)
        event.about_patient(str(own))

        def asked(question: Question) -> None:
            event.about_question(question.id, question.sent, question.details)
            event.source = event.source.named(question.source)
            event.destination = event.destination.named(question.destination)

        try:
            answer = self._manager.ask(own, self._wanted, asked)
            event.end(failed=False)
        except NotAnswering:
            event.end(failed=True)
            raise
        finally:
            self._recorded(event)
        return answer
