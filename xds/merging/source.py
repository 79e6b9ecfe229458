"""What a source has: its registry is asked by ITI-18, its repositories by ITI-43; each is audited as any consumer's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lxml import etree

from xds.actors.document_consumer import Retrieved, listed, quoted, retrieve
from xds.audit.messages.events import AuditEvent
from xds.ebxml import query, rim, rs
from xds.ebxml.query import AdhocQuery
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused, Severity, Status, Unusable
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.queries import catalogue
from xds.settings.merging import Merge
from xds.settings.sections import Location, Tls
from xds.store.interface import Kind
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.transaction import Transaction
from xds.wire.client import Client, Within
from xds.wire.mime import Limits
from xds.wire.spool import Spool
from xds.wire.xml import Element, name

AT_ONCE = 50
"""Objects of which a registry is asked that does not give all at once."""

MOST_SECONDS = 14_400.0
"""The longest that the documents of one answer may take."""

ELEMENTS = 20_000_000
"""In one answer, and as many attributes."""

Audited = Callable[[Transaction, str], AbstractContextManager[AuditEvent]]
"""Begins a transaction of ours with a peer at a URL; what comes of it is used after its record is kept."""

_STATUSES = listed([v.AvailabilityStatus.APPROVED, v.AvailabilityStatus.DEPRECATED])
_TYPES = listed([v.STABLE, v.ON_DEMAND])


@dataclass(slots=True)
class Everything:
    """A patient's objects; and of those that cannot be read what each is called, and why."""

    objects: list[MetadataObject] = field(default_factory=list)
    unread: dict[str, tuple[str, str]] = field(default_factory=dict)  # kind and reason, by id

    def ids(self) -> set[str]:
        """What they are called, those that cannot be read, too."""
        return {one.entry_uuid for one in self.objects} | self.unread.keys()


class Source:
    """One source that is merged: its registry, and its repositories by their OIDs."""

    def __init__(
        self, label: str, merge: Merge, repositories: Mapping[str, Location], tls: Tls, staging: Path, audited: Audited
    ) -> None:
        """``staging``: where what comes with an answer is put.

        Raises:
            Unusable: the settings do not say where its registry is.
        """
        if not merge.registry:
            raise Unusable(f"merges.{label}.registry must say where the registry is that is merged")
        self.label, self._merge, self._repositories, self._tls = label, merge, repositories, tls
        self._staging, self._audited = staging, audited
        where = Location(merge.registry, merge.certificate, merge.key, merge.trusted).or_by(tls)
        self._registry, self._clients = self._client(where), dict[str, Client]()

    def _client(self, where: Location) -> Client:
        return Client(
            where.url, certificate=where.certificate, key=where.key, trusted=where.trusted,
            seconds=self._merge.seconds, connections=8,
        )  # fmt: skip

    def everything(self, patient_id: PatientId) -> Everything:
        """All that the registry has of a patient, deprecated and on demand, too.

        Raises:
            Refused: it does not say all of it.
            NoReply, Faulted, OverBounds: as ``Client.send`` does.
        """
        parameters = {
            "patientId": [quoted(str(patient_id))],
            "XDSDocumentEntryStatus": [_STATUSES],
            "XDSSubmissionSetStatus": [_STATUSES],
            "XDSFolderStatus": [_STATUSES],
            "XDSDocumentEntryType": [_TYPES],
        }
        found = Everything()
        try:
            self._take(self._ask(catalogue.GET_ALL, parameters), found)
        except Refused as refused:
            if {finding.code for finding in refused.findings} != {ErrorCode.TOO_MANY_RESULTS}:
                raise
            found = Everything()
            for answer in self._in_parts(patient_id, found):
                self._take(answer, found)
        unique = {item.entry_uuid: item for item in found.objects}
        found.objects = list(unique.values())
        return found

    def _in_parts(self, patient_id: PatientId, found: Everything) -> Iterator[rim.RegistryObjectList]:
        """The same of a registry that has too much of a patient to say it at once: ids first, then some at a time.

        What leads to what was found so far, as a set does to what its folder holds, is asked for until nothing is new.
        """
        whose = [quoted(str(patient_id))]
        entries = {
            "XDSDocumentEntryPatientId": whose, "XDSDocumentEntryStatus": [_STATUSES], "XDSDocumentEntryType": [_TYPES],
        }  # fmt: skip
        folders = {"XDSFolderPatientId": whose, "XDSFolderStatus": [_STATUSES]}
        for asked, given, getting, parameter in (
            (catalogue.FIND_DOCUMENTS, entries, catalogue.GET_DOCUMENTS, "XDSDocumentEntryEntryUUID"),
            (catalogue.FIND_FOLDERS, folders, catalogue.GET_FOLDERS, "XDSFolderEntryUUID"),
        ):
            yield from self._each(getting, parameter, self._ask(asked, given, "ObjectRef").object_refs)
        known = set[str]()
        while new := [one.entry_uuid for one in found.objects if one.entry_uuid not in known]:
            known.update(new)
            ids = list(dict.fromkeys(new))
            yield from self._each(catalogue.GET_SUBMISSION_SETS, "uuid", ids)  # that hold these
            yield from self._each(catalogue.GET_ASSOCIATIONS, "uuid", ids)

    def _each(
        self, asked: catalogue.StoredQuery, parameter: str, ids: Sequence[str], at_once: int = AT_ONCE
    ) -> Iterator[rim.RegistryObjectList]:  # fmt: skip
        """What a registry says of ids, of so few at once that it says it; 5 to a value, which has 256 characters."""
        for start in range(0, len(ids), at_once):
            some = ids[start : start + at_once]
            try:
                yield self._ask(asked, {parameter: [listed(some[at : at + 5]) for at in range(0, len(some), 5)]})
            except Refused as refused:
                if len(some) == 1 or {one.code for one in refused.findings} != {ErrorCode.TOO_MANY_RESULTS}:
                    raise
                yield from self._each(asked, parameter, some, (len(some) + 1) // 2)

    def _ask(
        self, asked: catalogue.StoredQuery, parameters: Mapping[str, Sequence[str]], returned: str = "LeafClass"
    ) -> rim.RegistryObjectList:
        slots = tuple(rim.Slot(f"${key}", tuple(values)) for key, values in parameters.items())
        sent = AdhocQuery(asked.id, returned, slots)
        body = etree.tostring(query.write_request(sent))
        within = Within(self._merge.answer_bytes, ELEMENTS, time.monotonic() + self._merge.seconds)
        limits = Limits(root_part_bytes=self._merge.answer_bytes)
        with self._audited(ITI_18, self._registry.url) as event, Spool(self._staging) as spool:
            event.about_query(sent, body)
            answer = self._registry.send(
                ITI_18.action, [body], spool, as_mtom=False, limits=limits, within=within
            ).body  # fmt: skip
            return _objects(answer)

    def _take(self, answer: rim.RegistryObjectList, found: Everything) -> None:
        for entry in answer.extrinsic_objects:
            self._keep(Kind.DOCUMENT_ENTRY, entry, from_ebxml.document_entry(entry), found)
        for package in answer.registry_packages:
            is_set = any(one.node == v.SUBMISSION_SET for one in package.classifications)
            if is_set:
                self._keep(Kind.SUBMISSION_SET, package, from_ebxml.submission_set(package), found)
            else:
                self._keep(Kind.FOLDER, package, from_ebxml.folder(package), found)
        for relation in answer.associations:
            self._keep(Kind.ASSOCIATION, relation, from_ebxml.association(relation), found)

    def _keep(
        self, kind: str, item: rim.RegistryObject, read: tuple[MetadataObject | None, list[Finding]], found: Everything
    ) -> None:  # fmt: skip
        made, findings = read
        if made is None:
            found.unread[item.id] = kind, "; ".join(dict.fromkeys(one.context for one in findings))
        else:
            found.objects.append(made)

    def documents(self, requests: Sequence[DocumentRequest], spool: Spool) -> Retrieved:
        """Documents of one repository of the source's.

        Raises:
            Unusable: the settings do not say where the repository is.
            NoReply, Faulted, OverBounds, NotKept: as ``Client.send`` does.
        """
        repository = requests[0].repository_unique_id
        client = self._clients.get(repository)
        if client is None:
            where = self._repositories.get(repository)
            if where is None:
                raise Unusable(f"repositoryUniqueId {repository} is unknown here: add it to [repositories]")
            client = self._clients[repository] = self._client(where.or_by(self._tls))
        with self._audited(ITI_43, client.url) as event:
            event.about_documents(requests)
            bounds = Limits(self._merge.answer_bytes, self._merge.document_bytes, len(requests))
            until = time.monotonic() + MOST_SECONDS
            within = Within(self._merge.document_bytes * len(requests), ELEMENTS, until, self._merge.seconds)
            got = retrieve(client, ITI_43.action, requests, spool, bounds, within)
            event.end(failed=not got.documents, findings=got.findings)
            return got

    @property
    def url(self) -> str:
        return self._registry.url

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "localhost"

    def knows(self, repository_unique_id: str) -> bool:
        """Whether it is known where a repository is."""
        return repository_unique_id in self._repositories


def _objects(response: Element) -> rim.RegistryObjectList:
    """
    Raises:
        Refused: the registry has not said all that there is.
    """
    try:
        status, findings = rs.read_response(response)
    except ValueError:
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, "the answer has no status that is known")]) from None
    errors = [one for one in findings if one.severity is Severity.ERROR]
    if status is not Status.SUCCESS or errors:
        raise Refused(errors or [Finding(ErrorCode.REGISTRY_ERROR, f"the answer's status is {status}")])
    objects = response.find(name("rim:RegistryObjectList"))
    return rim.RegistryObjectList() if objects is None else rim.read_registry_object_list(objects)
