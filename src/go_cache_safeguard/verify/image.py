"""Which kind of program a file is, and where its debug sections lie if it is a PE or a Mach-O file.

Knows:     the magic numbers, the section tables of PE and of 64-bit Mach-O, and how Go's linker names and packs debug sections.
Called by: `verify.binary`, which reads ELF with a library that knows it better.
Never:     trusts an offset or a size of the file.
Source:    Microsoft PE format; mach-o/loader.h; cmd/link/internal/ld/{macho,pe,dwarf}.go: a name longer than 8 lies in the string
           table of a PE file; `__zdebug_x` begins with `ZLIB` and the size, 8 bytes, big-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import StrEnum

_UNPACKED_LIMIT = 1 << 30
_MACHO_64 = b"\xcf\xfa\xed\xfe"
_SEGMENT_64 = 0x19


class Format(StrEnum):
    """What a program is."""

    ELF = "ELF"
    PE = "PE"
    MACHO = "Mach-O"
    OTHER = "of a format that is not read here"


class ImageError(ValueError):
    """The file contradicts itself."""


def format_of(data: bytes) -> Format:
    """Tell by the first bytes."""
    if data.startswith(b"\x7fELF"):
        return Format.ELF
    if data.startswith(_MACHO_64):
        return Format.MACHO
    return Format.PE if data.startswith(b"MZ") else Format.OTHER


def debug_sections(data: bytes) -> dict[str, bytes]:
    """The debug sections, unpacked, under their ELF names: `.debug_info`.

    Args:
        data: A whole PE or Mach-O file.

    Raises:
        ImageError: It contradicts itself.
    """
    read = _macho if format_of(data) is Format.MACHO else _pe
    found = {}
    try:
        for name, at, size in read(data):
            section = data[at : at + size]
            if len(section) != size:
                raise ImageError(f"section {name} goes beyond the end of the file")
            if name.startswith(".zdebug_"):
                found[f".{name[2:]}"] = _unpack(section)
            elif name.startswith(".debug_"):
                found[name] = _unpack(section) if section.startswith(b"ZLIB") else section
    except (struct.error, zlib.error, IndexError) as error:
        raise ImageError(f"it contradicts itself: {error}") from error
    return found


def _unpack(section: bytes) -> bytes:
    if not section.startswith(b"ZLIB"):
        raise ImageError("a packed section has no header")
    (size,) = struct.unpack_from(">Q", section, 4)
    if size > _UNPACKED_LIMIT:
        raise ImageError(f"a packed section claims {size} bytes")
    unpacked = zlib.decompressobj().decompress(section[12:], size or 1)
    if len(unpacked) != size:
        raise ImageError("a packed section is shorter than it claims")
    return unpacked


def _macho(data: bytes) -> Iterator[tuple[str, int, int]]:
    (commands,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(commands):
        kind, size = struct.unpack_from("<II", data, at)
        if size < 8:
            raise ImageError("a load command without a length")
        if kind == _SEGMENT_64:
            (sections,) = struct.unpack_from("<I", data, at + 64)
            for number in range(min(sections, (size - 72) // 80)):
                yield _macho_section(data, at + 72 + 80 * number)
        at += size


def _macho_section(data: bytes, at: int) -> tuple[str, int, int]:
    name, _, _, size, offset = struct.unpack_from("<16s16sQQI", data, at)
    text = name.rstrip(b"\0").decode("ascii", "replace")
    return f".{text.removeprefix('__')}", offset, size if text.startswith(("__debug", "__zdebug")) else 0


def _pe(data: bytes) -> Iterator[tuple[str, int, int]]:
    (at,) = struct.unpack_from("<I", data, 0x3C)
    magic, _, sections, _, symbols_at, symbols, optional, _ = struct.unpack_from("<4sHHIIIHH", data, at)
    if magic != b"PE\0\0":
        raise ImageError("no PE header")
    strings = symbols_at + 18 * symbols
    for number in range(sections):
        name, virtual, _, raw, offset = struct.unpack_from("<8sIIII", data, at + 24 + optional + 40 * number)
        text = name.rstrip(b"\0").decode("ascii", "replace")
        if text.startswith("/") and text[1:].isdigit():
            start = strings + int(text[1:])
            text = data[start : data.index(b"\0", start)].decode("ascii", "replace") if start < len(data) else text
        debug = text.startswith((".debug_", ".zdebug_"))
        yield text, offset, (min(virtual, raw) if virtual else raw) if debug else 0
