"""Tells open pages that something happened, as server-sent events; pages then ask for what is new themselves.

Knows:     how a stream of events looks, who may listen, and that one look at the journal serves all who listen.
Called by: `web.app`; the pages open `/live`.
Never:     says what happened: a number of a record at most. Lets somebody listen on whose session has ended.
Source:    the HTML standard, 9.2 (server-sent events): comments keep a connection open, `id` comes back as Last-Event-ID.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.web.site import Site, needs, tenant_of, visitor

LOOK_S = 0.5
"""How often the journal is looked at while somebody listens."""
BEAT_S = 15.0
"""After so long without news a comment is sent, and whoever listens is asked again who they are."""
LIFE_S = 600.0
"""A stream ends after so long; browsers come back by themselves."""
MOST = 500
"""Streams at once."""
EVENT = "journal-moved"
KIND = "text/event-stream"


class Pulse:
    """Looks at one journal for all who listen to it."""

    def __init__(self, look: Callable[[], int]) -> None:
        self.seq = 0
        self.listeners = 0
        self._look = look
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Somebody listens."""
        self.listeners += 1
        await self._see()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def end(self) -> None:
        """They do no more; with the last one, looking ends."""
        self.listeners -= 1
        if not self.listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def wait(self, seen: int, timeout_s: float) -> int:
        """Wait for a record after `seen`, no longer than this. Returns the newest number that is known."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self.seq > seen)
        return self.seq

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            with suppress(Failure):  # it may be readable soon; pages say so when they are asked for
                await self._see()

    async def _see(self) -> None:
        """Look, and wake all who wait for what is there."""
        seq = await run_in_threadpool(self._look)
        async with self._moved:
            if seq > self.seq:
                self.seq = seq
                self._moved.notify_all()


def routes(site: Site) -> list[BaseRoute]:
    """The stream."""
    pulses: dict[str, Pulse] = {}

    async def live(request: Request) -> Response:
        await run_in_threadpool(needs, request, "live")
        tenant, op = tenant_of(request), request.query_params.get("op", "")
        if op and not is_operation_id(op):
            raise HTTPException(404, "there is no such operation")
        if request.method == "HEAD":
            return Response(media_type=KIND)
        pulse = pulses.setdefault(tenant, Pulse(site.desks(tenant).last_seq))
        if sum(one.listeners for one in pulses.values()) >= MOST:
            raise HTTPException(503, "too many listen already", {"Retry-After": "60"})
        stream = _events(site, request, pulse, op)
        return StreamingResponse(stream, media_type=KIND, headers={"X-Accel-Buffering": "no"})

    return [Route("/live", live, methods=["GET"])]


async def _events(site: Site, request: Request, pulse: Pulse, op: str) -> AsyncIterator[str]:
    """A line for each record, as soon as it is there; for an operation, for each record of it."""
    desk = site.desks(tenant_of(request))
    seen = _since(request)
    end = asyncio.get_running_loop().time() + LIFE_S
    try:
        await pulse.begin()
        yield "retry: 2000\n: listening\n\n"
        while asyncio.get_running_loop().time() < end:
            now = await pulse.wait(seen, BEAT_S)
            if not await run_in_threadpool(_still_in, request):
                return
            if now <= seen:
                yield ": nothing new\n\n"
            elif not op or await run_in_threadpool(desk.moved_since, op, seen):
                yield f"id: {now}\nevent: {EVENT}\ndata: {now}\n\n"
            seen = max(now, seen)
    finally:
        pulse.end()


def _since(request: Request) -> int:
    """The last record that the page knows of; what the browser says when it comes back counts more."""
    text = request.headers.get("last-event-id") or request.query_params.get("since", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _still_in(request: Request) -> bool:
    """Ask again who listens: a session may have ended since."""
    request.scope.pop("safeguard.visitor", None)
    return visitor(request) is not None
