"""What a reader takes compressed it gets compressed, and the same bytes come out."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.wire.encodings import LEAST_BYTES, MOST_BYTES, encoded, takes_gzip
from xds.wire.http import HttpReply, HttpRequest


def asked(accept_encoding: str) -> HttpRequest:
    return HttpRequest("POST", "/registry", "", "", lambda _: b"", "", "", accept_encoding=accept_encoding)


def reply(pieces: Sequence[bytes]) -> HttpReply:
    return HttpReply(200, [("Content-Type", "text/xml")], iter(pieces), sum(map(len, pieces)))


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True), ("GZIP", True), ("x-gzip", True), ("deflate, gzip;q=0.5, br", True), ("*", True),
        ("", False), ("identity", False), ("deflate, br", False), ("gzip;q=0", False), ("gzip;q=0, *", False),
        ("*;q=0", False), ("gzip;q=nothing", False), (" , ;;=", False), ("x" * 2000 + ", gzip", False),
    ],
)  # fmt: skip
def test_gzip_is_taken_by_whom_the_header_says(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


@given(st.lists(st.binary(min_size=LEAST_BYTES, max_size=3000), min_size=1))
def test_the_same_bytes_come_out(pieces: Sequence[bytes]) -> None:
    answer = encoded(asked("gzip"), reply(pieces))
    sent = b"".join(answer.chunks)
    assert gzip.decompress(sent) == b"".join(pieces)
    assert answer.length == len(sent)
    assert answer.headers == [("Content-Type", "text/xml"), ("Content-Encoding", "gzip")]


@pytest.mark.parametrize("length", [0, LEAST_BYTES - 1, MOST_BYTES + 1, None])
def test_what_is_too_short_too_long_or_of_no_known_length_goes_as_it_is(length: int | None) -> None:
    given_ = HttpReply(200, [], iter(()), length)
    assert encoded(asked("gzip"), given_) is given_


def test_who_does_not_say_so_gets_it_as_it_is() -> None:
    given_ = reply([bytes(LEAST_BYTES)])
    assert encoded(asked(""), given_) is given_
