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
from xds.errors import CannotMatch

if TYPE_CHECKING:
    from xds.archives.dimse import Peer
    from xds.archives.helpers import Helpers
    from xds.cli.client import Desk
    from xds.cli.priors import Answer
    from xds.imaging.coercion import Here
    from xds.metadata.identifiers import PatientId
    from xds.rules.relevant_priors import Prior


@dataclass(slots=True)
class Brought:
    """What became of one prior."""

    study: str
    title: str
    where: str
    images: int = 0
    sent: int = 0
    was_there: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study, "title": self.title, "where": self.where, "images": self.images, "sent": self.sent,
            "wasThere": self.was_there, "problems": self.problems,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Way:
    """Into which PACS, and by what of it."""

    at: Desk
    peer: Peer
    helpers: Helpers
    folder: Path
    prefix: str


@click.command(epilog="Example: xds prefetch --order order.hl7 --into PACS@pacs.example:11112 --config xds.toml")
@ordering
@click.option("--into", required=True, metavar="TITLE@HOST:PORT", help="The PACS that the priors are for.")
@click.option("--local", metavar="CX", default="", help="The patient as that PACS knows them; else as the order says.")
@click.option("--accession-prefix", "prefix", metavar="TEXT", default="", help="Before accession numbers of elsewhere.")
@click.option("--most", metavar="N", default=5, show_default=True, help="Priors of an order, the newest first.")
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
    brought = list[Brought]()
    with desk(config, data, audit_to) as at, tempfile.TemporaryDirectory(prefix="xds-prefetch-") as folder:
        peer = Peer.parse(into, own_title=at.settings.imaging_source.retrieve_ae_title)
        way = _Way(at, peer, Helpers(), Path(folder), prefix)
        for answer in answered(at, asked):
            whose = _local(at, answer, local)
            brought += [_bring(way, prior, whose) for prior in answer.priors[:most]]
    if json_:
        print_json([one.as_json for one in brought])
    else:
        _print(brought, into)
    sys.exit(1 if any(one.problems for one in brought) else 0)


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


def _bring(way: _Way, prior: Prior, whose: PatientId) -> Brought:
    """Fetch a prior, make its images the PACS' own, and send them.

    Raises:
        Refused, NoReply, Faulted, Unusable: a step that the rest stands on failed.
    """
    from xds.archives.interface import NotAnswering
    from xds.cli.fetching import Fetch, Outcome, document
    from xds.cli.find import row
    from xds.cli.priors import place
    from xds.cli.progress import progress
    from xds.imaging.coercion import Here
    from xds.wire.spool import Spool

    said = row(prior.entry)
    one = Brought(said["study"], said["title"], place(way.at, prior))
    outcome = Outcome()
    with tempfile.TemporaryDirectory(dir=way.folder) as name:
        try:
            there = _there(way.peer, one.study)
            with progress(quiet=True) as bar, Spool(Path(name) / ".incoming", "fetched-") as spool:
                fetch = Fetch(way.at, Path(name), spool, bar, outcome, wants=lambda manifest: there < manifest.count)
                document(fetch, prior.entry)
            one.images, one.problems = outcome.promised, outcome.problems
            one.was_there = not one.problems and there >= one.images > 0
            if not one.was_there:
                here = Here(whose, prior.entry.source_patient_id, one.where, prefix=way.prefix)
                _send(way, one, prior, list(_coerced(one, outcome.folders, Path(name), here)))
        except NotAnswering as problem:
            one.problems.append(f"{way.peer.title}: {problem}")
    return one


def _there(peer: Peer, study: str) -> int:
    """How many images of a study the PACS has.

    Raises:
        NotAnswering: it does not say.
    """
    from xds.archives.dimse import DimseWay

    counts = [count for uid, count in DimseWay(peer).studies(study) if uid == study]
    return max((int(count) for count in counts if count.isdecimal()), default=0)


def _coerced(one: Brought, folders: list[Path], to: Path, here: Here) -> Iterator[Path]:
    """The images of a study as the PACS is to have them; each takes the place of the one that was fetched."""
    from xds.imaging.bounded import NotDicom
    from xds.imaging.coercion import copy

    fetched = (path for folder in folders for path in folder.rglob("*.dcm") if path.name != "manifest.dcm")
    for number, path in enumerate(sorted(fetched)):
        made = to / f"{number}.dcm"
        try:
            copy(path, made, here, datetime.now(UTC))
        except (NotDicom, OSError) as problem:
            one.problems.append(f"{path.stem}: {problem}")
            continue
        path.unlink()
        yield made


def _send(way: _Way, one: Brought, prior: Prior, files: list[Path]) -> None:
    """Send images, and hold the PACS to what it says that it has.

    Raises:
        NotAnswering: it does not answer, or breaks off.
    """
    from xds.archives.sending import send

    if not files:
        return
    with way.at.storing(way.peer.title, way.peer.host) as event:
        event.about_patient(str(prior.entry.patient_id))
        gone, failed = list[tuple[str, str]](), list[str]()
        try:
            for sent in send(way.peer, files, way.helpers):
                gone.append((one.study, sent.sop_instance_uid))
                if sent.problem:
                    failed.append(sent.sop_instance_uid)
                    one.problems.append(f"{sent.sop_instance_uid}: {sent.problem}")
                else:
                    one.sent += 1
        finally:
            event.about_instances(gone)
            event.end(failed=not one.sent)
            if failed and one.sent:
                event.partly_failed(failed)
    there = _there(way.peer, one.study)
    if there < one.sent:
        one.problems.append(f"{way.peer.title} has {there} of the {counted(one.sent, 'image')} that it said it keeps")


def _print(brought: list[Brought], into: str) -> None:
    for one in brought:
        done = "was there" if one.was_there else f"{one.sent} of {counted(one.images, 'image')} sent"
        click.echo(f"{one.title}  {one.where}  {done}")
        for problem in one.problems:
            click.echo(f"  {problem}", err=True)
    whole = sum(not one.problems for one in brought)
    click.echo(f"{whole} of {counted(len(brought), 'prior')} at {into.partition('@')[0]}")
