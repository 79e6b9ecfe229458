"""A BPPC document is read whole: its policies become directives, and what is not understood refuses it by name."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.consent_builders import OPT_OUT, a_bppc
from tests.builders import ANNA, BERT
from tests.extent import examples
from xds.access import bppc
from xds.access.consent import Directive
from xds.access.document_parts import NotRead
from xds.settings.access import ConsentPolicy

POLICIES = {
    "opt-out": ConsentPolicy(OPT_OUT),
    "research": ConsentPolicy("RES^^1.2.3.4.77", permit=True, purposes=("HRESCH",), overridable=False),
}


def directives(data: bytes) -> list[Directive]:
    return bppc.directives(bppc.read(data, [ANNA]), POLICIES, "1.2.3")


@pytest.mark.parametrize("scanned", [False, True])
def test_an_agreed_policy_is_what_the_domain_says_it_is(scanned: bool) -> None:
    found = directives(a_bppc(OPT_OUT, "RES", low="20260131", high="20261231235959+0100", scanned=scanned))
    days = {"from_": "2026-01-31", "until": "2026-12-31", "source": "1.2.3"}
    research = Directive(permit=True, purposes=frozenset({"HRESCH"}), overridable=False, **days)  # type: ignore[arg-type]
    assert found == [Directive(permit=False, **days), research]  # type: ignore[arg-type]


def test_without_an_end_a_consent_holds_for_good() -> None:
    assert directives(a_bppc())[0].until == ""
    assert directives(a_bppc(high="x").replace(b'value="x"', b'nullFlavor="UNK"'))[0].until == ""


LOW = b'<low value="20260101"/>'


@pytest.mark.parametrize(
    ("part", "spoilt", "named"),
    [
        (b"urn:hl7-org:v3", b"urn:hl7-org:v2", "ClinicalDocument"),
        (b"1.3.6.1.4.1.19376.1.5.3.1.1.7", b"1.3.6.1.4.1.19376.1.5.3.1.1.2", "templateId"),
        (b"57016-8", b"18748-4", "ClinicalDocument/code"),
        (b'extension="anna"', b'extension="bert"', "recordTarget"),
        (b"1.3.6.1.4.1.19376.1.5.3.1.2.6", b"1.3.6.1.4.1.19376.1.5.3.1.2.7", "serviceEvent/templateId"),
        (b'moodCode="EVN"', b'moodCode="INT"', "moodCode"),
        (OPT_OUT.encode(), b"1.2.3.4.77.999", "1.2.3.4.77.999 is none of this affinity domain"),
        (b'<code code="' + OPT_OUT.encode() + b'"', b'<code nullFlavor="UNK"', "names no policy"),
        (LOW, b"", "effectiveTime"),
        (LOW, LOW * 2, "effectiveTime"),
        (LOW, LOW + b'<width value="1"/>', "effectiveTime"),
        (LOW, b'<low value="202601"/>', "low"),
        (LOW, b'<low value="20260231"/>', "low"),
        (LOW, b'<low value="20260101" inclusive="false"/>', "low"),
        (LOW, LOW + b'<high value="20251231"/>', "ends before it begins"),
        (b"documentationOf", b"documentation0f", "documentationOf"),
        (b"</recordTarget>", b"", "not well-formed"),
        (b"<ClinicalDocument", b"<!DOCTYPE x><ClinicalDocument", "document type declaration"),
    ],
)
def test_what_is_not_understood_refuses_the_document_by_name(part: bytes, spoilt: bytes, named: str) -> None:
    good = a_bppc()
    assert part in good
    with pytest.raises(NotRead, match=named):
        directives(good.replace(part, spoilt))


def test_policies_that_hold_at_different_times_are_not_half_read() -> None:
    data = a_bppc(OPT_OUT, "RES").replace(LOW, b'<low value="20270101"/>', 1)
    with pytest.raises(NotRead, match="effectiveTime is the same"):
        directives(data)


def test_a_refusal_names_nobody() -> None:
    with pytest.raises(NotRead) as refused:
        directives(a_bppc(patient=BERT))
    assert "bert" not in str(refused.value)
    with pytest.raises(NotRead) as refused:
        directives(a_bppc("a &lt;b&gt; c"))
    assert "<" not in str(refused.value)


DAYS = st.dates(date(1900, 1, 1), date(2999, 12, 31))


@settings(max_examples=examples(50), deadline=None)
@given(DAYS, st.one_of(st.none(), st.integers(0, 50_000)), st.sampled_from(["", "1200", "120000.5-0500"]))
def test_what_is_written_is_read(low: date, days: int | None, time: str) -> None:
    high = None if days is None else min(low + timedelta(days), date(2999, 12, 31))
    text = f"{high:%Y%m%d}{time}" if high else ""
    found = bppc.read(a_bppc(low=f"{low:%Y%m%d}{time}", high=text), [BERT, ANNA])
    assert (found.from_, found.until) == (low.isoformat(), high.isoformat() if high else "")


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
def test_a_document_cut_or_changed_anywhere_is_read_whole_or_refused(data: st.DataObject) -> None:
    good = a_bppc()
    at = data.draw(st.integers(0, len(good)))
    changed = good[:at] + data.draw(st.binary(max_size=3)) + good[at + data.draw(st.integers(0, 3)) :]
    try:
        found = directives(changed)
    except NotRead:
        return
    assert len(found) == 1
