"""What stands around every page and every call: who is at the door, in which name, and whether they may speak at all.

Knows:     hosts, trusted proxies, how large and how slow a body may be, Origin and CSRF, and the headers of every reply.
Called by: `web.app`, around everything else.
Never:     lets a request change anything that a page of somebody else could have sent; believes a forwarded header of a
           stranger; lets an exception's text reach a reply or a log.
Source:    RFC 9110, RFC 9112, RFC 6265bis, the Fetch standard ("append a request Origin header"; Sec-Fetch-Site), CSP level 3.
"""

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.web.schema import PROBLEM, problem
from go_cache_safeguard.web.site import COOKIE, Front, Site, cookie_name, csrf_of, visitor

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("go_cache_safeguard.web")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
STREAMS = "/live"
"""What stays open as long as somebody looks."""
UNSIGNED = 64 << 10
"""Bytes of a body of somebody who was not let in: a form for logging in is smaller."""
PROBES = frozenset({"/healthz", "/readyz", "/sampling"})
"""These may be asked by any name: who runs containers asks by address, and so do SDKs that ask what to sample."""
ENTRANCES = frozenset({"/login", "/oidc/start"})
"""Forms of who has no session yet, so that there is no secret to send back. Their Origin must be ours all the same."""
API = "/api/v1"
"""Below this, scripts ask, and refusals are for programs. Who comes without a token and without a cookie is nobody, and told so."""
MACHINES = "/slack/"
"""Below this, requests are signed by who sends them. Cookies are not looked at there."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms, too.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
HSTS = "max-age=31536000"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The fence lets a request no further.

    Attributes:
        status: Of the reply.
        why: For a person.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class NotTaken(Exception):  # noqa: N818 - what a client did
    """Somebody does not take what they asked for: they are not waited for."""


class Fence:
    """The outermost application."""

    def __init__(self, app: App, site: Site) -> None:
        self._app = app
        self._site = site
        config = site.config
        self._proxies = networks(config.text("serve.trusted_proxies").split())
        self._only_proxies = bool(self._proxies) and not config.text("serve.tls_cert")
        self._body_s = config.seconds("serve.body_timeout")
        self._send_s = config.seconds("serve.reply_timeout")
        self._most = config.size("serve.max_body")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        begun, numbers, start = 0, self._site.numbers, time.monotonic()

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = message["status"]
                message["headers"] = self._dress(message.get("headers", ()))
            try:
                async with asyncio.timeout(self._send_s):
                    await send(message)
            except TimeoutError as error:
                raise NotTaken from error

        try:
            with numbers.under_way.track_inprogress():
                await self._answer(scope, receive, dressed, lambda: begun)
        finally:
            numbers.requests.labels(str(begun or 0)).inc()
            if scope["path"] != STREAMS:
                numbers.seconds.observe(time.monotonic() - start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], int]) -> None:
        try:
            admitted = await self._admit(scope, receive)
            if scope["path"] == STREAMS:
                await self._until_closing(scope, admitted, send, begun)
            else:
                await self._app(scope, admitted, send)
        except Refused as no:
            if no.status == 408:
                self._site.numbers.dropped.labels("body").inc()
            await _say(send, no.status, no.why, scope["path"])
        except NotTaken:
            self._site.numbers.dropped.labels("reply").inc()
        except Exception as error:  # noqa: BLE001 - the top of a request: whoever asks is told nothing but that it failed
            LOG.error("%s", told(error))  # noqa: TRY400 - the traceback would hold values
            if not begun():
                await _say(send, 500, "something went wrong here; it is in the log", scope["path"])

    async def _until_closing(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], int]) -> None:
        """Answer with what has no end by itself, until the server stops."""
        answering = asyncio.ensure_future(self._app(scope, receive, send))
        closing = asyncio.ensure_future(self._site.closing.wait())
        try:
            await asyncio.wait({answering, closing}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
                return
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
            if begun():
                await send({"type": "http.response.body", "body": b""})
        finally:
            answering.cancel()
            closing.cancel()

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Look at a request before anything of it is believed.

        Returns:
            Where the application gets the body from.

        Raises:
            Refused: It goes no further.
        """
        scope["safeguard.site"] = self._site
        headers = _headers(scope)
        peer = scope["client"][0] if scope.get("client") else ""
        if self._only_proxies and scope["path"] not in PROBES and not _within(peer, self._proxies):
            raise Refused(403, "come by the proxy: here, nothing is encrypted")
        scope["safeguard.address"] = self._address(peer, headers)
        scope["safeguard.front"] = self._front(scope["path"], headers)
        safe = scope["method"] in SAFE
        if safe:
            if _has_body(headers):
                raise Refused(400, "a question has no body")
            return receive
        by_token = "authorization" in headers
        by_machine = scope["path"].startswith(MACHINES)
        if by_machine:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"cookie"]
        elif not by_token and not _from_a_script(scope, headers):
            _same_origin(scope["safeguard.front"], headers)
        body = await self._body(scope, headers, receive)
        if not by_token and not by_machine:
            self._own_form(scope, headers, body)
        return _again(body, receive)

    def _address(self, peer: str, headers: dict[str, list[str]]) -> str:
        """Where a request comes from: what a trusted proxy says, and nobody else."""
        if not self._proxies or not _within(peer, self._proxies):
            return peer
        if self._site.secure and "http" in (it.strip().lower() for it in _words(headers, "x-forwarded-proto")):
            raise Refused(400, "this came without TLS")
        for hop in reversed([it.strip() for it in _words(headers, "x-forwarded-for")]):
            if not _within(hop, self._proxies):
                return hop if _is_address(hop) else peer
        return peer

    def _front(self, path: str, headers: dict[str, list[str]]) -> Front:
        """In which of our names somebody comes: a page of somebody else may point its own name at our address."""
        hosts = headers.get("host", [])
        found = self._site.urls.get(hosts[0].lower()) if len(hosts) == 1 else None
        if found is not None:
            return found
        if path in PROBES:
            return next(iter(self._site.urls.values()))
        raise Refused(421, "nobody of this name is here")

    async def _body(self, scope: Scope, headers: dict[str, list[str]], receive: Receive) -> bytes:
        """The whole body, before anybody works for it."""
        most = UNSIGNED
        if _has_body(headers) and not scope["path"].startswith(MACHINES):
            # Who was let in may send more; that is asked before the body is read.
            known = await run_in_threadpool(visitor, Request(scope))
            most = self._most if known else UNSIGNED
        lengths = headers.get("content-length", [])
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > most):
            raise Refused(413, f"a body may have {most} bytes")
        try:
            async with asyncio.timeout(self._body_s):
                return await _read(receive, most)
        except TimeoutError as error:
            raise Refused(408, "the body did not come") from error

    def _own_form(self, scope: Scope, headers: dict[str, list[str]], body: bytes) -> None:
        """Demand what only a page of ours can know, of whoever comes with a session's cookie."""
        secret = Request(scope).cookies.get(cookie_name(COOKIE, secure=self._site.secure), "")
        if not secret or scope["path"] in ENTRANCES:
            return
        given = next(iter(headers.get("x-csrf-token", [])), "") or _field(headers, body)
        if not hmac.compare_digest(given.encode(), csrf_of(secret).encode()):
            raise Refused(403, "this did not come from a page of ours; reload the page and try again")

    def _dress(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """A reply's headers, and ours."""
        kept = [(bytes(name).lower(), bytes(value)) for name, value in headers]
        there = {name for name, _ in kept}
        ours = {**HEADERS, **({"strict-transport-security": HSTS} if self._site.secure else {})}
        return kept + [(k.encode(), v.encode()) for k, v in ours.items() if k.encode() not in there]


def networks(words: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read addresses and networks.

    Raises:
        ValueError: One of them is none.
    """
    return tuple(ip_network(word) for word in words)


def told(error: BaseException) -> str:
    """What a log may say of an exception: its kind and where it came from, none of its values."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{it.filename.rpartition('/')[2]}:{it.lineno}" for it in reversed(frames[-6:]))
    return f"{type(error).__module__}.{type(error).__qualname__} at {where}"


async def _say(send: Send, status: int, why: str, path: str) -> None:
    body, kind = f"{status} {why}\n".encode(), b"text/plain; charset=utf-8"
    if path.startswith(f"{API}/"):
        value = problem(status, "refused-at-the-door", "the request goes no further", why, not_done="nothing changed")
        body, kind = canonical(value), PROBLEM.encode()
    # A connection whose request was not read to its end is of no more use.
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client went away")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise Refused(413, f"a body may have {most} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body once, then whatever else the client does."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return waiting.pop() if waiting else await receive()

    return once


def _same_origin(front: Front, headers: dict[str, list[str]]) -> None:
    """Every browser says with a form from where it is sent, and no page can say something else."""
    origins, site = headers.get("origin", []), headers.get("sec-fetch-site", ["same-origin"])
    if origins != [front.origin] or site != ["same-origin"]:
        raise Refused(403, "this came from a page of somebody else, or from no page")


def _from_a_script(scope: Scope, headers: dict[str, list[str]]) -> bool:
    """A call of the API without anything that a browser would add by itself: there is nothing to be misused."""
    return scope["path"].startswith(f"{API}/") and "cookie" not in headers


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _words(headers: dict[str, list[str]], name: str) -> list[str]:
    return [word for line in headers.get(name, []) for word in line.split(",")]


def _has_body(headers: dict[str, list[str]]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]


def _field(headers: dict[str, list[str]], body: bytes) -> str:
    kind = next(iter(headers.get("content-type", [])), "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return ""
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=100)
    except ValueError:
        return ""
    return found.get("csrf", [""])[0]


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(text: str, known: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in known)
