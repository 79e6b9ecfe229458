"""The settings of who is who and may do what: partners by their certificates, people, and the policy."""

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


@dataclass(frozen=True, slots=True)
class Sender:
    """A partner known by name, ``[senders.NAME]``: by what its messages are told, and what is tolerated in them.

    Every kind of mark that is given must be there; of several of a kind any one.
    """

    certificates: tuple[str, ...] = ()  # subjects of its client certificate, such as "CN=pacs.north, O=North"
    addresses: tuple[str, ...] = ()  # IP addresses or networks that it calls from, such as "10.1.0.0/16"
    source_ids: tuple[str, ...] = ()  # SubmissionSet.sourceId of its submissions
    tolerate: tuple[str, ...] = ()  # deviations that are put right and counted: xds/rules/tolerances.py lists them
    schema: Literal["strict", "tolerant"] = "strict"  # tolerant: what the XSD alone forbids is counted, not refused


@dataclass(frozen=True, slots=True)
class Xua:
    """ITI-40: SAML 2.0 assertions of the person that a SOAP message is sent for."""

    trusted: str = ""  # PEM file of the certificates that assertions are signed by; empty: none is read
    issuers: tuple[str, ...] = ()  # ISSUER=FILE: an Issuer that is believed by these certificates, and by no other
    audiences: tuple[str, ...] = ()  # URIs that they may be for; empty: any
    required: bool = False  # a message without one is refused
    assertion: str = ""  # XML file of the one that xds find, fetch and publish send with their messages; empty: none
    override_purposes: tuple[str, ...] = ("BTG", "ETREAT", "EMERGENCY")  # codes of emergencies
    longest_seconds: float = 900.0  # that an assertion may last, from its issue to its end
    methods: tuple[str, ...] = ("bearer", "holder-of-key")  # how who presents one may be confirmed


@dataclass(frozen=True, slots=True)
class Tokens:
    """IUA, ITI-72: JSON Web Tokens of the person whom a request at /dicomweb, /wado or /fhir is for."""

    issuer: str = ""  # iss of those that are believed; empty: none is
    keys: str = ""  # its JSON Web Key Set: a file, or an https URL
    keys_seconds: float = 300.0  # how long keys are taken for true
    audiences: tuple[str, ...] = ()  # aud: what this node is called there
    algorithms: tuple[str, ...] = ("ES256", "PS256", "RS256")  # by which they may be signed
    longest_seconds: float = 900.0  # that one may last, from iat to exp


@dataclass(frozen=True, slots=True)
class Oidc:
    """An OpenID provider by which people sign in at the console, beside its own accounts."""

    issuer: str = ""  # its URL; empty: there is none
    name: str = "your organisation"  # what the sign-in page calls it
    client_id: str = ""  # as the provider knows this node
    client_secret: str = ""  # better as XDS_OIDC_CLIENT_SECRET
    scope: str = "openid profile"  # what the provider is asked for
    name_claim: str = "preferred_username"  # what somebody is called in records
    role_claim: str = "groups"  # whose values give roles:
    auditor: tuple[str, ...] = ()  # reads the audit log
    privacy_officer: tuple[str, ...] = ()  # sees consents and overrides
    administrator: tuple[str, ...] = ()  # all that an operator does
    operator: tuple[str, ...] = ()  # runs the node, and sees its images
    viewer: tuple[str, ...] = ()  # sees its images
