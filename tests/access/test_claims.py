"""What a message says of itself is held to what the peer's entry has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from tests.imaging.images import a_manifest
from xds.access.claims import findings
from xds.access.gate import Granted
from xds.access.peers import Peer
from xds.imaging import kos
from xds.imaging.manifest import Manifest
from xds.settings.access import PeerEntry
from xds.wire.spool import Spooled

HERE, ELSEWHERE = "1.2.3.40", "1.2.3.41"


def said(path: Path, data: bytes, *allowed: str, roles: tuple[str, ...] = ("imaging-document-source",)) -> list[str]:
    """What is found in a submission of one document, by a peer with these Retrieve Location UIDs."""
    path.write_bytes(data)
    sha1, sha256 = hashlib.sha1(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()
    peer = Peer("pacs", PeerEntry(roles=roles, retrieve_locations=allowed))
    spooled = Spooled(path, len(data), sha1, sha256)
    body = etree.Element("submission")
    return [one.context for one in findings(Granted(peer, "x"), "RAD-68", body, [spooled])]


def at(*locations: str) -> Manifest:
    """A manifest with a series at each place."""
    manifest = a_manifest()
    (series, *_) = manifest.series
    placed = (replace(series, series_instance_uid=f"1.2.7.{n}", retrieve_location_uid=one, instances=tuple(
        replace(instance, sop_instance_uid=f"1.2.7.{n}.{m}") for m, instance in enumerate(series.instances)
    )) for n, one in enumerate(locations))  # fmt: skip
    return replace(manifest, series=tuple(placed))


def test_a_manifest_says_of_its_images_that_they_are_where_its_source_is(tmp_path: Path) -> None:
    assert said(tmp_path / "x", kos.write(at(HERE)), HERE) == []


def test_a_manifest_of_images_that_are_elsewhere_is_not_the_peers_to_say(tmp_path: Path) -> None:
    (found,) = said(tmp_path / "x", kos.write(at(HERE, ELSEWHERE)), HERE)
    assert found.startswith(f"Retrieve Location UID (0040,E011) {ELSEWHERE} is none of the peer's")


@pytest.mark.parametrize("listed", [(), ("*",), (HERE, ELSEWHERE)])
def test_a_peer_whose_entry_names_no_place_or_every_one_is_not_held_to_any(
    tmp_path: Path, listed: tuple[str, ...]
) -> None:  # fmt: skip
    assert said(tmp_path / "x", kos.write(at(HERE, ELSEWHERE)), *listed) == []


def test_an_administrator_speaks_for_every_source(tmp_path: Path) -> None:
    assert said(tmp_path / "x", kos.write(at(ELSEWHERE)), HERE, roles=("document-administrator",)) == []


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda _: b"report", lambda data: data[:200]])
def test_what_is_no_manifest_says_nothing_of_images(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    assert said(tmp_path / "x", spoil(kos.write(at(ELSEWHERE))), HERE) == []


def test_a_manifest_too_long_to_be_read_is_not_let_pass_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kos, "MOST_BYTES", 1000)
    assert "too long" in said(tmp_path / "x", kos.write(at(HERE)), HERE)[0]
