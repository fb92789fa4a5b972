"""Open a program and see what debug information it holds.

Knows:     how pyelftools gives sections, symbols, functions and line tables, for ELF and for the sections that `verify.image` finds.
Called by: `flows.symbols`.
Never:     judges: what it saw goes to `verify.symbols`. Never runs what it reads.
Source:    DWARF 4 counts the files of a line table from 1 and has the version-5 form from 0; Go writes one unit for each package,
           named by its import path, `main` for a program's own (go1.21.13, go1.27.3). A `.debug_` section may be packed.
"""

import bisect
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from go_cache_safeguard.verify.image import Format, ImageError, debug_sections, format_of
from go_cache_safeguard.verify.symbols import Debug, Function, Unreadable

LIMIT = 2 << 30
"""bytes of a program; what is larger is not read."""

_BROKEN = (
    ELFError,
    DWARFError,
    ConstructError,
    ImageError,
    zlib.error,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    EOFError,
    OverflowError,
    RecursionError,
)
"""What the library raises on bytes that contradict themselves; it checks little itself."""

_ARGUMENTS = {
    "debug_info_sec": ".debug_info",
    "debug_aranges_sec": ".debug_aranges",
    "debug_abbrev_sec": ".debug_abbrev",
    "debug_frame_sec": ".debug_frame",
    "eh_frame_sec": "",
    "debug_str_sec": ".debug_str",
    "debug_loc_sec": ".debug_loc",
    "debug_ranges_sec": ".debug_ranges",
    "debug_line_sec": ".debug_line",
    "debug_pubtypes_sec": "",
    "debug_pubnames_sec": "",
    "debug_addr_sec": ".debug_addr",
    "debug_str_offsets_sec": ".debug_str_offsets",
    "debug_line_str_sec": ".debug_line_str",
    "debug_loclists_sec": ".debug_loclists",
    "debug_rnglists_sec": ".debug_rnglists",
    "debug_sup_sec": "",
    "gnu_debugaltlink_sec": "",
    "debug_types_sec": "",
}


@dataclass(slots=True)
class _Gathered:
    """What the units say, added up."""

    version: int = 0
    functions: list[Function] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)


def look(path: Path, packages: frozenset[str], prefixes: tuple[str, ...]) -> Debug | Unreadable:
    """See what a program holds about some packages.

    Args:
        path: The program.
        packages: Import paths; `main` for the program's own.
        prefixes: How their functions begin in the symbol table, see `verify.symbols.symbol_prefixes`. Of PE and Mach-O the symbol
            table is not read here: the toolchain's own tool does that.
    """
    try:
        # Whoever made it may be somebody else: neither a link nor a pipe in its place is followed.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > LIMIT:
                return Unreadable(f"it is no plain file, or larger than {LIMIT} bytes")
            return _read(file, found.st_size, packages, prefixes)
    except _BROKEN as error:
        return Unreadable(f"what it holds contradicts itself ({type(error).__name__}: {error})")
    except OSError as error:
        return Unreadable(f"it cannot be read: {error.strerror}")


def _read(file: BinaryIO, size: int, packages: frozenset[str], prefixes: tuple[str, ...]) -> Debug | Unreadable:
    kind = format_of(file.read(16))
    file.seek(0)
    match kind:
        case Format.ELF:
            return _elf(ELFFile(file), size, packages, prefixes)
        case Format.OTHER:
            return Unreadable(f"it is {Format.OTHER}")
        case _:
            return _other(kind, file.read(), packages)


def _elf(elf: ELFFile, size: int, packages: frozenset[str], prefixes: tuple[str, ...]) -> Debug | Unreadable:
    for section in elf.iter_sections():
        # Go writes the table of sections at the front: it survives a file that was cut short, and names nothing any more.
        if section["sh_type"] != "SHT_NOBITS" and section["sh_offset"] + section["sh_size"] > size:
            return Unreadable("it was cut short: a section goes beyond its end")
    table = elf.get_section_by_name(".symtab")
    symbols = None
    if isinstance(table, SymbolTableSection):
        found = (symbol.name for symbol in table.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC")
        symbols = tuple(sorted({name for name in found if name.startswith(prefixes)}))
    if not elf.has_dwarf_info(strict=True):
        return Debug(Format.ELF, 0, symbols, (), {})
    return _debug(Format.ELF, elf.get_dwarf_info(), packages, symbols)


def _other(kind: Format, data: bytes, packages: frozenset[str]) -> Debug:
    sections = debug_sections(data)
    if ".debug_info" not in sections:
        return Debug(kind, 0, None, (), {})
    descriptors = {argument: _descriptor(sections, name) for argument, name in _ARGUMENTS.items()}
    config = DwarfConfig(little_endian=True, machine_arch="x64", default_address_size=8)
    return _debug(kind, DWARFInfo(config=config, **descriptors), packages, None)


def _descriptor(sections: dict[str, bytes], name: str) -> DebugSectionDescriptor | None:
    data = sections.get(name)
    return None if data is None else DebugSectionDescriptor(BytesIO(data), name, 0, len(data), 0)


def _debug(kind: Format, dwarf: DWARFInfo, packages: frozenset[str], symbols: tuple[str, ...] | None) -> Debug:
    gathered = _Gathered()
    for unit in dwarf.iter_CUs():
        name = unit.get_top_DIE().attributes.get("DW_AT_name")
        if name is not None and _text(name.value) in packages:
            gathered.version = max(gathered.version, unit["version"])
            _read_unit(dwarf, unit, gathered)
    # Without any unit of theirs there is no version either; but the sections are there: it is not stripped, it is damaged.
    return Debug(kind, gathered.version or 1, symbols, tuple(gathered.functions), gathered.lines)


def _read_unit(dwarf: DWARFInfo, unit: Any, gathered: _Gathered) -> None:
    names, rows = _line_table(dwarf, unit, gathered.lines)
    for die in unit.get_top_DIE().iter_children():
        if die.tag != "DW_TAG_subprogram" or "DW_AT_low_pc" not in die.attributes:
            continue
        low = die.attributes["DW_AT_low_pc"].value
        high = die.attributes["DW_AT_high_pc"]
        end = low + high.value if high.form != "DW_FORM_addr" else high.value
        inside = bisect.bisect_left(rows, end) - bisect.bisect_left(rows, low)
        origin = die.get_DIE_from_attribute("DW_AT_abstract_origin") if _is_abstract(die) else die
        told = {**origin.attributes, **die.attributes}
        gathered.functions.append(_function(told, names, inside))


def _is_abstract(die: Any) -> bool:
    return "DW_AT_abstract_origin" in die.attributes


def _function(told: dict[str, Any], names: Sequence[str], rows: int) -> Function:
    name = _text(told["DW_AT_name"].value)
    if "DW_AT_decl_file" not in told or "DW_AT_decl_line" not in told:
        return Function(name, "", 0, rows)
    number = told["DW_AT_decl_file"].value
    file = names[number] if number < len(names) else f"file number {number}"
    return Function(name, file, told["DW_AT_decl_line"].value, rows)


def _line_table(dwarf: DWARFInfo, unit: Any, lines: dict[str, int]) -> tuple[list[str], list[int]]:
    """Names of files by their number, and the addresses of all rows in order. What is seen is added to `lines`."""
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return [], []
    names = list(_file_names(program.header))
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is None or state.end_sequence:
            continue
        rows.append(state.address)
        name = names[state.file] if state.file < len(names) else f"file number {state.file}"
        lines[name] = max(lines.get(name, 0), state.line)
    return names, sorted(rows)


def _file_names(header: Any) -> Iterator[str]:
    folders = [_text(folder) for folder in header["include_directory"]]
    old = header["version"] < 5
    if old:
        folders.insert(0, "")
        yield "?"
    for entry in header["file_entry"]:
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else "?"
        name = _text(entry.name)
        yield name if name.startswith("/") or folder in {"", "."} else f"{folder}/{name}"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
