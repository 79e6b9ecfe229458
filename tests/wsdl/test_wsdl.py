"""The WSDLs load in a strict client and say what the standards' tables say.

How ``xds find`` asks with zeep; Slots are plain dictionaries, a Value of several is a list::

    client = zeep.Client("wsdl/registry.wsdl", plugins=[Addressing()])
    service = client.create_service("{urn:ihe:iti:xds-b:2007}DocumentRegistry_Binding_Soap12", url)
    with client.settings(raw_response=True):
        response = service.DocumentRegistry_RegistryStoredQuery(
            ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
            AdhocQuery={
                "id": "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d",
                "Slot": [
                    {"name": "$XDSDocumentEntryPatientId", "ValueList": {"Value": ["'A-1^^^&1.2.3.4&ISO'"]}},
                ],
            },
        )

``raw_response`` because zeep knows no substitution groups: it cannot read a RegistryObjectList that
holds anything but rim:Identifiable, nor write one.  ``Addressing`` because zeep's own headers are
Action, MessageID and To only, and its Action does not carry mustUnderstand (ITI TF-2: Appendix V).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree
from zeep.exceptions import XMLParseError

from xds.wire.xml import NAMESPACES, Element, name, schema

FOLDER = Path(__file__).parents[2] / "wsdl"
WSDLS = ["registry.wsdl", "repository.wsdl", "imaging_source.wsdl", "gateway.wsdl", "responding_gateway.wsdl"]
WSDL = {
    "wsdl": "http://schemas.xmlsoap.org/wsdl/",
    "soap12": "http://schemas.xmlsoap.org/wsdl/soap12/",
    "wsaw": "http://www.w3.org/2006/05/addressing/wsdl",
    "wsp": "http://schemas.xmlsoap.org/ws/2004/09/policy",
    "wsoma": "http://schemas.xmlsoap.org/ws/2004/09/policy/optimizedmimeserialization",
    "wsu": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    "xs": "http://www.w3.org/2001/XMLSchema",
}

# Operation: file, request and response action, request and response body.
# ITI TF-2: 3.18, 3.38, 3.39, 3.41, 3.42, 3.43; RAD TF-3: 4.69, whose response action is ITI-43's.
OPERATIONS = {
    "DocumentRegistry_RestrictedUpdateDocumentSet": (
        "registry.wsdl",
        "urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
        "urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
        "lcm:SubmitObjectsRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRegistry_UpdateDocumentSet": (
        "registry.wsdl",
        "urn:ihe:iti:2010:UpdateDocumentSet",
        "urn:ihe:iti:2010:UpdateDocumentSetResponse",
        "lcm:SubmitObjectsRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRegistry_DeleteDocumentSet": (
        "registry.wsdl",
        "urn:ihe:iti:2010:DeleteDocumentSet",
        "urn:ihe:iti:2010:DeleteDocumentSetResponse",
        "lcm:RemoveObjectsRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRegistry_PRPA_IN201301UV02": (
        "registry.wsdl",
        "urn:hl7-org:v3:PRPA_IN201301UV02",
        "urn:hl7-org:v3:MCCI_IN000002UV01",
        "hl7:PRPA_IN201301UV02",
        "hl7:MCCI_IN000002UV01",
    ),
    "DocumentRegistry_PRPA_IN201302UV02": (
        "registry.wsdl",
        "urn:hl7-org:v3:PRPA_IN201302UV02",
        "urn:hl7-org:v3:MCCI_IN000002UV01",
        "hl7:PRPA_IN201302UV02",
        "hl7:MCCI_IN000002UV01",
    ),
    "DocumentRegistry_PRPA_IN201304UV02": (
        "registry.wsdl",
        "urn:hl7-org:v3:PRPA_IN201304UV02",
        "urn:hl7-org:v3:MCCI_IN000002UV01",
        "hl7:PRPA_IN201304UV02",
        "hl7:MCCI_IN000002UV01",
    ),
    "DocumentRegistry_MultiPatientStoredQuery": (
        "registry.wsdl",
        "urn:ihe:iti:2009:MultiPatientStoredQuery",
        "urn:ihe:iti:2009:MultiPatientStoredQueryResponse",
        "query:AdhocQueryRequest",
        "query:AdhocQueryResponse",
    ),
    "DocumentRegistry_RegisterOnDemandDocumentEntry": (
        "registry.wsdl",
        "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
        "urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
        "lcm:SubmitObjectsRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRegistry_RegistryStoredQuery": (
        "registry.wsdl",
        "urn:ihe:iti:2007:RegistryStoredQuery",
        "urn:ihe:iti:2007:RegistryStoredQueryResponse",
        "query:AdhocQueryRequest",
        "query:AdhocQueryResponse",
    ),
    "DocumentRegistry_RegisterDocumentSet-b": (
        "registry.wsdl",
        "urn:ihe:iti:2007:RegisterDocumentSet-b",
        "urn:ihe:iti:2007:RegisterDocumentSet-bResponse",
        "lcm:SubmitObjectsRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRepository_ProvideAndRegisterDocumentSet-b": (
        "repository.wsdl",
        "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
        "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
        "xds:ProvideAndRegisterDocumentSetRequest",
        "rs:RegistryResponse",
    ),
    "DocumentRepository_RetrieveDocumentSet": (
        "repository.wsdl",
        "urn:ihe:iti:2007:RetrieveDocumentSet",
        "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
        "xds:RetrieveDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "DocumentRepository_RemoveDocuments": (
        "repository.wsdl",
        "urn:ihe:iti:2017:RemoveDocuments",
        "urn:ihe:iti:2017:RemoveDocumentsResponse",
        "rmd:RemoveDocumentsRequest",
        "rs:RegistryResponse",
    ),
    "ImagingDocumentSource_RetrieveImagingDocumentSet": (
        "imaging_source.wsdl",
        "urn:ihe:rad:2009:RetrieveImagingDocumentSet",
        "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
        "xdsi:RetrieveImagingDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "InitiatingGateway_RegistryStoredQuery": (
        "gateway.wsdl",
        "urn:ihe:iti:2007:RegistryStoredQuery",
        "urn:ihe:iti:2007:RegistryStoredQueryResponse",
        "query:AdhocQueryRequest",
        "query:AdhocQueryResponse",
    ),
    "InitiatingGateway_RetrieveDocumentSet": (
        "gateway.wsdl",
        "urn:ihe:iti:2007:RetrieveDocumentSet",
        "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
        "xds:RetrieveDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "InitiatingGateway_RetrieveImagingDocumentSet": (
        "gateway.wsdl",
        "urn:ihe:rad:2009:RetrieveImagingDocumentSet",
        "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
        "xdsi:RetrieveImagingDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "RespondingGateway_CrossGatewayRetrieveImagingDocumentSet": (
        "responding_gateway.wsdl",
        "urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSet",
        "urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSetResponse",
        "xdsi:RetrieveImagingDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "RespondingGateway_CrossGatewayQuery": (
        "responding_gateway.wsdl",
        "urn:ihe:iti:2007:CrossGatewayQuery",
        "urn:ihe:iti:2007:CrossGatewayQueryResponse",
        "query:AdhocQueryRequest",
        "query:AdhocQueryResponse",
    ),
    "RespondingGateway_CrossGatewayRetrieve": (
        "responding_gateway.wsdl",
        "urn:ihe:iti:2007:CrossGatewayRetrieve",
        "urn:ihe:iti:2007:CrossGatewayRetrieveResponse",
        "xds:RetrieveDocumentSetRequest",
        "xds:RetrieveDocumentSetResponse",
    ),
    "RespondingGateway_PRPA_IN201305UV02": (
        "responding_gateway.wsdl",
        "urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery",
        "urn:hl7-org:v3:PRPA_IN201306UV02:CrossGatewayPatientDiscovery",
        "hl7:PRPA_IN201305UV02",
        "hl7:PRPA_IN201306UV02",
    ),
}

# File: target namespace, provider actor (the stem of all names), the address that the server replaces.
PROVIDERS = {
    "registry.wsdl": ("urn:ihe:iti:xds-b:2007", "DocumentRegistry", "http://127.0.0.1:8080/registry"),
    "repository.wsdl": ("urn:ihe:iti:xds-b:2007", "DocumentRepository", "http://127.0.0.1:8080/repository"),
    "imaging_source.wsdl": (
        "urn:ihe:rad:xdsi-b:2009",
        "ImagingDocumentSource",
        "http://127.0.0.1:8080/imaging-source",
    ),
    "gateway.wsdl": ("urn:ihe:iti:xds-b:2007", "InitiatingGateway", "http://127.0.0.1:8080/gateway"),
    "responding_gateway.wsdl": (
        "urn:ihe:iti:xds-b:2007",
        "RespondingGateway",
        "http://127.0.0.1:8080/responding-gateway",
    ),
}

FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
PATIENT = "'A-1^^^&1.2.3.4&ISO'"


class NoNetwork(zeep.Transport):
    """Reads files; a URL is a mistake in the WSDL."""

    def _load_remote_data(self, url: str) -> bytes:
        raise AssertionError(f"{url} is not a file")


class Addressing(zeep.Plugin):
    """Completes the WS-Addressing headers that zeep writes.  ITI TF-2: Appendix V.3."""

    def egress(
        self, envelope: Element, http_headers: dict[str, str], _operation: Any, _binding_options: Any
    ) -> tuple[Element, dict[str, str]]:
        header = envelope.find(name("soap:Header"))
        assert header is not None
        action = header.find(name("wsa:Action"))
        assert action is not None
        action.set(name("soap:mustUnderstand"), "1")
        reply_to = etree.SubElement(header, name("wsa:ReplyTo"))
        etree.SubElement(reply_to, name("wsa:Address")).text = f"{NAMESPACES['wsa']}/anonymous"
        return envelope, http_headers


def client(file: str, *plugins: zeep.Plugin) -> zeep.Client:
    return zeep.Client(
        str(FOLDER / file),
        transport=NoNetwork(),
        settings=zeep.Settings(strict=True),
        plugins=list(plugins),
    )


def stored_query(registry: zeep.Client, **adhoc_query: Any) -> Element:
    """The envelope of an ITI-18 request."""
    return registry.create_message(
        registry.service,
        "DocumentRegistry_RegistryStoredQuery",
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery={"id": FIND_DOCUMENTS, **adhoc_query},
    )


def slot(slot_name: str, *values: str) -> dict[str, Any]:
    return {"name": slot_name, "ValueList": {"Value": list(values)}}


def body_of(envelope: Element) -> Element:
    body = envelope.find(name("soap:Body"))
    assert body is not None
    return body[0]


def tree(file: str) -> etree._ElementTree:
    return etree.parse(str(FOLDER / file))


@pytest.mark.parametrize("file", WSDLS)
def test_a_strict_client_loads_each_wsdl_without_the_network(file: str) -> None:
    namespace, provider, address = PROVIDERS[file]
    loaded = client(file)
    assert list(loaded.wsdl.services) == [f"{provider}_Service"]
    port = loaded.wsdl.services[f"{provider}_Service"].ports[f"{provider}_Port_Soap12"]
    assert port.binding.name == f"{{{namespace}}}{provider}_Binding_Soap12"
    assert port.binding.port_type.name == f"{{{namespace}}}{provider}_PortType"
    assert port.binding_options["address"] == address


@pytest.mark.parametrize("file", WSDLS)
def test_each_wsdl_offers_the_operations_of_the_table_and_no_others(file: str) -> None:
    _, provider, _ = PROVIDERS[file]
    port = client(file).wsdl.services[f"{provider}_Service"].ports[f"{provider}_Port_Soap12"]
    assert set(port.binding.all()) == {operation for operation, row in OPERATIONS.items() if row[0] == file}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_has_the_bodies_of_the_table(operation: str) -> None:
    file, action, _, request, response = OPERATIONS[operation]
    _, provider, _ = PROVIDERS[file]
    port = client(file).wsdl.services[f"{provider}_Service"].ports[f"{provider}_Port_Soap12"]
    bound = port.binding.get(operation)
    assert bound.style == "document"
    assert bound.abstract.wsa_action == action
    assert bound.input.body.qname == name(request)
    assert bound.output.body.qname == name(response)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_has_the_actions_of_the_table(operation: str) -> None:
    file, action, reply_action, _, _ = OPERATIONS[operation]
    document = tree(file)
    abstract = f"//wsdl:portType/wsdl:operation[@name='{operation}']"
    assert document.xpath(f"{abstract}/wsdl:input/@wsaw:Action", namespaces=WSDL) == [action]
    assert document.xpath(f"{abstract}/wsdl:output/@wsaw:Action", namespaces=WSDL) == [reply_action]
    (concrete,) = document.xpath(
        f"//wsdl:binding/wsdl:operation[@name='{operation}']/soap12:operation", namespaces=WSDL
    )
    assert concrete.get("soapAction") == action
    assert concrete.get("soapActionRequired") == "false"


@pytest.mark.parametrize("file", WSDLS)
def test_each_binding_requires_addressing(file: str) -> None:
    (using,) = tree(file).xpath("//wsdl:binding/wsaw:UsingAddressing", namespaces=WSDL)
    assert using.get(f"{{{WSDL['wsdl']}}}required") == "true"


@pytest.mark.parametrize(("file", "count"), list(zip(WSDLS, (0, 1, 1, 2, 2), strict=True)))
def test_bindings_that_carry_documents_require_mtom_and_the_registry_has_none(file: str, count: int) -> None:
    document = tree(file)
    references = document.xpath("//wsdl:binding//wsp:PolicyReference/@URI", namespaces=WSDL)
    assert len(references) == count
    for reference in references:
        (demand,) = document.xpath(
            "//wsp:Policy[@wsu:Id=$id]/wsoma:OptimizedMimeSerialization", namespaces=WSDL, id=reference[1:]
        )
        assert demand.get(f"{{{WSDL['wsp']}}}Optional") == "false"


@pytest.mark.parametrize("file", WSDLS[3:])
def test_of_a_gateway_the_retrievals_require_mtom_and_the_query_has_none(file: str) -> None:
    demanding = "//wsdl:binding/wsdl:operation[wsp:PolicyReference]/@name"
    operations = tree(file).xpath(demanding, namespaces=WSDL)
    assert ["Retrieve" in one for one in operations] == [True, True]


@pytest.mark.parametrize("file", WSDLS)
def test_each_import_leads_to_a_schema_of_its_namespace(file: str) -> None:
    links = tree(file).findall(".//xs:import", WSDL)
    assert links
    for link in links:
        location = link.attrib["schemaLocation"]
        assert location.startswith("../schemas/")
        assert etree.parse(str(FOLDER / location)).getroot().get("targetNamespace") == link.get("namespace")


def test_a_stored_query_is_written_with_its_slots_and_valid_by_our_schema() -> None:
    registry = client("registry.wsdl")
    body = body_of(
        stored_query(
            registry,
            home="urn:oid:1.2.3.4.1",
            Slot=[
                slot("$XDSDocumentEntryPatientId", PATIENT),
                slot("$XDSDocumentEntryStatus", "('a')", "('b')"),
            ],
        )
    )
    schema("query.xsd").assertValid(body)
    assert body.tag == name("query:AdhocQueryRequest")
    assert body.xpath("rim:AdhocQuery/@id", namespaces=NAMESPACES) == [FIND_DOCUMENTS]
    assert body.xpath("rim:AdhocQuery/@home", namespaces=NAMESPACES) == ["urn:oid:1.2.3.4.1"]
    assert body.xpath("query:ResponseOption/@returnType", namespaces=NAMESPACES) == ["LeafClass"]
    slots = {
        element.get("name"): element.xpath("rim:ValueList/rim:Value/text()", namespaces=NAMESPACES)
        for element in body.iter(name("rim:Slot"))
    }
    assert slots == {"$XDSDocumentEntryPatientId": [PATIENT], "$XDSDocumentEntryStatus": ["('a')", "('b')"]}


def test_a_stored_query_without_addressing_plugin_has_only_the_headers_that_zeep_writes() -> None:
    header = stored_query(client("registry.wsdl")).find(name("soap:Header"))
    assert header is not None
    assert [element.tag for element in header] == [name("wsa:Action"), name("wsa:MessageID"), name("wsa:To")]


def test_a_plugin_completes_the_addressing_headers() -> None:
    header = stored_query(client("registry.wsdl", Addressing())).find(name("soap:Header"))
    assert header is not None
    assert header.findtext(name("wsa:Action")) == "urn:ihe:iti:2007:RegistryStoredQuery"
    assert header[0].get(name("soap:mustUnderstand")) == "1"
    assert header.findtext(f"{name('wsa:ReplyTo')}/{name('wsa:Address')}") == f"{NAMESPACES['wsa']}/anonymous"


def test_a_client_writes_a_retrieve_request_that_is_valid_by_our_schema() -> None:
    repository = client("repository.wsdl")
    envelope = repository.create_message(
        repository.service,
        "DocumentRepository_RetrieveDocumentSet",
        DocumentRequest=[{"RepositoryUniqueId": "1.2.3.4.2", "DocumentUniqueId": "1.2.3.4.5.1"}],
    )
    schema("xdsb.xsd").assertValid(body_of(envelope))


def test_a_client_writes_an_imaging_request_that_is_valid_by_our_schema() -> None:
    source = client("imaging_source.wsdl")
    instance = {"RepositoryUniqueId": "1.2.3.4.3", "DocumentUniqueId": "1.2.3.4.6.1.1.1"}
    series = {"seriesInstanceUID": "1.2.3.4.6.1.1", "DocumentRequest": [instance]}
    envelope = source.create_message(
        source.service,
        "ImagingDocumentSource_RetrieveImagingDocumentSet",
        StudyRequest=[{"studyInstanceUID": "1.2.3.4.6.1", "SeriesRequest": [series]}],
        TransferSyntaxUIDList={"TransferSyntaxUID": ["1.2.840.10008.1.2.1"]},
    )
    schema("xdsib.xsd").assertValid(body_of(envelope))


def test_zeep_cannot_read_a_registry_object_list_so_its_replies_are_taken_raw() -> None:
    registry = client("registry.wsdl")
    response = etree.Element(name("query:AdhocQueryResponse"), status="urn:a")
    objects = etree.SubElement(response, name("rim:RegistryObjectList"))
    etree.SubElement(objects, name("rim:ObjectRef"), id="urn:uuid:1")
    schema("query.xsd").assertValid(response)
    with pytest.raises(XMLParseError, match="ObjectRef"):
        registry.get_element(name("query:AdhocQueryResponse")).parse(response, registry.wsdl.types)
