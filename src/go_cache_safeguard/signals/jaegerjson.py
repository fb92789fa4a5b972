"""The JSON in which Jaeger's HTTP API answers.

Knows:     how its traces, processes, tags and references become spans.
Called by: `flows.traces`.
Never:     believes that a field is there or of its type: what cannot be read is a `JaegerUnreadable`.
Source:    Jaeger's model/json (trace_id, µs since 1970, tags as key/type/value) and `GET /api/traces`; the tags `error`,
           `span.kind`, `otel.status_code`, `otel.status_description` are how it keeps what OTLP has fields for.
"""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.span import Event, Kind, Link, Span, Status, Value

_KINDS = {kind.name.lower(): kind for kind in Kind}
_STATUSES = {"OK": Status.OK, "ERROR": Status.ERROR}


class JaegerUnreadable(Failure):
    """Jaeger's answer is none that we know."""

    id = "jaeger-unreadable"
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_TELL
    meaning = "what a Jaeger answered is not the JSON of its traces"


def spans_of(document: object) -> tuple[Span, ...]:
    """Every span of an answer.

    Raises:
        JaegerUnreadable: It is not Jaeger's.
    """
    try:
        traces = _get(document, "data", list) or []
        return tuple(
            _span(one, _get(trace, "processes", dict) or {})
            for trace in traces
            for one in _get(trace, "spans", list) or []
        )
    except (TypeError, ValueError, KeyError, OverflowError, binascii.Error) as error:
        raise JaegerUnreadable(f"Jaeger's answer cannot be read: {error}", not_done="nothing was shown") from error


def _get(parent: object, key: str, kind: type) -> Any:
    if not isinstance(parent, dict):
        raise TypeError(f"what should hold {key} is no object")
    found = parent.get(key)
    if found is not None and not isinstance(found, kind):
        raise TypeError(f"{key} is no {kind.__name__}")
    return found


def _span(one: Mapping[str, Any], processes: Mapping[str, Any]) -> Span:
    process = processes.get(_get(one, "processID", str) or "") or {}
    tags, resource = _tags(_get(one, "tags", list)), _tags(_get(process, "tags", list))
    parent, links = _references(_get(one, "references", list) or [])
    start_us, took_us = _get(one, "startTime", int) or 0, _get(one, "duration", int) or 0
    failed = tags.get("error") in {True, "true"}
    made = Span(
        _id(_get(one, "traceID", str), 16),
        _id(_get(one, "spanID", str), 8),
        parent,
        _get(one, "operationName", str) or "",
        _KINDS.get(str(tags.pop("span.kind", "unspecified")), Kind.UNSPECIFIED),
        _get(process, "serviceName", str) or "",
        str(resource.get("tenant.id", "")),
        start_us * 1_000,
        (start_us + took_us) * 1_000,
        _STATUSES.get(str(tags.pop("otel.status_code", "")), Status.ERROR if failed else Status.UNSET),
        str(tags.pop("otel.status_description", "")),
        tags,
        resource,
        links=links,
    )
    return replace(made, events=tuple(_event(log) for log in _get(one, "logs", list) or []))


def _id(text: str | None, length: int) -> bytes:
    found = binascii.unhexlify((text or "").rjust(2 * length, "0"))
    if len(found) != length:
        raise ValueError("an id has a wrong length")
    return found


def _references(found: Sequence[object]) -> tuple[bytes, tuple[Link, ...]]:
    parent, links = b"", []
    for one in found:
        trace_id, span_id = _id(_get(one, "traceID", str), 16), _id(_get(one, "spanID", str), 8)
        if _get(one, "refType", str) == "CHILD_OF" and not parent:
            parent = span_id
        else:
            links.append(Link(trace_id, span_id))
    return parent, tuple(links)


def _tags(found: Sequence[object] | None) -> dict[str, Value]:
    tags: dict[str, Value] = {}
    for one in found or []:
        key, value = _get(one, "key", str), _get(one, "value", object)
        if key and isinstance(value, str | bool | int | float):
            tags[key] = value
    return tags


def _event(log: object) -> Event:
    fields = _tags(_get(log, "fields", list))
    return Event(str(fields.pop("event", "")), (_get(log, "timestamp", int) or 0) * 1_000, fields)
