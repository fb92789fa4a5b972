"""Lines of logs as JSON, ours and those of OpenTelemetry.

Knows:     the form that `telemetry.logs` writes, and `ExportLogsServiceRequest` as JSON, one on each line.
Called by: `flows.anomalies`.
Never:     stumbles over a line: what is none of both is counted and passed over.
Source:    opentelemetry-proto v1.7 (logs/v1/logs.proto) in its JSON form: numbers of 64 bits as text, ids in hexadecimal.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from go_cache_safeguard.signals.drain import Line

_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Read:
    """What was in a log.

    Attributes:
        lines: In their order.
        unread: How many lines were passed over.
    """

    lines: tuple[Line, ...]
    unread: int


def read_lines(texts: Iterable[str], operation: str) -> Read:
    """Read lines of JSON.

    Args:
        texts: The lines.
        operation: The attribute in which OpenTelemetry's carry the id of an operation of ours; ours call it `op`.
    """
    lines: list[Line] = []
    unread = 0
    for text in texts:
        if not text.strip():
            continue
        try:
            found = list(_lines(json.loads(text[:_LONGEST]), operation))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError):
            found = []
        lines += found
        unread += not found
    return Read(tuple(lines), unread)


def _lines(value: Any, operation: str) -> Iterator[Line]:
    if "resourceLogs" not in value:
        yield _ours(value)
        return
    for resource in value["resourceLogs"]:
        service = _attributes(resource.get("resource", {})).get("service.name", "")
        for scope in resource.get("scopeLogs", ()):
            for record in scope.get("logRecords", ()):
                at_ns = int(record.get("timeUnixNano") or 0) or int(record.get("observedTimeUnixNano") or 0)
                yield Line(
                    at_ns,
                    str(service),
                    _text(record.get("body", {})),
                    _trace(record.get("traceId")),
                    str(_attributes(record).get(operation, "")),
                    str(record.get("severityText", "")).lower(),
                )


def _ours(value: Mapping[str, Any]) -> Line:
    at = datetime.fromisoformat(value["time"])
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    service = value.get("service") or value.get("source", "")
    return Line(
        int(at.timestamp() * 1_000_000) * 1_000,
        str(service),
        str(value["message"]),
        _trace(value.get("trace_id")),
        str(value.get("op") or ""),
        str(value.get("level", "")).lower(),
    )


def _attributes(holder: Mapping[str, Any]) -> dict[str, str]:
    return {one["key"]: _text(one.get("value", {})) for one in holder.get("attributes", ())}


def _text(value: Mapping[str, Any]) -> str:
    return str(next(iter(value.values()), ""))


def _trace(value: object) -> str:
    text = str(value or "").lower()
    return text if _TRACE.fullmatch(text) else ""
