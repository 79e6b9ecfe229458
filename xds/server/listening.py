"""Where a deployment listens, and whether it may."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from xds.access.bearers import tokens_of
from xds.access.migrating import COMMAND, old_settings
from xds.access.senders import Senders
from xds.access.users import Users
from xds.audit.search.watching import Watcher
from xds.errors import Unusable
from xds.initiating import known_sources
from xds.initiating.witnesses import witness_at, witness_of
from xds.server import gateways
from xds.server.actors import code_sets
from xds.server.archives import intake
from xds.settings.addresses import address, feed, is_loopback
from xds.settings.sections import ACTORS, ROLES, Loaded, Settings
from xds.system.claims import check_free
from xds.wire import revocation
from xds.wire.cors import Cors
from xds.wire.proxied import Proxies
from xds.wire.sealing import certificate
from xds.wire.syslog import named

log = logging.getLogger("xds.server.listening")


def check_free_addresses(settings: Settings, *, after_a_kill: bool) -> None:
    """See that every address is free; after a kill the processes of the server before are given the time they have.

    Raises:
        Unusable: somebody else listens at one; the message says who.
    """
    domains = settings.affinity_domains.items() if "registry" in settings.server.actors else ()
    stream = {
        "server.listen": settings.server.listen,
        "imaging_source.cstore_listen": settings.imaging_source.cstore_listen,
    }
    stream |= {feed(name): domain.mllp_listen for name, domain in domains}
    stream |= {"syslog.tls": settings.syslog.tls, "syslog.tcp": settings.syslog.tcp}
    patience = settings.server.stop_seconds + 5 if after_a_kill else 0.0
    for name, listen in stream.items():
        if listen:
            check_free(name, address(listen), socket.SOCK_STREAM, patience)
    if settings.syslog.udp:
        check_free("syslog.udp", address(settings.syslog.udp), socket.SOCK_DGRAM, patience)


def without_person(settings: Settings) -> list[str]:
    """The addresses at which nobody says for whom something is sent, whatever ``xua.required`` says.

    HL7 v2, DIMSE and syslog have no place for it: there the peer alone is asked who it is.
    """
    listening = {feed(name): domain.mllp_listen for name, domain in settings.affinity_domains.items()}
    listening["imaging_source.cstore_listen"] = settings.imaging_source.cstore_listen
    listening |= {f"syslog.{kind}": getattr(settings.syslog, kind) for kind in ("tls", "tcp", "udp")}
    return [name for name, listen in listening.items() if listen]


def check_listen(loaded: Loaded) -> None:
    """Without mutual TLS the server listens on loopback only, unless the operator says so by name.

    Raises:
        Unusable: it would listen wider, or another setting keeps it from starting.
    """
    settings = loaded.settings
    unknown = [actor for actor in settings.server.actors if actor not in ACTORS]
    if unknown:
        raise Unusable(f"server.actors: there is no actor {', '.join(unknown)}; there are {', '.join(ACTORS)}")
    if not 0.1 <= settings.server.share <= 1:
        raise Unusable("server.share: from 0.1 to 1, the part that one peer may have")
    feeds = {feed(name): domain.mllp_listen for name, domain in settings.affinity_domains.items()}
    feeds["imaging_source.cstore_listen"] = settings.imaging_source.cstore_listen
    feeds["syslog.tls"] = settings.syslog.tls
    plain = {"syslog.tcp": settings.syslog.tcp, "syslog.udp": settings.syslog.udp}
    for name, listen in plain.items():
        if listen and not is_loopback(address(listen)[0]) and not settings.server.allow_open_listen:
            raise Unusable(
                f"{name} is {listen}: nobody is authenticated there; server.allow_open_listen = true says so"
            )
    if settings.syslog.tls and not (settings.tls.certificate and settings.tls.trusted):
        raise Unusable("syslog.tls needs tls.certificate, tls.key and tls.trusted")
    for name, listen in {"server.listen": settings.server.listen, **feeds}.items():
        if not listen:
            continue
        host, _ = address(listen)
        if not is_loopback(host) and not settings.tls.trusted and not settings.server.allow_open_listen:
            raise Unusable(
                f"{name} is {listen}: without mutual TLS (tls.certificate, tls.key, tls.trusted) "
                "xds listens on loopback only; server.allow_open_listen = true is your choice to make"
            )
    if settings.imaging_source.stow_rs or settings.imaging_source.cstore_listen:
        intake(settings)
    for domain in settings.affinity_domains.values():
        code_sets(domain)
    Senders(settings.senders)
    if old_settings(settings):
        log.warning("settings.old", extra={"settings": ", ".join(old_settings(settings)), "command": COMMAND})
    known_sources.check_settings(settings)
    gateways.check(settings)
    if settings.tls.crl or settings.tls.denied:
        revocation.watch(settings).check()
    for url in settings.audit.forward_to:
        named(url)
    for where in settings.audit.witnesses:
        witness_at(where, settings.tls, lambda: ())
    for text in settings.audit.witness_of:
        witness_of(text)
    if settings.xua.trusted or settings.xua.issuers:
        Users(settings.xua)
    elif settings.xua.required:
        raise Unusable("xua.required needs xua.trusted or xua.issuers: nobody could be believed")
    if settings.tokens.issuer:
        tokens_of(settings.tokens)
    unknown = sorted(set(settings.console.second_factor) - set(ROLES))
    if unknown:
        raise Unusable(f"console.second_factor: there is no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
    if settings.xua.required:
        log.warning("addresses.without_person", extra={"addresses": ", ".join(without_person(settings)) or "none"})
    Cors(settings.server.cors_origins)
    Proxies.of(settings)
    Watcher(settings.review)
    if settings.oidc.issuer and not settings.oidc.client_id:
        raise Unusable("oidc.issuer needs oidc.client_id")
    if settings.capture.certificate:
        certificate(Path(settings.capture.certificate))
