"""Golden signals in the words of Prometheus: what is asked, and what an answer says.

Knows:     names of metrics and labels, expressions, and how samples of counters become counted seconds.
Called by: `flows.golden`, which asks.
Never:     puts a name of a service into an expression unquoted; takes an answer that is not whole for one that is.
Source:    Prometheus 2.42 HTTP API (docs/querying/api.md), data model (counter resets); OpenTelemetry's semantic conventions for HTTP
           metrics 1.23 as OTLP translates them, `http.server.request.duration` in seconds.

Counters are read as they were scraped and subtracted here, because `increase()` leaves out what a new series counted before its first
sample: the first failure of a service that never failed would not be seen. A series that appears while others of its service were there
already began at zero.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import floor, inf, isfinite
from statistics import median
from typing import Any

from go_cache_safeguard.signals.golden import (
    Bucket,
    Golden,
    absent,
    bucket_latencies,
    bucket_quantile,
    newest_of_each,
    unpiled,
)
from go_cache_safeguard.signals.red import SECOND_NS, Second

AHEAD_S = 30
"""Counters are asked for that long after the window, so that samples from the future show that a clock is wrong."""
LEAD_S = 60
"""And that long before: the last sample before the window is what the first one in it is subtracted from."""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_MATCHER = re.compile(r"""[a-zA-Z_]\w*(=|!=|=~|!~)"[^"\\\s]*"(,[a-zA-Z_]\w*(=|!=|=~|!~)"[^"\\\s]*")*""", re.ASCII)
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}", re.ASCII)
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the metrics of services are called.

    Attributes:
        requests: The counter of requests.
        failed: Matchers of a label that those have which failed, `code=~"5.."`.
        durations: The histogram of their durations in seconds, without `_bucket`.
        service: The label that holds a service's name.
    """

    requests: str
    failed: str
    durations: str
    service: str


_KNOWN = {
    "semconv": Metrics(
        "http_server_request_duration_seconds_count",
        'http_response_status_code=~"5.."',
        "http_server_request_duration_seconds",
        "job",
    ),
    "classic": Metrics("http_requests_total", 'code=~"5.."', "http_request_duration_seconds", "job"),
}


def parse_metrics(words: str) -> Metrics:
    """Read what metrics are called: `semconv` or `classic`, then what differs, such as `service=app failed=status=~"5.."`.

    Raises:
        ValueError: It cannot be read; the message says which word.
    """
    first, *others = words.split() or ["semconv"]
    if first not in _KNOWN:
        raise ValueError(f"{first!r} is none of {', '.join(_KNOWN)}")
    found = _KNOWN[first]
    for word in others:
        key, _, value = word.partition("=")
        if key not in Metrics.__slots__ or not (_MATCHER if key == "failed" else _NAME).fullmatch(value):
            raise ValueError(f"{word!r} is not requests=, failed=, durations= or service= with a name or matchers")
        found = replace(found, **{key: value})
    return found


def counters(metrics: Metrics, services: Iterable[str], length_s: float, *, failed: bool = False) -> str:
    """Ask for every sample of the counters, as they were at the end of a window and `AHEAD_S` later."""
    matchers = _of(metrics, services) + (f",{metrics.failed}" if failed else "")
    return f"{metrics.requests}{{{matchers}}}[{floor(length_s) + LEAD_S + AHEAD_S}s]"


def durations(metrics: Metrics, services: Iterable[str], length_s: float) -> str:
    """Ask how many requests fell into each bucket within a window that ends now."""
    labels, bucket = f"{metrics.service}, le", f"{metrics.durations}_bucket{{{_of(metrics, services)}}}"
    return f"sum by ({labels}) (increase({bucket}[{max(1, round(length_s))}s]))"


def failures(metrics: Metrics, services: Iterable[str]) -> str:
    """What exemplars of failed requests hang on."""
    return f"{metrics.durations}_bucket{{{_of(metrics, services)},{metrics.failed}}}"


def _of(metrics: Metrics, services: Iterable[str]) -> str:
    either = "|".join(_SPECIAL.sub(r"\\\1", name) for name in sorted(set(services)))
    return f"{metrics.service}=~{json.dumps(either, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Attributes:
        labels: Its labels.
        samples: Seconds since 1970, and values; one of them for an answer about one moment.
    """

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


def read_series(answer: Any) -> tuple[Series, ...]:
    """Read an answer to a query.

    Args:
        answer: The JSON document.

    Raises:
        ValueError: It is none, tells of an error, or warns that it is not whole.
    """
    try:
        return tuple(
            Series(
                {str(key): str(value) for key, value in one["metric"].items()},
                tuple(
                    (float(at), float(value)) for at, value in (one["values"] if "values" in one else [one["value"]])
                ),
            )
            for one in _data(answer)["result"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the answer has not the form of Prometheus") from error


def read_exemplars(answer: Any, metrics: Metrics) -> dict[str, tuple[tuple[str, str], ...]]:
    """Read the newest traces of each service out of an answer about exemplars, each with its span; empty if that is not told.

    Raises:
        ValueError: As `read_series`.
    """
    found: dict[str, list[tuple[float, str, str]]] = {}
    try:
        for one in _data(answer):
            held = found.setdefault(str(one["seriesLabels"].get(metrics.service, "")), [])
            held += ((float(it["timestamp"]), *_ids(it["labels"])) for it in one["exemplars"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the answer has not the form of Prometheus") from error
    return {
        name: newest_of_each((trace, span) for _, trace, span in sorted(held, reverse=True) if trace)
        for name, held in found.items()
    }


def _ids(labels: Mapping[str, Any]) -> tuple[str, str]:
    """Ids of trace and span; empty for what is none."""
    trace = str(labels.get("trace_id") or labels.get("traceID") or "").lower()
    span = str(labels.get("span_id") or labels.get("spanID") or "").lower()
    return trace if _TRACE.fullmatch(trace) else "", span if _SPAN.fullmatch(span) else ""


def _data(answer: Any) -> Any:
    if not isinstance(answer, dict) or answer.get("status") != "success":
        told = answer.get("error") if isinstance(answer, dict) else None
        raise ValueError(f"the answer tells of an error: {str(told)[:200]}")
    if warnings := answer.get("warnings"):
        raise ValueError(f"the answer is not whole: {str(warnings)[:200]}")
    return answer["data"]


@dataclass(frozen=True, slots=True)
class Answers:
    """All that was learned of services in one window.

    Attributes:
        requests: Samples of counters of all requests.
        failed: Samples of counters of those that failed.
        durations: Counts of each bucket.
        saturation: The fullest resource of each service, by its name; empty if nobody asked.
        failing: Trace and span ids by service, newest first; a span id may be empty.
    """

    requests: Sequence[Series]
    failed: Sequence[Series]
    durations: Sequence[Series]
    saturation: Mapping[str, float]
    failing: Mapping[str, tuple[tuple[str, str], ...]]


def golden_of(service: str, answers: Answers, metrics: Metrics, start_ns: int, end_ns: int) -> Golden:
    """The signals of one service."""

    def own(found: Sequence[Series]) -> list[Series]:
        return [one for one in found if one.labels.get(metrics.service) == service and one.samples]

    counted = own(answers.requests)
    if not counted:
        return absent(service, start_ns, end_ns, f"Prometheus has no {metrics.requests} of it")
    first_s = min(one.samples[0][0] for one in counted)
    step_s = max(1, round(median(_gaps(counted) or [1])))
    window = (start_ns / SECOND_NS, end_ns / SECOND_NS)
    requests = _by_step(counted, first_s, step_s, window)
    errors = _by_step(own(answers.failed), first_s, step_s, window)
    buckets = unpiled((_bound_ms(one), one.samples[-1][1]) for one in own(answers.durations))
    total = round(sum(requests.values()))
    failing = answers.failing.get(service, ())
    return Golden(
        service=service,
        start_ns=start_ns,
        end_ns=end_ns,
        requests=total,
        errors=round(sum(errors.values())),
        p95_ms=bucket_quantile(buckets, 0.95),
        latencies=bucket_latencies(_no_more(buckets, total)),
        saturation=answers.saturation.get(service),
        newest_ns=int(max(one.samples[-1][0] for one in counted) * SECOND_NS),
        seconds=tuple(Second(service, at, requests[at], errors.get(at, 0.0)) for at in sorted(requests)),
        step_s=step_s,
        failing=tuple(trace for trace, _ in failing),
        links=tuple(pair for pair in failing if pair[1]),
        doubt="" if all(map(_is_sound, [*counted, *own(answers.failed)])) else "there are counters that are no numbers",
    )


def _is_sound(one: Series) -> bool:
    return all(isfinite(value) and value >= 0 for _, value in one.samples)


def _gaps(counted: Iterable[Series]) -> list[float]:
    return [after - before for one in counted for (before, _), (after, _) in pairwise(one.samples)]


def _bound_ms(bucket: Series) -> float:
    text = bucket.labels.get("le", "")
    return inf if text == "+Inf" else float(text) * 1000


def _no_more(buckets: Sequence[Bucket], total: int) -> list[Bucket]:
    """`increase()` reaches beyond the samples it has: more latencies than requests were not seen."""
    found = sum(bucket.count for bucket in buckets)
    return [replace(bucket, count=bucket.count * min(1.0, total / found)) for bucket in buckets] if found else []


def _by_step(counted: Iterable[Series], first_s: float, step_s: int, window: tuple[float, float]) -> dict[int, float]:
    """What was counted in each step of a window, by the second in which the step begins."""
    start_s, end_s = window
    found: dict[int, float] = {}
    for one in counted:
        for at_s, count in _growth(one, first_s):
            if start_s < at_s <= end_s and isfinite(count):
                step = floor(start_s + (at_s - start_s) // step_s * step_s)
                found[step] = found.get(step, 0.0) + count
    return found


def _growth(one: Series, first_s: float) -> Iterator[tuple[float, float]]:
    (at_s, before), *others = one.samples
    if at_s > first_s:
        yield at_s, before
    for later_s, value in others:
        yield later_s, value - before if value >= before else value  # a counter that fell began again at zero
        before = value
