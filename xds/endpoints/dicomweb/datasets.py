"""One instance's dataset as DICOM JSON, and its bulk data.  PS3.18: Annex F; pydicom reads and writes it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import pydicom

from xds.archives.interface import Gone

INLINE_BYTES = 4096
"""Binary values up to this size stand in the metadata; longer ones are fetched from their BulkDataURI."""

MOST_BYTES = 256 * 1024 * 1024
"""Of a file whose header is read."""

_BULK_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
_PIXEL_DATA = "7FE00010"


def metadata(path: Path, base: str) -> dict[str, Any]:
    """The dataset without its pixel data; ``base`` is the instance's address, which bulk data are under.

    Raises:
        Gone: the file cannot be read as a dataset any more.
    """
    dataset = _read(path)
    try:
        found: dict[str, Any] = dataset.to_json_dict(suppress_invalid_tags=True)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise Gone(f"the dataset cannot be written as JSON ({type(problem).__name__})") from None
    for tag, element in found.items():
        inline = element.get("InlineBinary")
        if inline is not None and len(inline) > INLINE_BYTES * 4 // 3:
            found[tag] = {"vr": element["vr"], "BulkDataURI": f"{base}/bulkdata/{tag}"}
    if dataset.get("Rows") and _PIXEL_DATA not in found:
        vr = "OB" if int(dataset.get("BitsAllocated") or 16) <= 8 else "OW"
        found[_PIXEL_DATA] = {"vr": vr, "BulkDataURI": f"{base}/bulkdata/{_PIXEL_DATA}"}
    return dict(sorted(found.items()))


def bulk_data(path: Path, tag: str) -> bytes | None:
    """A binary value of the dataset, by its tag's eight hex digits; None when there is no such.

    Raises:
        Gone: the file cannot be read as a dataset any more.
    """
    element = _read(path).to_json_dict(suppress_invalid_tags=True).get(tag.upper())
    if element is None or element["vr"] not in _BULK_VRS:
        return None
    try:
        return base64.b64decode(element.get("InlineBinary", ""))
    except binascii.Error:
        return None


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES * 64:
            raise Gone("the file is too large")
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Gone:
        raise
    except Exception as problem:  # pydicom raises whatever its parts do
        raise Gone(f"the dataset cannot be read ({type(problem).__name__})") from None


def value(vr: str, *values: Any) -> dict[str, Any]:
    """One attribute in DICOM JSON; without values none."""
    kept = [one for one in values if one not in ("", None)]
    if vr == "PN":
        kept = [{"Alphabetic": one} for one in kept]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}
