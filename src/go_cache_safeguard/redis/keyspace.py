r"""Which keys may lose something, as patterns that an access control list can hold.

Knows:     that such a list can only allow, so "all keys but `session:*`" becomes `[^s]*`, `s`, `s[^e]*`, `se` ... `session[^:]*`.
Called by: `redis.harden`.
Never:     gives a pattern that takes in a key which is protected: what cannot be written as such patterns is None.
Source:    util.c `stringmatchlen`; acl.c `ACLStringHasSpaces`: no white space and no NUL in a pattern.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"(?:[A-Za-z0-9_:/@,;=~#%&!<>'\"-]|\\[^A-Za-z0-9])*", re.ASCII)
_REFUSED = frozenset(b"\0\t\n\v\f\r ")
_MEANING = frozenset(b"*?[\\")
_MOST = 1_500


@dataclass(frozen=True, slots=True)
class Region:
    """One key, or all that begin alike.

    Attributes:
        head: The key, or what they begin with.
        whole: Whether longer keys belong to it.
    """

    head: bytes
    whole: bool = True

    def __contains__(self, other: "Region") -> bool:
        """Whether everything of another is here."""
        return other.head.startswith(self.head) if self.whole else other == self

    @property
    def glob(self) -> bytes:
        """As a pattern."""
        return _literal(self.head) + (b"*" if self.whole else b"")


EVERYTHING = Region(b"")


def region_of(pattern: str) -> Region | None:
    """Read a pattern of the settings or of an access control list; None if it is neither a key nor a beginning."""
    if pattern.startswith("re:"):
        text, star = pattern.removeprefix("re:"), pattern.endswith(".*")
        text = text.removesuffix(".*") if star else text
        if _PLAIN.fullmatch(text) is None:
            return None
        return _possible(re.sub(r"\\(.)", r"\1", text).encode("utf-8", "surrogateescape"), whole=star)
    return region_of_glob(pattern.encode("utf-8", "surrogateescape"))


def region_of_glob(glob: bytes) -> Region | None:
    """The same for the bytes of a glob pattern."""
    head, at = bytearray(), 0
    while at < len(glob):
        byte = glob[at]
        if byte == 0x2A:
            return _possible(bytes(head), whole=True) if not glob[at:].strip(b"*") else None
        if byte in b"?[":
            return None
        if byte == 0x5C and at + 1 < len(glob):
            at += 1
        head.append(glob[at])
        at += 1
    return _possible(bytes(head), whole=False)


def common(some: Iterable[Region], others: Sequence[Region]) -> list[Region]:
    """What is in both."""
    found = []
    for one in some:
        found += [one if one in other else other for other in others if one in other or other in one]
    return list(dict.fromkeys(found))


def without(region: Region, protected: Sequence[Region]) -> list[bytes] | None:
    """Patterns that together take in a region but for the protected keys; None if they are too many."""
    if any(region in one for one in protected):
        return []
    inside = [one for one in protected if one in region]
    if not inside:
        return [region.glob]
    found: list[bytes] = []
    for glob in _around(region.head, inside):
        found.append(glob)
        if len(found) > _MOST:
            return None
    return found


def _around(head: bytes, inside: Sequence[Region]) -> Iterator[bytes]:
    """Everything that begins with `head` and is of no region in there, one byte after the other."""
    stack = [head]
    while stack:
        at = stack.pop()
        if any(one.whole and one.head == at for one in inside):
            continue
        if at and Region(at, whole=False) not in inside:
            yield _literal(at)
        size = len(at)
        longer = {one.head[size] for one in inside if len(one.head) > size and one.head.startswith(at)}
        yield _literal(at) + (b"[^" + b"".join(map(_member, sorted(longer))) + b"]*" if longer else b"?*")
        stack += [at + bytes([byte]) for byte in sorted(longer, reverse=True)]


def _literal(head: bytes) -> bytes:
    return b"".join(b"\\" + bytes([byte]) if byte in _MEANING else bytes([byte]) for byte in head)


def _member(byte: int) -> bytes:
    """One byte inside of brackets."""
    one = bytes([byte])
    return one if one.isalnum() or byte > 127 else b"\\" + one


def _possible(head: bytes, *, whole: bool) -> Region | None:
    return None if _REFUSED & set(head) else Region(head, whole)
