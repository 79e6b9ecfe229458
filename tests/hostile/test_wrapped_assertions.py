"""Assertions whose signature is good, and of something else than what would be read: wrapped, referred to, transformed.

The eight ways of wrapping are those of Somorovsky and others, «On Breaking SAML» (USENIX Security 2012), as far as
they carry over from a response to a ``wsse:Security`` header.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Sequence

import pytest
import signxml
from cryptography.hazmat.primitives import serialization
from lxml import etree

from tests.assertions import AUDIENCE, Claims, an_issuer, signed, unsigned
from xds.wire.assertion import Assertion
from xds.wire.faults import Fault, SecurityFault
from xds.wire.saml_conditions import Demands
from xds.wire.xml import NAMESPACES, Element, name, parse
from xds.wire.xua import SECURITY, Trust

MALLORY = "mallory"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
TRANSFORMS = "http://www.w3.org/TR/1999/REC-{}-19991116"


def trust() -> Trust:
    return Trust([an_issuer().certificate], Demands(frozenset({AUDIENCE})), required=True)


def asserted(*blocks: Sequence[Element]) -> Assertion | None:
    """What is believed of a message with these headers, as it is read from the wire."""
    header = etree.Element(name("soap:Header"), nsmap={"soap": NAMESPACES["soap"]})
    for block in blocks:
        security = etree.SubElement(header, SECURITY)
        security.extend([copy.deepcopy(one) for one in block])
    return trust().asserted(parse(etree.tostring(header)))


def good() -> Element:
    return etree.fromstring(signed())


def signature() -> Element:
    found = good().find(name("ds:Signature"))
    assert found is not None
    return found


def bare() -> Element:
    """The good one without its signature."""
    made = good()
    made.remove(made.find(name("ds:Signature")))  # type: ignore[arg-type]
    return made


def forged(id_: str = "_forged") -> Element:
    """What would be read if one were fooled; without any signature."""
    made = etree.fromstring(unsigned(Claims(user=MALLORY, known_as=MALLORY, id=id_)))
    made.remove(made.find(name("ds:Signature")))  # type: ignore[arg-type]
    return made


def holding(*inside: Element, within: str = "", id_: str = "_forged") -> Element:
    """A forged one that bears the good signature, and what was signed in one of its elements or its signature's."""
    made, bears = forged(id_), signature()
    made.insert(1, bears)
    place = {"": made, "signature": bears}.get(within)
    if place is None:
        place = etree.SubElement(bears if within == "ds:Object" else made, _tag(within))
    place.extend(inside)
    return made


def _tag(within: str) -> str:
    return name(within) if within.startswith("ds:") else f"{SAML}{within}"


WRAPPED: dict[str, Callable[[], Sequence[Sequence[Element]]]] = {
    "1, the signed one in the Object of the forged one's signature": lambda: [[holding(bare(), within="ds:Object")]],
    "2, the signature detached": lambda: [[signature(), forged(), bare()]],
    "3, the forged one before the signed one": lambda: [[forged(), good()]],
    "4, the signed one in the forged one": lambda: [[_within(forged(), good())]],
    "5, the signature in the forged one, the signed one beside it": lambda: [[holding(), bare()]],
    "6, the signed one in the forged one's signature": lambda: [[holding(bare(), within="signature")]],
    "8, the signed one with its signature in the Object": lambda: [[holding(good(), within="ds:Object")]],
    "the signed one as advice": lambda: [[holding(bare(), within="Advice")]],
    "with one ID, as advice": lambda: [[holding(bare(), within="Advice", id_="_a1")]],
    "with one ID, in the Object": lambda: [[holding(bare(), within="ds:Object", id_="_a1")]],
    "behind the signed one": lambda: [[good(), forged()]],
    "in a header of its own before": lambda: [[forged()], [good()]],
    "in a header of its own behind": lambda: [[good()], [forged()]],
    "alone": lambda: [[forged()]],
}


def _within(outer: Element, inner: Element) -> Element:
    outer.append(inner)
    return outer


@pytest.mark.parametrize("blocks", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_assertion_vouches_for_nobody(blocks: Callable[[], Sequence[Sequence[Element]]]) -> None:
    with pytest.raises(Fault) as refused:
        asserted(*blocks())
    assert isinstance(refused.value.subcodes[0], SecurityFault)


@pytest.mark.parametrize("attribute", ["Id", "id", "{http://www.w3.org/XML/1998/namespace}id"])
def test_an_id_by_another_attribute_is_nobodys(attribute: str) -> None:
    made = holding(bare(), within="Advice")
    del made.attrib["ID"]
    made.set(attribute, "_a1")
    with pytest.raises(Fault):
        asserted([made])


def test_a_forged_one_that_stands_elsewhere_is_not_read() -> None:
    """The seventh way: in an element that nobody knows, before the signed one."""
    stranger = etree.Element("{urn:x}Extensions")
    stranger.append(forged())
    found = asserted([stranger, good()])
    assert found is not None
    assert found.name_id == "anna.meier"


# What the signature refers to, and how.


def changed(change: Callable[[Element], None]) -> Element:
    made = good()
    change(made)
    return made


def _reference(uri: str) -> Callable[[Element], None]:
    def change(made: Element) -> None:
        next(made.iter(name("ds:Reference"))).set("URI", uri)

    return change


def _twice(made: Element) -> None:
    one = next(made.iter(name("ds:Reference")))
    one.addnext(copy.deepcopy(one))


def _transform(kind: str) -> Callable[[Element], None]:
    def change(made: Element) -> None:
        more = etree.SubElement(next(made.iter(name("ds:Transforms"))), name("ds:Transform"))
        more.set("Algorithm", TRANSFORMS.format(kind))
        etree.SubElement(more, name("ds:XPath")).text = "false()"

    return change


def _retrieved(made: Element) -> None:
    info = next(made.iter(name("ds:KeyInfo")))
    info.clear()
    etree.SubElement(info, name("ds:RetrievalMethod")).set("URI", "http://127.0.0.1:1/key")


SPOILT = {
    "the whole document": _reference(""),
    "an address": _reference("http://127.0.0.1:1/x"),
    "a file": _reference("file:///etc/passwd"),
    "an XPointer to the root": _reference("#xpointer(/)"),
    "an XPointer to the same": _reference("#xpointer(id('_a1'))"),
    "two references": _twice,
    "XSLT": _transform("xslt"),
    "XPath": _transform("xpath"),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_a_signature_of_anything_but_its_assertion_is_refused(change: Callable[[Element], None]) -> None:
    with pytest.raises(Fault):
        asserted([changed(change)])


def test_a_key_that_lies_elsewhere_is_not_fetched() -> None:
    """The only trusted certificate is taken in its place, and its signature holds."""
    found = asserted([changed(_retrieved)])
    assert found is not None
    assert found.name_id == "anna.meier"


# By whom it is signed, and with what.


def test_a_stranger_that_names_the_issuers_certificate_is_refused() -> None:
    made = etree.fromstring(signed(Claims(by=an_issuer("stranger"))))
    der = an_issuer().certificate.public_bytes(serialization.Encoding.DER)
    next(made.iter(name("ds:X509Certificate"))).text = base64.b64encode(der).decode()
    with pytest.raises(Fault) as refused:
        asserted([made])
    assert refused.value.subcodes == (SecurityFault.FAILED_CHECK,)


def test_the_public_certificate_is_no_secret_to_sign_with() -> None:
    signer = signxml.XMLSigner(
        signature_algorithm=signxml.SignatureMethod.HMAC_SHA256,
        c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
    )
    made = signer.sign(
        etree.fromstring(unsigned(Claims(user=MALLORY))), key=an_issuer().pem, reference_uri="_a1", id_attribute="ID"
    )
    with pytest.raises(Fault):
        asserted([made])


class _Careless(signxml.XMLSigner):
    """Signs as one did twenty years ago."""

    def check_deprecated_methods(self) -> None:
        """Nothing is too old."""


@pytest.mark.parametrize("way", [
    {"signature_algorithm": signxml.SignatureMethod.ECDSA_SHA1},
    {"digest_algorithm": signxml.DigestAlgorithm.SHA1},
    {"c14n_algorithm": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"},
], ids=["ECDSA with SHA-1", "digests by SHA-1", "inclusive canonical form"])  # fmt: skip
def test_what_is_signed_in_an_old_way_is_refused(way: dict[str, object]) -> None:
    usual = {"signature_algorithm": signxml.SignatureMethod.ECDSA_SHA256,
             "c14n_algorithm": "http://www.w3.org/2001/10/xml-exc-c14n#"}  # fmt: skip
    made = _Careless(**usual | way).sign(  # type: ignore[arg-type]
        etree.fromstring(unsigned(Claims())), key=an_issuer().key, cert=[an_issuer().certificate],
        reference_uri="_a1", id_attribute="ID",
    )  # fmt: skip
    with pytest.raises(Fault):
        asserted([made])


# How a name is written.


@pytest.mark.parametrize("text", [b"anna.<!-- x -->meier", b"anna.<?x y?>meier", b"<![CDATA[anna.meier]]>"])
def test_a_name_is_read_whole_whatever_stands_in_it(text: bytes) -> None:
    """Comments and instructions are left out before a signature is checked and before anything is read."""
    header = etree.tostring(etree.Element(name("soap:Header"))).removesuffix(b"/>")
    security = b"<w:Security xmlns:w='%b'>" % NAMESPACES["wsse"].encode()
    data = header + b">" + security + signed().replace(b"anna.meier", text) + b"</w:Security></ns0:Header>"
    found = trust().asserted(parse(data))
    assert found is not None
    assert found.name_id == "anna.meier"


def test_a_comment_that_was_signed_does_not_cut_a_name_short() -> None:
    made = etree.fromstring(signed(Claims(user="anna.meier<!-- -->.evil.example")))
    found = asserted([made])
    assert found is not None
    assert found.name_id == "anna.meier.evil.example"
