"""XDS.b and XDS-I.b bodies: ProvideAndRegister, RetrieveDocumentSet, RetrieveImagingDocumentSet, RemoveDocuments.

ITI TF-2: 3.41, 3.43, 3.86; RAD TF-2: 4.69.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from xds.wire.xml import NAMESPACES, Element, name


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """One document asked for."""

    repository_unique_id: str
    document_unique_id: str
    home_community_id: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceRequest:
    """One DICOM instance asked for, in its study and series."""

    study_instance_uid: str
    series_instance_uid: str
    document: DocumentRequest


@dataclass(frozen=True, slots=True)
class ImagingRequest:
    """RAD-69: instances, and the transfer syntaxes the consumer reads."""

    instances: tuple[InstanceRequest, ...]
    transfer_syntax_uids: tuple[str, ...]


_REPOSITORY, _DOCUMENT, _HOME = (
    name(f"xds:{local}") for local in ("RepositoryUniqueId", "DocumentUniqueId", "HomeCommunityId")
)


def read_document_requests(element: Element) -> tuple[DocumentRequest, ...]:
    return tuple(map(_read_document_request, element.iterfind(name("xds:DocumentRequest"))))


def _read_document_request(element: Element) -> DocumentRequest:
    # Thousands come in one request: their children are looked at once.
    found = {child.tag: (child.text or "").strip() for child in reversed(element)}
    return DocumentRequest(found.get(_REPOSITORY, ""), found.get(_DOCUMENT, ""), found.get(_HOME))


def write_retrieve_request(requests: Iterable[DocumentRequest]) -> Element:
    element = etree.Element(name("xds:RetrieveDocumentSetRequest"), nsmap={"xds": NAMESPACES["xds"]})
    for request in requests:
        _write_document_request(element, request)
    return element


def write_remove_request(requests: Iterable[DocumentRequest]) -> Element:
    nsmap = {"rmd": NAMESPACES["rmd"], "xds": NAMESPACES["xds"]}
    element = etree.Element(name("rmd:RemoveDocumentsRequest"), nsmap=nsmap)
    for request in requests:
        _write_document_request(element, request)
    return element


def _write_document_request(parent: Element, request: DocumentRequest) -> None:
    element = etree.SubElement(parent, name("xds:DocumentRequest"))
    if request.home_community_id is not None:
        etree.SubElement(element, name("xds:HomeCommunityId")).text = request.home_community_id
    etree.SubElement(element, name("xds:RepositoryUniqueId")).text = request.repository_unique_id
    etree.SubElement(element, name("xds:DocumentUniqueId")).text = request.document_unique_id


def read_imaging_request(element: Element) -> ImagingRequest:
    instances = tuple(
        InstanceRequest(
            study.get("studyInstanceUID", ""),
            series.get("seriesInstanceUID", ""),
            _read_document_request(document),
        )
        for study in element.iterfind(name("xdsi:StudyRequest"))
        for series in study.iterfind(name("xdsi:SeriesRequest"))
        for document in series.iterfind(name("xds:DocumentRequest"))
    )
    listed = element.iterfind(f"{name('xdsi:TransferSyntaxUIDList')}/{name('xdsi:TransferSyntaxUID')}")
    return ImagingRequest(instances, tuple((item.text or "").strip() for item in listed))


def write_imaging_request(request: ImagingRequest) -> Element:
    """One StudyRequest a study and one SeriesRequest a series, in the order they first come."""
    element = etree.Element(
        name("xdsi:RetrieveImagingDocumentSetRequest"),
        nsmap={"xdsi": NAMESPACES["xdsi"], "xds": NAMESPACES["xds"]},
    )
    studies: dict[str, Element] = {}
    series: dict[tuple[str, str], Element] = {}
    for instance in request.instances:
        study_uid, series_uid = instance.study_instance_uid, instance.series_instance_uid
        if study_uid not in studies:
            studies[study_uid] = etree.SubElement(element, name("xdsi:StudyRequest"), studyInstanceUID=study_uid)
        if (study_uid, series_uid) not in series:
            series[study_uid, series_uid] = etree.SubElement(
                studies[study_uid], name("xdsi:SeriesRequest"), seriesInstanceUID=series_uid
            )
        _write_document_request(series[study_uid, series_uid], instance.document)
    syntaxes = etree.SubElement(element, name("xdsi:TransferSyntaxUIDList"))
    for uid in request.transfer_syntax_uids:
        etree.SubElement(syntaxes, name("xdsi:TransferSyntaxUID")).text = uid
    return element
