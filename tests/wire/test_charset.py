"""In which charset a message is read: a mark, then Content-Type, then what it declares itself (RFC 7303: 3)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.conftest import Site
from tests.wire.messages import AMessage, APart, an_envelope, read
from xds.wire.charset import as_declared
from xds.wire.faults import Fault
from xds.wire.xml import NotXml, parse

LATIN, GREEK = 'encoding="ISO-8859-1"', 'encoding="ISO-8859-7"'


def document(text: str, codec: str, declaration: str = "") -> bytes:
    return ((f'<?xml version="1.0" {declaration}?>' if declaration else "") + f"<a>{text}</a>").encode(codec)


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        (document("ü", "utf-8"), None, "ü"),
        (document("ü", "utf-8"), "utf-8", "ü"),
        (document("ü", "utf-8"), "UTF8", "ü"),
        (document("ü", "latin-1"), "ISO-8859-1", "ü"),
        (document("ü", "latin-1"), "iso-8859-1", "ü"),
        (document("Ω", "iso8859-7"), "ISO-8859-7", "Ω"),
        (document("€", "cp1252"), "windows-1252", "€"),
        (document("ü", "latin-1", LATIN), None, "ü"),
        (document("ü", "latin-1", LATIN), "iso-8859-1", "ü"),
        (document("Ω", "iso8859-7", LATIN), "iso-8859-7", "Ω"),
        (document("ü", "utf-8", LATIN), "utf-8", "ü"),
        (document("ü", "utf-16", 'encoding="UTF-16"'), "utf-16", "ü"),
        (document("ü", "utf-16-le"), "utf-16le", "ü"),
        (document("ü", "utf-16-be"), "utf-16", "ü"),
        (document("ü", "utf-16"), "utf-8", "ü"),  # a mark goes first
        (document("ü", "utf-8-sig"), "iso-8859-1", "ü"),
        (document("u", "ascii"), "us-ascii", "u"),
    ],
)
def test_a_message_is_read_in_the_charset_that_goes_first(data: bytes, charset: str | None, text: str) -> None:
    assert parse(as_declared(data, charset)).text == text


@pytest.mark.parametrize(
    ("data", "charset", "status"),
    [
        (document("ü", "latin-1", LATIN), "utf-8", 400),
        (document("ü", "utf-8"), "us-ascii", 400),
        (document("ü", "utf-8"), "utf-16", 400),
        *((document("u", "utf-8"), name, 415) for name in ("", "utf-7", "idna", "rot13", "unicode_escape", "x" * 500)),
    ],
)
def test_what_is_not_in_its_charset_or_in_none_we_know_is_refused(data: bytes, charset: str, status: int) -> None:
    with pytest.raises(Fault) as refused:
        as_declared(data, charset)
    assert refused.value.http_status == status


@given(st.binary(max_size=80), st.sampled_from([None, "utf-8", "utf-16", "iso-8859-1", "us-ascii", "x"]))
def test_any_bytes_are_a_message_or_are_refused(data: bytes, charset: str | None) -> None:
    try:
        parse(as_declared(data, charset))
    except (Fault, NotXml):
        return


@pytest.mark.parametrize("mtom", [True, False])
def test_a_request_in_its_own_charset_is_answered(site: Site, mtom: bool) -> None:
    envelope = an_envelope(action="urn:ü").decode().encode("latin-1")
    if mtom:
        part = APart(envelope, headers=("Content-Type: application/xop+xml; charset=ISO-8859-1",))
        message = AMessage(parts=(part,))
        got = site.post(message.packed(), content_type=message.content_type)
    else:
        got = site.post(envelope, content_type="application/soap+xml; charset=ISO-8859-1")
    assert got.codes == ["soap:Sender", "wsa:ActionNotSupported"]  # so it was read
    wrong = site.post(envelope, content_type="application/soap+xml; charset=UTF-8")
    assert (wrong.status, wrong.codes) == (400, ["soap:Sender"])
    assert site.post(envelope, content_type="application/soap+xml; charset=nonsense").status == 415


def test_an_attachment_is_left_as_it_is(tmp_path: Path) -> None:
    part = APart(b"\xff\xfe", "<doc@x>", ("Content-Type: text/plain; charset=utf-7",))
    assert read(AMessage(parts=(APart(), part)), tmp_path).attachments == {"doc@x": b"\xff\xfe"}
