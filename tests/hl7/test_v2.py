"""ADT messages: one good one of each kind, and one part spoilt.  ITI TF-2: 3.8.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ANNA, AUTHORITY
from xds.hl7 import v2
from xds.hl7.feed import FeedAction, NotAFeed
from xds.hl7.v2 import Authorities
from xds.metadata.demographics import Address, Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId

NONE = Authorities({})
ANN = PatientId("ann", AUTHORITY)


def adt(event: str = "A01", pid: str = str(ANNA), mrg: str = "", **changes: str) -> str:
    """An ADT as the simulators of connectathons send it."""
    fields = {"type": f"ADT^{event}", "control": "17", "version": "2.3.1", "charset": ""} | changes
    lines = [
        f"MSH|^~\\&|ADT|NORTH|XDS|REGION|20260301080000||{fields['type']}|{fields['control']}|P|{fields['version']}"
        + (f"||||||{fields['charset']}" if fields["charset"] else ""),
        f"EVN|{event}|20260301080000",
        f"PID|||{pid}||Müller^Anna||19560527|F",
        *([f"MRG|{mrg}"] if mrg else []),
        "PV1||O",
    ]
    return "\r".join(lines) + "\r"


@pytest.mark.parametrize(
    ("event", "action"),
    [("A01", FeedAction.ADD), ("A04", FeedAction.ADD), ("A05", FeedAction.ADD), ("A08", FeedAction.REVISE)],
)
@pytest.mark.parametrize("structure", ["", "^ADT_A01"])
def test_each_event_does_what_it_says(event: str, action: FeedAction, structure: str) -> None:
    feed = v2.read(adt(event, type=f"ADT^{event}{structure}"), NONE)
    assert (feed.message_id, feed.action, feed.patient_ids, feed.subsumed) == ("17", action, (ANNA,), ())


def test_a_merge_names_both(tmp_path: object) -> None:
    feed = v2.read(adt("A40", mrg=str(ANN)), NONE)
    assert (feed.action, feed.patient_ids, feed.subsumed) == (FeedAction.MERGE, (ANNA,), (ANN,))


@pytest.mark.parametrize(
    ("pid", "found"),
    [
        (f"anna^^^NS&{AUTHORITY}&ISO", [ANNA]),
        (f"anna^^^NS&{AUTHORITY}&ISO^PI~x^^^&1.9.9&ISO", [ANNA, PatientId("x", Oid("1.9.9"))]),
        (f"anna^^^&{AUTHORITY}&ISO^^", [ANNA]),
        ("anna^^^NS", [ANNA]),
        ("anna^^^OTHER", []),
        ("anna", [ANNA]),
        ("anna^^^NS&host.example&DNS", [ANNA]),  # by its namespace
        ("anna^^^&host.example&DNS", []),
        (f"anna^^^&{AUTHORITY}&ISO~", [ANNA]),
        (f"~anna^^^&{AUTHORITY}&ISO~~x^^^&1.9.9&ISO~~", [ANNA, PatientId("x", Oid("1.9.9"))]),
        ("a\\S\\b^^^NS", [PatientId("a^b", AUTHORITY)]),
    ],
)
def test_identifiers_come_in_many_forms(pid: str, found: list[PatientId]) -> None:
    authorities = Authorities({"NS": AUTHORITY}, AUTHORITY)
    assert list(v2.read(adt(pid=pid), authorities).patient_ids) == found


PID = "PID|||{id}||{name}|{maiden}|{born}|{sex}|||{address}||{home}|{work}"


def said(**fields: str) -> Demographics | None:
    """What is read of a PID with these fields."""
    values = (
        dict.fromkeys(("name", "maiden", "born", "sex", "address", "home", "work"), "") | {"id": str(ANNA)} | fields
    )
    lines = [PID.format(**values) if line.startswith("PID") else line for line in adt().split("\r")]
    return v2.read("\r".join(lines), NONE).demographics


def test_who_the_patient_is_is_read_of_pid() -> None:
    assert said(
        name="Beethoven&van^Ludwig^Maria^jr.^Dr.^^L~Louis^^^^^^A", maiden="Keverich^Maria",
        born="177012171200", sex="m",
        address="Bonngasse 20^2. OG^Bonn^NW^53111^DEU", home="0228 1~^NET^Internet^ludwig@example.org", work="0228 2",
    ) == Demographics(
        (PersonName("van Beethoven", "Ludwig Maria", "Dr.", "jr."), PersonName("Louis")), "17701217", "M", "Keverich",
        Address("Bonngasse 20, 2. OG", "Bonn", "NW", "53111", "DEU"), ("0228 1", "ludwig@example.org", "0228 2"),
    )  # fmt: skip


def test_a_prefix_that_is_said_twice_is_read_once() -> None:
    found = said(name="van Beethoven&van&Beethoven^Ludwig")
    assert found is not None
    assert found.names == (PersonName("van Beethoven", "Ludwig"),)


def test_a_name_is_read_without_escapes() -> None:
    found = said(name="M\\T\\S^Anna")
    assert found is not None
    assert found.names == (PersonName("M&S", "Anna"),)


@pytest.mark.parametrize("fields", [{}, {"name": '""'}, {"name": "^^"}, {"born": "soon", "sex": "?"}, {"home": "1"}])
def test_of_whom_nothing_is_said_nothing_is_kept(fields: dict[str, str]) -> None:
    assert said(**fields) is None


@pytest.mark.parametrize(
    "fields",
    [{"name": "A\\X0D\\B^C"}, {"name": "\\"}, {"name": "~".join(["a^b"] * 500)}, {"name": "x" * 30_000},
     {"name": "a", "home": "~".join(["1"] * 500)}, {"name": "a", "address": "^" * 500}],
)  # fmt: skip
def test_an_odd_name_keeps_nobody_from_being_fed(fields: dict[str, str]) -> None:
    found = said(**fields)
    assert found is None or len(str(found.as_json())) < 20_000


def test_without_configuration_an_identifier_without_its_authority_is_nobodys() -> None:
    assert v2.read(adt(pid="anna"), NONE).patient_ids == ()


@pytest.mark.parametrize(
    ("text", "code", "rejected", "part"),
    [
        ("", "100", True, "MSH"),
        ("nonsense", "100", True, "MSH"),
        ("PID|||x\r", "100", True, "MSH"),
        ("MSH|", "100", True, "MSH"),
        (adt() + "NTE|1\r" * 300, "100", True, "segments"),
        (adt(type="ORU^R01"), "200", True, "MSH-9.1"),
        (adt(type=""), "200", True, "MSH-9.1"),
        (adt("A02"), "201", True, "MSH-9.2"),
        (adt(version="3"), "203", True, "MSH-12"),
        (adt(control=""), "101", False, "MSH-10"),
        (adt(pid=""), "101", False, "PID-3"),
        (adt(pid="~"), "101", False, "PID-3"),
        (adt(pid="^^^&1.2&ISO"), "101", False, "PID-3.1"),
        (adt("A40"), "101", False, "MRG-1"),
        (adt().replace("PID", "ZID"), "101", False, "PID-3"),
    ],
)
def test_what_is_wrong_is_named_and_never_repeated(text: str, code: str, rejected: bool, part: str) -> None:
    with pytest.raises(NotAFeed) as problem:
        v2.read(text, NONE)
    assert (problem.value.code, problem.value.rejected) == (code, rejected)
    assert part in str(problem.value)
    assert "Anna" not in str(problem.value)


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_any_line_end_ends_a_segment(line_end: str) -> None:
    assert v2.read(adt().replace("\r", line_end), NONE).patient_ids == (ANNA,)


def test_separators_are_those_of_the_message() -> None:
    text = adt(pid="anna^^^&1.2.3.4.5&ISO~b^^^&1.9&ISO")
    other = text.replace("^", "$").replace("&", "%").replace("~", "@").replace("|$@\\%|", "|$@\\%|")
    assert v2.read(other, NONE).patient_ids == (ANNA, PatientId("b", Oid("1.9")))


@given(
    st.text(max_size=80)
    | st.text("|^~\\\\&#MSHP a0\r", max_size=40).map("MSH{}".format)
    | st.text(max_size=60).map(lambda text: adt(pid=text))
)
def test_any_text_is_a_feed_or_is_not(text: str) -> None:
    try:
        feed = v2.read(text, Authorities({}, AUTHORITY))
    except NotAFeed as problem:
        assert problem.code in v2.ERRORS
    else:
        assert feed.message_id
