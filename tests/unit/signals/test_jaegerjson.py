"""Jaeger's JSON."""

import pytest

from go_cache_safeguard.signals.jaegerjson import JaegerUnreadable, spans_of
from go_cache_safeguard.signals.span import Kind, Status

SPAN = {
    "traceID": "102030405060708090a0b0c0d0e0f10",
    "spanID": "0102030405060708",
    "operationName": "GET /",
    "references": [
        {"refType": "CHILD_OF", "traceID": "1", "spanID": "9"},
        {"refType": "FOLLOWS_FROM", "traceID": "2", "spanID": "3"},
    ],
    "startTime": 1_790_000_000_000_000,
    "duration": 3_500_000,
    "tags": [
        {"key": "error", "type": "bool", "value": True},
        {"key": "span.kind", "type": "string", "value": "server"},
        {"key": "http.status_code", "type": "int64", "value": 503},
    ],
    "logs": [{"timestamp": 1_790_000_000_000_001, "fields": [{"key": "event", "type": "string", "value": "retry"}]}],
    "processID": "p1",
}
PROCESSES = {"p1": {"serviceName": "pay", "tags": [{"key": "host.name", "type": "string", "value": "h"}]}}


def test_a_trace_becomes_spans() -> None:
    (span,) = spans_of({"data": [{"traceID": "1", "spans": [SPAN], "processes": PROCESSES}], "errors": None})
    assert (span.service, span.kind, span.status, span.duration_ns) == ("pay", Kind.SERVER, Status.ERROR, 3_500_000_000)
    assert (span.parent_id[-1], span.links[0].span_id[-1], span.events[0].name) == (9, 3, "retry")
    assert span.attributes == {"error": True, "http.status_code": 503}
    assert span.trace_id.hex() == "0102030405060708090a0b0c0d0e0f10"


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"data": 5},
        {"data": [5]},
        {"data": [{"spans": [{**SPAN, "traceID": "zz"}]}]},
        {"data": [{"spans": [{**SPAN, "spanID": "0" * 99}]}]},
        {"data": [{"spans": [{**SPAN, "startTime": "now"}]}]},
        {"data": [{"spans": [{**SPAN, "tags": [5]}]}]},
    ],
)
def test_what_is_none_is_refused(document: object) -> None:
    with pytest.raises(JaegerUnreadable):
        spans_of(document)


def test_an_empty_answer_is_no_span() -> None:
    assert spans_of({"data": None}) == ()
