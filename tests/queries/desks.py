"""A registry in SQLite and questions to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, AUTHORITY
from xds.actors.document_registry import DocumentRegistry
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Refused
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import Submission
from xds.queries import catalogue, returns
from xds.store.deployment import migrate
from xds.store.engine import make_engine, reading
from xds.store.registry.sql_registry import SqlRegistry

STATUS = "urn:oasis:names:tc:ebxml-regrep:StatusType:"
APPROVED, DEPRECATED = f"{STATUS}Approved", f"{STATUS}Deprecated"


class Questions:
    """A registry that is asked: parameters by name without ``$``, each a text or several slots of texts."""

    def __init__(self, engine: sa.Engine, most: int = 1000) -> None:
        self.engine, self.most, self.refuse_unknown = engine, most, False
        self.registry = DocumentRegistry([AUTHORITY], open_patients=True, most_results=most)

    def register(self, submission: Submission) -> Submission:
        with self.engine.begin() as connection:
            return self.registry.register(submission, SqlRegistry(connection, "default"))

    def send(self, slots: Iterable[Slot], query: str, return_type: str = "LeafClass") -> list[bytes]:
        with reading(self.engine) as connection:
            store = SqlRegistry(connection, "default")
            sent = AdhocQuery(query, return_type, tuple(slots))
            return returns.answer(sent, store, self.most, refuse_unknown=self.refuse_unknown).fragments

    def ask(
        self, query: catalogue.StoredQuery, return_type: str = "LeafClass", **parameters: str | list[str]
    ) -> list[bytes]:
        return self.send(as_slots(parameters), query.id, return_type)

    def find(self, patient: PatientId = ANNA, **more: str | list[str]) -> list[bytes]:
        given: dict[str, str | list[str]] = {
            "XDSDocumentEntryPatientId": f"'{patient}'",
            "XDSDocumentEntryStatus": f"('{APPROVED}')",
        }
        return self.ask(catalogue.FIND_DOCUMENTS, **(given | more))

    def refusal(self, **parameters: str | list[str]) -> list[ErrorCode]:
        with pytest.raises(Refused) as refused:
            self.find(**parameters)
        return [finding.code for finding in refused.value.findings]


def as_slots(parameters: dict[str, str | list[str]]) -> Iterator[Slot]:
    """A slot a text; of a list of texts, a slot each."""
    for name, texts in parameters.items():
        for text in [texts] if isinstance(texts, str) else texts:
            yield Slot(f"${name}", (text,))


@contextmanager
def questions(folder: Path) -> Iterator[Questions]:
    engine = make_engine(f"sqlite:///{folder}/registry.sqlite")
    with engine.begin() as connection:
        migrate(connection)
    yield Questions(engine)
    engine.dispose()
