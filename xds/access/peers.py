"""Which partner's system is calling: told by the key or the parsed names of its certificate, never by joined text.

ITI TF-2: 3.19 (Authenticate Node) says that it is a node of the domain; the entries say which one, and what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from xds.errors import Unusable
from xds.rules.tolerances import TOLERANCES
from xds.settings.access import ANY, PEER_ROLES, PeerEntry
from xds.wire.certificates import Certificate, Name, NotACertificate, name_of
from xds.wire.networks import Network, networks_of, within

TOLD = 4096
"""Certificates and addresses of which it is remembered whose they are."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A partner's system as it is known; a stranger has no name and no role."""

    name: str = ""
    entry: PeerEntry = field(default_factory=PeerEntry)
    alone: bool = False  # whoever calls a node that listens on loopback only, without TLS

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.entry.roles)

    @property
    def organisations(self) -> frozenset[str]:
        """Its organisation, by name and OID."""
        return frozenset(one for one in (self.entry.organisation, *self.entry.organisation_ids) if one)

    @property
    def issuers(self) -> frozenset[str] | None:
        """Whose assertions and tokens the peer may bring; None: any that are believed at all."""
        return frozenset(self.entry.issuers) or None

    @property
    def administers(self) -> bool:
        """Whether it may change what others stored; nobody who is known only by where the node listens does."""
        return "document-administrator" in self.entry.roles and not self.alone

    def speaks_for(self, what: str, value: str) -> bool:
        """Whether a value is one that the peer may use: ``what`` is a field of its entry, such as ``source_ids``."""
        given: tuple[str, ...] = getattr(self.entry, what)
        return value in given or ANY in given

    def takes_part_in(self, domain: str) -> bool:
        """Whether it may speak in an affinity domain."""
        return not self.entry.domains or domain in self.entry.domains


_EVERYTHING = (
    "source_ids", "authorities", "repository_ids", "home_communities", "retrieve_locations", "audit_source_ids",
    "ae_titles", "facilities",
)  # fmt: skip

STRANGER = Peer()
ALONE = Peer("this-machine", PeerEntry(roles=PEER_ROLES, **dict.fromkeys(_EVERYTHING, (ANY,))), alone=True)  # type: ignore[arg-type]
"""Whoever calls a node that can be reached from its own machine only: it is who runs it."""


@dataclass(frozen=True, slots=True)
class _Marks:
    peer: Peer
    keys: frozenset[str]
    issuer: Name
    subject: Name
    alternative_name: str
    networks: tuple[Network, ...]

    def met(self, certificate: Certificate | None, address: str) -> bool:
        if self.networks and not within(address, self.networks):
            return False
        if self.keys:
            return certificate is not None and certificate.spki_sha256 in self.keys
        if not self.issuer:
            return certificate is None  # by its address alone, where nobody has a certificate
        if certificate is None or certificate.issuer != self.issuer:
            return False
        if self.subject and certificate.subject != self.subject:
            return False
        return not self.alternative_name or self.alternative_name in certificate.alternative_names


class Peers:
    """The peers of a deployment.

    Raises:
        Unusable: an entry is malformed, tells nobody, or two tell the same certificate; the message names it.
    """

    def __init__(self, entries: Mapping[str, PeerEntry], *, alone: bool = False) -> None:
        """``alone``: the node is reached from its own machine only, and whoever calls may do everything."""
        self.alone = alone
        self.entries = dict(entries)
        self._marks = [_marks(name, entry) for name, entry in entries.items()]
        self._told = lru_cache(TOLD)(self._tell)  # a request asks more than once, and a region has hundreds of peers
        _apart(self._marks)

    def of(self, certificate: Certificate | None, address: str) -> Peer:
        """Who is calling; a stranger, who may do nothing, where no entry fits or several do."""
        return ALONE if self.alone else self.told(certificate, address)

    def told(self, certificate: Certificate | None, address: str) -> Peer:
        """The same by the entries only, wherever the node listens: for what is tolerated, which is no right."""
        return self._told(certificate, address)

    def _tell(self, certificate: Certificate | None, address: str) -> Peer:
        met = [one for one in self._marks if one.met(certificate, address)]
        found = [one for one in met if one.keys] or met
        return found[0].peer if len(found) == 1 else STRANGER

    def named(self) -> Iterator[Peer]:
        """All of them."""
        if self.alone:
            yield ALONE
        yield from (one.peer for one in self._marks)

    def speaking_for(self, what: str, value: str) -> Iterator[Peer]:
        """The peers that may use a value, by name and not because they may use all: whose it is."""
        return (one.peer for one in self._marks if value in getattr(one.peer.entry, what))


def _marks(name: str, entry: PeerEntry) -> _Marks:
    dotted = f"peers.{name}"
    for role in entry.roles:
        if role not in PEER_ROLES:
            raise Unusable(f"{dotted}.roles: {role} is none of {', '.join(PEER_ROLES)}")
    for tolerance in entry.tolerate:
        if tolerance not in TOLERANCES:
            raise Unusable(f"{dotted}.tolerate: {tolerance} is none of {', '.join(TOLERANCES)}")
    if not (entry.spki_sha256 or entry.issuer or entry.addresses):
        raise Unusable(
            f"{dotted}: spki_sha256, or issuer and subject or alternative_name, says which certificate is its"
        )
    if bool(entry.issuer) != bool(entry.subject or entry.alternative_name):
        raise Unusable(f"{dotted}: issuer, and subject or alternative_name, tell a certificate together")
    keys = frozenset(_key(dotted, key) for key in entry.spki_sha256)
    try:
        issuer = name_of(entry.issuer) if entry.issuer else ()
        subject = name_of(entry.subject) if entry.subject else ()
    except NotACertificate as problem:
        raise Unusable(f"{dotted}: {problem}") from None
    networks = networks_of(f"{dotted}.addresses", entry.addresses)
    return _Marks(Peer(name, entry), keys, issuer, subject, entry.alternative_name, networks)


def _key(dotted: str, text: str) -> str:
    key = text.replace(":", "").lower()
    if re.fullmatch("[0-9a-f]{64}", key) is None:
        raise Unusable(f"{dotted}.spki_sha256: the SHA-256 of a public key is 64 hexadecimal digits")
    return key


def _apart(marks: Iterable[_Marks]) -> None:
    seen: dict[object, str] = {}
    for one in marks:
        named = [("issuer", one.issuer, one.subject, one.alternative_name)] if one.issuer else []
        for mark in (*one.keys, *named):
            place = mark if one.keys else (mark, one.networks)
            other = seen.setdefault(place, one.peer.name)
            if other != one.peer.name:
                raise Unusable(f"peers.{other} and peers.{one.peer.name} are told by the same certificate")
