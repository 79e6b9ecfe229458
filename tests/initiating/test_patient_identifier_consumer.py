"""Whose a patient id is, asked of a PIX Manager: each of three transactions over real sockets, and bad answers."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.builders import AUTHORITY, REPOSITORY
from tests.imaging.images import an_instance, put
from tests.initiating.test_publisher import Follower
from tests.server.test_application import serving
from xds.archives.interface import NotAnswering
from xds.archives.patients import PatientTable
from xds.audit.messages.codes import Outcome
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.errors import Unusable
from xds.hl7 import pix, v2, v3
from xds.imaging.manifest import Patient
from xds.initiating import patient_identifier_consumer
from xds.initiating.patient_identifier_consumer import CrossReferenced, PixManager, Question, manager
from xds.metadata.identifiers import Oid, PatientId, is_oid
from xds.settings.sections import Tls
from xds.store.tables import audit_record
from xds.wire.mllp import Listener
from xds.wire.soap import around
from xds.wire.spool import Spool
from xds.wire.xml import name, parse

MRN, ANNA, SOURCE = PatientId("MRN^1&2", Oid("1.2.3.50")), PatientId("ann\u00e1", AUTHORITY), Oid("1.2.3.99")


def ignored(_question: Question) -> None:
    """What becomes of a question that is put on no record."""


def told(own: PatientId) -> PatientId | None:
    """What these managers know."""
    return ANNA if own == MRN else None


# Managers that listen.


@contextmanager
def by_mllp(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    going_on = threading.Event()
    listener = Listener("127.0.0.1", 0, lambda message, *_peer: answer(message))
    thread = threading.Thread(target=listener.serve, args=(lambda: not going_on.is_set(),))
    thread.start()
    yield f"mllp://127.0.0.1:{listener.port}"
    going_on.set()
    thread.join()


@contextmanager
def by_http(answer: Callable[[str, bytes], tuple[int, str, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/pix"
        server.shutdown()
        thread.join()


def as_rsp(message: bytes) -> bytes:
    """RSP^K23 as the text has it: OK with a PID, or an error that says the id is not known."""
    text = message.decode()
    head = v2.header(text)
    qpd = next(line for line in text.split("\r") if line.startswith("QPD"))
    (own,) = (PatientId.parse(qpd.split("|")[3]),)
    found = told(own)
    tag = qpd.split("|")[2]
    lines = [
        "MSH|^~\\&|PIX|REGION|XDS||20260301080000||RSP^K23^RSP_K23|9|P|2.5",
        f"MSA|{'AA' if found else 'AE'}|{head.control_id}",
        *([] if found else ["ERR||QPD^1^3^1^1|204^Unknown Key Identifier^HL70357|E"]),
        f"QAK|{tag}|{'OK' if found else 'AE'}", qpd,
        *([f"PID|||x^^^&1.9.9&ISO~{found}||^^^^^^S"] if found else []),
    ]  # fmt: skip
    return "".join(f"{line}\r" for line in lines).encode()


def as_v3(found: PatientId | None, code: str = "OK") -> bytes:
    root = etree.Element(name(f"hl7:{pix.ANSWER}"), nsmap={None: v3.NAMESPACES["hl7"]})  # type: ignore[dict-item]
    act = v3.add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    if found is not None:
        event = v3.add(v3.add(act, "subject", typeCode="SUBJ"), "registrationEvent")
        patient = v3.add(v3.add(event, "subject1"), "patient")
        v3.add(patient, "id", root="1.9.9", extension="x")
        v3.add(patient, "id", root=found.authority, extension=found.id)
    v3.add(v3.add(act, "queryAck"), "queryResponseCode", code=code)
    return etree.tostring(root)


def soap(_path: str, request: bytes) -> tuple[int, str, bytes]:
    value = parse(request).find(f".//{name('hl7:patientIdentifier')}/{name('hl7:value')}")
    assert value is not None
    found = told(PatientId(value.get("extension", ""), Oid(value.get("root", ""))))
    head, tail = around(())
    return 200, "application/soap+xml", head + as_v3(found, "OK" if found else "NF") + tail


def fhir(path: str, _request: bytes) -> tuple[int, str, bytes]:
    asked = parse_qs(urlsplit(path).query)
    system, _, value = asked["sourceIdentifier"][0].partition("|")
    assert asked["targetSystem"] == [f"urn:oid:{AUTHORITY}"]
    found = told(PatientId(value, Oid(system.removeprefix("urn:oid:"))))
    if found is None:
        return 404, "application/fhir+json", b'{"resourceType": "OperationOutcome"}'
    identifier = {"system": f"urn:oid:{found.authority}", "value": found.id}
    parameters = [
        {"name": "targetId", "valueReference": {"reference": "Patient/1"}},
        {"name": "targetIdentifier", "valueIdentifier": {"system": "urn:oid:1.9.9", "value": "x"}},
        {"name": "targetIdentifier", "valueIdentifier": identifier},
    ]
    return 200, "application/fhir+json", json.dumps({"resourceType": "Parameters", "parameter": parameters}).encode()


@contextmanager
def asked_at(kind: str, tmp_path: Path) -> Iterator[PixManager]:
    spool = Spool(tmp_path)
    if kind == "ITI-9":
        with by_mllp(as_rsp) as url:
            yield manager(url, False, Tls(), spool, SOURCE)
    else:
        with by_http(soap if kind == "ITI-45" else fhir) as url:
            yield manager(url, kind == "ITI-83", Tls(), spool, SOURCE)


@pytest.mark.parametrize("kind", ["ITI-9", "ITI-45", "ITI-83"])
def test_a_manager_says_who_a_patient_is_and_whom_it_does_not_know(kind: str, tmp_path: Path) -> None:
    questions = list[Question]()
    with asked_at(kind, tmp_path) as asked:
        assert asked.transaction[0] == kind
        assert asked.ask(MRN, AUTHORITY, questions.append) == ANNA
        assert asked.ask(PatientId("nobody", MRN.authority), AUTHORITY, questions.append) is None
        assert len(questions) == 2


# Bad answers.


RSP = as_rsp(pix.v2_query(MRN, AUTHORITY, "N|XDS", "").message)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello",
        RSP,  # to another question
        b"MSH|^~\\&|PIX||||20260301||ACK|9|P|2.5\rMSA|AR|CONTROL\r",
        b"MSH|^~\\&|PIX||||20260301||RSP^K23|9|P|2.5\rMSA|AE|CONTROL\rERR|||207|E\rQAK|x|AE\r",
        b"MSH|^~\\&|PIX||||20260301||RSP^K23|9|P|2.5\rMSA|AA|CONTROL\rQAK|x|OK\rPID|||a\\Z\\^^^&1.2&ISO\r",
    ],
)
def test_an_answer_over_mllp_that_is_none_is_no_answer(answer: bytes, tmp_path: Path) -> None:
    def reply(message: bytes) -> bytes:
        return answer.replace(b"CONTROL", v2.header(message.decode()).control_id.encode())

    with by_mllp(reply) as url, pytest.raises(NotAnswering):
        manager(url, False, Tls(), Spool(tmp_path), SOURCE).ask(MRN, AUTHORITY, ignored)


@pytest.mark.parametrize("body", [as_v3(None, "AE"), as_v3(None), as_v3(None, "XX"), b"<other/>"])
def test_an_answer_over_soap_that_is_none_is_no_answer(body: bytes, tmp_path: Path) -> None:
    head, tail = around(())
    with by_http(lambda *_: (200, "application/soap+xml", head + body + tail)) as url:
        asked = manager(url, False, Tls(), Spool(tmp_path), SOURCE)
        if b'"OK"' in body:
            assert asked.ask(MRN, AUTHORITY, ignored) is None
        else:
            with pytest.raises(NotAnswering):
                asked.ask(MRN, AUTHORITY, ignored)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b""),
        (200, b"{"),
        (200, b"[]"),
        (200, b'{"resourceType": "Bundle"}'),
        (200, b"[" * 100_000),
        (200, b'{"resourceType": "Parameters", "parameter": [{"name": "targetIdentifier", "valueIdentifier": '
              b'{"system": "urn:oid:1.2.3.4.5", "value": "\\u0000"}}]}'),
    ],
)  # fmt: skip
def test_an_answer_in_fhir_that_is_none_is_no_answer(status: int, body: bytes, tmp_path: Path) -> None:
    with by_http(lambda *_: (status, "application/fhir+json", body)) as url, pytest.raises(NotAnswering):
        manager(url, True, Tls(), Spool(tmp_path), SOURCE).ask(MRN, AUTHORITY, ignored)


@pytest.mark.parametrize("url", ["mllp://127.0.0.1:1", "http://127.0.0.1:1"])
@pytest.mark.parametrize("fhir", [False, True])
def test_nobody_there_is_no_answer(url: str, fhir: bool, tmp_path: Path) -> None:
    if fhir and url.startswith("mllp"):
        with pytest.raises(Unusable):
            manager(url, fhir, Tls(), Spool(tmp_path), SOURCE)
    else:
        with pytest.raises(NotAnswering):
            manager(url, fhir, Tls(), Spool(tmp_path), SOURCE).ask(MRN, AUTHORITY, ignored)


@pytest.mark.parametrize(
    "url", ["mllp://somewhere", "mllp://x:1/A|B/C", "mllp://x:1/A/B/C", "ftp://somewhere", "somewhere"]
)
def test_what_is_no_address_is_said_so(url: str, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"^pix"):
        manager(url, False, Tls(), Spool(tmp_path), SOURCE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("resourceType", "parameter", "name", "valueIdentifier", "system", "value")), inner
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_no_resource_breaks_the_reader(resource: Any) -> None:
    with suppress(pix.NotUnderstood):
        pix.fhir_answer(resource, AUTHORITY)
    with suppress(pix.NotUnderstood):
        pix.fhir_answer({"resourceType": "Parameters", "parameter": resource}, AUTHORITY)


@given(st.text())
def test_no_message_breaks_the_reader(text: str) -> None:
    query = pix.v2_query(MRN, AUTHORITY, "N|XDS", "")
    head = f"MSH|^~\\&|PIX||||20260301||RSP^K23|9|P|2.5\rMSA|AA|{query.control_id}\r"
    for answer in (text, head + text, f"{head}QAK|x|OK\rPID|||{text}\r"):
        with suppress(pix.NotUnderstood):
            pix.v2_answer(answer.encode("utf-8", "replace"), query, AUTHORITY)


# With the table before it, remembered, and on record.


class Knowing:
    """A manager that counts how often it is asked."""

    url, transaction = "http://pix.example", ("ITI-83", "Query")

    def __init__(self) -> None:
        self.asked, self.deaf = list[PatientId](), False

    def ask(self, own: PatientId, wanted: Oid, asked: Callable[[Question], None]) -> PatientId | None:
        assert wanted == AUTHORITY
        self.asked.append(own)
        asked(Question("Q", b"the question"))
        if self.deaf:
            raise NotAnswering("no answer")
        return told(own)


@pytest.fixture
def knowing() -> Knowing:
    return Knowing()


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


@pytest.fixture
def patients(knowing: Knowing, events: list[AuditEvent], tmp_path: Path) -> CrossReferenced:
    path = tmp_path / "patients.csv"
    path.write_text(f"T1^^^&1.2.3.50&ISO,{ANNA}\n")
    here, there = Party("here", "127.0.0.1", ours=True), Party("there", "127.0.0.2")

    def event(transaction: tuple[str, str], _url: str) -> AuditEvent:
        return AuditEvent(AuditSource("xds", ""), "110112", "E", transaction, here, there)

    return CrossReferenced(PatientTable(path, [AUTHORITY], ""), knowing, AUTHORITY, event, events.append)


def test_the_table_and_the_domains_own_ids_need_no_question(patients: CrossReferenced, knowing: Knowing) -> None:
    assert patients.mapped(PatientId("T1", MRN.authority)) == ANNA
    own = patients.own(Patient(id="bert", issuer_oid=AUTHORITY))
    assert own is not None
    assert patients.mapped(own) == own
    assert patients.own(Patient(id="bert")) is None
    assert knowing.asked == []


def test_an_answer_is_remembered_for_a_while(
    patients: CrossReferenced, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = PatientId("nobody", MRN.authority)
    for _ in range(2):
        assert patients.mapped(MRN) == ANNA
        assert patients.mapped(nobody) is None
    assert knowing.asked == [MRN, nobody]
    monkeypatch.setattr(patient_identifier_consumer, "KNOWN", 1)
    monkeypatch.setattr(patient_identifier_consumer, "KNOWN_SECONDS", 0.0)
    monkeypatch.setattr(patient_identifier_consumer, "UNKNOWN_SECONDS", 0.0)
    patients.mapped(PatientId("third", MRN.authority))
    assert patients.mapped(MRN) == ANNA
    assert patients.mapped(MRN) == ANNA
    assert knowing.asked[3:] == [MRN, MRN]


def test_each_question_is_on_record_with_the_patient_and_how_it_ended(
    patients: CrossReferenced, knowing: Knowing, events: list[AuditEvent]
) -> None:
    patients.mapped(MRN)
    knowing.deaf = True
    with pytest.raises(NotAnswering):
        patients.mapped(PatientId("third", MRN.authority))
    assert [(e.outcome, e.patient_id) for e in events] == [
        (Outcome.SUCCESS, str(MRN)), (Outcome.SERIOUS_FAILURE, f"third^^^&{MRN.authority}&ISO"),
    ]  # fmt: skip
    (record,) = events[0].records()
    assert b"ITI-83" in record.message
    assert all(b64encode(b"the question") in record.message for event in events for record in event.records())


def test_a_study_is_published_as_whom_the_manager_says(tmp_path: Path) -> None:
    dataset = an_instance(1)
    dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = MRN.id, []
    put(tmp_path / "images", "1.dcm", dataset)
    with by_http(fhir) as url:
        text = (
            f'[repository]\nunique_id = "{REPOSITORY}"\n[imaging_source]\nfolder = "{tmp_path / "images"}"\n'
            f'pixm = "{url}"\nissuer = "{MRN.authority}"\npublish_quiet_seconds = 0.0\n'
        )
        with serving(f"sqlite:///{tmp_path / 'xds.db'}", tmp_path, text) as site:
            follower = Follower(site, tmp_path / "images", tmp_path / "none")
            follower.step()
            assert (follower.state.state, follower.state.patient_id) == ("published", str(ANNA))
            with site.application.engine.connect() as connection:
                rows = connection.execute(sa.select(audit_record).where(audit_record.c.transaction == "ITI-83")).all()
    assert [(row.event, row.outcome, row.patient_id) for row in rows] == [("110112", 0, str(MRN))]


def test_a_question_in_hl7_v3_is_what_the_schema_of_its_parts_wants() -> None:
    root = parse(pix.v3_query(MRN, AUTHORITY, SOURCE, AUTHORITY).message)
    assert [child.tag.rpartition("}")[2] for child in root] == [
        "id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode", "receiver",
        "sender", "controlActProcess",
    ]  # fmt: skip


def test_a_query_by_hl7_v3_names_sender_and_receiver_by_oids() -> None:
    """As IHE wants the ids of devices to be (ITI TF-2: Table O.1.2-1)."""
    root = parse(pix.v3_query(MRN, AUTHORITY, SOURCE, AUTHORITY).message)
    ids = {tag: root.find(f"{{*}}{tag}/{{*}}device/{{*}}id") for tag in ("sender", "receiver")}
    assert {tag: None if id_ is None else id_.get("root") for tag, id_ in ids.items()} == {
        "sender": SOURCE, "receiver": AUTHORITY,
    }  # fmt: skip
    assert all(is_oid(one) for one in (SOURCE, AUTHORITY))


@pytest.mark.parametrize(("id_", "said"), [("anna", ""), ("änna", "UNICODE UTF-8")])
def test_a_query_by_hl7_v2_says_its_character_set_where_that_matters(id_: str, said: str) -> None:
    message = pix.v2_query(PatientId(id_, AUTHORITY), AUTHORITY, "a|b", "").message.decode()
    assert v2.header(message).character_set == said


def test_a_manager_of_v2_3_1_that_does_not_know_an_id_is_understood() -> None:
    query = pix.v2_query(MRN, AUTHORITY, "a|b", "")
    error = f"MSA|AE|{query.control_id}|unknown\rERR|QPD^1^3^204&Unknown key identifier&HL70357\r"
    answer = f"MSH|^~\\&|PIX||||20260301||RSP^K23|9|P|2.3.1\r{error}QAK|x|AE\r"
    assert pix.v2_answer(answer.encode(), query, AUTHORITY) is None
