"""Tell what becomes of test results: which of them go would take from the cache, and why not the others.

Knows:     how a test's keys are found without running anything, and what the environment and the disk put into them.
Called by: `flows.why`.
Never:     runs or links a test. What cannot be known so is told as not known, with the reason.
Source:    measured with go1.21.13, go1.24.11 and go1.27.3. `go test -n` does not write the main package of a test, so its key is
           wrong there; `go list -test` makes the same file and hashes it. From go1.23 GODEBUG is an input of every test, so a
           run that prints hashes never finds a result: the keys are computed here, with the GODEBUG that the person has.
           cmd/go/main.go sets what `go env` prints in its own environment.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.flows.looking import Planner
from go_cache_safeguard.flows.shelf import Shelf
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.hashlog import Block, HashLog, parse_hash_log
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.keychange import differences, own_changes
from go_cache_safeguard.gocache.keyrecord import Record, Recorded, hash_of, text
from go_cache_safeguard.gocache.layout import output_name
from go_cache_safeguard.gocache.testkey import (
    BadLog,
    FileFacts,
    Looked,
    Sort,
    go_time,
    hash_open,
    hash_stat,
    hash_variable,
    inputs_key,
    looked_at,
    result_key,
    with_godebug,
)
from go_cache_safeguard.gocache.why import Basis, Cause, First, Row, changed
from go_cache_safeguard.tree.root import open_below, open_root

_BUILD_FLAGS = frozenset(
    [
        "race",
        "msan",
        "asan",
        "cover",
        "covermode",
        "coverpkg",
        "asmflags",
        "buildmode",
        "buildvcs",
        "compiler",
        "gccgoflags",
        "gcflags",
        "installsuffix",
        "ldflags",
        "linkshared",
        "mod",
        "modcacherw",
        "modfile",
        "overlay",
        "pgo",
        "pkgdir",
        "tags",
        "trimpath",
        "toolexec",
    ]
)
"""Flags of `go test` that `go list` takes, too."""
_SWITCHES = frozenset(
    [
        "race",
        "msan",
        "asan",
        "cover",
        "linkshared",
        "modcacherw",
        "trimpath",
        "v",
        "short",
        "failfast",
        "json",
        "c",
        "i",
        "x",
        "n",
        "work",
        "benchmem",
        "fullpath",
        "artifacts",
    ]
)
"""Flags that need no value."""
_TOO_NEW_S = 2.0
_LARGEST = 64 << 20
_RELEASE = re.compile(r"go1\.(\d+)")
_NOT_SET = frozenset({"GOGCCFLAGS", "PKG_CONFIG", "GOMOD", "GOWORK", "GOTOOLCHAIN"})
"""What `go env` prints and does not put into its own environment, as all that begins with `CGO_`; the last is ours."""


@dataclass(frozen=True, slots=True)
class TestRow:
    """What becomes of one test.

    Attributes:
        package: Import path.
        state: `cached`, `runs` or `unknown`.
        text: For a person.
        own: Causes that begin here.
        begins: Signs of causes in packages that reach it.
        keys: For the record.
        looked: How many variables and files its last run looked at.
    """

    __test__ = False

    package: str
    state: str
    text: str
    own: tuple[First, ...] = ()
    begins: frozenset[str] = frozenset()
    keys: tuple[Recorded, ...] = ()
    looked: int = 0


@dataclass(frozen=True, slots=True)
class _Test:
    """One test with the key of its program."""

    package: str
    directory: str
    root: str
    program: Recorded


def look_at_tests(
    shelf: Shelf, asked: Planner, log: HashLog, args: Sequence[str], *, rows: Sequence[Row], past: Sequence[Record]
) -> tuple[TestRow, ...]:
    """Say of each test whether its result is in the cache.

    Args:
        shelf: The cache.
        asked: The go command.
        log: What `go test -n` said.
        args: Arguments of `go test`.
        rows: What `explain` says of the packages.
        past: Recorded runs.
    """
    blocks = {block.name: block for block in log.blocks}
    results = [block for block in log.blocks if block.name == "testResult"]
    listed, mains = _list(shelf, asked, args)
    by_link = {id_half(block.sum): block for block in log.blocks if block.name.startswith("link ")}
    look = _Look(shelf, asked)
    found: dict[str, TestRow] = {}
    for result in results:
        said = text(result.writes[1])
        link = next((block for half, block in by_link.items() if f"binary {half} " in said), None)
        if link is None:
            continue
        package = link.name.removeprefix("link ").removesuffix(".test")
        reached = _reached(link, blocks, rows)
        program = _program(shelf, link, result, blocks, mains)
        where = listed.get(package, ("", ""))
        if program is None:
            found[package] = _not_linked(package, reached)
        else:
            found[package] = look.judge(_Test(package, *where, replace(program, name=f"test {package}")), reached, past)
    for line in dict.fromkeys(log.rest.decode("utf-8", "replace").splitlines()):
        if line.startswith("testcache: caching disabled"):
            reason = line.removeprefix("testcache: ")
            for package in [name for name in listed if f"link {name}.test" in blocks and name not in found]:
                first = First(Cause.CHANGED, Basis.PROVED, reason, reason)
                found[package] = TestRow(package, "runs", reason, (first,))
    return tuple(found.values())


def _list(
    shelf: Shelf, asked: Planner, args: Sequence[str]
) -> tuple[dict[str, tuple[str, str]], tuple[tuple[str, str], ...]]:
    """Directory and root of each package, and the hash of the main package of each test with what it imports."""
    flags, packages = split_args(args)
    debug = ",".join(word for word in (shelf.session.environ.get("GODEBUG", ""), "gocachehash=1") if word)
    form = "{{.ImportPath}}\t{{.Dir}}\t{{.Root}}"
    ran = asked.run("list", "-e", "-test", *flags, "-f", form, "--", *packages, extra={"GODEBUG": debug})
    log = parse_hash_log(ran.stderr)
    lines = [line.split("\t") for line in ran.stdout.decode("utf-8", "surrogateescape").splitlines()]
    listed = {line[0]: (line[1], line[2]) for line in lines if len(line) == 3 and " [" not in line[0]}
    sources = [b"".join(block.writes[2:]) for block in log.blocks if block.name == "testmain"]
    return listed, tuple((text(source), id_half(sha256(source).digest())) for source in sources)


def split_args(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of the arguments of `go test` those that `go list` needs: flags that steer the build, and packages."""
    flags: list[str] = []
    packages: list[str] = []
    words = iter(args)
    for word in words:
        name, equals, _value = word.lstrip("-").partition("=")
        if word in {"-args", "--args"}:
            break
        if not word.startswith("-"):
            packages.append(word)
            continue
        value = [] if equals or name.removeprefix("test.") in _SWITCHES else list(next(words, "").split("\0"))
        if name in _BUILD_FLAGS:
            flags += [word, *value]
    return flags, packages or ["."]


def _program(
    shelf: Shelf, link: Block, result: Block, blocks: Mapping[str, Block], mains: Sequence[tuple[str, str]]
) -> Recorded | None:
    """The key of the test's program and arguments; None if something that it is linked of is not in the cache."""
    main = blocks.get(f"build {link.name.removeprefix('link ')}")
    if main is None or shelf.inventory is None:
        return None
    for _source, digest in sorted(mains, key=lambda one: f'"{_tested(link)}"' not in one[0]):
        lines = [text(line) for line in main.writes]
        lines = [f"file _testmain.go {digest}\n" if line.startswith("file _testmain.go ") else line for line in lines]
        key = hash_of(lines)
        action = shelf.inventory.actions.get(key)
        if action is None or key not in shelf.found or not isinstance(action.entry, Entry):
            continue
        about = shelf.inventory.outputs[action.entry.output].about
        whole = f"{id_half(key)}/{about.build_content if about is not None else ''}"
        linked = [_with_main(text(line), link.name.removeprefix("link "), whole) for line in link.writes]
        old, new = id_half(link.sum), id_half(hash_of(linked))
        kept = tuple(text(line).replace(f"binary {old} ", f"binary {new} ") for line in result.writes)
        return Recorded("", kept, hash_of(kept))
    return None


def _tested(link: Block) -> str:
    return link.name.removeprefix("link ").removesuffix(".test")


def _with_main(line: str, test: str, whole: str) -> str:
    """A line of a link with the build ID that the main package really has."""
    if line.startswith("packagemain "):
        return f"packagemain {whole}\n"
    beginning = f"packagefile {test}="
    return f"{beginning}{whole.partition('/')[2]}\n" if line.startswith(beginning) else line


def _reached(link: Block, blocks: Mapping[str, Block], rows: Sequence[Row]) -> frozenset[str]:
    """Signs of causes in packages that the test is linked of."""
    by_name = {row.name: row for row in rows}
    test = link.name.removeprefix("link ")
    linked = [text(line)[12:].partition("=")[0] for line in link.writes if line.startswith(b"packagefile ")]
    names = [name for path in linked for name in (f"build {path} [{test}]", f"build {path}")]
    used = [next((name for name in pair if name in blocks), "") for pair in zip(names[::2], names[1::2], strict=True)]
    begins = [by_name[name].begins for name in used if name in by_name]
    return frozenset().union(*begins) if begins else frozenset()


def _not_linked(package: str, reached: frozenset[str]) -> TestRow:
    if reached:
        reason = "the program is linked again, because packages in it are compiled; if it comes out as it was, its result is still found"
        return TestRow(package, "runs", reason, (), reached)
    reason = "tests were added, removed or renamed, or the program was never built here with these flags"
    first = First(Cause.UNKNOWN, Basis.UNKNOWN, reason, f"{package}: {reason}")
    return TestRow(package, "runs", reason, (first,))


class _Look:
    """What go would see in the environment and on the disk."""

    def __init__(self, shelf: Shelf, asked: Planner) -> None:
        self.shelf, self.asked = shelf, asked
        self.salt = asked.version
        match = _RELEASE.match(asked.version)
        self.release = int(match[1]) if match else 0
        self.too_new = ""
        environ = shelf.session.environ
        usual = {name: value for name, value in asked.usual_env().items() if value != environ.get(name, "")}
        settled = {name: value for name, value in usual.items() if name not in _NOT_SET and not name.startswith("CGO_")}
        self._environ = {**environ, **settled}

    def judge(self, test: _Test, reached: frozenset[str], past: Sequence[Record]) -> TestRow:
        """Whether the result is there."""
        key = test.program.sum
        log = self._content(key)
        if log is None:
            return self._not_run(test, reached, past)
        looked = looked_at(log, test.directory)
        if isinstance(looked, BadLog):
            return _unknown(test, looked.reason)
        looked = with_godebug(looked, self.release)
        inputs = inputs_key(self.salt, test.package, looked, lambda one: self.hashed(one, test.root))
        keys = (test.program, inputs)
        if self.too_new:
            first = First(Cause.CHANGED, Basis.PROVED, self.too_new, self.too_new)
            return TestRow(test.package, "runs", self.too_new, (first,), frozenset(), keys, len(looked))
        result = result_key(key, inputs.sum)
        if result in self.shelf.found:
            return self._cached(test, result, keys, len(looked))
        own = self._changes(test, inputs, looked, past, key)
        text_of = "; ".join(first.text for first in own)
        return TestRow(test.package, "runs", text_of, own, frozenset(), keys, len(looked))

    def _cached(self, test: _Test, result: bytes, keys: tuple[Recorded, ...], looked: int) -> TestRow:
        expired = self._expired_ns()
        entry = self.shelf.inventory.actions[result].entry if self.shelf.inventory is not None else None
        if isinstance(entry, Entry) and entry.time_ns < expired:
            reason = "the result is older than the last `go clean -testcache`"
            first = First(Cause.EVICTED, Basis.PROVED, reason, reason, (), result.hex())
            return TestRow(test.package, "runs", reason, (first,), frozenset(), keys, looked)
        return TestRow(test.package, "cached", "the result is in the cache", (), frozenset(), keys, looked)

    def _changes(
        self, test: _Test, inputs: Recorded, looked: Sequence[Looked], past: Sequence[Record], program: bytes
    ) -> tuple[First, ...]:
        known = [record.by_name[inputs.name] for record in past if inputs.name in record.by_name]
        known = [one for one in known if one.sum != inputs.sum and one.lines[:1] == inputs.lines[:1]]
        known.sort(key=lambda before: len(set(before.lines) ^ set(inputs.lines)))
        for before in known[:1]:
            proved = result_key(program, before.sum)
            proof = proved if self.shelf.was(proved) else b""
            changes = own_changes(differences(before.lines, inputs.lines))
            return tuple(changed(test.package, change, proof) for change in changes)
        result = result_key(program, inputs.sum)
        if result in self.shelf.ghosts:
            reason = f"evicted, same key: {self.shelf.ghosts[result].story}"
            return (First(Cause.EVICTED, Basis.PROVED, reason, reason, (), result.hex()),)
        for old, proof in self._guesses(inputs, program):
            if self.shelf.was(proof):
                changes = own_changes(differences(old.lines, inputs.lines))
                return tuple(changed(test.package, change, proof) for change in changes)
        return (self._newer(test, looked, program),)

    def _guesses(self, inputs: Recorded, program: bytes) -> Iterator[tuple[Recorded, bytes]]:
        """One thing was not there: a variable not set or empty, a file not there."""
        for at, line in enumerate(inputs.lines):
            word, _, rest = line.partition(" ")
            name = rest.rpartition(" ")[0]
            for old in self._absent(word, name):
                lines = (*inputs.lines[:at], f"{word} {name} {old.hex()}\n", *inputs.lines[at + 1 :])
                guess = Recorded(inputs.name, lines, hash_of(lines))
                yield guess, result_key(program, guess.sum)

    def _absent(self, word: str, name: str) -> tuple[bytes, ...]:
        missing = "no such file or directory"
        match word:
            case Sort.ENV:
                return hash_variable(self.salt, None), hash_variable(self.salt, "")
            case Sort.OPEN:
                return (hash_open(self.salt, f"stat {name}: {missing}"),)
            case Sort.STAT:
                return (hash_stat(self.salt, f"stat {name}: {missing}", f"lstat {name}: {missing}"),)
            case _:
                return ()

    def _newer(self, test: _Test, looked: Sequence[Looked], program: bytes) -> First:
        """Without a record: which files are newer than the last run; a hint, no proof."""
        action = self.shelf.inventory.actions.get(program) if self.shelf.inventory is not None else None
        last = action.entry.time_ns if action is not None and isinstance(action.entry, Entry) else 0
        files = [one.name for one in looked if one.sort is not Sort.ENV and _mtime_ns(one.name) > last]
        names = ", ".join(dict.fromkeys(files[:3]))
        hint = f"; newer than its last run: {names}" if files else ""
        reason = f"one of {len(looked)} variables and files that it looks at has changed; which one is not known{hint}"
        return First(Cause.UNKNOWN, Basis.UNKNOWN, reason, f"{test.package}: {reason}")

    def _not_run(self, test: _Test, reached: frozenset[str], past: Sequence[Record]) -> TestRow:
        """No list of inputs: this program did not run with these arguments, or that was evicted."""
        known = [record.by_name[test.program.name] for record in past if test.program.name in record.by_name]
        own: tuple[First, ...] = ()
        if test.program.sum in self.shelf.ghosts or any(
            before.sum == test.program.sum and before.held for before in known
        ):
            ghost = self.shelf.ghosts.get(test.program.sum)
            who = ghost.story if ghost else "it was in the recorded run; who took it and when is not known"
            reason = f"evicted, same key: {who}"
            basis = Basis.PROVED if ghost else Basis.RECORDED
            own = (First(Cause.EVICTED, basis, reason, reason, (), test.program.sum.hex()),)
        else:
            olds = known[:1] or list(_other_arguments(test.program, self.shelf))
            for before in olds[:1]:
                proof = before.sum if self.shelf.was(before.sum) else b""
                changes = own_changes(differences(before.lines, test.program.lines))
                own = tuple(changed(test.package, change, proof) for change in changes if change.name or not reached)
        if not own and not reached:
            reason = "this program was not run here with these arguments, or its result was not kept"
            own = (First(Cause.UNKNOWN, Basis.UNKNOWN, reason, f"{test.package}: {reason}"),)
        said = "; ".join(first.text for first in own) or "its program is another one, because packages in it changed"
        return TestRow(test.package, "runs", said, own, reached, (test.program,))

    def _content(self, key: bytes) -> bytes | None:
        """What an entry of the cache names; None if it is not there or not what its name says."""
        inventory = self.shelf.inventory
        action = inventory.actions.get(key) if inventory is not None else None
        if action is None or key not in self.shelf.found or not isinstance(action.entry, Entry):
            return None
        try:
            with open_root(self.shelf.cache.path) as root:
                fd = open_below(root.fd, output_name(action.entry.output), os.O_RDONLY | os.O_NONBLOCK)
                with open(fd, "rb") as file:  # noqa: PTH123 - it is open already
                    data = file.read(_LARGEST)
        except OSError:
            return None
        return data if sha256(data).digest() == action.entry.output else None

    def _expired_ns(self) -> int:
        """When `go clean -testcache` was run last; 0 if never."""
        try:
            data = (self.shelf.cache.path / "testexpire.txt").read_bytes()
        except OSError:
            return 0
        return int(data) if data.endswith(b"\n") and data.strip().isdigit() else 0

    def hashed(self, one: Looked, root: str) -> bytes | None:
        """Go's hash of one thing now; None for a file outside of the module."""
        match one.sort:
            case Sort.ENV:
                return hash_variable(self.salt, self._environ.get(one.name))
            case Sort.CHDIR:
                return self._stat(one.name)
            case Sort.STAT if _is_below(one.name, root):
                return self._stat(one.name)
            case Sort.OPEN if _is_below(one.name, root):
                return self._open(one.name)
            case _:
                return None

    def _stat(self, path: str) -> bytes:
        return hash_stat(self.salt, _facts(path, "stat"), _facts(path, "lstat"))

    def _open(self, path: str) -> bytes:
        found = _facts(path, "stat")
        if isinstance(found, str):
            return hash_open(self.salt, found)
        if os.path.isdir(path):  # noqa: PTH112 - a path as go writes it
            try:
                names = sorted(os.listdir(path))  # noqa: PTH208 - likewise
            except OSError as error:
                return hash_open(self.salt, found, [("", f"open {path}: {_words(error)}")])
            return hash_open(self.salt, found, [(name, _facts(f"{path}/{name}", "lstat")) for name in names])
        if time.time() - found.mtime_ns / 10**9 < _TOO_NEW_S:
            self.too_new = f"a file that it opens is younger than two seconds: {path}"
        return hash_open(self.salt, found)


def _unknown(test: _Test, reason: str) -> TestRow:
    return TestRow(test.package, "unknown", reason, (First(Cause.UNKNOWN, Basis.UNKNOWN, reason, reason),))


def _other_arguments(program: Recorded, shelf: Shelf) -> Iterator[Recorded]:
    """The same program with other arguments, if it ran so."""
    match = re.search(r"args (\[[^\]]*\])", program.lines[1])
    if match is None:
        return
    words = re.findall(r'"(?:[^"\\]|\\.)*"', match[1])
    usual = '"-test.timeout=10m0s"'
    lists = [[usual], *([*words[:at], *words[at + 1 :]] for at in range(len(words)))]
    lists += [[*words, more] for more in ('"-test.v=true"', '"-test.short=true"')]
    for chosen in lists:
        line = program.lines[1].replace(match[1], f"[{' '.join(chosen)}]")
        lines = (program.lines[0], line, *program.lines[2:])
        if hash_of(lines) != program.sum and shelf.was(hash_of(lines)):
            yield Recorded(program.name, lines, hash_of(lines))


def _is_below(path: str, root: str) -> bool:
    """As cmd/go/internal/search `InDir`: by name, or with links followed."""
    if not root:
        return False
    if Path(path).is_relative_to(root):
        return True
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _facts(path: str, how: str) -> FileFacts | str:
    try:
        found = os.stat(path, follow_symlinks=how == "stat")  # noqa: PTH116 - a path as go writes it
    except OSError as error:
        return f"{how} {path}: {_words(error)}"
    seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
    local = time.localtime(seconds)
    date = time.strftime("%Y-%m-%d %H:%M:%S", local)
    return FileFacts(
        found.st_size,
        found.st_mode,
        found.st_mtime_ns,
        go_time(date, nanoseconds, local.tm_gmtoff, local.tm_zone),
    )


def _mtime_ns(path: str) -> int:
    found = _facts(path, "lstat")
    return 0 if isinstance(found, str) else found.mtime_ns


def _words(error: OSError) -> str:
    """Go's words for an error of the system: as those of C, but small."""
    said = os.strerror(error.errno or 0)
    return said[:1].lower() + said[1:]
