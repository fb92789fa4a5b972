"""Where a zip ends, and whether everybody who reads it finds the same list of files.

Knows:     the end record, that of large zips, and what makes two readers disagree.
Called by: `gomod.zipfiles`, before it reads a zip.
Never:     reads the list of files itself: that is `gomod.ziplist`.
Source:    archive/zip/reader.go `readDirectoryEnd`, `findSignatureInBlock` (it looks for the last end record whose comment fits,
           and for a shift of all offsets), read in go1.21.13 and go1.26.8; other programs take the last end record there is,
           and another shift. A zip that we find sound and from which go extracts something else must not pass.
"""

import struct
from typing import NamedTuple

TAIL = 22 + 65535 + 76
"""bytes at the end of a zip that `find_list` needs: end record, longest comment, the two records of a large zip."""
MAX_LISTING = 64 << 20
"""bytes: the list of files, which is held in memory. That of 500,000 files is about as large."""

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_RECORD = struct.Struct("<4sQ2H2L4Q")
_LARGE = _LOCATOR.size + _RECORD.size


class Where(NamedTuple):
    """Where the list of files lies.

    Attributes:
        offset: Its first byte.
        size: Its bytes.
        files: How many files it lists.
    """

    offset: int
    size: int
    files: int


def find_list(tail: bytes, size: int) -> Where | str:
    """Where a zip's list of files is, if everybody finds the same one; else why it is not to be read.

    Args:
        tail: Its last `TAIL` bytes, or all of a smaller one.
        size: Its size in bytes.
    """
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return "it has no end record"
    _, _, _, _, count, listing, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        return "its end record is not at its end"
    end = size - len(tail) + at
    full = count == 0xFFFF or 0xFFFFFFFF in {listing, offset}
    if full != (at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\x06\x07")):
        return "it can be read as a large zip and as a small one"
    if full:
        if at < _LARGE:
            return "the end record of a large zip is missing"
        _, _, where, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        signature, *_, count, listing, offset = _RECORD.unpack_from(tail, at - _LARGE)
        end -= _LARGE
        if signature != b"PK\x06\x06" or where != end:
            return "the end record of a large zip is not where it should be"
    if offset + listing != end:
        return "its list of files is not where its end record says"
    return "its list of files is too large" if listing > MAX_LISTING else Where(offset, listing, count)
