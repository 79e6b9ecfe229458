"""ADT messages that are no good, over a real socket: refused or taken as what they say, and the next is served."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.hl7.test_v2 import adt
from tests.hostile.server import Served
from xds.demo.site import free_port
from xds.wire.mllp import Malformed, send


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of the listener of a node, which serves on after all of it, without an exception in its log."""
    listener = free_port()
    sections = {"mllp": {"listen": f"127.0.0.1:{listener}"}, "domain": {"patients": "feed"}}
    served = Served(tmp_path_factory.mktemp("feeds"), sections).start()
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", listener)) == 0)
    yield listener
    assert served.stop() == 0
    assert "Traceback" not in served.log


@pytest.fixture(autouse=True)
def serves_on(port: int) -> Iterator[None]:
    yield
    assert b"MSA|AA|17" in send("127.0.0.1", port, adt(pid=cx("good")).encode())


def cx(patient: str) -> str:
    return f"{patient}^^^&{AUTHORITY}&ISO"


def answered(port: int, data: bytes) -> bytes:
    with contextlib.suppress(OSError, Malformed):
        return send("127.0.0.1", port, data, 20)
    return b""


ODD: dict[str, bytes] = {
    "another segment in an id": adt(pid=cx("a\\X0D\\MSH|x\\F\\y\\.br\\")).encode(),
    "a zero by its escape": adt(pid=cx("a\\X00\\b")).encode(),
    "separators by their escapes": adt(pid=cx("a\\S\\b\\T\\c")).encode(),
    "one separator four times": adt(pid=cx("x")).replace("^~\\&", "^^^^").encode(),
    "UTF-16": adt(pid=cx("u")).encode("utf-16"),
    "a zero": adt(pid=cx("n\0ul")).encode(),
    "a character set that nobody knows": adt(pid=cx("x"), charset="UNICODE EVIL").encode(),
    "a batch": b"FHS|^~\\&\rBHS|^~\\&\r" + adt(pid=cx("x")).encode(),
    "markup": adt(pid=cx("<script>alert(1)</script>")).encode(),
    "no id": adt(pid="").encode(),
    "300 segments": adt(pid=cx("s")).encode() + b"NTE|1\r" * 300,
    "a segment of 900 kB": adt(pid=cx("big")).encode() + b"NTE|1||" + b"x" * 900_000 + b"\r",
    "a control id of 50 kB": adt(pid=cx("cc"), control="9" * 50_000).encode(),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_what_is_odd_is_answered_once_and_says_nothing_of_ours(port: int, data: bytes) -> None:
    got = answered(port, data)
    assert got.count(b"MSH|") <= 1
    assert b"Traceback" not in got
    assert len(got) < 60_000


FRAMES = {
    "no end": b"\x0b" + adt(pid=cx("x")).encode(),
    "no beginning": adt(pid=cx("x")).encode() + b"\x1c\r",
    "the end before the beginning": b"\x1c\r\x0b",
    "nothing in it": b"\x0b\x1c\r",
}


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES)
def test_what_is_no_frame_makes_nobody_known(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(20)
        got = b""
        with contextlib.suppress(OSError):
            while piece := sock.recv(4096):
                got += piece
    assert b"MSA|AA" not in got


def test_merges_that_would_form_a_circle_are_refused_and_long_chains_end(port: int) -> None:
    for patient in "abc":
        assert b"MSA|AA" in answered(port, adt(pid=cx(patient)).encode())
    told = [b"MSA|AA" in answered(port, adt("A40", pid=cx(into), mrg=cx(old)).encode())
            for old, into in ("ab", "bc", "ca", "aa", "ba")]  # fmt: skip
    assert told == [True, True, False, False, False]
    chain = [f"k{number}" for number in range(60)]
    for patient in chain:
        answered(port, adt(pid=cx(patient)).encode())
    for old, into in itertools.pairwise(chain):
        assert b"MSA|AA" in answered(port, adt("A40", pid=cx(into), mrg=cx(old)).encode())
