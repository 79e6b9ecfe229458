"""The Patient Identity Feed over both of its ways: who is known, who goes on as whom, and what the audit says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, AUTHORITY, BERT, a_submission
from tests.conftest import wait_for
from tests.hl7.test_v2 import adt
from tests.hl7.test_v3 import body, hl7, ii, interaction
from tests.hostile.server import Served
from tests.server.test_application import Site, site
from xds.demo.site import free_port
from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Unusable
from xds.metadata import to_ebxml
from xds.metadata.identifiers import Oid, PatientId
from xds.server.application import Application
from xds.settings.configuration import load
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted, found
from xds.store.deployment import with_identity
from xds.store.registry import patients
from xds.transactions import iti42_register_document_set_b as iti42
from xds.wire.mllp import send
from xds.wire.xml import parse

__all__ = ["site"]

FOREIGN = PatientId("x", Oid("1.9.9"))


def fed(site: Site, message: str) -> str:
    """An ITI-8 message; its MSA and what follows."""
    feeding = site.application.domains[DEFAULT_DOMAIN].feeding()
    return feeding.answer(message.encode(), "192.0.2.7").decode().split("\r", 1)[1]


def fed_v3(site: Site, name: str, **parts: str) -> tuple[str, str]:
    """An ITI-44 interaction; its acknowledgement's code and reason."""
    element = body(name, **parts)
    answer = site.send("/registry", f"urn:hl7-org:v3:{name}", [etree.tostring(element)], mtom=False).body
    (code,) = (e.get("code", "") for e in answer.iterfind(hl7("acknowledgement/typeCode")))
    return code, answer.findtext(hl7("acknowledgement/acknowledgementDetail/text")) or ""


def known(site: Site) -> list[PatientId]:
    with site.application.engine.connect() as connection:
        return list(patients.all_of(connection, "default"))


def merged(site: Site) -> list[tuple[PatientId, PatientId]]:
    with site.application.engine.connect() as connection:
        return list(patients.merges(connection, "default"))


def records(site: Site, transaction: str) -> list[Recorded]:
    with site.application.engine.connect() as connection:
        return found(connection, Wanted(transaction=transaction), 10)


def outcomes(site: Site, transaction: str) -> list[tuple[str, str, int]]:
    """Action, patient and outcome of each record, oldest first."""
    found = []
    for item in reversed(records(site, transaction)):
        root = etree.fromstring(item.message)
        found.append((root[0].get("EventActionCode", ""), item.patient_id, item.outcome))
    return found


def test_a_patient_is_made_known_by_either_way(site: Site) -> None:
    assert fed(site, adt("A04", pid=str(ANNA))) == "MSA|AA|17\r"
    assert fed_v3(site, "PRPA_IN201301UV02", ids=ii(BERT)) == ("CA", "")
    assert known(site) == [ANNA, BERT]
    assert outcomes(site, "ITI-8") == [("C", str(ANNA), 0)]
    assert outcomes(site, "ITI-44") == [("C", str(BERT), 0)]
    # Once more is no error, and changes nothing.
    assert fed(site, adt("A01", pid=str(BERT))) == "MSA|AA|17\r"
    assert known(site) == [ANNA, BERT]


def test_what_is_revised_of_a_patient_is_nothing_to_a_registry(site: Site) -> None:
    assert fed(site, adt("A08")) == "MSA|AA|17\r"
    assert fed_v3(site, "PRPA_IN201302UV02") == ("CA", "")
    assert known(site) == []
    assert outcomes(site, "ITI-8") == [("U", str(ANNA), 0)]
    assert outcomes(site, "ITI-44") == [("U", str(ANNA), 0)]


def test_what_is_revised_of_a_stranger_is_acknowledged_and_recorded(site: Site) -> None:
    assert fed(site, adt("A08", pid="x^^^&1.9.9&ISO")) == "MSA|AA|17\r"
    assert len(outcomes(site, "ITI-8")) == 1


@pytest.mark.parametrize("way", ["ITI-8", "ITI-44"])
def test_a_merge_leaves_a_record_of_each_patient(site: Site, way: str) -> None:
    for patient in (ANNA, BERT):
        fed(site, adt("A01", pid=str(patient)))
    if way == "ITI-8":
        assert fed(site, adt("A40", pid=str(ANNA), mrg=str(BERT))) == "MSA|AA|17\r"
    else:
        assert fed_v3(site, "PRPA_IN201304UV02", ids=ii(ANNA), prior=ii(BERT)) == ("CA", "")
    assert merged(site) == [(BERT, ANNA)]
    assert outcomes(site, way)[-2:] == [("D", str(BERT), 0), ("U", str(ANNA), 0)]


@pytest.mark.parametrize(
    ("surviving", "subsumed", "why"),
    [
        (ANNA, ANNA, "itself"),
        (ANNA, PatientId("nobody", AUTHORITY), "the subsumed patient is unknown"),
        (PatientId("nobody", AUTHORITY), ANNA, "the surviving patient is unknown"),
        (FOREIGN, ANNA, "assigning authority"),
        (ANNA, FOREIGN, "assigning authority"),
        (BERT, ANNA, "the surviving patient is unknown, or merged away"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_either_way_and_changes_nothing(
    site: Site, surviving: PatientId, subsumed: PatientId, why: str
) -> None:
    carl = PatientId("carl", AUTHORITY)
    for patient in (ANNA, BERT, carl):
        fed(site, adt("A01", pid=str(patient)))
    fed(site, adt("A40", pid=str(carl), mrg=str(BERT)))
    refused = fed(site, adt("A40", pid=str(surviving), mrg=str(subsumed)))
    # ERR of the version asked in, 2.3.1: one field, and the reason in MSA-3 (HL7 v2.3.1: 2.24.3.1).
    assert re.fullmatch(r"MSA\|AE\|17\|[^|\r]+\rERR\|\^\^\^204&Unknown key identifier&HL70357\r", refused)
    assert why in refused
    code, reason = fed_v3(site, "PRPA_IN201304UV02", ids=ii(surviving), prior=ii(subsumed))
    assert code == "CE"
    assert why in reason
    assert merged(site) == [(BERT, carl)]
    assert records(site, "ITI-8")[0].outcome == records(site, "ITI-44")[0].outcome == 4


@pytest.mark.parametrize(
    ("message", "starts"),
    [
        ("nonsense", r"MSA\|AR\|\|[^|\r]+\rERR\|\^\^\^100&"),
        (adt("A02"), r"MSA\|AR\|17\|[^|\r]+\rERR\|MSH\^1\^9\^201&"),
        (adt(pid=""), r"MSA\|AE\|17\|[^|\r]+\rERR\|PID\^1\^3\^101&"),
        (adt(pid=str(FOREIGN)), r"MSA\|AE\|17\|[^|\r]+\rERR\|\^\^\^204&"),
        (adt(version="2.5", pid=""), r"MSA\|AE\|17\rERR\|\|PID\^1\^3\|101\^"),
        (adt(charset="nonsense"), r"MSA\|AE\|17\|MSH-18[^|\r]+\rERR\|MSH\^1\^18\^103&"),
    ],
)
def test_a_message_that_says_nothing_of_a_patient_of_ours_is_refused_and_recorded(
    site: Site, message: str, starts: str
) -> None:
    assert re.match(starts, fed(site, message))
    assert known(site) == []
    (record,) = records(site, "ITI-8")
    assert record.outcome == 4


@pytest.mark.parametrize(
    ("encoding", "declared", "code"),
    [("iso8859-15", "8859/15", "AA"), ("utf-8-sig", "", "AA"), ("utf-16", "", "AE"), ("utf-16", "UTF-16", "AE")],
)
def test_a_patient_is_known_by_the_id_that_was_sent_or_the_sender_is_told_which_message_was_refused(
    site: Site, encoding: str, declared: str, code: str
) -> None:
    sent = adt(pid=f"€1^^^&{AUTHORITY}&ISO", charset=declared).encode(encoding)
    answer = site.application.domains[DEFAULT_DOMAIN].feeding().answer(sent, "192.0.2.7")
    assert answer.split(b"\r")[1].startswith(f"MSA|{code}|17".encode())
    assert known(site) == ([PatientId("€1", AUTHORITY)] if code == "AA" else [])


def test_an_interaction_without_a_patient_is_refused_and_recorded(site: Site) -> None:
    code, reason = fed_v3(site, "PRPA_IN201301UV02", ids="")
    assert (code, "subject1/patient/id" in reason) == ("CE", True)
    assert records(site, "ITI-44")[0].outcome == 4


def test_an_acknowledgement_of_hl7_v3_comes_from_an_oid_of_this_deployment(site: Site) -> None:
    """Where the message names its receiver by no OID; not the audit source's name."""
    own = site.application.domains[DEFAULT_DOMAIN].own.home_community_id
    element = parse(interaction().replace('<id root="1.2.8"/>', '<id root="xds"/>').encode())
    for ids in (element, parse(interaction(ids="").encode())):
        action = "urn:hl7-org:v3:PRPA_IN201301UV02"
        answer = site.send("/registry", action, [etree.tostring(ids)], mtom=False).body
        (found,) = answer.iterfind(hl7("sender/device/id"))
        assert found.get("root") == (own if ids is element else "1.2.8")


def test_the_record_names_message_source_and_destination(site: Site) -> None:
    fed(site, adt())
    root = etree.fromstring(records(site, "ITI-8")[0].message)
    assert [p.get("UserID") for p in root.iterfind("ActiveParticipant")] == ["NORTH|ADT", "REGION|XDS"]
    (detail,) = root.iterfind(".//ParticipantObjectDetail")
    assert (detail.get("type"), detail.get("value")) == ("MSH-10", "MTc=")


def test_without_its_record_nothing_is_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xds.endpoints.mllp.record", full)
    assert fed(site, adt()).endswith("\rERR|^^^207&Application internal error&HL70357\r")
    assert known(site) == []


def test_who_is_merged_away_is_known_no_more_to_a_submission(site: Site) -> None:
    for patient in (ANNA, BERT):
        fed(site, adt("A01", pid=str(patient)))
    fed(site, adt("A40", pid=str(ANNA), mrg=str(BERT)))
    submitted = lcm.write_submit_objects(to_ebxml.submission(a_submission(patient=BERT)))
    answer = site.send("/registry", iti42.TRANSACTION.action, [etree.tostring(submitted)], mtom=False)
    assert [finding.code for finding in rs.read_response(answer.body)[1]] == [ErrorCode.UNKNOWN_PATIENT_ID]


def test_what_the_database_breaks_off_is_begun_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = site.application.domains[DEFAULT_DOMAIN].actors.registry
    feed, left = registry.feed, [sa.exc.OperationalError("SELECT", {}, psycopg.errors.DeadlockDetected())]

    def once_more(*given: Any) -> Any:
        done = feed(*given)
        if left:
            raise left.pop()
        return done

    monkeypatch.setattr(registry, "feed", once_more)
    monkeypatch.setattr("xds.endpoints.mllp.PAUSES", (0.01,))
    assert fed(site, adt()).startswith("MSA|AA|17")
    assert known(site) == [ANNA]
    assert [record.outcome for record in records(site, "ITI-8")] == [0]
    left += [sa.exc.OperationalError("SELECT", {}, psycopg.errors.DeadlockDetected())] * 2
    assert fed(site, adt(pid=str(BERT))).endswith("\rERR|^^^207&Application internal error&HL70357\r")
    assert known(site) == [ANNA]


@pytest.mark.parametrize("entry", ["NS", "NS=", "=1.2", "NS=x"])
def test_a_namespace_without_its_oid_is_said_so(tmp_path: Path, entry: str) -> None:
    given: dict[str, Any] = {"server.data": str(tmp_path), "mllp.namespaces": (entry,)}
    application = Application(with_identity(load(environment={}).changed(given, "command line")))
    with pytest.raises(Unusable, match=r"mllp\.namespaces"):
        application.domains[DEFAULT_DOMAIN].feeding()
    application.close()


def test_a_server_listens_where_it_is_told_for_each_domain_and_stops_when_it_is_told(tmp_path: Path) -> None:
    port, north = free_port(), free_port()
    served = Served(
        tmp_path,
        {
            "mllp": {"listen": f"127.0.0.1:{port}", "namespaces": [f"NS={AUTHORITY}"]},
            "domain": {"patients": "feed"},
            "domains.north": {"mllp_listen": f"127.0.0.1:{north}", "assigning_authorities": [AUTHORITY]},
        },
    ).start()

    def answered(to: int, pid: str) -> bool:
        try:
            return b"MSA|AA|17" in send("127.0.0.1", to, adt(pid=pid).encode())
        except OSError:
            return False

    try:
        wait_for(lambda: answered(port, "anna^^^NS"))
        wait_for(lambda: answered(north, "bert^^^NS"))
        # Who was fed may now be submitted for.
        assert served.retrieved(served.provide(b"x", tmp_path / "spool")) == b"x"
    finally:
        assert served.stop() == 0
    engine = sa.create_engine(f"sqlite:///{served.data}/xds.sqlite")
    with engine.connect() as connection:
        assert list(patients.all_of(connection, "default")) == [ANNA]
        assert list(patients.all_of(connection, "north")) == [BERT]
    engine.dispose()
