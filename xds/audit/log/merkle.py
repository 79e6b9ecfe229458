"""RFC 6962 hashing (2.1), inclusion proofs (2.1.1) and consistency proofs (2.1.2), over an append-only tree.

Complete subtrees are kept in one file a level, so that proofs cost a few reads at any size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xds.system.durable import sync_folder

HASH_BYTES = 32


class BadProof(ValueError):
    """A proof that does not show what it should."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The complete subtrees of a log so far, largest first: all that appending and the root need."""

    size: int
    peaks: list[bytes]

    @classmethod
    def empty(cls) -> Frontier:
        return cls(0, [])

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        self.peaks.append(leaf)
        size = self.size
        while size & 1:
            right = self.peaks.pop()
            self.peaks[-1] = node_hash(self.peaks[-1], right)
            size >>= 1
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash; of nothing, the hash of the empty string."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


class HashTree:
    """The tree in a folder: file ``level-NN`` holds the hashes of complete subtrees of 2^NN leaves, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, level: int) -> Path:
        return self._folder / f"level-{level:02d}"

    @property
    def size(self) -> int:
        """How many leaves are held."""
        try:
            return self._path(0).stat().st_size // HASH_BYTES
        except FileNotFoundError:
            return 0

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves' hashes and every subtree they complete; on disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        level, first, hashes = 0, self.size, list(leaves)
        while hashes:
            with self._path(level).open("r+b" if self._path(level).exists() else "w+b") as file:
                file.seek(first * HASH_BYTES)
                file.write(b"".join(hashes))
                file.truncate()
                file.flush()
                if first & 1:  # the left sibling was there before
                    file.seek((first - 1) * HASH_BYTES)
                    hashes.insert(0, file.read(HASH_BYTES))
                    first -= 1
                os.fsync(file.fileno())
            hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
            level, first = level + 1, first // 2
        sync_folder(self._folder)

    def truncate(self, size: int) -> None:
        """Forget all leaves from ``size`` on."""
        level = 0
        while self._path(level).exists():
            with self._path(level).open("r+b") as file:
                file.truncate((size >> level) * HASH_BYTES)
                os.fsync(file.fileno())
            level += 1

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree.

        Raises:
            BadProof: it is not held.
        """
        try:
            with self._path(level).open("rb") as file:
                file.seek(index * HASH_BYTES)
                found = file.read(HASH_BYTES)
        except FileNotFoundError:
            found = b""
        if len(found) != HASH_BYTES:
            raise BadProof(f"the tree does not hold node {index} of level {level}")
        return found

    def hash_of(self, begin: int, end: int) -> bytes:
        """The Merkle tree hash of leaves ``begin`` to ``end``; ``begin`` is a multiple of the subtree's size."""
        count = end - begin
        if count == 0:
            return hashlib.sha256(b"").digest()
        level = count.bit_length() - 1
        if count == 1 << level:
            return self.node(level, begin >> level)
        split = 1 << level
        return node_hash(self.hash_of(begin, begin + split), self.hash_of(begin + split, end))

    def frontier(self, at: int | None = None) -> Frontier:
        """The complete subtrees of the whole tree, or of its first ``at`` leaves, to go on from.

        Raises:
            BadProof: it does not hold so many leaves.
        """
        size, peaks, begin = self.size if at is None else at, [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self.node(level, begin >> level))
                begin += 1 << level
        return Frontier(size, peaks)

    def inclusion_proof(self, leaf: int, size: int) -> list[bytes]:
        """The audit path of a leaf in the tree of ``size`` leaves (RFC 6962: 2.1.1)."""
        return inclusion_proof(leaf, 0, size, self.hash_of)

    def consistency_proof(self, old: int, size: int) -> list[bytes]:
        """That the tree of ``size`` leaves extends the tree of ``old`` (RFC 6962: 2.1.2)."""
        return [] if old in (0, size) else _consistency(old, 0, size, self.hash_of, complete=True)


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_proof(leaf: int, begin: int, end: int, hash_of: Callable[[int, int], bytes]) -> list[bytes]:
    """PATH(leaf, D[begin:end]), leaf counted from ``begin``."""
    if end - begin == 1:
        return []
    k = _split(end - begin)
    if leaf < k:
        return [*inclusion_proof(leaf, begin, begin + k, hash_of), hash_of(begin + k, end)]
    return [*inclusion_proof(leaf - k, begin + k, end, hash_of), hash_of(begin, begin + k)]


def _consistency(
    old: int, begin: int, end: int, hash_of: Callable[[int, int], bytes], *, complete: bool
) -> list[bytes]:
    if old == end - begin:
        return [] if complete else [hash_of(begin, end)]
    k = _split(end - begin)
    if old <= k:
        return [*_consistency(old, begin, begin + k, hash_of, complete=complete), hash_of(begin + k, end)]
    return [*_consistency(old - k, begin + k, end, hash_of, complete=False), hash_of(begin, begin + k)]


def verify_inclusion(leaf_: bytes, leaf: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """That a leaf's hash is at its number in the tree of that root (RFC 9162: 2.1.3.2).

    Raises:
        BadProof: it is not.
    """
    if not 0 <= leaf < size:
        raise BadProof("the leaf number is outside the tree")
    node, last, hash_ = leaf, size - 1, leaf_
    for other in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            hash_ = node_hash(other, hash_)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, other)
        node, last = node >> 1, last >> 1
    if last or hash_ != root:
        raise BadProof("the proof does not lead to the root")


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """That the tree of ``root`` extends the tree of ``old_root`` (RFC 9162: 2.1.4.2).

    Raises:
        BadProof: it does not.
    """
    if old > size:
        raise BadProof("the tree has shrunk")
    if old in (0, size):
        if proof or (old == size and old_root != root):
            raise BadProof("two trees of one size differ")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise BadProof("the proof is empty")
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for other in path[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(other, first), node_hash(other, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, other)
        node, last = node >> 1, last >> 1
    if last or first != old_root or second != root:
        raise BadProof("the proof does not lead to both roots")


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaves' hashes."""
    frontier = Frontier.empty()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()
