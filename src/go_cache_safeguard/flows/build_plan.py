"""Plan a build twice and compare, and tell what would really be compiled now.

Knows:     where the two plans come from: now, again, another toolchain or environment, or a file that was recorded.
Called by: the command line's `mod plan-diff`; `flows.checks` asks `ask`.
Never:     compiles, or changes a file of the module or the cache: see `flows.looking`. Never overwrites a recorded plan.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.looking import OURS, CannotPlan, Planner, Under, planner, read_cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.stale import find_clues
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gomod.checks import build_plan
from go_cache_safeguard.gomod.checks.build_plan import Against, BuildPlanFacts, Rebuild
from go_cache_safeguard.gotool.buildplan import UNREAD, NoPlan, Plan, make_plan, name_places, read_plan, write_plan
from go_cache_safeguard.gotool.instructions import parse_instructions
from go_cache_safeguard.gotool.packages import Package
from go_cache_safeguard.gotool.plandiff import Comparison, compare
from go_cache_safeguard.gotool.stale import State, explain, missing_packages

_ALL = ("-a", "-buildvcs=false", "-o", os.devnull, "--")
"""Without the revision: it changes with every commit and says nothing about the packages."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare.

    Attributes:
        patterns: As for `go build`; empty for the whole module or workspace, or what the baseline was recorded for.
        against: A recorded plan; None to compare with now.
        under: Another toolchain or environment for the later plan.
        strict: A difference forbids.
    """

    patterns: tuple[str, ...] = ()
    against: Path | None = None
    under: Under = field(default_factory=Under)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What came out.

    Attributes:
        before: The earlier plan.
        after: The later one.
        comparison: How they differ.
        rebuild: What would be compiled now.
        verdict: What that means.
    """

    before: Plan
    after: Plan
    comparison: Comparison
    rebuild: Rebuild
    verdict: Verdict


def ask(session: Session, directory: Path) -> Verdict:
    """The check: plan the module or workspace twice."""
    return diff_plans(session, session.gocache(), Question(), directory).verdict


def diff_plans(session: Session, gocache: Path, question: Question, directory: Path | None = None) -> PlanReport:
    """Compare two plans.

    Raises:
        CannotPlan: Go could not say.
        UsageFailure: The baseline cannot be read, was recorded for other packages, or a variable is ours to set.
    """
    where = directory or session.cwd
    baseline = None if question.against is None else _read(session.cwd / question.against)
    _refuse(question, baseline)
    patterns = question.patterns or (baseline.patterns if baseline is not None else ())
    other = bool(question.under.go or question.under.environment)
    before = baseline
    if before is None:
        with planner(session, where) as (asked, _notes):
            before, _ = _plan(session, asked, asked.patterns(patterns))
    cache = read_cache(session, gocache)
    with planner(session, where, cache, question.under) as (asked, notes):
        wanted = asked.patterns(patterns)
        after, packages = _plan(session, asked, wanted)
        rebuild = _rebuild(session, asked, wanted, packages, cache.inventory)
    against = Against.BASELINE if baseline is not None else Against.OTHER if other else Against.AGAIN
    comparison = compare(before, after)
    facts = BuildPlanFacts(against, comparison, rebuild, notes, strict=question.strict)
    return PlanReport(before, after, comparison, rebuild, build_plan.judge(facts))


def record_plan(session: Session, patterns: Sequence[str], under: Under, file: Path) -> Plan:
    """Write the plan of now into a new file.

    Raises:
        CannotPlan: Go could not say.
        UsageFailure: The file exists, or cannot be written.
    """
    _refuse(Question(under=under), None)
    with planner(session, session.cwd, None, under) as (asked, _notes):
        plan, _ = _plan(session, asked, asked.patterns(patterns))
    path = session.cwd / file
    try:
        with path.open("xb") as out:
            out.write(write_plan(plan))
    except FileExistsError as error:
        raise UsageFailure(
            f"{str(path)!r} exists", not_done="no plan was recorded", hint="name another file, or remove that one"
        ) from error
    except OSError as error:
        raise UsageFailure(
            f"{str(path)!r} cannot be written: {error.strerror}", not_done="no plan was recorded"
        ) from error
    return plan


def _refuse(question: Question, baseline: Plan | None) -> None:
    ours = sorted(OURS & (question.under.environment or {}).keys())
    if ours:
        raise UsageFailure(f"{ours[0]} is set by us while go plans", not_done="go was asked nothing")
    if baseline is not None and question.patterns and question.patterns != baseline.patterns:
        raise UsageFailure(
            f"the baseline was recorded for {' '.join(baseline.patterns)}, not for {' '.join(question.patterns)}",
            not_done="nothing was compared",
            hint="leave the packages away, or record a baseline for them",
        )


def _read(path: Path) -> Plan:
    try:
        found = read_plan(path.read_bytes())
    except OSError as error:
        raise UsageFailure(
            f"{str(path)!r} cannot be read: {error.strerror}", not_done="nothing was compared"
        ) from error
    if isinstance(found, NoPlan):
        raise UsageFailure(
            f"{str(path)!r} is no recorded plan: {found.reason}",
            not_done="nothing was compared",
            hint="record one with `go-cache-safeguard mod plan-diff --record {FILE}`",
        )
    return found


def _plan(session: Session, asked: Planner, patterns: tuple[str, ...]) -> tuple[Plan, tuple[Package, ...]]:
    session.progress.phase("asking go for its plan")
    packages = asked.listing(patterns)
    broken = next((package for package in packages if package.error), None)
    if broken is not None:
        raise CannotPlan(f"{broken.path} cannot be built: {broken.error}", not_done="no plan was made")
    places = name_places(
        packages,
        start=str(asked.directory),
        goroot=asked.env.get("GOROOT", ""),
        modcache=asked.env.get("GOMODCACHE", ""),
        gocache=str(asked.folder / "cache"),
        home=str(session.home),
    )
    instructions = parse_instructions(asked.script(*_ALL, *patterns), places)
    session.progress.phase("hashing sources", len(packages))
    sources = {}
    for done, package in enumerate(packages):
        sources[package.path] = {places.name(path): digest for path, digest in _digests(package)}
        session.progress.update(done)
    session.progress.phase("")
    return make_plan(
        environment=asked.env,
        patterns=patterns,
        packages=packages,
        instructions=instructions,
        sources=sources,
        places=places,
    ), packages


def _digests(package: Package) -> list[tuple[str, str]]:
    return [
        (path, _digest(path))
        for name in (*package.files, *package.left_out)
        for path in [f"{package.directory}/{name}"]
    ]


def _digest(path: str) -> str:
    with suppress(OSError), Path(path).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
    return UNREAD


def _rebuild(
    session: Session,
    asked: Planner,
    patterns: tuple[str, ...],
    packages: tuple[Package, ...],
    inventory: Inventory | None,
) -> Rebuild:
    """What `go build` would do now: from the action graph, with the script as a witness."""
    session.progress.phase("asking go what it would compile")
    graph = asked.folder / "graph.json"
    script = asked.script(f"-debug-actiongraph={graph}", "-o", os.devnull, "--", *patterns)
    actions = asked.graph(graph)
    missing = missing_packages(actions)
    clues = find_clues([package for package in packages if package.path in missing], inventory, asked)
    rows = explain(packages, actions, clues)
    session.progress.phase("")
    done = parse_instructions(script, name_places((), start="/", goroot="", modcache="", gocache="", home=""))
    compiled = {name for name, what in done.items() if any(step.tool == "compile" for step in what.steps)}
    names = {state: tuple(row.package for row in rows if row.state is state) for state in State}
    return Rebuild(
        compile=names[State.COMPILE],
        cascade=names[State.CASCADE],
        link=names[State.LINK],
        packages=len(rows),
        agrees=compiled == {*names[State.COMPILE], *names[State.CASCADE]},
    )
