"""The documents that the registry of ITI-18 is filled with: whose each is, what it replaces, which folder holds it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from xds.metadata.datatypes import Dtm
from xds.metadata.vocabulary import AssociationType

TYPES = ("18748-4", "18747-6", "36643-5", "24558-9", "18755-9", "24627-2", "18760-9", "18726-0", "18782-3", "30746-2")
"""LOINC codes of imaging studies; the n-th is 1/n as common as the first."""

BEGUN, BETWEEN = datetime(2015, 1, 1, tzinfo=UTC), timedelta(minutes=5)
"""When the first document was made, and how long it was until the next: a million in nine and a half years."""

IN_FOLDER = 10
"""Documents in the folder of a patient who is asked for."""

MOST_OF_A_PATIENT, MOST_OF_ONE_PATIENT = 5_000, 100_000
REPLACING, LINKING, FILING, WITH_FOLDER = 0.105, 0.5, 0.3, 0.2
"""How likely it is that a document replaces another, that this one replaces another itself, that a folder takes a
document, and that a patient has a folder."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document, with the submission that it came in.

    ``relation`` is to the document numbered ``target``.  ``folder`` is the number of the document that the folder
    came with, perhaps this one.
    """

    number: int
    patient: int
    type_code: str = TYPES[0]
    relation: AssociationType | None = None
    target: int | None = None
    folder: int | None = None
    deprecated: bool = False

    @property
    def unique_id(self) -> str:
        return f"2.25.11{self.number:014d}"

    @property
    def set_unique_id(self) -> str:
        return f"2.25.22{self.number:014d}"

    @property
    def folder_unique_id(self) -> str:
        """Of the folder that came with it."""
        return f"2.25.33{self.number:014d}"

    @property
    def study(self) -> str:
        """The Study Instance UID that it is about."""
        return f"2.25.44{self.number:014d}"

    @property
    def creation_time(self) -> str:
        return Dtm.of(BEGUN + self.number * BETWEEN).text


def entry_uuid(number: int, nth: int) -> str:
    """The id of the n-th object of a submission: always the same, and as scattered as random ones."""
    h = hashlib.blake2b(b"%d %d" % (number, nth), digest_size=16).hexdigest()
    return f"urn:uuid:{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


def asked_for(patients: int, a_patient: int) -> Iterator[Document]:
    """The documents of the patients that questions are about, all Approved.

    The first few of each patient's are in a folder; the last is an addendum to the one before.
    """
    for number in range(patients * a_patient):
        nth = number % a_patient
        folder = number - nth if nth < IN_FOLDER else None
        relation, target = (AssociationType.APND, number - 1) if nth == a_patient - 1 else (None, None)
        yield Document(number, number // a_patient, relation=relation, target=target, folder=folder)


def of_a_province(first: int, end: int, *, first_patient: int, seed: int = 1) -> list[Document]:
    """Documents number ``first`` to ``end`` as they come in over the years, of patients from the first one on.

    The first has a tenth of all documents of the registry, or 100,000; of the others most have a handful and a few
    have thousands.
    """
    chance = random.Random(seed)  # noqa: S311
    sizes = enumerate(_sizes(first, end, chance), first_patient)
    owners = [patient for patient, size in sizes for _ in range(size)]
    chance.shuffle(owners)
    types = chance.choices(TYPES, [1 / n for n in range(1, len(TYPES) + 1)], k=len(owners))
    histories: dict[int, _History] = {}
    documents, replaced = list[Document](), set[int | None]()
    for number, (patient, type_code) in enumerate(zip(owners, types, strict=True), first):
        history = histories.get(patient) or histories.setdefault(patient, _History(chance))
        target = history.replaced()
        relation = None if target is None else AssociationType.RPLC
        replaced.add(target)
        documents.append(Document(number, patient, type_code, relation, target, history.filed(number, target)))
    return [replace(one, deprecated=True) if one.number in replaced else one for one in documents]


def _sizes(first: int, end: int, chance: random.Random) -> Iterator[int]:
    """How many documents each patient has."""
    left = end - first
    size = min(MOST_OF_ONE_PATIENT, end // 10, left)
    while left:
        yield size
        left -= size
        size = min(int(3 * chance.paretovariate(1.2)), MOST_OF_A_PATIENT, left)


@dataclass(slots=True)
class _History:
    """What a patient has so far."""

    chance: random.Random
    alone: list[int] = field(default_factory=list)  # Approved, replacing nothing
    replacing: list[int] = field(default_factory=list)  # Approved, and replacing another
    folder: int | None = None
    in_folder: set[int] = field(default_factory=set)
    with_folder: bool = field(init=False)

    def __post_init__(self) -> None:
        self.with_folder = self.chance.random() < WITH_FOLDER

    def replaced(self) -> int | None:
        """What the next document replaces, if anything."""
        if not (self.alone or self.replacing) or self.chance.random() >= REPLACING:
            return None
        linking = self.chance.random() < LINKING
        among = (self.replacing if linking else self.alone) or self.alone or self.replacing
        at = self.chance.randrange(len(among))
        among[at], among[-1] = among[-1], among[at]
        return among.pop()

    def filed(self, number: int, target: int | None) -> int | None:
        """The folder of the next document, where it has one: that of what it replaces has to take it, too."""
        (self.alone if target is None else self.replacing).append(number)
        if target is not None:
            takes = target in self.in_folder
        else:
            takes = self.with_folder and (self.folder is None or self.chance.random() < FILING)
        if not takes:
            return None
        self.folder = number if self.folder is None else self.folder
        self.in_folder.add(number)
        return self.folder
