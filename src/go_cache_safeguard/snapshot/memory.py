"""What the last snapshot of a cache was, so that the next one need not read what did not change.

Knows:     the form of that memory, and when a file counts as the one that was read.
Called by: `flows.repository` keeps it in our state directory; `snapshot.deposit` asks it.
Never:     is more than a memory: without it everything is read again. Whoever can write it can make us believe that a file did not
           change; it lies in a directory of ours that nobody else may write.
Source:    a file is the same if size, mode, inode, mtime and ctime are; ctime cannot be set back by a program. A file that changed less
           than two seconds before it was read is not remembered: a file system's clock is coarse, and a later write could leave
           the same marks (git's Documentation/technical/racy-git.txt).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.snapshot.manifest import Entry, Manifest
from go_cache_safeguard.snapshot.record import Pack, Places, contents

RACY_NS = 2_000_000_000
_FORMAT = "go-cache-safeguard/snapshot-memory/1"

Marks: TypeAlias = tuple[int, int, int, int, int]
"""Size, mode, mtime_ns, ctime_ns and inode."""


@dataclass(frozen=True, slots=True)
class Known:
    """Contents that a repository holds.

    Attributes:
        packs: By SHA-256 of a content the pack that holds it; None for an object of its own.
        stored: By SHA-256 of a content the bytes of its own object.
    """

    packs: Mapping[str, Pack | None]
    stored: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """One snapshot, as we remember it.

    Attributes:
        record: Its id.
        shas: By name the SHA-256 of every file that was not young when it was read.
        marks: By name what these files looked like.
        known: What the repository holds of it.
    """

    record: str
    shas: Mapping[str, str]
    marks: Mapping[str, Marks]
    known: Known


def known_of(manifest: Manifest, places: Places) -> Known:
    """What a snapshot says that its repository holds."""
    at = dict(zip(contents(manifest), places.at, strict=True))
    alone = [sha for sha, number in at.items() if number == 0]
    packs = {sha: places.packs[number - 1] if number else None for sha, number in at.items()}
    return Known(packs, dict(zip(alone, places.stored, strict=True)))


def write_memory(
    repository: str, record: str, manifest: Manifest, places: Places, *, marks: Mapping[str, Marks], read_ns: int
) -> bytes:
    """The form in which a snapshot is remembered.

    Args:
        repository: Id of the repository.
        record: Id of the snapshot.
        manifest: Its files.
        places: Where their contents lie.
        marks: By name what each file looked like when it was read.
        read_ns: When reading began, nanoseconds since 1970-01-01 UTC.
    """
    rows = [(entry, marks.get(entry.name, (-1,) * 5)) for entry in manifest.entries]
    value: dict[str, Value] = {
        "format": _FORMAT,
        "names": [entry.name for entry, _ in rows],
        "shas": [entry.sha256 for entry, _ in rows],
        "size": [entry.size for entry, _ in rows],
        "mode": [entry.mode for entry, _ in rows],
        "mtime_ns": [entry.mtime_ns for entry, _ in rows],
        "ctime_ns": [ctime if ctime < read_ns - RACY_NS else -1 for _, (_, _, _, ctime, _) in rows],
        "ino": [ino for _, (_, _, _, _, ino) in rows],
        "packs": [[pack.name, pack.stored, pack.size] for pack in places.packs],
        "at": places.at,
        "stored": places.stored,
        "repository": repository,
        "record": record,
    }
    body = canonical(value, known=True)
    return digest(body).encode() + b"\n" + body


def read_memory(data: bytes, repository: str) -> Memory | None:
    """Read what was remembered; None if it is damaged or of another repository.

    Args:
        data: What `write_memory` gave.
        repository: Id of the repository.
    """
    head, _, body = data.partition(b"\n")
    if digest(body).encode() != head:
        return None
    try:
        value: Any = json.loads(body)
        if value["format"] != _FORMAT or value["repository"] != repository:
            return None
        names, shas = value["names"], value["shas"]
        columns = [value[key] for key in ("size", "mode", "mtime_ns", "ctime_ns", "ino")]
        marks = dict(zip(names, zip(*columns, strict=True), strict=True))
        packs: Sequence[Pack | None] = (None, *(Pack(*fields) for fields in value["packs"]))
        unique = list(dict.fromkeys(shas))
        at = value["at"]
        alone = [sha for sha, number in zip(unique, at, strict=True) if number == 0]
        known = Known(
            {sha: packs[number] for sha, number in zip(unique, at, strict=True)},
            dict(zip(alone, value["stored"], strict=True)),
        )
        return Memory(value["record"], dict(zip(names, shas, strict=True)), marks, known)
    except (ValueError, TypeError, KeyError, IndexError):
        return None


def same(entry: Entry, marks: Marks) -> bool:
    """Whether an entry is of the file that has these marks."""
    return (entry.size, entry.mode, entry.mtime_ns) == marks[:3]
