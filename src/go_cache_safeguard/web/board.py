"""The boards of all services on one page, as they are now.

Knows:     that one look serves all who ask within a moment, and that tenants share no board.
Called by: `web.app`.
Never:     commits or tells anybody: a page that is looked at changes nothing.
"""

import threading
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.flows.board import Board
from go_cache_safeguard.flows.golden import source_of
from go_cache_safeguard.signals.board import Panel, signals_of
from go_cache_safeguard.web.login import ask_who
from go_cache_safeguard.web.site import Site, needs, tenant_of, visitor
from go_cache_safeguard.web.view import render

FRESH_S = 2.0
"""So long one look at the services serves everybody."""


def routes(site: Site) -> list[BaseRoute]:
    """The page; none if no service has a board.

    Raises:
        ConfigBad: A setting of the board cannot be read.
    """
    if not site.config.text("signals.board"):
        return []
    found = Board(site.config, source_of(site.config), lambda _: None)
    look = _Look(found.panels)

    def board(request: Request) -> Response:
        if visitor(request) is None:
            return ask_who(request)
        needs(request, "evidence")
        if tenant_of(request):
            raise HTTPException(404, "tenants have no board")
        panels = [(panel, signals_of(panel.golden)) for panel in look()]
        return render(request, "board.html", {"panels": panels})

    return [Route("/board", board, methods=["GET"])]


class _Look:
    """What was seen a moment ago, or a new look; one at a time."""

    def __init__(self, look: Callable[[], list[Panel]]) -> None:
        self._look, self._turn = look, threading.Lock()
        self._seen: list[Panel] = []
        self._until = 0.0

    def __call__(self) -> list[Panel]:
        with self._turn:
            if time.monotonic() >= self._until:
                self._seen = self._look()
                self._until = time.monotonic() + FRESH_S
            return self._seen
