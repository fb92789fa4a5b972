"""The graph of packages and cache entries here, and what its parts cost.

Knows:     where the facts come from: go's listing and action graph, the cache, and what builds were seen to cost.
Called by: the command line's `graph` and the HTML report.
Never:     compiles anything, or lets go see the real cache; `measure` compiles, in a cache of its own that is gone afterwards.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.costs import costs, record_costs
from go_cache_safeguard.flows.looking import Planner, cannot, planner, read_cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.cost import Rate, plain
from go_cache_safeguard.gocache.disk import Level, inspect
from go_cache_safeguard.gocache.graph import Graph, make_graph
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gocache.layout import printable
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.tree.root import open_root


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        gocache: The cache that was asked.
        toolchain: The version of go.
        target: Such as `linux/amd64`.
        patterns: The packages that were asked for.
        graph: All packages.
        rate: What prices are estimated by where nothing was measured.
        entries: From an archive's name to its index entry's: 32 bytes each.
        notes: What a person should know besides.
    """

    gocache: Path
    toolchain: str
    target: str
    patterns: tuple[str, ...]
    graph: Graph
    rate: Rate
    entries: dict[bytes, bytes]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a build in an empty cache cost.

    Attributes:
        toolchain: The version of go.
        patterns: What was built.
        steps: How many packages and programs were measured and are remembered now.
        seconds: CPU seconds of go and its tools.
        wall_s: Seconds from start to end.
        rate: What prices are estimated by from now on.
    """

    toolchain: str
    patterns: tuple[str, ...]
    steps: int
    seconds: float
    wall_s: float
    rate: Rate


def report_graph(session: Session, gocache: Path, patterns: Sequence[str], *, tests: bool = False) -> Report:
    """Ask about packages of the current directory's module or workspace, and all that they need.

    Args:
        session: Who asks.
        gocache: The cache.
        patterns: As for `go build`; empty for the whole module or workspace.
        tests: Also what their tests are built of.

    Raises:
        CannotPlan: Go could not say.
        NotAGoCache: The directory is something else.
        UsageFailure: There is no module here.
    """
    cache = read_cache(session, gocache)
    outputs = () if cache.inventory is None else tuple(cache.inventory.outputs.values())
    known = costs(session, outputs)
    with planner(session, session.cwd, cache) as (asked, notes):
        wanted = asked.patterns(patterns)
        session.progress.phase("asking go")
        path = asked.folder / "graph.json"
        packages = asked.listing(wanted, graph=path, tests=tests)
        actions = asked.graph(path)
        session.progress.phase("")
    archives = {one.about.build_action: one for one in outputs if one.kind is Kind.ARCHIVE and one.about is not None}
    target = f"{asked.env.get('GOOS', '')}/{asked.env.get('GOARCH', '')}"
    flags = ("-race",) if "-race" in asked.flags.split() else ()
    made = {"toolchain": asked.version, "target": target}
    graph = make_graph(packages, actions, archives, known, flags=flags, **made)
    broken = [node.name for node in graph.nodes.values() if node.error]
    if broken:
        notes = (
            *notes,
            f"{len(broken)} packages cannot be built, {broken[0]} among them: what needs them is not known",
        )
    held = [node.output for node in graph.nodes.values() if node.output is not None]
    owners = ((one.output, cache.inventory.owner_of(one)) for one in held) if cache.inventory is not None else ()
    entries = {output: owner.action for output, owner in owners if owner is not None}
    return Report(gocache, asked.version, target, wanted, graph, known.rate, entries, notes)


def measure(session: Session, patterns: Sequence[str], *, tests: bool = False) -> Measured:
    """Build packages once in an empty cache of our own, and remember what each of them cost.

    Args:
        session: Who asks.
        patterns: As for `go build`; empty for the whole module or workspace.
        tests: Also build their tests, and run none.

    Raises:
        CannotPlan: They cannot be built, or go does not say what it did.
        UsageFailure: There is no module here.
    """
    with planner(session, session.cwd) as (asked, _notes):
        wanted = asked.patterns(patterns)
        session.progress.phase(f"building {' '.join(wanted)} in an empty cache")
        ran: list[Ran] = []
        actions: list[BuildAction] = []
        for words in (("build",), ("test", "-c")) if tests else (("build",),):
            path = asked.folder / f"graph-{words[0]}.json"
            ran.append(asked.run(*words, f"-debug-actiongraph={path}", "-o", os.devnull, *wanted))
            if ran[-1].exit_code:
                raise cannot(ran[-1], words[0])
            actions += asked.graph(path)
        session.progress.phase("")
        steps = record_costs(session, actions, toolchain=asked.version, outputs=_outputs(asked))
    cpu_ns, wall_ns = sum(one.cpu_ns for one in ran), sum(one.wall_ns for one in ran)
    return Measured(asked.version, wanted, steps, cpu_ns / 1e9, wall_ns / 1e9, costs(session).rate)


def find_package(report: Report, named: str, cwd: Path) -> str:
    """The package that a person means: by its import path, by a directory such as `./lib`, or by the end of a path that only one has.

    Raises:
        UsageFailure: There is none, or more than one.
    """
    nodes = report.graph.nodes
    if named in nodes:
        return named
    if named.startswith((".", "/")):
        directory = os.path.normpath(cwd / named)
        here = [name for name, node in nodes.items() if node.directory == directory and plain(name) == name]
        found = [name for name in here if name.removesuffix(".test") == name or name.removesuffix(".test") not in here]
    else:
        found = [name for name in nodes if name.endswith(f"/{named}")]
    own = [name for name in found if not nodes[name].standard] or found
    if len(own) == 1:
        return own[0]
    like = sorted(own)[:5] or get_close_matches(named, nodes, 3, 0.5)
    raise UsageFailure(
        f"{named!r} names {'more than one' if own else 'none'} of the {len(nodes)} packages in this graph",
        not_done="nothing was shown",
        hint=f"perhaps {printable(', '.join(like))}" if like else "give its import path as `go list` does",
    )


def _outputs(asked: Planner) -> tuple[Output, ...]:
    """What lies in the cache that was just filled; nothing of it is remembered, as it will be gone."""
    with open_root(asked.folder / "cache") as root:
        return tuple(
            inspect(root.fd, index_path=None, level=Level.STATUS, now_ns=time.time_ns()).inventory.outputs.values()
        )
