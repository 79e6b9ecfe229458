"""A person at addresses without SOAP: who it is stands in the record; what is not believed is 401, and on record."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests import assertions
from tests.access.test_users import messages, people
from tests.archives.trees import TEST_FILES
from tests.server.test_application import Site, serving
from tests.tokens import ACT_REASON, AUDIENCE, ISSUER, a_file, a_key, claims, signed
from xds.access.bearers import guarded
from xds.audit.messages.people import is_person
from xds.errors import Unusable
from xds.server.listening import check_listen, without_person
from xds.settings.access import Tokens, Xua
from xds.settings.sections import Loaded, Mllp, Settings
from xds.wire.bearer import encoded

ADDRESSES = ["/dicomweb/studies", "/wado?requestType=WADO", "/fhir/AuditEvent?date=ge2020-01-01&date=le2030-01-01"]


def settings(folder: Path, *, required: bool = False, tokens: bool = True) -> str:
    (folder / "images").mkdir(exist_ok=True)
    shutil.copy(TEST_FILES / "CT_small.dcm", folder / "images")
    (folder / "idp.pem").write_bytes(assertions.an_issuer().pem)
    text = f'[xua]\ntrusted = "{folder}/idp.pem"\nrequired = {str(required).lower()}\n'
    text += f'[imaging_source]\nfolder = "{folder}/images"\n[audit]\nreaders = ["127.0.0.1"]\n'
    if tokens:
        text += f'[tokens]\nissuer = "{ISSUER}"\naudiences = ["{AUDIENCE}"]\nkeys = "{a_file(folder)}"\n'
    return text


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path, settings(tmp_path)) as site:
        yield site


@pytest.fixture
def strict(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, settings(tmp_path, required=True)) as site:
        yield site


def asked(site: Site, path: str, authorization: str = "") -> tuple[int, str]:
    """Status, and WWW-Authenticate."""
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urlopen(Request(site.url + path, headers=headers)) as reply:  # noqa: S310
            reply.read()
            return reply.status, ""
    except HTTPError as problem:
        return problem.code, problem.headers.get("WWW-Authenticate", "")


def test_who_asks_by_a_token_stands_in_the_record_as_the_requestor_with_the_purpose(site: Site) -> None:
    assert asked(site, "/dicomweb/studies", f"Bearer {signed()}")[0] == 200
    assert people(site) == [("RAD-129", ["Dr. Anna Meier"])]
    (message,) = messages(site)
    (person,) = [one for one in message.participants if is_person(one)]
    assert (person.user_id, person.user_name) == ("anna.meier", f"<anna.meier@{ISSUER}>")
    assert [(code.code, code.system) for code in message.event.purposes_of_use] == [("TREAT", ACT_REASON)]
    assert not any(one.user_is_requestor for one in message.participants if one is not person and not one.user_name)


def test_an_assertion_does_as_well(site: Site) -> None:
    assert asked(site, "/dicomweb/studies", encoded(assertions.signed()))[0] == 200
    assert people(site) == [("RAD-129", ["Dr. Anna Meier"])]


def test_the_next_on_the_connection_is_not_taken_for_the_one_before(site: Site) -> None:
    asked(site, "/dicomweb/studies", f"Bearer {signed()}")
    asked(site, "/dicomweb/studies")
    assert people(site) == [("RAD-129", ["Dr. Anna Meier"]), ("RAD-129", [])]


def test_a_search_of_the_log_names_the_person_too(site: Site) -> None:
    assert asked(site, ADDRESSES[2], f"Bearer {signed()}")[0] == 200
    assert ("ITI-81", ["Dr. Anna Meier"]) in people(site)


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("authorization", [
    f"Bearer {signed(key=a_key('stranger'))}", f"Bearer {signed(claims(exp=1))}", "Bearer nonsense", "Bearer a.b.c",
    encoded(assertions.signed(assertions.Claims(by=assertions.an_issuer("stranger")))),
])  # fmt: skip
def test_who_is_not_believed_is_answered_401_and_on_record_whether_a_person_must_be_named_or_not(
    site: Site, path: str, authorization: str
) -> None:
    status, challenge = asked(site, path, authorization)
    assert status == 401
    assert challenge.startswith('Bearer error="invalid_token", error_description="')
    assert "anna" not in challenge
    (record,) = messages(site)
    assert (record.event.event_id.code, int(record.event.outcome)) == ("110114", 4)
    assert record.participants[0].user_id == "unknown"


def test_another_scheme_is_nobodys_word(site: Site) -> None:
    assert asked(site, "/dicomweb/studies", "Basic YW5uYTpwYXNz")[0] == 200
    assert people(site) == [("RAD-129", [])]


def test_a_person_who_is_required_is_required_at_every_address_that_gives_out_patient_data(strict: Site) -> None:
    for path in [*ADDRESSES, "//dicomweb/studies", "/%64icomweb/studies", "/dicomweb/studies/"]:
        assert asked(strict, path) == (401, "Bearer"), path
        assert asked(strict, path, "Basic YW5uYTpwYXNz") == (401, "Bearer"), path
    assert asked(strict, "/dicomweb/studies", f"Bearer {signed()}")[0] == 200
    assert asked(strict, "/fhir/metadata")[0] == 200
    with pytest.raises(HTTPError, match="401"):
        urlopen(Request(f"{strict.url}/dicomweb/studies", b"x", {"Content-Type": "multipart/related"}))  # noqa: S310


def test_every_address_of_the_application_asks_for_a_person_or_a_sign_in_or_gives_out_nothing(strict: Site) -> None:
    free = {"/", "/healthz", "/metrics", "/readyz", "/fhir/metadata"}
    rules = [rule.rule for rule in strict.application._pages.url_map.iter_rules()]
    left = {rule for rule in rules if not guarded(rule) and not rule.startswith("/console")} - free
    assert left == set()


def test_a_page_of_another_origin_may_ask_whether_it_may(strict: Site) -> None:
    headers = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
    request = Request(f"{strict.url}/dicomweb/studies", headers=headers, method="OPTIONS")  # noqa: S310
    with pytest.raises(HTTPError, match="401"):  # no origin is named
        urlopen(request)  # noqa: S310


@pytest.mark.parametrize(("path", "is_guarded"), [
    ("/dicomweb", True), ("/dicomweb/studies", True), ("//dicomweb/studies", True), ("/wado", True), ("/wado/", True),
    ("/fhir/AuditEvent", True), ("/fhir/AuditEvent/1", True), ("/fhir/metadata", False), ("/wadox", False),
    ("/console/studies", False), ("/registry", False), ("/", False),
])  # fmt: skip
def test_what_is_guarded(path: str, is_guarded: bool) -> None:
    assert guarded(path) is is_guarded


def test_nobody_can_be_required_where_nobody_could_be_believed() -> None:
    with pytest.raises(Unusable, match=r"xua\.required needs"):
        check_listen(Loaded(Settings(xua=Xua(required=True)), {}))


@pytest.mark.parametrize("tokens", [
    Tokens(issuer=ISSUER), Tokens(issuer=ISSUER, audiences=("a",), keys="/nowhere"),
    Tokens(issuer=ISSUER, audiences=("a",), keys="http://auth.example/keys"),
])  # fmt: skip
def test_a_server_with_tokens_that_nobody_can_verify_does_not_start(tokens: Tokens) -> None:
    with pytest.raises(Unusable, match="tokens"):
        check_listen(Loaded(Settings(tokens=tokens), {}))


def test_addresses_that_carry_no_person_are_named_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "idp.pem").write_bytes(assertions.an_issuer().pem)
    xua = Xua(trusted=f"{tmp_path}/idp.pem", required=True)
    found = Settings(xua=xua, mllp=Mllp(listen="127.0.0.1:2575"))
    assert without_person(found) == ["mllp.listen"]
    with caplog.at_level(logging.WARNING):
        check_listen(Loaded(found, {}))
    (said,) = [one for one in caplog.records if one.message == "addresses.without_person"]
    assert said.__dict__["addresses"] == "mllp.listen"


def test_a_token_in_the_address_is_none(strict: Site) -> None:
    assert asked(strict, f"/dicomweb/studies?access_token={quote(signed())}")[0] == 401
