"""OTLP from anybody: everything that a span says comes through, and nothing that comes in breaks us."""

import orjson
import pytest

from go_cache_safeguard.signals.otlp import (
    OtlpUnreadable,
    Taken,
    answer,
    answer_json,
    decode,
    decode_json,
    encode,
    take_json,
)
from go_cache_safeguard.signals.span import Event, Kind, Link, Span, Status

SPAN = Span(
    bytes(range(16)),
    bytes(range(1, 9)),
    bytes(range(2, 10)),
    "GET /",
    Kind.CLIENT,
    "pay",
    "",
    10,
    20,
    Status.ERROR,
    "bad",
    {"a": "x", "b": True, "c": -5, "d": 0.5, "e": b"\x00\xff", "f": ("x", 1, ("y",)), "g": ""},
    {"host.name": "h"},
    (Event("exception", 15, {"n": 1}),),
    (Link(bytes(range(16)), bytes(range(1, 9)), {"why": "retry"}),),
    "ot=th:8",
)


def _json(**changes: object) -> bytes:
    span: dict[str, object] = {"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "x"}
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**span, **changes}]}]}]})


def test_what_was_encoded_is_decoded() -> None:
    assert decode(encode([SPAN, SPAN])) == (SPAN, SPAN)


def test_json_has_ids_in_hex_and_numbers_as_text() -> None:
    (span,) = decode_json(
        _json(
            kind=3,
            startTimeUnixNano="1790000000000000000",
            endTimeUnixNano=1790000000000000005,
            status={"code": 2, "message": "m"},
            attributes=[
                {"key": "i", "value": {"intValue": "7"}},
                {"key": "l", "value": {"arrayValue": {"values": [{"boolValue": True}, {"doubleValue": 1}]}}},
                {"key": "b", "value": {"bytesValue": "AP8="}},
                {"key": "m", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}}},
                {"key": "none", "value": {}},
            ],
            unknown="ignored",
        )
    )
    assert (span.service, span.kind, span.duration_ns, span.status) == ("unknown_service", Kind.CLIENT, 5, Status.ERROR)
    assert span.attributes == {"i": 7, "l": (True, 1.0), "b": b"\x00\xff", "m": (("k", "v"),)}


@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": "00" * 16},
        {"traceId": "zz"},
        {"traceId": 5},
        {"spanId": "01"},
        {"parentSpanId": "0102"},
        {"startTimeUnixNano": "-5"},
        {"endTimeUnixNano": str(1 << 64)},
        {"endTimeUnixNano": "9" * 10_000},
        {"kind": "SERVER"},
        {"attributes": [{"key": "a", "value": {"intValue": str(1 << 70)}}]},
        {"attributes": [{"key": "a", "value": {"stringValue": 5}}]},
        {"attributes": {"a": 1}},
        {"attributes": [{"key": "a", "value": {"bytesValue": "!"}}]},
        {"attributes": [{"key": str(n), "value": {"boolValue": True}} for n in range(2000)]},
        {"events": [{"timeUnixNano": "-1"}]},
        {"links": [{"traceId": "01"}]},
        {"status": []},
    ],
)
def test_a_span_that_cannot_be_used_is_left_out_and_counted(changes: dict[str, object]) -> None:
    taken = take_json(_json(**changes))
    assert (taken.spans, taken.rejected, bool(taken.why)) == ((), 1, True)
    with pytest.raises(OtlpUnreadable):
        decode_json(_json(**changes))


@pytest.mark.parametrize(
    "body", [b"", b"5", b"[]", b"{", b'{"resourceSpans": 5}', b'{"resourceSpans": [[]]}', b"[" * 5000]
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(OtlpUnreadable):
        decode_json(body)


def test_values_that_are_nested_without_end_are_refused() -> None:
    deep: object = {"boolValue": True}
    for _ in range(40):
        deep = {"arrayValue": {"values": [deep]}}
    assert take_json(_json(attributes=[{"key": "a", "value": deep}])).rejected == 1
    value: object = "x"
    for _ in range(40):
        value = (value,)
    nested = Span(SPAN.trace_id, SPAN.span_id, b"", "x", Kind.SERVER, "s", "", 0, 1, attributes={"a": value})  # type: ignore[dict-item] # nested on purpose
    with pytest.raises(OtlpUnreadable):
        decode(encode([nested]))


def test_an_answer_says_how_many_were_left_out() -> None:
    assert answer(Taken(())) == b""
    assert answer_json(Taken(())) == b"{}"
    assert b"too old" in answer(Taken((), 3, "too old"))
    assert orjson.loads(answer_json(Taken((), 3, "too old"))) == {
        "partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}
    }
