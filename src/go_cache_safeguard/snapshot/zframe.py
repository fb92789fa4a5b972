"""Where a zstd frame ends, and how much can be in it, without unpacking anything.

Knows:     the headers of a frame and of its blocks.
Called by: `snapshot.archive`, before the first byte is unpacked; `snapshot.bundle`, to see that nothing follows.
Never:     unpacks.
Source:    RFC 8878, 3.1.1 "Zstandard Frames": a block holds at most 128 KiB, so every block bounds what comes out of it.
"""

from typing import NamedTuple

from go_cache_safeguard.snapshot.pax import bad

HEAD = 18
"""bytes: no frame header is longer."""
BLOCK_HEAD = 3
BLOCK_MAX = 128 << 10
CHECKSUM = 4
WINDOW_LOG = 21
"""A reader needs 2 MiB of memory at most, of the 8 MiB that RFC 8878 asks of every reader."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_RAW, _RLE, _COMPRESSED = 0, 1, 2


class Block(NamedTuple):
    """One block of a frame.

    Attributes:
        last: Nothing but the checksum follows.
        stored: Bytes that follow its header.
        holds: Bytes that come out of it, at most.
    """

    last: bool
    stored: int
    holds: int


def is_zstd(data: bytes) -> bool:
    """Whether a file that begins so is a zstd file."""
    return data.startswith(_MAGIC)


def head_size(data: bytes) -> int:
    """Bytes of a frame's header.

    Args:
        data: The first `HEAD` bytes of the file, or all of it.

    Raises:
        ArchiveBad: It is no frame, or one that we do not write: with a dictionary, without a checksum, or with a larger window.
    """
    if len(data) < 6 or not is_zstd(data):
        raise bad("it is no zstd file, or is cut off")
    descriptor = data[4]
    if descriptor & 0b1011:
        raise bad("its zstd frame needs a dictionary, or has bits that mean nothing")
    if not descriptor & 0b100:
        raise bad("its zstd frame has no checksum")
    if descriptor & 0b1111_0000:
        raise bad("its zstd frame says how much is in it, which ours do not")
    if data[5] > (WINDOW_LOG - 10) << 3:
        raise bad("its zstd frame needs too much memory")
    return 6


def frame_end(data: memoryview, head: int, *, checksum: bool) -> int:
    """Where a frame ends, by what its blocks say; behind the end of the data if it is cut off.

    Args:
        data: A frame, and perhaps what follows it.
        head: Bytes of its header.
        checksum: Whether one follows its last block.
    """
    at, last = head, 0
    while not last and at < len(data):
        value = int.from_bytes(data[at : at + BLOCK_HEAD], "little")
        last = value & 1
        at += BLOCK_HEAD + (1 if value >> 1 & 3 == _RLE else value >> 3)
    return at + (CHECKSUM if checksum else 0) if last else len(data) + 1


def parse_block(data: bytes) -> Block:
    """Read the header of a block.

    Args:
        data: `BLOCK_HEAD` bytes.

    Raises:
        ArchiveBad: It is none.
    """
    if len(data) < BLOCK_HEAD:
        raise bad("its zstd frame ends early")
    value = int.from_bytes(data, "little")
    kind, size = value >> 1 & 3, value >> 3
    if kind > _COMPRESSED or size > BLOCK_MAX:
        raise bad("its zstd frame is damaged")
    return Block(bool(value & 1), 1 if kind == _RLE else size, BLOCK_MAX if kind == _COMPRESSED else size)
