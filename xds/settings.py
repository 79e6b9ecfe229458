"""Every setting, with its unit and default; read from ``xds.toml`` and ``XDS_…`` variables.

A setting is named by section and key, ``server.listen``; its variable is ``XDS_SERVER_LISTEN``.
A key that is not here is an error.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from xds.errors import Unusable

Source = Literal["default", "file", "environment", "command line", "made at first start"]


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, what it keeps and how long it waits."""

    listen: str = "127.0.0.1:8080"  # HOST:PORT
    public_url: str = ""  # base URL that peers see; empty: the request's own Host
    allow_open_listen: bool = False  # listen beyond loopback without mutual TLS: the operator's choice, by name
    data: str = "xds-data"  # folder of everything that this deployment keeps
    database: str = ""  # SQLAlchemy URL; empty: SQLite in the data folder
    documents: str = ""  # file: URL of the document store; empty: in the data folder
    actors: tuple[str, ...] = ("registry", "repository", "imaging-source")  # which it plays
    workers: int = 1  # web processes; SQLite has one writer, so one is right there
    threads: int = 8  # threads a web process keeps for short requests
    upload_threads: int = 8  # threads a web process keeps for long request bodies
    header_seconds: float = 10.0  # a request's header, and a TLS handshake, must be whole by then
    stall_seconds: float = 10.0  # a peer may be silent this long in a body or a reply
    least_bytes_per_second: int = 1024  # a body or reply slower than this, after stall_seconds, is broken off
    stop_seconds: float = 30.0  # requests in flight are given this long at a stop
    root_part_bytes: int = 32 * 1024 * 1024  # SOAP envelope, inline base64 included
    part_bytes: int = 16 * 1024 * 1024 * 1024  # one attachment
    parts: int = 10_000  # attachments in a message


@dataclass(frozen=True, slots=True)
class Tls:
    """ITI-19 Authenticate Node in the process itself; empty: none."""

    certificate: str = ""  # PEM file of this node
    key: str = ""  # PEM file of its private key
    trusted: str = ""  # PEM file of the certificates and authorities that peers must present


@dataclass(frozen=True, slots=True)
class Domain:
    """The XDS affinity domain."""

    assigning_authorities: tuple[str, ...] = ()  # OIDs of patient identifiers; empty: one is made
    home_community_id: str = ""  # OID; empty: one is made
    codes: str = ""  # TOML file of the codes that the domain uses, read again when it changes; empty: any code
    codes_mode: Literal["strict", "warn", "off"] = "strict"  # another code: refused, warned of, or let pass
    patients: Literal["feed", "open"] = "feed"  # open: a patient is made by its first accepted submission


@dataclass(frozen=True, slots=True)
class Registry:
    """The Document Registry."""

    most_results: int = 25_000  # objects in a LeafClass answer; over it XDSTooManyResults
    unknown_patient: Literal["empty", "refused"] = "empty"  # a query for one: nothing found, or XDSUnknownPatientId


@dataclass(frozen=True, slots=True)
class Repository:
    """The Document Repository."""

    unique_id: str = ""  # OID; empty: one is made
    registry_url: str = ""  # where ITI-42 goes; empty: the registry in this process
    registry_seconds: float = 60.0  # the longest wait for its answer
    streams: int = 4  # ITI-43 answers under way at once, a process; over it XDSRepositoryBusy


@dataclass(frozen=True, slots=True)
class ImagingSource:
    """The Imaging Document Source."""

    folder: str = ""  # tree of DICOM files
    retrieve_location_uid: str = ""  # OID of this source; empty: one is made
    retrieve_ae_title: str = "XDS"  # written into manifests
    retrieve_url: str = ""  # base URL of WADO-RS, written into manifests; empty: none
    timezone: str = "UTC"  # of DICOM times without an offset of their own
    refresh_seconds: float = 30.0  # how often the folder is looked through for what is new
    processes: int = 1  # image processes
    streams: int = 8  # RAD-69 answers under way at once, an image process; over it XDSRepositoryBusy


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log."""

    source_id: str = "xds"  # AuditSourceID of this node
    enterprise_site_id: str = ""  # AuditEnterpriseSiteID
    certificate: str = ""  # PEM file that checkpoints are verified by; empty: one is made
    key: str = ""  # PEM file that signs them
    checkpoint_seconds: float = 1.0  # a record is under a signed checkpoint about this long after


@dataclass(frozen=True, slots=True)
class Syslog:
    """ITI-20 in: HOST:PORT each; not part of this version."""

    tls: str = ""  # RFC 5425
    tcp: str = ""  # RFC 6587, octet counting
    udp: str = ""  # RFC 5426


@dataclass(frozen=True, slots=True)
class Mllp:
    """ITI-8 in, over MLLP; with ``[tls]`` set, over mutual TLS; empty: off."""

    listen: str = ""  # HOST:PORT; 2575 is HL7's
    namespaces: tuple[str, ...] = ()  # NAMESPACE=OID: the OID of identifiers that come with a namespace alone


@dataclass(frozen=True, slots=True)
class Peer:
    """Where another actor is, by its OID in ``[repositories]`` or ``[imaging_sources]``."""

    url: str
    certificate: str = ""  # PEM file that we present there
    key: str = ""
    trusted: str = ""  # PEM file of what its certificate must come from


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    server: Server = field(default_factory=Server)
    tls: Tls = field(default_factory=Tls)
    domain: Domain = field(default_factory=Domain)
    registry: Registry = field(default_factory=Registry)
    repository: Repository = field(default_factory=Repository)
    imaging_source: ImagingSource = field(default_factory=ImagingSource)
    audit: Audit = field(default_factory=Audit)
    syslog: Syslog = field(default_factory=Syslog)
    mllp: Mllp = field(default_factory=Mllp)
    repositories: Mapping[str, Peer] = field(default_factory=dict)
    imaging_sources: Mapping[str, Peer] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return Path(self.server.data)

    @property
    def database_url(self) -> str:
        return self.server.database or f"sqlite:///{self.data.absolute() / 'xds.sqlite'}"

    @property
    def documents_folder(self) -> Path:
        """Where documents are kept.

        Raises:
            Unusable: ``server.documents`` is not a ``file:`` URL.
        """
        if not self.server.documents:
            return self.data / "documents"
        if not self.server.documents.startswith("file:"):
            raise Unusable("server.documents: only file: stores are known to this version")
        return Path(self.server.documents.removeprefix("file:").removeprefix("//"))


SECTIONS = tuple(f.name for f in dataclasses.fields(Settings) if f.name not in ("repositories", "imaging_sources"))
PEERS = ("repositories", "imaging_sources")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each one that is not a default came from, by its dotted name."""

    settings: Settings
    sources: Mapping[str, Source]

    def changed(self, values: Mapping[str, Any], source: Source) -> Loaded:
        """The same with some settings replaced, by their dotted names."""
        settings = self.settings
        for dotted, value in values.items():
            section, key = dotted.split(".", 1)
            part: dict[str, Any] = {section: dataclasses.replace(getattr(settings, section), **{key: value})}
            settings = dataclasses.replace(settings, **part)
        return Loaded(settings, {**self.sources, **dict.fromkeys(values, source)})


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Defaults, then the file, then ``XDS_…`` variables.

    Raises:
        Unusable: the file cannot be read, a key is unknown, or a value is of the wrong kind.
    """
    loaded = Loaded(Settings(), {})
    if file is not None:
        loaded = _with_file(loaded, file)
    return _with_environment(loaded, environment)


def flat(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    for section in SECTIONS:
        part = getattr(settings, section)
        for f in dataclasses.fields(part):
            yield f"{section}.{f.name}", getattr(part, f.name)
    for section in PEERS:
        for oid, peer in getattr(settings, section).items():
            yield f"{section}.{oid}", peer.url


def _with_file(loaded: Loaded, file: Path) -> Loaded:
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise Unusable(f"{file}: {problem}") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise Unusable(f"{file}: {section} is no section")
        if section in PEERS:
            peers = {oid: _peer(f"{section}.{oid}", entry) for oid, entry in table.items()}
            changes: dict[str, Any] = {section: peers}
            settings = dataclasses.replace(loaded.settings, **changes)
            loaded = Loaded(settings, {**loaded.sources, **dict.fromkeys((f"{section}.{o}" for o in peers), "file")})
            continue
        if section not in SECTIONS:
            raise Unusable(f"{file}: there is no section {section}")
        for key, value in table.items():
            values[f"{section}.{key}"] = _checked(f"{section}.{key}", value, str(file))
    return loaded.changed(values, "file")


def _peer(dotted: str, entry: Any) -> Peer:
    if isinstance(entry, str):
        return Peer(entry)
    known = {f.name for f in dataclasses.fields(Peer)}
    texts = isinstance(entry, dict) and all(key in known and isinstance(text, str) for key, text in entry.items())
    if not texts or "url" not in entry:
        raise Unusable(f"{dotted}: a URL, or a table of url, certificate, key, trusted")
    return Peer(**entry)


def _with_environment(loaded: Loaded, environment: Mapping[str, str]) -> Loaded:
    known = {f"XDS_{dotted.replace('.', '_').upper()}": dotted for dotted, _ in flat(Settings())}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("XDS_"):
            continue
        if variable not in known:
            raise Unusable(f"environment: {variable} is no setting")
        dotted = known[variable]
        values[dotted] = _checked(dotted, _from_text(_kind(dotted), text), variable)
    return loaded.changed(values, "environment")


def _kind(dotted: str) -> Any:
    section, _, key = dotted.partition(".")
    if section not in SECTIONS:
        raise Unusable(f"{dotted}: there is no section {section}")
    hints = get_type_hints(type(getattr(Settings(), section)))
    if key not in hints:
        raise Unusable(f"{dotted}: there is no such setting")
    return hints[key]


def _from_text(kind: Any, text: str) -> Any:
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _checked(dotted: str, value: Any, where: str) -> Any:
    kind = _kind(dotted)
    if get_origin(kind) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    raise Unusable(f"{where}: {dotted} cannot be {value!r}")
