"""What a rule of the table is, and the registry that it is tried on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import ANNA, AUTHORITY, BERT, a_folder, a_submission, an_association, an_entry
from tests.store.databases import Domain
from xds.actors.document_registry import DocumentRegistry
from xds.ebxml import lcm
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Finding, Refused
from xds.hl7 import v2, v3
from xds.hl7.feed import NotAFeed
from xds.hl7.v2 import Authorities
from xds.metadata import to_ebxml
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND, AssociationType
from xds.rules.code_sets import read as code_sets
from xds.server.actors import SERVED, transactions_of
from xds.transactions.bodies import schema_findings
from xds.transactions.transaction import Transaction
from xds.wire.xml import Element, parse

BY_NUMBER: dict[str, Transaction] = {
    transaction.number: transaction for page in SERVED["registry"][1] for transaction in transactions_of(page)
}
ON_DEMAND_CHANGES: dict[str, Any] = {"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None}
CODES = '[classCode]\n"1.3.6.1.4.1.19376.1.2.6.1" = ["IMAGES"]\n'
KNOWN = (
    'mimeType = ["application/dicom"]\nsourceId = ["1.2.3.4.7"]\nrepositoryUniqueId = ["1.2.3.4.6"]\n'
    'languageCode = ["en-US"]\n[formats]\n"urn:pdf^^1.2.840.10008.2.6.1" = ["application/pdf"]\n'
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it holds, what it says and where that is written, and an attempt that breaks it.

    The refusal has ``code``, and its context holds ``names`` and, unless the code prescribes it, the clause.
    """

    transactions: tuple[str, ...]
    sentence: str
    clause: str
    attempt: Callable[[Desk, str], None]
    code: str = ErrorCode.REGISTRY_METADATA
    names: str = ""
    prescribed: bool = False  # what the context holds is prescribed: no clause beside it
    code_of: str = ""  # who has the code, where no text names one

    @property
    def title(self) -> str:
        return self.sentence.replace(" ", "_").replace("/", "-")


class Desk:
    """A registry with Anna and Bert in it; what is sent to it goes the way of a request's body."""

    def __init__(self, engine: sa.Engine) -> None:
        self.site = Domain(engine, open_patients=False)
        self.site(lambda store: [store.add_patient(ANNA), store.add_patient(BERT)])

    def with_codes(self, text: str) -> None:
        self.site.registry = DocumentRegistry(
            [AUTHORITY], open_patients=False, most_results=1000, code_sets=lambda: code_sets(text)
        )

    def limited(self, most: int) -> None:
        self.site.registry = DocumentRegistry([AUTHORITY], open_patients=False, most_results=most)

    def refusing_unknown(self) -> None:
        self.site.registry = DocumentRegistry([AUTHORITY], open_patients=False, most_results=1000, refuse_unknown=True)

    def registered(self, **changes: Any) -> Submission:
        """A good submission, registered."""
        return self.site.register(a_submission(**changes))

    def send(self, number: str, body: Element | Submission) -> None:
        """Hold a body to its schema and hand it to the registry.

        Raises:
            Refused: with what the registry answers.
        """
        element = of(body) if isinstance(body, Submission) else body
        element = parse(etree.tostring(element))
        findings = schema_findings(BY_NUMBER[number], element)
        if findings:
            raise Refused(findings)
        registry = self.site.registry
        if number == "ITI-62":
            self.site(lambda store: registry.remove(lcm.read_remove_objects(element).ids, store))
            return
        objects = lcm.read_submit_objects(element)
        if number in ("ITI-57", "ITI-92"):
            self.site(lambda store: registry.update(objects, store, restricted=number == "ITI-92"))
        else:
            self.site(lambda store: registry.submit(objects, store, on_demand=number == "ITI-61"))

    def ask(self, number: str, query: str, return_type: str = "LeafClass", **parameters: str | list[str]) -> None:
        slots = [
            Slot(f"${name}", (text,))
            for name, texts in parameters.items()
            for text in ([texts] if isinstance(texts, str) else texts)
        ]
        sent = AdhocQuery(query, return_type, tuple(slots))
        registry = self.site.registry
        run = registry.query if number == "ITI-18" else registry.query_multi_patient
        self.site(lambda store: run(sent, store))

    def feed(self, message: str | Element) -> None:
        """An ADT, or an interaction of ITI-44."""
        read = v3.read(message) if not isinstance(message, str) else v2.read(message, Authorities({}))
        self.site(lambda store: self.site.registry.feed(read, store))

    def good(self, number: str) -> Element:
        """A body that the registry takes: an entry in a folder; of an update, their next versions."""
        if number == "ITI-92":
            (entry,) = self.registered().document_entries
            new = version_of(entry)
            return of(an_update(replaces(new), items=[new]))
        entry, binder = an_entry(**(ON_DEMAND_CHANGES if number == "ITI-61" else {})), a_folder()
        member = an_association(AssociationType.HAS_MEMBER, binder.entry_uuid, entry.entry_uuid)
        sent = a_submission(entries=[entry], folders=[binder], relations=[member])
        if number != "ITI-57":
            return of(sent)
        self.site.register(sent)
        later, binder_later = version_of(entry), version_of(binder)
        return of(an_update(replaces(later), replaces(binder_later), items=[later, binder_later]))


def of(submission: Submission) -> Element:
    return parse(etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission))))


def refusal(desk: Desk, rule: Rule, number: str) -> Sequence[Finding]:
    """What the attempt is refused with; what a feed is refused with as a finding.

    Raises:
        AssertionError: it is not refused.
    """
    try:
        rule.attempt(desk, number)
    except Refused as refused:
        return refused.findings
    except NotAFeed as problem:
        return [Finding(problem.code, str(problem))]  # type: ignore[arg-type]
    raise AssertionError(f"{number} takes what breaks: {rule.sentence}")


def entry_with(**changes: Any) -> Callable[[Desk, str], None]:
    """A submission whose one entry is of other values, built past the checks of its own type."""

    def attempt(desk: Desk, number: str) -> None:
        entry: DocumentEntry = an_entry(**(ON_DEMAND_CHANGES if number == "ITI-61" else {}))
        desk.send(number, a_submission(entries=[replace(entry, **changes)]))

    return attempt


def stranger() -> PatientId:
    """A patient whom nobody has made known."""
    return PatientId("nobody", Oid(AUTHORITY))
