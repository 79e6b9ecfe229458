"""What another community answers, held to what it was asked: it speaks for itself only, and of that patient only.

ITI TF-2: 3.38.4.1.3, 3.39.4.1.3; TF-3: 4.2.4.2.  An answer that is not so is dropped whole, and told of by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from xml.sax.saxutils import quoteattr

from lxml import etree

from xds.ebxml import rim, rs
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Severity, Status
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.homes import OBJECTS
from xds.metadata.identifiers import PatientId
from xds.metadata.visible import Facts, Visible
from xds.store.registry.rows import facts_of
from xds.wire.xml import Element, local_name, name, schema_errors

FINDINGS, SAID, NAMED = 100, 1000, 5
"""Errors of one community that are passed on, characters of each text in them, and elements that a complaint names."""

_KINDS = OBJECTS | {name("rim:Association")}
_OF_PATIENTS = frozenset(map(name, ("rim:ExtrinsicObject", "rim:RegistryPackage")))
_ENTRY, _PACKAGE, _ASSOCIATION = map(name, ("rim:ExtrinsicObject", "rim:RegistryPackage", "rim:Association"))
_PATIENT_SCHEMES = (v.DOCUMENT_ENTRY_PATIENT_ID, v.SUBMISSION_SET_PATIENT_ID, v.FOLDER_PATIENT_ID)


class NotUnderstood(Exception):
    """It is no answer to what was asked; the message says why, without anything of its content."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who answers: for which communities, and what its gateway is called in what is said of it."""

    homes: Sequence[str]
    called: str

    @property
    def home(self) -> str:
        """Where what is said of it is placed; empty for one that is of our own community."""
        return next(iter(self.homes), "")


@dataclass(frozen=True, slots=True)
class Found:
    """What a community has answered to a query; ``answered``: it has, be it with nothing."""

    objects: tuple[Element, ...] = ()
    findings: tuple[Finding, ...] = ()
    answered: bool = True


def query_answer(
    body: Element, speaker: Speaker, patient_id: PatientId | None, *, single_patient: bool, most: int
) -> Found:
    """The objects of an AdhocQueryResponse, and what was told beside them.

    ``patient_id``: whom it was asked about, by its own id; ``most``: objects that are taken.

    Raises:
        NotUnderstood: see there.
    """
    if body.tag != name("query:AdhocQueryResponse"):
        raise NotUnderstood("the answer is no AdhocQueryResponse")
    status, findings = _told(body, speaker)
    findings = tuple(one for one in findings if one.code is not ErrorCode.UNKNOWN_PATIENT_ID)
    if status is Status.FAILURE:
        # Whoever does not know the patient has answered: with nothing (3.38.4.1.3).
        failed = any(one.severity is Severity.ERROR for one in findings)
        return Found((), findings, answered=not failed)
    listed = body.find(name("rim:RegistryObjectList"))
    objects = tuple(one for one in (() if listed is None else listed) if isinstance(one.tag, str))
    wrong = _too_many(objects, speaker, most) or _of_no_form(objects, speaker) or _not_at_home(objects, speaker)
    wrong = wrong or _of_another(objects, speaker, patient_id, single_patient=single_patient)
    if wrong is not None:
        return Found((), (*findings, wrong), answered=False)
    return Found(objects, findings)


def _told(body: Element, speaker: Speaker, most: int = FINDINGS) -> tuple[Status, tuple[Finding, ...]]:
    """Status and findings, within bounds, each with whose it is."""
    try:
        status, findings = rs.read_response(body)
    except ValueError:
        raise NotUnderstood("the status of the answer is none of IHE's") from None
    kept = tuple(
        replace(one, context=one.context[:SAID] or one.code, location=one.location[:SAID] or speaker.home)
        for one in findings[:most]
    )
    if status is Status.FAILURE and not kept:
        kept = (Finding(ErrorCode.REGISTRY_ERROR, f"{speaker.called} says Failure and not why", speaker.home),)
    return status, kept


def _too_many(objects: Sequence[Element], speaker: Speaker, most: int) -> Finding | None:
    if len(objects) <= most:
        return None
    return _complaint(ErrorCode.TOO_MANY_RESULTS, speaker, f"answers with more than {most} objects")


_OF_FORM = re.compile("ELEMENT_CONTENT|CVC_COMPLEX_TYPE|CVC_ELT")
"""libxml2's names of what is wrong with elements and attributes, and not with a value.

A value that is too long, as some registries have them, harms nobody who reads the answer.
"""


def _of_no_form(objects: Sequence[Element], speaker: Speaker) -> Finding | None:
    """What is of other elements and attributes than the schema has: in it, the answer of all would be invalid."""
    wrong = [one for one in objects if one.tag not in _KINDS or not _is_of_form(one)]
    if not wrong:
        return None
    rule = f"answers with what is not of the schema: {_named(wrong)} (ITI TF-3: 4.2.1)"
    return _complaint(ErrorCode.REGISTRY_ERROR, speaker, rule)


def _is_of_form(item: Element) -> bool:
    errors = schema_errors("rim.xsd", item, FINDINGS)
    return len(errors) < FINDINGS and not any(_OF_FORM.search(one.kind) for one in errors)


def _not_at_home(objects: Sequence[Element], speaker: Speaker) -> Finding | None:
    """Without ``home``, or with that of a community which it does not answer for."""
    code = ErrorCode.MISSING_HOME_COMMUNITY_ID
    without = [one for one in objects if one.tag in OBJECTS and not one.get("home")]
    if without:
        return _complaint(code, speaker, f"answers without home: {_named(without)} (ITI TF-2: 3.38.4.1.3)")
    others = [one for one in objects if one.get("home") is not None and one.get("home") not in speaker.homes]
    if others:
        rule = f"answers with the home of a community which it does not answer for: {_named(others)}"
        return _complaint(code, speaker, rule)
    return None


def _named(objects: Sequence[Element]) -> str:
    ids = [f"{local_name(one)} {one.get('id', '')[:64]}" for one in objects[:NAMED]]
    return ", ".join(ids) + (f" and {len(objects) - NAMED} others" if len(objects) > NAMED else "")


def _of_another(
    objects: Sequence[Element], speaker: Speaker, asked: PatientId | None, *, single_patient: bool
) -> Finding | None:
    """Of another patient than the one it was asked about; or of several, where an answer is of one."""
    whole = (item for item in objects if item.tag in _OF_PATIENTS)
    found = {one for item in whole for one in patients_of(item) or [None]}
    wrong = bool(found - {asked}) if asked is not None else single_patient and len(found) > 1
    if not wrong:
        return None
    said = "answers about another patient than the one asked about" if asked else "answers about several patients"
    return _complaint(ErrorCode.RESULT_NOT_SINGLE_PATIENT, speaker, f"{said} (ITI TF-2: 3.18.4.1.3)")


def patients_of(item: Element) -> list[PatientId | None]:
    """The patients that an object says it is of; None for one that is not read.  A reference says none."""
    return [_patient(one.get("value", "")) for one in item.iterfind(name("rim:ExternalIdentifier"))
            if one.get("identificationScheme", "").lower() in _PATIENT_SCHEMES]  # fmt: skip


def _patient(text: str) -> PatientId | None:
    try:
        return PatientId.parse(text)
    except ValueError:
        return None


def _complaint(code: ErrorCode, speaker: Speaker, said: str) -> Finding:
    return Finding(code, f"{speaker.called} {said}; its answer is left out"[:SAID], speaker.home)


# What of it may be seen here.


def shown(objects: Sequence[Element], visible: Callable[[str], Visible]) -> list[Element]:
    """What passes this domain's own filter; ``visible`` gives that of a patient, by the id in the object.

    What cannot be read does not.  A package passes where its patient withholds nothing, or it holds an entry of the
    answer that passes; of a patient who withholds everything none does.  An association goes with what is at its
    ends, and a reference stays beside what it is of alone.
    """
    of_kind = {kind: [one for one in objects if one.tag == kind] for kind in (_ENTRY, _PACKAGE, _ASSOCIATION)}
    hidden = {_id(one) for one in of_kind[_ENTRY] if not _passes(one, visible)}
    seen = {_id(one) for one in of_kind[_ENTRY]} - hidden
    members = (one for one in of_kind[_ASSOCIATION] if one.get("associationType") == v.AssociationType.HAS_MEMBER)
    holding = {one.get("sourceObject", "") for one in members if one.get("targetObject", "") in seen}
    hidden |= {_id(one) for one in of_kind[_PACKAGE] if not _holds(one, visible, holding)}
    hidden |= _leading_to(hidden, of_kind[_ASSOCIATION])
    known = {_id(one) for listed in of_kind.values() for one in listed} - hidden
    return [one for one in objects if _id(one) in known]


def _id(item: Element) -> str:
    return item.get("id", "")


def _holds(package: Element, visible: Callable[[str], Visible], holding: set[str]) -> bool:
    """Whether a package may be seen; ``holding``: those that hold an entry that may."""
    whose = [visible(str(one)) for one in patients_of(package) if one]
    if not whose or any(one.nothing for one in whose):
        return False
    return all(one.everything for one in whose) or _id(package) in holding


def _leading_to(hidden: set[str], associations: Sequence[Element]) -> set[str]:
    """The associations with an end that is hidden, be it that of another one."""
    touching, found, waiting = dict[str, list[str]](), set[str](), list(hidden)
    for one in associations:
        for end in (one.get("sourceObject", ""), one.get("targetObject", "")):
            touching.setdefault(end, []).append(_id(one))
    while waiting:
        for each in touching.pop(waiting.pop(), ()):
            found.add(each)
            waiting.append(each)
    return found


def _passes(item: Element, visible: Callable[[str], Visible]) -> bool:
    facts = _facts(item)
    return facts is not None and visible(next((str(one) for one in patients_of(item) if one), "")).shows(facts)


def _facts(item: Element) -> Facts | None:
    """What conditions ask of an entry; None where it cannot be read."""
    entry, _ = from_ebxml.document_entry(rim.read_extrinsic_object(item))
    return None if entry is None else facts_of(entry, ())


def fragments(objects: Sequence[Element]) -> list[bytes]:
    """Objects as they go on."""
    return [etree.tostring(one, with_tail=False) for one in objects]


def references(objects: Sequence[Element], home: str) -> list[bytes]:
    """Of whole objects what a query for references is answered; ``home`` of what says none."""
    return [
        b"<rim:ObjectRef id=%b home=%b/>"
        % (quoteattr(one.get("id", "")).encode(), quoteattr(one.get("home") or home).encode())
        for one in objects
    ]


# Documents.


class Content(Protocol):
    """The bytes of a document that came, or is still to come; then their number is not known."""

    @property
    def size_bytes(self) -> int | None: ...
    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]: ...


class Answered(Protocol):
    """An answer to a retrieval: its body, and what is attached to elements of it."""

    @property
    def body(self) -> Element: ...
    @property
    def contents(self) -> Mapping[Element, Content]: ...


@dataclass(frozen=True, slots=True)
class Document:
    """A document that came, or is still to come."""

    request: DocumentRequest
    mime_type: str
    content: Content
    new_repository_unique_id: str | None = None
    new_document_unique_id: str | None = None


def retrieve_answer(
    answer: Answered, speaker: Speaker, asked: Sequence[DocumentRequest]
) -> tuple[list[Document], tuple[Finding, ...]]:
    """The documents of a RetrieveDocumentSetResponse that were asked for, and what is wrong with all others.

    Raises:
        NotUnderstood: see there.
    """
    response = answer.body.find(name("rs:RegistryResponse"))
    if answer.body.tag != name("xds:RetrieveDocumentSetResponse") or response is None:
        raise NotUnderstood("the answer is no RetrieveDocumentSetResponse")
    _, told = _told(response, speaker, FINDINGS + len(asked))
    missing = {(one.repository_unique_id, one.document_unique_id): one for one in asked}
    found, wrong = list[Document](), list[Finding]()
    for item in answer.body.iterfind(name("xds:DocumentResponse")):
        said = {child.tag: (child.text or "").strip() for child in reversed(item)}
        ids = said.get(_REPOSITORY, ""), said.get(_DOCUMENT, "")
        request, document = missing.get(ids), item.find(name("xds:Document"))
        if request is None or document is None or document not in answer.contents:
            rule = f"{speaker.called} gives a document that was not asked for; it is left out"
            wrong.append(Finding(ErrorCode.REPOSITORY_ERROR, rule, speaker.home))
            continue
        if said.get(_HOME) != request.home_community_id:
            missing.pop(ids)
            wrong.append(_without_home(speaker, said.get(_HOME), ids[1]))
            continue
        missing.pop(ids)
        new = said.get(_NEW_REPOSITORY), said.get(_NEW_DOCUMENT)
        found.append(Document(request, said.get(_MIME, ""), answer.contents[document], *new))
    return found, (*told, *wrong[:FINDINGS], *_not_told_of(missing, told, speaker))


_HOME, _REPOSITORY, _DOCUMENT, _MIME, _NEW_REPOSITORY, _NEW_DOCUMENT = (
    name(f"xds:{local}")
    for local in (
        "HomeCommunityId", "RepositoryUniqueId", "DocumentUniqueId", "mimeType", "NewRepositoryUniqueId",
        "NewDocumentUniqueId",
    )
)  # fmt: skip


def _without_home(speaker: Speaker, said: str | None, document: str) -> Finding:
    rule = "with another HomeCommunityId than was asked for" if said else "without HomeCommunityId"
    context = f"{speaker.called} gives a document {rule}; it is left out (ITI TF-2: 3.39.4.1.3)"
    return Finding(ErrorCode.MISSING_HOME_COMMUNITY_ID, context, document)


def _not_told_of(
    missing: Mapping[tuple[str, str], DocumentRequest], told: Sequence[Finding], speaker: Speaker
) -> list[Finding]:
    """Of each document that has not come there is an error, also where who should give it says nothing of it.

    A location may hold the community, too (ITI TF-2: 3.39.4.1.3); a warning is none.
    """
    said = {word for one in told if one.severity is Severity.ERROR for word in one.location.split()}
    rule = f"{speaker.called} neither gives the document nor says why"
    return [
        Finding(ErrorCode.DOCUMENT_UNIQUE_ID, rule, one.document_unique_id)
        for one in missing.values()
        if one.document_unique_id not in said
    ]
