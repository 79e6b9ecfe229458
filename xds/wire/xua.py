"""ITI-40 Provide X-User Assertion: who the person is that a message is sent for, vouched for by a trusted issuer.

ITI TF-2: 3.40; SAML 2.0 Core; OASIS WS-Security 1.1: 12 (faults).  Only what was signed is read.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from lxml import etree

from xds.errors import Unusable
from xds.wire.assertion import SAML, Assertion, read
from xds.wire.faults import Fault, SecurityFault, insecure
from xds.wire.saml_conditions import SKEW, Bringing, Demands, holding
from xds.wire.saml_signature import verified
from xds.wire.xml import NAMESPACES, Element, name, parse

SECURITY = name("wsse:Security")

Once = Callable[[str, datetime], bool]
"""Keeps what may be used but once, until it ends; whether it was used now for the first time."""


class Trust:
    """Whose assertions are believed, and which are for us.  Safe with threads."""

    def __init__(
        self, certificates: Sequence[x509.Certificate], demands: Demands, *, required: bool,
        issuers: Mapping[str, Sequence[x509.Certificate]] | None = None, once: Once | None = None,
    ) -> None:  # fmt: skip
        """``issuers`` have certificates of their own; all others speak by any of ``certificates``.

        Without ``once`` an assertion that may be used but once is refused.
        """
        self._others, self._issuers = tuple(certificates), issuers or {}
        self._certificates = (*self._others, *(one for own in self._issuers.values() for one in own))
        self._demands, self._once, self.required = demands, once, required

    @classmethod
    def of(
        cls, path: str, issuers: Sequence[str], demands: Demands, *, required: bool, once: Once | None = None
    ) -> Trust:
        """Trust the certificates of a PEM file, where one is named, and issuers by ISSUER=FILE.

        Raises:
            Unusable: one cannot be read, or holds none; an entry is malformed; or several stand in one file without
                saying for whom each speaks.
        """
        certificates = _certificates("xua.trusted", path) if path else []
        if any(one.public_key() != certificates[0].public_key() for one in certificates):
            raise Unusable(
                "xua.trusted holds several keys, each of which could speak for every issuer: "
                "name whom each speaks for in xua.issuers"
            )
        own = dict[str, list[x509.Certificate]]()
        for entry in issuers:
            issuer, _, file = entry.rpartition("=")  # an Issuer may hold one
            if not issuer or not file:
                raise Unusable("xua.issuers: each entry is of the form ISSUER=FILE")
            own.setdefault(issuer, []).extend(_certificates("xua.issuers", file))
        return cls(certificates, demands, required=required, issuers=own, once=once)

    def asserted(
        self, header: Element | None, now: datetime | None = None, bringing: Bringing | None = None
    ) -> Assertion | None:
        """Who a message is sent for; None where it does not say and need not.

        Raises:
            Fault: an assertion is wanted and missing, or there is one that is not to be believed; each with the
                subcode of WS-Security that says why.
        """
        blocks = [] if header is None else header.findall(SECURITY)
        found = [one for block in blocks for one in block.findall(f"{SAML}Assertion")]
        if len(blocks) > 1 or len(found) > 1:
            raise insecure(SecurityFault.INVALID_SECURITY, "one wsse:Security with one Assertion is wanted")
        if not found:
            if blocks and len(blocks[0]):
                raise insecure(SecurityFault.UNSUPPORTED_SECURITY_TOKEN, "only SAML 2.0 assertions are supported")
            if self.required:
                raise insecure(SecurityFault.INVALID_SECURITY, "a SAML 2.0 assertion is required (ITI TF-2: 3.40)")
            return None
        return self.believed(found[0], bringing or Bringing(), now)

    def believed(self, assertion: Element, bringing: Bringing, now: datetime | None = None) -> Assertion:
        """What an assertion says, which came so.

        Raises:
            Fault: it is not to be believed; with the subcode of WS-Security that says why.
        """
        certificate = self._signer(assertion)
        signed = verified(assertion, certificate)
        said = read(signed)
        if certificate not in self._issuers.get(said.issuer, self._others):
            raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is signed by another than its issuer")
        if bringing.issuers is not None and said.issuer not in bringing.issuers:
            raise insecure(SecurityFault.FAILED_AUTHENTICATION, "this peer does not speak for the assertion's issuer")
        held = holding(signed, self._demands, bringing, now or datetime.now(UTC))
        if held.once and (self._once is None or not self._once(used_key(said.issuer, said.id), held.until + SKEW)):
            raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is used already (OneTimeUse)")
        return replace(said, method=held.method, until=held.until)

    def _signer(self, assertion: Element) -> x509.Certificate:
        """The trusted certificate that the signature names; the only one where it names none."""
        signature = assertion.find(name("ds:Signature"))
        if signature is None:
            raise insecure(SecurityFault.FAILED_CHECK, "the assertion is not signed")
        named = signature.findtext(f"{name('ds:KeyInfo')}//{name('ds:X509Certificate')}")
        if named is None and len(self._certificates) == 1:
            return self._certificates[0]
        try:
            claimed = x509.load_der_x509_certificate(_base64(named or ""))
        except Exception:  # cryptography raises many kinds, such as InvalidVersion, of bytes that anybody may send
            raise insecure(SecurityFault.SECURITY_TOKEN_UNAVAILABLE, "the signature names no certificate") from None
        if claimed not in self._certificates:
            raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion's issuer is not trusted")
        return claimed


def used_key(issuer: str, id_: str) -> str:
    """What is kept of an assertion or token that may be used but once."""
    return hashlib.sha256(f"{issuer}\0{id_}".encode("utf-8", "replace")).hexdigest()


def _certificates(setting: str, path: str) -> list[x509.Certificate]:
    """Of a PEM file.

    Raises:
        Unusable: it cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as problem:
        raise Unusable(f"{setting}: {problem}") from None


def _base64(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def claimed(assertion: bytes) -> Assertion:
    """What an assertion of our own says, which is for others to believe.

    Raises:
        ValueError: it is no SAML 2.0 assertion.
    """
    try:
        return read(parse(assertion))
    except Fault as fault:
        raise ValueError(fault.reason) from None


def passed_on(header: Element | None) -> Element | None:
    """The wsse:Security header with the one assertion of another message, whose signature holds as it did there."""
    found = [] if header is None else header.findall(f"{SECURITY}/{SAML}Assertion")
    if len(found) != 1:
        return None
    # What it declares above itself may be meant by a QName in it, and belong to what was signed.
    namespaces = {prefix: uri for prefix, uri in found[0].nsmap.items() if prefix and prefix != "wsse"}
    block = etree.Element(SECURITY, nsmap={**namespaces, "wsse": NAMESPACES["wsse"]})
    block.append(copy.deepcopy(found[0]))
    return block


def header_block(assertion: bytes) -> Any:
    """The wsse:Security header of a message that is sent for a person.

    Raises:
        ValueError: it is no SAML 2.0 assertion.
    """
    found = parse(assertion)
    if found.tag != f"{SAML}Assertion":
        raise ValueError("not a SAML 2.0 assertion")
    block = etree.Element(SECURITY, nsmap={"wsse": NAMESPACES["wsse"]})
    block.append(found)
    return block
