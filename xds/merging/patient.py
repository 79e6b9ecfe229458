"""One patient of a source's while they are gone through: what is left, and what is to be noted of it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from xds.merging.copying import differs, digest
from xds.merging.outcome import NotCopied
from xds.merging.source import Everything
from xds.merging.units import Unit, units
from xds.merging.usable import unusable
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.store.merging import Became, Merged, is_here
from xds.store.registry.rows import kind_of

LEFT = frozenset({Became.INVALID, Became.WAITING, Became.CONFLICT})
"""What became of objects that are not here, or not as they are there."""

NOBODY = "nobody has said who the patient is here"
_NO_SET = "of no submission set that the registry gives (ITI TF-3: 4.2.1.4)"
_OTHERS = "the source gave it for another patient than its own"
_TWICE = "the source gives it for two patients"
_WITH = "another object of its submission: "
_KEY_LENGTH = 128


@dataclass(slots=True)
class Done:
    """What has been done so far."""

    patients: int = 0
    failed: int = 0  # patients of whom the source did not say all
    copied: int = 0  # objects
    changed: int = 0  # objects that were here, and are now as they are there
    copied_bytes: int = 0  # of documents
    left: int = 0  # objects that are not here, or not as they are there
    gone: int = 0  # objects that are here, and there no more

    def add(self, other: Done) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def key_of(id_: str) -> str:
    """What an object is kept under: its id, or, of one that no entryUUID can be, its hash."""
    return id_ if len(id_) <= _KEY_LENGTH else f"sha256:{hashlib.sha256(id_.encode()).hexdigest()}"


class Patient:
    """One patient's objects, and what is to be noted of them; those that are copied were noted with that."""

    def __init__(
        self, theirs: PatientId, here: PatientId | None, found: Everything, before: Mapping[str, Merged],
        given_twice: Collection[str], now: int,
    ) -> None:  # fmt: skip
        """``before``: what is kept of these objects, whosever they were; ``now``: microseconds since 1970."""
        self.here, self.before, self._theirs = here, before, str(theirs)
        self.noted: dict[str, Merged] = {one.entry_uuid: _merged(one, theirs, now) for one in found.objects}
        self.rows: dict[str, Merged] = {}
        self.done = Done(patients=1)
        strangers = [one for one in found.objects if not isinstance(one, Association) and one.patient_id != theirs]
        twice = [one for one in found.objects if one.entry_uuid in given_twice and one not in strangers]
        relations = [one for one in found.objects if isinstance(one, Association)]
        broken = {one.entry_uuid: unusable(one) or self._leads_nowhere(one) for one in relations}
        referring = [one for one in relations if not broken[one.entry_uuid] and self._refers(one)]
        away = {one.entry_uuid for one in (*strangers, *twice, *referring)} | {one for one in broken if broken[one]}
        self.left, without_set = units(one for one in found.objects if one.entry_uuid not in away)
        # A reference to what is of another patient waits for that by itself.
        self.left += [Unit((one,)) for one in referring if one not in twice]
        # What another patient's set refers to a member of theirs by is that patient's.
        lost = [one for one in without_set if not isinstance(one, Association) or one.source in self.noted]
        for id_, (kind, why) in found.unread.items():
            self._note(Merged(key_of(id_), self._theirs, kind, looked=now), Became.INVALID, why)
        for association, wrong in broken.items():
            if wrong:
                self._note(self.noted[association], Became.INVALID, wrong)
        for some, why in ((strangers, _OTHERS), (twice, _TWICE), (lost, _NO_SET)):
            for one in some:
                self._note(self.noted[one.entry_uuid], Became.INVALID, why)
        said = {key_of(one) for one in found.ids()}
        mine = {uuid: row for uuid, row in before.items() if row.patient_id == self._theirs and uuid not in said}
        self.dropped = [uuid for uuid, row in mine.items() if not is_here(row)]
        for uuid, row in mine.items():
            if is_here(row):
                self.rows[uuid] = replace(row, state=Became.GONE, why="the source has it no more", looked=now)
                self.done.gone += 1

    def _leads_nowhere(self, item: Association) -> str:
        """Why an association is left out: what it leads to is not in the source's answer; empty: it is."""
        if {item.source, item.target} <= self.noted.keys() or item.source not in self.noted or self._refers(item):
            return ""
        return "what it leads to is nothing that the source has of this patient"

    def _refers(self, item: Association) -> bool:
        """Whether it makes something of another patient, whom it may be of, a member of theirs."""
        is_reference = item.submission_set_status is SubmissionSetStatus.REFERENCE
        return is_reference and item.source in self.noted and item.target not in self.noted

    def is_new(self, unit: Unit) -> bool:
        """Whether anything of a submission is not here, or not as it is there."""
        rows = ((self.before.get(item.entry_uuid), self.noted[item.entry_uuid]) for item in unit.objects)
        return any(not (is_here(row) and not differs(row, noted)) for row, noted in rows)

    def found(self, unit: Unit) -> None:
        """Note what of a submission is to be copied."""
        for item in unit.objects:
            if not is_here(self.before.get(item.entry_uuid)):
                self.rows[item.entry_uuid] = self.noted[item.entry_uuid]

    def copied(self, unit: Unit, size_bytes: int) -> None:
        """What of a submission was to be noted, was with its copy."""
        self.done.copied_bytes += size_bytes
        for item in unit.objects:
            row = self.before.get(item.entry_uuid)
            self.done.copied += not is_here(row)
            self.done.changed += is_here(row) and differs(row, self.noted[item.entry_uuid])
            self.rows.pop(item.entry_uuid, None)

    def again(self, outcomes: Sequence[NotCopied | None]) -> None:
        """Note what became of the submissions that are left; what may follow another of them is left again."""
        tried, self.left = self.left, []
        for unit, why in zip(tried, outcomes, strict=True):
            if why is not None and why.may_follow:
                self.left.append(unit)
            for item in unit.objects:
                self._outcome(item, why)

    def _outcome(self, item: MetadataObject, why: NotCopied | None) -> None:
        uuid, row = item.entry_uuid, self.before.get(item.entry_uuid)
        if why is not None:
            own = not why.entry_uuid or why.entry_uuid == uuid
            self._note(self.noted[uuid], why.became, why.why if own else f"{_WITH}{why.why}")
        elif is_here(row) and row.state != Became.COPIED and not differs(row, self.noted[uuid]):
            self.rows[uuid] = replace(row, state=Became.COPIED, why="")  # both as they were

    def _note(self, noted: Merged, became: Became, why: str) -> None:
        """What was here before stays as it was copied: what has changed there is found again."""
        row = self.before.get(noted.entry_uuid)
        if is_here(row):
            if row.patient_id == self._theirs:
                self.rows[noted.entry_uuid] = replace(row, state=became, why=why, looked=noted.looked)
            return  # of another patient's object theirs is told by their own answer
        self.rows[noted.entry_uuid] = replace(noted, state=became, why=why)


def _merged(item: MetadataObject, theirs: PatientId, now: int) -> Merged:
    """What a source says of an object."""
    common = Merged(
        key_of(item.entry_uuid), str(theirs), kind_of(item), "" if isinstance(item, Association) else item.unique_id,
        there=digest(item), looked=now,
    )  # fmt: skip
    if not isinstance(item, DocumentEntry):
        return common
    return replace(
        common, repository_unique_id=item.repository_unique_id or "", hash=(item.hash or "").lower(),
        size=item.size or 0, type_code=item.type_code.key,
        month=item.creation_time.padded[:6] if item.creation_time else "",
        studies=" ".join(sorted(item.study_instance_uids)),
    )  # fmt: skip
