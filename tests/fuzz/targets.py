"""What reads strangers' bytes, each as a function of bytes: it may raise its own exceptions, and no others.

``test_fuzz.py`` runs them over a kept corpus and bytes by hypothesis; ``python -m tests.fuzz NAME SECONDS`` by atheris.
"""

from __future__ import annotations

import contextlib
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from joserfc import jws
from lxml import etree

from tests.assertions import signed as an_assertion
from tests.builders import a_submission, symbolic
from tests.hl7.test_v2 import adt
from tests.imaging.images import a_manifest
from tests.places import GOLDEN
from tests.tokens import AUDIENCE, ISSUER, a_file, a_key, signed
from tests.wire.messages import ACTION, AMessage, an_envelope, reader
from tests.wire.test_xua import header, trust
from xds.actors import document_registry
from xds.ebxml import lcm, query
from xds.endpoints.audit_received import received
from xds.errors import Refused
from xds.hl7 import v2, v3
from xds.hl7.charset import decoded, legible
from xds.hl7.feed import NotAFeed
from xds.imaging import elements, kos, part10
from xds.metadata import to_ebxml
from xds.wire import mllp, syslog, xua
from xds.wire.bearer import Expected, NotBelieved, Tokens, token_of
from xds.wire.faults import Fault
from xds.wire.jwks import Keys
from xds.wire.mime import Limits, Malformed, read_package
from xds.wire.saml_conditions import Bringing
from xds.wire.soap import Endpoint, NotAnswered
from xds.wire.spool import Spool
from xds.wire.xml import NotXml, parse
from xds.wire.xop import take_includes, take_inline

MOST_SECONDS = 2.0
"""Of CPU for one input: they are at most some kilobytes."""
MOST_BYTES = 64 * 1024 * 1024
"""By which one input may raise the process' peak."""


@dataclass(frozen=True)
class Target:
    """``own`` are the exceptions that its readers promise."""

    read: Callable[[bytes], object]
    own: tuple[type[BaseException], ...]
    seeds: Callable[[], list[bytes]]

    def run(self, data: bytes) -> None:
        """Read one input.

        Raises:
            AssertionError: it takes too long, or too much memory.
        """
        before, peak = time.thread_time(), _peak()
        with contextlib.suppress(self.own):
            self.read(data)
        assert time.thread_time() - before < MOST_SECONDS, "it takes too long"
        assert _peak() - peak < MOST_BYTES, "it takes too much memory"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz"))


def _mime(data: bytes) -> object:
    with Spool(_folder()) as spool:
        return read_package(AMessage().content_type, reader(data, (97, 4096)), spool, Limits(65536, 65536, 20))


def _xop(data: bytes) -> None:
    with Spool(_folder()) as spool:
        writing = spool.new()
        writing.write(b"content")
        body = parse(data)
        take_includes(body, {"doc@x": writing.finish()})
        for one in body.iter("{*}Document"):
            take_inline(one, spool)


@cache
def _endpoint() -> Endpoint:
    return Endpoint("Fuzzed", {ACTION: lambda _message, _caller: None})


def _soap(data: bytes) -> object:
    return _endpoint().call(data, None)


def _ebxml(data: bytes) -> None:
    root = parse(data)
    query.read_request(root)  # what the schema would have refused is read of tolerated senders all the same
    lcm.read_remove_objects(root)
    document_registry.read(lcm.read_submit_objects(root))


def _kos(data: bytes) -> object:
    return kos.read(data)


def _part10(data: bytes) -> None:
    opened = part10.parse(data)
    for root in (opened.meta, opened.root):
        for tag in (0x00080016, 0x00080018, 0x00100010, 0x0020000D, 0x00080005):
            root.values(tag)
        for item in root.items(0x0040A375):
            item.values(0x0020000D)


def _syslog(data: bytes) -> None:
    frames = syslog.Frames()
    for at in range(0, len(data), 61):
        for frame, _flag in frames.take(data[at : at + 61]):
            received(frame, "tcp 127.0.0.1")
    for frame, _flag in frames.take(b""):
        received(frame, "tcp 127.0.0.1")


def _mllp(data: bytes) -> None:
    frames = mllp.Frames()
    for at in range(0, len(data), 61):
        frames.take(data[at : at + 61])
        while frames.next() is not None:
            pass
    frames.next(silent=True)


def _hl7(data: bytes) -> None:
    v2.header(legible(data))
    v2.read(decoded(data), v2.Authorities({}))


def _hl7v3(data: bytes) -> object:
    return v3.read(parse(data))


def _xua(data: bytes) -> None:
    parse(data)
    trust().asserted(header(data))


def _claimed(data: bytes) -> object:
    return xua.claimed(data)


@cache
def _tokens() -> Tokens:
    expected = Expected(ISSUER, frozenset({AUDIENCE}), frozenset({"ES256"}))
    return Tokens(expected, Keys(str(a_file(_folder(), a_key())), 300.0))


def _jwt(data: bytes) -> object:
    return _tokens().believed(token_of(f"Bearer {data.decode('latin-1')}"), Bringing())


def _claims(data: bytes) -> object:
    """Whatever a key that is believed has signed."""
    head = {"alg": "ES256", "kid": a_key().kid}
    return _tokens().believed(jws.serialize_compact(head, data, a_key(), algorithms=["ES256"]), Bringing())


def _submission() -> bytes:
    return etree.tostring(lcm.write_submit_objects(to_ebxml.submission(symbolic(a_submission()))))


def _a_query() -> bytes:
    return etree.tostring(query.write_request(query.AdhocQuery("urn:uuid:1", "LeafClass", ())))


_INCLUDE = b'<r xmlns:x="http://www.w3.org/2004/08/xop/include"><Document><x:Include href="cid:doc@x"/></Document></r>'
_V3 = b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3"><id root="1.2"/><controlActProcess/></PRPA_IN201301UV02>'
_CLAIMS = b'{"iss":"https://auth.hospital.example","aud":"https://xds.hospital.example","exp":9e9,"extensions":{}}'

TARGETS: Mapping[str, Target] = {
    "mime": Target(_mime, (Fault, Malformed), lambda: [AMessage().packed()]),
    "xop": Target(_xop, (Fault, NotXml), lambda: [_INCLUDE, b"<r><Document>AAAA</Document></r>"]),
    "soap": Target(_soap, (NotAnswered,), lambda: [an_envelope()]),
    "ebxml": Target(_ebxml, (NotXml, Refused), lambda: [_submission(), _a_query()]),
    "kos": Target(_kos, (kos.NotAManifest,), lambda: [kos.write(a_manifest())]),
    "part10": Target(_part10, (elements.Malformed,), lambda: [kos.write(a_manifest())]),
    "syslog": Target(
        _syslog,
        (syslog.Malformed,),
        lambda: [syslog.framed([syslog.message((GOLDEN / "iti18_responder.xml").read_bytes())])],
    ),
    "mllp": Target(_mllp, (mllp.Malformed,), lambda: [b"\x0b" + adt().encode() + b"\x1c\r"]),
    "hl7": Target(_hl7, (NotAFeed,), lambda: [adt().encode(), adt("A40", mrg="ann^^^&1.2.3.4.5&ISO").encode()]),
    "hl7v3": Target(_hl7v3, (NotAFeed, NotXml), lambda: [_V3]),
    "xua": Target(_xua, (Fault, NotXml), lambda: [an_assertion()]),
    "claimed": Target(_claimed, (ValueError,), lambda: [an_assertion()]),
    "jwt": Target(_jwt, (NotBelieved,), lambda: [signed().encode()]),
    "claims": Target(_claims, (NotBelieved,), lambda: [_CLAIMS]),
}
