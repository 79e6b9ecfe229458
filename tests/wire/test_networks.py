"""Whether an address is in a network that the settings name."""

from __future__ import annotations

import pytest

from xds.errors import Unusable
from xds.wire.networks import networks_of, within


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("192.0.2.7", "192.0.2.0/24", True), ("192.0.3.7", "192.0.2.0/24", False), ("192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True), ("::ffff:192.0.3.7", "192.0.2.0/24", False),
        ("2001:db8::7", "2001:db8::/32", True), ("2001:db8::7", "192.0.2.0/24", False), ("pacs", "192.0.2.0/24", False),
        ("", "0.0.0.0/0", False),
    ],
)  # fmt: skip
def test_an_address_is_in_a_network_however_a_socket_writes_it(address: str, network: str, inside: bool) -> None:
    assert within(address, networks_of("x", [network])) is inside


def test_what_is_no_network_is_named_by_its_setting() -> None:
    with pytest.raises(Unusable, match=r"peers\.x\.addresses"):
        networks_of("peers.x.addresses", ["10.1.0.0/33"])
