"""A service of a test that a real Prometheus can scrape: requests are counted as OpenTelemetry's conventions say, with exemplars."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server


@dataclass
class Shop:
    """What it has been asked for.

    Attributes:
        where: host:port of its metrics.
    """

    where: str = ""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "Requests",
            ["http_request_method", "http_response_status_code"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
        )
        self._full = Gauge("pool_used_ratio", "The pool", registry=self.registry)
        self._durations.labels("GET", "200")  # counted from zero, as instrumentations do at their first request

    def serve(self, requests: int, *, ms: float = 8, failed: str = "") -> None:
        """Count requests.

        Args:
            requests: How many.
            ms: How long each took.
            failed: If they failed, their trace id.
        """
        labelled = self._durations.labels("GET", "500" if failed else "200")
        for _ in range(requests):
            labelled.observe(ms / 1000, {"trace_id": failed} if failed else None)

    def fill(self, share: float) -> None:
        """Say how full its pool is."""
        self._full.set(share)


@contextmanager
def shop() -> Iterator[Shop]:
    """Start one."""
    one = Shop()
    server, thread = start_http_server(0, "127.0.0.1", registry=one.registry)
    one.where = f"127.0.0.1:{server.server_port}"
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
