"""Which addresses that somebody else's manifest names are called: those of the settings, and no others.

A manifest is anybody's who may publish; an address in it may be a service of our own network that only trusts us.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from xds.errors import Unusable
from xds.settings.sections import Settings

_PORTS = {"https": 443, "http": 80}

_Origin = tuple[str, str, int]
"""Scheme, host and port."""


def check(url: str, settings: Settings) -> None:
    """See that an address from a manifest may be called.

    Raises:
        Unusable: it may not.
    """
    origin = _origin(url)
    if origin is None:
        raise Unusable("the manifest names no address of a WADO-RS service that can be called")
    if origin not in _known(settings):
        scheme, host, port = origin
        named = f"{host}:{port}" if port != _PORTS[scheme] else host
        said = f"{scheme}://{named}" if scheme == "http" else named
        raise Unusable(
            f"the manifest's source is at a host that is not known here; console.fetch_from names it: {said}"
        )


def check_settings(settings: Settings) -> None:
    """See that the settings can be understood.

    Raises:
        Unusable: an entry of ``console.fetch_from`` is malformed.
    """
    list(_named(settings))


def _known(settings: Settings) -> set[_Origin]:
    """Of sources of the settings, by whatever scheme they have there, and hosts that are named: by https, unless the
    name begins with ``http://``."""
    sources = (_origin(peer.url) for peer in settings.imaging_sources.values())
    return {*filter(None, sources), *_named(settings)}


def _named(settings: Settings) -> Iterator[_Origin]:
    for entry in settings.console.fetch_from:
        origin = _origin(entry if "://" in entry else f"https://{entry}")
        if origin is None or urlsplit(entry if "://" in entry else f"https://{entry}").path not in ("", "/"):
            raise Unusable("console.fetch_from: each is HOST or HOST:PORT, and http:// before it where there is no TLS")
        yield origin


def _origin(url: str) -> _Origin | None:
    """Where an address leads; None where it is none, or holds more than an address."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not port or not parts.hostname or "@" in parts.netloc or "\\" in url:
        return None
    return parts.scheme, parts.hostname.lower().rstrip("."), port
