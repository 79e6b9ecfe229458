"""IP networks that settings name, and whether an address is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from xds.errors import Unusable

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(setting: str, texts: Iterable[str]) -> tuple[Network, ...]:
    """What a setting names, an address being a network of its own.

    Raises:
        Unusable: one is neither.
    """
    try:
        return tuple(map(ipaddress.ip_network, texts))
    except ValueError:
        raise Unusable(f"{setting}: each is an IP address, or a network such as 10.1.0.0/16") from None


def within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks; what is no address is in none.

    An IPv4 address is that also where a socket of both kinds calls it ``::ffff:192.0.2.7``.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
