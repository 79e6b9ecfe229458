"""Connections that are no HTTP requests, counted by whose they are; who has used up a quota is refused."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from xds.access.gate import Gate
from xds.access.quotas import Quotas
from xds.wire.http import certificate_of
from xds.wire.peers import key_of, serving


@dataclass(frozen=True, slots=True)
class Counted:
    """Peers told by address and certificate, in DER."""

    gate: Gate
    quotas: Quotas

    def serving(self, address: str, der: bytes) -> AbstractContextManager[None]:
        """What is done inside is done for this peer, and counted as its."""
        return serving(key_of(der, address), self.quotas.spend)

    def name(self, address: str, der: bytes) -> str:
        """What it is called in the settings; empty: nothing."""
        return self.gate.peer(certificate_of(der), address).name

    def over(self, address: str, der: bytes) -> str:
        """Why nothing more is taken from it today; empty: it is."""
        return self.quotas.over(key_of(der, address), self.name(address, der), keeps=True)
