"""Breaking the glass: by a person, with a purpose that the policy names and a reason, for one patient and some hours.

It is on the privacy officer's list at once, and in the audit log (DICOM PS3.15: Emergency Override Started, 110127).
"""

from __future__ import annotations

import sqlalchemy as sa

from xds.access.decisions import names_of, purposes_of
from xds.access.gate import Gate
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person
from xds.errors import CannotMatch, Unusable
from xds.metadata.identifiers import PatientId
from xds.store import consents
from xds.store.audit.records import now_microseconds, record
from xds.store.consents import Broken
from xds.store.engine import reading
from xds.store.registry import patients

SHORTEST, LONGEST = 10, 1000
"""Characters of a reason."""

_HOUR = 3_600_000_000


class Glass:
    """The overrides of a deployment.  Safe with threads."""

    def __init__(self, engine: sa.Engine, node: AuditSource, gate: Gate, hours: float) -> None:
        self._engine, self._node, self._gate, self._hours = engine, node, gate, hours

    @property
    def purposes(self) -> list[str]:
        """The purposes of use that the policy names for it."""
        return sorted(self._gate.policy.override.purposes)

    def break_it(
        self, person: Person, domain: str, patient_id: PatientId, reason: str, here: Party
    ) -> Broken:  # fmt: skip
        """Let a person see, for some hours, what is withheld of a patient; what is refused is on record, too.

        Raises:
            Unusable: without a reason, or for a purpose or by a role that the policy does not name.
            CannotMatch: the patient is unknown.
        """
        why = self._why_not(person, reason)
        may = not why
        with self._engine.begin() as connection:
            key = patients.key_of(connection, domain, patient_id)
            why = why or ("there is no such patient" if key is None else "")
            self._recorded(connection, person, str(patient_id), reason, here, why)
            if key is not None and not why:
                return self._kept(connection, person, key, reason)
        # Who may not is not told whether there is such a patient.
        raise CannotMatch(why) if may else Unusable(why)

    def declared(self, connection: sa.Connection, person: Person, domain: str, cx: str, here: Party) -> None:
        """Keep that a message has said itself that it breaks the glass, once for some hours."""
        try:
            key = patients.key_of(connection, domain, PatientId.parse(cx))
        except ValueError:
            key = None
        now = now_microseconds()
        if key is None or any(one.patient_key == key for one in consents.broken_by(connection, names_of(person), now)):
            return
        self._recorded(connection, person, cx, person.reason, here, "")
        self._kept(connection, person, key, person.reason)

    def reviewed(self, connection: sa.Connection, number: int, who: Party) -> None:
        """Record that somebody has looked at an override."""
        event = AuditEvent.security_alert(self._node, "110135", who, f"xds:override:{number}", "override reviewed")
        record(connection, event.records())

    def holding(self, person: Person, domain: str, cx: str) -> Broken | None:
        """The override of a person for a patient that holds now."""
        try:
            patient_id = PatientId.parse(cx)
        except ValueError:
            return None
        with reading(self._engine) as connection:
            keys = patients.chain(connection, domain, patient_id)
            found = consents.broken_by(connection, names_of(person), now_microseconds())
        return next((one for one in found if one.patient_key in keys), None)

    def _why_not(self, person: Person, reason: str) -> str:
        if not SHORTEST <= len(reason.strip()) <= LONGEST:
            return f"a reason of {SHORTEST} to {LONGEST} characters is needed"
        if not self._gate.may_break(person):
            return "the policy does not let you do this, with this role and for this purpose"
        return ""

    def _kept(self, connection: sa.Connection, person: Person, key: int, reason: str) -> Broken:
        now = now_microseconds()
        purposes = sorted(purposes_of(person) & self._gate.policy.override.purposes)
        broken = Broken(
            0, key, person.user or person.id, person.known_as or person.id,
            person.organisation or person.organisation_id, (purposes or [""])[0], reason.strip()[:LONGEST], now,
            now + int(self._hours * _HOUR),
        )  # fmt: skip
        consents.break_glass(connection, broken)
        return broken

    def _recorded(
        self, connection: sa.Connection, person: Person, cx: str, reason: str, here: Party, why_not: str
    ) -> None:  # fmt: skip
        text = f"emergency override: {reason.strip()[:LONGEST]}" if not why_not else "emergency override refused"
        event = AuditEvent.security_alert(self._node, "110127", here, "urn:xds:override", text)
        event.person = person
        event.about_patient(cx)
        if why_not:
            event.refused(why_not)
        record(connection, event.records())
