"""The keys that an operator holds in a file: they wrap the keys of stores, and are in no store, database or backup.

A file has one key a line.  The last one wraps; those before it unwrap what they have wrapped.  Or they are in a PKCS#11
token (``wrapping_token.py``), and never leave it.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from xds.errors import Unusable
from xds.system import private
from xds.system.durable import sync_folder
from xds.system.token import SCHEME

SETTING = "server.documents_key"
"""Names the file."""

KEY_BYTES = 32
FILE_BYTES = 64 * 1024

_HEAD = """\
# Keys that the documents' keys are wrapped by: xds documents key. The last one is used; the others are needed as long
# as xds documents key list says so. Keep a copy away from this machine: without it no document can be read.
"""
_LINE = re.compile(r"([0-9a-f]{16}) ([0-9TZ:.+-]{1,40}) ([A-Za-z0-9+/]{43}=)")

# Not the group's right to read: a Secret of Kubernetes is mounted so for who is not root.
_TOO_WIDE = 0o027


class NotWrapped(Exception):
    """Something was not wrapped by this key, or was changed."""


class WrappingKey(Protocol):
    """One of them."""

    @property
    def id(self) -> str:
        """16 hex digits."""
        ...

    @property
    def made(self) -> str:
        """When it was made, or what it is called where it is."""
        ...

    def wrap(self, secret: bytes) -> bytes:
        """Of 32 bytes 40, as RFC 3394 has it."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """
        Raises:
            NotWrapped: it was not wrapped by this key, or was changed.
        """
        ...


class WrappingKeys(Protocol):
    """All of them."""

    @property
    def where(self) -> str:
        """Where they are, for an operator."""
        ...

    @property
    def newest(self) -> WrappingKey:
        """The one that wraps."""
        ...

    @property
    def keys(self) -> Mapping[str, WrappingKey]:
        """All of them by their ids, the newest last."""
        ...

    def read_again(self) -> None:
        """One may have been added.

        Raises:
            Unusable: they cannot be read.
        """
        ...


def wrapping_keys(source: str) -> WrappingKeys:
    """Those of a file, or of a token by its URI.

    Raises:
        Unusable: there are none, or they are not right.
    """
    if source.startswith(SCHEME):
        from xds.store.documents.wrapping_token import TokenKeys

        return TokenKeys(source)
    return KeyFile(Path(source))


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key of a file: its id, which is made of it, and when it was made."""

    id: str
    made: str
    key: bytes = field(repr=False)

    def wrap(self, secret: bytes) -> bytes:
        """Of 32 bytes 40, as RFC 3394 has it."""
        return aes_key_wrap(self.key, secret)

    def unwrap(self, wrapped: bytes) -> bytes:
        """
        Raises:
            NotWrapped: as it says.
        """
        try:
            return aes_key_unwrap(self.key, wrapped)
        except (InvalidUnwrap, ValueError):
            raise NotWrapped from None


class KeyFile:
    """The keys of a file.  Read when it is made, and again when told to: a key may have been added to it."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            Unusable: there is none, others may read it, or it has no key or a damaged one.
        """
        self._path = path
        self._keys = _read(path)

    @property
    def where(self) -> str:
        return str(self._path)

    @property
    def newest(self) -> FileKey:
        return next(reversed(self._keys.values()))

    @property
    def keys(self) -> Mapping[str, FileKey]:
        return self._keys

    def read_again(self) -> None:
        self._keys = _read(self._path)


def add(path: Path) -> FileKey:
    """Make a key, as the last of a file, which is made if it is not there; whole, or not at all.

    Raises:
        Unusable: the file cannot be written, or is none of keys.
    """
    with _alone(path):
        is_there = path.exists()
        keys = [*_read(path).values()] if is_there else []
        secret = secrets.token_bytes(KEY_BYTES)
        key = FileKey(_id(secret), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", secret)
        try:
            _write(path, [*keys, key], replaces=is_there)
        except FileExistsError:
            raise Unusable(f"{path} has just been made by somebody else") from None
    return key


def remove(path: Path, id_: str) -> None:
    """Take a key out of a file, which goes on with the others.

    Raises:
        Unusable: the file cannot be written, has no such key, or no other.
    """
    with _alone(path):
        keys = _read(path)
        if id_ not in keys:
            raise Unusable(f"{path} has no key {id_}")
        if len(keys) == 1:
            raise Unusable(f"{id_} is the only key of {path}")
        _write(path, [key for key in keys.values() if key.id != id_], replaces=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else changes a file meanwhile: its folder is locked, as it is another file each time.

    Raises:
        Unusable: it cannot be reached, or written.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # NFS does not lock a folder
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    except OSError as problem:
        raise Unusable(f"{path}: {problem.strerror}") from None


def _write(path: Path, keys: list[FileKey], *, replaces: bool) -> None:
    lines = (f"{one.id} {one.made} {base64.b64encode(one.key).decode()}\n" for one in keys)
    owner = path.stat() if replaces else None
    private.write(path, (_HEAD + "".join(lines)).encode(), replaces=replaces)
    if owner is not None:
        _give_back(path, owner.st_uid, owner.st_gid)
    sync_folder(path.parent)


def _give_back(path: Path, user: int, group: int) -> None:
    """Leave a file to whose it was: root may have changed what the service reads."""
    found = path.stat()
    if (found.st_uid, found.st_gid) != (user, group):
        os.chown(path, user, group)


def _read(path: Path) -> dict[str, FileKey]:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            text = file.read(FILE_BYTES + 1).decode("ascii")
    except FileNotFoundError:
        raise Unusable(f"{SETTING}: {path} is not there; xds documents key new FILE makes one") from None
    except (OSError, UnicodeDecodeError) as problem:
        said = getattr(problem, "strerror", None) or "it is no file of keys"
        raise Unusable(f"{SETTING}: {path}: {said}") from None
    if mode & _TOO_WIDE:
        raise Unusable(f"{SETTING}: others than its owner may read or write {path}: chmod 600 {path}")
    keys = dict[str, FileKey]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key = _key_of(line.strip())
        if key is None or len(text) > FILE_BYTES:
            raise Unusable(f"{SETTING}: line {number} of {path} is no key, or is damaged: bring back the copy of it")
        keys.pop(key.id, None)
        keys[key.id] = key
    if not keys:
        raise Unusable(f"{SETTING}: {path} has no key")
    return keys


def _key_of(line: str) -> FileKey | None:
    """The key of a line; None where it is none, or its id says that it was another."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    try:
        secret = base64.b64decode(found[3], validate=True)
    except binascii.Error:
        return None
    return FileKey(found[1], found[2], secret) if found[1] == _id(secret) else None


def _id(secret: bytes) -> str:
    return hashlib.sha256(b"xds documents key\n" + secret).hexdigest()[:16]
