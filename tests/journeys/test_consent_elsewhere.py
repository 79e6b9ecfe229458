"""A region's registry and a hospital's repository: a consent document given to the one holds at the other."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.consent_builders import OPT_OUT, a_bppc
from tests.builders import a_submission
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.journeys.test_consent_documents import bppc
from xds.actors.document_source import Content, provide
from xds.demo.site import free_port
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.wire.client import Client
from xds.wire.spool import Spool

REPOSITORY = "1.2.3.77"


@pytest.fixture
def region(tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    """The registry, and the repository that registers there."""
    port = free_port()
    registry = Served(tmp_path / "registry", {
        "server": {"actors": ["registry"]}, "consent": {"documents": True},
        "consent_policies.none-of-it": {"policy": OPT_OUT},
        f'repositories."{REPOSITORY}"': {"url": f"http://127.0.0.1:{port}/repository"},
    }).start()  # fmt: skip
    repository = Served(tmp_path / "repository", {
        "server": {"actors": ["repository"]},
        "repository": {"registry_url": f"{registry.url}/registry", "unique_id": REPOSITORY},
    }, port=port).start()  # fmt: skip
    yield registry, repository
    assert (repository.stop(), registry.stop()) == (0, 0)


def test_a_consent_document_that_another_node_keeps_holds_within_seconds(
    region: tuple[Served, Served], tmp_path: Path
) -> None:
    registry, repository = region
    images = repository.provide(b"images", tmp_path)
    assert registry.found() == {images.document_unique_id}
    content = a_bppc(OPT_OUT)
    with Spool(tmp_path / "spool") as spool:
        submission = a_submission(entries=[bppc(content)])
        provide(Client(f"{repository.url}/repository"), ITI_41.action, submission, [Content.of(content)], spool)
    wait_for(lambda: registry.found() == set(), 60)
    listed = xds("consent", "documents", "--json", "--config", registry.config).json
    assert listed == []


def test_a_document_that_is_not_given_stands_on_the_list_with_its_reason(
    region: tuple[Served, Served], tmp_path: Path
) -> None:
    registry, repository = region
    wrong = a_bppc("1.2.3.4.99")  # a policy that the domain does not know
    with Spool(tmp_path / "spool") as spool:
        submission = a_submission(entries=[bppc(wrong)])
        provide(Client(f"{repository.url}/repository"), ITI_41.action, submission, [Content.of(wrong)], spool)

    def trouble() -> str:
        (row,) = xds("consent", "documents", "--json", "--config", registry.config).json
        return str(row["trouble"])

    wait_for(lambda: "1.2.3.4.99" in trouble(), 60)
    with urllib.request.urlopen(f"{registry.url}/metrics", timeout=10) as reply:  # noqa: S310
        assert b'xds_consent_documents{state="refused"} 1' in reply.read()
    (row,) = xds("consent", "documents", "--json", "--config", registry.config).json
    assert "tried again" in xds("consent", "documents", "--again", row["document"], "--config", registry.config).out
    assert xds("consent", "documents", "--again", "1.2.3", "--config", registry.config).code == 3
