"""Entries, names and kinds under any bytes at all."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.archive import build_id_at, read_archive, read_program
from go_cache_safeguard.gocache.classify import HEAD, TAIL, Kind, classify
from go_cache_safeguard.gocache.entry import ENTRY_SIZE, Damage, Entry, parse_entry
from go_cache_safeguard.gocache.layout import action_name, output_name, parse_file, parse_name, parse_trim, printable

IDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)


def written(entry: Entry) -> bytes:
    """As `putIndexEntry` writes it."""
    return b"v1 %s %s %20d %20d\n" % (
        entry.action.hex().encode(),
        entry.output.hex().encode(),
        entry.size,
        entry.time_ns,
    )


ENTRIES = st.builds(Entry, IDS, IDS, NUMBERS, NUMBERS)


@given(ENTRIES)
def test_an_entry_that_is_written_is_read_back(entry: Entry) -> None:
    data = written(entry)
    assert len(data) == ENTRY_SIZE
    assert parse_entry(data, entry.action) == entry


@given(ENTRIES, st.integers(0, ENTRY_SIZE - 1), st.integers(1, 255))
def test_a_changed_byte_never_leaves_the_same_entry(entry: Entry, at: int, change: int) -> None:
    data = bytearray(written(entry))
    old = data[at]
    data[at] ^= change
    same_digit = bytes([old]).lower() == bytes([data[at]]).lower()
    leading = at > 132 and {old, data[at]} <= set(b" 0+")
    assert parse_entry(bytes(data), entry.action) != entry or same_digit or leading


@given(ENTRIES, st.integers(0, 2 * ENTRY_SIZE))
def test_a_cut_or_longer_entry_is_damage(entry: Entry, length: int) -> None:
    data = (written(entry) * 2)[:length]
    assert isinstance(parse_entry(data, entry.action), Damage) == (length != ENTRY_SIZE)


@given(st.binary(max_size=2 * ENTRY_SIZE), IDS)
def test_any_bytes_are_an_entry_or_damage(data: bytes, action: bytes) -> None:
    assert isinstance(parse_entry(data, action), Entry | Damage)


@given(IDS)
def test_names_and_ids_are_one_to_one(key: bytes) -> None:
    assert parse_name(action_name(key)) == (key, "a")
    assert parse_name(output_name(key)) == (key, "d")
    shard, name = output_name(key).split("/")
    assert parse_file(shard, name) == (key, "d")


@given(st.text(max_size=80))
def test_a_name_that_is_accepted_is_the_one_that_we_would_give(name: str) -> None:
    parsed = parse_name(name)
    assert parsed is None or name in {action_name(parsed[0]), output_name(parsed[0])}


@given(st.text(st.characters(), max_size=40))
def test_shown_names_are_printable_and_differ_when_names_do(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert shown == name or "\\" in shown


@given(st.binary(max_size=2000))
def test_any_bytes_are_of_some_kind(data: bytes) -> None:
    assert classify(data[:HEAD], data[-TAIL:], len(data)) in Kind


@given(st.binary(max_size=40))
def test_any_bytes_are_a_time_or_none(data: bytes) -> None:
    seconds = parse_trim(data)
    assert seconds is None or seconds == int(data) * 1_000_000_000


@given(st.binary(max_size=400), st.lists(st.binary(max_size=400), min_size=12, max_size=12))
def test_whatever_is_read_after_a_header_the_reader_ends(head: bytes, answers: list[bytes]) -> None:
    begin = b"!<arch>\n" + b"__.PKGDEF".ljust(48) + b"20".ljust(10) + b"`\ngo object linux amd64 go1.27.3\n"
    begin += b'build id "' + b"a" * 20 + b"/" + b"b" * 20 + b'"\n'
    build_id_at(head)
    for parser in (read_archive(begin + head), read_program("x", head)):
        with suppress(StopIteration):
            at, length = next(parser)
            for answer in answers:
                assert at >= 0
                assert 0 <= length <= 64 << 20
                at, length = parser.send(answer)
