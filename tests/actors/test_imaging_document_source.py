"""What an Imaging Document Source finds, and what it says of what it does not give."""

from __future__ import annotations

from pathlib import Path

from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.archives.folder import FolderArchive
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import Finding

HERE = "1.2.3.4"


def asked(source: ImagingDocumentSource, instance: str, *withheld: str) -> Finding:
    wanted = InstanceRequest(STUDY, SERIES, DocumentRequest(HERE, instance))
    (found,) = source.retrieve(ImagingRequest((wanted,), ("1.2.840.10008.1.2.1",)), withheld)
    assert isinstance(found, Finding)
    return found


def test_a_damaged_instance_of_a_withheld_study_is_answered_like_one_that_is_not_there(tmp_path: Path) -> None:
    put(tmp_path / "images", "one.dcm", an_instance(1))
    archive = FolderArchive(tmp_path / "images", tmp_path / "index", tmp_path / "spool")
    archive.refresh()
    source = ImagingDocumentSource(HERE, archive, streams=1)
    source._broken.add(f"{SERIES}.1")  # as by a retrieval that found its bytes changed
    assert "damaged" in asked(source, f"{SERIES}.1").context
    absent = asked(source, f"{SERIES}.9")
    assert asked(source, f"{SERIES}.1", STUDY).context == absent.context
