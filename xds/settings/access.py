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
    retrieve_locations: tuple[str, ...] = ()  # Retrieve Location UIDs in its manifests; empty: any
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
    tell_withheld: bool = False  # an answer of ITI-18 or ITI-51 says, as a warning, that something is withheld
    consent: Literal["permit", "withhold"] = "permit"  # of a patient who has said nothing
    override_hours: float = 4.0  # how long an override holds
    alert_url: str = ""  # called, by POST of JSON, at each override and alert
    alert_mail: tuple[str, ...] = ()  # addresses that are written to
    alert_smtp: str = ""  # HOST:PORT that sends these
    alert_from: str = "xds@localhost"  # as who


@dataclass(frozen=True, slots=True)
class ConsentSettings:
    """Documents by which patients consent, ``[consent]``: those that come to a registry of this process.

    By ITI-41 with their bytes; by ITI-42 these are fetched, from where ``[repositories]`` says.
    """

    documents: bool = False  # what they say is done; false: they are kept, and not acted upon
    format_scheme: str = "1.3.6.1.4.1.19376.1.2.3"  # codingScheme of these formatCodes
    bppc_format_codes: tuple[str, ...] = (  # CDA: policies that are agreed to
        "urn:ihe:iti:bppc:2007",
        "urn:ihe:iti:bppc-sd:2007",
    )
    appc_format_codes: tuple[str, ...] = ("urn:ihe:iti:appc:2016:consent",)  # XACML 3
    appc_attributes: tuple[str, ...] = (  # attributes that it may ask about: AttributeId=FIELD of a directive
        "urn:ihe:iti:appc:2016:document-entry:unique-id=documents",
        "urn:ihe:iti:appc:2016:document-entry:class-code=class_codes",
        "urn:ihe:iti:appc:2016:document-entry:confidentiality-code=confidentiality_codes",
        "urn:ihe:iti:xds-b:2007:confidentiality-code=confidentiality_codes",
    )
    appc_overridable: bool = True  # breaking the glass opens what an APPC document withholds
    document_bytes: int = 8 * 1024 * 1024  # of one


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """What it means that a patient agrees to a policy (BPPC), ``[consent_policies.NAME]``: a directive of theirs.

    With nothing said it is about all of the patient, and everybody.
    """

    policy: str = ""  # the policy's code in the document: an OID, or CODE^^SYSTEM
    permit: bool = False  # allowed, or withheld
    class_codes: tuple[str, ...] = ()  # CODE^^SCHEME: of documents that it is about
    confidentiality_codes: tuple[str, ...] = ()  # likewise
    author_organisations: tuple[str, ...] = ()  # name or OID: who has written them
    organisations: tuple[str, ...] = ()  # name or OID: for whom
    persons: tuple[str, ...] = ()  # id, or user@issuer
    roles: tuple[str, ...] = ()  # CODE, or CODE^^SYSTEM
    purposes: tuple[str, ...] = ()  # likewise
    overridable: bool = True  # breaking the glass opens it


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


@dataclass(frozen=True, slots=True)
class Review:
    """Accesses by people that an auditor is shown as unusual, beside namesakes, flagged patients and overrides."""

    office_hours: str = ""  # such as 07:00-19:00, Monday to Friday: an access at another time is shown; empty: none is
    timezone: str = "UTC"  # of these
    peer_factor: float = 5.0  # who accesses so many times more patients in a day than the median of their role is shown
    least_patients: int = 20  # and more than these
