"""Files of audit logs in a bucket: each is put once, and read back before it counts.

Nothing is asked of the store that some do not keep: no condition, no checksum of its own.  A bucket with object lock
keeps them by its own default retention, so that whoever has this node's keys cannot shorten it; here it is only looked
at.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import obstore
import urllib3
from obstore.exceptions import BaseError

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.documents.stores import Place
from xds.wire.contexts import pool

SETTING = "audit.object_store"

OBJECT_BYTES = 128 * 1024 * 1024
"""More than any of ours has."""

_TRIES, _AGAIN_SECONDS = 3, 0.5
_SIGNED_FOR = timedelta(minutes=5)


class NotStored(Exception):
    """The object store does not answer, does not take a file, or gives back another one."""


class AuditObjects:
    """The bucket of ``audit.object_store``."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked of it yet.

        Raises:
            Unusable: the URL names no bucket, or is where documents are.
        """
        url = settings.audit.object_store
        if not url.startswith("s3://"):
            raise Unusable(f"{SETTING}: an object store is s3://BUCKET or s3://BUCKET/PREFIX")
        if url.strip("/") in (settings.server.documents.strip("/"), settings.server.documents_also.strip("/")):
            raise Unusable(f"{SETTING}: documents are there; name another prefix, or better another bucket")
        self._store = Place(SETTING, url, settings.data, settings.s3, {}).bucket()
        self._pool: Any = pool(None, timeout=settings.s3.seconds)

    def names(self, below: str) -> Iterator[tuple[str, int]]:
        """Every file in a folder, without the folder, and its size in bytes; in order of names.

        Raises:
            NotStored: it does not answer.
        """
        found = list[tuple[str, int]]()
        try:
            for batch in obstore.list(self._store, below):
                found += [(one["path"].rpartition("/")[2], one["size"]) for one in batch]
        except (BaseError, OSError) as problem:
            raise NotStored(f"not listed: {type(problem).__name__}") from None
        return iter(sorted(found))

    def logs(self) -> list[str]:
        """The ids of the logs that there are.

        Raises:
            NotStored: it does not answer.
        """
        try:
            found = obstore.list_with_delimiter(self._store)["common_prefixes"]
        except (BaseError, OSError) as problem:
            raise NotStored(f"not listed: {type(problem).__name__}") from None
        return sorted(one.strip("/").rpartition("/")[2] for one in found)

    def put(self, name: str, data: bytes) -> None:
        """Put a file, and see that it is there.

        Raises:
            NotStored: it is not.
        """
        wanted = hashlib.sha256(data).digest()
        for tried in range(_TRIES):
            try:
                obstore.put(self._store, name, data)
                if hashlib.sha256(self.get(name)).digest() == wanted:
                    return
            except (BaseError, OSError) as problem:
                raise NotStored(f"not taken: {type(problem).__name__}") from None
            time.sleep(_AGAIN_SECONDS * tried)
        raise NotStored("the object store gives back something else than was sent")

    def get(self, name: str) -> bytes:
        """A file.

        Raises:
            NotStored: it is not there, absurdly long, or the store does not answer.
        """
        try:
            found = obstore.get(self._store, name)
            if found.meta["size"] > OBJECT_BYTES:
                raise NotStored("longer than any part of a log")
            return bytes(found.bytes())
        except FileNotFoundError:
            raise NotStored("a part of the log is not there") from None
        except (BaseError, OSError) as problem:
            raise NotStored(f"not given: {type(problem).__name__}") from None

    def remove(self, name: str) -> bool:
        """Remove a file; whether it is not listed any more, which a lock may forbid.

        Raises:
            NotStored: the store does not answer.
        """
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return True
        except (BaseError, OSError):
            return not self._is_there(name)
        return not self._is_there(name)

    def _is_there(self, name: str) -> bool:
        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as problem:
            raise NotStored(f"not looked up: {type(problem).__name__}") from None
        return True

    def locked_until(self, name: str) -> datetime | None:
        """How long the bucket keeps a file from being removed; ``None``: it does not, or does not say.

        Raises:
            NotStored: the store does not answer.
        """
        try:
            url = obstore.sign(self._store, "HEAD", name, _SIGNED_FOR)
            response = self._pool.request("HEAD", url, redirect=False)
        except (BaseError, urllib3.exceptions.HTTPError, OSError) as problem:
            raise NotStored(f"not looked up: {type(problem).__name__}") from None
        if response.status != 200:
            raise NotStored(f"not looked up: HTTP {response.status}")
        if response.headers.get("x-amz-object-lock-mode", "").upper() not in ("GOVERNANCE", "COMPLIANCE"):
            return None
        return _time(response.headers.get("x-amz-object-lock-retain-until-date", ""))


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except ValueError:
            return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
