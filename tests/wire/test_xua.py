"""ITI-40: a good assertion is read whole; each part that is spoilt is refused with WS-Security's own subcode."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.assertions import AUDIENCE, ISSUER, Claims, an_issuer, signed, unsigned
from xds.wire.assertion import BEARER, HOLDER_OF_KEY, Code
from xds.wire.faults import Fault, SecurityFault
from xds.wire.saml_conditions import Bringing, Demands
from xds.wire.xml import NAMESPACES, Element, name
from xds.wire.xua import Trust

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


def trust(
    *, required: bool = False, audiences: tuple[str, ...] = (AUDIENCE,), used: list[str] | None = None,
    methods: tuple[str, ...] = (BEARER, HOLDER_OF_KEY),
) -> Trust:  # fmt: skip
    """``used``: what was used, and may be but once."""

    def once(key: str, _until: datetime) -> bool:
        assert used is not None
        used.append(key)
        return used.count(key) == 1

    certificates = [an_issuer("another").certificate, an_issuer().certificate]
    demands = Demands(frozenset(audiences), methods=frozenset(methods))
    return Trust(certificates, demands, required=required, once=None if used is None else once)


def header(*assertions: bytes) -> Element:
    block = etree.Element(name("soap:Header"), nsmap={"soap": NAMESPACES["soap"]})
    security = etree.SubElement(block, name("wsse:Security"))
    for assertion in assertions:
        security.append(etree.fromstring(assertion))
    return block


def refused(
    given: Element | None, trust_: Trust | None = None, now: datetime | None = None, bringing: Bringing | None = None
) -> SecurityFault:
    with pytest.raises(Fault) as fault:
        (trust_ or trust()).asserted(given, now, bringing)
    assert b"wsse:" in etree.tostring(fault.value.element())
    assert not any(word in fault.value.reason for word in ("anna", "Meier"))
    (subcode,) = fault.value.subcodes
    assert isinstance(subcode, SecurityFault)
    return subcode


def test_a_good_assertion_says_who_asks_in_which_role_and_for_what() -> None:
    found = trust().asserted(header(signed()))
    assert found is not None
    assert found.user_name == f"am<anna.meier@{ISSUER}>"
    assert (found.subject_id, found.organisations, found.organisation_ids) == (
        "Dr. Anna Meier", ("North Hospital",), ("urn:oid:1.2.3.9",)
    )  # fmt: skip
    assert (found.id, found.method) == ("_a1", BEARER)
    assert found.until is not None
    assert timedelta(seconds=290) < found.until - datetime.now(UTC) < timedelta(seconds=310)
    assert found.roles == (Code("223366009", "2.16.840.1.113883.6.96", "SNOMED_CT", "Radiologist"),)
    assert found.purposes == (Code("TREATMENT", "2.16.840.1.113883.1.11.20448", "PurposeOfUse", "Treatment"),)


def test_a_message_without_an_assertion_is_of_nobody_unless_one_is_required() -> None:
    for nobody in (None, etree.Element(name("soap:Header")), header()):
        assert trust().asserted(nobody) is None
        assert refused(nobody, trust(required=True)) is SecurityFault.INVALID_SECURITY


OTHER = "https://other.example"


@pytest.mark.parametrize(("issuer", "by", "believed"), [
    (ISSUER, "own", True), (ISSUER, "idp", False), (OTHER, "idp", True), (OTHER, "own", False),
    (ISSUER, "stranger", False),
])  # fmt: skip
def test_an_issuer_with_certificates_of_its_own_is_believed_by_these_alone(
    issuer: str, by: str, believed: bool
) -> None:
    own = {ISSUER: [an_issuer("own").certificate]}
    bound = Trust([an_issuer("idp").certificate], Demands(frozenset({AUDIENCE})), required=False, issuers=own)
    assertion = header(signed(Claims(issuer=issuer, by=an_issuer(by))))
    if believed:
        assert bound.asserted(assertion)
    else:
        assert refused(assertion, bound) is SecurityFault.FAILED_AUTHENTICATION


def test_an_audience_is_not_looked_at_where_none_is_set() -> None:
    assert trust(audiences=()).asserted(header(signed(Claims(audience="https://elsewhere.example"))))


@pytest.mark.parametrize(("claims", "subcode"), [
    (Claims(by=an_issuer("stranger")), SecurityFault.FAILED_AUTHENTICATION),
    (Claims(audience="https://elsewhere.example"), SecurityFault.FAILED_AUTHENTICATION),
    (Claims(end=-120), SecurityFault.MESSAGE_EXPIRED),
    (Claims(begin=120), SecurityFault.MESSAGE_EXPIRED),
    (Claims(method="sender-vouches"), SecurityFault.UNSUPPORTED_SECURITY_TOKEN),
    # Without a key that the connection shows, holder-of-key is nobody's word; it was not supported at all once.
    (Claims(method="holder-of-key"), SecurityFault.FAILED_AUTHENTICATION),
    (Claims(end=901), SecurityFault.FAILED_AUTHENTICATION),
    (Claims(condition='<x:Odd xmlns:x="urn:x"/>'), SecurityFault.INVALID_SECURITY_TOKEN),
    (Claims(condition="<saml:Condition/>"), SecurityFault.INVALID_SECURITY_TOKEN),
    (Claims(confirmation=""), SecurityFault.INVALID_SECURITY_TOKEN),
    (Claims(user=""), SecurityFault.INVALID_SECURITY_TOKEN),
    (Claims(issuer=""), SecurityFault.INVALID_SECURITY_TOKEN),
])  # fmt: skip
def test_an_assertion_that_is_not_to_be_believed_is_refused(claims: Claims, subcode: SecurityFault) -> None:
    assert refused(header(signed(claims))) is subcode


def test_a_comment_does_not_cut_a_name_short() -> None:
    """Exclusive canonicalisation leaves comments out: the signature holds with any in it."""
    commented = signed(Claims(user="anna.meier")).replace(b"anna.meier", b"anna<!-- -->.meier")
    found = trust().asserted(header(commented))
    assert found is not None
    assert found.name_id == "anna.meier"


MANY_NAMESPACES = b" ".join(b'xmlns:n%d="u"' % n for n in range(200))


@pytest.mark.parametrize("spoil", [
    lambda data: re.sub(rb"(<ds:SignatureValue>).*?(</ds:SignatureValue>)", rb"\1\2", data, flags=re.DOTALL),
    lambda data: re.sub(rb"(<ds:DigestValue>).*?(</ds:DigestValue>)", rb"\1\2", data, flags=re.DOTALL),
    lambda data: data.replace(b"2001/10/xml-exc-c14n#", b"TR/2001/REC-xml-c14n-20010315"),
    lambda data: data.replace(b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#ecdsa-sha1"),
    lambda data: data.replace(b"<saml:Subject>", b"<saml:Subject %b>" % MANY_NAMESPACES),
])  # fmt: skip
def test_a_signature_of_another_form_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    refused(header(spoil(signed())))


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_time_at_the_end_of_time_breaks_nothing(time: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub('(NotBefore|NotOnOrAfter)="[^"]*"', rf'\1="{time}"', unsigned(Claims()))
    monkeypatch.setattr("tests.assertions.unsigned", lambda _: text)
    assert refused(header(signed())) is SecurityFault.MESSAGE_EXPIRED


def test_an_assertion_for_nobody_in_particular_is_refused_where_an_audience_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = re.sub("<saml:AudienceRestriction>.*</saml:AudienceRestriction>", "", unsigned(Claims()))
    monkeypatch.setattr("tests.assertions.unsigned", lambda _: text)
    assert refused(header(signed())) is SecurityFault.FAILED_AUTHENTICATION
    assert trust(audiences=()).asserted(header(signed()))


def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    late = datetime.now(UTC) + timedelta(seconds=320)
    assert trust().asserted(header(signed()), late)
    assert refused(header(signed()), now=late + timedelta(seconds=60)) is SecurityFault.MESSAGE_EXPIRED


def test_an_assertion_without_a_signature_is_refused() -> None:
    without = etree.fromstring(unsigned(Claims()))
    without.remove(without.find(name("ds:Signature")))
    assert refused(header(etree.tostring(without))) is SecurityFault.FAILED_CHECK


def changed(change: Callable[[Element], None]) -> bytes:
    root = etree.fromstring(signed())
    change(root)
    return bytes(etree.tostring(root))


def _another_name(root: Element) -> None:
    root.find(f"{SAML}Subject/{SAML}NameID").text = "bert"  # type: ignore[union-attr]


def _longer_life(root: Element) -> None:
    root.find(f"{SAML}Conditions").set("NotOnOrAfter", "2099-01-01T00:00:00Z")  # type: ignore[union-attr]


def _another_role(root: Element) -> None:
    next(root.iter(name("hl7:Role"))).set("code", "1")


@pytest.mark.parametrize("change", [_another_name, _longer_life, _another_role])
def test_a_changed_assertion_is_refused(change: Callable[[Element], None]) -> None:
    assert refused(header(changed(change))) is SecurityFault.FAILED_CHECK


def test_a_signed_assertion_wrapped_in_a_forged_one_vouches_for_nothing() -> None:
    """XML signature wrapping: the signature is good, and of something else than what would be read."""
    forged = etree.fromstring(signed(Claims(user="mallory", by=an_issuer("stranger"), id="_forged")))
    real = etree.fromstring(signed())
    signature = forged.find(name("ds:Signature"))
    assert signature is not None
    forged.replace(signature, real.find(name("ds:Signature")))  # type: ignore[arg-type]
    etree.SubElement(forged, "Object").append(real)
    assert refused(header(etree.tostring(forged))) in (SecurityFault.FAILED_CHECK, SecurityFault.UNSUPPORTED_ALGORITHM)


def test_two_assertions_and_other_tokens_are_refused() -> None:
    assert refused(header(signed(), signed())) is SecurityFault.INVALID_SECURITY
    assert refused(header(b"<UsernameToken/>")) is SecurityFault.UNSUPPORTED_SECURITY_TOKEN


@pytest.mark.parametrize("spoil", [
    lambda text: text.replace("NotOnOrAfter=", "Ignored=", 2),
    lambda text: text.replace("saml:AuthnStatement", "saml:Other"),
    lambda text: text.replace('NotBefore="', 'NotBefore="never'),
    lambda text: text.replace("IssueInstant=", "Ignored="),
    lambda text: re.sub('NotOnOrAfter="[^"]*"', 'NotOnOrAfter="2099-W01-1"', text),
    lambda text: re.sub('NotOnOrAfter="[^"]*"', 'NotOnOrAfter="9999-12-31T23:59:59-23:59"', text),
    lambda text: text.replace("<saml:Conditions ", '<saml:Conditions Odd="1" '),
])  # fmt: skip
def test_an_assertion_that_lacks_what_it_needs_is_refused(
    spoil: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spoil(unsigned(Claims()))
    monkeypatch.setattr("tests.assertions.unsigned", lambda _: text)
    assert refused(header(signed())) is SecurityFault.INVALID_SECURITY_TOKEN


def test_an_assertion_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.wire.assertion.ATTRIBUTES", 3)
    assert refused(header(signed())) is SecurityFault.INVALID_SECURITY_TOKEN
    monkeypatch.setattr("xds.wire.saml_signature.BYTES", 100)
    assert refused(header(signed())) is SecurityFault.INVALID_SECURITY_TOKEN


def test_the_longest_life_is_counted_from_the_issue_and_a_shorter_confirmation_is_what_counts() -> None:
    assert trust().asserted(header(signed(Claims(begin=0, end=899))))
    hours = Claims(begin=-4 * 3600, end=600)
    assert refused(header(signed(hours))) is SecurityFault.FAILED_AUTHENTICATION
    short = Claims(end=40_000, confirmation='NotOnOrAfter="{short}"')
    found = trust().asserted(header(signed(short)))
    assert found is not None
    assert found.until is not None
    assert found.until - datetime.now(UTC) < timedelta(minutes=5)


def test_what_may_be_used_once_is_refused_the_second_time_and_where_nothing_can_be_kept() -> None:
    used: list[str] = []
    keeping, once = trust(used=used), Claims(condition="<saml:OneTimeUse/>")
    assert keeping.asserted(header(signed(once)))
    assert refused(header(signed(once)), keeping) is SecurityFault.FAILED_AUTHENTICATION
    assert keeping.asserted(header(signed(Claims(condition="<saml:OneTimeUse/>", id="_a2"))))
    assert refused(header(signed(once)), trust()) is SecurityFault.FAILED_AUTHENTICATION
    assert len(set(used)) == 2


def test_what_is_refused_for_another_reason_is_not_used_up() -> None:
    used: list[str] = []
    refused(
        header(signed(Claims(condition="<saml:OneTimeUse/>", audience="https://elsewhere.example"))), trust(used=used)
    )
    assert used == []


def test_a_restriction_of_proxies_binds_others() -> None:
    assert trust().asserted(header(signed(Claims(condition='<saml:ProxyRestriction Count="0"/>'))))


END = 'NotOnOrAfter="{end}"'


@pytest.mark.parametrize(("data", "holds"), [
    (f'Recipient="https://here.example/registry" {END}', True),
    (f'Recipient="{AUDIENCE}" {END}', True),
    (f'Recipient="https://another.example/registry" {END}', False),
    (f'Recipient="" {END}', False),
    (f'Address="10.1.2.3" {END}', True),
    (f'Address="::ffff:10.1.2.3" {END}', True),
    (f'Address="10.9.9.9" {END}', False),
    (f'Address="pacs.example" {END}', False),
    (f'Address="" {END}', False),
])  # fmt: skip
def test_an_assertion_for_another_recipient_or_address_is_refused(data: str, holds: bool) -> None:
    assertion, came = header(signed(Claims(confirmation=data))), Bringing("https://here.example/registry", "10.1.2.3")
    if holds:
        assert trust().asserted(assertion, bringing=came)
    else:
        assert refused(assertion, bringing=came) is SecurityFault.FAILED_AUTHENTICATION


def test_a_peer_brings_only_what_the_issuers_say_that_it_may_speak_for() -> None:
    assertion = header(signed())
    assert trust().asserted(assertion, bringing=Bringing(issuers=frozenset({ISSUER})))
    for issuers in (frozenset[str](), frozenset({OTHER})):
        came = Bringing(issuers=issuers)
        assert refused(assertion, bringing=came) is SecurityFault.FAILED_AUTHENTICATION


@pytest.mark.parametrize("by", ["certificate", "RSA key"])
def test_an_assertion_of_a_keys_holder_is_worth_something_over_a_connection_of_that_key_alone(by: str) -> None:
    named, key = a_certificate_info() if by == "certificate" else an_rsa_info()
    assertion = header(signed(Claims(method="holder-of-key", confirmation=END, key_info=named)))
    found = trust().asserted(assertion, bringing=Bringing(key_sha256=key))
    assert found is not None
    assert found.method == HOLDER_OF_KEY
    for other in ("", "0" * 64):
        assert refused(assertion, bringing=Bringing(key_sha256=other)) is SecurityFault.FAILED_AUTHENTICATION


def test_where_only_holders_of_keys_are_believed_a_bearer_is_not() -> None:
    assert refused(header(signed()), trust(methods=(HOLDER_OF_KEY,))) is SecurityFault.UNSUPPORTED_SECURITY_TOKEN


def test_of_several_confirmations_one_that_holds_is_enough() -> None:
    both = Claims(confirmation=f'Address="10.9.9.9" {END}', more=f'<saml:SubjectConfirmation Method="{BEARER}">'
                  f"<saml:SubjectConfirmationData {END}/></saml:SubjectConfirmation>")  # fmt: skip
    assert trust().asserted(header(signed(both)), bringing=Bringing(address="10.1.2.3"))


def a_certificate_info() -> tuple[str, str]:
    """KeyInfo of a client's certificate, and SHA-256 of its key."""
    certificate = an_issuer("client").certificate
    text = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    return f"<ds:X509Data><ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data>", spki(certificate.public_key())


def an_rsa_info() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048).public_key()
    numbers = key.public_numbers()
    modulus, exponent = (base64.b64encode(n.to_bytes(256)).decode() for n in (numbers.n, numbers.e))
    value = f"<ds:Modulus>{modulus}</ds:Modulus><ds:Exponent>{exponent}</ds:Exponent>"
    return f"<ds:KeyValue><ds:RSAKeyValue>{value}</ds:RSAKeyValue></ds:KeyValue>", spki(key)


def spki(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


GOOD = signed()


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_whatever_is_changed_in_an_assertion_it_is_refused_or_says_the_same(at: int, new: bytes, cut: int) -> None:
    changed = GOOD[:at] + new + GOOD[at + cut :]
    try:
        element = etree.fromstring(changed)
    except etree.XMLSyntaxError:
        return
    block = etree.Element(name("soap:Header"))
    etree.SubElement(block, name("wsse:Security")).append(element)
    try:
        found = trust().asserted(block)
    except Fault as fault:
        assert fault.subcodes
        return
    assert found is None or found == trust().asserted(header(GOOD))


def test_a_certificate_of_no_known_version_names_no_signer() -> None:
    """cryptography has an exception of its own for it; found by fuzzing."""
    der = an_issuer().certificate.public_bytes(serialization.Encoding.DER)
    odd = base64.b64encode(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x1c", 1))
    spoilt = re.sub(rb"(X509Certificate>)[^<]+", rb"\1" + odd, signed(), count=1)
    with pytest.raises(Fault) as refused:
        trust().asserted(header(spoilt))
    assert refused.value.reason == "the signature names no certificate"
