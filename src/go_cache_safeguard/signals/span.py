"""One span: what a service did for one request, from when to when, and how it ended.

Knows:     the fields of a span of OpenTelemetry that we keep, and what can be said from them alone.
Called by: everything in signals; flows and commands that show or judge traces.
Never:     decides what is kept, and never tells a value that redaction has not seen.
Source:    opentelemetry-proto v1.7 (trace/v1/trace.proto): numbers of kinds and statuses, times in ns since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

Value: TypeAlias = str | bool | int | float | bytes | tuple["Value", ...]
"""An attribute's value. A nested map of OTLP is a tuple of (key, value) tuples."""

NOTHING: Mapping[str, Value] = MappingProxyType({})
"""No attributes."""


class Kind(IntEnum):
    """Which side of a call a span is; OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """How a span ended; OTLP's numbers."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one moment of a span.

    Attributes:
        name: For example `exception`.
        at_ns: Nanoseconds since 1970.
        attributes: What is known of it.
    """

    name: str
    at_ns: int
    attributes: Mapping[str, Value] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Link:
    """A span of any trace that this one has to do with, without being its child.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        attributes: Why it is linked.
    """

    trace_id: bytes
    span_id: bytes
    attributes: Mapping[str, Value] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Span:
    """What one service did for one request.

    Attributes:
        trace_id: 16 bytes, the same in the whole request.
        span_id: 8 bytes.
        parent_id: 8 bytes, or empty for a root.
        name: What was done, for example `GET /pay` or `JedisPool.getResource`.
        kind: Which side of a call it is.
        service: `service.name` of its resource.
        tenant: Whose data it is; empty when nobody said so.
        start_ns: Nanoseconds since 1970.
        end_ns: Nanoseconds since 1970.
        status: How it ended.
        message: What the status says; mostly empty.
        attributes: What is known of this span.
        resource: What is known of the process that made it, without `service.name`.
        events: What happened in it, in its order.
        links: Spans elsewhere that it has to do with.
        trace_state: W3C tracestate as it was carried, for example `ot=th:8`.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: Kind
    service: str
    tenant: str
    start_ns: int
    end_ns: int
    status: Status = Status.UNSET
    message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    resource: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    trace_state: str = ""

    @property
    def duration_ns(self) -> int:
        """How long it took, in nanoseconds; 0 when a clock ran backwards."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def is_error(self) -> bool:
        """Whether its service says that it failed."""
        return self.status is Status.ERROR

    @property
    def is_entry(self) -> bool:
        """Whether it is a request that came into its service: what traffic, errors and latency are counted by."""
        return self.kind in _ENTRIES or not self.parent_id


_ENTRIES = frozenset({Kind.SERVER, Kind.CONSUMER})
