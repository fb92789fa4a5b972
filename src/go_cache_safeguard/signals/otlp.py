"""OTLP: what exporters of OpenTelemetry send, as bytes of protobuf or JSON, and what they are answered.

Knows:     the two encodings of ExportTraceServiceRequest, what makes a span unusable, and the answer of a partial success.
Called by: `signals.receive`, and whoever sends or keeps spans as OTLP.
Never:     trusts a length, an id or a type of what came in: a request that cannot be read is an `OtlpUnreadable`, a span that cannot be
           used is counted and left out.
Source:    opentelemetry-proto v1.7 (collector/trace/v1, trace/v1, common/v1); opentelemetry.io/docs/specs/otlp: JSON has ids in hex,
           64-bit numbers as text or number, enums as numbers, lowerCamelCase keys, unknown keys to be ignored.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.span import Event, Kind, Link, Span, Status, Value

SERVICE = "service.name"
UNNAMED = "unknown_service"
"""What the specification calls a service that does not say its name."""

_TRACE, _SPAN = 16, 8
_NO_TRACE, _NO_SPAN = bytes(_TRACE), bytes(_SPAN)
_LATEST = (1 << 63) - 1
_DEEPEST = 16
_MOST_ATTRIBUTES = 1_024
_MOST_INSIDE = 4_096
"""Events, and links, of one span."""
_KINDS = {int(kind): kind for kind in Kind}
_STATUSES = {int(status): status for status in Status}


class OtlpUnreadable(Failure):
    """A request is not OTLP, or was cut off."""

    id = "otlp-unreadable"
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_TELL
    meaning = "what was sent as OTLP cannot be read"


class _Unusable(Exception):  # noqa: N818 - never leaves this file: a span that is counted and left out
    """Why one span cannot be used."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request held.

    Attributes:
        spans: What can be used.
        rejected: How many spans cannot.
        why: The first reason; empty when all can.
    """

    spans: tuple[Span, ...]
    rejected: int = 0
    why: str = ""


def decode(body: bytes) -> tuple[Span, ...]:
    """Every span of a protobuf ExportTraceServiceRequest.

    Raises:
        OtlpUnreadable: It is none, or one of its spans cannot be used.
    """
    return _all_of(take(body))


def decode_json(body: bytes) -> tuple[Span, ...]:
    """Every span of a JSON ExportTraceServiceRequest.

    Raises:
        OtlpUnreadable: It is none, or one of its spans cannot be used.
    """
    return _all_of(take_json(body))


def _all_of(taken: Taken) -> tuple[Span, ...]:
    if taken.rejected:
        raise OtlpUnreadable(f"{taken.rejected} spans cannot be used: {taken.why}", not_done="no span was taken")
    return taken.spans


def take(body: bytes, *, tenant: str = "") -> Taken:
    """The usable spans of a protobuf request.

    Args:
        body: An ExportTraceServiceRequest.
        tenant: Whose spans they are.

    Raises:
        OtlpUnreadable: It is no such request.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise OtlpUnreadable("the request is no ExportTraceServiceRequest", not_done="no span was taken") from error
    spans: list[Span] = []
    faults: list[str] = []
    for group in request.resource_spans:
        wires = (wire for scope in group.scope_spans for wire in scope.spans)
        try:
            resource = _attributes(group.resource.attributes)
        except _Unusable as error:
            faults.extend(str(error) for _wire in wires)
            continue
        service = str(resource.pop(SERVICE, "") or UNNAMED)
        for wire in wires:
            try:
                spans.append(_span(wire, service, tenant, resource))
            except _Unusable as error:
                faults.append(str(error))
    return Taken(tuple(spans), len(faults), faults[0] if faults else "")


def _span(wire: WireSpan, service: str, tenant: str, resource: Mapping[str, Value]) -> Span:
    trace_id, span_id, parent_id = wire.trace_id, wire.span_id, wire.parent_span_id
    start_ns, end_ns = wire.start_time_unix_nano, wire.end_time_unix_nano
    _see_fit(trace_id, span_id, parent_id, start_ns, end_ns)
    events, links = wire.events, wire.links
    if len(events) > _MOST_INSIDE or len(links) > _MOST_INSIDE:
        raise _Unusable("a span has too many events or links")
    status = wire.status
    return Span(
        trace_id,
        span_id,
        b"" if parent_id == _NO_SPAN else parent_id,
        wire.name,
        _KINDS.get(wire.kind, Kind.UNSPECIFIED),
        service,
        tenant,
        start_ns,
        end_ns,
        _STATUSES.get(status.code, Status.UNSET),
        status.message,
        _attributes(wire.attributes),
        resource,
        tuple([_event(one) for one in events]) if events else (),
        tuple([_link(one) for one in links]) if links else (),
        wire.trace_state,
    )


def _event(wire: WireSpan.Event) -> Event:
    if wire.time_unix_nano > _LATEST:
        raise _Unusable("an event lies beyond the year 2262")
    return Event(wire.name, wire.time_unix_nano, _attributes(wire.attributes))


def _link(wire: WireSpan.Link) -> Link:
    if len(wire.trace_id) != _TRACE or len(wire.span_id) != _SPAN:
        raise _Unusable("a link's ids have a wrong length")
    return Link(wire.trace_id, wire.span_id, _attributes(wire.attributes))


def _see_fit(trace_id: bytes, span_id: bytes, parent_id: bytes, start_ns: int, end_ns: int) -> None:
    if len(trace_id) != _TRACE or trace_id == _NO_TRACE:
        raise _Unusable("a trace id is not 16 bytes, or all zero")
    if len(span_id) != _SPAN or span_id == _NO_SPAN:
        raise _Unusable("a span id is not 8 bytes, or all zero")
    if parent_id and len(parent_id) != _SPAN:
        raise _Unusable("a parent's id is not 8 bytes")
    if not 0 <= start_ns <= _LATEST or not 0 <= end_ns <= _LATEST:
        raise _Unusable("a time lies before 1970 or beyond the year 2262")


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Value]:
    if len(pairs) > _MOST_ATTRIBUTES:
        raise _Unusable(f"more than {_MOST_ATTRIBUTES} attributes")
    made: dict[str, Value] = {}
    for pair in pairs:
        value = pair.value
        text = value.string_value  # nearly every value is text: asking for it first saves asking for the kind
        found = text or _value(value, 0)
        if found is not None:
            made[pair.key] = found
    return made


def _value(value: AnyValue, depth: int) -> Value | None:
    if depth > _DEEPEST:
        raise _Unusable("a value is nested too deeply")
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return value.bytes_value
        case "array_value":
            inner = (_value(one, depth + 1) for one in value.array_value.values)
            return tuple(one for one in inner if one is not None)
        case "kvlist_value":
            pairs = ((one.key, _value(one.value, depth + 1)) for one in value.kvlist_value.values)
            return tuple((key, one) for key, one in pairs if one is not None)
        case _:
            return None


def take_json(body: bytes, *, tenant: str = "") -> Taken:
    """The usable spans of a JSON request.

    Args:
        body: An ExportTraceServiceRequest as JSON.
        tenant: Whose spans they are.

    Raises:
        OtlpUnreadable: It is no such request.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OtlpUnreadable(f"the request is no JSON: {error}", not_done="no span was taken") from error
    spans: list[Span] = []
    faults: list[str] = []
    try:
        for group in _objects(request, "resourceSpans"):
            _take_group(group, tenant, spans, faults)
    except _Unusable as error:
        raise OtlpUnreadable(f"the request is no OTLP: {error}", not_done="no span was taken") from error
    return Taken(tuple(spans), len(faults), faults[0] if faults else "")


def _take_group(group: Mapping[str, Any], tenant: str, spans: list[Span], faults: list[str]) -> None:
    resource = _json_attributes(_object(group, "resource"))
    service = str(resource.pop(SERVICE, "") or UNNAMED)
    for scope in _objects(group, "scopeSpans"):
        for one in _objects(scope, "spans"):
            try:
                spans.append(_json_span(one, service, tenant, resource))
            except _Unusable as error:
                faults.append(str(error))


def _json_span(one: Mapping[str, Any], service: str, tenant: str, resource: Mapping[str, Value]) -> Span:
    trace_id, span_id, parent_id = (_hex(one, key) for key in ("traceId", "spanId", "parentSpanId"))
    start_ns, end_ns = _number(one, "startTimeUnixNano"), _number(one, "endTimeUnixNano")
    _see_fit(trace_id, span_id, parent_id, start_ns, end_ns)
    events, links = _objects(one, "events"), _objects(one, "links")
    if len(events) > _MOST_INSIDE or len(links) > _MOST_INSIDE:
        raise _Unusable("a span has too many events or links")
    status = _object(one, "status")
    return Span(
        trace_id,
        span_id,
        b"" if parent_id == _NO_SPAN else parent_id,
        _text(one, "name"),
        _KINDS.get(_number(one, "kind"), Kind.UNSPECIFIED),
        service,
        tenant,
        start_ns,
        end_ns,
        _STATUSES.get(_number(status, "code"), Status.UNSET),
        _text(status, "message"),
        _json_attributes(one),
        resource,
        tuple(_json_event(event) for event in events),
        tuple(_json_link(link) for link in links),
        _text(one, "traceState"),
    )


def _json_event(one: Mapping[str, Any]) -> Event:
    at_ns = _number(one, "timeUnixNano")
    if not 0 <= at_ns <= _LATEST:
        raise _Unusable("an event lies before 1970 or beyond the year 2262")
    return Event(_text(one, "name"), at_ns, _json_attributes(one))


def _json_link(one: Mapping[str, Any]) -> Link:
    trace_id, span_id = _hex(one, "traceId"), _hex(one, "spanId")
    if len(trace_id) != _TRACE or len(span_id) != _SPAN:
        raise _Unusable("a link's ids have a wrong length")
    return Link(trace_id, span_id, _json_attributes(one))


def _object(parent: Any, key: str) -> Mapping[str, Any]:
    found = parent.get(key) if isinstance(parent, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _Unusable(f"{key} is no object")
    return found


def _objects(parent: Any, key: str) -> list[Mapping[str, Any]]:
    if not isinstance(parent, dict):
        raise _Unusable(f"what should hold {key} is no object")
    found = parent.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _Unusable(f"{key} is no list of objects")
    return found


def _text(parent: Mapping[str, Any], key: str) -> str:
    found = parent.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _Unusable(f"{key} is no text")
    return found


def _hex(parent: Mapping[str, Any], key: str) -> bytes:
    try:
        return bytes.fromhex(_text(parent, key))
    except ValueError as error:
        raise _Unusable(f"{key} is no hex") from error


def _number(parent: Mapping[str, Any], key: str) -> int:
    found = parent.get(key)
    if found is None:
        return 0
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.removeprefix("-").isdigit():
        return int(found)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise _Unusable(f"{key} is no whole number")


def _json_attributes(parent: Mapping[str, Any]) -> dict[str, Value]:
    pairs = _objects(parent, "attributes")
    if len(pairs) > _MOST_ATTRIBUTES:
        raise _Unusable(f"more than {_MOST_ATTRIBUTES} attributes")
    return dict(_json_pairs(pairs, 0))


def _json_pairs(pairs: Sequence[Mapping[str, Any]], depth: int) -> Iterator[tuple[str, Value]]:
    for pair in pairs:
        found = _json_value(_object(pair, "value"), depth)
        if found is not None:
            yield _text(pair, "key"), found


def _json_value(value: Mapping[str, Any], depth: int) -> Value | None:  # noqa: C901 - one case for each of OTLP's seven types
    if depth > _DEEPEST:
        raise _Unusable("a value is nested too deeply")
    match value:
        case {"stringValue": str() as text}:
            return text
        case {"boolValue": bool() as yes}:
            return yes
        case {"intValue": _}:
            number = _number(value, "intValue")
            if not -_LATEST - 1 <= number <= _LATEST:
                raise _Unusable("a number has more than 64 bits")
            return number
        case {"doubleValue": (int() | float() | str()) as number}:
            return _double(number)
        case {"bytesValue": str() as text}:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise _Unusable("bytesValue is no base64") from error
        case {"arrayValue": dict() as inner}:
            values = (_json_value(one, depth + 1) for one in _objects(inner, "values"))
            return tuple(one for one in values if one is not None)
        case {"kvlistValue": dict() as inner}:
            return tuple(_json_pairs(_objects(inner, "values"), depth + 1))
        case _ if not value.keys() & _VALUE_KEYS:
            return None
        case _:
            raise _Unusable("a value has another type than it says")


_VALUE_KEYS = frozenset(
    {"stringValue", "boolValue", "intValue", "doubleValue", "bytesValue", "arrayValue", "kvlistValue"}
)


def _double(number: float | str) -> float:
    try:
        return float(number)  # protobuf's JSON writes NaN and Infinity as text
    except ValueError as error:
        raise _Unusable("doubleValue is no number") from error


def encode(spans: Iterable[Span]) -> bytes:
    """Spans as a protobuf ExportTraceServiceRequest. The tenant is not part of it: it is told beside it, as a header."""
    request = ExportTraceServiceRequest()
    for (service, _identity), group in groupby(spans, key=lambda span: (span.service, id(span.resource))):
        held: ResourceSpans | None = None
        for span in group:
            if held is None:
                held = request.resource_spans.add()
                _put(held.resource.attributes, {SERVICE: service, **span.resource})
                held.scope_spans.add()
            _write(held.scope_spans[0].spans.add(), span)
    return bytes(request.SerializeToString())


def _write(wire: WireSpan, span: Span) -> None:
    wire.trace_id, wire.span_id, wire.parent_span_id = span.trace_id, span.span_id, span.parent_id
    wire.name, wire.trace_state = span.name, span.trace_state
    wire.kind = int(span.kind)  # type: ignore[assignment] # the generated type is a number by another name
    wire.start_time_unix_nano, wire.end_time_unix_nano = span.start_ns, span.end_ns
    _put(wire.attributes, span.attributes)
    if span.status or span.message:
        wire.status.code = int(span.status)  # type: ignore[assignment] # as above
        wire.status.message = span.message
    for event in span.events:
        made = wire.events.add(name=event.name, time_unix_nano=event.at_ns)
        _put(made.attributes, event.attributes)
    for link in span.links:
        _put(wire.links.add(trace_id=link.trace_id, span_id=link.span_id).attributes, link.attributes)


def _put(pairs: Any, attributes: Mapping[str, Value]) -> None:
    for key, value in attributes.items():
        pair = pairs.add(key=key)
        _put_value(pair.value, value)


def _put_value(into: AnyValue, value: Value) -> None:
    match value:
        case bool():
            into.bool_value = value
        case str():
            into.string_value = value
        case int():
            into.int_value = value
        case float():
            into.double_value = value
        case bytes():
            into.bytes_value = value
        case tuple():
            into.array_value.SetInParent()
            for one in value:
                _put_value(into.array_value.values.add(), one)


def answer(taken: Taken) -> bytes:
    """What an exporter is told: an ExportTraceServiceResponse, empty when every span was taken."""
    response = ExportTraceServiceResponse()
    if taken.rejected:
        response.partial_success.rejected_spans = taken.rejected
        response.partial_success.error_message = taken.why
    return bytes(response.SerializeToString())


def answer_json(taken: Taken) -> bytes:
    """The same as JSON."""
    if not taken.rejected:
        return b"{}"
    return orjson.dumps({"partialSuccess": {"rejectedSpans": str(taken.rejected), "errorMessage": taken.why}})
