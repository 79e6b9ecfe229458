"""A tree of DICOM files as an archive.

The tree is only read here; ``intake`` adds to it.  Symbolic links are not followed: within the tree they would name
a file twice, out of it they would give away what is not the archive's.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from xds.archives.helpers import Helpers
from xds.archives.index import Entry, Index
from xds.archives.interface import Gone, Held, Progress, Ready, Refreshed
from xds.archives.making import transcoded
from xds.archives.ready import ReadyFile
from xds.archives.same import is_same
from xds.archives.senders import StoredBy
from xds.archives.spool import Spool
from xds.imaging import part10, text
from xds.imaging.group import is_another
from xds.imaging.instance import InstanceFacts, NotAnInstance, read_file
from xds.imaging.manifest import Patient
from xds.imaging.study import STORED_BY, Problem, Study, files, studies_of

SPOOL_BYTES = 8 * 1024 * 1024 * 1024
"""Room for transcoded instances that are being sent, a process."""

_MIXES = "of another patient than its study shows: left out"
_BATCH = 200


class FolderArchive:
    """``interface.Archive`` over a folder."""

    is_elsewhere = False

    def __init__(
        self,
        folder: Path,
        index: Path,
        spool: Path,
        *,
        zone: str = "UTC",
        fallback_character_set: str = "",
        spool_bytes: int = SPOOL_BYTES,
        helpers: int = 2,
        decode_seconds: float = 120.0,
    ) -> None:
        """Open it with what its index knows, which may be nothing: ``refresh`` reads the tree.

        ``zone`` is where times without an offset of their own are from; ``fallback_character_set`` is of
        files that declare none.  ``helpers`` processes transcode at once, each instance for no longer than
        ``decode_seconds``.

        Raises:
            OSError: the folder is not there, or the index or the spool cannot be made.
            ValueError: there is no zone of that name.
        """
        text.zone(zone)
        self.root = folder.resolve(strict=True)
        self._zone, self._fallback = zone, fallback_character_set
        self._index = Index(index, self.root, made_of=f"{self.root}\n{fallback_character_set}")
        self.stored_by = StoredBy(self.root / STORED_BY, index.with_name(f"{index.stem}-stored-by"))
        self._spool = Spool(spool, spool_bytes)
        self._helpers = Helpers(helpers, seconds=decode_seconds)

    def find(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Held | None:
        return self._index.find(study_instance_uid, series_instance_uid, sop_instance_uid)

    def members(self, study_instance_uid: str, series_instance_uid: str = "", sop_instance_uid: str = "") -> list[Held]:
        return self._index.members(study_instance_uid, series_instance_uid, sop_instance_uid)

    def fingerprints(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        return iter(self._index.fingerprints(study_instance_uid))

    def studies(self) -> Iterator[Study]:
        for uid in self._index.study_uids():
            yield from studies_of(self._index.study(uid), zone=self._zone).studies

    def patient(self, study_instance_uid: str) -> Patient | None:
        return self._index.patient(study_instance_uid)

    def study(self, study_instance_uid: str) -> Study | None:
        found = studies_of(self._index.study(study_instance_uid), zone=self._zone).studies
        return found[0] if found else None

    def problems(self) -> Iterator[Problem]:
        for path, problem in self._index.problems():
            yield Problem(self.root / path, problem)
        for uid in self._index.study_uids():
            yield from studies_of(self._index.study(uid), zone=self._zone).problems

    def close(self) -> None:
        """End the helper processes and close this thread's connection."""
        self._helpers.close()
        self._index.close()

    def refresh(self, progress: Progress | None = None) -> Refreshed:
        """Read new and changed files, forget those that are gone.  One process does at a time; others wait.

        Raises:
            OSError: the folder itself cannot be listed.
        """
        with self._index.alone("refresh"):
            known = self._index.stamps()
            present = {self._relative(path): _stamp(path) for path in files(self.root)}
            stale = [path for path, stamp in present.items() if known.get(path) != stamp]
            gone = known.keys() - present.keys()
            if gone or any(path in known for path in stale):  # a study may have been put right
                stale += sorted(set(self._index.with_problem(_MIXES)) & present.keys() - set(stale))
            self._index.remove(gone)
            mixing = _Mixing(self._index, stale)
            for begin in range(0, len(stale), _BATCH):
                batch = []
                for number, path in enumerate(stale[begin : begin + _BATCH], begin + 1):
                    batch.append(mixing.left_out(self._entry(path)))
                    if progress:
                        progress(number, len(stale))
                self._index.store(batch)
            changed = sum(path in known for path in stale)
            return Refreshed(
                added=len(stale) - changed,
                changed=changed,
                removed=len(gone),
                unchanged=len(present) - len(stale),
                problems=self._index.count_problems(),
                mixing=tuple(mixing.found),
            )

    def took(self, path: Path) -> None:
        """A new file of the tree, known at once."""
        self._index.store([self._entry(self._relative(path))])

    def look_at(self, study_instance_uid: str) -> None:
        """Know what another node has put in of a study of which nothing is known here."""
        folder = self.root / study_instance_uid
        if folder.is_dir() and not self.patients(study_instance_uid):
            self._index.store([self._entry(self._relative(path)) for path in files(folder)])

    def patients(self, study_instance_uid: str) -> list[Patient]:
        """All whom the instances of a study show, those that are rejected too; none where there is no such study."""
        return self._index.patients(study_instance_uid)

    def description(self, study_instance_uid: str) -> str:
        """What a study is called; empty where that is not said."""
        return next(filter(None, (one.study_description for one in self._index.study(study_instance_uid, 20))), "")

    def is_same(self, one: Path, other: Path) -> bool:
        """Whether two files are one instance in two encodings; see ``same.is_same``."""
        return is_same(one, other, self._spool, self._helpers)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _entry(self, relative: str) -> Entry:
        path = self.root / relative
        size, modified = _stamp(path)
        try:
            if path.is_symlink():
                raise NotAnInstance("a symbolic link, which is not followed")
            found = read_file(path, fallback_character_set=self._fallback)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except NotAnInstance as problem:
            return Entry(relative, size, modified, problem=str(problem))
        except OSError as problem:
            return Entry(relative, size, modified, problem=f"cannot be read: {problem.strerror}")
        if _stamp(path) != (size, modified):
            # The time of no file, so that the next refresh reads it again.
            return Entry(relative, size, -1, problem="changed while it was read")
        if isinstance(found, InstanceFacts):
            return Entry(relative, size, modified, sha256, found)
        return Entry(relative, size, modified, sha256, rejects=found.instances)

    def open(self, held: Held, transfer_syntaxes: Sequence[str]) -> Ready:
        path = f"{self.root}/{held.locator}"
        if _stamp(path) != (held.size_bytes, held.modified_ns) or not self._is_within(held.locator):
            raise Gone("the file has changed or is not there any more")
        if held.transfer_syntax_uid in transfer_syntaxes:
            return self._as_stored(held, path)
        stamp = (held.size_bytes, held.modified_ns)
        return transcoded(
            held, Path(path), transfer_syntaxes, self._spool, self._helpers, lambda: _stamp(path) == stamp
        )

    def _is_within(self, locator: str) -> bool:
        """Whether no folder on the way to a file has become a link, which might lead out of the tree."""
        folder, parts = str(self.root), locator.split("/")[:-1]
        for part in parts:
            folder = f"{folder}/{part}"
            try:
                if not stat.S_ISDIR(os.lstat(folder).st_mode):
                    return False
            except OSError:
                return False
        return ".." not in parts

    def _as_stored(self, held: Held, path: str) -> Ready:
        head = b""
        if not held.is_part10:
            head = part10.file_head(held.sop_class_uid, held.sop_instance_uid, held.transfer_syntax_uid)
        return ReadyFile(
            path,
            transfer_syntax_uid=held.transfer_syntax_uid,
            file_bytes=held.size_bytes,
            file_sha256=held.sha256,
            modified_ns=held.modified_ns,
            head=head,
            skip_bytes=0 if held.is_part10 else held.dataset_begin,
            without_preamble=held.has_odd_preamble,
        )


class _Mixing:
    """What files that are read in a refresh do to studies whose other files stay as they are.

    A file of another patient than these show is left out, so that the study is not: somebody else's, or a mistake.
    Where all of a study's files are new or changed nobody knows which is right; then it is left out whole.
    """

    def __init__(self, index: Index, stale: Iterable[str]) -> None:
        self._index, self._stale = index, frozenset(stale)
        self._shown: dict[str, list[Patient]] = {}
        self.found: dict[str, None] = {}

    def left_out(self, entry: Entry) -> Entry:
        """The entry, or what is wrong with it."""
        if entry.facts is None:
            return entry
        study = entry.facts.study_instance_uid
        if study not in self._shown:
            whose = self._index.whose(study)
            self._shown[study] = list(dict.fromkeys(one for path, one in whose if path not in self._stale))
        if not any(is_another(one, entry.facts.patient) for one in self._shown[study]):
            return entry
        self.found[study] = None
        return Entry(entry.path, entry.size_bytes, entry.modified_ns, problem=_MIXES)


def _stamp(path: str | Path) -> tuple[int, int]:
    """Size and time of change of a file; of a link, or of none, of no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (-1, -1)
