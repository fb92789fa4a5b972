"""What a cache key was made of, and the record of a whole run: which inputs each package's key had.

Knows:     what each line of a hash block stands for, what in it nobody else should read, and the form of a record.
Called by: `gocache.why` and `gocache.keyproof` compare inputs; `flows.runs` keeps records.
Never:     keeps the value of a variable that a test reads (go hashed it already) or of a variable that the linker sets.
Source:    cmd/go/internal/work/exec.go `buildActionID`, `linkActionID`, `vetActionID`; cmd/go/internal/test/test.go
           `tryCacheWithID`, `computeTestInputsID`; read in go1.21.13 and go1.27.3. Lines that no rule knows are kept as they are.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeAlias

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gocache.hashlog import Block, HashLog, unquote

SCHEMA = "go-cache-safeguard/run/1"
_WHOLE_KEYS = ("build ", "preprocess PGO profile ", "covermeta")
"""Beginnings of the names of blocks that are recorded whole."""
_LEFT_OUT = (b"packagefile ", b"pkg ", b"vetout ")
"""Beginnings of lines of a link or a vet that are not recorded: they name packages that have keys of their own."""
_LIST = r'\[(?:"(?:[^"\\]|\\.)*" ?)*\]'
_TOOL = re.compile(rf"(?:compile|asm) (?P<tool>.*?) (?P<forced>{_LIST}) (?P<given>{_LIST})")
_CC = re.compile(rf"(?P<kind>CC|CXX|FC)=(?P<lists>(?:{_LIST} ?)+)")
_TEST = re.compile(rf"test binary (?P<binary>\S*) args (?P<args>{_LIST})(?P<more>.*)", re.DOTALL)
_VARIABLE = re.compile(r"(?P<name>GO[A-Z0-9_]*|)=(?P<value>.*)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SET_BY_LINKER = re.compile(r"""(-X(?:[ =]|\\?" \\?"|\\*["'])+[^\s='"\\]+=)((?:[^\s'"\\]|\\\\)+)""")
_CFLAGS: Mapping[str, tuple[str, ...]] = {
    "CC": ("CC", "CGO_CPPFLAGS", "CGO_CFLAGS", "CGO_LDFLAGS"),
    "CXX": ("CXX", "CGO_CXXFLAGS"),
    "FC": ("FC", "CGO_FFLAGS"),
}


class Part(StrEnum):
    """What kind of input of a key. In this order one explains what comes after it."""

    TOOLCHAIN = "compiler version"
    EXPERIMENT = "experiment"
    TARGET = "target"
    FLAG = "flag"
    ENVIRONMENT = "environment"
    C_COMPILER = "C compiler"
    DIRECTORY = "directory"
    MODULE = "module version"
    GO_LINE = "go line"
    PROFILE = "profile"
    FILE = "file"
    ARGUMENTS = "test arguments"
    VARIABLE = "environment variable that the test reads"
    OPENED = "file that the test opens"
    LOOKED = "file that the test looks at"
    DEPENDENCY = "module in the program's build information"
    VCS = "version control stamp"
    SETTING = "setting in the program's build information"
    OTHER = "other input"
    BINARY = "test program"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a key.

    Attributes:
        part: What kind.
        name: Which one: a file, a variable, an import path; empty if there is only one of its kind.
        value: What it was: a content ID, a text.
    """

    part: Part
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """One key of a recorded run.

    Attributes:
        name: As in the log, such as `build example.com/m`; of a test `test example.com/m` and `inputs example.com/m`.
        lines: What was hashed, with secrets covered; the first is the salt. Of a link some lines are left out.
        sum: 32 bytes: the action.
        held: It was in the cache then, or the run put it there.
    """

    name: str
    lines: tuple[str, ...]
    sum: bytes
    held: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded run.

    Attributes:
        project: Directory of the module or workspace.
        directory: Where go was started.
        command: Such as `("go", "build", "./...")`, with what the linker sets covered.
        toolchain: Such as `go1.27.3`.
        at_ns: When, in nanoseconds since 1970-01-01 UTC.
        environment: Settings that steer a build, as `go env` says.
        keys: In the order in which go made them: a package comes after what it imports.
    """

    project: str
    directory: str
    command: tuple[str, ...]
    toolchain: str
    at_ns: int
    environment: Mapping[str, str]
    keys: tuple[Recorded, ...]
    by_name: Mapping[str, Recorded] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the keys findable."""
        object.__setattr__(self, "by_name", {key.name: key for key in self.keys})


@dataclass(frozen=True, slots=True)
class NoRecord:
    """The bytes are no record.

    Attributes:
        reason: Why not, for a person.
    """

    reason: str


def recorded(block: Block) -> Recorded:
    """What is kept of a block. With a profile go builds packages once more for a program, and calls both the same."""
    profiled = any(write.startswith(b"pgofile ") for write in block.writes)
    name = f"{block.name} [pgo]" if profiled else block.name
    return Recorded(name, tuple(cover(text(write)) for write in block.writes), block.sum)


def keys_of(log: HashLog) -> tuple[Recorded, ...]:
    """What is kept of a log: packages, vet's look at them, and how programs of tests are linked."""
    return tuple(key for block in log.blocks if (key := _kept(block)) is not None)


def _kept(block: Block) -> Recorded | None:
    if block.name.startswith(_WHOLE_KEYS):
        return recorded(block)
    if block.name.startswith("vet ") or (block.name.startswith("link ") and block.name.endswith(".test")):
        lines = tuple(cover(text(line)) for line in block.writes if not line.startswith(_LEFT_OUT))
        return Recorded(block.name, lines, block.sum)
    return None


def text(write: bytes) -> str:
    """What was hashed, as text; other bytes are kept as Python keeps them in names of files."""
    return write.decode("utf-8", "surrogateescape")


def cover(line: str) -> str:
    """The same without values that the linker is to set: they may be secrets. The same value is covered in the same way."""
    return _SET_BY_LINKER.sub(_covered, line) if "-X" in line else line


def _covered(match: "re.Match[str]") -> str:
    digest = sha256(match[2].encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{match[1]}sha256:{digest}"


def inputs_of(lines: Sequence[str]) -> tuple[Input, ...]:
    """What the lines of a block stand for.

    Args:
        lines: The first is the salt.
    """
    found = [Input(Part.TOOLCHAIN, "", lines[0])] if lines else []
    for line in lines[1:]:
        found += _inputs(line.removesuffix("\n"))
    return tuple(found)


def imports_of(lines: Iterable[str]) -> dict[str, str]:
    """From each import path to the content ID of what was imported."""
    found = {}
    for line in lines:
        if line.startswith("import ") and not line.startswith('import "'):
            path, _, content = line.removeprefix("import ").rstrip("\n").rpartition(" ")
            found[path] = content
    return found


def _inputs(line: str) -> Iterator[Input]:
    word, _, rest = line.partition(" ")
    if line in _VERBS or (word == "import" and rest.startswith('"')):
        return  # what is done, and to which package: that is the block's name
    if word in _PAIRS and rest:
        name, _, value = rest.rpartition(" ")
        yield Input(_PAIRS[word], name, value)
    elif word in _WHOLE:
        yield Input(*_WHOLE[word], rest or "true")
    elif word in _RULES:
        yield from _RULES[word](line)
    elif match := _CC.fullmatch(line):
        yield from _c_flags(match)
    elif match := _VARIABLE.fullmatch(line.removeprefix("magic ")):
        yield _setting(match["name"], match["value"].strip('"'))
    elif word not in {"omitdebug", "vetxonly"}:
        yield Input(Part.OTHER, line, "")


def _tool(line: str) -> Iterator[Input]:
    match = _TOOL.fullmatch(line)
    name = line.partition(" ")[0]
    if match is None:
        if line != name:
            yield Input(Part.OTHER, line, "")
        return
    yield Input(Part.TOOLCHAIN, name, match["tool"].strip('"').partition(" X:")[0])
    if name == "compile":
        for flag in _words(match["forced"]):
            yield Input(Part.FLAG, flag, "true")
    given = " ".join(_words(match["given"]))
    if given:
        yield Input(Part.FLAG, "-gcflags" if name == "compile" else "-asmflags", given)


def _c_flags(match: "re.Match[str]") -> Iterator[Input]:
    for name, words in zip(_CFLAGS[match["kind"]], re.findall(_LIST, match["lists"]), strict=False):
        yield Input(Part.ENVIRONMENT, name, " ".join(_words(words)))


def _c_compiler(line: str) -> Iterator[Input]:
    kind, _, value = line.partition(" ID")
    yield Input(Part.C_COMPILER, kind, value.lstrip("="))


def _build_info(line: str) -> Iterator[Input]:
    quoted = line.partition(" ")[2].encode("utf-8", "surrogateescape")
    for said in text(unquote(quoted) or b"").splitlines():
        kind, _, rest = said.partition("\t")
        if kind == "build":
            yield _setting(*rest.partition("=")[::2])
        elif kind in {"mod", "dep", "=>"}:
            module, _, version = rest.partition("\t")
            yield Input(Part.VCS if kind == "mod" else Part.DEPENDENCY, module, version.strip("\t"))


def _setting(name: str, value: str) -> Input:
    if name == "-pgo":
        return Input(Part.PROFILE, name, value)
    if name in {"GOOS", "GOARCH"}:
        return Input(Part.TARGET, name, value)
    if name == "GOEXPERIMENT":
        return Input(Part.EXPERIMENT, "", value)
    if name.startswith("vcs"):
        return Input(Part.VCS, name, value)
    if name.startswith("-"):
        return Input(Part.FLAG, name, value)
    return Input(Part.ENVIRONMENT if name == name.upper() else Part.SETTING, name, value)


def _test(line: str) -> Iterator[Input]:
    match = _TEST.fullmatch(line)
    if match is None:
        yield Input(Part.OTHER, line, "")
        return
    yield Input(Part.BINARY, "", match["binary"])
    yield Input(Part.ARGUMENTS, "", " ".join(_words(match["args"])))
    yield Input(Part.ARGUMENTS, "-exec", match["more"].strip())


def _cover(line: str) -> Iterator[Input]:
    yield Input(Part.FLAG, "-cover", "true")
    yield Input(Part.FLAG, "-covermode", " ".join(_words(line)[:1]))


def _cgo(line: str) -> Iterator[Input]:
    yield Input(Part.ENVIRONMENT, "CGO_ENABLED", "1")
    yield Input(Part.TOOLCHAIN, "cgo", line.partition(" ")[2])


def _flags_of(name: str) -> "_Rule":
    def rule(line: str) -> Iterator[Input]:
        yield Input(Part.FLAG, name, " ".join(_words(line)))

    return rule


def _target(line: str) -> Iterator[Input]:
    words = line.split()
    for name, value in zip(words[::2], words[1::2], strict=False):
        yield Input(Part.FLAG, "-buildmode", value) if name == "buildmode" else Input(Part.TARGET, name.upper(), value)


def _words(quoted: str) -> list[str]:
    return [text(unquote(word.encode("utf-8", "surrogateescape")) or b"") for word in _QUOTED.findall(quoted)]


_Rule: TypeAlias = Callable[[str], Iterator[Input]]
_VERBS = frozenset({"compile", "link", "vet", "preprocess PGO profile"})
_PAIRS: Mapping[str, Part] = {
    "file": Part.FILE,
    "import": Part.IMPORT,
    "vetout": Part.IMPORT,
    "env": Part.VARIABLE,
    "open": Part.OPENED,
    "stat": Part.LOOKED,
    "chdir": Part.LOOKED,
}
"""Lines of a name and its value."""
_WHOLE: Mapping[str, tuple[Part, str]] = {
    "dir": (Part.DIRECTORY, ""),
    "module": (Part.MODULE, ""),
    "go": (Part.GO_LINE, ""),
    "trimpath": (Part.FLAG, "-trimpath"),
    "fuzz": (Part.FLAG, "-fuzz"),
    "pgofile": (Part.PROFILE, ""),
    "input": (Part.PROFILE, ""),
    "preprofile": (Part.TOOLCHAIN, "preprofile"),
    "vet": (Part.TOOLCHAIN, "vet"),
    "link": (Part.TOOLCHAIN, "link"),
    "pkg": (Part.IMPORT, ""),
    "packagemain": (Part.IMPORT, "main"),
    "defaultgodebug": (Part.SETTING, "DefaultGODEBUG"),
    "GOROOT": (Part.OTHER, "GOROOT"),
}
"""Lines of a value."""
_RULES: Mapping[str, _Rule] = {
    "compile": _tool,
    "asm": _tool,
    "modinfo": _build_info,
    "CC": _c_compiler,
    "CXX": _c_compiler,
    "FC": _c_compiler,
    "cgo": _cgo,
    "cover": _cover,
    "linkflags": _flags_of("-ldflags"),
    "vetflags": _flags_of("-vet"),
    "goos": _target,
    "buildmode": _target,
    "test": _test,
}


def write_record(record: Record) -> bytes:
    """The bytes of a record's file."""
    document = {
        "schema": SCHEMA,
        "project": record.project,
        "directory": record.directory,
        "command": list(record.command),
        "toolchain": record.toolchain,
        "at_ns": record.at_ns,
        "environment": dict(record.environment),
        "keys": [_key_value(key) for key in record.keys],
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _key_value(key: Recorded) -> list[Value]:
    """The sum is written only where it does not follow from the lines."""
    return [key.name, list(key.lines), "" if key.sum == hash_of(key.lines) else key.sum.hex(), int(key.held)]


def hash_of(lines: Iterable[str]) -> bytes:
    """The key that these lines make."""
    return sha256("".join(lines).encode("utf-8", "surrogateescape")).digest()


def read_record(data: bytes) -> Record | NoRecord:
    """Read a record's file; whatever is not exactly one is not half believed."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        return NoRecord(f"it is not JSON: {error}")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        return NoRecord(f"its schema is {schema!r}, not {SCHEMA!r}")
    try:
        return Record(
            str(value["project"]),
            str(value["directory"]),
            tuple(str(word) for word in value["command"]),
            str(value["toolchain"]),
            int(value["at_ns"]),
            {str(name): str(said) for name, said in value["environment"].items()},
            tuple(_key(key) for key in value["keys"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return NoRecord(f"a field is missing or has another form than we know: {error}")


def _key(value: Any) -> Recorded:
    name, lines, digest, held = value
    if not isinstance(name, str) or not all(isinstance(line, str) for line in lines):
        raise TypeError("a key's lines are no texts")
    found = bytes.fromhex(digest) if digest else hash_of(lines)
    if len(found) != 32:
        raise ValueError("a key is not of 32 bytes")
    return Recorded(name, tuple(lines), found, bool(held))
