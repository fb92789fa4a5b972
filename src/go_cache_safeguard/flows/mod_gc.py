"""Collect module versions that no registered module or workspace needs.

Knows:     which files say what a root needs, that one of them that cannot be read keeps everything, and the proof: every root still
           finds all its packages offline.
Called by: the command line's `mod gc`; the shim's `go clean -modcache` with everything.
Never:     removes: it makes a plan, which goes the way of every clean. Never writes into a module.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.gc import NoRoots, RootUnknown
from go_cache_safeguard.flows.looking import Under, planner
from go_cache_safeguard.flows.modules import Asking, modcache_of
from go_cache_safeguard.flows.prove import OfModules, Proof
from go_cache_safeguard.flows.registered import registered
from go_cache_safeguard.flows.roots import roots
from go_cache_safeguard.flows.session import NoTarget, Session, now_text
from go_cache_safeguard.flows.site import MODULES
from go_cache_safeguard.gocache.select import matches
from go_cache_safeguard.gomod.disk import measure
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.reach import Needs, needs_of, requires_something, unneeded_names
from go_cache_safeguard.gomod.read import list_versions, measure_entry
from go_cache_safeguard.gomod.sumfile import SumFile, parse_sum
from go_cache_safeguard.tree.root import Root, open_root

UNREACHABLE = "no root needs it"
ALL = "all"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed.

    Attributes:
        everything: `--all`: whatever roots need.
        pins: `--pin`: module paths or patterns that stay.
        words: All of it as typed, for the plan.
    """

    everything: bool = False
    pins: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModCollection:
    """What a collection of a module cache would do.

    Attributes:
        plan: What would go.
        verdict: Whether that is known to be safe.
        folders: Roots.
        known: Roots of which it is known what they need, and that find all their packages now.
        kept: How many versions stay because a root needs them, or one is not known.
        gone: How many versions go, in part or whole.
        notes: What a person should know.
    """

    plan: Plan
    verdict: Verdict
    folders: tuple[Path, ...]
    known: frozenset[Path]
    kept: int
    gone: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    sums: list[SumFile] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def plan_mod_gc(session: Session, modcache: Path | None, wanted: Wanted) -> ModCollection:
    """Find what no registered module or workspace needs.

    Args:
        session: Who asks.
        modcache: GOMODCACHE; None for what go says.
        wanted: What was asked for.

    Raises:
        NoTarget: There is no module cache.
        NoRoots: Nothing is registered.
        RootUnknown: What a root needs is not known, and `gc.unknown` is `refuse`.
    """
    cache = modcache_of(session, modcache)
    if not cache.is_dir():
        raise NoTarget(f"{cache} does not exist", not_done="nothing was planned", hint="nothing was downloaded yet")
    folders = registered(session)
    if not folders and not wanted.everything:
        raise NoRoots(
            "no module is registered, so nothing says what is needed",
            not_done="nothing was planned",
            hint="`go-cache-safeguard roots scan DIR` finds modules; --all takes everything",
        )
    gathered = _Gathered()
    for folder in folders:
        _gather(session, cache, folder, gathered)
    if gathered.unknown and not wanted.everything and session.config.choice("gc.unknown") == "refuse":
        raise RootUnknown(
            gathered.unknown[0],
            not_done="nothing was planned",
            hint="make it whole, forget it with `roots remove`, or set gc.unknown=keep",
        )
    return _collection(session, cache, wanted, folders, gathered)


def of_plan(session: Session, plan: Plan) -> ModCollection:
    """A plan that was made before, judged anew: what roots need by now is not in it.

    Raises:
        Failure: As `plan_mod_gc`.
    """
    everything = any(item.reason == ALL for item in plan.items)
    now = plan_mod_gc(session, Path(plan.target), Wanted(everything=everything))
    needed = sorted({item.name for item in plan.items} - {item.name for item in now.plan.items})
    verdict = now.verdict
    if needed and verdict.outcome is Outcome.PASS:
        why = f"{len(needed)} of {len(plan.items)} items of the plan are needed by now, or gone"
        verdict = Verdict("mod-reach", Outcome.BLOCK, why, tuple(needed[:_SHOWN]))
    return replace(now, plan=plan, verdict=verdict)


def _gather(session: Session, cache: Path, folder: Path, gathered: _Gathered) -> None:
    """What the files of one root say; what cannot be read is unknown."""
    try:
        place = Asking(session, cache).place(folder)
    except (Failure, OSError) as failure:
        why = failure.what if isinstance(failure, Failure) else str(failure)
        gathered.unknown.append(f"{folder}: {why}")
        return
    pairs = [(main / "go.mod", main / "go.sum") for main in place.mains]
    pairs += [(folder / name, (folder / name).with_suffix(".sum")) for name in _other_files(session, folder)]
    for go_mod, go_sum in pairs:
        _read_pair(go_mod, go_sum, gathered)
    if place.go_work is not None:
        _read_pair(place.go_work, place.go_work.with_name(f"{place.go_work.name}.sum"), gathered, needed=False)


def _other_files(session: Session, folder: Path) -> Iterator[str]:
    """What roots name with `-modfile`."""
    words = [word for root in roots(session) if root.directory == folder for word in root.command]
    for at, word in enumerate(words):
        flag, equals, value = word.removeprefix("-").partition("=")
        if flag in {"-modfile", "modfile"}:
            yield value if equals else words[at + 1]


def _read_pair(go_mod: Path, go_sum: Path, gathered: _Gathered, *, needed: bool = True) -> None:
    try:
        text = go_mod.read_bytes()
    except OSError as error:
        gathered.unknown.append(f"{go_mod}: {error.strerror}")
        return
    gathered.files.append(text)
    try:
        read = parse_sum(go_sum.read_bytes(), str(go_sum))
    except FileNotFoundError:
        if needed and requires_something(text):
            gathered.unknown.append(f"{go_sum} is not there, although go.mod names other modules")
        return
    except OSError as error:
        gathered.unknown.append(f"{go_sum}: {error.strerror}")
        return
    gathered.sums.append(read)
    if read.malformed:
        gathered.unknown.append(f"{go_sum}: line {read.malformed[0]} cannot be read")


def _collection(
    session: Session, cache: Path, wanted: Wanted, folders: tuple[Path, ...], gathered: _Gathered
) -> ModCollection:
    needs = needs_of(gathered.sums, gathered.files, _in_use(session))
    unreadable: list[str] = []
    with open_root(cache) as root:
        session.progress.phase("listing modules")
        versions = sorted(set(list_versions(root.fd, unreadable=lambda name, why: unreadable.append(f"{name}: {why}"))))
        keep_all = bool(gathered.unknown) and not wanted.everything
        items = () if keep_all else _items(session, root, versions, needs, wanted)
        plan = Plan(
            kind=MODULES,
            target=str(root.path),
            identity=root.identity,
            selectors=("mod gc", *wanted.words),
            requester=session.actor,
            made_at=now_text(),
            whole=measure(root.path, progress=session.progress.update).size if items else 0,
            items=items,
        )
        session.progress.phase("")
    known = frozenset() if wanted.everything else finding(session, cache, folders)
    names = {item.name for item in items}
    gone = sum(bool(names.intersection((one.tree, one.download(".zip"), one.download(".mod")))) for one in versions)
    notes = [f"UNKNOWN: {why}; everything stays" for why in gathered.unknown if keep_all]
    notes += [f"{why}: it stays" for why in unreadable[:_SHOWN]]
    return ModCollection(
        plan, _judge(wanted, folders, gathered, gone), folders, known, len(versions) - gone, gone, tuple(notes)
    )


def _in_use(session: Session) -> frozenset[str]:
    """The toolchain that runs here, and those of recorded and registered commands."""
    try:
        return frozenset({session.go_env.version})
    except Failure:
        return frozenset()


def _items(session: Session, root: Root, versions: Sequence[Version], needs: Needs, wanted: Wanted) -> tuple[Item, ...]:
    newest_ns = time.time_ns() - session.config.seconds("gc.grace") * 10**9
    nothing = Needs(frozenset(), frozenset(), frozenset())
    found: list[Item] = []
    for version in versions:
        if any(matches(pin, version.path) for pin in wanted.pins):
            continue
        for name in unneeded_names(version, nothing if wanted.everything else needs):
            marks = measure_entry(root.fd, name)
            if marks is not None and (wanted.everything or marks[1] < newest_ns):
                found.append(Item(name, *marks, ALL if wanted.everything else UNREACHABLE))
    return tuple(sorted(found, key=lambda item: item.name))


def _judge(wanted: Wanted, folders: Sequence[Path], gathered: _Gathered, gone: int) -> Verdict:
    if wanted.everything:
        return Verdict("mod-reach", Outcome.WARN, f"all {gone} module versions go, whoever needs them")
    if gathered.unknown:
        return Verdict("mod-reach", Outcome.UNKNOWN, "what a root needs is not known", tuple(gathered.unknown[:_SHOWN]))
    whose = f"the go.sum files of {len(folders)} registered modules and workspaces"
    return Verdict("mod-reach", Outcome.PASS, f"{whose} name none of the {gone} versions that go")


def finding(session: Session, cache: Path, folders: Sequence[Path]) -> frozenset[Path]:
    """Roots that find all their packages offline.

    Args:
        session: Who asks.
        cache: GOMODCACHE.
        folders: The roots.
    """
    return frozenset(folder for folder in folders if not _misses(session, cache, folder))


def _misses(session: Session, cache: Path, folder: Path) -> str:
    """Why a root does not find all its packages offline; empty if it does."""
    try:
        with planner(session, folder, None, Under(environment={"GOMODCACHE": str(cache)})) as (asked, _notes):
            patterns = asked.patterns(())
            ran = asked.run("list", "-deps", "-test", "-f", "{{if .Error}}{{.Error}}{{end}}", "--", *patterns)
            said = ran.stderr.decode("utf-8", "replace").strip()
            return (said.splitlines() or ["go list failed"])[-1] if ran.exit_code else ""
    except (Failure, OSError, json.JSONDecodeError) as error:
        return error.what if isinstance(error, Failure) else str(error)


def mod_prover(plan: Plan, known: frozenset[Path] = frozenset()) -> OfModules:
    """The proof: nothing that a go.sum file names was taken, and who found all packages before finds them now, offline.

    Args:
        plan: What was taken.
        known: Roots that found all their packages before.
    """

    def prover(session: Session, root: Root) -> Proof:
        if any(item.reason == ALL for item in plan.items):
            return Proof(passed=True, evidence=("roots: everything was asked for: nothing is to be found",))
        lines: list[str] = []
        passed = True
        for folder in registered(session):
            session.progress.phase(f"proving: listing packages of {folder}")
            why = _misses(session, root.path, folder)
            passed = passed and not (why and folder in known)
            lines.append(
                f"roots: {folder}: {f'does not find its packages: {why}' if why else 'finds all its packages'}"
            )
        session.progress.phase("")
        return Proof(passed, tuple(lines))

    return OfModules(prover)
