"""A dataset as XML: the Native DICOM Model.  PS3.19: A.1; PS3.18: 8.7.3.2, 10.4.4 (2019e wants it of metadata)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from pathlib import Path

from lxml import etree
from pydicom.datadict import keyword_for_tag

from xds.endpoints.dicomweb import datasets
from xds.imaging import tags
from xds.imaging.attributes import Attribute, Value
from xds.imaging.text import Name
from xds.wire.xml import Element

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# What XML 1.0 has no way to write (2.2).
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def metadata(path: Path, base: str) -> bytes:
    """The dataset without its pixel data; ``base`` is the instance's address, which bulk data are under.

    Raises:
        Gone: the file cannot be read as a dataset any more.
    """
    found = datasets.content(path)
    root = etree.Element(_name("NativeDicomModel"), nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    root.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    _write(root, found.attributes, f"{base}/bulkdata/")
    if found.pixels:
        place = sum(one.tag < found.pixels for one in found.attributes)
        pixels = _head(Attribute(found.pixels, datasets.pixels_vr(found)))
        etree.SubElement(pixels, _name("BulkData"), uri=f"{base}/bulkdata/{found.pixels:08X}")
        root.insert(place, pixels)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _name(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"


def _write(parent: Element, dataset: Iterable[Attribute], bulk: str = "") -> None:
    for one in dataset:
        element = _head(one)
        parent.append(element)
        if one.tag == tags.SPECIFIC_CHARACTER_SET:
            etree.SubElement(element, _name("Value"), number="1").text = datasets.UTF_8
        elif one.vr == "SQ":
            for number, item in enumerate(one.items, 1):
                _write(etree.SubElement(element, _name("Item"), number=str(number)), item)
        elif one.is_binary:
            _bytes(element, one, bulk)
        else:
            for number, value in enumerate(one.values, 1):
                _value(element, str(number), value)


def _head(one: Attribute) -> Element:
    element = etree.Element(_name("DicomAttribute"), tag=f"{one.tag:08X}", vr=one.vr)
    keyword = "" if one.creator else keyword_for_tag(one.tag)
    if keyword:
        element.set("keyword", keyword)
    if one.creator:
        element.set("privateCreator", _text(one.creator))
    return element


def _bytes(element: Element, one: Attribute, bulk: str) -> None:
    if bulk and len(one.data) > datasets.INLINE_BYTES:
        etree.SubElement(element, _name("BulkData"), uri=f"{bulk}{one.tag:08X}")
    elif one.data:
        etree.SubElement(element, _name("InlineBinary")).text = base64.b64encode(one.data).decode()


def _value(element: Element, number: str, value: Value) -> None:
    """One value; what is empty keeps its number and is not written."""
    if isinstance(value, Name):
        person = etree.SubElement(element, _name("PersonName"), number=number)
        for group, text in zip(_GROUPS, value, strict=True):
            if text:
                parts = zip(_COMPONENTS, text.split("^", 4), strict=False)
                found = etree.SubElement(person, _name(group))
                for component, part in parts:
                    if part:
                        etree.SubElement(found, _name(component)).text = _text(part)
    elif value is not None:
        etree.SubElement(element, _name("Value"), number=number).text = _text(str(value))


def _text(value: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", value)
