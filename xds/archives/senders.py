"""Who sends instances, and who stored a study: kept for as long as there are images, so that nobody else changes it.

The index of images can be deleted at any time, and each node has its own; this cannot, and is the same for all that
share a tree: so it is a file in the tree for each study.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xds.system.durable import sync_file, sync_folder
from xds.system.whose import mark

_LOCKS = 64  # files by which studies are locked


@dataclass(frozen=True, slots=True)
class Sender:
    """Whoever sends, told from others by ``key``: a digest of the certificate's public key, else title and address.

    ``is_administrator``: the peer may change what others stored.
    """

    key: str
    is_administrator: bool = False


UNKNOWN = Sender("unknown")
"""Of whom nothing is known: one and the same for all of them."""


def may_take_back(sender: Sender, stored_by: str) -> bool:
    """Whether a sender may reject images of a study: who stored it, or an administrator of documents."""
    return sender.is_administrator or (bool(stored_by) and sender.key == stored_by)


class StoredBy:
    """The senders of studies, by Study Instance UID."""

    def __init__(self, folder: Path, before: Path | None = None) -> None:
        """``before``: where it was kept by versions before."""
        self._folder, self._places = folder, (folder, before) if before else (folder,)

    @contextmanager
    def alone_with(self, study_instance_uid: str) -> Iterator[None]:
        """Nobody else puts anything into this study meanwhile, from whichever node.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = zlib.crc32(study_instance_uid.encode()) % _LOCKS
        lock = os.open(self._folder / f".lock-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def of(self, study_instance_uid: str) -> str:
        """The key of who stored a study; empty where it was put into the folder by hand."""
        for folder in self._places:
            try:
                return (folder / study_instance_uid).read_text("utf-8")
            except FileNotFoundError:
                continue
        return ""

    def note(self, study_instance_uid: str, sender: Sender) -> None:
        """Note who stores a study, on disk for good.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = self._folder / f".{study_instance_uid}.{mark()}"
        written.write_text(sender.key, "utf-8")
        sync_file(written)
        written.replace(self._folder / study_instance_uid)
        sync_folder(self._folder)
