"""What is remembered of the last snapshot."""

from go_cache_safeguard.core.canonical import digest
from go_cache_safeguard.snapshot.manifest import make_manifest
from go_cache_safeguard.snapshot.memory import RACY_NS, Marks, known_of, read_memory, write_memory
from unit.snapshot.test_record import ENTRIES, MANIFEST, PLACES

NOW_NS = 1_900_000_000 * 10**9
MARKS: dict[str, Marks] = {
    entry.name: (entry.size, entry.mode, entry.mtime_ns, 10**9, number) for number, entry in enumerate(ENTRIES)
}


def written(marks: dict[str, Marks]) -> bytes:
    return write_memory("r" * 32, "5" * 64, MANIFEST, PLACES, marks=marks, read_ns=NOW_NS)


def test_it_is_read_as_it_was_written() -> None:
    memory = read_memory(written(MARKS), "r" * 32)
    assert memory is not None
    assert memory.record == "5" * 64
    assert dict(memory.marks) == MARKS
    assert dict(memory.shas) == {entry.name: entry.sha256 for entry in ENTRIES}
    assert memory.known == known_of(MANIFEST, PLACES)


def test_what_a_snapshot_holds_follows_from_its_places() -> None:
    known = known_of(MANIFEST, PLACES)
    assert known.packs == {"a" * 64: PLACES.packs[0], "b" * 64: None, "d" * 64: PLACES.packs[0]}
    assert known.stored == {"b" * 64: 50}


def test_a_file_that_was_young_when_it_was_read_is_not_recognised() -> None:
    young = {**MARKS, "a": (*MARKS["a"][:3], NOW_NS - RACY_NS, 0)}
    memory = read_memory(written(young), "r" * 32)
    assert memory is not None
    assert memory.marks["a"] != young["a"]
    assert memory.marks["b"] == MARKS["b"]


def test_a_file_without_marks_is_not_recognised() -> None:
    memory = read_memory(written({}), "r" * 32)
    assert memory is not None
    assert all(ctime == -1 for _, _, _, ctime, _ in memory.marks.values())


def test_what_is_damaged_foreign_or_of_another_repository_counts_as_nothing() -> None:
    data = written(MARKS)
    assert read_memory(data, "s" * 32) is None
    for wrong in (b"", b"\n", data[:-1], data.replace(b'"a"', b'"z"', 1), data[10:]):
        assert read_memory(wrong, "r" * 32) is None
    for body in (b"{}", b"[]", b"nonsense", b'{"format":"x"}'):
        assert read_memory(digest(body).encode() + b"\n" + body, "r" * 32) is None


def test_nothing_is_remembered_as_nothing() -> None:
    empty = make_manifest(MANIFEST.kind, [])
    places = type(PLACES)((), (), ())
    memory = read_memory(write_memory("r" * 32, "5" * 64, empty, places, marks={}, read_ns=NOW_NS), "r" * 32)
    assert memory is not None
    assert not memory.shas
