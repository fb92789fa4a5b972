"""What a repository keeps: sealed and opened again, and nothing else is opened."""

import os
from hashlib import sha256

import pytest
import zstandard

from go_cache_safeguard.snapshot.bundle import (
    COUNT_LIMIT,
    PACK,
    PACK_LIMIT,
    Buffer,
    ObjectBad,
    Opener,
    Sealer,
    refuse_other,
)

SHRINKS = b"go object linux amd64\n" * 1000
CONTENTS = {sha256(data).hexdigest(): data for data in (b"", b"a" * 175, SHRINKS[:30_000], os.urandom(500))}


@pytest.mark.parametrize("level", [0, 1, 3, 19])
@pytest.mark.parametrize("content", [b"", b"x", SHRINKS, os.urandom(5000)])
def test_what_is_sealed_opens_again(level: int, content: bytes) -> None:
    sealed = Sealer(level).seal(content)
    assert bytes(Opener().unseal(sealed, len(content))) == content
    assert b"".join(Opener().unseal_pieces([sealed], len(content))) == content


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("content", [b"", SHRINKS, os.urandom(70_000)])
@pytest.mark.parametrize("cut", [7, 1000, 1 << 20])
def test_sealed_piece_by_piece_it_opens_likewise(level: int, content: bytes, cut: int) -> None:
    def pieces(data: bytes) -> list[Buffer]:
        return [data[at : at + cut] for at in range(0, len(data), cut)]

    sealed = b"".join(Sealer(level).seal_pieces(pieces(content), len(content)))
    assert bytes(Opener().unseal(sealed, len(content))) == content
    assert b"".join(Opener().unseal_pieces(pieces(sealed), len(content))) == content


def test_in_two_parts_a_seal_is_the_same_and_noise_is_not_copied() -> None:
    noise = os.urandom(5000)
    for content in (SHRINKS, noise, b""):
        assert b"".join(Sealer(-1).seal_parts(content)) == Sealer(-1).seal(content)
    assert Sealer(-1).seal_parts(noise)[1] is noise


def test_what_shrinks_is_kept_small_and_what_does_not_as_it_is() -> None:
    assert len(Sealer(1).seal(SHRINKS)) < len(SHRINKS) / 10
    noise = os.urandom(5000)
    assert Sealer(1).seal(noise).endswith(noise)


HOSTILE = {
    "nothing": b"",
    "another beginning": b"gcs-zstd2\n" + zstandard.compress(SHRINKS),
    "no frame": b"gcs-zstd1\n",
    "nonsense for a frame": b"gcs-zstd1\n" + b"\x28\xb5\x2f\xfd" + bytes(20),
    "more than allowed": b"gcs-same1\n" + bytes(len(SHRINKS) + 1),
    "a frame that holds more": b"gcs-zstd1\n" + zstandard.compress(bytes(1 << 24)),
    "a frame that does not say how much it holds": b"gcs-zstd1\n"
    + zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24)),
    "something after the frame": b"gcs-zstd1\n" + zstandard.compress(SHRINKS) + b"x",
    "a frame cut short": b"gcs-zstd1\n" + zstandard.compress(SHRINKS)[:-3],
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_we_did_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(ObjectBad):
        Opener().unseal(data, len(SHRINKS))
    with pytest.raises(ObjectBad):
        list(Opener().unseal_pieces([data], len(SHRINKS)))


@pytest.mark.parametrize("level", [-1, 0, 1])
@pytest.mark.parametrize(
    "content", [b"", b"one", SHRINKS, bytes(3 << 20)], ids=["nothing", "three", "shrinks", "zeros"]
)
def test_a_content_is_opened_into_memory_that_is_there(level: int, content: bytes) -> None:
    asked: list[memoryview] = []
    opened = Opener().unseal(Sealer(level).seal(content), len(content), lambda size: room_in(asked, size))
    assert bytes(opened) == content
    assert [len(room) for room in asked] in ([], [len(content)])


@pytest.mark.parametrize(
    "behind", [b"x", zstandard.compress(b""), zstandard.compress(SHRINKS), b"\x50\x2a\x4d\x18\1\0\0\0x"]
)
def test_nothing_may_follow_not_even_a_frame_that_holds_nothing(behind: bytes) -> None:
    for data in (Sealer(1).seal(SHRINKS), Sealer(-1).seal(SHRINKS), b"gcs-zstd1\n" + checked(SHRINKS)):
        assert bytes(Opener().unseal(data, len(SHRINKS), lambda size: room_in([], size))) == SHRINKS
        with pytest.raises(ObjectBad):
            Opener().unseal(data + behind, len(SHRINKS), lambda size: room_in([], size))
        with pytest.raises(ObjectBad):
            Opener().unseal(data[:-1], len(SHRINKS), lambda size: room_in([], size))


def room_in(rooms: list[memoryview], size: int) -> memoryview:
    """Memory of so many bytes, with something in it."""
    rooms.append(memoryview(bytearray(b"?" * size)))
    return rooms[-1]


def checked(content: bytes) -> bytes:
    """A frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize("level", [-1, 0, 1])
@pytest.mark.parametrize(
    "content", [b"", b"one", SHRINKS, bytes(3 << 20)], ids=["nothing", "three", "shrinks", "zeros"]
)
@pytest.mark.parametrize("size", [1000, 1 << 17, 4 << 20])
def test_a_content_is_opened_through_less_memory_than_it_has(level: int, content: bytes, size: int) -> None:
    data, memory = Sealer(level).seal(content), memoryview(bytearray(size))
    assert b"".join(map(bytes, Opener().unseal_through(data, len(content), memory))) == content
    if data.startswith(b"gcs-zstd1"):
        for wrong in (data[:-1], data + b"x", data + zstandard.compress(b"")):
            with pytest.raises(ObjectBad):
                list(Opener().unseal_through(wrong, len(content), memory))


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_it_is_refused_likewise_where_memory_is_there(data: bytes) -> None:
    rooms: list[memoryview] = []
    with pytest.raises(ObjectBad):
        Opener().unseal(data, len(SHRINKS), lambda size: room_in(rooms, size))
    with pytest.raises(ObjectBad):
        list(Opener().unseal_through(data, len(SHRINKS), memoryview(bytearray(1000))))
    assert all(len(room) <= len(SHRINKS) for room in rooms), "nobody asks for more than is allowed"


def test_a_bomb_is_never_large_in_memory() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    sizes: list[int] = []
    with pytest.raises(ObjectBad):
        sizes.extend(map(len, Opener().unseal_pieces([b"gcs-zstd1\n" + bomb], 1 << 20)))
    assert sum(sizes) <= 1 << 20


@pytest.mark.parametrize("level", [0, 1])
def test_a_pack_gives_what_was_put_into_it(level: int) -> None:
    packed = Sealer(level).pack(CONTENTS)
    opened = Opener().unpack(packed)
    assert {name: bytes(content) for name, content in opened.items()} == CONTENTS
    assert Opener().unpack(Sealer(level).pack({})) == {}


def test_a_full_pack_can_be_opened() -> None:
    half = bytes(PACK_LIMIT // 2)
    packed = Sealer(1).pack({"0" * 64: half, "1" * 64: half})
    assert len(Opener().unpack(packed)) == 2
    assert PACK < PACK_LIMIT


def repacked(items: bytes, count: int, content: bytes) -> bytes:
    return b"gcs-pack1\n" + count.to_bytes(4, "big") + items + Sealer(1).seal(content)


ONE = sha256(b"one").digest()
LIES = {
    "nothing": b"",
    "no list": b"gcs-pack1\n",
    "a list that is longer than the pack": repacked(b"", 7, b""),
    "a list of millions": repacked(b"", COUNT_LIMIT + 1, b""),
    "less than it lists": repacked(ONE + (4).to_bytes(4, "big"), 1, b"one"),
    "more than it lists": repacked(ONE + (2).to_bytes(4, "big"), 1, b"one"),
    "more than a pack may hold": repacked(ONE + (PACK_LIMIT + 1).to_bytes(4, "big"), 1, b"one"),
    "a content twice": repacked((ONE + (3).to_bytes(4, "big")) * 2, 2, b"oneone"),
    "a sealed content": Sealer(1).seal(b"one"),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES.keys())
def test_a_pack_whose_list_lies_is_refused(data: bytes) -> None:
    with pytest.raises(ObjectBad):
        Opener().unpack(data)


def test_a_content_that_is_not_what_its_name_says_is_refused() -> None:
    refuse_other(b"one", ONE.hex())
    with pytest.raises(ObjectBad, match="SHA-256"):
        refuse_other(b"two", ONE.hex())
