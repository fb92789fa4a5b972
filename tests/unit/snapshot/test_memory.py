"""What is remembered of the last snapshot, and how the next one is put together from it."""

from collections.abc import Sequence
from itertools import groupby

import pytest

from go_cache_safeguard.core.canonical import digest
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.memory import (
    INODE,
    RACY_NS,
    Drawing,
    Marks,
    Memory,
    Stock,
    Unit,
    known_of,
    marks_in,
    pack_look,
    read_memory,
    stand_in,
    unit_of,
    write_memory,
)
from go_cache_safeguard.snapshot.record import Pack, parse_places
from unit.snapshot.test_record import ENTRIES, MANIFEST, PLACES

NOW_NS = 1_900_000_000 * 10**9
REPOSITORY, RECORD = "r" * 32, "5" * 64
PACK = PLACES.packs[0]
DISTINCT = [
    Entry("00/a", 175, 0o644, 1, "a" * 64),
    Entry("00/b", 90_000, 0o600, 2, "b" * 64),
    Entry("01/c", 0, 0o444, 3, "c" * 64),
    Entry("README", 7, 0o644, 4, "d" * 64),
]


def marks_of(entries: Sequence[Entry]) -> dict[str, Marks]:
    return {one.name: (one.size, one.mode, one.mtime_ns, 10**9, number) for number, one in enumerate(entries)}


def where(sha: str) -> Pack | int:
    return 50 if sha == "b" * 64 else PACK


def drawn(entries: Sequence[Entry], marks: dict[str, Marks] | None = None) -> Stock:
    drawing = Drawing(where, NOW_NS)
    for name, some in groupby(entries, lambda entry: unit_of(entry.name)):
        drawing.add(name, list(some), marks_of(entries) if marks is None else marks)
    return drawing.done()


def remembered(stock: Stock) -> Memory:
    memory = read_memory(write_memory(REPOSITORY, RECORD, stock), REPOSITORY)
    assert memory is not None
    return memory


@pytest.mark.parametrize("entries", [DISTINCT, ENTRIES, []])
def test_it_is_read_as_it_was_written(entries: list[Entry]) -> None:
    memory = remembered(drawn(entries))
    assert memory == Memory(RECORD, drawn(entries))
    recalled = memory.recall([unit.name for unit in memory.stock.units])
    assert recalled.entries == {entry.name: entry for entry in entries}
    assert recalled.marks == marks_of(entries)


@pytest.mark.parametrize("entries", [DISTINCT, ENTRIES, []])
def test_a_snapshot_is_put_together_as_if_it_were_written_at_once(entries: list[Entry]) -> None:
    stock, manifest = drawn(entries), make_manifest(Kind.BUILD, entries)
    assert stock.manifest(Kind.BUILD, ()) == manifest.data
    places = parse_places(stock.places(), manifest)
    recalled = remembered(stock).recall([unit.name for unit in stock.units])
    assert recalled.known == known_of(manifest, places)
    assert all((recalled.known.packs[entry.sha256] or 50) == where(entry.sha256) for entry in entries)


def test_only_what_is_asked_for_is_unpacked() -> None:
    recalled = remembered(drawn(DISTINCT)).recall(["01"])
    assert recalled.entries.keys() == recalled.marks.keys() == {"01/c"}
    assert recalled.known.packs == {"c" * 64: PACK}


def test_where_a_content_stands_twice_no_unit_can_be_taken_over() -> None:
    memory = remembered(drawn(ENTRIES))
    assert not memory.stock.distinct
    assert memory.looks == {}
    assert memory.recall([]).entries.keys() == {entry.name for entry in ENTRIES}


def test_units_are_taken_over_and_packs_keep_their_numbers() -> None:
    memory = remembered(drawn(DISTINCT))
    new = Entry("01/n", 5, 0o644, 9, "e" * 64)
    fresh = Pack("f" * 64, 10, 5)
    drawing = Drawing(lambda _sha: fresh, NOW_NS, memory.stock)
    old = memory.recall(["01"])
    drawing.forget(old.entries.values(), old.known)
    drawing.keep(memory.stock.units[0])
    drawing.add("01", [new], {})
    drawing.keep(memory.stock.units[2])
    stock = drawing.done()
    assert stock.packs == (PACK, fresh)
    assert stock.live == (175 + 7, 5)
    manifest = make_manifest(Kind.BUILD, [DISTINCT[0], DISTINCT[1], new, DISTINCT[3]])
    assert stock.manifest(Kind.BUILD, ()) == manifest.data
    assert parse_places(stock.places(), manifest).at == (1, 0, 2, 1)


def test_a_pack_that_is_used_no_more_is_seen() -> None:
    memory = remembered(drawn(DISTINCT))
    drawing = Drawing(where, NOW_NS, memory.stock)
    everything = memory.recall([unit.name for unit in memory.stock.units])
    drawing.forget(everything.entries.values(), everything.known)
    assert drawing.done().live == (0,)


def test_what_a_snapshot_holds_follows_from_its_places() -> None:
    known = known_of(MANIFEST, PLACES)
    assert known.packs == {"a" * 64: PLACES.packs[0], "b" * 64: None, "d" * 64: PLACES.packs[0]}
    assert known.stored == {"b" * 64: 50}


def test_a_file_that_was_young_when_it_was_read_is_not_recognised() -> None:
    marks = marks_of(DISTINCT)
    young = {**marks, "00/a": (*marks["00/a"][:3], NOW_NS - RACY_NS, 0)}
    memory = remembered(drawn(DISTINCT, young))
    recalled = memory.recall(["00", "01"])
    assert recalled.marks["00/a"] != young["00/a"]
    assert recalled.marks["00/b"] == young["00/b"]
    assert memory.looks["00"] != look_of(young, "00")
    assert memory.looks["01"] == look_of(young, "01")


def look_of(marks: dict[str, Marks], unit: str) -> bytes:
    """What a walk would see."""
    some = {name: one for name, one in marks.items() if unit_of(name) == unit}
    numbers = [number for one in some.values() for number in (one[0], one[1] | 0o100000, *one[2:])]
    return pack_look([name.partition("/")[2] for name in some], numbers)


def test_a_file_without_marks_is_not_recognised() -> None:
    memory = remembered(drawn(DISTINCT, {}))
    assert all(marks[0] == marks[3] == -1 for marks in memory.recall(["00", "01", "README"]).marks.values())
    assert not set(memory.looks.values()) & {look_of(marks_of(DISTINCT), unit) for unit in ("00", "01", "README")}


def test_a_number_that_is_too_large_to_remember_is_not_remembered() -> None:
    assert marks_in(pack_look(["a"], [1, 0o100644, -5, 10**18, INODE])) == [(1, 0o644, -5, 10**18, INODE)]
    assert pack_look(["a"], [1, 0o100644, 0, 0, INODE + 1]) == b""
    marks = {**marks_of(DISTINCT), "01/c": (0, 0o444, 3, 10**9, INODE + 1)}
    assert "01/c" not in remembered(drawn(DISTINCT, marks)).recall(["01"]).marks


def test_a_content_is_found_in_what_is_taken_over() -> None:
    units = drawn(DISTINCT).units
    assert stand_in(units, ["0" * 64, "d" * 64])
    assert not stand_in(units, ["0" * 64])
    assert not stand_in(units[:2], ["d" * 64])


def test_what_is_damaged_foreign_or_of_another_repository_counts_as_nothing() -> None:
    data = write_memory(REPOSITORY, RECORD, drawn(DISTINCT))
    assert read_memory(data, "s" * 32) is None
    for wrong in (b"", b"\n", data[:-1], data.replace(b"README", b"readme", 1), data[10:]):
        assert read_memory(wrong, REPOSITORY) is None
    body = data.partition(b"\n")[2]
    for other in (b"{}\n", b"[]\n", b"nonsense", b'{"format":"x"}\n', body.replace(b'"units"', b'"uuuuu"')):
        assert read_memory(digest(other).encode() + b"\n" + other, REPOSITORY) is None


def test_a_unit_is_what_lies_below_one_name() -> None:
    assert [unit_of(entry.name) for entry in DISTINCT] == ["00", "00", "01", "README"]
    assert [type(unit) for unit in drawn(DISTINCT).units] == [Unit] * 3
