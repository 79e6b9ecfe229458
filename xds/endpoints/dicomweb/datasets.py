"""A dataset as DICOM JSON.  PS3.18: Annex F.

No attribute is left out: what breaks a rule of its VR goes out as far as JSON can say it.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from xds.archives.interface import Gone
from xds.imaging import attributes, tags
from xds.imaging.attributes import Attribute, Content, Value
from xds.imaging.text import Name

INLINE_BYTES = 4096
"""Binary values up to this size stand in the metadata; longer ones are fetched from their BulkDataURI."""

UTF_8 = "ISO_IR 192"
PIXELS = tuple(f"{tag:08X}" for tag in attributes.PIXELS)

Object: TypeAlias = dict[str, Any]

_SAFE_INTEGER = 2**53 - 1  # beyond it a number of JSON may lose digits (RFC 8259: 6)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([Ee][+-]?[0-9]{1,4})?")


def content(path: Path) -> Content:
    """What a file holds.

    Raises:
        Gone: it cannot be read as a dataset any more.
    """
    try:
        return attributes.read(path)
    except (attributes.Unreadable, OSError) as problem:
        raise Gone(f"the dataset cannot be read ({type(problem).__name__})") from None


def metadata(path: Path, base: str) -> Object:
    """The dataset without its pixel data; ``base`` is the instance's address, which bulk data are under.

    Raises:
        Gone: the file cannot be read as a dataset any more.
    """
    found = content(path)
    plain = written(found.attributes, f"{base}/bulkdata/")
    if found.pixels:
        tag = f"{found.pixels:08X}"
        plain[tag] = {"vr": pixels_vr(found), "BulkDataURI": f"{base}/bulkdata/{tag}"}
    return dict(sorted(plain.items()))


def pixels_vr(found: Content) -> str:
    """The VR of the pixels as they are given, uncompressed.  PS3.5: A.2."""
    kind = attributes.PIXELS[found.pixels]
    bits = next((one.values[0] for one in found.attributes if one.tag == tags.BITS_ALLOCATED and one.values), 16)
    return "OB" if kind == "OW" and isinstance(bits, int) and bits <= 8 else kind


def bulk_data(found: Content, tag: str) -> bytes | None:
    """A binary value of a dataset, by its tag's eight hex digits; None when there is no such."""
    values = (one.data for one in found.attributes if one.is_binary and f"{one.tag:08X}" == tag.upper())
    return next(filter(None, values), None)


def bulk(found: Content) -> list[Attribute]:
    """What of a dataset metadata name by BulkDataURI, its pixels not counted."""
    return [one for one in found.attributes if one.is_binary and len(one.data) > INLINE_BYTES]


def written(dataset: Iterable[Attribute], bulk: str = "") -> Object:
    """A dataset as an object; large values are replaced by addresses under ``bulk``, where it is given."""
    return {f"{one.tag:08X}": _attribute(one, bulk) for one in dataset}


def _attribute(one: Attribute, bulk: str) -> Object:
    if one.tag == tags.SPECIFIC_CHARACTER_SET:
        return {"vr": "CS", "Value": [UTF_8]}  # what the answer is in, whatever the file was
    if one.vr == "SQ":
        return _valued("SQ", [written(item) for item in one.items])
    if one.is_binary:
        if bulk and len(one.data) > INLINE_BYTES:
            return {"vr": one.vr, "BulkDataURI": f"{bulk}{one.tag:08X}"}
        return {"vr": one.vr, **({"InlineBinary": base64.b64encode(one.data).decode()} if one.data else {})}
    return _valued(one.vr, [_value(one.vr, each) for each in one.values])


def _valued(kind: str, values: list[Any]) -> Object:
    """Without values none is named.  PS3.18: F.2.5."""
    return {"vr": kind, "Value": values} if values else {"vr": kind}


def _value(kind: str, one: Value) -> Any:
    """One value; what is empty, and a float that JSON has no number for, is null.  PS3.18: F.2.3, F.2.5."""
    if one is None or one == "":
        return None
    if isinstance(one, Name):
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), one, strict=True)
        return {group: part for group, part in groups if part} or None
    if kind in ("DS", "IS"):
        return _number(str(one))
    if isinstance(one, float):
        return one if math.isfinite(one) else None
    if kind in ("SV", "UV") and isinstance(one, int) and abs(one) > _SAFE_INTEGER:
        return str(one)
    return one


def _number(one: str) -> int | float | str:
    """A DS or IS as a number where one of JSON holds it wholly, else as the text it is (PS3.18: F.2.3, note)."""
    if _NUMBER.fullmatch(one) is None or len(one) > 64:
        return one
    exact = Decimal(one)
    if exact == exact.to_integral_value() and abs(exact) <= _SAFE_INTEGER:
        return int(exact)
    near = float(one)
    return near if math.isfinite(near) and Decimal(repr(near)) == exact else one


def dumped(found: Any) -> bytes:
    """As JSON; what is none raises, rather than go out (RFC 8259: 6 has no NaN)."""
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def value(kind: str, *values: Any) -> Object:
    """One attribute in DICOM JSON; without values none."""
    kept = [_value(kind, Name.parse(one) if kind == "PN" else one) for one in values if one not in ("", None)]
    return _valued(kind, [one for one in kept if one is not None])
