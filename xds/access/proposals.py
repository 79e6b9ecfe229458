"""Entries of peers that nobody has written yet, from what the audit log has seen certificates do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from xds.audit.messages.message import ActiveParticipant, AuditMessage, NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.settings.access import PeerEntry
from xds.store.audit import records
from xds.store.audit.records import now_microseconds
from xds.store.engine import reading
from xds.wire.certificates import NotACertificate, name_of

_IDENTITY = re.compile(r"(?P<subject>.+) \(serial number (?P<serial>[0-9A-F]+), issuer (?P<issuer>.+)\)")
_BATCH = 1000

# What a system is that starts a transaction, or sends what is taken in.
ROLES = {
    "ITI-8": "patient-identity-source", "ITI-44": "patient-identity-source", "ITI-18": "document-consumer",
    "ITI-38": "gateway", "ITI-39": "gateway", "ITI-55": "gateway", "RAD-75": "gateway",
    "ITI-43": "document-consumer", "ITI-51": "document-consumer", "ITI-41": "document-source",
    "ITI-42": "document-repository", "ITI-61": "on-demand-document-source", "ITI-57": "document-administrator",
    "ITI-62": "document-administrator", "ITI-86": "document-administrator", "ITI-92": "document-administrator",
    "RAD-69": "imaging-document-consumer", "RAD-55": "imaging-document-consumer",
    "RAD-107": "imaging-document-consumer", "RAD-129": "imaging-document-consumer",
    "RAD-108": "imaging-document-source", "ITI-81": "audit-reader",
}  # fmt: skip


def proposals(engine: sa.Engine, known: Mapping[str, PeerEntry], days: int) -> str:
    """Entries as TOML, a comment before each that says what it was seen to do."""
    named = {(one.issuer and name_of(one.issuer), one.subject and name_of(one.subject)) for one in known.values()}
    seen: dict[tuple[str, str], set[str]] = {}
    for message in _messages(engine, now_microseconds() - days * 86_400_000_000):
        for participant in message.participants:
            found = _identity(participant)
            if found is not None:
                numbers = {code.code for code in message.event.type_codes}
                seen.setdefault(found, set()).update(numbers)
    text = ["# Seen in the audit log, and in no entry.  Read each before you use it: who it is, and what it may.\n"]
    for (subject, issuer), numbers in sorted(seen.items()):
        try:
            if (name_of(issuer), name_of(subject)) in named:
                continue
        except NotACertificate:
            continue
        roles = sorted({ROLES[number] for number in numbers if number in ROLES})
        text.append(
            f"\n# {', '.join(sorted(numbers))}\n[peers.{_called(subject)}]\n"
            f"issuer = {json.dumps(issuer)}\nsubject = {json.dumps(subject)}\nroles = {json.dumps(roles)}\n"
        )
    return "".join(text)


def _messages(engine: sa.Engine, since: int) -> Iterator[AuditMessage]:
    leaf = 0
    while True:
        with reading(engine) as connection:
            rows = records.numbered_from(connection, leaf, _BATCH)
        if not rows:
            return
        for row in rows:
            leaf = (row.leaf_number or 0) + 1
            if row.recorded >= since and not row.origin:
                try:
                    yield read(row.message)
                except NotAuditMessage:
                    continue


def _identity(participant: ActiveParticipant) -> tuple[str, str] | None:
    """Subject and issuer of a participant that was authenticated by a certificate."""
    found = _IDENTITY.fullmatch(participant.alternative_user_id)
    return (found["subject"], found["issuer"]) if found else None


def _called(subject: str) -> str:
    """A name for an entry, of a subject's common name."""
    common = re.search(r"CN=((?:[^,+\\]|\\.)+)", subject)
    text = re.sub(r"[^a-z0-9]+", "-", (common[1] if common else subject).lower()).strip("-")[:32]
    return text if text[:1].isalpha() else f"p-{text}"[:32]
