"""What the client commands share: whom they speak to, and where their audit records go."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa

from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person
from xds.cli.common import database, settings
from xds.errors import Refused, Unusable
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN, Loaded, Location, Settings
from xds.store.audit.records import record
from xds.store.engine import reading
from xds.store.registry.standing import Standing, elsewhere, standing
from xds.transactions.transaction import Transaction
from xds.wire.bearer import encoded
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.syslog import NotSent, send
from xds.wire.xml import Element
from xds.wire.xua import claimed, header_block

F = TypeVar("F", bound=Callable[..., Any])


_NOT_TOLD = ("default", "made at first start")
"""Where a list of authorities comes from that says nothing of a registry elsewhere."""


def _ends(url: str) -> tuple[Party, Party]:
    """Of what we start: this command, and whom it goes to."""
    host = socket.gethostname()
    return Party(f"xds@{host}", host, ours=True, requestor=True), Party(url, urlsplit(url).hostname or "localhost")


class Desk:
    """One client command: its settings, and its audit."""

    def __init__(self, loaded: Loaded, engine: sa.Engine | None, audit_to: str) -> None:
        self.settings: Settings = loaded.settings
        self._engine, self._audit_to, self._sources = engine, audit_to, loaded.sources
        self._node = source_of(loaded.settings)
        self._person, self.header_blocks, self._assertion = _person(loaded.settings.xua.assertion)

    @contextmanager
    def transaction(self, transaction: Transaction, url: str) -> Iterator[AuditEvent]:
        """One transaction that we start; its record is kept before what came of it is used.

        Raises:
            Unusable: the record cannot be kept, and so nothing may be shown.
        """
        event = self._event(transaction, url)
        try:
            yield event
        except Refused as refused:
            event.end(failed=True, findings=refused.findings)
            raise
        else:
            event.end(failed=False)
        finally:
            self.keep(event)

    @contextmanager
    def web_transaction(self, transaction: tuple[str, str], url: str) -> Iterator[AuditEvent]:
        """A retrieval by DICOMweb that we start, by number and title; its record is kept before it is used.

        Raises:
            Unusable: the record cannot be kept, and so nothing may be shown.
        """
        here, there = _ends(url)
        event = AuditEvent(self._node, "110103", "R", transaction, there, here, person=self._person)
        try:
            yield event
        finally:
            self.keep(event)

    @contextmanager
    def storing(self, peer: str, host: str, patient_id: str, noted: str) -> Iterator[AuditEvent]:
        """Images that we send by C-STORE (DICOM PS3.15: A.5.3.3, A.5.3.7): on record before, and what became of it.

        Raises:
            Unusable: a record cannot be kept; when it is the first, nothing is sent.
        """
        own = socket.gethostname()
        here, there = Party(f"xds@{own}", own, ours=True, requestor=True), Party(peer, host)
        begun, event = (
            AuditEvent(self._node, *what, ("", ""), here, there, person=self._person)
            for what in (("110102", "E"), ("110104", "R"))
        )
        for one in (begun, event):
            one.about_patient(patient_id)
            one.noted(noted)
        begun.end(failed=False)
        self.keep(begun)
        try:
            yield event
        finally:
            self.keep(event)

    def standing(self, registry: str, patient_id: PatientId) -> tuple[Standing, str, Sequence[str]]:
        """How an id stands at a registry that has nothing for it, as far as this node knows.

        Also who goes on for it where it was merged, and the authorities of the affinity domain.
        """
        base, _, name = registry.rstrip("/").removesuffix("/registry").rpartition("/")
        own = {f"{scheme}://{self.settings.server.listen}" for scheme in ("http", "https")}
        own |= {self.settings.server.public_url.rstrip("/")} - {""}
        is_default = registry.rstrip("/").removesuffix("/registry") in own
        domain = DEFAULT_DOMAIN if is_default else name if base in own else ""
        here = self.settings.affinity_domains.get(domain)
        if here is not None and self._engine is not None and "registry" in self.settings.server.actors:
            with reading(self._engine) as connection:
                return *standing(connection, domain, here.assigning_authorities, patient_id), here.assigning_authorities
        is_told = self._sources.get("domain.assigning_authorities", "default") not in _NOT_TOLD
        authorities = self.settings.domain.assigning_authorities if is_told else ()
        return elsewhere(authorities, patient_id), "", authorities

    def _event(self, transaction: Transaction, url: str) -> AuditEvent:
        here, there = _ends(url)
        source, destination = (there, here) if transaction.retrieve else (here, there)
        audits = transaction.initiator_audits
        title = transaction.audit_title or transaction.title
        return AuditEvent(
            self._node, audits.event_id, audits.action, (transaction.number, title), source, destination,
            person=self._person,
        )  # fmt: skip

    def question(self, transaction: tuple[str, str], url: str) -> AuditEvent:
        """A question to a PIX Manager, by number and title: it is kept before its answer is used."""
        here, there = _ends(url)
        return AuditEvent(self._node, "110112", "E", transaction, here, there, person=self._person)

    def keep(self, event: AuditEvent) -> None:
        """
        Raises:
            Unusable: it cannot be kept.
        """
        try:
            if self._engine is not None:
                with self._engine.begin() as connection:
                    record(connection, event.records())
            if self._audit_to:
                for one in event.records():
                    send(self._audit_to, one.message)
        except (NotSent, sa.exc.SQLAlchemyError) as problem:
            raise Unusable(f"the audit record cannot be kept: {problem}") from None

    def published(self, study_instance_uid: str, patient_id: str) -> None:
        """Note whose a study was published as, so that who looks at it is found under them."""
        from xds.store import study_patients

        if self._engine is not None:
            with self._engine.begin() as connection:
                study_patients.keep(connection, study_instance_uid, patient_id)

    def peer(self, url: str) -> Location:
        """A peer that is named by its URL; we present our own certificate there."""
        return Location(url).or_by(self.settings.tls)

    def client(self, peer: Location) -> Client:
        return Client(
            peer.url, certificate=peer.certificate, key=peer.key, trusted=peer.trusted,
            header_blocks=self.header_blocks,
        )  # fmt: skip

    def authorization(self, url: str) -> str:
        """For whom a WADO-RS service is asked (ITI-72): told to hosts of [imaging_sources] alone.

        A manifest names the service, and whoever may publish one could have it sent anywhere.
        """
        known = {urlsplit(peer.url)[:2] for peer in self.settings.imaging_sources.values()}
        return encoded(self._assertion) if self._assertion and urlsplit(url)[:2] in known else ""

    def repository(self, unique_id: str, gateway: str = "") -> Location:
        """Where a repository is, by its repositoryUniqueId; ``gateway``: by which one of another community is reached.

        Raises:
            Unusable: it is not in the settings; the message names it.
        """
        if gateway and unique_id not in self.settings.repositories:
            return self.peer(gateway)
        known = _known(self.settings.repositories, unique_id, "repositories", "repositoryUniqueId")
        return known.or_by(self.settings.tls)

    def imaging_source(self, unique_id: str, gateway: str = "") -> Location:
        """Where an Imaging Document Source is, by its Retrieve Location UID; ``gateway``: likewise.

        Raises:
            Unusable: it is not in the settings; the message names it.
        """
        if gateway and unique_id not in self.settings.imaging_sources:
            return self.peer(gateway)
        known = _known(self.settings.imaging_sources, unique_id, "imaging_sources", "Retrieve Location UID")
        return known.or_by(self.settings.tls)


def _person(path: str) -> tuple[Person | None, Sequence[Element], bytes]:
    """For whom the command acts, what its messages carry of that (ITI-40), and the assertion itself.

    Raises:
        Unusable: the assertion cannot be read.
    """
    if not path:
        return None, (), b""
    try:
        assertion = Path(path).read_bytes()
        return Person.of(claimed(assertion)), (header_block(assertion),), assertion
    except OSError as problem:
        raise Unusable(f"xua.assertion: {problem.strerror}") from None
    except ValueError as problem:
        raise Unusable(f"xua.assertion: {problem}") from None


def _known(table: Any, unique_id: str, section: str, what: str) -> Location:
    peer = table.get(unique_id)
    if peer is None:
        raise Unusable(f"{what} {unique_id} is unknown here: add it to [{section}] in the settings")
    found: Location = peer
    return found


@contextmanager
def desk(config: Path | None, data: str | None, audit_to: str | None) -> Iterator[Desk]:
    """A client command's desk; what peers do wrong is said in one line.

    Raises:
        Unusable: neither a deployment nor an audit repository is named.
    """
    if not data and not config and not audit_to:
        raise Unusable("every access is audited: name --data DIR (or --config FILE), or --audit-to URL")
    loaded = settings(config, data) if data or config else settings(None, None, made=False)
    try:
        if data or config:
            with database(loaded) as engine:
                yield Desk(loaded, engine, audit_to or "")
        else:
            yield Desk(loaded, None, audit_to or "")
    except Refused as refused:
        lines = (f"  {f.code}: {f.context}{f' ({f.location})' if f.location else ''}" for f in refused.findings)
        raise Unusable("refused:\n" + "\n".join(lines)) from None
    except (NoReply, Faulted) as problem:
        raise Unusable(_advised(str(problem)) if isinstance(problem, NoReply) else str(problem)) from None


# What a client says of an exchange that failed, and what that means to somebody at a keyboard.
_ADVICE = {
    "ConnectionError": "nobody answers there.  Is the server running?",
    "no connection": "nobody answers there.  Is the server running?",
    "Timeout": "no answer in time.",
    "not well-formed XML": "what answers there is no SOAP service.  Addresses end in /registry and /repository.",
    "text/html": "what answers there is a web page, no SOAP service.  Addresses end in /registry and /repository.",
    "TooManyRedirects": "what answers there is no SOAP service.  Addresses end in /registry and /repository.",
    "text/plain": "what answers there is no SOAP service.  Addresses end in /registry and /repository.",
}


def _advised(text: str) -> str:
    """What went wrong, in words that say what to do."""
    advice = next((advice for sign, advice in _ADVICE.items() if sign in text), "")
    return f"{text}: {advice}" if advice else text
