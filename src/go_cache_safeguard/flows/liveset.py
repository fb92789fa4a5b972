"""Which entries of a build cache a go command would use, found without touching the cache.

Knows:     how go is made to look for everything that a command needs in a stand-in, and how what it found there is told.
Called by: `flows.gc`, `flows.ci_pack`.
Never:     lets go see the cache, start a tool, run a test, or fetch anything.
Source:    go marks an entry that it uses by its time, unless that is younger than an hour (cmd/go/internal/cache/cache.go `used`,
           go1.21 to go1.27). Measured with go1.21.13, go1.24.11 and go1.27.3: for build, vet, test, -race and -cover exactly the
           entries that the real command marks are marked, apart from facts and outputs that it writes anew each time.

The command runs for real, but with a program in place of its tools that refuses to work (`gotool.rehearsal`). So go finds all that is
there, including test results; what is missing shows as a tool that it wanted to start. Of packages that need a missing one, go
cannot know the keys; these are `doubtful`, and nobody may say that an entry of theirs is not used.
"""

import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.interrupt import at_once
from go_cache_safeguard.flows.looking import (
    OURS,
    Cache,
    CannotPlan,
    Planner,
    Under,
    environ_of,
    give,
    go_of,
    read_cache,
    stat_of,
)
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.stand_in import make_stand_in
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Action, id_half
from go_cache_safeguard.gocache.layout import SHARDS, parse_file
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, parse_action_graph
from go_cache_safeguard.gotool.complaint import last_lines
from go_cache_safeguard.gotool.rehearsal import TOOL, WANTED, NotRehearsed, WantedTool, rehearsal_of, wanted_tools
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.tree.root import open_root

_LONG_AGO_S = 3 * 3600
"""seconds: go marks what it uses when the mark is older than an hour."""
_WITHOUT = frozenset({Kind.EXECUTABLE, Kind.ZIP})
"""Kinds that are not in the stand-in: programs are never run here, and nothing is applied to sources."""
_NOT_FROM_CACHE = frozenset({"link", "vet"})
"""Tools that a command may have to start although nothing is missing."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LiveSet:
    """What a command would use.

    Attributes:
        actions: Ids of entries that are in the cache, 32 bytes each.
        missing: Packages that it would compile, sorted.
        toolchain: Such as `go1.27.3`.
        notes: What a person should know.
        target: Such as `linux/amd64`.
        doubtful: Import paths of packages of which go cannot know all keys, because something that they need is missing.
        absent: First halves of the keys that it looked for and did not find, of packages that it would compile.
    """

    actions: frozenset[bytes]
    missing: tuple[str, ...]
    toolchain: str
    notes: tuple[str, ...]
    target: str = ""
    doubtful: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Go could not say what a command would use.

    Attributes:
        why: In its words.
        toolchain: Whose entries may be meant; empty if not even that is known.
        target: Likewise.
    """

    why: str
    toolchain: str = ""
    target: str = ""


def live_set(
    session: Session,
    gocache: Path,
    directory: Path,
    command: tuple[str, ...],
    *,
    environment: Mapping[str, str] = _NOTHING,
    go: Path | None = None,
) -> LiveSet:
    """Find what one command would use.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        directory: Where the command is started.
        command: Its arguments, without `go`.
        environment: Laid over the environment.
        go: Another go command.

    Raises:
        CannotPlan: Go could not say.
        NotAGoCache: There is something else.
    """
    with stage(session, read_cache(session, gocache)) as rehearse:
        found = rehearse(directory, command, environment=environment, go=go)
    if isinstance(found, Unknown):
        raise CannotPlan(
            f"`go {' '.join(command)}` in {directory} cannot be rehearsed: {found.why}",
            not_done="nothing was built or changed",
            hint="see that the command works there offline; `go mod download` fetches what is missing",
        )
    return found


@contextmanager
def stage(session: Session, cache: Cache) -> Iterator["Stage"]:
    """Make a place where commands can be rehearsed, with one stand-in for all that need the same.

    Args:
        session: Who asks.
        cache: What is in the cache.
    """
    with at_once(), ExitStack() as stack:
        yield Stage(session, cache, stack)


@dataclass(frozen=True, slots=True)
class _Set:
    """One stand-in, below a directory of ours."""

    folder: Path
    cache: Path
    notes: tuple[str, ...]


@dataclass
class Stage:
    """Where commands are rehearsed.

    Attributes:
        session: Who asks.
        cache: What is in the cache.
        stack: Removes what was made.
    """

    session: Session
    cache: Cache
    stack: ExitStack
    _sets: dict[tuple[int, frozenset[tuple[str, str]]], _Set] = field(default_factory=dict)

    def __call__(
        self,
        directory: Path,
        command: tuple[str, ...],
        *,
        environment: Mapping[str, str] = _NOTHING,
        go: Path | None = None,
    ) -> LiveSet | Unknown:
        """Find what one command would use; arguments as for `live_set`."""
        ours = sorted(OURS & environment.keys())
        if ours:
            return Unknown(f"{ours[0]} is set by us")
        try:
            planner, owner = self._planner(directory, environment, go)
        except Failure as failure:
            return Unknown(failure.what)
        target = f"{planner.env.get('GOOS', '')}/{planner.env.get('GOARCH', '')}"
        if "-toolexec" in planner.flags:
            return Unknown("GOFLAGS names a -toolexec", planner.version, target)
        try:
            return self._rehearse(planner, command, owner, target)
        except (Failure, OSError) as error:
            why = error.what if isinstance(error, Failure) else str(error)
            return Unknown(why, planner.version, target)

    def _planner(
        self, directory: Path, environment: Mapping[str, str], go: Path | None
    ) -> tuple[Planner, os.stat_result]:
        owner = stat_of(directory)
        folder = self._folder(owner)
        under = Under(go, environment)
        return Planner(
            go_of(self.session, under, owner), directory, folder, environ_of(under, folder, owner.st_uid)
        ), owner

    def _folder(self, owner: os.stat_result) -> Path:
        made = tempfile.TemporaryDirectory(prefix="go-cache-safeguard-", ignore_cleanup_errors=True)
        folder = Path(self.stack.enter_context(made))
        (folder / "cache").mkdir()
        (folder / "tool").write_text(TOOL)
        give(folder, owner)
        return folder

    def _set(self, planner: Planner, owner: os.stat_result) -> _Set:
        key = (owner.st_uid, planner.makes)
        if key not in self._sets:
            self._sets[key] = self._fill(planner, owner)
        return self._sets[key]

    def _fill(self, planner: Planner, owner: os.stat_result) -> _Set:
        place, notes, now_s = planner.folder / "cache", self.cache.notes, int(time.time())
        if self.cache.inventory is not None:
            with open_root(self.cache.path) as root:
                unread = make_stand_in(
                    self.session,
                    root,
                    self.cache.inventory,
                    place,
                    made=planner.makes,
                    now_s=now_s,
                    without=_WITHOUT,
                )
            if unread:
                notes = (*notes, f"{unread} outputs could not be read; they count as missing")
        _age(place, now_s - _LONG_AGO_S)
        give(planner.folder, owner)
        return _Set(planner.folder, place, notes)

    def _rehearse(
        self, planner: Planner, command: tuple[str, ...], owner: os.stat_result, target: str
    ) -> LiveSet | Unknown:
        scene = self._set(planner, owner)
        graph = planner.folder / "graph.json"
        words = _everything(planner, command)
        args = rehearsal_of(words, tool=str(planner.folder / "tool"), graph=str(graph), folder=str(planner.folder))
        if isinstance(args, NotRehearsed):
            return Unknown(args.why, planner.version, target)
        ran = planner.run(*args, extra={"GOCACHE": str(scene.cache), "GOTMPDIR": str(planner.folder)})
        marked = _marked(scene.cache, int(time.time()) - _LONG_AGO_S)
        actions = _graph(graph)
        why = _failed(ran, actions)
        if why or isinstance(actions, NoGraph):
            return Unknown(why, planner.version, target)
        wanted = wanted_tools(_log(planner.folder))
        there = {id_half(action): action for action in self._there}
        named = {there[action.action_id] for action in actions if action.action_id in there}
        missing = {tool.package for tool in wanted if tool.tool not in _NOT_FROM_CACHE}
        return LiveSet(
            frozenset(named.union(marked & self._there.keys())),
            tuple(sorted(missing)),
            planner.version,
            (*scene.notes, *_untested(wanted)),
            target,
            _doubtful(actions, missing),
            _absent(actions, missing, there),
        )

    @property
    def _there(self) -> Mapping[bytes, Action]:
        return {} if self.cache.inventory is None else self.cache.inventory.actions


def _everything(planner: Planner, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command with all modules of a workspace where `./...` would mean none."""
    if not planner.beside_modules:
        return command
    return tuple(word for one in command for word in (planner.patterns(()) if one == "./..." else (one,)))


def _untested(wanted: tuple[WantedTool, ...]) -> tuple[str, ...]:
    tests = [tool.package for tool in wanted if tool.tool == "link" and tool.package.endswith(".test")]
    return (f"{len(tests)} tests would run, the first of {tests[0].removesuffix('.test')}",) if tests else ()


def _absent(actions: tuple[BuildAction, ...], missing: Collection[str], there: Mapping[str, bytes]) -> frozenset[str]:
    keys = (one.action_id for one in actions if one.mode == "build" and one.package in missing)
    return frozenset(key for key in keys if key and key not in there)


def _doubtful(actions: tuple[BuildAction, ...], missing: Collection[str]) -> frozenset[str]:
    """Packages that are missing, and those of which a step has no key because of another one that is."""
    unsure = {action.package for action in actions if action.mode == "build" and not action.action_id}
    unsure = (unsure | set(missing)) - {"", "unsafe"}
    programs = {action.package for action in actions if action.mode.startswith("link")}
    plain = {package.partition(" ")[0] for package in unsure}
    main = bool(unsure & programs) or any(package.endswith(".test") for package in plain)
    return frozenset(plain | ({"main"} if main else set()))


def _failed(ran: Ran, actions: tuple[BuildAction, ...] | NoGraph) -> str:
    """Why go cannot be believed, in its words; that tools did not work is as it should be."""
    said = last_lines(ran.stderr, 3)
    if isinstance(actions, NoGraph):
        return said or actions.reason
    if b"[setup failed]" in ran.stdout or b"[setup failed]" in ran.stderr:
        return said or "a test cannot be set up"
    return ""


def _graph(path: Path) -> tuple[BuildAction, ...] | NoGraph:
    try:
        return parse_action_graph(path.read_bytes())
    except OSError as error:
        return NoGraph(f"go wrote no action graph: {error.strerror}")


def _log(folder: Path) -> bytes:
    try:
        return (folder / WANTED).read_bytes()
    except FileNotFoundError:
        return b""


def _age(place: Path, at_s: int) -> None:
    for path in _entries(place):
        os.utime(path, (at_s, at_s))


def _marked(place: Path, at_s: int) -> frozenset[bytes]:
    """Entries whose time go has set; for the next command they are old again."""
    found = set()
    for entry in _entries(place):
        if entry.stat().st_mtime > at_s + 3600:
            parsed = parse_file(entry.name[:2], entry.name)
            if parsed is not None and parsed[1] == "a":
                found.add(parsed[0])
            os.utime(entry, (at_s, at_s))
    return frozenset(found)


def _entries(place: Path) -> Iterator["os.DirEntry[str]"]:
    for shard in SHARDS:
        with suppress(FileNotFoundError), os.scandir(place / shard) as entries:  # go makes it when it needs it
            yield from entries
