"""Which names this node answers to: a page of a browser whose name was made to lead here (DNS rebinding) gets nothing.

RFC 9110: 15.5.20, 421 Misdirected Request.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xds.settings.sections import Settings
from xds.wire.certificates import from_pem
from xds.wire.http import HttpReply, TextReply

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_EVERY = frozenset({"0.0.0.0", "::"})  # noqa: S104  listened on: all of this machine's  # nosec B104


class Hosts:
    """The names and addresses of one node."""

    def __init__(self, names: Iterable[str], *, listens: str = "") -> None:
        """``listens`` is the host that is listened on."""
        given = {name.lower().strip("[]") for name in (*names, listens) if name}
        self._every, self._names = bool(given & _EVERY), frozenset(given - _EVERY)

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """Those that the settings name, and those in the node's own certificate."""
        server = settings.server
        public = urlsplit(server.public_url).hostname or ""
        own = _certified(settings.tls.certificate)
        return cls([public, *own, *server.hosts], listens=server.listen.rpartition(":")[0])

    def answers(self, host: str) -> bool:
        """Whether a Host header names this node, with any port."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        return name == "localhost" or name in self._names or self._is_own(name)

    def refusal(self, environ: Mapping[str, Any]) -> HttpReply | None:
        """The answer to who means another; None where that is this node.  HTTP/1.0 may name none."""
        if self.answers(environ.get("HTTP_HOST", "localhost")):
            return None
        said = "This node does not go by that name; server.public_url and server.hosts say by which it does.\n"
        return TextReply(421, "text/plain; charset=utf-8", said).http()

    def _is_own(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        if address.is_unspecified:
            return False
        return address.is_loopback or str(address) in self._names or (self._every and _is_of_this_machine(str(address)))


@functools.lru_cache(256)
def _is_of_this_machine(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _certified(file: str) -> list[str]:
    """The host names and addresses that a certificate is for."""
    try:
        names = from_pem(Path(file).read_text("latin-1")).alternative_names if file else ()
    except (OSError, ValueError):
        return []
    return [name for kind, _, name in (one.partition(":") for one in names) if kind in ("dns", "ip")]
