"""The rows of a submission as the registry writes them, made once for each kind of it, and then filled in fast."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from tests.bench.documents import Document, entry_uuid
from tests.bench.load import patient
from tests.bench.rows import DOMAIN, Row, into
from tests.builders import AUTHORITY, LOINC, a_folder, a_submission, an_association, an_entry
from xds.actors.document_registry import _new_ids, _resolved
from xds.metadata.datatypes import Code, Dtm, ReferenceId
from xds.metadata.identifiers import PatientId, UniqueId, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import REFERENCE_STUDY, AssociationType, AvailabilityStatus
from xds.store.audit.records import Recorded, row_of
from xds.store.registry.compression import pack, unpack
from xds.store.registry.rows import rows
from xds.store.tables import audit_record, locator

CONTENT = b"the document of every entry" * 40
"""Of which the hash and the size are said."""

_SET, _ENTRY, _FOLDER = range(3)
"""Where these are among the objects of a submission."""

# What stands in a template for what differs, beside the ids of the submission's own objects.
_PATIENT, _TYPE, _TIME = "p0000000", "00000-0", "19000102030405"
_DOCUMENT_ID, _SET_ID, _FOLDER_ID, _STUDY = (f"2.25.{n}111111111111111" for n in (5, 6, 7, 8))
_OLD_DOCUMENT, _OLD_FOLDER = new_entry_uuid(), new_entry_uuid()
_Make = Callable[[Document], str]
_MARKS: dict[str, _Make] = {
    _PATIENT: lambda one: patient(one.patient).id,
    _TYPE: lambda one: one.type_code,
    _TIME: lambda one: one.creation_time,
    _DOCUMENT_ID: lambda one: one.unique_id,
    _SET_ID: lambda one: one.set_unique_id,
    _FOLDER_ID: lambda one: one.folder_unique_id,
    _STUDY: lambda one: one.study,
    _OLD_DOCUMENT: lambda one: entry_uuid(one.target or 0, _ENTRY),
    _OLD_FOLDER: lambda one: entry_uuid(one.folder or 0, _FOLDER),
}
_KEY = object()
"""Stands for the patient key."""


def rows_of(one: Document, patient_key: int) -> list[Row]:
    """What the registry keeps of a document's submission, and of its own where the document replaces another."""
    return _template(one.relation, one.folder == one.number, one.folder is not None, one.deprecated).fill(
        one, patient_key
    )


@cache
def _template(relation: AssociationType | None, founds: bool, filed: bool, deprecated: bool) -> Template:
    made = _registered(a_kind_of_submission(relation, founds=founds, filed=filed))
    if deprecated:
        (entry,) = made.document_entries
        made = replace(made, document_entries=(replace(entry, availability_status=AvailabilityStatus.DEPRECATED),))
    return Template(made)


def _registered(submission: Submission) -> Submission:
    return _resolved(submission, _new_ids(submission), datetime.now(UTC))


def a_kind_of_submission(relation: AssociationType | None = None, *, founds: bool, filed: bool) -> Submission:
    """One document with marks, perhaps related to an old one, and in an old folder or in one that came with it."""
    owner, member = PatientId(_PATIENT, AUTHORITY), AssociationType.HAS_MEMBER
    entry = an_entry(
        unique_id=UniqueId(_DOCUMENT_ID), patient_id=owner, creation_time=Dtm(_TIME),
        type_code=Code(_TYPE, LOINC, "Diagnostic imaging study"),
        reference_id_list=(ReferenceId.of(_STUDY, REFERENCE_STUDY),),
        hash=hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest(), size=len(CONTENT),
    )  # fmt: skip
    folders = [a_folder(unique_id=UniqueId(_FOLDER_ID), patient_id=owner)] if founds else []
    related = [] if relation is None else [an_association(relation, entry.entry_uuid, _OLD_DOCUMENT)]
    holder = folders[0].entry_uuid if founds else _OLD_FOLDER
    filing = [an_association(member, holder, entry.entry_uuid)] if filed else []
    made = a_submission(
        patient=owner, entries=[entry], folders=folders, relations=[*related, *filing], unique_id=UniqueId(_SET_ID)
    )  # fmt: skip
    if founds or not filed:
        return made
    held = an_association(member, made.submission_set.entry_uuid, filing[0].entry_uuid)
    return replace(made, associations=(*made.associations, held))


def marks(submission: Submission) -> dict[str, _Make]:
    """What stands in a submission for what differs, and how that is made of a document."""

    def own(nth: int, one: Document) -> str:
        return entry_uuid(one.number, nth)

    return _MARKS | {item.entry_uuid: partial(own, nth) for nth, item in enumerate(submission.objects())}


def plain_template(audit: Recorded) -> Template:
    """Of a document alone, and an audit record kept with it; the ebXML is not exact."""
    made, record = _registered(a_kind_of_submission(founds=False, filed=False)), row_of(audit)
    return Template(made, [(into(audit_record, record), tuple(record.values()))], exact=False)


class Template:
    """The rows of a submission that has marks where others differ from it.

    Their ebXML is filled in, too, but for the ids within an object; where it is not to be ``exact``, it stays the
    template's, which is as long.
    """

    def __init__(self, submission: Submission, more: Iterable[Row] = (), *, exact: bool = True) -> None:
        """``more``: rows to be kept with each submission as they are."""
        self._marks, self._numbers, self._makes = marks(submission), dict[str, int](), list[_Make]()
        self._any = re.compile(f"({'|'.join(map(re.escape, self._marks))})")
        self._rows: list[tuple[str, list[Any]]] = []
        for item in submission.objects():
            for table, row in rows(item, [submission.submission_set.source_id]):
                values: dict[str, Any] = {"patient_key": _KEY, "entry_uuid": item.entry_uuid}
                values |= ({"domain": DOMAIN} if table is locator else {}) | row
                cells = [v if isinstance(v, bytes) and not exact else self._cell(v) for v in values.values()]
                self._rows.append((into(table, values), cells))
        # One statement a table, in the order that the registry has them.
        order = list(dict.fromkeys(where for where, _ in self._rows))
        self._rows.sort(key=lambda row: order.index(row[0]))
        self._rows += [(where, list(values)) for where, values in more]

    def _cell(self, value: Any) -> Any:
        """A value, or a text with marks in it."""
        text = unpack(value).decode() if isinstance(value, bytes) else value
        pieces = self._any.split(text) if isinstance(text, str) else []
        if len(pieces) < 2:
            return value
        return _Text(pieces, [self._number(mark) for mark in pieces[1::2]], packed=isinstance(value, bytes))

    def _number(self, mark: str) -> int:
        if mark not in self._numbers:
            self._numbers[mark] = len(self._makes)
            self._makes.append(self._marks[mark])
        return self._numbers[mark]

    def fill(self, one: Document, patient_key: int) -> list[Row]:
        """The rows of one submission."""
        fresh = [make(one) for make in self._makes]

        def value(cell: Any) -> Any:
            if cell is _KEY:
                return patient_key
            return cell.filled(fresh) if isinstance(cell, _Text) else cell

        return [(where, tuple(map(value, cells))) for where, cells in self._rows]


class _Text:
    """A text, every second piece of which is a mark; ebXML comes out packed."""

    def __init__(self, pieces: list[str], numbers: list[int], *, packed: bool) -> None:
        self._pieces, self._numbers, self._packed = pieces, numbers, packed

    def filled(self, fresh: list[str]) -> str | bytes:
        pieces = self._pieces.copy()
        pieces[1::2] = [fresh[number] for number in self._numbers]
        text = "".join(pieces)
        return pack(text.encode()) if self._packed else text
