"""``xds prefetch``: the priors of an order, brought from the region into the PACS here before the patient comes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import as_json, counted, print_json
from xds.cli.options import audited
from xds.cli.priors import Asked, ordering
from xds.errors import CannotMatch, Refused, Unusable

if TYPE_CHECKING:
    from xds.archives.dimse import Peer
    from xds.archives.helpers import Helpers
    from xds.cli.client import Desk
    from xds.cli.priors import Answer
    from xds.hl7.orders import Order
    from xds.imaging.coercion import Here
    from xds.imaging.manifest import Manifest
    from xds.metadata.identifiers import PatientId
    from xds.rules.relevant_priors import Prior


@dataclass(slots=True)
class Brought:
    """What became of one prior."""

    study: str
    title: str
    where: str
    images: int = 0
    was_there: bool = False
    gone: set[str] = field(default_factory=set)  # of which the PACS has said that it keeps them
    problems: list[str] = field(default_factory=list)

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study, "title": self.title, "where": self.where, "images": self.images,
            "sent": len(self.gone), "wasThere": self.was_there, "problems": self.problems,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Way:
    """From where, into which PACS, and by what of it."""

    at: Desk
    registry: str
    peer: Peer
    helpers: Helpers
    folder: Path
    prefix: str


@click.command(epilog="Example: xds prefetch --order order.hl7 --into PACS@pacs.example:11112 --config xds.toml")
@ordering
@click.option("--into", required=True, metavar="TITLE@HOST:PORT", help="The PACS that the priors are for.")
@click.option("--local", metavar="CX", default="", help="The patient as that PACS knows them; else as the order says.")
@click.option("--accession-prefix", "prefix", metavar="TEXT", default="", help="Before accession numbers of elsewhere.")
@click.option(
    "--most",
    metavar="N",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Priors of an order, the newest first.",
)
@as_json
@audited
def prefetch(
    file: Path | None,
    patient: str,
    modality: str,
    body_part: str,
    day: datetime | None,
    rules: str,
    registry: str,
    into: str,
    local: str,
    prefix: str,
    most: int,
    json_: bool,
    config: Path | None,
    data: str | None,
    audit_to: str,
) -> None:
    """Bring the priors of an order into a PACS, under the id that it knows the patient by.

    What is there already is not sent again.  Each image keeps the id of elsewhere in Other Patient IDs, and what was
    changed of it in Original Attributes.  Exit code 1: some image is not there.
    """
    from xds.archives.dimse import Peer
    from xds.archives.helpers import Helpers
    from xds.cli.client import desk
    from xds.cli.priors import answered

    asked = Asked(file, patient, modality, body_part, day, rules, registry)
    brought, missing = list[Brought](), list[str]()
    with desk(config, data, audit_to) as at, tempfile.TemporaryDirectory(prefix="xds-prefetch-") as folder:
        peer = Peer.parse(into, own_title=at.settings.imaging_source.retrieve_ae_title)
        way = _Way(at, registry, peer, Helpers(), Path(folder), prefix)
        for answer in answered(at, asked):
            missing += answer.missing
            whose = _local(at, answer, local)
            brought += [_bring(way, prior, whose, answer.order) for prior in answer.priors[:most]]
    if json_:
        print_json([one.as_json for one in brought])
    else:
        _print(brought, into)
    for why in missing:
        click.echo(why, err=True)
    sys.exit(1 if missing or any(one.problems for one in brought) else 0)


def _local(at: Desk, answer: Answer, local: str) -> PatientId:
    """The patient as the PACS knows them: by ``imaging_source.issuer``, whose ids its images have.

    Raises:
        CannotMatch: the order does not say it.
    """
    from xds.cli.patient import patient_id

    if local:
        return patient_id(local)
    issuer = at.settings.imaging_source.issuer
    found = next((one for one in answer.order.patient_ids if one.authority == issuer), None)
    if found is None:
        of = f"of {issuer} " if issuer else ""
        raise CannotMatch(f"the order has no patient id {of}by which the PACS knows them: say --local")
    return found


def _bring(way: _Way, prior: Prior, whose: PatientId, order: Order) -> Brought:
    """Fetch a prior, make its images the PACS' own, and send them; what goes wrong stops no other."""
    from xds.archives.interface import NotAnswering
    from xds.cli.find import row
    from xds.cli.priors import place
    from xds.wire.client import Faulted, NoReply

    said = row(prior.entry)
    one = Brought(said["study"], said["title"], place(way.at, prior))
    with tempfile.TemporaryDirectory(dir=way.folder) as name:
        try:
            _brought(way, one, prior, whose, order, Path(name))
        except NotAnswering as problem:
            one.problems.append(f"{way.peer.title}: {problem}")
        except Refused as refused:
            one.problems += [f"{finding.code}: {finding.context}" for finding in refused.findings]
        except (Faulted, NoReply, Unusable, ValueError) as problem:
            one.problems.append(str(problem))
    return one


def _brought(way: _Way, one: Brought, prior: Prior, whose: PatientId, order: Order, folder: Path) -> None:
    from xds.archives.dimse import DimseWay
    from xds.cli.fetching import Fetch, Outcome, document
    from xds.cli.progress import progress
    from xds.imaging.coercion import Here
    from xds.wire.spool import Spool

    outcome, there = Outcome(), set[str]()
    archive, was = DimseWay(way.peer), prior.entry.source_patient_id

    def wants(manifest: Manifest) -> bool:
        """Whether the PACS lacks some of it: it is asked before anything is fetched."""
        one.study, wanted = manifest.study_instance_uid, {i.sop_instance_uid for _, i in manifest.instances()}
        there.update(uid for _, uid in archive.members(one.study))
        others = archive.patients(one.study) - {whose.id} if there else set()
        if others:
            raise Unusable(f"{way.peer.title} has this study under another patient id")
        one.was_there = wanted <= there
        return not one.was_there

    archive.patients("1.2")  # whether it answers at all, before anything is fetched
    with progress(quiet=True) as bar, Spool(folder / ".incoming", "fetched-") as spool:
        document(Fetch(way.at, folder, spool, bar, outcome, gateway=way.registry, wants=wants), prior.entry)
    one.images, one.problems = outcome.promised, outcome.problems
    if one.was_there or not outcome.folders:
        return
    ids = frozenset({was.id, *_ids(outcome.folders)})
    here = Here(
        whose, was, ids, one.where, issuer=_accession_issuer(prior), prefix=way.prefix, born=order.born, sex=order.sex
    )  # fmt: skip
    files = list(_coerced(one, outcome.folders, folder, here, there))
    if files:
        _send(way, one, prior, files, whose)
        kept = {uid for _, uid in archive.members(one.study)}
        if lost := len(one.gone - kept):
            one.problems.append(f"{way.peer.title} lacks {counted(lost, 'image')} that it said it keeps")


def _accession_issuer(prior: Prior) -> str:
    """Who has given the study's accession number, as its entry says."""
    from xds.metadata import vocabulary as v

    for one in prior.entry.reference_id_list:
        if one.key.endswith(v.REFERENCE_ACCESSION):
            return (*one.key.split("^")[3].split("&"), "", "")[1]
    return ""


def _ids(folders: list[Path]) -> Iterator[str]:
    """The patient's id as the manifests of these studies have it."""
    from xds.imaging import kos

    for folder in folders:
        yield kos.read((folder / "manifest.dcm").read_bytes()).patient.id


def _coerced(one: Brought, folders: list[Path], to: Path, here: Here, there: set[str]) -> Iterator[Path]:
    """The images of a study that the PACS lacks, as it is to have them; each takes the place of the one fetched."""
    from xds.imaging.bounded import NotDicom
    from xds.imaging.coercion import AnotherPatient, copy

    fetched = (path for folder in folders for path in folder.rglob("*.dcm") if path.name != "manifest.dcm")
    for number, path in enumerate(sorted(fetched)):
        if path.stem in there:
            continue
        made = to / f"{number}.dcm"
        try:
            copy(path, made, here, datetime.now(UTC))
        except (AnotherPatient, NotDicom, OSError) as problem:
            one.problems.append(f"{path.stem}: {problem}")
            continue
        path.unlink()
        yield made


def _send(way: _Way, one: Brought, prior: Prior, files: list[Path], whose: PatientId) -> None:
    """Send images.

    Raises:
        NotAnswering: the PACS does not answer, or breaks off.
        Unusable: it cannot be recorded.
    """
    from xds.archives.sending import send

    patient, noted = str(prior.entry.patient_id), f"stored as {whose}"
    with way.at.storing(way.peer.title, way.peer.host, patient, noted) as event:
        tried, failed = list[tuple[str, str]](), list[str]()
        try:
            for sent in send(way.peer, files, way.helpers):
                tried.append((one.study, sent.sop_instance_uid))
                if sent.problem:
                    failed.append(sent.sop_instance_uid)
                    one.problems.append(f"{sent.sop_instance_uid}: {sent.problem}")
                else:
                    one.gone.add(sent.sop_instance_uid)
        finally:
            event.about_instances(tried)
            event.end(failed=not one.gone)
            if failed and one.gone:
                event.partly_failed(failed)


def _print(brought: list[Brought], into: str) -> None:
    for one in brought:
        done = "was there" if one.was_there else f"{len(one.gone)} of {counted(one.images, 'image')} sent"
        click.echo(f"{one.title}  {one.where}  {done}")
        for problem in one.problems:
            click.echo(f"  {problem}", err=True)
    whole = sum(not one.problems for one in brought)
    click.echo(f"{whole} of {counted(len(brought), 'prior')} at {into.partition('@')[0]}")
