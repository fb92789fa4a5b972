"""Does a binary hold debug information for the functions of its owner, and does that lead back to the sources?

Knows:     what must be there for each function, what stripping looks like, and by which flags people strip on purpose.
Called by: `flows.symbols`, with what `verify.binary` saw and what the sources on disk look like.
Never:     is fooled by the table that the runtime needs (pclntab): it is there in a stripped binary too, and no debugger reads it.
Source:    binaries of go1.21.13 (DWARF 4) and go1.27.3 (DWARF 5): of 7,561 and 10,197 functions (cmd/vet) every text symbol had a
           subprogram of its name, and the line of every declaration but of `init`, `map.init.N` and `-rangeN` held `func`.
           `go run` always strips; `-s` and `-w` do, `-gcflags=-dwarf=false` does for the package.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.canonical import Value

_SUFFIXES = (".abi0", ".abiinternal")
_NO_FUNC = re.compile(r"\.init$|\.init\.\d+$|\.map\.init\.\d+$|-range\d+$|^_cgo|\._cgo|\._C(?:func|type|var)_")


@dataclass(frozen=True, slots=True)
class Function:
    """A function as debug information has it.

    Attributes:
        name: As in the symbol table.
        file: Of its declaration; empty for a wrapper that the compiler made.
        line: Likewise; 0 for none.
        rows: How many rows of the line table lie in it.
    """

    name: str
    file: str
    line: int
    rows: int


@dataclass(frozen=True, slots=True)
class Debug:
    """What was seen in one binary.

    Attributes:
        format: ELF, PE or Mach-O.
        dwarf: The version of its DWARF; 0 without any.
        symbols: Text symbols of the packages that were asked for; None without a symbol table.
        functions: Of those packages.
        lines: Of each file in the line tables of those packages, the highest line.
    """

    format: str
    dwarf: int
    symbols: tuple[str, ...] | None
    functions: tuple[Function, ...]
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The binary cannot be understood.

    Attributes:
        why: Half a sentence.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that debug information names, as it is on disk.

    Attributes:
        lines: How many it has; None when it is not there.
        funcs: Numbers of its lines that hold the word `func`.
        free: Made by go, or named by a //line directive: it need not be there, and its lines are not ours to judge.
    """

    lines: int | None
    funcs: frozenset[int] = frozenset()
    free: bool = False


class Held(StrEnum):
    """What one binary shows."""

    HELD = "HELD"
    STRIPPED = "STRIPPED"
    MISSING = "MISSING"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class Seen:
    """The answer for one binary.

    Attributes:
        binary: What it was made from, and how.
        held: See `Held`.
        summary: One sentence.
        missing: What is not there, and what does not lead back, all of it.
        functions: How many functions were found.
        files: How many files they lead back to.
    """

    binary: str
    held: Held
    summary: str
    missing: tuple[str, ...] = ()
    functions: int = 0
    files: int = 0

    def as_value(self) -> dict[str, Value]:
        """For the evidence and for `--json`."""
        return {
            "binary": self.binary,
            "held": str(self.held),
            "summary": self.summary,
            "missing": list(self.missing),
            "functions": self.functions,
            "files": self.files,
        }


def judge(binary: str, debug: Debug | Unreadable, sources: Mapping[str, Source]) -> Seen:
    """Judge one binary.

    Args:
        binary: What it was made from, and how.
        debug: What was seen in it.
        sources: What is on disk for each file that debug information names. A name that is not in it leads nowhere.
    """
    if isinstance(debug, Unreadable):
        return Seen(binary, Held.UNREADABLE, debug.why)
    if not debug.dwarf:
        table = "no symbol table either" if debug.symbols is None else "only a symbol table"
        return Seen(binary, Held.STRIPPED, f"there is no DWARF in it, {table}")
    missing = (*_without_debug(debug), *_leading_nowhere(debug, sources))
    files = sum(source.lines is not None for source in sources.values())
    count = len(debug.functions)
    if missing:
        return Seen(binary, Held.MISSING, f"{len(missing)} things are not as they should be", missing, count, files)
    if not count:
        return Seen(binary, Held.MISSING, "it holds DWARF, but not of a single function of yours")
    text = f"{debug.format}, DWARF {debug.dwarf}: {count} functions lead back to {files} files"
    return Seen(binary, Held.HELD, text, (), count, files)


def _without_debug(debug: Debug) -> Iterable[str]:
    known = {_plain(function.name) for function in debug.functions}
    for name in debug.symbols or ():
        if _plain(name) not in known:
            yield f"{name}: no debug information"
    for function in debug.functions:
        if not function.rows:
            yield f"{function.name}: no line table"


def _plain(name: str) -> str:
    """Without what symbol table and DWARF write differently: the kind of call, and numbers of local types in a list of types."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.partition("[")[0]


def _leading_nowhere(debug: Debug, sources: Mapping[str, Source]) -> Iterable[str]:
    nowhere = Source(None)
    for name, highest in sorted(debug.lines.items()):
        source = sources.get(name, nowhere)
        if source.free:
            continue
        if source.lines is None:
            yield f"{name}: there is no such file"
        elif highest > source.lines:
            yield f"{name}: debug information speaks of line {highest}, and it has {source.lines}"
    for function in debug.functions:
        source = sources.get(function.file, nowhere)
        judged = function.file.endswith(".go") and not source.free and source.lines is not None
        if judged and not _NO_FUNC.search(_plain(function.name)) and function.line not in source.funcs:
            yield f"{function.name}: {function.file}:{function.line} declares no function"


def symbol_prefixes(packages: Iterable[str]) -> tuple[str, ...]:
    """How names of functions of these packages begin in a symbol table.

    Args:
        packages: Import paths; `main` for a program's own.
    """
    return tuple(f"{escape(path)}." for path in packages)


def escape(path: str) -> str:
    """An import path as the linker writes it: in the last part, dots are escaped; everywhere `%`, `"` and what is not ASCII.

    Source: cmd/internal/objabi/path.go `PathToPrefix`.
    """
    last = path.rfind("/")
    found = []
    for at, byte in enumerate(path.encode()):
        odd = byte <= 0x20 or byte >= 0x7F or byte in b'%"' or (byte == 0x2E and at > last)
        found.append(f"%{byte:02x}" if odd else chr(byte))
    return "".join(found)


def strips(flags: Iterable[str]) -> str:
    """The flag by which somebody asks for a binary without debug information; empty for none.

    Args:
        flags: Flags of `go build`, each `-name=value` or `-name`, `value`.
    """
    stripping = {"-ldflags": ("-s", "-w"), "-gcflags": ("-dwarf",)}
    given = _values(flags, tuple(stripping))
    return next((found for name, value in given.items() if (found := _last(value, stripping[name], name))), "")


def _values(flags: Iterable[str], names: tuple[str, ...]) -> dict[str, str]:
    """The last value of each of these flags, without the pattern of packages that it is for: `all=-w` is `-w`."""
    waiting = iter(flags)
    found = {}
    for flag in waiting:
        name, equals, value = flag.partition("=")
        name = f"-{name.lstrip('-')}"
        if name in names:
            value = value if equals else next(waiting, "")
            found[name] = value if value.startswith("-") or "=" not in value else value.partition("=")[2]
    return found


def _last(value: str, stripping: tuple[str, ...], of: str) -> str:
    found = ""
    for word in _words(value):
        name, _, given = word.partition("=")
        name = f"-{name.lstrip('-')}"
        if name in stripping:
            off = given.lower() in {"false", "0", "f"}
            # -s and -w switch off, -dwarf switches on.
            found = f"{of}={word}" if off == (name == "-dwarf") else ""
    return found


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def with_debug(flags: Iterable[str]) -> tuple[str, ...]:
    """Linker flags that undo stripping, and keep what else a person gives to the linker.

    Args:
        flags: The same as for `strips`.
    """
    kept = _values(flags, ("-ldflags",)).get("-ldflags", "")
    return (f"-ldflags={kept} -s=false -w=false",)
