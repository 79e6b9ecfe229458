"""The audit records of instances that are taken in: in the log before any is acknowledged.  DICOM PS3.15: A.5.3.6."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from xds.archives.intake import AnothersStudy, Arrived
from xds.archives.senders import UNKNOWN, Sender
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.intake_events import set_against, taken_back
from xds.endpoints.apart import Apart
from xds.store.audit.records import Recorded, close_stream, open_stream, record
from xds.wire.mtom import new_boundary

_ALERTS = 100
"""Of one request, or of one association."""


class NotRecorded(Exception):
    """The log does not take the record, so nothing may be taken in."""


class Recording:
    """What one request, or one association, takes in; it stands as interrupted until it is ended.

    ``apart``: where instances are kept that a person decides about.
    """

    def __init__(self, engine: sa.Engine, owner: str, event: AuditEvent, apart: Apart | None = None) -> None:
        self._engine, self._owner, self._event, self._apart = engine, owner, event, apart
        self._ids: list[str] = []
        self._alerted = set[tuple[str, str, str]]()

    def begin(self, arrived: Collection[Arrived]) -> None:
        """Before any of these is kept.

        Raises:
            NotRecorded: the log does not take it.
        """
        if not arrived:
            return
        id_ = new_boundary()
        try:
            with self._engine.begin() as connection:
                open_stream(
                    connection, id_, self._owner, [record for one in self._events(arrived) for record in one.records()]
                )
        except sa.exc.SQLAlchemyError:
            raise NotRecorded from None
        self._ids.append(id_)

    def against(self, arrived: Arrived, refusal: AnothersStudy, sender: Sender = UNKNOWN) -> None:
        """What was sent against a study is set apart where it can be, with an alert in the same commit.

        One alert for each study, however much is sent.

        Raises:
            NotRecorded: the log does not take it.
        """
        why = str(refusal)

        def alerted(connection: sa.Connection, is_apart: bool) -> None:
            studies = {study for study, _ in arrived.rejects} or {refusal.study}
            for study in sorted(studies)[:_ALERTS]:
                about = (arrived.patient_id, study, why)
                if about not in self._alerted and len(self._alerted) < _ALERTS:
                    record(connection, set_against(self._event, *about, is_apart=is_apart).records())
                    self._alerted.add(about)

        try:
            if self._apart is not None:
                refusal.is_apart = self._apart.keep(arrived, refusal, sender, self._event, alerted)
            else:
                with self._engine.begin() as connection:
                    alerted(connection, False)
        except sa.exc.SQLAlchemyError:
            raise NotRecorded from None

    def end(self, taken: Collection[Arrived], refused: Collection[Arrived] = (), unreadable: int = 0) -> None:
        """Afterwards: a record for each patient of what was taken, one for each of what was not, one for the rest.

        Raises:
            NotRecorded: the log does not take it; what was begun stands as interrupted.
        """
        records = [*self._ended(taken, "")]
        records += self._ended(refused, "not taken")
        if unreadable:
            event = self._event.copy()
            event.refused(f"not taken: {unreadable} that are no instance")
            records += event.records()
        try:
            with self._engine.begin() as connection:
                ours = [close_stream(connection, id_, ()) for id_ in self._ids]
                if all(ours):
                    record(connection, records)
        except sa.exc.SQLAlchemyError:
            raise NotRecorded from None
        self._ids.clear()

    def _ended(self, instances: Iterable[Arrived], failure: str) -> Iterable[Recorded]:
        for event in self._events(instances):
            if failure:
                event.refused(failure)
            else:
                event.end(failed=False)
            yield from event.records()

    def _events(self, instances: Iterable[Arrived]) -> list[AuditEvent]:
        """One about each patient, and one about each rejection note."""
        patients: dict[str, list[tuple[str, str]]] = {}
        events = []
        for one in instances:
            if one.rejects:
                deleted = taken_back(self._event, one.rejects)
                deleted.about_patient(one.patient_id)
                events.append(deleted)
                continue
            self._event.of_classes([(one.sop_instance_uid, one.sop_class_uid)])
            patients.setdefault(one.patient_id, []).append((one.study_instance_uid, one.sop_instance_uid))
        for patient_id, uids in patients.items():
            event = self._event.copy()
            event.about_patient(patient_id)
            event.about_instances(uids)
            events.append(event)
        return events
