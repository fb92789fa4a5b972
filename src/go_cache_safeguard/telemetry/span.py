"""Opens spans and counts, for whoever works; does nothing at all until somebody records.

Knows:     that without a recorder every span is the same object, and that a recorder is made when the first span is opened.
Called by: flows and shells, around what they do; `flows.observing` says who records.
Never:     imports OpenTelemetry; fails, or changes, what it is about.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from go_cache_safeguard.telemetry.names import ALONE, MetricName, SpanName


class SpanHandle(Protocol):
    """A span that is open. It ends with its `with` block, and says how: an exception that passes through is told."""

    def __enter__(self) -> Self:
        """Make it the current one."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""

    def set(self, **words: object) -> None:
        """Say more, by the words of `names.ATTRIBUTES`; those that this span may not carry are left out."""

    def event(self, name: str, **words: object) -> None:
        """Something happened now."""

    def link(self, trace_id: bytes, span_id: bytes) -> None:
        """Point at another span, such as a failing one of a service: 16 and 8 bytes."""

    def failed(self, error: BaseException) -> None:
        """It went wrong, and no exception will tell."""


class Recorder(Protocol):
    """Somebody who records; see `telemetry.otel`."""

    def begin(self, name: SpanName, op: str, words: Mapping[str, object]) -> SpanHandle:
        """A new span."""

    def measure(self, name: MetricName, value: float, labels: Mapping[str, str]) -> None:
        """Add to a metric."""

    def current(self) -> tuple[str, str]:
        """Ids of the current trace and span in hexadecimal; empty if there is none."""

    def outgoing(self) -> dict[str, str]:
        """Headers that carry the current span to another program."""

    def finish(self) -> str:
        """Send what is left, within a bound. Returns what went wrong, for a person; empty if nothing."""


class _Nothing:
    """The span of whoever is not recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def set(self, **words: object) -> None:
        """Nothing."""

    def event(self, name: str, **words: object) -> None:
        """Nothing."""

    def link(self, trace_id: bytes, span_id: bytes) -> None:
        """Nothing."""

    def failed(self, error: BaseException) -> None:
        """Nothing."""


NOTHING: Final = _Nothing()
"""Every span while nobody records."""


@dataclass(slots=True)
class _Here:
    """Who records in this process.

    Attributes:
        make: Makes a recorder when the first span is opened; None once it was asked, or if nobody wants one.
        recorder: It, once it was made.
    """

    make: Callable[[], Recorder | None] | None = None
    recorder: Recorder | None = None

    def opened(self) -> Recorder | None:
        make, self.make = self.make, None
        if make is not None:
            self.recorder = make()
        return self.recorder


_HERE = _Here()


def record_with(make: Callable[[], Recorder | None]) -> None:
    """Have spans recorded from now on; whoever records already goes on until `finish`.

    Args:
        make: Makes a recorder, once there is something to record; None if none can be had.
    """
    if _HERE.recorder is None:
        _HERE.make = make


def prepare() -> None:
    """Make the recorder now, if one is wanted: what takes a moment is not to take it from the first who is served."""
    _HERE.opened()


def span(name: SpanName, *, op: str = "", **words: object) -> SpanHandle:
    """A span around a piece of work; use it in a `with`.

    Args:
        name: Which.
        op: The operation that it is about. Then it belongs to that operation's trace, in whatever process or machine; `guard.operation`
            is the root of that trace. Without one it belongs to the current span, and without that it is not worth recording, unless
            it is one of `names.ALONE`.
        words: What there is to say of it, by the words of `names.ATTRIBUTES`.
    """
    if _HERE.recorder is None and (_HERE.make is None or not (op or name in ALONE)):
        return NOTHING
    recorder = _HERE.opened()
    if recorder is None or not (op or name in ALONE or recorder.current()[0]):
        return NOTHING
    return recorder.begin(name, op, words)


def measure(name: MetricName, value: float, **labels: str) -> None:
    """Add to a metric: counts add up, a duration in seconds is one observation.

    Args:
        name: Which.
        value: How much.
        labels: By the words of `names.ATTRIBUTES`.
    """
    if (recorder := _HERE.recorder) is not None:
        recorder.measure(name, value, labels)


def current_trace_id() -> str:
    """The current trace, 32 hexadecimal digits; empty if there is none."""
    return current_ids()[0]


def current_ids() -> tuple[str, str]:
    """The current trace and span, 32 and 16 hexadecimal digits; empty if there is none."""
    return ("", "") if _HERE.recorder is None else _HERE.recorder.current()


def outgoing() -> dict[str, str]:
    """`traceparent` and `baggage` for a request that we send; nothing if there is no current span."""
    return {} if _HERE.recorder is None else _HERE.recorder.outgoing()


def finish() -> str:
    """At the end of a process: send what is left, within a bound. Returns what went wrong, for a person."""
    recorder, _HERE.make, _HERE.recorder = _HERE.recorder, None, None
    return "" if recorder is None else recorder.finish()
