"""Frames of zstd are measured without unpacking, and those that we would not write are refused."""

import pytest
from zstandard import ZstdCompressionParameters, ZstdCompressor, frame_header_size

from archives import compressed
from go_cache_safeguard.snapshot.pax import ArchiveBad
from go_cache_safeguard.snapshot.zframe import (
    BLOCK_HEAD,
    BLOCK_MAX,
    CHECKSUM,
    HEAD,
    Block,
    frame_end,
    head_size,
    is_zstd,
    parse_block,
)

TEXT = b"".join(b"%d," % number for number in range(200_000))


def measured(data: bytes) -> tuple[int, int]:
    """Length of the frame at the beginning, and how much it holds at most."""
    at, holds = head_size(data[:HEAD]), 0
    while True:
        block = parse_block(data[at : at + BLOCK_HEAD])
        at += BLOCK_HEAD + block.stored
        holds += block.holds
        if block.last:
            return at + CHECKSUM, holds


@pytest.mark.parametrize("data", [b"", b"a", bytes(10 << 20), TEXT])
def test_a_frame_of_ours_is_measured(data: bytes) -> None:
    frame = compressed(data)
    assert is_zstd(frame)
    length, holds = measured(frame + b"behind")
    assert length == len(frame)
    assert len(data) <= holds <= len(data) + 2 * BLOCK_MAX * (len(data) // BLOCK_MAX + 1)


def test_blocks_say_how_much_comes_out() -> None:
    assert parse_block((5 << 3 | 0 << 1 | 1).to_bytes(3, "little")) == Block(last=True, stored=5, holds=5)
    assert parse_block((99 << 3 | 1 << 1).to_bytes(3, "little")) == Block(last=False, stored=1, holds=99)
    assert parse_block((5 << 3 | 2 << 1).to_bytes(3, "little")) == Block(last=False, stored=5, holds=BLOCK_MAX)


@pytest.mark.parametrize(
    "data", [b"", b"\x01", (3 << 1).to_bytes(3, "little"), ((BLOCK_MAX + 1) << 3).to_bytes(3, "little")]
)
def test_a_block_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveBad, match=r"ends early|is damaged"):
        parse_block(data)


def _with(parameters: ZstdCompressionParameters) -> bytes:
    frame = ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(TEXT) + frame.flush()


def test_frames_that_we_would_not_write_are_refused() -> None:
    cases = {
        "no zstd file": b"\x28\xb5\x2f\xfd",
        "no checksum": b"\x28\xb5\x2f\xfd\x00\x58",
        "says how much": ZstdCompressor(write_checksum=True).compress(TEXT),
        "too much memory": _with(
            ZstdCompressionParameters(window_log=24, write_checksum=True, write_content_size=False)
        ),
        "a dictionary": b"\x28\xb5\x2f\xfd\x05\x58\x01",
        "mean nothing": b"\x28\xb5\x2f\xfd\x0c\x58\x01",
    }
    for why, data in cases.items():
        with pytest.raises(ArchiveBad, match=why):
            head_size(data[:HEAD])


@pytest.mark.parametrize("data", [b"", b"a", bytes(10 << 20), TEXT])
@pytest.mark.parametrize("checksum", [False, True])
def test_the_end_of_a_frame_is_found_whatever_follows(data: bytes, *, checksum: bool) -> None:
    frame = ZstdCompressor(write_checksum=checksum).compress(data)
    head = frame_header_size(frame)
    for behind in (b"", b"x", frame):
        assert frame_end(memoryview(frame + behind), head, checksum=checksum) == len(frame)
    for length in range(head, len(frame), max(1, len(frame) // 50)):
        assert frame_end(memoryview(frame[:length]), head, checksum=checksum) > length
