"""What the go command says when something is wrong, and what that means for its cache.

Knows:     which sentences of go point at the cache, which forbid any build, and the failures that we make of them.
Called by: `gotool.run` raises the failures; the reuse check and the canary proof ask `cache_trouble`.
Never:     decides that a cache is damaged: a sentence is a symptom.
Source:    cmd/go/internal/cache/default.go `initDefaultCache`, cmd/go/internal/modload/import.go `ImportMissingError`,
           cmd/go/internal/work/exec.go; sentences seen in experiments with go1.21.13, go1.24.11, go1.27.3 on damaged,
           moved and full caches.
"""

import re
from collections.abc import Sequence

from go_cache_safeguard.core.errors import ExitCode, Failure

_NO_CACHE_OFF = "build cache is disabled by GOCACHE=off"
_NO_CACHE_RELATIVE = "GOCACHE is not an absolute path"

_TROUBLE = (
    "could not import ",
    " is not in std",
    " is not in GOROOT",
    "can't find export data",
    "failed to initialize build cache",
    "failed to trim cache",
    "build cache is required",
    _NO_CACHE_OFF,
    "internal compiler error",
    "corrupt index",
    "cache verify failed",
    "mismatched import path",
    "object is [",
    "decoding facts",
    "cannot open file",
    "cannot find package",
)
"""Parts of what go, compile, link and vet say when the cache gave them nothing, the wrong thing, or was taken away.

`is not in std` reads like a fault of the source; it is also what go says when its cache was renamed while it loaded packages.
"""


_ENTRY = re.compile(r"[/\\][0-9a-f]{64}-[ad]\b", re.ASCII)
"""A file of the cache. On a read-only or full cache go1.21.13, go1.26.8 and go1.27.3 were seen to end with `open .../<64 hex>-d: read-only file system`."""


class GoMissing(Failure):
    """There is no go command."""

    id = "go-missing"
    exit_code = ExitCode.GO
    meaning = "no go command was found, or the one that was named cannot be started"


class GoTimedOut(Failure):
    """A go command took too long and was ended."""

    id = "go-timed-out"
    exit_code = ExitCode.GO
    meaning = "a go command did not end in time; it and all its children were ended"


class GoFailed(Failure):
    """A go command said no."""

    id = "go-failed"
    exit_code = ExitCode.GO
    meaning = "a go command failed; the message quotes what it said last"


class GocacheOff(Failure):
    """This go has no build cache."""

    id = "gocache-off"
    exit_code = ExitCode.TARGET
    meaning = "go has no build cache here: GOCACHE is `off`, or no place for one can be found"


class GocacheRelative(Failure):
    """GOCACHE is a relative path, which go does not accept."""

    id = "gocache-relative"
    exit_code = ExitCode.TARGET
    meaning = "GOCACHE is not an absolute path; go itself refuses that"


def cache_trouble(said: str) -> tuple[str, ...]:
    """The lines of go's speech that point at its build cache, each once, in order."""
    lines = (line.strip() for line in said.splitlines())
    return tuple(dict.fromkeys(line for line in lines if _points_at_cache(line)))


def _points_at_cache(line: str) -> bool:
    return any(part in line for part in _TROUBLE) or _ENTRY.search(line) is not None


def printable(data: bytes) -> str:
    """Speech of a process as text that cannot steer a terminal: line ends and tabs stay, other control characters do not."""
    text = data.decode("utf-8", "replace")
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def last_lines(data: bytes, count: int = 10) -> str:
    """The end of what a process said, at most `count` lines that are not empty."""
    lines = [line for line in printable(data).splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def failure_of(args: Sequence[str], exit_code: int, stderr: bytes) -> Failure:
    """What a go command that ended badly means for us."""
    said = last_lines(stderr)
    hint = "set GOCACHE to an absolute path, or unset it"
    if _NO_CACHE_RELATIVE in said:
        return GocacheRelative(f"go says: {said}", not_done="nothing was looked at", hint=hint)
    if _NO_CACHE_OFF in said or "build cache is required" in said:
        return GocacheOff(f"go says: {said}", not_done="nothing was looked at", hint=hint)
    how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return GoFailed(f"`go {' '.join(args)}` {how}; it says: {said or 'nothing'}")
