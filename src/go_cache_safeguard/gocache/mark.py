"""By what a file of the cache is known again that was found sound before.

Knows:     one record of the table of marks, where in the table it stands, and when it is believed.
Called by: `gocache.native`, which holds the table in memory that processes share.
Never:     believes a record that is not whole: two processes may write the same place at once, and a machine may stop at any time.
Source:    why marks need to be old: git's Documentation/technical/racy-git.txt. Seal (ii), that an archive names the action it was
           made by: cmd/go/internal/work/buildid.go, go1.21 to go1.27.

A table of fixed places rather than a database: nothing is loaded at the start and a look costs a microsecond.
"""

from binascii import crc32
from struct import Struct

RECORD = 96
"""bytes: id 32, four marks of 8, seal 15, one that says whether there is a seal, nothing 12, checksum 4."""
BUCKETS = 1 << 14
IN_BUCKET = 8
SIZE = BUCKETS * IN_BUCKET * RECORD
"""bytes of the table, 12.6 million, of which a file system keeps only what was written."""
SEAL = 15
"""bytes of an action that stand in the archive that it made."""
_BODY = Struct("<32s4Q15s?12x")
_SUM = Struct("<I")

Marks = tuple[int, int, int, int]
"""Inode, size, mtime_ns, ctime_ns."""


class Mark:
    """What is remembered of one output.

    Attributes:
        marks: Of the file when its content was what its name says.
        seal: The first 15 bytes of the action that it says it was made by; None if it says nothing.
    """

    __slots__ = ("marks", "seal")

    def __init__(self, marks: Marks, seal: bytes | None) -> None:
        self.marks = marks
        self.seal = seal

    def fits(self, action: bytes) -> bool:
        """Whether the output may be the answer to this action."""
        return self.seal is None or action.startswith(self.seal)


def bucket(output: bytes) -> int:
    """Where the records of this output may stand: the offset of the first of `IN_BUCKET` places, in bytes."""
    return (int.from_bytes(output[:4], "big") % BUCKETS) * IN_BUCKET * RECORD


def pack(output: bytes, mark: Mark) -> bytes:
    """A record.

    Args:
        output: 32 bytes.
        mark: What is to be remembered.
    """
    marks = [number % 2**64 for number in mark.marks]
    body = _BODY.pack(output, *marks, mark.seal or b"", mark.seal is not None)
    return body + _SUM.pack(crc32(body))


def unpack(record: bytes, output: bytes) -> Mark | None:
    """Read a record; None if it is of another output, or not whole."""
    if not record.startswith(output) or len(record) != RECORD:
        return None
    body = record[: _BODY.size]
    if crc32(body) != _SUM.unpack_from(record, _BODY.size)[0]:
        return None
    _output, ino, size, mtime_ns, ctime_ns, seal, sealed = _BODY.unpack(body)
    return Mark((ino, size, mtime_ns, ctime_ns), seal if sealed else None)


def place(records: bytes, output: bytes) -> int:
    """Which of the places of a bucket a new record takes: that of the same output, an empty one, or one of the others.

    Args:
        records: The whole bucket.
        output: 32 bytes; it also decides who has to give way in a full bucket.
    """
    empty = IN_BUCKET
    for number in range(IN_BUCKET):
        here = records[number * RECORD : number * RECORD + 32]
        if here == output:
            return number
        if empty == IN_BUCKET and not any(here):
            empty = number
    return empty if empty < IN_BUCKET else output[5] % IN_BUCKET
