"""What archives and programs say, from bytes made here: cut, bent and lying."""

from collections.abc import Generator
from struct import pack

import pytest

from go_cache_safeguard.gocache.archive import Archive, Span, build_id_at, read_archive, read_program

ACTION, CONTENT = "A" * 20, "b_-9" * 5
LINES = f'go object linux amd64 go1.27.3 GOAMD64=v1 X:regabi\nbuild id "{ACTION}/{CONTENT}"\n'.encode()


def member(name: bytes, content: bytes) -> bytes:
    header = name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"644".ljust(8)
    return header + str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)


def make_object(path: bytes = b"example.com/m", flags: bytes = b" -race regabi", kind: int = 12) -> bytes:
    """An object file with the two symbols that describe a compilation, and one other before them."""
    names = [b"other", b"go:cuinfo.packagename." + path, b"go:cuinfo.producer." + path]
    head = 8 + 8 + 4 + 19 * 4
    offsets, strings = [], b""
    for name in names:
        offsets.append(head + len(strings))
        strings += name
    start = head + len(strings)
    symbols = b"".join(
        pack("<IIHBBBII", len(name), offset, 0, kind if at else 1, 0, 0, 0, 1)
        for at, (name, offset) in enumerate(zip(names, offsets, strict=True))
    )
    index = pack("<4I", 0, 0, 4, 4 + len(flags))
    data = b"main" + flags
    at_index = start + len(symbols)
    at_data = at_index + len(index)
    end = at_data + len(data)
    blocks = [start] * 7 + [at_index] * 7 + [at_data] * 3 + [end] * 2
    return b"\x00go120ld" + bytes(12) + pack("<19I", *blocks) + strings + symbols + index + data


def make_archive(directives: bytes = b"", kind: int = 12) -> bytes:
    export = member(b"__.PKGDEF", LINES + b"\n$$B\nexport data")
    return b"!<arch>\n" + export + member(b"_go_.o", LINES + directives + b"\n!\n" + make_object(kind=kind))


def answer(data: bytes, parser: Generator[Span, bytes, Archive | None]) -> Archive | None:
    try:
        at, length = next(parser)
        while True:
            assert 0 <= length <= 64 << 20, "every span is bounded"
            at, length = parser.send(data[at : at + length])
    except StopIteration as end:
        about: Archive | None = end.value
        return about


def read(data: bytes, head: int = 4096) -> Archive | None:
    return answer(data, read_archive(data[:head]))


def test_everything_is_read() -> None:
    about = Archive("example.com/m", "linux", "amd64", "go1.27.3", ("-race",), ACTION, CONTENT)
    assert read(make_archive()) == about
    assert about.target == "linux/amd64"
    assert about.race


@pytest.mark.parametrize("kind", [8, 12])
def test_the_symbol_kind_of_every_version_is_known(kind: int) -> None:
    about = read(make_archive(kind=kind))
    assert about is not None
    assert about.package == "example.com/m"


def test_an_unknown_symbol_kind_is_an_unknown_path() -> None:
    about = read(make_archive(kind=99))
    assert about == Archive(None, "linux", "amd64", "go1.27.3", (), ACTION, CONTENT)


def test_long_cgo_directives_stand_between_header_and_object() -> None:
    about = read(make_archive(b"\n$$  // cgo\n" + b'["x"],' * 5000 + b"\n$$\n\n"))
    assert about is not None
    assert about.package == "example.com/m"


def test_the_build_id_is_found_at_both_places() -> None:
    data = make_archive()
    found = build_id_at(data[:4096])
    assert found is not None
    build_id, places = found
    assert build_id == f"{ACTION}/{CONTENT}".encode()
    assert [data[place : place + 41] for place in places] == [build_id, build_id]
    assert data.count(build_id) == 2
    assert build_id_at(b"!<arch>\n") is None


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (b"go object linux amd64 go1.21.13 GOAMD64=v1 X:a,b\n", "go1.21.13"),
        (b"go object plan9 mips go1.27.3\n", "go1.27.3"),
        (b"go object js wasm devel go1.28-abcdef Mon Jan 1 GOWASM=signext X:\n", "devel go1.28-abcdef Mon Jan 1"),
    ],
)
def test_every_form_of_the_object_line_is_read(line: bytes, version: str) -> None:
    data = make_archive().replace(LINES.split(b"\n")[0] + b"\n", line)
    about = read(data)
    assert about is not None
    assert about.version == version


def test_a_cut_archive_says_what_it_holds_or_nothing() -> None:
    data = make_archive()
    for end in range(len(data)):
        about = read(data[:end])
        assert about is None or (about.build_action, about.version) == (ACTION, "go1.27.3")


def test_bent_lengths_never_raise() -> None:
    data = make_archive()
    for at in range(len(data)):
        for value in (0, 0xFF):
            read(data[:at] + bytes([value]) + data[at + 1 :])


@pytest.mark.parametrize("data", [b"", b"!<arch>\n", b"!<arch>\nnot a member", b"\x7fELF", bytes(4096)])
def test_what_is_no_archive_says_nothing(data: bytes) -> None:
    assert read(data) is None


PROGRAM_ID = f"{ACTION}/{'c' * 20}/{'d' * 20}/{CONTENT}".encode()


def make_elf(machine: int = 62, version: bytes = b"go1.27.3 X:y") -> bytes:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    note = pack("<III", 4, 83, 4) + b"Go\x00\x00" + PROGRAM_ID + b"\x00"
    info = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16) + bytes([len(version)]) + version
    table_end = 64 + 2 * 56
    segments = pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 4096, 0, 0)
    segments += pack("<IIQQQQQQ", 1, 6, table_end + len(note), 0, 0, len(info), 0, 0)
    return header + segments + note + info


def test_a_program_tells_its_build_id_toolchain_and_target() -> None:
    data = make_elf()
    about = answer(data, read_program("app", data))
    assert about == Archive("app", "linux", "amd64", "go1.27.3", (), ACTION, CONTENT)


def test_a_program_for_another_system_tells_its_build_id_only() -> None:
    data = b'\xcf\xfa\xed\xfe\xff Go build ID: "' + PROGRAM_ID + b'"\n \xff'
    assert answer(data, read_program("app", data)) == Archive("app", "", "", "", (), ACTION, CONTENT)


@pytest.mark.parametrize("version", [b"", b"rust", b"x" * 200])
def test_build_information_that_is_none_is_no_toolchain(version: bytes) -> None:
    data = make_elf(machine=9999, version=version)
    about = answer(data, read_program("app", data))
    assert about is not None
    assert (about.version, about.goos, about.goarch) == ("", "", "")


def test_a_program_without_build_id_says_nothing() -> None:
    assert answer(b"#!/bin/sh\n", read_program("app", b"#!/bin/sh\n")) is None


def test_a_cut_or_bent_program_never_raises() -> None:
    data = make_elf()
    for at in range(len(data)):
        answer(data[:at], read_program("app", data[:at]))
        bent = data[:at] + b"\xff" + data[at + 1 :]
        answer(bent, read_program("app", bent))
