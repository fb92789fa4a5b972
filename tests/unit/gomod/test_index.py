"""The memory of a module cache: it may forget anything, and must not be believed when it is not ours."""

import sqlite3
from pathlib import Path

import pytest

from go_cache_safeguard.gomod.index import Known, ModuleIndex
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.verify import Sums

ONE, TWO = Version("example.com/a", "v1.0.0"), Version("example.com/b", "v1.0.0")
KNOWN = Known(b"m" * 32, Sums("h1:x", "h1:x", "h1:x", None, b"s" * 32))


def index(path: Path, identity: str = "1:2") -> ModuleIndex:
    return ModuleIndex(path / "i.sqlite", identity)


def test_what_was_learnt_is_known_next_time_until_it_is_gone(tmp_path: Path) -> None:
    assert index(tmp_path).load() == {}
    index(tmp_path).save([(ONE, KNOWN), (TWO, KNOWN)])
    assert index(tmp_path).load() == {ONE: KNOWN, TWO: KNOWN}
    index(tmp_path).save([(TWO, KNOWN._replace(marks=b"n"))], [ONE])
    assert index(tmp_path).load() == {TWO: KNOWN._replace(marks=b"n")}


def test_the_memory_of_another_directory_is_thrown_away(tmp_path: Path) -> None:
    index(tmp_path).save([(ONE, KNOWN)])
    assert index(tmp_path, "1:3").load() == {}
    assert index(tmp_path, "1:3").load() == {}
    index(tmp_path, "1:3").save([(TWO, KNOWN)])
    assert index(tmp_path, "1:3").load() == {TWO: KNOWN}


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_none_is_emptied_and_made_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i.sqlite").write_bytes(content)
    assert index(tmp_path).load() == {}
    index(tmp_path).save([(ONE, KNOWN)])
    assert index(tmp_path).load() == {ONE: KNOWN}


def test_a_row_that_we_would_not_write_makes_all_of_it_worthless(tmp_path: Path) -> None:
    index(tmp_path).save([(ONE, KNOWN), (TWO, KNOWN)])
    with sqlite3.connect(tmp_path / "i.sqlite") as db:
        db.execute("UPDATE versions SET zip = 'h1:y' WHERE path = ?", (ONE.path,))
    db.close()
    assert index(tmp_path).load() == {}


def test_without_a_place_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    missing = ModuleIndex(tmp_path / "nowhere" / "i.sqlite", "1:2")
    missing.save([(ONE, KNOWN)])
    assert missing.load() == {}


def test_while_another_writes_nothing_is_taken_away(tmp_path: Path) -> None:
    index(tmp_path).save([(ONE, KNOWN)])
    other = sqlite3.connect(tmp_path / "i.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    impatient = ModuleIndex(tmp_path / "i.sqlite", "1:2", patience_s=0)
    assert impatient.load() == {}
    impatient.save([], [ONE])
    other.execute("ROLLBACK")
    other.close()
    assert index(tmp_path).load() == {ONE: KNOWN}
