"""Audit messages of the other events against golden ones, typed from the facts as those of ``test_events`` are.

ITI TF-2: 3.8, 3.44, 3.51, 3.57, 3.61, 3.62, 3.81, 3.86, 3.92; RAD TF-2: 4.55, 4.68, 4.107; DICOM PS3.15: A.5.3.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.audit.test_events import GOLDEN, HERE, NODE, PEER, REPOSITORY, STARTED, about_query, same, valid
from tests.builders import ANNA, AUTHORITY, BERT, a_submission, an_entry
from tests.hl7.test_v2 import adt
from tests.hl7.test_v3 import body, ii
from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.app import Application
from xds.audit.events import AuditEvent, Party, Side
from xds.audit.people import Person, asked_by
from xds.configuration import load
from xds.desk import AuditDesk, Desk, Look, hashed
from xds.domain import SERVED, AffinityDomain, transactions_of
from xds.ebxml import lcm
from xds.ebxml.xdsb import DocumentRequest, write_remove_request
from xds.metadata import to_ebxml
from xds.metadata.identifiers import EntryUuid, UniqueId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND
from xds.settings import DEFAULT_DOMAIN
from xds.store import accounts
from xds.store.audit import Recorded
from xds.store.audit_search import Wanted, found
from xds.store.deployment import with_identity
from xds.transactions.bodies import taken_out
from xds.transactions.transaction import Call
from xds.wire.addressing import Addressing
from xds.wire.http import HttpRequest
from xds.wire.metrics import Metrics
from xds.wire.soap import Message
from xds.wire.spool import Spool
from xds.wire.xml import Element, name, parse

HOST, CALLER = HERE.address, PEER.address
SET_ID, DOCUMENT_ID = UniqueId("2.25.7.1"), UniqueId("2.25.8.1")


@pytest.fixture(autouse=True)
def _stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that records are told by; and the machine has a name."""
    monkeypatch.setattr("xds.store.audit.time", SimpleNamespace(time_ns=lambda: STARTED * 1000))
    monkeypatch.setattr("socket.gethostname", lambda: HOST)


@pytest.fixture
def domain(tmp_path: Path, sqlite_template: Path) -> Iterator[AffinityDomain]:
    shutil.copyfile(sqlite_template, tmp_path / "xds.sqlite")
    put(tmp_path / "images", "1.dcm", an_instance(1))
    given = {
        "server.data": str(tmp_path), "server.database": f"sqlite:///{tmp_path}/xds.sqlite",
        "server.public_url": f"https://{HOST}", "mllp.listen": "192.0.2.1:2575",
        "audit.source_id": NODE.source_id, "audit.enterprise_site_id": NODE.enterprise_site_id,
        "domain.patients": "open", "domain.assigning_authorities": (AUTHORITY,),
        "repository.unique_id": REPOSITORY, "imaging_source.folder": str(tmp_path / "images"),
    }  # fmt: skip
    application = Application(with_identity(load(environment={}).changed(given, "command line")))
    yield application.domains[DEFAULT_DOMAIN]
    application.engine.dispose()


def asked(method: str, path: str, query: str = "", accept: str = "") -> HttpRequest:
    return HttpRequest(method, path, query, "", lambda _: b"", CALLER, f"https://{HOST}{path}", accept=accept)


def answered(domain: AffinityDomain, number: str, body: Element) -> list[Recorded]:
    """The records of a request that was answered, and whose effect was kept."""
    served = ((actor, t) for actor, (_, pages) in SERVED.items() for page in pages for t in transactions_of(page))
    actor, transaction = next(one for one in served if (one[1].number, name(one[1].request)) == (number, body.tag))
    message = Message(Addressing(transaction.action), body)
    event = domain.event(transaction, Side.RESPONDER, asked("POST", f"/{actor}"), message)
    call = Call(transaction, body, message, domain.actors, domain.database.work(), event)
    with Spool(domain.database.blobs.staging) as spool:
        call.contents = taken_out(transaction, body, {}, spool)
        reply = transaction.respond(call)
        call.work.commit()
    return call.ended(failed=reply.failed, findings=reply.findings)


def kept(domain: AffinityDomain) -> list[Recorded]:
    """Every record in the log, oldest first."""
    with domain.database.engine.connect() as connection:
        return found(connection, Wanted(), 10)[::-1]


def are(records: Sequence[Recorded], *goldens: str) -> bool:
    for record in records:
        valid(record.message)
    return all(same(record.message, golden) for record, golden in zip(records, goldens, strict=True))


def fed(domain: AffinityDomain, *messages: str) -> list[Recorded]:
    for message in messages:
        domain.feeding().answer(message.encode(), CALLER)
    return kept(domain)


@pytest.mark.parametrize("event", ["A01", "A08"])
def test_a_patient_who_is_fed_by_hl7_v2_is_created_or_updated(domain: AffinityDomain, event: str) -> None:
    assert are(fed(domain, adt(event)), f"iti8_responder_{event.lower()}")


def test_a_merge_by_hl7_v2_deletes_one_patient_and_updates_the_other(domain: AffinityDomain) -> None:
    records = fed(domain, adt(), adt(pid=str(BERT)), adt("A40", mrg=str(BERT)))
    assert are(records[2:], "iti8_responder_a40_subsumed", "iti8_responder_a40_surviving")


def test_a_patient_whom_the_registry_refuses_was_to_be_created(domain: AffinityDomain) -> None:
    assert are(fed(domain, adt(pid="x^^^&1.9.9&ISO")), "iti8_responder_a01_refused")


def test_a_patient_who_is_fed_by_hl7_v3_is_created(domain: AffinityDomain) -> None:
    assert are(answered(domain, "ITI-44", body()), "iti44_responder_add")


def test_a_merge_by_hl7_v3_deletes_one_patient_and_updates_the_other(domain: AffinityDomain) -> None:
    fed(domain, adt(), adt(pid=str(BERT)))
    records = answered(domain, "ITI-44", body("PRPA_IN201304UV02", prior=ii(BERT)))
    assert are(records, "iti44_responder_merge_subsumed", "iti44_responder_merge_surviving")


# Documents and metadata.


def sent(submission: Submission) -> Element:
    return lcm.write_submit_objects(to_ebxml.submission(submission))


def provided(domain: AffinityDomain) -> list[Recorded]:
    """The records of a document in DICOM that was provided."""
    entry = an_entry(unique_id=DOCUMENT_ID, hash=None, size=None, repository_unique_id=None)
    request = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
    request.append(sent(a_submission(entries=[entry], unique_id=SET_ID)))
    etree.SubElement(request, name("xds:Document"), id=entry.entry_uuid).text = "AAAA"
    return answered(domain, "ITI-41", request)


def test_a_query_of_several_patients_is_a_record_of_each(domain: AffinityDomain) -> None:
    for patient in (ANNA, BERT):
        answered(domain, "ITI-42", sent(a_submission(patient=patient)))
    golden = parse((GOLDEN / "iti51_responder_anna.xml").read_bytes())
    query = base64.b64decode(golden.findtext(".//ParticipantObjectQuery") or "")
    records = answered(domain, "ITI-51", parse(query))
    records.sort(key=lambda record: record.patient_id)
    assert are(records, "iti51_responder_anna", "iti51_responder_bert")


@pytest.mark.parametrize("number", ["ITI-57", "ITI-92"])
def test_an_update_of_metadata_is_an_import_that_updates(domain: AffinityDomain, number: str) -> None:
    entry = an_entry()
    answered(domain, "ITI-42", sent(a_submission(entries=[entry])))
    new = version_of(entry)
    update = an_update(replaces(new), items=[new])
    update = replace(update, submission_set=replace(update.submission_set, unique_id=SET_ID))
    assert are(answered(domain, number, sent(update)), f"iti{number[4:]}_responder")


def test_an_on_demand_entry_is_registered_as_any_other(domain: AffinityDomain) -> None:
    entry = an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    request = sent(a_submission(entries=[entry], unique_id=SET_ID))
    assert are(answered(domain, "ITI-61", request), "iti61_responder")


def test_documents_in_dicom_are_provided_by_the_transaction_of_radiology(domain: AffinityDomain) -> None:
    first, *others = provided(domain)
    assert are([first], "rad68_responder")
    assert [record.transaction for record in others] == ["ITI-42", "ITI-42"]


REMOVED = ["iti62_responder", "iti62_responder_submission_set"]


@pytest.mark.parametrize("golden", REMOVED)
def test_metadata_that_is_removed_is_named_with_what_it_was(domain: AffinityDomain, golden: str) -> None:
    with_set = golden.endswith("set")  # else the set stays, with another entry
    entry, membership, set_ = (EntryUuid(f"urn:uuid:00000000-0000-4000-8000-00000000000{n}") for n in (1, 2, 3))
    entries = [an_entry(entry_uuid=entry), *([] if with_set else [an_entry()])]
    submission = a_submission(entries=entries, entry_uuid=set_)
    member, *others = submission.associations
    submission = replace(submission, associations=(replace(member, entry_uuid=membership), *others))
    answered(domain, "ITI-42", sent(submission))
    going = lcm.write_remove_objects([entry, membership, *([set_] if with_set else [])])
    assert are(answered(domain, "ITI-62", going), golden)


def test_documents_that_are_removed_are_gone_for_good(domain: AffinityDomain) -> None:
    provided(domain)
    request = write_remove_request([DocumentRequest(REPOSITORY, DOCUMENT_ID)])
    assert are(answered(domain, "ITI-86", request), "iti86_responder")


# Images, and the audit log.


UIDS = f"studyUID={STUDY}&seriesUID={SERIES}&objectUID={SERIES}.1"
FETCHES = {
    "rad55_responder": ("/wado", f"requestType=WADO&contentType=application/dicom&{UIDS}"),
    "rad107_responder": (f"/dicomweb/studies/{STUDY}", ""),
}


@pytest.mark.parametrize("golden", FETCHES)
def test_images_go_from_the_source_to_who_asked(domain: AffinityDomain, golden: str) -> None:
    archive = domain.actors.imaging_source._archive
    assert archive is not None
    archive.refresh()
    request = asked("GET", *FETCHES[golden], 'multipart/related; type="application/dicom"')
    reply = domain.dicomweb(Metrics()).answer(request)
    assert (reply.status, len(b"".join(reply.chunks)) > 0) == (200, True)
    assert are(kept(domain), golden)


def searched(domain: AffinityDomain) -> list[Recorded]:
    request = asked("GET", "/fhir/AuditEvent", "date=ge2026-03-01")
    domain.audit_searched(request, f"{request.url}?{request.query}", "")
    return sorted(kept(domain), key=lambda record: record.event)


def test_a_search_of_the_audit_log_is_a_query(domain: AffinityDomain) -> None:
    assert are(searched(domain)[1:], "iti81_responder_query")


def test_a_search_of_the_audit_log_is_a_use_of_it(domain: AffinityDomain) -> None:
    assert are(searched(domain)[:1], "iti81_responder_log_used")


def test_an_auditor_who_reads_the_log_is_on_record(domain: AffinityDomain) -> None:
    desk = AuditDesk(domain.database.engine, domain.settings, domain.node, domain.record)
    desk.looked(Look("auditor", CALLER), {})
    assert are(kept(domain), "audit_log_used")


# Security.


@pytest.mark.parametrize(("starts", "golden"), [(True, "application_start"), (False, "application_stop")])
def test_an_application_starts_and_stops_as_its_process(starts: bool, golden: str) -> None:
    assert are(AuditEvent.application(NODE, starts=starts).records(), golden)


def test_somebody_signs_in_or_does_not_and_signs_out(domain: AffinityDomain) -> None:
    desk = Desk(domain.database.engine, domain.node, domain.record)
    with domain.database.engine.begin() as connection:
        accounts.add(connection, "anna", "auditor", hashed("secret"))
    assert desk.sign_in("anna", "wrong", CALLER) == ""
    desk.sign_out(desk.sign_in("anna", "secret", CALLER), CALLER)
    assert are(kept(domain), "login_failed", "login", "logout")


def test_a_node_that_is_not_authenticated_is_an_alert(domain: AffinityDomain) -> None:
    domain.stranger("192.0.2.66", "TLS: CERTIFICATE_VERIFY_FAILED")
    assert are(kept(domain), "node_authentication_failed")


def test_settings_that_have_changed_are_an_alert_about_the_configuration() -> None:
    assert are(AuditEvent.settings_changed(NODE, "110129", ["tls.trusted"]).records(), "configuration_changed")


def test_an_account_that_has_changed_is_an_alert_about_a_resource() -> None:
    who = Party("xds user", "localhost", ours=True, requestor=True)
    alert = AuditEvent.security_alert(NODE, "110137", who, "xds:account:anna", "account removed")
    assert are(alert.records(), "user_changed")


def test_an_emergency_override_is_an_alert_beside_the_record_of_what_was_done() -> None:
    with asked_by(Person("anna", overrides=True)):
        event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Registry Stored Query"), PEER, HERE)
    about_query(event)
    event.end(failed=False)
    assert are(event.records()[1:], "emergency_override")
