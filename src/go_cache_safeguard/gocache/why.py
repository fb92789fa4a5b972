"""Why packages are not in the cache: what changed in their keys, the first cause apart from its cascade.

Knows:     how a cause travels along imports, how an evicted entry is told from a changed key, and how sure we are.
Called by: `flows.why`.
Never:     guesses: a cause is proved (the old key is in the cache), recorded (a run of ours differs), or not known.
Source:    cmd/go/internal/work/buildid.go `useCache` in go1.21.13 and go1.27.3: until a package
           is built its content ID is taken to be its action ID, which `go build -n` shows in the keys of those that import it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum

from go_cache_safeguard.gocache.ghosts import Ghost
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.keychange import Change, describe, differences, own_changes, sign_of
from go_cache_safeguard.gocache.keyrecord import Part, Recorded, imports_of

_EVICTED = "evicted, same key"


class State(StrEnum):
    """What becomes of a package."""

    MISSED = "missed"
    CASCADE = "cascade"
    FOUND = "found"


class Basis(StrEnum):
    """How sure a cause is."""

    PROVED = "proved"
    RECORDED = "recorded difference"
    UNKNOWN = "not known"


class Cause(StrEnum):
    """What kind of cause."""

    CHANGED = "changed"
    EVICTED = "evicted"
    NEVER = "never built here"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Proof:
    """An old key that is in the cache, or was.

    Attributes:
        key: 32 bytes.
        changes: What differs between it and the key of now; without imports.
        imports: Import paths whose content differs.
        told: Where the old text is from, such as `git 1a2b3c4`; empty if that is no matter.
    """

    key: bytes
    changes: tuple[Change, ...]
    imports: tuple[str, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the keys of now.

    Attributes:
        found: Keys that are in the cache.
        baseline: Gives what a key was in a recorded run; None if there is none.
        ghosts: Entries that were there, by key.
        seen: Names of packages of which the cache holds or held anything.
        proofs: By the name of a block.
    """

    found: Collection[bytes]
    baseline: Callable[[Recorded], Recorded | None]
    ghosts: Mapping[bytes, Ghost] = field(default_factory=dict)
    seen: AbstractSet[str] = frozenset()
    proofs: Mapping[str, Proof] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class First:
    """A first cause.

    Attributes:
        cause: What kind.
        basis: How sure.
        text: For a person.
        sign: The same for the same cause in another package.
        changes: What changed; empty unless the cause is a change.
        key: Hexadecimal: the old key that proves it, or the key that was evicted; empty if there is none.
        told: Where the old text is from; empty if that is no matter.
    """

    cause: Cause
    basis: Basis
    text: str
    sign: str
    changes: tuple[Change, ...] = ()
    key: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One package, or one other step.

    Attributes:
        name: As in the log, such as `build example.com/m`.
        key: 32 bytes.
        state: What becomes of it.
        own: Causes that begin here.
        through: What it imports and does not find, or finds changed.
        begins: Signs of every first cause that reaches it, its own included.
        spared: It is in the cache for what it imported before: it is not compiled if that comes out as it was.
    """

    name: str
    key: bytes
    state: State
    own: tuple[First, ...] = ()
    through: tuple[str, ...] = ()
    begins: frozenset[str] = frozenset()
    spared: bool = False

    @property
    def package(self) -> str:
        """The import path, for a test with what it is built for."""
        return self.name.partition(" ")[2]


def explain(keys: Sequence[Recorded], facts: Facts) -> tuple[Row, ...]:
    """Say of each key why it is not in the cache.

    Args:
        keys: Of now, in go's order: a package comes after what it imports.
        facts: What is known besides.

    Returns:
        A row for each key that is missed, or that is found but is not what it was in the recorded run.
    """
    rows: dict[str, Row] = {}
    standing = {id_half(key.sum): key.name for key in keys if key.sum not in facts.found}
    for key in keys:
        row = _row(key, facts, standing, rows)
        if row is not None:
            rows[key.name] = row
    return tuple(rows.values())


def _row(key: Recorded, facts: Facts, standing: Mapping[str, str], rows: Mapping[str, Row]) -> Row | None:
    found, before = key.sum in facts.found, facts.baseline(key)
    if found and (before is None or before.sum == key.sum):
        return None
    waits = {path: standing[content] for path, content in imports_of(key.lines).items() if content in standing}
    if key.name.startswith("vet "):
        waits |= {"": f"build {key.name[4:]}"}
    changed = _changed_imports(key, before, rows)
    through = tuple(dict.fromkeys(name for name in (*waits.values(), *changed) if name in rows and name != key.name))
    own, spared = _own(key, before, facts, waits)
    if not own and not through:
        own = _last_resort(key, before, found=found)
    reached = frozenset().union(*(rows[name].begins for name in through))
    if waits and not all(sign.startswith(_EVICTED) for sign in reached):
        # Its old entry is gone, too, but would not have been asked for.
        own = tuple(first for first in own if first.cause is not Cause.EVICTED)
    begins = reached.union(first.sign for first in own)
    state = State.FOUND if found else State.MISSED if own else State.CASCADE
    return Row(key.name, key.sum, state, own, through, begins, spared)


def _last_resort(key: Recorded, before: Recorded | None, *, found: bool) -> tuple[First, ...]:
    changes = () if before is None else differences(before.lines, key.lines)
    imports = tuple(change for change in changes if change.part is Part.IMPORT and change.is_edit)
    if imports:
        text = describe(imports[0])
        return (First(Cause.CHANGED, Basis.RECORDED, text, text, imports),)
    return () if found else (_unknown(key, "its inputs are not those of the recorded run"),)


def _unknown(key: Recorded, text: str) -> First:
    return First(Cause.UNKNOWN, Basis.UNKNOWN, text, f"{key.name}: {text}")


def _changed_imports(key: Recorded, before: Recorded | None, rows: Mapping[str, Row]) -> list[str]:
    """Names of the rows of what it imports and finds changed."""
    if before is None:
        return []
    suffix = key.name[at:] if (at := key.name.find(" [")) > 0 else ""
    old = imports_of(before.lines)
    changed = [path for path, content in imports_of(key.lines).items() if old.get(path) != content]
    names = [name for path in changed for name in (f"build {path}{suffix}", f"build {path}")]
    return [name for name in names if name in rows]


def _own(
    key: Recorded, before: Recorded | None, facts: Facts, waits: Mapping[str, str]
) -> tuple[tuple[First, ...], bool]:
    """Causes that begin in this key, and whether it is there for what it imported before."""
    if key.sum in facts.found:
        own = () if before is None else _changes_since(key, before, facts)
        return own, False
    if key.sum in facts.ghosts:
        return (_evicted(key.sum, facts.ghosts),), False
    if before is not None:
        return _against(key, before, facts, waits)
    return _without_record(key, facts, waits)


def _without_record(key: Recorded, facts: Facts, waits: Mapping[str, str]) -> tuple[tuple[First, ...], bool]:
    if proof := facts.proofs.get(key.name):
        return _proved(key, proof, facts)
    if waits:
        return (), False
    if key.name.startswith("vet "):
        return (_unknown(key, "vet has not looked at these inputs, or with other flags"),), False
    if _package(key) not in facts.seen:
        text = "never built here: nothing of it was seen in this cache"
        return (First(Cause.NEVER, Basis.PROVED, text, text),), False
    return (_unknown(key, "built before, but with inputs that are not known"),), False


def _package(key: Recorded) -> str:
    return key.name.partition(" ")[2].partition(" [")[0]


def _against(key: Recorded, before: Recorded, facts: Facts, waits: Mapping[str, str]) -> tuple[tuple[First, ...], bool]:
    own = _changes_since(key, before, facts)
    if own:
        return own, False
    if before.sum in facts.found:
        return (), True
    old = imports_of(before.lines)
    if any(path not in waits and old.get(path) != content for path, content in imports_of(key.lines).items()):
        return (), False  # what it imports came out different: that is told by `through`
    if key.name.startswith("vet ") and waits:
        return (), False
    if not before.held:
        return _without_record(key, facts, waits)
    return (_evicted(before.sum, facts.ghosts),), False


def _changes_since(key: Recorded, before: Recorded, facts: Facts) -> tuple[First, ...]:
    standard = any(line.startswith("omitdebug ") and " standard true " in line for line in key.lines)
    changes = own_changes(differences(before.lines, key.lines), standard=standard)
    known = before.sum in facts.found or before.sum in facts.ghosts
    return tuple(changed(_package(key), change, before.sum if known else b"") for change in changes)


def changed(package: str, change: Change, proof: bytes, told: str = "") -> First:
    """The cause that one change is.

    Args:
        package: Whose key it is in.
        change: The change.
        proof: The old key, if it is or was in the cache; empty otherwise.
        told: Where the old text is from; empty if that is no matter.
    """
    basis = Basis.PROVED if proof else Basis.RECORDED
    text, sign = describe(change, package), sign_of(change, package)
    return First(Cause.CHANGED, basis, text, sign, (change,), proof.hex(), told)


def _proved(key: Recorded, proof: Proof, facts: Facts) -> tuple[tuple[First, ...], bool]:
    if proof.changes:
        return tuple(changed(_package(key), change, proof.key, proof.told) for change in proof.changes), False
    if proof.key in facts.found:
        return (), True
    return (_evicted(proof.key, facts.ghosts),), False


def _evicted(key: bytes, ghosts: Mapping[bytes, Ghost]) -> First:
    ghost = ghosts.get(key)
    who = "it was in the recorded run; who took it and when is not known" if ghost is None else ghost.story
    basis = Basis.RECORDED if ghost is None else Basis.PROVED
    text = f"{_EVICTED}: {who}"
    return First(Cause.EVICTED, basis, text, text, (), key.hex())


@dataclass(frozen=True, slots=True)
class Group:
    """One first cause and all that it reaches.

    Attributes:
        first: The cause, as it is in the first package that has it.
        direct: Names of the keys in which it begins.
        cascade: Names of the keys that it reaches through imports only.
        missed: How many of both are not in the cache.
    """

    first: First
    direct: tuple[str, ...]
    cascade: tuple[str, ...]
    missed: int


def gather(rows: Sequence[Row]) -> tuple[Group, ...]:
    """First causes, those first that reach most of what is missed.

    Args:
        rows: What `explain` gives.
    """
    firsts: dict[str, First] = {}
    for row in rows:
        for first in row.own:
            firsts.setdefault(first.sign, first)
    groups = [_group(first, rows) for first in firsts.values()]
    return tuple(sorted(groups, key=lambda group: -group.missed))


def _group(first: First, rows: Sequence[Row]) -> Group:
    reached = [row for row in rows if first.sign in row.begins]
    direct = {row.name for row in reached if any(own.sign == first.sign for own in row.own)}
    return Group(
        first,
        tuple(row.name for row in reached if row.name in direct),
        tuple(row.name for row in reached if row.name not in direct),
        sum(row.state is not State.FOUND for row in reached),
    )
