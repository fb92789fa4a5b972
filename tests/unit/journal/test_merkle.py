"""The tree over a journal, against the vectors that certificate transparency logs are tested with."""

from hashlib import sha256

import pytest

from go_cache_safeguard.journal.merkle import (
    EMPTY,
    Frontier,
    Tree,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from go_cache_safeguard.journal.record import leaf_hash

INPUTS = tuple(
    map(
        bytes.fromhex,
        ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
)
LEAVES = tuple(map(leaf_hash, INPUTS))
TREE = Tree(b"".join(LEAVES))
ROOT = TREE.root(8)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
P1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
P2 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
P3 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
P4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
P5 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
P6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"


@pytest.mark.parametrize("size", range(9))
def test_the_known_roots_come_out_of_the_tree_and_of_its_right_edge(size: int) -> None:
    assert TREE.root(size).hex() == ROOTS[size]
    edge = Frontier().extend(LEAVES[:size])
    assert edge.root.hex() == ROOTS[size]
    assert edge == TREE.frontier(size)
    assert edge.whole
    assert len(edge.roots) == size.bit_count()


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 8, [P1, P2, P3]),
        (5, 8, [P4, P5, ROOTS[4]]),
        (2, 3, [ROOTS[2]]),
        (1, 5, [ROOTS[1], P2, P4]),
    ],
)
def test_the_known_proofs_that_a_leaf_is_in_a_tree(index: int, size: int, path: list[str]) -> None:
    assert [it.hex() for it in TREE.inclusion(index, size)] == path
    assert verify_inclusion(LEAVES[index], index, size, TREE.inclusion(index, size), TREE.root(size))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [(1, 1, []), (1, 8, [P1, P2, P3]), (6, 8, [P6, P5, ROOTS[4]]), (2, 5, [P2, P4]), (0, 5, [])],
)
def test_the_known_proofs_that_one_tree_is_the_beginning_of_another(old: int, new: int, path: list[str]) -> None:
    assert [it.hex() for it in TREE.consistency(old, new)] == path
    assert verify_consistency(old, new, TREE.root(old), TREE.root(new), TREE.consistency(old, new))


def test_an_empty_tree_has_the_root_of_nothing() -> None:
    assert Frontier().root == Tree(b"").root(0) == EMPTY == sha256(b"").digest()


def test_a_right_edge_that_does_not_fit_its_size_is_not_whole() -> None:
    edge = TREE.frontier(7)
    assert not Frontier(6, edge.roots).whole
    assert not Frontier(7, edge.roots[:2]).whole
    assert not Frontier(7, (*edge.roots[:2], b"short")).whole
    assert not Frontier(-1, ()).whole
    assert edge.append(LEAVES[7]).root == TREE.root(8)


def test_numbers_outside_the_tree_are_refused() -> None:
    for index, size in ((8, 8), (-1, 8), (0, 9), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            TREE.inclusion(index, size)
        assert not verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    for old, new in ((5, 4), (-1, 4), (1, 9)):
        with pytest.raises(ValueError, match="no trees"):
            TREE.consistency(old, new)
        assert not verify_consistency(old, new, EMPTY, ROOT, [])


def test_a_proof_that_is_too_short_too_long_or_not_of_hashes_shows_nothing() -> None:
    path = TREE.inclusion(5, 8)
    for wrong in (path[:-1], [*path, path[0]], [path[0][:-1], *path[1:]], []):
        assert not verify_inclusion(LEAVES[5], 5, 8, wrong, TREE.root(8))
    proof = TREE.consistency(6, 8)
    for wrong in (proof[:-1], [*proof, proof[0]], [proof[0][:-1], *proof[1:]], []):
        assert not verify_consistency(6, 8, TREE.root(6), TREE.root(8), wrong)
    assert not verify_consistency(8, 8, TREE.root(8), TREE.root(8), [P1.encode()[:32]])
    assert not verify_consistency(8, 8, TREE.root(8), TREE.root(7), [])
    assert not verify_consistency(0, 8, TREE.root(1), TREE.root(8), [])
    assert not verify_consistency(4, 8, TREE.root(4), TREE.root(8), [])


def test_a_leaf_and_a_node_never_have_one_hash() -> None:
    left, right = LEAVES[:2]
    assert node_hash(left, right) != leaf_hash(left + right)
    assert not verify_inclusion(leaf_hash(left + right), 0, 1, [], node_hash(left, right))
