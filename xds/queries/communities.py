"""What a stored query says of communities: whom it is about, and which of them are to be asked.

ITI TF-2: 3.18.4.1.2.4 (homeCommunityId), 3.38.4.1.2; ``$targetCommunityIdList``: option Target Communities.
"""

from __future__ import annotations

from dataclasses import replace

from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata.identifiers import PatientId
from xds.queries.catalogue import STORED_QUERIES
from xds.queries.parameters import values_of

TARGETS = "targetCommunityIdList"

MOST_TARGETS = 1000
"""Communities that one query may name."""

_PATIENTS = ("XDSDocumentEntryPatientId", "XDSSubmissionSetPatientId", "XDSFolderPatientId", "patientId")


def patient_parameter(sent: AdhocQuery) -> str:
    """The parameter by which a query names its patient; empty: it asks for ids, or is not known."""
    known = STORED_QUERIES.get(sent.id)
    return next((one for one in _PATIENTS if known is not None and known.parameter(one)), "")


def names_patient(sent: AdhocQuery) -> bool:
    """Whether a query is one about a patient, so that it need not say which community is asked."""
    return bool(patient_parameter(sent)) or sent.id not in STORED_QUERIES


def patient_of(sent: AdhocQuery) -> PatientId:
    """The patient whom a query about one names.

    Raises:
        Refused: it names none, several, or not by a CX.
    """
    parameter = patient_parameter(sent)
    given = [value for slot in sent.slots if _name(slot) == parameter for value in _of(slot)]
    if not given:
        rule = f"${parameter} is required (ITI TF-2: 3.18.4.1.2.3.7)"
        raise Refused([Finding(ErrorCode.STORED_QUERY_MISSING_PARAM, rule)])
    if len(given) > 1:
        rule = f"${parameter} takes one value (ITI TF-2: 3.18.4.1.2.3.7)"
        raise Refused([Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, rule)])
    try:
        return PatientId.parse(given[0])
    except ValueError:
        rule = f"${parameter} is no patient id of the form id^^^&oid&ISO (ITI TF-3: Table 4.2.3.1.7-2)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)]) from None


def target_communities(sent: AdhocQuery) -> tuple[str, ...]:
    """The communities that are to be asked; an empty list is read as none: ask all.

    Raises:
        Refused: the list is not in the coding style, or too long.
    """
    found = dict.fromkeys(value for slot in sent.slots if _name(slot) == TARGETS for value in _of(slot))
    if len(found) > MOST_TARGETS:
        raise Refused([Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, f"more than {MOST_TARGETS} values in ${TARGETS}")])
    return tuple(found)


def for_community(sent: AdhocQuery, patient_id: PatientId, targets: tuple[str, ...]) -> AdhocQuery:
    """A query about a patient as another community is asked it: by its id for them, of those targets that are its own.

    All other parameters go along, whether they are known or not (ITI TF-2: 3.38.4.1.2).
    """
    parameter = patient_parameter(sent)
    slots = [slot for slot in sent.slots if _name(slot) not in (parameter, TARGETS)]
    slots.append(Slot(f"${parameter}", (_quoted(str(patient_id)),)))
    if targets:
        slots.append(Slot(f"${TARGETS}", tuple(f"({_quoted(one)})" for one in targets)))
    return replace(sent, slots=tuple(slots), home=None)


def _name(slot: Slot) -> str:
    return slot.name.removeprefix("$")


def _of(slot: Slot) -> list[str]:
    try:
        return [value for text in slot.values if text.strip() not in ("", "()") for value in values_of(text)]
    except ValueError:
        rule = f"${_name(slot)[:64]} is not in the coding style (ITI TF-2: 3.18.4.1.2.3.5)"
        raise Refused([Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, rule)]) from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
