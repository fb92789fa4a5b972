"""Rebuild packages in isolation and compare them with what the cache would give.

Knows:     which entries of the cache a build here would use, and how to make the same packages again in an empty cache.
Called by: the command line's `pollution --sample`, and `flows.gate`.
Never:     writes into the person's cache: go sees a stand-in while it plans, and empty caches while it compiles. Both are in the
           place of `flows.looking`, offline, and gone afterwards.
"""

import os
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.size import Share
from go_cache_safeguard.flows.looking import Cache, cannot, planner, read_cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.entry import Entry, parse_entry
from go_cache_safeguard.gocache.inventory import Inventory, id_half
from go_cache_safeguard.gocache.layout import output_name
from go_cache_safeguard.gocache.pollution import Held, Judged, Made, Result, Sampled, choose, digest_of, judge_package
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.packages import Package
from go_cache_safeguard.tree.root import Root, open_below, open_root

DEFAULT = 20
"""How many packages are drawn unless somebody says."""
_C = (".c", ".cc", ".cpp", ".cxx", ".m", ".f", ".F", ".for", ".f90", ".swig", ".swigcxx")


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare.

    Attributes:
        patterns: As for `go build`; empty for the whole module or workspace.
        sample: How many packages, or which share of them.
        packages: Import paths, instead of chance.
        seed: What chance begins with; empty for a new one.
    """

    patterns: tuple[str, ...] = ()
    sample: int | Share = DEFAULT
    packages: tuple[str, ...] = ()
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Population:
    """What a build here would take from the cache.

    Attributes:
        gocache: The cache.
        toolchain: `go1.27.3`.
        patterns: What would be built.
        held: Packages that would come from the cache.
        missing: Packages that would be compiled.
        notes: What a person should know besides.
    """

    gocache: Path
    toolchain: str
    patterns: tuple[str, ...]
    held: tuple[Held, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def population_of(
    session: Session, gocache: Path, patterns: Sequence[str], directory: Path | None = None
) -> Population:
    """Ask go, with a stand-in for the cache, which packages of a build come from it.

    Raises:
        CannotPlan: Go could not say.
        NotAGoCache: The directory is something else.
        UsageFailure: There is no module here.
    """
    cache = read_cache(session, gocache)
    with planner(session, directory or session.cwd, cache) as (asked, notes):
        wanted = asked.patterns(patterns)
        session.progress.phase("asking go what it would take from the cache")
        graph = asked.folder / "graph.json"
        packages = asked.listing(wanted, graph=graph)
        actions = [action for action in asked.graph(graph) if action.mode == "build" and action.action_id]
        session.progress.phase("")
        held, missing = _held(cache, actions, packages)
    return Population(gocache, asked.version, wanted, held, missing, notes)


def _held(
    cache: Cache, actions: Sequence[BuildAction], packages: Sequence[Package]
) -> tuple[tuple[Held, ...], tuple[str, ...]]:
    outputs = _outputs(cache.inventory, {action.action_id for action in actions})
    with_c = {package.path for package in packages if _has_c(package)}
    held = {
        action.package: Held(action.package, action.action_id, outputs[action.action_id], action.package in with_c)
        for action in actions
        if action.build_id and action.action_id in outputs
    }
    missing = sorted({action.package for action in actions} - held.keys())
    return tuple(held[name] for name in sorted(held)), tuple(missing)


def _outputs(inventory: Inventory | None, halves: Collection[str]) -> dict[str, bytes]:
    """The output that the cache gives for each action, of which the beginning is known."""
    found = {}
    for action in inventory.actions.values() if inventory is not None else ():
        half = id_half(action.action)
        if half in halves and isinstance(action.entry, Entry):
            found[half] = action.entry.output
    return found


def _has_c(package: Package) -> bool:
    return "C" in package.imports or any(name.endswith(_C) for name in package.files)


def sample_cache(session: Session, gocache: Path, request: Request, directory: Path | None = None) -> Sampled:
    """Rebuild a sample in isolation and compare it.

    Raises:
        CannotPlan: Go could not plan or rebuild.
        NotAGoCache: The directory is something else.
        UsageFailure: There is no module here, or a package that was named is not taken from the cache.
    """
    return compare_sample(session, population_of(session, gocache, request.patterns, directory), request, directory)


def compare_sample(
    session: Session, population: Population, request: Request, directory: Path | None = None
) -> Sampled:
    """The same for a build that go was asked about already."""
    where = directory or session.cwd
    held = {one.package: one for one in population.held}
    seed = "" if request.packages else request.seed or secrets.token_hex(8)
    chosen = _chosen(held, request, seed)
    if not chosen:
        return Sampled(0, len(population.missing), (), seed, notes=population.notes)
    session.progress.phase(f"rebuilding {len(chosen)} packages in isolation")
    first = _rebuild(session, where, chosen)
    with open_root(population.gocache) as root:
        cached = {name: _digest(root, held[name]) for name in held if name in first or name in chosen}
    doubtful = [
        name
        for name in held
        if name in first and first[name].half == held[name].half and first[name].digest != cached[name]
    ]
    session.progress.phase(f"rebuilding {len(doubtful)} packages once more" if doubtful else "")
    second = _rebuild(session, where, tuple(doubtful)) if doubtful else {}
    session.progress.phase("")
    judged = {name: judge_package(held[name], cached[name], first.get(name), second.get(name)) for name in cached}
    beside = [name for name in judged if name not in chosen]
    return Sampled(
        population=len(held),
        missing=len(population.missing),
        results=tuple(Result(held[name], judged[name]) for name in chosen),
        seed=seed,
        beside=(len(beside), tuple(name for name in beside if judged[name] is Judged.DIFFERS)),
        digest=digest_of(population.held),
        notes=population.notes,
    )


def _chosen(held: Mapping[str, Held], request: Request, seed: str) -> tuple[str, ...]:
    unknown = next((name for name in request.packages if name not in held), None)
    if unknown is not None:
        raise UsageFailure(
            f"{unknown!r} is no package that this build would take from the cache",
            not_done="nothing was rebuilt",
            hint="give its whole import path; `go-cache-safeguard stale` shows what would be compiled",
        )
    if request.packages:
        return tuple(sorted(set(request.packages)))
    count = request.sample
    if isinstance(count, Share):
        count = -(-len(held) * count.per_million // 1_000_000)
    return choose(held, count, seed)


def _rebuild(session: Session, directory: Path, packages: Sequence[str]) -> dict[str, Made]:
    """Make packages, and what they import, in an empty cache.

    Raises:
        CannotPlan: They cannot be built.
    """
    named = [
        name for name in packages if " " not in name
    ]  # `p [main]` is p as a profile of main makes it: go lists no such thing
    if not named:
        return {}
    with planner(session, directory) as (isolated, _notes):
        graph = isolated.folder / "graph.json"
        ran = isolated.run("list", "-export", f"-debug-actiongraph={graph}", "-f", "{{.ImportPath}}", "--", *named)
        if ran.exit_code:
            raise cannot(ran, "list -export")
        return made_in(isolated.folder / "cache", isolated.graph(graph))


def made_in(cache: Path, actions: Sequence[BuildAction]) -> dict[str, Made]:
    """What a build left in a cache of ours, by package."""
    found = {}
    for action in actions:
        if action.mode != "build" or not action.action_id:
            continue
        digest = _digest_in(cache, action.action_id)
        if digest is not None:
            found[action.package] = Made(action.action_id, digest)
    return found


def _digest_in(cache: Path, half: str) -> bytes | None:
    """SHA-256 of the content that an entry names, whatever its name says."""
    start = urlsafe_b64decode(half).hex()
    for path in (cache / start[:2]).glob(f"{start}*-a"):
        entry = parse_entry(path.read_bytes(), bytes.fromhex(path.name.removesuffix("-a")))
        if isinstance(entry, Entry):
            with suppress(OSError), (cache / output_name(entry.output)).open("rb") as file:
                return file_digest(file, "sha256").digest()
    return None


def _digest(root: Root, held: Held) -> bytes | None:
    try:
        fd = open_below(root.fd, output_name(held.output), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    with suppress(OSError), os.fdopen(fd, "rb") as file:
        return file_digest(file, "sha256").digest()
    return None
