"""What somebody may not see is not there, for every way of reading; and SQL and Python decide alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import ANNA, BERT, SOURCE, a_folder, a_submission, an_association, an_entry
from tests.extent import examples
from tests.store.databases import Domain, domain, shared_engine
from xds.errors import ErrorCode, Refused
from xds.metadata.datatypes import Author, Code, Xon
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import EntryUuid, Oid
from xds.metadata.submission import Submission
from xds.metadata.visible import NOTHING, Access, Clause, Facts, Part, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.store.interface import Criteria, Kind, TooMany
from xds.store.registry.sql_registry import SqlRegistry

__all__ = ["domain", "shared_engine"]

SCHEME = "2.16.840.1.113883.5.25"
NORMAL, RESTRICTED = f"N^^{SCHEME}", f"R^^{SCHEME}"
ONLY_NORMAL = Visible(((Clause(True, Those(only=(("confidentialityCode", frozenset({NORMAL})),))),),))
OTHER = Oid("1.2.3.4.77")
OWN = Visible(((Clause(True, Those(any_of=(("sourceId", frozenset({str(SOURCE)})),))),),))


def coded(*codes: str) -> DocumentEntry:
    return an_entry(confidentiality_code=tuple(Code(code, SCHEME, code) for code in codes))


def by(organisation: str, code: str) -> DocumentEntry:
    return replace(coded(code), author=(Author(None, (Xon(organisation),)),))


def seen(store: SqlRegistry, visible: Visible) -> SqlRegistry:
    return SqlRegistry(store.connection, store.domain, seen=Access(visible), access=Access(visible))


def found(domain: Domain, visible: Visible, kind: Kind = Kind.DOCUMENT_ENTRY, most: int = 100) -> set[str]:
    def ask(store: SqlRegistry) -> set[str]:
        return {one.entry_uuid for one in seen(store, visible).find(kind, store.chain(ANNA), Criteria(), most)}

    return domain(ask)


# The same in SQL and in Python.

ORGANISATIONS, CODES = ("North", "South"), ("N", "R", "V")
wanted = st.one_of(
    st.builds(lambda v: Those(only=(("confidentialityCode", v),)),
              st.frozensets(st.sampled_from([f"{c}^^{SCHEME}" for c in CODES]), min_size=1)),
    st.builds(lambda v: Those(any_of=(("authorInstitution", v),)), st.frozensets(st.sampled_from(ORGANISATIONS))),
    st.builds(lambda v: Those(any_of=(("sourceId", v),)), st.frozensets(st.sampled_from([str(SOURCE), str(OTHER)]))),
    st.builds(lambda v: Those(single=(("class_code", v),)), st.frozensets(st.sampled_from(["A^^1", "B^^1"]))),
    st.builds(lambda v: Those(folders=v), st.frozensets(st.sampled_from(["1.2.77.1", "1.2.77.2"]), min_size=1)),
    st.just(Those()),
)  # fmt: skip
parts = st.lists(st.builds(Clause, st.booleans(), wanted), max_size=4).map(tuple)
filters = st.lists(parts, max_size=3)


@pytest.fixture(scope="module")
def corpus(shared_engine: Any) -> tuple[Domain, dict[str, Facts]]:
    """Entries of every combination, from two sources, half of them in folders."""
    domain = Domain(shared_engine)
    domain(lambda store: store.add_patient(ANNA))
    facts: dict[str, Facts] = {}
    for number, source in enumerate((SOURCE, OTHER), 1):
        folder = a_folder(unique_id=f"1.2.77.{number}")
        entries = [
            replace(by(organisation, code), class_code=Code(class_, "1", class_))
            for organisation in ORGANISATIONS for code in CODES for class_ in "AB"
        ]  # fmt: skip
        held = entries[::2]
        relations = [an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, e.entry_uuid) for e in held]
        domain.register(a_submission(entries=entries, folders=[folder], relations=relations, source_id=source))
        for entry in entries:
            facts[entry.entry_uuid] = Facts(
                {"class_code": entry.class_code.key},
                {"confidentialityCode": frozenset(c.key for c in entry.confidentiality_code),
                 "authorInstitution": frozenset(k for a in entry.author for x in a.institutions for k in x.keys),
                 "sourceId": frozenset({str(source)})},
                folders=frozenset({folder.unique_id} if entry in held else ()),
            )  # fmt: skip
    return domain, facts


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters)
def test_sql_finds_what_python_shows(corpus: tuple[Domain, dict[str, Facts]], given_: list[Part]) -> None:
    domain, facts = corpus
    for visible in (Visible(tuple(given_)), Visible.by(*given_)):
        assert found(domain, visible) == {uuid for uuid, one in facts.items() if visible.shows(one)}


@given(filters)
def test_shortening_a_filter_changes_nothing(given_: list[Part]) -> None:
    for class_ in ("A^^1", "B^^1"):
        for code in CODES:
            document = Facts({"class_code": class_}, {"confidentialityCode": frozenset({f"{code}^^{SCHEME}"})})
            assert Visible.by(*given_).shows(document) is Visible(tuple(given_)).shows(document)


# What is withheld is not there.


def test_the_most_restrictive_code_of_several_governs(domain: Domain) -> None:
    entries = [coded("N"), coded("N", "R"), coded("R")]
    domain.register(a_submission(entries=entries))
    assert found(domain, ONLY_NORMAL) == {entries[0].entry_uuid}


def test_limits_count_what_is_seen(domain: Domain) -> None:
    domain.register(a_submission(entries=[coded("N"), coded("R"), coded("R")]))
    assert len(found(domain, ONLY_NORMAL, most=1)) == 1
    with pytest.raises(TooMany):
        found(domain, Visible(), most=1)


def test_nothing_of_a_withheld_document_is_there_by_any_id(domain: Domain) -> None:
    hidden, shown = coded("R"), coded("N")
    domain.register(a_submission(entries=[hidden]))
    domain.register(a_submission(entries=[shown]))

    def ask(store: SqlRegistry) -> list[int]:
        reader = seen(store, ONLY_NORMAL)
        return [
            len(by_id(id_)) for document in (hidden, shown) for by_id, id_ in (
                (reader.documents_by_uuid, [document.entry_uuid]),
                (reader.documents_by_unique_id, [document.unique_id]),
                (reader.documents_by_logical_id, [document.entry_uuid]),
                (reader.associations_of, [document.entry_uuid]),
            )
        ]  # fmt: skip

    assert domain(ask) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_packages_of_nothing_but_withheld_documents_are_withheld(domain: Domain) -> None:
    folders = [a_folder(), a_folder(), a_folder()]
    documents = [coded("R"), coded("N")]
    relations = [
        an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, document.entry_uuid)
        for folder, document in zip(folders, documents, strict=False)
    ]
    first = domain.register(a_submission(entries=documents, folders=folders, relations=relations))
    second = domain.register(a_submission(entries=[coded("R")]))
    assert found(domain, ONLY_NORMAL, Kind.FOLDER) == {folders[1].entry_uuid, folders[2].entry_uuid}
    assert found(domain, ONLY_NORMAL, Kind.SUBMISSION_SET) == {first.submission_set.entry_uuid}
    assert found(domain, NOTHING, Kind.SUBMISSION_SET) | found(domain, NOTHING, Kind.FOLDER) == set()
    assert second.submission_set.entry_uuid in found(domain, Visible(), Kind.SUBMISSION_SET)
    # The memberships in the set whose ends are associations go with what they lead to.
    ends = domain(lambda store: seen(store, ONLY_NORMAL).associations_of([first.submission_set.entry_uuid]))
    hidden = {documents[0].entry_uuid, folders[0].entry_uuid, relations[0].entry_uuid}
    assert {one.target for one in ends} == {
        documents[1].entry_uuid, folders[1].entry_uuid, folders[2].entry_uuid, relations[1].entry_uuid,
    }  # fmt: skip
    assert not hidden & {one.target for one in ends}


# Who changes what.


def refused(domain: Domain, submission: Submission, access: Access) -> list[ErrorCode]:
    def register(store: SqlRegistry) -> None:
        domain.registry.register(submission, SqlRegistry(store.connection, store.domain, access=access))

    with pytest.raises(Refused) as refusal:
        domain(register)
    return [finding.code for finding in refusal.value.findings]


def replacing(old: EntryUuid) -> Submission:
    new = an_entry()
    return a_submission(entries=[new], relations=[an_association(AssociationType.RPLC, new.entry_uuid, old)])


def test_another_s_document_cannot_be_replaced_and_is_as_one_that_is_not_registered(domain: Domain) -> None:
    theirs, mine = an_entry(), an_entry()
    domain.register(a_submission(entries=[theirs], source_id=OTHER))
    domain.register(a_submission(entries=[mine]))
    access = Access(Visible(), OWN)
    assert refused(domain, replacing(theirs.entry_uuid), access) == [ErrorCode.UNRESOLVED_REFERENCE]
    domain(lambda store: domain.registry.register(
        replacing(mine.entry_uuid), SqlRegistry(store.connection, store.domain, access=access)
    ))  # fmt: skip


def test_what_belongs_to_a_set_of_one_s_own_is_one_s_own(domain: Domain) -> None:
    folder, document = a_folder(), an_entry()
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, document.entry_uuid)
    mine = domain.register(a_submission(entries=[document], folders=[folder], relations=[member]))
    theirs = domain.register(a_submission(entries=[an_entry()], folders=[a_folder()], source_id=OTHER))
    ids = {item.entry_uuid for submission in (mine, theirs) for item in submission.objects()}

    def ask(store: SqlRegistry) -> set[str]:
        return SqlRegistry(store.connection, store.domain, access=Access(NOTHING, OWN)).not_theirs(ids)

    assert domain(ask) == {item.entry_uuid for item in theirs.objects()}


def test_what_a_patient_withholds_is_withheld_of_a_document_that_is_known_by_itself_alone(domain: Domain) -> None:
    """Of a document that is kept, or has come from elsewhere, it is only said whose it is."""
    domain.register(a_submission())
    assert not shown_where_withheld(domain, str(ANNA))
    assert shown_where_withheld(domain, "bert^^^&1.2.3&ISO")
    assert shown_where_withheld(domain, "")


def test_what_a_patient_withholds_is_withheld_by_an_id_that_was_merged_away_too(domain: Domain) -> None:
    domain.register(a_submission())
    domain(lambda store: store.merge(BERT, ANNA))
    assert not shown_where_withheld(domain, str(BERT))


class Withheld:
    """Whoever is known withholds everything; whom nobody knows has said nothing."""

    def of(self, _connection: Any, patient_keys: Any) -> Visible:
        if not patient_keys:
            return Visible()
        return Visible.by((Clause(False, Those(patients=frozenset(patient_keys))), Clause(True)))


def shown_where_withheld(domain: Domain, patient_id: str) -> bool:
    access = Access(consents=Withheld())
    ask = lambda store: SqlRegistry(store.connection, store.domain, seen=access).wants_of(patient_id)  # noqa: E731
    return domain(ask).shows(Facts())
