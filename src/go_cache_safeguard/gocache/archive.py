"""What a compiled package says about itself.

Knows:     the header of a Go archive, and where in the object file the import path, the compiler's flags and the names of the
           source files are.
Called by: `gocache.disk` drives the reading; `gocache.fsck`, `gocache.summary` and the planners use the answer.
Never:     opens a file, or trusts a length: every span it asks for is bounded, and nonsense is an unknown, not an error.
Source:    cmd/internal/archive (ar members), cmd/internal/goobj/objfile.go (`Header`, `Sym`, blocks) and
           cmd/compile/internal/dwarfgen (`RecordFlags`, `RecordPackageName`), read in go1.21.13 and go1.27.3; where source
           directories stand, and that the lengths of blocks do not depend on them, seen in archives of go1.21.13, go1.24.11
           and go1.27.3.

The import path is the tail of the name of the symbol `go:cuinfo.packagename.<path>`, which every compiled package defines,
and the flags (`-race`, `-N`, ...) are the data of `go:cuinfo.producer.<path>`. A program's path is `main`, as the compiler
is told it.

The table of files begins with the package's own: absolute, below `$GOROOT`, or with -trimpath the import path. Files of other
packages follow, whose functions were inlined. Apart from names an object has the same blocks wherever its source lies.
"""

import re
import sys
from collections.abc import Generator
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias
from zlib import crc32

Span: TypeAlias = tuple[int, int]
"""Offset and length, in bytes, of what should be read next."""

HEAD = 4096
"""bytes: the header of every archive of go1.21 to go1.27 ends before; it is a line of versions and one of build ID."""

_HEADER = re.compile(
    rb"""!<arch>\n
    __\.PKGDEF[0-9 ]{39}(?P<size>[0-9 ]{10})`\n
    go[ ]object[ ](?P<goos>[a-z0-9]+)[ ](?P<goarch>[a-z0-9]+)[ ](?P<version>[!-~][ -~]*?)
    (?:[ ]GO[A-Z0-9_]+=[!-~]+)?(?:[ ]X:[!-~]*)?\n
    build[ ]id[ ]"(?P<action>[A-Za-z0-9_-]{20})/(?P<content>[A-Za-z0-9_-]{20})"\n""",
    re.VERBOSE,
)
_FIRST_MEMBER = 8 + 60
"""bytes: `!<arch>` and a newline, then the member's header."""
_OBJECT = b"\x00go120ld"
_OBJECT_FOLLOWS = b"\n!\n" + _OBJECT
_BLOCKS = Struct("<8s8xI19I")
_SYMBOL = Struct("<IIHBBBII")
_PACKAGE = b"go:cuinfo.packagename."
_PRODUCER = b"go:cuinfo.producer."
_TYPES = (8, 12)
"""`SDWARFCUINFO` in objabi/symkind.go: 8 up to go1.23, 12 since the FIPS kinds came in between (go1.24)."""
_PACKAGES, _FILES, _END_OF_FILES = 1, 2, 3
_SYMBOLS, _HASHED64, _HASHED, _OTHERS, _REFERENCES, _DATA_INDEX, _DATA, _NAMES = 3, 4, 5, 6, 7, 13, 16, 17
"""Numbers of blocks; `_OTHERS` are definitions that belong to no package (`NonPkgDef`)."""
_MOST_DIRECTIVES = 1 << 20
_MOST_TABLE = 64 << 20
_MOST_NAME = 4096
_MOST_STRINGS = 256
"""Of files and of imports: the first ones say what we ask."""
_MOST_TEXT = 1 << 16
_REFERENCE = Struct("<II")
_OLD_FILE = "gofile.."
"""Stands before the name of each file up to go1.23."""
_CGO = "_cgo_gotypes.go"
_TEST_MAIN = "testing/internal/testdeps"
"""What only the main package of a test imports."""
_CACHED = re.compile(r".*/[0-9a-f]{2}/[0-9a-f]{64}-d")
"""A file that `go` generated and compiled where it lies, in its cache: its directory says nothing."""
_VERSION = re.compile(r"@v[^/]+")
GOROOT = "$GOROOT/"
"""How the compiler writes the directory of the toolchain."""

PROGRAM_HEAD = 1 << 16
"""bytes: the build ID of a program stands in its first pages."""
_PROGRAM_ID = re.compile(
    rb"([A-Za-z0-9_-]{20})/[A-Za-z0-9_-]{20}/[A-Za-z0-9_-]{20}/([A-Za-z0-9_-]{20})(?![A-Za-z0-9_-])"
)
_BUILD_INFO = b"\xff Go buildinf:"
_MAIN = re.compile(rb"\xff Go buildinf:.{18,256}?path\t([^\n]{1,4096})\n", re.DOTALL)
_ELF = Struct("<18xH12xQ16xH6x")
_SEGMENT = Struct("<IIQ16xQ16x")
_MACHINES = {62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}


@dataclass(slots=True, unsafe_hash=True)
class Archive:
    """What a compiled package, or a cached program, says about itself.

    Nobody changes one; see `gocache.inventory` for why it is not frozen.

    Attributes:
        package: Import path as the compiler was told it (`main` for programs), or None when it could not be found.
        goos: Target system.
        goarch: Target architecture.
        version: Toolchain, for example `go1.27.3`.
        flags: Compiler flags that change the code, for example `-race`, sorted.
        build_action: First half of the build ID: base64url of the first 15 bytes of the action.
        build_content: Second half: likewise of the content with the build ID blanked.
        source: Where its source lies, as the compiler wrote it: an absolute directory, `$GOROOT/src/fmt`, or with -trimpath the
            import path, in the module cache with the version, `example.com/m@v1.2.3/lib`. Of a program, and of the main package
            of a test, the import path. None when it could not be found.
        shape: A checksum over the lengths of the object's blocks: the same for the same source compiled the same way, wherever
            it lies; 0 when there is no object.
    """

    package: str | None
    goos: str
    goarch: str
    version: str
    flags: tuple[str, ...]
    build_action: str
    build_content: str
    source: str | None = None
    shape: int = 0

    @property
    def directory(self) -> str | None:
        """The absolute directory of the source; None with -trimpath, for the standard library and for programs."""
        return self.source if self.source is not None and self.source.startswith("/") else None

    @property
    def target(self) -> str:
        """`linux/amd64`."""
        return f"{self.goos}/{self.goarch}"

    @property
    def race(self) -> bool:
        """Built with the race detector."""
        return "-race" in self.flags


def read_archive(head: bytes) -> Generator[Span, bytes, Archive | None]:
    """Find out what a compiled package says about itself, asking for one span after the other.

    Args:
        head: The first bytes of the file, `HEAD` of them or all.

    Yields:
        A span to read; send the bytes, fewer if the file ends before.

    Returns:
        What was found, without import path and flags if the object file is not as expected; None if this is no archive.
    """
    header = _HEADER.match(head)
    if header is None:
        return None
    found = yield from _read_object(_FIRST_MEMBER + int(header["size"]))
    return Archive(
        found.package,
        _text(header["goos"]),
        _text(header["goarch"]),
        _text(header["version"]),
        found.flags,
        header["action"].decode("ascii"),
        header["content"].decode("ascii"),
        found.source,
        found.shape,
    )


def build_id_at(head: bytes) -> tuple[bytes, tuple[int, int]] | None:
    """The 41 bytes `A/C` of an archive, and the two offsets at which they stand: in the first and the second member.

    The second is where `go` writes it, as both members begin with the same lines; whoever blanks there compares first.
    """
    header = _HEADER.match(head)
    if header is None:
        return None
    first, size = header.start("action"), int(header["size"])
    second = _FIRST_MEMBER + size + (size & 1) + 60 + first - _FIRST_MEMBER
    return header["action"] + b"/" + header["content"], (first, second)


def read_program(name: str, head: bytes) -> Generator[Span, bytes, Archive | None]:
    """Find out what a cached program says about itself: its build ID, and on Linux its toolchain and target.

    Args:
        name: Of the file: it is that of the program.
        head: The first bytes of the file, 64 KiB of them or all.

    Returns:
        What was found; None if there is no build ID, as in no program that `go` linked.

    Source: cmd/internal/buildid/buildid.go (`ReadFile`, `readELF`), debug/buildinfo (`readRawBuildInfo`).
    """
    found = _PROGRAM_ID.search(head)
    if found is None:
        return None
    version, goos, goarch = "", "", ""
    source = None
    if head.startswith(b"\x7fELF\x02\x01") and len(head) > _ELF.size:
        machine, table, entries = _ELF.unpack_from(head)
        goos, goarch = "linux", _MACHINES.get(machine, "")
        programs = yield table, min(entries, 64) * _SEGMENT.size
        for kind, flags, offset, length in _SEGMENT.iter_unpack(programs[: len(programs) // 56 * 56]):
            if kind == 1 and flags & 2:  # PT_LOAD, writable: the build information stands first in it
                data = yield offset, min(length, 1 << 16)
                version = _read_version(data) or version
                main = _MAIN.search(data)
                source = source if main is None else _text(main[1])
    if not goarch:
        goos = ""
    half, content = found[1].decode("ascii"), found[2].decode("ascii")
    return Archive(sys.intern(name), goos, goarch, version, (), half, content, source)


def _read_version(data: bytes) -> str:
    """The toolchain, from build information in the form that has strings inline (go1.18 and newer)."""
    start = data.find(_BUILD_INFO)
    if start < 0 or len(data) < start + 33 or not data[start + 15] & 2:
        return ""
    length = data[start + 32]
    word = data[start + 33 : start + 33 + length]
    return _text(word.split(b" ")[0]) if length < 0x80 and word.startswith((b"go", b"devel")) else ""


def _text(data: bytes) -> str:
    """The same object for the same text: a cache says `linux` a hundred thousand times."""
    return sys.intern(data.decode("utf-8", "backslashreplace"))


@dataclass(slots=True)
class _Object:
    """What an object file says."""

    package: str | None = None
    flags: tuple[str, ...] = ()
    source: str | None = None
    shape: int = 0


def _read_object(at: int) -> Generator[Span, bytes, _Object]:
    """Find what the member says that starts at `at`, or one byte later."""
    at += at & 1
    found = _Object()
    member = yield at, HEAD
    if not member.startswith(b"_go_.o "):
        return found
    end = member.find(_OBJECT_FOLLOWS)
    if end < 0:  # with cgo the directives stand in between
        end = (yield at, _MOST_DIRECTIVES).find(_OBJECT_FOLLOWS)
    if end < 0:
        return found
    start = at + end + len(_OBJECT_FOLLOWS) - len(_OBJECT)
    header = yield start, HEAD
    if len(header) < _BLOCKS.size or not header.startswith(_OBJECT):
        return found
    _magic, _flags, *blocks = _BLOCKS.unpack_from(header)
    table = yield start + blocks[_OTHERS], _between(blocks, _OTHERS)
    for number, length, offset in _units(table):
        name = yield start + offset, min(length, _MOST_NAME)
        if name.startswith(_PACKAGE):
            found.package = _text(name.removeprefix(_PACKAGE))
        elif name.startswith(_PRODUCER):
            before = sum(_between(blocks, block) // _SYMBOL.size for block in (_SYMBOLS, _HASHED64, _HASHED))
            found.flags = yield from _read_flags(start, blocks, before + number)
    found.source = yield from _read_source(start, blocks, header, found.package)
    found.shape = _shape(blocks)
    return found


def _shape(blocks: list[int]) -> int:
    """The lengths of the blocks that hold no names, as one number."""
    return crc32(",".join(str(_between(blocks, block)) for block in range(_END_OF_FILES, _NAMES)).encode("ascii"))


def _read_source(
    start: int, blocks: list[int], header: bytes, package: str | None
) -> Generator[Span, bytes, str | None]:
    """Where the source lies: the directory of the first file that the package can call its own."""
    files = yield from _strings(start, blocks, _FILES, header)
    if package == "main":
        imports = yield from _strings(start, blocks, _PACKAGES, header)
        if _TEST_MAIN in imports:
            return sys.intern(imports[-1].removesuffix("_test"))
    return source_of([file.removeprefix(_OLD_FILE) for file in files], package)


def _strings(start: int, blocks: list[int], block: int, header: bytes) -> Generator[Span, bytes, list[str]]:
    """The first strings to which a block refers; they stand one after the other, mostly in the object's first bytes."""
    table = yield start + blocks[block], min(_between(blocks, block), _MOST_STRINGS * _REFERENCE.size)
    spans = list(_REFERENCE.iter_unpack(table[: len(table) // _REFERENCE.size * _REFERENCE.size]))
    first = min((offset for length, offset in spans if length), default=0)
    end = max((offset + length for length, offset in spans), default=0)
    text, at = header, 0
    if end > len(header):
        text, at = (yield start + first, min(end - first, _MOST_TEXT)), first
    return [
        text[offset - at : offset - at + length].decode("utf-8", "backslashreplace")
        for length, offset in spans
        if 0 <= offset - at <= len(text) - length
    ]


def source_of(files: list[str], package: str | None) -> str | None:
    """The directory of a package's source.

    Args:
        files: Names of source files as the compiler wrote them, the package's own before those of inlined functions.
        package: Its import path.

    Returns:
        None if no file tells a directory.
    """
    named = dict.fromkeys(file.rpartition("/")[0] for file in files if "/" in file and not _CACHED.fullmatch(file))
    for directory in named:
        if package in {directory, _VERSION.sub("", directory, count=1)} or directory == f"{GOROOT}src/{package}":
            return sys.intern(directory)
    own = [directory for directory in named if not directory.startswith(GOROOT)]
    if _CGO in files:  # cgo's own file comes first, and what was inlined into that
        own = [directory for directory in own if directory.startswith("/") or "." in directory.split("/")[0]] or own
    return next(map(sys.intern, own or named), None)


def _between(blocks: list[int], block: int) -> int:
    """Bytes of one block; no more than any real one has."""
    return max(0, min(blocks[block + 1] - blocks[block], _MOST_TABLE))


def _units(table: bytes) -> list[tuple[int, int, int]]:
    """Number, name length and name offset of the few symbols that describe the whole compilation."""
    whole = len(table) // _SYMBOL.size * _SYMBOL.size
    symbols = enumerate(_SYMBOL.iter_unpack(table[:whole]))
    return [(number, symbol[0], symbol[1]) for number, symbol in symbols if symbol[3] in _TYPES][:16]


def _read_flags(start: int, blocks: list[int], number: int) -> Generator[Span, bytes, tuple[str, ...]]:
    """The data of symbol `number`: what the compiler was told, such as ` -race regabi`."""
    entry = yield start + blocks[_DATA_INDEX] + 4 * number, 8
    if len(entry) < 8:
        return ()
    begin, end = int.from_bytes(entry[:4], "little"), int.from_bytes(entry[4:], "little")
    data = yield start + blocks[_DATA] + begin, max(0, min(end - begin, _MOST_NAME))
    words = data.decode("utf-8", "backslashreplace").split()
    return tuple(sorted(sys.intern(word) for word in words if word.startswith("-") and not word.startswith("-dwarf")))
