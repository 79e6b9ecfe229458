"""Where a store's own keys lie: a small file beside its encrypted documents (``generations.py``)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from xds.errors import Unusable
from xds.store.documents.folder import BlobStore, NotReachable
from xds.store.documents.object_store import Lock
from xds.system import private
from xds.system.durable import sync_folder

WITHIN, FILE = "sealed", "keys.json"
"""The folder of what is encrypted, where no earlier version of xds looks for what it may sweep; and the file in it."""

_LOCK = "0" * 64
FILE_BYTES = 4 * 1024 * 1024


class FolderShelf:
    """In a folder.  What may not be read or written is ``Unusable``, with its path."""

    def __init__(self, folder: Path) -> None:
        """``folder``: that of the documents."""
        self._top, self._folder = folder, folder / WITHIN

    def read(self) -> bytes | None:
        try:
            return (self._folder / FILE).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise self._refusal(problem) from None

    def write(self, data: bytes) -> None:
        try:
            self._folder.mkdir(exist_ok=True, mode=0o700)
            private.write(self._folder / FILE, data, replaces=True)
            sync_folder(self._folder)
            sync_folder(self._top)
        except OSError as problem:
            raise self._refusal(problem) from None

    def _refusal(self, problem: OSError) -> NotReachable | Unusable:
        if isinstance(problem, PermissionError):  # it does not pass by itself
            return Unusable(f"{self._folder / FILE}: {problem.strerror}: it must be of the user whom the service is")
        return NotReachable(problem.strerror)

    def locked(self) -> AbstractContextManager[None]:
        return BlobStore(self._top).locked(_LOCK)

    def is_bare(self) -> bool:
        return next(self._folder.glob("??/??/*"), None) is None


class BucketShelf:
    """In a bucket."""

    def __init__(self, bucket: S3Store, lock: Lock) -> None:
        """``bucket``: within it only what is encrypted."""
        self._bucket, self._lock = bucket, lock

    def read(self) -> bytes | None:
        try:
            found = obstore.get(self._bucket, FILE)
            return None if found.meta["size"] > FILE_BYTES else bytes(found.bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as problem:
            raise NotReachable(type(problem).__name__) from None

    def write(self, data: bytes) -> None:
        try:
            obstore.put(self._bucket, FILE, data)
            if self.read() != data:
                raise NotReachable("the object store holds something else than was sent")
        except (BaseError, OSError) as problem:
            raise NotReachable(type(problem).__name__) from None

    def locked(self) -> AbstractContextManager[None]:
        return self._lock(_LOCK)

    def is_bare(self) -> bool:
        try:
            return not any(batch for batch in islice(obstore.list(self._bucket), 1))
        except (BaseError, OSError) as problem:
            raise NotReachable(type(problem).__name__) from None
