"""SOAP 1.2 as ITI TF-2: Appendix V wants it: a good query is answered; each thing spoilt gets its own fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.conftest import A_QUERY, Site
from tests.wire.messages import ACTION, ENVELOPE, AMessage, APart, an_envelope
from xds.wire.addressing import ANONYMOUS
from xds.wire.faults import ADDRESSING_FAULT_ACTION, SOAP_FAULT_ACTION, Fault, FaultCode
from xds.wire.soap import Endpoint, NotAnswered
from xds.wire.xml import name

SENDER, ROLE = "soap:Sender", "http://www.w3.org/2003/05/soap-envelope/role"
SOAP_1_1 = "http://schemas.xmlsoap.org/soap/envelope/"


@pytest.mark.parametrize("mtom", [True, False])
def test_a_good_query_is_answered_in_its_own_packaging(site: Site, mtom: bool) -> None:
    got = site.ask(mtom=mtom)
    assert (got.status, got.mtom) == (200, mtom)
    body = got.envelope.find(name("soap:Body"))
    assert body is not None
    assert [child.tag for child in body] == [name("query:AdhocQueryResponse")]
    assert got.header("wsa:Action") == "urn:ihe:iti:2007:RegistryStoredQueryResponse"
    assert got.header("wsa:RelatesTo") == "urn:uuid:1"
    assert (got.header("wsa:MessageID") or "").startswith("urn:uuid:")


@pytest.mark.parametrize("mtom", [True, False])
def test_a_fault_travels_in_the_packaging_of_its_request(site: Site, mtom: bool) -> None:
    got = site.ask(mtom=mtom, action="urn:unheard-of", message_id="urn:uuid:7")
    assert (got.status, got.mtom) == (400, mtom)
    assert got.codes == [SENDER, "wsa:ActionNotSupported"]
    assert got.header("wsa:RelatesTo") == "urn:uuid:7"
    assert got.header("wsa:Action") == ADDRESSING_FAULT_ACTION


def test_a_multipart_that_cannot_be_read_gets_a_plain_fault(site: Site) -> None:
    message = AMessage(closed=False)
    got = site.post(message.packed(), content_type=message.content_type)
    assert (got.status, got.mtom, got.codes) == (400, False, [SENDER])


def test_a_root_part_over_the_limit_gets_an_mtom_fault_that_names_xop(site: Site) -> None:
    message = AMessage(parts=(APart(b"x" * (32 * 1024 * 1024 + 1)),))
    got = site.post(message.packed(), content_type=message.content_type)
    assert (got.status, got.mtom) == (413, True)
    assert "32 MiB" in got.reason
    assert "XOP" in got.reason


def test_another_media_type_is_unsupported(site: Site) -> None:
    assert site.post(an_envelope(), content_type="application/json").status == 415


@pytest.mark.parametrize(("namespace", "action"), [(SOAP_1_1, ACTION), ("urn:soap:13", ACTION), (SOAP_1_1, None)])
def test_another_soap_version_is_told_which_one_is_ours(site: Site, namespace: str, action: str | None) -> None:
    got = site.post(an_envelope(namespace=namespace, action=action))
    assert (got.status, got.codes) == (500, ["soap:VersionMismatch"])
    supported = got.envelope.find(f".//{name('soap:Upgrade')}/{name('soap:SupportedEnvelope')}")
    assert supported is not None
    prefix = supported.get("qname", "").partition(":")[0]
    assert supported.nsmap[prefix] == ENVELOPE
    assert got.header("wsa:Action") == SOAP_FAULT_ACTION


def test_a_missing_action_is_named(site: Site) -> None:
    got = site.post(an_envelope(action=None))
    assert got.codes == [SENDER, "wsa:MessageAddressingHeaderRequired"]
    assert got.envelope.findtext(f".//{name('wsa:ProblemHeaderQName')}") == "wsa:Action"
    assert got.header("wsa:RelatesTo") == "urn:uuid:1"


def test_an_empty_action_is_missing(site: Site) -> None:
    assert site.ask(action="  ").codes == [SENDER, "wsa:MessageAddressingHeaderRequired"]


@pytest.mark.parametrize("header", ["Action", "MessageID", "To", "ReplyTo", "FaultTo"])
def test_an_addressing_header_that_stands_twice_is_named(site: Site, header: str) -> None:
    got = site.ask(headers=f"<wsa:{header}>x</wsa:{header}>" * 2)
    assert got.codes == [SENDER, "wsa:InvalidAddressingHeader", "wsa:InvalidCardinality"]
    assert got.envelope.findtext(f".//{name('wsa:ProblemHeaderQName')}") == f"wsa:{header}"


def test_an_unknown_action_is_given_back(site: Site) -> None:
    got = site.ask(action="urn:unheard-of")
    assert got.envelope.findtext(f".//{name('wsa:ProblemAction')}/{name('wsa:Action')}") == "urn:unheard-of"


@pytest.mark.parametrize("header", ["ReplyTo", "FaultTo"])
def test_a_reply_elsewhere_is_not_supported_yet(site: Site, header: str) -> None:
    wanted = f"<wsa:{header}><wsa:Address>http://192.0.2.1/</wsa:Address></wsa:{header}>"
    got = site.ask(headers=wanted)
    assert got.codes == [SENDER, "wsa:InvalidAddressingHeader", "wsa:OnlyAnonymousAddressSupported"]
    assert got.envelope.findtext(f".//{name('wsa:ProblemHeaderQName')}") == f"wsa:{header}"


@pytest.mark.parametrize(
    "headers",
    [
        f"<wsa:ReplyTo><wsa:Address> {ANONYMOUS} </wsa:Address></wsa:ReplyTo>",
        "<wsa:ReplyTo/>",
        f"<wsa:ReplyTo s:mustUnderstand='true'><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>",
        "<wsa:From><wsa:Address>http://192.0.2.1/</wsa:Address></wsa:From>",
    ],
)
def test_a_reply_here_is_as_good_as_none_asked_for(site: Site, headers: str) -> None:
    assert site.ask(headers=headers).status == 200


def test_an_address_longer_than_anybodys_is_refused(site: Site) -> None:
    assert site.ask(message_id="x" * 2049).codes == [SENDER, "wsa:InvalidAddressingHeader"]


def test_headers_that_must_be_understood_and_are_not_are_all_named(site: Site) -> None:
    blocks = "<x:Security xmlns:x='urn:x' s:mustUnderstand='1'/><y:Other xmlns:y='urn:y' s:mustUnderstand='true'/>"
    got = site.ask(headers=blocks)
    assert (got.status, got.codes) == (500, ["soap:MustUnderstand"])
    named = []
    for block in got.envelope.iter(name("soap:NotUnderstood")):
        prefix, _, local = block.get("qname", "").partition(":")
        named.append((block.nsmap[prefix], local))
    assert named == [("urn:x", "Security"), ("urn:y", "Other")]


def test_a_header_of_ws_addressing_that_is_not_known_is_not_understood(site: Site) -> None:
    assert site.ask(headers="<wsa:Detour s:mustUnderstand='1'/>").codes == ["soap:MustUnderstand"]
    assert site.ask(headers="<wsa:Detour/>").status == 200


def test_what_says_it_is_in_an_encoding_of_soaps_is_not_understood(site: Site) -> None:
    encoded = "<x:Block xmlns:x='urn:x' s:encodingStyle='http://www.w3.org/2003/05/soap-encoding'/>"
    got = site.ask(headers=encoded)
    assert (got.status, got.codes) == (500, ["soap:DataEncodingUnknown"])
    plain = "<x:Block xmlns:x='urn:x' s:encodingStyle='http://www.w3.org/2003/05/soap-envelope/encoding/none'/>"
    assert site.ask(headers=plain).status == 200


@pytest.mark.parametrize("block", ["<Other xmlns='' s:mustUnderstand='1'/>", "<s:Other s:mustUnderstand='1'/>"])
def test_a_header_in_no_namespace_or_in_soaps_own_is_not_understood_either(site: Site, block: str) -> None:
    got = site.ask(headers=block)
    assert got.codes == ["soap:MustUnderstand"]
    (named,) = got.envelope.iter(name("soap:NotUnderstood"))
    prefix, _, local = named.get("qname", "").rpartition(":")
    assert local == "Other"
    assert not prefix or prefix in named.nsmap


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ("s:mustUnderstand='0'", 200),
        ("s:mustUnderstand='false'", 200),
        ("", 200),
        (f"s:mustUnderstand='1' s:role='{ROLE}/none'", 200),
        ("s:mustUnderstand='1' s:role='urn:somebody-else'", 200),
        (f"s:mustUnderstand='1' s:role='{ROLE}/next'", 500),
        (f"s:mustUnderstand='1' s:role='{ROLE}/ultimateReceiver'", 500),
        ("s:mustUnderstand=' true ' s:role=''", 500),
    ],
)
def test_only_what_is_meant_for_us_must_be_understood(site: Site, attributes: str, status: int) -> None:
    assert site.ask(headers=f"<x:Security xmlns:x='urn:x' {attributes}/>").status == status


@pytest.mark.parametrize("body", ["", "text", A_QUERY * 2, "<a/><b/>"])
def test_a_body_holds_exactly_one_element(site: Site, body: str) -> None:
    got = site.ask(body=body)
    assert (got.status, got.codes) == (400, [SENDER])
    assert "exactly one element" in got.reason
    assert got.header("wsa:Action") == SOAP_FAULT_ACTION


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"not xml",
        b"<a/>",
        b"<a>" * 10_000 + b"</a>" * 10_000,
        an_envelope(prolog="<!DOCTYPE x>"),
        an_envelope(prolog="<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>", body="<a>&e;</a>"),
        an_envelope()[:-5],
        an_envelope().replace(b"s:Body", b"s:Bodies"),
    ],
)
@pytest.mark.parametrize("mtom", [True, False])
def test_what_is_no_soap_message_is_the_senders_fault(site: Site, envelope: bytes, mtom: bool) -> None:
    got = site.send_mtom(envelope) if mtom else site.post(envelope)
    assert (got.status, got.mtom, got.codes) == (400, mtom, [SENDER])
    assert "passwd" not in got.reason


def test_without_a_message_id_a_reply_relates_to_nothing(site: Site) -> None:
    got = site.post(an_envelope(body=A_QUERY).replace(b"<wsa:MessageID>urn:uuid:1</wsa:MessageID>", b""))
    assert got.status == 200
    assert got.header("wsa:RelatesTo") is None


def test_an_action_of_another_address_is_not_supported(site: Site) -> None:
    assert site.post(an_envelope(body=A_QUERY), path="/repository").codes == [SENDER, "wsa:ActionNotSupported"]


def test_the_body_must_be_the_actions(site: Site) -> None:
    got = site.ask(body="<a xmlns='urn:x'/>")
    assert got.codes == [SENDER]
    assert "query:AdhocQueryRequest" in got.reason


def test_an_include_that_leads_nowhere_is_a_fault_and_audited_as_a_failure(site: Site) -> None:
    include = "<xop:Include xmlns:xop='http://www.w3.org/2004/08/xop/include' href='cid:nowhere@x'/>"
    body = f"<x:ProvideAndRegisterDocumentSetRequest xmlns:x='urn:ihe:iti:xds-b:2007'><x:Document id='d'>{include}"
    body += "</x:Document></x:ProvideAndRegisterDocumentSetRequest>"
    got = site.post(
        an_envelope(body=body, action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"), path="/repository"
    )
    assert (got.status, got.codes) == (400, [SENDER])
    assert "not in the message" in got.reason


# The endpoint by itself.


def an_endpoint(do: Any = lambda message, caller: (message.body.tag, caller)) -> Endpoint:
    return Endpoint("Test", {ACTION: do})


def test_an_operation_is_given_the_message_and_its_caller_and_what_it_returns_comes_back() -> None:
    message, got = an_endpoint().call(an_envelope(), "caller")
    assert got == ("a", "caller")
    assert (message.addressing.action, message.addressing.message_id) == (ACTION, "urn:uuid:1")


def test_an_operations_own_fault_comes_back_as_it_is() -> None:
    def failing(_message: object, _caller: object) -> object:
        raise Fault(FaultCode.RECEIVER, "the log is full")

    with pytest.raises(NotAnswered, match="the log is full") as problem:
        an_endpoint(failing).call(an_envelope(message_id="urn:uuid:9"), None)
    assert problem.value.fault.code is FaultCode.RECEIVER
    assert problem.value.relates_to == "urn:uuid:9"


def test_an_operation_that_breaks_is_our_fault_and_not_the_senders() -> None:
    def broken(_message: object, _caller: object) -> object:
        raise RuntimeError("Anna Müller")

    with pytest.raises(NotAnswered) as problem:
        an_endpoint(broken).call(an_envelope(), None)
    assert problem.value.fault.code is FaultCode.RECEIVER
    assert problem.value.fault.http_status == 500
    assert "Anna" not in problem.value.fault.reason


def test_without_spynes_application_nothing_is_answered(site: Site) -> None:
    assert site.ask().status == 200
    exchange = site.application._endpoints["/registry"]
    exchange._endpoint._server.app = None
    with pytest.raises(AttributeError):
        site.ask()


def test_without_spynes_dispatch_nothing_is_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = site.application._endpoints["/registry"]

    def gone(*_: object) -> None:
        raise LookupError("spyne's dispatch")

    monkeypatch.setattr(type(exchange._endpoint._server), "get_out_object", gone)
    with pytest.raises(LookupError):
        site.ask()
