"""Headers: what we write is read, GNU tar's and everybody else's specialities are refused by name."""

import io
import tarfile

import pytest

from go_cache_safeguard.snapshot.pax import (
    BLOCK,
    FILES,
    MANIFEST,
    RECORD,
    ArchiveBad,
    Member,
    decode,
    encode,
    header_size,
    padded,
    padding,
    trailer,
)

PLAIN = Member(f"{FILES}00/a-a", 175, 0o644, 1_700_000_000 * 10**9)
FULL = Member(f"{FILES}{'é' * 60}/b", 9 << 30, 0o555, -1_500_000_000)


def sealed(block: bytes) -> bytes:
    """A header block with the right checksum."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\x00 " % sum(blank) + block[156:]


def changed(at: int, data: bytes, block: bytes | None = None) -> bytes:
    """A header with other bytes somewhere and the right checksum."""
    block = block or encode(PLAIN)
    return sealed(block[:at] + data + block[at + len(data) :])


def extended(records: bytes, last: bytes | None = None) -> bytes:
    """An extended header with these records before a header."""
    first = changed(124, b"%011o\x00" % len(records), encode(PLAIN._replace(mtime_ns=1))[:BLOCK])
    return first + records + padding(len(records)) + (last or encode(PLAIN))


def read(header: bytes) -> Member:
    """What a reader of archives does with a header."""
    return decode(header[: header_size(header[:BLOCK])])


@pytest.mark.parametrize(
    "member",
    [
        PLAIN,
        FULL,
        PLAIN._replace(mtime_ns=1),
        PLAIN._replace(mtime_ns=8**11 * 10**9),
        PLAIN._replace(size=8**11 - 1),
        PLAIN._replace(size=8**11),
        PLAIN._replace(name=MANIFEST),
        PLAIN._replace(name=FILES + "x" * 84),
        PLAIN._replace(name=FILES + "x" * 86),
        PLAIN._replace(name=FILES + "/".join(["x" * 250] * 16)),
    ],
)
def test_what_was_written_is_read(member: Member) -> None:
    header = encode(member)
    assert header_size(header[:BLOCK]) == len(header)
    assert decode(header) == member


@pytest.mark.parametrize("member", [PLAIN, FULL._replace(size=5), PLAIN._replace(mtime_ns=1_700_000_000_123_456_789)])
def test_pythons_tarfile_reads_the_same(member: Member) -> None:
    data = encode(member) + bytes(padded(member.size)) + trailer(0)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        [info] = archive.getmembers()
    assert (info.name, info.size, info.mode, info.uid, info.uname) == (member.name, member.size, member.mode, 0, "")
    assert info.mtime == pytest.approx(member.mtime_ns / 10**9)


def test_an_archive_ends_at_a_whole_record_with_two_empty_blocks() -> None:
    for position in range(0, 3 * RECORD, BLOCK):
        end = trailer(position)
        assert (position + len(end)) % RECORD == 0
        assert len(end) >= 2 * BLOCK


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a device"),
        (b"4", "a device"),
        (b"5", "a directory"),
        (b"6", "a pipe"),
        (b"7", "a contiguous file"),
        (b"\x00", "before POSIX"),
        (b"g", "a global pax header"),
        (b"D", "a GNU list"),
        (b"K", "a GNU long name"),
        (b"L", "a GNU long name"),
        (b"M", "another volume"),
        (b"N", "a GNU long name"),
        (b"S", "a sparse file"),
        (b"V", "a volume's label"),
        (b"X", "a Solaris"),
        (b"Z", "unknown type"),
    ],
)
def test_whatever_is_no_regular_file_is_refused_by_name(flag: bytes, why: str) -> None:
    for header in (changed(156, flag), encode(PLAIN._replace(mtime_ns=1))[:-BLOCK] + changed(156, flag)):
        with pytest.raises(ArchiveBad, match=why):
            read(header)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (changed(257, b"ustar  \x00"), "not in POSIX format"),
        (changed(257, bytes(8)), "not in POSIX format"),
        (encode(PLAIN)[:100], "not in POSIX format"),
        (encode(PLAIN)[:148] + b"000000\x00 " + encode(PLAIN)[156:], "checksum"),
        (changed(124, b"\xff" * 12), "base 256"),
        (changed(124, b"\x80" + bytes(10) + b"\x01"), "base 256"),
        (changed(136, b"\xff" * 12), "base 256"),
        (changed(124, b"        257 "), "a number in a header is none"),
        (changed(124, b"00000000389\x00"), "a number in a header is none"),
        (changed(100, b"0004755\x00"), "has the mode 4755"),
        (changed(0, b"/etc/passwd\x00".ljust(100, b"\x00")), "leads elsewhere"),
        (changed(0, b"snapshot/files/../../x".ljust(100, b"\x00")), "leads elsewhere"),
        (changed(0, b"snapshot/files/./x".ljust(100, b"\x00")), "leads elsewhere"),
        (changed(0, b"snapshot/files//x".ljust(100, b"\x00")), "leads elsewhere"),
        (changed(0, b"snapshot/files/x\x1b[2J".ljust(100, b"\x00")), "cannot be shown"),
        (changed(0, b"snapshot/files/\xff".ljust(100, b"\x00")), "not UTF-8"),
        (changed(0, b"snapshot/MANIFEST.json/x".ljust(100, b"\x00")), "does not begin with"),
        (changed(108, b"0001750\x00"), "not in the form that we write"),
        (changed(265, b"root"), "not in the form that we write"),
        (changed(345, b"/"), "not in the form that we write"),
        (changed(157, b"/etc/passwd"), "not in the form that we write"),
        (changed(329, b"0000001\x00"), "not in the form that we write"),
    ],
)
def test_a_header_that_we_would_not_write_is_refused(header: bytes, why: str) -> None:
    with pytest.raises(ArchiveBad, match=why):
        read(header)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (b"20 path=/etc/passwd\n", "leads elsewhere"),
        (b"29 path=snapshot/files/../../x\n"[:-1], "damaged"),
        (b"33 path=snapshot/files/../../abc\n", "leads elsewhere"),
        (b"24 path=snapshot/files/x\n"[:-1], "damaged"),
        (b"25 path=snapshot/files/x\n", "not in the form that we write"),
        (b"12 size=100\n", "not in the form that we write"),
        (b"13 size=-100\n", "a number in an extended header is none"),
        (b"12 size=007\n", "a number in an extended header is none"),
        (b"24 linkpath=/etc/shadow\n", "the extended attribute 'linkpath'"),
        (b"22 GNU.sparse.major=1\n", "the extended attribute 'GNU.sparse.major'"),
        (b"11 atime=1\n", "the extended attribute 'atime'"),
        (b"9 uid=99\n", "the extended attribute 'uid'"),
        (b"22 mtime=1.000000001\n", "not in the form that we write"),
        (b"21 mtime=1.000000001\n" * 2, "damaged"),
        (b"13 mtime=1.5\n", "a time in an extended header is none"),
        (b"21 mtime=1.000000000\n", "not in the form that we write"),
        (b"22 mtime=-0.000000000\n", "not in the form that we write"),
        (b"x path=a\n", "a number in an extended header is none"),
        (b"99999 path=a\n", "leads elsewhere"),
        (b"0 path=a\n", "damaged"),
    ],
)
def test_an_extended_header_that_we_would_not_write_is_refused(records: bytes, why: str) -> None:
    with pytest.raises(ArchiveBad, match=why):
        read(extended(records))


@pytest.mark.parametrize("size", [b"%011o\x00" % 0, b"%011o\x00" % (1 << 20)])
def test_an_extended_header_of_an_absurd_size_is_refused(size: bytes) -> None:
    with pytest.raises(ArchiveBad, match="an extended header of"):
        header_size(changed(124, size, encode(PLAIN._replace(mtime_ns=1))[:BLOCK]))


def test_an_extended_header_before_another_one_is_refused() -> None:
    one = encode(PLAIN._replace(mtime_ns=1))
    with pytest.raises(ArchiveBad, match="leads elsewhere"):
        read(one[:-BLOCK] + one)


def test_what_fills_a_block_must_be_empty() -> None:
    header = encode(PLAIN._replace(mtime_ns=1))
    assert header[900] == 0
    with pytest.raises(ArchiveBad):
        read(header[:900] + b"x" + header[901:])
