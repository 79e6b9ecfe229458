"""Fetched studies to hand on: as a file-set with a DICOMDIR, or as one ZIP file.  DICOM PS3.10: 8; PS3.12."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydicom.fileset import FileSet

from xds.errors import Unusable


def file_set(folders: Sequence[Path], to: Path) -> None:
    """Write the images of studies with a DICOMDIR, their files named as the standard wants; what was there goes.

    Raises:
        Unusable: it cannot be written, or an image cannot be listed.
    """
    made = FileSet()
    try:
        for path in _images(folders):
            made.add(path)
        made.write(to)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise Unusable(f"{to}: no file-set could be written ({type(problem).__name__})") from None


def zipped(folders: Sequence[Path], to: Path) -> None:
    """Write studies, their manifests too, into one ZIP file: whole, or not at all.

    Raises:
        Unusable: it cannot be written.
    """
    partial = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        # Images are compressed already, or do not become much smaller.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for folder in folders:
                for path in sorted(folder.rglob("*.dcm")):
                    archive.write(path, path.relative_to(folder.parent))
        os.replace(partial, to)  # noqa: PTH105
    except OSError as problem:
        with suppress(OSError):  # a folder on the way is a file: nothing was begun
            partial.unlink(missing_ok=True)
        raise Unusable(f"{to}: {problem.strerror}") from None


def _images(folders: Sequence[Path]) -> Iterator[Path]:
    """Every image of the studies, without the manifests."""
    for folder in folders:
        yield from sorted(folder.glob("*/*.dcm"))
