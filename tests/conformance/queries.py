"""ITI-18 and ITI-51: parameters, how they are coded, and what an answer may hold.  ITI TF-2: 3.18.4.1, 3.51.4.1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import ANNA, BERT, a_folder
from tests.conformance.rule import Desk, Rule, stranger
from tests.queries.desks import APPROVED
from xds.errors import ErrorCode
from xds.queries import catalogue
from xds.queries.catalogue import Many, StoredQuery

CODING, PARAMETERS = "ITI TF-2: 3.18.4.1.2.3.5", "ITI TF-2: 3.18.4.1.2.3.7"
OF_MANY = "ITI TF-2: 3.51.4.1.2.1"
# Where ITI-51 has what ITI-18 has, or says that it holds: it cites its own clauses.
ITI_51 = {
    CODING: "ITI TF-2: 3.51.4.1.2", PARAMETERS: OF_MANY,
    "ITI TF-2: 3.18.4.1.2.3.1": "ITI TF-2: 3.51.4.1.2", "ITI TF-2: 3.18.4.1.2.3.4": OF_MANY,
    "ITI TF-2: 3.18.4.1.2.4": "ITI TF-2: 3.51.4.1.2.2", "XDS Metadata Update: 3.18": "ITI TF-2: 3.51.4.1.2",
}  # fmt: skip
NUMBER, MISSING, ERROR = (
    ErrorCode.STORED_QUERY_PARAM_NUMBER, ErrorCode.STORED_QUERY_MISSING_PARAM, ErrorCode.REGISTRY_ERROR,
)  # fmt: skip
GOOD = {
    "XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSSubmissionSetPatientId": f"'{ANNA}'",
    "XDSFolderPatientId": f"'{ANNA}'", "patientId": f"'{ANNA}'",
    "XDSDocumentEntryStatus": f"('{APPROVED}')", "XDSSubmissionSetStatus": f"('{APPROVED}')",
    "XDSFolderStatus": f"('{APPROVED}')", "XDSDocumentEntryReferenceIdList": "('1.2^^^^urn:x')",
    "uuid": "('urn:uuid:00000000-0000-4000-8000-000000000001')", "AssociationTypes": "('APND')",
    "XDSDocumentEntryEntryUUID": "('urn:uuid:00000000-0000-4000-8000-000000000001')",
    "XDSSubmissionSetEntryUUID": "('urn:uuid:00000000-0000-4000-8000-000000000001')",
    "XDSFolderEntryUUID": "('urn:uuid:00000000-0000-4000-8000-000000000001')",
    "XDSDocumentEntryUniqueId": "('2.25.1')", "XDSSubmissionSetUniqueId": "('2.25.1')",
    "XDSFolderUniqueId": "('2.25.1')",
}  # fmt: skip
FIND, FIND_MANY = catalogue.FIND_DOCUMENTS, catalogue.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS


def number_of(query: StoredQuery) -> str:
    return "ITI-51" if query.id in catalogue.MULTI_PATIENT_QUERIES else "ITI-18"


def good(query: StoredQuery) -> dict[str, str | list[str]]:
    """What a query needs, and no more."""
    needed = [p.name for p in query.parameters if p.required] + list(query.one_of[:1] or query.any_of[:1])
    return {name: GOOD[name] for name in needed}


def asked(query: StoredQuery, **changes: str | list[str] | None) -> Callable[[Desk, str], None]:
    """A good query with other parameters; None: without one."""

    def attempt(desk: Desk, number: str) -> None:
        given = {**good(query), **changes}
        desk.ask(number, query.id, **{name: value for name, value in given.items() if value is not None})

    return attempt


def family() -> Iterator[Rule]:
    """For each query: what it requires, and what it takes one value of."""
    for query in (*catalogue.STORED_QUERIES.values(), *catalogue.MULTI_PATIENT_QUERIES.values()):
        numbers = (number_of(query),)
        clause = OF_MANY if numbers == ("ITI-51",) else PARAMETERS
        for parameter in query.parameters:
            named = f"${parameter.name}"
            if parameter.required:
                yield Rule(numbers, f"{query.title} requires {named}", clause,
                           asked(query, **{parameter.name: None}), MISSING, named)  # fmt: skip
            if parameter.many is Many.ONE and parameter.required:
                yield Rule(numbers, f"{query.title} takes one value of {named}", clause,
                           asked(query, **{parameter.name: "('a','b')"}), NUMBER, named)  # fmt: skip
        if query.one_of:
            names = query.one_of
            yield Rule(numbers, f"{query.title} requires one of its ids", clause, asked(query, **{names[0]: None}),
                       MISSING, f"${names[0]}")  # fmt: skip
            yield Rule(numbers, f"{query.title} takes only one of its ids", clause,
                       asked(query, **{names[1]: GOOD[names[1]]}), NUMBER, f"${names[0]}")  # fmt: skip
        if query.any_of:
            yield Rule(numbers, f"{query.title} requires one of its minimum", clause,
                       asked(query, **{query.any_of[0]: None}), MISSING, f"${query.any_of[0]}")  # fmt: skip


def _too_many(desk: Desk, number: str) -> None:
    desk.limited(1)
    for _ in range(2):
        desk.registered()
    asked(FIND if number == "ITI-18" else FIND_MANY)(desk, number)


def _two_patients(desk: Desk, number: str) -> None:
    ids = [desk.registered(patient=who).document_entries[0].entry_uuid for who in (ANNA, BERT)]
    listed = ",".join(f"'{id_}'" for id_ in ids)
    desk.ask(number, catalogue.GET_DOCUMENTS.id, XDSDocumentEntryEntryUUID=f"({listed})")


def _versions_of_two_patients(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new = version_of(entry, patient_id=BERT)
    desk.send("ITI-57", an_update(replaces(new), items=[new], patient=BERT))
    given = {"XDSDocumentEntryLogicalID": f"('{entry.entry_uuid}')", "MetadataLevel": "2"}
    desk.ask(number, catalogue.GET_DOCUMENTS.id, **given)


def _unknown_patient(desk: Desk, number: str) -> None:
    desk.refusing_unknown()
    query = FIND if number == "ITI-18" else FIND_MANY
    asked(query, XDSDocumentEntryPatientId=f"('{stranger()}')")(desk, number)


def _return_type(desk: Desk, number: str) -> None:
    query = FIND if number == "ITI-18" else FIND_MANY
    desk.ask(number, query.id, "RepositoryItem", **good(query))


def either(**changes: str | list[str] | None) -> Callable[[Desk, str], None]:
    return lambda desk, number: asked(FIND if number == "ITI-18" else FIND_MANY, **changes)(desk, number)


def _filtered(parameter: str) -> Callable[[Desk, str], None]:
    """A malformed code in the filter of a query by id."""

    def attempt(desk: Desk, number: str) -> None:
        binder = a_folder()
        desk.registered(folders=[binder])
        given = {"XDSFolderEntryUUID": f"('{binder.entry_uuid}')", parameter: "('CT')"}
        desk.ask(number, catalogue.GET_FOLDER_AND_CONTENTS.id, **given)

    return attempt


BOTH, ONE = ("ITI-18", "ITI-51"), ("ITI-18",)
MORE = (
    Rule(BOTH, "The query is one that the registry knows", "ITI TF-2: 3.18.4.1.2.4",
         lambda desk, number: desk.ask(number, "urn:uuid:unknown"), ErrorCode.UNKNOWN_STORED_QUERY, "query id"),
    Rule(BOTH, "returnType is LeafClass or ObjectRef", "ITI TF-2: 3.18.4.1.2.3.1", _return_type, ERROR, "returnType"),
    Rule(BOTH, "$MetadataLevel is 1 or 2", "XDS Metadata Update: 3.18", either(MetadataLevel="3"), ERROR,
         "$MetadataLevel"),
    Rule(BOTH, "A value is in the coding style", CODING, either(XDSDocumentEntryClassCode="('a"), NUMBER,
         "$XDSDocumentEntryClassCode"),
    Rule(BOTH, "A list has no empty value", CODING, either(XDSDocumentEntryClassCode="('')"), NUMBER,
         "$XDSDocumentEntryClassCode"),
    Rule(BOTH, "A bracket has its other", CODING, either(XDSDocumentEntryClassCode="'a')"), NUMBER,
         "$XDSDocumentEntryClassCode"),
    Rule(BOTH, "A parameter has a value", CODING, either(XDSDocumentEntryClassCode="()"), NUMBER,
         "$XDSDocumentEntryClassCode"),
    Rule(BOTH, "A parameter is not repeated where that is no AND", CODING,
         either(XDSDocumentEntryClassCode=["('a^^1')", "('b^^1')"]), NUMBER, "$XDSDocumentEntryClassCode"),
    Rule(BOTH, "Parameters are repeated 20 times at the most", CODING,
         either(XDSDocumentEntryEventCodeList=["('a^^1')"] * 22), NUMBER, "20 times"),
    Rule(BOTH, "A query has 10,000 values at the most", CODING,
         either(XDSDocumentEntryClassCode="(" + ",".join(["'a^^1'"] * 10_001) + ")"), NUMBER, "10000 values"),
    Rule(BOTH, "A code is code^^codingScheme", "ITI TF-2: 3.18.4.1.2.3.4", either(XDSDocumentEntryClassCode="('CT')"),
         NUMBER, "$XDSDocumentEntryClassCode"),
    Rule(ONE, "A code in a filter is code^^codingScheme", "ITI TF-2: 3.18.4.1.2.3.4",
         _filtered("XDSDocumentEntryConfidentialityCode"), NUMBER, "$XDSDocumentEntryConfidentialityCode"),
    Rule(BOTH, "A patient id is in its form", "ITI TF-3: Table 4.2.3.1.7-2",
         either(XDSDocumentEntryPatientId="'anna'"), ERROR, "$XDSDocumentEntryPatientId"),
    Rule(BOTH, "A time is in its form", "ITI TF-3: 4.2.3.1", either(XDSDocumentEntryCreationTimeFrom="2024-01-02"),
         ERROR, "$XDSDocumentEntryCreationTimeFrom"),
    Rule(BOTH, "A status is one that there is", PARAMETERS, either(XDSDocumentEntryStatus="('urn:gone')"), MISSING,
         "$XDSDocumentEntryStatus"),
    Rule(ONE, "A status of associations is one that there is", PARAMETERS,
         asked(catalogue.GET_ASSOCIATIONS, XDSAssociationStatus="('urn:gone')"), MISSING, "$XDSAssociationStatus"),
    Rule(BOTH, "A parameter has 200 patterns at the most", CODING,
         either(XDSDocumentEntryAuthorPerson="(" + ",".join(f"'{n}%'" for n in range(201)) + ")"), NUMBER,
         "$XDSDocumentEntryAuthorPerson"),
    Rule(BOTH, "An answer has no more objects than the registry gives", "ITI TF-3: Table 4.2.4.1-2", _too_many,
         ErrorCode.TOO_MANY_RESULTS, "more than 1"),
    Rule(ONE, "A LeafClass answer is of one patient", "ITI TF-2: 3.18.4.1.3", _two_patients,
         ErrorCode.RESULT_NOT_SINGLE_PATIENT, "several patients"),
    Rule(ONE, "A LeafClass answer of versions is of one patient", "ITI TF-2: 3.18.4.1.3", _versions_of_two_patients,
         ErrorCode.RESULT_NOT_SINGLE_PATIENT, "several patients"),
    Rule(BOTH, "A patient is known, where the registry is set so", "ITI TF-3: Table 4.2.4.1-2", _unknown_patient,
         ErrorCode.UNKNOWN_PATIENT_ID, str(stranger()), prescribed=True),
)  # fmt: skip


def cited(rules: Iterable[Rule]) -> Iterator[Rule]:
    """The rules of both transactions, each by the clauses of its own."""
    for rule in rules:
        if "ITI-51" in rule.transactions and rule.clause in ITI_51:
            yield replace(rule, transactions=("ITI-18",))
            yield replace(rule, transactions=("ITI-51",), clause=ITI_51[rule.clause])
        else:
            yield rule


RULES = (*family(), *cited(MORE))
