"""One member of a snapshot's archive as the blocks of a POSIX pax archive, and strictly back.

Knows:     the headers that we write: regular files, numbers in octal, and pax records for what does not fit there.
Called by: `snapshot.archive`.
Never:     accepts a header that we would not have written, to the last bit: what is read is written again and compared.
Source:    POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". GNU tar 1.34 and Python's tarfile read it; the
           archive is padded to records of 20 blocks, as tar does.
"""

from typing import NamedTuple

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.snapshot.manifest import refusal

TOP = "snapshot/"
FILES = "snapshot/files/"
"""Before the name of every entry."""
MANIFEST = "snapshot/MANIFEST.json"
SUMS = "snapshot/SHA256SUMS"

BLOCK = 512
RECORD = 10_240

_S = 10**9
_OCTAL = 8**11
"""Numbers from here on do not fit into a header's field."""
_NAME = 100
_PAX_NAME = b"././@PaxHeader"
_RECORDS_LIMIT = 8192
_BEFORE_TYPE = 156
_SUM = slice(148, 156)
_TAILS = {
    flag: flag + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x00" * 2 + bytes(167) for flag in (b"0", b"x")
}
_TAIL_SUMS = {flag: sum(tail) + 8 * 0x20 for flag, tail in _TAILS.items()}
_FOREIGN = {
    b"\x00": "a file as tar wrote it before POSIX",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"g": "a global pax header",
    b"D": "a GNU list of a directory",
    b"K": "a GNU long name",
    b"L": "a GNU long name",
    b"M": "a part of a file that began on another volume",
    b"N": "a GNU long name",
    b"S": "a sparse file",
    b"V": "a volume's label",
    b"X": "a Solaris extended header",
}


class ArchiveBad(Failure):
    """An archive is not one that we wrote."""

    id = "archive-bad"
    exit_code = ExitCode.TARGET
    meaning = "a snapshot's archive is damaged, incomplete, was made by something else, or wants to lead somewhere else"


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Whole, beginning with `TOP`.
        size: Bytes.
        mode: The nine permission bits.
        mtime_ns: Nanoseconds since 1970-01-01 UTC.
    """

    name: str
    size: int
    mode: int
    mtime_ns: int


def encode(member: Member) -> bytes:
    """All blocks that stand before a member's content."""
    name = member.name.encode()
    seconds, fraction = divmod(member.mtime_ns, _S)
    records = b""
    if fraction or not 0 <= seconds < _OCTAL:
        records += _record(b"mtime", _decimal(member.mtime_ns))
        if not 0 <= seconds < _OCTAL:
            seconds = 0
    if len(name) > _NAME or not name.isascii():
        records += _record(b"path", name)
    size = member.size
    if size >= _OCTAL:
        records += _record(b"size", b"%d" % size)
        size = 0
    header = _header(name[:_NAME], member.mode, size, seconds, b"0")
    if not records:
        return header
    return _header(_PAX_NAME, 0o644, len(records), 0, b"x") + records + padding(len(records)) + header


def padding(size: int) -> bytes:
    """What fills the last block after a content of so many bytes."""
    return bytes(-size % BLOCK)


def padded(size: int) -> int:
    """Bytes that a content of so many bytes takes."""
    return size + -size % BLOCK


def trailer(position: int) -> bytes:
    """What ends an archive after so many bytes: two empty blocks, and more up to a whole record."""
    return bytes(2 * BLOCK + -(position + 2 * BLOCK) % RECORD)


def header_size(first: bytes) -> int:
    """Bytes of a whole header.

    Args:
        first: Its first block.

    Raises:
        ArchiveBad: It does not begin a header that we write.
    """
    _refuse_foreign(first)
    if first[_BEFORE_TYPE : _BEFORE_TYPE + 1] == b"0":
        return BLOCK
    size = _number(first[124:136])
    if not 0 < size <= _RECORDS_LIMIT:
        raise bad(f"it has an extended header of {size} bytes")
    return BLOCK + padded(size) + BLOCK


def decode(header: bytes) -> Member:
    """Read a whole header, believing nothing.

    Args:
        header: As many bytes as `header_size` said.

    Raises:
        ArchiveBad: It is not exactly what `encode` writes, or its name leads elsewhere.
    """
    records: dict[bytes, bytes] = {}
    if header[_BEFORE_TYPE : _BEFORE_TYPE + 1] == b"x":
        size = _number(header[124:136])
        records = _records(header[BLOCK : BLOCK + size])
        _refuse_foreign(header[-BLOCK:])
    last = header[-BLOCK:]
    name = _text(records.get(b"path", last[:_NAME].rstrip(b"\x00")))
    size = _whole(records[b"size"]) if b"size" in records else _number(last[124:136])
    mtime_ns = _nanoseconds(records[b"mtime"]) if b"mtime" in records else _number(last[136:148]) * _S
    mode = _number(last[100:108])
    if mode > 0o777:
        raise bad(f"{name[:200]!r} has the mode {mode:o}")
    if why := _refuse_name(name):
        raise bad(f"{name[:200]!r} leads elsewhere or cannot be shown: {why}")
    member = Member(name, size, mode, mtime_ns)
    if encode(member) != header:
        raise bad(f"the header of {name[:200]!r} is not in the form that we write")
    return member


def bad(why: str) -> ArchiveBad:
    """The failure for an archive, in a sentence."""
    return ArchiveBad(
        f"the archive cannot be trusted: {why}",
        not_done="nothing was taken from it",
        hint="fetch it again; only archives that `snapshot create` wrote can be read",
    )


def _header(name: bytes, mode: int, size: int, mtime: int, flag: bytes) -> bytes:
    head = b"%s%07o\x000000000\x000000000\x00%011o\x00%011o\x00" % (name.ljust(_NAME, b"\x00"), mode, size, mtime)
    return b"%s%06o\x00 %s" % (head, sum(head) + _TAIL_SUMS[flag], _TAILS[flag])


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>` and a line break, where the length counts its own digits too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal(mtime_ns: int) -> bytes:
    seconds, fraction = divmod(abs(mtime_ns), _S)
    return b"%s%d.%09d" % (b"-" if mtime_ns < 0 else b"", seconds, fraction)


def _refuse_foreign(block: bytes) -> None:
    if len(block) != BLOCK or block[257:265] != b"ustar\x0000":
        raise bad("it is not in POSIX format")
    flag = block[_BEFORE_TYPE : _BEFORE_TYPE + 1]
    if flag in _FOREIGN:
        raise bad(f"it holds {_FOREIGN[flag]}")
    if flag not in _TAILS:
        raise bad(f"it holds something of the unknown type {flag!r}")
    total = sum(block) - sum(block[_SUM]) + 8 * 0x20
    if block[_SUM] != b"%06o\x00 " % total:
        raise bad("the checksum of a header is wrong")


def _records(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        digits, _, _ = data[:8].partition(b" ")
        length = _whole(digits)
        record, data = data[:length], data[length:]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if not equals or not value.endswith(b"\n") or key in found:
            raise bad("an extended header is damaged")
        if key not in {b"mtime", b"path", b"size"}:
            raise bad(f"it has the extended attribute {key[:80].decode('ascii', 'backslashreplace')!r}")
        found[key] = value[:-1]
    return found


def _refuse_name(name: str) -> str | None:
    if name in {MANIFEST, SUMS}:
        return None
    if not name.startswith(FILES):
        return f"it does not begin with {FILES}"
    return refusal(name.removeprefix(FILES))


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        raise bad("a number is not in octal but in base 256")
    digits = field[:-1]
    if field[-1:] != b"\x00" or not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise bad("a number in a header is none")
    return int(digits, 8)


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19 or (digits[:1] == b"0" and digits != b"0"):
        raise bad("a number in an extended header is none")
    return int(digits)


def _nanoseconds(value: bytes) -> int:
    sign, digits = (-1, value[1:]) if value[:1] == b"-" else (1, value)
    seconds, point, fraction = digits.partition(b".")
    if not point or len(fraction) != 9 or not fraction.isdigit():
        raise bad("a time in an extended header is none")
    return sign * (_whole(seconds) * _S + int(fraction))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise bad("a name is not UTF-8") from None
