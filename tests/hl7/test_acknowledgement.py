"""Acknowledgements: in the version and the character set of what they acknowledge."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.hl7.test_v2 import adt
from xds.hl7 import v2
from xds.hl7.acknowledgement import acknowledgement
from xds.hl7.feed import NotAFeed
from xds.hl7.v2 import Header


def test_an_acknowledgement_goes_back_to_who_has_sent() -> None:
    ack = acknowledgement(v2.header(adt()), now=datetime(2026, 3, 1, 8, 0, tzinfo=UTC)).decode()
    msh, msa, end = ack.split("\r")
    assert end == ""
    fields = msh.split("|")
    assert fields[:9] == ["MSH", "^~\\&", "XDS", "REGION", "ADT", "NORTH", "20260301080000", "", "ACK^A01"]
    assert fields[9]
    assert fields[10:] == ["P", "2.3.1"]
    assert msa == "MSA|AA|17"


PROBLEM = NotAFeed("PID-3 is required | ^", "101")
OLD = ("MSA|AE|17|PID-3 is required \\F\\ \\S\\", "ERR|PID^1^3^101&Required field missing&HL70357")
NEW = ("MSA|AE|17", "ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3 is required \\F\\ \\S\\")


@pytest.mark.parametrize(
    ("version", "said"),
    [("2.1", OLD), ("2.3", OLD), ("2.3.1", OLD), ("2.4", OLD), ("", OLD), ("3", OLD), ("2.", OLD),
     ("2.5", NEW), ("2.5.1", NEW), ("2.6", NEW), ("2.8", NEW), ("2.10", NEW), ("2.5^DEU", NEW)],
)  # fmt: skip
def test_an_error_is_told_in_the_segments_of_the_version_asked_in(version: str, said: tuple[str, str]) -> None:
    """Until v2.4 ERR has one field (HL7 v2.3.1: 2.24.3.1), and the reason stands in MSA-3."""
    msh, *segments = acknowledgement(Header(control_id="17", version=version), PROBLEM).decode().split("\r")
    assert tuple(segments) == (*said, "")
    assert msh.endswith(version or "|2.3.1")


@pytest.mark.parametrize(("rejected", "code"), [(True, "AR"), (False, "AE")])
def test_an_error_that_is_of_no_field_is_coded_too(rejected: bool, code: str) -> None:
    problem = NotAFeed("the patient is unknown " + "x" * 100, "204", rejected=rejected)
    _, msa, err, _ = acknowledgement(v2.header(adt()), problem).decode().split("\r")
    assert msa == f"MSA|{code}|17|" + str(problem)[:80]
    assert err == "ERR|^^^204&Unknown key identifier&HL70357"


def test_even_what_is_no_message_is_acknowledged() -> None:
    ack = acknowledgement(Header(), NotAFeed("x", "100", rejected=True)).decode()
    assert ack.startswith("MSH|^~\\&|")
    assert "\rMSA|AR||x\r" in ack


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("8859/1", "latin-1"), ("8859/5", "iso8859-5"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8")],
)
def test_the_control_id_comes_back_byte_for_byte(declared: str, encoding: str) -> None:
    control = "Ж1" if encoding == "iso8859-5" else "ü1"
    ack = acknowledgement(v2.header(adt(control=control, charset=declared)))
    assert ack.split(b"\r")[1] == b"MSA|AA|" + control.encode(encoding)
    assert ack.split(b"\r")[0].endswith(f"||||||{declared}".encode() if declared else b"2.3.1")
