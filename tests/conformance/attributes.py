"""Attributes: what is required, how often, and in which form.  ITI TF-3: 4.2.3."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from lxml import etree

from tests.conformance.rule import CODES, KNOWN, Desk, Rule
from xds.errors import ErrorCode
from xds.metadata import vocabulary as v
from xds.wire.xml import Element, name

ALL = ("ITI-42", "ITI-61", "ITI-57", "ITI-92")
FORMAT = v.DOCUMENT_ENTRY_CODES["format_code"].scheme
WITH_FOLDERS = ("ITI-42", "ITI-61", "ITI-57")
STABLE_ONLY = ("ITI-42", "ITI-57", "ITI-92")

TABLES = {
    "DocumentEntry": "ITI TF-3: Table 4.2.3.2-1",
    "SubmissionSet": "ITI TF-3: Table 4.2.3.3-1",
    "Folder": "ITI TF-3: Table 4.2.3.4-1",
}
Spoil = Callable[[Element], None]


def spoilt(spoil: Callable[[Element], None]) -> Callable[[Desk, str], None]:
    """A good body with one part spoilt."""

    def attempt(desk: Desk, number: str) -> None:
        body = desk.good(number)
        spoil(body)
        desk.send(number, body)

    return attempt


def the(kind: str) -> Callable[[Element], Element]:
    """Finds the entry, the submission set or the folder of a body."""
    markers = {"SubmissionSet": v.SUBMISSION_SET, "Folder": v.FOLDER}

    def find(body: Element) -> Element:
        if kind == "DocumentEntry":
            return next(body.iter(name("rim:ExtrinsicObject")))
        if kind == "Association":
            return next(body.iter(name("rim:Association")))
        for package in body.iter(name("rim:RegistryPackage")):
            nodes = {c.get("classificationNode") for c in package.iter(name("rim:Classification"))}
            if markers[kind] in nodes:
                return package
        raise AssertionError(kind)

    return find


def slot_of(item: Element, slot_name: str) -> Element:
    return next(s for s in item.iterchildren(name("rim:Slot")) if s.get("name") == slot_name)


def classification_of(item: Element, scheme: str) -> Element:
    return next(c for c in item.iterchildren(name("rim:Classification")) if c.get("classificationScheme") == scheme)


def identifier_of(item: Element, scheme: str) -> Element:
    found = item.iterchildren(name("rim:ExternalIdentifier"))
    return next(i for i in found if i.get("identificationScheme") == scheme)


def _long_title(item: Element) -> None:
    found = item.find(name("rim:Name"))
    title = etree.Element(name("rim:Name"))
    etree.SubElement(title, name("rim:LocalizedString"), value="x" * 257)
    if found is None:
        slots = item.findall(name("rim:Slot"))
        item.insert(len(slots), title)
    else:
        item.replace(found, title)


def without(element: Element) -> None:
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def twice(element: Element) -> None:
    parent = element.getparent()
    assert parent is not None
    parent.insert(parent.index(element), copy.deepcopy(element))


def new_slot(item: Element, slot_name: str, *values: str) -> None:
    slot = etree.Element(name("rim:Slot"), name=slot_name)
    listed = etree.SubElement(slot, name("rim:ValueList"))
    for value in values:
        etree.SubElement(listed, name("rim:Value")).text = value
    item.insert(0, slot)


def set_slot(item: Element, slot_name: str, *values: str) -> None:
    """Give a slot these values, whether it is there or not."""
    for slot in list(item.iterchildren(name("rim:Slot"))):
        if slot.get("name") == slot_name:
            without(slot)
    new_slot(item, slot_name, *values)


def on(kind: str, change: Callable[[Element], None]) -> Callable[[Desk, str], None]:
    find = the(kind)
    return spoilt(lambda body: change(find(body)))


def row(
    kind: str, attribute: str, says: str, change: Callable[[Element], None], *, clause: str = "",
    transactions: tuple[str, ...] = (), code: str = ErrorCode.REGISTRY_METADATA, named: str = "",
) -> Rule:  # fmt: skip
    wanted = transactions or (WITH_FOLDERS if kind == "Folder" else ALL)
    return Rule(
        wanted, f"{kind}.{attribute} {says}", clause or TABLES[kind], on(kind, change), code,
        f"{kind}.{named or attribute}",
    )  # fmt: skip


# Coded attributes: kind, name, scheme, at most one, must be there.
CODED = (
    ("DocumentEntry", "classCode", v.DOCUMENT_ENTRY_CODES["class_code"].scheme, True, True),
    ("DocumentEntry", "typeCode", v.DOCUMENT_ENTRY_CODES["type_code"].scheme, True, True),
    ("DocumentEntry", "formatCode", v.DOCUMENT_ENTRY_CODES["format_code"].scheme, True, True),
    ("DocumentEntry", "healthcareFacilityTypeCode",
     v.DOCUMENT_ENTRY_CODES["healthcare_facility_type_code"].scheme, True, True),
    ("DocumentEntry", "practiceSettingCode", v.DOCUMENT_ENTRY_CODES["practice_setting_code"].scheme, True, True),
    ("DocumentEntry", "confidentialityCode", v.DOCUMENT_ENTRY_CODES["confidentiality_code"].scheme, False, True),
    ("DocumentEntry", "eventCodeList", v.DOCUMENT_ENTRY_CODES["event_code_list"].scheme, False, False),
    ("SubmissionSet", "contentTypeCode", v.SUBMISSION_SET_CODES["content_type_code"].scheme, True, True),
    ("Folder", "codeList", v.FOLDER_CODES["code_list"].scheme, False, True),
)  # fmt: skip


def coded_rules() -> Iterator[Rule]:
    coding = "ITI TF-3: 4.2.3.1.2"
    for kind, attribute, scheme, single, required in CODED:

        def it(item: Element, scheme: str = scheme) -> Element:
            return classification_of(item, scheme)

        def no_scheme(item: Element, it: Callable[[Element], Element] = it) -> None:
            without(slot_of(it(item), "codingScheme"))

        def two_schemes(item: Element, it: Callable[[Element], Element] = it) -> None:
            set_slot(it(item), "codingScheme", "1.2.3", "1.2.4")

        def no_code(item: Element, it: Callable[[Element], Element] = it) -> None:
            del it(item).attrib["nodeRepresentation"]

        def no_display(item: Element, it: Callable[[Element], Element] = it) -> None:
            without(next(it(item).iter(name("rim:Name"))))

        def anothers(item: Element, it: Callable[[Element], Element] = it) -> None:
            it(item).set("classifiedObject", "another")

        if required:
            yield row(kind, attribute, "is required", lambda i, it=it: without(it(i)), clause="ITI TF-3: 4.2.3.2")
        if single:
            yield row(kind, attribute, "occurs once", lambda i, it=it: twice(it(i)), clause="ITI TF-3: 4.2.3.2")
        yield row(kind, attribute, "has a codingScheme", no_scheme, clause=coding)
        yield row(kind, attribute, "has one codingScheme", two_schemes, clause=coding)
        yield row(kind, attribute, "has a code", no_code, clause=coding)
        yield row(kind, attribute, "has a display name", no_display, clause=coding)
        yield row(kind, attribute, "belongs to the object around it", anothers, clause=coding)


# Identifiers: kind, name, scheme, a value of another form.
IDENTIFIERS = (
    ("DocumentEntry", "patientId", v.DOCUMENT_ENTRY_PATIENT_ID, "anna"),
    ("DocumentEntry", "uniqueId", v.DOCUMENT_ENTRY_UNIQUE_ID, " 1.2.3"),
    ("SubmissionSet", "patientId", v.SUBMISSION_SET_PATIENT_ID, "anna^^^NORTH&1.2.3.4.5&ISO"),
    ("SubmissionSet", "uniqueId", v.SUBMISSION_SET_UNIQUE_ID, "1.2.03"),
    ("SubmissionSet", "sourceId", v.SUBMISSION_SET_SOURCE_ID, "urn:oid:1.2.3"),
    ("Folder", "patientId", v.FOLDER_PATIENT_ID, "anna^^^&1.2.3.4.5&DNS"),
    ("Folder", "uniqueId", v.FOLDER_UNIQUE_ID, "folder"),
)


def identifier_rules() -> Iterator[Rule]:
    for kind, attribute, scheme, bad in IDENTIFIERS:

        def it(item: Element, scheme: str = scheme) -> Element:
            return identifier_of(item, scheme)

        yield row(kind, attribute, "is required", lambda i, it=it: without(it(i)))
        yield row(kind, attribute, "occurs once", lambda i, it=it: twice(it(i)))
        yield row(kind, attribute, "is in its data type's form", lambda i, it=it, bad=bad: it(i).set("value", bad))
        yield row(
            kind, attribute, "belongs to the object around it",
            lambda i, it=it: it(i).set("registryObject", "another"), clause="ITI TF-3: 4.2.3.1.5",
        )  # fmt: skip


# Slots with one value: kind, name, required, a value of another form (none: any text).
SLOTS: tuple[tuple[str, str, bool, str, tuple[str, ...]], ...] = (
    ("DocumentEntry", "creationTime", True, "20240230", STABLE_ONLY),
    ("DocumentEntry", "hash", True, "da39", STABLE_ONLY),
    ("DocumentEntry", "size", True, "-1", STABLE_ONLY),
    ("DocumentEntry", "repositoryUniqueId", True, "1.2.03", ALL),
    ("DocumentEntry", "languageCode", True, "en_US", ALL),
    ("DocumentEntry", "sourcePatientId", True, "mrn-1", ALL),
    ("DocumentEntry", "serviceStartTime", False, "2024010", ALL),
    ("DocumentEntry", "serviceStopTime", False, "20240102030405.5", ALL),
    ("DocumentEntry", "legalAuthenticator", False, "^^^^^^^^", ALL),
    ("DocumentEntry", "documentAvailability", False, "", ALL),
    ("SubmissionSet", "submissionTime", True, "2024-01-02", ALL),
)
# Slots with several: name and a value of another form.
LISTS = (
    ("DocumentEntry", v.REFERENCE_ID_LIST, "referenceIdList", "123"),
    ("DocumentEntry", "sourcePatientInfo", "sourcePatientInfo", "Müller^Anna"),
    ("SubmissionSet", "intendedRecipient", "intendedRecipient", "||"),
)


def slot_rules() -> Iterator[Rule]:
    for kind, attribute, required, bad, transactions in SLOTS:

        def remove(item: Element, attribute: str = attribute) -> None:
            without(slot_of(item, attribute))

        if required:
            yield row(kind, attribute, "is required", remove, transactions=transactions)
        two = lambda i, a=attribute: set_slot(i, a, "20240102", "20240103")  # noqa: E731
        yield row(kind, attribute, "has one value", two, transactions=transactions)
        empty = lambda i, a=attribute: set_slot(i, a)  # noqa: E731
        yield row(kind, attribute, "has a value", empty, transactions=transactions)
        if bad:
            change = lambda i, a=attribute, b=bad: set_slot(i, a, b)  # noqa: E731
            yield row(kind, attribute, "is in its data type's form", change, transactions=transactions)
    for kind, slot_name, attribute, bad in LISTS:
        change = lambda i, s=slot_name, b=bad: set_slot(i, s, b)  # noqa: E731
        yield row(kind, attribute, "is in its data type's form", change)
        yield row(kind, attribute, "has a value", lambda i, s=slot_name: set_slot(i, s))


def more_rules() -> Iterator[Rule]:
    """What is of no family."""
    entry = "DocumentEntry"
    for kind in ("DocumentEntry", "SubmissionSet", "Folder"):
        yield row(
            kind, "slot", "has a name of its own", lambda i: (new_slot(i, "urn:x:y", "1"), new_slot(i, "urn:x:y", "2")),
            clause="ITI TF-3: 4.2.3.1", named="slot urn:x:y",
        )  # type: ignore[arg-type]  # fmt: skip
        for slot_name in ("colour", "urn:ihe:colour"):
            yield row(
                kind, "slot", f"that XDS does not know is a URN and not IHE's ({slot_name})",
                lambda i, s=slot_name: new_slot(i, s, "blue"),
                clause="ITI TF-3: 4.2.3.1.6", named=f"slot {slot_name}",
            )  # fmt: skip
        yield row(
            kind, "limitedMetadata", "is not allowed in XDS.b",
            lambda i, k=kind: next(i.iterchildren(name("rim:Classification"))).addprevious(
                etree.Element(
                    name("rim:Classification"), id="limited", classifiedObject=i.get("id", ""),
                    classificationNode=v.LIMITED_METADATA[k],
                )
            ),
            clause="ITI TF-3: 4.2.3.2.32",
        )  # fmt: skip
    yield row("Folder", "title", "is required", lambda i: without(next(i.iterchildren(name("rim:Name")))))
    for kind in (entry, "SubmissionSet", "Folder"):
        yield row(kind, "title", "is no longer than its limit", _long_title, clause="ITI TF-3: 4.2.3")
    yield row(entry, "mimeType", "is required", lambda i: i.attrib.pop("mimeType"))
    for kind in (entry, "SubmissionSet", "Folder"):
        yield row(kind, "homeCommunityId", "is an OID as a URN", lambda i: i.set("home", "1.2.3"),
                  clause="ITI TF-3: 4.2.3.2.12")  # fmt: skip
    yield row(entry, "documentAvailability", "is Online or Offline",
              lambda i: set_slot(i, "documentAvailability", "maybe"))  # fmt: skip
    yield row(entry, "mimeType", "is a media type", lambda i: i.set("mimeType", "dicom"))
    yield row(
        entry, "objectType", "is of a stable or an on-demand entry", lambda i: i.set("objectType", "urn:uuid:other"),
        clause="ITI TF-3: 4.2.3.2.30",
    )  # fmt: skip
    for slot_name, value in (("creationTime", "2024"), ("hash", "0" * 40), ("size", "1")):
        yield row(
            entry, slot_name, "is forbidden on an on-demand entry",
            lambda i, s=slot_name, x=value: set_slot(i, s, x), transactions=("ITI-61",),
        )  # fmt: skip
    yield row(
        entry, "serviceStopTime", "is not before serviceStartTime",
        lambda i: set_slot(i, "serviceStopTime", "20010101"), clause="ITI TF-3: 4.2.3.2.20",
    )  # fmt: skip
    for field, bad in (("PID-3", "mrn-1"), ("PID-7", "1956-05-27")):
        yield row(
            entry, "sourcePatientInfo", f"has {field} in its form",
            lambda i, f=f"{field}|{bad}": set_slot(i, "sourcePatientInfo", f), clause="ITI TF-3: Table 4.2.3.2-1",
        )  # fmt: skip
    yield row(entry, "URI", "has numbered pieces", lambda i: set_slot(i, "URI", "http://a/", "b"))
    for field in ("PID-7|19560527", "PID-8|F"):
        yield row(
            entry, "sourcePatientInfo", f"has {field[:5]} once",
            lambda i, f=field: set_slot(i, "sourcePatientInfo", f, f), clause="ITI TF-3: 4.2.3.2.23",
        )  # fmt: skip
    yield Rule(ALL, "DocumentEntry.classCode is a code that the domain uses", "ITI TF-2: 3.42.4.1.3",
               _foreign_code, names="DocumentEntry.classCode")  # fmt: skip
    for kind, attribute, change in (
        ("DocumentEntry", "mimeType", lambda i: i.set("mimeType", "text/plain")),
        ("DocumentEntry", "languageCode", lambda i: set_slot(i, "languageCode", "fr")),
        ("DocumentEntry", "repositoryUniqueId", lambda i: set_slot(i, "repositoryUniqueId", "1.2.3.4.66")),
        ("SubmissionSet", "sourceId", lambda i: identifier_of(i, v.SUBMISSION_SET_SOURCE_ID).set("value", "1.2.77")),
    ):
        yield Rule(ALL, f"{kind}.{attribute} is one that the domain knows", "ITI TF-2: 3.42.4.1.3",
                   _foreign(kind, change), names=f"{kind}.{attribute}")  # fmt: skip
    yield Rule(ALL, "DocumentEntry.mimeType is one that goes with the formatCode", "ITI TF-2: 3.42.4.1.3",
               _foreign("DocumentEntry", lambda i: classification_of(i, FORMAT).set("nodeRepresentation", "urn:pdf")),
               names="DocumentEntry.mimeType")  # fmt: skip
    yield from author_rules()


def _foreign_code(desk: Desk, number: str) -> None:
    desk.with_codes(CODES)
    body = desk.good(number)
    classification_of(the("DocumentEntry")(body), CODED[0][2]).set("nodeRepresentation", "OTHER")
    desk.send(number, body)


def _foreign(kind: str, change: Callable[[Element], None]) -> Callable[[Desk, str], None]:
    """Something that the domain's file does not name."""

    def attempt(desk: Desk, number: str) -> None:
        body = desk.good(number)
        desk.with_codes(KNOWN)
        change(the(kind)(body))
        desk.send(number, body)

    return attempt


def author_rules() -> Iterator[Rule]:
    """ITI TF-3: 4.2.3.1.4."""
    clause = "ITI TF-3: 4.2.3.1.4"
    parts = {
        "is a person, an institution or a telecommunication": {"authorRole": ("reader",)},
        "has slots of its own alone": {"authorPerson": ("^Röntgen",), "authorHobby": ("chess",)},
        "has at most one person": {"authorPerson": ("^Röntgen", "^Curie")},
        "has a person with an id or a name": {"authorPerson": ("^^Wilhelm",)},
        "has institutions with a name": {"authorInstitution": ("^^^^^&1.2.3&ISO^^^^7",)},
        "has telecommunications with an address": {"authorTelecommunication": ("^^Internet",)},
        "has e-mail addresses whose use is NET": {"authorTelecommunication": ("^PRN^Internet^a@b.example",)},
        "has no empty values": {"authorPerson": ("^Röntgen",), "authorRole": ("",)},
    }
    for says, slots in parts.items():

        def change(item: Element, slots: dict[str, tuple[str, ...]] = slots) -> None:
            author = classification_of(item, v.DOCUMENT_ENTRY_AUTHOR)
            for slot in list(author):
                without(slot)
            for slot_name, values in slots.items():
                new_slot(author, slot_name, *values)

        yield row("DocumentEntry", "author", says, change, clause=clause)

    def slot_twice(item: Element) -> None:
        author = classification_of(item, v.DOCUMENT_ENTRY_AUTHOR)
        twice(slot_of(author, "authorPerson"))

    yield row("DocumentEntry", "author", "has each slot once", slot_twice, clause="ITI TF-3: 4.2.3.1")


def association_attribute_rules() -> Iterator[Rule]:
    """ITI TF-3: 4.2.2."""
    transactions = ("ITI-42", "ITI-61")

    def documentation_twice(item: Element) -> None:
        for number in range(2):
            code = etree.SubElement(
                item, name("rim:Classification"), id=f"documentation{number}", classifiedObject=item.get("id", ""),
                classificationScheme=v.ASSOCIATION_DOCUMENTATION, nodeRepresentation="x",
            )  # fmt: skip
            new_slot(code, "codingScheme", "1.2.3")
            etree.SubElement(etree.SubElement(code, name("rim:Name")), name("rim:LocalizedString"), value="x")

    def nobodys(item: Element) -> None:
        etree.SubElement(
            item, name("rim:Classification"), id="extra", classifiedObject="another",
            classificationScheme="urn:uuid:own", nodeRepresentation="x",
        )  # fmt: skip

    def nobodys_identifier(item: Element) -> None:
        etree.SubElement(
            item, name("rim:ExternalIdentifier"), id="extra", registryObject="another",
            identificationScheme="urn:uuid:own", value="x",
        )  # fmt: skip

    for says, change, clause, attribute in (
        ("is Original or Reference", lambda i: set_slot(i, "SubmissionSetStatus", "Copy"), "ITI TF-3: 4.2.2",
         "SubmissionSetStatus"),
        ("occurs once", documentation_twice, "ITI TF-3: 4.2.2", "documentation"),
        ("is required", lambda i: i.set("associationType", ""), "ITI TF-3: 4.2.2", "associationType"),
        ("belongs to the object around it", nobodys, "ITI TF-3: 4.2.3.1.2", "Classification"),
        ("belongs to the object around it", nobodys_identifier, "ITI TF-3: 4.2.3.1.5", "ExternalIdentifier"),
    ):  # fmt: skip
        yield row("Association", attribute, says, change, clause=clause, transactions=transactions)


RULES = (
    *coded_rules(),
    *identifier_rules(),
    *slot_rules(),
    *more_rules(),
    *association_attribute_rules(),
)
