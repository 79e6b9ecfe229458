"""The coding style of stored queries: ITI TF-2: 3.18.4.1.2.3.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Finding, Refused
from xds.queries import catalogue, returns
from xds.queries.catalogue import Many, Parameter, StoredQuery
from xds.queries.parameters import VALUES, read

QUERY = StoredQuery(
    "urn:uuid:q",
    "Test",
    (Parameter("one", Many.ONE), Parameter("list"), Parameter("both", Many.AND_OR), Parameter("must", required=True)),
)
NUMBER, MISSING = ErrorCode.STORED_QUERY_PARAM_NUMBER, ErrorCode.STORED_QUERY_MISSING_PARAM


def given_slots(*slots: Slot, query: StoredQuery = QUERY) -> dict[str, tuple[tuple[str, ...], ...]]:
    must = () if any(slot.name == "$must" for slot in slots) or query is not QUERY else (Slot("$must", ("'x'",)),)
    read_ = read(query, AdhocQuery(query.id, "LeafClass", (*slots, *must)))
    return {name: values for name, values in read_.items() if name != "must" or not must}


def refusal(*slots: Slot, query: StoredQuery = QUERY) -> list[Finding]:
    with pytest.raises(Refused) as refused:
        given_slots(*slots, query=query)
    return list(refused.value.findings)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["'a'"], ["a"]),
        (["('a')"], ["a"]),
        (["('a','b')"], ["a", "b"]),
        (["( 'a' , 'b' )"], ["a", "b"]),
        ([" ('a',\n'b') "], ["a", "b"]),
        (["('a')", "('b','c')"], ["a", "b", "c"]),
        (["'a'", "'b'"], ["a", "b"]),
        (["'it''s'"], ["it's"]),
        (["''''"], ["'"]),
        (["('a''','''b')"], ["a'", "'b"]),
        (["('a,b','(c)')"], ["a,b", "(c)"]),
        (["'a','b'"], ["a", "b"]),
        (["(1,2)"], ["1", "2"]),
        (["20150101"], ["20150101"]),
        (["'20150101'"], ["20150101"]),
        (["90378912821^^^&1.3.6.1.4.1.21367.2005.3.7&ISO"], ["90378912821^^^&1.3.6.1.4.1.21367.2005.3.7&ISO"]),
        (["bare text"], ["bare text"]),
        (["'mu\u0308ller'"], ["m\u00fcller"]),
        (["mu\u0308ller"], ["m\u00fcller"]),
        (["' a '"], [" a "]),
        (["'", "'a'"], None),
        (["'a"], None),
        (["a'"], ["a'"]),
        (["('a'"], None),
        (["'a')"], None),
        (["('a',)"], None),
        (["('a',,'b')"], None),
        (["(,'a')"], None),
        (["('a''b"], None),
        (["('a' 'b')"], None),
        (["('a')('b')"], None),
        (["''"], None),
        (["('')"], None),
        (["(a'b)"], None),
        (["('a'),"], None),
        (["'a' OR 1=1"], None),
        (["'a', "], None),
    ],
)
def test_a_value_is_in_the_coding_style_or_refused(texts: list[str], values: list[str] | None) -> None:
    slot = Slot("$list", tuple(texts))
    if values is None:
        (finding,) = refusal(slot)
        assert finding.code is NUMBER
        assert finding.context == "$list is not in the coding style (ITI TF-2: 3.18.4.1.2.3.5)"
    else:
        assert given_slots(slot) == {"list": (tuple(values),)}


def written(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_values_can_be_written_and_are_read_back_composed(values: list[str]) -> None:
    import unicodedata

    composed = tuple(unicodedata.normalize("NFC", value) for value in values)
    listed = "(" + ",".join(map(written, values)) + ")"
    assert given_slots(Slot("$list", (listed,))) == {"list": (composed,)}
    apart = tuple(f"({written(value)})" for value in values)
    assert given_slots(Slot("$list", apart)) == {"list": (composed,)}


@given(st.lists(st.text("'(), a1^\n")))
def test_any_text_is_read_or_refused(texts: list[str]) -> None:
    try:
        values = given_slots(Slot("$list", tuple(texts)))["list"]
    except Refused as refused:
        assert {finding.code for finding in refused.findings} == {NUMBER}
    else:
        assert all(values)


def test_a_slot_repeated_is_an_and_where_that_is_allowed() -> None:
    slots = (Slot("$both", ("('a','b')",)), Slot("$both", ("'c'",)))
    assert given_slots(*slots) == {"both": (("a", "b"), ("c",))}


@pytest.mark.parametrize("name", ["one", "list", "must"])
def test_other_slots_are_not_repeated(name: str) -> None:
    slot = Slot(f"${name}", ("'a'",))
    assert refusal(slot, slot) == [Finding(NUMBER, f"${name} must not be repeated (ITI TF-2: 3.18.4.1.2.3.5)")]


@pytest.mark.parametrize("texts", [("('a','b')",), ("'a'", "'b'")])
def test_a_parameter_of_one_value_takes_one(texts: tuple[str, ...]) -> None:
    assert refusal(Slot("$one", texts)) == [Finding(NUMBER, "$one takes one value (ITI TF-2: 3.18.4.1.2.3.7)")]


@pytest.mark.parametrize("texts", [(), ("",), ("()",), ("  ",)])
@pytest.mark.parametrize("name", ["one", "list", "both", "must"])
def test_a_parameter_that_is_given_has_a_value(name: str, texts: tuple[str, ...]) -> None:
    assert refusal(Slot(f"${name}", texts)) == [Finding(NUMBER, f"${name} has no value (ITI TF-2: 3.18.4.1.2.3.5)")]


def test_what_is_required_is_missed_by_name() -> None:
    assert refusal(Slot("$list", ("'a'",)), Slot("$must", ("('a",))) == [
        Finding(NUMBER, "$must is not in the coding style (ITI TF-2: 3.18.4.1.2.3.5)"),
        Finding(MISSING, "$must is required (ITI TF-2: 3.18.4.1.2.3.7)"),
    ]


@pytest.mark.parametrize("name", ["$MetadataLevel", "$unheardOf", "$XDSDocumentEntryClassCodeScheme", ""])
def test_what_we_do_not_know_is_passed_over_whatever_it_holds(name: str) -> None:
    assert given_slots(Slot(name, ("('broken",)), Slot(name, ())) == {}


def test_the_dollar_may_be_forgotten() -> None:
    assert given_slots(Slot("list", ("'a'",))) == {"list": (("a",),)}


def test_one_of_two_ids_is_given() -> None:
    query = catalogue.GET_DOCUMENTS
    uuid, unique = Slot("$XDSDocumentEntryEntryUUID", ("'a'",)), Slot("$XDSDocumentEntryUniqueId", ("'b'",))
    assert given_slots(uuid, query=query) == {"XDSDocumentEntryEntryUUID": (("a",),)}
    assert [f.code for f in refusal(query=query)] == [MISSING]
    assert [f.code for f in refusal(uuid, unique, query=query)] == [NUMBER]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = refusal(
        Slot("$one", ("('a','b')",)), Slot("$list", ("('a",)), Slot("$both", ()), Slot("$must", ("'x'",)),
        Slot("$must", ("'y'",)),
    )  # fmt: skip
    assert {finding.context.split(" ")[0] for finding in found} == {"$one", "$list", "$both", "$must"}


def test_no_query_has_too_many_values() -> None:
    many = "(" + ",".join(["'a'"] * (VALUES - 1)) + ")"
    assert len(given_slots(Slot("$list", (many,)))["list"][0]) == VALUES - 1
    found = refusal(Slot("$list", (many, "'a'", "'a'")))
    assert [finding.code for finding in found] == [NUMBER]


def test_the_names_of_queries_and_parameters_are_the_standards() -> None:
    uuids = """
        14d4debf-8f97-4251-9a74-a90016b0af0d f26abbcb-ac74-4422-8a30-edb644bbc1a9 958f3006-baad-4929-a4de-ff1114824431
        10b545ea-725c-446d-9b95-8aeb444eddf3 5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4 5737b14c-8a1a-4539-b659-e03a34a5e1e4
        a7ae438b-4bc2-4642-93e9-be891f7bb155 bab9529a-4a10-40b3-a01f-f68a615d247a 51224314-5390-4169-9b91-b1980040715a
        e8e3cb2c-e39c-46b9-99e4-c12f57260b83 b909a503-523d-4517-8acf-8e5834dfc4c7 10cae35a-c7f9-4cf5-b61e-fc3278ffb578
        d90e5407-b356-4d91-a89f-873917b4b0e6 12941a89-e02e-4be5-967c-ce4bfc8fe492
    """
    assert set(catalogue.STORED_QUERIES) == {f"urn:uuid:{uuid}" for uuid in uuids.split()}
    assert set(catalogue.MULTI_PATIENT_QUERIES) == {
        "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f",
        "urn:uuid:50d3f5ac-39a2-11de-a1ca-b366239e58df",
        "urn:uuid:1191642d-86c4-42d8-b784-f95445f9f0d5",
    }
    assert set(returns._RUNS) == {*catalogue.STORED_QUERIES, *catalogue.MULTI_PATIENT_QUERIES}
    repeated = {p.name for q in catalogue.STORED_QUERIES.values() for p in q.parameters if p.many is Many.AND_OR}
    assert repeated == {
        "XDSDocumentEntryEventCodeList",
        "XDSDocumentEntryConfidentialityCode",
        "XDSDocumentEntryReferenceIdList",
        "XDSFolderCodeList",
    }
