"""Rate, errors and duration per service and second: what is counted before anything is thrown away.

Knows:     which spans count as requests, how much one kept span stands for, and the buckets of their durations.
Called by: `signals.spanstore`, which keeps the counts; whoever makes golden signals of them.
Never:     counts a span twice because a child of it is in the same service: only what came in from outside is a request.
Source:    exponential histograms of OpenTelemetry (scale 3: each bucket reaches 2**(1/8) further); tracestate-probability-sampling:
           `ot=th:` is the part of 2**56 that was thrown away, trailing zeros left out.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from go_cache_safeguard.signals.span import Span

_SCALE = 8
_MOST = 1_000.0
"""Requests that one span may stand for: a threshold from outside is not believed without end."""
_WHOLE = 1 << 56
SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Count:
    """Requests of one bucket.

    Attributes:
        requests: How many, errors included. Not whole where spans stand for others that were sampled away.
        errors: How many of them failed.
    """

    requests: float = 0.0
    errors: float = 0.0


@dataclass(frozen=True, slots=True)
class Second:
    """One service in one second.

    Attributes:
        service: Its name.
        second: Seconds since 1970 at which the requests ended.
        requests: How many, errors included.
        errors: How many of them failed.
        durations: Requests by bucket of their duration; see `bucket_ms`.
    """

    service: str
    second: int
    requests: float
    errors: float
    durations: Mapping[int, float] = field(default_factory=dict)


def bucket(duration_ns: int) -> int:
    """The bucket of a duration; each is 9 % wide."""
    return math.ceil(math.log2(max(1_000, duration_ns) / 1e6) * _SCALE)


def bucket_ms(index: int) -> float:
    """The middle of a bucket, in milliseconds; wrong by 4.4 % at most."""
    return float(2.0 ** ((index - 0.5) / _SCALE))


def stands_for(trace_state: str) -> float:
    """How many spans one kept span stands for, after its `ot=th:`; 1 when it does not say."""
    at = trace_state.find("th:")
    if at < 0 or "ot=" not in trace_state:
        return 1.0
    digits = trace_state[at + 3 : at + 17].partition(",")[0].partition(";")[0]
    try:
        thrown_away = int(digits.ljust(14, "0"), 16)
    except ValueError:
        return 1.0
    return min(_MOST, _WHOLE / (_WHOLE - thrown_away)) if 0 <= thrown_away < _WHOLE else 1.0


def counted(spans: Iterable[Span]) -> dict[tuple[str, int, int], Count]:
    """Requests by service, second of their end, and bucket of their duration."""
    found: dict[tuple[str, int, int], Count] = {}
    for span in spans:
        if not span.is_entry:
            continue
        place = (span.service, span.end_ns // SECOND_NS, bucket(span.duration_ns))
        count = found.setdefault(place, Count())
        weight = stands_for(span.trace_state) if span.trace_state else 1.0
        count.requests += weight
        if span.is_error:
            count.errors += weight
    return found


def quantile_ms(durations: Mapping[int, float], share: float) -> float | None:
    """The duration that a share of requests did not exceed, in milliseconds; None without requests."""
    left = sum(durations.values()) * share
    if not durations or left <= 0:
        return None
    for index in sorted(durations):
        left -= durations[index]
        if left <= 1e-9:
            return bucket_ms(index)
    return bucket_ms(max(durations))
