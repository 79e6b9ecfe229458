"""Takes the attributes out of one registry object, and keeps count of what is wrong and what is left.

Used by ``from_ebxml`` only.  ITI TF-3: 4.2.3.1 and 4.2.3.2 to 4.2.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from xds.ebxml.rim import Classification, ExternalIdentifier, InternationalString, RegistryObject, Slot
from xds.errors import ErrorCode, Finding, Severity
from xds.metadata.datatypes import Author, Code, Dtm, Xcn, Xon, Xtn
from xds.metadata.identifiers import Oid, PatientId, UniqueId
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, MANY, SUBMISSION_SET_CODES, Coded

T = TypeVar("T")

UNREAD_CODE, UNREAD_PATIENT = Code("", "", ""), PatientId("", Oid(""))

_CODES = {**DOCUMENT_ENTRY_CODES, **SUBMISSION_SET_CODES}
STAND_INS: Mapping[str, Any] = {
    "unique_id": UniqueId(""),
    "patient_id": UNREAD_PATIENT,
    "source_patient_id": UNREAD_PATIENT,
    "source_id": Oid(""),
    "language_code": "",
    "submission_time": Dtm("0001"),
    **{attribute: UNREAD_CODE for attribute, coded in _CODES.items() if coded.most == 1},
}
"""What stands for a required attribute that could not be read; no rule finds anything in it."""

_AUTHOR_SLOTS = (
    "authorPerson",
    "authorInstitution",
    "authorRole",
    "authorSpecialty",
    "authorTelecommunication",
)


class Reading:
    """One object being read.  What a method takes is gone; ``left…`` is what nobody asked for."""

    def __init__(self, kind: str, item: RegistryObject) -> None:
        self.kind, self.item = kind, item
        self.findings: list[Finding] = []
        self.warnings: list[Finding] = []
        self._slots: dict[str, Slot] = {}
        for slot in item.slots:
            if slot.name in self._slots:
                self.wrong(f"slot {slot.name}", "occurs twice", "ITI TF-3: 4.2.3.1")
            self._slots.setdefault(slot.name, slot)
        self._classifications = list(item.classifications)
        self._identifiers = list(item.external_identifiers)

    def wrong(self, attribute: str, rule: str, clause: str) -> None:
        """Note that the object breaks a rule."""
        context = f"{self.kind}.{attribute}: {rule} ({clause})"
        self.findings.append(Finding(ErrorCode.REGISTRY_METADATA, context, self.item.id))

    def lost(self, attribute: str) -> None:
        """Note that slots of a part are not kept, because there is no place for them."""
        context = f"{self.kind}.{attribute}: its extra slots are not saved (ITI TF-3: 4.2.3.1.6)"
        self.warnings.append(Finding(ErrorCode.EXTRA_METADATA_NOT_SAVED, context, self.item.id, Severity.WARNING))

    def owned(self, attribute: str, owner: str, named_by: str, clause: str) -> None:
        """Hold a part to belong to the object around it."""
        if owner != self.item.id:
            self.wrong(attribute, f"{named_by} is not the id of the object around it", clause)

    def _built(self, attribute: str, clause: str, build: Callable[..., T], *values: Any) -> T | None:
        try:
            return build(*values)
        except ValueError as problem:
            self.wrong(attribute, str(problem), clause)
            return None

    def slot(
        self,
        slot_name: str,
        build: Callable[[str], T],
        clause: str,
        *,
        attribute: str = "",
        required: bool = False,
        unread: T | None = None,
    ) -> T | None:
        """The one value of a slot; ``unread``, and a finding, when it is wrong."""
        attribute = attribute or slot_name
        slot = self._slots.pop(slot_name, None)
        if slot is None:
            if required:
                self.wrong(attribute, "is required", clause)
            return None
        if len(slot.values) != 1 or not slot.values[0]:
            self.wrong(attribute, f"needs exactly one value, has {len(slot.values)}", clause)
            return unread
        built = self._built(attribute, clause, build, slot.values[0])
        return unread if built is None else built

    def slot_values(self, slot_name: str, build: Callable[[str], T], clause: str, attribute: str = "") -> tuple[T, ...]:
        """All values of a slot that may be absent."""
        slot = self._slots.pop(slot_name, None)
        if slot is None:
            return ()
        if not slot.values:
            self.wrong(attribute or slot_name, "has no value", clause)
        built = (self._built(attribute or slot_name, clause, build, value) for value in slot.values)
        return tuple(value for value in built if value is not None)

    def identifier(self, scheme: str, attribute: str, build: Callable[[str], T], clause: str) -> T | None:
        """The ExternalIdentifier of a scheme, exactly one."""
        found = [i for i in self._identifiers if i.scheme == scheme]
        if len(found) != 1:
            self.wrong(attribute, f"needs exactly one ExternalIdentifier, has {len(found)}", clause)
            return None
        self._identifiers.remove(found[0])
        if found[0].slots:
            self.lost(attribute)
        self.owned(attribute, found[0].registry_object, "registryObject", "ITI TF-3: 4.2.3.1.5")
        return self._built(attribute, clause, build, found[0].value)

    def codes(self, table: Mapping[str, Coded]) -> dict[str, tuple[Code, ...]]:
        """The coded attributes of a table, each as often as it may occur."""
        return {attribute: self._codes(attribute, coded) for attribute, coded in table.items()}

    def _codes(self, attribute: str, coded: Coded) -> tuple[Code, ...]:
        ihe_name = camel(attribute)
        found = self._taken(coded.scheme)
        if not coded.least <= len(found) <= coded.most:
            most = "" if coded.most == MANY else f" and at most {coded.most}"
            self.wrong(ihe_name, f"occurs {len(found)} times, must at least {coded.least}{most}", "ITI TF-3: 4.2.3.2")
        codes = (self._code(ihe_name, classification) for classification in found)
        return tuple(code for code in codes if code is not None)

    def code(self, scheme: str, attribute: str) -> Code | None:
        """A coded attribute that may be absent."""
        found = self._taken(scheme)
        if len(found) > 1:
            self.wrong(attribute, "occurs more than once", "ITI TF-3: 4.2.2")
        return self._code(attribute, found[0]) if found else None

    def _taken(self, scheme: str) -> list[Classification]:
        found = [c for c in self._classifications if c.scheme == scheme]
        for classification in found:
            self._classifications.remove(classification)
        return found

    def _code(self, attribute: str, item: Classification) -> Code | None:
        schemes = [slot for slot in item.slots if slot.name == "codingScheme"]
        clause = "ITI TF-3: 4.2.3.1.2"
        self.owned(attribute, item.classified_object, "classifiedObject", clause)
        if len(schemes) < len(item.slots):
            self.lost(attribute)
        if len(schemes) != 1 or len(schemes[0].values) != 1 or not schemes[0].values[0]:
            self.wrong(attribute, "needs a slot codingScheme with exactly one value", clause)
            return None
        if not item.node_representation:
            self.wrong(attribute, "nodeRepresentation (the code) is required", clause)
            return None
        display = next((part.value for part in item.name if part.value), "")
        if not display:
            self.wrong(attribute, "rim:Name (the code's display name) is required", clause)
        return Code(item.node_representation, schemes[0].values[0], display)

    def authors(self, scheme: str) -> tuple[Author, ...]:
        """One Author a Classification of the scheme."""
        built = (self._author(classification) for classification in self._taken(scheme))
        return tuple(author for author in built if author is not None)

    def _author(self, item: Classification) -> Author | None:
        clause = "ITI TF-3: 4.2.3.1.4"
        self.owned("author", item.classified_object, "classifiedObject", clause)
        values = {slot.name: slot.values for slot in item.slots}
        if len(values) < len(item.slots):
            self.wrong("author", "a slot occurs twice", "ITI TF-3: 4.2.3.1")
        for unknown in values.keys() - set(_AUTHOR_SLOTS):
            self.wrong("author", f"slot {unknown[:64]} is none of an author's", clause)
        if any(not value.strip() for slot in values.values() for value in slot):
            self.wrong("author", "a slot has an empty value", clause)
            return None
        people = values.get("authorPerson", ())
        if len(people) > 1:
            self.wrong("author.authorPerson", "has more than one value", clause)
        try:
            return Author(
                Xcn(people[0]) if people else None,
                tuple(map(Xon, values.get("authorInstitution", ()))),
                values.get("authorRole", ()),
                values.get("authorSpecialty", ()),
                tuple(map(Xtn, values.get("authorTelecommunication", ()))),
            )
        except ValueError as problem:
            self.wrong("author", str(problem), clause)
            return None

    def without_marker(self, node: str) -> None:
        """Forget the classification that says what kind of package this is."""
        self._classifications = [c for c in self._classifications if c.node != node]

    def left_slots(self) -> tuple[Slot, ...]:
        return tuple(self._slots.values())

    def left_classifications(self) -> tuple[Classification, ...]:
        return tuple(self._classifications)

    def left_identifiers(self) -> tuple[ExternalIdentifier, ...]:
        return tuple(self._identifiers)


def camel(attribute: str) -> str:
    """``class_code`` as IHE writes it, ``classCode``."""
    first, *rest = attribute.split("_")
    return first + "".join(part.capitalize() for part in rest)


def text(value: str) -> str:
    return value


def display(strings: InternationalString) -> str:
    """The first text of a title."""
    return next((part.value for part in strings if part.value), "")
