"""Collect what no root needs: mark, choose, and show afterwards that every root still finds everything.

Knows:     where marks come from, what doubt means for a whole collection, and what the proof of a collection is.
Called by: the command line's `gc`.
Never:     removes: it makes a plan, which goes the way of every clean. Never collects on doubt.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.core.size import Share
from go_cache_safeguard.flows.costs import costs
from go_cache_safeguard.flows.forecast import Forecast, forecast
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.liveset import LiveSet, Stage, Unknown, stage
from go_cache_safeguard.flows.looking import Cache, read_cache
from go_cache_safeguard.flows.plan import plan_of
from go_cache_safeguard.flows.prove import Proof, Prover
from go_cache_safeguard.flows.roots import Root, roots
from go_cache_safeguard.flows.session import NoTarget, Session
from go_cache_safeguard.flows.stand_in import LARGEST
from go_cache_safeguard.flows.uses import used
from go_cache_safeguard.gocache.budget import EVICTED, Budget, Choice, choose
from go_cache_safeguard.gocache.cost import Costs
from go_cache_safeguard.gocache.inventory import Inventory, Output, id_half, kind_of, target_of, toolchain_of
from go_cache_safeguard.gocache.layout import output_name, parse_name
from go_cache_safeguard.gocache.reach import Doubt, Marks, Shelter, Use, mark
from go_cache_safeguard.tree.root import Root as OpenRoot
from go_cache_safeguard.tree.root import open_below, open_root

_LIST_LIMIT = 1 << 20
"""bytes of a list of sources."""


class NoRoots(Failure):
    """Nothing says what is needed."""

    id = "no-roots"
    exit_code = ExitCode.USAGE
    meaning = "there are no roots, so everything would be collected"


class RootUnknown(Failure):
    """Go cannot say what a root needs, and the setting says to stop then."""

    id = "root-unknown"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "go cannot say what a root needs, and `gc.unknown` is `refuse`"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed.

    Attributes:
        max_size: `--max-size`, bytes or a share of the disk.
        min_free: `--min-free`, likewise.
        reserve: `--reserve`, likewise.
        used_for_s: `--keep-used-for`, in seconds.
        pins: `--pin`.
        evict_live: `--evict-live`.
        words: All of it as typed, for the plan.
    """

    max_size: int | Share | None = None
    min_free: int | Share | None = None
    reserve: int | Share | None = None
    used_for_s: int = 0
    pins: tuple[str, ...] = ()
    evict_live: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What go said of one root.

    Attributes:
        root: Which.
        found: What it would use, or why that is not known.
    """

    root: Root
    found: LiveSet | Unknown


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of the outputs of one package, toolchain and target, for one reason.

    Attributes:
        package: Import path, or the kind of output if it tells none.
        toolchain: Such as `go1.27.3`.
        target: Such as `linux/amd64`.
        goes: Whether it goes.
        why: Why it goes or stays.
        files: How many outputs and entries.
        size: Bytes.
        seconds: CPU seconds that making it again would take.
        measured: Whether all of these were measured.
    """

    package: str
    toolchain: str
    target: str
    goes: bool
    why: str
    files: int
    size: int
    seconds: float
    measured: bool


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection would do.

    Attributes:
        plan: What would go.
        choice: How it was chosen.
        asked: What each root needs.
        traces: How many recorded runs count as well.
        marks: Why each entry stays.
        inventory: What is in the cache.
        prices: What making it again takes.
        notes: What a person should know.
        forecast: When the disk is full; None if too little is known.
    """

    plan: Plan
    choice: Choice
    asked: tuple[Asked, ...]
    traces: int
    marks: Marks
    inventory: Inventory
    prices: Costs
    notes: tuple[str, ...]
    forecast: Forecast | None


def plan_gc(session: Session, gocache: Path, wanted: Wanted) -> Collection:
    """Mark what roots need, and choose what goes.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        wanted: What was asked for.

    Raises:
        NoTarget: There is no cache yet.
        NoRoots: Nothing says what is needed.
        RootUnknown: Go cannot say what a root needs, and `gc.unknown` is `refuse`.
    """
    if not os.path.lexists(gocache):
        raise NoTarget(f"{gocache} does not exist", not_done="nothing was planned", hint="nothing was cached yet")
    mine = roots(session)
    traces = _traces(session)
    if not mine and not traces:
        raise NoRoots(
            "no root is registered and nothing was traced: nothing says what is needed",
            not_done="nothing was planned",
            hint="`go-cache-safeguard roots scan DIR` finds modules; `plan --max-size` goes by time of use alone",
        )
    with open_root(gocache) as root:
        inventory = look(session, root).inventory
        asked = ask(session, Cache(gocache, inventory, ()), mine)
        _refuse(session, asked)
        shelter = _shelter(session, asked, wanted)
        marks = _mark(root, inventory, asked, traces, shelter)
        prices = costs(session, inventory.outputs.values())
        choice = choose(
            inventory,
            marks,
            _budget(root, wanted),
            price=lambda output: prices.of(output).seconds,
            grace_s=session.config.seconds("gc.grace"),
            now_ns=time.time_ns(),
        )
        plan = plan_of(session, root, choice.items, ("gc", *wanted.words), inventory.size)
    notes = (*_notes(asked), *_about(choice, wanted), *_unreadable(inventory))
    return Collection(plan, choice, asked, len(traces), marks, inventory, prices, notes, forecast(session, gocache))


def ask(session: Session, cache: Cache, mine: Sequence[Root]) -> tuple[Asked, ...]:
    """Ask go about every root.

    Args:
        session: Who asks.
        cache: What is in the cache.
        mine: The roots.
    """
    with stage(session, cache) as rehearse:
        return tuple(_ask(session, rehearse, mine))


def _ask(session: Session, rehearse: Stage, mine: Sequence[Root]) -> Iterator[Asked]:
    for done, root in enumerate(mine):
        session.progress.phase("asking go what roots need", len(mine))
        session.progress.update(done)
        go = Path(root.go) if root.go else None
        yield Asked(root, rehearse(root.directory, root.command, environment=root.environment, go=go))
    session.progress.phase("")


def _traces(session: Session) -> tuple[Use, ...]:
    age_s = session.config.seconds("gc.traces")
    if not age_s:
        return ()
    found = used(session, since_ns=time.time_ns() - age_s * 10**9)
    return tuple(Use(f"traced: go {' '.join(one.command)} in {one.project}", one.actions) for one in found)


def _refuse(session: Session, asked: Iterable[Asked]) -> None:
    for one in asked if session.config.choice("gc.unknown") == "refuse" else ():
        if isinstance(one.found, Unknown):
            raise RootUnknown(
                f"what {one.root.name} needs is not known: {one.found.why}",
                not_done="nothing was planned",
                hint="make it work there offline, forget it with `roots remove`, or set gc.unknown=keep",
            )


def _shelter(session: Session, asked: Iterable[Asked], wanted: Wanted) -> Shelter:
    return Shelter(
        grace_s=session.config.seconds("gc.grace"),
        used_for_s=wanted.used_for_s,
        pins=wanted.pins,
        toolchains=frozenset(one.found.toolchain for one in asked),
        largest=LARGEST,
    )


def _mark(
    root: OpenRoot, inventory: Inventory, asked: Sequence[Asked], traces: Sequence[Use], shelter: Shelter
) -> Marks:
    def names_in(output: bytes) -> tuple[str, ...]:
        return _names_in(root, output)

    uses = [Use(one.root.name, one.found.actions) for one in asked if isinstance(one.found, LiveSet)]
    doubts = tuple(_doubts(asked))
    return mark(inventory, [*uses, *traces], doubts, shelter, names_in=names_in, now_ns=time.time_ns())


def _doubts(asked: Iterable[Asked]) -> Iterator[Doubt]:
    for one in asked:
        name, found = one.root.name, one.found
        if isinstance(found, Unknown):
            yield Doubt(name, "go cannot say what it needs", found.toolchain, found.target)
        elif found.doubtful:
            why = f"{len(found.missing)} packages are missing, so it is not known what those need that import them"
            yield Doubt(name, why, found.toolchain, found.target, found.doubtful)


def _names_in(root: OpenRoot, output: bytes) -> tuple[str, ...]:
    """Files in a list of sources that lie in the cache, too."""
    try:
        fd = open_below(root.fd, output_name(output), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ()
    try:
        lines = os.pread(fd, _LIST_LIMIT, 0).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ()
    finally:
        os.close(fd)
    return tuple(line for line in lines if line and not line.startswith("./"))


def _budget(root: OpenRoot, wanted: Wanted) -> Budget:
    disk = os.fstatvfs(root.fd)
    capacity, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    min_free = _bytes(wanted.min_free, capacity)
    return Budget(
        keep_bytes=_bytes(wanted.max_size, capacity),
        free_bytes=None if min_free is None else max(0, min_free - free),
        reserve=_bytes(wanted.reserve, capacity) or 0,
        evict_live=wanted.evict_live,
    )


def _bytes(asked: int | Share | None, whole: int) -> int | None:
    return asked.of(whole) if isinstance(asked, Share) else asked


def _notes(asked: Iterable[Asked]) -> Iterator[str]:
    for one in asked:
        if isinstance(one.found, Unknown):
            whose = " ".join(word for word in (one.found.toolchain, one.found.target) if word) or "every toolchain"
            yield f"UNKNOWN: {one.root.name}: {one.found.why}; everything of {whose} stays"
        else:
            if one.found.missing:
                yield f"{one.root.name} would compile {len(one.found.missing)} packages now, such as {one.found.missing[0]}"
            yield from (f"{one.root.name}: {note}" for note in one.found.notes)


def _about(choice: Choice, wanted: Wanted) -> Iterator[str]:
    if choice.short:
        more = "" if wanted.evict_live else "; --evict-live goes on with what roots need"
        yield f"the budget asks for {choice.short} bytes more, and nothing is left that may go{more}"
    if choice.evicted:
        yield f"{choice.evicted} bytes of it are needed by roots, which build them again"


def _unreadable(inventory: Inventory) -> Iterator[str]:
    if inventory.unreadable:
        yield f"{len(inventory.unreadable)} directories of the cache could not be listed: what is in them stays"


def explain(found: Collection) -> tuple[Line, ...]:
    """What becomes of each package, and why; what is largest comes first."""
    names = {item.name: item for item in found.plan.items}
    lines: dict[tuple[str, str, str, bool, str], Line] = {}
    for output in found.inventory.outputs.values():
        item = names.get(output_name(output.output))
        why = item.reason if item is not None else _why(found, output)
        key = (_package(output), toolchain_of(output), target_of(output), item is not None, why)
        cost = found.prices.of(output)
        line = lines.get(key) or Line(*key, 0, 0, 0.0, measured=True)
        lines[key] = replace(
            line,
            files=line.files + 1,
            size=line.size + output.size,
            seconds=line.seconds + cost.seconds,
            measured=line.measured and cost.measured,
        )
    return tuple(sorted(lines.values(), key=lambda line: (-line.size, line.package)))


def _package(output: Output) -> str:
    return output.about.package if output.about is not None and output.about.package else f"({kind_of(output)})"


def _why(found: Collection, output: Output) -> str:
    reasons = (found.marks.why(action) for action in found.inventory.references.get(output.output, ()))
    return next((reason for reason in reasons if reason), "the budget is met without it")


def roots_prover(plan: Plan, then: Prover | None, known: frozenset[str] = frozenset()) -> Prover:
    """The proof of a collection: go looks for everything that each root needs, and nothing that it misses was taken.

    Args:
        plan: What was taken.
        then: Other proofs, made besides; None for none.
        known: Names of roots that go could list before: it must be able to now.
    """
    parsed = (parse_name(item.name) for item in plan.items if item.reason != EVICTED)
    taken = frozenset(name[0] for name in parsed if name is not None and name[1] == "a")
    halves = frozenset(map(id_half, taken))

    def prover(session: Session, root: OpenRoot) -> Proof:
        of_roots = _judge(ask(session, read_cache(session, root.path), roots(session)), halves, known)
        lost = [use.name for use in _traces(session) if not taken.isdisjoint(use.actions)]
        lines = [f"roots: {name}: something that it used was taken" for name in lost]
        mine = Proof(of_roots.passed and not lost, (*of_roots.evidence, *lines))
        if then is None:
            return mine
        other = then(session, root)
        return Proof(mine.passed and other.passed, (*mine.evidence, *other.evidence), other.steps)

    return prover


def _judge(asked: Sequence[Asked], taken: frozenset[str], known: frozenset[str]) -> Proof:
    lines: list[str] = []
    passed = True
    for one in asked:
        name, found = one.root.name, one.found
        if isinstance(found, Unknown):
            passed = passed and name not in known
            lines.append(f"roots: {name}: could not be shown: {found.why}")
        elif found.absent & taken:
            passed = False
            lines.append(f"roots: {name}: would compile {', '.join(found.missing[:3])} because of what was taken")
        elif found.missing:
            lines.append(f"roots: {name}: finds all that was there; {len(found.missing)} packages were missing before")
        else:
            lines.append(f"roots: {name}: 0 compile actions, {len(found.actions)} entries found")
    return Proof(passed, tuple(lines))


def known_names(asked: Iterable[Asked]) -> frozenset[str]:
    """Names of roots of which go could say what they need."""
    return frozenset(one.root.name for one in asked if isinstance(one.found, LiveSet))
