"""Index entries, those that go wrote and those that nobody should accept."""

from collections.abc import Callable

import pytest

from go_cache_safeguard.gocache.entry import Damage, Entry, parse_entry
from gocaches import GoCache, Toolchain

GOOD = b"v1 " + b"ab" * 32 + b" " + b"cd" * 32 + b" " + b"%20d" % 7 + b" " + b"%20d" % 9 + b"\n"
ACTION = b"\xab" * 32


@pytest.mark.real
def test_every_entry_that_go_wrote_is_read_in_full(
    toolchain: Toolchain, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    root = warm_cache(toolchain).root
    paths = sorted(root.glob("??/*-a"))
    assert len(paths) > 100
    for path in paths:
        entry = parse_entry(path.read_bytes(), bytes.fromhex(path.name[:64]))
        assert isinstance(entry, Entry), path
        output = root / entry.output.hex()[:2] / f"{entry.output.hex()}-d"
        if output.is_dir():
            (output,) = output.iterdir()
        assert output.stat().st_size == entry.size


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
