"""The proxy's sockets: clients on one side, the server on the other, one connection there for each one here.

Knows:     how bytes are carried both ways without more of them in memory than the slower side allows, when a connection is closed, and
           that the gate thinks in threads of its own.
Called by: `flows.redis_proxy`.
Never:     looks into what it carries: `redis.conversation` does. Connects a client again to another server: what it had said before
           (database, user, transaction) would be gone, and a lost reply would be hidden.
Source:    asyncio's transports and protocols; uvloop implements the same interface.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, cast

from go_cache_safeguard.redis.call import Answer, Call, Gate, Refused
from go_cache_safeguard.redis.conversation import Conversation, Setting
from go_cache_safeguard.redis.fast import KeysSeen
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis.lane import Send, lane, sender
from go_cache_safeguard.redis.proxyheader import HeaderError, parse_header
from go_cache_safeguard.redis.tap import Tap

_HIGH_WATER = 512 << 10
_SWEEP_S = 1.0
_QUIET_S = 0.2
_FULL = b"-ERR max number of clients reached\r\n"
_BACKLOG = 4096
_LINGER_S = 5.0
_UNREACHABLE = b"-ERR the guard cannot reach the server\r\n"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the server is.

    Attributes:
        host: Its name or address; unused with a path.
        port: Its TCP port.
        path: Of its Unix socket; empty for TCP.
        tls: How TLS is spoken to it; None for none.
        name: As which the server's certificate is checked.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    tls: SSLContext | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients come in.

    Attributes:
        host: The address to bind to.
        port: 0 for any free one.
        path: Of a Unix socket instead.
        tls: How TLS is spoken with clients; None for none.
        shared: Whether other processes listen on the same port, and the kernel chooses among them.
        bound: A socket that is bound already, instead of all this.
        header: Whether each connection begins with a PROXY protocol header.
    """

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    tls: SSLContext | None = None
    shared: bool = False
    bound: socket.socket | None = None
    header: bool = False


@dataclass(frozen=True, slots=True)
class Ceilings:
    """How much one proxy takes on.

    Attributes:
        connections: At once.
        connect_s: Seconds that the server may take to accept a connection.
        idle_s: Seconds after which a connection without any traffic is closed; 0 for never.
        stall_s: Seconds that a client may take for the next piece of a request, or of a reply that waits for it; 0 for ever.
        deciding: Calls that the gate may think about at once; others wait for their turn.
        held_bytes: Of requests that are not sent on yet, of all clients; whoever has the most of them is closed when there are more.
    """

    connections: int = 10_000
    connect_s: float = 10
    idle_s: float = 0
    stall_s: float = 60
    deciding: int = 32
    held_bytes: int = 1 << 30


@dataclass(slots=True)
class Counts:
    """What went on since the start.

    Attributes:
        connections: Accepted.
        turned_away: Because there were too many.
        asked: Calls that the gate was asked about.
        answers: Of the gate, by the name of their kind.
        broken: Connections that were closed for what they sent.
    """

    connections: int = 0
    turned_away: int = 0
    asked: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    broken: int = 0


class Proxy:
    """Any number of listeners in front of one server. All methods belong to the thread of the event loop.

    Attributes:
        upstream: For connections from now on.
        ahead_ms: How far the server's clock is ahead of ours.
        counts: What went on.
    """

    def __init__(
        self,
        setting: Setting,
        gate: Gate,
        upstream: Upstream,
        ceilings: Ceilings | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.upstream = upstream
        self.ahead_ms = 0
        self.counts = Counts()
        self.setting = setting
        self.seen = KeysSeen(setting.names_ok)
        self.ceilings = ceilings or Ceilings()
        self.gate = gate
        self.say = say
        self.clients: set[_Client] = set()
        self.threads = ThreadPoolExecutor(self.ceilings.deciding, thread_name_prefix="gate")
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, where: Listen) -> str:
        """Accept clients.

        Returns:
            Where, for people: `127.0.0.1:6380`, or the path.

        Raises:
            OSError: The address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        tls: Any = {"ssl": where.tls, "ssl_handshake_timeout": self.ceilings.connect_s if where.tls else None}

        def client() -> _Client:
            return _Client(self, header=where.header)

        if where.path:
            place: Any = {"path": where.path} if where.bound is None else {"sock": where.bound}
            server = await loop.create_unix_server(client, **place, backlog=_BACKLOG, **tls)
        elif where.bound is not None:
            server = await loop.create_server(client, sock=where.bound, backlog=_BACKLOG, **tls)
        else:
            shared = where.shared or None
            server = await loop.create_server(
                client, where.host, where.port, reuse_port=shared, backlog=_BACKLOG, **tls
            )
        self._listeners.append(server)
        if self._sweeper is None:
            self._sweep()
        if where.path:
            return where.path
        host, port = server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def now_ms(self) -> int:
        """The server's clock, as far as we know it: milliseconds since 1970-01-01 UTC."""
        return int(time.time() * 1000) + self.ahead_ms

    def reload(self, setting: Setting) -> None:
        """Use other rules, for all connections, from their next request on."""
        self.setting, self.seen = setting, KeysSeen(setting.names_ok)
        for client in self.clients:
            client.talk.replace_setting(setting, self.seen)

    def hang_up(self, why: str) -> None:
        """Close every connection, for example because the server is no longer the right one."""
        for client in tuple(self.clients):
            client.close(why)

    async def drain(self, timeout_s: float) -> int:
        """Accept nothing more, and close each connection when nothing goes on there.

        Returns:
            Connections that had to be closed in the middle of something when the time was over.
        """
        for listener in self._listeners:
            listener.close()
        until = time.monotonic() + timeout_s
        while self.clients and time.monotonic() < until:
            now = time.monotonic()
            for client in tuple(self.clients):
                if client.talk.idle and client.lane.heard and now - client.lane.last > _QUIET_S:
                    client.close("")
            await asyncio.sleep(_QUIET_S / 4)
        left = len(self.clients)
        self.hang_up("the guard stops")
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)
        self.threads.shutdown(wait=False, cancel_futures=True)
        return left

    def _sweep(self) -> None:
        """Close who has been silent for too long."""
        now, ceilings, held = time.monotonic(), self.ceilings, 0
        largest: tuple[int, _Client | None] = (0, None)
        for client in tuple(self.clients):
            size = client.held_bytes
            held += size
            if size > largest[0]:
                largest = size, client
            if client.lane.traffic:
                client.heard_at, client.lane.traffic = now, False
            silent = now - client.lane.last
            if client.closed:
                if silent > max(ceilings.stall_s, _LINGER_S):
                    client.abort()
            elif ceilings.stall_s and silent > ceilings.stall_s and client.stalls:
                client.close("a client did not go on with what it had begun")
            elif (
                ceilings.idle_s and now - max(client.lane.last, client.heard_at) > ceilings.idle_s and client.talk.reads
            ):
                client.close("")
        if held > ceilings.held_bytes and largest[1] is not None:
            largest[1].close("all requests together are larger than allowed, and this client's are the largest")
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)


def _sender(transport: asyncio.Transport) -> Send:
    """How bytes are sent: at once, where no TLS has to be spoken.

    uvloop would keep them until it has read all other sockets at which something came, and let the other side wait for so long.
    """
    later = transport.write
    if transport.get_extra_info("sslcontext") is not None:
        return later
    place = transport.get_extra_info("socket").fileno()
    return sender(place, transport.get_write_buffer_size, transport.is_closing, later)


class _Client(asyncio.BaseProtocol):
    """One client's socket."""

    data_received: Callable[[bytes], None]
    __slots__ = (
        "_early",
        "_full",
        "_headed",
        "_opening",
        "_proxy",
        "_tap",
        "_transport",
        "closed",
        "data_received",
        "heard_at",
        "lane",
        "server",
        "talk",
    )

    def __init__(self, proxy: Proxy, *, header: bool) -> None:
        self.talk: Conversation
        self.lane = lane(self._received, self._server_said)
        self.data_received = self.lane.client_sent
        self.lane.last = self.heard_at = time.monotonic()
        self._headed = not header  # who the client is has been said
        self.server: _Server | None = None
        self._proxy = proxy
        self._transport: asyncio.Transport
        self._tap: Tap
        self._opening: asyncio.Task[None] | None = None
        self._full = False  # the server does not take more bytes now
        self.closed = False
        self._early = b""  # what came before the server could take it

    @property
    def held_bytes(self) -> int:
        """How much of its requests lies in memory."""
        return len(self._early) + self.talk.held_bytes

    @property
    def stalls(self) -> bool:
        """Whether this side is to go on: with its request, or with reading what waits for it."""
        return not self._headed or self.talk.partial or (self.server is not None and self.server.full)

    # Of asyncio.Protocol, `data_received` being the lane's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        proxy = self._proxy
        self._transport = cast("asyncio.Transport", transport)
        if len(proxy.clients) >= proxy.ceilings.connections:
            proxy.counts.turned_away += 1
            self.closed = True
            self._transport.write(_FULL)
            self._transport.close()
            return
        proxy.counts.connections += 1
        proxy.clients.add(self)
        self._tap = Tap(self._transport, self.lane.client_ready)
        peer = transport.get_extra_info("peername")
        where = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
        self.lane.to_client = _sender(self._transport)
        self.talk = Conversation(proxy.setting, proxy.seen, os.urandom, proxy.now_ms, where, lane=self.lane)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        if self._headed:
            self._begin()

    def _received(self, data: bytes) -> None:
        """Bytes of the client that did not go by."""
        if self.closed:
            return
        self.lane.last, self.lane.heard = time.monotonic(), False
        server, talk = self.server, self.talk
        if server is None:
            # A transport may read once more although it was paused before.
            self._early += data
            if self._headed:
                self._tap.shut()
            else:
                self._read_header()
            return
        sent = talk.client_sent(data)
        if sent:
            server.send(sent)
        if not talk.reads:
            self._look()

    def _server_said(self, data: bytes) -> None:
        """Bytes of the server that did not go by."""
        talk, lane = self.talk, self.lane
        out = talk.server_sent(data)
        if out and lane.to_client is not None:
            lane.heard = lane.traffic = True
            lane.to_client(out)
        sent = talk.go_on()
        if sent and self.server is not None:
            self.server.send(sent)
        self._look()

    def eof_received(self) -> bool:
        server = self.server
        if server is None or not self.talk.reads or not server.can_half_close:
            return False
        server.half_close()
        return True

    def pause_writing(self) -> None:
        if self.server is not None:
            self.server.pause()

    def resume_writing(self) -> None:
        self.lane.last = time.monotonic()
        if self.server is not None:
            self.server.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._shut()
        if self in self._proxy.clients:
            self._tap.give_back()
            self._proxy.clients.remove(self)
        if self._opening is not None:
            self._opening.cancel()
        if self.server is not None:
            self.server.close()

    # For the other side

    def set_full(self, *, full: bool) -> None:
        """Whether the server takes no more bytes now."""
        self._full = full
        self._breathe()

    def close(self, why: str) -> None:
        """Hang up, on both sides, after what was to be sent."""
        if self.closed:
            return
        self._shut()
        self._tap.shut()
        if why:
            self._proxy.say(f"{self.talk.client}: {why}")
        self._transport.close()
        if self.server is not None:
            self.server.close()

    def abort(self) -> None:
        """Let go of a client that does not take what it was sent last."""
        self._transport.abort()

    def _shut(self) -> None:
        """What the client sends from now on goes nowhere."""
        self.closed, self.lane.to_server = True, None

    def _look(self) -> None:
        """See what the conversation wants: the gate, an end, more bytes or none."""
        talk = self.talk
        if talk.over:
            if talk.why:
                self._proxy.counts.broken += 1
            self.close(talk.why)
            return
        if talk.asked is not None:
            asked, talk.asked = talk.asked, None
            self._ask(*asked)
        self._breathe()

    def _read_header(self) -> None:
        """Take what the load balancer says, then connect to the server."""
        try:
            header = parse_header(self._early)
        except HeaderError as error:
            self._proxy.counts.broken += 1
            self.close(str(error))
            return
        if header is None:
            return
        self._headed, self._early = True, self._early[header.length :]
        self.talk.client = header.source or self.talk.client
        self._begin()

    def _begin(self) -> None:
        self._tap.shut()
        self._opening = asyncio.get_running_loop().create_task(self._open())
        self._opening.add_done_callback(self._opened)

    def _breathe(self) -> None:
        if self.closed or self._transport.is_closing():
            return
        if self._full or self.server is None or not self.talk.reads:
            self._tap.shut()
        else:
            self._tap.open()

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        """Nobody may wait for ever because of a fault of ours."""
        if not opening.cancelled() and (error := opening.exception()) is not None:
            self.close(f"the guard failed: {error!r}")

    async def _open(self) -> None:
        """Connect to the server, then let the client speak."""
        upstream, loop = self._proxy.upstream, asyncio.get_running_loop()
        server = _Server(self)
        try:
            async with asyncio.timeout(self._proxy.ceilings.connect_s):
                if upstream.path:
                    await loop.create_unix_connection(lambda: server, upstream.path, ssl=upstream.tls)
                else:
                    await loop.create_connection(
                        lambda: server, upstream.host, upstream.port, ssl=upstream.tls, server_hostname=upstream.name
                    )
        except (OSError, TimeoutError) as error:
            self._transport.write(_UNREACHABLE)
            self.close(f"the server cannot be reached: {str(error) or 'it took too long'}")
            return
        self._opening = None
        if self.closed:
            server.close()
            return
        self.server, self.lane.to_server = server, server.send
        server.resume()
        early, self._early = self._early, b""
        if early:
            self._received(early)
        self._breathe()

    def _ask(self, call: Call, intent: Intent) -> None:
        proxy = self._proxy
        proxy.counts.asked += 1
        loop = asyncio.get_running_loop()
        thinking = loop.run_in_executor(proxy.threads, _decide, proxy.gate, call, intent, self._gone)
        thinking.add_done_callback(self._answered)

    def _gone(self) -> bool:
        """Whether the client has hung up; called by threads of the gate, while nothing is read from it."""
        if self.closed:
            return True
        poller = select.poll()
        try:
            poller.register(self._transport.get_extra_info("socket"), select.POLLRDHUP)
        except (OSError, TypeError, ValueError):
            return True
        return bool(poller.poll(0))

    def _answered(self, thinking: "asyncio.Future[Answer]") -> None:
        if thinking.cancelled():
            self.close("the guard stops")
            return
        answer = thinking.result()
        kinds, kind = self._proxy.counts.answers, type(answer).__name__.lower()
        kinds[kind] = kinds.get(kind, 0) + 1
        if self.closed or self.server is None:
            return
        sent = self.talk.decided(answer)
        if sent:
            self.server.send(sent)
        self._look()


def _decide(gate: Gate, call: Call, intent: Intent, gone: Callable[[], bool]) -> Answer:
    """Ask the gate; whatever goes wrong there, the call does not go through."""
    try:
        return gate.decide(call, intent, abandoned=gone)
    except Exception as error:  # noqa: BLE001 - an unforeseen failure must not let anything pass, nor end the proxy
        return Refused(f"the guard could not decide: {str(error) or type(error).__name__}")


class _Server(asyncio.BaseProtocol):
    """The socket to the server that belongs to one client."""

    data_received: Callable[[bytes], None]
    __slots__ = ("_client", "_tap", "_transport", "data_received", "full", "send")

    def __init__(self, client: _Client) -> None:
        self.send: Send = bytes  # bytes for the server; goes nowhere before the connection is made
        self.full = False  # the client does not take more bytes now
        self.data_received = client.lane.server_sent
        self._client = client
        self._tap: Tap | None = None
        self._transport: asyncio.Transport | None = None

    # Of asyncio.Protocol, `data_received` being the lane's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.send = _sender(self._transport)
        self._tap = Tap(self._transport, self._client.lane.server_ready)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._client.set_full(full=True)

    def resume_writing(self) -> None:
        self._client.set_full(full=False)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._tap is not None:
            self._tap.give_back()
        self._client.close("")

    # For the other side

    @property
    def can_half_close(self) -> bool:
        """Whether the server can be told that nothing more comes, and still answer."""
        return self._transport is not None and self._transport.can_write_eof()

    def half_close(self) -> None:
        """Nothing more comes."""
        if self._transport is not None:
            self._transport.write_eof()

    def pause(self) -> None:
        """Read nothing more: the client is slower."""
        self.full = True
        if self._tap is not None:
            self._tap.shut()

    def resume(self) -> None:
        """Read again."""
        self.full = False
        if self._tap is not None:
            self._tap.open()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None and self._tap is not None:
            self._tap.shut()
            self._transport.close()
