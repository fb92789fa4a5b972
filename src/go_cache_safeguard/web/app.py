"""The whole application: every route, and the fence around them.

Knows:     which files bring routes, and what a refusal looks like.
Called by: `web.server`, and tests.
Never:     decides anything.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount

from go_cache_safeguard.web import api, board, health, live, login, oidc, pages, sampling, slack, trace_page, view
from go_cache_safeguard.web.fence import API, App, Fence
from go_cache_safeguard.web.site import Site


def build(site: Site, lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None) -> App:
    """The application of a site.

    Args:
        site: What it works with.
        lifespan: What goes on beside requests.
    """
    routes = [
        *pages.routes(site),
        *live.routes(site),
        *view.routes(),
        *login.routes(site),
        *oidc.routes(site),
        *health.routes(site),
        *sampling.routes(site),
        *board.routes(site),
    ]
    routes += slack.routes(site)
    routes += trace_page.routes(site)
    routes.append(Mount(API, api.build(site)))
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _refused})
    return Fence(inner, site)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
    if request.url.path.startswith(f"{API}/"):
        return await api.refused(request, error)
    if "text/html" in request.headers.get("accept", ""):
        return await run_in_threadpool(pages.http_error, request, error)
    return PlainTextResponse(f"{error.status_code} {error.detail}\n", error.status_code, dict(error.headers or {}))
