"""What is really in the cache key: builds compared, one change at a time.

Knows:     how two builds of the same packages differ in keys and outputs, and how that is written as a table.
Called by: `flows.matrix` gathers the builds; the command line and the docs show the table.
Never:     starts go, or says what should be: it says what was seen.
Source:    cmd/go/internal/work/buildid.go: a build ID is `action/content`; the action graph has both for each package
           (go1.21 to go1.27). That an output did not change although its key did is what stops a cascade there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from go_cache_safeguard.gocache.dimensions import DIMENSIONS, Dimension
from go_cache_safeguard.gotool.actiongraph import BuildAction

MARK = "<!-- made by `go-cache-safeguard matrix --markdown {FILE}`: changes by hand are lost -->"
"""The first line of a page that may be written over."""
_ID = re.compile(r"(?<![\w/+=-])[A-Za-z0-9_-]{20}(?![\w/+=-])")
_COMMIT = re.compile(r"(?<=vcs\.revision=)\w+|(?<=vcs\.time=)[\w:-]+|(?<=v0\.0\.0-)\d{14}-[0-9a-f]{12}")
_LONGEST = 110
_KEYS = """## What changes in the key itself

As go hashed it (GODEBUG=gocachehash=1), for the first package of each column: `-` left the key, `+` came into it, `~` is a line in which
only an ID (of a file, an import, a commit) is another one. Imports are left out where something else changed, too: they are the echo
of a change elsewhere. Lines are cut after {longest} characters.

| dimension | key of | lines |
| --- | --- | --- |"""


class Letters(StrEnum):
    """What one change did to one package."""

    ABSENT = "-"
    SAME = "=="
    EARLY = "A="
    CHANGED = "AC"
    IMPURE = "=C"

    @property
    def meaning(self) -> str:
        """For a person."""
        return _MEANING[self]


_MEANING = {
    Letters.ABSENT: "not part of this build",
    Letters.SAME: "same key, same output: it came from the cache",
    Letters.EARLY: "another key, but the same output: it is compiled again and the cascade stops (early cut-off)",
    Letters.CHANGED: "another key and another output",
    Letters.IMPURE: "the same key, but another output: what must never be",
}
_WORST = (Letters.ABSENT, Letters.SAME, Letters.EARLY, Letters.CHANGED, Letters.IMPURE)


class Ran(StrEnum):
    """What became of the test."""

    NOT_ASKED = ""
    CACHED = "cached"
    RAN = "ran"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Seen:
    """One build.

    Attributes:
        packages: Halves of the build ID, action and content, by import path.
        compiled: Packages for which a tool ran.
        linked: Programs that were linked.
        test: What became of the test.
        cpu_ns: CPU time of go and its tools, in nanoseconds.
        keys: What was hashed into the key of each package, by import path; empty if nobody asked.
    """

    packages: Mapping[str, tuple[str, str]]
    compiled: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()
    test: Ran = Ran.NOT_ASKED
    cpu_ns: int = 0
    keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a change did to the packages of one column.

    Attributes:
        letters: The worst of them.
        keys: How many have another key.
        outputs: How many have another output.
        packages: How many there are.
    """

    letters: Letters
    keys: int
    outputs: int
    packages: int

    @property
    def text(self) -> str:
        """`AC`, or `AC 3/12` where a column stands for several packages: so many have another key."""
        return f"{self.letters} {self.keys}/{self.packages}" if self.packages > 1 else str(self.letters)


@dataclass(frozen=True, slots=True)
class Row:
    """One dimension with one toolchain.

    Attributes:
        dimension: Its name.
        title: What was changed.
        cells: By column; empty if it could not be measured.
        compiled: Packages for which a tool ran, sorted: fewer than have another key if the cache had some already.
        linked: Whether a program was linked again.
        test: What became of the test.
        cpu_ns: What the build cost, in nanoseconds of CPU time.
        problem: Why it could not be measured; empty if it was.
        lines: By column, what left the key and what came into it; empty if nobody asked.
    """

    dimension: str
    title: str
    cells: Mapping[str, Cell]
    compiled: tuple[str, ...] = ()
    linked: bool = False
    test: Ran = Ran.NOT_ASKED
    cpu_ns: int = 0
    problem: str = ""
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def as_value(self) -> dict[str, object]:
        """For JSON."""
        return {
            "dimension": self.dimension,
            "title": self.title,
            "packages": {
                name: {"letters": cell.letters, "keys": cell.keys, "outputs": cell.outputs, "of": cell.packages}
                for name, cell in self.cells.items()
            },
            "compiled": list(self.compiled),
            "linked": self.linked,
            "test": str(self.test),
            "cpu_ns": self.cpu_ns,
            "problem": self.problem,
            "key_lines": {name: list(lines) for name, lines in self.lines.items()},
        }


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of one toolchain.

    Attributes:
        toolchain: `go1.27.3`.
        target: `linux/amd64`.
        rows: In the order of the dimensions.
        cpu_ns: What all of it cost, in nanoseconds of CPU time.
        notes: What a person should know besides.
    """

    toolchain: str
    target: str
    rows: tuple[Row, ...]
    cpu_ns: int = 0
    notes: tuple[str, ...] = ()


def seen_in(actions: Iterable[BuildAction], *, test: Ran = Ran.NOT_ASKED, cpu_ns: int = 0) -> Seen:
    """What an action graph shows of a build. Of variants of a package, such as those for a profile, one is kept: main's."""
    packages: dict[str, tuple[str, str]] = {}
    compiled, linked = set(), set()
    for action in actions:
        if action.mode.startswith("link"):
            if action.cmd:
                linked.add(action.package)
        elif action.mode == "build" and "/" in action.build_id:
            name, _, variant = action.package.partition(" ")
            halves = action.build_id.split("/")
            if variant or name not in packages:
                packages[name] = halves[0], halves[-1]
            if action.cmd:
                compiled.add(name)
    return Seen(packages, frozenset(compiled), frozenset(linked), test, cpu_ns)


def compare(dimension: Dimension, before: Seen, after: Seen, columns: Mapping[str, Sequence[str]]) -> Row:
    """Say what a change did.

    Args:
        dimension: What was changed.
        before: The build without it.
        after: The build with it.
        columns: Import paths by column.
    """
    return Row(
        dimension.name,
        dimension.title,
        {name: _cell(before, after, paths) for name, paths in columns.items()},
        tuple(sorted(after.compiled)),
        bool(after.linked),
        after.test,
        after.cpu_ns,
        lines={name: lines for name, paths in columns.items() if (lines := _lines(before, after, paths))},
    )


def _lines(before: Seen, after: Seen, paths: Sequence[str]) -> tuple[str, ...]:
    """Of the first package of a column whose key is another one, what changed in it."""
    for path in paths:
        if path in before.keys and path in after.keys and before.keys[path] != after.keys[path]:
            return changed_lines(before.keys[path], after.keys[path])
    return ()


def changed_lines(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[str, ...]:
    """What left a key, with a minus, and what came into it, with a plus.

    Args:
        before: What was hashed, piece by piece.
        after: Likewise.

    Returns:
        Lines about imports only if there are no others: they are the echo of a change elsewhere.
    """
    old, new = (list(_split(pieces)) for pieces in (before, after))
    changes = [(b"-", line) for line in old if line not in new] + [(b"+", line) for line in new if line not in old]
    causes = [one for one in changes if not one[1].startswith((b"import ", b"packagefile "))]
    return tuple((sign + b" " + line).decode("utf-8", "backslashreplace") for sign, line in causes or changes)


def _split(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a key without its salt; of `modinfo`, which go quotes into one line, each of its own lines."""
    for line in b"".join(pieces[1:]).splitlines():
        if line.startswith(b'modinfo "'):
            inner = line[9:-1].replace(b"\\t", b" ").split(b"\\n")
            yield from (b"modinfo " + part for part in inner if part)
        else:
            yield line


def not_measured(dimension: Dimension, why: str) -> Row:
    """The row of a dimension that could not be measured."""
    return Row(dimension.name, dimension.title, {}, problem=why)


def _cell(before: Seen, after: Seen, paths: Sequence[str]) -> Cell:
    there = [path for path in paths if path in after.packages and path in before.packages]
    letters = [_letters(before.packages[path], after.packages[path]) for path in there]
    worst = max(letters, key=_WORST.index, default=Letters.ABSENT)
    keys = sum(one in {Letters.EARLY, Letters.CHANGED} for one in letters)
    outputs = sum(one in {Letters.CHANGED, Letters.IMPURE} for one in letters)
    return Cell(worst, keys, outputs, len(there))


def _letters(before: tuple[str, str], after: tuple[str, str]) -> Letters:
    if before == after:
        return Letters.SAME
    if before[0] == after[0]:
        return Letters.IMPURE
    return Letters.EARLY if before[1] == after[1] else Letters.CHANGED


def cells_of(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """What one line of a table holds after the title: the columns, link and test."""
    if row.problem:
        return *("?" for _ in columns), "?", "?"
    found = (row.cells[name].text if name in row.cells else str(Letters.ABSENT) for name in columns)
    return *found, "yes" if row.linked else "no", str(row.test) or "-"


def merged(tables: Sequence[Table], columns: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, title and cells of every row, toolchains side by side: what differs is said of each."""
    found = []
    for rows in zip(*(table.rows for table in tables), strict=True):
        lines = [cells_of(row, columns) for row in rows]
        named = [_short(table.toolchain) for table in tables]
        found.append(
            (rows[0].dimension, rows[0].title, tuple(_side_by_side(named, cell) for cell in zip(*lines, strict=True)))
        )
    return found


def _short(toolchain: str) -> str:
    """`1.27` for `go1.27.3`."""
    return ".".join(toolchain.removeprefix("go").split(".")[:2])


def _side_by_side(named: Sequence[str], cells: Sequence[str]) -> str:
    if len(set(cells)) == 1:
        return cells[0]
    return ", ".join(
        f"{text} ({' '.join(name for name, cell in zip(named, cells, strict=True) if cell == text)})"
        for text in dict.fromkeys(cells)
    )


def page(tables: Sequence[Table], columns: Sequence[str], *, what: str, command: str) -> str:
    """The table as a page of documentation.

    Args:
        tables: One for each toolchain, all with the same rows.
        columns: Their names.
        what: Which module it was measured with, in one paragraph.
        command: What makes this page again.
    """
    head = ("dimension", "what is changed", *columns, "link", "test")
    lines = [
        MARK,
        "# What is really in Go's cache key",
        "",
        f"Measured with {', '.join(f'{table.toolchain} ({table.target})' for table in tables)}; nothing on this page was written by hand.",
        f"`{command}` makes it again.",
        "",
        what,
        "",
        "Each line is one change to an otherwise equal build. The first letter is about the key (the action ID of the package), the",
        "second about the output (the content half of its build ID):",
        "",
        *(f"- `{letters}`: {letters.meaning}" for letters in Letters),
        "",
        "*link*: a program was linked again, though one from before lay in its place. *test*: what a second `go test` of the package",
        "did. What differs between releases is said of each release.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *(_line(name, title, cells) for name, title, cells in merged(tables, columns)),
        "",
        *_remarks(tables),
        *_keys(tables),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(name: str, title: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join((f"`{name}`", title.replace("|", "\\|"), *cells)) + " |"


def _remarks(tables: Sequence[Table]) -> list[str]:
    problems = [
        f"- {table.toolchain}, `{row.dimension}` was not measured: {row.problem}"
        for table in tables
        for row in table.rows
        if row.problem
    ]
    notes = [f"- {table.toolchain}: {note}" for table in tables for note in table.notes]
    return [*problems, *notes]


def _keys(tables: Sequence[Table]) -> list[str]:
    """What changed in the keys, if that was asked for."""
    found = []
    for rows in zip(*(table.rows for table in tables), strict=True):
        told: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for table, row in zip(tables, rows, strict=True):
            for column, lines in row.lines.items():
                by_column = told.setdefault(_told(lines, table.toolchain), {})
                by_column.setdefault(column, []).append(_short(table.toolchain))
        found += [_key_line(rows[0].dimension, lines, columns, len(tables)) for lines, columns in told.items()]
    if not found:
        return []
    return ["", _KEYS.format(longest=_LONGEST), *found]


def _key_line(dimension: str, lines: Sequence[str], columns: Mapping[str, Sequence[str]], tables: int) -> str:
    names = (name if len(named) == tables else f"{name} ({' '.join(named)})" for name, named in columns.items())
    text = "<br>".join(f"`{line}`" for line in lines).replace("|", "\\|")
    return f"| {dimension} | {', '.join(names)} | {text} |"


def _told(lines: Sequence[str], toolchain: str) -> tuple[str, ...]:
    """Lines of a key without what differs from run to run; a line that only got another ID is told once, with a `~`."""
    plain = [_ID.sub("ID", _COMMIT.sub("ID", line)).replace(toolchain, "VERSION") for line in lines]
    kept = dict.fromkeys(f"~{line[1:]}" if _other(line) in plain else line for line in plain)
    return tuple(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..." for line in kept)


def _other(line: str) -> str:
    """The same line, on the other side of the change."""
    return f"{'+' if line.startswith('-') else '-'}{line[1:]}"


def dimensions_on(text: str) -> tuple[str, ...]:
    """The dimensions that a page holds a line of, in their order."""
    lines = (line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `"))
    return tuple(cell.strip("`") for cell in lines)


def all_names() -> tuple[str, ...]:
    """Of every dimension there is, in order."""
    return tuple(dimension.name for dimension in DIMENSIONS)
