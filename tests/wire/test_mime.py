"""multipart/related: what was packed is read, however it is cut; what is broken is refused, and nothing is left."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.extent import examples
from tests.wire.messages import BOUNDARY, AMessage, APart, read, reader
from xds.wire import mtom
from xds.wire.faults import Fault
from xds.wire.mime import HEADER_BYTES, ContentType, Limits, Malformed, content_id, read_package
from xds.wire.spool import CHUNK_BYTES, Spool
from xds.wire.xml import parse
from xds.wire.xop import take_includes

many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
GOOD = AMessage()
DOCUMENT = APart(b"\x00\xff" * 50, "<doc@x>")
# What looks most like a boundary without being one.
near_boundary = st.sampled_from(
    [b"\r\n", b"--", b"\r\n--", b"\r", b"\n--" + BOUNDARY.encode(), b"\r\n--" + BOUNDARY[:-1].encode(), b"-", b"\n"]
)
contents = (
    st.lists(st.one_of(st.binary(max_size=40), near_boundary), max_size=12)
    .map(b"".join)
    .filter(lambda content: b"\r\n--" + BOUNDARY.encode() not in b"\r\n" + content)
)
chunkings = st.lists(st.integers(1, 70), min_size=1, max_size=6)


@many
@given(documents=st.lists(contents, max_size=4), root=contents, sizes=chunkings)
def test_what_was_packed_is_read_however_it_is_cut(
    tmp_path: Path, documents: list[bytes], root: bytes, sizes: list[int]
) -> None:
    parts = [APart(content, f"<doc{number}@x>") for number, content in enumerate(documents)]
    got = read(replace(GOOD, parts=(APart(root), *parts)), tmp_path, sizes=sizes)
    assert got.root == root
    assert got.attachments == {f"doc{number}@x": content for number, content in enumerate(documents)}


class Sent:
    """A document as our own writer takes it."""

    content_type = "application/dicom"

    def __init__(self, content_id: str, content: bytes) -> None:
        self.content_id, self.content = content_id, content

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        yield from (self.content[:3], self.content[3:])


ids = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>"), min_size=1, max_size=8),
        st.sampled_from(["%41", "%2541", "%", "%25", "@", "+"]),
    ),
    min_size=1,
    max_size=4,
).map("".join)


@many
@given(documents=st.dictionaries(ids, contents, max_size=4), sizes=chunkings)
def test_what_we_write_we_read_whatever_its_content_ids(
    tmp_path: Path, documents: dict[str, bytes], sizes: list[int]
) -> None:
    pieces: list[mtom.Piece] = [b"<all>"]
    for id_, content in documents.items():
        pieces += [b"<d>", Sent(id_, content), b"</d>"]
    message = mtom.mtom((*pieces, b"</all>"), "urn:action")
    data = b"".join(message.chunks)
    assert message.length == len(data)
    with Spool(tmp_path) as spool:
        package = read_package(dict(message.headers)["Content-Type"], reader(data, sizes), spool, Limits())
        root = parse(package.root)
        found = take_includes(root, package.attachments)
        assert [found[element].path.read_bytes() for element in root] == list(documents.values())
    assert list(tmp_path.iterdir()) == []


@many
@given(value=st.text(max_size=200))
def test_no_content_type_breaks_its_reader(value: str) -> None:
    ContentType.parse(value)
    ContentType.parse(f"multipart/related; {value}")


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/related;boundary={BOUNDARY};start=<root@x>",
        f'Multipart/Related; BOUNDARY="{BOUNDARY}"; START="root@x"',
        f'multipart/related;\r\n\tboundary="{BOUNDARY}";\r\n start="<root@x>"',
        f'multipart/related; boundary="{BOUNDARY}"; start="<root@x>"; type="application/xop+xml"; '
        'start-info="application/soap+xml; action=\\"urn:x\\""',
        f'multipart/related ; start="<root@x>" ; boundary="{BOUNDARY}" ;',
        f'multipart/related; boundary="{BOUNDARY}"; start="<root%40x>"',
    ],
)
def test_parameters_may_be_quoted_folded_and_in_any_case(tmp_path: Path, content_type: str) -> None:
    # The document comes first, so that only start= can tell which is the root.
    got = read(replace(GOOD, parts=GOOD.parts[::-1], content_type=content_type), tmp_path)
    assert got.root == b"<envelope/>"
    assert list(got.attachments) == ["doc@x"]


def test_without_start_the_first_part_is_the_root(tmp_path: Path) -> None:
    got = read(replace(GOOD, content_type=f"multipart/related; boundary={BOUNDARY}"), tmp_path)
    assert got.root == b"<envelope/>"


def test_without_start_the_root_needs_no_content_id(tmp_path: Path) -> None:
    parts = (APart(id=None), DOCUMENT)
    got = read(replace(GOOD, parts=parts, content_type=f"multipart/related; boundary={BOUNDARY}"), tmp_path)
    assert got.root == b"<envelope/>"


def test_a_start_that_names_no_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="start="):
        read(replace(GOOD, content_type=GOOD.content_type.replace("root@x", "other@x")), tmp_path)


@pytest.mark.parametrize("boundary", ["", "x" * 201])
def test_a_boundary_that_cannot_be_one_is_refused(tmp_path: Path, boundary: str) -> None:
    with pytest.raises(Malformed, match="boundary"):
        read(GOOD, tmp_path, content_type=f'multipart/related; boundary="{boundary}"')


@pytest.mark.parametrize(
    "id_", ["<doc@x>", " <doc@x> ", "doc@x", "<doc%40x>", "<http://schemas/doc>", "<a+b c@x>", "<50%@x>", "<%zz@x>"]
)
def test_odd_content_ids_are_found_again(tmp_path: Path, id_: str) -> None:
    got = read(replace(GOOD, parts=(APart(), replace(DOCUMENT, id=id_))), tmp_path)
    assert got.attachments == {content_id(id_): DOCUMENT.content}


@pytest.mark.parametrize("parts", [(APart(), DOCUMENT, DOCUMENT), (APart(), APart()), (APart(), DOCUMENT, APart())])
def test_a_content_id_that_two_parts_have_is_refused(tmp_path: Path, parts: tuple[APart, ...]) -> None:
    with pytest.raises(Malformed, match="two parts"):
        read(replace(GOOD, parts=parts), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_message_cut_off_anywhere_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    data = GOOD.packed()
    whole = data.index(b"--" + BOUNDARY.encode() + b"--") + len(BOUNDARY) + 4
    for end in range(whole):
        with pytest.raises(Malformed):
            read(data[:end], tmp_path, content_type=GOOD.content_type)
        assert list(tmp_path.iterdir()) == []
    assert read(data[:whole], tmp_path, content_type=GOOD.content_type).root == b"<envelope/>"


def test_what_stands_before_the_first_and_behind_the_last_boundary_is_nobodys(tmp_path: Path) -> None:
    message = replace(GOOD, before=b"This is a MIME message.\r\n", after=b"\r\nepilogue\r\n--" + BOUNDARY.encode())
    assert read(message, tmp_path, sizes=(7,)) == read(GOOD, tmp_path)


def test_a_long_preamble_without_a_boundary_is_refused_early(tmp_path: Path) -> None:
    asked = 0

    def endless(size: int) -> bytes:
        nonlocal asked
        asked += size
        return b"x" * size

    with Spool(tmp_path) as spool, pytest.raises(Malformed, match="no boundary"):
        read_package(GOOD.content_type, endless, spool, Limits())
    assert asked <= 4 * CHUNK_BYTES


def test_a_boundary_line_may_end_in_white_space_only(tmp_path: Path) -> None:
    data = GOOD.packed().replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b" \t\r\n")
    assert read(data, tmp_path, content_type=GOOD.content_type).root == b"<envelope/>"
    with pytest.raises(Malformed, match="behind a boundary"):
        read(GOOD.packed().replace(b"_1\r\n", b"_1x\r\n"), tmp_path, content_type=GOOD.content_type)


def test_a_boundary_line_without_an_end_is_refused(tmp_path: Path) -> None:
    data = b"--" + BOUNDARY.encode() + b" " * (HEADER_BYTES + 1)
    with pytest.raises(Malformed, match="without an end"):
        read(data, tmp_path, content_type=GOOD.content_type)


def test_a_boundary_inside_a_document_ends_it_and_what_follows_is_refused(tmp_path: Path) -> None:
    inside = replace(DOCUMENT, content=b"one\r\n--" + BOUNDARY.encode() + b"two")
    with pytest.raises(Malformed, match="behind a boundary"):
        read(replace(GOOD, parts=(APart(), inside)), tmp_path)


def test_a_boundary_in_the_middle_of_a_line_is_content(tmp_path: Path) -> None:
    inside = replace(DOCUMENT, content=b"x--" + BOUNDARY.encode() + b"--\n--" + BOUNDARY.encode())
    got = read(replace(GOOD, parts=(APart(), inside)), tmp_path, sizes=(5,))
    assert got.attachments["doc@x"] == inside.content


@pytest.mark.parametrize("sizes", [(1,), (1 << 20,)])
def test_parts_may_be_empty_and_have_no_headers(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    parts = (APart(b"", None, ()), replace(DOCUMENT, content=b""))
    message = replace(GOOD, parts=parts, content_type=f"multipart/related; boundary={BOUNDARY}")
    assert read(message, tmp_path, sizes=sizes).attachments == {"doc@x": b""}
    assert read(message, tmp_path, sizes=sizes).root == b""


def test_headers_may_end_in_line_feeds_alone(tmp_path: Path) -> None:
    parts = tuple(replace(part, end=b"\n") for part in GOOD.parts)
    assert read(replace(GOOD, parts=parts), tmp_path).root == b"<envelope/>"


def test_a_message_of_line_feeds_alone_is_refused(tmp_path: Path) -> None:
    parts = tuple(replace(part, end=b"\n") for part in GOOD.parts)
    with pytest.raises(Malformed):
        read(replace(GOOD, parts=parts, end=b"\n"), tmp_path)


def test_part_headers_may_be_folded(tmp_path: Path) -> None:
    folded = replace(DOCUMENT, id="\r\n <doc@x>", headers=("Content-Type: application/dicom;\r\n\tx=y",))
    assert read(replace(GOOD, parts=(APart(), folded)), tmp_path).attachments == {"doc@x": DOCUMENT.content}


@pytest.mark.parametrize("length", [HEADER_BYTES, HEADER_BYTES + CHUNK_BYTES])
def test_header_lines_that_are_too_long_are_refused(tmp_path: Path, length: int) -> None:
    long = replace(DOCUMENT, headers=("X-Long: " + "x" * length,))
    with pytest.raises(Malformed, match="header lines are too long"):
        read(replace(GOOD, parts=(APart(), long)), tmp_path)


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7bit", "BINARY"])
def test_transfer_encodings_that_change_nothing_are_taken(tmp_path: Path, encoding: str) -> None:
    part = replace(DOCUMENT, headers=(f"Content-Transfer-Encoding: {encoding}",))
    assert read(replace(GOOD, parts=(APart(), part)), tmp_path).attachments == {"doc@x": DOCUMENT.content}


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode"])
def test_other_transfer_encodings_are_refused_by_name(tmp_path: Path, encoding: str) -> None:
    part = replace(DOCUMENT, headers=(f"Content-Transfer-Encoding: {encoding}",))
    with pytest.raises(Malformed, match=encoding):
        read(replace(GOOD, parts=(APart(), part)), tmp_path)


def test_each_limit_holds_to_the_byte(tmp_path: Path) -> None:
    exact = Limits(root_part_bytes=11, part_bytes=100, parts=1)
    assert read(GOOD, tmp_path, limits=exact).root == b"<envelope/>"
    with pytest.raises(Fault, match="XOP") as fault:
        read(GOOD, tmp_path, limits=replace(exact, root_part_bytes=10))
    assert fault.value.http_status == 413
    with pytest.raises(Malformed, match="over 99 bytes"):
        read(GOOD, tmp_path, limits=replace(exact, part_bytes=99))
    with pytest.raises(Malformed, match="more than 0"):
        read(GOOD, tmp_path, limits=replace(exact, parts=0))
    assert list(tmp_path.iterdir()) == []


def test_a_plain_message_over_the_limit_names_xop_and_is_read_no_further(tmp_path: Path) -> None:
    limits, asked = Limits(root_part_bytes=1000), 0

    def endless(size: int) -> bytes:
        nonlocal asked
        asked += size
        return b"x" * size

    with Spool(tmp_path) as spool, pytest.raises(Fault, match="XOP") as fault:
        read_package("application/soap+xml", endless, spool, limits)
    assert fault.value.http_status == 413
    assert asked <= 2 * CHUNK_BYTES


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", "application/json", "x"])
def test_other_media_types_are_unsupported(tmp_path: Path, content_type: str) -> None:
    with pytest.raises(Fault) as fault:
        read(b"<a/>", tmp_path, content_type=content_type)
    assert fault.value.http_status == 415


@pytest.mark.parametrize("content_type", ["application/soap+xml; charset=utf-8; action='x'", "TEXT/XML", "text/xml;"])
def test_a_plain_message_is_its_own_root(tmp_path: Path, content_type: str) -> None:
    got = read(b"<a/>", tmp_path, content_type=content_type)
    assert (got.root, got.attachments, got.mtom) == (b"<a/>", {}, False)


def test_a_hundred_thousand_parts_are_refused_in_bounded_time_and_leave_nothing(tmp_path: Path) -> None:
    line, number = b"--" + BOUNDARY.encode() + b"\r\n", 0

    def parts(size: int) -> bytes:
        """As many parts as fit, never held at once."""
        nonlocal number
        made = []
        while size > 0 and number < 100_000:
            part = line + APart(b"", f"<{number}@x>", ()).packed() + b"\r\n"
            made.append(part)
            size, number = size - len(part), number + 1
        return b"".join(made)

    started = time.monotonic()
    with Spool(tmp_path) as spool, pytest.raises(Malformed, match="more than 2000 attachments"):
        read_package(f"multipart/related; boundary={BOUNDARY}", parts, spool, Limits(parts=2000))
    assert time.monotonic() - started < 30
    assert number < 10_000
    assert list(tmp_path.iterdir()) == []


def test_a_long_document_is_never_held_in_memory(tmp_path: Path) -> None:
    size, given_ = 20_000_000, 0
    head = b"--" + BOUNDARY.encode() + b"\r\n" + APart().packed() + b"\r\n--" + BOUNDARY.encode() + b"\r\n"
    head += replace(DOCUMENT, content=b"").packed()

    def document(most: int) -> bytes:
        nonlocal given_, head
        if head:
            piece, head = head, b""
            return piece
        if given_ < size:
            given_ += most
            return b"x" * most
        return b"" if given_ > 2 * size else _last()

    def _last() -> bytes:
        nonlocal given_
        given_ = 3 * size
        return b"\r\n--" + BOUNDARY.encode() + b"--"

    tracemalloc.start()
    try:
        with Spool(tmp_path) as spool:
            package = read_package(GOOD.content_type, document, spool, Limits())
            assert package.attachments["doc@x"].size_bytes >= size
        assert tracemalloc.get_traced_memory()[1] < 10 * CHUNK_BYTES
    finally:
        tracemalloc.stop()
