"""The page of one trace: `/traces/TRACE`.

Knows:     where its bars lie, and whose spans a visitor may see.
Called by: `web.app`.
Never:     shows a span of another tenant, or text of a span that was not escaped; draws with styles, which the fence forbids.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.web.login import ask_who
from go_cache_safeguard.web.site import Site, needs, tenant_of, visitor
from go_cache_safeguard.web.view import render

if TYPE_CHECKING:
    from go_cache_safeguard.signals.waterfall import Line, Waterfall

_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_WIDE = 1_000
_ATTRIBUTES = 40


def routes(site: Site) -> list[BaseRoute]:
    """The page."""

    def trace(request: Request) -> Response:
        """A waterfall, with everything that is kept of each span."""
        if visitor(request) is None:
            return ask_who(request)
        needs(request, "evidence")
        fall = _waterfall(Path(site.config.text("state.dir")), str(request.path_params["trace"]), tenant_of(request))
        return render(request, "trace.html", {"fall": fall, "lines": [_line(line) for line in fall.lines]})

    return [Route("/traces/{trace}", trace, methods=["GET"])]


def _waterfall(state_dir: Path, trace: str, tenant: str) -> "Waterfall":
    if not _TRACE.fullmatch(trace) or find_spec("orjson") is None:
        raise HTTPException(404, "there is no such trace")
    from go_cache_safeguard.flows.traces import open_spans  # noqa: PLC0415 - of the extra `signals`, which a server need not have
    from go_cache_safeguard.signals.waterfall import waterfall  # noqa: PLC0415 - likewise

    try:
        with open_spans(state_dir) as spans:
            found = [span for span in spans.trace(bytes.fromhex(trace)) if span.tenant in {"", tenant}]
    except Failure as failure:
        status = 404 if failure.exit_code in {ExitCode.USAGE, ExitCode.TARGET} else 503
        raise HTTPException(status, failure.what if status == 503 else "there is no such trace") from failure
    fall = waterfall(found)
    if fall is None:
        raise HTTPException(404, "there is no such trace")
    return fall


def _line(line: "Line") -> dict[str, object]:
    attributes = list(line.span.attributes.items())[:_ATTRIBUTES]
    return {
        "line": line,
        "x": round(line.offset * _WIDE, 1),
        "width": max(2.0, round(line.width * _WIDE, 1)),
        "indent": " " * min(line.depth, 20),
        "attributes": [(key, str(value)) for key, value in attributes],
        "events": [(event.name, (event.at_ns - line.span.start_ns) / 1e6) for event in line.span.events[:_ATTRIBUTES]],
    }
