"""ebRIM 3.0 objects as XDS uses them, read without loss; ``rim_writing`` writes them.  ITI TF-3: 4.2.1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from lxml import etree

from xds.system.values import value
from xds.wire.xml import Element, name

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@value(frozen=True, slots=True)
class Slot:
    """A named list of values, each at most 256 characters (rim.xsd, LongName)."""

    name: str
    values: tuple[str, ...] = ()
    slot_type: str | None = None


@value(frozen=True, slots=True)
class LocalizedString:
    value: str
    lang: str | None = None
    charset: str | None = None


InternationalString: TypeAlias = tuple[LocalizedString, ...]


@value(frozen=True, slots=True)
class Classification:
    """A coded value (scheme given) or a marker (node given)."""

    id: str | None
    classified_object: str
    scheme: str | None = None
    node: str | None = None
    node_representation: str | None = None
    slots: tuple[Slot, ...] = ()
    name: InternationalString = ()


@value(frozen=True, slots=True)
class ExternalIdentifier:
    id: str | None
    registry_object: str
    scheme: str
    value: str
    name: InternationalString = ()
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryObject:
    """What ExtrinsicObject, RegistryPackage and Association have in common."""

    ELEMENT: ClassVar[str] = ""

    id: str
    lid: str | None = None
    home: str | None = None
    status: str | None = None
    object_type: str | None = None
    slots: tuple[Slot, ...] = ()
    name: InternationalString = ()
    description: InternationalString = ()
    version_name: str | None = None
    version_comment: str | None = None
    classifications: tuple[Classification, ...] = ()
    external_identifiers: tuple[ExternalIdentifier, ...] = ()

    def slot(self, slot_name: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.name == slot_name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrinsicObject(RegistryObject):
    ELEMENT: ClassVar[str] = "rim:ExtrinsicObject"

    mime_type: str = "application/octet-stream"  # the schema's default
    is_opaque: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPackage(RegistryObject):
    ELEMENT: ClassVar[str] = "rim:RegistryPackage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Association(RegistryObject):
    ELEMENT: ClassVar[str] = "rim:Association"

    association_type: str
    source_object: str
    target_object: str


@value(frozen=True, slots=True)
class RegistryObjectList:
    """What is in a ``rim:RegistryObjectList``; a Classification beside the packages is a marker."""

    extrinsic_objects: tuple[ExtrinsicObject, ...] = ()
    registry_packages: tuple[RegistryPackage, ...] = ()
    associations: tuple[Association, ...] = ()
    classifications: tuple[Classification, ...] = ()
    object_refs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # local names of elements that XDS has no use for

    def objects(self) -> Iterator[RegistryObject]:
        yield from self.extrinsic_objects
        yield from self.registry_packages
        yield from self.associations


def read_registry_object_list(element: Element) -> RegistryObjectList:
    """The objects of a list that is valid by rim.xsd."""
    kept: dict[str, list[object]] = {}
    for child in element:
        kept.setdefault(str(child.tag), []).append(read_object(child))
    known = {name(p) for p in ("rim:ExtrinsicObject", "rim:RegistryPackage", "rim:Association")}
    known |= {name("rim:Classification"), name("rim:ObjectRef")}

    def of(prefixed: str) -> tuple:  # type: ignore[type-arg]
        return tuple(kept.get(name(prefixed), ()))

    return RegistryObjectList(
        of("rim:ExtrinsicObject"),
        of("rim:RegistryPackage"),
        of("rim:Association"),
        of("rim:Classification"),
        of("rim:ObjectRef"),
        tuple(etree.QName(tag).localname for tag in kept if tag not in known),
    )


def read_object(element: Element) -> object:
    """One child of a RegistryObjectList: a registry object, a Classification, or the id of anything else."""
    tag = str(element.tag)
    if tag == name("rim:ExtrinsicObject"):
        return read_extrinsic_object(element)
    if tag == name("rim:RegistryPackage"):
        return RegistryPackage(**_common(element))
    if tag == name("rim:Association"):
        return read_association(element)
    if tag == name("rim:Classification"):
        return _read_classification(element)
    return element.get("id", "")


def read_extrinsic_object(element: Element) -> ExtrinsicObject:
    return ExtrinsicObject(
        **_common(element),
        mime_type=element.get("mimeType", ""),
        is_opaque=element.get("isOpaque"),
    )


def read_association(element: Element) -> Association:
    return Association(
        **_common(element),
        association_type=element.get("associationType", ""),
        source_object=element.get("sourceObject", ""),
        target_object=element.get("targetObject", ""),
    )


_SLOT, _VALUES, _VALUE, _NAME, _DESCRIPTION, _PART, _VERSION, _CLASSIFICATION, _IDENTIFIER = map(name, (
    "rim:Slot", "rim:ValueList", "rim:Value", "rim:Name", "rim:Description", "rim:LocalizedString", "rim:VersionInfo",
    "rim:Classification", "rim:ExternalIdentifier",
))  # fmt: skip


def _children(element: Element) -> dict[str, list[Element]]:
    """An element's children by their tags, gone through once."""
    found: dict[str, list[Element]] = {}
    for child in element:
        found.setdefault(child.tag, []).append(child)
    return found


def _common(element: Element) -> dict[str, Any]:
    found = _children(element)
    version = next(iter(found.get(_VERSION, ())), None)
    return {
        "id": element.get("id", ""),
        "lid": element.get("lid"),
        "home": element.get("home"),
        "status": element.get("status"),
        "object_type": element.get("objectType"),
        "slots": tuple(map(_read_slot, found.get(_SLOT, ()))),
        "name": _read_text(found.get(_NAME)),
        "description": _read_text(found.get(_DESCRIPTION)),
        "version_name": None if version is None else version.get("versionName", "1.1"),
        "version_comment": None if version is None else version.get("comment"),
        "classifications": tuple(map(_read_classification, found.get(_CLASSIFICATION, ()))),
        "external_identifiers": tuple(map(_read_identifier, found.get(_IDENTIFIER, ()))),
    }


def read_slots(element: Element) -> tuple[Slot, ...]:
    return tuple(_read_slot(child) for child in element if child.tag == _SLOT)


def _read_slot(slot: Element) -> Slot:
    values = [value.text or "" for listed in slot if listed.tag == _VALUES for value in listed if value.tag == _VALUE]
    return Slot(slot.get("name", ""), tuple(values), slot.get("slotType"))


def _read_text(elements: Sequence[Element] | None) -> InternationalString:
    """Of several the first, as the schema has one."""
    return () if elements is None else tuple(
        LocalizedString(part.get("value", ""), part.get(_XML_LANG), part.get("charset"))
        for part in elements[0]
        if part.tag == _PART
    )  # fmt: skip


def _read_classification(element: Element) -> Classification:
    found = _children(element)
    return Classification(
        element.get("id"),
        element.get("classifiedObject", ""),
        element.get("classificationScheme"),
        element.get("classificationNode"),
        element.get("nodeRepresentation"),
        tuple(map(_read_slot, found.get(_SLOT, ()))),
        _read_text(found.get(_NAME)),
    )


def _read_identifier(element: Element) -> ExternalIdentifier:
    found = _children(element)
    return ExternalIdentifier(
        element.get("id"),
        element.get("registryObject", ""),
        element.get("identificationScheme", ""),
        element.get("value", ""),
        _read_text(found.get(_NAME)),
        tuple(map(_read_slot, found.get(_SLOT, ()))),
    )
