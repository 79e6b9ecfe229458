"""The (Imaging) Document Consumer: finds entries, fetches manifests, retrieves images and checks them.

ITI TF-2: 3.18, 3.43; RAD TF-2: 4.69.  What each call does is for its caller to audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from xds.ebxml import rim, rs, xdsb
from xds.errors import ErrorCode, Finding, Refused, Severity, Status
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.datatypes import ReferenceId
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.queries import catalogue
from xds.wire.client import Answer, Client, Within
from xds.wire.mime import Limits
from xds.wire.spool import Spool, Spooled
from xds.wire.xml import Element, name

BATCH = 200
"""Instances asked for in one RAD-69."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; what is empty does not restrict.  Times are of service start, as DTM."""

    patient_id: PatientId
    study_instance_uid: str = ""
    accession_number: str = ""
    accession_authority: str = ""
    modality: str = ""
    since: str = ""
    until: str = ""
    deprecated: bool = False

    def query(self) -> tuple[str, dict[str, list[str]]]:
        """The stored query's id and its parameters."""
        statuses = [v.AvailabilityStatus.APPROVED, *([v.AvailabilityStatus.DEPRECATED] if self.deprecated else [])]
        parameters = {
            "XDSDocumentEntryPatientId": [quoted(str(self.patient_id))],
            "XDSDocumentEntryStatus": [listed(statuses)],
        }
        if self.modality:
            # Three schemes of modality codes are seen in the field.
            schemes = ("1.2.840.10008.2.16.4", "1.2.840.10008.2.6.1", "DCM")
            codes = [f"{self.modality}^^{scheme}" for scheme in schemes]
            parameters["XDSDocumentEntryEventCodeList"] = [listed(codes)]
        if self.since:
            parameters["XDSDocumentEntryServiceStartTimeFrom"] = [self.since]
        if self.until:
            parameters["XDSDocumentEntryServiceStartTimeTo"] = [self.until]
        references = self._references()
        if not references:
            return catalogue.FIND_DOCUMENTS.id, parameters
        parameters["XDSDocumentEntryReferenceIdList"] = [listed(references)]
        return catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID.id, parameters

    def _references(self) -> list[str]:
        found = []
        if self.study_instance_uid:
            found.append(ReferenceId.of(self.study_instance_uid, v.REFERENCE_STUDY).text)
        if self.accession_number:
            authority = self.accession_authority
            found.append(ReferenceId.of(self.accession_number, v.REFERENCE_ACCESSION, authority).text)
        return found


def quoted(text: str) -> str:
    """A value in the coding style of ITI TF-2: 3.18.4.1.2.3.5."""
    return "'" + text.replace("'", "''") + "'"


def listed(values: Iterable[str]) -> str:
    return "(" + ",".join(map(quoted, values)) + ")"


def read_entries(response: Element) -> list[DocumentEntry]:
    """The entries of an AdhocQueryResponse; those that we cannot read are left out.

    Raises:
        Refused: the registry refused the query.
    """
    return read_answer(response)[0]


def read_answer(response: Element) -> tuple[list[DocumentEntry], list[Finding]]:
    """The same, and why it is not all that there is: a gateway answers also when a community does not.

    Raises:
        Refused: the registry refused the query.
    """
    status, findings = rs.read_response(response)
    if status is Status.FAILURE:
        raise Refused(findings)
    missing = [one for one in findings if one.severity is Severity.ERROR]
    objects = response.find(name("rim:RegistryObjectList"))
    if objects is None:
        return [], missing
    items = rim.read_registry_object_list(objects).extrinsic_objects
    return [entry for entry, _ in map(from_ebxml.document_entry, items) if entry is not None], missing


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Documents by their uniqueId, and what was said of those that did not come."""

    documents: Mapping[str, Spooled]
    findings: Sequence[Finding] = field(default=())


def retrieve(
    client: Client, action: str, requests: Sequence[xdsb.DocumentRequest], spool: Spool, limits: Limits | None = None,
    within: Within | None = None,
) -> Retrieved:  # fmt: skip
    """ITI-43: documents into files of the spool; so much is taken of an answer of somebody who is not ours.

    Raises:
        NoReply, Faulted: as ``Client.send`` does.
    """
    body = etree.tostring(xdsb.write_retrieve_request(requests))
    return _retrieved(client.send(action, [body], spool, as_mtom=True, limits=limits, within=within))


def retrieve_images(client: Client, action: str, request: xdsb.ImagingRequest, spool: Spool) -> Retrieved:
    """RAD-69: instances into files of the spool.

    Raises:
        NoReply, Faulted: as ``Client.send`` does.
    """
    body = etree.tostring(xdsb.write_imaging_request(request))
    return _retrieved(client.send(action, [body], spool, as_mtom=True))


def batches(request: xdsb.ImagingRequest) -> Iterator[xdsb.ImagingRequest]:
    """A long request in parts, so that a break costs little."""
    for start in range(0, len(request.instances), BATCH):
        yield xdsb.ImagingRequest(request.instances[start : start + BATCH], request.transfer_syntax_uids)


def _retrieved(answer: Answer) -> Retrieved:
    response = answer.body.find(name("rs:RegistryResponse"))
    if response is None:
        rule = "the reply holds no RegistryResponse (ITI TF-2: 3.43.4.2.2)"
        return Retrieved({}, [Finding(ErrorCode.REPOSITORY_ERROR, rule)])
    _, findings = rs.read_response(response)
    documents: dict[str, Spooled] = {}
    for item in answer.body.iterfind(name("xds:DocumentResponse")):
        unique_id = (item.findtext(name("xds:DocumentUniqueId")) or "").strip()
        document = item.find(name("xds:Document"))
        if document is not None and document in answer.contents:
            documents[unique_id] = answer.contents[document]
    return Retrieved(documents, findings)
