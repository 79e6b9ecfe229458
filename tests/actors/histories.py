"""Random histories of every transaction that changes a registry, and what must be true after any of them.

One seed is one set of operations; how they interleave is the machine's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import sqlalchemy as sa

from tests.actors.test_metadata_update import an_update, becomes, replaces, version_of
from tests.builders import AUTHORITY, a_folder, a_submission, an_association, an_entry
from tests.queries.desks import APPROVED, DEPRECATED
from tests.store.databases import Domain
from xds.ebxml import lcm
from xds.errors import Refused
from xds.metadata import to_ebxml
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.store.registry import patients
from xds.store.tables import association, document_entry, folder, locator, patient, submission_set

OPERATIONS = 60
PATIENTS = [PatientId(name, AUTHORITY) for name in ("anna", "bert", "carl", "dora")]
OBJECTS = (document_entry, submission_set, folder, association)


@dataclass
class Model:
    """What has been acknowledged: lists that all may append to, of one process or shared by several."""

    submissions: MutableSequence[Submission] = field(default_factory=list)
    removing: MutableSequence[str] = field(default_factory=list)  # perhaps removed, perhaps not yet or never
    removed: MutableSequence[str] = field(default_factory=list)
    refused: MutableSequence[str] = field(default_factory=list)
    faults: MutableSequence[str] = field(default_factory=list)

    def entries(self) -> list[DocumentEntry]:
        return [entry for submission in self.submissions[:] for entry in submission.document_entries]

    def registered(self) -> set[str]:
        """What was acknowledged to be there, removed since or not."""
        # A version of an entry stands alone here: what came with it is not known.
        whole = (submission for submission in self.submissions if submission.associations)
        return {item.entry_uuid for submission in whole for item in submission.objects()}

    def copy(self) -> Model:
        """One that stays when what is shared is gone."""
        return Model(*(list(getattr(self, one.name)[:]) for one in fields(self)))


class History:
    """The operations of one seed."""

    def __init__(self, site: Domain, seed: int, model: Model | None = None) -> None:
        self.site, self.random, self.model = site, random.Random(seed), model or Model()  # noqa: S311

    def operations(self) -> list[Callable[[], None]]:
        kinds = (self.register, self.register, self.replace_, self.append, self.refer, self.update, self.status,
                 self.remove, self.remove, self.merge, self.unmerge)  # fmt: skip
        chosen = self.random.choices(kinds, k=OPERATIONS)
        return [self._tolerant(do, random.Random(self.random.random())) for do in (self.register, *chosen)]  # noqa: S311

    def _tolerant(self, do: Callable[[random.Random], None], choice: random.Random) -> Callable[[], None]:
        """Refusals are answers; anything else is a fault of ours."""

        def run() -> None:
            try:
                do(choice)
            except Refused as refused:
                self.model.refused.extend([finding.code for finding in refused.findings])
            except patients.NotMerged:
                pass

        return run

    def submit(self, submission: Submission) -> None:
        self.model.submissions.append(self.site.register(submission))

    def _any(self, choice: random.Random) -> DocumentEntry:
        return choice.choice(self.model.entries() or [an_entry()])

    def register(self, choice: random.Random) -> None:
        who = choice.choice(PATIENTS)
        report, binder = an_entry(patient_id=who), a_folder(patient_id=who)
        member = an_association(AssociationType.HAS_MEMBER, binder.entry_uuid, report.entry_uuid)
        self.submit(
            a_submission(patient=who, entries=[report, an_entry(patient_id=who)], folders=[binder], relations=[member])
        )

    def _related(self, choice: random.Random, type_: AssociationType) -> None:
        old = self._any(choice)
        new = an_entry(patient_id=old.patient_id)
        relation = an_association(type_, new.entry_uuid, old.entry_uuid)
        self.submit(a_submission(patient=old.patient_id, entries=[new], relations=[relation]))

    def replace_(self, choice: random.Random) -> None:
        self._related(choice, AssociationType.RPLC)

    def append(self, choice: random.Random) -> None:
        self._related(choice, AssociationType.APND)

    def refer(self, choice: random.Random) -> None:
        """A member by reference, of any patient's."""
        sent = a_submission(patient=(who := choice.choice(PATIENTS)), entries=[an_entry(patient_id=who)])
        reference = an_association(
            AssociationType.HAS_MEMBER, sent.submission_set.entry_uuid, self._any(choice).entry_uuid,
            submission_set_status=SubmissionSetStatus.REFERENCE,
        )  # fmt: skip
        self.submit(replace(sent, associations=(*sent.associations, reference)))

    def _update(self, submission: Submission) -> None:
        objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))
        self.site(lambda store: self.site.registry.update(objects, store))

    def update(self, choice: random.Random) -> None:
        old = self._any(choice)
        new = version_of(old)
        self._update(an_update(replaces(new, choice.choice("112")), items=[new], patient=old.patient_id))
        self.model.submissions.append(Submission(a_submission().submission_set, (new,), (), ()))

    def status(self, choice: random.Random) -> None:
        old = self._any(choice)
        change = choice.choice([(APPROVED, DEPRECATED), (DEPRECATED, APPROVED)])
        self._update(an_update(becomes(old.entry_uuid, *change), patient=old.patient_id))

    def remove(self, choice: random.Random) -> None:
        """A whole submission, as it was acknowledged; or an entry of it with what touches it, and sets left empty."""
        sent = choice.choice(self.model.submissions[:] or [a_submission()])
        ids = [item.entry_uuid for item in sent.objects()]
        if choice.random() < 0.5 and sent.document_entries:
            ids = around(self.site, sent.document_entries[0].entry_uuid)
        self.model.removing.extend(ids)
        gone = self.site(lambda store: self.site.registry.remove(list(dict.fromkeys(ids)), store))
        self.model.removed.extend([item.entry_uuid for item in gone])

    def merge(self, choice: random.Random) -> None:
        one, other = choice.sample(PATIENTS, 2)
        self.site(lambda store: store.merge(one, other))

    def unmerge(self, choice: random.Random) -> None:
        with self.site.engine.begin() as connection:
            patients.unmerge(connection, self.site.name, choice.choice(PATIENTS))


def around(site: Domain, id_: str) -> list[str]:
    """An object, all that touches it, what holds that, and the sets that hold nothing else: what goes with it."""
    touching = site(lambda store: store.associations_of([id_]))
    holding = site(lambda store: store.associations_of([a.entry_uuid for a in touching]))
    ids = dict.fromkeys([id_, *(a.entry_uuid for a in (*touching, *holding))])
    sets = site(lambda store: store.submission_sets_by_uuid({a.source for a in (*touching, *holding)}))
    for item in sets:
        members = site(lambda store, item=item: store.associations_of([item.entry_uuid]))
        if {a.entry_uuid for a in members} <= ids.keys():
            ids[item.entry_uuid] = None
    return list(ids)


def rows(site: Domain, table: sa.Table) -> list[Any]:
    keys = sa.select(patient.c.patient_key).where(patient.c.domain == site.name)
    return site.rows(sa.select(table).where(table.c.patient_key.in_(keys)))


def holds(site: Domain) -> None:
    """What is true of a registry whatever has happened to it."""
    entries, sets, folders, associations = (rows(site, table) for table in OBJECTS)
    objects = {row.entry_uuid: row for row in (*entries, *sets, *folders, *associations)}
    assert len(objects) == len(entries) + len(sets) + len(folders) + len(associations)
    # Nothing dangles, and nothing stands alone.
    ends = [end for a in associations for end in (a.source, a.target)]
    assert set(ends) <= objects.keys()
    assert {row.entry_uuid for row in (*entries, *sets, *folders)} <= set(ends)
    # What leads to an object leads to one that is there, under its patient's key; and each can be reached.
    places = rows(site, locator)
    assert {place.entry_uuid for place in places} == objects.keys()
    assert all(objects[place.entry_uuid].patient_key == place.patient_key for place in places)
    assert all(place.nth in ("", place.entry_uuid) for place in places)
    # An association is found from either end, whoever has it.
    for item in associations:
        for end in (item.source, item.target):
            found = site(lambda store, end=end: store.associations_of([end]))  # type: ignore[misc]
            assert item.entry_uuid in {a.entry_uuid for a in found}
    # Of each logicalID one version is the latest, the last of those that stay, whatever was removed of them.
    for versioned in (entries, folders):
        for logical_id in {row.logical_id for row in versioned}:
            of_one = [row for row in versioned if row.logical_id == logical_id]
            assert [row.version for row in of_one if row.latest] == [max(row.version for row in of_one)]
            assert len({row.version for row in of_one}) == len(of_one)
    # A uniqueId that must be unique is; one that may come again does so with the same document.
    assert len({row.unique_id for row in sets}) == len(sets)
    for row in entries:
        assert {(o.hash, o.size) for o in entries if o.unique_id == row.unique_id} == {(row.hash, row.size)}
    # Status in the row and in the ebXML are one.
    found = site(lambda store: store.documents_by_uuid([row.entry_uuid for row in entries]))
    assert all(f'status="urn:oasis:names:tc:ebxml-regrep:StatusType:{d.status}"'.encode() in d.ebxml for d in found)
    # Merges lead to a living patient.
    with site.engine.connect() as connection:
        living = patients.all_of(connection, site.name)
        chains = [key for one in living for key in patients.chain(connection, site.name, one)]
    assert sorted(chains) == sorted({row.patient_key for row in rows(site, patient)})
