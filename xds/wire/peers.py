"""Who is at the other end of a connection, as shares and limits tell peers apart."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from cryptography import x509

from xds.wire.certificates import spki_sha256

CERTIFICATE, KEY = "xds.peer_certificate_der", "xds.peer_key"
"""Where a WSGI environ has the certificate of the TLS peer (bytes, DER) and the key by which it is told apart."""

TURNED_AWAY = "xds.turned_away"
"""And whether the peer has its share already, so that its request is answered and not carried out."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end: its address as the socket gives it, and what it has shown of itself."""

    address: Any
    certificate: bytes = b""  # DER; empty where it has shown none
    scheme: str = "http"

    @property
    def host(self) -> str:
        return str(self.address[0]) if isinstance(self.address, tuple) and self.address else "local"

    @property
    def network(self) -> str:
        """What it is told apart by before it has shown a certificate."""
        return key_of(b"", self.host)

    @property
    def key(self) -> str:
        """What it is told apart by: its public key, else its address."""
        return key_of(self.certificate, self.host)


Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def identified(application: Application) -> Application:
    """The application, told who the peer is; also where TLS has ended in another process."""

    def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        peer: Peer = environ["gunicorn.socket"].peer
        environ[CERTIFICATE], environ[KEY] = peer.certificate, peer.key
        environ[TURNED_AWAY] = environ["gunicorn.socket"].turned_away
        if peer.scheme == "https":
            environ["wsgi.url_scheme"] = "https"
        return application(environ, start_response)

    return told


@lru_cache(4096)
def key_of(certificate: bytes, host: str) -> str:
    """SHA-256 of the certificate's SubjectPublicKeyInfo in hex; without one the address, of IPv6 its network.

    Who has one address of an IPv6 network of 64 bits has all of them.
    """
    if certificate:
        try:
            return spki_sha256(x509.load_der_x509_certificate(certificate).public_key())
        except Exception:  # a key of a kind that the library does not know, and TLS does
            return hashlib.sha256(certificate).hexdigest()
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


Spend: TypeAlias = Callable[[str, int, int], None]
"""Told the key of a peer, and how many audit records and bytes it has brought about."""

_served: ContextVar[tuple[str, Spend | None]] = ContextVar("served", default=("", None))


@contextmanager
def serving(key: str, spend: Spend | None = None) -> Iterator[None]:
    """What is done inside is done for this peer; ``spend`` is told what of it is kept."""
    token = _served.set((key, spend))
    try:
        yield
    finally:
        _served.reset(token)


def served() -> str:
    """The key of the peer that is served just now; empty: this node itself."""
    return _served.get()[0]


def spent(*, records: int = 0, size_bytes: int = 0) -> None:
    """Count what is kept for the peer that is served just now."""
    key, spend = _served.get()
    if spend is not None:
        spend(key, records, size_bytes)
