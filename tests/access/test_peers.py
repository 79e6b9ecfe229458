from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.certificates import Authority
from xds.access.peers import STRANGER, Peers
from xds.errors import Unusable
from xds.settings.access import PeerEntry
from xds.wire.certificates import Certificate, from_pem


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("region"), "region")


@pytest.fixture(scope="module")
def pacs(authority: Authority) -> Certificate:
    return from_pem(Path(authority.signed("pacs").certificate).read_text())


NAMED = PeerEntry(issuer="CN=region", subject="CN=pacs", roles=("document-source",))


def test_a_peer_is_told_by_its_key_or_by_issuer_and_name(pacs: Certificate) -> None:
    for entry in (
        PeerEntry(spki_sha256=(pacs.spki_sha256,)),
        PeerEntry(spki_sha256=(pacs.spki_sha256.upper(),)),
        NAMED,
        PeerEntry(issuer="CN=region", alternative_name="dns:localhost"),
        replace(NAMED, addresses=("192.0.2.0/24",)),
    ):
        assert Peers({"pacs": entry}).of(pacs, "192.0.2.7").name == "pacs"


@pytest.mark.parametrize("changes", [
    {"issuer": "CN=other"}, {"subject": "CN=pacs2"}, {"subject": "CN=pacs,O=North"}, {"addresses": ("198.51.100.1",)},
    {"alternative_name": "dns:elsewhere"}, {"spki_sha256": ("0" * 64,)},
])  # fmt: skip
def test_whoever_lacks_one_of_the_marks_is_a_stranger(pacs: Certificate, changes: dict[str, Any]) -> None:
    assert Peers({"pacs": replace(NAMED, **changes)}).of(pacs, "192.0.2.7") == STRANGER


def test_the_same_name_from_another_authority_is_a_stranger(tmp_path: Path) -> None:
    other = from_pem(Path(Authority(tmp_path, "other").signed("pacs").certificate).read_text())
    assert Peers({"pacs": NAMED}).of(other, "192.0.2.7") == STRANGER


def test_without_a_certificate_only_who_is_told_by_the_address_alone_is_known(pacs: Certificate) -> None:
    by_address = Peers({"ris": PeerEntry(addresses=("192.0.2.7",)), "pacs": NAMED})
    assert by_address.of(None, "192.0.2.7").name == "ris"
    assert by_address.of(None, "192.0.2.8") == STRANGER
    assert by_address.of(pacs, "192.0.2.7").name == "pacs"  # who has a certificate is told by it


def test_a_certificate_that_two_entries_tell_is_nobody_s(pacs: Certificate) -> None:
    two = Peers({"a": NAMED, "b": PeerEntry(issuer="CN=region", alternative_name="dns:localhost")})
    assert two.of(pacs, "192.0.2.7") == STRANGER


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"a": PeerEntry()}, "peers.a: spki_sha256, or issuer"),
        ({"a": PeerEntry(issuer="CN=x")}, "together"),
        ({"a": PeerEntry(subject="CN=x")}, "spki_sha256, or issuer"),
        ({"a": PeerEntry(spki_sha256=("12",))}, "64 hexadecimal digits"),
        ({"a": PeerEntry(issuer="region", subject="CN=x")}, "distinguished name"),
        ({"a": PeerEntry(addresses=("x",))}, "IP address"),
        ({"a": replace(NAMED, roles=("king",))}, "king is none of"),
        ({"a": replace(NAMED, tolerate=("all",))}, "all is none of"),
        ({"a": NAMED, "b": NAMED}, "peers.a and peers.b are told by the same certificate"),
        ({n: PeerEntry(spki_sha256=("a" * 64,)) for n in "ab"}, "peers.a and peers.b"),
    ],
)
def test_an_entry_with_a_mistake_is_refused_with_its_reason(entries: dict[str, PeerEntry], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        Peers(entries)
