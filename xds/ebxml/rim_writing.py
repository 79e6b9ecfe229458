"""ebRIM 3.0 objects as text: every object of a registry is kept as one, and answered as one.

Order of children as the rim schema has it: Slot*, Name?, Description?, VersionInfo?,
Classification*, ExternalIdentifier*.  ITI TF-3: 4.2.1.  In ASCII, other characters as references, as lxml writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lxml import etree

from xds.ebxml.rim import (
    Association,
    Classification,
    ExternalIdentifier,
    ExtrinsicObject,
    InternationalString,
    RegistryObject,
    Slot,
)
from xds.wire.xml import NAMESPACES, Element

_RIM = f' xmlns:rim="{NAMESPACES["rim"]}"'
_OBJECT_TYPE = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:"

_SPECIAL = re.compile('[&<>"\\x00-\\x1f\ud800-\udfff\ufffe\uffff]')
"""What a text or an attribute's value may not have as it is."""

_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;", '"': '"', "\n": "\n", "\t": "\t"}
_IN_ATTRIBUTE = _IN_TEXT | {'"': "&quot;", "\n": "&#10;", "\t": "&#9;"}


def fragment(item: RegistryObject) -> bytes:
    """An ExtrinsicObject, RegistryPackage or Association as it stands in a reply.

    Raises:
        ValueError: a value has a character that XML has no way to write.
    """
    return _object(item).encode("ascii", "xmlcharrefreplace")


def write(item: RegistryObject) -> Element:
    """The element of an ExtrinsicObject, RegistryPackage or Association."""
    return etree.fromstring(fragment(item))


def write_classification(item: Classification) -> Element:
    return etree.fromstring(_classification(item, _RIM).encode())


def write_slots(element: Element, slots: Iterable[Slot]) -> None:
    """Add slots to an element."""
    whole = etree.fromstring(f"<rim:SlotList{_RIM}>{_slots(slots)}</rim:SlotList>".encode())
    element.extend(list(whole))


def write_registry_object_list(items: Iterable[RegistryObject]) -> Element:
    element = etree.fromstring(f"<rim:RegistryObjectList{_RIM}/>".encode())
    element.extend([write(item) for item in items])
    return element


def _object(item: RegistryObject) -> str:
    attributes = _attributes(id=item.id, lid=item.lid, home=item.home, objectType=item.object_type, status=item.status)
    if isinstance(item, ExtrinsicObject):
        attributes += _attributes(mimeType=item.mime_type, isOpaque=item.is_opaque)
    if isinstance(item, Association):
        attributes += _attributes(
            associationType=item.association_type, sourceObject=item.source_object, targetObject=item.target_object
        )
    version = ""
    if item.version_name is not None:
        version = f"<rim:VersionInfo{_attributes(versionName=item.version_name, comment=item.version_comment)}/>"
    inside = "".join((
        _slots(item.slots), _text("Name", item.name), _text("Description", item.description), version,
        *(_classification(one) for one in item.classifications),
        *(_identifier(one) for one in item.external_identifiers),
    ))  # fmt: skip
    return _element(item.ELEMENT, _RIM + attributes, inside)


def _classification(item: Classification, namespace: str = "") -> str:
    attributes = _attributes(
        id=item.id, objectType=_OBJECT_TYPE + "Classification", classificationScheme=item.scheme,
        classificationNode=item.node, classifiedObject=item.classified_object,
        nodeRepresentation=item.node_representation,
    )  # fmt: skip
    return _element("rim:Classification", namespace + attributes, _slots(item.slots) + _text("Name", item.name))


def _identifier(item: ExternalIdentifier) -> str:
    attributes = _attributes(
        id=item.id, objectType=_OBJECT_TYPE + "ExternalIdentifier", registryObject=item.registry_object,
        identificationScheme=item.scheme, value=item.value,
    )  # fmt: skip
    return _element("rim:ExternalIdentifier", attributes, _slots(item.slots) + _text("Name", item.name))


def _slots(slots: Iterable[Slot]) -> str:
    written = []
    for slot in slots:
        values = "".join([f"<rim:Value>{_escaped(value, _IN_TEXT)}</rim:Value>" for value in slot.values])
        listed = f"<rim:ValueList>{values}</rim:ValueList>" if slot.values else "<rim:ValueList/>"
        written.append(f"<rim:Slot{_attributes(name=slot.name, slotType=slot.slot_type)}>{listed}</rim:Slot>")
    return "".join(written)


def _text(element: str, text: InternationalString) -> str:
    if not text:
        return ""
    parts = (
        "<rim:LocalizedString"
        + ("" if part.lang is None else f' xml:lang="{_escaped(part.lang, _IN_ATTRIBUTE)}"')
        + f"{_attributes(charset=part.charset, value=part.value)}/>"
        for part in text
    )
    return f"<rim:{element}>{''.join(parts)}</rim:{element}>"


def _element(name: str, attributes: str, inside: str) -> str:
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def _attributes(**values: str | None) -> str:
    return "".join([
        f' {name}="{_escaped(value, _IN_ATTRIBUTE)}"' for name, value in values.items() if value is not None
    ])  # fmt: skip


def _escaped(value: str, how: dict[str, str]) -> str:
    if _SPECIAL.search(value) is None:
        return value
    try:
        return _SPECIAL.sub(lambda found: how[found[0]], value)
    except KeyError:
        raise ValueError("a value has a character that XML has no way to write") from None
