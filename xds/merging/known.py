"""What is here already of the ids that submissions bring: asked once for many, and kept up as these are written.

Whoever asks has locked the patient and the uniqueIds: what is not here stays away until the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from xds.merging.outcome import NotCopied
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType
from xds.store.merging import Became, Merged, is_here
from xds.store.registry.sql_reader import SqlReader


class Known:
    """The objects that are here, by their ids, of those that are asked about."""

    def __init__(self, registry: SqlReader, items: Iterable[MetadataObject], keys: Collection[int]) -> None:
        """``keys``: those of the patient whom the items are of."""
        found, self._keys = list(items), frozenset(keys)
        named = [one for one in found if not isinstance(one, Association)]
        ids = {one.entry_uuid: "" for one in found} | {one.logical_id or "": "" for one in named}
        ids |= {end: "" for one in found if isinstance(one, Association) for end in (one.source, one.target)}
        sets = {one.unique_id for one in named if isinstance(one, SubmissionSet)}
        folders = {one.unique_id for one in named if isinstance(one, Folder)}
        entries = {one.unique_id for one in named if isinstance(one, DocumentEntry)}
        self._whose: dict[str, int] = {uuid: key for uuid, (_, key) in registry.kinds_of(filter(None, ids)).items()}
        self._sets = {one.unique_id for one in registry.submission_sets_by_unique_id(sets)} if sets else set[str]()
        self._folders: dict[str, set[str]] = {}
        for folder in registry.folders_by_unique_id(folders) if folders else ():
            self._folders.setdefault(folder.unique_id, set()).add(folder.logical_id)
        self._entries: dict[str, set[tuple[str, str]]] = {}
        for entry in registry.documents_by_unique_id(entries) if entries else ():
            self._entries.setdefault(entry.unique_id, set()).add((entry.logical_id, entry.hash or ""))

    def see_no_other(self, fresh: Sequence[MetadataObject], before: Mapping[str, Merged]) -> None:
        """That nothing of these is registered as something else's; ``before``: what was kept of the same source's.

        Raises:
            NotCopied: it is.
        """
        for item in fresh:
            if why := self._taken(item, before):
                raise NotCopied(Became.CONFLICT, why, item.entry_uuid)

    def _taken(self, item: MetadataObject, before: Mapping[str, Merged]) -> str:
        """Why an object cannot be registered; empty: it can."""
        if item.entry_uuid in self._whose:
            return "its entryUUID is registered here, and was not merged from there"
        if isinstance(item, Association):
            return ""
        if isinstance(item, SubmissionSet):
            return "its uniqueId is another submission set's here" if item.unique_id in self._sets else ""
        lid = item.logical_id or item.entry_uuid
        if lid != item.entry_uuid and lid in self._whose and not is_here(before.get(lid)):
            return "its logicalID is that of something that was registered here"
        if isinstance(item, Folder):
            return "its uniqueId is another folder's here" if self._folders.get(item.unique_id, {lid}) - {lid} else ""
        others = {hash_ for other, hash_ in self._entries.get(item.unique_id, set()) if other != lid}
        if others - ({item.hash.lower()} if item.hash else set()):
            return "its uniqueId is another document's here: of another hash, or of none"
        return ""

    def see_ends(self, fresh: Sequence[MetadataObject]) -> None:
        """
        Raises:
            NotCopied: what an association of these leads to is neither here nor among them, or is another patient's.
        """
        own = {item.entry_uuid for item in fresh}
        for item in fresh:
            if isinstance(item, Association):
                for end in {item.source, item.target} - own:
                    self._see_end(item, end)

    def _see_end(self, item: Association, end: str) -> None:
        key = self._whose.get(end)
        if key is None:
            why = "what it leads to is not here yet"
            raise NotCopied(Became.WAITING, why, item.entry_uuid, may_follow=True)
        # A member by reference alone may be of another patient (ITI TF-3: 4.2.2.1.1).
        refers = item.type == AssociationType.HAS_MEMBER and item.target == end
        if key not in self._keys and not (refers and item.submission_set_status is SubmissionSetStatus.REFERENCE):
            raise NotCopied(Became.CONFLICT, "what it leads to is another patient's here", item.entry_uuid)

    def add(self, fresh: Sequence[MetadataObject], key: int) -> None:
        """Note what has just been written under a patient's key."""
        for item in fresh:
            self._whose[item.entry_uuid] = key
            if isinstance(item, SubmissionSet):
                self._sets.add(item.unique_id)
            elif isinstance(item, Folder):
                self._folders.setdefault(item.unique_id, set()).add(item.logical_id or item.entry_uuid)
            elif isinstance(item, DocumentEntry):
                said = (item.logical_id or item.entry_uuid, (item.hash or "").lower())
                self._entries.setdefault(item.unique_id, set()).add(said)
