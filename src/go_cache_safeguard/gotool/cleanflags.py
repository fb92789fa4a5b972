"""What a `go clean` command line asks for.

Knows:     its flags, how go reads them, and which of them throw away a cache.
Called by: `cli.shim`, which stands in front of go.
Never:     guesses: a flag that it does not know is an error, because it could hide a package name or a cache.
Source:    cmd/go/internal/clean/clean.go (`init`, `runClean`), cmd/go/internal/work/build.go `AddBuildFlags`, cmd/go/main.go
           `handleChdirFlag`, flag/flag.go `parseOne`, strconv `ParseBool`; read in go1.21.13, go1.24.11 and go1.27.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

CACHES = ("cache", "testcache", "modcache", "fuzzcache")
"""Flags that throw something away that is no build's own product, in the order in which go carries them out."""

_SWITCHES = frozenset(
    {*CACHES, "i", "r", "n", "x", "a", "v", "race", "msan", "asan", "cover", "linkshared", "trimpath", "work"}
    | {"modcacherw", "buildvcs", "json"}
)
_VALUES = frozenset(
    {
        "C",
        "p",
        "asmflags",
        "buildmode",
        "compiler",
        "gccgoflags",
        "gcflags",
        "installsuffix",
        "ldflags",
        "mod",
        "modfile",
    }
    | {"overlay", "pgo", "pkgdir", "tags", "toolexec", "covermode", "coverpkg", "debug-actiongraph", "debug-trace"}
    | {"debug-runtime-trace"}
)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class CleanUsageError(ValueError):
    """A command line that go itself would refuse, or that we cannot read; the text says why."""


@dataclass(frozen=True, slots=True)
class CleanRequest:
    """What is asked for.

    Attributes:
        caches: Of `CACHES`, those that would be thrown away, in go's order.
        dry_run: `-n`.
        echo: `-x`.
        directory: `-C`; empty for here.
        rest: What is left for go itself when the caches are taken out; None if nothing is: then go must not be started.
    """

    caches: tuple[str, ...]
    dry_run: bool
    echo: bool
    directory: str
    rest: tuple[str, ...] | None


@dataclass(slots=True)
class _Read:
    values: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def on(self, name: str) -> bool:
        return self.values.get(name, "false") == "true"


def parse_clean(args: Sequence[str], goflags: Sequence[str] = ()) -> CleanRequest:
    """Read what stands after `go`.

    Args:
        args: Such as `["clean", "-cache"]` or `["-C", "dir", "clean", "-cache"]`.
        goflags: The words of GOFLAGS: they count as if they stood first.

    Raises:
        CleanUsageError: It is no `go clean`, or go would not accept it, or we do not know a flag.
    """
    words, directory = _without_chdir(list(args))
    read = _Read()
    for word in goflags:
        name, equals, value = word.lstrip("-").partition("=")
        if name in CACHES or name in {"n", "x"}:
            _set(read, name, value if equals else "true", word)
    packages = _flags(read, words)
    caches = tuple(name for name in CACHES if read.on(name))
    if caches and packages:
        raise CleanUsageError(f"go: clean -{caches[0]} cannot be used with package arguments")
    alone = not packages and not read.on("i") and not read.on("r")
    rest = None if caches and alone else ("clean", *read.kept, *packages)
    return CleanRequest(caches, read.on("n"), read.on("x"), read.values.get("C", directory), rest)


def _without_chdir(words: list[str]) -> tuple[list[str], str]:
    """Take `-C dir` from before the command."""
    directory = ""
    if words[:1] in (["-C"], ["--C"]) and len(words) > 1:
        directory, words = words[1], words[2:]
    elif words and words[0].startswith(("-C=", "--C=")):
        directory, words = words[0].partition("=")[2], words[1:]
    if words[:1] != ["clean"]:
        raise CleanUsageError("this is no `go clean`")
    return words[1:], directory


def _flags(read: _Read, words: Sequence[str]) -> list[str]:
    """Read flags up to the first package. Returns the packages."""
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            return list(words[at + 1 :])
        if not word.startswith("-") or word == "-":
            return list(words[at:])
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        at += 1
        if name in _VALUES and not equals:
            if at == len(words):
                raise CleanUsageError(f"flag needs an argument: -{name}")
            value = words[at]
            at += 1
        elif not equals:
            value = "true"
        _set(read, name, value, word)
        if name not in CACHES:
            read.kept += [word] if equals or name in _SWITCHES else [word, value]
    return []


def _set(read: _Read, name: str, value: str, word: str) -> None:
    if name in _VALUES or name == "buildvcs":
        read.values[name] = value
    elif name not in _SWITCHES:
        raise CleanUsageError(f"the flag {word} is not one that is known here, so it cannot be told what would go")
    elif value in _TRUE or value in _FALSE:
        read.values[name] = "true" if value in _TRUE else "false"
    else:
        raise CleanUsageError(f"invalid boolean value {value!r} for -{name}")
