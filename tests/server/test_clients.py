"""Whom this node calls, and as whom: a bare URL uses [tls], a table what it says itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xds.cli.client import desk
from xds.server import clients
from xds.settings.configuration import load
from xds.settings.sections import Location, Tls

OURS = Tls(certificate="me.crt", key="me.key", trusted="all.crt")
URL = "https://north.example/repository"


@pytest.mark.parametrize(
    ("peer", "uses"),
    [
        (Location(URL), ("me.crt", "me.key", "all.crt")),
        (Location(URL, name="North"), ("me.crt", "me.key", "all.crt")),
        (Location(URL, "other.crt", "other.key", "north.crt"), ("other.crt", "other.key", "north.crt")),
        (Location(URL, trusted="north.crt"), ("", "", "north.crt")),
        (Location(URL, certificate="other.pem"), ("other.pem", "", "")),
    ],
)
def test_a_peer_that_says_nothing_of_tls_is_called_with_our_own(peer: Location, uses: tuple[str, str, str]) -> None:
    found = peer.or_by(OURS)
    assert (found.certificate, found.key, found.trusted) == uses
    assert (found.url, found.name) == (peer.url, peer.name)


SETTINGS = f"""
[tls]
certificate = "me.crt"
key = "me.key"
trusted = "all.crt"
[repositories]
"1.2.3" = "{URL}"
[imaging_sources]
"1.2.4" = {{ url = "{URL}", trusted = "north.crt" }}
"""


def test_the_server_and_the_commands_call_the_peers_of_the_settings_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "xds.toml"
    config.write_text(SETTINGS)
    called = list[tuple[str, dict[str, str]]]()

    def a_client(url: str, *, vouched: object, **tls: str) -> None:
        assert vouched  # for whoever has signed in
        called.append((url, tls))

    monkeypatch.setattr(clients, "Client", a_client)
    found = clients.peers(load(config, {}).settings, lambda _: None, "http://x")
    found.repository("1.2.3")
    found.source("1.2.4")
    assert called == [
        (URL, {"certificate": "me.crt", "key": "me.key", "trusted": "all.crt"}),
        (URL, {"certificate": "", "key": "", "trusted": "north.crt"}),
    ]
    with desk(config, str(tmp_path / "data"), None) as at:
        of_commands: list[Any] = [at.repository("1.2.3"), at.imaging_source("1.2.4")]
    assert [(p.url, {"certificate": p.certificate, "key": p.key, "trusted": p.trusted}) for p in of_commands] == called
