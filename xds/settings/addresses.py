"""Where a deployment listens, whether anybody but its own machine can reach it, and what other places are called."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from xds.errors import Unusable
from xds.settings.sections import DEFAULT_DOMAIN, Settings


def address(listen: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        Unusable: not of the form HOST:PORT.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Unusable("an address to listen on is HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, for itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def feed(domain: str) -> str:
    """The setting of where an affinity domain takes ITI-8."""
    return "mllp.listen" if domain == DEFAULT_DOMAIN else f"domains.{domain}.mllp_listen"


def listens(settings: Settings) -> dict[str, str]:
    """Where it listens, by the name of the setting."""
    found = {"server.listen": settings.server.listen}
    found |= {feed(name): domain.mllp_listen for name, domain in settings.affinity_domains.items()}
    found["imaging_source.cstore_listen"] = settings.imaging_source.cstore_listen
    found |= {f"syslog.{kind}": getattr(settings.syslog, kind) for kind in ("tls", "tcp", "udp")}
    return {name: listen for name, listen in found.items() if listen}


def stands_alone(settings: Settings) -> bool:
    """Whether only its own machine reaches it, and no certificate tells who there does: it is who runs it.

    Behind a proxy that hands certificates on it does not, wherever it listens.
    """
    inside = all(is_loopback(address(listen)[0]) for listen in listens(settings).values())
    return inside and not settings.tls.trusted and not settings.server.proxy_certificate


def names_of_communities(settings: Settings) -> dict[str, str]:
    """What other communities are called: as the settings name them, by homeCommunityId."""
    return {f"urn:oid:{home}": name for name, one in settings.communities.items() for home in one.home_community_ids}


def names_of_places(settings: Settings) -> dict[str, str]:
    """What repositories, sources and other communities are called: by name or host, this one by its own name."""
    named = {uid: peer.name or urlsplit(peer.url).netloc for table in (settings.repositories, settings.imaging_sources)
             for uid, peer in table.items()}  # fmt: skip
    here = settings.audit.enterprise_site_id or "here"
    return (
        names_of_communities(settings)
        | named
        | {settings.repository.unique_id: here, settings.imaging_source.retrieve_location_uid: here}
    )
