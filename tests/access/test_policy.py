"""The policy that xds has, sentence by sentence; and mistakes in one of somebody's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from importlib.resources import files

import pytest

from xds.access.decisions import Effect, Question, decide, unmet
from xds.access.peers import ALONE, STRANGER, Peer
from xds.access.policy import TRANSACTIONS, default, read
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.visible import Facts
from xds.settings.access import PEER_ROLES, PeerEntry
from xds.wire.assertion import Code

POLICY = default()
SCHEME = "2.16.840.1.113883.5.25"
READING = ("ITI-18", "ITI-43", "RAD-69", "RAD-107", "RAD-129", "console")
CHANGING = ("ITI-57", "ITI-62", "ITI-86", "ITI-92")


def peer(*roles: str) -> Peer:
    return Peer("north", PeerEntry(roles=roles, source_ids=("1.2.3",), organisation="North"))


def asks(of: Peer, transaction: str, **more: object) -> Question:
    return replace(Question(of, transaction, "default", today=date(2026, 11, 29)), **more)  # type: ignore[arg-type]


def document(code: str, source: str = "9.9") -> Facts:
    codes = frozenset({f"{code}^^{SCHEME}"})
    return Facts({}, {"confidentialityCode": codes, "sourceId": frozenset({source})})


DOCTOR = Person("doctor", "<doctor@idp>", roles=(Code("DOC", "roles"),))


def shows(question: Question, facts: Facts) -> bool:
    return decide(POLICY, question).visible.shows(facts) and decide(POLICY, question).effect is not Effect.DENY


@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_a_stranger_may_do_nothing_and_who_runs_a_node_alone_everything(transaction: str) -> None:
    assert decide(POLICY, asks(STRANGER, transaction)).effect is Effect.DENY
    assert decide(POLICY, asks(ALONE, transaction)).effect is Effect.PERMIT


def test_a_peer_may_do_nothing_in_a_domain_that_it_takes_no_part_in() -> None:
    elsewhere = Peer("north", PeerEntry(roles=PEER_ROLES, domains=("other",)))
    for transaction in TRANSACTIONS:
        decision = decide(POLICY, asks(elsewhere, transaction))
        assert (decision.effect, "no part in this affinity domain" in decision.rule) == (Effect.DENY, True)
        assert decision.visible.nothing
    assert decide(POLICY, asks(elsewhere, "ITI-18", domain="other")).effect is not Effect.DENY


@pytest.mark.parametrize("transaction", READING)
def test_consumers_read_normal_with_a_role_restricted_with_an_override_very_restricted(transaction: str) -> None:
    consumer = peer("document-consumer")
    for person, override, seen in ((None, False, "UN"), (DOCTOR, False, "UNR"), (DOCTOR, True, "UNRVX")):
        question = asks(consumer, transaction, person=person, override=override)
        assert "".join(code for code in "UNRVX" if shows(question, document(code))) == seen


@pytest.mark.parametrize("transaction", ["ITI-41", "ITI-42", *CHANGING, *READING])
def test_sources_write_change_and_read_their_own_only(transaction: str) -> None:
    question = asks(peer("document-source"), transaction)
    assert shows(question, document("V", "1.2.3"))
    assert not shows(question, document("N", "9.9"))


@pytest.mark.parametrize("transaction", CHANGING)
def test_nobody_changes_what_is_another_s_but_administrators(transaction: str) -> None:
    for role in set(PEER_ROLES) - {"document-administrator"}:
        assert not shows(asks(peer(role), transaction, person=DOCTOR, override=True), document("N")), role
    assert shows(asks(peer("document-administrator"), transaction), document("V"))


def test_nobody_lists_all_patients_of_a_domain() -> None:
    every = peer(*PEER_ROLES)
    assert decide(POLICY, asks(every, "ITI-51", every_patient=True)).rule == "nobody-lists-all-patients"
    assert decide(POLICY, asks(every, "ITI-51")).effect is not Effect.DENY


@pytest.mark.parametrize(
    ("transaction", "role"),
    [("ITI-8", "patient-identity-source"), ("ITI-44", "patient-identity-source"), ("ITI-20", "audit-source"),
     ("ITI-81", "audit-reader"), ("C-STORE", "imaging-document-source"), ("RAD-108", "imaging-document-source")],
)  # fmt: skip
def test_feeds_are_taken_from_whose_role_it_is(transaction: str, role: str) -> None:
    allowed = {one for one in PEER_ROLES if decide(POLICY, asks(peer(one), transaction)).effect is Effect.PERMIT}
    assert allowed - {"document-administrator"} == {role}


def test_a_decision_names_the_rule_and_an_explanation_what_is_not_so() -> None:
    question = asks(peer("document-consumer"), "ITI-18")
    assert decide(POLICY, question).rule == "consumers-read-normal"
    by_name = {rule.name: rule for rule in POLICY.rules}
    missing = list(unmet(by_name["consumers-read-restricted-for-a-person-with-a-role"], question))
    assert missing == ["person_roles"]


TEXT = files("xds.access").joinpath("policy.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("permit = true", "permit = yes", "Invalid value"),
        ('name = "consumers-read-normal"', "", "rule 10 has no name"),
        ('name = "consumers-read-normal"', 'name = "deny-the-rest"', "two rules are called deny-the-rest"),
        ("own = true\npermit = true", "own = true", "permit is true or false"),
        ("own = true\npermit", "mine = true\npermit", "there is no mine"),
        ('confidentiality = "R"', 'confidentiality = "X"', "confidentiality is one of U, L, M, N, R, V"),
        ('"ITI-8", "ITI-44"', '"ITI-8", "ITI-99"', "ITI-99 is no transaction"),
        ('"@changing"', '"@altering"', "there is no group @altering"),
        ("\nevery_patient = true", '\nevery_patient = "yes"', "every_patient is true or false"),
        (
            'name = "deny-the-rest"\npermit = false',
            'name = "deny-the-rest"\npermit = true',
            "must deny whatever is left",
        ),
        ("[override]", "[overriding]", "there is no overriding"),
        ('peers = ["this-machine"]', 'peers = "this-machine"', "peers is a list of texts"),
    ],
)
def test_a_mistake_is_refused_with_line_and_reason(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    with pytest.raises(Unusable, match=reason) as refusal:
        read(TEXT.replace(old, new, 1), "policy.toml")
    assert str(refusal.value).startswith("policy.toml")
