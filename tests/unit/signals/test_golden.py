"""What is counted, from spans and from buckets."""

from dataclasses import replace
from math import inf, isnan

import pytest

from go_cache_safeguard.signals.golden import (
    Bucket,
    absent,
    bucket_latencies,
    bucket_quantile,
    golden,
    tallied,
    unpiled,
)
from go_cache_safeguard.signals.red import Second
from go_cache_safeguard.signals.span import Kind, Span, Status

_S = 1_000_000_000


def _span(number: int, *, ended_s: float, ms: float = 10, failed: bool = False) -> Span:
    end = int(ended_s * _S)
    return Span(
        trace_id=number.to_bytes(16),
        span_id=(number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8),
        parent_id=b"\1" * 8,
        name="GET /pay",
        kind=Kind.SERVER,
        service="pay",
        tenant="",
        start_ns=end - int(ms * 1e6),
        end_ns=end,
        status=Status.ERROR if failed else Status.OK,
    )


def test_requests_are_counted_in_the_second_in_which_they_ended_and_the_newest_failures_are_kept() -> None:
    spans = [_span(n, ended_s=100 + n / 4, ms=n + 1, failed=n in {2, 3, 5, 7}) for n in range(12)]
    found = golden("pay", spans, 100 * _S, 102 * _S, saturation=0.5)
    assert (found.requests, found.errors, found.error_rate, found.traffic) == (8, 4, 0.5, 4)
    assert [(one.second, one.requests, one.errors) for one in found.seconds] == [(100, 4, 2), (101, 4, 2)]
    assert found.failing == tuple(number.to_bytes(16).hex() for number in (7, 5, 3))
    assert found.links == tuple((spans[number].trace_id.hex(), spans[number].span_id.hex()) for number in (7, 5, 3))
    assert (found.newest_ns, found.saturation) == (101 * _S, 0.5)
    assert found.p95_ms == pytest.approx(8, rel=0.05)
    assert sorted(found.latencies) == pytest.approx(list(range(1, 9)), rel=0.05)


def test_calls_to_others_and_other_services_are_no_requests() -> None:
    entry = _span(1, ended_s=100)
    spans = [replace(entry, kind=Kind.CLIENT), replace(entry, service="cart"), replace(entry, kind=Kind.INTERNAL)]
    assert golden("pay", spans, 0, 200 * _S).requests == 0


def test_a_second_after_the_window_only_tells_how_new_the_data_are() -> None:
    found = tallied("pay", [Second("pay", 12, 5, 1, {0: 5}), Second("pay", 3, 7, 2, {8: 7})], 0, 10 * _S)
    assert (found.requests, found.errors, found.newest_ns) == (7, 2, 12 * _S)


def test_nothing_is_known_of_nothing() -> None:
    for found in (golden("pay", [], 0, _S), absent("pay", 0, _S, "time-out")):
        assert (found.requests, found.latencies, found.newest_ns) == (0, (), None)
        assert isnan(found.p95_ms)
        assert isnan(found.error_rate)
    assert isnan(absent("pay", _S, _S, "").traffic)


def test_piled_buckets_are_taken_apart_and_a_falling_count_is_none() -> None:
    assert unpiled([(inf, 10), (5, 4), (10, 3), (20, 9)]) == (
        Bucket(5, 4),
        Bucket(10, 0),
        Bucket(20, 5),
        Bucket(inf, 1),
    )


def test_a_quantile_of_buckets_is_interpolated_as_prometheus_does() -> None:
    buckets = unpiled([(100, 50), (200, 90), (inf, 100)])
    assert bucket_quantile(buckets, 0.5) == 100
    assert bucket_quantile(buckets, 0.7) == pytest.approx(150)
    assert bucket_quantile(buckets, 0.95) == 200
    assert isnan(bucket_quantile((), 0.95))
    assert isnan(bucket_quantile([Bucket(inf, 5)], 0.95))
    assert isnan(bucket_quantile([Bucket(1, float("nan"))], 0.95))


def test_values_of_a_bucket_are_equal_and_never_more_than_were_counted() -> None:
    assert bucket_latencies([Bucket(10, 2), Bucket(20, 0.5), Bucket(inf, 1.5)]) == (10, 10, inf, inf)
    many = bucket_latencies([Bucket(10, 900_000), Bucket(20, 100_000)], most=1000)
    assert (many.count(10), many.count(20)) == (900, 100)
    assert bucket_latencies([Bucket(10, float("nan"))]) == bucket_latencies([]) == ()
