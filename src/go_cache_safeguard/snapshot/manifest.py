"""What a snapshot holds: every file with its size, mode, time and SHA-256.

Knows:     the one byte form of that list, which names it may have, and the same list as `sha256sum -c` reads it.
Called by: archives, the repository and restore; all of them trust a manifest only after `parse_manifest`.
Never:     holds what differs from day to day or from one directory to another: same tree, same bytes.
Source:    RFC 3339 for times. sha256sum(1): a name with a backslash or a line break is escaped and its line begins with a
           backslash (coreutils, src/digest.c); such names are refused here, so no line ever needs it.

The manifest is JSON that `core.canonical` wrote:
    {"entries":[[name, size, mode, mtime, sha256], ...], "files":N, "bytes":N, "format":..., "kind":..., "skipped":[[name, why], ...]}
with entries in the order of their names' bytes, mode as "0644" and mtime as RFC 3339 UTC with nanoseconds.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from operator import lt
from typing import Any, NamedTuple

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.errors import ExitCode, Failure

FORMAT = "go-cache-safeguard/snapshot/1"
NAME_LIMIT, PART_LIMIT = 4095, 255
"""Bytes of a whole name and of one of its parts (limits.h: PATH_MAX less the NUL, NAME_MAX)."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MODE = re.compile(r"0[0-7]{3}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{9})Z")
_PLAIN = re.compile(r"(?:[0-9A-Za-z_-]{1,200}/){0,8}[0-9A-Za-z_-]{1,200}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_S = 10**9
_BEGIN, _END = b'"entries":[', b'],"files":'
"""What stands before and after the rows."""
_YEARS = (-62_135_596_800, 253_402_300_799)
"""Seconds since 1970 of the first and the last moment that RFC 3339 can write."""


class Kind(StrEnum):
    """What was copied."""

    BUILD = "go-build-cache"
    MODULE = "go-module-cache"


class ManifestBad(Failure):
    """A manifest is not one that we wrote."""

    id = "manifest-bad"
    exit_code = ExitCode.TARGET
    meaning = "a snapshot's manifest is damaged, was edited, or names something that must not be restored"


class Entry(NamedTuple):
    """One file.

    Attributes:
        name: Path below the root of the cache, parts joined by `/`.
        size: Bytes.
        mode: The nine permission bits.
        mtime_ns: When it was last changed (in a build cache: last used), nanoseconds since 1970-01-01 UTC.
        sha256: Of its content, 64 lower-case hexadecimal digits.
    """

    name: str
    size: int
    mode: int
    mtime_ns: int
    sha256: str


class Skipped(NamedTuple):
    """Something that was there and is not in the snapshot.

    Attributes:
        name: Its path, printable.
        why: The reason, a few words.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """Everything that a snapshot holds.

    Attributes:
        kind: What was copied.
        entries: In the order of `order`.
        skipped: What is not in it, likewise.
    """

    kind: Kind
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...] = ()

    @cached_property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def data(self) -> bytes:
        """The one byte form, ended by a line break."""
        return write_manifest(self.kind, [rows_of(self.entries)], len(self.entries), self.size, self.skipped)

    @cached_property
    def contents(self) -> Mapping[str, int]:
        """Every content once, by its SHA-256, with its size, in the order of the files that have it first."""
        found: dict[str, int] = {}
        for entry in self.entries:
            found.setdefault(entry.sha256, entry.size)
        return found

    @cached_property
    def root(self) -> str:
        """SHA-256 of `data`: two snapshots with one root are the same to the last bit."""
        return digest(self.data)

    @cached_property
    def content(self) -> str:
        """SHA-256 of names, sizes, modes and hashes without the times: what stays the same when a cache is only used."""
        return digest(
            canonical([[name, size, mode, sha256] for name, size, mode, _, sha256 in self.entries], known=True)
        )


def order(name: str) -> bytes:
    """Sort key of a name: its bytes, whatever the locale."""
    return name.encode("utf-8", "surrogateescape")


def make_manifest(kind: Kind, entries: Iterable[Entry], skipped: Iterable[Skipped] = ()) -> Manifest:
    """Put entries in order.

    Raises:
        ManifestBad: A name may not be in a manifest, stands there twice, or is both a file and a directory.
    """
    made = Manifest(
        kind,
        tuple(sorted(entries, key=lambda entry: order(entry.name))),
        tuple(sorted(skipped, key=lambda one: order(one.name))),
    )
    _refuse_names([entry.name for entry in made.entries])
    return made


def rows_of(entries: Iterable[Entry]) -> bytes:
    """Entries as they stand in a manifest, a comma between two of them."""
    rows: list[Value] = [
        [name, size, f"{mode:04o}", f"{_format_second(mtime_ns // _S)}.{mtime_ns % _S:09d}Z", sha256]
        for name, size, mode, mtime_ns, sha256 in entries
    ]
    return canonical(rows, known=True)[1:-1]


def parse_rows(rows: bytes) -> tuple[Entry, ...]:
    """Entries of what `rows_of` wrote.

    Raises:
        ValueError: It is anything else.
        TypeError: Likewise.
        KeyError: Likewise.
    """
    return _entries(json.loads(b"[" + rows + b"]"))


def write_manifest(kind: Kind, rows: Iterable[bytes], files: int, size: int, skipped: Iterable[Skipped]) -> bytes:
    """The byte form of a manifest whose entries are written already.

    Args:
        kind: What was copied.
        rows: What `rows_of` gave for the entries, in order and in as many pieces as is convenient.
        files: How many entries that are.
        size: Bytes of all files together.
        skipped: What is not in it, in order.
    """
    head = f'{{"bytes":{size},"entries":['.encode("ascii")
    tail = f'],"files":{files},"format":"{FORMAT}","kind":"{kind}","skipped":'.encode("ascii")
    left_out = canonical([list(one) for one in skipped])
    return b"".join((head, b",".join(filter(None, rows)), tail, left_out, b"}\n"))


def parse_manifest(data: bytes, alike: Manifest | None = None) -> Manifest:
    """Read a manifest, believing nothing.

    Args:
        data: Its bytes.
        alike: One that was parsed before and has most rows in common: these are not parsed again.

    Raises:
        ManifestBad: The bytes are not exactly what `Manifest.data` writes for something that may be restored.
    """
    if alike is not None and (made := _parse_alike(data, alike)) is not None:
        return made
    try:
        value: Any = json.loads(data)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ManifestBad("this is not a manifest of a format that we know", not_done="nothing was read from it")
        made = Manifest(
            Kind(value["kind"]),
            _entries(value["entries"]),
            tuple([Skipped(*_texts(fields, 2)) for fields in value["skipped"]]),
        )
        same = made.data == data
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise ManifestBad(f"the manifest is damaged: {error}", not_done="nothing was read from it") from error
    if not same:
        raise ManifestBad("the manifest is not in the form that we write", not_done="nothing was read from it")
    _refuse_names([entry.name for entry in made.entries])
    return made


def _parse_alike(data: bytes, alike: Manifest) -> Manifest | None:
    """Read a manifest by another one; None when it must be read from its beginning to its end, which tells what is wrong with it.

    It is cut where rows seem to end. If each piece is what we write for one entry, and all together is what we write for the manifest of
    these entries, then it says these entries and nothing else, wherever it was cut.
    """
    texts, others = _row_texts(data), _row_texts(alike.data)
    if len(others) != len(alike.entries):
        return None  # a name in it looks like the end of a row
    known = dict(zip(others, alike.entries, strict=True))
    try:
        fresh = b"[" + b"],[".join(text for text in texts if text not in known) + b"]"
        read = iter(() if fresh == b"[]" else parse_rows(fresh))
        entries = [known.get(text) or next(read) for text in texts]
        value: Any = json.loads(data[: data.index(_BEGIN) + len(_BEGIN)] + data[data.rindex(_END) :])
        skipped = tuple([Skipped(*_texts(fields, 2)) for fields in value["skipped"]])
        made = Manifest(Kind(value["kind"]), tuple(entries), skipped)
        new = [entry for text, entry in zip(texts, entries, strict=True) if text not in known]
        rows = b"[" + b"],[".join(texts) + b"]" if texts else b""
        same = rows_of(new) == (fresh if new else b"")
        if not same or write_manifest(made.kind, [rows], len(entries), made.size, skipped) != data:
            return None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, StopIteration):
        return None
    _refuse_names([entry.name for entry in entries])
    made.__dict__["data"] = data
    return made


def _row_texts(data: bytes) -> list[bytes]:
    """The rows of a manifest, or what looks like them."""
    rows = data[data.find(_BEGIN) + len(_BEGIN) : data.rfind(_END)]
    return rows[1:-1].split(b"],[") if rows else []


def checksums(manifest: Manifest, *, prefix: str = "") -> bytes:
    """The list as `sha256sum -c` reads it, in the manifest's order.

    Args:
        manifest: What to list.
        prefix: Put before each name, for example `files/`.
    """
    return b"".join(f"{entry.sha256}  {prefix}{entry.name}\n".encode() for entry in manifest.entries)


def refusal(name: str) -> str | None:
    """Why this name cannot be in a manifest, or None: whatever could leave the root or mislead who reads the list."""
    if _PLAIN.fullmatch(name):
        return None  # nearly every name; what follows takes ten times as long
    try:
        data = name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if len(data) > NAME_LIMIT:
        return "its name is too long"
    if not name.isprintable() or "\\" in name:
        return "its name has a backslash or something that cannot be shown"
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "its name has an empty part, `.` or `..`"
    if len(data) > PART_LIMIT and any(len(part.encode()) > PART_LIMIT for part in parts):
        return "a part of its name is too long"
    return None


def shown(name: str) -> str:
    """A file's name as it can stand in `Skipped`: what is no UTF-8 or cannot be printed as escapes."""
    text = order(name).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def format_time(mtime_ns: int) -> str:
    """RFC 3339 UTC with nanoseconds.

    Raises:
        OverflowError: The year is before 1 or after 9999.
    """
    seconds, nanoseconds = divmod(mtime_ns, _S)
    return f"{_format_second(seconds)}.{nanoseconds:09d}Z"


@lru_cache(1 << 14)
def _format_second(seconds: int) -> str:
    """Many files of a cache were written in the same second, and `strftime` is slow."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}".rjust(19, "0")


def parse_time(text: str) -> int:
    """Nanoseconds since 1970-01-01 UTC of what `format_time` wrote.

    Raises:
        ValueError: It is anything else.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time in UTC with nanoseconds")
    return _parse_second(match[1]) + int(match[2])


@lru_cache(1 << 14)
def _parse_second(text: str) -> int:
    past = datetime.fromisoformat(f"{text}+00:00") - _EPOCH
    return (past.days * 86_400 + past.seconds) * _S


def has_time(mtime_ns: int) -> bool:
    """Whether `format_time` can write it; a file system keeps stranger times."""
    first, last = _YEARS
    return first <= mtime_ns // _S <= last


def _entries(rows: Any) -> tuple[Entry, ...]:
    """Entries by column, which is several times as fast as one by one. How their times are written is compared by the caller."""
    if not rows:
        return ()
    names, sizes, modes, times, shas = zip(*rows, strict=True)
    if {str} != {type(text) for column in (names, modes, times, shas) for text in column}:
        raise TypeError("a name, a mode, a time or a hash is no text")
    if {*map(type, sizes)} != {int} or min(sizes) < 0:
        raise TypeError("a size is none")
    known = {mode: int(mode, 8) for mode in set(modes) if _MODE.fullmatch(mode)}
    if not all(map(_SHA256.fullmatch, shas)):
        raise ValueError("a hash is none")
    moments = [_parse_second(text[:-11]) + int(text[-10:-1]) for text in times]
    return tuple(map(Entry._make, zip(names, sizes, map(known.__getitem__, modes), moments, shas, strict=True)))


def _texts(fields: Any, count: int) -> Sequence[str]:
    if not isinstance(fields, list) or len(fields) != count or not all(type(text) is str for text in fields):
        raise TypeError(f"not {count} texts")
    return fields


def _refuse_names(names: Sequence[str]) -> None:
    """Names in order, each once, none of them a directory of another."""
    for name in names:
        why = None if _PLAIN.fullmatch(name) else refusal(name)
        if why is not None:
            raise ManifestBad(f"{name[:200]!r} cannot be in a manifest: {why}", not_done="nothing was done with it")
    keys = [order(name) for name in names]
    if not all(map(lt, keys, keys[1:])):
        wrong = next(name for name, key, before in zip(names[1:], keys[1:], keys, strict=False) if key <= before)
        raise ManifestBad(f"{wrong[:200]!r} stands twice or in the wrong place", not_done="nothing was done with it")
    folders = {name.rpartition("/")[0] for name in names}
    for folder in tuple(folders):
        while (folder := folder.rpartition("/")[0]) and folder not in folders:
            folders.add(folder)
    both = folders.intersection(names)
    if both:
        raise ManifestBad(f"{min(both)!r} is a file and a directory", not_done="nothing was done with it")
