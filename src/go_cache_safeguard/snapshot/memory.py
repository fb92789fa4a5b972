"""What the last snapshot of a cache was, so that the next one need not read what did not change.

Knows:     the form of that memory, when a file counts as the one that was read, and how a manifest is put together from parts of
           which most are as they were.
Called by: `flows.repository` keeps it in our state directory; `snapshot.deposit` asks it and draws up the next one.
Never:     is more than a memory: without it everything is read again. Whoever can write it can make us believe that a file did not
           change; it lies in a directory of ours that nobody else may write.
Source:    a file is the same if size, mode, inode, mtime and ctime are; ctime cannot be set back by a program. A file that changed less
           than two seconds before it was read is not remembered: a file system's clock is coarse, and a later write could leave
           the same marks (git's Documentation/technical/racy-git.txt).

A snapshot falls into units: a unit is all that lies below one name in the root of the cache, for example one of the 256 directories of
a build cache. Of each we keep what its files looked like, as one piece of bytes that a look at the directory is compared with, and
its lines of the manifest as they were written. Of a unit that looks as it did nothing is unpacked.
"""

import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeAlias

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.snapshot.manifest import (
    Entry,
    Kind,
    Manifest,
    Skipped,
    order,
    parse_rows,
    rows_of,
    write_manifest,
)
from go_cache_safeguard.snapshot.record import Pack, Places, contents, numbers_of, write_places

RACY_NS = 2_000_000_000
INODE = (1 << 63) - 1
"""Of the number of an inode so many bits count."""
_FORMAT = "go-cache-safeguard/snapshot-memory/2"
_REGULAR = 0o100000
_SHA = re.compile(rb'"([0-9a-f]{64})"\]')
_MODE = 0o777

Marks: TypeAlias = tuple[int, int, int, int, int]
"""Size, mode, mtime_ns, ctime_ns and inode."""
Where: TypeAlias = Callable[[str], "Pack | int"]
"""Of the SHA-256 of a content: the pack that holds it, or the bytes as stored of its own object."""


@dataclass(frozen=True, slots=True)
class Known:
    """Contents that a repository holds.

    Attributes:
        packs: By SHA-256 of a content the pack that holds it; None for an object of its own.
        stored: By SHA-256 of a content the bytes of its own object.
    """

    packs: Mapping[str, Pack | None]
    stored: Mapping[str, int]


class Unit(NamedTuple):
    """What lies below one name in the root of a cache.

    Attributes:
        name: The name.
        files: How many files it has.
        size: Their bytes.
        look: What they looked like, see `pack_look`.
        rows: Their lines in the manifest, see `manifest.rows_of`.
        at: Where their contents lie, of those that stand here first: see `record.Places.at`.
        stored: Bytes as stored of those that have an object of their own.
    """

    name: str
    files: int
    size: int
    look: bytes
    rows: bytes
    at: bytes
    stored: bytes


@dataclass(frozen=True, slots=True)
class Stock:
    """A snapshot in the parts that it is put together from.

    Attributes:
        units: In the order of a manifest.
        packs: Those that hold its small contents, as `Unit.at` counts them.
        live: For each of them the bytes in it that this snapshot uses.
        distinct: Whether every file has another content.
    """

    units: tuple[Unit, ...]
    packs: tuple[Pack, ...]
    live: tuple[int, ...]
    distinct: bool

    @property
    def files(self) -> int:
        """How many there are."""
        return sum(unit.files for unit in self.units)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(unit.size for unit in self.units)

    def manifest(self, kind: Kind, skipped: Iterable[Skipped]) -> bytes:
        """The manifest: the bytes of `Manifest.data` for the same entries."""
        rows = [unit.rows for unit in self.units]
        return write_manifest(kind, rows, self.files, self.size, skipped)

    def places(self) -> bytes:
        """Where the contents lie: the bytes of `Places.data`."""
        return write_places([unit.at for unit in self.units], self.packs, [unit.stored for unit in self.units])


@dataclass(frozen=True, slots=True)
class Recalled:
    """Some units, unpacked.

    Attributes:
        entries: By name every file in them.
        marks: By name what these files looked like.
        known: What the repository holds of them.
    """

    entries: Mapping[str, Entry]
    marks: Mapping[str, Marks]
    known: Known


@dataclass(frozen=True, slots=True)
class Memory:
    """One snapshot, as we remember it.

    Attributes:
        record: Its id.
        stock: What it was put together from.
    """

    record: str
    stock: Stock

    @property
    def looks(self) -> dict[str, bytes]:
        """By name of a unit what it looked like; nothing when a content may stand in two of them."""
        return {unit.name: unit.look for unit in self.stock.units} if self.stock.distinct else {}

    def recall(self, names: Collection[str]) -> Recalled:
        """Unpack the units of these names.

        Raises:
            ValueError: The memory does not say what it should.
            TypeError: Likewise.
            KeyError: Likewise.
            IndexError: Likewise.
        """
        entries: dict[str, Entry] = {}
        marks: dict[str, Marks] = {}
        packs: dict[str, Pack | None] = {}
        stored: dict[str, int] = {}
        numbered: Sequence[Pack | None] = (None, *self.stock.packs)
        for unit in self.stock.units:
            if unit.name not in names and self.stock.distinct:
                continue
            rows = parse_rows(unit.rows)
            first = list(dict.fromkeys(entry.sha256 for entry in rows if entry.sha256 not in packs))
            at = _numbers(unit.at)
            packs |= {sha: numbered[number] for sha, number in zip(first, at, strict=True)}
            alone = [sha for sha, number in zip(first, at, strict=True) if number == 0]
            stored |= dict(zip(alone, _numbers(unit.stored), strict=True))
            entries |= {entry.name: entry for entry in rows}
            if unit.look:
                marks |= zip((entry.name for entry in rows), marks_in(unit.look), strict=True)
        return Recalled(entries, marks, Known(packs, stored))


class Drawing:
    """Draws up a stock, unit by unit, in the order of a manifest.

    Args:
        where: Asked where a content lies.
        read_ns: When reading began, nanoseconds since 1970-01-01 UTC: what changed shortly before is not believed next time.
        base: A stock of which units are taken over as they are; its packs keep their numbers.
    """

    def __init__(self, where: Where, read_ns: int, base: Stock | None = None) -> None:
        self._where, self._before_ns = where, read_ns - RACY_NS
        self._units: list[Unit] = []
        self._seen: set[str] = set()
        self._packs = {pack.name: pack for pack in base.packs} if base else {}
        self._numbers = {name: number for number, name in enumerate(self._packs, 1)}
        self._live = Counter(dict(zip(self._packs, base.live, strict=True))) if base else Counter()
        self._distinct = True

    def forget(self, entries: Iterable[Entry], known: Known) -> None:
        """Files of the base that are in none of the units that are taken over."""
        for entry in entries:
            if (pack := known.packs[entry.sha256]) is not None:
                self._live[pack.name] -= entry.size or 1

    def keep(self, unit: Unit) -> None:
        """Take over a unit of the base."""
        self._units.append(unit)

    def add(self, name: str, entries: Sequence[Entry], marks: Mapping[str, Marks]) -> None:
        """Draw up a unit.

        Args:
            name: Its name.
            entries: Its files, in order.
            marks: By name what they looked like.
        """
        at: list[int] = []
        stored: list[int] = []
        for entry in entries:
            if entry.sha256 in self._seen:
                self._distinct = False
                continue
            self._seen.add(entry.sha256)
            place = self._where(entry.sha256)
            if isinstance(place, Pack):
                self._packs.setdefault(place.name, place)
                at.append(self._numbers.setdefault(place.name, len(self._numbers) + 1))
                self._live[place.name] += entry.size or 1
            else:
                at.append(0)
                stored.append(place)
        look = _look(len(name) + 1, entries, marks, self._before_ns)
        size = sum(entry.size for entry in entries)
        self._units.append(Unit(name, len(entries), size, look, rows_of(entries), numbers_of(at), numbers_of(stored)))

    def done(self) -> Stock:
        """All of it."""
        live = tuple(self._live[name] for name in self._packs)
        return Stock(tuple(self._units), tuple(self._packs.values()), live, self._distinct)


def unit_of(name: str) -> str:
    """The unit that a file belongs to."""
    return name.partition("/")[0]


def stand_in(units: Iterable[Unit], shas: Iterable[str]) -> bool:
    """Whether a file of these units has one of these contents."""
    asked = {sha.encode("ascii") for sha in shas}
    return any(not asked.isdisjoint(_SHA.findall(unit.rows)) for unit in units)


def pack_look(names: Iterable[str], numbers: Iterable[int]) -> bytes:
    """What files look like, as one piece of bytes: equal only if everything is.

    Args:
        names: Below the unit, in order; empty for the unit itself.
        numbers: For each of them size, mode with the kind of file, mtime_ns, ctime_ns and inode.

    Returns:
        Nothing when a number is too large; that counts as unknown.
    """
    try:
        return order("\n".join(names)) + b"\0" + array("q", numbers).tobytes()
    except OverflowError:
        return b""


def marks_in(look: bytes) -> list[Marks]:
    """What `pack_look` packed, file by file.

    Raises:
        ValueError: It is something else.
    """
    numbers = array("q")
    numbers.frombytes(look[look.index(b"\0") + 1 :])
    columns = [iter(numbers)] * 5
    return [
        (size, mode & _MODE, mtime_ns, ctime_ns, inode)
        for size, mode, mtime_ns, ctime_ns, inode in zip(*columns, strict=True)
    ]


def known_of(manifest: Manifest, places: Places) -> Known:
    """What a snapshot says that its repository holds."""
    at = dict(zip(contents(manifest), places.at, strict=True))
    alone = [sha for sha, number in at.items() if number == 0]
    packs = {sha: places.packs[number - 1] if number else None for sha, number in at.items()}
    return Known(packs, dict(zip(alone, places.stored, strict=True)))


def write_memory(repository: str, record: str, stock: Stock) -> bytes:
    """The form in which a snapshot is remembered.

    Args:
        repository: Id of the repository.
        record: Id of the snapshot.
        stock: What it is put together from.
    """
    parts = [(unit.look, unit.rows, unit.at, unit.stored) for unit in stock.units]
    value: dict[str, Value] = {
        "format": _FORMAT,
        "repository": repository,
        "record": record,
        "distinct": stock.distinct,
        "packs": [
            [pack.name, pack.stored, pack.size, live] for pack, live in zip(stock.packs, stock.live, strict=True)
        ],
        "units": [
            [unit.name, unit.files, unit.size, *map(len, four)] for unit, four in zip(stock.units, parts, strict=True)
        ],
    }
    body = b"".join((canonical(value), b"\n", *(part for four in parts for part in four)))
    return digest(body).encode() + b"\n" + body


def read_memory(data: bytes, repository: str) -> Memory | None:
    """Read what was remembered; None if it is damaged or of another repository.

    Args:
        data: What `write_memory` gave.
        repository: Id of the repository.
    """
    begin = data.find(b"\n") + 1
    with memoryview(data) as view:
        if digest(view[begin:]).encode() != data[: begin - 1]:
            return None
    try:
        end = data.index(b"\n", begin)
        value: Any = json.loads(data[begin:end])
        if value["format"] != _FORMAT or value["repository"] != repository:
            return None
        ends = accumulate(size for fields in value["units"] for size in fields[3:7])
        cuts = [end + 1 + cut for cut in (0, *ends)]
        parts = iter([data[begin:end] for begin, end in pairwise(cuts)])
        units = tuple(
            Unit(name, files, size, next(parts), next(parts), next(parts), next(parts))
            for name, files, size, *_ in value["units"]
        )
        packs = tuple(Pack(name, stored, size) for name, stored, size, _ in value["packs"])
        live = tuple(one[3] for one in value["packs"])
        return Memory(value["record"], Stock(units, packs, live, value["distinct"]))
    except (ValueError, TypeError, KeyError, IndexError, StopIteration, RuntimeError):
        return None


def _look(begin: int, entries: Sequence[Entry], marks: Mapping[str, Marks], before_ns: int) -> bytes:
    """What files looked like when they were found, for the next time: a look that nothing can have where it is not believed."""
    numbers: list[int] = []
    for entry in entries:
        size, mode, mtime_ns, ctime_ns, inode = marks.get(entry.name, (-1,) * 5)
        ctime_ns = ctime_ns if ctime_ns < before_ns else -1
        numbers += (size, mode | _REGULAR, mtime_ns, ctime_ns, inode)
    return pack_look([entry.name[begin:] for entry in entries], numbers)


def _numbers(text: bytes) -> list[int]:
    return [*map(int, text.split(b","))] if text else []
