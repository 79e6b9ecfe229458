"""SOAP 1.2: the envelope, and which operation a message asks for.  spyne dispatches; only this file uses it.

SOAP 1.2 part 1: 5; ITI TF-2: Appendix V.3.  spyne owns the way of a message: envelope in, operation by
wsa:Action, operation called, finished bytes out.  Bodies pass as bare XML; none is a spyne type.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lxml import etree

from xds.wire.addressing import HEADERS, Addressing, message_id_of, read_addressing, reply_headers
from xds.wire.faults import AddressingFault, Fault, FaultCode, sender
from xds.wire.spyne_compat import imported
from xds.wire.xml import NAMESPACES, Element, NotXml, name, parse

_spyne: Any = imported("spyne")
_soap12: Any = imported("spyne.protocol.soap").Soap12
_server_base: Any = imported("spyne.server").ServerBase
_method_context: Any = imported("spyne.context").MethodContext

log = logging.getLogger("xds.wire.soap")

_TNS = "urn:xds:operations"
_NO_ENCODING = NAMESPACES["soap"] + "/encoding/none"

# spyne logs every fault with its traceback; faults are answers, and what breaks is logged here.
logging.getLogger("spyne").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Message:
    """A request's envelope, taken apart."""

    addressing: Addressing
    body: Element
    header: Element | None = None


Operation: TypeAlias = Callable[[Message, Any], Any]
"""What an action does: given the message and the caller's own object, it returns the reply's body."""


class _FaultInside(_spyne.Fault):  # type: ignore[misc]
    """Carries one of our faults through spyne, which knows only its own."""

    def __init__(self, fault: Fault) -> None:
        super().__init__("Client", fault.reason)
        self.fault = fault


class _Bare(_soap12):  # type: ignore[misc]
    """Soap12 with our parser, dispatch by wsa:Action, and bodies handed on as they are."""

    def create_in_document(self, ctx: Any, charset: str | None = None) -> None:  # noqa: ARG002
        try:
            ctx.in_document = parse(b"".join(ctx.in_string))
        except NotXml as problem:
            raise _FaultInside(sender(str(problem))) from None

    def decompose_incoming_envelope(self, ctx: Any, message: Any = None) -> None:  # noqa: ARG002
        try:
            ctx.in_header_doc, ctx.in_body_doc = _opened(ctx.in_document)
            ctx.udc.relates_to = message_id_of(ctx.in_header_doc)
            ctx.udc.message = Message(read_addressing(ctx.in_header_doc), ctx.in_body_doc, ctx.in_header_doc)
            _understood(ctx.in_header_doc, ctx.udc.understood)
            _encoding_known(ctx.in_body_doc)
            action = ctx.udc.message.addressing.action
            operation = ctx.udc.operations.get(action)
            if operation is None:
                reason = "this endpoint does not know the wsa:Action"
                subcodes = (AddressingFault.ACTION_NOT_SUPPORTED,)
                raise Fault(FaultCode.SENDER, reason, subcodes, problem_action=action)
        except Fault as fault:
            raise _FaultInside(fault) from None
        ctx.method_request_string = f"{{{_TNS}}}{operation}"

    def deserialize(self, ctx: Any, message: Any) -> None:  # noqa: ARG002
        ctx.in_object = [ctx.in_body_doc]


@dataclass(slots=True)
class _Call:
    """What one message needs on its way through spyne."""

    operations: Mapping[str, str]
    caller: Any
    understood: Collection[str]
    message: Message | None = None
    relates_to: str = ""


class NotAnswered(Exception):
    """A fault, with what is known of the message that caused it."""

    def __init__(self, fault: Fault, relates_to: str) -> None:
        super().__init__(fault.reason)
        self.fault, self.relates_to = fault, relates_to


class Endpoint:
    """The operations of one SOAP address, by wsa:Action."""

    def __init__(self, title: str, operations: Mapping[str, Operation], understood: Collection[str] = ()) -> None:
        """``understood`` are the header blocks that operations read, beside WS-Addressing's: ``{namespace}name``."""
        self._understood = frozenset(understood)
        self._names = {action: f"operation{number}" for number, action in enumerate(operations)}
        methods = {self._names[action]: _method(self._names[action], do) for action, do in operations.items()}
        service = type(title, (_spyne.ServiceBase,), methods)
        application = _spyne.Application([service], tns=_TNS, name=title, in_protocol=_Bare(), out_protocol=_Bare())
        self._server = _server_base(application)

    def call(self, envelope: bytes, caller: Any) -> tuple[Message, Any]:
        """Hand one envelope to its operation; return the message and what the operation gave.

        Raises:
            NotAnswered: the message is no SOAP 1.2 request that this endpoint knows.
        """
        call = _Call(self._names, caller, self._understood)
        context = _method_context(self._server, _method_context.SERVER)
        context.in_string, context.udc = [envelope], call
        (context,) = self._server.generate_contexts(context)
        if context.in_error is None:
            self._server.get_in_object(context)
        if context.in_error is None:
            self._server.get_out_object(context)
        problem = context.in_error or context.out_error
        if problem is not None:
            fault = getattr(problem, "fault", None) or Fault(FaultCode.RECEIVER, "an internal error")
            raise NotAnswered(fault, call.relates_to)
        assert call.message is not None  # noqa: S101  set by decompose_incoming_envelope
        return call.message, context.out_object[0]


def _method(title: str, do: Operation) -> Any:
    def operation(ctx: Any, _body: Element) -> Any:
        try:
            return do(ctx.udc.message, ctx.udc.caller)
        except Fault as fault:
            raise _FaultInside(fault) from None
        except Exception:
            log.exception("operation.failed")
            raise _FaultInside(Fault(FaultCode.RECEIVER, "an internal error")) from None

    operation.__name__ = title
    return _spyne.rpc(_spyne.AnyXml, _returns=_spyne.AnyXml, _body_style="bare")(operation)


def _opened(envelope: Element) -> tuple[Element | None, Element]:
    """Header and the one child of Body.

    Raises:
        Fault: another SOAP version, no Body, or not exactly one element in it.
    """
    if envelope.tag != name("soap:Envelope"):
        if etree.QName(envelope).localname == "Envelope":
            raise Fault(FaultCode.VERSION_MISMATCH, "the envelope must be SOAP 1.2's")
        raise sender("the root element must be a SOAP 1.2 Envelope")
    body = envelope.find(name("soap:Body"))
    if body is None or len(body) != 1:
        raise sender("soap:Body must hold exactly one element (ITI TF-2: Appendix V.3)")
    return envelope.find(name("soap:Header")), body[0]


def _understood(header: Element | None, others: Collection[str]) -> None:
    """Every header block that must be understood is (SOAP 1.2 part 1: 5.2.3)."""
    unknown = []
    for block in () if header is None else header:
        _encoding_known(block)
        must = block.get(name("soap:mustUnderstand"), "").strip() in ("1", "true")
        role = block.get(name("soap:role"), "")
        mine = role in ("", NAMESPACES["soap"] + "/role/next", NAMESPACES["soap"] + "/role/ultimateReceiver")
        namespace, local = etree.QName(block).namespace or "", etree.QName(block).localname
        if must and mine and block.tag not in others and not (namespace == NAMESPACES["wsa"] and local in HEADERS):
            unknown.append((namespace, local))
    if unknown:
        raise Fault(FaultCode.MUST_UNDERSTAND, "a header that must be understood is not", not_understood=tuple(unknown))


def _encoding_known(element: Element) -> None:
    """Nothing is in an encoding of SOAP's: a header block or a body is the XML that it is (SOAP 1.2 part 1: 5.1.1).

    Raises:
        Fault: it says that it is in another.
    """
    encoding = element.get(name("soap:encodingStyle"), _NO_ENCODING)
    if encoding != _NO_ENCODING:
        raise Fault(FaultCode.DATA_ENCODING_UNKNOWN, "the encodingStyle is not known")


def around(headers: Iterable[Element]) -> tuple[bytes, bytes]:
    """What stands before and behind a body: an envelope with these header blocks."""
    envelope = etree.Element(name("soap:Envelope"), nsmap={"soap": NAMESPACES["soap"], "wsa": NAMESPACES["wsa"]})
    header = etree.SubElement(envelope, name("soap:Header"))
    header.extend(list(headers))
    etree.SubElement(envelope, name("soap:Body")).text = "BODY"
    head, _, tail = etree.tostring(envelope, encoding="UTF-8", xml_declaration=True).rpartition(b"BODY")
    return head, tail


def fault_envelope(fault: Fault, relates_to: str) -> bytes:
    """A whole reply with a fault in it."""
    head, tail = around([*reply_headers(fault.action, relates_to), *fault.header_blocks()])
    return head + etree.tostring(fault.element()) + tail
