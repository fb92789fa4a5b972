"""The only place that starts the go command.

Knows:     how to find go, give it a clean start, bound its time and its output, and leave no process behind.
Called by: `flows` and the command line, nobody else.
Never:     uses a shell, passes on a relative PATH entry, downloads a toolchain unless told to, writes a variable down that
           is not one of go's.
Source:    SIGINT first: cmd/go/internal/base/signal_unix.go `signalsToIgnore`; go then stops its tools and removes its work
           directory, which it does not on SIGTERM (go1.21.13 and go1.27.3).
"""

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from go_cache_safeguard.gotool.complaint import GoMissing, GoTimedOut, failure_of, last_lines
from go_cache_safeguard.gotool.environment import KEYS, GoEnv, evidence, parse_go_env

OUTPUT_LIMIT = 64 << 20
"""bytes of each stream that are kept, the last ones. `go list -json` of 2,000 packages is about 10 MiB."""

GRACE_S = 3.0
"""seconds between asking a process group to stop and killing it. Go needs some tens of milliseconds to clean up."""

_LOOK_S = 0.1
"""seconds after which we look whether a process ended although a grandchild keeps its output open."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One command that ended by itself.

    Attributes:
        args: What was started, without the executable.
        cwd: Where.
        exit_code: 0 to 255; negative: the signal that ended it.
        stdout: The last `OUTPUT_LIMIT` bytes.
        stderr: Likewise.
        wall_ns: From start to end.
        cpu_ns: User and system time of it and of every child that it waited for.
        environment: The variables that steer a build; never others.
    """

    args: tuple[str, ...]
    cwd: str
    exit_code: int
    stdout: bytes
    stderr: bytes
    wall_ns: int
    cpu_ns: int
    environment: Mapping[str, str] = field(repr=False)

    def or_fail(self) -> "Ran":
        """This, if the exit code is 0.

        Raises:
            GoFailed: With what was said last.
            GocacheOff: Go has no build cache.
            GocacheRelative: GOCACHE is a relative path.
        """
        if self.exit_code:
            raise failure_of(self.args, self.exit_code, self.stderr)
        return self


def find_go(explicit: Path | None, path_env: str) -> Path:
    """Find the go command.

    Args:
        explicit: What the person named; then nothing else is looked at.
        path_env: The value of PATH. Relative and empty entries are passed over: what lies in the current directory is not
            the toolchain.

    Raises:
        GoMissing: There is none.
    """
    folders = [Path(folder) for folder in path_env.split(os.pathsep) if folder.startswith("/")]
    for candidate in [explicit.absolute()] if explicit else [folder / "go" for folder in folders]:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    where = f"{str(explicit)!r} is no program" if explicit else "no go command is in PATH"
    raise GoMissing(where, not_done="go was not started", hint="install Go 1.21 or later, or name one with --go PATH")


class Go:
    """One go command with the environment that it is started in.

    Args:
        executable: Absolute path, see `find_go`.
        environ: The environment to start it in, as a whole.
        timeout_s: Seconds for one command unless said otherwise.
        owner: User and group to be, if we are root and they are not: what root's go writes into somebody's cache would be
            root's, and its owner could neither use nor clean it.
        toolchain: GOTOOLCHAIN; `local` downloads nothing.
    """

    def __init__(
        self,
        executable: Path,
        *,
        environ: Mapping[str, str],
        timeout_s: float = 600,
        owner: tuple[int, int] | None = None,
        toolchain: str = "local",
    ) -> None:
        self.executable = executable
        self._environ = {**environ, "GOTOOLCHAIN": toolchain}
        self._timeout_s = timeout_s
        self._owner = owner

    def env(self, *, cwd: Path = Path("/")) -> GoEnv:
        """Ask go about itself. Creates nothing, not even the cache directory.

        Raises:
            GocacheOff: It has no build cache.
            GocacheRelative: GOCACHE is a relative path.
            GoFailed: It does not answer.
        """
        answer = self.run(("env", "-json", *KEYS), cwd=cwd).or_fail()
        found = parse_go_env(answer.stdout)
        if found is None:
            raise failure_of(answer.args, answer.exit_code, answer.stdout)
        if found.cache == "off":
            # `go env` says `off` for each of the reasons; a build says which one it is, before it does anything.
            refused = self.run(("build", "-n", "unsafe"), cwd=cwd)
            raise failure_of(refused.args, refused.exit_code, refused.stderr)
        return found

    def run(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        extra_env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        stdin: bytes | None = None,
        told: Callable[[bytes], None] | None = None,
    ) -> Ran:
        """Run one command to its end; its exit code is a value, see `Ran.or_fail`.

        Args:
            args: Without the executable.
            cwd: Where; must exist.
            extra_env: Laid over the environment; the place to set another GOTOOLCHAIN.
            timeout_s: Seconds; after them the whole process group is ended.
            stdin: What it reads; nothing if None.
            told: Given each piece of its standard output as it comes, cut anywhere.

        Raises:
            GoTimedOut: It took too long.
            GoMissing: It cannot be started.
        """
        environ = {**self._environ, **(extra_env or {})}
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return _run(
            (self.executable, args),
            cwd=cwd,
            environ=environ,
            timeout_s=limit_s,
            stdin=stdin,
            owner=self._owner,
            told=told,
        )

    def run_program(
        self, program: Path, args: Sequence[str] = (), *, cwd: Path, timeout_s: float, stdin: bytes | None = None
    ) -> Ran:
        """Run a program that go built, or one about it, as whom and in what environment go runs; same failures as `run`."""
        return _run(
            (program, args), cwd=cwd, environ=self._environ, timeout_s=timeout_s, stdin=stdin, owner=self._owner
        )


def _run(
    command: tuple[Path, Sequence[str]],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float,
    stdin: bytes | None,
    owner: tuple[int, int] | None,
    told: Callable[[bytes], None] | None = None,
) -> Ran:
    executable, args = command
    started = time.monotonic_ns()
    with _input(stdin) as source, _start((str(executable), *args), cwd, environ, source, owner) as child:
        outputs = {child.stdout: _Tail(told), child.stderr: _Tail()}
        try:
            in_time = _listen(child, outputs, deadline=time.monotonic() + timeout_s)
        finally:
            cpu_ns = _end(child)
    stdout, stderr = (bytes(tail) for tail in outputs.values())
    if not in_time:
        said = last_lines(stderr, 5)
        line = " ".join((executable.name, *args))
        raise GoTimedOut(
            f"`{line}` did not end within {timeout_s:g} s and was ended" + (f"; it says: {said}" if said else ""),
            hint="is the machine very busy, or the time limit very short?",
        )
    return Ran(
        args=tuple(args),
        cwd=str(cwd),
        exit_code=child.returncode,
        stdout=stdout,
        stderr=stderr,
        wall_ns=time.monotonic_ns() - started,
        cpu_ns=cpu_ns,
        environment=evidence(environ),
    )


class _Tail:
    """The last bytes of a stream."""

    def __init__(self, told: Callable[[bytes], None] | None = None) -> None:
        self._bytes = bytearray()
        self._told = told

    def add(self, chunk: bytes) -> None:
        if self._told is not None:
            self._told(chunk)
        self._bytes += chunk
        if len(self._bytes) > 2 * OUTPUT_LIMIT:
            del self._bytes[:-OUTPUT_LIMIT]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes[-OUTPUT_LIMIT:])


@contextmanager
def _input(data: bytes | None) -> Iterator[IO[bytes] | int]:
    """A file, not a pipe: nobody has to feed it while the child runs."""
    if data is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


def _start(
    argv: Sequence[str], cwd: Path, environ: Mapping[str, str], source: IO[bytes] | int, owner: tuple[int, int] | None
) -> "subprocess.Popen[bytes]":
    user, group = owner if owner and owner[0] and os.geteuid() == 0 else (None, None)
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,
            user=user,
            group=group,
            extra_groups=None if user is None else (),
        )
    except OSError as error:
        raise GoMissing(f"{argv[0]!r} cannot be started in {str(cwd)!r}: {error.strerror}") from error


def _listen(child: "subprocess.Popen[bytes]", outputs: Mapping[IO[bytes] | None, _Tail], *, deadline: float) -> bool:
    """Keep what the child says until it has ended; False if the deadline passed before."""
    with selectors.DefaultSelector() as selector:
        for stream, tail in outputs.items():
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, tail)
        while selector.get_map() or not _has_ended(child.pid):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            ended = _has_ended(child.pid)  # asked before: what it said last is ready then
            ready = selector.select(min(left, _LOOK_S if selector.get_map() else _LOOK_S / 10))
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                key.data.add(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
            if not ready and ended:
                # What still holds the output open is a grandchild that outlived its parent.
                break
        return True


def _has_ended(pid: int) -> bool:
    """Whether our child has ended; it is not reaped, so its number still belongs to it and its group."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: "subprocess.Popen[bytes]") -> int:
    """End the child if it lives, kill what is left of its group, and reap it. A second Ctrl-C only ends the waiting.

    Returns:
        User and system time of the child and of all that it waited for, in nanoseconds.
    """
    try:
        if not _has_ended(child.pid):
            _signal(child.pid, signal.SIGINT)
            deadline = time.monotonic() + GRACE_S
            while not _has_ended(child.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        _signal(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return round((usage.ru_utime + usage.ru_stime) * 1e9)


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # Nobody is left in the group, or only a program that changed its user: not ours to end.
        return
