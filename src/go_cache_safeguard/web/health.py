"""Whether the server lives, whether it can work, and its numbers for Prometheus.

Knows:     what is counted; that whoever is not let in learns one word.
Called by: `web.app`.
Never:     changes anything; shows names or numbers to who was not let in.
"""

import threading

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.metrics import JournalMetrics, registry_of
from go_cache_safeguard.web.site import Site, needs, tenant_of


class Ledgers:
    """The numbers of the journals of all tenants, kept while these grow. Safe from any thread."""

    def __init__(self, site: Site) -> None:
        self._journals = site.journals
        self._lock = threading.Lock()
        self._found: dict[str, JournalMetrics] = {}

    def families(self, tenant: str) -> list[Metric]:
        """Of one tenant."""
        if self._journals is None:
            return []
        with self._lock:
            if tenant not in self._found:
                self._found[tenant] = JournalMetrics(self._journals(tenant))
            return self._found[tenant].families()


def routes(site: Site) -> list[BaseRoute]:
    """Pages for machines."""
    ledgers = Ledgers(site)

    async def healthz(request: Request) -> Response:
        del request
        return PlainTextResponse("alive\n")

    def readyz(request: Request) -> Response:
        try:
            site.people.ping()
            site.desks(tenant_of(request)).inbox(limit=1)
        except Failure:
            return PlainTextResponse("not ready\n", 503)
        return PlainTextResponse("ready\n")

    def metrics(request: Request) -> Response:
        needs(request, "metrics")
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        families = [*site.numbers.registry.collect(), *ledgers.families(tenant_of(request))]
        return Response(encode(registry_of(families)), headers={"content-type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
