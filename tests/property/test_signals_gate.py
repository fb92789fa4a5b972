"""Whatever the figures are: worse ones never give a better ruling, and none never give leave."""

from dataclasses import replace
from math import nan

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.signals.gate import Limits, Looks, Verdict, judge
from go_cache_safeguard.signals.golden import Golden, absent
from go_cache_safeguard.signals.red import Second

_S = 1_000_000_000
_LATENCY = st.one_of(st.sampled_from([5.0, 10.0, 25.0, 50.0]), st.floats(0.1, 1000))
_LIMITS = st.builds(
    Limits,
    alpha=st.sampled_from([0.01, 0.05, 0.5]),
    slower=st.sampled_from([0, 1.5]),
    more_errors=st.sampled_from([0, 0.001]),
    error_rate=st.sampled_from([0.005, 0.2, 1]),
    p95_times=st.sampled_from([3, 1000]),
    requests=st.just(20),
)
_LOOKS = st.builds(Looks, st.integers(0, 9), st.integers(0, 1))


def _p95(latencies: tuple[float, ...]) -> float:
    return sorted(latencies)[len(latencies) * 95 // 100] if latencies else nan


@st.composite
def _golden(draw: st.DrawFn, start_s: int = 1000) -> Golden:
    counts = draw(
        st.lists(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n // 4))), max_size=10)
    )
    latencies = tuple(draw(st.lists(_LATENCY, max_size=60)))
    return Golden(
        service="pay",
        start_ns=start_s * _S,
        end_ns=(start_s + 10) * _S,
        requests=sum(requests for requests, _ in counts),
        errors=sum(errors for _, errors in counts),
        p95_ms=_p95(latencies),
        latencies=latencies,
        saturation=draw(st.one_of(st.none(), st.floats(0, 1.2))),
        newest_ns=draw(st.sampled_from([None, (start_s + 9) * _S, (start_s - 30) * _S])),
        seconds=tuple(Second("pay", start_s + n, *pair) for n, pair in enumerate(counts)),
    )


def _with_more_errors(one: Golden, more: int) -> Golden:
    seconds: list[Second] = []
    left: float = more
    for second in one.seconds:
        added = min(left, second.requests - second.errors)
        seconds.append(replace(second, errors=second.errors + added))
        left -= added
    return replace(one, seconds=tuple(seconds), errors=one.errors + int(more - left))


def _with_greater_latencies(one: Golden, added: list[float]) -> Golden:
    slower = tuple(value + more for value, more in zip(one.latencies, added, strict=False))
    latencies = (*slower, *one.latencies[len(slower) :])
    return replace(one, latencies=latencies, p95_ms=_p95(latencies))


@given(_golden(), st.one_of(st.none(), _golden(start_s=900)), _LIMITS, _LOOKS, st.data())
def test_worse_data_never_give_a_better_ruling(
    now: Golden, before: Golden | None, limits: Limits, looks: Looks, data: st.DataObject
) -> None:
    worse = _with_more_errors(now, data.draw(st.integers(0, 200)))
    worse = _with_greater_latencies(worse, data.draw(st.lists(st.floats(0, 100), max_size=60)))
    if worse.saturation is not None:
        worse = replace(worse, saturation=worse.saturation + data.draw(st.floats(0, 1)))
    assert judge(worse, before, limits, looks).verdict >= judge(now, before, limits, looks).verdict


@given(_golden(), _golden(start_s=900), _LIMITS, _LOOKS, st.integers(0, 8))
def test_taking_away_what_is_known_never_gives_leave(
    now: Golden, before: Golden, limits: Limits, looks: Looks, what: int
) -> None:
    poorer = [
        absent("pay", now.start_ns, now.end_ns, "no answer"),
        replace(now, doubt="partial"),
        replace(now, requests=0, errors=0),
        replace(now, latencies=()),
        replace(now, p95_ms=nan),
        replace(now, newest_ns=None),
        replace(now, newest_ns=now.end_ns - 60 * _S),
        replace(now, saturation=nan),
        replace(now, end_ns=now.start_ns),
    ][what]
    assert judge(poorer, before, limits, looks).verdict is not Verdict.ADVANCE
    assert judge(now, None, limits, looks).verdict is not Verdict.ADVANCE
