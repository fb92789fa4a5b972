"""Snapshots as one file, read without believing anything.

Knows:     the layout of an archive, and how to find a member in it.
Called by: `flows`; restore reads it as a `snapshot.source.Source`; `snapshot.pack` writes the same layout.
Never:     unpacks to a disk, or gives bytes of an archive whose headers and manifest do not agree.
Source:    the layout is described in docs/snapshots.md; RFC 8878 for zstd.

    snapshot/files/<name>       every entry, in the order of the manifest
    snapshot/MANIFEST.json      `Manifest.data`
    snapshot/SHA256SUMS         the same list for `sha256sum -c`
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeAlias

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.snapshot import pax, zframe
from go_cache_safeguard.snapshot.manifest import Entry, Manifest, checksums, order, parse_manifest
from go_cache_safeguard.snapshot.pax import BLOCK, FILES, MANIFEST, SUMS, TOP, Member, bad

if TYPE_CHECKING:
    from zstandard import ZstdDecompressionReader

Progress: TypeAlias = Callable[[int, int], None]
"""Told files and bytes done so far."""

_PIECE = 1 << 20
_NEAR = 4096
"""bytes read at once where block headers may stand close together."""
_MANIFEST_LIMIT = 1 << 30
"""bytes: a manifest that is larger is not read into memory."""
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class ArchiveUnreadable(Failure):
    """An archive cannot be read, so nothing is known about it."""

    id = "archive-unreadable"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "a snapshot's archive, or a file beside it, cannot be read"


class ArchiveSource:
    """An archive whose headers and manifest agree.

    Attributes:
        manifest: What it holds.
        manifest_data: The bytes of MANIFEST.json in it, which a signature covers.
    """

    def __init__(self, path: Path, parts: "_Parts") -> None:
        self.manifest = parts.manifest
        self.manifest_data = parts.manifest_data
        self._path = path
        self._starts = parts.starts

    @cached_property
    def _places(self) -> dict[str, int]:
        return {entry.name: at for at, entry in enumerate(self.manifest.entries)}

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Entries with their bytes, in the manifest's order; see `snapshot.source.Source`.

        Raises:
            KeyError: A name is not in the manifest.
            ArchiveBad: The archive ends early, or its zstd frame is damaged.
            ArchiveUnreadable: It cannot be read.
        """
        places = sorted({self._places[name] for name in wanted})
        return self._contents(places)

    def damaged(self, progress: Progress) -> Iterator[str]:
        """Names of entries whose bytes are not what the manifest says, or are not followed by empty ones: every byte is read.

        Headers, manifest, checksums and end were compared already when the archive was opened.

        Args:
            progress: Told files and bytes done so far.

        Raises:
            ArchiveBad: The archive ends early, or its zstd frame is damaged.
            ArchiveUnreadable: It cannot be read.
        """
        done = 0
        with _open(self._path) as stream:
            for number, (entry, start) in enumerate(zip(self.manifest.entries, self._starts, strict=False)):
                progress(number, done)
                stream.skip(start - stream.position)
                sha = sha256()
                for chunk in stream.chunks(entry.size):
                    sha.update(chunk)
                if any(stream.take(-entry.size % BLOCK)) or sha.hexdigest() != entry.sha256:
                    yield entry.name
                done += entry.size
            for member, start in zip(specials(self.manifest), self._starts[-2:], strict=True):
                stream.skip(start + member.size - stream.position)
                if any(stream.take(-member.size % BLOCK)):
                    yield member.name.removeprefix(TOP)

    def _contents(self, places: list[int]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        with _open(self._path) as stream:
            for place in places:
                entry, start = self.manifest.entries[place], self._starts[place]
                stream.skip(start - stream.position)
                yield entry, stream.chunks(entry.size)
                if stream.position > start + entry.size:
                    raise RuntimeError("chunks were taken after their entry")


@contextmanager
def open_archive(path: Path, *, progress: Progress | None = None) -> Iterator[ArchiveSource]:
    """Open an archive, find its manifest and compare all headers with it; contents are not hashed.

    Args:
        path: A `.tar` or `.tar.zst` that `snapshot create` wrote, whatever its name.
        progress: Told of members passed.

    Raises:
        ArchiveBad: It is anything else, damaged or incomplete.
        ManifestBad: Its manifest is none.
        ArchiveUnreadable: It cannot be read.
    """
    with _open(path) as stream:
        parts = _scan(stream, progress or (lambda _files, _size: None))
    yield ArchiveSource(path, parts)


@dataclass
class _Parts:
    """What a pass over the headers of an archive found."""

    members: list[Member] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    manifest_data: bytes = b""
    sums: bytes = b""

    @cached_property
    def manifest(self) -> Manifest:
        return parse_manifest(self.manifest_data)


class _Stream(Protocol):
    """Bytes of the tar, from its beginning."""

    position: int

    def take(self, size: int) -> bytes:
        """Exactly so many bytes, or all that are left."""

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""

    def chunks(self, size: int) -> Iterator[bytes]:
        """So many bytes, in pieces."""

    def room(self) -> int:
        """How many bytes can follow, at most."""


class _Plain:
    """A tar file."""

    def __init__(self, fd: int, size: int) -> None:
        self.position = 0
        self._fd, self._size = fd, size

    def take(self, size: int) -> bytes:
        with _told():
            data = os.pread(self._fd, size, self.position)
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        self.position += size

    def chunks(self, size: int) -> Iterator[bytes]:
        return _chunks(self, size)

    def room(self) -> int:
        return self._size - self.position


class _Packed:
    """A tar file in a zstd frame."""

    def __init__(self, reader: "ZstdDecompressionReader", holds: int) -> None:
        self.position = 0
        self._reader, self._holds = reader, holds

    def take(self, size: int) -> bytes:
        from zstandard import ZstdError  # noqa: PLC0415 - loaded only for packed archives

        pieces = []
        while size:
            try:
                with _told():
                    data = self._reader.read(min(size, _PIECE))
            except ZstdError as error:
                raise bad(f"its zstd frame is damaged: {error}") from error
            if not data:
                break
            self.position += len(data)
            size -= len(data)
            pieces.append(data)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        for _ in _chunks(self, size):
            pass

    def chunks(self, size: int) -> Iterator[bytes]:
        return _chunks(self, size)

    def room(self) -> int:
        return self._holds - self.position


def _chunks(stream: _Stream, size: int) -> Iterator[bytes]:
    while size:
        data = stream.take(min(size, _PIECE))
        if not data:
            raise bad("it ends early")
        size -= len(data)
        yield data


@contextmanager
def _open(path: Path) -> Iterator[_Stream]:
    with _told(f"{path} "):
        file = os.fdopen(os.open(path, _FILE), "rb", buffering=0)
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ArchiveUnreadable(f"{path} is no regular file", not_done="nothing was read")
        size = found.st_size
        with _told(f"{path} "):
            first = os.pread(file.fileno(), zframe.HEAD, 0)
        if not zframe.is_zstd(first):
            yield _Plain(file.fileno(), size)
            return
        holds = _measure_frame(file.fileno(), first, size)
        with _unpacking(file) as reader:
            yield _Packed(reader, holds)


@contextmanager
def _unpacking(file: IO[bytes]) -> Iterator["ZstdDecompressionReader"]:
    from zstandard import ZstdDecompressor  # noqa: PLC0415 - loaded only for packed archives

    with ZstdDecompressor(max_window_size=1 << zframe.WINDOW_LOG).stream_reader(file, closefd=False) as reader:
        yield reader


def _measure_frame(fd: int, first: bytes, size: int) -> int:
    """How many bytes the one frame of a file can hold; little more than block headers is read."""
    at, holds, last = zframe.head_size(first), 0, False
    near, start = b"", 0
    while not last:
        if not start <= at <= start + len(near) - zframe.BLOCK_HEAD:
            with _told():
                near, start = os.pread(fd, _NEAR, at), at
        block = zframe.parse_block(near[at - start : at - start + zframe.BLOCK_HEAD])
        at += zframe.BLOCK_HEAD + block.stored
        holds += block.holds
        last = block.last
    if at + zframe.CHECKSUM != size:
        raise bad("its zstd frame ends early" if at + zframe.CHECKSUM > size else "something follows its zstd frame")
    return holds


@contextmanager
def _told(what: str = "the archive ") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveUnreadable(
            f"{what}cannot be read: {error.strerror}", not_done="nothing was taken from it"
        ) from error


def _scan(stream: _Stream, progress: Progress) -> _Parts:
    """Pass over all headers, and compare them with the manifest."""
    parts = _Parts()
    while (member := _next_member(stream)) is not None:
        if member.size > stream.room():
            raise bad(f"{member.name!r} is cut off, or claims more than the file can hold")
        parts.members.append(member)
        parts.starts.append(stream.position)
        if member.name in {MANIFEST, SUMS}:
            _take_special(stream, member, parts)
        else:
            stream.skip(member.size)
        stream.skip(-member.size % BLOCK)
        progress(len(parts.members), stream.position)
    _refuse_rest(stream)
    _refuse_disagreement(parts)
    return parts


def _next_member(stream: _Stream) -> Member | None:
    first = stream.take(BLOCK)
    if first == bytes(BLOCK):
        return None
    if len(first) < BLOCK:
        raise bad("it ends early")
    size = pax.header_size(first)
    header = first + stream.take(size - BLOCK)
    if len(header) < size:
        raise bad("it ends early")
    return pax.decode(header)


def _take_special(stream: _Stream, member: Member, parts: _Parts) -> None:
    if member.size > _MANIFEST_LIMIT:
        raise bad(f"{member.name!r} is too large")
    data = stream.take(member.size)
    if len(data) < member.size:
        raise bad("it ends early")
    if member.name == MANIFEST:
        parts.manifest_data = data
    else:
        parts.sums = data


def _refuse_rest(stream: _Stream) -> None:
    """After the first empty block: another one, more up to a whole record, and nothing else."""
    rest = len(pax.trailer(stream.position - BLOCK)) - BLOCK
    data = stream.take(rest + 1)
    if len(data) < rest:
        raise bad("it ends early")
    if data != bytes(rest):
        raise bad("something follows its end")


def _refuse_disagreement(parts: _Parts) -> None:
    names = [member.name for member in parts.members]
    if names[-2:] != [MANIFEST, SUMS]:
        raise bad("it does not end with a manifest and its checksums")
    for before, name in pairwise(names[:-2]):
        if order(name) <= order(before):
            raise bad(f"{name!r} stands twice or in the wrong place")
    if parts.members != layout(parts.manifest):
        raise bad("its members are not those that its manifest lists")
    if parts.sums != sums(parts.manifest):
        raise bad("its SHA256SUMS does not agree with its manifest")


def layout(manifest: Manifest) -> list[Member]:
    """Every member of the archive of a manifest, in order."""
    members = [Member(FILES + entry.name, entry.size, entry.mode, entry.mtime_ns) for entry in manifest.entries]
    return [*members, *specials(manifest)]


def specials(manifest: Manifest) -> tuple[Member, Member]:
    """The last two members: the manifest and its checksums, as old as the newest entry."""
    newest = max((entry.mtime_ns for entry in manifest.entries), default=0)
    return (
        Member(MANIFEST, len(manifest.data), 0o644, newest),
        Member(SUMS, len(sums(manifest)), 0o644, newest),
    )


def sums(manifest: Manifest) -> bytes:
    """Content of SHA256SUMS: every entry, then the manifest itself."""
    return checksums(manifest, prefix="files/") + f"{manifest.root}  MANIFEST.json\n".encode()
