"""The settings of who may do what: partners by their certificates, and the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PEER_ROLES = (
    "document-source",
    "document-consumer",
    "imaging-document-source",
    "imaging-document-consumer",
    "document-repository",
    "patient-identity-source",
    "document-administrator",
    "on-demand-document-source",
    "audit-source",
    "audit-reader",
    "gateway",
)
"""What a partner's system may be: IHE's actors, and who sends and reads audit records."""

ANY = "*"
"""In a list of what a peer may speak for: everything."""


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """A partner's system, ``[peers.NAME]``: by what it is told, what it is, and what it may speak for.

    It is told by its key; or by issuer and subject, or issuer and subjectAltName, of its certificate, as the parsed
    names that they are.  ``addresses`` narrow that; alone they tell only who cannot have a certificate: a peer at a
    listener without TLS.  In what it may speak for, "*" is all there is.
    """

    spki_sha256: tuple[str, ...] = ()  # SHA-256 of its public key (SPKI), hexadecimal; several while it is changed
    issuer: str = ""  # of its certificate: "CN=Region CA,O=Region"
    subject: str = ""  # of its certificate: "CN=pacs.north,O=North"
    alternative_name: str = ""  # in its certificate: dns:pacs.north.example, uri:…, ip:…
    addresses: tuple[str, ...] = ()  # IP addresses or networks that it calls from, such as "10.1.0.0/16"
    organisation: str = ""  # whose it is, as people call it; also the author institution of what is its own
    organisation_ids: tuple[str, ...] = ()  # and by OID, as author institutions and assertions name it
    roles: tuple[str, ...] = ()  # PEER_ROLES
    source_ids: tuple[str, ...] = ()  # SubmissionSet.sourceId of what it submits
    authorities: tuple[str, ...] = ()  # assigning authorities of the patient ids that it feeds
    repository_ids: tuple[str, ...] = ()  # repositoryUniqueId of what it registers
    home_communities: tuple[str, ...] = ()  # homeCommunityId of what it says
    retrieve_locations: tuple[str, ...] = ()  # Retrieve Location UIDs of its images
    audit_source_ids: tuple[str, ...] = ()  # AuditSourceID of the records that it sends
    ae_titles: tuple[str, ...] = ()  # AE titles that it calls itself
    facilities: tuple[str, ...] = ()  # MSH-4|MSH-3 that it calls itself: "FACILITY|APPLICATION"
    issuers: tuple[str, ...] = ()  # Issuers of assertions and tokens that it may bring; empty: those of [xua]
    domains: tuple[str, ...] = ()  # affinity domains that it takes part in; empty: all
    tolerate: tuple[str, ...] = ()  # deviations that are put right and counted: xds/rules/tolerances.py lists them
    schema: Literal["strict", "tolerant"] = "strict"  # tolerant: what the XSD alone forbids is counted, not refused


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Who may do what, ``[policy]``."""

    file: str = ""  # TOML file of rules, read again when it changes; empty: those that xds has
    mode: Literal["enforce", "watch"] = "enforce"  # watch: what would be refused is recorded, and done
    mismatch: Literal["refuse", "mark"] = "refuse"  # a name that is not the peer's: refused, or marked in the record
    tell_withheld: bool = False  # an answer says, as a warning, that something is withheld
    consent: Literal["permit", "withhold"] = "permit"  # of a patient who has said nothing
    override_hours: float = 4.0  # how long an override holds
    alert_url: str = ""  # called, by POST of JSON, at each override and alert
    alert_mail: tuple[str, ...] = ()  # addresses that are written to
    alert_smtp: str = ""  # HOST:PORT that sends these
    alert_from: str = "xds@localhost"  # as who
