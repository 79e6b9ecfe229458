"""Who may send audit records, and as which source: what the listeners of syslog ask.  ITI TF-2: 3.20, 3.19."""

from __future__ import annotations

import threading

from xds.access.gate import Gate, NotPermitted
from xds.access.peers import Peer
from xds.endpoints.audit_received import SOURCES, FirstSeen
from xds.settings.sections import DEFAULT_DOMAIN
from xds.wire.certificates import Certificate
from xds.wire.http import certificate_of


class AuditSources:
    """Asks for each connection, and each datagram.  Safe with threads."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self._first, self._lock = gate, FirstSeen(), threading.Lock()
        self._known = dict[str, Certificate]()  # of who was let in, by key

    def refusal(self, der: bytes, address: str) -> tuple[str, bool]:
        """What is to be said of who connects, if anything; and whether they are let in."""
        certificate = certificate_of(der)
        try:
            granted = self._gate.ask(self._gate.peer(certificate, address), "ITI-20", DEFAULT_DOMAIN)
        except NotPermitted as denied:
            return str(denied), False
        if certificate is not None:
            with self._lock:
                while len(self._known) >= SOURCES and certificate.spki_sha256 not in self._known:
                    self._known.pop(next(iter(self._known)))
                self._known[certificate.spki_sha256] = certificate
        return granted.note, True

    def __call__(self, spki: str, address: str, source_id: str) -> bool | None:
        """See ``SpeaksFor``: by the entries of peers, else by who has used the name first.

        A record of another's source is kept and marked whatever ``policy.mismatch`` says: it is evidence.
        """
        peer = self._gate.peer(self._known.get(spki), address)
        if peer.entry.audit_source_ids and not peer.alone:
            return peer.speaks_for("audit_source_ids", source_id)
        if any(True for _ in self._others(peer, source_id)):
            return False
        return self._first(spki, address, source_id)

    def _others(self, peer: Peer, source_id: str) -> list[Peer]:
        named = self._gate.peers.speaking_for("audit_source_ids", source_id)
        return [one for one in named if one.name != peer.name]
