"""The proxy before a real server, in this process, with a gate that does what a test says."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from go_cache_safeguard.redis.call import Answer, Call, Held, Pass
from go_cache_safeguard.redis.checks.names import may_lose
from go_cache_safeguard.redis.conversation import Setting
from go_cache_safeguard.redis.fast import fast_calls
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis.proxy import Ceilings, Listen, Proxy, Upstream
from go_cache_safeguard.redis.resp import Limits, RequestReader
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.tablefile import load_table
from redisservers import Client, Server

_WAIT_S = 30


@dataclass
class Gatekeeper:
    """Answers as told, and remembers what it was asked."""

    answer: Callable[[Call, Intent], Answer] = lambda _call, _intent: Held("op_test", "a person decides")
    calls: list[Call] = field(default_factory=list)

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        del abandoned
        self.calls.append(call)
        return self.answer(call, intent)


def letting_through(_call: Call, _intent: Intent) -> Answer:
    return Pass()


def setting_of(
    rules: Rules, *, limits: Limits | None = None, reply_off: bool = False, stream_bytes: int = 256 << 10
) -> Setting:
    table = load_table()
    return Setting(
        table=table,
        rules=rules,
        fast=fast_calls(table, rules, soon_ms=1_000),
        names_ok=partial(may_lose, rules=rules),
        limits=limits or Limits(),
        reply_off=reply_off,
        stream_bytes=stream_bytes,
    )


@dataclass
class Proxied:
    """A proxy that runs.

    Attributes:
        proxy: Belongs to the loop's thread: use `run`.
        path: Its socket.
        said: What it told people.
    """

    proxy: Proxy
    path: str
    loop: asyncio.AbstractEventLoop
    said: list[str]

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.path)
        try:
            yield client
        finally:
            client.close()

    def run(self, what: Callable[[], None]) -> None:
        """Do something in the loop's thread, and wait for it."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(what)
        self.loop.call_soon_threadsafe(done.set)
        assert done.wait(_WAIT_S)

    def drain(self, timeout_s: float) -> int:
        return asyncio.run_coroutine_threadsafe(self.proxy.drain(timeout_s), self.loop).result(_WAIT_S)


@contextmanager
def proxied(
    server: Server, directory: Path, gate: Gatekeeper, setting: Setting | None = None, ceilings: Ceilings | None = None
) -> Iterator[Proxied]:
    """Run a proxy before a server; it listens on a Unix socket in the directory."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    said: list[str] = []
    proxy = Proxy(setting or setting_of(Rules()), gate, Upstream(path=server.path), ceilings, say=said.append)
    path = str(directory / "p")
    try:
        asyncio.run_coroutine_threadsafe(proxy.listen(Listen(path=path)), loop).result(_WAIT_S)
        yield Proxied(proxy, path, loop, said)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.drain(0), loop).result(_WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WAIT_S)
        loop.close()


class Recorder:
    """Stands between the proxy and the server, and keeps every byte that the server was sent."""

    def __init__(self) -> None:
        self.sent: list[bytearray] = []
        self.listens = threading.Event()

    def commands(self) -> list[tuple[bytes, ...]]:
        """All commands that the server was sent to be done, on all connections; what DISCARD took back is none of them."""
        found: list[tuple[bytes, ...]] = []
        for stream in self.sent:
            reader = RequestReader()
            queued: list[tuple[bytes, ...]] | None = None
            for request in reader.feed(bytes(stream)):
                match request.args[0].upper():
                    case b"MULTI":
                        queued = []
                    case b"EXEC" | b"DISCARD" as end:
                        found += queued or [] if end == b"EXEC" else []
                        queued = None
                    case _:
                        (found if queued is None else queued).append(request.args)
            assert reader.refused is None, "the server was sent what is not canonical"
            assert reader.pending == 0
        return found

    async def serve(self, server: str, path: str, until: asyncio.Event) -> None:
        """Listen, and carry bytes both ways, until somebody says that it is enough."""
        listening = await asyncio.start_unix_server(partial(self._carry_both, server), path)
        async with listening:
            self.listens.set()
            await until.wait()

    async def _carry_both(self, server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent.append(bytearray())
        replies, requests = await asyncio.open_unix_connection(server)
        try:
            there = _carry(reader, requests, self.sent[-1])
            await asyncio.gather(there, _carry(replies, writer, bytearray()), return_exceptions=True)
        finally:
            for one in (requests, writer):
                one.close()


async def _carry(source: asyncio.StreamReader, goal: asyncio.StreamWriter, kept: bytearray) -> None:
    while data := await source.read(65_536):
        kept += data
        goal.write(data)
        await goal.drain()
    goal.close()


@contextmanager
def recorded(server: Server, directory: Path) -> Iterator[tuple[Server, Recorder]]:
    """A stand-in for a server that records what it is sent."""
    recorder, path, until = Recorder(), str(directory / "r"), asyncio.Event()
    loop = asyncio.new_event_loop()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(recorder.serve(server.path, path, until))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert recorder.listens.wait(_WAIT_S)
        yield Server(server.name, path, server.pid), recorder
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(_WAIT_S)
