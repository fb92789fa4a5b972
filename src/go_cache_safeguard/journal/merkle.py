"""The tree over a journal's records: one root for all of them, and short proofs of what is in it and that it only grew.

Knows:     how hashes of records become a root, what proves that a record is in a tree, what proves that one tree is the beginning of
           another, and how to believe neither without computing it.
Called by: `journal.checkpoints` and `journal.store`; `flows.audit` and `flows.witness`.
Never:     hashes a record (`journal.record.leaf_hash` does); trusts a proof's length or numbers.
Source:    RFC 6962 section 2.1 (hashes and proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (how to verify them).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

SIZE = 32
"""bytes of a hash."""

EMPTY = sha256(b"").digest()
"""The root of a tree without leaves."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that is needed to add leaves and to know the root after each.

    Attributes:
        size: How many leaves there are.
        roots: 32 bytes for each one in the binary form of `size`: the roots of its perfect subtrees, the largest first.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether there are as many roots, each as long, as the size asks for."""
        return self.size >= 0 and len(self.roots) == self.size.bit_count() and all(len(it) == SIZE for it in self.roots)

    @property
    def root(self) -> bytes:
        """The root of the whole tree, 32 bytes."""
        return _bag(self.roots)

    def append(self, leaf: bytes) -> "Frontier":
        """The tree with one more leaf; costs as many hashes as `size` ends in ones.

        Args:
            leaf: Its hash, 32 bytes.
        """
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The tree with more leaves, each 32 bytes."""
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = node_hash(roots.pop(), node)
                carry >>= 1
            roots.append(node)
            size += 1
        return Frontier(size, tuple(roots))


class Tree:
    """A tree of which every hash is known, so that it can prove things: 64 bytes for each leaf.

    Attributes:
        size: How many leaves there are.
    """

    def __init__(self, leaves: bytes) -> None:
        """Hash everything once.

        Args:
            leaves: 32 bytes for each leaf.
        """
        self.size = len(leaves) // SIZE
        self._levels = [leaves]
        while len(leaves) >= 2 * SIZE:
            pairs = range(0, len(leaves) - 2 * SIZE + 1, 2 * SIZE)
            leaves = b"".join([sha256(b"\x01" + leaves[at : at + 2 * SIZE]).digest() for at in pairs])
            self._levels.append(leaves)

    def leaf(self, index: int) -> bytes:
        """The hash of one leaf, counted from 0."""
        return self._levels[0][index * SIZE : (index + 1) * SIZE]

    def frontier(self, size: int) -> Frontier:
        """The right edge as it was when there were `size` leaves."""
        return Frontier(size, tuple(self._peaks(0, size)))

    def root(self, size: int) -> bytes:
        """The root as it was when there were `size` leaves."""
        return self._range(0, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """What proves that a leaf is in the tree of the first `size` leaves; see `verify_inclusion`.

        Raises:
            ValueError: There is no such leaf, or no such tree.
        """
        if not 0 <= index < size <= self.size:
            raise ValueError(f"no leaf {index} in a tree of {size}, of {self.size}")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """What proves that the tree of the first `old` leaves is the beginning of that of `new`; see `verify_consistency`.

        Raises:
            ValueError: There are no such trees.
        """
        if not 0 <= old <= new <= self.size:
            raise ValueError(f"no trees of {old} and {new} leaves, of {self.size}")
        path, low, high = [], 0, new
        while old and old < high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return [*([self._range(low, high)] if low else []), *path[::-1]]

    def _range(self, low: int, high: int) -> bytes:
        return _bag(self._peaks(low, high))

    def _peaks(self, low: int, high: int) -> list[bytes]:
        """The roots of the perfect subtrees of a range that begins where a subtree of its size would."""
        found = []
        while low < high:
            level = (high - low).bit_length() - 1
            at = (low >> level) * SIZE
            found.append(self._levels[level][at : at + SIZE])
            low += 1 << level
        return found


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that a leaf is in a tree.

    Args:
        leaf: Its hash.
        index: Which leaf it is, from 0.
        size: How many leaves the tree has.
        path: The proof, from the leaf up.
        root: The tree's root.
    """
    if not 0 <= index < size or any(len(it) != SIZE for it in (leaf, root, *path)):
        return False
    at, last, node = index, size - 1, leaf
    for beside in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(beside, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a proof shows that one tree is the beginning of another.

    Args:
        old: How many leaves the one has.
        new: How many the other has.
        old_root: The root of the one.
        new_root: The root of the other.
        path: The proof.
    """
    if not 0 <= old <= new or any(len(it) != SIZE for it in (old_root, new_root, *path)):
        return False
    if old in {0, new}:
        return not path and (old_root == (new_root if old == new else EMPTY))
    known = [old_root, *path] if old & (old - 1) == 0 else list(path)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not known:
        return False
    was = now = known[0]
    for beside in known[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            was, now = node_hash(beside, was), node_hash(beside, now)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            now = node_hash(now, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _bag(roots: Sequence[bytes]) -> bytes:
    """The root above perfect subtrees, the largest first."""
    if not roots:
        return EMPTY
    node = roots[-1]
    for left in roots[-2::-1]:
        node = node_hash(left, node)
    return node
