"""What would be compiled again, and why: go's words beside ours.

Knows:     what go means by each of its stale reasons, what the action graph says beyond them, and how a first cause is told from
           its cascade.
Called by: `flows.stale` and `flows.build_plan`.
Never:     looks at a file or a cache: when files were changed and packages were compiled is given.
Source:    cmd/go/internal/work/buildid.go `useCache` (1, 2, 3, 4), build.go (5), exec.go `build` (6); cmd/go/internal/list/list.go
           computes them. Read in go1.21.13 and go1.27.3: the same six, and no others.

A dry run (`-n`, and `go list`, which plans in the same way) gives a step a build ID exactly if its result was found. What comes
after a step without one is planned as if that step gave something new, so it is never found: a cascade. The real build may stop
there, because a package that comes out as it was leaves everything above it as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.packages import Package

REASONS: Mapping[str, str] = {
    "build ID mismatch": "the cache has no entry for these inputs",
    "stale dependency": "a package that it imports is stale; the build may find that nothing changes for this one",
    "not installed but available in build cache": "compiled and in the cache; only the installed program is missing or older",
    "build -a flag in use": "-a is in GOFLAGS: go does not ask the cache",
    "build -o flag in use": "-o is in use: go does not look at an installed program",
    "binary-only packages are no longer supported": "it says //go:binary-only-package, which go refuses since go1.13",
}
"""Go's six reasons, and what each means. `stale dependency` goes on with `: ` and an import path."""

_DEPENDENCY = "stale dependency: "
_FORCED = "build -a flag in use"
COLUMNS = ("package", "state", "cause", "why", "go_stale", "go_reason", "standard", "module", "version")
"""Of the CSV form."""


class State(StrEnum):
    """What a build would do with a package now."""

    CACHED = "cached"
    COMPILE = "compile"
    CASCADE = "cascade"
    LINK = "link"
    INSTALLED = "installed"
    UNKNOWN = "unknown"


MEANING: Mapping[State, str] = {
    State.CACHED: "comes from the cache",
    State.COMPILE: "would be compiled",
    State.CASCADE: "may be compiled: a package that it needs would be, and may come out different",
    State.LINK: "comes from the cache; the program is only linked",
    State.INSTALLED: "the installed program is up to date",
    State.UNKNOWN: "cannot be told",
}


@dataclass(frozen=True, slots=True)
class Clue:
    """What is known about a package of which go found no entry.

    Attributes:
        settings: Settings of go without which go found an entry, such as `GOFLAGS=-race`; empty if that was not so, or not tried.
        compiled: The cache holds it for the same toolchain and target, compiled with other inputs.
        newer: Files that are newer than that, sorted.
        directory: The directory is: files were added, removed or renamed.
        others: Other toolchains and targets that the cache holds it for, such as `go1.21.13 linux/amd64`, sorted.
    """

    settings: str = ""
    compiled: bool = False
    newer: tuple[str, ...] = ()
    directory: bool = False
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One package in the report.

    Attributes:
        package: Import path.
        standard: It is part of the toolchain.
        module: Its module and version.
        version: Its module's version.
        state: What a build would do.
        cause: The package where it begins: itself for a first cause, another for a cascade, empty if it is neither.
        why: In our words; empty if there is nothing to explain.
        go_stale: What go says.
        go_reason: Go's own words; empty if it says that it is not stale.
    """

    package: str
    standard: bool
    module: str
    version: str
    state: State
    cause: str
    why: str
    go_stale: bool
    go_reason: str

    @property
    def rebuilt(self) -> bool:
        """Whether a compiler would, or might, run."""
        return self.state is State.COMPILE or self.state is State.CASCADE

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "package": self.package,
            "state": str(self.state),
            "cause": self.cause,
            "why": self.why,
            "go_stale": self.go_stale,
            "go_reason": self.go_reason,
            "standard": self.standard,
            "module": self.module,
            "version": self.version,
        }

    def as_cells(self) -> tuple[str, ...]:
        """For CSV, in the order of `COLUMNS`."""
        value = self.as_value()
        return tuple(_cell(value[column]) for column in COLUMNS)


def missing_packages(actions: Iterable[BuildAction]) -> frozenset[str]:
    """Packages of which go found no entry: first causes and their cascade."""
    return frozenset(
        action.package for action in actions if action.mode == "build" and action.action_id and not action.build_id
    )


def explain(packages: Sequence[Package], actions: Sequence[BuildAction], clues: Mapping[str, Clue]) -> tuple[Row, ...]:
    """Say of each package what would happen, and why.

    Args:
        packages: What `go list -deps` says: a package comes after all that it imports.
        actions: The action graph of the same listing.
        clues: What is known about packages of which go found no entry; those left out may be spared in a cascade.
    """
    missing = missing_packages(actions)
    found = {action.package for action in actions if action.mode == "build" and action.build_id}
    linked = {action.package for action in actions if action.mode == "link" and action.build_id}
    begins: dict[str, str] = {}
    rows = []
    for package in packages:
        state = _state(package, missing, found, linked)
        below = _below(package, missing)
        if state is State.COMPILE and below and not _is_sure(package, clues.get(package.path)):
            state = State.CASCADE
            begins[package.path] = next((begins[name] for name in below if name in begins), below[0])
        elif state is State.COMPILE:
            begins[package.path] = package.path
        cause = begins.get(package.path, "")
        why = _why(package, state, below, cause, clues.get(package.path, Clue()))
        about = (package.path, package.standard, package.module, package.version)
        rows.append(Row(*about, state, cause, why, package.stale, package.reason))
    return tuple(rows)


def _below(package: Package, missing: AbstractSet[str]) -> list[str]:
    """What a package needs and go did not find; some needs, such as `runtime/cgo`, are in no import but in go's reason."""
    named = [name for name in package.imports if name in missing]
    said = package.reason.removeprefix(_DEPENDENCY)
    return named or ([said] if said != package.reason and said in missing and said != package.path else [])


def _is_sure(package: Package, clue: Clue | None) -> bool:
    """Whether a package is compiled even if what it needs comes out as it was."""
    return package.reason == _FORCED or (clue is not None and (bool(clue.settings) or not clue.compiled))


def meaning_of(reason: str) -> str:
    """What one of go's reasons means; empty for one that we do not know."""
    return REASONS.get(reason.partition(":")[0], REASONS.get(reason, ""))


def _state(package: Package, missing: AbstractSet[str], found: AbstractSet[str], linked: AbstractSet[str]) -> State:
    if package.error:
        return State.UNKNOWN
    if package.path in missing:
        return State.COMPILE
    if package.path in linked:
        return State.INSTALLED
    if package.path in found:
        return State.LINK if package.name == "main" and not package.only_needed else State.CACHED
    # Neither: `unsafe`, or a package without a file for this target. No step, nothing to find.
    return State.CACHED if not package.stale else State.UNKNOWN


def _why(package: Package, state: State, below: Sequence[str], cause: str, clue: Clue) -> str:
    if state is State.UNKNOWN:
        return package.error or "go planned no step for it"
    if package.reason == _FORCED:
        return REASONS[package.reason]
    if state is State.CASCADE:
        through = f" (through {below[0]})" if below[0] != cause else ""
        edited = _edited(package, clue)
        return f"needs {cause}{through}" + (f"; besides, {edited}" if edited else "")
    return _first_cause(package, clue) if state is State.COMPILE else ""


def _first_cause(package: Package, clue: Clue) -> str:
    if clue.settings:
        return f"because of {clue.settings}: without, it would come from the cache"
    if edited := _edited(package, clue):
        return edited
    if clue.compiled and package.name == "main":
        return (
            "no program in the cache has these inputs: never built, trimmed, or built with other flags or environment"
        )
    if clue.compiled and package.version:
        return f"compiled before, but not {package.version} with these flags and environment"
    if clue.compiled:
        return "compiled before, but with other files, flags or environment"
    if clue.others:
        return f"in the cache only for {', '.join(clue.others[:3])}"
    return "the cache holds nothing of it: never built here, trimmed or cleaned"


def _edited(package: Package, clue: Clue) -> str:
    last = "anything built as a program here" if package.name == "main" else "its last compilation"
    if clue.newer:
        more = f" and {len(clue.newer) - 3} more" if len(clue.newer) > 3 else ""
        verb = "is" if len(clue.newer) == 1 else "are"
        return f"{', '.join(clue.newer[:3])}{more} {verb} newer than {last}"
    return f"files were added, removed or renamed in its directory after {last}" if clue.directory else ""


def _cell(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
