"""Who a peer is: by its key where it has shown a certificate, else by its address; also in another process."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.hostile.certificates import Authority, Signed
from xds.wire.handing_over import give, take
from xds.wire.peers import Peer, served, serving


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Authority(tmp_path).signed("peer")


def der(signed: Signed) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(signed.certificate).read_text())


def test_a_peer_with_a_certificate_is_its_public_key_wherever_it_calls_from(signed: Signed) -> None:
    public = x509.load_der_x509_certificate(der(signed)).public_key()
    key = sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    assert {Peer((f"10.0.0.{number}", 1), der(signed)).key for number in (1, 2)} == {key}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_a_peer_without_one_is_its_address(one: str, other: str, same: bool) -> None:
    assert (Peer((one, 1)).key == Peer((other, 2)).key) is same


def test_what_is_no_certificate_is_told_apart_all_the_same() -> None:
    assert Peer(("10.0.0.1", 1), b"what").key == sha256(b"what").hexdigest()


def test_who_is_served_is_known_inside_only() -> None:
    with serving("a"):
        with serving("b"):
            assert served() == "b"
        assert served() == "a"
    assert served() == ""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        yield path, listener


@pytest.mark.parametrize("address", [("10.0.0.1", 5), ("2001:db8::1", 5, 0, 0), ""])
def test_a_connection_is_handed_over_with_who_is_at_its_other_end(
    listening: tuple[str, socket.socket], signed: Signed, address: object
) -> None:
    (path, listener), peer = listening, Peer(address, der(signed), "https")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        giving = threading.Thread(target=give, args=(path, theirs, peer, b"GET / HTTP/1.1\r\n"))
        giving.start()
        got = take(listener.accept()[0])
        giving.join()
        assert got is not None
        assert got[1:] == (peer, b"GET / HTTP/1.1\r\n")
        with got[0] as sock:
            sock.sendall(b"it is the same")
            assert ours.recv(100) == b"it is the same"


@pytest.mark.parametrize("data", [b"", b"\0" * 11, b"\0\0\0\x02" * 3 + b"{}"])
def test_what_is_no_connection_is_not_taken(listening: tuple[str, socket.socket], data: bytes) -> None:
    path, listener = listening
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        channel.sendall(data)
        channel.shutdown(socket.SHUT_WR)
        assert take(listener.accept()[0]) is None
