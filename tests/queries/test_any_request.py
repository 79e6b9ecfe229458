"""Whatever is asked, there is an answer or a refusal, and never another exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import ANNA, a_submission, an_entry
from tests.extent import examples
from tests.metadata.strategies import texts
from tests.queries.desks import APPROVED, Questions, questions
from xds.ebxml.rim import Slot
from xds.errors import Refused
from xds.metadata.vocabulary import ON_DEMAND, STABLE
from xds.queries import catalogue
from xds.wire.xml import parse

ENTRY = an_entry()
SUBMISSION = a_submission(entries=[ENTRY])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    with questions(tmp_path_factory.mktemp("any")) as desk:
        desk.register(SUBMISSION)
        yield desk


known = st.sampled_from(
    [str(ANNA), APPROVED, STABLE, ON_DEMAND, "2024", "20240102030405", "CT^^1.2.840.10008.2.16.4", "%", "%\\", "_'",
     ENTRY.entry_uuid, ENTRY.unique_id, SUBMISSION.submission_set.entry_uuid, SUBMISSION.submission_set.unique_id]
)  # fmt: skip
quoted = st.lists(known | texts, max_size=3).map(
    lambda values: ",".join("'" + v.replace("'", "''") + "'" for v in values)
)
written = st.one_of(quoted, quoted.map("({})".format), known, texts, st.text("'(),%_\\; -=", max_size=12))
names = st.sampled_from(sorted({f"${p.name}" for q in catalogue.STORED_QUERIES.values() for p in q.parameters}))
any_slots = st.lists(
    st.builds(Slot, names | texts, st.lists(written, max_size=2).map(tuple)), max_size=6
)  # fmt: skip
queries = st.sampled_from([*catalogue.STORED_QUERIES, "urn:uuid:unknown"])
return_types = st.sampled_from(["LeafClass", "ObjectRef", "RegistryObject"])
anyhow = settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))


def answered(desk: Questions, slots: list[Slot], query: str, return_type: str) -> None:
    try:
        found = desk.send(slots, query, return_type)
    except Refused as refused:
        assert refused.findings
    else:
        for item in found:
            parse(item.replace(b"<rim:ObjectRef", b'<rim:ObjectRef xmlns:rim="x"'))


@anyhow
@given(any_slots, queries, return_types)
def test_any_slots_are_answered_or_refused(desk: Questions, slots: list[Slot], query: str, return_type: str) -> None:
    answered(desk, slots, query, return_type)


@anyhow
@given(any_slots, st.sampled_from([catalogue.FIND_DOCUMENTS.id, catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID.id]))
def test_any_restriction_of_a_patients_documents_is_answered_or_refused(
    desk: Questions, slots: list[Slot], query: str
) -> None:
    patient = (
        Slot("$XDSDocumentEntryPatientId", (f"'{ANNA}'",)),
        Slot("$XDSDocumentEntryStatus", (f"('{APPROVED}')",)),
    )
    mine = {slot.name for slot in patient}
    reference = Slot("$XDSDocumentEntryReferenceIdList", ("('1.2.840.1^^^^urn:ihe:iti:xds:2016:studyInstanceUID')",))
    answered(desk, [*patient, reference, *(s for s in slots if s.name not in mine)], query, "LeafClass")
