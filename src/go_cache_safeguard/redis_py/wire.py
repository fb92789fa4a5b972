"""The one place that every command of redis-py passes: a connection's `send_packed_command`.

Knows:     how a connection of redis-py becomes one that asks first, and how a reply that the guard got is read as if it were the
           server's own.
Called by: the guarded clients and pools, with whatever class of connection they use; `redis_py.aiowire` shares the part without I/O.
Never:     sends a part of what it was given, or sends something twice of which the reply was lost.
Source:    redis-py 6.4 and 8.1: clients, pipelines, scripts, locks, PubSub and cluster nodes all send through `send_command` or
           `send_packed_command`, and read through `read_response`. An `sendall` that fails did not hand over the last byte, so a
           single command, or a transaction, was not done then.
"""

import os
import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answered, Call, Pass
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis_py.errors import (
    ConnectionOutcomeUnknown,
    OutcomeUnknown,
    TimeoutOutcomeUnknown,
    parse_error,
)
from go_cache_safeguard.redis_py.guard import Guard, default_guard
from go_cache_safeguard.redis_py.once import once, was_answered
from go_cache_safeguard.redis_py.turnstile import Passage, Shape, Turnstile

_LOST = (RedisConnectionError, RedisTimeoutError)


class Watched:
    """What a guarded connection keeps, whether it waits or awaits. Comes before redis-py's own class.

    Attributes:
        ruled_by: The guard of this class; None for the one of the process.
        unknown: What is raised for a lost reply.
    """

    ruled_by: ClassVar[Guard | None] = None
    unknown: ClassVar[type[OutcomeUnknown]] = ConnectionOutcomeUnknown

    # What redis-py's classes bring.
    encoder: Any
    protocol: Any
    health_check_interval: Any
    host: str
    port: int
    _parser: Any
    _socket_read_size: int
    _sock: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._guard = self.ruled_by or default_guard()
        self._quick = self._guard.quick
        self._turnstile = Turnstile(self._guard, _this_process())
        self._owed: deque[bytes] = deque()  # replies that the guard got for us
        self._calm = True  # whether the next reply can be read as if there were no guard
        self._risky = False  # whether something may be lost by what was sent last
        self._answered = False  # whether a reply to it came already
        self._lost: OutcomeUnknown | None = None
        super().__init__(*args, **kwargs)
        encoder = self.encoder
        # Otherwise only the bytes tell what a text will be.
        self._is_usual = (
            encoder.encoding.lower().replace("_", "-") in {"utf-8", "utf8"}
            and encoder.encoding_errors == "strict"
            and not kwargs.get("command_packer")
        )

    @property
    def retry(self) -> Any:
        """As redis-py has it; never again after a lost reply."""
        return self._retry

    @retry.setter
    def retry(self, retry: Any) -> None:
        self._retry = once(retry)

    def _quick_risk(self, args: tuple[Any, ...]) -> bool | None:
        """Whether something may be lost by a call that is harmless by its form and its key; None if it has to be judged."""
        if not self._is_usual or self._turnstile.state.queued is not None:
            return None
        words = self._quick.get(args[0])
        if words is not None and words[0] <= len(args) <= words[1]:
            if not words[2]:
                if not self._calm:
                    self._expect(risky=False)
                return False
        elif not self._guard.is_timely(args):
            return None
        key = args[1]
        if not self._guard.is_fine(key if type(key) is str else bytes(self.encoder.encode(key))):
            return None
        if not self._risky or self._lost is not None or self._owed:
            self._expect(risky=True)
        self._answered = self._calm = False
        return True

    def _weigh(self, data: bytes) -> Passage | None:
        """What some bytes would do; None if all of it is harmless."""
        risky = self._guard.glance(data) if self._turnstile.is_steady else None
        if risky is not None:
            self._expect(risky=risky)
            return None
        passage = self._turnstile.weigh(data, resp=3 if str(self.protocol) == "3" else 2)
        self._expect(risky=passage.risky)
        return passage

    def _expect(self, *, risky: bool) -> None:
        self._risky, self._answered, self._lost = risky, False, None
        self._turnstile.before = None
        self._calm = not risky
        if self._owed:
            self._owed.clear()

    def _sent(self, passage: Passage) -> None:
        self._turnstile.sent(passage)
        self._calm = not self._risky and self._turnstile.before is None

    def _owe(self, passage: Passage, reply: bytes) -> None:
        self._owed.extend(passage.replies(reply))
        self._calm = self._risky = False

    def _lose(self, error: Exception) -> OutcomeUnknown:
        kind = self.unknown
        if kind is ConnectionOutcomeUnknown and isinstance(error, RedisTimeoutError):
            kind = TimeoutOutcomeUnknown
        self._lost = kind(f"{error}: the reply is lost, and something may be; it was not sent again")
        return self._lost

    def _counts(self, error: BaseException) -> bool:
        """Whether an error of the connection leaves open what was done."""
        return self._risky and not (was_answered(error) and not self._answered)

    def _decide(self, ask: tuple[Call, Intent], abandoned: Callable[[], bool] | None = None) -> Pass | Answered:
        call, intent = ask
        return self._guard.decide(self._address(), call, intent, abandoned=abandoned)

    def _address(self) -> Address:
        if path := getattr(self, "path", ""):
            return Address(path=path)
        return Address(host=self.host, port=int(self.port), tls=hasattr(self, "cert_reqs"))


class GuardedWire(Watched):
    """A connection that waits."""

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """As in redis-py, without a look at the bytes where the words suffice."""
        above: Any = super()
        risky = self._quick_risk(args)
        if risky is None:
            above.send_command(*args, **kwargs)
        elif risky:
            self._send(above.pack_command(*args), kwargs.get("check_health", True), whole=True)
        else:
            above.send_packed_command(above.pack_command(*args), kwargs.get("check_health", True))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As in redis-py, when every part of it may go.

        Raises:
            OperationHeld: Nothing was sent.
            OperationRefused: Nothing was sent.
            OutcomeUnknown: It could not be sent as a whole.
        """
        self._ready(check_health=check_health)
        data = joined(command)
        passage = self._weigh(data)
        if passage is None:
            self._send([data], check_health=False)
        elif self._may_go(passage):
            self._send([data], check_health=False, whole=passage.is_one)
            self._sent(passage)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As in redis-py.

        Raises:
            OutcomeUnknown: The reply is lost.
        """
        above: Any = super()
        if self._calm:
            return above.read_response(*args, **kwargs)
        if self._lost is not None:
            raise self._lost
        if self._owed:
            return self._pay(*args, **kwargs)
        try:
            response = above.read_response(*args, **kwargs)
        except ResponseError:
            self._answered = True
            if self._turnstile.disagreed():
                self.disconnect()
            raise
        except _LOST as error:
            if not self._counts(error):
                raise
            self.disconnect()
            raise self._lose(error) from error
        self._answered = True
        if self._turnstile.before is not None:
            self._turnstile.agreed()
        return response

    def connect(self) -> None:
        """As in redis-py."""
        above: Any = super()
        if not self._sock:
            above.connect()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """As in redis-py."""
        above: Any = super()
        self._turnstile.closed()
        self._owed.clear()
        above.disconnect(*args, **kwargs)

    def _ready(self, *, check_health: bool) -> None:
        """Connect: what was selected there belongs to the call."""
        this: Any = self
        if not self._sock:
            this.connect_check_health(check_health=False)
        if check_health:
            this.check_health()

    def _may_go(self, passage: Passage) -> bool:
        """Ask; False if the guard did it."""
        if passage.reply is not None:
            self._owe(passage, passage.reply)
            return False
        if passage.ask is None:
            return True
        try:
            answer = self._decide(passage.ask)
        except BaseException:
            self._expect(risky=False)
            if passage.shape is Shape.EXEC:
                self.disconnect()  # what waits for EXEC on the server must not stay
            raise
        match answer:
            case Pass():
                return True
            case Answered():
                if passage.shape is Shape.EXEC:
                    self.disconnect()
                self._owe(passage, answer.reply)
        return False

    def _send(self, command: Any, check_health: bool, *, whole: bool = False) -> None:  # noqa: FBT001 - redis-py's
        above: Any = super()
        if not self._risky:
            above.send_packed_command(command, check_health)
            return
        if not self._sock or (check_health and self.health_check_interval):
            self._ready(check_health=check_health)
            self._risky, self._calm = True, False
        try:
            above.send_packed_command(command, check_health=False)
        except _LOST as error:
            if whole:
                raise
            raise self._lose(error) from error

    def _pay(self, disable_decoding: bool = False, **_kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        parser = parser_like(self._parser, self._socket_read_size)
        parser.on_connect(_Heard(self.encoder, self._owed.popleft()))
        self._calm = not self._owed
        response = parser.read_response(disable_decoding=disable_decoding)
        if isinstance(response, ResponseError):
            raise parse_error(response) or response
        return response


class _Memory:
    """A socket that has received something, and will receive nothing more."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        taken = self.recv(size or len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def settimeout(self, timeout_s: float | None) -> None:
        """There is nothing to wait for."""


class _Heard:
    """What a parser wants to know of a connection."""

    def __init__(self, encoder: Any, data: bytes) -> None:
        self.encoder = encoder
        self.socket_timeout = None
        self._sock = _Memory(data)


def parser_like(parser: Any, read_size: int) -> Any:
    """Another parser that takes the same errors for the same classes."""
    made = type(parser)(socket_read_size=read_size)
    if "EXCEPTION_CLASSES" in getattr(parser, "__dict__", {}):
        made.EXCEPTION_CLASSES = parser.EXCEPTION_CLASSES
    return made


def joined(command: Any) -> bytes:
    """The bytes that redis-py would send one after the other."""
    if isinstance(command, str):
        return command.encode()
    if isinstance(command, bytes):
        return command
    return b"".join(command)


def _this_process() -> str:
    program = sys.argv[0] if sys.argv else ""
    return f"pid {os.getpid()} ({Path(program).name or 'python'})"


class GuardedConnection(GuardedWire, Connection):
    """For pools and libraries that take a class of connection."""


class GuardedSSLConnection(GuardedWire, SSLConnection):
    """Likewise, encrypted."""


class GuardedUnixDomainSocketConnection(GuardedWire, UnixDomainSocketConnection):
    """Likewise, to a socket of this machine."""


@cache
def guarded(kind: type, ruled_by: Guard | None, unknown: type[OutcomeUnknown] = ConnectionOutcomeUnknown) -> type:
    """The class of connection that asks first.

    Args:
        kind: Any class of redis-py's connections that wait, or one derived from it.
        ruled_by: Whose rules are kept; None for the process' own.
        unknown: What is raised for a lost reply.
    """
    return derived(GuardedWire, kind, ruled_by, unknown)


def derived(above: type, kind: type, guard: Guard | None, unknown: type[OutcomeUnknown]) -> type:
    """Put `above` before a class of connection; a class that is guarded already stays as it is."""
    if issubclass(kind, Watched):
        return kind
    about = {"ruled_by": guard, "unknown": unknown, "__module__": __name__}
    return type(f"Guarded{kind.__name__}", (above, kind), about)
