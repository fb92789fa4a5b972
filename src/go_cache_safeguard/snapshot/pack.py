"""Writes a snapshot's archive in one pass.

Knows:     how files become members while they are read, and how several are read, hashed and written at the same time.
Called by: `flows.snapshot`.
Never:     lets a member into the archive that changed while it was read; reads anything twice unless it changed.
Source:    speed: hashlib, pwrite(2) and zstd let go of the interpreter's lock. Without compression the listing says where each member
           will begin, so every thread reads, hashes and writes for itself, while the bytes are in its processor's cache. With
           compression one thread reads and hashes files, and another one compresses and writes. zstd with workers gives the same bytes for any number of them, but not those it gives without
           (zstd.h, ZSTD_c_nbWorkers), so their number is fixed.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from go_cache_safeguard.core.digests import digests
from go_cache_safeguard.snapshot.archive import specials, sums
from go_cache_safeguard.snapshot.capture import IN_MEMORY, Changed, Found, Reader
from go_cache_safeguard.snapshot.manifest import Entry, Kind, Manifest, Skipped, make_manifest
from go_cache_safeguard.snapshot.outfile import end_at
from go_cache_safeguard.snapshot.pax import BLOCK, FILES, Member, encode, padded, padding, trailer
from go_cache_safeguard.snapshot.zframe import WINDOW_LOG
from go_cache_safeguard.tree.root import Root

if TYPE_CHECKING:
    from zstandard import ZstdCompressionObj

Progress: TypeAlias = Callable[[int, int], None]
"""Told files and bytes done so far."""
Stop: TypeAlias = Callable[[], bool]
"""Asked between two files whether to end early."""

LEVEL = 3
"""zstd's own default."""
WORKERS = 2

_ROOM = IN_MEMORY + (16 << 10)
"""bytes of a piece of memory: any file that is read into memory, with its header."""
_ENOUGH = 1 << 20
"""bytes after which a piece is handed on: it is still in the processor's cache then."""
_PIECES = 4
_SEND = 32 << 20
"""bytes after which the disk is asked to begin."""
_TELL_EVERY = 64
_LANES = 2
_AHEAD = 64
"""portions that are begun before the first of them is done: one may be a large file, and the others go on."""
_LANE_ROOM = 2 * _ENOUGH + (16 << 10)
"""bytes of a lane's memory: a portion that was not full yet, and the last file of it with its header."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written.

    Attributes:
        manifest: What it holds.
        sha256: Of the whole file; None if nobody asked for it.
        size: Bytes of it.
    """

    manifest: Manifest
    sha256: str | None
    size: int


def pack(
    target: int,
    root: Root,
    kind: Kind,
    found: Sequence[Found],
    skipped: Sequence[Skipped],
    *,
    compress: bool,
    digest: bool = False,
    scratch: Path,
    progress: Progress,
    stop: Stop,
) -> Packed:
    """Write an archive.

    Args:
        target: An empty file, open for writing.
        root: The open cache.
        kind: Which cache it is.
        found: What to put into it, in a manifest's order.
        skipped: What the walk left out.
        compress: Whether to write a zstd frame.
        digest: Whether to hash the whole file, too; that is a third of the work.
        scratch: A directory for a nameless file, as large as the largest one in the cache.
        progress: Told how far it is.
        stop: Asked between two files.

    Raises:
        KeyboardInterrupt: `stop` said yes.
        OSError: The target or the scratch file cannot be written.
    """
    if not compress:
        return _pack_plain(
            target, root, kind, found, skipped, digest=digest, scratch=scratch, progress=progress, stop=stop
        )
    out = _Out(target, digest=digest)
    entries: list[Entry] = []
    left_out = list(skipped)
    with ThreadPoolExecutor(1) as other, Reader(root) as reader, tempfile.TemporaryFile(dir=scratch) as spool:
        pieces = _Pieces(out, other)
        size = 0
        for number, one in enumerate(found):
            if stop():
                raise KeyboardInterrupt
            got = _add(one, reader, pieces, spool.fileno())
            if isinstance(got, Entry):
                entries.append(got)
                size += got.size
            else:
                left_out.append(got)
            if number % _TELL_EVERY == 0:
                progress(number, size)
        manifest = make_manifest(kind, entries, left_out)
        for member, data in zip(specials(manifest), (manifest.data, sums(manifest)), strict=True):
            pieces.put(encode(member) + data + padding(len(data)))
        pieces.put(trailer(pieces.position))
        pieces.end()
    out.end()
    return Packed(manifest, out.sha.hexdigest() if out.sha else None, out.size)


def _pack_plain(
    target: int,
    root: Root,
    kind: Kind,
    found: Sequence[Found],
    skipped: Sequence[Skipped],
    *,
    digest: bool,
    scratch: Path,
    progress: Progress,
    stop: Stop,
) -> Packed:
    with ExitStack() as open_:
        digester = open_.enter_context(_Digester(target)) if digest else None
        lanes = _Lanes(target, root, scratch, digester, progress=progress, stop=stop)
        lanes.write(found)
        manifest = make_manifest(kind, lanes.entries, [*skipped, *lanes.skipped])
        for member, data in zip(specials(manifest), (manifest.data, sums(manifest)), strict=True):
            lanes.append(encode(member) + data + padding(len(data)))
        lanes.append(trailer(lanes.position))
        end_at(target, lanes.position)
        return Packed(manifest, digester.end(lanes.position) if digester else None, lanes.position)


def least_bytes(found: Sequence[Found], *, compress: bool) -> int:
    """Bytes that the disk must have free, at least: of a compressed archive a quarter, for more cannot be known before."""
    names = sum(len(one.name) for one in found)
    plain = sum(padded(one.size) for one in found) + (3 * BLOCK + 300) * len(found) + 2 * names
    largest = max((one.size for one in found if one.size > IN_MEMORY), default=0)
    return (plain // 4 if compress else plain) + largest


def _add(found: Found, reader: Reader, pieces: "_Pieces", spool: int) -> Entry | Skipped:
    if found.size > IN_MEMORY:
        return _add_large(found, reader, pieces, spool)
    got = reader.read(found, lambda now: pieces.room(_header(now), now.size))
    if isinstance(got, Entry):
        pieces.commit()
    return got


def _add_large(found: Found, reader: Reader, pieces: "_Pieces", spool: int) -> Entry | Skipped:
    """A file that may change while it is read does not go into the archive before it was read whole."""
    got = reader.copy(found, spool)
    if isinstance(got, Skipped):
        return got
    pieces.put(_header(got))
    for at in range(0, got.size, _ENOUGH):
        room = pieces.room(b"", min(_ENOUGH, got.size - at))
        if os.preadv(spool, [room], at) != len(room):
            raise OSError(0, "a file of our own has lost its end")
        pieces.commit()
    return got


def _header(one: Found | Entry) -> bytes:
    return encode(Member(FILES + one.name, one.size, one.mode, one.mtime_ns))


class _Out:
    """The file of a compressed archive, on a thread of its own."""

    def __init__(self, fd: int, *, digest: bool) -> None:
        self.sha = sha256() if digest else None
        self.size = 0
        self._sent = 0
        self._fd = fd
        self._frame = _frame()

    def take(self, piece: bytearray, used: int) -> bytearray:
        """Write a piece. It is given back, to be used again."""
        with memoryview(piece) as whole, whole[:used] as data:
            self._write(self._frame.compress(data))
        return piece

    def end(self) -> None:
        self._write(self._frame.flush())

    def _write(self, data: bytes) -> None:
        if self.sha:
            self.sha.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        if self.size - self._sent >= _SEND:
            _begin_disk(self._fd, self._sent, self.size)
            self._sent = self.size


def _begin_disk(fd: int, begin: int, end: int) -> None:
    """The disk begins now, so that little is left to wait for in the end. A pipe or a device does not know this."""
    with suppress(OSError):
        os.posix_fadvise(fd, begin, end - begin, os.POSIX_FADV_DONTNEED)


def _frame() -> "ZstdCompressionObj":
    from zstandard import ZstdCompressionParameters, ZstdCompressor  # noqa: PLC0415 - loaded only for packed archives

    parameters = ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, threads=WORKERS, write_checksum=True, write_content_size=False
    )
    return ZstdCompressor(compression_params=parameters).compressobj()


class _Pieces:
    """Memory that is filled here and written there.

    Attributes:
        position: Bytes of the tar so far.
    """

    def __init__(self, out: _Out, other: ThreadPoolExecutor) -> None:
        self.position = 0
        self._out, self._other = out, other
        self._writing: deque[Future[bytearray]] = deque()
        self._spare = [bytearray(_ROOM) for _ in range(_PIECES - 1)]
        self._piece = bytearray(_ROOM)
        self._view = memoryview(self._piece)
        self._used = self._end = 0

    def room(self, header: bytes, size: int) -> memoryview:
        """Memory for a member's content; it counts when `commit` is called, and is forgotten when `room` is called again."""
        if self._used + len(header) + padded(size) > _ROOM:
            self._hand_on()
        begin = self._used + len(header)
        self._end = begin + padded(size)
        self._view[self._used : begin] = header
        self._view[begin + size : self._end] = bytes(self._end - begin - size)
        return self._view[begin : begin + size]

    def commit(self) -> None:
        """What was asked room for last belongs to the archive."""
        self.position += self._end - self._used
        self._used = self._end
        if self._used >= _ENOUGH:
            self._hand_on()

    def put(self, data: bytes) -> None:
        """Bytes that are in memory already, whole blocks."""
        for at in range(0, len(data), _ENOUGH):
            part = data[at : at + _ENOUGH]
            self.room(part, 0)
            self.commit()

    def end(self) -> None:
        """Wait until all is written."""
        self._hand_on()
        while self._writing:
            self._writing.popleft().result()

    def _hand_on(self) -> None:
        self._view.release()
        self._writing.append(self._other.submit(self._out.take, self._piece, self._used))
        self._piece = self._spare.pop() if self._spare else self._writing.popleft().result()
        self._view = memoryview(self._piece)
        self._used = self._end = 0


class _Lanes:
    """Writes members that are not compressed, several portions at once: where each one begins follows from the listing.

    What turns out to be other than it was listed is written by itself, and what comes after it is laid out anew.
    """

    def __init__(
        self, fd: int, root: Root, scratch: Path, digester: "_Digester | None", *, progress: Progress, stop: Stop
    ) -> None:
        self.entries: list[Entry] = []
        self.skipped: list[Skipped] = []
        self.position = 0
        self.size = 0
        self._fd, self._root, self._scratch = fd, root, scratch
        self._progress, self._stop = progress, stop
        self._digester = digester
        self._idle: SimpleQueue[_Lane] = SimpleQueue()
        self._sent = 0

    def write(self, found: Sequence[Found]) -> None:
        """Write the members of some files, in their order."""
        with ExitStack() as open_, ThreadPoolExecutor(_LANES) as pool:
            for _ in range(_LANES + 1):
                self._idle.put(_Lane(self._fd, open_.enter_context(Reader(self._root))))
            done = 0
            while done < len(found):
                done += self._many(found[done:], pool)
                if done < len(found):
                    self._one(found[done])
                    done += 1

    def append(self, data: bytes) -> None:
        """Write whole blocks."""
        _write_at(self._fd, data, self.position)
        self.position += len(data)

    def _many(self, found: Sequence[Found], pool: ThreadPoolExecutor) -> int:
        """Write members until one is not as it was listed. Returns how many."""
        waiting: deque[tuple[_Portion, Future[list[Entry]]]] = deque()
        portions = _portions(found, self.position)
        written = 0
        try:
            while True:
                # The beginning comes first: by it `outfile` knows what a dead process left.
                while len(waiting) < (_AHEAD if self.position else 1) and (portion := next(portions, None)) is not None:
                    waiting.append((portion, pool.submit(self._lane, portion)))
                if not waiting:
                    return written
                portion, future = waiting.popleft()
                entries = future.result()
                written += len(entries)
                self._took(entries)
                if len(entries) < len(portion.members):
                    return written
                self._send()
        finally:
            for _, future in waiting:
                future.cancel()
            wait([future for _, future in waiting])

    def _lane(self, portion: "_Portion") -> list[Entry]:
        lane = self._idle.get()
        try:
            return lane.write(portion)
        finally:
            self._idle.put(lane)

    def _took(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self._stop():
                raise KeyboardInterrupt
            self.entries.append(entry)
            self.size += entry.size
            self.position += len(_header(entry)) + padded(entry.size)
        self._progress(len(self.entries), self.size)

    def _one(self, found: Found) -> None:
        """A file that is not what it was goes into a file of ours first: nothing is known of it before it was read whole."""
        lane = self._idle.get()
        try:
            with tempfile.TemporaryFile(dir=self._scratch) as spool:
                got = lane.reader.copy(found, spool.fileno())
                if isinstance(got, Skipped):
                    self.skipped.append(got)
                    return
                begin = self.position
                self.append(_header(got))
                for at in range(0, got.size, _ENOUGH):
                    self.append(os.pread(spool.fileno(), min(_ENOUGH, got.size - at), at))
                self.append(padding(got.size))
                if self.position != begin + len(_header(got)) + padded(got.size):
                    raise OSError(0, "a file of our own has lost its end")
                self.position = begin
                self._took([got])
        finally:
            self._idle.put(lane)

    def _send(self) -> None:
        """What is final can go to the disk."""
        if self.position - self._sent >= _SEND:
            if self._digester is None:
                _begin_disk(self._fd, self._sent, self.position)
            else:
                self._digester.follow(self.position)
            self._sent = self.position


class _Digester:
    """Hashes what was written, as far as it is final, on a thread of its own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sha = sha256()
        self._begun = 0
        self._memory = memoryview(bytearray(_ENOUGH))
        self._other = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._other.shutdown(cancel_futures=True)

    def follow(self, until: int) -> None:
        """Everything up to here is final."""
        self._last = self._other.submit(self._hash, self._begun, until)
        self._begun = until

    def end(self, size: int) -> str:
        """The hash of all."""
        self.follow(size)
        if self._last is not None:
            self._last.result()
        return self._sha.hexdigest()

    def _hash(self, begin: int, end: int) -> None:
        at = begin
        while at < end:
            got = os.preadv(self._fd, [self._memory[: end - at]], at)
            if not got:
                raise OSError(0, "a file of our own has lost its end")
            self._sha.update(self._memory[:got])
            at += got
        _begin_disk(self._fd, begin, end)


class _Portion(NamedTuple):
    """Members that one thread writes.

    Attributes:
        begin: Where in the archive.
        members: Files, each with its header.
    """

    begin: int
    members: list[tuple[Found, bytes]]


class _Lane:
    """What one thread works with."""

    def __init__(self, fd: int, reader: Reader) -> None:
        self.reader = reader
        self._fd = fd
        self._memory = memoryview(bytearray(_LANE_ROOM))

    def write(self, portion: _Portion) -> list[Entry]:
        """Write the members of a portion, until one is not as it was listed. Returns those that were written."""
        try:
            if portion.members[0][0].size > _ENOUGH:
                return self._pour(portion)
            return self._fill(portion)
        except Changed:
            return []

    def _pour(self, portion: _Portion) -> list[Entry]:
        ((found, header),) = portion.members
        begin = portion.begin + len(header)
        _write_at(self._fd, header, portion.begin)
        got = self.reader.read_as(found, lambda piece, at: _write_at(self._fd, piece, begin + at))
        _write_at(self._fd, padding(found.size), begin + found.size)
        return [got] if isinstance(got, Entry) else []

    def _fill(self, portion: _Portion) -> list[Entry]:
        entries: list[Entry] = []
        contents: list[memoryview] = []
        used = 0
        for found, header in portion.members:
            begin = used + len(header)
            room = self._memory[begin : begin + found.size]

            def take(now: Found, found: Found = found, room: memoryview = room) -> memoryview:
                if now[:4] != found[:4]:
                    raise Changed
                return room

            try:
                got = self.reader.fetch(found, take, IN_MEMORY)
            except Changed:
                break
            if not isinstance(got, Entry):
                break
            self._memory[used:begin] = header
            used = begin + padded(found.size)
            self._memory[begin + found.size : used] = padding(found.size)
            entries.append(got)
            contents.append(room)
        hashes = digests(contents)
        _write_at(self._fd, self._memory[:used], portion.begin)
        return [Entry(*entry[:4], sha.hex()) for entry, sha in zip(entries, hashes, strict=True)]


def _portions(found: Iterable[Found], begin: int) -> Iterator[_Portion]:
    members: list[tuple[Found, bytes]] = []
    size = 0
    for one in found:
        header = _header(one)
        if members and (size >= _ENOUGH or one.size > _ENOUGH):
            yield _Portion(begin, members)
            begin, members, size = begin + size, [], 0
        members.append((one, header))
        size += len(header) + padded(one.size)
        if one.size > _ENOUGH:
            yield _Portion(begin, members)
            begin, members, size = begin + size, [], 0
    if members:
        yield _Portion(begin, members)


def _write_at(fd: int, data: memoryview | bytes, position: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(fd, left, position)
        left, position = left[done:], position + done
