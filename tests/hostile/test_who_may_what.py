"""F1: a certificate of the bundle is not a right.  Every transaction, by every kind of peer, on another's document.

The table that says which address is held by which test is ``decisions.md``; ``python -m tests.hostile`` writes it.
"""

from __future__ import annotations

import hashlib
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.actors.test_metadata_update import an_update, becomes, replaces, version_of
from tests.builders import ANNA, AUTHORITY, BERT, REPOSITORY, SOURCE, a_submission, an_association, an_entry
from tests.endpoints.test_mllp import fed_v3
from tests.hl7.test_v3 import ii
from tests.hostile.certificates import Authority
from tests.imaging.images import SERIES, STUDY, an_instance, put, saved
from tests.regions import fetch, find, homes
from tests.server.test_application import APPROVED, Site, of_bytes, serving
from xds.ebxml import lcm, query, rs, xdsb
from xds.ebxml.rim import Slot
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Code
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.queries import catalogue
from xds.settings import sections
from xds.store.registry import patients
from xds.store.tables import audit_record
from xds.transactions import iti38_cross_gateway_query as iti38
from xds.transactions import iti39_cross_gateway_retrieve as iti39
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti51_multi_patient_stored_query as iti51
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions import iti86_remove_documents as iti86
from xds.transactions import iti92_restricted_update_document_set as iti92
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.transactions.rad75_cross_gateway_retrieve_imaging_document_set import TRANSACTION as RAD_75
from xds.transactions.transaction import Transaction

OTHER_SOURCE = "1.2.3.99"
PEERS = {
    "owner": {"roles": ["document-source"], "source_ids": [SOURCE]},
    "source": {"roles": ["document-source", "imaging-document-source"], "source_ids": [OTHER_SOURCE]},
    "consumer": {"roles": ["document-consumer", "imaging-document-consumer"]},
    "repository": {"roles": ["document-repository"], "repository_ids": [REPOSITORY]},
    "administrator": {"roles": ["document-administrator"]},
    "identity": {"roles": ["patient-identity-source"], "authorities": [AUTHORITY]},
    "reader": {"roles": ["audit-reader"]},
}
WHO = (*PEERS, "unlisted", "nobody")
N, V = (Code(code, "2.16.840.1.113883.5.25", code) for code in "NV")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each peer's certificate in DER, one of the same authority that no entry tells, and none."""
    authority = Authority(tmp_path_factory.mktemp("region"), "region")
    ders = {
        who: ssl.PEM_cert_to_DER_cert(Path(authority.signed(who).certificate).read_text())
        for who in (*PEERS, "unlisted")
    }  # fmt: skip
    return {**ders, "nobody": b""}


def settings(more: str = "", **policy: object) -> str:
    """A node that authenticates its peers, and knows them."""
    text = '[tls]\ntrusted = "region.crt"\n' + more
    if policy:
        text += "[policy]\n" + "".join(f"{key} = {value!r}\n" for key, value in policy.items())
    for name, entry in PEERS.items():
        text += f'[peers.{name}]\nissuer = "CN=region"\nsubject = "CN={name}"\norganisation = "{name.title()}"\n'
        text += "".join(f"{key} = {value!r}\n" for key, value in entry.items())
    return text


@pytest.fixture
def site(database_url: str, tmp_path: Path, certificates: dict[str, bytes]) -> Iterator[Site]:
    images = tmp_path / "images"
    images.mkdir()
    put(images, "one.dcm", an_instance(PatientID="mrn-1"))
    more = f'[imaging_source]\nfolder = "{images}"\nstow_rs = true\n[server]\nactors = {list(sections.ACTORS)}\n'
    with serving(database_url, tmp_path, settings(more)) as site:
        site.application.domains["default"].actors.imaging_source._archive.refresh()  # type: ignore[union-attr]
        yield site


@contextmanager
def by(site: Site, der: bytes) -> Iterator[Site]:
    before, site.presents = site.presents, der
    try:
        yield site
    finally:
        site.presents = before


def soap(site: Site, path: str, action: str, element: Any) -> tuple[Status, bytes]:
    answer = site.send(path, action, [etree.tostring(element)], mtom=False).body
    status, _ = rs.read_response(answer)
    return status, etree.tostring(answer)


def submitting(submission: Submission) -> Any:
    return lcm.write_submit_objects(to_ebxml.submission(submission))


class Held:
    """What the owner has submitted, and what others try on it."""

    def __init__(self, site: Site, code: Code = N) -> None:
        self.entry: DocumentEntry = an_entry(**of_bytes(b"theirs"), confidentiality_code=(code,))
        self.submission = a_submission(entries=[self.entry])
        assert rs.read_response(site.provide(self.submission, [b"theirs"]).body)[0] is Status.SUCCESS
        found = site.find().body
        ids = [e.get("id") for e in found.iter("{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}ExtrinsicObject")]
        assert str(self.entry.entry_uuid) in ids


def _finds(site: Site, held: Held) -> bool:
    return held.entry.unique_id.encode() in etree.tostring(site.find().body)


def _finds_of_all(site: Site, held: Held) -> bool:
    slots = (
        Slot("$XDSDocumentEntryStatus", (APPROVED,)),
        Slot("$XDSDocumentEntryClassCode", (f"('{held.entry.class_code.key}')",)),
    )
    sent = query.AdhocQuery(catalogue.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS.id, "LeafClass", slots)
    _, text = soap(site, "/registry", iti51.TRANSACTION.action, query.write_request(sent))
    return held.entry.unique_id.encode() in text


def _fetches(site: Site, held: Held) -> bool:
    return bool(site.retrieve(held.entry.unique_id).contents)


def _finds_from_elsewhere(site: Site, held: Held) -> bool:
    return held.entry.unique_id in homes(find(site, b"", "/responding-gateway", iti38.TRANSACTION.action))


def _fetches_from_elsewhere(site: Site, held: Held) -> bool:
    home = Oid(site.application.settings.domain.home_community_id)
    wanted = (home, site.repository_unique_id, held.entry.unique_id)
    return bool(fetch(site, wanted, path="/responding-gateway", action=iti39.TRANSACTION.action).contents)


def _provides_as_owner(site: Site, _held: Held) -> bool:
    answer = site.provide(a_submission(entries=[an_entry(**of_bytes(b"new"))]), [b"new"])
    return rs.read_response(answer.body)[0] is Status.SUCCESS


def _registers(site: Site, _held: Held) -> bool:
    return soap(site, "/registry", iti42.TRANSACTION.action, submitting(a_submission()))[0] is Status.SUCCESS


def _replaces(site: Site, held: Held) -> bool:
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, held.entry.entry_uuid)
    # Each as the source that it is: whose sourceId it is not is another sentence.
    sent = a_submission(entries=[new], relations=[relation], source_id=site_source(site))
    return soap(site, "/registry", iti42.TRANSACTION.action, submitting(sent))[0] is Status.SUCCESS


def site_source(site: Site) -> str:
    return OTHER_SOURCE if b"source" in site.presents else SOURCE


def _as_itself(site: Site, submission: Submission) -> Submission:
    return replace(submission, submission_set=replace(submission.submission_set, source_id=site_source(site)))


def _deprecates(site: Site, held: Held) -> bool:
    operation = becomes(held.entry.entry_uuid, AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)
    sent = _as_itself(site, an_update(operation))
    return soap(site, "/registry", iti57.TRANSACTION.action, submitting(sent))[0] is Status.SUCCESS


def _lowers(site: Site, held: Held) -> bool:
    new = version_of(held.entry, confidentiality_code=(N,), repository_unique_id=site.repository_unique_id)
    sent = _as_itself(site, an_update(replaces(new), items=[new]))
    return soap(site, "/registry", iti92.TRANSACTION.action, submitting(sent))[0] is Status.SUCCESS


def _removes_metadata(site: Site, held: Held) -> bool:
    ids = [item.entry_uuid for item in held.submission.objects()]
    return soap(site, "/registry", iti62.TRANSACTION.action, lcm.write_remove_objects(ids))[0] is Status.SUCCESS


def _destroys(site: Site, held: Held) -> bool:
    request = [xdsb.DocumentRequest(site.repository_unique_id, held.entry.unique_id)]
    return soap(site, "/repository", iti86.TRANSACTION.action, xdsb.write_remove_request(request))[0] is Status.SUCCESS


def _merges(site: Site, _held: Held) -> bool:
    done = fed_v3(site, "PRPA_IN201304UV02", ids=ii(BERT), prior=ii(ANNA))[0] == "CA"
    with site.application.engine.begin() as connection:
        if done:
            patients.unmerge(connection, "default", ANNA)  # for who comes after
    return done


def _gets(path: str, accept: str = "*/*") -> Callable[[Site, Held], bool]:
    def got(site: Site, _held: Held) -> bool:
        request = urllib.request.Request(site.url + path, headers={"Accept": accept})  # noqa: S310
        try:
            with urlopen(request) as reply:  # noqa: S310
                return int(reply.status) == 200
        except HTTPError as problem:
            assert problem.code in (403, 404), problem.code
            return False

    return got


def _images(site: Site, _held: Held, path: str = "/imaging-source", transaction: Transaction = RAD_69) -> bool:
    settings = site.application.settings
    home = home_of(Oid(settings.domain.home_community_id)) if "gateway" in path else None
    document = xdsb.DocumentRequest(settings.imaging_source.retrieve_location_uid, f"{SERIES}.1", home)
    wanted = xdsb.InstanceRequest(STUDY, SERIES, document)
    body = xdsb.write_imaging_request(xdsb.ImagingRequest((wanted,), ("1.2.840.10008.1.2.1",)))
    return bool(site.send(path, transaction.action, [etree.tostring(body)], mtom=True).contents)


def _images_from_elsewhere(site: Site, held: Held) -> bool:
    return _images(site, held, "/responding-gateway", RAD_75)


def _stores(site: Site, _held: Held) -> bool:
    number = int(hashlib.sha256(site.presents).hexdigest()[:6], 16)  # each their own
    dataset = an_instance(1, StudyInstanceUID=f"1.2.7.{number}", SOPInstanceUID=f"1.2.7.{number}.1")
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + saved(dataset) + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    sent = urllib.request.Request(f"{site.url}/dicomweb/studies", body, {"Content-Type": kind})  # noqa: S310
    try:
        with urlopen(sent) as reply:  # noqa: S310
            return int(reply.status) == 200
    except HTTPError as problem:
        assert problem.code == 403
        return False


def _feeds(site: Site, _held: Held) -> bool:
    answer = site.application.domains["default"].feeding().answer(admitted(), "192.0.2.7", site.presents)
    return b"MSA|AA" in answer


def admitted() -> bytes:
    return (
        "MSH|^~\\&|ADT|NORTH|REGISTRY|REGION|20260101||ADT^A01^ADT_A01|1|P|2.3.1\r"
        f"EVN||20260101\rPID|||{BERT}\rPV1||I\r"
    ).encode()


ACTIONS: dict[str, tuple[Callable[[Site, Held], bool], set[str]]] = {
    "ITI-18": (_finds, {"owner", "consumer", "administrator"}),
    "ITI-51 of all patients": (_finds_of_all, set()),
    "ITI-43": (_fetches, {"owner", "consumer", "administrator"}),
    "ITI-38": (_finds_from_elsewhere, {"owner", "consumer"}),
    "ITI-39": (_fetches_from_elsewhere, {"owner", "consumer"}),
    "ITI-41 with the owner's sourceId": (_provides_as_owner, {"owner", "administrator"}),
    "ITI-42 with the owner's sourceId": (_registers, {"repository", "administrator"}),
    "ITI-42, a replacement": (_replaces, {"administrator"}),
    "ITI-57": (_deprecates, {"owner", "administrator"}),
    "ITI-92": (_lowers, {"owner", "administrator"}),
    "ITI-62": (_removes_metadata, {"owner", "administrator"}),
    "ITI-86": (_destroys, {"owner", "administrator"}),
    "ITI-44": (_merges, {"identity"}),
    "RAD-129 of all patients": (_gets("/dicomweb/studies"), set()),
    "RAD-129": (_gets("/dicomweb/studies?PatientID=mrn-1"), {"owner", "source", "consumer", "repository"}),
    "RAD-69": (_images, {"consumer"}),
    "RAD-75": (_images_from_elsewhere, {"consumer"}),
    "RAD-107": (_gets(f"/dicomweb/studies/{STUDY}/metadata", "application/dicom+json"), {"consumer"}),
    "RAD-55": (
        _gets(
            f"/wado?requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={SERIES}.1"
            "&contentType=application/dicom"
        ),
        {"consumer"},
    ),
    "RAD-108": (_stores, {"source", "administrator"}),
    "ITI-8": (_feeds, {"identity"}),
    "ITI-81": (_gets("/fhir/AuditEvent?date=ge2020"), {"reader"}),
}
"""What is tried on what the owner has submitted, and by whom it may be done."""


@pytest.mark.parametrize("action", ACTIONS)
def test_only_whose_role_it_is_may(site: Site, certificates: dict[str, bytes], action: str) -> None:
    do, allowed = ACTIONS[action]
    done = set()
    for who in WHO:
        with by(site, certificates["owner"]):
            held = Held(site)
        with by(site, certificates["identity"]):
            fed_v3(site, "PRPA_IN201301UV02", ids=ii(BERT))
        with by(site, certificates[who]):
            if do(site, held):
                done.add(who)
    assert done == allowed


def test_whoever_is_refused_stands_in_the_record_by_certificate_and_organisation(
    site: Site, certificates: dict[str, bytes]
) -> None:
    """F2: the authenticated identity, beside what the peer calls itself."""
    with by(site, certificates["source"]):
        site.find()
    with site.application.engine.connect() as connection:
        (row,) = connection.execute(sa.select(audit_record)).all()
    text = row.message.decode()
    assert row.outcome == 0  # nothing of theirs is found, and that is an answer
    assert 'UserID="CN=source"' in text
    assert 'UserName="Source"' in text
    assert "issuer CN=region" in text
    with by(site, certificates["unlisted"]):
        site.find()
    with site.application.engine.connect() as connection:
        row = connection.execute(sa.select(audit_record).order_by(audit_record.c.id.desc())).first()
    assert row is not None
    assert (row.outcome, b"not permitted: deny-the-rest" in row.message) == (4, True)
    assert b'UserID="CN=unlisted"' in row.message


def test_a_watching_policy_records_what_it_would_refuse_and_refuses_nothing(
    database_url: str, tmp_path: Path, certificates: dict[str, bytes]
) -> None:
    with serving(database_url, tmp_path, settings(mode="watch")) as site:
        with by(site, certificates["owner"]):
            held = Held(site, V)
        with by(site, certificates["unlisted"]):
            assert _finds(site, held)
            assert _destroys(site, held)
        with site.application.engine.connect() as connection:
            messages = [row.message for row in connection.execute(sa.select(audit_record).order_by(audit_record.c.id))]
    assert sum(b"urn:xds:policy" in message for message in messages[-2:]) == 2


@pytest.mark.parametrize("mismatch", ["refuse", "mark"])
@pytest.mark.parametrize("way", ["ITI-8", "ITI-44"])
def test_an_authority_that_is_not_the_peers_to_feed_is_refused_or_marked_by_either_way(
    database_url: str, tmp_path: Path, certificates: dict[str, bytes], way: str, mismatch: str
) -> None:
    text = settings(mismatch=mismatch).replace(repr([AUTHORITY]), "['1.2.3.98']")
    with serving(database_url, tmp_path, text) as site, by(site, certificates["identity"]):
        if way == "ITI-8":
            feeding = site.application.domains["default"].feeding()
            done = b"MSA|AA" in feeding.answer(admitted(), "192.0.2.7", site.presents)
        else:
            done = fed_v3(site, "PRPA_IN201301UV02", ids=ii(BERT))[0] == "CA"
        assert done is (mismatch == "mark")
        with site.application.engine.connect() as connection:
            messages = list(connection.scalars(sa.select(audit_record.c.message)))
    marked = [message for message in messages if b"urn:xds:policy" in message]
    assert bool(marked) is (mismatch == "mark")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/registry?wsdl", "/registry?xsd=rim.xsd"])
def test_what_tells_of_nobody_is_open(site: Site, path: str) -> None:
    assert _gets(path)(site, Held.__new__(Held))
