"""MSH-18: a message is read as it says, or refused; never taken for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hl7.test_v2 import adt
from xds.hl7 import v2
from xds.hl7.charset import BOM, CODECS, decoded, legible
from xds.hl7.feed import NotAFeed
from xds.metadata.identifiers import PatientId

AUTHORITY = "1.2.3.4.5"


def of(id_: str, declared: str, encoding: str = "") -> bytes:
    return adt(pid=f"{id_}^^^&{AUTHORITY}&ISO", charset=declared).replace("Müller", "M").encode(encoding or "utf-8")


def known_as(data: bytes) -> str:
    (patient,) = v2.read(decoded(data), v2.Authorities({})).patient_ids
    assert isinstance(patient, PatientId)
    return patient.id


# Each character set with what only it has so.
IDS = {
    "ASCII": "a1", "ISO IR6": "a1", "UNICODE UTF-8": "mü€Ж", "8859/1": "mü", "8859/2": "Łó", "8859/3": "Ħ",
    "8859/4": "Ķ", "8859/5": "Ж", "8859/6": "ش", "8859/7": "Ω", "8859/8": "א", "8859/9": "Ş", "8859/15": "€",
}  # fmt: skip


@pytest.mark.parametrize("declared", CODECS)
def test_a_message_is_read_in_the_character_set_that_it_says(declared: str) -> None:
    assert known_as(of(IDS[declared], declared, CODECS[declared])) == IDS[declared]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("ISO 8859-15", "iso8859-15"), ("ISO-8859-15", "iso8859-15"), ("8859-15", "iso8859-15"), ("utf-8", "utf-8"),
     ("UTF8", "utf-8"), ("unicode utf-8", "utf-8"), ("8859/15~8859/1", "iso8859-15"), ("ISO8859/15", "iso8859-15")],
)  # fmt: skip
def test_what_senders_write_instead_is_understood(declared: str, encoding: str) -> None:
    assert known_as(of("€", declared, encoding)) == "€"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_says_nothing_is_utf_8_or_of_old(encoding: str) -> None:
    assert known_as(of("mü", "", encoding)) == "mü"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (of("a", "GB 18030-2000"), "103"),
        (of("a", "UNICODE UTF-16"), "103"),
        (of("a", "8859/99"), "103"),
        (of("a", "nonsense"), "103"),
        (of("a\x1b$B", "ASCII~ISO IR87"), "103"),
        (of("mü", "ASCII"), "102"),
        (of("mü", "UNICODE UTF-8", "latin-1"), "102"),
        (of("m", "8859/3").replace(b"|||m^", b"|||\xa5^"), "102"),
        (of("mü", "UNICODE UTF-16", "utf-16"), "102"),
        (of("mü", "", "utf-16-le"), "102"),
        (of("mü", "", "utf-16-be"), "102"),
        (of("mü", "", "utf-32"), "102"),
        (BOM + of("mü", "", "latin-1"), "102"),
    ],
)
def test_what_is_not_understood_is_refused_and_its_sender_can_tell_which_it_was(data: bytes, code: str) -> None:
    with pytest.raises(NotAFeed) as refused:
        decoded(data)
    assert refused.value.code == code
    assert v2.header(legible(data)).control_id == "17"


def test_a_byte_order_mark_before_msh_says_utf_8() -> None:
    assert known_as(BOM + of("mü", "")) == "mü"
    assert known_as(BOM + of("mü", "UNICODE UTF-8")) == "mü"


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: b"MSH|^~\\&" + b"|" * 16 + data))
def test_any_bytes_are_text_or_are_refused(data: bytes) -> None:
    legible(data)
    try:
        decoded(data)
    except NotAFeed as problem:
        assert problem.code in v2.ERRORS
