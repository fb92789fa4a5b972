"""A go command that finds what it needs and does not do it.

Knows:     how a command line is changed so that go starts no tool, writes no file of a person's and runs no test; the program that
           go starts instead of its tools; and how to read what it wanted to start.
Called by: `flows.liveset`.
Never:     starts anything.
Source:    measured with go1.21.13, go1.24.11 and go1.27.3: with `-toolexec` go asks the same keys as without, because a released tool
           is named by its version alone (cmd/go/internal/work/buildid.go `toolID`); it starts compile, asm, cgo, cover, vet and link
           through it, of gcc only `gcc -###` (`gccToolID`), and sets TOOLEXEC_IMPORTPATH. A test whose result is cached needs no
           link; any other one does, and is not run without; `-outputdir` disables caching up to go1.24. What lies
           ready in the current directory (`go build`, `go test -c`, and any test with a profile) go uses as it is, and would touch or
           even run: so nothing is built into it. A vet tool that leaves no facts behind makes go store none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

VERBS = frozenset({"build", "install", "list", "run", "test", "vet"})
"""Commands that use the cache and, without tools, leave everything else as it is."""
TOOL = """#!/bin/sh
for word; do
    case "$word" in -V=full|-###) exec "$@" ;; esac
done
printf '%s %s\\n' "${1##*/}" "$TOOLEXEC_IMPORTPATH" >> "${0%/*}/wanted"
case "$word" in */vet.cfg) exit 0 ;; esac
exit 1
"""
"""What go starts instead of its tools; what they are asked about themselves is answered."""
WANTED = "wanted"
"""Where it writes down, beside itself, what it was to start."""

_DROPPED = frozenset({"-a", "-n", "-x", "-work", "-c"})
_KEEPS_BINARY = frozenset({"-blockprofile", "-cpuprofile", "-memprofile", "-mutexprofile"})
_WITH_VALUE = frozenset({"-o", "-outputdir", "-debug-actiongraph"}) | _KEEPS_BINARY
_REFUSED = {"-toolexec": "starts tools of its own", "-fix": "changes files"}


@dataclass(frozen=True, slots=True)
class NotRehearsed:
    """A command that we do not start.

    Attributes:
        why: Half a sentence.
    """

    why: str


@dataclass(frozen=True, slots=True)
class WantedTool:
    """A tool that go would have started.

    Attributes:
        tool: Such as `compile`.
        package: For which package, such as `a [a.test]`.
    """

    tool: str
    package: str


def rehearsal_of(command: Sequence[str], *, tool: str, graph: str, folder: str) -> tuple[str, ...] | NotRehearsed:
    """The arguments of go for a rehearsal.

    Args:
        command: Arguments of the real command, without `go`.
        tool: Absolute path of a file with `TOOL` in it.
        graph: Where go writes its action graph.
        folder: Where it may write what else it has to write.
    """
    if not command or command[0] not in VERBS:
        return NotRehearsed(f"only {', '.join(sorted(VERBS))} are rehearsed")
    if "'" in tool:
        return NotRehearsed("the directory for temporary files has a quotation mark in its name")
    ended = next((at for at, word in enumerate(command) if word in {"-args", "--args", "--"}), len(command))
    words = [word[1:] if word.startswith("--") else word for word in command[1:ended]]
    refused = next((flag for word in words if (flag := word.partition("=")[0]) in _REFUSED), "")
    if refused:
        return NotRehearsed(f"{refused} {_REFUSED[refused]}")
    verb = "build" if command[0] == "install" else command[0]
    nowhere = ("-o", "/dev/null") if verb == "build" else ()
    first, rest = _directory(words)
    more = ("-outputdir", folder) if any("-coverprofile" in word.replace("-test.", "-", 1) for word in words) else ()
    steer = (f"-toolexec=/bin/sh '{tool}'", f"-debug-actiongraph={graph}", *nowhere, *more)
    return (verb, *first, *steer, *_kept(rest), *command[ended:])


def _directory(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """`-C DIR` apart, which must come first."""
    if words and words[0].startswith("-C="):
        return words[:1], words[1:]
    return (words[:2], words[2:]) if words and words[0] == "-C" else ((), words)


def _kept(words: Sequence[str]) -> Iterator[str]:
    skip = profile = False
    for word in words:
        flag, equals, value = word.replace("-test.", "-", 1).partition("=")
        if profile:
            yield PurePath(word).name
        elif not skip and flag == "-coverprofile" and equals:
            yield f"-coverprofile={PurePath(value).name}"
        elif not skip and word == "-mod=mod":
            yield "-mod=readonly"
        elif not skip and flag not in _DROPPED and flag not in _WITH_VALUE:
            yield word
        profile = not equals and flag == "-coverprofile"
        skip = not skip and flag in _WITH_VALUE and not equals


def wanted_tools(log: bytes) -> tuple[WantedTool, ...]:
    """Read what the program of `TOOL` wrote down; each once, in order."""
    lines = dict.fromkeys(log.decode("utf-8", "replace").splitlines())
    return tuple(WantedTool(tool, package) for tool, _, package in (line.partition(" ") for line in lines))
