"""What go says about the dependencies of a module, asked on copies.

Knows:     which commands make up a state, who uses a module, and how a newer version is asked for and tried.
Called by: `flows.drift`.
Never:     changes go.mod, go.sum, go.work or go.work.sum: go is given copies, and what it writes into them is thrown away.
Source:    `go help mod tidy` (`-diff` since go1.23), `go help modules` (`-modfile`); tried with go1.21.13 and go1.27.3: with
           `-modfile` go writes beside that file only, in a workspace beside the go.work that GOWORK names. `go mod tidy` knows no
           workspace. `-mod=mod`, which a workspace does not allow, answers also where go.mod or go.sum lack a line.
"""

import difflib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from go_cache_safeguard.flows.modules import Asking, Place, content_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.checks.index_agreement import without_index
from go_cache_safeguard.gomod.buildlist import parse_modules, parse_requires, strongest
from go_cache_safeguard.gomod.checks.updates import UpdateFacts
from go_cache_safeguard.gomod.drift import Change, compare
from go_cache_safeguard.gomod.state import (
    Main,
    State,
    read_diff,
    read_edges,
    read_main,
    read_modules,
    read_sums,
    relative,
)
from go_cache_safeguard.gomod.sumfile import SumFile, parse_sum
from go_cache_safeguard.gomod.touched import FIELDS, Touch, read_packages, touched
from go_cache_safeguard.gomod.updates import (
    OPTIONS,
    Answer,
    Simulated,
    confirm,
    read_answers,
    silent,
    to_ask,
    unanswered,
)
from go_cache_safeguard.gomod.verify import Need
from go_cache_safeguard.gotool.complaint import GoTimedOut, last_lines
from go_cache_safeguard.gotool.environment import without_passwords
from go_cache_safeguard.gotool.run import Ran
from go_cache_safeguard.tree.owner import must_drop

_STEERING = ("GOFLAGS", "GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "GOVCS")
_HAS_DIFF = 23
"""The first release go1.x whose `go mod tidy` knows `-diff`."""
_PROBE = "safeguard.invalid/probe"
_PACKAGE_PROBLEMS = 3


def root_of(place: Place) -> Path:
    """Directory of the module, or of go.work."""
    return place.go_work.parent if place.go_work else place.mains[0]


@dataclass(frozen=True, slots=True)
class _Copy:
    """Copies of what go would write, and how it is told of them.

    Attributes:
        folder: Where they lie.
        content: From the name of each to what the original holds.
        flags: For commands that take `-modfile`.
        extra: For the environment.
    """

    folder: Path
    content: Mapping[str, bytes]
    flags: tuple[str, ...]
    extra: Mapping[str, str]

    def fresh(self) -> None:
        """Make them again: go may have written into them."""
        for name, data in self.content.items():
            (self.folder / name).write_bytes(data)

    def now(self) -> Mapping[str, bytes]:
        """What they hold."""
        return {name: (self.folder / name).read_bytes() for name in self.content}


@dataclass(slots=True)
class Dependencies:
    """Go, asked with the person's own settings for modules: it may go online, if these allow it.

    Attributes:
        session: Who asks.
        asking: Starts go.
        place: The module or workspace.
        environ: What `go env` says of settings for modules, and GOVERSION.
    """

    session: Session
    asking: Asking
    place: Place
    environ: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        told = self.session.go.run(("env", "-json", "GOVERSION", *_STEERING), cwd=self.place.directory).or_fail()
        answer = parse_modules(told.stdout) or ({},)
        self.environ = {key: value for key, value in answer[0].items() if isinstance(value, str)}

    def state(self, *, tidy: bool) -> State:
        """What the module depends on now."""
        root = str(root_of(self.place))
        unknown: dict[str, str] = {}
        if modfile := self._other_modfile():
            unknown["modules"] = f"GOFLAGS names another go.mod: {modfile}; unset it for this run"
        mains, requires = self._mains(root, unknown)
        with self._copy() as copy:
            self.session.progress.phase("computing the build list")
            listed = self._objects(copy, ("list", "-m", self._mod, *copy.flags, "-json", "all"), "modules", unknown)
            copy.fresh()
            edges = self._graph(copy, unknown)
        sums = self._sums(root, unknown)
        lines = self._tidy(unknown) if tidy else None
        self.session.progress.phase("")
        environment = {key: without_passwords(value) for key, value in self.environ.items() if value}
        modules = read_modules(listed, requires, root)
        return State(mains, modules, edges, sums, lines, environment, unknown)

    def touched(self, modules: set[str]) -> tuple[Mapping[str, Sequence[Touch]], str]:
        """Which packages use these modules; and why that is not wholly known, if so."""
        if not modules:
            return {}, ""
        self.session.progress.phase("looking who uses what changed")
        listed, trouble = self._packages()
        self.session.progress.phase("")
        if not listed:
            return {}, trouble
        packages = read_packages(listed)
        if packages.problems:
            more = len(packages.problems) - _PACKAGE_PROBLEMS
            trouble = "; ".join(packages.problems[:_PACKAGE_PROBLEMS]) + (f" and {more} more" if more > 0 else "")
        return touched(packages, modules), trouble

    def _packages(self) -> tuple[Sequence[Mapping[str, Any]], str]:
        """Every package of a build; else why there is none. Where go.sum is what is wrong, what was downloaded is looked at."""
        patterns = [f"{main}/..." for main in self.place.mains]
        unknown: dict[str, str] = {}
        with self._copy() as copy:
            extra = {"GOCACHE": f"{copy.folder}/cache", **without_index(self.session.environ.get("GODEBUG", ""))}
            args = ("list", "-deps", "-test", "-e", self._mod, *copy.flags, f"-json={FIELDS}", *patterns)
            listed = self._objects(copy, args, "packages", unknown, extra)
            if "checksum mismatch" in unknown.get("packages", "") and self.place.work is None:
                (copy.folder / "go.sum").write_bytes(b"")
                offline = {**extra, "GOPROXY": "off", "GONOPROXY": "none", "GOSUMDB": "off"}
                listed = self._objects(copy, args, "packages", {}, offline)
        return listed, "" if listed else unknown["packages"]

    def updates(self, state: State, simulate: int, *, strict: bool) -> UpdateFacts:
        """Ask for newer versions, and try some."""
        source = without_passwords(self.environ.get("GOPROXY", ""))
        if trouble := state.unknown.get("modules", ""):
            return UpdateFacts((), source=source, trouble=f"without a build list: {trouble}", strict=strict)
        modules = to_ask(state.modules)
        self.session.progress.phase("asking for newer versions")
        answers = self._answers(state) if modules else ()
        replaced = {answer.path for answer, module in zip(answers, modules, strict=True) if module.replacement}
        newer = sorted(
            (one for one in answers if one.newer and one.path not in replaced), key=lambda one: not one.direct
        )
        simulated = []
        for at, answer in enumerate(newer[:simulate]):
            self.session.progress.phase(f"trying {answer.path} {answer.newer} ({at + 1} of {len(newer[:simulate])})")
            simulated.append(self._simulate(state, answer))
        self.session.progress.phase("")
        return UpdateFacts(
            answers=answers,
            simulated=simulated,
            not_simulated=len(newer) - len(simulated),
            local=len(state.modules) - len(modules),
            source=source,
            strict=strict,
        )

    def _answers(self, state: State) -> tuple[Answer, ...]:
        modules = to_ask(state.modules)
        unknown: dict[str, str] = {}
        with self._copy() as copy:
            head = ("list", "-m", self._mod, *copy.flags)
            told = self._objects(copy, (*head, *OPTIONS, *(one.path for one in modules)), "newer", unknown)
            if unknown:
                return unanswered(modules, unknown["newer"])
            answers = read_answers(told, modules)
            if quiet := silent(answers):
                copy.fresh()
                args = (*head, "-e", "-json", *(f"{one.path}@latest" for one in quiet))
                answers = confirm(answers, self._objects(copy, args, "newer", unknown))
        return answers

    def _simulate(self, state: State, answer: Answer) -> Simulated:
        wanted = f"{answer.path}@{answer.newer}"
        unknown: dict[str, str] = {}
        with self._copy() as copy:
            if self.place.work is None:
                got = self._ask(copy, ("get", *copy.flags, wanted))
                if isinstance(got, str):
                    return Simulated(answer.path, answer.newer, trouble=got)
                main = self._main(copy.folder / "go.mod", state.mains[0].folder)
                mains = state.mains if main is None else (main,)
            else:
                self._add_probe(copy, answer)
                mains = state.mains
            args = ("list", "-m", self._mod, *copy.flags, "-json", "all")
            listed = self._objects(copy, args, "modules", unknown)
            edges = self._graph(copy, unknown)
        if unknown:
            return Simulated(answer.path, answer.newer, trouble=next(iter(unknown.values())))
        requires = {module.path: Need.DIRECT for module in state.modules if module.direct}
        after = State(mains, read_modules(listed, requires, str(root_of(self.place))), edges)
        changes = compare(State(state.mains, state.modules, state.edges), after)
        return Simulated(answer.path, answer.newer, tuple(one for one in changes if not _is_own(one, answer.path)))

    def _add_probe(self, copy: _Copy, answer: Answer) -> None:
        """A module in the copied workspace that requires the newer version: `go get` cannot be told of another go.work's copy."""
        release = re.search(r"^go (\S+)$", self.place.work.text if self.place.work else "", re.MULTILINE)
        folder = copy.folder / "probe"
        folder.mkdir()
        text = f"module {_PROBE}\n\ngo {release[1] if release else '1.21'}\n\nrequire {answer.path} {answer.newer}\n"
        (folder / "go.mod").write_text(text, "utf-8")
        with (copy.folder / "go.work").open("a", encoding="utf-8") as file:
            file.write("use ./probe\n")
        self._give_away(folder, folder / "go.mod")

    def _mains(self, root: str, unknown: dict[str, str]) -> tuple[tuple[Main, ...], Mapping[str, Need]]:
        mains, requires = [], []
        for folder in self.place.mains:
            ran = self.asking.run(("mod", "edit", "-json"), folder)
            main, needs = read_main(ran.stdout, relative(str(folder), root)), parse_requires(ran.stdout)
            if main is None or needs is None:
                unknown["modules"] = _said(ran)
            else:
                mains.append(main)
                requires.append(needs)
        return tuple(sorted(mains)), strongest(requires)

    def _main(self, go_mod: Path, folder: str) -> Main | None:
        return read_main(self.asking.run(("mod", "edit", "-json", str(go_mod)), go_mod.parent).stdout, folder)

    def _graph(self, copy: _Copy, unknown: dict[str, str]) -> tuple[tuple[str, str], ...]:
        ran = self._ask(copy, ("mod", "graph", *copy.flags))
        edges = ran if isinstance(ran, str) else read_edges(ran.stdout)
        if edges is None or isinstance(edges, str):
            unknown["graph"] = edges or "`go mod graph` says what we do not understand"
            return ()
        return tuple(edge for edge in edges if edge[0] != _PROBE)

    def _sums(self, root: str, unknown: dict[str, str]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        paths = [main / "go.sum" for main in self.place.mains]
        if self.place.go_work is not None:
            paths.append(self.place.go_work.with_name(f"{self.place.go_work.name}.sum"))
        files: list[SumFile] = []
        for path in paths:
            name = relative(str(path), root).removeprefix("./")
            try:
                file = parse_sum(path.read_bytes(), name)
            except FileNotFoundError:
                continue
            except OSError as error:
                unknown["go.sum"] = f"{name} cannot be read: {error.strerror}"
                continue
            if file.malformed:
                unknown["go.sum"] = f"go does not accept line {file.malformed[0]} of {name}"
            files.append(file)
        return read_sums(files)

    def _tidy(self, unknown: dict[str, str]) -> tuple[str, ...]:
        """What `go mod tidy` would change in each main module; it looks at one alone, also in a workspace."""
        lines: list[str] = []
        self.session.progress.phase("go mod tidy")
        for main in self.place.mains:
            with self._copy_of_main(main) as copy:
                found = self._tidied(copy, main)
            if isinstance(found, str):
                unknown["tidy"] = found
                continue
            folder = relative(str(main), str(root_of(self.place))).removeprefix("./")
            lines += read_diff(found) if folder == "." else [f"{folder}/{line}" for line in read_diff(found)]
        return tuple(lines)

    def _tidied(self, copy: _Copy, main: Path) -> bytes | str:
        release = re.match(r"go1\.(\d+)", self.environ.get("GOVERSION", ""))
        if release and int(release[1]) < _HAS_DIFF:
            ran = self._ask(copy, ("mod", "tidy", *copy.flags), main)
            return ran if isinstance(ran, str) else _diff(copy.content, copy.now())
        try:
            ran = self._run(copy, ("mod", "tidy", "-diff", *copy.flags), main)
        except GoTimedOut as problem:
            return problem.what
        return ran.stdout if not ran.exit_code or ran.stdout.startswith(b"diff ") else _said(ran)

    def _objects(
        self,
        copy: _Copy,
        args: Sequence[str],
        part: str,
        unknown: dict[str, str],
        extra: Mapping[str, str] | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        ran = self._ask(copy, args, extra=extra)
        found = ran if isinstance(ran, str) else parse_modules(ran.stdout)
        if found is None or isinstance(found, str):
            unknown.setdefault(part, found or f"`go {args[0]}` says what we do not understand")
            return ()
        return found

    def _ask(
        self, copy: _Copy, args: Sequence[str], cwd: Path | None = None, extra: Mapping[str, str] | None = None
    ) -> Ran | str:
        """What go says; a text if it fails, which is why."""
        try:
            ran = self._run(copy, args, cwd, extra)
        except GoTimedOut as problem:
            return problem.what
        return _said(ran) if ran.exit_code else ran

    def _run(
        self, copy: _Copy, args: Sequence[str], cwd: Path | None = None, extra: Mapping[str, str] | None = None
    ) -> Ran:
        steering = {key: self.environ.get(key, "") for key in _STEERING}
        flags = [word for word in _words(steering["GOFLAGS"]) if not re.match("--?mod(file)?=", word)]
        more = {**steering, "GOFLAGS": shlex.join(flags), **copy.extra, **(extra or {})}
        return self.asking.run(args, cwd or self.place.directory, more)

    def _other_modfile(self) -> str:
        words = _words(self.environ.get("GOFLAGS", ""))
        return next((word for word in words if re.match("--?modfile=", word)), "")

    @property
    def _mod(self) -> str:
        return "-mod=mod" if self.place.work is None else "-mod=readonly"

    @contextmanager
    def _copy(self) -> Iterator[_Copy]:
        """Of the module, or of the workspace."""
        work, go_work = self.place.work, self.place.go_work
        if work is None or go_work is None:
            with self._copy_of_main(self.place.mains[0]) as copy:
                yield copy
            return
        sums = _content(go_work.with_name(f"{go_work.name}.sum"))
        content = {"go.work": work.text.encode("utf-8", "surrogateescape"), "go.work.sum": sums}
        with self._copied(content) as folder:
            yield _Copy(folder, content, (), {"GOWORK": f"{folder}/go.work"})

    @contextmanager
    def _copy_of_main(self, main: Path) -> Iterator[_Copy]:
        content = {"go.mod": content_of(main / "go.mod"), "go.sum": _content(main / "go.sum")}
        with self._copied(content) as folder:
            yield _Copy(folder, content, (f"-modfile={folder}/go.mod",), {"GOWORK": "off"})

    @contextmanager
    def _copied(self, content: Mapping[str, bytes]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as name:
            folder = Path(name)
            for file, data in content.items():
                (folder / file).write_bytes(data)
            self._give_away(folder, *(folder / file for file in content))
            yield folder

    def _give_away(self, *paths: Path) -> None:
        """To whom go runs as."""
        owner = self.asking.owner()
        if owner is not None and must_drop(owner[0]):
            for path in paths:
                os.chown(path, *owner, follow_symlinks=False)


def _is_own(change: Change, path: str) -> bool:
    """Whether a change says no more than that the module itself was taken."""
    return change.module == path or path in {
        end.partition("@")[0] for end in (change.before, change.after) if "@" in end
    }


def _said(ran: Ran) -> str:
    words = " ".join(last_lines(ran.stderr, 12).partition("SECURITY ERROR")[0].split())
    return without_passwords(words) or f"`go {ran.args[0]}` failed without a word"


def _content(path: Path) -> bytes:
    """A go.sum file; nothing if there is none, which means the same to go."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bytes:
    lines: list[str] = []
    for name in sorted({*before, *after}):
        old, new = (texts.get(name, b"").decode("utf-8", "surrogateescape") for texts in (before, after))
        lines += difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"current/{name}", f"tidy/{name}", lineterm=""
        )
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _words(flags: str) -> list[str]:
    """Words of GOFLAGS, which may be quoted."""
    try:
        return shlex.split(flags)
    except ValueError:
        return flags.split()
