"""Spans as six services of a shop make them: the load of the benchmarks of traces.

Knows:     services, names and attributes that look real, and how they share a trace.
Called by: ingest.py, trace_query.py.
Never:     measures.
"""

import random
from collections.abc import Iterator

from go_cache_safeguard.signals.span import Event, Kind, Span, Status

BEGIN_NS = 1_790_000_000_000_000_000
SERVICES = {
    "edge": ("GET /checkout", "GET /product", "POST /pay"),
    "catalog": ("catalog.Get", "catalog.Search"),
    "cart": ("cart.Get", "cart.Add"),
    "payment-gateway": ("pay", "JedisPool.getResource", "GET session"),
    "inventory": ("inventory.Reserve", "SELECT stock"),
    "orders": ("orders.Create", "INSERT orders"),
}
PER_TRACE = 8


def traces(count: int, seed: int = 1) -> Iterator[list[Span]]:
    """So many traces of eight spans, 2 ms after each other; one of a hundred fails, one of two hundred is slow."""
    chance = random.Random(seed)  # noqa: S311 - a load, no secret
    resources = {
        name: {"host.name": f"{name}-1", "service.version": "1.4.2", "deployment": "prod"} for name in SERVICES
    }
    for number in range(count):
        trace_id, begin = chance.randbytes(16), BEGIN_NS + number * 2_000_000
        failed, slow = number % 100 == 0, number % 200 == 1
        parent, spans = b"", []
        for depth in range(PER_TRACE):
            service = chance.choice(list(SERVICES)) if depth else "edge"
            took = int(chance.lognormvariate(2, 1) * 1e6) * (200 if slow and depth == PER_TRACE - 1 else 1)
            attributes = {
                "http.request.method": "GET",
                "http.response.status_code": 500 if failed else 200,
                "url.path": f"/p/{chance.randrange(5000)}",
                "db.system": "redis",
                "thread.id": chance.randrange(64),
            }
            span_id = chance.randbytes(8)
            spans.append(
                Span(
                    trace_id,
                    span_id,
                    parent,
                    chance.choice(SERVICES[service]),
                    Kind.SERVER if depth % 2 == 0 else Kind.CLIENT,
                    service,
                    "",
                    begin + depth * 100_000,
                    begin + depth * 100_000 + took,
                    Status.ERROR if failed and depth > 5 else Status.UNSET,
                    attributes=attributes,
                    resource=resources[service],
                    events=(Event("exception", begin, {"exception.type": "Timeout"}),) if failed and depth > 5 else (),
                )
            )
            parent = span_id
        yield spans
