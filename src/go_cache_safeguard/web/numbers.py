"""What a running server counts of itself.

Knows:     the names of the numbers.
Called by: `web.fence`, `web.login`, `web.oidc` count; `web.health` shows.
Never:     counts by anything that a stranger can choose, such as a path or a name.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Numbers:
    """All numbers of one server.

    Attributes:
        registry: Holds them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "safeguard_serve_requests", "Requests answered, by status.", ("status",), registry=self.registry
        )
        self.seconds = Histogram(
            "safeguard_serve_request_seconds",
            "From a request's head to the end of its reply; streams that stay open are not among them.",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.under_way = Gauge(
            "safeguard_serve_requests_under_way", "Requests not answered yet.", registry=self.registry
        )
        self.dropped = Counter(
            "safeguard_serve_dropped",
            "Clients that were too slow, by what they were slow with.",
            ("at",),
            registry=self.registry,
        )
        self.logins = Counter(
            "safeguard_serve_logins", "People who tried to come in.", ("way", "outcome"), registry=self.registry
        )
        self.operations = Gauge("safeguard_serve_waiting", "Operations that wait for a person.", registry=self.registry)
