"""Whether a SAML 2.0 assertion is worth something now, here, and in the hands that it came in.

SAML 2.0 Core: 2.4.1 (confirmation of the subject), 2.5.1 (conditions); ITI TF-2: 3.40.4.1.2.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from xds.wire.assertion import BEARER, HOLDER_OF_KEY, SAML
from xds.wire.certificates import spki_sha256
from xds.wire.faults import Fault, SecurityFault, insecure
from xds.wire.xml import Element, name

SKEW = timedelta(seconds=60)
"""How far an issuer's clock may be from ours."""

METHODS = {"bearer": BEARER, "holder-of-key": HOLDER_OF_KEY}
"""How who presents an assertion may be confirmed as who it is for, as settings name it."""

CONFIRMATIONS = 10
"""Of an assertion: any one is enough, and each is tried."""

# Conditions that are understood.  ProxyRestriction binds who would issue assertions on the strength of this one
# (SAML 2.0 Core: 2.5.1.6), which we never do.
_KNOWN = frozenset(f"{SAML}{which}" for which in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_LIMITS = frozenset({"NotBefore", "NotOnOrAfter"})

# xs:dateTime (SAML 2.0 Core: 1.3.3): other forms that Python reads are none.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bringing:
    """How an assertion or token came: to which URL, from which address, over a connection of which key.

    ``key_sha256`` is of the TLS client's public key (SPKI), in hex; ``issuers`` are those whose assertions the peer may
    bring, any where it is None.
    """

    url: str = ""
    address: str = ""
    key_sha256: str = ""
    issuers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of every assertion; ``audiences``: whom it may be for, anybody where there are none."""

    audiences: frozenset[str] = frozenset()
    longest: timedelta = timedelta(minutes=15)
    methods: frozenset[str] = frozenset(METHODS.values())


@dataclass(frozen=True, slots=True)
class Holding:
    """Conditions that hold: how who presents it was confirmed, until when, and whether it may be used but once."""

    method: str
    until: datetime
    once: bool


def holding(assertion: Element, demands: Demands, bringing: Bringing, now: datetime) -> Holding:
    """What a signed assertion is worth.

    Raises:
        Fault: nothing; with the subcode of WS-Security that says why.
    """
    conditions = assertion.find(f"{SAML}Conditions")
    if conditions is None or assertion.find(f"{SAML}AuthnStatement") is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "Conditions and AuthnStatement are required")
    _understood(conditions)
    issued, begin, end = _time(assertion, "IssueInstant"), _time(conditions, "NotBefore"), _end(conditions)
    if issued is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "IssueInstant is required")
    since = max(issued, begin or issued)
    _in_time(since, end, now)
    _for_us(conditions, demands.audiences)
    method, confirmed = _confirmed(assertion, demands, bringing, now)
    until = min(end, confirmed or end)
    if until - since > demands.longest:
        raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion lasts too long")
    return Holding(method, until, conditions.find(f"{SAML}OneTimeUse") is not None)


def _understood(conditions: Element) -> None:
    """One condition that is not understood makes the whole of no known worth (SAML 2.0 Core: 2.5.1.1)."""
    if not {one.tag for one in conditions} <= _KNOWN or not set(conditions.attrib) <= _LIMITS:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "the assertion has a condition that is not understood")


def _for_us(conditions: Element, audiences: Collection[str]) -> None:
    """One restriction there must be (ITI TF-2: 3.40.4.1.2); of each an audience is ours (SAML 2.0 Core: 2.5.1.4)."""
    restrictions = conditions.findall(f"{SAML}AudienceRestriction")
    if audiences and not restrictions:
        raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for nobody in particular")
    for restriction in restrictions:
        named = {(one.text or "").strip() for one in restriction.iterfind(f"{SAML}Audience")}
        if audiences and not named & set(audiences):
            raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for another audience")


def _confirmed(assertion: Element, demands: Demands, bringing: Bringing, now: datetime) -> tuple[str, datetime | None]:
    """By which method, and until when: any one confirmation that holds is enough (SAML 2.0 Core: 2.4.1)."""
    found = assertion.findall(f"{SAML}Subject/{SAML}SubjectConfirmation")[:CONFIRMATIONS]
    first: Fault | None = None
    for one in found:
        method = one.get("Method", "")
        if method not in demands.methods:
            continue
        try:
            return method, _data_holds(one, method, demands, bringing, now)
        except Fault as fault:
            first = first or fault
    if first is not None:
        raise first
    wanted = " and ".join(name for name, method in METHODS.items() if method in demands.methods)
    raise insecure(SecurityFault.UNSUPPORTED_SECURITY_TOKEN, f"only {wanted} assertions are supported")


def _data_holds(
    confirmation: Element, method: str, demands: Demands, bringing: Bringing, now: datetime
) -> datetime | None:
    """Until when SubjectConfirmationData lets who presents the assertion be confirmed (SAML 2.0 Core: 2.4.1.2)."""
    data = confirmation.find(f"{SAML}SubjectConfirmationData")
    end = None if data is None else _time(data, "NotOnOrAfter")
    if method == BEARER and end is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "a bearer's SubjectConfirmationData needs NotOnOrAfter")
    if data is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "SubjectConfirmationData is required")
    _in_time(_time(data, "NotBefore"), end, now)
    recipient, address = data.get("Recipient"), data.get("Address")
    if recipient is not None and recipient not in {bringing.url, *demands.audiences} - {""}:
        raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for another recipient")
    if address is not None and not _same_address(address, bringing.address):
        raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for another address")
    if method == HOLDER_OF_KEY and (not bringing.key_sha256 or bringing.key_sha256 not in _keys(data)):
        raise insecure(SecurityFault.FAILED_AUTHENTICATION, "the connection is not of the key that the assertion names")
    return end


def _same_address(one: str, other: str) -> bool:
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; of IPv4 in IPv6, that of IPv4."""
    found = ipaddress.ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def _keys(data: Element) -> Iterator[str]:
    """SHA-256 of each public key (SPKI) that KeyInfo names by a certificate, or as it is (RSA)."""
    for info in data.iterfind(name("ds:KeyInfo")):
        for certificate in info.iter(name("ds:X509Certificate")):
            try:
                key = x509.load_der_x509_certificate(base64.b64decode(certificate.text or "")).public_key()
            except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
                continue
            yield spki_sha256(key)
        for value in info.iter(name("ds:RSAKeyValue")):
            modulus, exponent = (_integer(value.findtext(name(f"ds:{part}"))) for part in ("Modulus", "Exponent"))
            try:
                yield spki_sha256(rsa.RSAPublicNumbers(exponent, modulus).public_key())
            except ValueError:
                continue


def _integer(text: str | None) -> int:
    try:
        return int.from_bytes(base64.b64decode(text or "")[:2048])
    except ValueError:
        return 0


def _in_time(begin: datetime | None, end: datetime | None, now: datetime) -> None:
    if (begin is not None and now + SKEW < begin) or (end is not None and now - SKEW >= end):
        raise insecure(SecurityFault.MESSAGE_EXPIRED, "the assertion is not valid now")


def _end(conditions: Element) -> datetime:
    end = _time(conditions, "NotOnOrAfter")
    if end is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "Conditions need NotOnOrAfter")
    return end


def _time(element: Element, attribute: str) -> datetime | None:
    """An attribute's time in UTC, None where there is none."""
    text = element.get(attribute)
    if text is None:
        return None
    try:
        if not _DATE_TIME.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, f"{attribute} is no time") from None
