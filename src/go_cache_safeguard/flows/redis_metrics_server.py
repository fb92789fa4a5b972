"""The small HTTP server at which Prometheus asks for the numbers.

Knows:     one path, two methods, and that whoever is slow, silent or one too many is cut off.
Called by: `flows.redis_proxy`, in the event loop of the process that shows the numbers.
Never:     costs the guard's clients more than a few connections; keeps a connection for a second request; changes anything.
Source:    RFC 9110 and 9112. http.server, which prometheus_client starts, has a thread for each connection and no limit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import socket
from typing import cast

PATH = "/metrics"
MOST = 16
"""Connections at once; with one more the oldest one is cut off, so that silent ones cannot keep Prometheus out."""
_WHOLE_S = 5.0
_HEAD_BYTES = 8 << 10
_KEPT_S = 0.5
_PLAIN = "text/plain; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Text = Callable[[str], Awaitable[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants.

    Attributes:
        status: 200, or why not.
        method: GET, HEAD, or what came.
        accepts: The `Accept` header.
    """

    status: int
    method: str = "GET"
    accepts: str = ""


_WORDS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


def parse_request(data: bytes) -> Asked | None:
    """Read the head of a request; None if more has to come."""
    head, end, _ = data.partition(b"\r\n\r\n")
    if len(head) > _HEAD_BYTES:
        return Asked(431)
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return Asked(400)
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path = words[0], words[1].partition("?")[0]
    if path != PATH:
        return Asked(404, method)
    return Asked(200 if method in {"GET", "HEAD"} else 405, method, fields.get("accept", ""))


def answer(asked: Asked, content_type: str = _PLAIN, body: bytes = b"") -> bytes:
    """What is sent back, head and body."""
    body = body or f"{asked.status} {_WORDS[asked.status]}\n".encode()
    head = [
        f"HTTP/1.1 {asked.status} {_WORDS[asked.status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(["Allow: GET, HEAD"] if asked.status == 405 else []),
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (b"" if asked.method == "HEAD" else body)


class MetricsServer:
    """Listens at one place. All methods belong to the thread of the event loop."""

    def __init__(self, text: Text) -> None:
        """Make a server; it does not listen yet.

        Args:
            text: Makes the text for an `Accept` header: its content type and its bytes.
        """
        self._text = text
        self._server: asyncio.Server | None = None
        self._turn = asyncio.Lock()
        self._kept: dict[str, tuple[float, tuple[str, bytes]]] = {}
        self.open: dict[_Scrape, None] = {}  # in the order in which they came
        self.tasks: set[asyncio.Task[None]] = set()

    async def listen(self, bound: socket) -> str:
        """Answer whoever asks at a socket that is bound already.

        Returns:
            Where, as a URL.
        """
        server = await asyncio.get_running_loop().create_server(lambda: _Scrape(self), sock=bound, backlog=128)
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def close(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        for one in tuple(self.open):
            one.cut()

    async def text(self, accepts: str) -> tuple[str, bytes]:
        """The text; made once for all who ask at the same time."""
        form = _OPENMETRICS if "application/openmetrics-text" in accepts else "text/plain"
        async with self._turn:
            made_at, found = self._kept.get(form, (0.0, ("", b"")))
            if not found[0] or time.monotonic() - made_at > _KEPT_S:
                found = await self._text(form)
                self._kept[form] = time.monotonic(), found
        return found


class _Scrape(asyncio.Protocol):
    """One connection, for one request."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._head = b""
        self._asked = False
        self._end: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._end = asyncio.get_running_loop().call_later(_WHOLE_S, self.cut)
        if len(self._server.open) >= MOST:
            next(iter(self._server.open)).cut()
        self._server.open[self] = None

    def data_received(self, data: bytes) -> None:
        if self._asked:
            return
        self._head += data
        asked = parse_request(self._head)
        if asked is not None:
            self._asked, self._head = True, b""
            task = asyncio.get_running_loop().create_task(self._answer(asked))
            self._server.tasks.add(task)
            task.add_done_callback(self._server.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end.cancel()
        self._server.open.pop(self, None)

    def cut(self) -> None:
        """Let go, whatever goes on."""
        self._server.open.pop(self, None)
        self._transport.abort()

    async def _answer(self, asked: Asked) -> None:
        content = _PLAIN, b""
        if asked.status == 200:
            try:
                content = await self._server.text(asked.accepts)
            except Exception:  # noqa: BLE001 - whatever is wrong with a number, whoever asks is told, and the guard goes on
                asked = Asked(500, asked.method)
        self._transport.write(answer(asked, *content))
        self._transport.close()
