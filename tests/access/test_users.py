"""X-User Assertion at a running site: who asked stands in each record of what was done for them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from lxml import etree

from tests.assertions import ISSUER, Claims, an_issuer, signed
from tests.builders import a_submission, an_entry
from tests.cli.command import xds
from tests.server.test_application import ANNA, Site, of_bytes, serving
from xds.access.users import Users
from xds.audit.messages.message import AuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.messages.people import is_person
from xds.audit.search.indexing import by_values, indexed
from xds.errors import Unusable
from xds.settings.access import Xua
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.search import Wanted
from xds.store.tables import audit_record, used_token
from xds.store.used import first_use
from xds.wire.assertion import BEARER, HOLDER_OF_KEY, Code
from xds.wire.certificates import Certificate
from xds.wire.client import Faulted
from xds.wire.faults import Fault
from xds.wire.http import HttpRequest
from xds.wire.xml import Element, name
from xds.wire.xua import header_block


def settings(tmp_path: Path, more: str = "") -> str:
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    return f'[xua]\ntrusted = "{tmp_path}/idp.pem"\n{more}'


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path, settings(tmp_path)) as site:
        yield site


def sent_for(site: Site, claims: Claims) -> Site:
    site.header_blocks = (header_block(signed(claims)),)
    return site


def messages(site: Site) -> list[AuditMessage]:
    columns = sa.select(audit_record.c.message).order_by(audit_record.c.id)
    site.outcomes()
    with site.application.engine.connect() as connection:
        return [read(message) for message in connection.scalars(columns)]


def people(site: Site) -> list[tuple[str, list[str]]]:
    """Each record's kind, and who asked."""
    return [
        (
            one.event.type_codes[0].code if one.event.type_codes else one.event.event_id.code,
            [participant.alternative_user_id for participant in one.participants if is_person(participant)],
        )
        for one in messages(site)
    ]


def test_all_records_of_what_is_done_for_a_person_name_them(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    sent_for(site, Claims()).provide(a_submission(entries=[entry]), [b"x"])
    site.find()
    site.retrieve(entry.unique_id)
    anna = ["Dr. Anna Meier"]
    assert people(site) == [
        ("RAD-68", anna), ("ITI-42", anna), ("ITI-42", anna), ("ITI-18", anna), ("ITI-43", anna),
    ]  # fmt: skip
    assert all(one.event.purposes_of_use[0].code == "TREATMENT" for one in messages(site))


def test_the_next_who_asks_is_not_taken_for_the_one_before(site: Site) -> None:
    sent_for(site, Claims()).find()
    site.header_blocks = ()
    site.find()
    assert people(site) == [("ITI-18", ["Dr. Anna Meier"]), ("ITI-18", [])]


@pytest.mark.parametrize("claims", [Claims(by=an_issuer("stranger")), Claims(end=-100)])
def test_an_assertion_that_is_not_believed_is_a_fault_and_on_record_as_a_failed_sign_in(
    site: Site, claims: Claims
) -> None:
    with pytest.raises(Faulted) as fault:
        sent_for(site, claims).find()
    assert "wsse" not in str(fault.value)
    assert [(number, outcome) for number, _, outcome in site.outcomes()] == [("ITI-18", 4), ("", 4)]
    query, sign_in = messages(site)
    assert (query.event.outcome_description, sign_in.event.event_id.code) == ("user not authenticated", "110114")
    assert not any("anna" in participant.user_id for one in (query, sign_in) for participant in one.participants)


def a_header(claims: Claims) -> Element:
    header = etree.Element(name("soap:Header"))
    header.append(header_block(signed(claims)))
    return header


def test_an_issuer_may_be_named_with_certificates_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    users = Users(Xua(issuers=(f"{ISSUER}?a=b={tmp_path}/idp.pem", f"{ISSUER}={tmp_path}/idp.pem")))
    person = users.person(a_header(Claims()))
    assert person is not None
    assert person.known_as == "Dr. Anna Meier"
    with pytest.raises(Fault):
        users.person(a_header(Claims(issuer="https://another.example")))


@pytest.mark.parametrize("entry", ["no-issuer.pem", "=a.pem", f"{ISSUER}=", f"{ISSUER}=/nowhere.pem"])
def test_an_issuer_that_is_named_wrongly_is_said_so(entry: str) -> None:
    with pytest.raises(Unusable, match=r"xua\.issuers"):
        Users(Xua(issuers=(entry,)))


def test_what_may_be_used_once_is_refused_by_every_process_the_second_time(site: Site) -> None:
    once = Claims(condition="<saml:OneTimeUse/>")
    sent_for(site, once).find()
    with pytest.raises(Faulted, match="OneTimeUse"):
        site.find()
    another = Users(site.application.settings.xua, site.application.engine)  # as one process beside this
    with pytest.raises(Fault, match="OneTimeUse"):
        another.person(a_header(once))
    assert another.person(a_header(replace(once, id="_a2"))) is not None


def test_what_was_used_is_forgotten_when_it_has_ended_and_no_more_are_kept_than_there_is_room_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, now = site.application.engine, datetime.now(UTC)
    monkeypatch.setattr("xds.store.used.MOST", 2)
    assert first_use(engine, "a", now - timedelta(seconds=1))
    assert first_use(engine, "b", now + timedelta(minutes=1))
    assert first_use(engine, "c", now + timedelta(minutes=1))
    assert not first_use(engine, "d", now + timedelta(minutes=1))
    with engine.connect() as connection:
        assert set(connection.scalars(sa.select(used_token.c.token))) == {"b", "c"}


def test_an_assertion_for_another_address_of_this_node_or_from_another_host_is_refused(site: Site) -> None:
    here = f'Recipient="{site.url}/registry" Address="127.0.0.1" NotOnOrAfter="{{end}}"'
    sent_for(site, Claims(confirmation=here)).find()
    for spoilt in (here.replace("/registry", "/repository"), here.replace("127.0.0.1", "127.0.0.2")):
        with pytest.raises(Faulted):
            sent_for(site, Claims(confirmation=spoilt)).find()


def test_several_keys_must_each_say_for_whom_they_speak(tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem + an_issuer("another").pem)
    with pytest.raises(Unusable, match=r"xua\.issuers"):
        Users(Xua(trusted=f"{tmp_path}/idp.pem"))


def test_a_way_of_confirming_that_nobody_knows_is_said_so() -> None:
    with pytest.raises(Unusable, match=r"xua\.methods"):
        Users(Xua(methods=("sender-vouches",)))


def test_a_person_has_what_decisions_need(tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    person = Users(Xua(trusted=f"{tmp_path}/idp.pem")).person(a_header(Claims()))
    assert person is not None
    assert (person.issuer, person.token_id, person.method) == (ISSUER, "_a1", BEARER)
    assert person.roles == (Code("223366009", "2.16.840.1.113883.6.96", "SNOMED_CT", "Radiologist"),)
    assert (person.organisations, person.organisation_ids) == (("North Hospital",), ("urn:oid:1.2.3.9",))
    assert person.until is not None
    assert datetime.now(UTC) < person.until


def test_a_keys_holder_is_known_by_the_certificate_of_the_connection(tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    users = Users(Xua(trusted=f"{tmp_path}/idp.pem"))
    client, other = (
        one.certificate.public_bytes(serialization.Encoding.DER) for one in (an_issuer("client"), an_issuer("other"))
    )
    text = base64.b64encode(client).decode()
    info = f"<ds:X509Data><ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data>"
    header = a_header(Claims(method="holder-of-key", key_info=info))
    person = users.person(header, came_by(client))
    assert person is not None
    assert person.method == HOLDER_OF_KEY
    for certificate in (other, b""):
        with pytest.raises(Fault, match="not of the key"):
            users.person(header, came_by(certificate))


def came_by(certificate: bytes) -> HttpRequest:
    found = Certificate.of(certificate) if certificate else None
    url = "https://xds.example/registry"
    return HttpRequest("POST", "/registry", "", "", lambda _: b"", "10.1.2.3", url, found)


def test_where_an_assertion_is_required_a_message_without_one_is_refused(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path, settings(tmp_path, "required = true\n")) as site:
        with pytest.raises(Faulted):
            site.find()
        sent_for(site, Claims()).find()
        assert [outcome for *_, outcome in site.outcomes()] == [4, 4, 0]


def test_an_emergency_override_is_an_alert_beside_the_retrieval_and_found_under_its_patient(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    sent_for(site, Claims(purpose="BTG", purpose_text="Break the glass")).retrieve(entry.unique_id)
    assert site.outcomes()[-2:] == [("ITI-43", "110106", 0), ("", "110113", 0)]
    with site.application.engine.begin() as connection:
        indexed(connection, search.found(connection, Wanted(), 100)).keep(connection)
        of_anna = Wanted((("patient", str(ANNA)),), event="110113")
        assert len(search.found(connection, of_anna, 9)) == 1


@pytest.mark.parametrize(("kind", "value"), [
    ("user", "dr. anna meier"), ("user", "Meier"), ("user", "MEIER, Anna"), ("user", "anna.meier"),
    ("organisation", "north hospital"), ("organisation", "North"),
])  # fmt: skip
def test_a_person_is_found_by_each_of_their_names_and_their_organisation(site: Site, kind: str, value: str) -> None:
    sent_for(site, Claims()).find()
    with site.application.engine.begin() as connection:
        indexed(connection, search.found(connection, Wanted(), 100)).keep(connection)
        assert len(search.found(connection, by_values({kind: value}), 9)) == 1
        assert store.count(connection) == 1


def test_an_assertion_that_must_be_understood_is_refused_where_none_is_read(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        block = header_block(signed())
        site.header_blocks = (block,)
        site.find()
        block.set("{http://www.w3.org/2003/05/soap-envelope}mustUnderstand", "true")
        with pytest.raises(Faulted):
            site.find()


def test_commands_send_the_assertion_that_the_settings_name_and_record_its_person(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me.xml").write_bytes(signed())
    monkeypatch.setenv("XDS_XUA_ASSERTION", str(tmp_path / "me.xml"))
    where = ("--patient", str(ANNA), "--registry", f"{site.url}/registry", "--data", tmp_path / "clinic")
    assert xds("find", *where).code == 0
    assert people(site) == [("ITI-18", ["Dr. Anna Meier"])]
    (record,) = xds("audit", "list", "--json", "--transaction", "ITI-18", "--data", tmp_path / "clinic").json
    assert record["person"] == "Dr. Anna Meier"
    monkeypatch.setenv("XDS_XUA_ASSERTION", str(tmp_path / "nowhere.xml"))
    assert "xua.assertion" in xds("find", *where).err
