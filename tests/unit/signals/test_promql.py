"""What Prometheus is asked, and what its samples say: resets, new series, slow scrapes, samples from the future."""

from math import inf, nan
from typing import Any

import pytest

from go_cache_safeguard.signals.gate import doubts_of
from go_cache_safeguard.signals.promql import (
    Answers,
    Metrics,
    Series,
    counters,
    durations,
    failures,
    golden_of,
    parse_metrics,
    read_exemplars,
    read_series,
)

_S = 1_000_000_000
_METRICS = parse_metrics("classic service=app")


def _series(start_s: float, *values: float, step_s: float = 1, **labels: str) -> Series:
    samples = tuple((start_s + n * step_s, value) for n, value in enumerate(values))
    return Series({"app": "pay", **labels}, samples)


def _answers(
    requests: list[Series], failed: list[Series] | None = None, buckets: list[Series] | None = None
) -> Answers:
    return Answers(requests, failed or [], buckets or [], {"pay": 0.5}, {"pay": (("ab" * 16, ""),)})


def test_a_service_is_asked_for_by_its_quoted_name_however_odd() -> None:
    assert parse_metrics("").service == "job"
    metrics = parse_metrics(
        'semconv service=app failed=status=~"5..",method!="PUT" requests=r_total durations=d_seconds'
    )
    assert metrics == Metrics("r_total", 'status=~"5..",method!="PUT"', "d_seconds", "app")
    assert counters(metrics, ["b", "a.c"], 60) == 'r_total{app=~"a\\\\.c|b"}[150s]'
    assert durations(metrics, ['"}\n'], 5) == 'sum by (app, le) (increase(d_seconds_bucket{app=~"\\"\\\\}\\n"}[5s]))'
    assert failures(metrics, ["a"]) == 'd_seconds_bucket{app=~"a",status=~"5..",method!="PUT"}'


@pytest.mark.parametrize(
    "words", ["other", "classic service=a-b", "classic failed=5xx", "classic x=y", 'classic failed=a="}[1s]']
)
def test_words_that_are_no_names_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_metrics(words)


def test_counters_are_subtracted_and_a_new_series_began_at_zero() -> None:
    ok = _series(99.5, 1000, 1010, 1020, 3, 13, code="200")
    new = _series(101.5, 4, 4, 9, code="500")
    buckets = [_series(103.5, count, le=le) for le, count in (("0.1", 20.0), ("0.2", 40.0), ("+Inf", 42.0))]
    found = golden_of("pay", _answers([ok, new], [new], buckets), _METRICS, 100 * _S, 104 * _S)
    assert (found.requests, found.errors) == (10 + 10 + 3 + 10 + 9, 9)
    assert [(one.second, one.requests, one.errors) for one in found.seconds] == [
        (100, 10, 0),
        (101, 14, 4),
        (102, 3, 0),
        (103, 15, 5),
    ]
    assert found.newest_ns == int(103.5 * _S)
    assert 0.195 * 1000 < found.p95_ms <= 200
    assert (found.latencies.count(100), found.latencies.count(inf)) == (20, 2)
    assert (found.saturation, found.failing, found.links, found.doubt) == (0.5, ("ab" * 16,), (), "")


def test_a_slow_scrape_makes_long_steps_and_no_gaps() -> None:
    found = golden_of(
        "pay", _answers([_series(900, 0, *range(500, 3000, 500), step_s=15)]), _METRICS, 900 * _S, 980 * _S
    )
    assert (found.step_s, found.requests) == (15, 2500)
    assert not any("no data for" in doubt for doubt in doubts_of(found))


def test_samples_of_the_future_show_that_a_clock_is_wrong() -> None:
    found = golden_of("pay", _answers([_series(90, *range(0, 2500, 100))]), _METRICS, 90 * _S, 100 * _S)
    assert found.requests == 1000
    assert any("a clock is wrong" in doubt for doubt in doubts_of(found))


def test_what_is_not_there_or_no_number_is_a_doubt() -> None:
    assert "has no http_requests_total" in golden_of("cart", _answers([_series(1, 1)]), _METRICS, 0, _S).doubt
    assert "no numbers" in golden_of("pay", _answers([_series(1, 1, nan, 3)]), _METRICS, 0, 5 * _S).doubt


def test_an_answer_is_read_or_refused() -> None:
    result = [{"metric": {"app": "pay"}, "value": [1.5, "3"]}, {"metric": {}, "values": [[1, "2"], [2, "NaN"]]}]
    vector, matrix = read_series({"status": "success", "data": {"result": result}})
    assert vector == Series({"app": "pay"}, ((1.5, 3.0),))
    assert len(matrix.samples) == 2
    for bad in (
        None,
        {"status": "error"},
        {"status": "success", "data": {"result": [{}]}},
        {"status": "success", "data": 1},
    ):
        with pytest.raises(ValueError, match="the answer"):
            read_series(bad)


def test_the_newest_traces_come_first_and_only_once_and_only_if_they_are_ids() -> None:
    def exemplar(at: float, trace: str) -> dict[str, Any]:
        span = {2: {"span_id": "cd" * 8}, 3: {"span_id": "0" * 16}}.get(int(at), {})
        return {"labels": {"trace_id": trace, **span}, "timestamp": at}

    data = [
        {"seriesLabels": {"app": "pay"}, "exemplars": [exemplar(1, "aa" * 16), exemplar(4, "not an id](http://x)")]},
        {"seriesLabels": {"app": "pay"}, "exemplars": [exemplar(n, f"{n:032x}") for n in (2, 3, 5, 5)]},
    ]
    found = read_exemplars({"status": "success", "data": data}, _METRICS)
    assert found == {"pay": ((f"{5:032x}", ""), (f"{3:032x}", ""), (f"{2:032x}", "cd" * 8))}
