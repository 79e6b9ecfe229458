"""What the guides say is done as they say it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.deploy.guides import FOLDER, ROOT, Reader, blocks
from tests.postgres import Databases
from tests.store.object_stores import Server, s3_server

__all__ = ["orthanc", "orthanc_server", "s3_server"]


def followed(name: str, reader: Reader) -> None:
    """Do all that a guide says."""
    try:
        for block in blocks((FOLDER / f"{name}.md").read_text("utf-8")):
            reader.do(block)
    finally:
        reader.leave()


@pytest.mark.parametrize("name", ["ehr", "imaging-consumer", "privacy-officer", "merging"])
def test_a_guide_does_what_it_says(name: str, tmp_path: Path) -> None:
    followed(name, Reader(tmp_path))


def test_the_auditors_guide_does_what_it_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy" / "verify_audit_log.py", tmp_path)
    followed("auditor", Reader(tmp_path))


def test_the_operators_guide_does_what_it_says_on_postgres(
    tmp_path: Path, postgres_databases: Databases, s3_server: Server
) -> None:
    url = postgres_databases.new()
    port = int(url.rpartition(":")[2].partition("/")[0])
    words = {
        f"postgresql://xds:secret@127.0.0.1:{port}/xds": url,
        "s3://documents/xds": f"s3://{s3_server.bucket()}/xds",
    }
    followed("operator", Reader(tmp_path, {"5432": port, "9000": s3_server.port}, words))


def test_the_pacs_guide_does_what_it_says(tmp_path: Path, orthanc: Orthanc) -> None:
    followed("pacs", Reader(tmp_path, {"8042": orthanc.port, "4242": orthanc.dicom_port}))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_a_file_is_named_before_it_is_shown(path: Path) -> None:
    for block in blocks(path.read_text("utf-8")):
        assert block.use != "save" or f"`{block.name}`" in block.before, f"line {block.line}: {block.name}"


def test_every_guide_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {
        "ehr", "imaging-consumer", "auditor", "merging", "operator", "pacs", "privacy-officer"
    }  # fmt: skip


def test_only_what_needs_java_is_not_run() -> None:
    read = {(path.stem, block.language) for path in FOLDER.glob("*.md") for block in blocks(path.read_text("utf-8"))
            if block.use == "not-run"}  # fmt: skip
    assert read == {("ehr", "java"), ("pacs", "toml")}  # IPF, and dcm4chee
