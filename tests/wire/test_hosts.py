"""Only names of this node are answered to: DNS rebinding finds nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds.settings.sections import Server, Settings, Tls
from xds.wire.authority import Authority
from xds.wire.hosts import Hosts


def hosts(**server: object) -> Hosts:
    return Hosts.of(Settings(server=Server(**server)))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [
    "localhost", "localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1:1", "127.0.0.9", "[::1]:8080",
    "xds.north.example", "XDS.north.example:443", "10.1.0.5:8443", "other.example",
])  # fmt: skip
def test_a_node_goes_by_the_names_that_it_was_given_and_by_loopback(host: str) -> None:
    given = hosts(public_url="https://xds.north.example/x", listen="10.1.0.5:8443", hosts=("other.example",))
    assert given.answers(host)


@pytest.mark.parametrize("host", [
    "evil.example", "xds.north.example.evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.0.6",
    "", "localhost@evil.example", "localhost evil", "localhost:", "localhost:x", "[::1", "127.1", "2130706433",
    "a" * 100_000,
])  # fmt: skip
def test_and_by_no_other(host: str) -> None:
    given = hosts(public_url="https://xds.north.example/x", listen="10.1.0.5:8443", hosts=("other.example",))
    assert not given.answers(host)


def test_where_all_addresses_are_listened_on_those_of_this_machine_are_answered_to() -> None:
    assert not hosts(listen="0.0.0.0:8080").answers("192.0.2.1")
    assert hosts(listen="0.0.0.0:8080").answers("127.0.0.1")
    assert not hosts(listen="0.0.0.0:8080").answers("0.0.0.0")  # noqa: S104


def test_what_the_own_certificate_is_for_is_answered_to(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "pilot", 1)
    issued = authority.issue("node", ["node.example"], ["10.0.0.1"])
    given = Hosts.of(Settings(tls=Tls(certificate=str(issued.certificate_file))))
    assert given.answers("node.example:8443")
    assert given.answers("10.0.0.1")
    assert not given.answers("node.example.org")
