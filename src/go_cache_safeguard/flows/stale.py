"""Tell what would be compiled again, package by package, and why.

Knows:     where the facts come from: go's listing, its action graph, the cache, and the times of files.
Called by: the command line's `stale`.
Never:     compiles, or changes a file: see `flows.looking`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.flows.looking import Planner, planner, read_cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.buildplan import STEERING
from go_cache_safeguard.gotool.packages import Package
from go_cache_safeguard.gotool.stale import Clue, Row, explain, missing_packages

_TRIALS = 4
"""How many settings are tried alone; each costs one more listing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        gocache: The cache that was asked.
        toolchain: The version of go.
        patterns: The packages that were asked for.
        rows: Every package, those that are needed first.
        notes: What a person should know besides.
    """

    gocache: Path
    toolchain: str
    patterns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def report_stale(session: Session, gocache: Path, patterns: Sequence[str]) -> Report:
    """Ask about packages of the current directory's module or workspace, and all that they need.

    Args:
        session: Who asks.
        gocache: The cache.
        patterns: As for `go build`; empty for the whole module or workspace.

    Raises:
        CannotPlan: Go could not say.
        NotAGoCache: The directory is something else.
        UsageFailure: There is no module here.
    """
    cache = read_cache(session, gocache)
    with planner(session, session.cwd, cache) as (asked, notes):
        wanted = asked.patterns(patterns)
        session.progress.phase("asking go")
        packages, actions = _ask(asked, wanted, {})
        missing = missing_packages(actions)
        blamed = _blame(missing, _settings(session.environ, asked), asked, wanted)
        session.progress.phase("")
    clues = find_clues([package for package in packages if package.path in missing], cache.inventory, asked)
    clues |= {name: Clue(text) for name, text in blamed.items()}
    return Report(gocache, asked.version, wanted, explain(packages, actions, clues), notes)


def find_clues(packages: Sequence[Package], inventory: Inventory | None, asked: Planner) -> dict[str, Clue]:
    """What cache and files tell about packages of which go found no entry.

    Args:
        packages: Those packages.
        inventory: What is in the cache; None if there is none.
        asked: The toolchain and target.
    """
    held = _held(inventory, {_compiler_name(package) for package in packages}, asked)
    return {package.path: _clue(package, *held[_compiler_name(package)]) for package in packages}


def _ask(
    asked: Planner, patterns: tuple[str, ...], extra: Mapping[str, str]
) -> tuple[tuple[Package, ...], tuple[BuildAction, ...]]:
    graph = asked.folder / f"graph-{len(extra)}.json"
    return asked.listing(patterns, graph=graph, extra=extra), asked.graph(graph)


def _blame(
    missing: AbstractSet[str], settings: Sequence[tuple[str, str]], asked: Planner, patterns: tuple[str, ...]
) -> dict[str, str]:
    """Which setting each package is missing because of: go is asked again without it, and then without all of them."""
    trials = [(setting,) for setting in settings[:_TRIALS]]
    blamed: dict[str, str] = {}
    for trial in [*trials, tuple(settings)] if len(settings) > 1 else trials:
        left = missing - blamed.keys()
        if left:
            _, actions = _ask(asked, patterns, _without(trial, asked))
            text = " ".join(f"{name}={value}" for name, value in trial)
            blamed |= dict.fromkeys(left - missing_packages(actions), text)
    return blamed


def _settings(environ: Mapping[str, str], asked: Planner) -> list[tuple[str, str]]:
    """What the person set of all that steers a build. Of GOFLAGS, what chooses modules is no matter of the cache."""
    flags = [("GOFLAGS", word) for word in asked.flags.split() if not _chooses_modules(word)]
    return [*flags, *((name, environ[name]) for name in STEERING if environ.get(name) and name != "GOFLAGS")]


def _without(settings: Sequence[tuple[str, str]], asked: Planner) -> dict[str, str]:
    kept = " ".join(word for word in asked.flags.split() if ("GOFLAGS", word) not in settings)
    # Not empty: go would take GOFLAGS from its GOENV file then.
    return {**{name: "" for name, _value in settings}, "GOFLAGS": kept or "-buildvcs=auto"}


def _chooses_modules(flag: str) -> bool:
    return flag.startswith(("-mod=", "-modfile=", "-modcacherw", "-overlay="))


def _compiler_name(package: Package) -> str:
    """The compiler calls every program `main`, so those cannot be told apart in a cache."""
    return "main" if package.name == "main" else package.path


def _held(
    inventory: Inventory | None, names: AbstractSet[str], asked: Planner
) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What the cache holds of packages: when they were last compiled for this toolchain and target, and for which others."""
    mine = f"{asked.version} {asked.env.get('GOOS', '')}/{asked.env.get('GOARCH', '')}"
    last = dict.fromkeys(names, 0)
    others: dict[str, set[str]] = {name: set() for name in names}
    for output in inventory.outputs.values() if inventory is not None and names else ():
        about = output.about
        if output.kind is not Kind.ARCHIVE or about is None or about.package not in last or inventory is None:
            continue
        owner = inventory.owner_of(output)
        made = f"{about.version} {about.target}"
        if made != mine:
            others[about.package].add(made)
        elif owner is not None and isinstance(owner.entry, Entry):
            last[about.package] = max(last[about.package], owner.entry.time_ns)
    return {name: (last[name], tuple(sorted(others[name]))) for name in names}


def _clue(package: Package, last_ns: int, others: tuple[str, ...]) -> Clue:
    if not last_ns or not package.directory or package.standard or package.version:
        # The files of toolchain and module cache are as old as their extraction.
        return Clue(compiled=last_ns > 0, others=others)
    newer = tuple(name for name in package.files if _changed_ns(f"{package.directory}/{name}") > last_ns)
    directory = _changed_ns(package.directory) > last_ns
    return Clue(compiled=True, newer=newer, directory=directory, others=others)


def _changed_ns(path: str) -> int:
    """When a file's content changed last; 0 if that cannot be known."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
