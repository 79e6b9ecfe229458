"""The audit log put into an object store, too: what is sealed, again and again; nobody who records waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.audit.log.stored import Disagrees, Storing
from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.messages.parties import Party
from xds.settings.sections import Settings
from xds.store.audit import records as store
from xds.store.audit.objects import SETTING, AuditObjects, NotStored
from xds.store.deployment import log_id

log = logging.getLogger("xds.initiating.audit_storing")

_KIND = "110129"  # Security Configuration

SLACK = timedelta(hours=1)
"""That a lock may be shorter than is wanted: clocks differ."""

Count = Callable[[str], None]
"""Told what became of a step: stored, failed, or not locked."""


def cursor(log_id_: str) -> str:
    """By what name it is noted how far a log is in the store."""
    return f"s3 {log_id_}"


class AuditStoring:
    """Puts one node's log there."""

    def __init__(self, engine: sa.Engine, settings: Settings, folder: Path, count: Count) -> None:
        """Raises:
        Unusable: see ``AuditObjects``.
        """
        self._engine, self._node, self._count = engine, source_of(settings), count
        self._log_id, self._days = log_id(settings.data), settings.audit.object_lock_days
        self._objects = AuditObjects(settings)
        self._storing = Storing(folder, self._log_id, self._objects)
        self._told, self._unlocked = "", False

    def run(self, seconds: float, going_on: Callable[[float], bool]) -> None:
        """Put what is new while ``going_on``, which waits for as many seconds as it is given."""
        while True:
            try:
                self.step()
            except SQLAlchemyError:
                log.exception("database.unreachable")
            if not going_on(seconds):
                break

    def step(self) -> bool:
        """Put what is new; whether all of it is there."""
        try:
            records = self._storing.step()
            self._look_at_the_lock()
        except NotStored as problem:
            log.warning("audit.not_stored", extra={"reason": str(problem)})
            self._count("failed")
            return False
        except Disagrees as problem:
            log.error("audit.stored_otherwise", extra={"reason": str(problem)})
            self._count("failed")
            self._alert(f"the object store has another history than the audit log: {problem}")
            return False
        with self._engine.begin() as connection:
            store.move(connection, cursor(self._log_id), records)
        if not self._unlocked:
            self._told = ""
        self._count("stored")
        return True

    def _look_at_the_lock(self) -> None:
        """That the bucket keeps what was just put as long as is wanted."""
        newest, self._storing.newest = self._storing.newest, ""
        if not self._days or not newest:
            return
        until = self._objects.locked_until(newest)
        self._unlocked = until is None or until < datetime.now(UTC) + timedelta(days=self._days) - SLACK
        if self._unlocked:
            log.error("audit.stored_unlocked", extra={"wanted_days": self._days, "until": str(until or "")})
            self._count("not locked")
            self._alert(f"{SETTING} does not keep what is put there for {self._days} days (audit.object_lock_days)")

    def _alert(self, said: str) -> None:
        """In our own log, once."""
        if said == self._told:
            return
        self._told = said
        here = Party("xds audit", "localhost", ours=True)
        event = AuditEvent.security_alert(self._node, _KIND, here, f"urn:xds:{SETTING}", said)
        with self._engine.begin() as connection:
            store.record(connection, event.records())
