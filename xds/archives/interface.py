"""What an Imaging Document Source asks of the place where its images live.

RAD-69 (Retrieve Imaging Document Set) finds instances by study, series and SOP Instance UID and gives each
in a transfer syntax that the consumer lists; RAD-68 publishes what ``studies`` yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from xds.imaging.manifest import Patient
from xds.imaging.study import Problem, Study

CHUNK_BYTES = 256 * 1024


class NotEncodable(Exception):
    """An instance cannot be given in any transfer syntax that is listed; the message says why."""


class Gone(Exception):
    """What the archive knew of is no longer there, or is not what it was."""


class Mislaid(Gone):
    """A copy of it was damaged, and is forgotten: it comes from the archive when it is asked for again."""


class NotAnswering(Exception):
    """The archive does not answer now, or answers what cannot be understood; later it may."""


class SpoolFull(Exception):
    """There is no room for one more instance to be transcoded; later there may be."""


@dataclass(frozen=True, slots=True)
class Held:
    """One instance that the archive has.

    ``size_bytes`` and ``sha256`` are of the file as it lies in the archive; ``locator`` and the rest mean
    something to the archive only.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size_bytes: int
    sha256: str | None
    locator: str
    modified_ns: int = 0
    dataset_begin: int = 0
    is_part10: bool = True
    has_odd_preamble: bool = False  # which is not given out


class Ready(Protocol):
    """One instance as a Part 10 file in one of the transfer syntaxes listed, ready to be sent.

    A context manager: leaving it frees what it holds.  ``sha256`` is ``None`` where it is not known
    beforehand.
    """

    @property
    def transfer_syntax_uid(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def sha256(self) -> str | None: ...

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The file's bytes, ``size_bytes`` of them, never whole in memory.

        The last chunk comes only when all bytes were found to be what the archive knew.

        Raises:
            Gone: they were not; what was sent of them must not be taken for the instance.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did, in files."""

    added: int
    changed: int
    removed: int
    unchanged: int
    problems: int  # files that hold no instance that could be listed or served, new or old
    mixing: tuple[str, ...] = ()  # studies that a file of another patient was put into, which is left out


Progress = Callable[[int, int], None]
"""Told how many files of how many are done."""


class Changes(Protocol):
    """What an archive says of its own accord."""

    def studies(self) -> set[str] | None:
        """Studies that have changed since the last call, by their UIDs; None where everything is to be looked at.

        Raises:
            NotAnswering: it does not say.
        """
        ...


class Archive(Protocol):
    """Safe to use from several threads and processes at once."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether opening an instance waits for another machine, so that several are opened at once."""
        ...

    def find(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Held | None:
        """The instance, if it is in that series of that study and is not rejected."""
        ...

    def members(self, study_instance_uid: str, series_instance_uid: str = "", sop_instance_uid: str = "") -> list[Held]:
        """The instances of a study, or of a series of it, or one, that are not rejected; by series and number."""
        ...

    def fingerprints(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        """Every study, or the one, by its UID, with a text that changes whenever what it holds does."""
        ...

    def patient(self, study_instance_uid: str) -> Patient | None:
        """Whom a study shows, as one of its images says; None where it has none.

        Raises:
            NotAnswering: an archive elsewhere does not say.
        """
        ...

    def studies(self) -> Iterator[Study]:
        """Every study that may be published, in order of UID."""
        ...

    def study(self, study_instance_uid: str) -> Study | None:
        """One study, if it may be published."""
        ...

    def problems(self) -> Iterator[Problem]:
        """What is not published, and why, as far as the last refresh saw."""
        ...

    def refresh(self, progress: Progress | None = None) -> Refreshed:
        """Take notice of what has changed in the place itself."""
        ...

    def open(self, held: Held, transfer_syntaxes: Sequence[str]) -> Ready:
        """An instance in one of the transfer syntaxes: as it is stored, if that is listed, else
        uncompressed, if that is.

        Raises:
            NotEncodable: it cannot be given in any of them.
            Gone: it is no longer there, or has changed.
            NotAnswering: the archive does not answer; every method of an archive elsewhere may say so.
            SpoolFull: it would have to be transcoded and there is no room now.
        """
        ...
