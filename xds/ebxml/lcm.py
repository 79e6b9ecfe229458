"""lcm:SubmitObjectsRequest, the body of ITI-42 and the metadata of ITI-41; lcm:RemoveObjectsRequest, of ITI-62."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from xds.ebxml.rim import RegistryObject, RegistryObjectList, read_registry_object_list
from xds.ebxml.rim_writing import write
from xds.wire.xml import NAMESPACES, Element, name


def read_submit_objects(element: Element) -> RegistryObjectList:
    """What was submitted; the element is valid by lcm.xsd."""
    objects = element.find(name("rim:RegistryObjectList"))
    return RegistryObjectList() if objects is None else read_registry_object_list(objects)


def write_submit_objects(items: Iterable[RegistryObject]) -> Element:
    element = etree.Element(
        name("lcm:SubmitObjectsRequest"), nsmap={"lcm": NAMESPACES["lcm"], "rim": NAMESPACES["rim"]}
    )
    objects = etree.SubElement(element, name("rim:RegistryObjectList"))
    for item in items:
        objects.append(write(item))
    return element


@dataclass(frozen=True, slots=True)
class RemoveObjects:
    """The ids of what is to be removed; ``more`` is what ITI-62 does not allow beside them."""

    ids: tuple[str, ...]
    more: bool = False


def read_remove_objects(element: Element) -> RemoveObjects:
    """What is to be removed; the element is valid by lcm.xsd."""
    references = element.iterfind(f"{name('rim:ObjectRefList')}/{name('rim:ObjectRef')}")
    scope = element.get("deletionScope", "DeleteAll").rpartition(":")[2]
    more = element.find(name("rim:AdhocQuery")) is not None or scope != "DeleteAll"
    return RemoveObjects(tuple(dict.fromkeys(each.get("id", "") for each in references)), more)


def write_remove_objects(ids: Iterable[str]) -> Element:
    element = etree.Element(
        name("lcm:RemoveObjectsRequest"), nsmap={"lcm": NAMESPACES["lcm"], "rim": NAMESPACES["rim"]}
    )
    references = etree.SubElement(element, name("rim:ObjectRefList"))
    for id_ in ids:
        etree.SubElement(references, name("rim:ObjectRef"), id=id_)
    return element
