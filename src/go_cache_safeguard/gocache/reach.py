"""Which entries of a build cache somebody needs, and why each one stays.

Knows:     how what roots use, what is in doubt, what is young or pinned becomes a mark on an entry.
Called by: `flows.gc`; `gocache.budget` chooses among what is not marked.
Never:     touches the cache; asks the time (it is an argument). Never leaves an entry unmarked because nothing is known of it:
           who cannot be asked (`Doubt`) keeps all that could be theirs.
Source:    subkeys of a build step: `stdout`, `srcfiles`, `link-stdout` and the names in the list of sources
           (cmd/go/internal/work/buildid.go and exec.go, go1.21 to go1.27); test results count for five days at most, as long as
           go keeps what nobody uses (cmd/go/internal/cache/cache.go `trimLimit`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output
from go_cache_safeguard.gocache.select import matches

TEST_DAYS = 5
"""days: how long a test result is kept of which nobody can say who needs it."""
_SOURCES = "srcfiles"
_SUBKEYS = ("stdout", "link-stdout")
_TESTS = frozenset({Kind.TEST_OUTPUT, Kind.TEST_LOG, Kind.COVERAGE})
_DAY_NS = 86_400 * 10**9
NamesIn = Callable[[bytes], Iterable[str]]
"""Reads a list of sources: from the id of its output to the names in it; nothing if it cannot be read."""


@dataclass(frozen=True, slots=True)
class Use:
    """Somebody who needs entries.

    Attributes:
        name: Who, for a person: `go build ./... in /p`.
        actions: Ids of what they use.
    """

    name: str
    actions: Collection[bytes]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Somebody whose needs are not known, or not all of them.

    Attributes:
        name: Who.
        why: Why not, for a person.
        toolchain: Theirs; empty if it may be any.
        target: Likewise.
        packages: Import paths in doubt; None if that may be anything.
    """

    name: str
    why: str
    toolchain: str = ""
    target: str = ""
    packages: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Shelter:
    """What stays whoever needs it.

    Attributes:
        grace_s: Whatever was used within so many seconds.
        used_for_s: Likewise, as somebody asked for it; 0 for nothing.
        pins: Import paths or patterns of packages.
        toolchains: Versions whose own tools stay.
        largest: Bytes: what is larger and no archive could not be looked at.
    """

    grace_s: int
    used_for_s: int = 0
    pins: tuple[str, ...] = ()
    toolchains: frozenset[str] = frozenset()
    largest: int | None = None


@dataclass(slots=True)
class Marks:
    """Why entries stay.

    Attributes:
        needed: From the id of an entry that somebody uses to who does; these may be evicted if a person asks for it.
        safe: From the id of an entry that is never taken to the reason.
    """

    needed: dict[bytes, str] = field(default_factory=dict)
    safe: dict[bytes, str] = field(default_factory=dict)

    def why(self, action: bytes) -> str:
        """Why an entry stays; empty if nobody needs it."""
        return self.needed.get(action) or self.safe.get(action, "")


def mark(
    inventory: Inventory,
    uses: Sequence[Use],
    doubts: Sequence[Doubt],
    shelter: Shelter,
    *,
    names_in: NamesIn,
    now_ns: int,
) -> Marks:
    """Mark everything that stays.

    Args:
        inventory: What is in the cache.
        uses: Who uses what.
        doubts: Whose needs are not known.
        shelter: What stays whoever needs it.
        names_in: Reads lists of sources, of packages in doubt only.
        now_ns: The present, in nanoseconds since 1970-01-01 UTC.
    """
    marks = Marks()
    for use in uses:
        for action in use.actions:
            if action in inventory.actions:
                marks.needed.setdefault(action, use.name)
    for doubt in doubts:
        for action in _in_doubt(inventory, doubt, names_in):
            marks.safe.setdefault(action, f"in doubt, {doubt.name}: {doubt.why}")
    for key, entry in inventory.actions.items():
        if key not in marks.safe and (reason := _sheltered(inventory, entry, shelter, now_ns)):
            marks.safe[key] = reason
    return marks


def _in_doubt(inventory: Inventory, doubt: Doubt, names_in: NamesIn) -> Iterator[bytes]:
    for key, action in inventory.actions.items():
        output = _output_of(inventory, action)
        if output is None or not _may_be_theirs(output, doubt):
            continue
        yield key
        if doubt.packages is not None and output.kind is Kind.ARCHIVE:
            yield from _children(inventory, key, names_in)


def _may_be_theirs(output: Output, doubt: Doubt) -> bool:
    about = output.about
    if about is None:
        # Nobody can say of which package it is, unless it is found from its package's archive.
        return doubt.packages is None or output.kind in _TESTS or output.kind is Kind.VET_FACTS
    if doubt.toolchain and about.version and about.version != doubt.toolchain:
        return False
    if doubt.target and about.goos and about.target != doubt.target:
        return False
    return doubt.packages is None or about.package is None or about.package in doubt.packages


def _children(inventory: Inventory, parent: bytes, names_in: NamesIn) -> Iterator[bytes]:
    """Entries that belong to a build step."""
    sources = subkey(parent, _SOURCES)
    listed = inventory.actions.get(sources)
    names: Iterable[str] = ()
    if listed is not None and isinstance(listed.entry, Entry):
        names = names_in(listed.entry.output)
    for key in (sources, *(subkey(parent, text) for text in (*_SUBKEYS, *names))):
        if key in inventory.actions:
            yield key


def _sheltered(inventory: Inventory, action: Action, shelter: Shelter, now_ns: int) -> str:
    """Why it stays whoever needs it; empty if it does not."""
    if action.entry is None:
        return "it could not be read"
    output = _output_of(inventory, action)
    own = output is not None and output.kind is not Kind.EMPTY  # which half of all entries name
    age_ns = now_ns - (max(action.mtime_ns, output.mtime_ns) if output is not None and own else action.mtime_ns)
    if age_ns < shelter.grace_s * 10**9:
        return "it was used just now"
    if age_ns < shelter.used_for_s * 10**9:
        return "it was used lately"
    if output is None:
        return ""
    if output.kind in _TESTS and age_ns < TEST_DAYS * _DAY_NS:
        return f"a test result younger than {TEST_DAYS} days"
    about = output.about
    if about is None:
        too_large = shelter.largest is not None and output.size > shelter.largest
        return "it is too large to be looked at" if too_large else ""
    package = about.package or ""
    if any(package and matches(pin, package) for pin in shelter.pins):
        return "it is pinned"
    if output.kind is Kind.EXECUTABLE and package.startswith("cmd/") and about.version in shelter.toolchains:
        return "a tool of a toolchain in use"
    return ""


def _output_of(inventory: Inventory, action: Action) -> Output | None:
    return inventory.outputs.get(action.entry.output) if isinstance(action.entry, Entry) else None
