"""The SOAP addresses over a real socket: what goes in comes out, and what is wrong is said in the right way."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import psycopg
import pytest
import requests
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, AUTHORITY, BERT, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from xds.ebxml import lcm, query, rs, xdsb
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Severity, Status
from xds.metadata import to_ebxml
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import Submission
from xds.queries import catalogue
from xds.server import readiness
from xds.server.actors import code_sets
from xds.server.application import Application
from xds.settings.configuration import load
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.deployment import prepare, with_identity
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.engine import make_engine
from xds.store.tables import audit_open, audit_record, document, document_entry
from xds.system.disk import Reserve
from xds.transactions import (
    iti18_registry_stored_query as iti18,
)
from xds.transactions import (
    iti41_provide_and_register_document_set_b as iti41,
)
from xds.transactions import (
    iti42_register_document_set_b as iti42,
)
from xds.transactions import (
    iti43_retrieve_document_set as iti43,
)
from xds.transactions import (
    iti51_multi_patient_stored_query as iti51,
)
from xds.transactions import (
    iti62_remove_metadata as iti62,
)
from xds.transactions import (
    iti86_remove_documents as iti86,
)
from xds.transactions.transaction import Attachment
from xds.wire.client import Answer, Client, Faulted
from xds.wire.spool import Spool
from xds.wire.xml import Element, parse

APPROVED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"


def bounded(application: Application, presented: Callable[[], bytes] = bytes) -> object:
    """wsgiref does not end a body where Content-Length says; gunicorn does, and tells the peer's certificate."""

    def app(environ: dict[str, object], start_response: object) -> object:
        environ["xds.peer_certificate_der"] = presented()
        left = [int(str(environ.get("CONTENT_LENGTH") or 0))]
        stream = environ["wsgi.input"]

        class Body:
            def read(self, size: int) -> bytes:
                data: bytes = stream.read(min(size, left[0])) if left[0] else b""  # type: ignore[attr-defined]
                left[0] -= len(data)
                return data

        environ["wsgi.input"] = Body()
        return application(environ, start_response)  # type: ignore[arg-type]

    return app


class Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True  # or the body waits for the peer to acknowledge the head

    def log_message(self, *_: object) -> None:
        pass


class Site:
    """A running deployment and a client of it."""

    def __init__(self, url: str, application: Application, spool: Spool) -> None:
        self.url, self.application, self.spool = url, application, spool
        self.header_blocks: tuple[Element, ...] = ()
        self.presents = b""
        """The certificate that its clients present, in DER: as if it were reached over mutual TLS."""

    @property
    def repository_unique_id(self) -> str:
        return self.application.settings.repository.unique_id

    def provide(
        self, submission: Submission, contents: list[bytes], *, mtom: bool = True, path: str = "/repository"
    ) -> Answer:
        pieces: list[object] = [b'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">']
        pieces.append(etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission))))
        for entry, content in zip(submission.document_entries, contents, strict=False):
            pieces.append(f'<xds:Document id="{entry.entry_uuid}">'.encode())
            pieces.append(Attachment(f"a {entry.entry_uuid}@x", len(content), lambda c=content: iter([c])))  # type: ignore[misc]
            pieces.append(b"</xds:Document>")
        pieces.append(b"</xds:ProvideAndRegisterDocumentSetRequest>")
        return self.send(path, iti41.TRANSACTION.action, pieces, mtom=mtom)

    def send(self, path: str, action: str, pieces: list[object], *, mtom: bool) -> Answer:
        return Client(self.url + path, header_blocks=self.header_blocks).send(action, pieces, self.spool, as_mtom=mtom)  # type: ignore[arg-type]

    def retrieve(self, *unique_ids: str, mtom: bool = True, repository: str = "", path: str = "/repository") -> Answer:
        repository = repository or self.repository_unique_id
        body = xdsb.write_retrieve_request([xdsb.DocumentRequest(repository, uid) for uid in unique_ids])
        return self.send(path, iti43.TRANSACTION.action, [etree.tostring(body)], mtom=mtom)

    def find(self, patient: object = ANNA, path: str = "/registry") -> Answer:
        slots = (Slot("$XDSDocumentEntryPatientId", (f"'{patient}'",)), Slot("$XDSDocumentEntryStatus", (APPROVED,)))
        body = query.write_request(query.AdhocQuery(catalogue.FIND_DOCUMENTS.id, "LeafClass", slots))
        return self.send(path, iti18.TRANSACTION.action, [etree.tostring(body)], mtom=False)

    def count(self, table: sa.Table) -> int:
        with self.application.engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)

    def outcomes(self) -> list[tuple[str, str, int]]:
        """Transaction, event and outcome of every audit record, once no stream is open any more.

        A stream's record is closed after its last byte has gone, so the client may be quicker.
        """
        wait_for(lambda: self.count(audit_open) == 0)
        columns = (audit_record.c.transaction, audit_record.c.event, audit_record.c.outcome)
        with self.application.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(audit_record.c.id))]  # type: ignore[misc]


@contextmanager
def serving(
    database_url: str, tmp_path: Path, text: str = "", more: Mapping[str, object] | None = None
) -> Iterator[Site]:
    """A site with these settings, and an open domain."""
    file = tmp_path / "xds.toml"
    file.write_text(text, "utf-8")
    given = {
        "server.data": str(tmp_path / "data"),
        "server.database": database_url,
        "domain.patients": "open",
        "domain.assigning_authorities": (AUTHORITY,),
        **(more or {}),
    }
    loaded = with_identity(load(file, {}).changed(given, "command line"))
    prepare(make_engine(database_url), loaded)
    application = Application(loaded)
    with Spool(tmp_path / "spool") as spool:
        site = Site("", application, spool)
        app: Any = bounded(application, lambda: site.presents)
        server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_port}"
        yield site
    server.shutdown()
    server.server_close()
    application.close()


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path) as site:
        yield site


def of_bytes(content: bytes) -> dict[str, object]:
    return {"hash": hashlib.sha1(content).hexdigest(), "size": len(content), "repository_unique_id": None}  # noqa: S324


@pytest.mark.parametrize("mtom", [True, False])
def test_a_document_goes_in_is_found_and_comes_back_the_same(site: Site, mtom: bool) -> None:
    content = bytes(range(256)) * 5000
    entry = an_entry(**of_bytes(content))
    answer = site.provide(symbolic(a_submission(entries=[entry])), [content], mtom=mtom)
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    assert entry.unique_id.encode() in etree.tostring(site.find().body)
    back = site.retrieve(entry.unique_id, mtom=mtom)
    if mtom:
        (spooled,) = back.contents.values()
        assert spooled.path.read_bytes() == content
    else:
        (element,) = back.body.iter("{urn:ihe:iti:xds-b:2007}Document")
        assert hashlib.sha1(__import__("base64").b64decode(element.text or "")).hexdigest() == entry.hash  # noqa: S324


def test_the_front_page_names_every_transaction_that_each_actor_serves(site: Site) -> None:
    with urlopen(site.url + "/") as page:  # noqa: S310
        rows = etree.HTML(page.read()).xpath("//tbody/tr")
    listed = {row.findtext("td[1]"): row.findtext("td[2]") for row in rows}
    assert listed == {
        "Document Registry": "ITI-18, ITI-42, ITI-44, ITI-51, ITI-57, ITI-61, ITI-62, ITI-92",
        "Document Repository": "ITI-41, ITI-43, ITI-86, RAD-68",
        "Imaging Document Source": "RAD-69",
        "Imaging Document Source, DICOMweb": "RAD-107, RAD-129",
        "Imaging Document Source, WADO-URI": "RAD-55",
        "Operation": "",
    }


def test_each_side_of_each_transaction_leaves_its_audit_record(site: Site) -> None:
    content = b"x"
    entry = an_entry(**of_bytes(content))
    site.provide(symbolic(a_submission(entries=[entry])), [content])
    site.find()
    site.retrieve(entry.unique_id)
    assert site.outcomes() == [
        ("RAD-68", "110107", 0),
        ("ITI-42", "110106", 0),
        ("ITI-42", "110107", 0),
        ("ITI-18", "110112", 0),
        ("ITI-43", "110106", 0),
    ]
    assert site.count(audit_open) == 0


@pytest.mark.parametrize(("mode", "status"), [("strict", Status.FAILURE), ("warn", Status.SUCCESS)])
def test_a_code_that_the_domain_does_not_use_is_refused_or_warned_of(
    site: Site, tmp_path: Path, mode: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = tmp_path / "codes.toml"
    codes.write_text('[classCode]\n"1.2.3" = ["REPORTS"]\n')
    given = load(environment={"XDS_DOMAIN_CODES": str(codes), "XDS_DOMAIN_CODES_MODE": mode}).settings
    monkeypatch.setattr(site.application.domains[DEFAULT_DOMAIN].actors.registry, "_code_sets", code_sets(given.domain))
    entry = an_entry(**of_bytes(b"x"))
    for answer in (
        site.provide(a_submission(entries=[entry]), [b"x"]).body,
        site.send(
            "/registry",
            iti42.TRANSACTION.action,
            [etree.tostring(lcm.write_submit_objects(to_ebxml.submission(a_submission())))],
            mtom=False,
        ).body,
    ):
        found, (finding,) = rs.read_response(answer)
        severity = Severity.ERROR if status is Status.FAILURE else Severity.WARNING
        assert (found, finding.code, finding.severity) == (status, ErrorCode.REGISTRY_METADATA, severity)
        assert finding.context.startswith("DocumentEntry.classCode")
    assert site.count(document_entry) == (0 if status is Status.FAILURE else 2)


def test_a_query_about_several_patients_leaves_a_record_of_each(site: Site) -> None:
    """ITI TF-2: 3.51.5.1."""
    for patient in (ANNA, BERT):
        entry = an_entry(patient_id=patient, **of_bytes(b"x"))
        site.provide(a_submission(patient=patient, entries=[entry]), [b"x"])
    slots = (
        Slot("$XDSDocumentEntryPatientId", (f"('{ANNA}','{BERT}')",)),
        Slot("$XDSDocumentEntryStatus", (APPROVED,)),
    )
    request = query.AdhocQuery(catalogue.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS.id, "LeafClass", slots)
    body = etree.tostring(query.write_request(request))
    site.send("/registry", iti51.TRANSACTION.action, [body], mtom=False)
    with site.application.engine.connect() as connection:
        statement = sa.select(audit_record.c.patient_id).where(audit_record.c.transaction == "ITI-51")
        assert sorted(connection.scalars(statement)) == [str(ANNA), str(BERT)]


def test_a_removal_leaves_a_record_of_each_patient_with_what_is_gone(site: Site) -> None:
    """ITI TF-2: 3.62.5.1."""
    sent = [a_submission(patient=patient) for patient in (ANNA, BERT)]
    for submission in sent:
        body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission)))
        site.send("/registry", iti42.TRANSACTION.action, [body], mtom=False)
    ids = [item.entry_uuid for submission in sent for item in submission.objects()]
    answer = site.send(
        "/registry", iti62.TRANSACTION.action, [etree.tostring(lcm.write_remove_objects(ids))], mtom=False
    )
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    with site.application.engine.connect() as connection:
        found = connection.execute(sa.select(audit_record).where(audit_record.c.transaction == "ITI-62")).all()
    assert {row.patient_id for row in found} == {str(ANNA), str(BERT)}
    for row, submission in zip(sorted(found, key=lambda row: row.patient_id), sent, strict=True):
        objects = parse(row.message).findall("ParticipantObjectIdentification")[1:]
        assert {o.get("ParticipantObjectID") for o in objects} == {item.entry_uuid for item in submission.objects()}
        assert {o.get("ParticipantObjectDataLifeCycle") for o in objects} == {"15"}
    assert site.count(document_entry) == 0


@pytest.mark.parametrize("more", ["deletionScope", "AdhocQuery"])
def test_what_is_removed_is_named_and_not_asked_for(site: Site, more: str) -> None:
    element = lcm.write_remove_objects(["urn:uuid:00000000-0000-4000-8000-000000000000"])
    if more == "deletionScope":
        element.set(more, "urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:DeleteRepositoryItemOnly")
    else:
        element.insert(0, etree.Element("{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}AdhocQuery", id="urn:x"))
    answer = site.send("/registry", iti62.TRANSACTION.action, [etree.tostring(element)], mtom=False)
    status, findings = rs.read_response(answer.body)
    assert (status, [finding.code for finding in findings]) == (Status.FAILURE, [ErrorCode.REGISTRY_ERROR])
    assert "3.62.4.1.2" in findings[0].context


def test_a_refused_submission_leaves_its_failure_record_and_nothing_else(site: Site) -> None:
    entry = an_entry(patient_id=BERT, **of_bytes(b"x"))
    answer = site.provide(a_submission(entries=[entry]), [b"x"])
    status, findings = rs.read_response(answer.body)
    assert status is Status.FAILURE
    assert [f.code for f in findings] == [ErrorCode.PATIENT_ID_DOES_NOT_MATCH]
    assert {outcome for _, _, outcome in site.outcomes()} == {4}
    assert site.count(document_entry) == 0
    assert site.count(document) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"hash": "0" * 40}, ErrorCode.REPOSITORY_METADATA), ({"size": 7}, ErrorCode.REPOSITORY_METADATA)],
)
def test_hash_and_size_that_are_not_the_documents_are_refused(
    site: Site, changes: dict[str, object], code: ErrorCode
) -> None:
    entry = an_entry(**{**of_bytes(b"x"), **changes})  # type: ignore[arg-type]
    _, findings = rs.read_response(site.provide(a_submission(entries=[entry]), [b"x"]).body)
    assert [f.code for f in findings] == [code]


def test_an_entry_without_its_document_is_refused(site: Site) -> None:
    entries = [an_entry(**of_bytes(b"x")), an_entry(**of_bytes(b"x"))]
    _, findings = rs.read_response(site.provide(a_submission(entries=entries), [b"x"]).body)
    assert [f.code for f in findings] == [ErrorCode.MISSING_DOCUMENT]


def test_another_document_under_a_held_id_is_refused(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    other = an_entry(unique_id=entry.unique_id, **of_bytes(b"other"))
    _, findings = rs.read_response(site.provide(a_submission(entries=[other]), [b"other"]).body)
    assert {f.code for f in findings} == {ErrorCode.NON_IDENTICAL_HASH, ErrorCode.NON_IDENTICAL_SIZE}


def test_some_found_and_some_not_is_a_partial_success(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    answer = site.retrieve(entry.unique_id, "1.2.3")
    response = answer.body.find("{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse")
    assert response is not None
    status, findings = rs.read_response(response)
    assert status is Status.PARTIAL_SUCCESS
    assert [(f.code, f.location) for f in findings] == [(ErrorCode.DOCUMENT_UNIQUE_ID, "1.2.3")]
    assert len(answer.contents) == 1
    assert site.outcomes()[-2:] == [("ITI-43", "110106", 0), ("ITI-43", "110106", 4)]


def test_a_foreign_repository_is_refused_by_name(site: Site) -> None:
    response = site.retrieve("1.2.3", repository="1.2.99").body[0]
    status, findings = rs.read_response(response)
    assert status is Status.FAILURE
    assert findings[0].code is ErrorCode.UNKNOWN_REPOSITORY_ID
    assert "1.2.99" in findings[0].context


def test_damaged_bytes_break_the_connection_and_are_audited_as_failed(site: Site) -> None:
    content = b"y" * 100_000
    entry = an_entry(**of_bytes(content))
    site.provide(a_submission(entries=[entry]), [content])
    (path,) = (site.application.settings.data / "documents").rglob(hashlib.sha256(content).hexdigest())
    path.write_bytes(b"z" + content[1:])
    with pytest.raises(Exception, match=r"."):
        site.retrieve(entry.unique_id)
    assert site.outcomes()[-1] == ("ITI-43", "110106", 8)
    assert site.count(audit_open) == 0


def test_a_schema_violation_names_the_element_and_no_value(site: Site) -> None:
    element = lcm.write_submit_objects(to_ebxml.submission(a_submission()))
    element[0][0].set("unheardOf", "secret")
    answer = site.send("/registry", iti42.TRANSACTION.action, [etree.tostring(element)], mtom=False)
    status, findings = rs.read_response(answer.body)
    assert status is Status.FAILURE
    assert [f.code for f in findings] == [ErrorCode.REGISTRY_METADATA]
    assert "RegistryPackage" in findings[0].context
    assert "secret" not in findings[0].context


@pytest.mark.parametrize(
    ("path", "action", "reason"),
    [
        ("/registry", "urn:unheard-of", "wsa:Action"),
        ("/registry", iti43.TRANSACTION.action, "wsa:Action"),
        ("/repository", iti43.TRANSACTION.action, "RetrieveDocumentSetRequest"),
    ],
)
def test_an_unknown_action_or_a_strange_body_is_a_fault(site: Site, path: str, action: str, reason: str) -> None:
    with pytest.raises(Faulted, match=reason):
        site.send(path, action, [b"<a/>"], mtom=False)


# What the database breaks off for another's sake.


def broken_off(error: type[psycopg.Error]) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT", {}, error())


def failing(site: Site, monkeypatch: pytest.MonkeyPatch, problems: list[Exception]) -> None:
    """The registry meets these problems one after the other, after it has written, and then none."""
    registry = site.application.domains[DEFAULT_DOMAIN].actors.registry
    register = registry.register

    def once_more(*given: Any, **more: Any) -> Any:
        done = register(*given, **more)
        if problems:
            raise problems.pop(0)
        return done

    monkeypatch.setattr(registry, "register", once_more)
    monkeypatch.setattr("xds.endpoints.soap.PAUSES", (0.01, 0.01, 0.01))


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
def test_what_the_database_breaks_off_is_begun_anew_and_recorded_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: type[psycopg.Error]
) -> None:
    failing(site, monkeypatch, [broken_off(error)] * 3)
    entry = an_entry(**of_bytes(b"x"))
    answer = site.provide(a_submission(entries=[entry]), [b"x"])
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    assert (site.count(document_entry), site.count(document)) == (1, 1)
    # ITI-41, and ITI-42 on both sides.
    assert [outcome for _, _, outcome in site.outcomes()] == [0, 0, 0]


@pytest.mark.parametrize(
    "problems",
    [[broken_off(psycopg.errors.DeadlockDetected)] * 4, [broken_off(psycopg.errors.DiskFull)], [RuntimeError("x")]],
)
def test_what_cannot_succeed_is_given_up_and_nothing_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch, problems: list[Exception]
) -> None:
    failing(site, monkeypatch, list(problems))
    entry = an_entry(**of_bytes(b"x"))
    status, (finding,) = rs.read_response(site.provide(a_submission(entries=[entry]), [b"x"]).body)
    assert (status, finding.code) == (Status.FAILURE, ErrorCode.REPOSITORY_ERROR)
    assert (site.count(document_entry), site.count(document)) == (0, 0)
    assert {outcome for _, _, outcome in site.outcomes()} == {8}


# ITI-86: documents are removed.


def removed(site: Site, *unique_ids: str, repository: str = "") -> tuple[Status, list[tuple[str, str]]]:
    """Status, and code and location of each finding."""
    requests = [xdsb.DocumentRequest(repository or site.repository_unique_id, uid) for uid in unique_ids]
    body = [etree.tostring(xdsb.write_remove_request(requests))]
    status, findings = rs.read_response(site.send("/repository", iti86.TRANSACTION.action, body, mtom=False).body)
    return status, [(finding.code, finding.location) for finding in findings]


def a_document(site: Site, content: bytes, patient: PatientId = ANNA) -> str:
    entry = an_entry(patient_id=patient, **of_bytes(content))
    answer = site.provide(a_submission(patient=patient, entries=[entry]), [content])
    assert rs.read_response(answer.body)[0] is Status.SUCCESS
    return entry.unique_id


def test_a_document_that_is_removed_is_given_no_more_and_its_bytes_go_unless_another_has_them(site: Site) -> None:
    one, same, other = a_document(site, b"one"), a_document(site, b"one"), a_document(site, b"other")
    assert removed(site, one, other) == (Status.SUCCESS, [])
    for unique_id, code in ((one, ErrorCode.DOCUMENT_UNIQUE_ID), (other, ErrorCode.DOCUMENT_UNIQUE_ID)):
        _, (finding,) = rs.read_response(site.retrieve(unique_id).body[0])
        assert finding.code == code
    blobs = site.application.database.blobs
    blobs.sweep(site.application.engine, now=time.time() + 2 * SWEEP_SECONDS)
    assert list(blobs.names()) == [hashlib.sha256(b"one").hexdigest()]
    (spooled,) = site.retrieve(same).contents.values()
    assert spooled.path.read_bytes() == b"one"


def test_what_can_be_removed_is_and_the_rest_is_named(site: Site) -> None:
    one = a_document(site, b"one")
    assert removed(site, one, "2.25.404") == (
        Status.PARTIAL_SUCCESS, [(ErrorCode.DOCUMENT_UNIQUE_ID, "2.25.404")],
    )  # fmt: skip
    assert removed(site, one) == (Status.FAILURE, [(ErrorCode.DOCUMENT_UNIQUE_ID, one)])
    assert removed(site, one, repository="1.9") == (Status.FAILURE, [(ErrorCode.UNKNOWN_REPOSITORY_ID, one)])


def test_a_document_whose_registration_is_not_settled_stays(site: Site) -> None:
    one = a_document(site, b"one")
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(document).values(state="pending"))
    assert removed(site, one) == (Status.FAILURE, [(ErrorCode.REMOVE_DOCUMENTS, one)])


def test_a_document_asked_to_be_removed_twice_in_a_request_is_removed_once(site: Site) -> None:
    one = a_document(site, b"one")
    assert removed(site, one, one) == (Status.PARTIAL_SUCCESS, [(ErrorCode.DOCUMENT_UNIQUE_ID, one)])


def test_a_removal_leaves_a_record_for_each_patient_with_what_was_theirs(site: Site) -> None:
    ids = [a_document(site, b"hers"), a_document(site, b"his", BERT), "2.25.404"]
    removed(site, *ids)
    with site.application.engine.connect() as connection:
        rows = connection.execute(sa.select(audit_record).where(audit_record.c.transaction == "ITI-86")).all()
    told = {row.patient_id: row.message for row in rows if row.outcome == 0}
    assert {row.event for row in rows} == {"110110"}
    assert told.keys() == {str(ANNA), str(BERT)}
    assert ids[0].encode() in told[str(ANNA)]
    assert ids[1].encode() not in told[str(ANNA)]
    assert ids[1].encode() in told[str(BERT)]
    assert b'ParticipantObjectDataLifeCycle="15"' in told[str(BERT)]
    assert any(row.outcome == 4 and b"2.25.404" in row.message for row in rows)


def test_with_a_disk_that_is_nearly_full_a_node_is_not_ready(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        for least, wrong in ((0, []), (1, []), (2**62, ["documents"])):
            disk = Reserve(least, tmp_path)
            assert [one.name for one in readiness.own(site.application.database, disk) if one.wrong] == wrong


def test_a_message_that_is_no_transaction_is_counted(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        for body in (b"<nothing/>", b""):
            requests.post(f"{site.url}/registry", body, headers={"Content-Type": "application/soap+xml"}, timeout=10)
        text = site.application.metrics.text().decode()
        assert 'xds_transactions_total{outcome="fault",transaction="none"} 2.0' in text
