"""Audit messages of the other events against golden ones, typed from the facts as those of ``test_events`` are.

ITI TF-2: 3.8, 3.44, 3.51, 3.57, 3.61, 3.62, 3.81, 3.86, 3.92; RAD TF-2: 4.55, 4.68, 4.107; DICOM PS3.15: A.5.3.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.audit.logs import NOW
from tests.audit.messages.test_events import GOLDEN, HERE, NODE, PEER, REPOSITORY, STARTED, about_query, same, valid
from tests.builders import ANNA, AUTHORITY, BERT, a_submission, an_entry
from tests.hl7.test_v2 import adt
from tests.hl7.test_v3 import body, ii
from tests.imaging.images import CT, SERIES, STUDY, an_instance, put
from tests.initiating.test_patient_identifier_consumer import as_rsp, by_http, by_mllp, fhir, soap
from tests.initiating.test_publisher import Follower
from tests.server.test_application import serving
from xds.archives.intake import Arrived
from xds.archives.patients import PatientTable
from xds.archives.web import Web
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Party, Side
from xds.audit.messages.people import Person, asked_by
from xds.cli import client, fetching
from xds.cli.manifest import studies_in
from xds.cli.progress import progress
from xds.ebxml import lcm
from xds.ebxml.xdsb import DocumentRequest, write_remove_request
from xds.endpoints.console.desk import AuditDesk, Desk, Look
from xds.endpoints.console.passwords import hashed
from xds.imaging.manifest import Patient
from xds.metadata import to_ebxml
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND
from xds.server.actors import SERVED, transactions_of
from xds.server.affinity_domain import AffinityDomain
from xds.server.application import Application
from xds.server.archives import manifest_for
from xds.settings.access import PEER_ROLES, PeerEntry
from xds.settings.configuration import load
from xds.settings.sections import DEFAULT_DOMAIN, Loaded
from xds.store import accounts, study_patients
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted, found
from xds.store.deployment import with_identity
from xds.store.tables import submission_set
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
    monkeypatch.setattr("xds.store.audit.records.time", SimpleNamespace(time_ns=lambda: STARTED * 1000))
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
    loaded = with_identity(load(environment={}).changed(given, "command line"))
    caller = PeerEntry(addresses=(CALLER,), roles=PEER_ROLES, authorities=("*",), source_ids=("*",))
    application = Application(replace(loaded, settings=replace(loaded.settings, peers={"caller": caller})))
    yield application.domains[DEFAULT_DOMAIN]
    application.close()


def asked(method: str, path: str, query: str = "", accept: str = "") -> HttpRequest:
    return HttpRequest(method, path, query, "", lambda _: b"", CALLER, f"https://{HOST}{path}", accept=accept)


def answered(domain: AffinityDomain, number: str, body: Element) -> list[Recorded]:
    """The records of a request that was answered, and whose effect was kept."""
    served = ((actor, t) for actor, (_, pages) in SERVED.items() for page in pages for t in transactions_of(page))
    actor, transaction = next(one for one in served if (one[1].number, name(one[1].request)) == (number, body.tag))
    message = Message(Addressing(transaction.action), body)
    event = domain.events.event(transaction, Side.RESPONDER, asked("POST", f"/{actor}"), message)
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
    with domain.database.engine.begin() as connection:
        study_patients.keep(connection, STUDY, str(ANNA))
    request = asked("GET", *FETCHES[golden], 'multipart/related; type="application/dicom"')
    reply = domain.dicomweb(Metrics()).answer(request)
    assert (reply.status, len(b"".join(reply.chunks)) > 0) == (200, True)
    assert are(kept(domain), golden)


def searched(domain: AffinityDomain) -> list[Recorded]:
    request = asked("GET", "/fhir/AuditEvent", "date=ge2026-03-01")
    domain.events.audit_searched(request, f"{request.url}?{request.query}", "")
    return sorted(kept(domain), key=lambda record: record.event)


def test_a_search_of_the_audit_log_is_a_query(domain: AffinityDomain) -> None:
    assert are(searched(domain)[1:], "iti81_responder_query")


def test_a_search_of_the_audit_log_is_a_use_of_it(domain: AffinityDomain) -> None:
    assert are(searched(domain)[:1], "iti81_responder_log_used")


def test_an_auditor_who_reads_the_log_is_on_record(domain: AffinityDomain) -> None:
    desk = AuditDesk(domain.database.engine, domain.settings, domain.events.node, domain.events.record)
    desk.looked(Look("auditor", CALLER), {})
    assert are(kept(domain), "audit_log_used")


# Security.


@pytest.mark.parametrize(("starts", "golden"), [(True, "application_start"), (False, "application_stop")])
def test_an_application_starts_and_stops_as_its_process(starts: bool, golden: str) -> None:
    assert are(AuditEvent.application(NODE, starts=starts).records(), golden)


def test_somebody_signs_in_or_does_not_and_signs_out(domain: AffinityDomain) -> None:
    desk = Desk(domain.database.engine, domain.events.node, domain.events.record)
    with domain.database.engine.begin() as connection:
        accounts.add(connection, "anna", "auditor", hashed("secret"))
    assert desk.sign_in("anna", "wrong", CALLER) == ""
    desk.sign_out(desk.sign_in("anna", "secret", CALLER), CALLER)
    assert are(kept(domain), "login_failed", "login", "logout")


def test_a_node_that_is_not_authenticated_is_an_alert(domain: AffinityDomain) -> None:
    domain.events.stranger("192.0.2.66", "TLS: CERTIFICATE_VERIFY_FAILED")
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


# Instances, patients and searches, by hand or by machine.


def taking(domain: AffinityDomain) -> AffinityDomain:
    """The domain, which takes instances by STOW-RS."""
    domain.settings = replace(domain.settings, imaging_source=replace(domain.settings.imaging_source, stow_rs=True))
    return domain


def test_instances_are_stored_by_stow_rs(domain: AffinityDomain, tmp_path: Path) -> None:
    put(tmp_path, "sent.dcm", an_instance(1))
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + (tmp_path / "sent.dcm").read_bytes() + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    request = replace(
        asked("POST", "/dicomweb/studies", accept="application/dicom+json"), content_type=kind, read=BytesIO(part).read
    )
    assert taking(domain).dicomweb(Metrics()).answer(request).status == 200
    assert are(kept(domain), "rad108_responder")


def test_instances_are_stored_by_an_association(domain: AffinityDomain) -> None:
    recording = domain.storage_recording("CT1", CALLER)
    arrived = Arrived(Path("sent.dcm"), CT, f"{SERIES}.1", SERIES, STUDY, Patient(id="4711"))
    recording.begin([arrived])
    recording.end([arrived])
    assert are(kept(domain), "c_store_responder")


def test_a_search_for_studies_is_a_query(domain: AffinityDomain) -> None:
    request = asked("GET", "/dicomweb/studies", "PatientID=4711", "application/dicom+json")
    reply = domain.dicomweb(Metrics()).answer(request)
    assert (reply.status, json.loads(b"".join(reply.chunks))) == (200, [])
    assert are(kept(domain), "rad129_responder")


def test_a_patient_who_is_made_known_by_hand_is_created() -> None:
    who = Party("xds patient", "localhost", ours=True, requestor=True)
    assert are(AuditEvent.patient_record(NODE, "C", who, str(ANNA)).records(), "patient_added")


@pytest.mark.parametrize("golden", ["log_archived", "log_erased"])
def test_records_that_are_erased_are_a_use_of_the_log(golden: str) -> None:
    who = Party("xds audit", "localhost", ours=True, requestor=True)
    said = "records 0 to 9: ten years are over"
    assert are(AuditEvent.log_erased(NODE, who, said, archived=golden == "log_archived").records(), golden)


def test_a_clock_that_is_wrong_is_an_alert_about_the_hardware() -> None:
    assert are(AuditEvent.clock_wrong(NODE, "7 seconds off").records(), "clock_wrong")


# What we start, over real sockets; whoever is called by a name of these examples listens on this machine.


QUESTION_ID = UUID("12345678-1234-4234-8234-123456789012")
MRN = PatientId("MRN1", Oid("1.2.3.50"))


def called(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let every name be this machine's, with that port."""
    there = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: [there])


@contextmanager
def pix_manager(number: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that is called by any name, and knows nobody."""
    with by_mllp(as_rsp) if number == "ITI-9" else by_http(soap if number == "ITI-45" else fhir) as url:
        monkeypatch.setattr("xds.hl7.pix.uuid", SimpleNamespace(uuid4=lambda: QUESTION_ID))
        monkeypatch.setattr("xds.hl7.pix.datetime", SimpleNamespace(now=lambda _zone: NOW))
        called(monkeypatch, urlsplit(url).port or 0)
        yield


@pytest.mark.parametrize(("number", "setting", "url"), [
    ("ITI-9", "pix", "mllp://pix.example:2575/REGION/PIX"),
    ("ITI-45", "pix", "http://pix.example/pix"),
    ("ITI-83", "pixm", "http://pix.example/pix"),
])  # fmt: skip
def test_a_pix_manager_is_asked_for_the_patient_of_the_archive(
    domain: AffinityDomain, number: str, setting: str, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    imaging = replace(domain.settings.imaging_source, retrieve_location_uid="1.2.3.99", **{setting: url})
    domain.settings = replace(domain.settings, imaging_source=imaging)
    with pix_manager(number, monkeypatch), Spool(tmp_path / "spool") as spool:
        patients = domain._cross_referenced(PatientTable(None, [AUTHORITY], ""), spool)
        assert patients.mapped(MRN) is None
    assert are(kept(domain), f"{number.replace('-', '').lower()}_initiator")


def test_a_study_that_comes_is_published_and_deprecated_when_it_goes(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "xds.sqlite")
    put(tmp_path / "images", "1.dcm", an_instance(1))
    (tmp_path / "patients.csv").write_text(f"4711^^^&1.2.3.50&ISO,{ANNA}\n")
    text = (
        f'[server]\npublic_url = "https://{HOST}"\nhosts = ["peer.example"]\n'  # it is its own peer, by that name
        f'[audit]\nsource_id = "{NODE.source_id}"\nenterprise_site_id = "{NODE.enterprise_site_id}"\n'
        f'[imaging_source]\nfolder = "{tmp_path}/images"\npatients = "{tmp_path}/patients.csv"\n'
        'issuer = "1.2.3.50"\npublish_quiet_seconds = 0.0\n'
    )
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        called(monkeypatch, urlsplit(site.url).port or 0)
        follower = Follower(site, tmp_path / "images", tmp_path / "patients.csv", "http://peer.example")
        follower.step()
        assert follower.state.state == "published", follower.state.reason
        (tmp_path / "images" / "1.dcm").unlink()
        follower.step()
        assert follower.state.state == "withdrawn", follower.state.reason
        with site.application.engine.connect() as connection:
            sets = connection.scalars(sa.select(submission_set.c.unique_id)).all()
        ours = [one for one in kept(follower.domain) if b"peer.example" in one.message]
    named = [[one for one in sets if one.encode() in record.message] for record in ours]
    assert sorted(one for (one,) in named) == sorted(sets)
    as_typed = [
        replace(record, message=record.message.replace(one.encode(), SET_ID.encode()))
        for record, (one,) in zip(ours, named, strict=True)
    ]
    assert are(as_typed, "rad68_initiator", "iti57_initiator")


def test_images_that_are_fetched_by_wado_rs_are_accessed(
    domain: AffinityDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "images" / "1.dcm"
    monkeypatch.setattr(Web, "instance", lambda _self, _path, write: write(image.read_bytes()))
    manifest = manifest_for(studies_in(image.parent, "UTC")[0], domain.settings)
    known = Loaded(domain.settings, {}).changed({"console.fetch_from": ("peer.example",)}, "file")
    desk = client.Desk(known, domain.database.engine, "")
    with Spool(tmp_path / "spool") as spool, progress(quiet=True) as shown:
        fetch = fetching.Fetch(desk, tmp_path, spool, shown, fetching.Outcome(), "wado-rs")
        study = fetching._Study(fetch, str(ANNA), manifest, tmp_path / "got", shown.study("", 1))
        ((location, _, request),) = study.missing()
        study.from_source(location, "https://peer.example/dicomweb", request)
    assert fetch.outcome.arrived == 1
    assert are(kept(domain), "rad107_initiator")
