"""The head of a request: where it ends, where it goes, and how much of it there may be."""

from __future__ import annotations

import pytest

from xds.wire.head import HEAD_BYTES, HEAD_LINES, Head, Reader, TooLong

GOOD = b"POST /repository?x=/dicomweb HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(GOOD)])
def test_it_is_found_however_it_comes(step: int) -> None:
    reader, data, found = Reader(), bytearray(), list[Head]()
    for at in range(0, len(GOOD), step):
        data += GOOD[at : at + step]
        head = None if found else reader.read(data)
        found += [head] if head else []
    assert found == [Head("POST", "/repository", 5, GOOD.index(b"hello"))]


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"transfer-encoding : x"])
def test_a_body_of_no_length_is_streamed(line: bytes) -> None:
    head = Reader().read(bytearray(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n" + line + b"\r\n\r\n"))
    assert head is not None
    assert head.length is None


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/dicomweb/studies", "/dicomweb/studies"),
        ("/%64icomweb/studies", "/dicomweb/studies"),
        ("/%64%69%63omweb/studies?a=b", "/dicomweb/studies"),
        ("/dicomweb%2Fstudies", "/dicomweb/studies"),
        ("http://elsewhere/wado?x", "/wado"),
        ("//dicomweb/studies", "//dicomweb/studies"),
        ("/dicomweb#a", "/dicomweb"),
        ("http://[", ""),
    ],
)
def test_where_it_goes_is_decided_by_the_path_that_the_application_sees(target: str, path: str) -> None:
    head = Reader().read(bytearray(f"GET {target} HTTP/1.1\r\n\r\n".encode()))
    assert head is not None
    assert head.path == path


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEAD_LINES + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEAD_LINES + 1),
        b"\n" * (HEAD_LINES + 2),
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES,
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
    ],
)
def test_too_much_of_it_is_refused(data: bytes) -> None:
    with pytest.raises(TooLong):
        Reader().read(bytearray(data))


def test_a_hundred_header_fields_are_taken() -> None:
    assert Reader().read(bytearray(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEAD_LINES + b"\r\n")) is not None
