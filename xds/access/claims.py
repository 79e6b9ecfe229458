"""What a submission says of itself: that it is of a source, a repository, a community; each must be the peer's to say.

ITI TF-3: 4.2.3.2 and 4.2.3.3 (sourceId, repositoryUniqueId, homeCommunityId); ITI TF-2: 3.19 (whose node it is).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from xds.access.gate import Granted
from xds.errors import ErrorCode, Finding
from xds.imaging import kos
from xds.metadata.vocabulary import SUBMISSION_SET_SOURCE_ID
from xds.wire.spool import Spooled
from xds.wire.xml import Element, name

SUBMITTING = frozenset(("ITI-41", "ITI-42", "ITI-61", "RAD-68"))
CHANGING = frozenset(("ITI-57", "ITI-92"))
_REGISTERING = frozenset(("ITI-42", "ITI-61"))


def findings(
    granted: Granted, transaction: str, body: Element, contents: Collection[Spooled] = ()
) -> Iterator[Finding]:
    """What a peer says and may not, in its message and its manifests; a Document Administrator speaks for everybody."""
    if transaction not in SUBMITTING | CHANGING or "document-administrator" in granted.peer.roles:
        return
    peer, code = granted.peer, ErrorCode.REPOSITORY_METADATA if transaction == "ITI-41" else ErrorCode.REGISTRY_METADATA
    registers = transaction in _REGISTERING and "document-repository" in peer.roles
    # A repository registers what many sources have given it: for which, it says itself.
    if not registers or peer.entry.source_ids:
        for value in _unlisted(granted, "source_ids", source_ids(body)):
            yield Finding(code, f"SubmissionSet.sourceId {value} is none of the peer's ({_PEERS})")
    if transaction in _REGISTERING:
        for value in _unlisted(granted, "repository_ids", _slots(body, "repositoryUniqueId")):
            yield Finding(code, f"DocumentEntry.repositoryUniqueId {value} is none of the peer's ({_PEERS})")
    if peer.entry.home_communities:
        for value in _unlisted(granted, "home_communities", _homes(body)):
            yield Finding(code, f"homeCommunityId {value} is none of the peer's ({_PEERS})")
    if peer.entry.retrieve_locations:
        for value in _unlisted(granted, "retrieve_locations", _locations(contents)):
            yield Finding(code, f"Retrieve Location UID (0040,E011) {value} is none of the peer's ({_PEERS})")


_PEERS = "ITI TF-2: 3.19, as this domain's [peers] has it"


def _unlisted(granted: Granted, what: str, values: Iterable[str]) -> Iterator[str]:
    return (value[:64] for value in dict.fromkeys(values) if not granted.peer.speaks_for(what, value))


def source_ids(body: Element) -> Iterator[str]:
    """Every SubmissionSet.sourceId of a message."""
    for item in body.iter(name("rim:ExternalIdentifier")):
        if item.get("identificationScheme", "").lower() == SUBMISSION_SET_SOURCE_ID:
            yield item.get("value", "").removeprefix("urn:oid:")


def _slots(body: Element, slot: str) -> Iterator[str]:
    for item in body.iter(name("rim:Slot")):
        if item.get("name") == slot:
            yield from (value.text or "" for value in item.iter(name("rim:Value")))


def _locations(contents: Iterable[Spooled]) -> Iterator[str]:
    """Where the manifests among documents say that their images are (DICOM PS3.3: C.17.2.1)."""
    for spooled in contents:
        if next(spooled.chunks(), b"")[128:132] != b"DICM":
            continue
        if spooled.size_bytes > kos.MOST_BYTES:
            yield "of a manifest too long to be read"
            continue
        try:
            manifest = kos.read(spooled.read())
        except kos.NotAManifest:
            continue
        yield from (series.retrieve_location_uid for series in manifest.series if series.retrieve_location_uid)


def _homes(body: Element) -> Iterator[str]:
    return (home.removeprefix("urn:oid:") for item in body.iter() if (home := item.get("home")))


_PATIENTS = ("$XDSDocumentEntryPatientId", "$XDSFolderPatientId", "$XDSSubmissionSetPatientId", "$patientId")


def asks_for_every_patient(transaction: str, body: Element) -> bool:
    """Whether a query names no patient at all (ITI TF-2: 3.51.4.1.2.1)."""
    if transaction != "ITI-51":
        return False
    return not any(value.strip() for slot in _PATIENTS for value in _slots(body, slot))
