"""End records, as real writers write them and as somebody would prepare them."""

import io
import struct
import zipfile

import pytest

from go_cache_safeguard.gomod.zipend import MAX_LISTING, TAIL, Where, find_list


def packed(*, files: int = 2, comment: bytes = b"") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.comment = comment
        for at in range(files):
            archive.writestr(zipfile.ZipInfo(f"f{at}"), b"x")
    return written.getvalue()


def fault(data: bytes) -> str | None:
    found = find_list(data[-TAIL:], len(data))
    return found if isinstance(found, str) else None


def changed(data: bytes, from_end: int, layout: str, value: int) -> bytes:
    spoiled = bytearray(data)
    struct.pack_into(layout, spoiled, len(data) - from_end, value)
    return bytes(spoiled)


@pytest.mark.parametrize("comment", [b"", b"made by somebody", b"c" * 65535])
def test_a_zip_is_accepted_with_and_without_a_comment(comment: bytes) -> None:
    assert fault(packed(comment=comment)) is None
    assert fault(packed(files=0, comment=comment)) is None


def test_a_large_zip_is_accepted() -> None:
    data = packed(files=65536)
    assert b"PK\x06\x06" in data
    offset = data.index(b"PK\x01\x02")
    assert find_list(data[-TAIL:], len(data)) == Where(offset, data.index(b"PK\x06\x06") - offset, 65536)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no end record"),
        (b"PK\x05\x06", "no end record"),
        (packed()[:-1], "no end record"),
        (packed() + b"x", "not at its end"),
        (packed(comment=b"comment")[:-1], "not at its end"),
        (packed(comment=packed(files=0)[:-1]), "no end record"),
        (b"x" + packed(), "not where its end record says"),
        (changed(packed(), 6, "<I", 0), "not where its end record says"),
        (changed(packed(), 12, "<H", 0xFFFF), "large zip and as a small one"),
        (changed(packed(), 10, "<I", 0xFFFFFFFF), "large zip and as a small one"),
        (packed()[:-22] + b"PK\x06\x07" + bytes(16) + packed()[-22:], "large zip and as a small one"),
        (b"PK\x06\x07" + bytes(16) + changed(packed(files=0), 12, "<H", 0xFFFF), "is missing"),
        (bytes(56) + b"PK\x06\x07" + bytes(16) + changed(packed(files=0), 12, "<H", 0xFFFF), "not where it should be"),
    ],
)
def test_a_zip_that_is_cut_or_can_be_read_in_two_ways_is_not(data: bytes, why: str) -> None:
    assert why in (fault(data) or "")


def test_a_list_of_files_that_would_fill_the_memory_is_not_read() -> None:
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, MAX_LISTING + 1, 0, 0)
    assert find_list(tail, MAX_LISTING + 1 + len(tail)) == "its list of files is too large"
