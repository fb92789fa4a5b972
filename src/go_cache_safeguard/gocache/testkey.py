"""The keys under which go keeps results of tests.

Knows:     how the program of a test, its arguments and what it looked at become keys, and in which words go hashes a file.
Called by: `flows.testkeys` gives it what is on the disk and in the environment.
Never:     looks at either itself, or keeps the value of a variable: only its hash.
Source:    cmd/go/internal/test/test.go `tryCacheWithID`, `computeTestInputsID`, `hashGetenv`, `hashOpen`, `hashStat`,
           `hashWriteStat`; cmd/go/internal/list/list.go (`testmain`); read in go1.21.13, go1.24.11 and go1.27.3. GODEBUG is the first
           input from go1.23 on.
"""

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from posixpath import isabs, join, normpath

from go_cache_safeguard.gocache.hashlog import subkey
from go_cache_safeguard.gocache.keyrecord import Recorded, hash_of, text

MAGIC = b"# test log\n"
_ASKS_GODEBUG = 23
"""The release from which on GODEBUG is always an input."""
_MODES = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, 1 << 26 | 1 << 21),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


class Sort(StrEnum):
    """How a test looked at something, in go's words."""

    ENV = "env"
    OPEN = "open"
    STAT = "stat"
    CHDIR = "chdir"


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that a test looked at.

    Attributes:
        sort: How.
        name: Of a variable, or an absolute path.
    """

    sort: Sort
    name: str


@dataclass(frozen=True, slots=True)
class BadLog:
    """Go would not accept this list of inputs.

    Attributes:
        reason: Why not, for a person.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What `stat` says of a file.

    Attributes:
        size: Bytes.
        mode: As the system gives it.
        mtime_ns: In nanoseconds since 1970-01-01 UTC.
        local: The same as go writes it, see `go_time`.
    """

    size: int
    mode: int
    mtime_ns: int
    local: str


def looked_at(log: bytes, directory: str) -> tuple[Looked, ...] | BadLog:
    """What a test looked at, from the log that go keeps of its last run.

    Args:
        log: The content of the entry.
        directory: Of the package, absolute.
    """
    if not log.startswith(MAGIC) or not log.endswith(b"\n"):
        return BadLog("the list of inputs is malformed")
    found, here = [], directory
    for line in text(log.removeprefix(MAGIC)).split("\n"):
        word, space, name = line.partition(" ")
        if not line:
            continue
        if not space or word not in {"getenv", "chdir", "stat", "open"}:
            return BadLog(f"the list of inputs is malformed: {line!r}")
        if word == "chdir":
            here = name
        path = name if word in {"getenv", "chdir"} or isabs(name) else normpath(join(here, name))
        found.append(Looked(Sort.ENV if word == "getenv" else Sort(word), path))
    return tuple(found)


def with_godebug(looked: Iterable[Looked], release: int) -> tuple[Looked, ...]:
    """The same as this release of go asks for it.

    Args:
        looked: What the test looked at.
        release: The 27 of go1.27.3.
    """
    first = (Looked(Sort.ENV, "GODEBUG"),) if release >= _ASKS_GODEBUG else ()
    return (*first, *looked)


def inputs_key(salt: str, package: str, looked: Iterable[Looked], hashed: Callable[[Looked], bytes | None]) -> Recorded:
    """The key of all that a test looked at.

    Args:
        salt: Such as `go1.27.3`.
        package: Import path.
        looked: What it looked at.
        hashed: Gives go's hash of the present state, 32 bytes; None for what go leaves out, such as files outside of the module.
    """
    lines = [salt, *(f"{one.sort} {one.name} {found.hex()}\n" for one in looked if (found := hashed(one)) is not None)]
    return Recorded(f"inputs {package}", tuple(lines), hash_of(lines))


def result_key(program: bytes, inputs: bytes) -> bytes:
    """The key of a test's output.

    Args:
        program: The key of its program and arguments.
        inputs: The key of all that it looked at.
    """
    return subkey(program, f"inputs:{inputs.hex()}")


def hash_variable(salt: str, value: str | None) -> bytes:
    """Go's hash of a variable; None if it is not set."""
    said = b"\x00" if value is None else b"\x01" + value.encode("utf-8", "surrogateescape")
    return sha256(salt.encode() + said).digest()


def hash_stat(salt: str, followed: FileFacts | str, itself: FileFacts | str) -> bytes:
    """Go's hash of a file that was looked at.

    Args:
        salt: Such as `go1.27.3`.
        followed: What it is, links followed; or go's words why that cannot be told.
        itself: What stands there; likewise.
    """
    return _hash(salt, [_said(followed), _said(itself)])


def hash_open(salt: str, found: FileFacts | str, entries: Sequence[tuple[str, FileFacts | str]] = ()) -> bytes:
    """Go's hash of a file or directory that was opened.

    Args:
        salt: Such as `go1.27.3`.
        found: What it is; or go's words why that cannot be told.
        entries: Of a directory, names in order with what they are.
    """
    return _hash(salt, [_said(found), *_entries(entries)])


def _entries(entries: Iterable[tuple[str, FileFacts | str]]) -> Iterator[str]:
    for name, facts in entries:
        yield f"file {name} {_said(facts)}"


def _said(facts: FileFacts | str) -> str:
    if isinstance(facts, str):
        return f"err {facts}\n"
    directory = "true" if stat.S_ISDIR(facts.mode) else "false"
    return f"stat {facts.size} {go_mode(facts.mode):x} {facts.local} {directory}\n"


def _hash(salt: str, lines: Iterable[str]) -> bytes:
    return sha256("".join((salt, *lines)).encode("utf-8", "surrogateescape")).digest()


def go_mode(mode: int) -> int:
    """A file's mode in the bits that Go uses."""
    kind = next((bit for test, bit in _MODES if test(mode)), 0)
    bits = sum(bit for mask, bit in _BITS if mode & mask)
    return kind | bits | mode & 0o777


def go_time(date: str, nanoseconds: int, offset_s: int, zone: str) -> str:
    """A time as Go prints it: `2026-11-22 21:23:56.847511754 +0000 UTC`.

    Args:
        date: `2026-11-22 21:23:56`, local.
        nanoseconds: Of the second.
        offset_s: Seconds east of UTC.
        zone: Abbreviation of the zone; one that is a number is printed as go does, `+03`.
    """
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    sign, minutes = ("-" if offset_s < 0 else "+"), abs(offset_s) // 60
    return f"{date}{fraction} {sign}{minutes // 60:02d}{minutes % 60:02d} {zone}"
