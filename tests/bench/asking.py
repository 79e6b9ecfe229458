"""The stored queries beside FindDocuments of all a patient has: each asked over and over on one connection."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import requests
from lxml import etree

from tests.bench import load
from tests.bench.documents import IN_FOLDER, TYPES, Document
from tests.bench.figures import Broken
from tests.bench.run import Server
from tests.bench.streams import Connection, post
from tests.builders import LOINC
from xds.actors.document_consumer import listed, quoted
from xds.ebxml.query import AdhocQuery, write_request
from xds.ebxml.rim import Slot
from xds.metadata.datatypes import ReferenceId
from xds.metadata.vocabulary import REFERENCE_STUDY, AssociationType, AvailabilityStatus
from xds.queries import catalogue
from xds.queries.catalogue import StoredQuery
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.wire.xml import name

CONTENT_TYPE = f'application/soap+xml; charset=UTF-8; action="{ITI_18.action}"'
_APPROVED = listed([AvailabilityStatus.APPROVED])

Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """Requests of one kind, one of them with an answer known: how many objects, or that there are too many."""

    name: str
    query: StoredQuery
    return_type: str
    parameters: Sequence[Parameters]
    objects: int | None


def of_the_asked_for(documents: Sequence[Document], a_patient: int) -> Iterator[Question]:
    """One about each patient of ``documents.asked_for``."""
    first, last = documents[::a_patient], documents[a_patient - 1 :: a_patient]

    def question(
        query: StoredQuery, of: Sequence[Document], one: Callable[[Document], Parameters], objects: int,
        return_type: str = "LeafClass",
    ) -> Question:  # fmt: skip
        title = query.title if return_type == "LeafClass" else f"{query.title} {return_type}"
        return Question(title, query, return_type, list(map(one, of)), objects)

    yield question(catalogue.FIND_DOCUMENTS, first, _all_documents, a_patient, "ObjectRef")
    yield question(catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID, last, _of_study, 1)
    yield question(catalogue.GET_DOCUMENTS, last, lambda d: {"XDSDocumentEntryUniqueId": listed([d.unique_id])}, 1)
    # Set, document and folder, the document's place in the folder, and three members of the set.
    yield question(
        catalogue.GET_SUBMISSION_SET_AND_CONTENTS, first,
        lambda d: {"XDSSubmissionSetUniqueId": quoted(d.set_unique_id)}, 7,
    )  # fmt: skip
    yield question(catalogue.GET_RELATED_DOCUMENTS, last, _addenda, 3)
    yield question(catalogue.GET_FOLDERS, first, lambda d: {"XDSFolderUniqueId": listed([d.folder_unique_id])}, 1)
    yield question(
        catalogue.FIND_FOLDERS, first, lambda d: {"XDSFolderPatientId": _patient(d), "XDSFolderStatus": _APPROVED}, 1
    )  # fmt: skip
    # Sets, documents and members; the folder, what it holds and their members; the addendum.
    yield question(catalogue.GET_ALL, first, _everything, 3 * a_patient + 2 + 2 * IN_FOLDER + 1)


def of_one_with_many(documents: Sequence[Document], end: int, most: int) -> Iterator[Question]:
    """About a patient with many of a registry's ``end`` documents: where to find few, and where there are too many."""
    one, standing = documents[0], [d for d in documents if not d.deprecated]
    windows = [range(start, start + end // 100) for start in range(end // 5, end, end // 20)]
    few = sum(d.type_code == TYPES[1] and d.number in windows[0] for d in standing)
    yield Question(
        "FindDocuments ObjectRef of a type and a time", catalogue.FIND_DOCUMENTS, "ObjectRef",
        [_type_and_time(one, window) for window in windows], few,
    )  # fmt: skip
    nobody = {**_all_documents(one), "XDSDocumentEntryAuthorPerson": listed(["%Curie%"])}
    yield Question("FindDocuments of an author", catalogue.FIND_DOCUMENTS, "LeafClass", [nobody], 0)
    by_reference = catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID
    some = [_of_study(d) for d in standing[:: len(standing) // 20]]
    yield Question(by_reference.title, by_reference, "LeafClass", some, 1)
    if len(standing) > most:
        yield Question(
            "FindDocuments of all, refused", catalogue.FIND_DOCUMENTS, "LeafClass", [_all_documents(one)], None
        )
        yield Question("GetAll, refused", catalogue.GET_ALL, "LeafClass", [_everything(one)], None)


def _patient(one: Document) -> str:
    return quoted(str(load.patient(one.patient)))


def _all_documents(one: Document) -> Parameters:
    return {"XDSDocumentEntryPatientId": _patient(one), "XDSDocumentEntryStatus": _APPROVED}


def _of_study(one: Document) -> Parameters:
    return {
        **_all_documents(one),
        "XDSDocumentEntryReferenceIdList": listed([ReferenceId.of(one.study, REFERENCE_STUDY).text]),
    }


def _type_and_time(one: Document, numbers: range) -> Parameters:
    """The commonest type but one, made when the documents of these numbers were."""
    made_from, made_to = (Document(number, 0).creation_time for number in (numbers.start, numbers.stop))
    return {
        **_all_documents(one),
        "XDSDocumentEntryTypeCode": listed([f"{TYPES[1]}^^{LOINC}"]),
        "XDSDocumentEntryCreationTimeFrom": made_from,
        "XDSDocumentEntryCreationTimeTo": made_to,
    }


def _addenda(one: Document) -> Parameters:
    types = (AssociationType.APND, AssociationType.RPLC)
    return {"XDSDocumentEntryUniqueId": quoted(one.unique_id), "AssociationTypes": listed(types)}


def _everything(one: Document) -> Parameters:
    statuses = (f"XDS{kind}Status" for kind in ("DocumentEntry", "SubmissionSet", "Folder"))
    return {"patientId": _patient(one), **dict.fromkeys(statuses, _APPROVED)}


def ask(site: Server, question: Question, seconds: float) -> float:
    """Milliseconds from request to the end of the answer, the median; each was asked before.

    Raises:
        Broken: the answer is not the one that there should be.
    """
    bodies = [_body(site, question, parameters) for parameters in question.parameters]
    _check(site, question, bodies[0])
    messages = [post("/registry", [("Content-Type", CONTENT_TYPE)], len(body)) + body for body in bodies]
    chance, times = random.Random(1), list[float]()  # noqa: S311
    with Connection(site.port) as connection:
        for message in messages:
            connection.exchange(message)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            times.append(connection.exchange(chance.choice(messages)).seconds * 1000)
    return statistics.median(times)


def ask_all(site: Server, questions: Iterable[Question], seconds: float) -> dict[str, float]:
    """The same of several, by name."""
    return {question.name: ask(site, question, seconds) for question in questions}


def _body(site: Server, question: Question, parameters: Parameters) -> bytes:
    slots = tuple(Slot(f"${key}", (value,)) for key, value in parameters.items())
    query = write_request(AdhocQuery(question.query.id, question.return_type, slots))
    return load.enveloped(ITI_18.action, f"{site.url}/registry", etree.tostring(query)).encode()


def _check(site: Server, question: Question, body: bytes) -> None:
    reply = requests.post(f"{site.url}/registry", body, headers={"Content-Type": CONTENT_TYPE}, timeout=60)
    if question.objects is None:
        right = b"XDSTooManyResults" in reply.content
    else:
        found = etree.fromstring(reply.content).find(f".//{name('rim:RegistryObjectList')}")
        right = found is not None and len(found) == question.objects
    if reply.status_code != 200 or not right:
        raise Broken(f"{question.name}: not {question.objects} objects but {reply.content[:2000]!r}")
