"""What a build left behind is read or refused, and a rise of misses is a strike only if it is large and there are enough builds."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from go_cache_safeguard.signals.builds import Build, for_builds, golden_of_builds, parse_build
from go_cache_safeguard.signals.gate import Limits, Verdict, judge
from go_cache_safeguard.signals.golden import Golden

_S = 1_000_000_000
_LIMITS = for_builds(Limits(), builds=5, misses=0.1, stale_s=300)


def _line(**other: Any) -> bytes:
    value = {"began_ns": 2 * _S, "ended_ns": 5 * _S, "gets": 90, "misses": 9, "remote": {"asked": 80, "namespace": "n"}}
    return json.dumps(value | other).encode()


def _golden(misses: Iterable[int], *, at_s: int, took_ms: float = 900) -> Golden:
    builds = [Build("n", (at_s + n) * _S, took_ms + n, 100, missed) for n, missed in enumerate(misses)]
    return golden_of_builds("n", builds, at_s * _S, (at_s + 100) * _S)


def test_a_line_is_a_build_that_asked_the_second_level_or_none_or_refused() -> None:
    assert parse_build(_line()) == Build("n", 5 * _S, 3_000, 90, 9)
    assert parse_build(_line(), told_ns=7 * _S) == Build("n", 7 * _S, 3_000, 90, 9)
    assert parse_build(_line(remote=None)) is None
    assert parse_build(_line(remote={"asked": 0})) is None
    for bad in (
        b"",
        b"[]",
        b"1",
        b"[" * 100_000,
        _line(gets=-1),
        _line(misses=91),
        _line(ended_ns=1),
        _line(gets=True),
    ):
        with pytest.raises(ValueError, match=r".+"):
            parse_build(bad)


def test_without_builds_there_are_no_data_and_that_is_a_pause() -> None:
    found = golden_of_builds("n", [Build("other", 5, 1, 1, 0), Build("n", 300 * _S, 1, 1, 0)], 0, 200 * _S)
    assert (found.requests, found.doubt) == (0, "no build that asked the second level has ended")
    assert judge(found, _golden([5] * 9, at_s=0), _LIMITS).verdict is Verdict.PAUSE


def test_builds_that_miss_more_or_take_longer_are_struck_and_put_back_the_second_time() -> None:
    before = _golden([5] * 20, at_s=0)
    assert (
        judge(_golden([9] * 5, at_s=100), before, _LIMITS).verdict is Verdict.ADVANCE
    )  # four of 100 more do not matter
    few = judge(_golden([90] * 4, at_s=100), before, _LIMITS)
    assert (few.verdict, few.looks.strikes) == (Verdict.PAUSE, 0)
    for misses, took_ms in ([40] * 5, 900), ([5] * 5, 2_000):
        first = judge(_golden(misses, at_s=100, took_ms=took_ms), before, _LIMITS)
        assert (first.verdict, first.looks.strikes) == (Verdict.PAUSE, 1)
        same = judge(_golden(misses, at_s=100, took_ms=took_ms), before, _LIMITS, first.looks)
        assert (same.verdict, same.looks.strikes) == (Verdict.PAUSE, 1)  # nobody has built since
        again = judge(_golden([*misses, 50], at_s=100, took_ms=took_ms), before, _LIMITS, first.looks)
        assert again.verdict is Verdict.ROLL_BACK
