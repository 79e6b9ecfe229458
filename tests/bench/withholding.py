"""Whether time tells what is withheld: questions about what is withheld, and the same about what does not exist."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from tests.bench import in_process, load
from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.run import Run
from tests.builders import ANNA, AUTHORITY, a_submission, an_entry
from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.ebxml.query import AdhocQuery, write_request
from xds.ebxml.rim import Slot
from xds.ebxml.xdsb import (
    DocumentRequest,
    ImagingRequest,
    InstanceRequest,
    write_imaging_request,
    write_retrieve_request,
)
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.queries import catalogue
from xds.server.application import Application
from xds.settings.configuration import load as load_settings
from xds.store import study_patients
from xds.store.deployment import prepare, with_identity
from xds.store.documents.folder import Kept
from xds.store.engine import make_engine
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69

WITHHELD = 100
"""Documents that the patient withholds."""

LIMIT = Reach("≤", 0.5, "ms")
"""Between the medians, where one answer and the next of the same differ by more."""

ADDRESS = "192.0.2.7"
NOBODY = PatientId("nobody", AUTHORITY)
EMPTY = PatientId("empty", AUTHORITY)


def run(bench: Run) -> Iterator[Result]:
    """How far medians are apart: of what is withheld, of what is not there, and of another such."""
    site, entry = _site(bench.new_folder("withholding"))
    repository = site.settings.repository.unique_id
    absent = [an_entry() for _ in range(2)]
    questions = {
        "GetDocuments by uniqueId": [_documents(one) for one in (entry, *absent)],
        "ITI-43": [_retrieved(repository, one) for one in (entry, *absent)],
        f"FindDocuments, {WITHHELD} withheld": [_found(one) for one in (ANNA, EMPTY, EMPTY)],
        "FindDocuments, nobody of the id": [_found(one) for one in (ANNA, NOBODY, NOBODY)],
        "RAD-69": [_images(site, one) for one in (STUDY, "1.2.8.1", "1.2.8.2")],
        "WADO-RS": [(f"/dicomweb/studies/{one}/metadata", b"") for one in (STUDY, "1.2.8.1", "1.2.8.2")],
        "QIDO-RS": [(f"/dicomweb/studies/{one}/series", b"") for one in (STUDY, "1.2.8.1", "1.2.8.2")],
    }
    for name, asked in questions.items():
        there, absent_, other = _timed(site, asked, bench.of(600, 250, 12))
        spread = statistics.quantiles(absent_, n=4)
        medians = [statistics.median(one) for one in (there, absent_, other)]
        note = f"medians {medians[0]:.2f}, {medians[1]:.2f} and {medians[2]:.2f} ms (withheld; absent, twice); "
        note += f"half of the answers lie between {spread[0]:.2f} and {spread[2]:.2f} ms; SQLite"
        yield judged(f"withheld less absent, {name}", "ms", abs(medians[0] - medians[1]), None, LIMIT, note=note)
    site.engine.dispose()


def _timed(site: Application, asked: Sequence[tuple[str, bytes]], times: int) -> list[list[float]]:
    """Milliseconds of each, in turns.

    Raises:
        Broken: two answers are not of one length.
    """
    taken: list[list[float]] = [[] for _ in asked]
    for turn in range(times):
        answers = set()
        for place in range(len(asked)):  # each comes first as often as the others
            number = (turn + place) % len(asked)
            started = time.perf_counter()
            answer = in_process.asked(site, *asked[number], ADDRESS)
            taken[number].append((time.perf_counter() - started) * 1000)
            answers.add(b"ResponseStatusType:Success" in answer)
        if len(answers) > 1:
            raise Broken("what is withheld was told from what is not there")
    return [one[len(one) // 10 :] for one in taken]


def _message(path: str, action: str, body: Any) -> tuple[str, bytes]:
    text = load.enveloped(action, f"http://localhost{path}", etree.tostring(body))
    return path, text.replace("@MESSAGE@", "urn:uuid:1").encode()


def _documents(entry: DocumentEntry) -> tuple[str, bytes]:
    slots = (Slot("$XDSDocumentEntryUniqueId", (f"('{entry.unique_id}')",)),)
    return _message(
        "/registry", ITI_18.action, write_request(AdhocQuery(catalogue.GET_DOCUMENTS.id, "LeafClass", slots))
    )


def _found(patient_id: PatientId) -> tuple[str, bytes]:
    return _message("/registry", ITI_18.action, write_request(load.find_query(patient_id)))


def _retrieved(repository: str, entry: DocumentEntry) -> tuple[str, bytes]:
    wanted = [DocumentRequest(repository, entry.unique_id)]
    return _message("/repository", ITI_43.action, write_retrieve_request(wanted))


def _images(site: Application, study: str) -> tuple[str, bytes]:
    source = site.settings.imaging_source.retrieve_location_uid
    wanted = InstanceRequest(study, SERIES, DocumentRequest(source, f"{SERIES}.1"))
    body = write_imaging_request(ImagingRequest((wanted,), ("1.2.840.10008.1.2.1",)))
    return _message("/imaging-source", RAD_69.action, body)


def _site(folder: Path) -> tuple[Application, DocumentEntry]:
    """A node whose patient withholds all of their documents from who asks, and one of them."""
    text = f'[server]\ndata = "{folder}"\n[domain]\nassigning_authorities = ["{AUTHORITY}"]\n'
    put(folder / "images", "one.dcm", an_instance(1))
    text += f'[imaging_source]\nfolder = "{folder / "images"}"\n'
    text += '[tls]\ntrusted = "region.crt"\n'
    text += f'[peers.ehr]\naddresses = ["{ADDRESS}"]\norganisation = "North"\n'
    text += 'roles = ["document-consumer", "imaging-document-consumer"]\n'
    (folder / "xds.toml").write_text(text, "utf-8")
    loaded = with_identity(load_settings(folder / "xds.toml", {}))
    prepare(make_engine(loaded.settings.database_url), loaded)
    site = Application(loaded)
    entries = [an_entry() for _ in range(WITHHELD)]
    work = site.domains["default"].database.work()
    for one in (ANNA, EMPTY):
        patients.add(work.connection, "default", one)
    site.domains["default"].actors.registry.register(
        a_submission(entries=entries), SqlRegistry(work.connection, "default")
    )  # fmt: skip
    work.documents.add(Kept(entries[0].unique_id, "text/plain", 1, "0" * 40, "0" * 64, patient_id=str(ANNA)))
    key = patients.key_of(work.connection, "default", ANNA)
    assert key is not None
    set_directive(work.connection, key, Directive(permit=False, organisations=frozenset({"North"})), "benchmark")
    study_patients.keep(work.connection, STUDY, str(ANNA))
    work.commit()
    source = site.domains["default"].actors.imaging_source
    assert source._archive is not None
    source._archive.refresh()  # type: ignore[attr-defined]
    return site, entries[0]
