"""query:AdhocQueryRequest and Response, the bodies of ITI-18.  ITI TF-2: 3.18.4.1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from xds.ebxml.rim import Slot, read_slots
from xds.ebxml.rim_writing import write_slots
from xds.ebxml.rs import write_error_list
from xds.errors import ErrorCode, Finding, Refused, Status
from xds.wire.xml import NAMESPACES, Element, name


@dataclass(frozen=True, slots=True)
class AdhocQuery:
    """A stored query as sent: its id, what to return, and one slot a parameter."""

    id: str
    return_type: str
    slots: tuple[Slot, ...]
    home: str | None = None


def read_request(element: Element) -> AdhocQuery:
    """The query of a request that is valid by query.xsd.

    Raises:
        Refused: it is not, and lacks what there is to read.
    """
    option = element.find(name("query:ResponseOption"))
    query = element.find(name("rim:AdhocQuery"))
    if option is None or query is None:
        rule = "ResponseOption and AdhocQuery are required (ITI TF-2: 3.18.4.1.2)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)])
    return AdhocQuery(
        query.get("id", ""), option.get("returnType", "RegistryObject"), read_slots(query), query.get("home")
    )


def write_request(query: AdhocQuery) -> Element:
    element = etree.Element(
        name("query:AdhocQueryRequest"), nsmap={"query": NAMESPACES["query"], "rim": NAMESPACES["rim"]}
    )
    etree.SubElement(element, name("query:ResponseOption"), returnType=query.return_type, returnComposedObjects="true")
    child = etree.SubElement(element, name("rim:AdhocQuery"), id=query.id)
    if query.home:
        child.set("home", query.home)
    write_slots(child, query.slots)
    return element


_HEAD = b'<query:AdhocQueryResponse xmlns:query="%b" xmlns:rim="%b" xmlns:rs="%b" status="%b">' % (
    NAMESPACES["query"].encode(), NAMESPACES["rim"].encode(), NAMESPACES["rs"].encode(), b"%b",
)  # fmt: skip
_TAIL = b"</query:AdhocQueryResponse>"


def join_response(status: Status, findings: Iterable[Finding], fragments: Iterable[bytes]) -> bytes:
    """A response made of the objects' kept ebXML, which is not parsed again.

    An AdhocQueryResponse always holds a RegistryObjectList, be it empty (ITI TF-2: 3.18.4.1.2.6).
    """
    errors = write_error_list(findings)
    parts = [_HEAD.replace(b"%b", status.encode())]
    if errors is not None:
        parts.append(etree.tostring(errors))
    parts.append(b"<rim:RegistryObjectList>")
    parts.extend(fragments)
    parts.append(b"</rim:RegistryObjectList>")
    parts.append(_TAIL)
    return b"".join(parts)
