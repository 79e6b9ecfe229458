"""``xds doctor deployment``: the hardening list; from one that is right, one thing is spoilt at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Done, xds
from xds.demo.site import as_toml
from xds.server import hardening
from xds.store import accounts, apart
from xds.store.apart import Instance
from xds.store.engine import make_engine
from xds.system.at_rest import Rest
from xds.wire import revocation
from xds.wire.authority import Authority
from xds.wire.revocation import Revoked

Sections = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _as_a_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 10001)
    yield
    revocation.use(Revoked())


@pytest.fixture
def right(tmp_path: Path) -> Sections:
    """The settings of a node on a network of which nothing is wrong, with its files and accounts."""
    authority = Authority.made(tmp_path / "pki", "pilot", 5)
    node = authority.issue("node", ["xds.north.example"])
    sections: Sections = {
        "server": {"data": str(tmp_path / "data"), "listen": "10.1.0.5:8443",
                   "public_url": "https://xds.north.example:8443"},
        "tls": {"certificate": str(node.certificate_file), "key": str(node.key_file),
                "trusted": str(authority.folder / "ca.crt"), "crl": [str(authority.folder / "ca.crl")]},
        "xua": {"trusted": str(authority.folder / "ca.crt"), "required": True},
        "audit": {"forward_to": ["tls://arr.example:6514"], "time_server": "ntp.example"},
        "syslog": {"tls": "10.1.0.5:6514"},
        "repositories": {"1.2.3": "https://south.example/repository"},
    }  # fmt: skip
    file = tmp_path / "xds.toml"
    file.write_text(as_toml(sections))
    assert xds("db", "upgrade", "--config", file).code == 0  # the deployment is made
    engine = make_engine(f"sqlite:///{tmp_path}/data/xds.sqlite")
    with engine.begin() as connection:
        accounts.add(connection, "anna", "auditor", "x")
    engine.dispose()
    return sections


def examined(tmp_path: Path, sections: Sections, *more: str) -> Done:
    file = tmp_path / "xds.toml"
    file.write_text(as_toml(sections))
    return xds("doctor", "deployment", "--config", file, *more)


def wrong(done: Done) -> list[str]:
    return [one["name"] for one in done.json if one["wrong"]]


def test_of_a_deployment_that_is_right_all_is_right(tmp_path: Path, right: Sections) -> None:
    done = examined(tmp_path, right, "--json")
    assert (done.code, wrong(done)) == (0, [])
    assert examined(tmp_path, right).out.splitlines()[-1] == f"all {len(done.json)} are right"


def change(section: str, **values: Any) -> Callable[[Sections], None]:
    def spoil(sections: Sections) -> None:
        sections[section] = {**sections.get(section, {}), **values}

    return spoil


SPOILT = {
    "tls": change("tls", certificate="", key="", trusted="", crl=[]),
    "trust": change("tls", trusted="", crl=[]),
    "revocation": change("tls", crl=[]),
    "listeners": change("syslog", tcp="10.1.0.5:6515"),
    "allow_open_listen": change("server", allow_open_listen=True),
    "public_url": change("server", public_url=""),
    "cors_origins": change("server", cors_origins=["*"]),
    "xua": change("xua", required=False),
    "policy": change("policy", mode="watch"),
    "peers": change("repositories", **{"1.2.3": "http://me:s3cret@south.example/repository"}),
    "evidence": change("audit", forward_to=[]),
    "clock": change("audit", time_server=""),
    "secrets": change("oidc", client_secret="s3cret", issuer="https://id.example", client_id="x"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_thing_that_is_wrong_is_named_with_what_to_do(tmp_path: Path, right: Sections, name: str) -> None:
    SPOILT[name](right)
    done = examined(tmp_path, right, "--json")
    assert done.code == 1
    assert name in wrong(done)
    assert all(one["fix"] for one in done.json if one["wrong"])
    assert "s3cret" not in done.out
    said = examined(tmp_path, right)
    assert f"WRONG  {name}: " in said.out
    assert "s3cret" not in said.out


CLEAR = "http://south.example/registry"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("merges", {"registry": CLEAR}), ("merges", {"registry": "https://south.example", "pixm": CLEAR}),
        *(("communities", {"home_community_ids": "1.2.99", "query": "https://south.example", **more})
          for more in ({"query": CLEAR}, {"retrieve": CLEAR}, {"images": CLEAR}, {"discover": CLEAR}, {"pix": "mllp://south.example:2575"})),
    ],
)  # fmt: skip
def test_whoever_is_called_in_the_clear_is_named(
    tmp_path: Path, right: Sections, kind: str, values: dict[str, str]
) -> None:
    right[kind] = {"south": values}
    assert wrong(examined(tmp_path, right, "--json")) == ["peers"]


def test_files_that_others_read_are_named(tmp_path: Path, right: Sections) -> None:
    (tmp_path / "data").chmod(0o750)
    Path(right["tls"]["key"]).chmod(0o644)
    done = examined(tmp_path, right, "--json")
    assert wrong(done) == ["files"]
    assert right["tls"]["key"] in done.out


def test_root_is_no_account_for_a_service(tmp_path: Path, right: Sections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 0)
    assert wrong(examined(tmp_path, right, "--json")) == ["account"]


def test_a_node_without_an_auditor_has_nobody_who_looks(tmp_path: Path, right: Sections) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/data/xds.sqlite")
    with engine.begin() as connection:
        accounts.remove(connection, "anna")
    engine.dispose()
    assert wrong(examined(tmp_path, right, "--json")) == ["accounts"]


def test_what_is_set_apart_and_waits_for_a_person_is_told(tmp_path: Path, right: Sections) -> None:
    (tmp_path / "images").mkdir()
    right["imaging_source"] = {"folder": str(tmp_path / "images")}
    assert wrong(examined(tmp_path, right, "--json")) == []
    engine = make_engine(f"sqlite:///{tmp_path}/data/xds.sqlite")
    texts = [name for name in Instance.__slots__ if name not in ("id", "case_id", "size", "came", "decided", "state")]
    with engine.begin() as connection:
        assert apart.add(connection, Instance(**dict.fromkeys(texts, "x"), size=1), apart.Bounds(1, 1, 1, 1))
    engine.dispose()
    done = examined(tmp_path, right, "--json")
    assert wrong(done) == ["set apart"]
    assert "1 case was sent against somebody's study" in done.out


def test_a_crl_that_is_none_and_a_certificate_that_ends_are_told(tmp_path: Path, right: Sections) -> None:
    Path(right["tls"]["crl"][0]).write_bytes(b"half a CRL")
    assert wrong(examined(tmp_path, right, "--json")) == ["revocation"]


def test_where_there_is_no_deployment_nothing_is_made(tmp_path: Path) -> None:
    done = xds("doctor", "deployment", "--data", tmp_path / "none")
    assert (done.code, (tmp_path / "none").exists()) == (1, False)


def test_what_lies_in_clear_beside_encrypted_documents_is_named(
    tmp_path: Path, right: Sections, monkeypatch: pytest.MonkeyPatch
) -> None:
    right["server"]["documents_key"] = str(tmp_path / "documents.keys")
    assert xds("documents", "key", "new", tmp_path / "documents.keys").code == 0
    rests = {tmp_path / "data" / "cache": Rest.CLEAR}
    monkeypatch.setattr(hardening, "at_rest", lambda path: rests.get(path, Rest.DISK))
    found = {one["name"]: one for one in examined(tmp_path, right, "--json").json}
    assert found["at rest"]["wrong"] == "documents are encrypted, and beside them in clear: cache of images"
    rests.clear()
    found = {one["name"]: one for one in examined(tmp_path, right, "--json").json}
    assert found["at rest"]["said"] == "documents by their own keys, all else on an encrypted disk"
