"""Elements to plain objects and back, one test a schema's peculiarity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.builders import a_folder, a_submission
from tests.extent import examples
from tests.metadata.strategies import slots, strings, texts, words
from xds.ebxml import lcm, query, rim, rim_writing, rs, xdsb
from xds.errors import ErrorCode, Finding, Refused, Severity, Status
from xds.metadata import to_ebxml
from xds.wire.xml import NAMESPACES, Element, name, parse, schema


def again(element: Element) -> Element:
    """The element as a peer sees it."""
    return parse(etree.tostring(element))


optional = st.none() | words.map("urn:x:{}".format)
classifications = st.builds(
    rim.Classification, optional, words, optional, optional, st.none() | st.just("") | texts, slots, strings
)
identifiers = st.builds(rim.ExternalIdentifier, optional, words, words, texts, strings)
common = {
    "id": words,
    "lid": optional,
    "home": optional,
    "status": optional,
    "object_type": optional,
    "slots": slots,
    "name": strings,
    "description": strings,
    "version_name": st.none() | words,
    "classifications": st.lists(classifications, max_size=2).map(tuple),
    "external_identifiers": st.lists(identifiers, max_size=2).map(tuple),
}
objects = st.one_of(
    st.builds(rim.ExtrinsicObject, **common, mime_type=words, is_opaque=st.none() | st.just("true")),
    st.builds(rim.RegistryPackage, **common),
    st.builds(rim.Association, **common, association_type=words, source_object=words, target_object=words),
)


@settings(max_examples=examples(50), deadline=None)
@given(objects)
def test_any_registry_object_comes_back_as_it_was(item: rim.RegistryObject) -> None:
    assert rim.read_object(again(rim_writing.write(item))) == item


@given(classifications)
def test_any_classification_comes_back_as_it_was(item: rim.Classification) -> None:
    assert rim.read_object(again(rim_writing.write_classification(item))) == item


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(objects, max_size=3))
def test_a_list_holds_each_kind_by_itself(items: list[rim.RegistryObject]) -> None:
    read = rim.read_registry_object_list(again(rim_writing.write_registry_object_list(items)))
    assert sorted(map(repr, read.objects())) == sorted(map(repr, items))
    assert (read.classifications, read.object_refs, read.others) == ((), (), ())


def test_a_comment_on_a_version_is_kept_with_it() -> None:
    package = rim.RegistryPackage(id="p", version_name="3", version_comment="third")
    assert rim.read_object(again(rim_writing.write(package))) == package
    bare = parse(b'<rim:RegistryPackage xmlns:rim="%b" id="p"><rim:VersionInfo/></rim:RegistryPackage>' % RIM)
    read = rim.read_object(bare)
    assert isinstance(read, rim.RegistryPackage)
    assert read.version_name == "1.1"  # the schema's default


RIM = NAMESPACES["rim"].encode()


def test_what_stands_beside_the_objects_is_told_apart() -> None:
    data = b"""<rim:RegistryObjectList xmlns:rim="%b">
      <rim:Classification id="c" classifiedObject="p" classificationNode="urn:uuid:n"/>
      <rim:ObjectRef id="urn:uuid:elsewhere"/>
      <rim:Person id="x"/>
      <rim:ExtrinsicObject id="e"/>
    </rim:RegistryObjectList>"""
    read = rim.read_registry_object_list(parse(data % RIM))
    assert read.classifications == (rim.Classification("c", "p", node="urn:uuid:n"),)
    assert read.object_refs == ("urn:uuid:elsewhere",)
    assert read.others == ("Person",)
    assert read.extrinsic_objects[0].mime_type == ""


def test_a_slot_is_found_by_its_name() -> None:
    item = rim.RegistryPackage(id="p", slots=(rim.Slot("a", ("1",)), rim.Slot("b")))
    assert item.slot("b") == rim.Slot("b")
    assert item.slot("c") is None


def test_a_submission_without_a_list_holds_nothing() -> None:
    element = etree.Element(name("lcm:SubmitObjectsRequest"))
    assert lcm.read_submit_objects(element) == rim.RegistryObjectList()


def test_objects_keep_the_order_that_the_schema_demands() -> None:
    folder = a_folder(comments=(rim.LocalizedString("c"),), version="1", home_community_id="urn:oid:1.2")
    schema("lcm.xsd").assertValid(again(lcm.write_submit_objects(to_ebxml.submission(a_submission(folders=[folder])))))


# Queries.


@given(slots, st.sampled_from(("LeafClass", "ObjectRef")), st.none() | st.just("urn:oid:1.2"))
def test_a_query_comes_back_as_it_was(sent: tuple[rim.Slot, ...], return_type: str, home: str | None) -> None:
    asked = query.AdhocQuery("urn:uuid:q", return_type, tuple(replace(s, slot_type=None) for s in sent), home)
    element = again(query.write_request(asked))
    assert query.read_request(element) == asked


def test_a_query_we_write_is_valid_by_our_schema() -> None:
    asked = query.AdhocQuery("urn:uuid:q", "LeafClass", (rim.Slot("$uuid", ("('a')",)),), "urn:oid:1.2")
    schema("query.xsd").assertValid(again(query.write_request(asked)))


def test_a_query_without_its_parts_is_none() -> None:
    with pytest.raises(Refused, match="XDSRegistryError"):
        query.read_request(etree.Element(name("query:AdhocQueryRequest")))


def test_a_return_type_that_is_not_said_is_the_schemas_default() -> None:
    element = query.write_request(query.AdhocQuery("urn:uuid:q", "LeafClass", ()))
    del element[0].attrib["returnType"]
    assert query.read_request(element).return_type == "RegistryObject"


@pytest.mark.parametrize("found", [[], [Finding(ErrorCode.TOO_MANY_RESULTS, '100 % <more> & "more"', "x")]])
def test_an_answer_joins_fragments_with_a_list_always(found: list[Finding]) -> None:
    fragments = [
        etree.tostring(rim_writing.write(rim.RegistryPackage(id="a", name=(rim.LocalizedString("100%b"),)))),
        b'<rim:ObjectRef id="r"/>',
    ]
    status = rs.status_of(found)
    element = parse(query.join_response(status, found, fragments))
    schema("query.xsd").assertValid(element)
    assert rs.read_response(element) == (status, tuple(found))
    listed = element.find(name("rim:RegistryObjectList"))
    assert listed is not None
    assert [child.get("id") for child in listed] == ["a", "r"]


# Responses.

findings = st.builds(
    Finding, st.sampled_from(ErrorCode), texts, st.just("") | texts, st.sampled_from(Severity)
)  # fmt: skip


@given(st.sampled_from(Status), st.lists(findings, max_size=3).map(tuple))
def test_a_response_comes_back_as_it_was(status: Status, found: tuple[Finding, ...]) -> None:
    element = again(rs.write_response(status, found))
    assert rs.read_response(element) == (status, found)
    schema("rs.xsd").assertValid(element)


def test_the_worst_severity_is_on_the_list() -> None:
    warning = Finding(ErrorCode.EXTRA_METADATA_NOT_SAVED, "w", severity=Severity.WARNING)
    error = Finding(ErrorCode.REGISTRY_ERROR, "e")
    for found, worst, status in (
        ([warning], Severity.WARNING, Status.SUCCESS),
        ([warning, error], Severity.ERROR, Status.FAILURE),
        ([error, warning], Severity.ERROR, Status.FAILURE),
    ):
        element = rs.write_error_list(found)
        assert element is not None
        assert element.get("highestSeverity") == worst
        assert rs.status_of(found) is status
    assert rs.write_error_list([]) is None


def test_a_code_that_we_do_not_know_is_kept_in_the_context() -> None:
    element = rs.write_response(Status.FAILURE, [Finding(ErrorCode.REGISTRY_ERROR, "why")])
    element[0][0].set("errorCode", "XDSNewError")
    assert rs.read_response(element)[1] == (Finding(ErrorCode.REGISTRY_ERROR, "XDSNewError: why"),)


def test_a_status_that_is_none_of_ihes_is_a_value_error() -> None:
    element = rs.write_response(Status.SUCCESS)
    element.set("status", "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Unavailable")
    with pytest.raises(ValueError, match="Unavailable"):
        rs.read_response(element)


# Retrieval.

documents = st.builds(xdsb.DocumentRequest, words, words, st.none() | words)
instances = st.builds(xdsb.InstanceRequest, st.sampled_from("ab"), st.sampled_from("cd"), documents)


@given(st.lists(documents, max_size=4).map(tuple))
def test_a_retrieval_comes_back_as_it_was(requests: tuple[xdsb.DocumentRequest, ...]) -> None:
    assert xdsb.read_document_requests(again(xdsb.write_retrieve_request(requests))) == requests


@given(st.lists(instances, max_size=6), st.lists(words, max_size=3).map(tuple))
def test_an_imaging_retrieval_comes_back_grouped_by_study_and_series(
    requested: list[xdsb.InstanceRequest], syntaxes: tuple[str, ...]
) -> None:
    element = again(xdsb.write_imaging_request(xdsb.ImagingRequest(tuple(requested), syntaxes)))
    read = xdsb.read_imaging_request(element)
    assert sorted(map(repr, read.instances)) == sorted(map(repr, requested))
    assert read.transfer_syntax_uids == syntaxes
    assert len(element.findall(name("xdsi:StudyRequest"))) == len({i.study_instance_uid for i in requested})


def test_white_space_around_an_identifier_is_not_of_it() -> None:
    element = xdsb.write_retrieve_request([xdsb.DocumentRequest(" 1.2\n", "\t1.3 ")])
    assert xdsb.read_document_requests(element) == (xdsb.DocumentRequest("1.2", "1.3"),)
    bare = etree.Element(name("xds:RetrieveDocumentSetRequest"))
    etree.SubElement(bare, name("xds:DocumentRequest"))
    assert xdsb.read_document_requests(bare) == (xdsb.DocumentRequest("", ""),)
