"""A consent document is ended by whose it is, whoever else submits; also by whom it keeps from seeing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.consent_builders import OPT_OUT, a_bppc
from tests.builders import SOURCE, a_submission, an_association
from tests.conftest import wait_for
from tests.hostile.test_who_may_what import OTHER_SOURCE, by, certificates, settings
from tests.journeys.test_consent_documents import OPT_IN, bppc, images, said, sees
from tests.server.test_application import Site, serving
from xds.access import gate
from xds.ebxml import rs
from xds.errors import Status
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.vocabulary import AssociationType

__all__ = ["certificates"]

CONSENTS = f"""
[consent]
documents = true
[consent_policies.not-to-two]
policy = "{OPT_OUT}"
organisations = ["Consumer", "Owner"]
[consent_policies.all-of-it]
policy = "{OPT_IN}"
permit = true
"""


@pytest.fixture
def site(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.0)
    with serving(database_url, tmp_path, settings(CONSENTS)) as site:
        yield site


def provided(site: Site, source: str, content: bytes, before: DocumentEntry | None = None) -> DocumentEntry | None:
    """The entry of a consent document, if the source could submit it in place of one before."""
    entry = bppc(content)
    relation = [an_association(AssociationType.RPLC, entry.entry_uuid, before.entry_uuid)] if before else []
    answer = site.provide(a_submission(entries=[entry], relations=relation, source_id=source), [content])
    return entry if rs.read_response(answer.body)[0] is Status.SUCCESS else None


def test_another_source_cannot_end_a_consent_and_its_own_can_though_it_sees_nothing(
    site: Site, certificates: dict[str, bytes]
) -> None:
    def seen() -> bool:
        with by(site, certificates["consumer"]):
            return sees(site, ours)

    with by(site, certificates["owner"]):
        ours = images(site)
        consent = provided(site, SOURCE, a_bppc())
        assert consent is not None
    wait_for(lambda: not seen())
    with by(site, certificates["source"]):
        assert provided(site, OTHER_SOURCE, a_bppc(OPT_IN), consent) is None
    assert not seen()
    with by(site, certificates["owner"]):
        assert provided(site, SOURCE, a_bppc(OPT_IN), consent) is not None
    wait_for(seen)
    assert [one.permit for one in said(site)] == [True]


@pytest.mark.parametrize("who", ["consumer", "unlisted", "nobody", "identity"])
def test_who_may_submit_no_documents_sets_no_consent(site: Site, certificates: dict[str, bytes], who: str) -> None:
    with by(site, certificates[who]):
        assert provided(site, SOURCE, a_bppc()) is None
    assert said(site) == []
