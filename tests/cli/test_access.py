"""``xds peer``, ``xds policy`` and ``xds consent``: what an operator and a privacy officer type."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli.command import Done, xds
from tests.hostile.certificates import Authority
from tests.server.test_application import AUTHORITY
from xds.store import peer_use
from xds.store.engine import make_engine
from xds.store.peer_use import Use
from xds.wire.certificates import from_pem

CX = f"anna^^^&{AUTHORITY}&ISO"


@pytest.fixture
def north(tmp_path: Path) -> Path:
    return Path(Authority(tmp_path / "region", "region").signed("pacs.north").certificate)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A deployment with Anna known."""
    folder = tmp_path / "data"
    config = tmp_path / "xds.toml"
    config.write_text(f'[domain]\nassigning_authorities = ["{AUTHORITY}"]\n[tls]\ntrusted = "ca.pem"\n')
    assert xds("patient", "add", CX, "--config", config, "--data", folder).code == 0
    return folder


def run(data: Path, *words: str | Path) -> Done:
    return xds(*words, "--config", data.parent / "xds.toml", "--data", data)


def test_a_peer_is_added_by_its_certificate_shown_and_removed(data: Path, north: Path) -> None:
    given = ("--certificate", north, "--role", "document-source", "--source-id", "1.2.3", "--organisation", "North")
    assert run(data, "peer", "add", "north", *given).code == 0
    (listed,) = run(data, "peer", "list", "--json").json
    assert listed["source_ids"] == ["1.2.3"]
    assert len(listed["spki_sha256"][0]) == 64
    assert "there is a peer north" in run(data, "peer", "add", "north", *given).err
    assert run(data, "peer", "add", "north", "--by-name", *given, "--replace").code == 0
    shown = run(data, "peer", "show", "north", "--json").json
    assert (shown["issuer"], shown["subject"]) == ("CN=region", "CN=pacs.north")
    assert "told by the same certificate" in run(data, "peer", "add", "again", "--by-name", *given).err
    assert run(data, "peer", "remove", "north").code == 0
    assert run(data, "peer", "list", "--json").json == []
    assert "there is no peer north" in run(data, "peer", "remove", "north").err


def test_what_a_peer_has_used_today_is_shown_with_it(data: Path, north: Path) -> None:
    run(data, "peer", "add", "north", "--certificate", north, "--role", "document-source")
    engine = make_engine(f"sqlite:///{data}/xds.sqlite", connections=1)
    with engine.begin() as connection:
        used = {from_pem(north.read_text()).spki_sha256: Use(3, 4_000), "another of its keys": Use(1, 500, "north")}
        peer_use.add(connection, peer_use.today(), {**used, "somebody else": Use(7, 7)})
        peer_use.add(connection, peer_use.today() - 1, used)
    engine.dispose()
    assert run(data, "peer", "show", "north", "--json").json["used_today"] == {"records": 4, "bytes": 4_500}
    assert "used today: 4 records, 4,500 bytes" in run(data, "peer", "show", "north").out


def test_the_last_administrator_stays(data: Path, north: Path) -> None:
    run(data, "peer", "add", "admin", "--certificate", north, "--role", "document-administrator")
    assert "leave no peer with the role document-administrator" in run(data, "peer", "remove", "admin").err


def test_a_policy_with_a_mistake_is_refused_with_its_line(tmp_path: Path) -> None:
    text = files("xds.access").joinpath("policy.toml").read_text("utf-8")
    good, bad, nobody = (tmp_path / f"{name}.toml" for name in ("good", "bad", "nobody"))
    good.write_text(text)
    assert "16 rules" in xds("policy", "check", good).out or xds("policy", "check", good).code == 0
    bad.write_text(text.replace('peers = ["this-machine"]', 'pears = ["this-machine"]'))
    done = xds("policy", "check", bad)
    assert (done.code, "line" in done.err, "there is no pears" in done.err) == (1, True, True)
    nobody.write_text(text.replace('"document-administrator"', '"audit-reader"'))
    assert "leaves no administrator" in xds("policy", "check", nobody).err


def test_an_explanation_names_what_is_not_so_and_the_rule_that_decides(data: Path, north: Path) -> None:
    run(data, "peer", "add", "north", "--certificate", north, "--role", "document-consumer", "--organisation", "North")
    said = run(data, "policy", "explain", "--peer", "north", "--transaction", "ITI-57").out
    assert "administrators-change-documents: peer_roles is not so" in said
    assert said.rstrip().endswith("denied by deny-the-rest")
    assert run(data, "policy", "explain", "--peer", "north").out.rstrip().endswith("by consumers-read-normal")
    assert run(data, "policy", "explain", "--peer", "south").code == 3
    assert run(data, "policy", "explain", "--patient", f"nobody^^^&{AUTHORITY}&ISO").code == 3
    made = run(data, "consent", "set", CX, "--withhold", "--organisation", "North")
    said = run(data, "policy", "explain", "--peer", "north", "--patient", CX).out
    assert f"* directive {made.out.strip()}: withholds" in said


def test_directives_are_set_listed_changed_and_kept_for_ever(data: Path) -> None:
    made = run(data, "consent", "set", CX, "--withhold", "--study", "1.2.9", "--organisation", "North").out.strip()
    (listed,) = run(data, "consent", "list", CX, "--json").json
    assert listed["says"] == "withholds study 1.2.9 from organisation North"
    opposite = ("--allow", "--study", "1.2.9", "--organisation", "North")
    assert "says the opposite" in run(data, "consent", "set", CX, *opposite).err
    assert run(data, "consent", "set", CX, *opposite, "--id", made).code == 0
    assert run(data, "consent", "withdraw", CX, made).code == 0
    history = run(data, "consent", "list", CX, "--history", "--json").json
    assert [one["version"] for one in history] == [1, 2, 3]
    assert [one["in_force"] for one in history] == [False, False, False]
    records = run(data, "audit", "list", "--json").json
    assert [one["event"] for one in records].count("Security Alert") == 3
    assert {one["patient"] for one in records} == {CX}


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("nobody^^^&1.9&ISO", "--allow"), 3, "no such patient"),
        ((CX, "--withhold", "--from", "tomorrow"), 1, "the directive"),
        ((CX, "--withhold", "--id", "x"), 1, "no directive x"),
        ((CX,), 2, "allow"),
    ],
)
def test_what_cannot_be_a_directive_is_refused(data: Path, words: tuple[str, ...], code: int, reason: str) -> None:
    done = run(data, "consent", "set", *words)
    assert (done.code, reason in done.err) == (code, True)
