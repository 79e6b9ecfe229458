"""Checkpoints shown to witnesses, and another node's taken as its witness: over HTTP, or a file.

``GET /audit/witness/LOG`` gives the newest checkpoint that was seen of a log, ``POST /audit/witness`` takes a newer one
with its consistency proof.  What does not extend the history that was seen is refused, and an alert in the log here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import urllib3
from cryptography import x509
from flask import Blueprint, Response, request
from sqlalchemy.exc import SQLAlchemyError

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import BadCheckpoint
from xds.audit.log.keys import load_certificates
from xds.audit.log.merkle import BadProof, HashTree
from xds.audit.log.witness import HASHES, SIGNED_BYTES, FileWitness, NotWitnessed, Offer, Witness, extends
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.errors import Unusable
from xds.metadata.identifiers import is_oid
from xds.settings.sections import Tls
from xds.store.audit import records as store
from xds.store.audit import witnessed
from xds.store.engine import reading
from xds.wire.client import client_context
from xds.wire.contexts import pool
from xds.wire.strangers import Strangers

log = logging.getLogger("xds.initiating.witnesses")

SECONDS = 10.0
"""The longest that a witness is waited for."""

_KIND = "110129"  # Security Configuration: what the alerts of this file are
ALERT_SECONDS = 3600.0
"""Between two alerts about the same peer for the same reason: anybody who may call this node can bring one about."""

_REQUEST_BYTES = 2 * SIGNED_BYTES + 70 * HASHES


class HttpWitness:
    """Another node, at the URL of its ``/audit/witness``; we present our own certificate there."""

    def __init__(self, url: str, tls: Tls) -> None:
        context = client_context(tls.certificate, tls.key, tls.trusted) if url.startswith("https:") else None
        self._url = url.rstrip("/")
        self._pool: Any = pool(context, timeout=SECONDS)

    def last(self, log_id: str) -> bytes | None:
        status, data = self._asked("GET", f"{self._url}/{log_id}")
        if status not in (200, 404):
            raise NotWitnessed(f"{self._url}: status {status}")
        return data if status == 200 else None

    def add(self, offer: Offer) -> None:
        said = {"checkpoint": offer.signed.decode(), "from": offer.begin, "proof": [one.hex() for one in offer.proof]}
        status, data = self._asked("POST", self._url, json.dumps(said).encode())
        if status != 200:
            reason = data[:300].decode("utf-8", "replace").strip()
            raise NotWitnessed(f"{self._url}: {reason}", is_evidence=status == 409)

    def _asked(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status of an answer, and its body."""
        try:
            response = self._pool.request(method, url, body=body, preload_content=False)
            data: bytes = response.read(SIGNED_BYTES + 1)
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise NotWitnessed(f"{self._url}: {type(problem).__name__}") from None
        return response.status, data


def witness_at(where: str, tls: Tls, certificates: Callable[[], Sequence[x509.Certificate]]) -> Witness:
    """A witness by its address: the URL of another node's ``/audit/witness``, or ``file:PATH``.

    Raises:
        Unusable: it is neither.
    """
    if where.startswith("file:"):
        return FileWitness(Path(where.removeprefix("file:").removeprefix("//")), certificates)
    if where.startswith(("http://", "https://")):
        return HttpWitness(where, tls)
    raise Unusable("audit.witnesses: only https:, http: and file: are known")


class Witnessing:
    """Shows one witness the log's newest checkpoint, again and again."""

    def __init__(self, engine: sa.Engine, folder: Path, where: str, witness: Witness, node: AuditSource) -> None:
        self._engine, self._tree, self._where, self._witness = engine, HashTree(folder / "tree"), where, witness
        self._node, self._refused, self._shown = node, False, b""

    def run(self, seconds: float, going_on: Callable[[float], bool]) -> None:
        """Show it what is new while ``going_on``, which waits for as many seconds as it is given."""
        while going_on(0.0):
            try:
                self.step()
            except NotWitnessed as problem:
                log.warning("audit.not_witnessed", extra={"to": self._where, "reason": str(problem)})
                self._tell(problem)
            except SQLAlchemyError:
                log.exception("database.unreachable")
            if not going_on(seconds):
                break

    def step(self) -> bool:
        """Show what is new; whether there was something.

        Raises:
            NotWitnessed: it does not take it, or does not answer.
        """
        with reading(self._engine) as connection:
            newest = store.last_checkpoint(connection)
        if newest is None or newest[1] == self._shown:
            return False
        size, signed = newest
        kept = self._witness.last(signing.read(signed).log_id)
        try:
            begin = 0 if kept is None else signing.read(kept).size
            if begin > size:
                raise NotWitnessed(f"it has seen {begin} records, and there are {size}", is_evidence=True)
            proof = self._tree.consistency_proof(begin, size) if begin else []
        except (BadCheckpoint, BadProof) as problem:
            raise NotWitnessed(f"{self._where}: {problem}") from None
        self._witness.add(Offer(signed, begin, tuple(proof)))
        self._shown, self._refused = signed, False
        return True

    def _tell(self, problem: NotWitnessed) -> None:
        """An alert in our own log, once, where our history is not the one that was seen."""
        if problem.is_evidence and not self._refused:
            self._refused = True
            event = AuditEvent.security_alert(self._node, _KIND, Party("xds witness", "localhost", ours=True),
                                              self._where, f"a witness refuses this log: {problem}")  # fmt: skip
            with self._engine.begin() as connection:
                store.record(connection, event.records())


def pages(
    engine: sa.Engine, paths: Sequence[str], node: AuditSource, record: Callable[[AuditEvent], None]
) -> Blueprint:
    """The addresses of a node that is a witness of the logs whose certificates are in these PEM files.

    Raises:
        Unusable: one cannot be read.
    """
    logs = [witness_of(path) for path in paths]
    told = Strangers(lambda peer, reason: _alert(record, node, peer, reason), apart_seconds=ALERT_SECONDS)
    blueprint = Blueprint("witnessing", __name__)

    @blueprint.get("/audit/witness/<log_id>")
    def last(log_id: str) -> Response:
        if not is_oid(log_id):
            return _said(404, "no log is called so")
        with reading(engine) as connection:
            found = witnessed.last(connection, log_id)
        if found is None:
            return _said(404, "nothing was seen of this log")
        return Response(found, content_type="application/xml")

    @blueprint.post("/audit/witness")
    def add() -> Response:
        try:
            offer = _offer(request.get_data(cache=False)[: _REQUEST_BYTES + 1])
            log_id = signing.read(offer.signed).log_id
            if not is_oid(log_id):
                raise ValueError("no log is called so")
        except (ValueError, BadCheckpoint, RecursionError):
            return _said(400, "not an offer of a checkpoint")
        try:
            with engine.begin() as connection:
                kept = witnessed.last(connection, log_id, to_change=True)
                said = extends(kept, offer, _of(logs, log_id, offer.signed, kept))
                witnessed.keep(connection, log_id, said.size, said.time, offer.signed)
        except NotWitnessed as problem:
            if problem.is_evidence:
                told.tell(request.remote_addr or "unknown", f"log {log_id}: {problem}")
            return _said(409 if problem.is_evidence else 403, str(problem))
        return _said(200, f"{said.size} records are witnessed")

    return blueprint


def witness_of(text: str) -> tuple[str, list[x509.Certificate]]:
    """A log that a node is a witness of, ``LOG=FILE`` or ``FILE``: its id, empty if it is not said, and certificates.

    Raises:
        Unusable: the file cannot be read.
    """
    log_id, _, path = text.rpartition("=")
    return log_id, load_certificates(Path(path))


def _of(
    logs: Sequence[tuple[str, list[x509.Certificate]]], log_id: str, signed: bytes, kept: bytes | None
) -> list[x509.Certificate]:
    """The certificates of the log that a checkpoint is of: those by which one of it was signed before, if any was.

    Each log has its own: whose key signs another log does not sign this one.
    """
    signer = signing.signer(signed if kept is None else kept)
    named_ = [own for name, own in logs if name == log_id]
    free = [own for name, own in logs if not name]
    return next((one for one in named_ or free if signer in map(signing.fingerprint, one)), [])


def _alert(record: Callable[[AuditEvent], None], node: AuditSource, peer: str, reason: str) -> None:
    record(AuditEvent.security_alert(node, _KIND, Party(peer, peer), "urn:xds:audit:witness", reason))


def _offer(data: bytes) -> Offer:
    """Read an offer.

    Raises:
        ValueError: it is none.
    """
    if len(data) > _REQUEST_BYTES:
        raise ValueError("too long")
    said = json.loads(data)
    if not isinstance(said, dict) or not isinstance(said.get("checkpoint"), str):
        raise ValueError("no checkpoint")
    begin, proof = said.get("from"), said.get("proof")
    if not isinstance(begin, int) or not isinstance(proof, list) or not all(isinstance(one, str) for one in proof):
        raise ValueError("no proof")
    return Offer(said["checkpoint"].encode(), begin, tuple(bytes.fromhex(one) for one in proof))


def _said(status: int, text: str) -> Response:
    return Response(text + "\n", status, content_type="text/plain; charset=utf-8")
