"""The Document Registry: takes a submission whole or not at all, and answers stored queries.

ITI TF-2: 3.42.4.1.3 (what registering entails), 3.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from xds.actors import metadata_removal, metadata_update
from xds.actors.metadata_removal import Removed
from xds.actors.outside import Outside, ends_outside, identical
from xds.actors.update_rules import unique_id_used
from xds.ebxml import rim
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.hl7.feed import Feed, FeedAction
from xds.metadata import from_ebxml
from xds.metadata.datatypes import Dtm
from xds.metadata.identifiers import Oid, PatientId, is_entry_uuid, new_entry_uuid
from xds.metadata.reading import UNREAD_PATIENT
from xds.metadata.submission import Submission, first_version
from xds.queries.catalogue import MULTI_PATIENT_QUERIES, STORED_QUERIES, StoredQuery
from xds.queries.clauses import of_iti_51
from xds.queries.returns import Answer, answer
from xds.rules import document_entry as entry_rules
from xds.rules import on_demand as kinds
from xds.rules import submission as submission_rules
from xds.rules.code_sets import ANY, CodeSets
from xds.store.registry.patients import NotMerged
from xds.store.registry.sql_registry import SqlRegistry, Taken


def read(
    objects: rim.RegistryObjectList, *, on_demand: bool = False, code_sets: CodeSets = ANY
) -> tuple[Submission, tuple[Finding, ...]]:
    """A submission that keeps every rule that can be checked without the registry, and what to warn of.

    ``on_demand``: its entries are on-demand ones, as ITI-61's are, and not stable ones, as ITI-42's.

    Raises:
        Refused: with everything that is wrong.
    """
    submission, findings = _judged(objects, on_demand=on_demand, code_sets=code_sets)
    _refuse(findings)
    return submission, findings


def _judged(
    objects: rim.RegistryObjectList, *, on_demand: bool, code_sets: CodeSets
) -> tuple[Submission, tuple[Finding, ...]]:
    """What can be read of a submission, and everything that is wrong with it in itself.

    What seems to be missing may be what is of no known kind: an association with that is left out of the submission.
    """
    found = from_ebxml.read(objects)
    submission = found.submission
    if found.without_set:  # that it has to be there says it all
        submission = replace(submission, associations=())
    of_set = () if found.without_set else submission_rules.RULES
    rules = [*of_set, *(kinds.ON_DEMAND_RULES if on_demand else kinds.STABLE_RULES)]
    of_whole = (submission_rules.holds_something, kinds.some_are_on_demand)
    findings = [f for rule in rules if not (found.unread and rule in of_whole) for f in rule(submission)]
    for entry in submission.document_entries:
        findings += [finding for rule in entry_rules.RULES for finding in rule(entry)]
    findings += code_sets.findings(submission)
    touching = {a.entry_uuid for a in submission.associations if {a.source, a.target} & found.unread}
    findings = [finding for finding in findings if finding.location not in touching]
    kept = tuple(a for a in submission.associations if a.entry_uuid not in touching)
    return replace(submission, associations=kept), (*found.findings, *findings)


def _refuse(findings: Sequence[Finding]) -> None:
    """Refuse a submission if it has an error.

    Raises:
        Refused: with everything that is wrong.
    """
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise Refused(findings)


class DocumentRegistry:
    """One affinity domain's registry."""

    def __init__(
        self,
        authorities: Iterable[Oid],
        *,
        open_patients: bool,
        most_results: int,
        most_references: int | None = None,
        refuse_unknown: bool = False,
        code_sets: Callable[[], CodeSets] = lambda: ANY,
        keeps_demographics: bool = True,
    ) -> None:
        """``keeps_demographics``: what a feed says of who patients are; they are found by it."""
        self._keeps_demographics = keeps_demographics
        self._authorities, self._open = frozenset(authorities), open_patients
        self._most = {"LeafClass": most_results, "ObjectRef": most_references or most_results}
        self._refuse_unknown, self._code_sets = refuse_unknown, code_sets

    def query(self, sent: AdhocQuery, store: SqlRegistry) -> Answer:
        """What a stored query finds (ITI-18).

        Raises:
            Refused: as ``queries.returns.answer`` does.
        """
        return self._answer(sent, store)

    def query_multi_patient(self, sent: AdhocQuery, store: SqlRegistry) -> Answer:
        """What a query about several patients finds (ITI-51).

        Raises:
            Refused: as ``queries.returns.answer`` does, by ITI-51's clauses.
        """
        try:
            return self._answer(sent, store, MULTI_PATIENT_QUERIES)
        except Refused as refused:
            raise Refused(map(of_iti_51, refused.findings)) from None

    def _answer(
        self, sent: AdhocQuery, store: SqlRegistry, queries: Mapping[str, StoredQuery] = STORED_QUERIES
    ) -> Answer:
        most = self._most.get(sent.return_type, 0)  # another is refused
        return answer(sent, store, most, queries, refuse_unknown=self._refuse_unknown)

    def submit(
        self, objects: rim.RegistryObjectList, store: SqlRegistry, *, on_demand: bool = False
    ) -> tuple[Finding, ...]:
        """Read and register a submission (ITI-42; ``on_demand``, ITI-61); return what to warn of.

        Raises:
            Refused: with everything that is wrong; the caller rolls back.
        """
        submission, findings = self.judged(objects, on_demand=on_demand)
        self.register(submission, store, findings)
        return findings

    def judged(
        self, objects: rim.RegistryObjectList, *, on_demand: bool = False
    ) -> tuple[Submission, tuple[Finding, ...]]:
        """What can be read of a submission, and what is wrong with it in itself: to be told together with the rest.

        It asks nothing of the registry, so that nobody waits for it.
        """
        return _judged(objects, on_demand=on_demand, code_sets=self._code_sets())

    def register(self, submission: Submission, store: SqlRegistry, findings: Sequence[Finding] = ()) -> Submission:
        """Write a submission in the caller's database transaction; return it as registered.

        ``findings``: what is known to be wrong with it, or to be warned of.

        Raises:
            Refused: with everything that is wrong; the caller rolls back.
        """
        ids = _new_ids(submission)
        try:
            return self._registered(_resolved(submission, ids, datetime.now(UTC)), store, findings)
        except Refused as refused:
            sent = {new: old for old, new in ids.items()}  # objects are told by the ids that their sender knows
            told = (replace(f, location=sent.get(f.location, f.location)) for f in refused.findings)
            raise Refused([*findings, *told]) from None

    def _registered(self, submission: Submission, store: SqlRegistry, findings: Sequence[Finding]) -> Submission:
        """The submission, written.

        Raises:
            Refused: with what is wrong beside the findings, or with nothing more than these.
        """
        patient_key, chain = self._alone_with_patient(submission, store)
        outside = Outside(submission, store)
        more = [*identical(submission, store), *outside.findings(chain)]
        if more or any(finding.severity is Severity.ERROR for finding in findings):
            raise Refused(more)
        try:
            store.insert(patient_key, submission.objects())
        except Taken:  # another transaction was first
            raise Refused([unique_id_used(submission.submission_set)]) from None
        outside.take_effect(patient_key)
        return submission

    def _alone_with_patient(self, submission: Submission, store: SqlRegistry) -> tuple[int, Sequence[int]]:
        """The patient's key, and all that stand for the patient; until the commit nobody changes what they have.

        Raises:
            Refused: the patient is unknown, or merged away.
        """
        patient_id = submission.submission_set.patient_id
        uids = [entry.unique_id for entry in submission.document_entries]
        uids += [folder.unique_id for folder in submission.folders]
        uids.append(submission.submission_set.unique_id)
        # With whom the submission is about, whoever has what it points to: that stays until it is registered.
        ends = ends_outside(submission)
        others = {key for _, key in store.kinds_of(ends).values()}
        ids = [*ends, *uids, *(item.entry_uuid for item in submission.objects())]
        remembered = store.remembered_key(patient_id)
        if remembered is not None:
            chain = store.alone_with(patient_id, {remembered, *others}, uids, ids)
            if chain and chain[0] == remembered:
                return remembered, chain
            store.forget(patient_id)  # merged away, or made in a transaction that was undone: then it may be another's
        patient_key = self._patient(submission, store)
        chain = [] if patient_key is None else store.alone_with(patient_id, {patient_key, *others}, uids, ids)
        if patient_key is None or not chain:  # or merged away while we waited
            outside = Outside(submission, store)
            raise Refused([*_unknown(submission), *identical(submission, store), *outside.findings(None)])
        return patient_key, chain

    def update(
        self, objects: rim.RegistryObjectList, store: SqlRegistry, *, restricted: bool = False
    ) -> tuple[Finding, ...]:
        """Update metadata, all that a submission says or nothing (ITI-57; ``restricted``, ITI-92); return warnings.

        Raises:
            Refused: as ``metadata_update.update`` does.
        """
        return metadata_update.update(objects, store, restricted=restricted, code_sets=self._code_sets())

    def remove(self, ids: Sequence[str], store: SqlRegistry) -> list[Removed]:
        """Remove metadata, all that is named or nothing (ITI-62).

        Raises:
            Refused: as ``metadata_removal.remove`` does.
        """
        return metadata_removal.remove(ids, store)

    def feed(self, feed: Feed, store: SqlRegistry) -> list[PatientId]:
        """Make a patient known, or let one go on as another (ITI-8, ITI-44); return those of the domain concerned.

        A merge names the subsumed patient first.  Identifiers of other authorities are nothing to us.  What is said of
        who the patient is takes the place of what was said before.

        Raises:
            Refused: no identifier is of this domain, or the two cannot be merged; then nothing has changed.
        """
        if feed.action is FeedAction.REVISE:
            revised = [one for one in feed.patient_ids if one.authority in self._authorities]
            self._said(feed, revised, store)
            return revised
        patient_ids = self._ours(feed.patient_ids, "the patient")
        if feed.action is FeedAction.MERGE:
            surviving, (subsumed, *more) = patient_ids[0], self._ours(feed.subsumed, "the subsumed patient")
            if set(more) - {subsumed}:
                rule = "one patient is subsumed in a message (ITI TF-2: 3.8.4.2.2, 3.44.4.2.2)"
                raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, rule)])
            try:
                store.merge(subsumed, surviving)
            except NotMerged as problem:
                raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, f"{problem} (ITI TF-2: 3.8.4.2.3)")]) from None
            self._said(feed, [surviving], store)
            return [subsumed, surviving]
        for patient_id in patient_ids:
            store.add_patient(patient_id)
        self._said(feed, patient_ids, store)
        return patient_ids

    def _said(self, feed: Feed, patient_ids: Iterable[PatientId], store: SqlRegistry) -> None:
        """Keep who the patients of a feed are."""
        if feed.demographics is not None and self._keeps_demographics:
            store.keep_demographics(feed.demographics, *patient_ids)

    def is_ours(self, patient_id: PatientId) -> bool:
        """Whether an identifier is of an assigning authority of this affinity domain."""
        return patient_id.authority in self._authorities

    def _ours(self, patient_ids: Iterable[PatientId], whose: str) -> list[PatientId]:
        found = [one for one in patient_ids if one.authority in self._authorities]
        if not found:
            rule = f"no identifier of {whose} is of an assigning authority of this affinity domain (ITI TF-2: 3.8.4)"
            raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, rule)])
        return found

    def _patient(self, submission: Submission, store: SqlRegistry) -> int | None:
        """The patient's key; where the domain is open, of a patient made now; None of one who is unknown."""
        patient_id = submission.submission_set.patient_id
        key = store.patient_key(patient_id)
        if key is None and self._open and patient_id.authority in self._authorities:
            store.add_patient(patient_id)  # or another submission has, since we looked
            key = store.patient_key(patient_id)
        return key


def _unknown(submission: Submission) -> Iterator[Finding]:
    if submission.submission_set.patient_id != UNREAD_PATIENT:
        # Table 4.2.4.1-2 wants the patient id in codeContext.
        yield Finding(ErrorCode.UNKNOWN_PATIENT_ID, str(submission.submission_set.patient_id))


def _new_ids(submission: Submission) -> dict[str, str]:
    """A UUID for each symbolic id of a submission."""
    return {item.entry_uuid: new_entry_uuid() for item in submission.objects() if not is_entry_uuid(item.entry_uuid)}


def _resolved(submission: Submission, ids: Mapping[str, str], now: datetime) -> Submission:
    """Symbolic ids replaced everywhere, everything Approved at version 1, folders updated now."""

    def end(entry_uuid: str) -> str:
        return ids.get(entry_uuid, entry_uuid)

    def state(entry_uuid: str) -> dict[str, Any]:
        return first_version(end(entry_uuid))

    return Submission(
        replace(submission.submission_set, **state(submission.submission_set.entry_uuid)),
        tuple(replace(e, **state(e.entry_uuid)) for e in submission.document_entries),
        tuple(replace(f, **state(f.entry_uuid), last_update_time=Dtm.of(now)) for f in submission.folders),
        tuple(
            replace(a, **state(a.entry_uuid), source=end(a.source), target=end(a.target))
            for a in submission.associations
        ),
    )
