"""South, a region that is merged into the deployment here; and what its registry says instead of the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import BERT, a_folder, a_submission, an_association, an_entry, symbolic
from tests.cli.command import Done, xds
from tests.imaging.images import CT, SERIES, a_manifest, a_series
from tests.regions import kept
from tests.server.test_application import Site, of_bytes
from xds.ebxml import query, rs
from xds.ebxml.rim import Slot, read_registry_object_list
from xds.errors import Status
from xds.imaging import kos
from xds.imaging.manifest import InstanceReference
from xds.merging import source as source_module
from xds.merging.mapping import MERGED_FROM
from xds.merging.source import Everything, Source
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND, AssociationType, AvailabilityStatus
from xds.queries import catalogue
from xds.store.merging import Ledger
from xds.store.tables import document_entry
from xds.transactions import iti18_registry_stored_query as iti18
from xds.wire.client import Answer
from xds.wire.xml import name

OLD = "1.2.3.99.1"


SOUTH = Oid("1.2.3.99.2")


DORA, EMIL = PatientId("d-1", SOUTH), PatientId("e-1", SOUTH)


BOTH = (AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)


@dataclass
class Merging:
    """South, which is merged, and the deployment that it is merged into."""

    south: Site
    here: Site
    folder: Path
    config: Path

    def run(self, step: str, *more: object) -> Done:
        return xds("merge", step, "south", *more, "--config", self.config)

    def names(self, *pairs: tuple[PatientId, PatientId]) -> None:
        """Say who south's patients are here."""
        (self.folder / "patients.csv").write_text("".join(f"{one},{other}\n" for one, other in pairs))

    def provide(self, submission: Submission, *contents: bytes) -> None:
        assert rs.read_response(self.south.provide(submission, list(contents)).body)[0] is Status.SUCCESS

    def everything(self, site: Site, patient: PatientId) -> dict[str, Any]:
        """GetAll, by entryUUID."""
        statuses = "(" + ",".join(f"'{one}'" for one in BOTH) + ")"
        given = {
            "patientId": f"'{patient}'",
            **{f"XDS{one}Status": statuses for one in ("DocumentEntry", "SubmissionSet", "Folder")},
        }
        slots = tuple(Slot(f"${key}", (value,)) for key, value in given.items())
        body = query.write_request(query.AdhocQuery(catalogue.GET_ALL.id, "LeafClass", slots))
        answer: Answer = site.send("/registry", iti18.TRANSACTION.action, [etree.tostring(body)], mtom=False)
        found = answer.body.find(name("rim:RegistryObjectList"))
        return {item.id: item for item in read_registry_object_list(found).objects()}

    def objects(self, patient: PatientId) -> list[Any]:
        """What is noted of a patient of south's."""
        with self.here.application.engine.connect() as connection:
            return list(Ledger(connection, "south").objects_of(str(patient)).values())


LOCATION = "1.2.3.99.3"


def a_manifest_of(count: int) -> bytes:
    """Of the study that south's source has three images of."""
    listed = tuple(InstanceReference(CT, f"{SERIES}.{number}") for number in range(1, count + 1))
    return kos.write(a_manifest(series=(a_series(1, *listed, retrieve_location_uid=LOCATION),)))


def a_history(merging: Merging) -> tuple[Submission, Submission]:
    """Of Dora: two documents in a folder, one of them replaced later; of Emil a document."""
    first = [an_entry(patient_id=DORA, **of_bytes(content)) for content in (b"one", b"two")]
    folder = a_folder(patient_id=DORA)
    inside = [an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, one.entry_uuid) for one in first]
    begun = a_submission(patient=DORA, entries=first, folders=[folder], relations=inside, submission_time=at("2024"))
    merging.provide(begun, b"one", b"two")
    second = an_entry(patient_id=DORA, **of_bytes(b"one, again"))
    replacing = an_association(AssociationType.RPLC, second.entry_uuid, first[0].entry_uuid)
    later = a_submission(patient=DORA, entries=[second], relations=[replacing], submission_time=at("2025"))
    merging.provide(later, b"one, again")
    other = an_entry(patient_id=EMIL, **of_bytes(b"emil's"))
    merging.provide(symbolic(a_submission(patient=EMIL, entries=[other])), b"emil's")
    return begun, later


def at(year: str) -> Dtm:
    return Dtm(f"{year}0102030405")


def as_there(item: Any) -> Any:
    """Without what is said to differ here: the patient, and where it came from."""
    slots = tuple(slot for slot in item.slots if slot.name != MERGED_FROM)
    identifiers = tuple(
        (one.scheme, one.value) for one in item.external_identifiers if "patientId" not in str(one.name)
    )
    codes = tuple(map(repr, item.classifications))
    return item.lid, item.status, item.version_name, sorted(map(repr, slots)), identifiers, codes, item.name


WAIT = "waiting"


def says(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Everything], None]) -> None:
    """South's registry says something else from now on."""
    true = source_module.Source.everything

    def everything(self: Source, patient: Any) -> Everything:
        found = true(self, patient)
        change(patient, found)
        return found

    monkeypatch.setattr(Source, "everything", everything)


def each(find: Callable[[Any], bool], make: Callable[[Any], Any]) -> Callable[[Any, Everything], None]:
    def change(_: Any, found: Everything) -> None:
        found.objects = [make(one) if find(one) else one for one in found.objects]

    return change


def adds(patient: Any, *objects: Any) -> Callable[[Any, Everything], None]:
    def change(asked: Any, found: Everything) -> None:
        if asked == patient:
            found.objects += objects

    return change


def theirs(patient: Any = DORA, *, entries: list[Any] | None = None, **more: Any) -> list[Any]:
    """A submission as a registry gives it: with status, lid and version."""
    sent = a_submission(patient=patient, entries=entries or [], **more)
    ok = AvailabilityStatus.APPROVED
    return [
        replace(
            one, availability_status=one.availability_status or ok, logical_id=one.logical_id or one.entry_uuid,
            version=one.version or "1",
        )
        for one in sent.objects()
    ]  # fmt: skip


def mine(merging: Merging, content: bytes = b"bert's own", **changes: Any) -> DocumentEntry:
    """A document that was registered here before, of Bert's."""
    return kept(merging.here, content, BERT, **changes)


def gives(merging: Merging, unique_id: str, repository: str = "") -> list[bytes]:
    return [one.read() for one in merging.here.retrieve(unique_id, repository=repository).contents.values()]


def states(merging: Merging, patient: Any = DORA) -> set[tuple[str, str]]:
    return {(one.state, one.why) for one in merging.objects(patient)}


def on_demand(repository: str, **changes: Any) -> DocumentEntry:
    """An entry of Dora's that says nothing of its document but where it is to be had."""
    nothing = {"object_type": ON_DEMAND, "hash": None, "size": None, "creation_time": None}
    return an_entry(patient_id=DORA, repository_unique_id=repository, **nothing, **changes)


def registered(merging: Merging, entry_uuid: str) -> list[Any]:
    """What is registered here under an entryUUID."""
    with merging.here.application.engine.connect() as connection:
        return list(connection.execute(sa.select(document_entry).where(document_entry.c.entry_uuid == entry_uuid)))
