"""What begins as a program or a web page is not given out so; what is a TIFF file too stays one.  PS3.10: 7.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives.trees import archive
from tests.imaging.images import SERIES, STUDY, an_instance, saved
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake
from xds.archives.ready import ReadyFile
from xds.imaging.part10 import EXPLICIT_LITTLE

__all__ = ["archive"]


def given(archive: FolderArchive, preamble: bytes, chunk_bytes: int = 100) -> tuple[bytes, bytes, str | None]:
    """What was sent in, what is given out, and the digest that is said of it."""
    intake = Intake(archive)
    intake.incoming.mkdir(exist_ok=True)
    path = intake.incoming / "part-1"
    sent = preamble.ljust(128, b"\0") + saved(an_instance(1))[128:]
    path.write_bytes(sent)
    intake.keep(intake.examined(path))
    held = archive.find(STUDY, SERIES, f"{SERIES}.1")
    assert held is not None
    with archive.open(held, [EXPLICIT_LITTLE]) as ready:
        assert ready.size_bytes == len(sent)
        return sent, b"".join(ready.chunks(chunk_bytes)), ready.sha256


@pytest.mark.parametrize(
    "preamble", [b"MZ\x90\0", b"\x7fELF", b"<script>alert(1)</script>", b"%PDF-1.7", b"II", b"x" * 128]
)
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1000])
def test_a_preamble_that_is_no_tiff_is_given_out_as_zeros(
    archive: FolderArchive, preamble: bytes, chunk_bytes: int
) -> None:
    sent, out, digest = given(archive, preamble, chunk_bytes)
    assert out == bytes(128) + sent[128:]
    assert digest is None  # that of the file is not that of what is sent


@pytest.mark.parametrize("preamble", [b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0"])
def test_zeros_and_tiff_are_given_out_as_they_are(archive: FolderArchive, preamble: bytes) -> None:
    sent, out, digest = given(archive, preamble)
    assert out == sent
    assert digest is not None


def test_what_has_no_preamble_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes(b"0123456789" * 100)
    ready = ReadyFile(
        path, transfer_syntax_uid="", file_bytes=1000, file_sha256=None, head=b"H", skip_bytes=10, without_preamble=True
    )
    assert b"".join(ready.chunks(64)) == b"H" + path.read_bytes()[10:]
