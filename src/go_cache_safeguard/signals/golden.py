"""The four golden signals of one service in one window of time.

Knows:     how traffic, errors and latency follow from counted seconds, from spans, or from the buckets of a Prometheus histogram.
Called by: `flows.golden` and `signals.promql` make them of a store of spans and of a Prometheus; `signals.gate` judges them, `signals.board` shows them.
Never:     asks what time it is, or guesses: what is not known is NaN, None, or said in `doubt`.
Source:    "Monitoring Distributed Systems", Site Reliability Engineering, chapter 6 (the four signals).
           Interpolation inside of a bucket as in Prometheus' histogram_quantile (promql/quantile.go).

What a request is, and when it counts, `signals.red` knows. Latencies are those of all requests: one that fails late is slow as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

from go_cache_safeguard.signals.red import SECOND_NS, Second, bucket_ms, counted, quantile_ms
from go_cache_safeguard.signals.span import Span

MOST_LATENCIES = 2_000
"""Enough for every comparison here: the smallest shift that 2,000 against 2,000 can show is far below one that matters."""
FAILING = 3
"""How many failing traces are kept for links."""


@dataclass(frozen=True, slots=True)
class Golden:
    """The signals of one service in one window.

    Attributes:
        service: Its name.
        start_ns: Nanoseconds since 1970; the window includes it.
        end_ns: The end, not included: for the newest window the time of the look.
        requests: How many ended, counted before any sampling.
        errors: How many of them failed.
        p95_ms: 95 of 100 requests took no longer; NaN if that is not known.
        latencies: Of a sample of the requests, in milliseconds, at most `MOST_LATENCIES`, in no order. Those of one bucket are equal.
        saturation: The fullest resource of the service, 0 to 1; None if nobody measures it.
        newest_ns: When the newest request or sample was seen; None if that is not known.
        seconds: What ended second by second, oldest first; empty if the source counts more coarsely. Seconds without requests may be
            missing.
        step_s: How many seconds each of them stands for: more than one where a counter is read less often.
        failing: Trace ids of requests that failed, newest first, at most `FAILING`, in hex.
        links: Trace and span id of those of them whose failed span is known, in hex: what another span can link to.
        doubt: Why the source does not vouch for the figures; empty if it does.
    """

    service: str
    start_ns: int
    end_ns: int
    requests: int
    errors: int
    p95_ms: float
    latencies: tuple[float, ...]
    saturation: float | None
    newest_ns: int | None = None
    seconds: tuple[Second, ...] = ()
    step_s: int = 1
    failing: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    doubt: str = ""

    @property
    def length_s(self) -> float:
        """Of the window, in seconds."""
        return (self.end_ns - self.start_ns) / SECOND_NS

    @property
    def error_rate(self) -> float:
        """0 to 1; NaN without requests."""
        return self.errors / self.requests if self.requests else nan

    @property
    def traffic(self) -> float:
        """Requests per second; NaN for a window without length."""
        return self.requests / self.length_s if self.length_s > 0 else nan


def absent(service: str, start_ns: int, end_ns: int, doubt: str) -> Golden:
    """What is known of a service of which nothing could be learned."""
    return Golden(service, start_ns, end_ns, 0, 0, nan, (), None, doubt=doubt)


def golden(
    service: str, spans: Iterable[Span], start_ns: int, end_ns: int, *, saturation: float | None = None
) -> Golden:
    """Count spans.

    Args:
        service: Whose signals; spans of others are passed over.
        spans: In any order; those that ended outside of the window are passed over.
        start_ns: Of the window, included.
        end_ns: Of the window, not included.
        saturation: 0 to 1, from elsewhere: spans do not tell it.
    """
    own = [span for span in spans if span.service == service and start_ns <= span.end_ns < end_ns]
    seconds: dict[int, dict[int, float]] = {}
    errors: dict[int, float] = {}
    for (_, second, bucket), count in counted(own).items():
        seconds.setdefault(second, {})[bucket] = count.requests
        errors[second] = errors.get(second, 0.0) + count.errors
    made = [Second(service, at, sum(held.values()), errors[at], held) for at, held in seconds.items()]
    return tallied(
        service, made, start_ns // SECOND_NS * SECOND_NS, end_ns, failing=failing(own), saturation=saturation
    )


def failing(spans: Iterable[Span]) -> tuple[tuple[str, str], ...]:
    """Trace and span ids of the newest requests that failed, in hex, at most `FAILING` and one of each trace."""
    failed = sorted((span for span in spans if span.is_entry and span.is_error), key=lambda span: -span.end_ns)
    return newest_of_each((span.trace_id.hex(), span.span_id.hex()) for span in failed)


def newest_of_each(failed: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The first of each trace, at most `FAILING`.

    Args:
        failed: Trace and span ids, newest first; a span id may be empty.
    """
    found: dict[str, str] = {}
    for trace_id, span_id in failed:
        found.setdefault(trace_id, span_id)
    return tuple(found.items())[:FAILING]


def tallied(
    service: str,
    seconds: Iterable[Second],
    start_ns: int,
    end_ns: int,
    *,
    failing: tuple[tuple[str, str], ...] = (),
    saturation: float | None = None,
    capacity: float | None = None,
) -> Golden:
    """Add up counted seconds.

    Args:
        service: Whose they are.
        seconds: In any order. Those that began outside of the window only tell how new the data are: later ones, that a clock is wrong.
        start_ns: Of the window, included.
        end_ns: Of the window, not included.
        failing: Trace and span ids of failed requests, newest first.
        saturation: 0 to 1, from elsewhere.
        capacity: How many requests the service can work on at a time: then the requests in flight, which are traffic times duration
            (Little's law), tell the saturation.
    """
    known = sorted((one for one in seconds if one.requests > 0), key=lambda one: one.second)
    inside = tuple(one for one in known if start_ns <= one.second * SECOND_NS < end_ns)
    durations: dict[int, float] = {}
    for one in inside:
        for bucket, count in one.durations.items():
            durations[bucket] = durations.get(bucket, 0.0) + count
    p95_ms = quantile_ms(durations, 0.95)
    if capacity and end_ns > start_ns:
        busy_ms = sum(bucket_ms(bucket) * count for bucket, count in durations.items())
        saturation = busy_ms * 1e6 / (end_ns - start_ns) / capacity
    return Golden(
        service=service,
        start_ns=start_ns,
        end_ns=end_ns,
        requests=round(sum(one.requests for one in inside)),
        errors=round(sum(one.errors for one in inside)),
        p95_ms=nan if p95_ms is None else p95_ms,
        latencies=bucket_latencies([Bucket(bucket_ms(at), durations[at]) for at in sorted(durations)]),
        saturation=saturation,
        newest_ns=known[-1].second * SECOND_NS if known else None,
        seconds=inside,
        failing=tuple(trace_id for trace_id, _ in failing),
        links=failing,
    )


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of latencies.

    Attributes:
        at_ms: What a latency in it is taken for. Of Prometheus: its upper bound, infinity for the last.
        count: How many fell into this one, not into those below it.
    """

    at_ms: float
    count: float


def unpiled(cumulative: Iterable[tuple[float, float]]) -> tuple[Bucket, ...]:
    """Make buckets of a Prometheus histogram, where each counts all below it as well.

    Args:
        cumulative: Upper bound in milliseconds and count, in any order. Counts that fall with a growing bound (scrapes that met a
            histogram half way) are taken as zero for that bucket.
    """
    buckets, below = [], 0.0
    for upper_ms, count in sorted(cumulative):
        buckets.append(Bucket(upper_ms, max(0.0, count - below)))
        below = max(below, count)
    return tuple(buckets)


def bucket_quantile(buckets: Sequence[Bucket], share: float) -> float:
    """The value that a share of all does not exceed, with even spacing assumed inside of a bucket of Prometheus.

    NaN without values. What lies in the bucket without an upper bound is said to be at the greatest bound there is.
    """
    wanted, seen, lower = share * sum(bucket.count for bucket in buckets), 0.0, 0.0
    if not wanted > 0 or not isfinite(wanted):
        return nan
    for bucket in buckets:
        if bucket.at_ms == inf:
            break
        if bucket.count and seen + bucket.count >= wanted:
            return lower + (bucket.at_ms - lower) * (wanted - seen) / bucket.count
        seen, lower = seen + bucket.count, bucket.at_ms
    return lower or nan


def bucket_latencies(buckets: Sequence[Bucket], most: int = MOST_LATENCIES) -> tuple[float, ...]:
    """A sample with as many values at each bucket as its share of all, and never more than were counted.

    Values of one bucket are equal: comparing them must not pretend to know their order. Those without an upper bound are set at
    infinity; only ranks are compared.
    """
    total = sum(bucket.count for bucket in buckets)
    if not total >= 1 or not isfinite(total):
        return ()
    scale = min(1.0, most / total)
    values: list[float] = []
    seen = 0.0
    for bucket in buckets:
        seen += bucket.count * scale
        values += [bucket.at_ms] * (int(seen + 1e-9) - len(values))
    return tuple(values)
