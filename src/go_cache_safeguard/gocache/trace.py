"""Every lookup that a go command made in its cache.

Knows:     how a lookup is written down, which lookups belong together, and how they are summed up by kind and package.
Called by: `flows.trace`.
Never:     guesses a package: what nothing tells stays without one.
Source:    subkeys of a build action, `stdout`, `srcfiles`, `link-stdout`: cmd/go/internal/work/exec.go and buildid.go, go1.21 to go1.27.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from go_cache_safeguard.gocache.traceline import NO_OUTPUT

_KEY = re.compile(
    rb'^HASH(?:\[([^\n]*)\]: ([0-9a-f]{64})| subkey [0-9a-f]{64} "[^\n]*" = ([0-9a-f]{64}))$', re.MULTILINE
)
_SUBKEYS = ("stdout", "srcfiles", "link-stdout", "vet-stdout")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One action that was looked up, or put without having been looked up.

    Attributes:
        action: 32 bytes.
        output: 32 bytes: what was found, or what was put after a miss; None if neither.
        hit: Whether it was found.
        put: Whether something was put for it.
        size: Of the output, in bytes.
        ns: What answering took, lookups and puts together.
        kind: What the output is, such as `archive`; empty if there is none.
        package: Import path; empty if nothing tells.
    """

    action: bytes
    output: bytes | None
    hit: bool
    put: bool
    size: int
    ns: int
    kind: str = ""
    package: str = ""

    def as_value(self) -> dict[str, object]:
        """One line of `--jsonl`."""
        return {
            "action": self.action.hex(),
            "output": None if self.output is None else self.output.hex(),
            "hit": self.hit,
            "put": self.put,
            "size": self.size,
            "ns": self.ns,
            "kind": self.kind or None,
            "package": self.package or None,
        }


@dataclass(frozen=True, slots=True)
class Sum:
    """Lookups of one kind or of one package.

    Attributes:
        name: Of the kind or the package; empty for those without.
        hits: How many were found.
        misses: How many were not.
        hit_size: Bytes that were found.
        put_size: Bytes that were put.
        ns: What answering took.
    """

    name: str
    hits: int
    misses: int
    hit_size: int
    put_size: int
    ns: int

    def as_value(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name": self.name,
            "hits": self.hits,
            "misses": self.misses,
            "hit_size": self.hit_size,
            "put_size": self.put_size,
            "ns": self.ns,
        }


def parse_trace(data: bytes) -> tuple[Lookup, ...]:
    """Read what was written down; a line that is none is left out, as the last one may be cut.

    An action that was looked up several times, or missed and then put, is one lookup: a hit if it was found at first.
    """
    found: dict[bytes, Lookup] = {}
    for line in data.splitlines():
        words = line.split()
        try:
            letter, action, output, size, ns = words
            one = _lookup(letter, bytes.fromhex(action.decode("ascii")), output, int(size), int(ns))
        except ValueError:
            continue
        before = found.get(one.action)
        found[one.action] = one if before is None else _joined(before, one)
    return tuple(found.values())


def _lookup(letter: bytes, action: bytes, output: bytes, size: int, ns: int) -> Lookup:
    if letter not in {b"g", b"p"} or len(action) != 32:
        raise ValueError("no lookup")
    named = None if output == NO_OUTPUT else bytes.fromhex(output.decode("ascii"))
    return Lookup(action, named, letter == b"g" and named is not None, letter == b"p", size, ns)


def _joined(one: Lookup, other: Lookup) -> Lookup:
    last = other if other.put or one.output is None else one
    return Lookup(one.action, last.output, one.hit, one.put or other.put, last.size, one.ns + other.ns)


def explain(
    lookups: Iterable[Lookup],
    about: Callable[[bytes], tuple[str, str]],
    *,
    subkey: Callable[[bytes, str], bytes],
    graph: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[Lookup, ...]:
    """Give lookups their kinds and packages.

    Args:
        lookups: As they were made.
        about: Kind and package of an output, each empty if it does not tell.
        subkey: The key that go makes from another and a word.
        graph: Mode and package by the first 20 characters of the action's id in base64, from the action graph if there is one.
    """
    known = graph or {}
    told = []
    for one in lookups:
        kind, package = about(one.output) if one.output is not None else ("", "")
        mode, planned = known.get(half(one.action), ("", ""))
        told.append(_told(one, kind or mode, planned or package))
    parents = {
        one.action: one.package for one in told if one.package and one.kind in {"archive", "build", "link", "vet"}
    }
    of_subkey = {subkey(action, word): package for action, package in parents.items() for word in _SUBKEYS}
    return tuple(one if one.package else _told(one, one.kind, of_subkey.get(one.action, "")) for one in told)


def half(action: bytes) -> str:
    """The first 20 characters of an action's id, as go writes it into build IDs and action graphs."""
    return urlsafe_b64encode(action[:15]).decode("ascii")


def _told(one: Lookup, kind: str, package: str) -> Lookup:
    return Lookup(one.action, one.output, one.hit, one.put, one.size, one.ns, kind, package)


def by_kind(lookups: Iterable[Lookup]) -> tuple[Sum, ...]:
    """Sums of each kind, those with most misses first."""
    return _sums(lookups, lambda one: one.kind)


def by_package(lookups: Iterable[Lookup]) -> tuple[Sum, ...]:
    """Sums of each package, those with most misses first."""
    return _sums(lookups, lambda one: one.package)


def total(lookups: Sequence[Lookup]) -> Sum:
    """The sum of all."""
    return _sum("", lookups)


def _sums(lookups: Iterable[Lookup], name_of: Callable[[Lookup], str]) -> tuple[Sum, ...]:
    groups: dict[str, list[Lookup]] = {}
    for one in lookups:
        groups.setdefault(name_of(one), []).append(one)
    sums = [_sum(name, group) for name, group in groups.items()]
    return tuple(sorted(sums, key=lambda one: (-one.misses, -one.hits, one.name)))


def _sum(name: str, group: Sequence[Lookup]) -> Sum:
    hits = sum(one.hit for one in group)
    return Sum(
        name,
        hits,
        len(group) - hits,
        sum(one.size for one in group if one.hit),
        sum(one.size for one in group if one.put),
        sum(one.ns for one in group),
    )


def keys_in(log: bytes) -> tuple[tuple[bytes, str], ...]:
    """Every key that go's log of hashes names, with the name of its hash; which writes led to it does not matter here.

    Args:
        log: Lines of `GODEBUG=gocachehash=1`.

    Source: cmd/go/internal/cache/hash.go, `Sum` and `Subkey`, go1.21 to go1.27.
    """
    return tuple(
        (bytes.fromhex((key or derived).decode("ascii")), name.decode("utf-8", "replace") if key else "subkey")
        for name, key, derived in _KEY.findall(log)
    )


def from_hash_log(
    keys: Iterable[tuple[bytes, str]],
    before: frozenset[bytes],
    after: Callable[[bytes], tuple[bytes, int] | None],
) -> tuple[Lookup, ...]:
    """Lookups of a release without GOCACHEPROG: keys that go made, and what was there before and after.

    Args:
        keys: Every key with the name of its hash, such as `build fmt`, from the log.
        before: Actions that were in the cache when the command began.
        after: Output and size of an entry when it has ended, or None.

    A key of a build, a vet or a test that is in the cache neither before nor after was missed and nothing was put; other keys of
    that kind are no lookups but parts of others.
    """
    found: dict[bytes, Lookup] = {}
    for action, name in keys:
        verb, _, package = name.partition(" ")
        entry = after(action)
        if entry is None:
            if verb in {"build", "vet", "testResult"}:
                found.setdefault(
                    action, Lookup(action, None, hit=False, put=False, size=0, ns=0, kind=verb, package=package)
                )
            continue
        hit = action in before
        if verb not in {"build", "vet"}:
            package = ""
        found[action] = Lookup(action, entry[0], hit=hit, put=not hit, size=entry[1], ns=0, kind="", package=package)
    return tuple(found.values())
