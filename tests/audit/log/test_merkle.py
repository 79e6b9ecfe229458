"""The Merkle tree against RFC 6962's own definitions, written here once more as they stand there."""

from __future__ import annotations

import hashlib
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extent import examples
from xds.audit.log.merkle import BadProof, Frontier, HashTree, leaf_hash, root_of, verify_consistency, verify_inclusion

MOST = 70


# RFC 6962: 2.1, 2.1.1 and 2.1.2, word for word and slow.


def k_of(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = k_of(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = k_of(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = k_of(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % n for n in range(count)]


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves(count)]


def a_tree(folder: Path, count: int) -> HashTree:
    tree = HashTree(folder)
    tree.append(hashes(count))
    return tree


# The vectors of Google's certificate-transparency test suite.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(9))
def test_the_roots_are_those_of_certificate_transparency(tmp_path: Path, count: int) -> None:
    found = [leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES[:count]]
    tree = HashTree(tmp_path)
    tree.append(found)
    assert root_of(found).hex() == tree.hash_of(0, count).hex() == tree.frontier().root().hex() == CT_ROOTS[count]


def test_the_frontiers_root_is_the_rfcs_at_every_size() -> None:
    frontier = Frontier.empty()
    for count in range(MOST):
        assert frontier.size == count
        assert frontier.root() == mth(leaves(count))
        frontier.append(leaf_hash(b"leaf %d" % count))


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.integers(0, 20), max_size=10))
def test_however_leaves_are_appended_every_subtree_is_the_rfcs(pattern: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree, count = HashTree(Path(folder)), 0
        for more in pattern:
            tree.append(hashes(count + more)[count:])
            count += more
            assert tree.size == count
            assert tree.hash_of(0, count) == mth(leaves(count)) == tree.frontier().root()
        for begin in range(0, count, 8):
            end = min(begin + 8, count)
            assert tree.hash_of(begin, end) == mth(leaves(count)[begin:end])


@settings(deadline=None, max_examples=examples(40))
@given(st.integers(0, MOST), st.integers(0, MOST), st.integers(0, MOST))
def test_what_was_truncated_and_appended_anew_leaves_no_trace(count: int, keep: int, more: int) -> None:
    keep = min(keep, count)
    new = leaves(keep) + [b"new %d" % n for n in range(more)]
    with tempfile.TemporaryDirectory() as folder:
        tree = a_tree(Path(folder), count)
        tree.truncate(keep)
        assert (tree.size, tree.frontier().root()) == (keep, mth(leaves(keep)))
        tree.append([leaf_hash(leaf) for leaf in new[keep:]])
        assert tree.hash_of(0, len(new)) == mth(new)


def test_a_tree_that_is_not_there_is_empty_and_reading_makes_no_folder(tmp_path: Path) -> None:
    tree = HashTree(tmp_path / "none")
    assert (tree.size, tree.frontier().root().hex()) == (0, CT_ROOTS[0])
    tree.truncate(0)
    assert not (tmp_path / "none").exists()


def test_a_node_that_is_not_held_is_no_hash(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 5)
    for level, index in ((0, 5), (3, 0), (9, 0)):
        with pytest.raises(BadProof, match=f"node {index} of level {level}"):
            tree.node(level, index)


def test_every_inclusion_proof_is_the_rfcs_and_holds(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, MOST)
    for size in range(1, MOST + 1):
        d = leaves(size)
        root = mth(d)
        for leaf in range(size):
            proof = tree.inclusion_proof(leaf, size)
            if leaf % 7 == 0:
                assert proof == path(leaf, d)
            verify_inclusion(leaf_hash(d[leaf]), leaf, size, proof, root)


def test_every_consistency_proof_is_the_rfcs_and_holds(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, MOST)
    roots = [mth(leaves(size)) for size in range(MOST + 1)]
    for size in range(MOST + 1):
        for old in range(size + 1):
            proof = tree.consistency_proof(old, size)
            if old and (old + size) % 7 == 0:
                assert proof == subproof(old, leaves(size), True)
            verify_consistency(old, size, roots[old], roots[size], proof)


def test_proofs_in_a_large_tree_hold(tmp_path: Path) -> None:
    choice = random.Random(5)  # noqa: S311
    found = hashes(9001)
    tree = HashTree(tmp_path)
    tree.append(found)
    for _ in range(60):
        size = choice.randrange(1, 9002)
        leaf, old = choice.randrange(size), choice.randrange(1, size + 1)
        root = root_of(found[:size])
        verify_inclusion(found[leaf], leaf, size, tree.inclusion_proof(leaf, size), root)
        verify_consistency(old, size, root_of(found[:old]), root, tree.consistency_proof(old, size))


def spoilt(proof: list[bytes]) -> list[list[bytes]]:
    """Each way of spoiling a proof."""
    wrong = bytes(32)
    found = [[*proof, wrong], [wrong, *proof]]
    for n in range(len(proof)):
        found += [proof[:n] + proof[n + 1 :], [*proof[:n], wrong, *proof[n + 1 :]]]
    if len(proof) > 1:
        found.append(proof[::-1])
    return found


@settings(deadline=None, max_examples=examples(60))
@given(st.integers(1, MOST), st.data())
def test_a_spoilt_inclusion_proof_does_not_hold(size: int, data: st.DataObject) -> None:
    leaf = data.draw(st.integers(0, size - 1))
    d = leaves(size)
    proof, root, hash_ = path(leaf, d), mth(d), leaf_hash(d[leaf])
    for bad in spoilt(proof):
        with pytest.raises(BadProof):
            verify_inclusion(hash_, leaf, size, bad, root)
    for wrong in (-1, size, leaf + 1, leaf - 1):
        with pytest.raises(BadProof):
            verify_inclusion(hash_, wrong, size, proof, root)
    with pytest.raises(BadProof, match="root"):
        verify_inclusion(leaf_hash(b"other"), leaf, size, proof, root)
    with pytest.raises(BadProof, match="root"):
        verify_inclusion(hash_, leaf, size, proof, bytes(32))


@settings(deadline=None, max_examples=examples(60))
@given(st.integers(2, MOST), st.data())
def test_a_spoilt_consistency_proof_does_not_hold(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    old_root, root, proof = mth(leaves(old)), mth(leaves(size)), subproof(old, leaves(size), True)
    for bad in spoilt(proof):
        with pytest.raises(BadProof):
            verify_consistency(old, size, old_root, root, bad)
    for roots in ((bytes(32), root), (old_root, bytes(32)), (root, old_root)):
        with pytest.raises(BadProof):
            verify_consistency(old, size, *roots, proof)


def test_a_tree_does_not_shrink_and_is_consistent_with_itself_and_with_nothing() -> None:
    one, two = mth(leaves(1)), mth(leaves(2))
    with pytest.raises(BadProof, match="shrunk"):
        verify_consistency(2, 1, two, one, [])
    verify_consistency(0, 2, mth([]), two, [])
    verify_consistency(2, 2, two, two, [])
    with pytest.raises(BadProof, match="differ"):
        verify_consistency(2, 2, two, one, [])
    with pytest.raises(BadProof, match="differ"):
        verify_consistency(0, 2, mth([]), two, [two])
    with pytest.raises(BadProof, match="empty"):
        verify_consistency(3, 5, mth(leaves(3)), mth(leaves(5)), [])


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """RFC 6962: 2.1: the prefixes keep second preimages away."""
    left, right = hashes(2)
    assert leaf_hash(left + right) != mth(leaves(2))
