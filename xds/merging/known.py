"""What is here already of the ids that submissions bring: asked once for many, and kept up as these are written.

Whoever asks has locked the patient and the uniqueIds: what is not here stays away until the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xds.merging.outcome import NotCopied
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.store.merging import Became
from xds.store.registry.sql_reader import SqlReader


class Known:
    """The objects that are here, by their ids, of those that are asked about."""

    def __init__(self, registry: SqlReader, items: Iterable[MetadataObject]) -> None:
        found = list(items)
        ends = {end for one in found if isinstance(one, Association) for end in (one.source, one.target)}
        named = [one for one in found if not isinstance(one, Association)]
        sets = {one.unique_id for one in named if isinstance(one, SubmissionSet)}
        folders = {one.unique_id for one in named if isinstance(one, Folder)}
        entries = {one.unique_id for one in named if isinstance(one, DocumentEntry)}
        self._uuids = set(registry.kinds_of({one.entry_uuid for one in found} | ends))
        self._sets = {one.unique_id for one in registry.submission_sets_by_unique_id(sets)} if sets else set[str]()
        self._folders: dict[str, set[str]] = {}
        for folder in registry.folders_by_unique_id(folders) if folders else ():
            self._folders.setdefault(folder.unique_id, set()).add(folder.logical_id)
        self._hashes: dict[str, set[str]] = {}
        for entry in registry.documents_by_unique_id(entries) if entries else ():
            self._hashes.setdefault(entry.unique_id, set()).update({entry.hash} if entry.hash else ())

    def see_no_other(self, fresh: Sequence[MetadataObject]) -> None:
        """
        Raises:
            NotCopied: an id of these is registered here already, as something else's.
        """
        for item in fresh:
            if why := self._taken(item):
                raise NotCopied(Became.CONFLICT, why, item.entry_uuid)

    def _taken(self, item: MetadataObject) -> str:
        """Why an object cannot be registered; empty: it can."""
        if item.entry_uuid in self._uuids:
            return "its entryUUID is registered here, and was not merged from there"
        if isinstance(item, SubmissionSet) and item.unique_id in self._sets:
            return "its uniqueId is another submission set's here"
        if isinstance(item, Folder) and self._folders.get(item.unique_id, set()) - {item.logical_id}:
            return "its uniqueId is another folder's here"
        if isinstance(item, DocumentEntry) and self._hashes.get(item.unique_id, set()) - _hash(item):
            return "its uniqueId is another document's here: of another hash"
        return ""

    def see_ends(self, fresh: Sequence[MetadataObject]) -> None:
        """
        Raises:
            NotCopied: what an association of these leads to is neither here nor among them.
        """
        own = {item.entry_uuid for item in fresh} | self._uuids
        for item in fresh:
            if isinstance(item, Association) and not {item.source, item.target} <= own:
                why = "what it leads to is not here yet"
                raise NotCopied(Became.WAITING, why, item.entry_uuid, may_follow=True)

    def add(self, fresh: Sequence[MetadataObject]) -> None:
        """Note what has just been written."""
        for item in fresh:
            self._uuids.add(item.entry_uuid)
            if isinstance(item, SubmissionSet):
                self._sets.add(item.unique_id)
            elif isinstance(item, Folder):
                self._folders.setdefault(item.unique_id, set()).add(item.logical_id or item.entry_uuid)
            elif isinstance(item, DocumentEntry):
                self._hashes.setdefault(item.unique_id, set()).update(_hash(item))


def _hash(entry: DocumentEntry) -> set[str]:
    return {entry.hash.lower()} if entry.hash else set()
