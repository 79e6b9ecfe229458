"""Reports from records: who saw, what was seen, what failed; and the lists to take away."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from tests.places import GOLDEN
from xds.audit.messages.codes import ORGANISATION, Coded, Outcome
from xds.audit.messages.message import ActiveParticipant
from xds.audit.messages.message_xml import read, write
from xds.audit.search import listing, printing, reports
from xds.store.audit.records import Recorded

ANNA = "anna^^^&1.2.3.4.5&ISO"
HOUR = 3_600_000_000


def a_record(number: int, name: str = "iti18_responder", *, person: str = "", why: str = "", at: int = 0) -> Recorded:
    message = read((GOLDEN / f"{name}.xml").read_bytes())
    if person:
        people = (
            ActiveParticipant(person.lower(), True, person, f"<{person}@idp>", role_ids=(Coded("D", "1.2", "Doctor"),)),
            ActiveParticipant("1.2.9", False, user_name="North", role_ids=(ORGANISATION,)),
        )
        message = replace(message, participants=(*message.participants, *people))
    outcome = Outcome.MINOR_FAILURE if why else Outcome.SUCCESS
    message = replace(message, event=replace(message.event, outcome=outcome, outcome_description=why))
    return Recorded(write(message), "110112", "ITI-18", outcome, recorded=(at or number) * HOUR, id=number)


def test_who_saw_a_patient_is_people_and_the_machines_that_no_person_is_known_of() -> None:
    found = reports.who_saw([a_record(1, person="Anna"), a_record(3, person="Anna"), a_record(2)])
    assert [(line.key, line.beside, line.is_person, line.count) for line in found] == [
        ("Anna (anna)", "North", True, 2), ("192.0.2.7", "xds.hospital.example", False, 1),
    ]  # fmt: skip
    (anna, _) = found
    assert (anna.first, anna.last, anna.newest, anna.failed) == (HOUR, 3 * HOUR, 3, 0)
    assert anna.kinds == {"ITI-18 Registry Stored Query": 2}


def test_the_newest_record_of_a_line_is_the_latest_in_whatever_order_they_come() -> None:
    records = [a_record(1, at=5), a_record(2, at=9), a_record(3, at=7)]
    for ordered in (records, records[::-1]):
        assert [line.newest for line in reports.who_saw(ordered)] == [2]


def test_what_somebody_saw_is_by_patient() -> None:
    found = reports.what_was_seen([a_record(1), a_record(2), a_record(3, "iti43_responder")])
    assert [(line.key, line.count) for line in found] == [(ANNA, 2), ("", 1)]


def test_what_failed_is_by_its_reason_and_by_whom() -> None:
    found = reports.failures([a_record(1, why="XDSRegistryError"), a_record(2, why="XDSRegistryError"), a_record(3)])
    assert [(line.key, line.beside, line.count) for line in found] == [
        ("ITI-18 Registry Stored Query: XDSRegistryError", "192.0.2.7", 2)
    ]


def test_what_is_no_message_is_left_out() -> None:
    assert reports.who_saw([Recorded(b"nonsense", "", "", 0, id=1)]) == []


@pytest.mark.parametrize("formula", [
    "=1+1", "+1", "-1", "@x", "\t=1", "u;=1+1", "p\t@x", "a; -1", "\r=1", "\n=1",
    "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", "u;\uff1d1", "\u200b=1", "\u22121", "\ufe661",
])  # fmt: skip
def test_a_spreadsheet_takes_no_value_for_a_formula(formula: str) -> None:
    data = b"".join(listing.as_csv([a_record(1, why=formula)])).decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(data, newline=""))
    assert row["why"].replace("'", "").split() == formula.split()
    assert not re.search(
        r"(^|[;\t\r\n])[\s\u200b]*[=+@\uff1d\uff0b\uff0d\uff20\u2212\ufe66-]", row["why"]
    )  # also where a spreadsheet cuts at another sign
    assert row["patient"] == ANNA


def test_a_value_that_is_very_long_is_cut_in_a_line_for_spreadsheets() -> None:
    data = b"".join(listing.as_csv([a_record(1, why="\n" * 1_000_000)]))
    assert len(data) < 10_000


def test_values_of_many_lines_fit_on_a_page_of_paper() -> None:
    """Each is one line there, and no longer than a cell."""
    long = a_record(1, why="\n".join("x" * 190), person="A\n" * 400)
    assert printing.as_pdf([long, Recorded(b"nonsense", "", "", 0, id=2)], "t", "a\n" * 300).startswith(b"%PDF-")


def test_the_time_of_a_line_is_when_the_record_came_whatever_its_sender_says() -> None:
    row = listing.row(a_record(7))
    assert row["time"] == "1970-01-01T07:00:00.000+00:00"


def test_a_line_of_json_holds_the_message_whole() -> None:
    record = a_record(1)
    (line,) = listing.as_json_lines([record])
    said = json.loads(line)
    assert said["message"] == record.message.decode()
    assert said["time"] == "1970-01-01T01:00:00.000+00:00" or said["time"].startswith("2026")


@pytest.mark.parametrize("length", [1, 399, 401, 100_000])
def test_a_pdf_has_room_for_values_of_any_length(length: int) -> None:
    records = [a_record(1, person="x" * length, why="y " * length)]
    assert printing.as_pdf(records, "Records", "all").startswith(b"%PDF-")


def test_a_pdf_holds_any_letters_and_no_markup_of_a_peer() -> None:
    records = [a_record(1, person="Ковачевић <b>&</b> Łukasz"), a_record(2, why="<para>")]
    data = printing.as_pdf(records, "Records", "all")
    assert data.startswith(b"%PDF-")
    assert len(printing.as_pdf([a_record(n) for n in range(100)], "Records", "")) > len(data)
