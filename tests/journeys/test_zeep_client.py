"""zeep, a client that knows nothing of us but our WSDLs, loads each from the running server and calls every operation.

What zeep cannot do goes through the transport here, each for its reason:
- ITI-42 and ITI-41: zeep cannot write rim's substitution groups, so the body is ours and the envelope zeep's.
- ITI-41, ITI-43 and RAD-69: zeep sends no MTOM, so the transport packs what zeep has made and unpacks the answer.
- all: zeep sends no mustUnderstand and no ReplyTo; the plugin of ``stored_query_client`` adds them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import ANNA, BERT, a_submission, an_entry, symbolic, text
from tests.hl7.test_v3 import body as interaction
from tests.hl7.test_v3 import ii
from tests.server.test_application import APPROVED, Site, of_bytes, site  # noqa: F401  fixtures
from xds.ebxml import lcm, rs
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.vocabulary import ON_DEMAND
from xds.queries.catalogue import (
    FIND_DOCUMENTS,
    FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS,
    FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS,
)
from xds.transactions.transaction import Attachment
from xds.wire import mtom
from xds.wire.mime import Limits, read_package
from xds.wire.spool import Spool
from xds.wire.stored_query_client import _Addressing
from xds.wire.xml import Element, name, parse
from xds.wire.xop import take_includes


class Transport(zeep.Transport):  # type: ignore[misc]
    """zeep's transport with MTOM below it; ``body`` stands in for a body that zeep cannot write."""

    def __init__(self, spool: Spool) -> None:
        session = requests.Session()
        session.trust_env = False
        super().__init__(session=session)
        self.spool, self.as_mtom = spool, False
        self.body: Element | None = None
        self.attachments: list[Attachment] = []
        self.received: dict[Element, Any] = {}
        self.answer: Element | None = None

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        envelope = parse(message)
        if self.body is not None:
            body = envelope.find(name("soap:Body"))
            assert body is not None
            body[:] = [self.body]
        data = etree.tostring(envelope)
        if not self.as_mtom:
            response = super().post(address, data, headers)
            self.answer = parse(response.content)
            return response
        pieces: list[Any] = []
        for attachment in self.attachments:
            before, _, data = data.partition(f"attachment:{attachment.content_id}".encode())
            pieces += [before, attachment]
        packed = mtom.mtom((*pieces, data))
        response = super().post(address, b"".join(packed.chunks), headers | dict(packed.headers))
        content = memoryview(response.content)
        at = 0

        def read(size: int) -> bytes:
            nonlocal at
            at += size
            return bytes(content[at - size : at])

        package = read_package(response.headers["Content-Type"], read, self.spool, Limits())
        self.answer = parse(package.root)
        self.received = take_includes(self.answer, package.attachments)
        return response


def client_of(site: Site, path: str) -> tuple[Any, Transport]:  # noqa: F811
    """zeep as the running server's own WSDL makes it, at the address that the WSDL says."""
    transport = Transport(site.spool)
    client = zeep.Client(f"{site.url}{path}?wsdl", transport=transport, plugins=[_Addressing()])
    client.settings.raw_response = True
    return client.service, transport


def status_of(transport: Transport) -> Status:
    assert transport.answer is not None
    found = transport.answer.find(f".//{name('rs:RegistryResponse')}")
    return rs.read_response(transport.answer.find(f"{name('soap:Body')}/*") if found is None else found)[0]  # type: ignore[arg-type]


def find(site: Site) -> bytes:  # noqa: F811
    service, transport = client_of(site, "/registry")
    service.DocumentRegistry_RegistryStoredQuery(
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery={
            "id": FIND_DOCUMENTS.id,
            "Slot": [
                {"name": "$XDSDocumentEntryPatientId", "ValueList": {"Value": [f"'{ANNA}'"]}},
                {"name": "$XDSDocumentEntryStatus", "ValueList": {"Value": [APPROVED]}},
            ],
        },
    )
    assert status_of(transport) is Status.SUCCESS
    assert transport.answer is not None
    return etree.tostring(transport.answer)


def test_zeep_registers_and_finds(site: Site) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    submission = symbolic(a_submission())
    transport.body = lcm.write_submit_objects(to_ebxml.submission(submission))
    service["DocumentRegistry_RegisterDocumentSet-b"](RegistryObjectList={})
    assert status_of(transport) is Status.SUCCESS
    assert submission.document_entries[0].unique_id.encode() in find(site)


def test_zeep_registers_an_on_demand_entry_and_asks_about_several_patients(site: Site) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    entry = an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    transport.body = lcm.write_submit_objects(to_ebxml.submission(symbolic(a_submission(entries=[entry]))))
    service.DocumentRegistry_RegisterOnDemandDocumentEntry(RegistryObjectList={})
    assert status_of(transport) is Status.SUCCESS
    service, transport = client_of(site, "/registry")
    service.DocumentRegistry_MultiPatientStoredQuery(
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery={
            "id": FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS.id,
            "Slot": [
                {"name": "$XDSDocumentEntryPatientId", "ValueList": {"Value": [f"('{ANNA}','{BERT}')"]}},
                {"name": "$XDSDocumentEntryStatus", "ValueList": {"Value": [APPROVED]}},
                {"name": "$XDSDocumentEntryType", "ValueList": {"Value": [f"('{ON_DEMAND}')"]}},
            ],
        },
    )
    assert status_of(transport) is Status.SUCCESS
    assert transport.answer is not None
    assert entry.unique_id.encode() in etree.tostring(transport.answer)


def test_zeep_finds_documents_of_several_patients_by_a_reference_id(site: Site) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    submission = symbolic(a_submission())
    transport.body = lcm.write_submit_objects(to_ebxml.submission(submission))
    service["DocumentRegistry_RegisterDocumentSet-b"](RegistryObjectList={})
    transport.body = None
    (entry,) = submission.document_entries
    service.DocumentRegistry_MultiPatientStoredQuery(
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery={
            "id": FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS.id,
            "Slot": [
                {"name": "$XDSDocumentEntryPatientId", "ValueList": {"Value": [f"('{ANNA}','{BERT}')"]}},
                {"name": "$XDSDocumentEntryStatus", "ValueList": {"Value": [APPROVED]}},
                {"name": "$XDSDocumentEntryReferenceIdList",
                 "ValueList": {"Value": [f"('{entry.reference_id_list[0].text}')"]}},
            ],
        },
    )  # fmt: skip
    assert status_of(transport) is Status.SUCCESS
    assert transport.answer is not None
    assert entry.unique_id.encode() in etree.tostring(transport.answer)


@pytest.mark.parametrize("operation", ["UpdateDocumentSet", "RestrictedUpdateDocumentSet"])
def test_zeep_updates_what_it_has_registered(site: Site, operation: str) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    submission = a_submission()
    transport.body = lcm.write_submit_objects(to_ebxml.submission(submission))
    service["DocumentRegistry_RegisterDocumentSet-b"](RegistryObjectList={})
    new = version_of(submission.document_entries[0], title=text("A better title"))
    transport.body = lcm.write_submit_objects(to_ebxml.submission(an_update(replaces(new), items=[new])))
    service[f"DocumentRegistry_{operation}"](RegistryObjectList={})
    assert status_of(transport) is Status.SUCCESS
    transport.body = None
    assert b"A better title" in find(site)


def test_zeep_removes_what_it_has_registered(site: Site) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    submission = a_submission()
    transport.body = lcm.write_submit_objects(to_ebxml.submission(submission))
    service["DocumentRegistry_RegisterDocumentSet-b"](RegistryObjectList={})
    transport.body = None
    ids = [{"id": item.entry_uuid} for item in submission.objects()]
    service.DocumentRegistry_DeleteDocumentSet(ObjectRefList={"ObjectRef": ids})
    assert status_of(transport) is Status.SUCCESS
    assert submission.document_entries[0].unique_id.encode() not in find(site)


@pytest.mark.parametrize("name_", ["PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02"])
def test_zeep_feeds_patients(site: Site, name_: str) -> None:  # noqa: F811
    service, transport = client_of(site, "/registry")
    sent = interaction(name_, prior=ii(BERT) if name_.endswith("304UV02") else "")
    service[f"DocumentRegistry_{name_}"](_value_1=list(sent))
    assert transport.answer is not None
    (code,) = transport.answer.iter(name("hl7:typeCode"))
    assert code.get("code") == ("CE" if name_.endswith("304UV02") else "CA")  # nobody is known yet


def test_zeep_provides_and_retrieves_over_mtom(site: Site) -> None:  # noqa: F811
    content = bytes(range(256)) * 400
    submission = symbolic(a_submission(entries=[an_entry(**of_bytes(content))]))
    entry = submission.document_entries[0]
    service, transport = client_of(site, "/repository")
    body = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
    body.append(lcm.write_submit_objects(to_ebxml.submission(submission)))
    etree.SubElement(body, name("xds:Document"), id=entry.entry_uuid).text = "attachment:one@zeep"
    transport.body, transport.as_mtom = body, True
    transport.attachments = [Attachment("one@zeep", len(content), lambda: iter([content]))]
    service["DocumentRepository_ProvideAndRegisterDocumentSet-b"](SubmitObjectsRequest={"RegistryObjectList": {}})
    assert status_of(transport) is Status.SUCCESS
    assert entry.unique_id.encode() in find(site)

    service, transport = client_of(site, "/repository")
    transport.as_mtom = True
    request = {"RepositoryUniqueId": site.repository_unique_id, "DocumentUniqueId": entry.unique_id}
    service.DocumentRepository_RetrieveDocumentSet(DocumentRequest=[request])
    assert status_of(transport) is Status.SUCCESS
    (received,) = transport.received.values()
    assert hashlib.sha1(received.path.read_bytes()).hexdigest() == entry.hash  # noqa: S324


def test_zeep_asks_for_images(site: Site) -> None:  # noqa: F811
    service, transport = client_of(site, "/imaging-source")
    transport.as_mtom = True
    document = {"RepositoryUniqueId": "1.2.3", "DocumentUniqueId": "1.2.4"}
    series = {"seriesInstanceUID": "1.2.5", "DocumentRequest": [document]}
    service.ImagingDocumentSource_RetrieveImagingDocumentSet(
        StudyRequest=[{"studyInstanceUID": "1.2.6", "SeriesRequest": [series]}],
        TransferSyntaxUIDList={"TransferSyntaxUID": ["1.2.840.10008.1.2.1"]},
    )
    assert status_of(transport) is Status.FAILURE


@pytest.mark.parametrize("path", ["/registry", "/repository", "/imaging-source"])
def test_every_schema_that_a_wsdl_names_is_served(site: Site, path: str, tmp_path: Path) -> None:  # noqa: F811
    seen, todo = set[str](), [f"{site.url}{path}?wsdl"]
    while todo:
        url = todo.pop()
        if url in seen:
            continue
        seen.add(url)
        response = requests.get(url, timeout=10)
        assert response.status_code == 200, url
        todo += [
            e.get("schemaLocation", "") for e in parse(response.content).iter("{*}import") if e.get("schemaLocation")
        ]
    assert len(seen) >= 5
    assert requests.get(f"{site.url}{path}?xsd=../../etc/passwd", timeout=10).status_code == 404
