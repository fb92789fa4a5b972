"""Index entries, and those that nobody should accept."""

import pytest

from go_cache_safeguard.gocache.entry import Damage, Entry, parse_entry

GOOD = b"v1 " + b"ab" * 32 + b" " + b"cd" * 32 + b" " + b"%20d" % 7 + b" " + b"%20d" % 9 + b"\n"
ACTION = b"\xab" * 32


@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (b"", Damage.EMPTY),
        (GOOD[:-1], Damage.SHORT),
        (GOOD + b"\n", Damage.LONG),
        (bytes(175), Damage.MALFORMED),
        (GOOD.replace(b"v1", b"v2"), Damage.MALFORMED),
        (GOOD.replace(b"abab ", b"ab a "), Damage.MALFORMED),
        (GOOD.replace(b"ab", b"ac"), Damage.OTHER_ACTION),
        (GOOD.replace(b" 7 ", b"-7 "), Damage.OUT_OF_RANGE),
        (GOOD.replace(b"%20d" % 9, b"99999999999999999999"), Damage.OUT_OF_RANGE),
    ],
)
def test_damage_is_named(data: bytes, damage: Damage) -> None:
    assert parse_entry(data, ACTION) is damage


def test_a_sound_entry_is_read() -> None:
    assert parse_entry(GOOD, ACTION) == Entry(ACTION, b"\xcd" * 32, 7, 9)


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_no_single_flipped_byte_is_both_accepted_and_unchanged(at: int) -> None:
    flipped = GOOD[:at] + bytes([GOOD[at] ^ 0xFF]) + GOOD[at + 1 :]
    assert parse_entry(flipped, ACTION) != Entry(ACTION, b"\xcd" * 32, 7, 9)
