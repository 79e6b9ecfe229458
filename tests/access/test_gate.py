"""The gate of a deployment: what changes meanwhile is followed, and a mistake leaves the last good in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.builders import ANNA
from tests.hostile.certificates import named
from xds.access import gate as gates
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.access.gate import RESET, Gate, NotPermitted, stamp_of
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.visible import Facts
from xds.settings.access import PeerEntry, PolicySettings
from xds.settings.sections import Settings, Tls
from xds.store import consents, peers
from xds.store.consents import Broken
from xds.store.deployment import note
from xds.store.registry import patients
from xds.wire.assertion import Code

POLICY = files("xds.access").joinpath("policy.toml").read_text("utf-8")
EHR = PeerEntry(issuer="CN=region", subject="CN=ehr", roles=("document-consumer",), organisation="North")
SETTINGS = replace(Settings(), tls=Tls(trusted="region.crt"))
NORMAL = Facts({}, {"confidentialityCode": frozenset({"N^^2.16.840.1.113883.5.25"})})
VERY = Facts({}, {"confidentialityCode": frozenset({"V^^2.16.840.1.113883.5.25"})})
FOREVER = 2**60


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "LOOK_SECONDS", 0.0)


@pytest.fixture
def made(engine: sa.Engine) -> Callable[..., Gate]:
    def make(**policy: object) -> Gate:
        settings = replace(SETTINGS, policy=replace(PolicySettings(), **policy))  # type: ignore[arg-type]
        return Gate(settings, engine, lambda: date(2026, 11, 29))

    with engine.begin() as connection:
        peers.keep(connection, "ehr", EHR, "test")
        patients.add(connection, "default", ANNA)
    return make


def shows(gate: Gate, facts: Facts = NORMAL, person: Person | None = None) -> bool:
    peer = gate.peer(named("CN=ehr"), "192.0.2.7")
    try:
        return gate.ask(peer, "ITI-18", "default", person).access.see.shows(facts)
    except NotPermitted:
        return False


def key_of(engine: sa.Engine) -> int:
    with engine.begin() as connection:
        found = patients.key_of(connection, "default", ANNA)
    assert found is not None
    return found


def test_a_peer_that_is_added_or_removed_is_known_or_unknown_without_a_restart(
    made: Callable[..., Gate], engine: sa.Engine
) -> None:
    gate = made()
    assert shows(gate)
    with engine.begin() as connection:
        peers.remove(connection, "ehr")
    assert not shows(gate)
    with engine.begin() as connection:
        peers.keep(connection, "ehr", EHR, "test")
    assert shows(gate)


def test_peers_that_contradict_are_not_taken_and_the_last_good_stay(
    made: Callable[..., Gate], engine: sa.Engine
) -> None:
    gate = made()
    assert shows(gate)
    with engine.begin() as connection:
        peers.keep(connection, "again", EHR, "test")
    assert shows(gate)
    assert "told by the same certificate" in gate.wrong()["peers"]
    with engine.begin() as connection:
        peers.remove(connection, "again")
    assert shows(gate)
    assert gate.wrong() == {}


def test_a_policy_with_a_mistake_is_not_taken_and_the_last_good_stays(
    made: Callable[..., Gate], tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    gate = made(file=str(file))
    assert shows(gate)
    file.write_text(POLICY.replace('"document-consumer", ', "").replace("permit", "allow"))
    assert shows(gate)
    assert "policy.toml, line" in gate.wrong()["policy"]
    file.write_text(POLICY.replace('"document-consumer", ', ""))
    assert not shows(gate)
    assert gate.wrong() == {}


def test_a_policy_that_is_wrong_at_the_start_keeps_the_node_from_starting(
    made: Callable[..., Gate], tmp_path: Path
) -> None:
    with pytest.raises(Unusable, match=r"policy\.file"):
        made(file=str(tmp_path / "none.toml"))
    (tmp_path / "policy.toml").write_text(POLICY.replace('"document-administrator"', '"audit-reader"'))
    with pytest.raises(Unusable, match="leaves no administrator"):
        made(file=str(tmp_path / "policy.toml"))


def test_a_policy_that_was_reset_is_not_gone_by_until_it_changes(
    made: Callable[..., Gate], engine: sa.Engine, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY.replace('"document-consumer", ', ""))
    gate = made(file=str(file))
    assert not shows(gate)
    with engine.begin() as connection:
        note(connection, RESET, stamp_of(file))
    assert shows(gate)
    file.write_text(POLICY.replace('"document-consumer", ', "") + "\n")
    assert not shows(gate)


def test_a_node_that_only_its_own_machine_reaches_lets_who_runs_it_do_everything(engine: sa.Engine) -> None:
    gate = Gate(Settings(), engine)
    assert gate.ask(gate.peer(None, "127.0.0.1"), "ITI-86", "default").access.change.everything
    for beyond in (SETTINGS, replace(Settings(), server=replace(Settings().server, listen="0.0.0.0:8080"))):
        gate = Gate(beyond, engine)
        with pytest.raises(NotPermitted):
            gate.ask(gate.peer(None, "127.0.0.1"), "ITI-18", "default")


def test_watching_refuses_nothing_and_says_what_it_would(made: Callable[..., Gate]) -> None:
    gate = made(mode="watch")
    stranger = gate.ask(gate.peer(named("CN=other"), "192.0.2.7"), "ITI-86", "default")
    assert (stranger.access.everything, stranger.note) == (True, "would be refused: deny-the-rest")
    known = gate.ask(gate.peer(named("CN=ehr"), "192.0.2.7"), "ITI-18", "default")
    assert known.note == "would be filtered: consumers-read-normal"


def test_a_peer_takes_part_in_the_affinity_domains_of_its_entry(made: Callable[..., Gate], engine: sa.Engine) -> None:
    gate = made()
    with engine.begin() as connection:
        peers.keep(connection, "ehr", replace(EHR, domains=("research",)), "test")
    peer = gate.peer(named("CN=ehr"), "192.0.2.7")
    assert gate.ask(peer, "ITI-18", "research")
    with pytest.raises(NotPermitted, match="affinity domain"):
        gate.ask(peer, "ITI-18", "default")


DOCTOR = Person("doc", "<doc@idp>", roles=(Code("GP"),), purposes=(Code("BTG"),), overrides=True)


def test_a_message_breaks_the_glass_with_a_reason_only(made: Callable[..., Gate]) -> None:
    gate = made()
    assert not shows(gate, VERY, DOCTOR)
    assert shows(gate, VERY, replace(DOCTOR, reason="found unconscious"))
    assert not shows(gate, VERY, replace(DOCTOR, reason="found unconscious", roles=()))
    assert not shows(gate, VERY, replace(DOCTOR, reason="found unconscious", purposes=(Code("TREAT"),)))


def test_broken_glass_holds_for_its_patient_its_person_and_its_time(
    made: Callable[..., Gate], engine: sa.Engine
) -> None:
    gate, key = made(), key_of(engine)
    calm = replace(DOCTOR, overrides=False, purposes=(Code("TREAT"),))
    for person, ends, opened in (("doc@idp", FOREVER, True), ("other", FOREVER, False), ("doc@idp", 1, False)):
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM override"))
            consents.break_glass(connection, Broken(0, key, person, "", "", "BTG", "found unconscious", 0, ends))
        assert shows(gate, replace(VERY, patient_key=key), calm) is opened
        assert not shows(gate, replace(VERY, patient_key=key + 1), calm)


def test_a_directive_is_asked_for_with_the_patient_and_without_any_nothing_is(
    made: Callable[..., Gate], engine: sa.Engine
) -> None:
    gate, key = made(), key_of(engine)
    peer = gate.peer(named("CN=ehr"), "192.0.2.7")
    assert gate.ask(peer, "ITI-18", "default").access.consents is None
    with engine.begin() as connection:
        set_directive(connection, key, Directive(permit=False, organisations=frozenset({"North"})), "test")
    wants = gate.ask(peer, "ITI-18", "default").access.consents
    assert wants is not None
    with engine.connect() as connection:
        assert not wants.of(connection, [key]).shows(replace(NORMAL, patient_key=key))
        assert wants.of(connection, [key + 1]).shows(replace(NORMAL, patient_key=key + 1))


def test_where_consent_is_needed_who_has_given_none_shows_nothing(made: Callable[..., Gate], engine: sa.Engine) -> None:
    gate, key = made(consent="withhold"), key_of(engine)
    wants = gate.ask(gate.peer(named("CN=ehr"), "192.0.2.7"), "ITI-18", "default").access.consents
    assert wants is not None
    with engine.connect() as connection:
        assert not wants.of(connection, [key]).shows(replace(NORMAL, patient_key=key))
        assert not wants.of(connection, []).shows(NORMAL)
        with pytest.raises(NotPermitted, match="patients have to be named"):
            wants.of(connection, None)
