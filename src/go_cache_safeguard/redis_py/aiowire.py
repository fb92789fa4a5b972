"""The same for connections that are awaited.

Knows:     that the guard is asked in a worker thread, so that the event loop goes on.
Called by: the clients of `redis_py.asyncio`.
Never:     sends anything after its task was cancelled; keeps a connection open on which a reply may still come.
Source:    redis-py 8.1 asyncio/connection.py; CVE-2023-28858: after a cancelled call, the next one got its reply.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from go_cache_safeguard.redis.call import Answered, Pass
from go_cache_safeguard.redis_py.errors import ConnectionOutcomeUnknown, OutcomeUnknown, parse_error
from go_cache_safeguard.redis_py.guard import Guard
from go_cache_safeguard.redis_py.turnstile import Passage, Shape
from go_cache_safeguard.redis_py.wire import Watched, derived, joined, parser_like

_LOST = (RedisConnectionError, RedisTimeoutError)


class AsyncGuardedWire(Watched):
    """A connection that is awaited."""

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        """As in redis-py, without a look at the bytes where the words suffice."""
        above: Any = super()
        risky = self._quick_risk(args)
        if risky is None:
            await above.send_command(*args, **kwargs)
        elif risky:
            await self._send(above.pack_command(*args), kwargs.get("check_health", True))
        else:
            await above.send_packed_command(above.pack_command(*args), kwargs.get("check_health", True))

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As in redis-py, when every part of it may go.

        Raises:
            OperationHeld: Nothing was sent.
            OperationRefused: Nothing was sent.
            OutcomeUnknown: It could not be sent as a whole.
        """
        await self._ready(check_health=check_health)
        data = joined(command)
        passage = self._weigh(data)
        if passage is None:
            await self._send([data], check_health=False)
        elif await self._may_go(passage):
            await self._send([data], check_health=False)
            self._sent(passage)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As in redis-py.

        Raises:
            OutcomeUnknown: The reply is lost.
        """
        above: Any = super()
        if self._calm:
            return await above.read_response(*args, **kwargs)
        if self._lost is not None:
            raise self._lost
        if self._owed:
            return await self._pay(*args, **kwargs)
        try:
            response = await above.read_response(*args, **kwargs)
        except ResponseError:
            self._answered = True
            if self._turnstile.disagreed():
                await self.disconnect(nowait=True)
            raise
        except _LOST as error:
            if not self._counts(error):
                raise
            await self.disconnect(nowait=True)
            raise self._lose(error) from error
        self._answered = True
        self._turnstile.agreed()
        return response

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """As in redis-py."""
        above: Any = super()
        self._turnstile.closed()
        self._owed.clear()
        await above.disconnect(*args, **kwargs)

    async def _ready(self, *, check_health: bool) -> None:
        """Connect: what was selected there belongs to the call."""
        this: Any = self
        if not this.is_connected:
            await this.connect_check_health(check_health=False)
        if check_health:
            await this.check_health()

    async def _may_go(self, passage: Passage) -> bool:
        """Ask; False if the guard did it."""
        if passage.reply is not None:
            self._owe(passage, passage.reply)
            return False
        if passage.ask is None:
            return True
        try:
            answer = await asked(partial(self._decide, passage.ask))
        except BaseException:
            self._expect(risky=False)
            if passage.shape is Shape.EXEC:
                await self.disconnect(nowait=True)  # what waits for EXEC on the server must not stay
            raise
        match answer:
            case Pass():
                return True
            case Answered():
                if passage.shape is Shape.EXEC:
                    await self.disconnect(nowait=True)
                self._owe(passage, answer.reply)
        return False

    async def _send(self, command: Any, check_health: bool) -> None:  # noqa: FBT001 - redis-py's
        above: Any = super()
        if not self._risky:
            await above.send_packed_command(command, check_health)
            return
        await self._ready(check_health=check_health)
        self._risky, self._calm = True, False
        try:
            await above.send_packed_command(command, check_health=False)
        except _LOST as error:
            raise self._lose(error) from error

    async def _pay(self, disable_decoding: bool = False, *_args: Any, **_kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        parser = parser_like(self._parser, self._socket_read_size)
        parser.on_connect(_Heard(self.encoder, self._owed.popleft()))
        self._calm = not self._owed
        response = await parser.read_response(disable_decoding=disable_decoding)
        if isinstance(response, ResponseError):
            raise parse_error(response) or response
        return response


async def asked(decide: Callable[[Callable[[], bool]], Pass | Answered]) -> Pass | Answered:
    """Ask in a worker thread; when the task is cancelled, the gate is told that nobody waits any more."""
    gone = threading.Event()
    try:
        return await asyncio.to_thread(decide, gone.is_set)
    finally:
        gone.set()


class _Heard:
    """What a parser wants to know of a connection."""

    def __init__(self, encoder: Any, data: bytes) -> None:
        self.encoder = encoder
        self._reader = asyncio.StreamReader()
        self._reader.feed_data(data)
        self._reader.feed_eof()


class GuardedConnection(AsyncGuardedWire, Connection):
    """For pools and libraries that take a class of connection."""


class GuardedSSLConnection(AsyncGuardedWire, SSLConnection):
    """Likewise, encrypted."""


class GuardedUnixDomainSocketConnection(AsyncGuardedWire, UnixDomainSocketConnection):
    """Likewise, to a socket of this machine."""


@cache
def guarded(kind: type, ruled_by: Guard | None, unknown: type[OutcomeUnknown] = ConnectionOutcomeUnknown) -> type:
    """The class of connection that asks first; see `redis_py.wire.guarded`."""
    return derived(AsyncGuardedWire, kind, ruled_by, unknown)
