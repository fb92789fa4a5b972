r"""Pages as text: templates, and how text of other people is shown in them.

Knows:     which templates there are, and what every page gets: who looks, the form's secret, where static files are.
Called by: `web.pages`, `web.login`, and whatever else answers with a page.
Never:     lets a character through that shows nothing or turns the order of letters round: it is shown as `\u202e`, and marked.
Source:    Unicode Technical Report 36 (hidden and bidirectional characters); Jinja: autoescape, and `finalize` for whatever a
           template prints.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.web.site import may, site_of, tenant_of, visitor

STATIC = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_SHOWN_CHARS = 2000


def plain(text: str) -> str:
    r"""Text in which every character that cannot be seen, or that moves others, is an escape such as `\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def shown(text: object) -> Markup:
    """Text of somebody else as HTML: isolated from what stands around it, escapes marked, and not endless."""
    whole = str(text)
    cut = whole[:_SHOWN_CHARS]
    parts = [escape(cut)] if cut.isprintable() else [_marked(char) for char in cut]
    more = [escape(f"... ({len(whole):,} characters)")] if len(whole) > _SHOWN_CHARS else []
    return Markup("<bdi>{}</bdi>").format(Markup().join([*parts, *more]))


def _marked(char: str) -> Markup:
    if char.isprintable():
        return escape(char)
    return Markup('<span class="odd">{}</span>').format(_escaped(char))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _finalize(value: object) -> object:
    """Whatever a template prints: nothing hidden gets by, also where nobody thought of it."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def moment(at: str | int | None) -> str:
    """A time as people read it, to the minute: `2026-01-02 03:04 UTC`.

    Args:
        at: RFC 3339, or seconds since 1970-01-01 UTC.
    """
    try:
        when = datetime.fromtimestamp(at, UTC) if isinstance(at, int) else datetime.fromisoformat(at or "")
    except (ValueError, OverflowError, OSError):
        return "UNKNOWN"
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def seconds_of(at: str) -> int | None:
    """Seconds since 1970-01-01 UTC; None if the text is no time."""
    try:
        return int(datetime.fromisoformat(at).timestamp())
    except (ValueError, OverflowError):
        return None


def _size(size: int | None) -> str:
    return "UNKNOWN" if size is None else format_size(size)


def _count(count: int | None) -> str:
    return "UNKNOWN" if count is None else f"{count:,}"


def _versions() -> dict[str, str]:
    """Of each static file, the beginning of its hash: a new file gets a new address, and may be kept for long."""
    return {path.name: sha256(path.read_bytes()).hexdigest()[:12] for path in STATIC.iterdir() if path.suffix in _KINDS}


def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    versions = _versions()
    env.filters |= {"shown": shown, "moment": moment, "size": _size, "count": _count, "span": format_duration}
    env.globals["static"] = lambda name: f"/static/{name}?v={versions[name]}"
    return env


_ENVIRONMENT = _environment()


def render(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a page.

    Args:
        request: What was asked.
        template: Its file name.
        values: What the template shows.
        status: Of the answer.
        headers: More of them.
    """
    who = visitor(request)
    site = site_of(request)
    common = {
        "who": who,
        "csrf": who.csrf if who else "",
        "path": request.url.path,
        "now_s": int(site.now_s()),
        "may": _mays(who),
        "board": bool(site.config.text("signals.board")) and not tenant_of(request),
    }
    return HTMLResponse(_ENVIRONMENT.get_template(template).render({**common, **values}), status, headers)


def frame(title: str, body: Markup, *, status: int = 200, onward: str = "") -> Response:
    """Answer with a page for whoever was not let in yet.

    Args:
        title: Plain text.
        body: HTML, escaped where it has to be.
        status: Of the answer.
        onward: Where browsers go by themselves; empty for nowhere.
    """
    values: dict[str, Any] = {"title": title, "body": body, "onward": onward, "who": None, "path": "", "may": {}}
    return HTMLResponse(_ENVIRONMENT.get_template("paper.html").render(values), status)


def _mays(who: Any) -> Mapping[str, bool]:
    from go_cache_safeguard.web.site import MATRIX  # noqa: PLC0415 - beside its only use

    return {action: who is not None and may(who, action) for action in MATRIX}


def routes() -> list[Route]:
    """Where static files are."""
    return [Route("/static/{name}", _static, methods=["GET", "HEAD"])]


def _static(request: Request) -> Response:
    """One of the files that came with us, and nothing else."""
    name = str(request.path_params["name"])
    kind = _KINDS.get(Path(name).suffix)
    if kind is None or name not in _NAMES:
        raise HTTPException(404, "there is no such file")
    kept = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
    return FileResponse(STATIC / name, media_type=kind, headers={"Cache-Control": kept})


_NAMES = frozenset(_versions())
