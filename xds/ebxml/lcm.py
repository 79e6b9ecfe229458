"""lcm:SubmitObjectsRequest, the body of ITI-42 and the metadata of ITI-41."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from xds.ebxml.rim import RegistryObject, RegistryObjectList, read_registry_object_list, write
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
