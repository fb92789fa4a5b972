"""`verify.image`: sections of PE and Mach-O files that are made here; files that go made: tests/real."""

import struct
import zlib

import pytest

from go_cache_safeguard.verify.image import Format, ImageError, debug_sections, format_of

INFO, LINE = b"information " * 9, b"lines " * 7


def packed(data: bytes) -> bytes:
    return b"ZLIB" + struct.pack(">Q", len(data)) + zlib.compress(data)


def macho(sections: dict[str, bytes]) -> bytes:
    """One segment with these sections, and a load command of another kind before it."""
    command = struct.pack(
        "<II16sQQQQIIII", 0x19, 72 + 80 * len(sections), b"__DWARF", 0, 0, 0, 0, 7, 3, len(sections), 0
    )
    other = struct.pack("<II", 0x2, 16) + bytes(8)
    at = 32 + len(other) + 72 + 80 * len(sections)
    table, body = b"", b""
    for name, data in sections.items():
        fields = (name.encode(), b"__DWARF", 0, len(data), at + len(body), 0, 0, 0, 0, 0, 0, 0)
        table += struct.pack("<16s16sQQIIIIIIII", *fields)
        body += data
    header = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x01000007, 3, 2, 2, len(other) + 72 + len(table), 0, 0)
    return header + other + command + table + body


def pe(sections: dict[str, bytes]) -> bytes:
    """Long names lie in the string table, as Go's linker writes them."""
    at = 0x40 + 24 + 40 * len(sections)
    table, body, strings = b"", b"", struct.pack("<I", 0)
    for name, data in sections.items():
        short = name.encode() if len(name) <= 8 else f"/{len(strings)}".encode()
        if len(name) > 8:
            strings += name.encode() + b"\0"
        raw = data + bytes(-len(data) % 16)
        table += struct.pack("<8sIIIIIIHHI", short, len(data), 0, len(raw), at + len(body), 0, 0, 0, 0, 0)
        body += raw
    header = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, at + len(body), 0, 0, 0)
    return header + coff + table + body + strings


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x7fELF\x02", Format.ELF),
        (macho({}), Format.MACHO),
        (pe({}), Format.PE),
        (b"\0asm", Format.OTHER),
        (b"", Format.OTHER),
        (b"!<arch>\n", Format.OTHER),
    ],
)
def test_a_format_is_told_by_its_first_bytes(data: bytes, found: Format) -> None:
    assert format_of(data) is found


@pytest.mark.parametrize("data", [INFO, packed(INFO)])
@pytest.mark.parametrize("prefix", ["__", "__z"])
def test_debug_sections_of_mach_o_are_found_and_unpacked(data: bytes, prefix: str) -> None:
    image = macho(
        {"__text": b"code", f"{prefix}debug_info": packed(INFO) if prefix == "__z" else data, "__debug_line": LINE}
    )
    assert debug_sections(image) == {".debug_info": INFO, ".debug_line": LINE}


def test_debug_sections_of_pe_have_their_names_in_the_string_table_and_lose_their_padding() -> None:
    image = pe({".text": b"code", ".debug_info": INFO, ".zdebug_line": packed(LINE)})
    assert debug_sections(image) == {".debug_info": INFO, ".debug_line": LINE}


def test_a_stripped_image_has_none() -> None:
    assert debug_sections(macho({"__text": b"x"})) == debug_sections(pe({".text": b"x"})) == {}


@pytest.mark.parametrize(
    "data",
    [
        macho({"__debug_info": INFO})[:-1],
        macho({"__debug_info": INFO})[:60],
        macho({"__zdebug_info": INFO}),
        macho({"__zdebug_info": packed(INFO)[:-20]}),
        macho({"__zdebug_info": b"ZLIB" + struct.pack(">Q", 1 << 40) + zlib.compress(INFO)}),
        pe({".debug_info": INFO}).replace(b"PE\0\0", b"NE\0\0"),
        pe({".debug_info": INFO})[:90],
        b"MZ",
        macho({})[:16] + struct.pack("<I", 1 << 30) + bytes(64),
    ],
)
def test_an_image_that_contradicts_itself_is_said_to(data: bytes) -> None:
    with pytest.raises(ImageError):
        debug_sections(data)
