"""What ends by itself: this node's certificates, the authorities it trusts, and CRLs; told before peers notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from xds.settings.sections import Settings
from xds.wire import revocation
from xds.wire.gauges import gauge

WARNED = timedelta(days=30)
"""How long before: a certificate takes weeks to get where a form has to be filled in."""

WARNED_OF_CRL = timedelta(days=2)
"""A CRL is made anew every few days."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A file, what it is, and when the first thing in it ends."""

    kind: str  # own, trusted, crl
    file: str  # its name, without folders: pages tell it to anybody
    until: datetime

    @property
    def seconds(self) -> float:
        """That are left; negative when it has ended."""
        return (self.until - datetime.now(UTC)).total_seconds()

    @property
    def said(self) -> str:
        """For people, when it is time to do something; empty before."""
        left = timedelta(seconds=self.seconds)
        if left <= timedelta(0):
            return f"{self.file} has expired"
        if left > (WARNED_OF_CRL if self.kind == "crl" else WARNED):
            return ""
        return f"{self.file} expires in {left.days} days" if left.days > 1 else f"{self.file} expires within two days"


def endings(settings: Settings) -> Iterator[Ending]:
    """Of all files that can be read."""
    tls, peers = settings.tls, [*settings.repositories.values(), *settings.imaging_sources.values()]
    own = dict.fromkeys(one for one in (tls.certificate, *(peer.certificate for peer in peers)) if one)
    trusted = dict.fromkeys(
        one for one in (tls.trusted, settings.xua.trusted, *(peer.trusted for peer in peers)) if one
    )
    for kind, files in (("own", own), ("trusted", trusted)):
        for file in files:
            until = _ends(file, first_only=kind == "own")
            if until is not None:
                yield Ending(kind, Path(file).name, until)
    if tls.crl:
        yield from (Ending("crl", file, until) for file, until in revocation.current().ends())


def warnings(settings: Settings) -> list[str]:
    """What an operator should do something about now; a line each."""
    return [*filter(None, (one.said for one in endings(settings))), *revocation.current().troubles()]


def metrics(settings: Settings) -> str:
    """The seconds that are left, in the text format of ``/metrics``."""
    left = [({"kind": one.kind, "file": one.file}, f"{one.seconds:.0f}") for one in endings(settings)]
    return gauge("xds_expires_seconds", "Until a certificate, an authority or a CRL ends.", left) + gauge(
        "xds_revocation_files_not_in_force", "Files of tls.crl and tls.denied that are wrong or have expired.",
        [({}, len(revocation.current().troubles()))],
    )  # fmt: skip


def _ends(file: str, *, first_only: bool) -> datetime | None:
    """When the first certificate of a file ends; of a node's own, which its authorities may follow, itself."""
    try:
        found = x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError):
        return None
    return min(one.not_valid_after_utc for one in (found[:1] if first_only else found))
