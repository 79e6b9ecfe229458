"""Consent documents that come in: their directives hold as long as they are there, Approved, and in their last version.

ITI TF-3: 5.1 (BPPC); IHE ITI supplement APPC.  Whoever may submit a document for a patient may set these; who may
replace, deprecate or remove it may end them.  What cannot be read as a whole is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xds.access import appc, bppc
from xds.access.appc_targets import attributes_of
from xds.access.consent import Directive
from xds.access.directives import in_words, set_directive
from xds.access.document_parts import NotRead
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.ebxml import rim
from xds.errors import ErrorCode, Finding, Refused, Unusable
from xds.metadata import vocabulary as v
from xds.metadata.identifiers import PatientId
from xds.settings.access import ConsentPolicy, ConsentSettings
from xds.store import consent_documents, consents
from xds.store.audit.records import now_microseconds
from xds.store.consent_documents import Waiting
from xds.store.consents import Kept
from xds.store.work import Work
from xds.wire.spool import Spooled

_CHANGED = "110135"  # Object Security Attributes Changed
_MOST_CHARACTERS = 4000
"""Of what a record says of one document."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one document says: of whom, and under which id of its message it came."""

    unique_id: str
    patient_id: PatientId
    entry_id: str
    directives: tuple[Directive, ...]


class ConsentDocuments:
    """The consent documents of a node.  Safe with threads.

    Raises:
        Unusable: a setting of them has a mistake.
    """

    def __init__(
        self, settings: ConsentSettings, policies: Mapping[str, ConsentPolicy], node: AuditSource
    ) -> None:  # fmt: skip
        self._settings, self._policies, self._node = settings, dict(policies), node
        self._attributes = attributes_of(settings.appc_attributes)
        _check(self._policies)

    def read(self, objects: rim.RegistryObjectList, contents: Iterable[tuple[str, Spooled]]) -> tuple[Said, ...]:
        """What the consent documents among those of a submission say; nothing where that is not to be done.

        Raises:
            Refused: one is not read as a whole; each is named with the part that is why.
        """
        if not self._settings.documents:
            return ()
        by_id, said, findings = dict(contents), list[Said](), list[Finding]()
        for entry in objects.extrinsic_objects:
            kind, spooled = self._kind(entry), by_id.get(entry.id)
            if kind is None or spooled is None:
                continue
            try:
                said.append(self._said(entry, kind, spooled))
            except NotRead as problem:
                rule = f"the consent document cannot be acted upon: {problem}"
                findings.append(Finding(ErrorCode.REPOSITORY_METADATA, rule, entry.id))
        if findings:
            raise Refused(findings)
        return tuple(said)

    def await_bytes(self, objects: rim.RegistryObjectList, work: Work) -> None:
        """Note the consent documents of a submission whose bytes are elsewhere, so that they are fetched and read."""
        for entry in objects.extrinsic_objects if self._settings.documents else ():
            kept_by = entry.slot("repositoryUniqueId")
            if self._kind(entry) is not None and kept_by and kept_by.values:
                unique_id = _identifier(entry, v.DOCUMENT_ENTRY_UNIQUE_ID)
                waiting = Waiting(unique_id, kept_by.values[0], now_microseconds())
                consent_documents.add(work.connection, work.database.domain, waiting)

    def read_later(self, entry: rim.ExtrinsicObject, spooled: Spooled) -> Said | None:
        """What a document says that has been fetched; None where it is none of consent.

        Raises:
            NotRead: it is not read as a whole, or is not the document that was registered.
        """
        kind, hash_ = self._kind(entry), entry.slot("hash")
        if kind is None:
            return None
        if hash_ and tuple(value.lower() for value in hash_.values) != (spooled.sha1,):
            raise NotRead("its bytes are not those that were registered (ITI TF-3: Table 4.2.3.2-1, hash)")
        return self._said(entry, kind, spooled)

    def take_effect(self, said: Sequence[Said], work: Work, who: Party) -> list[AuditEvent]:
        """Let directives of documents that are no more hold no more, and set those of new ones; return the records.

        Raises:
            Refused: a directive cannot be set beside those that hold; the caller rolls back.
        """
        return [*self._settled(work, who), *(self._set(one, work, who) for one in said)]

    def _kind(self, entry: rim.ExtrinsicObject) -> str | None:
        scheme = v.DOCUMENT_ENTRY_CODES["format_code"].scheme
        found = [one for one in entry.classifications if one.scheme == scheme]
        for one in found:
            systems = {value for slot in one.slots if slot.name == "codingScheme" for value in slot.values}
            if self._settings.format_scheme in systems:
                if one.node_representation in self._settings.bppc_format_codes:
                    return "BPPC"
                if one.node_representation in self._settings.appc_format_codes:
                    return "APPC"
        return None

    def _said(self, entry: rim.ExtrinsicObject, kind: str, spooled: Spooled) -> Said:
        if spooled.size_bytes > self._settings.document_bytes:
            raise NotRead(f"it has over {self._settings.document_bytes} bytes")
        unique_id = _identifier(entry, v.DOCUMENT_ENTRY_UNIQUE_ID)
        cx = _identifier(entry, v.DOCUMENT_ENTRY_PATIENT_ID)
        source = entry.slot("sourcePatientId")
        try:
            patient_id = PatientId.parse(cx)
            # Documents name their patient as whose they are in the domain, or as their source knows them.
            patients = {patient_id, *map(PatientId.parse, source.values if source else ())}
        except ValueError as problem:
            raise NotRead(f"DocumentEntry.patientId or sourcePatientId: {problem}") from None
        data = spooled.read()
        if kind == "BPPC":
            directives = bppc.directives(bppc.read(data, patients), self._policies, unique_id)
        else:
            overridable = self._settings.appc_overridable
            directives = appc.read(data, patients, self._attributes, unique_id, overridable=overridable)
        return Said(unique_id, patient_id, entry.id, tuple(directives))

    def _set(self, said: Said, work: Work, who: Party) -> AuditEvent:
        key = work.registry.patient_key(said.patient_id)
        assert key is not None  # noqa: S101  the registry has taken the submission
        held = {kept.text for kept, _, _ in _held(work, [key])}  # by an earlier sending of the same document
        try:
            for directive in said.directives:
                if directive.text() not in held:
                    set_directive(work.connection, key, directive, _by(said.unique_id))
        except Unusable as problem:
            rule = f"the consent document cannot be acted upon: {problem}"
            raise Refused([Finding(ErrorCode.REGISTRY_METADATA, rule, said.entry_id)]) from None
        return self._record(who, str(said.patient_id), f"set by document {said.unique_id}", said.directives)

    def _settled(self, work: Work, who: Party) -> Iterator[AuditEvent]:
        """Hold directives to documents that have changed: they are withdrawn with them, and come back with them."""
        if not work.touched:
            return
        mine = [one for one in _held(work, set().union(*work.touched.values())) if one[1].source in work.touched]
        if not mine:
            return
        documents = work.registry.documents_by_unique_id({directive.source for _, directive, _ in mine})
        there = {(one.unique_id, one.patient_key) for one in documents if one.status == "Approved" and one.latest}
        for kept, directive, family in mine:
            holds = any((directive.source, key) in there for key in family)
            ours = kept.changed_by == _by(directive.source)  # what somebody has withdrawn by hand stays so
            if holds is not directive.withdrawn or (holds and not ours):
                continue
            text, said = replace(directive, withdrawn=not holds).text(), replace(directive, withdrawn=False)
            consents.keep(work.connection, kept.patient_key, text, _by(directive.source), kept.id)
            (patient_id,) = work.registry.patient_ids([kept.patient_key])
            what = f"{'holds again' if holds else 'withdrawn'} with document {directive.source}"
            yield self._record(who, str(patient_id), what, [said])

    def _record(self, who: Party, cx: str, what: str, directives: Iterable[Directive]) -> AuditEvent:
        text = f"directives {what}: {'; '.join(map(in_words, directives))}"[:_MOST_CHARACTERS]
        event = AuditEvent.security_alert(self._node, _CHANGED, who, "urn:xds:consent", text)
        event.about_patient(cx)
        return event


def _identifier(entry: rim.ExtrinsicObject, scheme: str) -> str:
    return next((one.value for one in entry.external_identifiers if one.scheme == scheme), "")


def _by(unique_id: str) -> str:
    return f"document {unique_id}"


def _held(work: Work, patient_keys: Iterable[int]) -> list[tuple[Kept, Directive, tuple[int, ...]]]:
    """The directives of patients, with all keys that each patient is kept under."""
    families = consents.families(work.connection, set(patient_keys))
    by_key = {key: family for family in families for key in family}
    return [(one, Directive.of(one.text), by_key[one.patient_key]) for one in consents.of(work.connection, by_key)]


def _check(policies: Mapping[str, ConsentPolicy]) -> None:
    """Hold each policy to be one, and to be told from the others; a code without its scheme would withhold nothing."""
    seen: dict[str, str] = {}
    for name, policy in policies.items():
        if not policy.policy:
            raise Unusable(f"consent_policies.{name}.policy: its code in a document is needed")
        other = seen.setdefault(policy.policy, name)
        if other != name:
            raise Unusable(f"consent_policies.{other} and consent_policies.{name} are the same policy")
        for key in ("class_codes", "confidentiality_codes"):
            if not all("^^" in code for code in getattr(policy, key)):
                raise Unusable(f"consent_policies.{name}.{key}: each is CODE^^SCHEME")
