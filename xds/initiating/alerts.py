"""Telling at once of broken glass, and of what is set apart: by a call (webhook) or by e-mail, until it is taken.

What is told names nobody: a number that is found on the console's list, and what kind of thing it is.
"""

from __future__ import annotations

import json
import logging
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import sqlalchemy as sa
import urllib3
from sqlalchemy.exc import SQLAlchemyError

from xds.settings.access import PolicySettings
from xds.settings.addresses import address
from xds.settings.sections import Tls
from xds.store import apart, consents
from xds.store.apart import Instance
from xds.store.consents import Broken
from xds.store.engine import reading
from xds.wire.client import client_context
from xds.wire.contexts import pool

log = logging.getLogger("xds.initiating.alerts")

SECONDS, PAUSE_SECONDS = 10.0, 2.0


@dataclass(frozen=True, slots=True)
class _Alert:
    """One thing to be told: as JSON, as a letter, and how it is noted that it was."""

    said: dict[str, Any]
    subject: str
    text: str
    told: Callable[[sa.Connection, int], None]

    @property
    def number(self) -> int:
        return int(self.said["number"])


class Alerts:
    """Tells of what nobody has been told of."""

    def __init__(self, engine: sa.Engine, settings: PolicySettings, tls: Tls) -> None:
        self._engine, self._settings = engine, settings
        context = None
        if settings.alert_url.startswith("https:"):
            context = client_context(tls.certificate, tls.key, tls.trusted)
        timeout = urllib3.Timeout(connect=SECONDS, read=SECONDS)
        self._pool: Any = pool(context, timeout=timeout, maxsize=1)

    def run(self, going_on: Callable[[float], bool]) -> None:
        """Tell what comes while ``going_on``, which waits for as many seconds as it is given."""
        while going_on(PAUSE_SECONDS):
            try:
                self.step()
            except SQLAlchemyError:
                log.warning("database.unreachable")

    def step(self) -> int:
        """Tell of what is new; return of how many.  What is not taken is told again."""
        with reading(self._engine) as connection:
            found = [*map(_override, consents.untold(connection)), *map(_set_apart, apart.untold(connection))]
        for count, alert in enumerate(found):
            try:
                self._tell(alert)
            except (OSError, smtplib.SMTPException, urllib3.exceptions.HTTPError) as problem:
                extra = {"alert": alert.said["event"], "number": alert.number, "reason": type(problem).__name__}
                log.warning("alert.not_told", extra=extra)
                return count
            with self._engine.begin() as connection:
                alert.told(connection, alert.number)
        return len(found)

    def _tell(self, alert: _Alert) -> None:
        if self._settings.alert_url:
            headers, body = {"Content-Type": "application/json"}, json.dumps(alert.said)
            reply = self._pool.request("POST", self._settings.alert_url, body=body, headers=headers)
            if reply.status >= 300:
                raise OSError(f"HTTP {reply.status}")
        if self._settings.alert_mail and self._settings.alert_smtp:
            self._mail(alert)

    def _mail(self, alert: _Alert) -> None:
        message = EmailMessage()
        message["Subject"] = alert.subject
        message["From"], message["To"] = self._settings.alert_from, ", ".join(self._settings.alert_mail)
        message.set_content(alert.text)
        with smtplib.SMTP(*address(self._settings.alert_smtp), timeout=SECONDS) as smtp:
            smtp.send_message(message)


def _override(broken: Broken) -> _Alert:
    said = {
        "event": "emergency-override", "number": broken.id, "organisation": broken.organisation,
        "purpose": broken.purpose, "begun": broken.begun // 1_000_000, "ends": broken.ends // 1_000_000,
    }  # fmt: skip
    text = (
        f"Somebody of {broken.organisation or 'an organisation that is not named'} has broken the glass "
        f"({broken.purpose or 'no purpose'}).\nIt is number {broken.id} on the list of overrides.\n"
    )
    return _Alert(said, f"Emergency override {broken.id}", text, consents.told)


def _set_apart(one: Instance) -> _Alert:
    said = {
        "event": "set-apart", "number": one.id, "protocol": one.protocol, "why": one.why,
        "came": one.came // 1_000_000,
    }  # fmt: skip
    text = (
        f"By {one.protocol} something was sent against somebody's study: {one.why}.\n"
        f"It is case {one.id} of what is set apart, and waits for a decision.\n"
    )
    return _Alert(said, f"Set apart: case {one.id}", text, apart.told)
