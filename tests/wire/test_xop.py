"""xop:Include and inline base64: each element gets its own document, and what is astray is said."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.extent import examples
from xds.wire.faults import Fault
from xds.wire.spool import CHUNK_BYTES, Spool, Spooled
from xds.wire.xml import Element, parse
from xds.wire.xop import encoded, encoded_size, take_includes, take_inline

many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
INCLUDE = '<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="{}"/>'
STEP = CHUNK_BYTES // 3 * 4


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool


def a_document(spool: Spool, content: bytes = b"content") -> Spooled:
    writing = spool.new()
    writing.write(content)
    return writing.finish()


def a_body(*inside: str) -> Element:
    return parse(f"<body>{''.join(f'<d>{each}</d>' for each in inside)}</body>".encode())


def test_an_include_is_taken_out_and_its_part_stands_for_its_element(spool: Spool) -> None:
    body, document = a_body(INCLUDE.format("cid:a@x")), a_document(spool)
    assert take_includes(body, {"a@x": document}) == {body[0]: document}
    assert len(body[0]) == 0
    assert not body[0].text


def test_white_space_around_an_include_does_not_matter(spool: Spool) -> None:
    body, document = a_body(f"\n  {INCLUDE.format('cid:a@x')}\n"), a_document(spool)
    assert take_includes(body, {"a@x": document}) == {body[0]: document}
    assert not body[0].text


@pytest.mark.parametrize(
    ("content_id", "href"),
    [
        ("a@x", "cid:a%40x"),
        ("a@x", "CID:a@x"),
        ("a@x", " cid:a@x "),
        ("http://schemas/doc 1", "cid:http%3A%2F%2Fschemas%2Fdoc%201"),
        ("a+b@x", "cid:a+b@x"),
        ("50%@x", "cid:50%25@x"),
        ("a%20b@x", "cid:a%2520b@x"),  # as RFC 2392 wants it
        ("a%20b@x", "cid:a%20b@x"),  # as peers send it that encode neither, or both
        ("%zz@x", "cid:%zz@x"),
    ],
)
def test_percent_encoded_and_odd_references_lead_to_their_part(spool: Spool, content_id: str, href: str) -> None:
    body, document = a_body(INCLUDE.format(href)), a_document(spool)
    assert take_includes(body, {content_id: document}) == {body[0]: document}


@pytest.mark.parametrize(
    "beside", ["text {}", "{} text", "<other/>{}", "{}<other/>", "{0}{0}", "{}<![CDATA[x]]>", "&#65;{}"]
)
def test_an_include_that_is_not_alone_is_refused(spool: Spool, beside: str) -> None:
    with pytest.raises(Fault, match="only content"):
        take_includes(a_body(beside.format(INCLUDE.format("cid:a@x"))), {"a@x": a_document(spool)})


def test_a_comment_beside_an_include_is_nothing(spool: Spool) -> None:
    body, document = a_body(f"<!-- x -->{INCLUDE.format('cid:a@x')}<?x y?>"), a_document(spool)
    assert take_includes(body, {"a@x": document}) == {body[0]: document}


@pytest.mark.parametrize(
    "href", ["http://127.0.0.1:1/x", "file:///etc/passwd", "", "a@x", "https://x/cid:a@x", "//x", "data:,x"]
)
def test_only_parts_of_the_message_are_included(spool: Spool, href: str) -> None:
    with pytest.raises(Fault, match="cid:"):
        take_includes(a_body(INCLUDE.format(href)), {"a@x": a_document(spool)})


@pytest.mark.parametrize("href", ["cid:b@x", "cid:", "cid:%", "cid:A@x", "cid:a@x#part"])
def test_a_reference_that_leads_nowhere_is_refused_without_being_repeated(spool: Spool, href: str) -> None:
    with pytest.raises(Fault, match="not in the message") as fault:
        take_includes(a_body(INCLUDE.format(href)), {"a@x": a_document(spool)})
    assert href not in fault.value.reason


@pytest.mark.parametrize("second", ["cid:a@x", "cid:a%40x"])
def test_a_part_is_included_once(spool: Spool, second: str) -> None:
    with pytest.raises(Fault, match="same part"):
        take_includes(a_body(INCLUDE.format("cid:a@x"), INCLUDE.format(second)), {"a@x": a_document(spool)})


def test_parts_that_nobody_includes_are_left_alone(spool: Spool) -> None:
    assert take_includes(a_body("text"), {"a@x": a_document(spool)}) == {}


@many
@given(content=st.binary(max_size=200), breaks=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_inline_base64_is_read_with_white_space_anywhere(tmp_path: Path, content: bytes, breaks: list[int]) -> None:
    text, pieces, turn = base64.b64encode(content).decode(), ["\n"], itertools.cycle(breaks)
    while text:
        size = next(turn)
        pieces, text = [*pieces, text[:size], "\r\n\t "], text[size:]
    element = parse(b"<d/>")
    element.text = "".join(piece.replace("\r", "") for piece in pieces)
    with Spool(tmp_path) as spool:
        assert take_inline(element, spool).path.read_bytes() == content
    assert element.text is None


@pytest.mark.parametrize("size", [STEP // 4 * 3 - 1, STEP // 4 * 3, STEP // 4 * 3 + 1, STEP * 2 + 5])
def test_long_inline_base64_is_whole_over_the_seams_of_its_reading(spool: Spool, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    element = parse(b"<d>" + base64.encodebytes(content) + b"</d>")
    spooled = take_inline(element, spool)
    assert spooled.path.read_bytes() == content


@pytest.mark.parametrize(
    "text",
    ["QQ", "QQ=", "Q===", "QQ==QQ==", "QUJD!", "QUJ_", "Ä" * 4, "====", "QQ==Q", "A" * STEP + "A", "QUJ=D"],
)
def test_broken_base64_is_the_senders_fault(spool: Spool, text: str) -> None:
    element = parse(b"<d/>")
    element.text = text
    with pytest.raises(Fault, match="base64") as fault:
        take_inline(element, spool)
    assert text not in fault.value.reason


def test_padding_that_falls_on_a_seam_ends_the_document_all_the_same(spool: Spool) -> None:
    element = parse(b"<d/>")
    element.text = "A" * (STEP - 4) + "QQ==" + "QUJD"
    with pytest.raises(Fault, match="base64"):
        take_inline(element, spool)


@many
@given(chunks=st.lists(st.binary(max_size=50), max_size=8))
def test_base64_of_a_stream_is_the_base64_of_its_bytes(chunks: list[bytes]) -> None:
    text = b"".join(encoded(iter(chunks)))
    assert text == base64.b64encode(b"".join(chunks))
    assert len(text) == encoded_size(len(b"".join(chunks)))
