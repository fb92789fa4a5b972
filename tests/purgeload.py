"""Services under load that depend on a cache: 400 requests a second, and behind the cache a database that bears 240.

A process of its own. It fills the server, prints `ready`, serves requests until its standard input ends, and then prints what every
second was like. Spans of both services go into the embedded store, redacted by nobody: there is nothing in them.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool, UnixDomainSocketConnection

from go_cache_safeguard.signals.span import Kind, Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore

RATE = 400
KEYS = 4_000
SLOTS = 12
WORK_S = 0.05
PATIENCE_S = 0.25
"""Whoever asked has gone after this, and the request has failed; a query that has begun goes on."""
_FLUSH_S = 0.2


@dataclass(slots=True)
class _Shop:
    cache: "Redis"
    store: SpanStore
    chance: Random
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))
    spans: list[Span] = field(default_factory=list)
    seconds: dict[int, list[int]] = field(default_factory=dict)

    async def serve(self) -> None:
        """One request: from the cache, or from the database and then into the cache."""
        began_ns, key = time.time_ns(), f"page:{self.chance.randrange(KEYS):05}"
        failed = False
        if await self.cache.get(key) is None:
            failed = not await self._made(key)
        self._tell("shop", began_ns, failed=failed)
        second = self.seconds.setdefault(time.time_ns() // 10**9, [0, 0])
        second[0] += 1
        second[1] += failed

    async def _made(self, key: str) -> bool:
        asked = time.monotonic()
        try:
            await asyncio.wait_for(self.slots.acquire(), PATIENCE_S)
        except TimeoutError:
            return False
        began_ns = time.time_ns()
        try:
            await asyncio.sleep(WORK_S)
            await self.cache.set(key, f"content of {key}")
        finally:
            self.slots.release()
        self._tell("db", began_ns, failed=False)
        return time.monotonic() - asked < PATIENCE_S

    def _tell(self, service: str, began_ns: int, *, failed: bool) -> None:
        status = Status.ERROR if failed else Status.OK
        self.spans.append(
            Span(
                trace_id=self.chance.randbytes(16),
                span_id=self.chance.randbytes(8),
                parent_id=b"",
                name="GET",
                kind=Kind.SERVER,
                service=service,
                tenant="",
                start_ns=began_ns,
                end_ns=time.time_ns(),
                status=status,
                message="",
            )
        )

    async def keep_spans(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            spans, self.spans = self.spans, []
            if spans:
                self.store.put(spans, observe=True)


async def _main(path: str, store: str) -> None:
    pool = BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=path, max_connections=100)
    cache = Redis(connection_pool=pool)
    await cache.mset({f"page:{n:05}": f"content of page:{n:05}" for n in range(KEYS)})
    Path(store).parent.mkdir(parents=True, exist_ok=True)
    with SpanStore(Path(store)) as spans:
        shop = _Shop(cache, spans, Random(7))  # noqa: S311 - which page is asked for is no secret
        keeper = asyncio.create_task(shop.keep_spans())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        requests: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        while not over.done():
            number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            request = asyncio.create_task(shop.serve())
            requests.add(request)
            request.add_done_callback(requests.discard)
        await asyncio.gather(*requests)
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
    await cache.aclose()
    await pool.disconnect()
    sys.stdout.write(json.dumps({str(second): counts for second, counts in shop.seconds.items()}))


@dataclass(slots=True)
class Load:
    """What the services had to bear; known when the load is over.

    Attributes:
        seconds: From a second since 1970 to requests and failures that ended in it.
    """

    seconds: dict[int, tuple[int, int]] = field(default_factory=dict)

    def errors(self) -> float:
        """Share of all requests that failed."""
        return sum(failed for _, failed in self.seconds.values()) / sum(all_ for all_, _ in self.seconds.values())

    def worst(self) -> float:
        """The greatest share of a whole second's requests that failed."""
        return max(failed / requests for requests, failed in self.seconds.values() if requests >= RATE // 4)


@contextmanager
def loaded(path: str, store: Path) -> Iterator[Load]:
    """Have services under load as long as this is entered.

    Args:
        path: Socket of the server.
        store: File of the store of spans.
    """
    load = Load()
    with subprocess.Popen(
        [sys.executable, __file__, path, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            assert child.stdout.readline() == "ready\n"
            yield load
            child.stdin.close()
            found = json.loads(child.stdout.read())
        except BaseException:
            child.kill()
            raise
    load.seconds = {int(second): (counts[0], counts[1]) for second, counts in found.items()}


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
