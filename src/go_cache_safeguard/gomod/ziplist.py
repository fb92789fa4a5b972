"""The list of files of a zip.

Knows:     its records, and which of them go would not accept in a module.
Called by: `gomod.zipfiles`.
Never:     reads a file; unpacks anything.
Source:    archive/zip/reader.go `readDirectoryHeader`, `findBodyOffset`, go1.21.13 and go1.26.8: names are bytes, sizes of all ones
           stand for an extra field, which only files of 4 GiB need; go looks at no name but the one in this list.
"""

import stat
import struct
from typing import NamedTuple

STORED, DEFLATED = 0, 8
HEADER = struct.Struct("<4s5H3L2H")
"""What stands before each file, without its name: signature, version, flags, method, time, date, CRC, sizes, lengths."""
_RECORD = struct.Struct("<4s6H3L5H2L")
_LARGE = 0xFFFFFFFF
_ENCRYPTED = 1
_KIND = 0o170000
"""What `stat.S_IFMT` keeps of a mode."""


class Member(NamedTuple):
    """One file in a zip.

    Attributes:
        name: As it stands there.
        method: `STORED`, `DEFLATED`, or what go does not know.
        flags: Of the zip format.
        crc: Of the content.
        packed: Bytes in the zip.
        size: Bytes of the content, by its own account.
        offset: Where its header begins.
        kind: Type bits of a Unix mode; 0 where there are none.
    """

    name: bytes
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    kind: int


def parse_list(data: bytes, count: int) -> list[Member] | str:
    """Read a list of files, all of it; else why it is none.

    Args:
        data: The list.
        count: How many files the end record says there are.
    """
    members = []
    at = 0
    while at < len(data):
        if len(data) - at < _RECORD.size:
            return "its list of files is cut"
        signature, _, _, flags, method, _, _, crc, packed, size, name, extra, note, _, _, mode, offset = (
            _RECORD.unpack_from(data, at)
        )
        begin = at + _RECORD.size
        at = begin + name + extra + note
        if signature != b"PK\x01\x02" or at > len(data):
            return "its list of files is damaged"
        if _LARGE in (packed, size, offset):
            return "it says that it holds more than the 500 MiB that go accepts"
        kind = mode >> 16 & _KIND
        members.append(Member(data[begin : begin + name], method, flags, crc, packed, size, offset, kind))
    # Of a small zip only the lowest bits of the number are kept.
    return members if len(members) == count else "its list of files is longer or shorter than it says"


def why_odd(member: Member, name: bytes, *, again: bool) -> str | None:
    """Why a file has no place in the zip of a module; None if it has.

    Args:
        member: The file.
        name: Its name below the module.
        again: Whether there was one of that name before.
    """
    parts = name.removesuffix(b"/").split(b"/") if name else []
    if again:
        return "the zip holds this name twice"
    if b"" in parts or b"." in parts or b".." in parts or b"\\" in name or b"\0" in name or b"\n" in name:
        return "its name leads elsewhere, or go does not accept it"
    if member.kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "it is not a regular file"
    if member.method not in {STORED, DEFLATED} or member.flags & _ENCRYPTED:
        return "it is packed in a way that go does not know"
    return None
