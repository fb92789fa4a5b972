"""The few pages of the frame itself: logging in, going on, and being refused.

Knows:     how such a page looks without a script or a style of its own.
Called by: `web.login`, `web.oidc`, `web.app`.
Never:     holds text that was not escaped.
"""

from html import escape

from markupsafe import Markup
from starlette.responses import Response

from go_cache_safeguard.web.view import frame


def page(title: str, body: str, *, status: int = 200, onward: str = "") -> Response:
    """A page.

    Args:
        title: Plain text.
        body: HTML, escaped where it has to be.
        status: Of the reply.
        onward: Where browsers go by themselves.
    """
    # Where a reply sends a browser with `Location`, the way there still began at somebody else's page, and a cookie that is
    # SameSite=Strict is not sent. A page of ours that goes on begins a new way.
    return frame(title, Markup(body), status=status, onward=onward)  # noqa: S704 - whoever makes a page has escaped what is in it


def said(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def notice(text: str) -> str:
    """A paragraph that a screen reader reads at once."""
    return f'<p role="alert">{escape(text)}</p>' if text else ""


def hidden(name: str, value: str) -> str:
    """A field that nobody sees."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
