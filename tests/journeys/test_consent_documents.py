"""A patient's consent document comes in, and consumers see what it leaves; it goes, and they see again."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.access.consent_builders import (
    OPT_OUT,
    a_bppc,
    a_rule,
    all_of,
    an_appc,
    day,
    document,
    one_of,
    organisation,
    role,
)
from tests.actors.test_metadata_update import an_update, becomes, replaces, version_of
from tests.builders import ANNA, BERT, a_submission, an_association, an_entry
from tests.conftest import wait_for
from tests.queries.desks import APPROVED, DEPRECATED
from tests.server.test_application import Site, of_bytes, serving
from xds.access import gate
from xds.access.consent import Directive
from xds.audit.messages.codes import EVENT_TYPES
from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Finding, Status, Unusable
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Code
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.store.tables import audit_record, directive, document_entry
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti62_remove_metadata as iti62
from xds.wire.xml import parse

SETTINGS = f"""
[consent]
documents = true
document_bytes = 20000
[consent_policies.none-of-it]
policy = "{OPT_OUT}"
[consent_policies.all-of-it]
policy = "1.2.3.4.77.2"
permit = true
"""
OPT_IN = "1.2.3.4.77.2"


@pytest.fixture
def consenting(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.0)
    with serving(database_url, tmp_path, SETTINGS) as site:
        yield site


def bppc(content: bytes, patient: PatientId = ANNA, code: str = "urn:ihe:iti:bppc:2007") -> DocumentEntry:
    format_code = Code(code, "1.3.6.1.4.1.19376.1.2.3", "consent")
    return an_entry(patient_id=patient, format_code=format_code, mime_type="text/xml", **of_bytes(content))


def appc(content: bytes) -> DocumentEntry:
    return bppc(content, code="urn:ihe:iti:appc:2016:consent")


def sent(site: Site, entry: DocumentEntry, content: bytes, before: DocumentEntry | None = None) -> tuple[Finding, ...]:
    """Submit a document, in the place of one before; return what is wrong."""
    relations = (
        [an_association(AssociationType.RPLC, entry.entry_uuid, before.entry_uuid)] if before is not None else []
    )
    submission = a_submission(patient=entry.patient_id, entries=[entry], relations=relations)
    status, findings = rs.read_response(site.provide(submission, [content]).body)
    assert (status is Status.SUCCESS) is not bool(findings)
    return findings


def images(site: Site, patient: PatientId = ANNA) -> DocumentEntry:
    entry = an_entry(patient_id=patient, **of_bytes(b"images"))
    assert not sent(site, entry, b"images")
    return entry


def sees(site: Site, entry: DocumentEntry) -> bool:
    return entry.unique_id.encode() in etree.tostring(site.find(entry.patient_id).body)


def said(site: Site) -> list[Directive]:
    """The directives that hold."""
    with site.application.engine.connect() as connection:
        texts = connection.scalars(sa.select(directive.c.directive).where(directive.c.latest))
        return [one for one in map(Directive.of, texts) if not one.withdrawn]


def alerts(site: Site) -> list[tuple[str, str]]:
    """Of whom, and what, the records of changed directives are."""
    with site.application.engine.connect() as connection:
        rows = connection.execute(
            sa.select(audit_record.c.patient_id, audit_record.c.message)
            .where(audit_record.c.event == "110113")
            .order_by(audit_record.c.id)
        ).all()
    found = [(row.patient_id, parse(row.message)) for row in rows]
    kind = EVENT_TYPES["110135"].code
    return [
        (patient, " ".join(b64decode(one.get("value", "")).decode() for one in root.iter("ParticipantObjectDetail")))
        for patient, root in found
        if any(one.get("csd-code") == kind for one in root.iter("EventTypeCode"))
    ]


def soap(site: Site, action: str, body: etree._Element) -> Status:
    return rs.read_response(site.send("/registry", action, [etree.tostring(body)], mtom=False).body)[0]


def update(site: Site, submission: Submission) -> Status:
    return soap(site, iti57.TRANSACTION.action, lcm.write_submit_objects(to_ebxml.submission(submission)))


def test_a_patient_opts_out_and_is_not_seen_and_opts_in_again_and_is(consenting: Site) -> None:
    site, ours, others = consenting, images(consenting), images(consenting, BERT)
    out, into = a_bppc(), a_bppc(OPT_IN)
    first, second = bppc(out), bppc(into)
    assert sees(site, ours)
    assert not sent(site, first, out)
    wait_for(lambda: not sees(site, ours))
    assert not sees(site, first)
    assert sees(site, others)
    assert not sent(site, second, into, first)
    wait_for(lambda: sees(site, ours))
    assert [(one.permit, one.source) for one in said(site)] == [(True, second.unique_id)]
    (set_, withdrawn, again) = alerts(site)
    assert {patient for patient, _ in (set_, withdrawn, again)} == {str(ANNA)}
    assert f"set by document {first.unique_id}" in set_[1]
    assert f"withdrawn with document {first.unique_id}" in withdrawn[1]
    assert f"set by document {second.unique_id}" in again[1]


def test_a_document_that_says_nothing_any_more_lets_its_directives_go(consenting: Site) -> None:
    site = consenting
    one, other = images(site), images(site)
    content = an_appc(a_rule("Deny", one_of(document(one.unique_id))))
    consent = appc(content)
    assert not sent(site, consent, content)
    wait_for(lambda: not sees(site, one))
    assert sees(site, other)
    for now, before in ((DEPRECATED, APPROVED), (APPROVED, DEPRECATED)):
        status = update(site, an_update(becomes(consent.entry_uuid, before, now)))
        assert status is Status.SUCCESS
        wait_for(lambda now=now: sees(site, one) is (now == DEPRECATED))  # type: ignore[misc]
    assert "holds again" in alerts(site)[-1][1]


def test_another_version_of_its_metadata_leaves_a_consent_as_it_is(consenting: Site) -> None:
    site, ours = consenting, images(consenting)
    content = a_bppc()
    consent = bppc(content)
    assert not sent(site, consent, content)
    wait_for(lambda: not sees(site, ours))
    after = version_of(replace(consent, repository_unique_id=site.repository_unique_id), language_code="de-CH")
    assert update(site, an_update(replaces(after), items=[after])) is Status.SUCCESS
    assert not sees(site, ours)
    assert len(alerts(site)) == 1


def test_removed_metadata_take_their_directives_along(consenting: Site) -> None:
    site, ours = consenting, images(consenting)
    content = a_bppc()
    submission = a_submission(entries=[bppc(content)])
    assert rs.read_response(site.provide(submission, [content]).body)[0] is Status.SUCCESS
    wait_for(lambda: not sees(site, ours))
    ids = [item.entry_uuid for item in submission.objects()]
    assert soap(site, iti62.TRANSACTION.action, lcm.write_remove_objects(ids)) is Status.SUCCESS
    wait_for(lambda: sees(site, ours))
    assert said(site) == []
    assert alerts(site)[-1][0] == str(ANNA)


def test_what_somebody_has_withdrawn_by_hand_does_not_come_back_with_its_document(consenting: Site) -> None:
    site, ours = consenting, images(consenting)
    content = a_bppc()
    consent = bppc(content)
    sent(site, consent, content)
    with site.application.engine.begin() as connection:
        (text,) = connection.scalars(sa.select(directive.c.directive))
        text = replace(Directive.of(text), withdrawn=True).text()
        connection.execute(sa.update(directive).values(directive=text, changed_by="an officer"))
    for now, before in ((DEPRECATED, APPROVED), (APPROVED, DEPRECATED)):
        update(site, an_update(becomes(consent.entry_uuid, before, now)))
    assert sees(site, ours)


@pytest.mark.parametrize(
    ("make", "content", "named"),
    [
        (bppc, a_bppc("1.2.3.4.77.999"), "1.2.3.4.77.999 is none of this affinity domain"),
        (bppc, a_bppc(patient=BERT), "recordTarget"),
        (bppc, b"a scan", "not well-formed"),
        (bppc, a_bppc() + b" " * 20000, "over 20000 bytes"),
        (appc, an_appc(a_rule("Deny", more="<ObligationExpressions/>")), "Rule/ObligationExpressions"),
        (appc, an_appc(a_rule("Deny"), a_rule("Permit", one_of(role("GP")))), "may both apply"),
        (appc, a_bppc(), "no PolicySet"),
    ],
)
def test_what_cannot_be_read_as_a_whole_is_refused_as_a_whole(
    consenting: Site, make: object, content: bytes, named: str
) -> None:
    entry = make(content)  # type: ignore[operator]
    with_images = an_entry(**of_bytes(b"images"))
    answer = consenting.provide(a_submission(entries=[with_images, entry]), [b"images", content])
    status, (finding,) = rs.read_response(answer.body)
    assert (status, finding.code) == (Status.FAILURE, ErrorCode.REPOSITORY_METADATA)
    assert named in finding.context
    assert finding.location == entry.entry_uuid
    assert consenting.count(document_entry) == consenting.count(directive) == 0
    assert alerts(consenting) == []


def test_what_contradicts_a_consent_that_holds_is_refused_as_a_whole(consenting: Site) -> None:
    assert not sent(consenting, bppc(a_bppc()), a_bppc())
    (finding,) = sent(consenting, bppc(a_bppc(OPT_IN)), a_bppc(OPT_IN))
    assert finding.code is ErrorCode.REGISTRY_METADATA
    assert "withdraw it first" in finding.context
    assert consenting.count(document_entry) == consenting.count(directive) == 1
    assert len(alerts(consenting)) == 1


def test_the_same_document_sent_again_says_nothing_twice(consenting: Site) -> None:
    content = an_appc(a_rule("Deny", one_of(organisation("1.2.9"))), a_rule("Deny", all_of(day("2030-01-01"))))
    entry = appc(content)
    for again in (entry, replace(appc(content), unique_id=entry.unique_id)):
        assert not sent(consenting, again, content)
    assert len(said(consenting)) == 2


def test_without_the_setting_consent_documents_are_kept_and_not_acted_upon(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        assert not sent(site, bppc(b"whatever it is"), b"whatever it is")
        assert not sent(site, bppc(a_bppc()), a_bppc())
        assert said(site) == alerts(site) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[consent_policies.a]\n", r"consent_policies\.a\.policy"),
        ('[consent_policies.a]\npolicy = "1.2"\n[consent_policies.b]\npolicy = "1.2"\n', "the same policy"),
        ('[consent_policies.a]\npolicy = "1.2"\nclass_codes = ["IMG"]\n', "CODE.+SCHEME"),
        ('[consent]\nappc_attributes = ["urn:x"]\n', "appc_attributes"),
    ],
)
def test_a_policy_with_a_mistake_keeps_the_node_from_starting(
    database_url: str, tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(Unusable, match=named), serving(database_url, tmp_path, text):
        pass
