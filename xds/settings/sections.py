"""Every setting, with its unit and default; ``configuration.py`` reads them from ``xds.toml`` and ``XDS_…`` variables.

A setting is named by section and key, ``server.listen``; its variable is ``XDS_SERVER_LISTEN``.
A key that is not here is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from xds.errors import Unusable
from xds.settings.access import (
    ConsentPolicy,
    ConsentSettings,
    Oidc,
    PeerEntry,
    PolicySettings,
    Review,
    Sender,
    Tokens,
    Xua,
)
from xds.settings.federation import Community, Gateway
from xds.settings.imaging import ImagingSource, Priors
from xds.settings.merging import Merge

DEFAULT_DOMAIN = "default"
"""The name of the affinity domain at the bare paths."""

PLAYED = ("registry", "repository", "imaging-source")
ACTORS = (*PLAYED, "gateway", "responding-gateway")
"""What ``server.actors`` may name, the last parts of the actors' paths; and before it, what it names by itself."""

ROLES = ("auditor", "operator", "viewer", "privacy-officer", "administrator")
"""Of people who sign in at the console: what its pages show them."""

Source = Literal["default", "file", "environment", "command line", "made at first start"]


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, what it keeps and how long it waits."""

    listen: str = "127.0.0.1:8080"  # HOST:PORT
    public_url: str = ""  # base URL that peers see; empty: the request's own Host
    hosts: tuple[str, ...] = ()  # host names beside that one, and those in tls.certificate, that it answers to
    proxies: tuple[str, ...] = ()  # IP addresses or networks of proxies before it, which say whose a request is
    proxy_certificate: str = ""  # form of the header that has its certificate: rfc9440, nginx, haproxy[:HEADER]
    allow_open_listen: bool = False  # listen beyond loopback without mutual TLS: the operator's choice, by name
    cors_origins: tuple[str, ...] = ()  # origins whose pages may read /dicomweb and /wado, as https://HOST:PORT, or "*"
    data: str = "xds-data"  # folder of everything that this deployment keeps
    database: str = ""  # SQLAlchemy URL; empty: SQLite in the data folder
    replicas: tuple[str, ...] = ()  # PostgreSQL URLs of read replicas, the same on every node; queries go there
    replica_wait_seconds: float = 0.1  # for one that lacks what a peer was acknowledged, before the primary is asked
    replica_seconds: float = 10.0  # no query is answered from a state older than this
    documents: str = ""  # where documents are kept: a file: URL, or s3://BUCKET/PREFIX; empty: in the data folder
    documents_also: str = ""  # where they are read from, too, while they move (xds documents move); empty: nowhere
    documents_key: str = ""  # file of keys that encrypt them (xds documents key new), or a pkcs11: URI; empty: none
    actors: tuple[str, ...] = PLAYED  # which it plays; also gateway (XCA, Initiating) and responding-gateway
    workers: int = 2  # web processes; with SQLite they take turns to write, and more than two bring nothing
    group_commit: bool = True  # what comes at once shares a commit; each is answered after it
    threads: int = 8  # short requests that a web process serves at once for one peer; for all, 1/share as many
    upload_threads: int = 8  # long request bodies that it takes at once, likewise
    header_seconds: float = 10.0  # a request's header, and a TLS handshake, must be whole by then
    stall_seconds: float = 10.0  # a peer may be silent this long in a body or a reply
    least_bytes_per_second: int = 1024  # a body or reply slower than this, after stall_seconds, is broken off
    request_seconds: float = 14_400.0  # the longest that one request may take, its body and its reply
    queue_seconds: float = 0.05  # that a short request waits for a thread while more come, for long, than are served
    share: float = 0.5  # of threads, answers and memory of bodies that one peer may have at most; 1: all (a proxy's)
    body_bytes: int = 512 * 1024 * 1024  # SOAP envelopes in memory at once, a process; over it HTTP 503
    least_free_bytes: int = 512 * 1024 * 1024  # of each disk: with less nothing is taken in, and the audit log goes on
    peer_records: int = 0  # audit records that one peer may bring about in a day (UTC); over it it is refused; 0: any
    peer_bytes: int = 0  # bytes that are kept of what it sends in a day, likewise; xds peer show NAME says what it uses
    stop_seconds: float = 30.0  # requests in flight are given this long at a stop
    root_part_bytes: int = 32 * 1024 * 1024  # SOAP envelope, inline base64 included
    part_bytes: int = 16 * 1024 * 1024 * 1024  # one attachment
    parts: int = 10_000  # attachments in a message
    log: Literal["text", "json"] = "text"  # the form of log lines; json: one object a line


@dataclass(frozen=True, slots=True)
class S3:
    """The object store of ``server.documents``; its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    ``[s3_also]`` is that of ``server.documents_also``: as ``[s3]`` where nothing is said.  Its keys come from
    ALSO_AWS_ACCESS_KEY_ID and ALSO_AWS_SECRET_ACCESS_KEY, or else from the same variables.
    """

    endpoint: str = ""  # URL; empty: Amazon's
    region: str = ""  # empty: AWS_REGION, or us-east-1
    path_style: bool = True  # the bucket in the path, not in the host name
    seconds: float = 30.0  # the longest that one request may take; documents are read and written 8 MiB at a time
    read_back: bool = True  # what was uploaded is read again, and its SHA-256 compared, before it is acknowledged
    encryption: Literal["", "AES256", "aws:kms"] = ""  # by the store, of what is uploaded; empty: as the bucket says
    encryption_key: str = ""  # of aws:kms, the key's id; empty: the store's own


@dataclass(frozen=True, slots=True)
class Tls:
    """ITI-19 Authenticate Node in the process itself; empty: none."""

    certificate: str = ""  # PEM file of this node
    key: str = ""  # PEM file of its private key
    trusted: str = ""  # PEM file of the certificates and authorities that peers must present
    crl: tuple[str, ...] = ()  # PEM or DER files of their CRLs, as certificates read again when they change
    denied: tuple[str, ...] = ()  # who is not let in all the same: SHA-256 of a key, SERIAL@ISSUER, or files of these


@dataclass(frozen=True, slots=True)
class Domain:
    """The XDS affinity domain at the bare paths."""

    assigning_authorities: tuple[str, ...] = ()  # OIDs of patient identifiers; empty: one is made
    home_community_id: str = ""  # OID; empty: one is made
    home_community_also: tuple[str, ...] = ()  # OIDs by which its responding gateway answers, too
    codes: str = ""  # TOML file of codes, media types, repositories, sources in use, read again when it changes; or any
    codes_mode: Literal["strict", "warn", "off"] = "strict"  # another code: refused, warned of, or let pass
    patients: Literal["feed", "open"] = "feed"  # open: a patient is made by its first accepted submission


@dataclass(frozen=True, slots=True)
class NamedDomain(Domain):
    """An affinity domain of its own at ``/NAME/registry`` and ``/NAME/repository``: ``[domains.NAME]``."""

    repository_unique_id: str = ""  # OID of its repository; empty: one is made
    mllp_listen: str = ""  # HOST:PORT of its Patient Identity Feed (ITI-8); empty: off


@dataclass(frozen=True, slots=True)
class Registry:
    """The Document Registry."""

    most_results: int = 25_000  # objects in a LeafClass answer; over it XDSTooManyResults
    most_references: int = 250_000  # ids in an ObjectRef answer, likewise
    query_bytes: int = 64 * 1024  # of one stored query; over it XDSStoredQueryParamNumber
    submission_objects: int = 2_000  # entries, sets, folders and associations of one message; over it it is refused
    unknown_patient: Literal["empty", "refused"] = "empty"  # a query for one: nothing found, or XDSUnknownPatientId
    demographics: bool = True  # names and birth dates that feeds say are kept, and patients found by them


@dataclass(frozen=True, slots=True)
class Repository:
    """The Document Repository."""

    unique_id: str = ""  # OID; empty: one is made
    also: tuple[str, ...] = ()  # OIDs of repositories merged into it (xds merge), whose documents it gives, too
    registry_url: str = ""  # where ITI-42 goes; empty: the registry in this process
    registry_seconds: float = 60.0  # the longest wait for its answer
    streams: int = 4  # ITI-43 answers under way at once to one peer, a process; over it XDSRepositoryBusy
    documents: int = 1_000  # that one ITI-43 or ITI-86 may name; over it XDSTooManyResults, or XDSRepositoryError


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log."""

    source_id: str = "xds"  # AuditSourceID of this node
    enterprise_site_id: str = ""  # AuditEnterpriseSiteID
    certificate: str = ""  # PEM file that checkpoints are verified by; empty: one is made
    key: str = ""  # PEM file that signs them, or a key in a PKCS#11 token: pkcs11:token=…;object=…?module-path=…
    forward_to: tuple[str, ...] = ()  # ITI-20 out: tls://, tcp:// or udp://HOST:PORT of each repository
    witnesses: tuple[str, ...] = ()  # who is shown checkpoints: URL of another node's /audit/witness, or file:PATH
    witness_seconds: float = 60.0  # how often
    witness_of: tuple[str, ...] = ()  # LOG=FILE or FILE, PEM: the certificates of logs that it is a witness of
    readers: tuple[str, ...] = ()  # who may search it by ITI-81: subjects of client certificates, addresses, networks
    time_server: str = ""  # HOST[:PORT] that the clock is compared with, by NTP; empty: it is not
    most_offset_seconds: float = 1.0  # a clock that is further off is an alert
    time_seconds: float = 900.0  # how often it is compared
    object_store: str = ""  # s3://BUCKET/PREFIX where the log is put, too, by [s3] and its keys; empty: nowhere
    object_store_seconds: float = 300.0  # how often what is new is put there
    object_lock_days: int = 0  # that the bucket's own object lock must keep it, or there is an alert; 0: it need not
    keep_days: int = 3653  # records that are younger are never erased; xds audit erase
    failures_per_minute: int = 60  # of one peer that have records of their own; the rest of the minute's are counted
    checkpoint_seconds: float = 1.0  # a record is under a signed checkpoint about this long after


@dataclass(frozen=True, slots=True)
class Capture:
    """What a named sender really sends, kept for a limited time, sealed to who may read it; ``xds capture``."""

    certificate: str = ""  # PEM file, an RSA key's: its holder alone can read what is captured; empty: nothing is
    most_hours: float = 24.0  # the longest that a capture runs
    keep_hours: float = 72.0  # messages are erased so long after it has ended
    messages: int = 1000  # of one capture
    message_bytes: int = 1024 * 1024  # of a request or reply; what is longer is cut; documents are left out


@dataclass(frozen=True, slots=True)
class Syslog:
    """ITI-20 in, into this node's log: HOST:PORT each; empty: off.  TLS by ``[tls]``, and peers that it trusts."""

    tls: str = ""  # RFC 5425
    tcp: str = ""  # RFC 6587, octet counting
    udp: str = ""  # RFC 5426


@dataclass(frozen=True, slots=True)
class Mllp:
    """ITI-8 in, over MLLP; with ``[tls]`` set, over mutual TLS; empty: off."""

    listen: str = ""  # HOST:PORT; 2575 is HL7's
    namespaces: tuple[str, ...] = ()  # NAMESPACE=OID: the OID of identifiers that come with a namespace alone


@dataclass(frozen=True, slots=True)
class Location:
    """Where another actor is, by its OID in ``[repositories]`` or ``[imaging_sources]``.

    What says neither what to present nor whom to trust uses ``[tls]``.
    """

    url: str
    certificate: str = ""  # PEM file that we present there
    key: str = ""
    trusted: str = ""  # PEM file of what its certificate must come from
    name: str = ""  # what people call it; empty: its host

    def or_by(self, tls: Tls) -> Location:
        """The peer with this node's own certificate and trust, where it has none of its own."""
        if self.certificate or self.key or self.trusted:
            return self
        return replace(self, certificate=tls.certificate, key=tls.key, trusted=tls.trusted)


@dataclass(frozen=True, slots=True)
class Tracing:
    """OpenTelemetry's traces of transactions, with the extra ``xds[tracing]``; never of whom, nor what was said."""

    endpoint: str = ""  # URL of a collector's OTLP over HTTP, as http://127.0.0.1:4318/v1/traces; empty: off
    trusted: str = ""  # PEM file of what its certificate must come from; empty: the system's authorities
    ratio: float = 0.1  # of requests that is sent, unless a peer of [peers] has chosen
    most_per_second: int = 50  # requests that spans are sent of, a process; what is over it is counted


@dataclass(frozen=True, slots=True)
class Console:
    """The pages."""

    registry_url: str = ""  # where a patient's studies are looked for; empty: in the registry of this process
    fetch_from: tuple[str, ...] = ()  # [http://]HOST[:PORT] that a manifest may lead xds fetch to; else only by TLS
    second_factor: tuple[str, ...] = ()  # roles that must have one, such as "auditor"; xds user second-factor
    vouches: bool = True  # other nodes are told who looks, by an assertion that this node signs; xds user issuer
    organisation_id: str = ""  # of these people, as urn:oid: or URL; their organisation is audit.enterprise_site_id
    purpose: str = "TREAT"  # what they look for: a code, and its system
    purpose_system: str = "2.16.840.1.113883.5.8"  # HL7 ActReason
    notice: str = ""  # stands on every page, as "TEST: no real patients" does on a node that is none to work with


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    server: Server = field(default_factory=Server)
    s3: S3 = field(default_factory=S3)
    s3_also: S3 = field(default_factory=S3)
    tls: Tls = field(default_factory=Tls)
    domain: Domain = field(default_factory=Domain)
    xua: Xua = field(default_factory=Xua)
    tokens: Tokens = field(default_factory=Tokens)
    registry: Registry = field(default_factory=Registry)
    repository: Repository = field(default_factory=Repository)
    imaging_source: ImagingSource = field(default_factory=ImagingSource)
    priors: Priors = field(default_factory=Priors)
    audit: Audit = field(default_factory=Audit)
    oidc: Oidc = field(default_factory=Oidc)
    review: Review = field(default_factory=Review)
    capture: Capture = field(default_factory=Capture)
    syslog: Syslog = field(default_factory=Syslog)
    mllp: Mllp = field(default_factory=Mllp)
    tracing: Tracing = field(default_factory=Tracing)
    console: Console = field(default_factory=Console)
    gateway: Gateway = field(default_factory=Gateway)
    policy: PolicySettings = field(default_factory=PolicySettings)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    repositories: Mapping[str, Location] = field(default_factory=dict)
    imaging_sources: Mapping[str, Location] = field(default_factory=dict)
    domains: Mapping[str, NamedDomain] = field(default_factory=dict)
    senders: Mapping[str, Sender] = field(default_factory=dict)
    peers: Mapping[str, PeerEntry] = field(default_factory=dict)
    consent_policies: Mapping[str, ConsentPolicy] = field(default_factory=dict)
    communities: Mapping[str, Community] = field(default_factory=dict)
    merges: Mapping[str, Merge] = field(default_factory=dict)

    @property
    def affinity_domains(self) -> Mapping[str, NamedDomain]:
        """Every affinity domain by its name, the one at the bare paths first."""
        values = {f.name: getattr(self.domain, f.name) for f in dataclasses.fields(Domain)}
        bare = NamedDomain(**values, repository_unique_id=self.repository.unique_id, mllp_listen=self.mllp.listen)
        return {DEFAULT_DOMAIN: bare, **self.domains}

    @property
    def data(self) -> Path:
        return Path(self.server.data)

    @property
    def database_url(self) -> str:
        return self.server.database or f"sqlite:///{self.data.absolute() / 'xds.sqlite'}"

    @property
    def documents_folder(self) -> Path:
        """Where documents are kept, or staged on their way to an object store.

        Raises:
            Unusable: ``server.documents`` is neither a ``file:`` nor an ``s3:`` URL.
        """
        if not self.server.documents or self.server.documents.startswith("s3://"):
            return self.data / "documents"
        return folder_of("server.documents", self.server.documents)


def folder_of(name: str, url: str) -> Path:
    """The folder that a setting's URL is of.

    Raises:
        Unusable: it is of none.
    """
    if not url.startswith("file:"):
        raise Unusable(f"{name}: only file: and s3:// stores are known")
    return Path(url.removeprefix("file:").removeprefix("//"))


# Tables whose keys the operator chooses, and what each entry is; all else is a section.
TABLES: Mapping[str, type] = {
    "repositories": Location,
    "imaging_sources": Location,
    "domains": NamedDomain,
    "senders": Sender,
    "peers": PeerEntry,
    "consent_policies": ConsentPolicy,
    "communities": Community,
    "merges": Merge,
}
SECTIONS = tuple(f.name for f in dataclasses.fields(Settings) if f.name not in TABLES)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each one that is not a default came from, by its dotted name."""

    settings: Settings
    sources: Mapping[str, Source]

    def changed(self, values: Mapping[str, Any], source: Source) -> Loaded:
        """The same with some settings replaced, by their dotted names."""
        settings = self.settings
        for dotted, value in values.items():
            section, *entry, key = dotted.split(".")
            part = getattr(settings, section)
            if entry:
                (name,) = entry
                changed: Any = {**part, name: dataclasses.replace(part[name], **{key: value})}
            else:
                changed = dataclasses.replace(part, **{key: value})
            settings = dataclasses.replace(settings, **{section: changed})
        return Loaded(settings, {**self.sources, **dict.fromkeys(values, source)})


def flat(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    for section in SECTIONS:
        part = getattr(settings, section)
        for f in dataclasses.fields(part):
            yield f"{section}.{f.name}", getattr(part, f.name)
    for section, kind in TABLES.items():
        for name, entry in getattr(settings, section).items():
            if kind is Location:
                yield f"{section}.{name}", entry.url
                continue
            for f in dataclasses.fields(entry):
                yield f"{section}.{name}.{f.name}", getattr(entry, f.name)
