"""A consent document that is registered here and kept elsewhere is fetched, and what it says holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.access.consent_builders import OPT_OUT, a_bppc
from tests.builders import ANNA, a_submission
from tests.journeys.test_consent_documents import SETTINGS, alerts, bppc, images, said, sees
from tests.server.test_application import Site, serving
from xds.access import consent_fetching, gate
from xds.access.consent_fetching import ConsentFetching, NotFetched
from xds.ebxml import lcm, rs
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId
from xds.store import consent_documents
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti62_remove_metadata as iti62
from xds.wire.spool import Spool, Spooled

ELSEWHERE = Oid("1.2.3.77")


@pytest.fixture
def site(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.0)
    with serving(database_url, tmp_path, SETTINGS) as site:
        yield site


class Repository:
    """Another repository: what it gives, or what is wrong with it."""

    def __init__(self, folder: Path, content: bytes, trouble: str = "") -> None:
        self.folder, self.content, self.trouble, self.asked = folder, content, trouble, list[tuple[str, str]]()

    @contextmanager
    def fetch(self, repository: str, unique_id: str, whose: PatientId | None) -> Iterator[Spooled]:
        self.asked.append((repository, unique_id))
        assert whose == ANNA
        if self.trouble:
            raise NotFetched(self.trouble)
        with Spool(self.folder) as spool:
            writing = spool.new()
            writing.write(self.content)
            yield writing.finish()


def registered(site: Site, content: bytes) -> DocumentEntry:
    """A consent document, its bytes elsewhere."""
    entry = replace(bppc(content), repository_unique_id=ELSEWHERE)
    element = lcm.write_submit_objects(to_ebxml.submission(a_submission(entries=[entry])))
    answer = site.send("/registry", iti42.TRANSACTION.action, [etree.tostring(element)], mtom=False)
    assert rs.read_response(answer.body)[0] is Status.SUCCESS
    return entry


def fetching(site: Site, repository: Repository) -> ConsentFetching:
    domain = site.application.domains["default"]
    return ConsentFetching(domain.consents, domain.database, domain.events.node, repository.fetch)


def waiting(site: Site) -> list[consent_documents.Waiting]:
    with site.application.engine.connect() as connection:
        return list(consent_documents.all_of(connection, "default"))


def opting_out() -> bytes:
    return a_bppc(OPT_OUT)


def test_what_a_document_says_that_is_kept_elsewhere_holds_once_it_has_been_fetched(site: Site, tmp_path: Path) -> None:
    entry, other = registered(site, opting_out()), images(site)
    assert sees(site, other)
    repository = Repository(tmp_path / "other", opting_out())
    one = fetching(site, repository)
    assert one.step()
    assert repository.asked == [(ELSEWHERE, entry.unique_id)]
    assert [each.source for each in said(site)] == [entry.unique_id]
    assert not sees(site, other)
    assert not one.step()
    assert waiting(site) == []
    assert [(patient, "set by document" in text) for patient, text in alerts(site)] == [(str(ANNA), True)]


def test_a_repository_that_is_away_is_asked_again_later_each_time_after_longer(site: Site, tmp_path: Path) -> None:
    registered(site, opting_out())
    repository = Repository(tmp_path / "other", opting_out(), "repository 1.2.3.77 does not answer")
    one, pauses = fetching(site, repository), list[int]()
    for _ in range(9):
        before = consent_fetching.now_microseconds()
        with site.application.engine.begin() as connection:  # as if the pause were over
            (kept,) = consent_documents.all_of(connection, "default")
            consent_documents.again(connection, "default", kept.unique_id, before)
        assert one.step()
        (kept,) = waiting(site)
        assert kept.next_try is not None
        pauses.append((kept.next_try - before) // 1_000_000)
        assert not one.step()  # not before its time
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert [(patient, "is not yet acted upon: repository 1.2.3.77 does" in text) for patient, text in alerts(site)] == [
        (str(ANNA), True)
    ]  # on record once
    repository.trouble = ""
    with site.application.engine.begin() as connection:
        consent_documents.again(connection, "default", kept.unique_id, 1)
    assert one.step()
    assert len(said(site)) == 1


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data.replace(b"ClinicalDocument", b"ClinicalDokument"), "not those that were registered"),
        (lambda data: data + b" ", "not those that were registered"),
    ],
)
def test_other_bytes_than_those_that_were_registered_are_not_acted_upon(
    site: Site, tmp_path: Path, spoil: Callable[[bytes], bytes], why: str
) -> None:
    registered(site, opting_out())
    one = fetching(site, Repository(tmp_path / "other", spoil(opting_out())))
    assert one.step()
    (kept,) = waiting(site)
    assert (why in kept.trouble, kept.next_try) == (True, None)
    assert not one.step()
    assert said(site) == []
    assert [("is not acted upon" in text) for _, text in alerts(site)] == [True]


def test_a_document_that_is_not_read_as_a_whole_is_not_acted_upon_and_says_why(site: Site, tmp_path: Path) -> None:
    unknown = a_bppc("1.2.3.4.99")
    registered(site, unknown)
    assert fetching(site, Repository(tmp_path / "other", unknown)).step()
    (kept,) = waiting(site)
    assert "1.2.3.4.99" in kept.trouble
    assert kept.next_try is None


def test_a_document_that_was_removed_meanwhile_is_not_asked_for(site: Site, tmp_path: Path) -> None:
    entry = registered(site, opting_out())
    with site.application.engine.begin() as connection:
        rows = connection.execute(sa.text("SELECT entry_uuid FROM submission_set")).scalars().all()
        links = connection.execute(sa.text("SELECT entry_uuid FROM association")).scalars().all()
    body = lcm.write_remove_objects([entry.entry_uuid, *rows, *links])
    answer = site.send("/registry", iti62.TRANSACTION.action, [etree.tostring(body)], mtom=False)
    assert rs.read_response(answer.body)[0] is Status.SUCCESS
    repository = Repository(tmp_path / "other", opting_out())
    assert fetching(site, repository).step()
    assert (repository.asked, waiting(site), said(site)) == ([], [], [])


def test_other_documents_are_not_waited_for(site: Site) -> None:
    images(site)
    assert waiting(site) == []
