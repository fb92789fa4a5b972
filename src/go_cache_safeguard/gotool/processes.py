"""Which processes may be using a build cache right now.

Knows:     how a go command, its tools and known readers of the cache show themselves in /proc.
Called by: `flows.clean` before and between the two phases of a removal, and `status`.
Never:     sends a signal, counts this process or its ancestors, or takes "cannot be read" for "not there".
Source:    there is no lock and no "build in progress" mark in the cache, cmd/go/internal/cache/cache.go; go exports GOCACHE to
           its children, cmd/go/main.go (os.Setenv of cfg.CmdEnv); proc(5); the first PID namespace is number 4026531836,
           include/linux/proc_ns.h PROC_PID_INIT_INO.

A process counts when one of these holds:

* it is a `go` command and its cache is ours, or its environment cannot be read;
* it is a tool of the toolchain (compile, link, ...), a test binary or a program that go built for `go run`, and its
  environment says that its GOCACHE is ours; or a tool of the toolchain whose environment cannot be read;
* it descends from a process that counts by one of these two rules;
* it is a program known to read export files after its `go list` has ended, and its cache is ours or cannot be told;
* it has a file of the cache open or mapped, or runs a program that lies in it.

GOCACHE in the environment alone is not enough: where a shell profile or a CI job sets it, every shell and daemon has it.
gopls is left out on purpose: it lives for days, waiting for it would be waiting for ever; it takes no compiled package from
the cache between its `go list` commands, and these count like any other go command while they run.
"""

import os
import re
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from go_cache_safeguard.gotool.environment import cache_location, env_file, parse_environ

_TOOLS = frozenset({"compile", "link", "asm", "cgo", "vet", "cover", "fix", "buildid", "pack", "preprofile", "covdata"})
_CONSUMERS = frozenset({"golangci-lint", "staticcheck"})
_BUILT = re.compile(r"/go-build\d+/")
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_KERNEL_THREAD = 0x00200000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.5
"""seconds between two looks at processes that we wait for; an ended one is noticed at once where pidfd_open exists."""


class Why(StrEnum):
    """What makes us count a process."""

    ENVIRONMENT = "environment"
    DEFAULT_CACHE = "default cache"
    OPEN_FILE = "open file"
    MAPPED_FILE = "mapped file"
    PROGRAM = "program in the cache"
    CHILD = "child of a go command"
    UNREADABLE = "its environment cannot be read"


@dataclass(frozen=True, slots=True)
class GoProcess:
    """One process that may be using the cache.

    Attributes:
        pid: Its number now.
        start_ticks: When it started, in clock ticks since boot: with the number, a name that is never given twice.
        name: As the kernel calls it, at most 15 characters.
        command: The first 200 printable characters of its command line.
        cwd: Its working directory; empty if it cannot be read.
        age_s: Seconds since it started.
        why: What makes us count it.
    """

    pid: int
    start_ticks: int
    name: str
    command: str
    cwd: str
    age_s: int
    why: Why


@dataclass(frozen=True, slots=True)
class ProcessScan:
    """One look at all processes.

    Attributes:
        found: Those that may be using the cache, by number.
        blind: How many others did not let us see their open files.
        notes: What we know that we cannot know, and what was left out.
    """

    found: tuple[GoProcess, ...]
    blind: int
    notes: tuple[str, ...]


def scan_go_processes(gocache: Path, *, proc: Path = Path("/proc")) -> ProcessScan:
    """Look once at all processes.

    Args:
        gocache: Root of the build cache, absolute.
        proc: Where the proc file system is mounted.
    """
    cache = _Cache(gocache)
    seen = {pid: process for pid in _pids(proc) if (process := _look(proc, pid)) is not None}
    ours = _ancestors(seen, os.getpid())
    others = [process for pid, process in seen.items() if pid not in ours]
    whys = {process.pid: why for process in others if (why := _why(process, cache)) is not None}
    _add_children(whys, others)
    uptime = _uptime_s(proc)
    # What ended while we looked could not be read for that reason alone.
    found = still_alive((_describe(seen[pid], whys[pid], uptime) for pid in sorted(whys)), proc=proc)
    blind = sum(process.pid not in whys and process.hides_files for process in others)
    notes = [*_limits(proc), *(_left_out(seen[pid]) for pid in sorted(ours) if pid in seen and seen[pid].is_go)]
    return ProcessScan(found, blind, tuple(notes))


def still_alive(processes: Iterable[GoProcess], *, proc: Path = Path("/proc")) -> tuple[GoProcess, ...]:
    """Those that have not ended. A number that was given to another process since does not count."""
    now = ((process, _look(proc, process.pid)) for process in processes)
    return tuple(process for process, found in now if found and found.start_ticks == process.start_ticks)


def wait_for(
    processes: Iterable[GoProcess],
    *,
    timeout_s: float,
    tick: Callable[[tuple[GoProcess, ...]], None],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[GoProcess, ...]:
    """Wait until all have ended.

    Args:
        processes: Whom to wait for.
        timeout_s: Seconds at most.
        tick: Is told who is left, at each look.
        sleep: Waits so many seconds, where the kernel cannot tell us of an end.

    Returns:
        Those still alive at the end.
    """
    deadline = time.monotonic() + timeout_s
    left = still_alive(processes)
    while left:
        tick(left)
        rest = deadline - time.monotonic()
        if rest <= 0:
            break
        _pause(left, min(rest, _LOOK_S), sleep)
        left = still_alive(left)
    return left


@dataclass(frozen=True)
class _Process:
    """What /proc says of one process; the costly parts are read when asked for.

    Attributes:
        folder: Its directory in /proc.
        pid: Its number.
        parent: Its parent's number.
        name: As the kernel calls it.
        argv: Its command line.
        start_ticks: See `GoProcess`.
    """

    folder: str
    pid: int
    parent: int
    name: str
    argv: tuple[str, ...]
    start_ticks: int

    @cached_property
    def exe(self) -> str:
        """Path of the program as its namespace sees it; empty if unreadable."""
        return _link(f"{self.folder}/exe").removesuffix(" (deleted)")

    @cached_property
    def environ(self) -> dict[str, str] | None:
        """Its environment; None if it cannot be read or shows none; empty if the process has ended."""
        for _ in range(25):
            try:
                data = Path(f"{self.folder}/environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                return {}
            except OSError:
                return None
            if data:
                return parse_environ(data)
            # A process shows nothing while it executes a program, and while it ends: look again before we believe it.
            time.sleep(0.002)
        return None

    @cached_property
    def open_files(self) -> tuple[str, ...] | None:
        """Where its open files lie; None if that cannot be read."""
        try:
            return tuple(_links(f"{self.folder}/fd"))
        except PermissionError:
            return None
        except OSError:
            return ()

    @property
    def hides_files(self) -> bool:
        return self.open_files is None

    @property
    def names(self) -> frozenset[str]:
        """Every name by which it may be known: a script may hide the one, a rename the other."""
        first = self.argv[0] if self.argv else ""
        return frozenset(path.rpartition("/")[2] for path in (self.exe, first, self.name)) - {""}

    @property
    def is_go(self) -> bool:
        return "go" in self.names

    @property
    def is_tool(self) -> bool:
        return bool(self.names & _TOOLS) and any("/pkg/tool/" in path for path in (self.exe, *self.argv[:1]))

    @property
    def is_built(self) -> bool:
        """Whether go built it: a test, or a program of `go run`."""
        return any(name.endswith(".test") for name in self.names) or _BUILT.search(self.exe) is not None


class _Cache:
    """The cache that we ask about, and how to recognise it under another name or in another mount namespace."""

    def __init__(self, root: Path) -> None:
        self.path = os.path.normpath(root)
        self._identity = _identity(self.path)
        self._below = tuple({f"{self.path}/", f"{os.path.realpath(self.path)}/"})
        self.marks = tuple(os.fsencode(f" {below}") for below in self._below)

    def is_at(self, path: str, folder: str) -> bool:
        """Whether this path, as the process in that /proc directory sees it, is our cache."""
        theirs = _identity(f"{folder}/root{path}")
        if self._identity is None or theirs is None:
            return os.path.normpath(path) == self.path
        return theirs == self._identity

    def holds(self, path: str) -> bool:
        return path.startswith(self._below)


def _why(process: _Process, cache: _Cache) -> Why | None:
    if process.is_go or process.is_tool or process.is_built or process.names & _CONSUMERS:
        why = _by_environment(process, cache)
        if why is not None:
            return why
    if cache.holds(process.exe):
        return Why.PROGRAM
    if any(cache.holds(path) for path in process.open_files or ()):
        return Why.OPEN_FILE
    maps = _read(f"{process.folder}/maps")
    return Why.MAPPED_FILE if any(mark in maps for mark in cache.marks) else None


def _by_environment(process: _Process, cache: _Cache) -> Why | None:
    environ = process.environ
    if environ is None:
        return None if process.is_built and not process.is_go else Why.UNREADABLE
    if environ.get("GOCACHE"):
        return Why.ENVIRONMENT if cache.is_at(environ["GOCACHE"], process.folder) else None
    if process.is_go or process.names & _CONSUMERS:
        place = cache_location(environ, *_env_files(process, environ))
        return Why.DEFAULT_CACHE if place and cache.is_at(place, process.folder) else None
    return None


def _env_files(process: _Process, environ: Mapping[str, str]) -> Iterator[bytes]:
    """The GOENV file and GOROOT/go.env, as this process sees them."""
    goroot = environ.get("GOROOT") or process.exe.removesuffix("/bin/go")
    for path in (env_file(environ), f"{goroot}/go.env"):
        if path and path.startswith("/"):
            yield _read(f"{process.folder}/root{path}")


def _add_children(whys: dict[int, Why], others: Iterable[_Process]) -> None:
    """Count what descends from a counted go command: compilers behind -toolexec, C compilers, tests."""
    parents = {process.pid: process.parent for process in others}
    roots = {process.pid for process in others if process.pid in whys and process.is_go}
    for pid in parents:
        if pid not in whys and any(ancestor in roots for ancestor in _line(parents, pid)):
            whys[pid] = Why.CHILD


def _line(parents: Mapping[int, int], pid: int) -> Iterator[int]:
    """The ancestors of a process, nearest first."""
    met = {pid}
    while (pid := parents.get(pid, 0)) and pid not in met:
        met.add(pid)
        yield pid


def _ancestors(seen: Mapping[int, _Process], pid: int) -> frozenset[int]:
    return frozenset({pid, *_line({each.pid: each.parent for each in seen.values()}, pid)})


def _left_out(process: _Process) -> str:
    command = _printable(process.argv)
    return f"this program was started by a go command, which is not waited for: process {process.pid}, {command}"


def _describe(process: _Process, why: Why, uptime_s: float) -> GoProcess:
    return GoProcess(
        pid=process.pid,
        start_ticks=process.start_ticks,
        name=process.name,
        command=_printable(process.argv) or process.name,
        cwd=_link(f"{process.folder}/cwd"),
        age_s=max(0, round(uptime_s - process.start_ticks / _TICKS_PER_S)),
        why=why,
    )


def _printable(argv: Iterable[str]) -> str:
    return "".join(char if char.isprintable() else "�" for char in " ".join(argv))[:200]


def _pids(proc: Path) -> list[int]:
    with os.scandir(proc) as entries:
        return sorted(int(entry.name) for entry in entries if entry.name.isdecimal())


def _look(proc: Path, pid: int) -> _Process | None:
    """Read the cheap part; None for what has ended and for threads of the kernel."""
    folder = f"{proc}/{pid}"
    before, _, after = _read(f"{folder}/stat").rpartition(b")")
    fields = after.split()
    if len(fields) < 20:
        return None
    # After the name: state, parent, ... flags (7th), ... number of threads (18th), one unused, start time (20th).
    ended = fields[0] in b"ZX" and int(fields[17]) <= 1
    if ended or int(fields[6]) & _KERNEL_THREAD:
        return None
    name = os.fsdecode(before.partition(b"(")[2])
    argv = _read(f"{folder}/cmdline").rstrip(b"\0").split(b"\0")
    return _Process(folder, pid, int(fields[1]), name, tuple(map(os.fsdecode, argv)), int(fields[19]))


def _limits(proc: Path) -> Iterator[str]:
    """What this /proc cannot show us."""
    namespace = _link(f"{proc}/self/ns/pid")
    if namespace != _FIRST_PID_NAMESPACE:
        yield "this is a container or another PID namespace: go commands outside of it cannot be seen"
    if not (proc / "1/stat").exists():
        yield "/proc hides the processes of other users (hidepid): their go commands cannot be seen"


def _uptime_s(proc: Path) -> float:
    words = _read(f"{proc}/uptime").split()
    return float(words[0]) if words else 0.0


def _pause(processes: Iterable[GoProcess], seconds: float, sleep: Callable[[float], None]) -> None:
    """Wait until one of them ends, at most so long."""
    with ExitStack() as stack:
        poll = select.poll()
        for process in processes:
            try:
                descriptor = os.pidfd_open(process.pid)
            except OSError:
                # Ended since, or a kernel without pidfd: either way a short sleep and the next look tell.
                sleep(min(seconds, 0.05))
                return
            stack.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _links(folder: str) -> Iterator[str]:
    """Where each symbolic link of a directory points; those that vanish meanwhile are passed over."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                with suppress(OSError):
                    yield os.readlink(entry.name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _read(path: str) -> bytes:
    """The whole file; nothing if it cannot be read, for example because the process has ended."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
