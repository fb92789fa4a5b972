"""Writes a snapshot's archive in one pass.

Knows:     how files become members while they are read, and how reading and writing go on at the same time.
Called by: `flows.snapshot`.
Never:     lets a member into the archive that changed while it was read; reads anything twice unless it changed.
Source:    speed: one thread reads and hashes files, another hashes and writes the archive; hashlib, write(2) and zstd let go of the
           interpreter's lock. zstd with workers gives the same bytes for any number of them, but not those it gives without
           (zstd.h, ZSTD_c_nbWorkers), so their number is fixed.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from go_cache_safeguard.snapshot.archive import specials, sums
from go_cache_safeguard.snapshot.capture import IN_MEMORY, Found, Reader
from go_cache_safeguard.snapshot.manifest import Entry, Kind, Manifest, Skipped, make_manifest
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


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written.

    Attributes:
        manifest: What it holds.
        sha256: Of the whole file.
        size: Bytes of it.
    """

    manifest: Manifest
    sha256: str
    size: int


def pack(
    target: int,
    root: Root,
    kind: Kind,
    found: Sequence[Found],
    skipped: Sequence[Skipped],
    *,
    compress: bool,
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
        scratch: A directory for a nameless file, as large as the largest one in the cache.
        progress: Told how far it is.
        stop: Asked between two files.

    Raises:
        KeyboardInterrupt: `stop` said yes.
        OSError: The target or the scratch file cannot be written.
    """
    out = _Out(target, compress=compress)
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
    return Packed(manifest, out.sha.hexdigest(), out.size)


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
    """The file, on a thread of its own."""

    def __init__(self, fd: int, *, compress: bool) -> None:
        self.sha = sha256()
        self.size = 0
        self._sent = 0
        self._fd = fd
        self._frame = _frame() if compress else None

    def take(self, piece: bytearray, used: int) -> bytearray:
        """Write a piece. It is given back, to be used again."""
        with memoryview(piece) as whole, whole[:used] as data:
            self._write(data if self._frame is None else self._frame.compress(data))
        return piece

    def end(self) -> None:
        if self._frame is not None:
            self._write(self._frame.flush())

    def _write(self, data: memoryview | bytes) -> None:
        self.sha.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        if self.size - self._sent >= _SEND:
            # The disk begins now, so that little is left to wait for in the end. A pipe or a device does not know this.
            with suppress(OSError):
                os.posix_fadvise(self._fd, self._sent, self.size - self._sent, os.POSIX_FADV_DONTNEED)
            self._sent = self.size


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
