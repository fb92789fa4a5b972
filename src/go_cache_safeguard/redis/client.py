"""One connection to a server, of the guard's own.

Knows:     how keys are looked at, captured and removed so that no write is lost, and put back.
Called by: `flows`.
Never:     sends a command twice, or connects again by itself: after a lost reply nobody knows what was done, and a new connection
           watches nothing. Never asks KEYS.
Source:    WATCH, MULTI, EXEC of Redis 2.2 and later; PEXPIRETIME since 7.0, before that TIME and PTTL, one after the other in one
           pipeline. DUMP, PTTL and PEXPIRETIME count as look-ups, MEMORY USAGE, SCAN and WATCH do not (Redis 6.2.14, 7.0.15,
           Valkey 9.1.2). A script could dump and unlink at once, but the copy has to be on disk *before* the key goes.
"""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.retry import Retry

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.info import Info, parse_info
from go_cache_safeguard.redis.trash import Captured

PIPELINE = 1_000
"""Commands that are sent before replies are read."""
AT_ONCE = 16 << 20
"""Bytes of values that are asked for at once, by the server's estimate; a single larger one comes alone."""
GONE, FOREVER = -2, -1
"""Instead of a time: the key is not there, it never ends."""

Word = bytes | str | int
# Their types say too little: a tuple of one word, a socket that needs a host.
_PACK: Any = pack_command
_SOCKET: Any = UnixDomainSocketConnection
_PLAIN: Any = Connection
_TLS: Any = SSLConnection


class ServerUnreachable(Failure):
    """The server cannot be asked."""

    id = "redis-unreachable"
    exit_code = ExitCode.TARGET
    meaning = "the Redis or Valkey server cannot be reached, or does not let us in"


class ReplyLost(Failure):
    """The connection ended before a reply came."""

    id = "redis-reply-lost"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "the connection to the Redis or Valkey server ended before its reply came"


class ServerRefuses(Failure):
    """The server answered with an error."""

    id = "redis-refuses"
    exit_code = ExitCode.TARGET
    meaning = "the Redis or Valkey server answered with an error"


class Link(Protocol):
    """What a removal needs of one server, or of all nodes of a cluster; see `Server` for what each means."""

    @property
    def address(self) -> Address:
        """Where."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infos(self) -> list[Info]:
        """What each node says of itself."""

    def now_ms(self) -> int:
        """The server's clock."""

    def slot_of(self, key: bytes) -> int:
        """Keys of one slot can go together."""

    def select(self, db: int) -> None:
        """Choose a database."""

    def scan(self, pattern: bytes | None = None) -> Iterator[list[bytes]]:
        """Names of keys."""

    def look(self, keys: Sequence[bytes]) -> "list[Looked]":
        """What keys are."""

    def watch(self, keys: Sequence[bytes]) -> "list[Looked]":
        """Look, so that `remove` does nothing after a write."""

    def forget(self) -> None:
        """Stop watching."""

    def remove(self, keys: Sequence[bytes]) -> int | None:
        """All or none."""

    def restore(self, values: Sequence[Captured], *, replace: bool) -> list[Any]:
        """Put back."""

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether keys are there."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one key was when it was looked at.

    Attributes:
        key: Its name.
        expires_ms: Milliseconds since 1970-01-01 UTC; `GONE` or `FOREVER`; None if the server did not say.
        dump: What DUMP answered; None if the key is not there or the server did not say.
        size: Bytes in the server's memory, its own estimate; None if it did not say.
    """

    key: bytes
    expires_ms: int | None
    dump: bytes | None
    size: int | None = None


class Server:
    """An open connection. Use it in a `with` statement.

    Attributes:
        address: Where.
    """

    def __init__(self, connection: Any, address: Address) -> None:
        self.address = address
        self._connection = connection
        self._lost = False
        self._db = address.db
        self._knows_ends: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lost = True
        self._connection.disconnect()

    def ask(self, *words: Word) -> Any:
        """One command.

        Raises:
            ServerRefuses: The server said no.
            ReplyLost: Nobody knows.
        """
        answer = self.ask_all([words])[0]
        if isinstance(answer, ResponseError):
            raise _refused(words[0], answer)
        return answer

    def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Many commands in one pipeline. Errors of the server are values.

        Raises:
            ReplyLost: The connection ended; nobody knows which of them were done.
        """
        answers: list[Any] = []
        for begin in range(0, len(commands), PIPELINE):
            part = commands[begin : begin + PIPELINE]
            self._send(b"".join([_PACK(tuple(words)) for words in part]))
            answers += [self._read() for _ in part]
        return answers

    def infos(self) -> list[Info]:
        """What each node says of itself; here there is one."""
        text = self.ask("INFO")
        return [parse_info(text if isinstance(text, bytes) else str(text).encode())]

    def slot_of(self, key: bytes) -> int:  # noqa: ARG002 - a cluster needs it
        """Keys of one slot can go together; here all of them can."""
        return 0

    def now_ms(self) -> int:
        """The server's clock, milliseconds since 1970-01-01 UTC."""
        seconds, micros = self.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def select(self, db: int) -> None:
        """Choose a database for what follows."""
        if db != self._db:
            self.ask("SELECT", db)
            self._db = db

    def scan(self, pattern: bytes | None = None) -> Iterator[list[bytes]]:
        """Names of keys, each once or more: what is there all the time is found for sure."""
        cursor = b"0"
        match: tuple[Word, ...] = () if pattern is None else ("MATCH", pattern)
        while True:
            cursor, keys = self.ask("SCAN", cursor, *match, "COUNT", PIPELINE)
            yield list(keys)
            if cursor == b"0":
                return

    def look(self, keys: Sequence[bytes]) -> list[Looked]:
        """Value, end and size of each key, in this order; what an error hides is None."""
        sizes = [_number(answer) for answer in self.ask_all([("MEMORY", "USAGE", key) for key in keys])]
        found: list[Looked] = []
        begin, together = 0, 0
        for at, size in enumerate(sizes):
            together += size or 0
            if together > AT_ONCE or at + 1 == len(keys):
                found += self._values(keys[begin : at + 1])
                begin, together = at + 1, 0
        return [Looked(one.key, one.expires_ms, one.dump, size) for one, size in zip(found, sizes, strict=True)]

    def watch(self, keys: Sequence[bytes]) -> list[Looked]:
        """Look at keys so that `remove` does nothing if any of them is written to from now on."""
        answer = self.ask_all([("WATCH", *keys)])[0]
        if isinstance(answer, ResponseError):
            raise _refused("WATCH", answer)
        return self._values(keys)

    def forget(self) -> None:
        """Stop watching."""
        self.ask("UNWATCH")

    def remove(self, keys: Sequence[bytes]) -> int | None:
        """Take away all of these, which `watch` looked at before, or none.

        Returns:
            How many went; None if one of them was written to since, and nothing was removed.

        Raises:
            ServerRefuses: Nothing was removed.
            ReplyLost: Nobody knows whether they are gone. Do not send it again.
        """
        *_, queued, done = self.ask_all([("MULTI",), ("UNLINK", *keys), ("EXEC",)])
        if done is None:
            return None
        if isinstance(queued, ResponseError):
            raise _refused("UNLINK", queued)
        if isinstance(done, ResponseError):
            raise _refused("EXEC", done)
        if isinstance(done[0], ResponseError):
            raise _refused("UNLINK", done[0])
        return int(done[0])

    def restore(self, values: Sequence[Captured], *, replace: bool) -> list[Any]:
        """Put values back, with their absolute ends. All are of one database.

        Returns:
            For each: b"OK", or the server's error as a value; a key that is there, and is not to be replaced, gives BUSYKEY.
        """
        if values:
            self.select(values[0].db)
        more: tuple[Word, ...] = ("ABSTTL", "REPLACE") if replace else ("ABSTTL",)
        return self.ask_all([("RESTORE", one.key, max(0, one.expires_ms), one.dump, *more) for one in values])

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether each key is there; does not count as a look-up."""
        answers = self.ask_all([("MEMORY", "USAGE", key, "SAMPLES", 1) for key in keys])
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise _refused("MEMORY USAGE", answer)
        return [answer is not None for answer in answers]

    def _values(self, keys: Sequence[bytes]) -> list[Looked]:
        each = 1 + len(self._end_words(b""))
        answers = self.ask_all([word for key in keys for word in (("DUMP", key), *self._end_words(key))])
        found = []
        for at, key in enumerate(keys):
            dump, *ends = answers[at * each : (at + 1) * each]
            found.append(Looked(key, _end(ends), _bytes(dump)))
        return found

    def _end_words(self, key: bytes) -> tuple[tuple[Word, ...], ...]:
        """What to ask for a key's end."""
        if self._knows_ends is None:
            answer = self.ask_all([("COMMAND", "INFO", "PEXPIRETIME")])[0]
            self._knows_ends = isinstance(answer, list) and bool(answer) and answer[0] is not None
        return (("PEXPIRETIME", key),) if self._knows_ends else (("TIME",), ("PTTL", key))

    def _send(self, data: bytes) -> None:
        if self._lost:
            raise _lost_of(self.address, "is closed")
        try:
            self._connection.send_packed_command([data], check_health=False)
        except (RedisError, OSError) as error:
            raise self._lose(error) from error
        except BaseException:
            self._lost = True  # what was sent is not known
            raise

    def _read(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error
        except (RedisError, OSError) as error:
            raise self._lose(error) from error
        except BaseException:
            self._lost = True
            raise

    def _lose(self, error: Exception) -> ReplyLost:
        self._lost = True
        return _lost_of(self.address, str(error) or type(error).__name__)


def connect(address: Address, *, password: str = "", timeout_s: int = 30, name: str = "") -> Server:
    """Connect, log in, choose the database.

    Args:
        address: Where.
        password: Empty for none.
        timeout_s: How long a connection or a reply may take.
        name: How the server is to call this connection; letters, digits and dashes.

    Raises:
        ServerUnreachable: There is no such server, or it does not let us in.
    """
    known: dict[str, Any] = {
        "db": address.db,
        "username": address.user or None,
        "password": password or None,
        "client_name": name or None,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": False,
    }
    connection: Any
    if address.path:
        del known["socket_connect_timeout"]
        connection = _SOCKET(path=address.path, **known)
    elif address.tls:
        connection = _TLS(
            host=address.host, port=address.port, ssl_cert_reqs="required", ssl_check_hostname=True, **known
        )
    else:
        connection = _PLAIN(host=address.host, port=address.port, **known)
    try:
        connection.connect()
    except (RedisError, OSError, ssl.SSLError) as error:
        raise ServerUnreachable(
            f"{address.target} cannot be reached: {error}",
            not_done="nothing was read or removed",
            hint="give the password in REDISCLI_AUTH, or in a file with the setting redis.password_file"
            if isinstance(error, AuthenticationError | ResponseError)
            else "give the server with --url redis://host:port/db or unix:///path",
        ) from error
    return Server(connection, address)


def _refused(command: Word, answer: ResponseError) -> ServerRefuses:
    name = command.decode("ascii", "replace") if isinstance(command, bytes) else str(command)
    return ServerRefuses(f"{name}: the server says: {answer}", not_done="this command did nothing")


def _lost_of(address: Address, why: str) -> ReplyLost:
    return ReplyLost(f"the connection to {address.target} ended: {why}")


def _end(answers: Sequence[Any]) -> int | None:
    """When a key ends, out of PEXPIRETIME, or of TIME and PTTL."""
    left = answers[-1]
    if not isinstance(left, int) or left < 0 or len(answers) == 1:
        return left if isinstance(left, int) else None
    if not isinstance(answers[0], list):
        return None
    seconds, micros = answers[0]
    return int(seconds) * 1000 + int(micros) // 1000 + left


def _bytes(answer: Any) -> bytes | None:
    return answer if isinstance(answer, bytes) else None


def _number(answer: Any) -> int | None:
    return answer if isinstance(answer, int) else None
