"""What has changed in an Orthanc, as it says itself: only that is looked at, not the whole archive each time.

Orthanc's REST API: ``/changes`` numbers what happened; a study is ``StableStudy`` when nothing has come for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xds.archives.interface import Gone, NotAnswering
from xds.archives.web import Web

PAGE = 1000
"""Changes asked for at once."""

MOST = 100_000
"""Changes that are followed one by one; after more, everything is looked at."""


class OrthancChanges:
    """``interface.Changes`` of an Orthanc by its REST API.

    Its log says nothing of what is removed, and forgets that it ever came: what is missing is told by the count of
    all instances.
    """

    def __init__(self, web: Web) -> None:
        self._web, self._since, self._count = web, -1, 0

    def studies(self) -> set[str] | None:
        """See ``Changes``.

        Raises:
            NotAnswering: it does not say.
        """
        try:
            return self._changed()
        except (Gone, NotAnswering) as problem:
            self._since = -1  # what was read of it already is lost: everything is to be looked at
            raise NotAnswering(f"the archive's change log: {problem}") from None

    def _changed(self) -> set[str] | None:
        if self._since < 0:
            self._start()
            return None
        found, added, since = set[str](), 0, self._since
        for change in self._new():
            kind = change.get("ChangeType")
            added += kind == "NewInstance"
            if kind == "StableStudy":
                found.add(str(change.get("ID", "")))
            if self._since - since > MOST:
                self._start()
                return None
        self._count += added
        if self._instances() < self._count:
            self._start()
            return None
        return {uid for uid in map(self._uid, found) if uid}

    def _start(self) -> None:
        """From now on; what is there now is to be looked at."""
        self._since = _number(self._web.json("/changes", last=""), "Last")
        self._count = self._instances()

    def _instances(self) -> int:
        return _number(self._web.json("/statistics"), "CountInstances")

    def _new(self) -> Iterator[dict[str, Any]]:
        while True:
            page = self._web.json("/changes", since=str(self._since), limit=str(PAGE))
            changes = page.get("Changes") if isinstance(page, dict) else None
            if not isinstance(changes, list):
                raise NotAnswering("the archive's answer is no list of changes")
            self._since = _number(page, "Last")
            yield from (change for change in changes if isinstance(change, dict))
            if page.get("Done", True) or not changes:
                return

    def _uid(self, orthanc_id: str) -> str:
        """The Study Instance UID; empty where the study is gone again, of which there is a change of its own."""
        try:
            study = self._web.json(f"/studies/{orthanc_id}")
        except Gone:
            return ""
        tags = study.get("MainDicomTags") if isinstance(study, dict) else None
        return str(tags.get("StudyInstanceUID", "")) if isinstance(tags, dict) else ""


class OrthancStamps:
    """What tells an Orthanc's instances in one state from those in another: the name of the file that it keeps of each.

    It is another one whenever an instance is written again, or made anew from what was changed.
    """

    def __init__(self, web: Web) -> None:
        self._web = web

    def of(self, study_instance_uid: str) -> dict[str, str]:
        """Of a study's instances, by SOP Instance UID.

        Raises:
            NotAnswering: it does not say.
        """
        wanted = {"Level": "Instance", "Expand": True, "Query": {"StudyInstanceUID": study_instance_uid}}
        try:
            answer = self._web.json("/tools/find", told=wanted)
        except Gone as problem:
            raise NotAnswering(f"the archive's files: {problem}") from None
        found = {}
        for one in answer if isinstance(answer, list) else ():
            tags, file = (one.get(key) for key in ("MainDicomTags", "FileUuid")) if isinstance(one, dict) else (0, 0)
            if isinstance(tags, dict) and isinstance(file, str) and file:
                found[str(tags.get("SOPInstanceUID", ""))] = file
        return found


def _number(page: Any, key: str) -> int:
    value = page.get(key) if isinstance(page, dict) else None
    if not isinstance(value, int):
        raise NotAnswering("the archive's changes have no numbers")
    return value
