"""The table is read as it is written, names are found, and keys stand where a specification says."""

import csv
import io
import re

import pytest

from go_cache_safeguard.redis.commands import (
    COLUMNS,
    Class,
    Command,
    Rule,
    Table,
    Treatment,
    format_spec,
    format_table,
    number,
    parse_spec,
    parse_table,
    token,
)
from go_cache_safeguard.redis.tablefile import load_table


def _text(table: Table) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(format_table(table))
    return file.getvalue()


def test_the_table_that_comes_with_us_is_read_and_written_back_as_it_is() -> None:
    table = load_table()
    assert len(table.rows) > 580
    assert parse_table(_text(table)) == table


def test_whatever_destroys_something_says_what() -> None:
    harmless = {Class.READ, Class.SESSION, Class.WRITE}
    assert [row.name for row in load_table() if row.cls not in harmless and not row.why] == []


def test_no_row_asks_for_less_than_its_server_says() -> None:
    """A command that a server calls a write is not called a reading one here."""
    assert [row.name for row in load_table() if row.cls is Class.READ and "write" in row.flags] == []
    takes = {Class.EMPTIES, Class.REMOVES, Class.OVERWRITES, Class.EXPIRES}
    for row in load_table():
        if any("delete" in spec.flags or spec.mode == "RM" for spec in row.keys):
            assert row.cls in takes, row.name


def test_every_class_and_treatment_has_a_meaning() -> None:
    assert all(one.meaning for one in (*Class, *Treatment))


@pytest.mark.parametrize("text", ["command,class\n", ",".join(COLUMNS) + "\nGET,strange" + "," * 10])
def test_a_table_with_other_columns_or_classes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"column|strange"):
        parse_table(text)


def test_a_name_that_comes_twice_is_refused() -> None:
    text = _text(Table({"GET": Command("GET", Class.READ)}))
    with pytest.raises(ValueError, match="GET comes twice"):
        parse_table(text + text.splitlines()[1] + "\n")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["get", "k"], "GET"),
        (["Config", "sEt", "x", "y"], "CONFIG SET"),
        (["config"], "CONFIG"),
        (["get\0", "k"], "GET\0"),
        ([], ""),
    ],
)
def test_a_command_is_called_by_its_words(words: list[str], name: str) -> None:
    assert load_table().name([word.encode() for word in words]) == name


def test_what_is_not_in_the_table_is_not_found() -> None:
    table = load_table()
    found = table.find([b"config", b"set", b"a", b"b"])
    assert found is not None
    assert (found.cls, found.rule) == (Class.SERVER, Rule.CONFIG)
    for words in ([b"CONFIG"], [b"CONFIG", b"X"], [b"DEL\0"], [b"\xff"], []):
        assert table.find(words) is None
    assert "CONFIG" in table.containers


@pytest.mark.parametrize(
    ("spec", "words", "places"),
    [
        ("RW+delete 1", "DEL a", (1,)),
        ("RW+delete 1..-1", "DEL a b c", (1, 2, 3)),
        ("RW+access+delete 1..-2", "BLPOP a b 0", (1, 2)),
        ("OW+update 1..-1/2", "MSET a 1 b 2", (1, 3)),
        ("RO 2#0+1", "EVAL x 2 a b c", (3, 4)),
        ("RO 2#0+1", "EVAL x 0 a", ()),
        ("RO 2#0+1", "EVAL x 9 a", None),
        ("RO 2#0+1", "EVAL x 02 a b", None),
        ("RO 2#0+1", "EVAL x -1 a", None),
        ("RO 2#0+1", "EVAL x", None),
        ("OW+update 1#0+1/2", "MSETEX 2 a 1 b 2", (2, 4)),
        ("RO STREAMS@1..-1:2", "XREAD COUNT 1 streams a b 0 0", (4, 5)),
        ("RO STREAMS@1..-1:2", "XREAD COUNT 1", ()),
        ("RW+delete KEYS@-2..-1", "MIGRATE h 1 x 0 9 KEYS a b", (7, 8)),
        ("OW+update ?", "SORT a STORE b", None),
        ("RO 1", "GET", None),
        ("- 1", "X a", (1,)),
    ],
)
def test_keys_stand_where_the_specification_says(spec: str, words: str, places: tuple[int, ...] | None) -> None:
    parsed = parse_spec(spec)
    assert parsed.positions([word.encode() for word in words.split()]) == places
    assert format_spec(parsed) == spec


@pytest.mark.parametrize("text", ["", "RW", "RX 1", "RW 1...2", "RW+delete", "RW a@1"])
def test_what_is_no_specification_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or r"^$"):
        parse_spec(text)


def test_a_word_is_compared_up_to_a_nul_and_without_regard_to_case() -> None:
    assert token(b"rePlace\0x") == b"REPLACE"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"12", 12),
        (b"+1", None),
        (b"01", None),
        (b"-0", None),
        (b" 1", None),
        (b"", None),
        (b"9" * 19, None),
    ],
)
def test_a_number_is_read_as_a_server_reads_it(text: bytes, value: int | None) -> None:
    assert number(text) == value
