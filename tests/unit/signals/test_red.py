"""Counts per service and second."""

from faulty_traces import made
from go_cache_safeguard.signals.red import bucket, bucket_ms, counted, quantile_ms, stands_for
from go_cache_safeguard.signals.span import Kind


def test_only_requests_from_outside_count() -> None:
    spans = made("shop", 20, 1)
    entries = [span for span in spans if span.kind is Kind.SERVER]
    assert sum(count.requests for count in counted(spans).values()) == len(entries)


def test_a_duration_is_found_again_within_five_percent() -> None:
    for milliseconds in (0.02, 1, 3.7, 250, 59_000):
        assert abs(bucket_ms(bucket(int(milliseconds * 1e6))) / milliseconds - 1) <= 0.05
    durations = {bucket(value * 1_000_000): 1.0 for value in range(1, 101)}
    median = quantile_ms(durations, 0.5)
    assert median is not None
    assert quantile_ms({}, 0.5) is None


def test_a_sampled_span_stands_for_those_that_were_thrown_away() -> None:
    assert stands_for("ot=th:8") == 2.0
    assert stands_for("x=1,ot=rv:1;th:c,y=2") == 4.0
    assert [stands_for(text) for text in ("", "ot=rv:1", "ot=th:zz", "th:8")] == [1.0] * 4
    assert stands_for("ot=th:ffffffffffffff") == 1000.0
