"""What requests execute was compiled before: no statement is built, traversed or looked up in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree
from sqlalchemy.sql.compiler import Compiled

from tests.builders import ANNA, a_submission, an_entry
from tests.conftest import wait_for
from tests.extent import size
from tests.server.test_application import Site, of_bytes, serving
from xds.access import gate
from xds.ebxml import lcm, rs
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.store.tables import peer_use
from xds.transactions import iti42_register_document_set_b as iti42

REQUESTS = size(25, 100)


@pytest.fixture
def site(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 1e9)  # what is looked at every few seconds is no request's
    with serving(database_url, tmp_path) as site:
        yield site


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What SQLAlchemy does that need not be done again."""
    counted: Counter[str] = Counter()
    compile_ = Compiled.__init__
    execute = sa.Connection._execute_clauseelement

    def compiled(self: Any, *given: Any, **more: Any) -> None:
        counted["compiled"] += 1
        compile_(self, *given, **more)

    def executed(self: Any, element: Any, *given: Any, **more: Any) -> Any:
        counted[f"looked up: {element}"] += 1
        return execute(self, element, *given, **more)

    monkeypatch.setattr(Compiled, "__init__", compiled)
    monkeypatch.setattr(sa.Connection, "_execute_clauseelement", executed)
    return counted


def registers(site: Site) -> None:
    body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(a_submission())))
    answer = site.send("/registry", iti42.TRANSACTION.action, [body], mtom=False)
    assert rs.read_response(answer.body)[0] is Status.SUCCESS


@pytest.mark.large
def test_submissions_queries_and_retrievals_compile_nothing(site: Site, work: Counter[str]) -> None:
    entry = an_entry(**of_bytes(b"kept"))
    assert rs.read_response(site.provide(a_submission(entries=[entry]), [b"kept"]).body)[0] is Status.SUCCESS

    def each() -> None:
        registers(site)
        assert b"ExtrinsicObject" in etree.tostring(site.find(ANNA).body)
        assert site.retrieve(entry.unique_id).contents

    def warm() -> bool:
        each()
        return site.count(peer_use) > 0  # what peers use is counted once a second

    wait_for(warm)
    work.clear()
    for _ in range(REQUESTS):
        each()
    assert work == Counter()
