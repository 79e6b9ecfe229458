"""TLS contexts whose files are read again when they change, and that let no revoked peer through."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import urllib3

from xds.wire import revocation
from xds.wire.calls import Pool
from xds.wire.followed import stamp

log = logging.getLogger("xds.wire.contexts")

LOOK_SECONDS = 1.0
"""Between two looks at the files."""


class Rereading(ssl.SSLContext):
    """Each new connection is by the files as they are now; files that cannot be used leave the last good ones."""

    def __new__(cls, protocol: int, _make: Callable[[], ssl.SSLContext], _files: Sequence[str]) -> Rereading:
        return super().__new__(cls, protocol)

    def __init__(self, _protocol: int, make: Callable[[], ssl.SSLContext], files: Sequence[str]) -> None:
        self._make, self._files, self._lock = make, [one for one in files if one], threading.Lock()
        self._inner, self._stamps, self._looked = make(), self._seen(), time.monotonic()

    def wrap_socket(self, sock: Any, *args: Any, **named: Any) -> Any:
        """A TLS connection over one; where the handshake is done at once, its peer has been held to the revocations.

        Raises:
            OSError: the two do not trust each other, or the peer's certificate is revoked.
        """
        secured = self._now().wrap_socket(sock, *args, **named)
        if named.get("do_handshake_on_connect", True):
            try:
                revocation.refuse(secured)
            except ssl.SSLError:
                secured.close()
                raise
        return secured

    def _seen(self) -> list[tuple[int, int, int]]:
        return [stamp(one) for one in self._files]

    def _now(self) -> ssl.SSLContext:
        with self._lock:
            if time.monotonic() - self._looked < LOOK_SECONDS:
                return self._inner
            self._looked, seen = time.monotonic(), self._seen()
            if seen != self._stamps:
                self._stamps = seen
                try:
                    self._inner = self._make()
                    log.info("tls.read_again", extra={"files": " ".join(self._files)})
                except (OSError, ValueError) as problem:
                    log.warning("tls.not_taken", extra={"files": " ".join(self._files), "reason": str(problem)})
            return self._inner


def server_context(certificate: str, key: str, trusted: str) -> ssl.SSLContext:
    """ITI-19 for a listener: our certificate, and peers that must present one of those trusted, where there are any."""

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key or None)
        if trusted:
            context.load_verify_locations(trusted)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    return Rereading(ssl.PROTOCOL_TLS_SERVER, make, (certificate, key, trusted))


def client_context(certificate: str, key: str, trusted: str) -> ssl.SSLContext:
    """Towards a peer: what to present there, and whom to trust, the system's authorities where nothing says.

    Raises:
        OSError: a file cannot be used.
    """

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=trusted or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            context.load_cert_chain(certificate, key or None)
        return context

    return Rereading(ssl.PROTOCOL_TLS_CLIENT, make, (certificate, key, trusted))


class _Pool(urllib3.HTTPSConnectionPool):
    """Connections that are kept are used again only while their peer's certificate holds."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if connection.sock is not None and revocation.current().of(connection.sock):
            connection.close()  # the next handshake says why
        return connection


def pool(context: ssl.SSLContext | None, **named: Any) -> urllib3.PoolManager:
    """Connections to other nodes; nothing is tried twice, and no redirect is followed."""
    return held(Pool(retries=False, ssl_context=context, **named))


def held(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """A pool of connections that are held to the revocations."""
    manager.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": _Pool}
    return manager
