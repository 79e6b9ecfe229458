"""Manifests that leave by a gateway are noted, and who asks for images of elsewhere is held to who may see one.

A request for images (RAD-69, RAD-75) names studies and instances, and no document: by what a gateway has passed on it
knows which entries, of this community's registry or of another's, decide about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xds.archives.intake import as_cx
from xds.audit.messages.objects import StudyPatient
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding
from xds.imaging import kos
from xds.store import passed_manifests
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Call

DICOM = "application/dicom"


@dataclass(frozen=True, slots=True)
class Seen:
    """Which of some manifests who asks may see; ``silent``: why that of the others could not be found."""

    manifests: frozenset[DocumentRequest] = frozenset()
    silent: Finding | None = None


def note(call: Call, given: Iterable[Given], home: str) -> None:
    """Note which studies the manifests among documents are of; those of this community are ``home``'s, by any name."""
    for one in given:
        size = one.size_bytes
        if one.mime_type.lower() != DICOM or size is None or size > kos.MOST_BYTES:
            continue
        try:
            manifest = kos.read(b"".join(one.chunks()))
        except kos.NotAManifest:
            continue
        asked = one.request.home_community_id
        ours = not asked or asked in call.actor.gateways.responding.homes
        request = replace(one.request, home_community_id=home if ours else asked)
        study, whose = manifest.study_instance_uid, as_cx(manifest.patient)
        passed_manifests.keep(call.work.connection, call.work.database.domain, request, study, whose)


def permitted(
    call: Call, home: str, instances: Sequence[InstanceRequest], seen: Callable[[Sequence[DocumentRequest]], Seen]
) -> tuple[list[InstanceRequest], list[Finding]]:
    """The instances that who asks may see, and what is said of the others: as of what is not there.

    Who may see everything needs no manifest; of others a study is seen where one of its manifests is that they, or
    anybody, have fetched through here.
    """
    if call.work.access.everything:
        return list(instances), []
    with call.work.asking() as (registry, _):
        known = {
            study: passed_manifests.of(registry.connection, call.work.database.domain, home, study)
            for study in sorted({one.study_instance_uid for one in instances})
        }
    may = seen([one for manifests in known.values() for one in manifests])
    shown = {study for study, manifests in known.items() if may.manifests.intersection(manifests)}
    others = (one for one in instances if one.study_instance_uid not in shown)
    return [one for one in instances if one.study_instance_uid in shown], [_absent(one, may.silent) for one in others]


def patients(call: Call, request: ImagingRequest) -> dict[str, StudyPatient]:
    """Whom studies of elsewhere show, as their manifests have said."""
    found = dict[str, StudyPatient]()
    with call.work.asking() as (registry, _):
        for one in request.instances:
            if one.study_instance_uid not in found:
                said = passed_manifests.patient_of(
                    registry.connection, call.work.database.domain, one.study_instance_uid
                )  # fmt: skip
                found[one.study_instance_uid] = StudyPatient(archive_id=said)
    return found


def _absent(instance: InstanceRequest, silent: Finding | None) -> Finding:
    """Of an instance that is not there, or may not be seen; or of which nobody can say."""
    why = silent or Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such instance here")
    return replace(why, location=instance.document.document_unique_id)
