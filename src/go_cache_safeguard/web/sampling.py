"""What SDKs are to sample: `/sampling?service=NAME`, as Jaeger serves it.

Knows:     that whoever asks is a program without a name, so it learns one number and nothing else.
Called by: `web.app`.
Never:     changes anything.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.flows.boost import PATH, respond
from go_cache_safeguard.web.site import Site


def routes(site: Site) -> list[BaseRoute]:
    """The one path."""

    def sampling(request: Request) -> Response:
        status, body = respond(site.config, f"{PATH}?{request.url.query}")
        return Response(body, status, media_type="application/json" if status == 200 else "text/plain")

    return [Route(PATH, sampling, methods=["GET"])]
