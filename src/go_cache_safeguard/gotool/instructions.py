"""The shell script that `go build -n` prints, read and freed of what differs between two runs that mean the same.

Knows:     its sections, here-documents and quoting; what in it is a place, a number of a build step or a build ID.
Called by: `gotool.buildplan`, through `flows.build_plan`.
Never:     runs any of it, and never fails: a line that it does not know is a step of a tool of that name.
Source:    cmd/go/internal/work/shell.go and exec.go (`ShowCmd`, `fmtCmd`, the banner in `build`, `writeFile`), gc.go, and the output
           of go1.21.13, go1.26.8 and go1.27.3. It goes to standard error; `-n` uses one worker, so its order does not vary.

What is left out because it says nothing about the result: `-buildid`, `-c` (how many threads compile), the probing of a C
compiler (`|| true`), `mkdir`, `cd` (paths are resolved against it), empty files, and the revision that `-buildvcs` would stamp.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

WORK = "$WORK"


@dataclass(frozen=True, slots=True)
class Step:
    """One tool as it would be run.

    Attributes:
        tool: `compile`, `asm`, `link`, `cgo`, `gcc`, ...; `write` for a file that go writes itself.
        flags: In order, each with its value, normalised.
        inputs: Files, in order, normalised.
    """

    tool: str
    flags: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instructions:
    """What is done for one package.

    Attributes:
        steps: In order.
        config: Lines of its import configurations for compiler and linker, sorted: `packagefile P`, `importmap A=B`, `link: ...`.
    """

    steps: tuple[Step, ...]
    config: tuple[str, ...]


@dataclass(frozen=True)
class Places:
    """Absolute directories of this machine, and the names that stand for them.

    Attributes:
        start: Directory in which go was started.
        names: From a directory to its name, such as `/usr/lib/go` to `$GOROOT`.
    """

    start: str
    names: Mapping[str, str]
    _pattern: "re.Pattern[str] | None" = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        longest = sorted((root for root in self.names if root.startswith("/") and root != "/"), key=len, reverse=True)
        if longest:
            joined = "|".join(map(re.escape, longest))
            # Not in the middle of a name: /home/a must not be found in /home/ab or /srv/home/a.
            pattern = re.compile(rf"(?<![\w./-])(?:{joined})(?![\w.@+~-])|(?<=-[IL])(?:{joined})(?![\w.@+~-])")
            object.__setattr__(self, "_pattern", pattern)

    def name(self, text: str) -> str:
        """The text with every known directory replaced by its name."""
        if self._pattern is None or "/" not in text:
            return text
        return self._pattern.sub(lambda found: self.names[found[0]], text)


_BANNER = re.compile(r"# (?P<package>\S.*)")
_HEREDOC = re.compile(r"cat >\s*(?P<file>\S+) << 'EOF'")
_OWN = re.compile(r"(?:^cat >\s*|> |-o |-objdir |^cd |^mkdir -p )\$WORK/(?P<number>b\d+)(?:/|$)")
_NUMBER = re.compile(r"\$WORK/(b\d+)(?!\w)")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+|["']""")
_QUOTED = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'""")
_ENVIRONMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
_INTERNAL = re.compile(r"\s+# (?:internal|test for internal linking errors.*)$")
_TOOL = re.compile(r"/pkg/tool/[^/]+/[^/]+$")
_SILENT = frozenset({"mkdir", "cd", "echo", "rm", "touch", "chmod", "true", ":"})
_DROPPED = re.compile(r"-c=\d+|-buildid=.*")
_DROPPED_WITH_VALUE = frozenset({"-buildid"})
_VALUED = frozenset(
    [
        "-o",
        "-p",
        "-I",
        "-L",
        "-D",
        "-F",
        "-trimpath",
        "-importcfg",
        "-symabis",
        "-asmhdr",
        "-embedcfg",
        "-goversion",
        "-pgoprofile",
        "-coveragecfg",
        "-coveragemeta",
        "-objdir",
        "-dynpackage",
        "-dynimport",
        "-dynout",
        "-dynlinker",
        "-importpath",
        "-srcdir",
        "-exportheader",
        "-x",
        "-c",
        "-installsuffix",
        "-extld",
        "-pkgcfg",
        "-mode",
        "-var",
        "-outfilelist",
        "-gccgopkgpath",
        "-ldflags",
        "-isystem",
        "-include",
        "-framework",
        "-arch",
        "-target",
    ]
)
_NEVER_VALUED = frozenset(
    [
        "-std",
        "-complete",
        "-pack",
        "-nolocalimports",
        "-gensymabis",
        "-race",
        "-msan",
        "-asan",
        "-shared",
        "-w",
        "-s",
        "-N",
        "-l",
        "-g",
    ]
)
_LANGUAGES = frozenset({"gcc", "g++", "clang", "clang++", "cc", "c++", "gfortran"})
_FILE = re.compile(r".*\.(?:go|s|S|c|cc|cpp|cxx|m|f|F|h|o|a|so|syso|swig|swigcxx|out|x)$")
_PATH = re.compile(r"\.\.?(?:/.*)?$")
_REVISION = re.compile(r"build\tvcs[.=]|build\tvcs")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(slots=True)
class _Reading:
    """How far the script was read."""

    places: Places
    numbers: dict[str, str] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    config: dict[str, set[str]] = field(default_factory=dict)
    package: str = ""
    cwd: str = ""

    def of(self, line: str) -> str:
        """The package that a line is for: that of the first numbered directory in it, else the one that came last."""
        found = _NUMBER.search(line)
        if found is not None:
            self.package = self.numbers.get(found[1], self.package)
        return self.package

    def plain(self, text: str) -> str:
        """The text without places and numbers."""
        named = _NUMBER.sub(lambda found: f"{WORK}/{self.numbers.get(found[1], '?')}", text)
        return self.places.name(named)

    def path(self, text: str) -> str:
        """Likewise, of a word that may be a path relative to where the script stands."""
        if self.cwd and _PATH.match(text):
            text = posixpath.normpath(posixpath.join(self.cwd, text))
        return self.plain(text)


def parse_instructions(script: str, places: Places) -> dict[str, Instructions]:
    """Read a whole script.

    Args:
        script: What go wrote to its standard error.
        places: What absolute directories are called.

    Returns:
        By import path, what is done for each package. Lines before any package stand under the empty path.
    """
    blocks = list(_blocks(script.splitlines()))
    reading = _Reading(places, _numbers(blocks), cwd=places.start)
    for line, document in blocks:
        _take(reading, line, document)
    packages = dict.fromkeys((*reading.steps, *reading.config))
    return {
        package: Instructions(tuple(reading.steps.get(package, ())), tuple(sorted(reading.config.get(package, ()))))
        for package in packages
    }


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Lines, and the here-document that follows one. A banner comes as its middle line."""
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if _HEREDOC.match(line):
            end = next((to for to in range(at, len(lines)) if lines[to].endswith("EOF")), len(lines) - 1)
            last = [lines[end].removesuffix("EOF")] if end < len(lines) else []
            yield line, tuple(filter(None, (*lines[at:end], *last)))
            at = end + 1
        elif line == "#" and at + 1 < len(lines) and lines[at + 1] == "#" and _BANNER.fullmatch(lines[at]):
            yield lines[at], None
            at += 2
        elif line.strip() and not line.startswith("#"):
            yield line, None


def _numbers(blocks: Iterable[tuple[str, tuple[str, ...] | None]]) -> dict[str, str]:
    """Which package has which numbered directory: the first that a section writes to is its own."""
    numbers: dict[str, str] = {}
    waiting = ""
    for line, document in blocks:
        banner = _BANNER.fullmatch(line)
        own = _OWN.search(line)
        if banner is not None:
            waiting = banner["package"]
        elif own is not None and waiting:
            numbers[own["number"]] = waiting
            waiting = ""
        elif own is not None and document and own["number"] not in numbers and "importcfg.link" in line:
            # Only linked: the program's own archive, from the cache, comes first.
            numbers[own["number"]] = document[0].removeprefix("packagefile ").partition("=")[0]
    return numbers


def _take(reading: _Reading, line: str, document: tuple[str, ...] | None) -> None:
    banner = _BANNER.fullmatch(line)
    if banner is not None:
        reading.package = banner["package"]
        reading.steps.setdefault(reading.package, [])
        return
    package = reading.of(line)
    if document is not None:
        _take_document(reading, package, _HEREDOC.match(line), document)
        return
    if line.startswith("cd "):
        target = line[3:].strip()
        reading.cwd = target if target.startswith(WORK) else posixpath.join(reading.places.start, target)
        return
    if line.rstrip().endswith("|| true"):
        return
    step = _step(reading, _words(_INTERNAL.sub("", line)))
    if step is not None:
        reading.steps.setdefault(package, []).append(step)


def _take_document(reading: _Reading, package: str, heading: "re.Match[str] | None", document: tuple[str, ...]) -> None:
    name = posixpath.basename(heading["file"]) if heading is not None else ""
    if name.startswith("importcfg"):
        prefix = "link: " if name.endswith(".link") else ""
        lines = (f"{prefix}{text}" for line in document for text in _config(reading, line))
        reading.config.setdefault(package, set()).update(lines)
    else:
        step = Step("write", (name,), tuple(reading.plain(line.strip()) for line in document))
        reading.steps.setdefault(package, []).append(step)


def _config(reading: _Reading, line: str) -> Iterator[str]:
    word, _, rest = line.partition(" ")
    if word == "modinfo":
        yield from (f"modinfo {reading.plain(text)}" for text in _modinfo(rest))
    elif word == "packagefile":
        # Where the archive lies says only whether it came from the cache.
        yield f"packagefile {rest.partition('=')[0]}"
    elif word != "#":
        yield reading.plain(line)


def _modinfo(quoted: str) -> list[str]:
    """The lines of the build information; sixteen bytes before and after only frame it."""
    text = _ESCAPE.sub(_unescape, quoted.strip().removeprefix('"').removesuffix('"'))
    begin = text.find("path\t")
    lines = text[max(begin, 0) :].split("\n")
    return [line.replace("\t", " ").strip() for line in lines[:-1] if not _REVISION.match(line)]


def _unescape(found: "re.Match[str]") -> str:
    code = found[1]
    if len(code) > 1 and code[0] in "xuU":
        return chr(min(int(code[1:], 16), 0x10FFFF))
    return chr(int(code, 8)) if len(code) > 1 else _ESCAPES.get(code, code)


def _words(line: str) -> list[str]:
    return [_QUOTED.sub(lambda part: part[1] or part[2] or part[3] or "", word) for word in _WORD.findall(line)]


def _step(reading: _Reading, words: list[str]) -> Step | None:
    environment: list[str] = []
    while words and _ENVIRONMENT.match(words[0]):
        environment.append(reading.plain(words.pop(0)))
    if words[:2] == ["go", "tool"]:
        words = words[2:]
    wrapped = next((at for at, word in enumerate(words) if _TOOL.search(word)), 0)
    if wrapped and not words[0].startswith("-"):
        environment.append(f"-toolexec {reading.plain(' '.join(words[:wrapped]))}")
        words = words[wrapped:]
    if not words or words[0] in _SILENT:
        return None
    tool = posixpath.basename(words[0]) or words[0]
    flags, inputs = _split(words[1:], is_compiler=tool in _LANGUAGES)
    return Step(
        tool,
        (*environment, *(" ".join(map(reading.path, flag)) for flag in flags)),
        tuple(reading.path(word) for word in inputs),
    )


def _split(words: Sequence[str], *, is_compiler: bool) -> tuple[list[tuple[str, ...]], list[str]]:
    """Flags with their values, and what is no flag."""
    flags: list[tuple[str, ...]] = []
    inputs: list[str] = []
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if not word.startswith("-") or word == "-":
            inputs.append(word)
            continue
        value: tuple[str, ...] = ()
        if at < len(words) and _takes(word, words[at], is_compiler=is_compiler):
            value, at = (words[at],), at + 1
        if word not in _DROPPED_WITH_VALUE and _DROPPED.fullmatch(word) is None:
            flags.append((word, *value))
    return flags, inputs


def _takes(flag: str, following: str, *, is_compiler: bool) -> bool:
    """Whether the word after a flag is its value."""
    if "=" in flag or flag in _NEVER_VALUED or (is_compiler and flag not in _VALUED - {"-c", "-p"}):
        return False
    if flag in _VALUED or flag in _DROPPED_WITH_VALUE:
        return True
    return not following.startswith("-") and _FILE.match(following) is None and "/" not in following
