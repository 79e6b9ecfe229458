"""What ITI-18 is measured on: a registry as it would have become if everything had been submitted."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.actors.histories import holds
from tests.bench import loading
from tests.bench.documents import Document, asked_for, of_a_province
from tests.bench.rows import DOMAIN
from tests.bench.templates import a_kind_of_submission, marks
from tests.store.databases import Domain
from xds.ebxml import lcm, rim
from xds.metadata import to_ebxml
from xds.metadata.vocabulary import AssociationType
from xds.store.deployment import migrate
from xds.store.engine import make_engine
from xds.store.registry.compression import unpack
from xds.store.tables import (
    association,
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    package_value,
    patient,
    submission_set,
)

TABLES = (
    association, document_entry, document_entry_value, folder, foreign_association, locator, package_value, patient,
    submission_set,
)  # fmt: skip
RPLC = AssociationType.RPLC


def test_what_is_loaded_is_what_must_hold_of_a_registry(engine: sa.Engine) -> None:
    documents = [*asked_for(2, 20), *of_a_province(40, 240, first_patient=2)]
    loading.load(engine.url.render_as_string(hide_password=False), documents)
    holds(Domain(engine, name=DOMAIN))
    with engine.connect() as connection:
        counted = Counter(connection.scalars(sa.select(document_entry.c.status)))
    assert counted["Deprecated"] == sum(one.deprecated for one in documents) > 0
    assert counted.total() == 240


def test_a_load_that_was_stopped_goes_on_behind_its_last_commit(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, url = of_a_province(0, 100, first_patient=0), engine.url.render_as_string(hide_password=False)
    monkeypatch.setattr(loading, "BATCH", 20)

    def stopped(batches: list[loading.Batch]) -> Iterator[loading.Rows]:
        for number, batch in enumerate(batches):
            if number == 2:
                raise KeyboardInterrupt
            yield loading._build(batch)

    with monkeypatch.context() as cut:
        cut.setattr(loading, "_built", stopped)
        with pytest.raises(KeyboardInterrupt):
            loading.load(url, documents)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(document_entry)) == 40
    loaded = loading.load(url, documents)
    assert (loaded.documents, loaded.seconds > loaded.writing_seconds > 0) == (100, True)
    holds(Domain(engine, name=DOMAIN))
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(document_entry)) == 100
    assert not sa.inspect(engine).has_table("bench_progress")


def test_what_is_loaded_is_what_the_registry_would_have_written(tmp_path: Path) -> None:
    """A folder's first document, its second, one that replaces the first, an addendum, a chain outside."""
    documents = [
        Document(0, 0, folder=0, deprecated=True),
        Document(1, 0, folder=0),
        Document(2, 0, relation=RPLC, target=0, folder=0),
        Document(3, 0, relation=AssociationType.APND, target=2),
        Document(4, 1, deprecated=True),
        Document(5, 1, relation=RPLC, target=4, deprecated=True),
        Document(6, 1, relation=RPLC, target=5),
    ]
    loaded, registered = (make_engine(f"sqlite:///{tmp_path}/{name}.sqlite") for name in ("one", "other"))
    for engine in (loaded, registered):
        with engine.begin() as connection:
            migrate(connection)
    loading.load(str(loaded.url), documents)
    site = Domain(registered, name=DOMAIN)
    for one in documents:
        site(lambda store, one=one: site.registry.submit(as_sent(one), store))  # type: ignore[misc]
    assert contents(loaded) == contents(registered)
    for engine in (loaded, registered):
        engine.dispose()


def as_sent(one: Document) -> rim.RegistryObjectList:
    """A document's submission: where it replaces another, the registry itself puts it into the other's folder."""
    replaces, founds = one.relation is RPLC, one.folder == one.number
    made = a_kind_of_submission(one.relation, founds=founds, filed=one.folder is not None and not replaces)
    text = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(made))).decode()
    for mark, fresh in marks(made).items():
        text = text.replace(mark, fresh(one))
    return lcm.read_submit_objects(etree.fromstring(text))


def contents(engine: sa.Engine) -> Counter[tuple[Any, ...]]:
    """Every row with its ebXML as text, but for ids and for the time of now."""
    with engine.connect() as connection:
        rows = [(table.name, *row) for table in TABLES for row in connection.execute(sa.select(table))]
    return Counter(tuple(map(comparable, row)) for row in rows)


def comparable(value: Any) -> Any:
    text = unpack(value).decode() if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return value
    return re.sub(f"{datetime.now(UTC):%Y%m%d}[0-9]{{6}}", "now", re.sub("urn:uuid:[0-9a-f-]{36}", "id", text))


def test_a_province_has_chains_of_replacements_folders_and_a_patient_with_a_tenth_of_everything() -> None:
    documents = of_a_province(1_000, 20_000, first_patient=10)
    assert documents == of_a_province(1_000, 20_000, first_patient=10)
    assert [one.number for one in documents] == list(range(1_000, 20_000))
    by_number = {one.number: one for one in documents}
    replaced = {one.target: one for one in documents if one.target is not None}
    assert 0.08 < len(replaced) / len(documents) < 0.12
    for number, later in replaced.items():
        earlier = by_number[number]
        assert (earlier.patient, earlier.deprecated, earlier.folder) == (later.patient, True, later.folder)
        assert earlier.number < later.number
    assert {one.number for one in documents if one.deprecated} == replaced.keys()
    assert any(one.target in replaced and by_number[one.target].target in replaced for one in replaced.values())
    sizes = Counter(one.patient for one in documents)
    assert sizes[10] == 2_000
    assert statistics.median(sizes.values()) < 10
    assert 0.15 < len({one.folder for one in documents} - {None}) / len(sizes) < 0.25
