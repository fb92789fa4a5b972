"""Read the files of a zip, whatever the zip says.

Knows:     how a zip is read in one way only, and how much of it is ever held in memory.
Called by: `gomod.read`.
Never:     extracts, seeks in a file that others share, or hands out more bytes than the zip's own list says.
Source:    golang.org/x/mod/zip/zip.go `MaxZipFile`, `checkZip`; archive/zip/reader.go `checksumReader`, `findBodyOffset`: what is
           shorter or longer than it says, or has another CRC, is no file; read in go1.21.13 and go1.26.8.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from go_cache_safeguard.gomod.zipend import TAIL, find_list
from go_cache_safeguard.gomod.ziplist import DEFLATED, HEADER, STORED, Member, parse_list, why_odd

_ZLIB: Any = import_module("isal.isal_zlib" if find_spec("isal") else "zlib")
"""ISA-L inflates twice as fast as zlib (848 beside 437 MB/s) and has its interface; it is not built for every processor."""
_WINDOW = -15
"""No header around the packed bytes, and the largest window."""

MAX_ZIP = 500 << 20
"""bytes: Go accepts neither a larger zip nor one that holds more."""
SMALL = 4 << 20
"""bytes: larger files are never in memory as a whole."""
_TINY = 16 << 10
_CHUNK = 256 << 10
_EXTRA = 64
"""bytes that a header usually has besides the name; if it has more, it is read again."""


class ZipError(Exception):
    """It is no sound zip; the text ends a sentence that begins with it."""


class ZipFiles:
    """The files of an open zip."""

    def __init__(self, zip_: int | bytes, size: int, prefix: bytes) -> None:
        """Read the list of files.

        Args:
            zip_: Open zip, which the caller closes, or all of it.
            size: Its bytes.
            prefix: What every name begins with: `module@version/`.

        Raises:
            ZipError: It is none, or can be read in more than one way.
            OSError: It cannot be read.
        """
        self._zip = zip_ if isinstance(zip_, int) else memoryview(zip_)
        self.files: dict[bytes, Member] = {}
        self.odd: list[tuple[bytes, str]] = []
        if size > MAX_ZIP:
            raise ZipError(f"it is larger than the {MAX_ZIP >> 20} MiB that go accepts")
        where = find_list(bytes(self._some(TAIL, max(0, size - TAIL))), size)
        if isinstance(where, str):
            raise ZipError(where)
        members = parse_list(bytes(self._read(where.size, where.offset)), where.files)
        if isinstance(members, str):
            raise ZipError(members)
        if sum(member.size for member in members) > MAX_ZIP:
            raise ZipError(f"it says that it holds more than the {MAX_ZIP >> 20} MiB that go accepts")
        for member in members:
            self._sort_in(member, prefix)

    def _sort_in(self, member: Member, prefix: bytes) -> None:
        name = member.name.removeprefix(prefix)
        if name == member.name:
            self.odd.append((name, "its name does not begin with module@version/"))
        elif why := why_odd(member, name, again=name in self.files):
            self.odd.append((member.name, why))
        else:
            self.files[name] = member

    def content(self, member: Member) -> bytes:
        """All of a file of at most `SMALL` bytes.

        Raises:
            ZipError: It is not what the list says.
        """
        offset, body = self._body(member)
        if len(body) < member.packed:
            body = self._read(member.packed, offset)
        content = bytes(body) if member.method == STORED else _unpack(member, body)
        if len(content) != member.size:
            raise _bad(member, "is longer or shorter than the zip says")
        if _ZLIB.crc32(content) != member.crc:
            raise _bad(member, "has another CRC than the zip says")
        return content

    def digest(self, member: Member) -> bytes:
        """The SHA-256 of a file of any size.

        Raises:
            ZipError: It is not what the list says.
        """
        if member.size <= SMALL and member.packed <= SMALL:
            return sha256(self.content(member)).digest()
        hashed, size, crc = sha256(), 0, 0
        try:
            for chunk in self._chunks(member):
                hashed.update(chunk)
                crc = _ZLIB.crc32(chunk, crc)
                size += len(chunk)
        except _ZLIB.error as error:
            raise _bad(member, "cannot be unpacked") from error
        if size != member.size:
            raise _bad(member, "is longer or shorter than the zip says")
        if crc != member.crc:
            raise _bad(member, "has another CRC than the zip says")
        return hashed.digest()

    def _body(self, member: Member) -> tuple[int, memoryview]:
        """Where the packed content of a file begins, and as much of it as was read with its header, which may be all."""
        data = self._some(HEADER.size + len(member.name) + _EXTRA + min(member.packed, SMALL), member.offset)
        if len(data) < HEADER.size:
            raise _bad(member, "lies outside of the zip")
        header = HEADER.unpack_from(data)
        begin = HEADER.size + header[9] + header[10]
        if header[0] != b"PK\x03\x04" or data[HEADER.size : HEADER.size + header[9]] != member.name:
            raise _bad(member, "is another one by its own header")
        return member.offset + begin, data[begin : begin + member.packed]

    def _chunks(self, member: Member) -> Iterator[bytes]:
        """Unpacked, at most one byte more than the list says."""
        offset, _ = self._body(member)
        left, room = member.packed, member.size + 1
        unpack = _ZLIB.decompressobj(_WINDOW) if member.method == DEFLATED else None
        while left and room > 0 and not (unpack and unpack.eof):
            packed = bytes(self._read(min(left, _CHUNK), offset))
            offset += len(packed)
            left -= len(packed)
            if unpack is None:
                yield packed
                room -= len(packed)
            while unpack is not None and packed and room > 0:
                chunk = unpack.decompress(packed, min(room, _CHUNK))
                packed = unpack.unconsumed_tail
                room -= len(chunk)
                yield chunk
        if unpack is not None and not unpack.eof:
            raise _bad(member, "is longer or shorter than the zip says")

    def _read(self, size: int, offset: int) -> memoryview:
        data = self._some(size, offset)
        if len(data) < size:
            raise ZipError("it is shorter than it says")
        return data

    def _some(self, size: int, offset: int) -> memoryview:
        if isinstance(self._zip, int):
            return memoryview(os.pread(self._zip, size, offset))
        return self._zip[offset : offset + size]


def _unpack(member: Member, body: memoryview) -> bytes:
    try:
        if member.packed <= _TINY:
            # One call: no more than 1032 bytes come of one, so that what lies about its size does not fill the memory either.
            whole: bytes = _ZLIB.decompress(body, _WINDOW, member.size or 1)
            return whole
        unpack = _ZLIB.decompressobj(_WINDOW)
        content: bytes = unpack.decompress(body, member.size + 1)
    except _ZLIB.error as error:
        raise _bad(member, "cannot be unpacked") from error
    if not unpack.eof:
        raise _bad(member, "is longer or shorter than the zip says")
    return content


def _bad(member: Member, what: str) -> ZipError:
    return ZipError(f"{member.name.decode('utf-8', 'backslashreplace')} {what}")
