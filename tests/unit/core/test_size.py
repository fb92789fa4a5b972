"""Sizes: every form that is accepted, every one that is not, and what is printed."""

import pytest

from go_cache_safeguard.core.size import Share, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1073741824", 1 << 30),
        ("20GiB", 20 << 30),
        ("20gib", 20 << 30),
        ("20G", 20 << 30),
        ("20GB", 20 * 10**9),
        ("500 MB", 500 * 10**6),
        (" 1K ", 1024),
        ("7B", 7),
        ("1.5KiB", 1536),
        ("2TiB", 2 << 40),
        # More digits than a float holds: a size that is an integer stays exact.
        ("9007199254740993", 2**53 + 1),
        ("9007199254740993K", (2**53 + 1) << 10),
    ],
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "per_million"), [("0%", 0), ("10%", 100_000), ("0.01%", 100), ("100%", 1_000_000)])
def test_a_share_stays_a_share_until_somebody_knows_of_what(text: str, per_million: int) -> None:
    assert parse_size(text) == Share(per_million)


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "1e3", "1..2K", "20 Gib 3", "1PB", "10%%", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_what_is_neither_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 20GiB"):
        parse_size(text)


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100%"):
        parse_size("100.1%")


def test_a_share_of_something_is_rounded_down() -> None:
    assert Share(333_333).of(10) == 3
    assert Share(1_000_000).of(2**62 + 1) == 2**62 + 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (200 << 20, "200 MiB"),
        (20 << 30, "20.0 GiB"),
        (5000 << 40, "5000 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_a_size_is_printed_short(size: int, text: str) -> None:
    assert format_size(size) == text
