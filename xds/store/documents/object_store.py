"""Document bytes in an S3-compatible store, named by their SHA-256 as in a folder; ``obstore`` speaks to it.

Parts are staged in a folder of this node, hashed on the way in, and uploaded before a database row names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import obstore
import sqlalchemy as sa
from obstore.exceptions import BaseError
from obstore.store import S3Store

from xds.errors import Unusable
from xds.settings.sections import S3, Settings
from xds.store.documents.folder import SWEEP_SECONDS, BlobStore, Damaged, NotReachable, named, remove_old, verified
from xds.store.interface import Blobs
from xds.wire.spool import NotKept, Spooled

RANGE_BYTES = 8 * 1024 * 1024
"""Read, and uploaded, at once: each is a request with a time limit of its own."""

_PARALLEL = 16
"""Objects looked up at once."""

Lock: TypeAlias = Callable[[str], AbstractContextManager[None]]


class ObjectStore:
    """Bytes by their SHA-256, whole or not at all, in a bucket."""

    def __init__(self, store: S3Store, staging: Path, lock: Lock) -> None:
        self._store, self.staging, self._lock = store, staging, lock
        staging.mkdir(parents=True, exist_ok=True)

    def put(self, spooled: Spooled) -> None:
        """Upload a staged file under its content's name, whether it is there or not: it is young again.

        Raises:
            NotKept: the store does not take it.
        """
        key = _key(spooled.sha256)
        try:
            with self._lock(spooled.sha256):
                obstore.put(self._store, key, spooled.path, chunk_size=RANGE_BYTES, max_concurrency=2)
                found = obstore.head(self._store, key)
        except (BaseError, OSError) as problem:
            raise NotKept(type(problem).__name__) from None
        if found["size"] != spooled.size_bytes:
            raise NotKept("the object store holds another size than was sent")
        spooled.path.unlink(missing_ok=True)

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: the last chunk comes only if all of them are right.

        Raises:
            Damaged: gone, out of reach, of another size, or of other content.
        """
        return verified(self._ranges(sha256, size_bytes), sha256)

    def _ranges(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        for start in range(0, size_bytes, RANGE_BYTES):
            length = min(RANGE_BYTES, size_bytes - start)
            try:
                chunk = bytes(obstore.get_range(self._store, _key(sha256), start=start, length=length))
            except (BaseError, OSError):
                raise Damaged(sha256) from None
            if len(chunk) != length:
                raise Damaged(sha256)
            yield chunk

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        """Whether each of the bytes seem to be there, by SHA-256 and size: looked up, not read.

        Raises:
            NotReachable: the store does not answer.
        """
        if len(wanted) == 1:
            return [self._holds(*wanted[0])]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(lambda one: self._holds(*one), wanted))

    def _holds(self, sha256: str, size_bytes: int) -> bool:
        try:
            return bool(obstore.head(self._store, _key(sha256))["size"] == size_bytes)
        except FileNotFoundError:
            return False
        except (BaseError, OSError):
            raise NotReachable from None

    def names(self) -> Iterator[str]:
        """The SHA-256 of everything that is kept.

        Raises:
            NotReachable: the store does not answer.
        """
        return (sha256 for sha256, _ in self._listed())

    def _listed(self) -> Iterator[tuple[str, float]]:
        """What is kept, and when it was put."""
        try:
            for batch in obstore.list(self._store):
                for item in batch:
                    yield item["path"].rpartition("/")[2], item["last_modified"].timestamp()
        except (BaseError, OSError):
            raise NotReachable from None

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        """Remove staged files and objects that no row names, once they are old; return how many."""
        limit = (time.time() if now is None else now) - SWEEP_SECONDS
        removed = sum(remove_old(path, limit) for path in self.staging.iterdir() if path.is_file())
        for sha256, modified in self._listed():
            if modified < limit and not named(engine, sha256):
                with self._lock(sha256):
                    removed += self._removed(engine, sha256, limit)
        return removed

    def _removed(self, engine: sa.Engine, sha256: str, limit: float) -> bool:
        """Look again, now that nobody puts it; whether it was removed."""
        try:
            modified = obstore.head(self._store, _key(sha256))["last_modified"].timestamp()
            if modified >= limit or named(engine, sha256):
                return False
            obstore.delete(self._store, _key(sha256))
        except FileNotFoundError:  # another process was first
            return False
        except (BaseError, OSError):
            raise NotReachable from None
        return True


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def open_blobs(settings: Settings, engine: sa.Engine) -> Blobs:
    """The document store of a deployment.

    Raises:
        Unusable: ``server.documents`` names none that is known.
    """
    folder = BlobStore(settings.documents_folder)
    if not settings.server.documents.startswith("s3:"):
        return folder
    lock = folder.locked if engine.dialect.name == "sqlite" else _database_lock(engine)
    return ObjectStore(_bucket(settings.server.documents, settings.s3), folder.staging, lock)


def _bucket(url: str, settings: S3) -> S3Store:
    parts = urlsplit(url)
    if not parts.netloc:
        raise Unusable("server.documents: an object store is s3://BUCKET or s3://BUCKET/PREFIX")
    given: dict[str, Any] = {key: value for key in ("endpoint", "region") if (value := getattr(settings, key))}
    limits: Any = {
        "timeout": f"{settings.seconds:g}s", "connect_timeout": f"{min(settings.seconds, 10.0):g}s",
        "allow_http": settings.endpoint.startswith("http://"),
    }  # fmt: skip
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        virtual_hosted_style_request=not settings.path_style,
        client_options=limits,
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=settings.seconds)},
        **given,
    )


def _database_lock(engine: sa.Engine) -> Lock:
    """A lock that every node of a deployment sees: of a transaction, so that a pooler may stand between."""

    @contextmanager
    def locked(sha256: str) -> Iterator[None]:
        number = sa.func.hashtextextended(f"blob {sha256[:2]}", 0)
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            yield

    return locked
