"""The sides of an event: who writes the record, and how each is named in it."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum

from xds.audit.messages.codes import (
    Coded,
    NetworkAccessPointType,
)
from xds.audit.messages.message import (
    ActiveParticipant,
)
from xds.system.values import value


class Side(Enum):
    """Which of a transaction's two actors writes the record."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@value(frozen=True, slots=True)
class Party:
    """A side of a transaction: how it is called, its network address, and whether it is this process.

    What another node calls itself is a claim; who it is authenticated as stands beside it.
    """

    user_id: str
    address: str
    ours: bool = False
    requestor: bool = False
    authenticated: str = ""  # of another node: subject, serial number and issuer of its certificate
    organisation: str = ""  # and whose it is known to be

    def named(self, user_id: str) -> Party:
        """The same by another name, where there is one."""
        return replace(self, user_id=user_id) if user_id else self

    def participant(self, *roles: Coded) -> ActiveParticipant:
        """As the record names it; ours with its process id."""
        numeric = self.address.replace(".", "").isdigit() or ":" in self.address
        return ActiveParticipant(
            self.user_id or self.address or "unknown",
            self.requestor,
            str(os.getpid()) if self.ours else self.authenticated,
            "" if self.ours else self.organisation,
            network_access_point_id=self.address,
            network_access_point_type=NetworkAccessPointType.IP_ADDRESS
            if numeric
            else NetworkAccessPointType.MACHINE_NAME,
            role_ids=roles,
        )
