"""Ask go what it would do with packages, and leave everything as it was.

Knows:     how go is kept from the network, from the cache, from go.mod and from git's index while it plans.
Called by: `flows.stale`, `flows.build_plan`, `flows.graph` and `flows.liveset`.
Never:     runs a compiler, or lets go see the real cache.
Source:    measured with go1.21.13, go1.26.8 and go1.27.3. `git status`, which go runs for the revision it would stamp, rewrites
           `.git/index` unless GIT_OPTIONAL_LOCKS is 0 (git(1)). `-mod=mod` in GOFLAGS lets go write go.mod and go.sum; `-mod=readonly`
           on top does not. What is left: a module whose tree is missing while its zip is in the module cache is extracted, as by any
           build.
"""

import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.interrupt import at_once
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.stand_in import NOT_NEEDED, make_stand_in
from go_cache_safeguard.flows.trial import home_of
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, parse_action_graph
from go_cache_safeguard.gotool.buildplan import STEERING
from go_cache_safeguard.gotool.complaint import last_lines
from go_cache_safeguard.gotool.packages import Package, list_args, parse_packages
from go_cache_safeguard.gotool.run import OUTPUT_LIMIT, Go, Ran, find_go
from go_cache_safeguard.tree.owner import must_drop
from go_cache_safeguard.tree.root import open_root

OURS = frozenset(
    {"GOCACHE", "GOCACHEPROG", "GOPROXY", "GONOPROXY", "GOVCS", "GIT_OPTIONAL_LOCKS", "GOTMPDIR", "GOTOOLCHAIN"}
)
"""Variables that we set while go plans, and nobody else may."""
_ASKED = ("GOVERSION", "GOHOSTOS", "GOHOSTARCH", "GOROOT", "GOMODCACHE", "GOMOD", "GOWORK", *STEERING)
_SPEECH = frozenset({"-v", "-x", "-n", "-work", "-json"})
"""Flags that change what go says, not what it builds."""

_MEMORY = Path("/dev", "shm")
"""What Linux keeps in memory."""
_NEEDED, _FOR_EACH = 32 << 20, 16 << 10
"""bytes that a stand-in may take: at all, and for each file of the cache. Most take a page."""


class CannotPlan(Failure):
    """Go could not say what it would do."""

    id = "cannot-plan"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "go could not plan a build of these packages, so nothing can be said about it"


@dataclass(frozen=True, slots=True)
class Under:
    """What to plan with, where it is not what the person has.

    Attributes:
        go: Another go command; None for the usual one.
        environment: Variables laid over the environment.
        vet: Also with what vet found out, which only it looks at.
    """

    go: Path | None = None
    environment: Mapping[str, str] | None = None
    vet: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache that a plan is made for.

    Attributes:
        path: GOCACHE.
        inventory: What is in it; None if there is no cache yet.
        notes: What a person should know about it.
    """

    path: Path
    inventory: Inventory | None
    notes: tuple[str, ...]


class Planner:
    """The go command in a place where it may write, asked about the packages of one directory.

    Args:
        go: The command.
        directory: Where it is started.
        folder: A directory of ours, gone afterwards.
        environ: What is laid over its environment.

    Attributes:
        env: What `go env` says of what steers a build.
        flags: GOFLAGS as go gets it from us.
    """

    def __init__(self, go: Go, directory: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self.directory, self.folder = directory, folder
        self._go, self._environ = go, dict(environ)
        answer = self.run("env", "-json", *_ASKED).or_fail()
        self.env: Mapping[str, str] = json.loads(answer.stdout)
        self.flags = quiet_flags(self.env.get("GOFLAGS", ""))
        self._environ["GOFLAGS"] = self.flags

    @property
    def version(self) -> str:
        """Such as `go1.27.3`, without what an experiment adds."""
        return self.env.get("GOVERSION", "").partition(" ")[0]

    @property
    def makes(self) -> frozenset[tuple[str, str]]:
        """Toolchain and target of archives that it may look for: also those for this machine, in case it is asked without GOARCH."""
        pairs = (("GOOS", "GOARCH"), ("GOHOSTOS", "GOHOSTARCH"))
        return frozenset((self.version, f"{self.env.get(one, '')}/{self.env.get(two, '')}") for one, two in pairs)

    def run(self, *args: str, extra: Mapping[str, str] | None = None) -> Ran:
        """Run go, offline; `extra` is laid over all else."""
        return self._go.run(args, cwd=self.directory, extra_env={**self._environ, **(extra or {})})

    def usual_env(self) -> Mapping[str, str]:
        """What `go env` says where we lay nothing over it.

        Raises:
            GoFailed: It does not answer.
        """
        found: Mapping[str, str] = json.loads(self._go.run(("env", "-json"), cwd=self.directory).or_fail().stdout)
        return found

    @property
    def beside_modules(self) -> bool:
        """Whether this is the directory of a workspace that holds no module itself: `./...` would mean nothing here."""
        work = self.env.get("GOWORK", "")
        here = self.directory.resolve()
        return Path(work or "off").resolve().parent == here and work != "off" and not (here / "go.mod").exists()

    def patterns(self, given: Sequence[str]) -> tuple[str, ...]:
        """The packages to ask about: those that were named, else all of the module or workspace here.

        Raises:
            UsageFailure: None was named, and this is in no module or workspace.
        """
        if given:
            return tuple(given)
        if self.env.get("GOMOD", "") not in {"", os.devnull} and not self.beside_modules:
            return ("./...",)
        if self.env.get("GOWORK", "") not in {"", "off"}:
            modules = self.run("list", "-m").or_fail().stdout.decode("utf-8", "replace").split()
            return tuple(f"{module}/..." for module in modules)
        raise UsageFailure(
            f"{str(self.directory)!r} is in no module and no workspace",
            not_done="go was asked nothing",
            hint="go to the directory of a module, or name packages, such as std",
        )

    def listing(
        self,
        patterns: Sequence[str],
        *,
        graph: Path | None = None,
        extra: Mapping[str, str] | None = None,
        tests: bool = False,
    ) -> tuple[Package, ...]:
        """Packages and all that they need.

        Args:
            patterns: As for `go build`.
            graph: Where the action graph goes; with one, go also says what is stale.
            extra: Variables laid over the environment.
            tests: Also what their tests are built of.

        Raises:
            CannotPlan: Go could not list them.
        """
        ran = self.run(*list_args(patterns, graph=str(graph) if graph else "", tests=tests), extra=extra)
        packages = parse_packages(ran.stdout)
        if ran.exit_code or packages is None or len(ran.stdout) >= OUTPUT_LIMIT:
            raise cannot(ran, "list")
        return packages

    def graph(self, path: Path) -> tuple[BuildAction, ...]:
        """The action graph that go wrote.

        Raises:
            CannotPlan: It is none.
        """
        try:
            actions = parse_action_graph(path.read_bytes())
        except OSError as error:
            actions = NoGraph(f"go wrote none: {error.strerror}")
        if isinstance(actions, NoGraph):
            raise CannotPlan(f"the action graph cannot be read: {actions.reason}", not_done="nothing was built")
        return actions

    def script(self, *args: str) -> str:
        """What `go build -n` with these arguments would run.

        Raises:
            CannotPlan: Go could not say, or said more than we keep.
        """
        ran = self.run("build", "-n", *args)
        if ran.exit_code or len(ran.stderr) >= OUTPUT_LIMIT:
            raise cannot(ran, "build -n")
        return ran.stderr.decode("utf-8", "surrogateescape")


def cannot(ran: Ran, what: str) -> CannotPlan:
    """The failure for a command that did not answer."""
    said = last_lines(ran.stderr, 5)
    return CannotPlan(
        f"`go {what}` cannot plan this: {said or 'its answer is cut off or has another form than we know'}",
        not_done="nothing was built or changed",
        hint="see that `go build` works here offline; `go mod download` fetches what is missing",
    )


def quiet_flags(flags: str) -> str:
    """GOFLAGS without what only makes go talk, and without leave to change go.mod."""
    words = [word.replace("--", "-", 1) if word.startswith("--") else word for word in flags.split()]
    kept = [word for word in words if word.partition("=")[0] not in _SPEECH]
    return " ".join("-mod=readonly" if word == "-mod=mod" else word for word in kept)


def read_cache(session: Session, gocache: Path) -> Cache:
    """List a cache, once for all plans.

    Raises:
        NotAGoCache: It is something else.
    """
    if not gocache.exists():
        return Cache(gocache, None, ("there is no cache yet: everything would be compiled",))
    with open_root(gocache) as root:
        inventory = look(session, root).inventory
    notes = []
    if inventory.unreadable:
        notes.append(
            f"{len(inventory.unreadable)} directories of the cache could not be listed: what is in them is left out"
        )
    if session.environ.get("GOCACHEPROG"):
        notes.append("GOCACHEPROG is set: only the directory was looked at, not what that program would have given")
    return Cache(gocache, inventory, tuple(notes))


@contextmanager
def planner(
    session: Session, directory: Path, cache: Cache | None = None, under: Under | None = None
) -> Iterator[tuple[Planner, tuple[str, ...]]]:
    """Make a place in which go may plan.

    Args:
        session: Who asks.
        directory: Where go is started.
        cache: The cache to plan with; None for an empty one.
        under: Another toolchain or environment.

    Yields:
        The planner, and what a person should know about the cache.
    """
    under = under or Under()
    found = stat_of(directory)
    with ExitStack() as stack:
        memory = in_memory(session, cache)
        stack.enter_context(at_once())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="go-cache-safeguard-", dir=memory)))
        place = folder / "cache"
        place.mkdir()
        give(folder, found)
        asked = Planner(go_of(session, under, found), directory, folder, environ_of(under, folder, found.st_uid))
        notes = () if cache is None else cache.notes
        if cache is not None and cache.inventory is not None:
            with open_root(cache.path) as root:
                unread = make_stand_in(
                    session,
                    root,
                    cache.inventory,
                    place,
                    made=asked.makes,
                    now_s=int(time.time()),
                    without=NOT_NEEDED - ({Kind.VET_FACTS} if under.vet else set()),
                )
            if unread:
                notes = (*notes, f"{unread} outputs could not be read; they count as missing")
        give(folder, found)
        yield asked, notes


def in_memory(session: Session, cache: Cache | None) -> Path | None:
    """Where a stand-in costs no disk: thousands of files that are gone in a second; None if there is no such place, or little room.

    Args:
        session: Whose TMPDIR holds, if it is set.
        cache: What the stand-in is made of.
    """
    inventory = None if cache is None else cache.inventory
    needed = _NEEDED + (inventory.files * _FOR_EACH if inventory is not None else 0)
    with suppress(OSError):
        room = os.statvfs(_MEMORY)
        enough = room.f_bavail * room.f_frsize > needed and room.f_favail > needed // _FOR_EACH
        if enough and not session.environ.get("TMPDIR") and os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY
    return None


def stat_of(directory: Path) -> os.stat_result:
    """A directory in which go is to be started.

    Raises:
        UsageFailure: It is none, or cannot be entered.
    """
    try:
        found = directory.stat()
    except OSError as error:
        raise UsageFailure(f"{str(directory)!r} cannot be entered: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UsageFailure(f"{str(directory)!r} is not a directory")
    return found


def go_of(session: Session, under: Under, found: os.stat_result) -> Go:
    """Go with the rights of whom the module belongs to."""
    if under.go is None:
        return session.go_for(found.st_uid, found.st_gid)
    return Go(
        find_go(session.cwd / under.go, ""),
        environ=session.environ,
        timeout_s=session.config.seconds("go.timeout"),
        owner=(found.st_uid, found.st_gid),
        toolchain=session.config.text("go.toolchain"),
    )


def environ_of(under: Under, folder: Path, uid: int) -> dict[str, str]:
    """What is laid over go's environment: offline, with its cache and its temporary files in a folder of ours."""
    others = {"GOENV": "off", **home_of(uid)} if must_drop(uid) else {}
    return {
        **others,
        **(under.environment or {}),
        "GOCACHE": str(folder / "cache"),
        "GOCACHEPROG": "",
        "GOTMPDIR": str(folder),
        "GOPROXY": "off",
        "GONOPROXY": "none",  # GOPRIVATE would lead around GOPROXY
        "GOVCS": "*:off",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def give(folder: Path, found: os.stat_result) -> None:
    """Give all that we made to the one whom go runs as."""
    if not must_drop(found.st_uid):
        return
    for path, _folders, files in os.walk(folder):
        for name in (".", *files):
            os.chown(Path(path) / name, found.st_uid, found.st_gid, follow_symlinks=False)
