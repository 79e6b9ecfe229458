"""Requests that come through a proxy: whose they are, by what the proxy says, which is believed from named ones only.

RFC 9440: 2.1, 2.2 (Client-Cert), 2.4 (who may say it); the forms of nginx ($ssl_client_escaped_cert) and HAProxy
(%[ssl_c_der,base64]).  What ``wire/http.py`` and the pages read of the environment is the client's, not the proxy's.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.wire import revocation
from xds.wire.certificates import Certificate, NotACertificate
from xds.wire.networks import Network, networks_of
from xds.wire.peers import CERTIFICATE, KEY, key_of

_FORWARDED = "HTTP_X_FORWARDED_FOR"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*")


class NotForwarded(Exception):
    """What is said of the client comes from somebody who may not say it, or cannot be read; never what it says."""


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotForwarded("the certificate in the header is no base64") from None


def _rfc9440(text: str) -> bytes:
    """A Byte Sequence of RFC 8941: 3.3.5; the padding may be left out (4.2.7)."""
    if len(text) < 2 or text[0] != ":" or text[-1] != ":":
        raise NotForwarded("the certificate in the header is not of the form :base64: (RFC 9440: 2.1)")
    return _bytes(text[1:-1] + "=" * (-(len(text) - 2) % 4))


def _nginx(text: str) -> bytes:
    pem = unquote_to_bytes(text)
    if _PEM.fullmatch(pem) is None:
        raise NotForwarded("the certificate in the header is not one escaped PEM text")
    try:
        return ssl.PEM_cert_to_DER_cert(pem.decode().strip())
    except ValueError:
        raise NotForwarded("the certificate in the header is no PEM") from None


# Each form: the header that usually has it, and how it is read.
_FORMS: Mapping[str, tuple[str, Callable[[str], bytes]]] = {
    "rfc9440": ("Client-Cert", _rfc9440),
    "nginx": ("X-SSL-Client-Cert", _nginx),
    "haproxy": ("X-SSL-Client-Cert", _bytes),
}


@dataclass(frozen=True, slots=True)
class Proxies:
    """Who is believed to say for whom a request is, and how they say it."""

    networks: tuple[Network, ...] = ()
    header: str = ""  # the environment's name of it; empty: none is read
    read: Callable[[str], bytes] = _bytes

    @classmethod
    def of(cls, settings: Settings) -> Proxies:
        """Those of the settings.

        Raises:
            Unusable: an address or a form that there is not, or a header that nobody may send.
        """
        server = settings.server
        networks = networks_of("server.proxies", server.proxies)
        if not server.proxy_certificate:
            return cls(networks)
        form, _, named = server.proxy_certificate.partition(":")
        if form not in _FORMS or re.fullmatch("[A-Za-z0-9-]*", named) is None:
            raise Unusable(f"server.proxy_certificate: one of {', '.join(_FORMS)}, or FORM:NAME-OF-THE-HEADER")
        if not networks:
            raise Unusable("server.proxy_certificate needs server.proxies: nobody could be believed")
        usual, read = _FORMS[form]
        return cls(networks, "HTTP_" + (named or usual).upper().replace("-", "_"), read)

    def told(self, environ: Mapping[str, Any]) -> Mapping[str, Any]:
        """The environment with the client's address and certificate in it, in place of a proxy's.

        A proxy's own certificate is never the client's.  Who has no header from a proxy has no certificate.

        Raises:
            NotForwarded: it is to be refused; from whom it comes is REMOTE_ADDR.
        """
        given = environ.get(self.header, "") if self.header else ""
        if not self._believes(environ.get("REMOTE_ADDR", "")):
            if given:
                raise NotForwarded("a certificate in a header, from an address that is none of server.proxies")
            return environ
        address = _last_hop(environ.get(_FORWARDED, "")) or environ.get("REMOTE_ADDR", "")
        if not self.header:
            return {**environ, "REMOTE_ADDR": address}
        der = self._certificate(given.strip()) if given.strip() else b""
        return {**environ, "REMOTE_ADDR": address, CERTIFICATE: der, KEY: key_of(der, address)}

    def _certificate(self, given: str) -> bytes:
        if "," in given:  # as the server joins what was sent twice
            raise NotForwarded("more than one certificate in the header")
        der = self.read(given)
        try:
            Certificate.of(der)
        except NotACertificate:
            raise NotForwarded("what is in the header is no X.509 certificate") from None
        reason = revocation.current().reason(der)
        if reason:
            raise NotForwarded(f"the certificate in the header is not let in: {reason}")
        return der

    def _believes(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address or "127.0.0.1")
        except ValueError:
            return False
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return any((mapped or found) in network for network in self.networks)


def _last_hop(forwarded: str) -> str:
    """Whom the proxy itself has seen: the last of them; those before it are what the client says."""
    last = forwarded.rpartition(",")[2].strip()
    if not last:
        return ""
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        raise NotForwarded("the last address in X-Forwarded-For is none") from None
