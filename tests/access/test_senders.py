"""A sender is known by its marks; what is tolerated of it is put right, counted, and tolerated of nobody else."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import SOURCE, a_submission, an_entry
from tests.conformance.rule import ON_DEMAND_CHANGES
from tests.extent import examples
from tests.hostile.certificates import named
from tests.rules.test_tolerances import entry_of, of, set_text, slot, without_status
from tests.server.test_application import Site, of_bytes, serving
from xds.access.peers import Peers
from xds.access.senders import UNKNOWN, Known, Senders
from xds.ebxml import query, rs
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Status, Unusable
from xds.metadata.identifiers import Oid
from xds.queries import catalogue
from xds.settings.access import PeerEntry, Sender
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti41_provide_and_register_document_set_b as iti41
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti61_register_on_demand_document_entry as iti61
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions import iti92_restricted_update_document_set as iti92
from xds.wire.http import HttpRequest
from xds.wire.xml import Element, name

PACS = f"""
[senders.pacs]
source_ids = ["{SOURCE}"]
tolerate = ["times", "display-names"]

[senders.old]
source_ids = ["1.2.3.99"]
addresses = ["127.0.0.0/8"]
schema = "tolerant"

[senders.ris]
source_ids = ["1.2.3.98"]
tolerate = ["submission-set-status"]

[senders.any]
addresses = ["127.0.0.1"]
schema = "tolerant"
"""


NORTH_PACS = "O=North,CN=pacs.north"


def request(certificate: str = "", address: str = "10.1.2.3") -> HttpRequest:
    presented = named(certificate) if certificate else None
    return HttpRequest("POST", "/registry", "", "", lambda _: b"", address, "http://x/registry", presented)


def known(sender: Sender, **came: str) -> bool:
    return Senders({"pacs": sender}).of(request(**came), of(a_submission())) != UNKNOWN


@pytest.mark.parametrize(
    ("sender", "came"),
    [
        (Sender(addresses=("10.1.2.3",)), {}),
        (Sender(addresses=("192.0.2.1", "10.1.0.0/16")), {}),
        (Sender(addresses=("2001:db8::/32",)), {"address": "2001:db8::1"}),
        (Sender(source_ids=("1.9", SOURCE)), {}),
        (Sender(certificates=("CN=pacs.north, O=North",)), {"certificate": NORTH_PACS}),
        (Sender(certificates=("commonName=pacs.north, organizationName=North",)), {"certificate": NORTH_PACS}),
        (Sender(certificates=("CN=x", "commonName=pacs.north"), addresses=("10.1.2.3",), source_ids=(SOURCE,)),
         {"certificate": "CN=pacs.north"}),
    ],
)  # fmt: skip
def test_a_message_that_bears_every_mark_is_its_senders(sender: Sender, came: dict[str, str]) -> None:
    assert known(sender, **came)


@pytest.mark.parametrize(
    ("sender", "came"),
    [
        (Sender(addresses=("10.1.2.4",)), {}),
        (Sender(addresses=("10.0.0.0/8",)), {"address": "unknown"}),
        (Sender(source_ids=("1.9",)), {}),
        (Sender(certificates=("CN=pacs.north",)), {}),
        (Sender(certificates=("CN=pacs.north, O=South",)), {"certificate": NORTH_PACS}),
        # Part of a subject is another's, too; and a name that only reads like one, once it is joined.
        (Sender(certificates=("CN=pacs.north",)), {"certificate": NORTH_PACS}),
        (Sender(certificates=("CN=pacs.north, O=North",)), {"certificate": r"CN=pacs.north\, O=North"}),
        (Sender(addresses=("10.1.2.3",), source_ids=("1.9",)), {}),
        (Sender(addresses=("10.1.2.4",), source_ids=(SOURCE,)), {}),
    ],
)  # fmt: skip
def test_a_message_that_lacks_one_is_not(sender: Sender, came: dict[str, str]) -> None:
    assert not known(sender, **came)


def test_the_first_whose_marks_it_bears_is_the_sender() -> None:
    found = Senders(
        {"a": Sender(source_ids=("1.9",)), "b": Sender(source_ids=(SOURCE,), tolerate=("times",)),
         "c": Sender(source_ids=(SOURCE,))}
    )  # fmt: skip
    assert found.of(request(), of(a_submission())) == Known("b", ("times",))


@pytest.mark.parametrize(
    ("sender", "told"),
    [
        (Sender(), "certificates, addresses or source_ids say which messages are its"),
        (Sender(addresses=("10.1.2.0/33",)), r"senders\.pacs\.addresses: each is an IP address"),
        (Sender(addresses=("pacs.north",)), r"senders\.pacs\.addresses"),
        (Sender(certificates=("pacs.north",)), r"senders\.pacs\.certificates: a distinguished name"),
        (Sender(source_ids=("1",), tolerate=("everything",)), "everything is none of uuid-case"),
    ],
)
def test_a_sender_that_cannot_be_told_is_said_so(sender: Sender, told: str) -> None:
    with pytest.raises(Unusable, match=told):
        Senders({"pacs": sender})


# Over the wire.


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path, PACS) as site:
        yield site


def sent(site: Site, body: Element, action: str = iti42.TRANSACTION.action, path: str = "/registry") -> Element:
    return site.send(path, action, [etree.tostring(body)], mtom=False).body


def counted(site: Site) -> set[str]:
    with urlopen(f"{site.url}/metrics") as page:  # noqa: S310
        return {line.decode().strip() for line in page if line.startswith(b"xds_tolerated_total")}


def test_what_is_tolerated_is_stored_as_the_profile_asks_and_counted(site: Site) -> None:
    body = of(a_submission())
    set_text("creationTime", "2024-01-02T04:04:05+01:00")(body)
    assert rs.read_response(sent(site, body)) == (Status.SUCCESS, ())
    (listed,) = site.find().body.iter(name("rim:ExtrinsicObject"))
    assert slot(listed, "creationTime").text == "20240102030405"
    assert counted(site) == {'xds_tolerated_total{sender="pacs",tolerance="times"} 1.0'}


def test_what_is_not_tolerated_of_it_is_refused(site: Site) -> None:
    body = of(a_submission())
    set_text("languageCode", "en_US")(body)
    status, findings = rs.read_response(sent(site, body))
    assert (status, [f.code for f in findings]) == (Status.FAILURE, [ErrorCode.REGISTRY_METADATA])


def test_the_same_of_a_document_that_is_provided_and_registered(site: Site) -> None:
    submission = a_submission()
    body = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
    body.append(of(submission))
    set_text("creationTime", "2024-01-02T04:04:05+01:00")(body)
    for slot_name in ("hash", "size"):
        (found,) = (s for s in body.iter(name("rim:Slot")) if s.get("name") == slot_name)
        entry_of(body).remove(found)
    document = etree.SubElement(body, name("xds:Document"), id=submission.document_entries[0].entry_uuid)
    document.text = "eA=="
    assert of_bytes(b"x")["size"] == 1
    answer = sent(site, body, iti41.TRANSACTION.action, "/repository")
    assert rs.read_response(answer) == (Status.SUCCESS, ())


def unlabelled(site: Site, transaction: Any, source_id: str) -> Element:
    """A body that is good but for the SubmissionSetStatus, which no membership of it has."""
    if transaction in (iti57, iti92):
        registered = a_submission()
        assert rs.read_response(sent(site, of(registered))) == (Status.SUCCESS, ())
        new = version_of(registered.document_entries[0])
        submission = an_update(replaces(new), items=[new])
    else:
        changes = {iti41: of_bytes(b"x"), iti61: ON_DEMAND_CHANGES}.get(transaction, {})
        submission = a_submission(entries=[an_entry(**changes)])
    set_ = dataclasses.replace(submission.submission_set, source_id=Oid(source_id))
    body = of(dataclasses.replace(submission, submission_set=set_))
    without_status(body)
    if transaction is not iti41:
        return body
    provided = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
    provided.append(body)
    document = etree.SubElement(provided, name("xds:Document"), id=submission.document_entries[0].entry_uuid)
    document.text = "eA=="
    return provided


@pytest.mark.parametrize("transaction", [iti41, iti42, iti57, iti61, iti92])
def test_a_membership_without_status_is_put_right_for_whom_it_is_tolerated_of(site: Site, transaction: Any) -> None:
    """ITI TF-3: 4.2.2.1.1, whichever transaction the submission comes by."""
    path = "/repository" if transaction is iti41 else "/registry"
    outcomes = []
    for source_id in ("1.2.3.98", SOURCE):
        body = unlabelled(site, transaction, source_id)
        status, findings = rs.read_response(sent(site, body, transaction.TRANSACTION.action, path))
        outcomes.append((status, [f.code for f in findings if "SubmissionSetStatus" in f.context]))
    assert outcomes == [(Status.SUCCESS, []), (Status.FAILURE, [ErrorCode.REGISTRY_METADATA])]


def invalid(source_id: str) -> Element:
    """A submission that the XSD alone forbids: an attribute that it does not know."""
    body = of(a_submission(source_id=source_id))
    entry_of(body).set("colour", "blue")
    return body


def test_what_the_schema_alone_forbids_is_let_pass_and_counted_where_that_is_set(site: Site) -> None:
    assert rs.read_response(sent(site, invalid("1.2.3.99"))) == (Status.SUCCESS, ())
    assert 'xds_tolerated_total{sender="old",tolerance="schema"} 1.0' in counted(site)
    status, (finding,) = rs.read_response(sent(site, invalid(SOURCE)))
    assert (status, finding.code) == (Status.FAILURE, ErrorCode.REGISTRY_METADATA)
    assert "not valid by lcm.xsd" in finding.context


def mutated(body: Element, chance: random.Random) -> Element:
    """A body with a few elements and attributes gone, doubled, renamed, or in the wrong place."""
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 3)):
        element = chance.choice(list(body.iter()))
        parent = element.getparent()
        what = chance.randrange(5)
        if what == 0 and parent is not None:
            parent.remove(element)
        elif what == 1 and parent is not None:
            parent.append(copy.deepcopy(element))
        elif what == 2 and element.attrib:
            key = chance.choice(list(element.attrib))
            element.set(key, chance.choice(["", "x", element.get(key, "") * 2]))
        elif what == 3 and element.attrib:
            del element.attrib[chance.choice(list(element.attrib))]
        elif what == 4 and parent is not None:
            element.tag = chance.choice([e.tag for e in body.iter()] + ["{urn:x}other"])
    return body


def bodies(submission: Element) -> dict[str, tuple[str, Element]]:
    """A good body of each transaction that reads ebXML, by its action, with its path."""
    provide = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
    provide.append(copy.deepcopy(submission))
    document = etree.SubElement(provide, name("xds:Document"), id=entry_of(submission).get("id", ""))
    document.text = "eA=="
    remove = etree.fromstring(
        '<lcm:RemoveObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" '
        'xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">'
        '<rim:ObjectRefList><rim:ObjectRef id="urn:uuid:00000000-0000-4000-8000-000000000001"/></rim:ObjectRefList>'
        "</lcm:RemoveObjectsRequest>"
    )
    slots = (Slot("$XDSDocumentEntryPatientId", ("'anna^^^&1.2.3.4.5&ISO'",)),
             Slot("$XDSDocumentEntryStatus", ("('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",)))  # fmt: skip
    asked = query.write_request(query.AdhocQuery(catalogue.FIND_DOCUMENTS.id, "LeafClass", slots))
    return {
        iti42.TRANSACTION.action: ("/registry", submission),
        iti57.TRANSACTION.action: ("/registry", submission),
        iti62.TRANSACTION.action: ("/registry", remove),
        iti18.TRANSACTION.action: ("/registry", asked),
        iti41.TRANSACTION.action: ("/repository", provide),
    }


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_whatever_is_let_pass_there_is_an_answer_that_says_what_is_wrong(
    site: Site, chance: random.Random, which: int
) -> None:
    """No message of a sender whose schema is not held strictly ends in an internal error."""
    action, (path, good) = list(bodies(of(a_submission(source_id="1.2.3.98"))).items())[which]
    body = mutated(good, chance)
    if body.tag != good.tag:
        return
    answer = sent(site, body, action, path)
    assert b"internal error" not in etree.tostring(answer)
    assert answer.get("status")


def test_what_a_peers_entry_tolerates_is_tolerated_of_it_and_of_nobody_else() -> None:
    def sent_from(address: str) -> HttpRequest:
        return HttpRequest("POST", "/registry", "", "", lambda _: b"", address, "http://localhost/registry")

    peers = Peers({"north": PeerEntry(addresses=("10.0.0.1",), schema="tolerant")}, alone=True)
    senders = Senders({}, lambda: peers)
    body = etree.fromstring("<a/>")
    assert senders.of(sent_from("10.0.0.1"), body) == Known("north", (), schema_tolerant=True)
    assert senders.of(sent_from("10.0.0.2"), body) == Known()
