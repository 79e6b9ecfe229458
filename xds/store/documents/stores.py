"""The stores of a deployment's documents, as its settings name them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from obstore.exceptions import BaseError
from obstore.store import S3Store

from xds.errors import Unusable
from xds.settings.sections import S3, Settings, folder_of
from xds.store.documents.both import Both
from xds.store.documents.folder import PLAIN, BlobStore, Names, NotReachable
from xds.store.documents.generations import Copy, StoreKeys, by_whom
from xds.store.documents.object_store import Lock, ObjectStore
from xds.store.documents.sealing import OnceInClear, Sealing
from xds.store.documents.shelves import WITHIN, BucketShelf, FolderShelf
from xds.store.documents.wrapping import SETTING, wrapping_keys
from xds.store.interface import Blobs

DOCUMENTS, ALSO = "server.documents", "server.documents_also"

_KEYS = ("access_key_id", "secret_access_key", "session_token")
"""Whose keys an object store is asked with, as obstore calls them; their variables are called so, after AWS_."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where documents are: the setting that says so, its URL, or the folder, and the bucket's own settings.

    ``key_file``: of the keys that they are encrypted by, or a token's URI; empty: they are not.  ``only``: what of them
    is opened.
    """

    setting: str
    url: str
    folder: Path
    s3: S3
    keys: Mapping[str, str]
    key_file: str = ""
    only: Literal["", "sealed", "clear"] = ""

    @property
    def is_bucket(self) -> bool:
        return self.url.startswith("s3:")

    def __str__(self) -> str:
        return self.url if self.is_bucket else f"file:{self.folder}"

    @property
    def note(self) -> str:
        """What the database notes of it are called by: 32 hex digits."""
        said = f"{self} {self.s3.endpoint.rstrip('/') if self.is_bucket else ''}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def part(self, only: Literal["sealed", "clear"]) -> Place:
        """What of it is encrypted, or is not."""
        return replace(self, only=only)

    def bucket(self, within: str = "") -> S3Store:
        """The bucket; nothing is asked of it yet.

        Raises:
            Unusable: the URL names none, or its settings and keys do not fit each other.
        """
        parts = urlsplit(self.url)
        if not parts.netloc:
            raise Unusable(f"{self.setting}: an object store is s3://BUCKET or s3://BUCKET/PREFIX")
        given: dict[str, Any] = {
            "endpoint": self.s3.endpoint, "region": self.s3.region,
            "server_side_encryption": self.s3.encryption, "sse_kms_key_id": self.s3.encryption_key, **self.keys,
        }  # fmt: skip
        limits: Any = {
            "timeout": f"{self.s3.seconds:g}s", "connect_timeout": f"{min(self.s3.seconds, 10.0):g}s",
            "allow_http": self.s3.endpoint.startswith("http://"),
        }  # fmt: skip
        try:
            return S3Store(
                parts.netloc,
                prefix="/".join(filter(None, (parts.path.strip("/"), within))) or None,
                virtual_hosted_style_request=not self.s3.path_style,
                client_options=limits,
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=self.s3.seconds)},
                **{key: value for key, value in given.items() if value},
            )
        except BaseError as problem:
            raise Unusable(f"{self.setting}: {str(problem).splitlines()[0]}") from None

    def open(self, engine: sa.Engine, *, read_back: bool | None = None) -> Blobs:
        """The store; ``read_back``: other than its settings say.

        Raises:
            Unusable: the URL names none, the file of keys is none, or there is none named and documents are encrypted.
        """
        reads = self.s3.read_back if read_back is None else read_back
        if self.only == "clear" or not self.key_file:
            if not self.key_file and not self.is_bucket:
                try:
                    self.see_in_clear(FolderShelf(self.folder).read())
                except NotReachable as problem:
                    raise Unusable(f"{self.setting}: {self}: {problem}") from None
            return self._opened(engine, reads)
        keys = self.store_keys(engine)
        inner = self._opened(engine, reads, keys)
        sealing = Sealing(inner, keys)
        if isinstance(inner, ObjectStore):
            inner.given_back = sealing.given_back
        return sealing if self.only else OnceInClear(sealing, self._opened(engine, reads))

    def _opened(self, engine: sa.Engine, reads: bool, names: Names = PLAIN) -> BlobStore | ObjectStore:
        within = "" if names is PLAIN else WITHIN
        if not self.is_bucket:
            return BlobStore(self.folder, within, names)
        staging = BlobStore(self.folder).staging
        return ObjectStore(self.bucket(within), staging, self._lock(engine), read_back=reads, names=names)

    def _lock(self, engine: sa.Engine) -> Lock:
        return BlobStore(self.folder).locked if engine.dialect.name == "sqlite" else _database_lock(engine)

    def shelf(self, engine: sa.Engine) -> FolderShelf | BucketShelf:
        """Where its keys are."""
        return BucketShelf(self.bucket(WITHIN), self._lock(engine)) if self.is_bucket else FolderShelf(self.folder)

    def store_keys(self, engine: sa.Engine) -> StoreKeys:
        """The keys of what is encrypted; nothing is asked of the store yet.

        Raises:
            Unusable: the file of keys is none.
        """
        return StoreKeys(str(self), wrapping_keys(self.key_file), self.shelf(engine), Copy(engine, self.note))

    def see_in_clear(self, keys: bytes | None) -> None:
        """
        Raises:
            Unusable: the store has keys, although none of its documents are said to be encrypted.
        """
        if keys is not None:
            which = f"by the key {by_whom(keys)}" if by_whom(keys) else "by a key of an operator's"
            rule = f"{SETTING} must name where it is"
            raise Unusable(f"{self.setting}: documents in {self} are encrypted {which}: {rule}")


def places(settings: Settings) -> list[Place]:
    """Where documents are kept, and where they are read from beside that, if anywhere.

    Raises:
        Unusable: a setting names no store that is known, or both name one.
    """
    server = settings.server
    first = Place(DOCUMENTS, server.documents, settings.documents_folder, settings.s3, {}, server.documents_key)
    if not server.documents_also:
        return [first]
    is_bucket = server.documents_also.startswith("s3://")
    folder = settings.data / "documents" if is_bucket else folder_of(ALSO, server.documents_also)
    s3 = settings.s3 if settings.s3_also == S3() else settings.s3_also
    keys = {key: os.environ.get(f"ALSO_AWS_{key.upper()}", "") for key in _KEYS}
    also = Place(ALSO, server.documents_also, folder, s3, keys, server.documents_key)
    if _same(first, also):
        raise Unusable(f"{ALSO} is where {DOCUMENTS} is already: {also}")
    return [first, also]


def _same(one: Place, other: Place) -> bool:
    """By their names only: ``checking.are_one`` looks."""
    if one.is_bucket and other.is_bucket:
        first, second = ((place.url.strip("/"), place.s3.endpoint.rstrip("/")) for place in (one, other))
        return first == second
    if one.is_bucket or other.is_bucket:
        return False
    if one.folder.exists() and other.folder.exists():
        return one.folder.samefile(other.folder)
    return one.folder.resolve() == other.folder.resolve()


def open_blobs(settings: Settings, engine: sa.Engine) -> Blobs:
    """The documents of a deployment, wherever they are.

    Raises:
        Unusable: as ``places`` and ``Place.open``.
    """
    first, *also = (place.open(engine) for place in places(settings))
    return Both(first, also[0]) if also else first


def _database_lock(engine: sa.Engine) -> Lock:
    """A lock that every node of a deployment sees: of a transaction, so that a pooler may stand between."""

    @contextmanager
    def locked(sha256: str) -> Iterator[None]:
        number = sa.func.hashtextextended(f"blob {sha256[:2]}", 0)
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            yield

    return locked
