"""When a metric of a service changed: error rate, p95, traffic, hit rate.

Knows:     how seconds become bins, how far a bin may be from those of a quiet time, and how long a change lasts.
Called by: `flows.anomalies`.
Never:     calls a change what is too small to matter, or rests on a single bin.
Source:    CUSUM (E. S. Page 1954); how often it is wrong: D. Siegmund 1985, exp(2k(h + 1.166)) / 2k**2 bins between false alarms, 800,000
           for one side; the medians of tests/unit/signals/test_changepoint.py. `redis.hitrate` compares the same way, one reading at a time.

Each bin is put into units of the baseline's spread: the median absolute deviation, which a few odd bins cannot move, and the chance of
sampling, which is known for shares and counts. What is beyond `DRIFT` units adds up, a single bin at most `CLIP`, and beyond `ALARM` it
is a change, which began where the sum began to grow. With bins of 5 s a steady service is wrongly said to have changed less than once a day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt

from go_cache_safeguard.signals.red import SECOND_NS, Second, quantile_ms

BIN_S = 5
DRIFT, ALARM, CLIP = 1.0, 6.0, 5.0
LEARN = 24
"""Bins that a baseline needs: two minutes."""
_QUIET = 6
"""Bins of which most are as before end a change."""
_FEW = 5


class Metric(StrEnum):
    """What changed."""

    ERRORS = "error rate"
    P95 = "p95"
    TRAFFIC = "traffic"
    HITS = "hit rate"


@dataclass(frozen=True, slots=True)
class Point:
    """One bin.

    Attributes:
        at_ns: When it began.
        value: On the scale on which it is compared.
        variance: What chance alone makes of it there.
        plain: As people say it.
    """

    at_ns: int
    value: float
    variance: float
    plain: float


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of a service is not what it was.

    Attributes:
        service: Whose.
        metric: Which.
        start_ns: When it began.
        end_ns: When it was over, or the window ended.
        before: The median before.
        after: The median during.
        strength: Of the strongest bin, in units of spread.
    """

    service: str
    metric: Metric
    start_ns: int
    end_ns: int
    before: float
    after: float
    strength: float

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.metric} of {self.service} went from {self._said(self.before)} to {self._said(self.after)}"

    def _said(self, value: float) -> str:
        if self.metric is Metric.P95:
            return f"{value:.4g} ms"
        return f"{value:.3g}/s" if self.metric is Metric.TRAFFIC else f"{value * 100:.3g} %"


def share(at_ns: int, part: float, whole: float) -> Point | None:
    """A bin of a share, by its log-odds; None with too few to tell."""
    if whole < _FEW:
        return None
    yes, no = part + 0.5, max(0.0, whole - part) + 0.5
    return Point(at_ns, log(yes / no), 1 / yes + 1 / no, part / whole)


def points(seconds: Iterable[Second], start_ns: int, end_ns: int) -> dict[Metric, list[Point]]:
    """Bins of the metrics of one service.

    Args:
        seconds: As `SpanStore.series` gives them.
        start_ns: Where the first bin begins.
        end_ns: Bins that end later are left out.
    """
    bins: dict[int, list[Second]] = {}
    for one in seconds:
        bins.setdefault((one.second * SECOND_NS - start_ns) // (BIN_S * SECOND_NS), []).append(one)
    found: dict[Metric, list[Point]] = {Metric.ERRORS: [], Metric.P95: [], Metric.TRAFFIC: []}
    first = min((number for number in bins if number >= 0), default=0)
    for number in range(first, (end_ns - start_ns) // (BIN_S * SECOND_NS)):
        at_ns = start_ns + number * BIN_S * SECOND_NS
        held = bins.get(number, [])
        requests = sum(one.requests for one in held)
        root = 2 * sqrt(requests + 0.375)  # of a count: its variance is 1, whatever it is
        found[Metric.TRAFFIC].append(Point(at_ns, root, 1.0, requests / BIN_S))
        failed = share(at_ns, sum(one.errors for one in held), requests)
        if failed:
            found[Metric.ERRORS].append(failed)
        slow = _p95(held)
        if slow and requests >= _FEW:
            found[Metric.P95].append(Point(at_ns, log(slow), 0.0, slow))
    return found


def _p95(held: Iterable[Second]) -> float | None:
    durations: dict[int, float] = {}
    for one in held:
        for bucket, count in one.durations.items():
            durations[bucket] = durations.get(bucket, 0.0) + count
    return quantile_ms(durations, 0.95)


_UP = frozenset({Metric.ERRORS, Metric.P95})
_DOWN = frozenset({Metric.HITS})
"""Metrics of which less, or more, is no trouble; of traffic both are told."""
_FLOOR: Mapping[Metric, float] = {Metric.P95: 0.05}


def changes(service: str, metric: Metric, bins: Sequence[Point], start_ns: int) -> tuple[Change, ...]:
    """When a metric changed.

    Args:
        service: Whose.
        metric: Which.
        bins: Of baseline and window, in order; what could not be told is missing.
        start_ns: Where the window begins. Bins before are the baseline; without `LEARN` of them nothing is said.
    """
    quiet = [one for one in bins if one.at_ns < start_ns]
    if len(quiet) < LEARN:
        return ()
    usual = _median([one.value for one in quiet])
    spread = max(1.4826 * _median([abs(one.value - usual) for one in quiet]), _FLOOR.get(metric, 0.0))
    away = [(one.value - usual) / sqrt(spread**2 + one.variance or 1e-12) for one in bins]
    before = _median([one.plain for one in quiet])
    found = []
    for sign in (1, -1):
        if metric in (_DOWN if sign > 0 else _UP):
            continue
        for first, last in _runs([sign * one for one in away]):
            if bins[last].at_ns < start_ns:
                continue
            held = range(first, last + 1)
            after = _median([bins[at].plain for at in held])
            if _matters(metric, before, after):
                end_ns = bins[last].at_ns + BIN_S * SECOND_NS
                strongest = max(sign * away[at] for at in held)
                found.append(Change(service, metric, bins[first].at_ns, end_ns, before, after, strongest))
    return tuple(sorted(found, key=lambda one: one.start_ns))


def _runs(away: Sequence[float]) -> list[tuple[int, int]]:
    """First and last bin of each change upwards."""
    found: list[tuple[int, int]] = []
    total, began, at = 0.0, 0, 0
    while at < len(away):
        total = max(0.0, total + min(away[at], CLIP) - DRIFT)
        if total == 0.0:
            began = at + 1
        elif total > ALARM:
            last = _last(away, at)
            first = _first(away, began, at)
            if last > first:  # else one bin, and an odd one long before
                found.append((first, last))
            total, began, at = 0.0, last + 1, last
        at += 1
    return found


def _first(away: Sequence[float], began: int, at: int) -> int:
    """The first bin of a change: an odd bin long before, from which the sum had not recovered, is none of it."""
    first = at
    for number in range(at, began - 1, -1):
        if away[number] > DRIFT:
            first = number
        elif first - number > 1:
            break
    return first


def _last(away: Sequence[float], at: int) -> int:
    """The last bin of a change that is known at one: before `_QUIET` bins of which most are as before, whatever odd ones are among them."""
    last = at
    for number in range(at + 1, len(away)):
        if away[number] > 2 * DRIFT:
            last = number
        recent = away[max(at, number - _QUIET + 1) : number + 1]
        if len(recent) == _QUIET and 2 * sum(one > 2 * DRIFT for one in recent) < _QUIET:
            break
    return last


def _matters(metric: Metric, before: float, after: float) -> bool:
    if metric is Metric.ERRORS:
        return after - before >= 0.001
    if metric is Metric.P95:
        return after >= 1.25 * before
    if metric is Metric.HITS:
        return after <= 0.95 * before
    return not 0.7 * before < after < 1.5 * before


def _median(values: Sequence[float]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def onset(times_ns: Sequence[int], start_ns: int, end_ns: int) -> int:
    """From when on something happens more often: the split of a window that explains best how times lie in it.

    Args:
        times_ns: When it happened, in any order, all in the window.
        start_ns: Where the window begins.
        end_ns: Where it ends.
    """
    times = sorted(times_ns)
    best, found = 0.0, times[0] if times else start_ns
    whole = end_ns - start_ns
    for before, at in enumerate(times):
        early, late = max(1, at - start_ns), max(1, end_ns - at)
        after = len(times) - before
        gain = after * log(after / len(times) * whole / late)
        if before:
            gain += before * log(before / len(times) * whole / early)
        if gain > best and after / late > before / early:
            best, found = gain, at
    return found
