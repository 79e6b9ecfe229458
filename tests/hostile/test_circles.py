"""Documents that are related in a circle, by associations that come alone: they are found, and the search ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import a_submission, an_association, an_entry
from tests.server.test_application import Site, of_bytes, serving
from xds.ebxml import lcm, query, rs
from xds.ebxml.rim import Slot
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set_b as iti42


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path) as made:
        yield made


@pytest.mark.parametrize("kind", [AssociationType.APND, AssociationType.XFRM, AssociationType.RPLC])
def test_a_circle_of_associations_is_refused_or_found_without_going_round(site: Site, kind: AssociationType) -> None:
    one, other = (an_entry(**of_bytes(data)) for data in (b"one", b"other"))
    site.provide(a_submission(entries=[one, other]), [b"one", b"other"])
    for source, target in ((one, other), (other, one)):
        alone = a_submission(entries=[], relations=[an_association(kind, source.entry_uuid, target.entry_uuid)])
        body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(alone)))
        status, _ = rs.read_response(site.send("/registry", iti42.TRANSACTION.action, [body], mtom=False).body)
        assert status in (Status.SUCCESS, Status.FAILURE)
    slots = (Slot("$XDSDocumentEntryEntryUUID", (f"'{one.entry_uuid}'",)), Slot("$AssociationTypes", (f"('{kind}')",)))
    asked = query.write_request(query.AdhocQuery(catalogue.GET_RELATED_DOCUMENTS.id, "LeafClass", slots))
    answer = site.send("/registry", iti18.TRANSACTION.action, [etree.tostring(asked)], mtom=False).body
    assert answer.get("status") == Status.SUCCESS
    assert len(list(answer.iter("{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}ExtrinsicObject"))) <= 2
    assert site.find().body.get("status") == Status.SUCCESS
