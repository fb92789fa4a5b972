"""Make binaries of the person's packages as they make them, and see whether a debugger could use them.

Knows:     which binaries are made, with which flags, where, and what is read of the sources that they name.
Called by: `flows.prove`.
Never:     uses `go run`, which always strips; leaves a binary behind; runs one, but for dlv, which stops it before it begins.
Source:    `go help build`: -gcflags counts for the packages that are named, so libraries are named too; with a directory after -o
           only programs are written. From go1.25 `go tool nm` is compiled when it is first asked for (1.5 s with go1.27.3).
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome, Verdict, worst
from go_cache_safeguard.flows.packages import Judged, Packages
from go_cache_safeguard.gotool.complaint import GoMissing, GoTimedOut, cache_trouble, last_lines, printable
from go_cache_safeguard.tree.owner import must_drop
from go_cache_safeguard.verify import dlv
from go_cache_safeguard.verify.image import Format
from go_cache_safeguard.verify.packages import Target, targets
from go_cache_safeguard.verify.sources import is_made, line_directives, place_of, trimmed_folders
from go_cache_safeguard.verify.symbols import (
    Debug,
    Held,
    Seen,
    Source,
    Unreadable,
    judge,
    strips,
    symbol_prefixes,
    with_debug,
)

MOST = 20
"""binaries that are made at most, each twice; linking takes about a second. What is left out is said."""
_SOURCE_LIMIT = 64 << 20
_DLV_S = 60
_NOT_INLINED = "-gcflags=-l"


@dataclass(frozen=True, slots=True)
class _Look:
    """One binary, and what it means.

    Attributes:
        seen: What it shows.
        outcome: What that means here.
    """

    seen: Seen
    outcome: Outcome


@dataclass
class Workplace:
    """Where binaries are made and looked at.

    Attributes:
        packages: Of which packages.
        folder: A directory that is thrown away afterwards.
        looks: What was seen so far.
        by_dlv: What dlv said, once at most.
    """

    packages: Packages
    folder: Path
    looks: list[_Look] = field(default_factory=list)
    by_dlv: list[Verdict] = field(default_factory=list)

    @cached_property
    def folders(self) -> dict[str, str]:
        """See `verify.sources.trimmed_folders`."""
        listed = self.packages.listed
        return trimmed_folders(
            {"path": one.path, "dir": one.folder, "module": one.module, "version": one.version} for one in listed
        )

    @cached_property
    def directives(self) -> frozenset[str]:
        """Names of files that the person's sources say they were made from."""
        paths = (f"{one.folder}/{name}" for one in self.packages.listed if one.own for name in one.sources)
        return frozenset(name for path in paths if (data := _content(path)) for name in line_directives(data))

    def source(self, name: str) -> Source:
        """What is on disk for a name in debug information."""
        free = is_made(name) or name.rpartition("/")[2] in self.directives
        place = place_of(name, self.folders, self.packages.env["GOROOT"])
        data = _content(place) if place is not None else None
        if data is None:
            return Source(None, free=free)
        lines = data.split(b"\n")
        funcs = frozenset(number for number, line in enumerate(lines, 1) if b"func" in line)
        return Source(len(lines) - (not lines[-1]), funcs, free)

    def examine(self, target: Target, *, inlined: bool) -> None:
        """Make one binary and look at it."""
        name = self._name(target, inlined=inlined)
        self.packages.session.progress.phase(f"proving: debug symbols, {name}")
        made = self._make(target, inlined=inlined)
        debug = made if isinstance(made, Unreadable) else self.debug(made, target)
        self.looks.append(self._judged(self.seen(name, debug), debug, inlined=inlined))
        if isinstance(made, Path) and isinstance(debug, Debug) and not inlined:
            self._ask_dlv(made, debug)

    def debug(self, made: Path, target: Target) -> Debug | Unreadable:
        """What a binary holds."""
        from go_cache_safeguard.verify.binary import look  # noqa: PLC0415 - brings pyelftools

        prefixes = symbol_prefixes(target.units)
        debug = look(made, target.units, prefixes)
        if isinstance(debug, Debug) and debug.format != Format.ELF:
            return replace(debug, symbols=self._nm(made, prefixes))
        return debug

    def seen(self, name: str, debug: Debug | Unreadable) -> Seen:
        """Whether that leads back to the sources as they are on disk now."""
        names = {*debug.lines, *(one.file for one in debug.functions)} if isinstance(debug, Debug) else set()
        return judge(name, debug, {one: self.source(one) for one in names if one})

    def _name(self, target: Target, *, inlined: bool) -> str:
        command = "go test -c" if target.test else "go build"
        flags = "" if inlined else f" {_NOT_INLINED}"
        return f"{command}{flags} {target.package}"

    def _make(self, target: Target, *, inlined: bool) -> Path | Unreadable:
        out = self.folder / f"made-{len(self.looks)}"
        out.mkdir()
        self._give(out)
        ran = self.packages.run(*self._command(target, out, inlined=inlined))
        found = sorted(out.iterdir())
        if ran.exit_code or len(found) != 1:
            said = (*cache_trouble(printable(ran.stderr))[:2], *last_lines(ran.stderr, 3).splitlines())
            return Unreadable(
                f"it could not be made: exit code {ran.exit_code}; {' '.join(dict.fromkeys(said)) or 'no file'}"
            )
        return found[0]

    def _command(self, target: Target, out: Path, *, inlined: bool) -> tuple[str, ...]:
        wanted = self.packages.wanted
        how: tuple[str, ...] = ()
        if not inlined:
            flag = strips(self.packages.all_flags)
            # Flags of the compiler that a person gave to all packages only lose against flags for all packages.
            how = (_NOT_INLINED.replace("=", "=all=") if flag.startswith("-gcflags") else _NOT_INLINED,)
            how += with_debug(self.packages.all_flags) if flag.startswith("-ldflags") else ()
        if target.test:
            return ("test", "-c", *wanted.flags, *how, "-o", f"{out}/test", target.package)
        libraries = [] if inlined else [one.path for one in self.packages.listed if one.named and one.name != "main"]
        return ("build", *wanted.flags, *how, "-o", f"{out}/", "--", target.package, *libraries)

    def _nm(self, made: Path, prefixes: tuple[str, ...]) -> tuple[str, ...] | None:
        """Text symbols, as the toolchain's own tool reads them; the tool is of this machine, whatever it looks at."""
        ran = self.packages.run("tool", "nm", str(made), GOOS="", GOARCH="")
        if ran.exit_code:
            return None
        rows = (line.strip().split(" ", 2) for line in printable(ran.stdout).splitlines())
        found = {row[2] for row in rows if len(row) == 3 and row[1] in "Tt" and row[2].startswith(prefixes)}
        return tuple(sorted(found))

    def _judged(self, seen: Seen, debug: Debug | Unreadable, *, inlined: bool) -> _Look:
        flag = strips(self.packages.all_flags) if inlined else ""
        bare = seen.held is Held.STRIPPED or (isinstance(debug, Debug) and not debug.functions)
        if flag and bare:
            seen = replace(seen, held=Held.STRIPPED, summary=f"stripped by your flags: {flag}")
            return _Look(seen, Outcome.PASS)
        outcome = {Held.HELD: Outcome.PASS, Held.UNREADABLE: Outcome.UNKNOWN}.get(seen.held, Outcome.BLOCK)
        return _Look(seen, outcome)

    def _ask_dlv(self, made: Path, debug: Debug) -> None:
        """Once, about a program of this machine."""
        env = self.packages.env
        function = dlv.choose(one.name for one in debug.functions if one.line)
        program = shutil.which("dlv", path=_absolute(self.packages.session.environ.get("PATH", "")))
        foreign = (env["GOOS"], env["GOARCH"]) != (env["GOHOSTOS"], env["GOHOSTARCH"])
        if self.by_dlv or program is None or not function or foreign:
            return
        self.packages.session.progress.phase(f"proving: dlv looks for {function}")
        args, typed = dlv.arguments(str(made)), dlv.commands(function)
        try:
            ran = self.packages.go.run_program(Path(program), args, cwd=self.folder, timeout_s=_DLV_S, stdin=typed)
            code, said = ran.exit_code, printable(ran.stdout + ran.stderr)
        except (GoTimedOut, GoMissing) as failure:
            code, said = None, failure.what
        self.by_dlv.append(dlv.judge(function, exit_code=code, said=said))

    def _give(self, path: Path) -> None:
        root = self.packages.root
        if must_drop(root.uid):
            os.chown(path, root.uid, root.gid, follow_symlinks=False)


def symbols(packages: Packages) -> Judged:
    """Debug symbols of every program that was named, or of the test programs of the libraries.

    Raises:
        NotListed: Go cannot say what the packages are.
    """
    wanted = targets(packages.listed)
    if not wanted:
        return Judged(Verdict("symbols", Outcome.UNKNOWN, "there is no program and no test to make a binary of"))
    with _workplace(packages) as place:
        for target in wanted[:MOST]:
            place.examine(target, inlined=False)
            place.examine(target, inlined=True)
        return _sum_up(place, [target.package for target in wanted[MOST:]])


@contextmanager
def _workplace(packages: Packages) -> Iterator[Workplace]:
    with tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as folder:
        place = Workplace(packages, Path(folder))
        place._give(place.folder)  # noqa: SLF001 - of this file
        yield place


def _sum_up(place: Workplace, left_out: list[str]) -> Judged:
    outcome = worst([*(Verdict("", one.outcome, "") for one in place.looks), *place.by_dlv])
    lines = [line for one in place.looks for line in _lines(one)]
    lines += [line for verdict in place.by_dlv for line in (verdict.summary, *verdict.evidence)]
    if not place.by_dlv:
        lines.append("dlv was not asked: it is not on PATH, or the binary is for another machine")
    if left_out:
        lines.append(f"not looked at: {len(left_out)} more, {', '.join(left_out[:4])}")
    good = sum(one.outcome is Outcome.PASS for one in place.looks)
    kept: dict[str, Value] = {
        "binaries": [one.seen.as_value() for one in place.looks],
        "dlv": [verdict.as_value() for verdict in place.by_dlv],
        "left_out": list(left_out),
    }
    summary = f"{good} of {len(place.looks)} binaries are as they should be"
    return Judged(Verdict("symbols", outcome, summary, tuple(lines)), kept)


def _lines(one: _Look) -> Iterator[str]:
    yield f"{one.seen.binary}: {one.seen.held}, {one.seen.summary}"
    yield from (f"  {line}" for line in one.seen.missing[:5])
    if len(one.seen.missing) > 5:
        yield f"  and {len(one.seen.missing) - 5} more"


def _absolute(path: str) -> str:
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder.startswith("/"))


def _content(path: str) -> bytes | None:
    """A source file; None if it is not there, or no plain file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        return file.read() if stat.S_ISREG(found.st_mode) and found.st_size <= _SOURCE_LIMIT else None
