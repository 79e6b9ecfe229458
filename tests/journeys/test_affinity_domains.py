"""Two affinity domains in one installation, by path: neither sees anything of the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from lxml import etree

from tests.builders import ANNA, BERT, a_submission, an_association, an_entry
from tests.cli.command import xds
from tests.server.test_application import Site, of_bytes, serving
from xds.ebxml import lcm, query, rs
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Status, Unusable
from xds.metadata import to_ebxml
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.settings.configuration import load
from xds.store.deployment import with_identity
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti62_remove_metadata as iti62
from xds.wire.client import Answer

NORTH = """
[domains.north]
assigning_authorities = ["1.2.3.4.5"]
patients = "open"
"""
ENTRY = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}ExtrinsicObject"
ASSOCIATION = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}Association"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """The domain at the bare paths, and north; of one assigning authority, as one that tests and one that works."""
    with serving(database_url, tmp_path, NORTH) as site:
        yield site


def register(site: Site, submission: Submission, path: str) -> tuple[Status, list[str]]:
    body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission)))
    status, findings = rs.read_response(site.send(path, iti42.TRANSACTION.action, [body], mtom=False).body)
    return status, [finding.code for finding in findings]


def ask(site: Site, path: str, query_id: str, **parameters: str) -> Answer:
    slots = tuple(Slot(f"${name}", (value,)) for name, value in parameters.items())
    body = query.write_request(query.AdhocQuery(query_id, "LeafClass", slots))
    return site.send(path, iti18.TRANSACTION.action, [etree.tostring(body)], mtom=False)


def found(answer: Answer, element: str = ENTRY) -> list[str]:
    return [item.get("id", "") for item in answer.body.iter(element)]


def test_what_one_domain_has_the_other_does_not_find(site: Site) -> None:
    submission = a_submission()
    (entry,) = submission.document_entries
    assert register(site, submission, "/north/registry") == (Status.SUCCESS, [])
    assert found(site.find(path="/north/registry")) == [entry.entry_uuid]
    assert found(site.find()) == []
    for path, there in (("/north/registry", [entry.entry_uuid]), ("/registry", [])):
        by_id = ask(site, path, catalogue.GET_DOCUMENTS.id, XDSDocumentEntryEntryUUID=f"('{entry.entry_uuid}')")
        by_unique_id = ask(site, path, catalogue.GET_DOCUMENTS.id, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')")
        assert found(by_id) == found(by_unique_id) == there


def test_the_same_submission_may_be_in_both_and_each_has_its_own_fate(site: Site) -> None:
    """With its own UUIDs and uniqueIds, a member by reference of another patient included."""
    of_bert = a_submission(patient=BERT)
    sent = a_submission()
    reference = an_association(
        AssociationType.HAS_MEMBER, sent.submission_set.entry_uuid, of_bert.document_entries[0].entry_uuid,
        submission_set_status=SubmissionSetStatus.REFERENCE,
    )  # fmt: skip
    sent = Submission(sent.submission_set, sent.document_entries, (), (*sent.associations, reference))
    for path in ("/registry", "/north/registry"):
        assert register(site, of_bert, path) == (Status.SUCCESS, [])
        assert register(site, sent, path) == (Status.SUCCESS, [])
    referred = f"('{of_bert.document_entries[0].entry_uuid}')"
    before = found(ask(site, "/registry", catalogue.GET_ASSOCIATIONS.id, uuid=referred), ASSOCIATION)
    assert len(before) == 2
    # Replaced and removed in north alone.
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, sent.document_entries[0].entry_uuid)
    replacing = a_submission(entries=[new], relations=[relation])
    assert register(site, replacing, "/north/registry") == (Status.SUCCESS, [])
    ids = [item.entry_uuid for submission in (replacing, sent) for item in submission.objects()]
    body = [etree.tostring(lcm.write_remove_objects(ids))]
    answer = site.send("/north/registry", iti62.TRANSACTION.action, body, mtom=False)
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    assert found(site.find(path="/north/registry")) == []
    assert found(site.find()) == [sent.document_entries[0].entry_uuid]
    assert found(ask(site, "/registry", catalogue.GET_ASSOCIATIONS.id, uuid=referred), ASSOCIATION) == before
    assert len(found(ask(site, "/north/registry", catalogue.GET_ASSOCIATIONS.id, uuid=referred), ASSOCIATION)) == 1


def test_an_association_leads_to_nothing_of_the_other_domain(site: Site) -> None:
    old = a_submission()
    assert register(site, old, "/registry") == (Status.SUCCESS, [])
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, old.document_entries[0].entry_uuid)
    refused = register(site, a_submission(entries=[new], relations=[relation]), "/north/registry")
    assert refused == (Status.FAILURE, [ErrorCode.UNRESOLVED_REFERENCE])


def test_a_document_is_retrieved_from_its_own_domain_only(site: Site) -> None:
    entry = an_entry(**of_bytes(b"north's"))
    answer = site.provide(a_submission(entries=[entry]), [b"north's"], path="/north/repository")
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    (listed,) = site.find(path="/north/registry").body.iter(ENTRY)
    oid = site.application.settings.domains["north"].repository_unique_id
    assert oid != site.repository_unique_id
    assert oid in etree.tostring(listed).decode()
    back = site.retrieve(entry.unique_id, repository=oid, path="/north/repository")
    assert [spooled.path.read_bytes() for spooled in back.contents.values()] == [b"north's"]
    for repository, code in (
        (oid, ErrorCode.UNKNOWN_REPOSITORY_ID),
        (site.repository_unique_id, ErrorCode.DOCUMENT_UNIQUE_ID),
    ):
        status, findings = rs.read_response(site.retrieve(entry.unique_id, repository=repository).body[0])
        assert (status, [finding.code for finding in findings]) == (Status.FAILURE, [code])


def test_another_document_of_the_same_uniqueid_is_no_conflict_between_domains(site: Site) -> None:
    for content, path in ((b"ours", "/repository"), (b"north's", "/north/repository")):
        entry = an_entry(**of_bytes(content), unique_id="2.25.77")
        answer = site.provide(a_submission(entries=[entry]), [content], path=path)
        assert rs.read_response(answer.body) == (Status.SUCCESS, ())


def test_each_address_gives_its_own_wsdl_and_the_front_page_names_them_all(site: Site) -> None:
    with urlopen(f"{site.url}/north/registry?wsdl") as wsdl:  # noqa: S310
        assert f'location="{site.url}/north/registry"'.encode() in wsdl.read()
    with urlopen(f"{site.url}/") as page:  # noqa: S310
        text = page.read().decode()
    assert "Document Registry, north" in text
    assert f"{site.url}/north/repository?wsdl" in text
    assert "/north/imaging-source" not in text


def test_a_domain_that_nobody_has_configured_is_not_there(site: Site) -> None:
    for path in ("/south/registry", "/north/imaging-source", "/north/north/registry"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(site.url + path)  # noqa: S310


def test_patients_are_made_known_in_one_domain(site: Site, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[server]\ndata = "{tmp_path}/other"\n[domain]\nassigning_authorities = ["{ANNA.authority}"]\n{NORTH}'
    )
    assert xds("patient", "add", ANNA, "--domain", "north", "--config", config).code == 0
    assert xds("patient", "list", "--domain", "north", "--json", "--config", config).json == [str(ANNA)]
    assert xds("patient", "list", "--json", "--config", config).json == []
    unknown = xds("patient", "list", "--domain", "south", "--config", config)
    assert (unknown.code, "there are default, north" in unknown.err) == (1, True)


def test_two_domains_cannot_have_one_repository(tmp_path: Path) -> None:
    file = tmp_path / "xds.toml"
    file.write_text('[repository]\nunique_id = "1.2.3"\n[domains.north]\nrepository_unique_id = "1.2.3"\n')
    loaded = load(file, {}).changed({"server.data": str(tmp_path)}, "command line")
    with pytest.raises(Unusable, match="default and north have the same repository_unique_id"):
        with_identity(loaded)


def test_the_oids_of_a_named_domain_are_made_once(tmp_path: Path) -> None:
    file = tmp_path / "xds.toml"
    file.write_text("[domains.north]\n")
    loaded = load(file, {}).changed({"server.data": str(tmp_path)}, "command line")
    first, second = with_identity(loaded).settings, with_identity(loaded).settings
    assert first == second
    made = first.domains["north"]
    assert made.repository_unique_id
    assert made.assigning_authorities
    assert made.assigning_authorities != first.domain.assigning_authorities
