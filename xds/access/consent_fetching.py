"""Consent documents that were registered here by ITI-42 and are kept elsewhere: fetched, read, and acted upon.

Until one has been read, nothing that it says holds; that it has not is on record, and on the privacy officer's list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from lxml import etree

from xds.access.consent_documents import ConsentDocuments
from xds.access.document_parts import NotRead
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.ebxml import rim
from xds.errors import Refused
from xds.metadata.identifiers import PatientId
from xds.store import consent_documents
from xds.store.audit.records import now_microseconds, record
from xds.store.consent_documents import Waiting
from xds.store.interface import FoundDocument
from xds.store.work import Database
from xds.wire.spool import Spooled

log = logging.getLogger("xds.access.consent_fetching")

FIRST_PAUSE, LONGEST_PAUSE = 5, 300
"""Seconds between two tries, twice as many after each."""

_CHANGED = "110135"  # Object Security Attributes Changed


class NotFetched(Exception):
    """Who keeps it does not give it now; the message says who and why."""


Fetch = Callable[[str, str, PatientId | None], AbstractContextManager[Spooled]]
"""A document of a repository, by both uniqueIds, of a patient; raises NotFetched."""


class ConsentFetching:
    """What one affinity domain's registry does about them."""

    def __init__(self, consents: ConsentDocuments, database: Database, node: AuditSource, fetch: Fetch) -> None:
        self._consents, self._database, self._node, self._fetch = consents, database, node, fetch

    def step(self) -> bool:
        """Try the one that is due; whether there was one."""
        domain = self._database.domain
        with self._database.work().reading() as (registry, _):
            one = consent_documents.due(registry.connection, domain, now_microseconds())
            if one is None:
                return False
            found = registry.documents_by_unique_id([one.unique_id])
            there = next((each for each in found if each.status == "Approved" and each.latest), None)
            whose = next(iter(registry.patient_ids([there.patient_key])), None) if there else None
        if there is None:  # it has been deprecated or removed meanwhile
            with self._database.engine.begin() as connection:
                consent_documents.remove(connection, domain, one.unique_id)
            return True
        try:
            self._read(one, there, whose)
        except NotFetched as problem:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(one.tries, 10))
            self._failed(one, whose, str(problem), now_microseconds() + pause * 1_000_000)
        except (NotRead, Refused) as problem:
            said = problem.findings[0].context if isinstance(problem, Refused) else str(problem)
            self._failed(one, whose, said, None)
        return True

    def _read(self, one: Waiting, found: FoundDocument, whose: PatientId | None) -> None:
        """Act upon it, in one commit with the records of that."""
        entry = rim.read_extrinsic_object(etree.fromstring(found.ebxml))
        with self._fetch(one.repository_unique_id, one.unique_id, whose) as spooled:
            said = self._consents.read_later(entry, spooled)
        work = self._database.work()
        try:
            events = self._consents.take_effect([said] if said else [], work, self._us())
            consent_documents.remove(work.connection, self._database.domain, one.unique_id)
            for event in events:
                record(work.connection, event.records())
            work.commit()
        finally:
            work.close()
        log.info("consent.read")

    def _failed(self, one: Waiting, whose: PatientId | None, trouble: str, next_try: int | None) -> None:
        with self._database.engine.begin() as connection:
            consent_documents.failed(connection, self._database.domain, one.unique_id, trouble[:1000], next_try)
            if one.tries and next_try is not None:
                return  # on record once, and once more where it is given up
            what = "is not acted upon" if next_try is None else "is not yet acted upon"
            text = f"the consent document {one.unique_id} {what}: {trouble[:1000]}"
            event = AuditEvent.security_alert(self._node, _CHANGED, self._us(), "urn:xds:consent", text)
            event.about_patient(str(whose or ""))
            event.end(failed=True)
            record(connection, event.records())
        log.warning("consent.not_read", extra={"again": next_try is not None})

    def _us(self) -> Party:
        return Party("xds", "localhost", ours=True, requestor=True)
