"""Puts a cache into a repository: reads only what changed, stores only what is not there.

Knows:     which files must be read, in what portions they are read, sealed and stored, and in which order things become visible.
Called by: `flows.repository`.
Never:     stores a content twice, or lets a snapshot's record be seen before everything that it needs is durable.

Order: contents, packs, manifest, places, signature; made durable; then the record. Whatever ends us before leaves objects that no
snapshot needs, which a prune removes.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from threading import Lock, Semaphore
from typing import TypeAlias

from go_cache_safeguard.core.canonical import digest
from go_cache_safeguard.core.digests import digests
from go_cache_safeguard.snapshot.bundle import COUNT_LIMIT, PACK, PACK_LIMIT, SMALL, Buffer, Sealer
from go_cache_safeguard.snapshot.capture import Found, Reader, Surveyed
from go_cache_safeguard.snapshot.depot import IN_MEMORY, Depot, each
from go_cache_safeguard.snapshot.manifest import Entry, Kind, Manifest, Skipped, make_manifest, order
from go_cache_safeguard.snapshot.memory import INODE, Drawing, Known, Marks, Memory, Recalled, Stock, stand_in, unit_of
from go_cache_safeguard.snapshot.record import Pack, Record
from go_cache_safeguard.snapshot.repository import (
    data_name,
    manifest_name,
    pack_name,
    places_name,
    record_name,
    signature_name,
)
from go_cache_safeguard.snapshot.store import Store
from go_cache_safeguard.snapshot.turns import Turn
from go_cache_safeguard.tree.root import Root

Progress: TypeAlias = Callable[[int, int], None]
"""Told files and bytes read so far."""

_AT_ONCE = 64 << 20
"""bytes of files that all threads together read before they hash them side by side, each its share."""
_PORTION_FILES = 512
_LARGE = 8 << 20
"""bytes: of files that are larger only two are in memory at once."""
_LIVELY = 0.5
"""A pack of which a snapshot needs a smaller part is not used any more: what is needed of it goes into a new pack, so that the old one
can be pruned as a whole some day."""
_SLIM, _SLIM_COUNT = PACK // 4, 16
"""Nor are small packs, once there are so many: each snapshot adds one."""


@dataclass(frozen=True)
class Deposited:
    """Everything is stored, nothing is recorded.

    Attributes:
        stock: Every file, and where its content lies.
        skipped: What was left out, in order.
        manifest: Root of the manifest.
        places: SHA-256 of its `Places`.
        read: Files that had to be read.
        objects: Objects that were stored.
        added: Bytes of these.
    """

    stock: Stock
    skipped: tuple[Skipped, ...]
    manifest: str
    places: str
    read: int
    objects: int
    added: int


def deposit(
    depot: Depot,
    root: Root,
    kind: Kind,
    survey: Sequence[Surveyed],
    *,
    skipped: Iterable[Skipped],
    whole: bool,
    memory: Memory | None,
    known: Known,
    level: int,
    read_ns: int,
    progress: Progress,
) -> Deposited:
    """Store what a repository does not have of some files, with their manifest.

    Args:
        depot: The repository.
        root: The open cache.
        kind: Which cache it is.
        survey: What to copy, in a manifest's order; without its files what looks as the memory says.
        skipped: What was left out already.
        whole: Whether these are all files of the cache, so that what they need of a pack says how much of it is still worth keeping.
        memory: The last snapshot of this cache, or None.
        known: Without a memory: contents that the repository has, and keeps while we work.
        level: Of zstd; 0 for none.
        read_ns: When looking at the files began, nanoseconds since 1970-01-01 UTC.
        progress: Told how far it is.

    Raises:
        StoreFailed: Something could not be stored; then there is no snapshot.
    """
    plan = _plan(survey, memory, known, whole=whole)
    work = _Work(depot.store, root, level, plan.held)
    entries, left_out = list(plan.entries), list(skipped)
    # Left from the inside: first nobody reads any more, then what they read with is closed.
    todo = _portions(plan.to_read, _share(depot.store))
    with work, closing(each(todo, work.portion, threads=_threads(depot.store))) as portions:
        done = size = 0
        for portion, read in portions:
            entries += (one for one in read if isinstance(one, Entry))
            left_out += (one for one in read if isinstance(one, Skipped))
            done, size = done + len(portion), size + sum(found.size for found in portion)
            progress(done, size)
        work.close()
    stock = _draw(make_manifest(kind, entries), plan, work, depot.store.flush(), read_ns)
    gone = tuple(sorted(left_out, key=lambda one: order(one.name)))
    manifest, places = stock.manifest(kind, gone), stock.places()
    names = digest(manifest), digest(places)
    sealer = Sealer(level or 1)
    for name, data in ((manifest_name(names[0]), manifest), (places_name(names[1]), places)):
        sealed = sealer.seal(data)
        depot.store.stage(name, sealed)
        work.added += len(sealed)
    depot.store.flush()
    return Deposited(stock, gone, *names, len(plan.to_read), work.objects + 2, work.added)


def publish(depot: Depot, turn: Turn, record: Record, signature: bytes | None) -> None:
    """Make a snapshot visible: the last thing that is stored.

    Args:
        depot: The repository.
        turn: Our announcement.
        record: The snapshot; everything that it names is stored.
        signature: Of the record, or None.

    Raises:
        TurnLost: A prune may have thought us dead; then there is no snapshot.
        StoreFailed: The record could not be stored.
    """
    turn.check()
    if signature is not None:
        depot.store.stage(signature_name(record.id), signature)
        depot.store.flush()
    depot.store.stage(record_name(record.id), record.data)
    depot.store.flush()
    try:
        turn.check()
    except BaseException:
        # Somebody may have removed what we rely on, between the first look and the record.
        depot.store.delete([record_name(record.id)])
        raise


def _threads(store: Store) -> int:
    """One more than there are processors: one waits for the disk now and then."""
    return min(8, 1 + (os.cpu_count() or 1)) if store.local else 8


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to do for a snapshot.

    Attributes:
        memory: The last snapshot, or None.
        same: Names of units that are as they were; only where every file has another content.
        order: Names of all units.
        files: By name every file of the other units.
        entries: Of those that need not be read.
        to_read: Those that must be.
        recalled: Of the memory everything but what is the same.
        held: Contents that the repository holds, as far as they are recalled.
    """

    memory: Memory | None
    same: frozenset[str]
    order: tuple[str, ...]
    files: Mapping[str, Found]
    entries: tuple[Entry, ...]
    to_read: tuple[Found, ...]
    recalled: Recalled
    held: Known


def _plan(survey: Sequence[Surveyed], memory: Memory | None, known: Known, *, whole: bool) -> _Plan:
    same = frozenset(name for name, files in survey if files is None)
    units = [] if memory is None else [unit.name for unit in memory.stock.units]
    recalled = Recalled({}, {}, known) if memory is None else memory.recall(set(units) - same if whole else units)
    files = {found.name: found for _, some in survey for found in some or ()}
    held = recalled.known
    if whole and memory is not None:
        thin = _thin_packs(memory.stock if same else None, recalled, files)
        if thin and same:
            return _plan(_unpacked(survey, memory), memory, known, whole=whole)
        if thin:
            packs = {sha: pack for sha, pack in held.packs.items() if pack is None or pack.name not in thin}
            held = replace(held, packs=packs)
    entries, to_read = _remembered(files.values(), recalled, held)
    return _Plan(memory, same, tuple(name for name, _ in survey), files, entries, to_read, recalled, held)


def _unpacked(survey: Sequence[Surveyed], memory: Memory) -> list[Surveyed]:
    """A survey that has every file."""
    everything = memory.recall([unit.name for unit in memory.stock.units])
    looked: dict[str, list[Found]] = {}
    for name, (size, mode, mtime_ns, ctime_ns, ino) in everything.marks.items():
        looked.setdefault(unit_of(name), []).append(Found(name, size, mode, mtime_ns, ctime_ns, ino))
    return [(name, looked[name] if files is None else files) for name, files in survey]


def _remembered(files: Iterable[Found], recalled: Recalled, held: Known) -> tuple[tuple[Entry, ...], tuple[Found, ...]]:
    """Entries of files that need not be read, and the files that must be."""
    entries, to_read = [], []
    for found in files:
        entry = recalled.entries.get(found.name)
        if entry is not None and entry.sha256 in held.packs and recalled.marks.get(found.name) == _marks(found):
            entries.append(Entry(found.name, found.size, found.mode, found.mtime_ns, entry.sha256))
        else:
            to_read.append(found)
    return tuple(entries), tuple(to_read)


def _marks(found: Found) -> Marks:
    return found.size, found.mode, found.mtime_ns, found.ctime_ns, found.ino & INODE


def _thin_packs(stock: Stock | None, recalled: Recalled, files: Mapping[str, Found]) -> set[str]:
    """Packs of which this snapshot would use too little.

    Args:
        stock: When some units are the same: the last snapshot, which they are a part of.
        recalled: The other units.
        files: What is there now of these.
    """
    live: Counter[str] = Counter()
    packs = {pack.name: pack for pack in recalled.known.packs.values() if pack is not None}
    if stock is not None:
        packs = {pack.name: pack for pack in stock.packs}
        live.update(dict(zip(packs, stock.live, strict=True)))
    counted: set[str] = set()
    for name, entry in recalled.entries.items():
        pack = recalled.known.packs.get(entry.sha256)
        if pack is not None:
            if stock is not None:
                live[pack.name] -= entry.size or 1
            if name in files and entry.sha256 not in counted:
                counted.add(entry.sha256)
                live[pack.name] += files[name].size or 1
    thin = {name for name, pack in packs.items() if live[name] < _LIVELY * pack.size}
    slim = {name for name, pack in packs.items() if pack.size < _SLIM}
    return thin | slim if len(slim) > _SLIM_COUNT else thin


def _draw(manifest: Manifest, plan: _Plan, work: "_Work", existing: Mapping[str, int], read_ns: int) -> Stock:
    """Put a snapshot together from the units that are the same and the entries of the others."""
    marks = {name: _marks(found) for name, found in plan.files.items()}
    known = plan.held

    def where(sha: str) -> Pack | int:
        if sha in work.alone:
            return existing.get(data_name(sha), work.alone[sha])
        if sha in work.packed:
            pack = work.packed[sha]
            return replace(pack, stored=existing.get(pack_name(pack.name), pack.stored))
        return known.packs[sha] or known.stored[sha]

    grouped = {name: list(some) for name, some in groupby(manifest.entries, lambda entry: unit_of(entry.name))}
    if plan.memory is not None and plan.same:
        drawing = Drawing(where, read_ns, plan.memory.stock)
        drawing.forget(plan.recalled.entries.values(), plan.recalled.known)
        kept = {unit.name: unit for unit in plan.memory.stock.units if unit.name in plan.same}
        for name in plan.order:
            if name in kept:
                drawing.keep(kept[name])
            elif name in grouped:
                drawing.add(name, grouped[name], marks)
        stock = drawing.done()
        fresh = {entry.sha256 for entry in manifest.entries} - {one.sha256 for one in plan.recalled.entries.values()}
        if stock.distinct and all(stock.live) and not (fresh and stand_in(kept.values(), fresh)):
            return stock
        # A content stands twice, or a pack is not used any more: so nothing can be taken over as it is.
        recalled = plan.memory.recall([unit.name for unit in plan.memory.stock.units])
        known = recalled.known
        marks = {**recalled.marks, **marks}
        old = (entry for name, entry in recalled.entries.items() if unit_of(name) in plan.same)
        entries = make_manifest(manifest.kind, [*manifest.entries, *old]).entries
        grouped = {name: list(some) for name, some in groupby(entries, lambda entry: unit_of(entry.name))}
    drawing = Drawing(where, read_ns)
    for name, some in grouped.items():
        drawing.add(name, some, marks)
    return drawing.done()


def _share(store: Store) -> int:
    """Bytes that one thread reads before it hashes them."""
    return _AT_ONCE // _threads(store)


def _portions(files: Sequence[Found], most: int) -> list[list[Found]]:
    """Files that one thread reads together.

    Small ones are neighbours in a directory, of which nearly all work is to open them. Larger ones are alike in size, because
    they are hashed side by side, and the largest come first, so that all threads end together. Both kinds take turns: the
    one needs the interpreter, and the other does not.
    """
    small = [found for found in files if found.size <= SMALL]
    large = sorted((found for found in files if found.size > SMALL), key=lambda found: -found.size)
    kinds = [list(_cut(some, most)) for some in (large, small)]
    turns = [(at / len(portions), portion) for portions in kinds for at, portion in enumerate(portions)]
    return [portion for _, portion in sorted(turns, key=itemgetter(0))]


def _cut(files: Iterable[Found], most: int) -> Iterator[list[Found]]:
    """Portions of at most so many bytes, or of one file."""
    portion: list[Found] = []
    size = 0
    for found in files:
        if portion and (size + found.size > most or len(portion) >= _PORTION_FILES):
            yield portion
            portion, size = [], 0
        portion.append(found)
        size += found.size
    if portion:
        yield portion


class _Work:
    """Several threads that read, seal and store.

    Attributes:
        packed: By SHA-256 the pack that now holds a content.
        alone: By SHA-256 the bytes as stored of an object of its own.
        objects: How many were stored.
        added: Bytes of these.
    """

    def __init__(self, store: Store, root: Root, level: int, known: Known) -> None:
        self.packed: dict[str, Pack] = {}
        self.alone: dict[str, int] = {}
        self.objects = self.added = 0
        self._store, self._root, self._level, self._known = store, root, level, known
        self._claimed: set[str] = set()
        self._lock = Lock()
        self._large = Semaphore(2)
        self._idle: SimpleQueue[_Tools] = SimpleQueue()
        self._open = ExitStack()
        self._packing = _Packing(self)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def portion(self, files: Sequence[Found]) -> list[Entry | Skipped]:
        """Read some files and store what is new of them."""
        tools = self._tools()
        with self._large if files[0].size > _LARGE else nullcontext():
            read = [self._copy(tools, found) for found in files if found.size > IN_MEMORY]
            read += self._read(tools, [found for found in files if found.size <= IN_MEMORY])
        self._idle.put(tools)
        return read

    def close(self) -> None:
        """Store what is left of the small ones."""
        self._packing.close(Sealer(self._level))

    def store(self, name: str, *parts: Buffer) -> int:
        """Store an object. Returns its bytes."""
        self._store.stage(name, *parts)
        size = sum(map(len, parts))
        self._count(size)
        return size

    def _read(self, tools: "_Tools", files: Sequence[Found]) -> list[Entry | Skipped]:
        fetched = [tools.fetch(found) for found in files]
        contents = [content for content, _ in fetched if content is not None]
        hashes = iter(digests(contents))
        read: list[Entry | Skipped] = []
        for content, one in fetched:
            if content is not None and isinstance(one, Entry):
                entry = Entry(one.name, one.size, one.mode, one.mtime_ns, next(hashes).hex())
                self._keep(tools.sealer, entry, content)
                read.append(entry)
            else:
                read.append(one)
        tools.forget()
        return read

    def _keep(self, sealer: Sealer, entry: Entry, content: memoryview) -> None:
        """Store a content that is not there."""
        if not self._is_new(entry.sha256):
            return
        if entry.size <= SMALL:
            self._packing.add(entry.sha256, bytes(content), sealer)
        else:
            self.alone[entry.sha256] = self.store(data_name(entry.sha256), *sealer.seal_parts(content))

    def _copy(self, tools: "_Tools", found: Found) -> Entry | Skipped:
        """A file that is too large for memory goes through a file of ours, so that what is stored is what was hashed."""
        sealer = tools.sealer
        with tempfile.TemporaryFile(dir=self._store.local) as copy:
            entry = tools.reader.copy(found, copy.fileno())
            if not isinstance(entry, Entry) or not self._is_new(entry.sha256):
                return entry
            size = 0

            def pieces() -> Iterator[bytes]:
                nonlocal size
                size = 0
                copy.seek(0)
                for piece in sealer.seal_pieces(iter(lambda: copy.read(1 << 20), b""), entry.size):
                    size += len(piece)
                    yield piece

            if entry.size <= SMALL:  # it shrank since it was listed
                copy.seek(0)
                self._packing.add(entry.sha256, copy.read(SMALL), sealer)
                return entry
            self._store.stage_pieces(data_name(entry.sha256), pieces)
            self.alone[entry.sha256] = size
            self._count(size)
            return entry

    def _tools(self) -> "_Tools":
        with self._lock:
            if self._idle.empty():
                return _Tools(self._open.enter_context(Reader(self._root)), Sealer(self._level), _share(self._store))
            return self._idle.get()

    def _is_new(self, sha256: str) -> bool:
        """Whether a content must be stored, and by whoever asks first."""
        if sha256 in self._known.packs:
            return False
        with self._lock:
            if sha256 in self._claimed:
                return False
            self._claimed.add(sha256)
            return True

    def _count(self, size: int) -> None:
        with self._lock:
            self.objects += 1
            self.added += size


class _Tools:
    """What one thread works with."""

    def __init__(self, reader: Reader, sealer: Sealer, most: int) -> None:
        self.reader, self.sealer = reader, sealer
        self._memory = memoryview(bytearray(most))
        self._used = 0
        self._given = self._memory[:0]

    def fetch(self, found: Found) -> tuple[memoryview | None, Entry | Skipped]:
        """Read a file. Its bytes are good until `forget` is called."""
        entry = self.reader.fetch(found, self._room, IN_MEMORY)
        if not isinstance(entry, Entry):
            return None, entry
        self._used += entry.size
        return self._given, entry

    def forget(self) -> None:
        """Give all memory free."""
        self._used = 0

    def _room(self, now: Found) -> memoryview:
        """Memory that is used again and again, for what is read next: new memory costs more than reading a file into it."""
        self._given = self._memory[self._used : self._used + now.size]
        if len(self._given) < now.size:
            self._given = memoryview(bytearray(now.size))
        return self._given


class _Packing:
    """Small contents on the way into packs, whichever thread read them."""

    def __init__(self, work: "_Work") -> None:
        self._work = work
        self._inside: dict[str, bytes] = {}
        self._size = 0
        self._lock = Lock()

    def add(self, sha256: str, content: bytes, sealer: Sealer) -> None:
        full: dict[str, bytes] = {}
        with self._lock:
            if self._size + len(content) > PACK_LIMIT or len(self._inside) >= COUNT_LIMIT:
                full, self._inside, self._size = self._inside, {}, 0
            self._inside[sha256] = content
            self._size += len(content)
        self._seal(full, sealer)

    def close(self, sealer: Sealer) -> None:
        self._seal(self._inside, sealer)
        self._inside = {}

    def _seal(self, inside: dict[str, bytes], sealer: Sealer) -> None:
        if not inside:
            return
        data = sealer.pack(inside)
        pack = Pack(digest(data), len(data), sum(map(len, inside.values())))
        self._work.store(pack_name(pack.name), data)
        self._work.packed |= dict.fromkeys(inside, pack)
