"""What changed between two recorded states of a module.

Knows:     the kinds of change, how bad each is, how one is said, and what cannot be compared.
Called by: `flows.drift`; `gomod.checks.drift` judges.
Never:     says that something is unchanged which one of the two states does not know: that is a gap.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.semver import rank
from go_cache_safeguard.gomod.state import Main, Module, State


class Kind(StrEnum):
    """What kind of change."""

    HASH_CHANGED = "hash-changed"
    ADDED = "module-added"
    REMOVED = "module-removed"
    RAISED = "module-raised"
    LOWERED = "module-lowered"
    REPLACEMENT = "replacement-changed"
    DIRECT = "now-direct"
    INDIRECT = "now-indirect"
    GO_LINE = "go-line-changed"
    MAIN_ADDED = "main-module-added"
    MAIN_REMOVED = "main-module-removed"
    MAIN_MOVED = "main-module-moved"
    EDGE_ADDED = "requirement-added"
    EDGE_REMOVED = "requirement-removed"
    SUM_ADDED = "go-sum-line-added"
    SUM_MISSING = "go-sum-line-missing"
    TIDY = "tidy-changed"
    ENVIRONMENT = "environment-changed"


_PAIRS = (
    (Kind.ADDED, Kind.REMOVED),
    (Kind.RAISED, Kind.LOWERED),
    (Kind.DIRECT, Kind.INDIRECT),
    (Kind.MAIN_ADDED, Kind.MAIN_REMOVED),
    (Kind.EDGE_ADDED, Kind.EDGE_REMOVED),
    (Kind.SUM_ADDED, Kind.SUM_MISSING),
)
MIRROR: Mapping[Kind, Kind] = {
    **{kind: kind for kind in Kind},
    **dict(_PAIRS),
    **{there: here for here, there in _PAIRS},
}
"""What a change is called when one looks from the other state."""

TOUCHING = frozenset({Kind.HASH_CHANGED, Kind.ADDED, Kind.RAISED, Kind.LOWERED, Kind.REPLACEMENT})
"""After these changes, packages that use the module are built from other sources."""

_ORDER = tuple(Kind)
_SHOWN_OF_TIDY = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: See `Kind`.
        subject: A module path; of a line of go.sum also the version; of a requirement who requires.
        before: What was recorded; empty if nothing.
        after: What is now; empty if nothing.
    """

    kind: Kind
    subject: str
    before: str = ""
    after: str = ""

    @property
    def outcome(self) -> Outcome:
        """How bad it is, before a site's rules."""
        match self.kind:
            case Kind.HASH_CHANGED:
                return Outcome.BLOCK
            case Kind.ENVIRONMENT:
                return Outcome.PASS
            case _:
                return Outcome.WARN

    @property
    def module(self) -> str:
        """Path of the module that it is about."""
        return self.subject.split(" ")[0].partition("@")[0]

    @property
    def rank(self) -> tuple[int, str, str, str]:
        """Worst kinds first."""
        return _ORDER.index(self.kind), self.subject, self.before, self.after

    def mirrored(self) -> "Change":
        """The same change, seen from the other state."""
        return Change(MIRROR[self.kind], self.subject, self.after, self.before)

    def line(self) -> str:
        """One line for a person."""
        return _SAYING[self.kind].format(subject=self.subject, before=self.before or "-", after=self.after or "-")

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "kind": str(self.kind),
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
            "outcome": str(self.outcome),
        }


_SAYING = {
    Kind.HASH_CHANGED: "{subject}: go.sum demanded {before} and now demands {after}: other content under the same version",
    Kind.ADDED: "{subject} {after} was added",
    Kind.REMOVED: "{subject} {before} was removed",
    Kind.RAISED: "{subject} moved up: {before} -> {after}",
    Kind.LOWERED: "{subject} moved down: {before} -> {after}",
    Kind.REPLACEMENT: "{subject} is replaced by other content: {before} -> {after}",
    Kind.DIRECT: "{subject} is now required directly",
    Kind.INDIRECT: "{subject} is no longer required directly",
    Kind.GO_LINE: "{subject}: its go or toolchain line changed: {before} -> {after}",
    Kind.MAIN_ADDED: "{subject} is a new main module, in {after}",
    Kind.MAIN_REMOVED: "{subject} is no main module any more; it was in {before}",
    Kind.MAIN_MOVED: "{subject} lies elsewhere: {before} -> {after}",
    Kind.EDGE_ADDED: "{subject} now requires {after}",
    Kind.EDGE_REMOVED: "{subject} no longer requires {before}",
    Kind.SUM_ADDED: "{subject} was added to {after}",
    Kind.SUM_MISSING: "{subject} is gone from {before}",
    Kind.TIDY: "`go mod tidy` would change {subject}: {before} -> {after}",
    Kind.ENVIRONMENT: "{subject} was {before} and is {after}",
}


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Something that cannot be compared.

    Attributes:
        part: One of `state.PARTS`, or `packages`.
        reason: Why; go's own words where go said something.
        then: Whether it was not known when the state was recorded, rather than now.
    """

    part: str
    reason: str
    then: bool = False

    @property
    def sentence(self) -> str:
        """What to say of the part."""
        return f"{'was not known when the state was recorded' if self.then else 'cannot be told'}: {self.reason}"


def find_gaps(before: State, after: State) -> tuple[Gap, ...]:
    """What one of two states does not know."""
    now = [Gap(part, reason) for part, reason in after.unknown.items()]
    then = [Gap(part, reason, then=True) for part, reason in before.unknown.items() if part not in after.unknown]
    if before.tidy is None and after.tidy is not None and "tidy" not in before.unknown:
        then.append(Gap("tidy", "it was recorded with --no-tidy", then=True))
    return tuple(sorted(now) + sorted(then))


def compare(before: State, after: State) -> tuple[Change, ...]:
    """Every difference, worst kinds first. Of what one of the two does not know, none; see `find_gaps`."""
    unknown = {*before.unknown, *after.unknown}
    found: list[Change] = [*_mains(before.mains, after.mains), *_environment(before.environment, after.environment)]
    if "modules" not in unknown:
        found += _modules(before.modules, after.modules)
    if "graph" not in unknown:
        found += _edges(before.edges, after.edges)
    if "go.sum" not in unknown:
        found += _sums(before, after)
    if "tidy" not in unknown and before.tidy is not None and after.tidy is not None:
        found += _tidy(before.tidy, after.tidy)
    return tuple(sorted(found, key=lambda change: change.rank))


def _modules(before: Iterable[Module], after: Iterable[Module]) -> Iterator[Change]:
    old, new = ({module.path: module for module in modules} for modules in (before, after))
    for path in sorted({*old, *new}):
        was, now = old.get(path), new.get(path)
        if was is None and now is not None:
            yield Change(Kind.ADDED, path, after=_with_replacement(now))
        elif was is not None and now is None:
            yield Change(Kind.REMOVED, path, before=_with_replacement(was))
        elif was is not None and now is not None:
            yield from _moved(was, now)


def _moved(was: Module, now: Module) -> Iterator[Change]:
    if was.version != now.version:
        # Two that rank the same (only what follows a `+` differs) are told apart by their text, so that one is always up.
        up = (rank(was.version), was.version) < (rank(now.version), now.version)
        yield Change(Kind.RAISED if up else Kind.LOWERED, now.path, was.version, now.version)
    if was.replacement != now.replacement:
        yield Change(Kind.REPLACEMENT, now.path, was.replacement, now.replacement)
    if was.direct != now.direct:
        yield Change(Kind.DIRECT if now.direct else Kind.INDIRECT, now.path)
    if was.go != now.go and (was.version, was.replacement) == (now.version, now.replacement):
        # Another version has a go line of its own; that goes without saying.
        yield Change(Kind.GO_LINE, now.path, was.go, now.go)


def _with_replacement(module: Module) -> str:
    return f"{module.version} => {module.replacement}" if module.replacement else module.version


def _mains(before: Iterable[Main], after: Iterable[Main]) -> Iterator[Change]:
    old, new = ({main.path: main for main in mains} for mains in (before, after))
    for path in sorted({*old, *new}):
        was, now = old.get(path), new.get(path)
        if was is None and now is not None:
            yield Change(Kind.MAIN_ADDED, path, after=now.folder)
        elif was is not None and now is None:
            yield Change(Kind.MAIN_REMOVED, path, before=was.folder)
        elif was is not None and now is not None:
            if was.folder != now.folder:
                yield Change(Kind.MAIN_MOVED, path, was.folder, now.folder)
            if (was.go, was.toolchain) != (now.go, now.toolchain):
                yield Change(Kind.GO_LINE, path, _go_of(was), _go_of(now))


def _go_of(main: Main) -> str:
    return " ".join(part for part in (main.go, main.toolchain) if part)


def _edges(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> Iterator[Change]:
    old, new = set(before), set(after)
    for start, end in sorted(new - old):
        yield Change(Kind.EDGE_ADDED, start, after=end)
    for start, end in sorted(old - new):
        yield Change(Kind.EDGE_REMOVED, start, before=end)


def _sums(before: State, after: State) -> Iterator[Change]:
    old, new = _demanded(before), _demanded(after)
    changed = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
    for key in changed:
        yield Change(Kind.HASH_CHANGED, key, _hashes(old[key]), _hashes(new[key]))
    for name in sorted({*before.sums, *after.sums}):
        was, now = (frozenset(state.sums.get(name, {})) for state in (before, after))
        for key in sorted(now - was):
            yield Change(Kind.SUM_ADDED, key, after=name)
        for key in sorted(was - now):
            yield Change(Kind.SUM_MISSING, key, before=name)


def _demanded(state: State) -> Mapping[str, frozenset[str]]:
    """All files together: in a workspace it does not matter in which file a line stands."""
    found: dict[str, frozenset[str]] = {}
    for lines in state.sums.values():
        for key, hashes in lines.items():
            found[key] = found.get(key, frozenset()) | frozenset(hashes)
    return found


def _hashes(hashes: Iterable[str]) -> str:
    return " and ".join(sorted(hashes))


def _tidy(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Change]:
    """One change for each file, or for both if only what would change there differs."""
    for name in sorted({_file_of(line) for line in (*before, *after)}):
        was, now = (tuple(line for line in lines if _file_of(line) == name) for lines in (before, after))
        if was != now:
            yield Change(Kind.TIDY, name, _amount(was), _amount(now))


def _file_of(line: str) -> str:
    return line.partition(": ")[0]


def _amount(lines: tuple[str, ...]) -> str:
    if len(lines) <= _SHOWN_OF_TIDY:
        return "; ".join(line.partition(": ")[2] for line in lines) or "nothing"
    return f"{len(lines)} lines, the first: {lines[0].partition(': ')[2]}"


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if before.get(name, "") != after.get(name, ""):
            yield Change(Kind.ENVIRONMENT, name, before.get(name, ""), after.get(name, ""))
