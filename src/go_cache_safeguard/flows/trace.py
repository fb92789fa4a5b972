"""The story of `trace`: run a go command as it was typed, and see every lookup that it makes in its cache.

Knows:     which way of looking on a release offers, that the command's own input, output and exit code stay what they are, and whom the
           result is told.
Called by: the command line.
Never:     changes where anything is stored, or what go finds; ends before the command does.
Source:    GOCACHEPROG by environment since go1.24; before, keys from GODEBUG=gocachehash=1 on stderr (cmd/go/internal/cache/hash.go,
           go1.21 to go1.27). A toolchain that go.mod asks for is never older than the one that was started (go.dev/doc/toolchain).
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.cacheprog_command import command_line
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.archive import PROGRAM_HEAD, Archive, Span, read_archive, read_program
from go_cache_safeguard.gocache.classify import HEAD, TAIL, Kind, classify
from go_cache_safeguard.gocache.entry import Entry, parse_entry
from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.index import Index
from go_cache_safeguard.gocache.layout import SHARDS, action_name, output_name, parse_file
from go_cache_safeguard.gocache.trace import Lookup, explain, from_hash_log, keys_in, parse_trace
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, parse_action_graph

PROG_SINCE = 24
_WAIT_S = 5.0
"""seconds: how long a tracer may take to write down what it saw after its go command has ended."""
_GRAPHED = frozenset({"build", "install", "test", "vet", "run", "list"})
_VERSION = re.compile(r"go1\.(\d+)")
_RESULT = re.compile(rb"(?:^|\n)(?:ok  |FAIL|\?   )\t(\S+)[\t\n]")
_LOG_LIMIT = 256 << 20


class NotTraced(Failure):
    """The command cannot be traced."""

    id = "not-traced"
    exit_code = ExitCode.USAGE
    meaning = "a command cannot be traced as things are set"


@dataclass(frozen=True, slots=True)
class Traced:
    """One command that was traced.

    Attributes:
        command: As it was typed.
        exit_code: Of the command; 128 and the signal's number if one ended it.
        began_ns: When, in nanoseconds since 1970-01-01 UTC.
        wall_ns: From its start to its end.
        toolchain: Such as `go1.27.3`; empty if it could not be told.
        way: `GOCACHEPROG` or `gocachehash`.
        gocache: The cache.
        lookups: All of them.
        notes: What a reader should know.
    """

    command: tuple[str, ...]
    exit_code: int
    began_ns: int
    wall_ns: int
    toolchain: str
    way: str
    gocache: Path
    lookups: tuple[Lookup, ...]
    notes: tuple[str, ...]


def trace(session: Session, command: Sequence[str], *, graph: bool = False, keys: bool = False) -> Traced:
    """Run a command and see its lookups.

    Args:
        session: Who runs it, and where.
        command: As it was typed: `go build ./...`, or anything that starts go.
        graph: Ask go for its action graph, too, which names packages and prices what was built.
        keys: Take go's own log of keys whatever the release: half of the overhead, and no times.

    Raises:
        NotTraced: Another GOCACHEPROG is set, or the command cannot be started.
        NoTarget: There is no cache.
    """
    program = shutil.which(command[0], path=session.environ.get("PATH"))
    if program is None:
        raise NotTraced(f"{command[0]!r} is not found", not_done="nothing was run", hint="give a go command after --")
    _refuse_other_prog(session)
    gocache = session.gocache()
    version = _version(session, program)
    with TemporaryDirectory(prefix="trace-") as text:
        folder = Path(text)
        words, graph_file = _with_graph(command, folder) if graph else (tuple(command), None)
        began_ns = time.time_ns()
        if not keys and (version is None or version >= PROG_SINCE):
            ended, lookups, notes = _by_prog(session, program, words, folder)
            way = "GOCACHEPROG"
        else:
            ended, lookups, notes = _by_hash_log(session, program, words, gocache)
            way = "gocachehash"
            if (version or 0) >= 23 and "test" in command:
                notes = (
                    *notes,
                    "from go1.23 on, looking on changes the keys of test results: those here are not the usual ones",
                )
        steps = _steps(graph_file)
    lookups, toolchain = _named(session, gocache, lookups, steps)
    session.progress.phase("remembering")
    traced = Traced(tuple(command), ended.code, began_ns, ended.wall_ns, toolchain, way, gocache, lookups, notes)
    return _remember(session, traced, steps)


def _refuse_other_prog(session: Session) -> None:
    """Whoever has a program of their own in the place of the cache would be traced at the wrong place."""
    named = session.environ.get("GOCACHEPROG", "") or _set_in_goenv(session)
    if named:
        raise NotTraced(
            f"GOCACHEPROG is {named!r}: what this command looks up is answered there, not by the build cache",
            not_done="nothing was run",
            hint="GOCACHEPROG= in front traces the build cache itself (after `go env -w`: GOENV=off)",
        )


def _set_in_goenv(session: Session) -> str:
    """What `go env -w GOCACHEPROG=` has written, without starting go."""
    named = session.environ.get("GOENV", "")
    folder = session.environ.get("XDG_CONFIG_HOME", "") or str(session.home / ".config")
    if named == "off":
        return ""
    try:
        text = (Path(named) if named else Path(folder) / "go" / "env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = [line.partition("=")[2] for line in text.splitlines() if line.startswith("GOCACHEPROG=")]
    return found[-1].strip() if found else ""


def _version(session: Session, program: str) -> int | None:
    """The 27 of go1.27.3 of the go that will run; None if it cannot be told, as when the command is no go."""
    go = program if Path(program).name.startswith("go") else shutil.which("go", path=session.environ.get("PATH")) or ""
    try:
        text = (Path(go).resolve().parent.parent / "VERSION").read_text(encoding="utf-8")
    except OSError:
        text = ""
    told = _VERSION.match(text)
    if told is None or int(told[1]) < PROG_SINCE:
        # It may start a newer one, as go.mod or GOTOOLCHAIN ask for.
        with suppress(OSError, subprocess.SubprocessError):
            asked = [go, "env", "GOVERSION"]
            done = subprocess.run(
                asked,
                cwd=session.cwd,
                env=dict(session.environ),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            told = _VERSION.match(done.stdout) or told
    return int(told[1]) if told is not None else None


def _with_graph(command: Sequence[str], folder: Path) -> tuple[tuple[str, ...], Path | None]:
    """The command with the hidden flag that makes go write its action graph, where it has that flag."""
    file = folder / "graph.json"
    at = next((at for at, word in enumerate(command[1:], 1) if not word.startswith("-")), 0)
    if at == 0 or command[at] not in _GRAPHED or not Path(command[0]).name.startswith("go"):
        return tuple(command), None
    return (*command[: at + 1], f"-debug-actiongraph={file}", *command[at + 1 :]), file


def _steps(file: Path | None) -> tuple[BuildAction, ...]:
    if file is None:
        return ()
    try:
        steps = parse_action_graph(file.read_bytes())
    except OSError:
        return ()
    return () if isinstance(steps, NoGraph) else steps


def _by_prog(
    session: Session, program: str, command: Sequence[str], folder: Path
) -> "tuple[_Ended, tuple[Lookup, ...], tuple[str, ...]]":
    """Stand between go and its cache, which stays where and what it is."""
    traces = folder / "lookups"
    traces.mkdir()
    environ = {**session.environ, "GOCACHEPROG": tracer(traces)}
    with _signals_passed_on() as child:
        ended = child(subprocess.Popen([*command], executable=program, env=environ, cwd=session.cwd))
    lookups, silent = _gather(traces)
    notes = ("a tracer did not write down what it saw: this is not all",) if silent else ()
    return ended, lookups, notes


def tracer(folder: Path) -> str:
    """What GOCACHEPROG is while a command is traced.

    Args:
        folder: Where each go command's tracer writes down what it saw.
    """
    return command_line((f"--trace={folder}",))


def _gather(folder: Path) -> tuple[tuple[Lookup, ...], bool]:
    """What all tracers wrote, and whether one is still writing."""
    until = time.monotonic() + _WAIT_S
    data, silent = [], False
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        with path.open("rb") as file:
            silent |= not _locked(file.fileno(), until)
            data.append(file.read())
    return parse_trace(b"".join(data)), silent


def _locked(fd: int, until: float) -> bool:
    """Whether the writer, who holds a lock as long as it lives, has ended in time."""
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.002)


def _by_hash_log(
    session: Session, program: str, command: Sequence[str], gocache: Path
) -> "tuple[_Ended, tuple[Lookup, ...], tuple[str, ...]]":
    """Take the keys from the log that go writes to stderr, and let everything else there pass."""
    before = _actions_in(gocache)
    debug = ",".join(word for word in (session.environ.get("GODEBUG", ""), "gocachehash=1") if word)
    environ = {**session.environ, "GODEBUG": debug}
    log = bytearray()
    with _signals_passed_on() as child:
        process = subprocess.Popen([*command], executable=program, env=environ, cwd=session.cwd, stderr=subprocess.PIPE)
        reader = Thread(target=_sift, args=(process, log), daemon=True)
        reader.start()
        ended = child(process)
        reader.join(_WAIT_S)
    return ended, from_hash_log(keys_in(bytes(log)), before, lambda action: _entry(gocache, action)), ()


def _sift(process: "subprocess.Popen[bytes]", log: bytearray) -> None:
    """Lines of the log into the log, all others to where they belong, at once."""
    for line in process.stderr or ():
        if line.startswith((b"HASH[", b"HASH ")) and len(log) < _LOG_LIMIT:
            log += line
        else:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


def _actions_in(gocache: Path) -> frozenset[bytes]:
    found = []
    for shard in SHARDS:
        with suppress(OSError):
            names = [parse_file(shard, path.name) for path in (gocache / shard).iterdir()]
            found += [name[0] for name in names if name is not None and name[1] == "a"]
    return frozenset(found)


def _entry(gocache: Path, action: bytes) -> tuple[bytes, int] | None:
    try:
        entry = parse_entry((gocache / action_name(action)).read_bytes(), action)
    except OSError:
        return None
    return (entry.output, entry.size) if isinstance(entry, Entry) else None


@contextmanager
def _signals_passed_on() -> Iterator["_Wait"]:
    """The command decides what a signal means: Ctrl-C reaches it from the terminal, others are handed on."""
    wait = _Wait()
    before = {number: signal.signal(number, wait.hand_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    wall_ns: int


class _Wait:
    """Waits for one process, which is started right after this was made."""

    def __init__(self) -> None:
        self._began_ns = time.perf_counter_ns()
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, process: "subprocess.Popen[bytes]") -> _Ended:
        """Its exit code, as a shell would tell it, and how long it took."""
        self._process = process
        code = process.wait()
        return _Ended(code if code >= 0 else 128 - code, time.perf_counter_ns() - self._began_ns)

    def hand_on(self, number: int, _frame: object) -> None:
        """Give a signal that came to us to whom it was meant for."""
        if self._process is not None:
            self._process.send_signal(number)


def _named(
    session: Session, gocache: Path, lookups: tuple[Lookup, ...], steps: Sequence[BuildAction]
) -> tuple[tuple[Lookup, ...], str]:
    """Kinds and packages of all lookups, and the toolchain that made most of what was found."""
    outputs = {one.output for one in lookups if one.output is not None}
    facts = _Facts(gocache, outputs, session)
    graph = {step.action_id: (step.mode, step.package) for step in steps if step.action_id}
    named = explain(lookups, facts.about, subkey=subkey, graph=graph)
    return named, max(facts.toolchains, key=lambda name: facts.toolchains[name], default="")


class _Facts:
    """What outputs are: from the index if it knows them, as contents never change; else from the files themselves."""

    def __init__(self, gocache: Path, outputs: set[bytes], session: Session) -> None:
        self.toolchains: dict[str, int] = {}
        self._gocache = gocache
        self._told: dict[bytes, tuple[str, str]] = {}
        path = session.index_path(gocache)
        if path.exists():
            found = gocache.stat()
            index = Index(path, f"{found.st_dev}:{found.st_ino}", patience_s=0.1, read_only=True)
            for output, (kind, about) in index.recall((), outputs).outputs.items():
                self._note(about.version if about is not None else "")
                if about is not None or kind is Kind.EMPTY:
                    self._told[output] = str(kind), (about.package if about is not None else None) or ""
            index.close()

    def about(self, output: bytes) -> tuple[str, str]:
        """Kind and package."""
        if output not in self._told:
            self._told[output] = self._read(self._gocache / output_name(output))
        return self._told[output]

    def _read(self, path: Path) -> tuple[str, str]:
        try:
            if path.is_dir():
                (path,) = path.iterdir()
                return str(Kind.EXECUTABLE), self._parse(path, program=True)
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(HEAD)
                tail = os.pread(file.fileno(), TAIL, max(0, size - TAIL))
        except (OSError, ValueError):
            return "", ""
        kind = classify(head, tail, size)
        if kind is Kind.ARCHIVE:
            return str(kind), self._parse(path, program=False)
        result = _RESULT.search(tail) if kind is Kind.TEST_OUTPUT else None
        return str(kind), "" if result is None else result[1].decode("utf-8", "replace")

    def _parse(self, path: Path, *, program: bool) -> str:
        with path.open("rb", buffering=0) as file:
            head = os.pread(file.fileno(), PROGRAM_HEAD if program else HEAD, 0)
            parser = read_program(path.name, head) if program else read_archive(head)
            about = _drive(file.fileno(), parser)
        self._note(about.version if about is not None else "")
        return (about.package or "") if about is not None else ""

    def _note(self, version: str) -> None:
        if version:
            self.toolchains[version] = self.toolchains.get(version, 0) + 1


def _drive(fd: int, parser: Generator[Span, bytes, Archive | None]) -> Archive | None:
    """Give a parser the spans that it asks for."""
    try:
        offset, length = next(parser)
        while True:
            offset, length = parser.send(os.pread(fd, length, offset))
    except StopIteration as end:
        about: Archive | None = end.value
        return about
    except (OSError, OverflowError):
        return None


def _remember(session: Session, traced: Traced, steps: Sequence[BuildAction]) -> Traced:
    """Tell those who want to know which entries are used, and what building costs. A trace is none the worse without."""
    notes = list(traced.notes)
    actions = [one.action for one in traced.lookups if one.hit or one.put]
    if actions and Path(traced.command[0]).name.startswith("go"):
        from go_cache_safeguard.flows.uses import record_use  # noqa: PLC0415 - brings sqlite3

        try:
            record_use(
                session,
                project=session.cwd,
                command=traced.command[1:],
                toolchain=traced.toolchain,
                at_ns=traced.began_ns,
                actions=actions,
            )
        except (Failure, OSError) as error:
            notes.append(f"what was used is not remembered: {error}")
    if steps:
        from go_cache_safeguard.flows.costs import record_costs  # noqa: PLC0415 - likewise

        record_costs(session, steps, toolchain=traced.toolchain)
    return Traced(
        traced.command,
        traced.exit_code,
        traced.began_ns,
        traced.wall_ns,
        traced.toolchain,
        traced.way,
        traced.gocache,
        traced.lookups,
        tuple(notes),
    )


def used_names(traced: Traced) -> list[str]:
    """Names below the cache of everything that was found or made, sorted: what `tar -T` needs."""
    names = set()
    for one in traced.lookups:
        if one.output is not None and (one.hit or one.put):
            names |= {action_name(one.action), output_name(one.output)}
    return sorted(names)
