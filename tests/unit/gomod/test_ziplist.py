"""Lists of files, as real writers write them and as somebody would prepare them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest

from go_cache_safeguard.gomod.zipend import TAIL, Where, find_list
from go_cache_safeguard.gomod.ziplist import DEFLATED, STORED, Member, parse_list, why_odd

PLAIN = Member(b"m/a", DEFLATED, 0, 0, 0, 0, 0, 0)


def packed(*names: str, method: int = zipfile.ZIP_DEFLATED) -> tuple[bytes, Where]:
    """A list of files, and where it lay."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), name * 9, compress_type=method)
    data = written.getvalue()
    where = find_list(data[-TAIL:], len(data))
    assert isinstance(where, Where)
    return data[where.offset :][: where.size], where


def test_a_list_says_where_each_file_is_and_what_it_should_be() -> None:
    data, where = packed("a", "b/c")
    found = parse_list(data, where.files)
    assert not isinstance(found, str)
    first, second = found
    assert (first.name, first.method, first.size, first.crc) == (b"a", DEFLATED, 9, zlib.crc32(b"a" * 9))
    assert (first.offset, first.kind, second.name) == (0, 0, b"b/c")
    assert second.offset > first.offset + first.packed


def test_names_are_bytes_whatever_they_mean() -> None:
    data, where = packed("ä", method=zipfile.ZIP_STORED)
    found = parse_list(data, where.files)
    assert not isinstance(found, str)
    assert [(one.name, one.method) for one in found] == [("ä".encode(), STORED)]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:-1], "damaged"),
        (lambda data: data + b"x", "cut"),
        (lambda data: b"PK\x03\x04" + data[4:], "damaged"),
        (lambda data: data[:28] + struct.pack("<H", 0xFFFF) + data[30:], "damaged"),
        (lambda data: data + data, "longer or shorter"),
        (lambda _data: b"", "longer or shorter"),
        (lambda data: data[:24] + b"\xff" * 4 + data[28:], "more than the 500 MiB"),
        (lambda data: data[:42] + b"\xff" * 4 + data[46:], "more than the 500 MiB"),
    ],
)
def test_a_list_that_is_none_is_refused(spoil: Callable[[bytes], bytes], why: str) -> None:
    data, where = packed("a")
    found = parse_list(spoil(data), where.files)
    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize(
    ("name", "member", "why"),
    [
        (b"a", PLAIN, None),
        (b"d/", PLAIN, None),
        (b"", PLAIN, None),
        (b"a", PLAIN._replace(kind=0o100000), None),
        (b"../a", PLAIN, "leads elsewhere"),
        (b"a\0b", PLAIN, "leads elsewhere"),
        (b"a", PLAIN._replace(kind=0o120000), "not a regular file"),
        (b"a", PLAIN._replace(method=12), "go does not know"),
        (b"a", PLAIN._replace(flags=1), "go does not know"),
    ],
)
def test_what_has_no_place_in_a_module_is_named(name: bytes, member: Member, why: str | None) -> None:
    assert (why or "") in (why_odd(member, name, again=False) or "")
    assert (why is None) == (why_odd(member, name, again=False) is None)
    assert why_odd(member, name, again=True) == "the zip holds this name twice"
