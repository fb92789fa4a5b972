"""Lengths of time: what is read, what is refused, what is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.duration import format_duration, parse_duration, parse_milliseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43_200), ("5d", 432_000), ("2w", 1_209_600), ("1h30m", 5400), (" 0s ", 0)],
)
def test_a_length_of_time_is_read_in_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


def test_a_short_one_is_read_in_milliseconds() -> None:
    assert [parse_milliseconds(text) for text in ("250ms", " 3000ms", "3s", "1h30m")] == [250, 3_000, 3_000, 5_400_000]
    for text in ("ms", "1.5ms", "3", "\N{ARABIC-INDIC DIGIT ONE}ms"):
        with pytest.raises(ValueError, match="is not a length of time"):
            parse_milliseconds(text)


@pytest.mark.parametrize(
    "text", ["", "5", "5 d", "-5d", "1.5h", "5y", "5d!", "h", "1h 30m", "\N{ARABIC-INDIC DIGIT ONE}s"]
)
def test_what_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (42.4, "42s"),
        (59.9, "1m"),
        (185, "3m 5s"),
        (7800, "2h 10m"),
        (3605, "1h 5s"),
        (86_400, "1d"),
        (435_661, "5d 1h"),
    ],
)
def test_a_length_of_time_is_printed_in_two_units_at_most(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_what_is_printed_is_never_more_than_there_was(seconds: int) -> None:
    printed = parse_duration(format_duration(seconds).replace(" ", ""))
    assert printed <= seconds < printed + 86_400
