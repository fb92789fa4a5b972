"""Times of files that tests read, so that a checkout does not make their stored results worthless.

Knows:     which files a test log names, the table of times, and when a file may get its old time back.
Called by: `flows.ci_pack`, `flows.ci_unpack`.
Never:     gives a time to a file whose content is not the one that had it: that would let an old result pass for a new one.
Source:    cmd/go/internal/test/test.go `computeTestInputsID`, `hashOpen`, `hashStat`: size, mode and modification time of each file
           that a test opened or asked about are in the key of its result, not the content; of a directory those of all that is in
           it. Read in go1.21.13, go1.24.11 and go1.27.3. golang/go#58571.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical

FORMAT = "go-cache-safeguard/file-times/1"
MOST = 64 << 20
"""bytes: no table of ours is longer."""
_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_NS = 1 << 63


class TimesBad(ValueError):  # noqa: N818 - what is bad is the table
    """A table is not one that we wrote."""


@dataclass(frozen=True, slots=True)
class FileTime:
    """The time of one file or directory.

    Attributes:
        name: Below the project's directory, parts joined by `/`.
        folder: It is a directory.
        size: Bytes; 0 of a directory.
        digest: SHA-256 of the content; of a directory, of the names in it, see `names_digest`.
        mtime_ns: Nanoseconds since 1970-01-01 UTC.
    """

    name: str
    folder: bool
    size: int
    digest: str
    mtime_ns: int


def named_files(log: bytes) -> Iterator[str]:
    """What a test opened or asked about, as written in its log: relative to its package, or absolute.

    Args:
        log: An output that begins with `# test log`.
    """
    for line in log.split(b"\n"):
        word, _, name = line.partition(b" ")
        if word in {b"open", b"stat"} and name and b"\0" not in name:
            yield name.decode("utf-8", "surrogateescape")


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 of the names in a directory, in order."""
    listed = "\0".join(sorted(names))
    return sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def write_times(times: Iterable[FileTime]) -> bytes:
    """The table, in its one form."""
    rows: list[Value] = [
        [one.name, one.folder, one.size, one.digest, one.mtime_ns] for one in sorted(times, key=lambda one: one.name)
    ]
    return canonical({"format": FORMAT, "files": rows}) + b"\n"


def read_times(data: bytes) -> tuple[FileTime, ...]:
    """Read a table.

    Raises:
        TimesBad: It is none, or names something outside of the project.
    """
    try:
        value: Any = json.loads(data)
        form, rows = value["format"], tuple(_read(row) for row in value["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TimesBad(f"it is no table of file times: {error}") from error
    if form != FORMAT:
        raise TimesBad(f"it is no table of file times: its format is {form!r}")
    return rows


def _read(row: Any) -> FileTime:
    name, folder, size, digest, mtime_ns = row
    plain = isinstance(name, str) and name and "\0" not in name and not name.startswith("/")
    if not plain or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise ValueError(f"{name!r} is no name below a directory")
    if not isinstance(folder, bool) or not (isinstance(digest, str) and _HEX.fullmatch(digest)):
        raise ValueError(f"{name!r} is not described")
    if not all(type(number) is int and 0 <= number < _MOST_NS for number in (size, mtime_ns)):
        raise ValueError(f"{name!r} has a size or time that cannot be")
    return FileTime(name, folder, size, digest, mtime_ns)


def deepest_first(times: Iterable[FileTime]) -> list[FileTime]:
    """Files before directories, and inner directories before outer ones; nothing that is set changes what is set later."""
    return sorted(times, key=lambda one: (one.folder, -one.name.count("/"), one.name))


def counted(found: Mapping[str, FileTime], table: Iterable[FileTime]) -> list[FileTime]:
    """Of a table, what may get its time back: what is there with the same content and another time.

    Args:
        found: What is there now, by name.
        table: What had which time.
    """
    return [
        one
        for one in table
        if (now := found.get(one.name)) is not None
        and (now.folder, now.size, now.digest) == (one.folder, one.size, one.digest)
        and now.mtime_ns != one.mtime_ns
    ]
