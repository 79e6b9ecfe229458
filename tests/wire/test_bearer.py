"""ITI-72: a good token gives the same value as an assertion; each part that is spoilt is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from tests import assertions
from tests.tokens import ACT_REASON, AUDIENCE, ISSUER, a_file, a_key, a_set, an_rsa_key, claims, signed
from xds.errors import Unusable
from xds.wire.assertion import Code
from xds.wire.bearer import JWT_METHOD, Expected, NotBelieved, Tokens, assertion_of, challenge, encoded, token_of
from xds.wire.jwks import Keys
from xds.wire.saml_conditions import Bringing, Demands
from xds.wire.xua import Trust


def at(seconds: float) -> Callable[[], float]:
    """So many seconds from when the test runs, which may be long after it was collected."""
    return lambda: int(time.time()) + seconds


def changed(change: Mapping[str, Any]) -> dict[str, Any]:
    return claims(**{key: value() if callable(value) else value for key, value in change.items()})


def tokens(folder: Path, *keys: Any, algorithms: tuple[str, ...] = ("ES256", "RS256")) -> Tokens:
    expected = Expected(ISSUER, frozenset({AUDIENCE}), frozenset(algorithms))
    return Tokens(expected, Keys(str(a_file(folder, *keys)), 300.0))


ANYHOW = Bringing()


def refused(folder: Path, token: str, bringing: Bringing = ANYHOW) -> str:
    with pytest.raises(NotBelieved) as problem:
        tokens(folder, a_key(), an_rsa_key()).believed(token, bringing)
    assert not any(word in str(problem.value) for word in ("anna", "Meier", '"', "\n"))
    return str(problem.value)


def test_a_good_token_says_who_asks_in_which_role_and_for_what(tmp_path: Path) -> None:
    found = tokens(tmp_path).believed(signed(), Bringing())
    assert (found.issuer, found.name_id, found.subject_id, found.id) == (ISSUER, "anna.meier", "Dr. Anna Meier", "t1")
    assert found.roles == (Code("223366009", "2.16.840.1.113883.6.96"),)
    assert found.purposes == (Code("TREAT", ACT_REASON),)
    assert (found.organisations, found.organisation_ids) == (("North Hospital",), ("urn:oid:1.2.3.9",))
    assert (found.home_community, found.patient) == ("urn:oid:1.2.3.4", "anna^^^&1.2.3.4.5&ISO")
    assert (found.consents, found.policies, found.method) == (("urn:oid:1.9",), ("urn:oid:1.8",), JWT_METHOD)
    assert found.until is not None
    assert timedelta(seconds=280) < found.until - datetime.now(UTC) < timedelta(seconds=310)


@pytest.mark.parametrize("change", [
    {"aud": [AUDIENCE, "another"]}, {"nbf": None}, {"extensions": None}, {"extensions": "nonsense"},
    {"extensions": {"ihe_iua": {"subject_role": ["HCP"], "purpose_of_use": "TREAT"}}},
    {"extensions": {"ihe_iua": {"subject_role": [1, None, {}, {"code": None}, ["x"]]}}},
    {"extensions": {"ihe_pcf": {"patient_id": "1", "residual": []}}}, {"exp": at(299.5)},
])  # fmt: skip
def test_what_a_token_may_say_otherwise_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    assert tokens(tmp_path).believed(signed(changed(change)), Bringing()).name_id == "anna.meier"


@pytest.mark.parametrize(("change", "why"), [
    ({"iss": "https://evil.example"}, "another issuer"), ({"iss": None}, "another issuer"),
    ({"iss": [ISSUER]}, "another issuer"),
    ({"aud": "another"}, "another audience"), ({"aud": None}, "another audience"),
    ({"aud": {AUDIENCE: 1}}, "another audience"), ({"aud": f"{AUDIENCE}.evil"}, "another audience"),
    ({"exp": None}, "exp and iat"), ({"iat": None}, "exp and iat"), ({"exp": at(-120)}, "not valid now"),
    ({"nbf": at(200)}, "not valid now"), ({"iat": at(200)}, "not valid now"), ({"exp": at(1000)}, "too long"),
    ({"exp": 1e300}, "exp is no time"), ({"exp": "never"}, "exp is no time"), ({"exp": True}, "exp is no time"),
    ({"iat": at(-3600), "nbf": None}, "too long"),
    ({"sub": None}, "sub is required"), ({"sub": ["", 1]}, "sub is required"),
    ({"cnf": {"x5t#S256": "abc"}}, "bound to a key"),
    ({"extensions": {"ihe_pcf": {"residual": [{"type": "forbid"}]}}}, "restricts what may be given"),
])  # fmt: skip
def test_a_token_that_is_not_to_be_believed_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    assert why in refused(tmp_path, signed(changed(change)))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


PUBLIC = json.loads(a_set())["keys"][0]


@pytest.mark.parametrize("token", [
    signed(key=a_key("stranger")), signed(key=a_key("stranger"), kid="one"), signed(kid="unknown"),
    f"{part({'alg': 'none'})}.{part(claims())}.", f"{part({'alg': 'None', 'kid': 'one'})}.{part(claims())}.",
    signed(key=OctKey.import_key(a_set(), {"kid": "one"}), alg="HS256"),
    signed(key=an_rsa_key(), alg="RS512"), signed(jwk=PUBLIC, kid="two"),
    signed()[:-6] + "AAAAAA", signed().replace(".", "", 1), f"{signed()}.a.b", ".." , "a.b.c", "\0.\0.\0", "é.é.é",
    f"{part({'alg': 'ES256', 'kid': 'one', 'crit': ['odd'], 'odd': 1})}.{'.'.join(signed().split('.')[1:])}",
    f"{part([])}.{part(claims())}.AAAA", f"{part({'alg': 'ES256', 'kid': ['one']})}.{part(claims())}.AAAA",
    f"{'[' * 9000}.{'[' * 9000}.", "a" * 40_000 + "..",
    ".".join([signed().split(".")[0], part(claims(sub="mallory")), signed().split(".")[2]]),
])  # fmt: skip
def test_a_token_that_is_not_signed_by_the_issuer_is_refused(tmp_path: Path, token: str) -> None:
    refused(tmp_path, token)


def test_a_token_for_something_else_is_refused(tmp_path: Path) -> None:
    assert "no access token" in refused(tmp_path, signed(typ="logout+jwt"))


def test_an_rsa_key_does_as_well(tmp_path: Path) -> None:
    assert tokens(tmp_path, an_rsa_key()).believed(signed(key=an_rsa_key(), alg="RS256"), Bringing())


def test_a_peer_brings_only_tokens_of_issuers_that_it_may_speak_for(tmp_path: Path) -> None:
    assert tokens(tmp_path).believed(signed(), Bringing(issuers=frozenset({ISSUER})))
    assert "this peer" in refused(tmp_path, signed(), Bringing(issuers=frozenset()))


@given(st.text(max_size=200))
def test_whatever_comes_as_a_token_is_refused_in_one_way(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("keys")
    for token in (text, f"{text}.{text}.{text}"):
        with pytest.raises(NotBelieved):
            tokens(folder).believed(token, Bringing())
        with pytest.raises(NotBelieved):
            assertion_of(token, trust(), Bringing())


@given(st.integers(0, 500), st.text("ABab01-_.", max_size=3), st.integers(0, 3))
def test_whatever_is_changed_in_a_token_it_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, at: int, new: str, cut: int
) -> None:
    good, believing = signed(), tokens(tmp_path_factory.mktemp("keys"))
    at %= len(good)
    try:
        found = believing.believed(good[:at] + new + good[at + cut :], Bringing())
    except NotBelieved:
        return
    assert found == believing.believed(good, Bringing())


@pytest.mark.parametrize(("audiences", "algorithms"), [
    ((), ("ES256",)), (("a",), ("HS256",)), (("a",), ("none",)), (("a",), ()),
])  # fmt: skip
def test_settings_that_would_let_anybody_in_are_refused(
    tmp_path: Path, audiences: tuple[str, ...], algorithms: tuple[str, ...]
) -> None:
    keys = Keys(str(a_file(tmp_path)), 300.0)
    with pytest.raises(Unusable, match="tokens"):
        Tokens(Expected(ISSUER, frozenset(audiences), frozenset(algorithms)), keys)


# SAML assertions in base64url.


def trust() -> Trust:
    return Trust([assertions.an_issuer().certificate], Demands(frozenset({assertions.AUDIENCE})), required=False)


def test_an_assertion_in_base64url_is_read_as_in_soap() -> None:
    token = token_of(encoded(assertions.signed()))
    assert assertion_of(token, trust(), Bringing()).subject_id == "Dr. Anna Meier"
    padded = base64.urlsafe_b64encode(assertions.signed()).decode()
    assert assertion_of(padded, trust(), Bringing()).subject_id == "Dr. Anna Meier"


@pytest.mark.parametrize("token", [
    "", "a", "####", base64.urlsafe_b64encode(b"<a/>").decode(), base64.urlsafe_b64encode(b"no xml").decode(),
    encoded(assertions.signed(assertions.Claims(by=assertions.an_issuer("stranger")))).partition(" ")[2],
    encoded(assertions.signed(assertions.Claims(end=-100))).partition(" ")[2],
    base64.urlsafe_b64encode(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>').decode(), "A" * 400_000,
])  # fmt: skip
def test_an_assertion_that_is_none_or_not_to_be_believed_is_refused(token: str) -> None:
    with pytest.raises(NotBelieved):
        assertion_of(token, trust(), Bringing())


@pytest.mark.parametrize(("authorization", "token"), [
    ("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("", ""), ("Bearer", ""), ("Bearerabc", ""),
])  # fmt: skip
def test_the_token_is_what_follows_its_scheme(authorization: str, token: str) -> None:
    assert token_of(authorization) == token


def test_who_has_sent_no_token_is_told_of_no_error() -> None:
    assert challenge(NotBelieved("wanted", missing=True)) == "Bearer"
    assert challenge(NotBelieved("over")) == 'Bearer error="invalid_token", error_description="over"'
