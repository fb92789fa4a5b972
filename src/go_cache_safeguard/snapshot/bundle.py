r"""Bytes as a repository keeps them: one content sealed alone, or many small ones in a pack.

Knows:     the two forms on disk, and how to open them without believing what they say about themselves.
Called by: `snapshot.deposit` seals, `snapshot.depot` opens.
Never:     opens more than the caller says there may be: what claims to be larger is refused before it is unpacked.
Source:    RFC 8878 (Zstandard): a frame's header says how large its content is. Half of a Go build cache is index entries of 175
           bytes (cmd/go/internal/cache/cache.go `entrySize`), which is why packs exist.

A sealed content:  "gcs-zstd1\n" or "gcs-same1\n", then one zstd frame, or the bytes as they are.
A pack:            "gcs-pack1\n", number of contents (4 bytes, big end first), for each its SHA-256 (32 bytes) and its length
                   (4 bytes), then the contents one after the other, sealed together.
A sealed content is named by the SHA-256 of what is inside, a pack by the SHA-256 of its own bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.snapshot.zframe import frame_end

if TYPE_CHECKING:
    import zstandard

Buffer: TypeAlias = bytes | bytearray | memoryview

SMALL = 32 << 10
"""bytes: contents up to here go into packs. Why so: docs/decisions/0005-repository-prune.md."""
PACK = 4 << 20
"""bytes of contents after which a pack is closed."""
PACK_LIMIT = PACK + SMALL
COUNT_LIMIT = 1 << 17

FAST = -1
"""Level of zstd that is tuned: it looks for matches of 7 bytes, in a table half as large as usual. Of compiled Go that takes 4 % more room,
and packing and unpacking are 6 to 9 % faster."""

_ZSTD, _SAME, _PACK = b"gcs-zstd1\n", b"gcs-same1\n", b"gcs-pack1\n"
_HEAD = len(_ZSTD)
_COUNT = Struct(">I")
_ITEM = Struct(">32sI")
_WORTH = 0.97
"""A content that shrinks less is kept as it is: opening it again would cost more than the bytes."""
_PIECE = 1 << 20
_SIP = 4 << 10
"""bytes: so much is unpacked at once. Zeros shrink 30,000 times, so more could fill the memory before anybody counts."""


class ObjectBad(Failure):
    """Bytes in a repository are not what they should be."""

    id = "object-bad"
    exit_code = ExitCode.BLOCKED
    meaning = "an object of a snapshot repository is damaged, was edited, or claims to be something else"


class Sealer:
    """Seals contents; one for each thread.

    Attributes:
        level: Of zstd, also below zero; 0 keeps everything as it is.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self._zstd = _compressor(level) if level else None

    def seal(self, content: Buffer) -> bytes:
        """Seal one content that is in memory."""
        return b"".join(self.seal_parts(content))

    def seal_parts(self, content: Buffer) -> tuple[bytes, Buffer]:
        """The same in two parts, of which the second may be the content itself: joining them would copy it."""
        if self._zstd is not None and len(content):
            packed = self._zstd.compress(content)
            if len(packed) < len(content) * _WORTH:
                return _ZSTD, packed
        return _SAME, content

    def seal_pieces(self, pieces: Iterable[Buffer], size: int) -> Iterator[bytes]:
        """Seal one content that is not in memory.

        Args:
            pieces: Its bytes.
            size: How many there are.
        """
        waiting = iter(pieces)
        first = bytes(next(waiting, b""))
        if self._zstd is None or self.seal(first)[:_HEAD] == _SAME:
            yield _SAME + first
            yield from map(bytes, waiting)
            return
        yield _ZSTD
        chunker: Any = self._zstd.chunker(size=size, chunk_size=_PIECE)
        for piece in chain([first], waiting):
            yield from chunker.compress(bytes(piece))
        yield from chunker.finish()

    def pack(self, contents: Mapping[str, Buffer]) -> bytes:
        """Make a pack.

        Args:
            contents: By SHA-256, 64 hexadecimal digits; together at most `PACK_LIMIT` bytes.
        """
        items = b"".join(_ITEM.pack(bytes.fromhex(name), len(content)) for name, content in contents.items())
        return b"".join((_PACK, _COUNT.pack(len(contents)), items, self.seal(b"".join(contents.values()))))


class Opener:
    """Opens what a `Sealer` sealed; one for each thread."""

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - heavy: loaded where a repository is used

        self._error = zstandard.ZstdError
        self._size_of = zstandard.frame_content_size
        self._head_of = zstandard.frame_header_size
        self._about = zstandard.get_frame_parameters
        self._zstd = zstandard.ZstdDecompressor()

    def unseal(self, data: Buffer, limit: int, room: Callable[[int], memoryview] | None = None) -> Buffer:
        """Open one content.

        Args:
            data: As stored.
            limit: Bytes that it may have.
            room: Asked for memory of exactly so many bytes, if the content needs any; None for new memory, which costs more.

        Raises:
            ObjectBad: It is not a sealed content, is damaged, or has more bytes.
        """
        head, body = bytes(memoryview(data)[:_HEAD]), memoryview(data)[_HEAD:]
        if head == _SAME:
            if len(body) > limit:
                raise ObjectBad("it is larger than it should be")
            return body
        if head != _ZSTD:
            raise ObjectBad("it does not begin as we write it")
        try:
            size = self._size_of(body)
            if not 0 < size <= limit:
                raise ObjectBad("it claims another size than it should have")
            if room is None:
                return self._zstd.decompress(body, allow_extra_data=False)
            return self._unpack_into(body, room(size))
        except self._error as error:
            raise ObjectBad(f"it cannot be unpacked: {error}") from error

    def unseal_through(self, data: Buffer, limit: int, memory: memoryview) -> Iterator[memoryview]:
        """Open one content through memory that may be much smaller: what is in it counts until the next piece is asked for.

        Args:
            data: As stored.
            limit: Bytes that the content may have.
            memory: Where it goes, piece by piece.

        Raises:
            ObjectBad: As `unseal`; what came before is worth nothing then.
        """
        head, body = bytes(memoryview(data)[:_HEAD]), memoryview(data)[_HEAD:]
        if head != _ZSTD:
            yield memoryview(self.unseal(data, limit))
            return
        try:
            left = self._size_of(body)
            if not 0 < left <= limit:
                raise ObjectBad("it claims another size than it should have")
            self._refuse_more(body)
            with self._zstd.stream_reader(body) as reader:
                while got := reader.readinto(memory):
                    left -= got
                    yield memory[:got]
            if left:
                raise ObjectBad("it has another size than it claims")
        except self._error as error:
            raise ObjectBad(f"it cannot be unpacked: {error}") from error

    def unseal_pieces(self, pieces: Iterable[Buffer], limit: int) -> Iterator[bytes]:
        """Open one content piece by piece.

        Args:
            pieces: As stored; cut anywhere.
            limit: Bytes that it may have.

        Raises:
            ObjectBad: As `unseal`; what came before is worth nothing then.
        """
        waiting, head = iter(pieces), b""
        while len(head) < _HEAD and (piece := next(waiting, None)) is not None:
            head += bytes(piece)
        head, rest = head[:_HEAD], head[_HEAD:]
        if head not in {_SAME, _ZSTD}:
            raise ObjectBad("it does not begin as we write it")
        stored = chain([rest], waiting)
        for piece in map(bytes, stored) if head == _SAME else self._unpacked(stored):
            limit -= len(piece)
            if limit < 0:
                raise ObjectBad("it is larger than it should be")
            if piece:
                yield piece

    def unpack(self, data: Buffer) -> dict[str, Buffer]:
        """Open a pack: contents by their SHA-256 as the pack claims them. Whoever uses one hashes it.

        Raises:
            ObjectBad: It is no pack, is damaged, or its list does not fit what is in it.
        """
        view = memoryview(data)
        if bytes(view[:_HEAD]) != _PACK or len(view) < _HEAD + _COUNT.size:
            raise ObjectBad("it does not begin as a pack does")
        (count,) = _COUNT.unpack_from(view, _HEAD)
        begin = _HEAD + _COUNT.size
        end = begin + count * _ITEM.size
        if count > COUNT_LIMIT or end > len(view):
            raise ObjectBad("its list is longer than the pack")
        items = list(_ITEM.iter_unpack(view[begin:end]))
        if sum(length for _, length in items) > PACK_LIMIT:
            raise ObjectBad("it claims more than a pack may hold")
        return _cut(items, memoryview(self.unseal(view[end:], PACK_LIMIT)))

    def _unpack_into(self, body: memoryview, memory: memoryview) -> memoryview:
        self._refuse_more(body)
        with self._zstd.stream_reader(body) as reader:
            if reader.readinto(memory) != len(memory):
                raise ObjectBad("it has another size than it claims")
        return memory

    def _refuse_more(self, body: memoryview) -> None:
        """One whole frame, and nothing else."""
        if frame_end(body, self._head_of(body), checksum=self._about(body).has_checksum) != len(body):
            raise ObjectBad("it ends too early, or something follows after its end")

    def _unpacked(self, pieces: Iterable[Buffer]) -> Iterator[bytes]:
        unpack = self._zstd.decompressobj()
        try:
            for piece in pieces:
                for at in range(0, len(piece), _SIP):
                    if unpack.eof:
                        raise ObjectBad("something follows after its end")
                    yield unpack.decompress(bytes(piece[at : at + _SIP]))
                if unpack.unused_data:
                    raise ObjectBad("something follows after its end")
        except self._error as error:
            raise ObjectBad(f"it cannot be unpacked: {error}") from error
        if not unpack.eof:
            raise ObjectBad("it ends too early")


def _compressor(level: int) -> "zstandard.ZstdCompressor":
    import zstandard  # noqa: PLC0415 - heavy: loaded where a repository is used

    if level != FAST:
        return zstandard.ZstdCompressor(level=level)
    faster = zstandard.ZstdCompressionParameters.from_level(level, hash_log=12, min_match=7)
    return zstandard.ZstdCompressor(compression_params=faster)


def refuse_other(content: Buffer, name: str) -> None:
    """Make sure that a content is what its name says.

    Raises:
        ObjectBad: Its SHA-256 is another one.
    """
    found = sha256(content).hexdigest()
    if found != name:
        raise ObjectBad(f"its content has the SHA-256 {found}, not {name}")


def _cut(items: Sequence[tuple[bytes, int]], whole: memoryview) -> dict[str, Buffer]:
    contents: dict[str, Buffer] = {}
    at = 0
    for name, length in items:
        contents[name.hex()] = whole[at : at + length]
        at += length
    if at != len(whole):
        raise ObjectBad("its list does not fit what is in it")
    if len(contents) != len(items):
        raise ObjectBad("it lists a content twice")
    return contents
