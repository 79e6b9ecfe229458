"""``xds merge images``: the images that merged manifests name, into this deployment's own archive."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, counted, deployment, print_json
from xds.cli.merging_site import TOLD, Site, site_of

if TYPE_CHECKING:
    from xds.archives.folder import FolderArchive
    from xds.archives.intake import Intake
    from xds.imaging.manifest import Manifest
    from xds.metadata.document_entry import DocumentEntry
    from xds.store.merging import Merged


@dataclass(slots=True)
class Brought:
    """What came of the studies of merged manifests."""

    studies: int = 0
    promised: int = 0  # images
    there: int = 0  # of these, that were here before
    kept: int = 0  # and that came now
    size_bytes: int = 0
    problems: list[str] = field(default_factory=list)


@click.command(epilog="Example: xds merge images south --config xds.toml")
@click.argument("name")
@as_json
@deployment
def images(name: str, config: Path | None, data: str | None, json_: bool) -> None:
    """Fetch the images that merged manifests name into imaging_source.folder, each checked against its manifest.

    They come by RAD-69 from where [imaging_sources] says; what is here already is not fetched again. They are given
    under the old Retrieve Location UID where imaging_source.also names it. Exit code 1: not all came.
    """
    with site_of(name, config, data, asks=False) as site:
        brought = bring(site)
    if json_:
        print_json(asdict(brought))
    else:
        _tell(brought)
    sys.exit(1 if brought.problems else 0)


def _tell(brought: Brought) -> None:
    from rich.filesize import decimal

    of = f"{brought.kept} of {counted(brought.promised, 'image')} came ({decimal(brought.size_bytes)})"
    click.echo(f"{counted(brought.studies, 'study', 'studies')}: {of}, {brought.there} were here before")
    for problem in brought.problems[:TOLD]:
        click.echo(f"  {problem}", err=True)


def bring(site: Site) -> Brought:
    """The images of every manifest that was merged, and is Approved.

    Raises:
        Unusable: this deployment has no folder of images.
    """
    from xds.archives.folder import FolderArchive
    from xds.errors import Refused, Unusable
    from xds.server.archives import intake
    from xds.wire.client import Faulted, NoReply
    from xds.wire.spool import NotKept

    taking = intake(site.loaded.settings)
    archive = taking.archive
    assert isinstance(archive, FolderArchive)  # noqa: S101  intake has seen to it
    taking.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    brought = Brought()
    for row, entry in _manifests(site):
        try:
            _one(site, taking, archive, row, entry, brought)
        except (Refused, NoReply, Faulted, NotKept, Unusable) as problem:
            brought.problems.append(f"{entry.unique_id}: {problem}")
    return brought


def _manifests(site: Site) -> Iterator[tuple[Merged, DocumentEntry]]:
    """The manifests that were merged, as they are registered here now."""
    from lxml import etree

    from xds.ebxml import rim
    from xds.imaging.entry import FORMAT_CODE
    from xds.metadata import from_ebxml
    from xds.store.interface import Kind
    from xds.store.merging import is_here, object_pages

    for rows in object_pages(site.engine, site.source.label, kind=Kind.DOCUMENT_ENTRY):
        merged = {row.entry_uuid: row for row in rows if is_here(row)}
        with site.database.work().reading() as (registry, _):
            found = registry.documents_by_uuid(merged)
        for one in found:
            if one.format_code == FORMAT_CODE.key and one.status == "Approved":
                entry, _ = from_ebxml.document_entry(rim.read_extrinsic_object(etree.fromstring(one.ebxml)))
                if entry is not None:
                    yield merged[one.entry_uuid], entry


def _one(
    site: Site, taking: Intake, archive: FolderArchive, row: Merged, entry: DocumentEntry, brought: Brought
) -> None:  # fmt: skip
    """The images of one manifest.

    Raises:
        Refused, NoReply, Faulted, NotKept, Unusable: a step that the rest stands on failed.
    """
    from xds.cli.fetching import Fetch, Outcome, document
    from xds.cli.progress import progress
    from xds.system.whose import mark
    from xds.wire.spool import Spool

    outcome, study = Outcome(), _Study(site, archive, row, str(entry.patient_id), brought)
    folder = tempfile.TemporaryDirectory(prefix=f"part-{mark()}-", dir=taking.incoming)
    with folder as name, progress(quiet=True) as bar, Spool(Path(name) / "spool") as spool:
        document(Fetch(site.at, Path(name), spool, bar, outcome, wants=study.wants), entry)
        files = [path for path in sorted(Path(name).rglob("*.dcm")) if path.name != "manifest.dcm"]
        if files:
            before = brought.kept
            study.is_theirs()  # before anybody can see them
            for path in files:
                _keep(taking, path, brought)
            if brought.kept == before:
                study.is_nobodys()
    brought.studies += outcome.studies
    brought.problems += outcome.problems


@dataclass(slots=True)
class _Study:
    """The study of a merged manifest, and whose it is: that is said only by who has brought its images."""

    site: Site
    archive: FolderArchive
    row: Merged
    patient_id: str
    brought: Brought
    uid: str = ""
    was: str = ""  # whose it was known to be

    def wants(self, manifest: Manifest) -> bool:
        """Whether any of its images is to come; none of a study that is here, or known, as somebody else's."""
        from xds.store import study_patients
        from xds.store.engine import reading
        from xds.store.merging import Ledger

        self.uid, wanted = manifest.study_instance_uid, {one.sop_instance_uid for _, one in manifest.instances()}
        there = {held.sop_instance_uid for held in self.archive.members(self.uid)}
        self.brought.promised += len(wanted)
        self.brought.there += len(wanted & there)
        with reading(self.site.engine) as connection:
            self.was = study_patients.of(connection, self.uid)
            ours = Ledger(connection, self.site.source.label).brought_images(self.uid)
        if (there or self.was) and self.was != self.patient_id and not ours:
            self.brought.problems.append(f"{self.uid}: it is here already, and was not merged as this patient's")
            return False
        if ours and self.was != self.patient_id:  # the source has merged them
            self.is_theirs()
        return not wanted <= there

    def is_theirs(self) -> None:
        """Note whose it is, and that this source has brought it."""
        from xds.store import study_patients
        from xds.store.merging import Ledger

        with self.site.engine.begin() as connection:
            study_patients.keep(connection, self.uid, self.patient_id)
            Ledger(connection, self.site.source.label).note_images(self.row.entry_uuid, self.uid)

    def is_nobodys(self) -> None:
        """Take that back: nothing came."""
        from xds.store import study_patients
        from xds.store.merging import Ledger

        if not self.was:
            with self.site.engine.begin() as connection:
                study_patients.forget(connection, self.uid)
                Ledger(connection, self.site.source.label).note_images(self.row.entry_uuid, "")


def _keep(taking: Intake, path: Path, brought: Brought) -> None:
    from xds.archives.intake import NotTaken

    size = path.stat().st_size
    try:
        if taking.keep(taking.examined(path), decided=True):
            brought.kept, brought.size_bytes = brought.kept + 1, brought.size_bytes + size
    except NotTaken as problem:
        brought.problems.append(f"{path.stem}: {problem}")
