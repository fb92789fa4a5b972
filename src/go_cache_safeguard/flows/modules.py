"""Verify modules: of one build list, or of the whole module cache.

Knows:     where the build list, the go.sum files and the module cache are found, and in which order they are asked.
Called by: the command line's `mod verify`; `flows.drift` finds module and go command with it.
Never:     goes online, changes go.mod, go.sum or the module cache, or judges: that is `gomod.verify` and
           `gomod.checks.integrity`.
Source:    `go help list`, `go help modules`: `-modfile` names another go.mod, and go.sum is then the one beside it; not allowed in a
           workspace, which has the go.sum of every module and go.work.sum. There even `go list -m -mod=readonly` writes
           go.work.sum, beside the go.work that GOWORK names. Tried with go1.21.13 and go1.27.3.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.registered import registered
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.vendor import verify_vendor
from go_cache_safeguard.flows.versions import Pins, judge_versions
from go_cache_safeguard.gomod.buildlist import (
    BuildList,
    Wanted,
    Work,
    make_build_list,
    parse_modules,
    parse_requires,
    parse_work,
    strongest,
)
from go_cache_safeguard.gomod.checks import integrity
from go_cache_safeguard.gomod.layout import make_version
from go_cache_safeguard.gomod.read import list_versions
from go_cache_safeguard.gomod.sumfile import SumFile, merge, parse_sum
from go_cache_safeguard.gomod.verify import (
    Damage,
    Finding,
    Need,
    Totals,
    judge_go,
    show,
)
from go_cache_safeguard.gotool.complaint import last_lines, printable
from go_cache_safeguard.gotool.run import Go, Ran
from go_cache_safeguard.tree.owner import must_drop
from go_cache_safeguard.tree.root import open_directory

_OFFLINE = {
    "GOPROXY": "off",
    "GONOPROXY": "none",  # GOPRIVATE would lead around GOPROXY
    "GOSUMDB": "off",
    "GOVCS": "*:off",
    "GOFLAGS": "",
    "GOCACHE": "off",  # none of these commands needs it
}


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        modcache: GOMODCACHE.
        scope: `build-list` or `whole-cache`.
        sums: The go.sum files that were read, printable.
        findings: Of every module version.
        totals: What was looked at.
        notes: What a person should know besides.
        verdicts: Ours first, then what go says about each module directory.
        pins: What the go.sum files demand.
    """

    modcache: Path
    scope: str
    sums: tuple[str, ...]
    findings: tuple[Finding, ...]
    totals: Totals
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    pins: Pins


@dataclass(slots=True)
class _Gathered:
    """What is known before anything is hashed."""

    sums: list[SumFile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)

    def say(self, name: str, damage: Damage, outcome: Outcome, text: str, *, file: str = "") -> None:
        self.findings.append(Finding(show(os.fsencode(name)), "", file, damage, outcome, text))


@dataclass(frozen=True, slots=True)
class Place:
    """One module, or the workspace that it belongs to.

    Attributes:
        directory: Where go is started.
        mains: Directories of the main modules; several in a workspace.
        go_work: The workspace's go.work; None outside of one.
        work: What it says.
    """

    directory: Path
    mains: tuple[Path, ...]
    go_work: Path | None = None
    work: Work | None = None

    @property
    def vendors(self) -> list[Path]:
        """Where a vendor directory would be."""
        return [folder / "vendor" for folder in (*self.mains, *([self.go_work.parent] if self.go_work else []))]


def verify_module(
    session: Session, directory: Path, modcache: Path | None = None, *, everything: bool = False, go: bool = True
) -> Report:
    """Verify every module of one build list.

    Args:
        session: Who asks.
        directory: Inside a module or a workspace.
        modcache: GOMODCACHE; None for what go says.
        everything: Read every byte, whatever is remembered.
        go: Whether to run `go mod verify` as well, which remembers nothing.

    Raises:
        UsageFailure: The directory is in no module.
        GoMissing: There is no go command.
        UnsafePath: The module cache cannot be entered safely.
    """
    cache = modcache_of(session, modcache)
    asking = Asking(session, cache)
    place = asking.place(directory)
    gathered = _Gathered()
    session.progress.phase("computing the build list")
    asking.gather(place, gathered)
    with _entered(cache) as root:
        totals = _judge(session, root, gathered, everything=everything)
        for vendor in filter(_is_vendor, place.vendors):
            found, note = verify_vendor(session, vendor, root, merge(gathered.sums), asking.run)
            gathered.findings += found
            gathered.notes.append(note)
    return _report(asking, "build-list", gathered, totals, [place] if go else [])


def ask(session: Session, directory: Path) -> Verdict:
    """The check `mod-integrity` for the build list of one module or workspace.

    Raises:
        Failure: As `verify_module`.
    """
    ours, *go = verify_module(session, directory).verdicts
    beside = tuple(f"{verdict.check}: {verdict.outcome}: {verdict.summary}" for verdict in go)
    return replace(ours, evidence=(*ours.evidence, *beside))


def verify_cache(
    session: Session,
    against: Sequence[Path] | None,
    modcache: Path | None = None,
    *,
    everything: bool = False,
    go: bool = True,
) -> Report:
    """Verify every zip and every tree in the module cache.

    Args:
        session: Who asks.
        against: Directories of modules or workspaces whose go.sum files bind what they name; None for all that are registered.
        modcache: GOMODCACHE; None for what go says.
        everything: Read every byte, whatever is remembered.
        go: Whether to run `go mod verify` for each of these as well.

    Raises:
        UsageFailure: A directory is in no module.
        UnsafePath: The module cache cannot be entered safely.
    """
    cache = modcache_of(session, modcache)
    asking = Asking(session, cache)
    gathered = _Gathered()
    places = _registered(session, asking, gathered) if against is None else [asking.place(folder) for folder in against]
    for place in places:
        asking.gather_sums(place, gathered)
    session.progress.phase("listing modules")
    with _entered(cache) as root:
        if root is not None:
            _list_all(root, gathered)
        totals = _judge(session, root, gathered, everything=everything)
    return _report(asking, "whole-cache", gathered, totals, places if go else [])


def _registered(session: Session, asking: "Asking", gathered: _Gathered) -> list[Place]:
    """Modules that are registered; of one that is away, or of all when that cannot be read, the answer is not known."""
    places = []
    try:
        folders = registered(session)
    except Failure as failure:
        text = f"which modules are registered is not known: {failure.what}"
        gathered.say("registered modules", Damage.UNREADABLE, Outcome.UNKNOWN, text)
        return []
    for folder in folders:
        try:
            places.append(asking.place(folder))
        except UsageFailure as failure:
            text = f"it is registered, and {failure.what}; `go-cache-safeguard mod forget {folder}` ends that"
            gathered.say(str(folder), Damage.UNREADABLE, Outcome.UNKNOWN, text)
    return places


def _report(asking: "Asking", scope: str, gathered: _Gathered, totals: Totals, places: Sequence[Place]) -> Report:
    ours = integrity.judge(integrity.IntegrityFacts(gathered.findings, totals, gathered.notes))
    go = [asking.go_says(place, ours.outcome, alone=len(places) == 1) for place in places]
    return Report(
        modcache=asking.modcache,
        scope=scope,
        sums=tuple(file.path for file in gathered.sums),
        findings=tuple(gathered.findings),
        totals=totals,
        notes=tuple(gathered.notes),
        verdicts=(ours, *go),
        pins=merge(gathered.sums),
    )


def modcache_of(session: Session, given: Path | None) -> Path:
    """The module cache, resolved: what was given, or what go says.

    Raises:
        UsageFailure: It is a relative path.
    """
    named = str(given) if given is not None else session.environ.get("GOMODCACHE", "")
    if not named:
        # Not `go_env`, which insists on a build cache; modules need none.
        named = os.fsdecode(session.go.run(("env", "GOMODCACHE"), cwd=Path("/")).or_fail().stdout.strip())
    if not named.startswith("/"):
        raise UsageFailure(f"GOMODCACHE is {named!r}, which is not an absolute path", not_done="nothing was read")
    return Path(os.path.realpath(named))


@contextmanager
def _entered(modcache: Path) -> Iterator[int | None]:
    """The module cache, open; None if there is none, which is so on a new machine."""
    if not modcache.exists():
        yield None
        return
    fd = open_directory(modcache)
    try:
        yield fd
    finally:
        os.close(fd)


def _judge(session: Session, root: int | None, gathered: _Gathered, *, everything: bool) -> Totals:
    found, totals = judge_versions(session, root, gathered.wanted, merge(gathered.sums), everything=everything)
    gathered.findings += found
    return totals


def _list_all(root: int, gathered: _Gathered) -> None:
    def unreadable(name: str, why: str) -> None:
        gathered.say(name, Damage.UNREADABLE, Outcome.UNKNOWN, why)

    found = sorted(set(list_versions(root, unreadable=unreadable)))
    gathered.wanted += [Wanted(version, Need.CACHE) for version in found]


class Asking:
    """The go command and what it is asked about modules, offline."""

    def __init__(self, session: Session, modcache: Path) -> None:
        self._session, self.modcache = session, modcache

    def place(self, directory: Path) -> Place:
        """The module or workspace that a directory is in."""
        whole = self._session.cwd / directory
        if not whole.is_dir():
            raise UsageFailure(f"{show(os.fsencode(whole))} is not a directory", not_done="nothing was read")
        answer = json.loads(self.run(("env", "-json", "GOMOD", "GOWORK"), whole).or_fail().stdout)
        go_mod, go_work = (_path(answer.get(key, "")) for key in ("GOMOD", "GOWORK"))
        if go_work is not None:
            told = self.run(("work", "edit", "-json", str(go_work)), whole).or_fail().stdout
            work = parse_work(told, str(go_work.parent))
            if work is None:
                raise UsageFailure(f"{show(os.fsencode(go_work))} cannot be understood", not_done="nothing was read")
            return Place(whole, tuple(Path(use) for use in work.uses), go_work, work)
        if go_mod is not None:
            return Place(whole, (go_mod.parent,))
        raise UsageFailure(
            f"{show(os.fsencode(whole))} is in no module: there is no go.mod in it or above",
            not_done="nothing was read",
            hint="name the directory of a module, or use `go-cache-safeguard mod verify --whole-cache`",
        )

    def gather(self, place: Place, gathered: _Gathered) -> None:
        """Build list and go.sum files of a module or workspace."""
        self.gather_sums(place, gathered)
        listed = self._build_list(place, gathered)
        if listed is None:
            gathered.notes.append("without a build list, the module versions that go.sum names were looked at instead")
            gathered.wanted += _named_by(gathered.sums)
            return
        gathered.wanted += listed.wanted
        gathered.notes += listed.notes
        for problem in listed.problems:
            gathered.say(str(place.directory), Damage.NO_BUILD_LIST, Outcome.UNKNOWN, problem)
        for local in listed.local:
            text = "it is replaced by this directory, which no hash covers"
            gathered.say(local.path, Damage.NOT_COVERABLE, Outcome.WARN, text, file=local.directory)

    def gather_sums(self, place: Place, gathered: _Gathered) -> None:
        """Only the go.sum files."""
        self._read_sums([main / "go.sum" for main in place.mains], gathered)
        if place.go_work is not None:
            # It is there only if the modules' own files do not name everything.
            work = place.go_work.with_name(f"{place.go_work.name}.sum")
            self._read_sums([work] if work.exists() else [], gathered)

    def go_says(self, place: Place, ours: Outcome, *, alone: bool) -> Verdict:
        """The real `go mod verify`."""
        self._session.progress.phase("go mod verify")
        ran = self.run(("mod", "verify"), place.directory)
        self._session.progress.phase("")
        where = "" if alone else show(os.fsencode(place.directory))
        return judge_go(ran.exit_code, printable(ran.stdout + ran.stderr), ours, where)

    def _build_list(self, place: Place, gathered: _Gathered) -> BuildList | None:
        ran = self._list(place)
        modules = parse_modules(ran.stdout)
        if ran.exit_code or modules is None:
            said = last_lines(ran.stderr, 5).replace("\n", " ")
            damaged = "checksum mismatch" in said
            kind, outcome = (Damage.SUM_MISMATCH, Outcome.BLOCK) if damaged else (Damage.NO_BUILD_LIST, Outcome.UNKNOWN)
            gathered.say(str(place.directory), kind, outcome, f"go cannot compute the build list offline: {said}")
            return None
        return make_build_list(modules, strongest([self._requires(main, gathered) for main in place.mains]))

    def _list(self, place: Place) -> Ran:
        """The build list, from copies of go.mod or go.work without a go.sum: what go writes then is thrown away with them.

        `go list` wants to know of every version in the graph when it was made, which `go mod download` fetches only for those
        that a build uses. Where the graph itself is whole, it is asked again to tell the others without that.
        """
        with tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as folder:
            flags: tuple[str, ...] = ("-mod=mod", f"-modfile={folder}/go.mod")
            extra: Mapping[str, str] = {}
            copy = Path(folder) / "go.mod"
            if place.work is None:
                copy.write_bytes(content_of(place.mains[0] / "go.mod"))
            else:
                flags, extra = ("-mod=readonly",), {"GOWORK": f"{folder}/go.work"}
                copy = Path(folder) / "go.work"
                copy.write_text(place.work.text, "utf-8", "surrogateescape")
            owner = self.owner()
            if owner is not None and must_drop(owner[0]):
                for path in (copy, copy.parent):
                    os.chown(path, *owner, follow_symlinks=False)
            ran = self.run(("list", "-m", "-json", *flags, "all"), place.directory, extra)
            if ran.exit_code and not self.run(("mod", "graph", *flags[1:]), place.directory, extra).exit_code:
                return self.run(("list", "-m", "-e", "-json", *flags, "all"), place.directory, extra)
            return ran

    def _requires(self, main: Path, gathered: _Gathered) -> Mapping[str, Need]:
        ran = self.run(("mod", "edit", "-json"), main)
        requires = None if ran.exit_code else parse_requires(ran.stdout)
        if requires is None:
            said = last_lines(ran.stderr, 3).replace("\n", " ")
            gathered.say(str(main), Damage.UNREADABLE, Outcome.UNKNOWN, said, file="go.mod")
        return requires or {}

    def _read_sums(self, paths: Sequence[Path], gathered: _Gathered) -> None:
        for path in paths:
            name = show(os.fsencode(path))
            try:
                file = parse_sum(path.read_bytes(), name)
            except FileNotFoundError:
                gathered.notes.append(f"there is no {name}")
                continue
            except OSError as error:
                gathered.say(name, Damage.UNREADABLE, Outcome.UNKNOWN, f"it cannot be read: {error.strerror}")
                continue
            if all(file.path != known.path for known in gathered.sums):
                gathered.sums.append(file)
            for line in file.malformed:
                gathered.say(name, Damage.SUM_MALFORMED, Outcome.BLOCK, f"go does not accept line {line}")

    def owner(self) -> tuple[int, int] | None:
        """User and group of the module cache; None if there is none yet."""
        try:
            found = self.modcache.stat()
        except OSError:
            return None  # no module cache: go runs as us, and finds nothing
        return found.st_uid, found.st_gid

    def run(self, args: Sequence[str], cwd: Path, more: Mapping[str, str] | None = None) -> Ran:
        """Go with the rights of whom the module cache belongs to: it leaves lock files there."""
        owner = self.owner()
        go: Go = self._session.go if owner is None else self._session.go_for(*owner)
        extra = {**_OFFLINE, "GOMODCACHE": str(self.modcache), **(more or {})}
        if owner is not None and must_drop(owner[0]):
            extra |= {"GOENV": "off", "HOME": "/nonexistent"}  # ours may be closed to them
        return go.run(args, cwd=cwd, extra_env=extra)


def content_of(go_mod: Path) -> bytes:
    """A go.mod file.

    Raises:
        UsageFailure: It cannot be read.
    """
    try:
        return go_mod.read_bytes()
    except OSError as error:
        raise UsageFailure(
            f"{show(os.fsencode(go_mod))} cannot be read: {error.strerror}", not_done="nothing was read"
        ) from error


def _path(text: object) -> Path | None:
    """A path that `go env` prints; `off`, empty and the null device mean that there is none."""
    return Path(text) if isinstance(text, str) and text.startswith("/") and text != os.devnull else None


def _is_vendor(path: Path) -> bool:
    return (path / "modules.txt").exists()


def _named_by(sums: Sequence[SumFile]) -> Iterator[Wanted]:
    for path, version in sorted({key for file in sums for key in file.pins}):
        found = None if version.endswith("/go.mod") else make_version(path, version)
        if found is not None:
            yield Wanted(found, Need.GRAPH)
