"""What may be tolerated of a sender that is known by name: deviations met in the field, put right before they are read.

Each takes the SubmitObjectsRequest as received, changes it in place and says how often it had to.  What is stored is
what the profile asks for, whoever sent it.  Nothing is tolerated unless a ``[senders.NAME]`` lists it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import quote

from lxml import etree

from xds.metadata import vocabulary as v
from xds.wire.xml import Element, name

Correct: TypeAlias = Callable[[Element], int]

_OBJECTS = tuple(map(name, ("rim:ExtrinsicObject", "rim:RegistryPackage", "rim:Association")))
_SLOT, _LIST, _VALUE = map(name, ("rim:Slot", "rim:ValueList", "rim:Value"))
_CLASSIFICATION, _IDENTIFIER = name("rim:Classification"), name("rim:ExternalIdentifier")
_NAME, _STRING = name("rim:Name"), name("rim:LocalizedString")
_TEXTS = tuple(map(name, ("rim:Name", "rim:Description")))

# Attributes that hold a UUID or a symbolic id (ebRIM 3.0).
_IDS = ("id", "lid", "objectType", "classifiedObject", "registryObject", "sourceObject", "targetObject",
        "classificationScheme", "classificationNode", "identificationScheme")  # fmt: skip
_TIMES = ("creationTime", "serviceStartTime", "serviceStopTime", "submissionTime", "lastUpdateTime")
_OIDS = (v.SUBMISSION_SET_SOURCE_ID, v.SUBMISSION_SET_UNIQUE_ID, v.FOLDER_UNIQUE_ID)
_PATIENT_IDS = (v.DOCUMENT_ENTRY_PATIENT_ID, v.SUBMISSION_SET_PATIENT_ID, v.FOLDER_PATIENT_ID)
_CODED = frozenset(
    coded.scheme
    for table in (v.DOCUMENT_ENTRY_CODES, v.SUBMISSION_SET_CODES, v.FOLDER_CODES)
    for coded in table.values()
)
_MEMBER = v.AssociationType.HAS_MEMBER.value
_TYPES = {kind.value.rpartition(":")[2].lower(): kind.value for kind in v.AssociationType}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One deviation: how it is put right, and what it is in a line."""

    correct: Correct
    what: str


def _slots(request: Element, *names: str) -> Iterator[Element]:
    """The slots of these names, of every object."""
    return (slot for slot in request.iter(_SLOT) if slot.get("name") in names)


def _values(slots: Iterable[Element]) -> Iterator[Element]:
    return (value for slot in slots for value in slot.iter(_VALUE))


def _changed(elements: Iterable[Element], to: Callable[[str], str], attribute: str = "") -> int:
    """Change texts, or an attribute; return how many are other than they were."""
    count = 0
    for element in elements:
        before = (element.get(attribute) if attribute else element.text) or ""
        after = to(before)
        if after != before:
            count += 1
            if attribute:
                element.set(attribute, after)
            else:
                element.text = after
    return count


def uuid_case(request: Element) -> int:
    """A UUID is written in lower case (ITI TF-3: 4.2.3.2.4)."""

    def lower(text: str) -> str:
        return text.lower() if re.fullmatch(r"(?i)urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) else text

    return sum(_changed(request.iter(), lower, attribute) for attribute in _IDS)


def times(request: Element) -> int:
    """A time is digits to the second, in UTC (ITI TF-3: Table 4.2.3.1-1, DTM)."""
    return _changed(_values(_slots(request, *_TIMES)), _utc)


def _utc(text: str) -> str:
    """``20240102T03:04:05.6+01:00`` and the like as DTM; what is no time stays as it is."""
    parts = re.fullmatch(
        r"(\d{4})-?(\d\d)-?(\d\d)[T ]?(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", text.strip()
    )
    if parts is None:
        return text
    *digits, zone = parts.groups()
    try:
        moment = datetime.strptime("".join(digits) + (zone or "Z").replace("Z", "+0000"), "%Y%m%d%H%M%S%z")
    except ValueError:
        return text
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S}"


def oid_prefix(request: Element) -> int:
    """OIDs stand without ``urn:oid:``, but for homeCommunityId (ITI TF-3: Table 4.2.3.1-1, 4.2.3.2.12)."""
    identifiers = (item for item in request.iter(_IDENTIFIER) if item.get("identificationScheme") in _OIDS)
    count = _changed(identifiers, lambda text: text.removeprefix("urn:oid:"), "value")
    count += _changed(
        _values(_slots(request, "repositoryUniqueId")), lambda text: text.strip().removeprefix("urn:oid:")
    )
    homes = (item for item in request.iter(*_OBJECTS) if item.get("home"))
    return count + _changed(homes, lambda text: f"urn:oid:{text}" if re.fullmatch(r"[0-9.]+", text) else text, "home")


def patient_id_parts(request: Element) -> int:
    """A patient id has CX.1 and CX.4 alone, and CX.4 no namespace (ITI TF-3: Table 4.2.3.1-1, CX)."""
    identifiers = (item for item in request.iter(_IDENTIFIER) if item.get("identificationScheme") in _PATIENT_IDS)
    return _changed(identifiers, _cx, "value") + _changed(_values(_slots(request, "sourcePatientId")), _cx)


def _cx(text: str) -> str:
    return re.sub(r"^([^^&~|]+)\^[^^]*\^[^^]*\^[^^&]*&([0-9.]+)&ISO(\^.*)?$", r"\1^^^&\2&ISO", text.strip())


def association_types(request: Element) -> int:
    """An association's type is a URN (ITI TF-3: Table 4.2.2-1); XDS.a had bare words, and some mix up the URNs."""
    associations = request.iter(name("rim:Association"))
    return _changed(associations, lambda text: _TYPES.get(text.rpartition(":")[2].lower(), text), "associationType")


def submission_set_status(request: Element) -> int:
    """A SubmissionSet's HasMember of a DocumentEntry says Original or Reference (ITI TF-3: 4.2.2.1.1)."""
    sets = {
        item.get("classifiedObject", "")
        for item in request.iter(_CLASSIFICATION)
        if item.get("classificationNode") == v.SUBMISSION_SET
    }
    inside = {item.get("id", ""): item for item in request.iter(*_OBJECTS)}
    count = 0
    for item in request.iter(name("rim:Association")):
        target = inside.get(item.get("targetObject", ""))
        of_entry = target is None or target.tag == name("rim:ExtrinsicObject")
        if item.get("sourceObject") not in sets or item.get("associationType") != _MEMBER or not of_entry:
            continue
        if not any(slot.get("name") == "SubmissionSetStatus" for slot in item.iterchildren(_SLOT)):
            slot = etree.Element(_SLOT, name="SubmissionSetStatus")
            value = etree.SubElement(etree.SubElement(slot, _LIST), _VALUE)
            value.text = "Reference" if target is None else "Original"
            item.insert(0, slot)
            count += 1
    return count


def empty_values(request: Element) -> int:
    """What has no value is not sent: slots, titles and comments (ebRIM 3.0: 2.4; ITI TF-3: 4.2.3.1)."""
    empty: list[Element] = [value for value in request.iter(_VALUE) if not (value.text or "").strip()]
    empty += [text for text in request.iter(_STRING) if not (text.get("value") or "").strip()]
    _remove(empty)
    _remove([slot for slot in request.iter(_SLOT) if next(slot.iter(_VALUE), None) is None])
    _remove([text for text in request.iter(*_TEXTS) if next(text.iter(_STRING), None) is None])
    return len(empty)


def _remove(elements: Iterable[Element]) -> None:
    for element in elements:
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)


def display_names(request: Element) -> int:
    """A code has a display name (ITI TF-3: 4.2.3.1.2); where it is left out, the code itself."""
    count = 0
    for item in request.iter(_CLASSIFICATION):
        code = item.get("nodeRepresentation", "")
        if item.get("classificationScheme") not in _CODED or not code or item.find(_NAME) is not None:
            continue
        called = etree.Element(_NAME)
        etree.SubElement(called, _STRING, value=code)
        item.insert(len(item.findall(_SLOT)), called)
        count += 1
    return count


_EXTRA = "urn:xds:sent-as:"
# Slots of objects (ITI TF-3: Tables 4.2.3.2-1 to 4.2.3.4-1, 4.2.2-1); others are URNs that are not IHE's.
_KNOWN = frozenset(
    (*_TIMES, "hash", "size", "repositoryUniqueId", "languageCode", "sourcePatientId", "documentAvailability",
     "legalAuthenticator", "sourcePatientInfo", "URI", "intendedRecipient", "SubmissionSetStatus", "PreviousVersion",
     "OriginalStatus", "NewStatus", "AssociationPropagation")
)  # fmt: skip


def extra_slots(request: Element) -> int:
    """A slot that XDS does not know is named by a URN (ITI TF-3: 4.2.3.1.6); others are kept under one of ours."""
    slots = (slot for item in request.iter(*_OBJECTS) for slot in item.iterchildren(_SLOT))

    def named(text: str) -> str:
        return text if text in _KNOWN or text.startswith("urn:") else _EXTRA + quote(text, safe="")

    return _changed(slots, named, "name")


def owners(request: Element) -> int:
    """What stands inside an object names it (ITI TF-3: 4.2.3.1.2, 4.2.3.1.5)."""
    count = 0
    for item in request.iter(*_OBJECTS):
        count += _changed(item.iterchildren(_CLASSIFICATION), lambda _, i=item: i.get("id", ""), "classifiedObject")  # type: ignore[misc]
        count += _changed(item.iterchildren(_IDENTIFIER), lambda _, i=item: i.get("id", ""), "registryObject")  # type: ignore[misc]
    return count


def language_codes(request: Element) -> int:
    """A language is a tag of RFC 5646, with hyphens (ITI TF-3: Table 4.2.3.2-1, languageCode)."""
    return _changed(_values(_slots(request, "languageCode")), lambda text: text.strip().replace("_", "-"))


def media_types(request: Element) -> int:
    """A mimeType is a media type without parameters, compared in lower case (ITI TF-3: 4.2.3.2.14)."""
    entries = (item for item in request.iter(name("rim:ExtrinsicObject")) if item.get("mimeType"))
    return _changed(entries, lambda text: text.partition(";")[0].strip().lower(), "mimeType")


def object_types(request: Element) -> int:
    """An entry says that it is stable (ITI TF-3: 4.2.5.2); one that says nothing is."""
    entries = [item for item in request.iter(name("rim:ExtrinsicObject")) if not item.get("objectType")]
    return _changed(entries, lambda _: v.STABLE, "objectType")


# In the order they are applied: what later ones look at is right by then.
TOLERANCES: Mapping[str, Tolerance] = {
    "uuid-case": Tolerance(uuid_case, "UUIDs in upper case"),
    "owners": Tolerance(owners, "classifiedObject or registryObject missing, or another object's"),
    "empty-values": Tolerance(empty_values, "slots, titles and comments without a value"),
    "times": Tolerance(times, "times with a fraction, a zone or punctuation"),
    "oid-prefix": Tolerance(oid_prefix, "OIDs with urn:oid:, a homeCommunityId without"),
    "patient-id-parts": Tolerance(patient_id_parts, "patient ids with a namespace or more components"),
    "association-types": Tolerance(association_types, "association types as bare words, or under another URN"),
    "submission-set-status": Tolerance(submission_set_status, "HasMember without SubmissionSetStatus"),
    "display-names": Tolerance(display_names, "codes without a display name"),
    "extra-slots": Tolerance(extra_slots, "slots that XDS does not know, not named by a URN"),
    "language-codes": Tolerance(language_codes, "languages with an underscore"),
    "media-types": Tolerance(media_types, "media types in capitals or with parameters"),
    "object-types": Tolerance(object_types, "entries without objectType"),
}


def apply(names: Iterable[str], body: Element) -> dict[str, int]:
    """Put right what these tolerances are for in every SubmitObjectsRequest of a body; return how often each did."""
    wanted = set(names)
    requests = list(body.iter(name("lcm:SubmitObjectsRequest")))
    counts = {key: sum(map(tolerance.correct, requests)) for key, tolerance in TOLERANCES.items() if key in wanted}
    return {key: count for key, count in counts.items() if count}
