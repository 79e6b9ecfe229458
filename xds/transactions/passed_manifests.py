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
from xds.errors import ErrorCode, Finding, Refused
from xds.imaging import kos
from xds.store import passed_manifests
from xds.store.documents.folder import Damaged
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Call

DICOM = "application/dicom"

PATIENT = 512
"""Characters of a patient's id that are kept."""

MOST_STUDIES = 100
"""In one request at a gateway."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Which of some manifests who asks may see; ``silent``: why that of the others could not be found."""

    manifests: frozenset[DocumentRequest] = frozenset()
    silent: Finding | None = None


def note(call: Call, given: Iterable[Given], home: str) -> None:
    """Note which studies the manifests among documents are of; those of this community are ``home``'s, by any name.

    All are read before any is noted: meanwhile nobody else could write.
    """
    ours = call.actor.gateways.responding.homes
    found = list[tuple[DocumentRequest, str, str]]()
    for one in given:
        size, asked = one.size_bytes, one.request.home_community_id
        request = replace(one.request, home_community_id=home if not asked or asked in ours else asked)
        if one.mime_type.lower() != DICOM or size is None or size > kos.MOST_BYTES or not _is_named(request):
            continue
        try:
            manifest = kos.read(b"".join(one.chunks()))
        except (kos.NotAManifest, Damaged):  # whoever it is sent to sees that
            continue
        found.append((request, manifest.study_instance_uid, as_cx(manifest.patient).replace("\0", "")[:PATIENT]))
    # In one order, so that two do not wait for one another.
    for request, study, whose in sorted(
        found, key=lambda one: (one[1], str(one[0].home_community_id), one[0].document_unique_id)
    ):
        passed_manifests.keep(call.work.connection, call.work.database.domain, request, study, whose)


def _is_named(request: DocumentRequest) -> bool:
    """Whether it has ids that could be some; others are another's to refuse."""
    return len(request.repository_unique_id) <= 64 and len(request.document_unique_id) <= 256


def permitted(
    call: Call, home: str, instances: Sequence[InstanceRequest], seen: Callable[[Sequence[DocumentRequest]], Seen]
) -> tuple[list[InstanceRequest], list[Finding]]:
    """The instances that who asks may see, and what is said of the others: as of what is not there.

    Who may see everything needs no manifest; of others a study is seen where one of its manifests is that they, or
    anybody, have fetched through here.
    """
    if call.work.access.everything:
        return list(instances), []
    shown, silent = set[str](), dict[str, Finding]()
    with call.work.reading() as (registry, _):  # not a replica: a manifest may have passed just now
        known = {
            study: passed_manifests.of(registry.connection, call.work.database.domain, home, study)
            for study in sorted({one.study_instance_uid for one in instances})
        }
    for study, manifests in known.items():
        may = seen(manifests)
        if may.manifests:
            shown.add(study)
        elif may.silent is not None:
            silent[study] = may.silent
    others = (one for one in instances if one.study_instance_uid not in shown)
    absent = [_absent(one, silent.get(one.study_instance_uid)) for one in others]
    return [one for one in instances if one.study_instance_uid in shown], absent


def patients(call: Call, request: ImagingRequest) -> dict[str, StudyPatient]:
    """Whom studies of elsewhere show, as their community's manifests have said."""
    found, responding, domain = dict[str, StudyPatient](), call.actor.gateways.responding, call.work.database.domain
    with call.work.reading() as (registry, _):
        for one in request.instances:
            study, home = one.study_instance_uid, one.document.home_community_id
            if study not in found:
                home = responding.home if not home or home in responding.homes else home
                said = passed_manifests.patient_of(registry.connection, domain, home, study)
                found[study] = StudyPatient(archive_id=said)
    return found


def check(request: ImagingRequest) -> ImagingRequest:
    """A request as it is answered: each instance once.

    Raises:
        Refused: it is of more studies than one is answered about at a gateway: each is asked for by itself.
    """
    if len({one.study_instance_uid for one in request.instances}) > MOST_STUDIES:
        rule = f"more than {MOST_STUDIES} studies in one request"
        raise Refused([Finding(ErrorCode.TOO_MANY_RESULTS, rule)])
    return replace(request, instances=tuple(dict.fromkeys(request.instances)))


def _absent(instance: InstanceRequest, silent: Finding | None) -> Finding:
    """Of an instance that is not there, or may not be seen; or of which nobody can say."""
    why = silent or Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such instance here")
    return replace(why, location=instance.document.document_unique_id)
