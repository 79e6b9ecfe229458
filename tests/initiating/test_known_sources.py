"""Only sources of the settings are called, whatever address a manifest names."""

from __future__ import annotations

import pytest

from xds.errors import Unusable
from xds.initiating import known_sources
from xds.settings.sections import Console, Location, Settings


def settings(*fetch_from: str) -> Settings:
    peers = {
        "1.2.3": Location("https://images.north.example/imaging-source"),
        "1.2.4": Location("http://10.0.0.7:8080/x"),
    }
    return Settings(console=Console(fetch_from=fetch_from), imaging_sources=peers)


GIVEN = settings("pacs.south.example", "west.example:8443", "http://10.0.0.9:8080")


@pytest.mark.parametrize("url", [
    "https://images.north.example/dicomweb", "https://IMAGES.north.example:443/x", "http://10.0.0.7:8080/dicomweb",
    "https://pacs.south.example/dicomweb", "https://west.example:8443/dicomweb", "http://10.0.0.9:8080/dicomweb",
])  # fmt: skip
def test_who_is_known_is_called(url: str) -> None:
    known_sources.check(url, GIVEN)


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:8080/latest/meta-data", "http://169.254.169.254/latest/meta-data", "https://evil.example/x",
    "http://images.north.example/dicomweb", "http://pacs.south.example/dicomweb", "https://west.example/dicomweb",
    "https://10.0.0.9:8080/dicomweb", "https://images.north.example.evil.example/x", "https://evil.example#@west.example",
    "https://pacs.south.example@evil.example/x", "https://me:secret@pacs.south.example/x", "file:///etc/passwd",
    "ftp://pacs.south.example/x", "//pacs.south.example/x", "https://", "", "no url", "https://[::1", "https://x:99999/",
    "https://evil.example\\@pacs.south.example/x",
])  # fmt: skip
def test_and_nobody_else(url: str) -> None:
    with pytest.raises(Unusable):
        known_sources.check(url, GIVEN)


def test_without_a_list_only_the_settings_own_sources_are_called() -> None:
    known_sources.check("https://images.north.example/dicomweb", settings())
    with pytest.raises(Unusable, match=r"console\.fetch_from names it: pacs\.south\.example"):
        known_sources.check("https://pacs.south.example/dicomweb", settings())


@pytest.mark.parametrize("entry", ["", "https://", "ftp://x", "a b@c", "west.example/path", "x:99999"])
def test_an_entry_that_means_nothing_is_a_mistake(entry: str) -> None:
    with pytest.raises(Unusable, match=r"console\.fetch_from"):
        known_sources.check_settings(settings(entry))
