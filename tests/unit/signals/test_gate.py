"""When the gate advances, when it waits and when it goes back; and that it is seldom wrong."""

import random
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from go_cache_safeguard.signals.gate import Limits, Looks, Ruling, Verdict, breach_of, judge, judge_all, together
from go_cache_safeguard.signals.golden import Golden, absent
from go_cache_safeguard.signals.red import Second

_S = 1_000_000_000
_CALM = tuple(float(10 + n % 17) for n in range(400))


def _golden(*, start_s: int = 1000, requests: int = 2000, errors: int = 0, **changed: Any) -> Golden:
    end = (start_s + 10) * _S
    seconds = tuple(Second("pay", start_s + n, requests // 10, errors // 10) for n in range(10))
    one = Golden("pay", start_s * _S, end, requests, errors, 25.0, _CALM, 0.4, newest_ns=end - _S, seconds=seconds)
    return replace(one, **changed)


_BEFORE = _golden(start_s=900)
_NOW = _golden()


def test_a_service_that_does_as_well_as_before_advances() -> None:
    ruling = judge(_NOW, _BEFORE)
    assert ruling.verdict is Verdict.ADVANCE
    assert "no worse than before" in ruling.reasons[0]
    assert ruling.looks == Looks(taken=1)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (absent("pay", 0, _S, "the source did not answer within 2 s"), "did not answer"),
        (_golden(requests=0, latencies=(), p95_ms=nan, seconds=()), "no data"),
        (_golden(requests=49), "49 requests are too few"),
        (_golden(latencies=_CALM[:19]), "19 latencies are too few"),
        (_golden(p95_ms=nan), "no numbers"),
        (_golden(p95_ms=-1.0), "no numbers"),
        (_golden(latencies=(*_CALM, nan)), "no numbers"),
        (_golden(saturation=nan), "saturation is no number"),
        (_golden(saturation=None), "not measured any more"),
        (_golden(errors=2001, seconds=()), "cannot be"),
        (_golden(errors=-1), "cannot be"),
        (_golden(newest_ns=None), "how old"),
        (_golden(newest_ns=990 * _S), "20 s old"),
        (_golden(newest_ns=1013 * _S), "3 s in the future"),
        (_golden(seconds=(Second("pay", 1000, 1000, 0), Second("pay", 1007, 1000, 0))), "no data for 6 s"),
        (_golden(requests=900), "less than 50 % of the 200 before"),
        (_golden(end_ns=1000 * _S), "no length"),
        (_golden(start_s=905), "overlaps"),
        (_golden(service="cart"), "is of pay"),
    ],
)
def test_data_that_cannot_be_judged_are_a_pause_with_the_reason_and_no_strike(now: Golden, reason: str) -> None:
    ruling = judge(now, _BEFORE, looks=Looks(taken=4, strikes=1))
    assert ruling.verdict is Verdict.PAUSE
    assert any(reason in one for one in ruling.reasons), ruling.reasons
    assert ruling.looks == Looks(taken=4, strikes=1)


def test_without_a_sound_baseline_there_is_no_advance() -> None:
    assert judge(_NOW, None).verdict is Verdict.PAUSE
    ruling = judge(_NOW, replace(_BEFORE, requests=10))
    assert (ruling.verdict, ruling.reasons[0]) == (Verdict.PAUSE, "baseline: 10 requests are too few, of 50")


_FAULTS = [
    (_golden(errors=11), "more than 0.5 %"),
    (_golden(errors=9), "errors rose from 0 % to 0.45 %"),
    (_golden(p95_ms=76.0), "more than 3 times"),
    (_golden(p95_ms=39.0, latencies=tuple(one * 1.5 for one in _CALM)), "p95 rose from 25 ms to 39 ms"),
    (_golden(saturation=0.95), "saturation is 95 %"),
]


@pytest.mark.parametrize(("now", "reason"), _FAULTS)
def test_a_fault_is_a_pause_and_the_second_in_a_row_a_roll_back(now: Golden, reason: str) -> None:
    first = judge(now, _BEFORE)
    assert first.verdict is Verdict.PAUSE
    assert reason in first.reasons[0]
    later = replace(now, start_ns=now.start_ns + _S, end_ns=now.end_ns + _S, newest_ns=1010 * _S)
    blind = judge(absent("pay", now.start_ns, now.end_ns, "time-out"), _BEFORE, looks=first.looks)
    assert blind.verdict is Verdict.PAUSE
    second = judge(later, _BEFORE, looks=blind.looks)
    assert (second.verdict, second.reasons[-1]) == (Verdict.ROLL_BACK, "strike 2 of 2")
    calm = judge(_NOW, _BEFORE, looks=first.looks)
    assert (calm.verdict, calm.looks.strikes) == (Verdict.ADVANCE, 0)


def test_the_same_data_twice_are_one_strike() -> None:
    bad = _golden(errors=20, newest_ns=5000 * _S)
    first = judge(bad, _BEFORE)
    again = judge(bad, _BEFORE, looks=first.looks)
    assert (again.verdict, again.looks.strikes) == (Verdict.PAUSE, 1)
    right = _golden(start_s=1001, errors=20)
    assert judge(right, _BEFORE, looks=again.looks).verdict is Verdict.PAUSE
    assert judge(_golden(start_s=1003, errors=20), _BEFORE, looks=again.looks).verdict is Verdict.ROLL_BACK


def test_an_absolute_p95_holds_regardless_of_the_baseline() -> None:
    assert judge(_NOW, _BEFORE, Limits(p95_ms=24)).verdict is Verdict.PAUSE


@pytest.mark.parametrize("blind", [{}, {"newest_ns": None, "p95_ms": nan, "latencies": (), "doubt": "partial"}])
def test_one_terrible_second_is_a_roll_back_at_once_whatever_else_is_missing(blind: dict[str, Any]) -> None:
    seconds = (*_NOW.seconds, Second("pay", 1010, 40, 5))
    ruling = judge(_golden(seconds=seconds, **blind), None)
    assert (ruling.verdict, ruling.breached) == (Verdict.ROLL_BACK, True)
    assert "5 of 40 requests failed in one second" in ruling.reasons[0]


def test_a_few_errors_of_a_few_requests_are_no_breach() -> None:
    assert not breach_of(
        _golden(seconds=(Second("pay", 1000, 19, 19), Second("pay", 1001, 40, 4), Second("pay", 1002, 20, 2)))
    )
    assert breach_of(_golden(seconds=(), errors=201))


def test_services_are_judged_together_by_the_worst() -> None:
    rulings = judge_all({"pay": _NOW}, {"pay": _BEFORE}, ["pay", "cart"])
    assert rulings["pay"].verdict is Verdict.ADVANCE
    assert together(rulings) == Ruling(Verdict.PAUSE, ("cart: no data",))
    assert together({}).verdict is Verdict.PAUSE


def _drawn(draw: random.Random, start_s: int, errors: float, slow: float) -> Golden:
    failed = sum(draw.random() < errors for _ in range(600))
    latencies = tuple(draw.lognormvariate(3 + slow, 0.5) for _ in range(300))
    return _golden(
        start_s=start_s, requests=600, errors=failed, latencies=latencies, p95_ms=sorted(latencies)[284], seconds=()
    )


def _ever_paused(seed: int, limits: Limits) -> bool:
    """Twenty looks at a service of which nothing has changed, each with the same baseline."""
    draw = random.Random(seed)  # noqa: S311 - the same figures each time
    before, looks = _drawn(draw, 900, 0.01, 0), Looks()
    for look in range(20):
        ruling = judge(_drawn(draw, 1000 + 10 * look, 0.01, 0), before, limits, looks)
        if ruling.verdict is not Verdict.ADVANCE:
            return True
        looks = ruling.looks
    return False


def test_over_twenty_looks_a_service_as_good_as_before_is_paused_no_more_often_than_allowed() -> None:
    """No fixed limit, and no difference too small to compare: only the statistics speak."""
    limits = Limits(error_rate=1, second_error_rate=1, p95_times=inf, more_errors=0, slower=0, alpha=0.2)
    paused = sum(_ever_paused(seed, limits) for seed in range(150))
    assert 0 < paused <= 150 * 0.2


def test_a_service_that_got_worse_is_seen_at_the_first_look_and_at_the_twentieth() -> None:
    limits = Limits(error_rate=1, p95_times=inf)
    for taken in (0, 19):
        for errors, slow in ((0.08, 0.0), (0.01, 0.7)):
            seen = 0
            for seed in range(20):
                draw = random.Random(seed)  # noqa: S311 - the same figures each time
                before = _drawn(draw, 900, 0.01, 0)
                ruling = judge(_drawn(draw, 1000, errors, slow), before, limits, Looks(taken))
                seen += ruling.verdict is not Verdict.ADVANCE
            assert seen >= 19
