"""Each rule of a document entry with the one thing spoilt, and the good case."""

from __future__ import annotations

import pytest

from tests.builders import an_entry
from xds.errors import ErrorCode
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.rules import document_entry as rules


def codes(entry: DocumentEntry) -> list[ErrorCode]:
    return [finding.code for rule in rules.RULES for finding in rule(entry)]


def times(start: str | None, stop: str | None) -> DocumentEntry:
    return an_entry(service_start_time=start and Dtm(start), service_stop_time=stop and Dtm(stop))


def test_a_good_entry_keeps_every_rule() -> None:
    assert codes(an_entry()) == []


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (None, None),
        ("2024", None),
        (None, "2024"),
        ("2024", "2024"),
        ("20240102", "20240103"),
        ("20240102030405", "20240102030405"),
        ("20240102030405", "20240102"),  # some time of that day
        ("202401", "2024"),
    ],
)
def test_a_service_may_end_when_it_began_or_later(start: str | None, stop: str | None) -> None:
    assert codes(times(start, stop)) == []


@pytest.mark.parametrize(
    ("start", "stop"),
    [("2025", "2024"), ("20240103", "20240102"), ("20240102030406", "20240102030405"), ("20240102", "202401011200")],
)
def test_a_service_does_not_end_before_it_began(start: str, stop: str) -> None:
    entry = times(start, stop)
    (finding,) = (finding for rule in rules.RULES for finding in rule(entry))
    assert (finding.code, finding.location) == (ErrorCode.REGISTRY_METADATA, entry.entry_uuid)


@pytest.mark.parametrize("field", ["PID-7", "PID-8"])
def test_a_patient_has_one_birthday_and_one_sex(field: str) -> None:
    entry = an_entry(source_patient_info=(f"{field}|1", f"{field}|2"))
    (finding,) = (finding for rule in rules.RULES for finding in rule(entry))
    assert finding.code is ErrorCode.REGISTRY_METADATA
    assert field in finding.context


@pytest.mark.parametrize("field", ["PID-3", "PID-5", "PID-11"])
def test_a_patient_may_have_several_ids_names_and_addresses(field: str) -> None:
    assert codes(an_entry(source_patient_info=(f"{field}|1", f"{field}|2", "PID-7|1956"))) == []
