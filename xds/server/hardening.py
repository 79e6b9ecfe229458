"""The hardening list of a deployment: what keeps strangers out and evidence in, each with what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.access.quotas import Quota
from xds.errors import Unusable
from xds.server import expiry, leftovers, used
from xds.settings.addresses import address, is_loopback, listens
from xds.settings.secrets import shown
from xds.settings.sections import Loaded, Settings
from xds.store import accounts, apart
from xds.store.engine import make_engine, reading
from xds.system.at_rest import Rest, at_rest
from xds.wire import revocation


@dataclass(frozen=True, slots=True)
class Check:
    """One thing of the list; ``wrong`` is empty where nothing is."""

    name: str
    said: str
    wrong: str = ""
    fix: str = ""


def checks(loaded: Loaded, config: Path | None = None) -> Iterator[Check]:
    """All of them, in the order in which one would do something about them."""
    for check in _CHECKS:
        yield check(loaded)
    yield _secrets(loaded, config)


def _wide(settings: Settings) -> dict[str, str]:
    """Those that others than this machine reach."""
    return {name: listen for name, listen in listens(settings).items() if not is_loopback(address(listen)[0])}


def _tls(loaded: Loaded) -> Check:
    tls, wide = loaded.settings.tls, _wide(loaded.settings)
    if tls.certificate:
        return Check("tls", f"this node shows {Path(tls.certificate).name}")
    if not wide:
        return Check("tls", "only this machine reaches the node; a proxy before it brings TLS")
    fix = "Set tls.certificate and tls.key; for a pilot xds pki init and xds pki issue make them."
    return Check("tls", "", f"{', '.join(wide)}: spoken in the clear", fix)


def _trust(loaded: Loaded) -> Check:
    if loaded.settings.tls.trusted:
        return Check("trust", f"peers must present a certificate of {Path(loaded.settings.tls.trusted).name} (ITI-19)")
    if not _wide(loaded.settings):
        return Check("trust", "only this machine reaches the node")
    return Check("trust", "", "peers are not authenticated", "Set tls.trusted to the authorities of your partners.")


def _revocation(loaded: Loaded) -> Check:
    tls = loaded.settings.tls
    if not tls.trusted:
        return Check("revocation", "nobody is authenticated by certificate")
    if not (tls.crl or tls.denied):
        fix = "Set tls.crl to the authority's CRL, fetched every day, or tls.denied to a file that can be added to."
        return Check("revocation", "", "a stolen key works until its certificate expires", fix)
    try:
        revocation.watch(loaded.settings).check()
    except Unusable as problem:
        return Check("revocation", "", str(problem), "Put a good file there; it is read within seconds.")
    wrong = "; ".join(revocation.current().troubles())
    return Check("revocation", f"{len(tls.crl)} CRLs, {len(tls.denied)} denials", wrong, "Fetch a newer CRL.")


def _expiry(loaded: Loaded) -> Check:
    wrong = "; ".join(filter(None, (one.said for one in expiry.endings(loaded.settings))))
    fix = "Put a new file in place of the old: it is read within seconds, without a restart."
    return Check("expiry", "certificates, authorities and CRLs hold for a while", wrong, fix)


def _open(loaded: Loaded) -> Check:
    settings = loaded.settings
    mutual = bool(settings.tls.certificate and settings.tls.trusted)
    plain = {name: at for name, at in _wide(settings).items() if not mutual or name in ("syslog.tcp", "syslog.udp")}
    if plain:
        said = ", ".join(f"{name} {at}" for name, at in plain.items())
        fix = "Use mutual TLS (syslog.tls for syslog.tcp and .udp), or let only a firewall's chosen ones through."
        return Check("listeners", "", f"anybody may speak to {said}", fix)
    return Check("listeners", f"{len(listens(settings))} listened on, none of them open")


def _open_by_name(loaded: Loaded) -> Check:
    if loaded.settings.server.allow_open_listen:
        fix = "Take server.allow_open_listen out: a start then refuses what is open by mistake."
        return Check("allow_open_listen", "", "a listener may be open, and nobody is told", fix)
    return Check("allow_open_listen", "not set: a start refuses open listeners")


def _public_url(loaded: Loaded) -> Check:
    server = loaded.settings.server
    if not server.public_url and _wide(loaded.settings).get("server.listen"):
        fix = "Set server.public_url to what peers call this node."
        return Check("public_url", "", "addresses in WSDLs and records are those that a caller names", fix)
    host = urlsplit(server.public_url).hostname or "localhost"
    if server.public_url.startswith("http:") and not is_loopback(host):
        return Check("public_url", "", "peers are told to come by http", "Set server.public_url to an https address.")
    return Check("public_url", server.public_url or "only this machine calls the node")


def _origins(loaded: Loaded) -> Check:
    if "*" in loaded.settings.server.cors_origins:
        fix = "Name the origins of your viewers in server.cors_origins."
        return Check("cors_origins", "", "any page in a user's browser may read images", fix)
    return Check("cors_origins", f"{len(loaded.settings.server.cors_origins)} origins named")


def _people(loaded: Loaded) -> Check:
    xua = loaded.settings.xua
    if xua.required and (xua.trusted or xua.issuers):
        return Check("xua", "messages must say for whom they are sent (ITI-40)")
    fix = "Set xua.issuers to your identity providers, and xua.required when all partners send assertions."
    return Check("xua", "", "a message need not say for whom it is sent", fix)


def _policy(loaded: Loaded) -> Check:
    policy = loaded.settings.policy
    if policy.mode == "watch":
        fix = 'Set policy.mode = "enforce" when the records show no refusal that should not be.'
        return Check("policy", "", "what the policy refuses is recorded, and done all the same", fix)
    if policy.mismatch == "mark":
        fix = 'Set policy.mismatch = "refuse" when partners use their own names.'
        return Check("policy", "", "who calls itself by another's name is marked, and served", fix)
    return Check("policy", "enforced")


@contextmanager
def _database(loaded: Loaded) -> Iterator[sa.Connection]:
    """The node's database, read once."""
    engine = make_engine(loaded.settings.database_url, connections=1)
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _unread(name: str, problem: SQLAlchemyError) -> Check:
    said = f"the database cannot be read: {type(problem).__name__}"
    return Check(name, "", said, "Set server.database to one that answers.")


def _accounts(loaded: Loaded) -> Check:
    fix = "Make one: xds user add NAME --role auditor"
    try:
        with _database(loaded) as connection:
            found = accounts.all_of(connection) if sa.inspect(connection).has_table("account") else []
    except SQLAlchemyError as problem:
        return _unread("accounts", problem)
    if not any(one.role == "auditor" for one in found):
        return Check("accounts", "", "nobody can sign in to read the audit log", fix)
    return Check("accounts", f"{len(found)} accounts, an auditor among them")


def _apart(loaded: Loaded) -> Check:
    """What waits for a person."""
    if not loaded.settings.imaging_source.folder:
        return Check("set apart", "no images are taken in here")
    try:
        with _database(loaded) as connection:
            cases, _ = apart.undecided(connection) if sa.inspect(connection).has_table("apart") else (0, 0)
    except SQLAlchemyError as problem:
        return _unread("set apart", problem)
    if cases:
        fix = "Decide at /console/apart, or by xds apart list, take and discard."
        was = "1 case was" if cases == 1 else f"{cases} cases were"
        return Check("set apart", "", f"{was} sent against somebody's study, and nobody has decided", fix)
    return Check("set apart", "nothing waits for a decision")


def _modes(loaded: Loaded) -> Check:
    wider = leftovers.wider(loaded.settings)
    if wider:
        more = f" and {len(wider) - 3} more" if len(wider) > 3 else ""
        fix = "chmod -R go= on the data folder, and on files of keys; processes and commands write 0600 (umask 077)."
        return Check("files", "", f"others on this machine read {', '.join(map(str, wider[:3]))}{more}", fix)
    return Check("files", "data and keys are this account's alone; what is written is 0600 (umask 077)")


def _root(_loaded: Loaded) -> Check:
    if os.geteuid() == 0:
        return Check(
            "account", "", "this is run as root", "Give the service an account of its own (deploy/systemd/xds.service)."
        )
    return Check("account", "not root")


def _at_rest(loaded: Loaded) -> Check:
    """What documents are encrypted for lies beside them, too: who, when and what in database and log, and images."""
    settings = loaded.settings
    if not settings.server.documents_key:
        return Check("at rest", "encryption is not asked for (server.documents_key)")
    data = settings.data
    kept = {"data": data, "audit": data / "audit", "spool": data / "spool", "temporary files": data / "run" / "tmp",
            "cache of images": data / "cache"}  # fmt: skip
    if settings.imaging_source.folder:
        kept["images"] = Path(settings.imaging_source.folder)
    try:
        found = {name: at_rest(path) for name, path in kept.items()}
    except OSError as problem:
        return Check("at rest", "", f"cannot be looked at: {problem.strerror}", "Run it as the service's account.")
    clear = [name for name, rest in found.items() if rest is Rest.CLEAR]
    if clear:
        fix = "Put them where the file system or the disk encrypts (deploy/OPERATIONS.md, Encrypt at rest)."
        return Check("at rest", "", f"documents are encrypted, and beside them in clear: {', '.join(clear)}", fix)
    ways = sorted({rest.value for rest in found.values()})
    return Check("at rest", f"documents by their own keys, all else {', or '.join(ways)}")


def _peers(loaded: Loaded) -> Check:
    """Where we send to in the clear."""
    settings = loaded.settings
    urls = [settings.console.registry_url, settings.repository.registry_url, settings.imaging_source.publish_to,
            settings.imaging_source.publish_registry, settings.imaging_source.pix, settings.imaging_source.pixm,
            settings.imaging_source.dicomweb, *settings.audit.forward_to, *settings.audit.witnesses,
            *settings.console.fetch_from, *(peer.url for peer in settings.repositories.values()),
            *(peer.url for peer in settings.imaging_sources.values()),
            *(url for one in settings.communities.values()
              for url in (*one.query, *one.retrieve, *one.images, *one.discover, one.pix, one.pixm)),
            *(url for one in settings.merges.values() for url in (one.registry, one.pix, one.pixm))]  # fmt: skip
    plain = [shown("", url) for url in urls if urlsplit(url).scheme in ("http", "mllp", "tcp", "udp")
             and not is_loopback(urlsplit(url).hostname or "")]  # fmt: skip
    if plain:
        fix = "Call them by https, mllps or tls: what is sent holds patients' names."
        return Check("peers", "", f"in the clear to {', '.join(dict.fromkeys(plain))}", fix)
    return Check("peers", "nobody beyond this machine is called in the clear")


def _evidence(loaded: Loaded) -> Check:
    audit = loaded.settings.audit
    if audit.witnesses or audit.forward_to:
        return Check("evidence", "somebody else holds the audit log's checkpoints, or its records")
    fix = "Set audit.witnesses to another node's /audit/witness, or audit.forward_to to an audit repository."
    return Check("evidence", "", "who has this machine can put another audit log in the place of this one", fix)


def _clock(loaded: Loaded) -> Check:
    if loaded.settings.audit.time_server:
        return Check("clock", f"compared with {loaded.settings.audit.time_server}")
    return Check("clock", "", "nobody notices a wrong clock", "Set audit.time_server (Consistent Time, ITI-1).")


def _secrets(loaded: Loaded, config: Path | None) -> Check:
    """Passwords in a settings file are where backups and version control find them."""
    found = dict[str, str]()
    for name in ("server.database", "oidc.client_secret", "audit.key"):
        section, _, key = name.partition(".")
        value = getattr(getattr(loaded.settings, section), key)
        if shown(name, value) != value and loaded.sources.get(name) == "file":
            found[name] = f"XDS_{name.replace('.', '_').upper()}"
    if found:
        fix = f"Give {', '.join(found.values())} in the service's environment; PostgreSQL takes a certificate, too."
        where = f" of {config}" if config else ""
        return Check("secrets", "", f"passwords stand in the settings file{where}: {', '.join(found)}", fix)
    return Check("secrets", "none stands in the settings file")


def _quotas(loaded: Loaded) -> Check:
    """Not wrong without any: how much is usual in a region its operator sees first, and care is not to stop for it."""
    quota = Quota(loaded.settings.server.peer_records, loaded.settings.server.peer_bytes)
    try:
        with _database(loaded) as connection:
            found = used.today(connection) if sa.inspect(connection).has_table("peer_use") else {}
    except SQLAlchemyError:
        found = {}  # said of the accounts
    near = used.near(found, quota)
    if near:
        fix = "Ask the partner what it sends; raise server.peer_records or server.peer_bytes if it is right."
        return Check("quotas", "", f"nearly or wholly used up today by {', '.join(near[:5])}", fix)
    most = sorted(found.items(), key=lambda item: -item[1].size_bytes)[:1]
    today = "".join(f"; most today: {peer}, {use.records:,} records, {use.size_bytes:,} bytes" for peer, use in most)
    kinds = [f"{count:,} {what}" for count, what in ((quota.records, "records"), (quota.size_bytes, "bytes")) if count]
    return Check("quotas", f"{' and '.join(kinds) or 'none is set'} for a peer and day{today}")


_CHECKS: tuple[Callable[[Loaded], Check], ...] = (
    _tls, _trust, _revocation, _expiry, _open, _open_by_name, _public_url, _origins, _people, _policy, _accounts,
    _apart, _modes, _at_rest, _root, _peers, _evidence, _clock, _quotas,
)  # fmt: skip
