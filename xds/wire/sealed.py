"""Bytes encrypted in segments by AES-256-GCM, each text of them with a random key of its own, which is used once.

A segment's nonce is its number, and whether it is the last (the STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, 2015,
as age has it): what was changed, cut off, put elsewhere or comes from another text is found at that segment, and what
is in the middle can be read without what is before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES = 256 * 1024
"""Of the text; the last segment may have fewer."""

TAG_BYTES = 16
UNIT_BYTES = SEGMENT_BYTES + TAG_BYTES
KEY_BYTES = 32


class Altered(Exception):
    """Something is not as it was encrypted, or is none of this key's."""


def new_key() -> bytes:
    """A key for one text."""
    return os.urandom(KEY_BYTES)


def sealed_bytes(size_bytes: int) -> int:
    """How many bytes a text of so many becomes."""
    return size_bytes + TAG_BYTES * max(1, -(-size_bytes // SEGMENT_BYTES))


def text_bytes(sealed: int) -> int:
    """How many bytes the text has that becomes so many."""
    return sealed - TAG_BYTES * -(-sealed // UNIT_BYTES)


def segment_of(start: int, size_bytes: int) -> int:
    """The segment that the byte at ``start`` is in; the last where the text has fewer."""
    return min(start, max(size_bytes - 1, 0)) // SEGMENT_BYTES


class Sealer:
    """One text on its way in."""

    def __init__(self, key: bytes) -> None:
        """``key``: of no other text."""
        self._cipher, self._waiting, self._number = AESGCM(key), bytearray(), 0

    def update(self, data: bytes | memoryview) -> bytes:
        """What can be written of the text by now: a segment only when there is more after it."""
        self._waiting += data
        if len(self._waiting) <= SEGMENT_BYTES:
            return b""
        count = (len(self._waiting) - 1) // SEGMENT_BYTES
        with memoryview(self._waiting) as waiting:
            done = [self._sealed(waiting[at * SEGMENT_BYTES : (at + 1) * SEGMENT_BYTES]) for at in range(count)]
        del self._waiting[: count * SEGMENT_BYTES]
        return b"".join(done)

    def end(self) -> bytes:
        """The last segment, which there always is."""
        return self._sealed(self._waiting, is_last=True)

    def _sealed(self, text: bytes | bytearray | memoryview, *, is_last: bool = False) -> bytes:
        nonce = _nonce(self._number, is_last=is_last)
        self._number += 1
        return self._cipher.encrypt(nonce, text, None)


def opened(chunks: Iterable[bytes], key: bytes, segment: int = 0) -> Iterator[bytes]:
    """The text from a segment on; each one comes when it has been held to its tag.

    Raises:
        Altered: one is not as it was encrypted, or what is there is not all.
    """
    cipher, waiting, number = AESGCM(key), bytearray(), segment
    for chunk in chunks:
        waiting += chunk
        while len(waiting) > UNIT_BYTES:
            yield _opened(cipher, number, bytes(waiting[:UNIT_BYTES]), is_last=False)
            del waiting[:UNIT_BYTES]
            number += 1
    if last := _opened(cipher, number, bytes(waiting), is_last=True):
        yield last


def _opened(cipher: AESGCM, number: int, unit: bytes, *, is_last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, is_last=is_last), unit, None)
    except InvalidTag:
        raise Altered(f"segment {number}") from None


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
