"""Telling at once that somebody has broken the glass: by a call (webhook) or by e-mail, until it is taken.

What is told names nobody: a number that the privacy officer finds on the list, purpose and organisation.
"""

from __future__ import annotations

import json
import logging
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import sqlalchemy as sa
import urllib3
from sqlalchemy.exc import SQLAlchemyError

from xds.settings.access import PolicySettings
from xds.settings.addresses import address
from xds.settings.sections import Tls
from xds.store import consents
from xds.store.consents import Broken
from xds.store.engine import reading
from xds.wire.client import client_context
from xds.wire.contexts import pool

log = logging.getLogger("xds.initiating.override_alerts")

SECONDS, PAUSE_SECONDS = 10.0, 2.0


class Alerts:
    """Tells of overrides that nobody has been told of."""

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
            found = consents.untold(connection)
        for number, broken in enumerate(found):
            try:
                self._tell(broken)
            except (OSError, smtplib.SMTPException, urllib3.exceptions.HTTPError) as problem:
                log.warning("override.not_told", extra={"override": broken.id, "reason": type(problem).__name__})
                return number
            with self._engine.begin() as connection:
                consents.told(connection, broken.id)
        return len(found)

    def _tell(self, broken: Broken) -> None:
        said = {
            "event": "emergency-override", "number": broken.id, "organisation": broken.organisation,
            "purpose": broken.purpose, "begun": broken.begun // 1_000_000, "ends": broken.ends // 1_000_000,
        }  # fmt: skip
        if self._settings.alert_url:
            headers = {"Content-Type": "application/json"}
            reply = self._pool.request("POST", self._settings.alert_url, body=json.dumps(said), headers=headers)
            if reply.status >= 300:
                raise OSError(f"HTTP {reply.status}")
        if self._settings.alert_mail and self._settings.alert_smtp:
            self._mail(said)

    def _mail(self, said: dict[str, Any]) -> None:
        message = EmailMessage()
        message["Subject"] = f"Emergency override {said['number']}"
        message["From"], message["To"] = self._settings.alert_from, ", ".join(self._settings.alert_mail)
        message.set_content(
            f"Somebody of {said['organisation'] or 'an organisation that is not named'} has broken the glass "
            f"({said['purpose'] or 'no purpose'}).\nIt is number {said['number']} on the list of overrides.\n"
        )
        with smtplib.SMTP(*address(self._settings.alert_smtp), timeout=SECONDS) as smtp:
            smtp.send_message(message)
