"""A span as a row of a table, and back.

Knows:     the columns that spans lie in, on disk and in Parquet; which of them are JSON, and how bytes stay bytes in it.
Called by: `signals.spanstore`, `signals.columns`.
Never:     loses a type: text, numbers, bytes and lists come back as they went in. A number that is none (NaN) is left out.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from go_cache_safeguard.signals.span import NOTHING, Event, Kind, Link, Span, Status, Value

COLUMNS = (
    "trace",
    "span",
    "parent",
    "service",
    "tenant",
    "name",
    "kind",
    "status",
    "message",
    "end_ns",
    "duration_ns",
    "attributes",
    "resource",
    "rest",
)
_BYTES = "\x00bytes"
"""The key of an object that stands for bytes: no attribute's value is an object."""
_NO_REST = ""
_EMPTY = "{}"


class Row(NamedTuple):
    """One row; `attributes`, `resource` and `rest` are JSON, `rest` is empty when there is nothing of its kind."""

    trace: bytes
    span: bytes
    parent: bytes
    service: str
    tenant: str
    name: str
    kind: int
    status: int
    message: str
    end_ns: int
    duration_ns: int
    attributes: str
    resource: str
    rest: str


def rows(spans: Iterable[Span]) -> list[Row]:
    """Spans as rows. Spans that share a resource share its text."""
    texts: dict[int, str] = {}
    return [_row(span, texts) for span in spans]


def _row(span: Span, texts: dict[int, str]) -> Row:
    resource = texts.get(id(span.resource))
    if resource is None:
        resource = texts[id(span.resource)] = _json(span.resource)
    duration = span.end_ns - span.start_ns
    return Row(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.service,
        span.tenant,
        span.name,
        int(span.kind),
        int(span.status),
        span.message,
        span.end_ns if duration >= 0 else span.start_ns,
        max(0, duration),
        _json(span.attributes),
        resource,
        _rest(span) if span.events or span.links or span.trace_state else _NO_REST,
    )


def _json(attributes: Mapping[str, Value]) -> str:
    if not attributes:
        return _EMPTY
    plain = attributes if isinstance(attributes, dict) else dict(attributes)
    return orjson.dumps(plain, default=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {_BYTES: value.hex()}
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(type(value).__name__)


def _rest(span: Span) -> str:
    events = [(one.name, one.at_ns, one.attributes) for one in span.events]
    links = [(one.trace_id.hex(), one.span_id.hex(), one.attributes) for one in span.links]
    return orjson.dumps((events, links, span.trace_state), default=_plain).decode()


def resource_id(text: str) -> int:
    """A number for a resource's text, the same everywhere: 63 bits of its hash."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def span_of(row: tuple[Any, ...]) -> Span:
    """A span of the columns `COLUMNS`."""
    (
        trace,
        span,
        parent,
        service,
        tenant,
        name,
        kind,
        status,
        message,
        end_ns,
        duration_ns,
        attributes,
        resource,
        rest,
    ) = row
    events, links, trace_state = _read_rest(rest) if rest else ((), (), "")
    return Span(
        bytes(trace),
        bytes(span),
        bytes(parent),
        name,
        Kind(kind),
        service,
        tenant,
        end_ns - duration_ns,
        end_ns,
        Status(status),
        message,
        _read(attributes),
        _read(resource),
        events,
        links,
        trace_state,
    )


def _read(text: str) -> Mapping[str, Value]:
    return NOTHING if text == _EMPTY else _values(orjson.loads(text))


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    return {
        key: value if type(value) in {str, int, float, bool} else _value(value)
        for key, value in found.items()
        if value is not None
    }


def _value(value: Any) -> Value:
    if isinstance(value, list):
        return tuple(_value(one) for one in value if one is not None)
    return bytes.fromhex(value[_BYTES]) if isinstance(value, dict) else value


def _read_rest(text: str) -> tuple[tuple[Event, ...], tuple[Link, ...], str]:
    events, links, trace_state = orjson.loads(text)
    return (
        tuple(Event(name, at_ns, _values(attributes)) for name, at_ns, attributes in events),
        tuple(
            Link(bytes.fromhex(trace), bytes.fromhex(span), _values(attributes)) for trace, span, attributes in links
        ),
        trace_state,
    )
