"""Our schemas take what the standards allow and name what they do not.

The messages are one good one each; a test spoils one part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from xds.wire.xml import NAMESPACES, Element, name, parse, schema

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "schemas"
XS = {"xs": "http://www.w3.org/2001/XMLSchema"}

# The schema of each message, which is that of its root's namespace.
MESSAGES = {
    "iti18_request": "query.xsd",
    "iti18_response": "query.xsd",
    "iti41_request": "xdsb.xsd",
    "iti42_request": "lcm.xsd",
    "iti42_response": "rs.xsd",
    "iti43_request": "xdsb.xsd",
    "iti43_response": "xdsb.xsd",
    "iti62_request": "lcm.xsd",
    "iti86_request": "rmd.xsd",
    "rad69_request": "xdsib.xsd",
}

TARGET_NAMESPACES = {
    "audit-message.xsd": None,  # DICOM PS3.15: A.5.1 gives it none
    "rim.xsd": NAMESPACES["rim"],
    "rs.xsd": NAMESPACES["rs"],
    "lcm.xsd": NAMESPACES["lcm"],
    "hl7v3.xsd": NAMESPACES["hl7"],
    "query.xsd": NAMESPACES["query"],
    "xdsb.xsd": NAMESPACES["xds"],
    "xdsib.xsd": NAMESPACES["xdsi"],
    "rmd.xsd": NAMESPACES["rmd"],
    "xml.xsd": "http://www.w3.org/XML/1998/namespace",
}

# What a RegistryObjectList may hold, and what each must have besides an id.  ebRIM 3.0.
IDENTIFIABLE: dict[str, dict[str, str]] = {
    "AdhocQuery": {},
    "Association": {"associationType": "urn:a", "sourceObject": "urn:b", "targetObject": "urn:c"},
    "Classification": {"classifiedObject": "urn:a"},
    "ClassificationNode": {},
    "ClassificationScheme": {"isInternal": "true", "nodeType": "urn:a"},
    "ExternalIdentifier": {"registryObject": "urn:a", "identificationScheme": "urn:b", "value": "1"},
    "ExternalLink": {"externalURI": "http://localhost/"},
    "ExtrinsicObject": {},
    "Federation": {},
    "Identifiable": {},
    "ObjectRef": {},
    "Organization": {},
    "Person": {},
    "Registry": {"operator": "urn:a", "specificationVersion": "3.0"},
    "RegistryObject": {},
    "RegistryPackage": {},
    "Service": {},
    "ServiceBinding": {},
    "SpecificationLink": {"serviceBinding": "urn:a", "specificationObject": "urn:b"},
    "Subscription": {"selector": "urn:a"},
    "User": {},
}


def message(file: str) -> Element:
    return parse((HERE / "messages" / f"{file}.xml").read_bytes())


def one(root: Element, path: str) -> Element:
    """The first element at a path."""
    return root.xpath(path, namespaces=NAMESPACES)[0]


def complaints(file: str, root: Element) -> list[str]:
    """What the schema has to say, the first being the cause of the rest."""
    compiled = schema(file)
    compiled.validate(root)
    return [entry.message for entry in compiled.error_log]


def registry_object_list(child: str, attributes: dict[str, str]) -> Element:
    root = etree.Element(name("rim:RegistryObjectList"))
    etree.SubElement(root, name(f"rim:{child}"), attributes)
    return root


# Ways of spoiling a message.

Spoil = Callable[[Element], None]


def without_attribute(path: str, attribute: str) -> Spoil:
    def spoil(root: Element) -> None:
        del one(root, path).attrib[attribute]

    return spoil


def with_attribute(path: str, attribute: str, value: str) -> Spoil:
    return lambda root: one(root, path).set(attribute, value)


def with_text(path: str, text: str) -> Spoil:
    def spoil(root: Element) -> None:
        one(root, path).text = text

    return spoil


def without(path: str) -> Spoil:
    def spoil(root: Element) -> None:
        element = one(root, path)
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)

    return spoil


def emptied(path: str) -> Spoil:
    def spoil(root: Element) -> None:
        del one(root, path)[:]

    return spoil


def with_child(path: str, child: str, at: int = 0) -> Spoil:
    return lambda root: one(root, path).insert(at, etree.Element(name(child)))


def moved_to_the_front(path: str) -> Spoil:
    def spoil(root: Element) -> None:
        element = one(root, path)
        parent = element.getparent()
        assert parent is not None
        parent.insert(0, element)

    return spoil


# message, what is spoilt in it, the element that the schema names
SPOILT: dict[str, tuple[str, Spoil, str]] = {
    "an ExtrinsicObject without id": (
        "iti42_request", without_attribute("//rim:ExtrinsicObject", "id"), "rim:ExtrinsicObject",
    ),
    "an Association without targetObject": (
        "iti42_request", without_attribute("//rim:Association", "targetObject"), "rim:Association",
    ),
    "a Classification without classifiedObject": (
        "iti42_request", without_attribute("//rim:Classification", "classifiedObject"), "rim:Classification",
    ),
    "an ExternalIdentifier without value": (
        "iti42_request", without_attribute("//rim:ExternalIdentifier", "value"), "rim:ExternalIdentifier",
    ),
    "a Slot without name": ("iti42_request", without_attribute("//rim:Slot", "name"), "rim:Slot"),
    "a Slot without ValueList": ("iti42_request", without("//rim:Slot/rim:ValueList"), "rim:Slot"),
    "a Value of 257 characters": ("iti42_request", with_text("//rim:Value", "x" * 257), "rim:Value"),
    "a LocalizedString without value": (
        "iti42_request", without_attribute("//rim:LocalizedString", "value"), "rim:LocalizedString",
    ),
    "an unknown attribute": (
        "iti42_request", with_attribute("//rim:ExtrinsicObject", "colour", "red"), "rim:ExtrinsicObject",
    ),
    "an unknown object in the list": (
        "iti42_request", with_child("//rim:RegistryObjectList", "rim:Folder"), "rim:Folder",
    ),
    "a Slot in the list of objects": (
        "iti42_request", with_child("//rim:RegistryObjectList", "rim:Slot"), "rim:Slot",
    ),
    "Name before the Slots": (
        "iti42_request", moved_to_the_front("//rim:ExtrinsicObject/rim:Name"), "rim:Slot",
    ),
    "ExternalIdentifier before Classification": (
        "iti42_request",
        lambda root: one(root, "//rim:ExtrinsicObject/rim:VersionInfo").addnext(
            one(root, "//rim:ExtrinsicObject/rim:ExternalIdentifier")
        ),
        "rim:Classification",
    ),
    "a SubmitObjectsRequest without its list": (
        "iti42_request", without("//rim:RegistryObjectList"), "lcm:SubmitObjectsRequest",
    ),
    "a response without status": ("iti42_response", without_attribute("/*", "status"), "rs:RegistryResponse"),
    "an error without errorCode": (
        "iti42_response", without_attribute("//rs:RegistryError", "errorCode"), "rs:RegistryError",
    ),
    "an error without codeContext": (
        "iti42_response", without_attribute("//rs:RegistryError", "codeContext"), "rs:RegistryError",
    ),
    "an empty error list": ("iti42_response", without("//rs:RegistryError"), "rs:RegistryErrorList"),
    "an unknown returnType": (
        "iti18_request",
        with_attribute("//query:ResponseOption", "returnType", "All"),
        "query:ResponseOption",
    ),
    "a query before its ResponseOption": (
        "iti18_request", moved_to_the_front("//rim:AdhocQuery"), "rim:AdhocQuery",
    ),
    "a request without query": ("iti18_request", without("//rim:AdhocQuery"), "query:AdhocQueryRequest"),
    "a query without id": ("iti18_request", without_attribute("//rim:AdhocQuery", "id"), "rim:AdhocQuery"),
    "a query response without its list": (
        "iti18_response", without("//rim:RegistryObjectList"), "query:AdhocQueryResponse",
    ),
    "a provided Document without id": (
        "iti41_request", without_attribute("//xds:Document", "id"), "xds:Document",
    ),
    "a Document before the metadata": (
        "iti41_request", moved_to_the_front("//xds:Document"), "xds:Document",
    ),
    "a Document that is not base64": (
        "iti41_request", with_text("//xds:Document", "%PDF-1.7"), "xds:Document",
    ),
    "a Document that is still an xop:Include": (
        "iti41_request", with_child("//xds:Document", "xop:Include"), "xds:Document",
    ),
    "a request for no document": (
        "iti43_request",
        emptied("/*"),
        "xds:RetrieveDocumentSetRequest",
    ),
    "a request without repository": (
        "iti43_request", without("//xds:DocumentRequest[2]/xds:RepositoryUniqueId"), "xds:DocumentUniqueId",
    ),
    "HomeCommunityId after RepositoryUniqueId": (
        "iti43_request", moved_to_the_front("//xds:RepositoryUniqueId"), "xds:HomeCommunityId",
    ),
    "a retrieved Document before its mimeType": (
        "iti43_response",
        lambda root: one(root, "//xds:Document").addnext(one(root, "//xds:mimeType")),
        "xds:Document",
    ),
    "a retrieve response without RegistryResponse": (
        "iti43_response", without("//rs:RegistryResponse"), "xds:DocumentResponse",
    ),
    "a StudyRequest without studyInstanceUID": (
        "rad69_request", without_attribute("//xdsi:StudyRequest", "studyInstanceUID"), "xdsi:StudyRequest",
    ),
    "a SeriesRequest for no instance": (
        "rad69_request", without("//xds:DocumentRequest"), "xdsi:SeriesRequest",
    ),
    "a DocumentRequest of the wrong namespace": (
        "rad69_request", with_child("//xdsi:SeriesRequest", "xdsi:DocumentRequest"), "xdsi:DocumentRequest",
    ),
    "no list of transfer syntaxes": (
        "rad69_request", without("//xdsi:TransferSyntaxUIDList"), "xdsi:RetrieveImagingDocumentSetRequest",
    ),
    "an ObjectRef without id": ("iti62_request", without_attribute("//rim:ObjectRef", "id"), "rim:ObjectRef"),
    "an object where references belong": (
        "iti62_request", with_child("//rim:ObjectRefList", "rim:ExtrinsicObject"), "rim:ExtrinsicObject",
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", sorted(TARGET_NAMESPACES))
def test_each_schema_compiles_and_is_of_its_namespace(file: str) -> None:
    document = etree.parse(str(FOLDER / file))
    etree.XMLSchema(document)
    assert document.getroot().get("targetNamespace") == TARGET_NAMESPACES[file]


def test_no_schema_is_left_untested() -> None:
    assert {path.name for path in FOLDER.glob("*.xsd")} == set(TARGET_NAMESPACES)


@pytest.mark.parametrize("file", sorted(TARGET_NAMESPACES))
def test_each_schema_finds_what_it_imports_beside_it(file: str) -> None:
    document = etree.parse(str(FOLDER / file))
    for link in document.iterfind(".//xs:import", XS):
        assert TARGET_NAMESPACES[link.attrib["schemaLocation"]] == link.get("namespace")


@pytest.mark.parametrize("file", sorted(MESSAGES))
def test_a_good_message_is_valid(file: str) -> None:
    assert complaints(MESSAGES[file], message(file)) == []


@pytest.mark.parametrize("what", SPOILT)
def test_a_message_spoilt_in_one_part_is_refused_and_the_element_named(what: str) -> None:
    file, spoil, element = SPOILT[what]
    root = message(file)
    spoil(root)
    assert f"Element '{name(element)}'" in (complaints(MESSAGES[file], root) or ["valid"])[0]


def test_a_value_of_256_characters_is_valid() -> None:
    root = message("iti42_request")
    with_text("//rim:Value", "ä" * 256)(root)
    assert complaints("lcm.xsd", root) == []


@pytest.mark.parametrize("file", ["iti41_request", "iti43_response"])
def test_a_document_that_was_emptied_is_valid(file: str) -> None:
    root = message(file)
    one(root, "//xds:Document").text = None
    assert complaints("xdsb.xsd", root) == []


def test_a_retrieve_response_needs_no_document() -> None:
    root = message("iti43_response")
    without("//xds:DocumentResponse")(root)
    assert complaints("xdsb.xsd", root) == []


def test_a_query_response_may_hold_an_empty_list() -> None:
    root = message("iti18_response")
    objects = one(root, "//rim:RegistryObjectList")
    del objects[:]
    assert complaints("query.xsd", root) == []


@pytest.mark.parametrize("verb", ["Submit", "Update", "Approve", "Deprecate", "Undeprecate", "Remove"])
def test_each_life_cycle_request_takes_objects_or_references(verb: str) -> None:
    sent = verb in {"Submit", "Update"}
    root = etree.Element(name(f"lcm:{verb}ObjectsRequest"))
    etree.SubElement(root, name("rim:RegistryObjectList" if sent else "rim:ObjectRefList"))
    assert complaints("lcm.xsd", root) == []


@pytest.mark.parametrize("child", sorted(IDENTIFIABLE))
def test_each_kind_of_object_may_stand_in_a_registry_object_list(child: str) -> None:
    root = registry_object_list(child, {"id": "urn:uuid:1", **IDENTIFIABLE[child]})
    assert complaints("rim.xsd", root) == []


@pytest.mark.parametrize("child", sorted(IDENTIFIABLE))
def test_each_kind_of_object_needs_an_id(child: str) -> None:
    root = registry_object_list(child, IDENTIFIABLE[child])
    assert f"Element '{name('rim:' + child)}': The attribute 'id'" in complaints("rim.xsd", root)[0]


@pytest.mark.parametrize(
    ("child", "content"),
    [("AuditableEvent", "rim:affectedObjects"), ("Notification", "rim:RegistryObjectList")],
)
def test_events_and_notifications_must_name_their_objects(child: str, content: str) -> None:
    event = {"eventType": "urn:a", "timestamp": "2024-02-29T10:15:00Z", "user": "urn:b", "requestId": "urn:c"}
    attributes = event if child == "AuditableEvent" else {"subscription": "urn:a"}
    root = registry_object_list(child, {"id": "urn:uuid:1", **attributes})
    assert f"Element '{name('rim:' + child)}': Missing child" in complaints("rim.xsd", root)[0]
    etree.SubElement(root[0], name(content))
    assert complaints("rim.xsd", root) == []


def test_an_abstract_action_is_refused_where_a_notify_action_is_valid() -> None:
    root = registry_object_list("Subscription", {"id": "urn:uuid:1", "selector": "urn:a"})
    action = etree.SubElement(root[0], name("rim:NotifyAction"), endPoint="http://localhost/")
    assert complaints("rim.xsd", root) == []
    action.tag = name("rim:Action")
    assert "rim:3.0}Action'" in complaints("rim.xsd", root)[0]
