"""What a real receiver was sent: spans as a tree, and metrics with their exemplars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from go_cache_safeguard.signals.otlp import decode
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.telemetry.names import ids_of
from hookservers import HookServer, Received


@dataclass(frozen=True)
class Seen:
    """All that came.

    Attributes:
        spans: Of every request.
        metrics: Of every request.
    """

    spans: Sequence[Span]
    metrics: Sequence[Metric]

    def trace(self, op: str) -> list[Span]:
        """Spans of an operation, as they began."""
        return sorted((one for one in self.spans if one.trace_id == ids_of(op).trace), key=lambda one: one.start_ns)

    def paths(self, op: str) -> list[str]:
        """Each span of an operation with its parents: `guard.operation/guard.execute/guard.wave`."""
        spans = {one.span_id: one for one in self.trace(op)}

        def path(one: Span) -> str:
            above = spans.get(one.parent_id)
            return one.name if above is None else f"{path(above)}/{one.name}"

        return [path(one) for one in spans.values()]

    def metric(self, name: str) -> Metric:
        """The last of a name."""
        return [one for one in self.metrics if one.name == name][-1]


def seen(server: HookServer) -> Seen:
    """Read what came."""
    return seen_in(server.received)


def seen_in(requests: Iterable[Received]) -> Seen:
    """Read these requests."""
    spans: list[Span] = []
    metrics: list[Metric] = []
    for one in requests:
        if one.path == "/v1/traces":
            spans += decode(one.body)
        elif one.path == "/v1/metrics":
            read = ExportMetricsServiceRequest.FromString(one.body)
            metrics += [
                metric for of in read.resource_metrics for scope in of.scope_metrics for metric in scope.metrics
            ]
    return Seen(spans, metrics)
