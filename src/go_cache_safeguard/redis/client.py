"""One connection to a server, of the guard's own.

Knows:     how keys are looked at, captured and removed so that no write is lost, and put back.
Called by: `flows`.
Never:     sends a command twice, or connects again by itself: after a lost reply nobody knows what was done, and a new connection
           watches nothing. Never asks KEYS. Never holds more of large values than a piece, unless it is asked to.
Source:    WATCH, MULTI, EXEC of Redis 2.2 and later; PEXPIRETIME since 7.0, before that TIME and PTTL, one after the other in one
           pipeline. DUMP, PTTL and PEXPIRETIME count as look-ups, MEMORY USAGE, SCAN and WATCH do not (Redis 6.2.14, 7.0.15,
           Valkey 9.1.2). A script could dump and unlink at once, but the copy has to be on disk *before* the key goes.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from types import TracebackType
from typing import Any, Protocol, Self

from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import AskError, AuthenticationError, MovedError, RedisError, ResponseError
from redis.retry import Retry

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.bigvalue import Long, OddReplyError, Plain, Replies, Sink, in_pieces, take
from go_cache_safeguard.redis.info import Info, parse_info
from go_cache_safeguard.redis.resp import Malformed, Reply, encode, scan_reply
from go_cache_safeguard.redis.trash import Big, Captured

PIPELINE = 1_000
"""Commands that are sent before replies are read."""
AT_ONCE = 16 << 20
"""Bytes of values that are asked for at once, by the server's estimate; a single larger one comes alone."""
_PIECE = 1 << 20
BIG = 16 << 20
"""Bytes of values that are held in memory at once; what is larger comes and goes in pieces."""
SLACK = 1 << 20
"""Bytes of replies that any server has to bear, even one whose memory is used up."""
_ALL = 1 << 62
GONE, FOREVER = -2, -1
"""Instead of a time: the key is not there, it never ends."""

Word = bytes | str | int
Pieces = Callable[[Big], Iterable[bytes]]
"""Gives the bytes of a value that is not in memory."""
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


class Elsewhere(ServerRefuses):
    """The node of a cluster does not have these keys.

    Attributes:
        reply: What it says to a client, as it would come over the wire.
    """

    id = "redis-elsewhere"
    exit_code = ExitCode.TARGET
    meaning = "the node of a cluster does not have the slot of these keys, and names the one that has"

    def __init__(self, redirection: AskError) -> None:
        text = f"{'MOVED' if isinstance(redirection, MovedError) else 'ASK'} {redirection}"
        super().__init__(text, not_done="nothing was read or removed")
        self.reply = f"-{text}\r\n".encode("utf-8", "replace")


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

    def owner(self, key: bytes) -> "Link":
        """The one connection of those behind this one over which a key is reached."""

    def slot_of(self, key: bytes) -> int:
        """Keys of one slot can go together."""

    def select(self, db: int) -> None:
        """Choose a database."""

    def scan(self, pattern: bytes | None = None) -> Iterator[list[bytes]]:
        """Names of keys."""

    def look(self, keys: Sequence[bytes]) -> "list[Looked]":
        """What keys are."""

    def watch(self, keys: Sequence[bytes], sink: Sink | None = None) -> "list[Looked]":
        """Look, so that `remove` does nothing after a write."""

    def bearable(self, key: bytes | None = None) -> int | None:
        """Bytes of values that may be asked for at once."""

    def takes(self) -> int | None:
        """Bytes of the largest value that can be put back."""

    def forget(self) -> None:
        """Stop watching."""

    def remove(self, keys: Sequence[bytes]) -> int | None:
        """All or none."""

    def restore(self, values: Sequence[Captured], *, replace: bool, pieces: "Pieces | None" = None) -> list[Any]:
        """Put back."""

    def overwrite(self, one: Captured) -> Any:
        """Put back over what `watch` looked at."""

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether keys are there."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one key was when it was looked at.

    Attributes:
        key: Its name.
        expires_ms: Milliseconds since 1970-01-01 UTC; `GONE` or `FOREVER`; None if the server did not say.
        dump: What DUMP answered; None if the key is not there, the server did not say, or it is not held in memory.
        size: Bytes in the server's memory, its own estimate; None if it did not say.
        big: What DUMP answered, where it is not held in memory.
    """

    key: bytes
    expires_ms: int | None
    dump: bytes | None
    size: int | None = None
    big: Big | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what DUMP answered; empty without an answer."""
        if self.big is not None:
            return self.big.digest
        return "" if self.dump is None else sha256(self.dump).hexdigest()

    @property
    def length(self) -> int | None:
        """Bytes of what DUMP answered; None without an answer."""
        if self.big is not None:
            return self.big.size
        return None if self.dump is None else len(self.dump)


@dataclass(frozen=True, slots=True)
class Glanced:
    """What a quick look at one key tells.

    Attributes:
        key: Its name.
        left_ms: What is left of it, in milliseconds; `GONE` or `FOREVER`; None if the server did not say.
        size: Bytes in the server's memory, its own estimate; None if it is not there or the server did not say.
    """

    key: bytes
    left_ms: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one call that was sent between MULTI and EXEC.

    Attributes:
        reply: The server's reply to it, byte for byte.
        done: False if the server refused to queue it: then nothing was done.
        after: What each key that was asked about was right behind it.
    """

    reply: bytes
    done: bool
    after: tuple[Looked, ...] = ()


class Server:
    """An open connection. Use it in a `with` statement.

    Attributes:
        address: Where.
        big: Bytes of values that are held in memory at once.
        least: Bytes of values that are asked for at once even from a server whose memory is used up.
    """

    def __init__(self, connection: Any, address: Address, *, big: int = BIG, least: int = SLACK) -> None:
        self.address = address
        self.big = big
        self.least = least
        self._connection = connection
        self._lost = False
        self._db = address.db
        self._knows_ends: bool | None = None
        self._has_slots: bool | None = None

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

    def owner(self, key: bytes) -> Self:  # noqa: ARG002 - a cluster needs it
        """This one."""
        return self

    def slot_of(self, key: bytes) -> int:
        """Keys of one slot can go together: all of them, unless the server is a node of a cluster."""
        if self._has_slots is None:
            self._has_slots = self.infos()[0].fields.get("cluster_enabled") == "1"
        return int(key_slot(key)) if self._has_slots else 0

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
        """Value, end and size of each key, in this order; what an error hides is None.

        Of a value that the server cannot answer with, without going beyond its memory, only end and size are told. At most `big`
        bytes of values are held; of the others the digest is told.
        """
        sizes = [_number(answer) for answer in self.ask_all([("MEMORY", "USAGE", key) for key in keys])]
        bearable = self.bearable()
        most = AT_ONCE if bearable is None else min(AT_ONCE, bearable)
        found: list[Looked] = []
        begin, together, held = 0, 0, self.big
        for at, size in enumerate(sizes):
            if together and together + (size or 0) > most:
                found += self._values(keys[begin:at], None, held)
                held = self.big - sum(len(one.dump or b"") for one in found)
                begin, together = at, 0
            together += size or 0
            if bearable is not None and together > bearable:
                found.append(self._without_value(keys[at]))
                begin, together = at + 1, 0
        found += self._values(keys[begin:], None, held)
        return [replace(one, size=size) for one, size in zip(found, sizes, strict=True)]

    def bearable(self, key: bytes | None = None) -> int | None:  # noqa: ARG002 - a cluster needs it
        """Bytes of values that may be asked for at once: what is waiting to be read counts as used memory.

        Returns:
            Half of what is left below `maxmemory`, but some in any case; None if there is no bound.
        """
        info = self._info("memory")
        most, used = info.count("maxmemory"), info.count("used_memory")
        return max(SLACK, self.least, (most - used) // 2) if most and used is not None else None

    def takes(self) -> int | None:
        """Bytes of the largest value that RESTORE takes; None if the server does not say."""
        asked = [("CONFIG", "GET", name) for name in ("proto-max-bulk-len", "client-query-buffer-limit")]
        answers = [int(answer[1]) for answer in self.ask_all(asked) if isinstance(answer, list) and len(answer) > 1]
        return min(answers[0], answers[1] - SLACK) if len(answers) == len(asked) else None

    def glance(self, keys: Sequence[bytes]) -> list[Glanced]:
        """What is left of each key and how large it is, in one pipeline; PTTL counts as a look-up, MEMORY USAGE does not.

        Raises:
            Elsewhere: Another node of the cluster has one of them.
        """
        answers = self.ask_all([words for key in keys for words in (("PTTL", key), ("MEMORY", "USAGE", key))])
        for answer in answers:
            if isinstance(answer, AskError):
                raise Elsewhere(answer)
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return [Glanced(key, _number(left), _number(size)) for key, (left, size) in zip(keys, pairs, strict=True)]

    def watch(self, keys: Sequence[bytes], sink: Sink | None = None) -> list[Looked]:
        """Look at keys so that `remove` does nothing if any of them is written to from now on.

        Args:
            keys: Which.
            sink: Gets values that are not held in memory; without it all of them are.
        """
        answer = self.ask_all([("WATCH", *keys)])[0]
        if isinstance(answer, ResponseError):
            raise _refused("WATCH", answer)
        return self._values(keys, sink, _ALL if sink is None else self.big)

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
        self.ask("MULTI")  # by itself: without it, what comes next would be done at once
        queued, done = self.ask_all([("UNLINK", *keys), ("EXEC",)])
        if done is None:
            return None
        if isinstance(queued, ResponseError):
            raise _refused("UNLINK", queued)
        if isinstance(done, ResponseError):
            raise _refused("EXEC", done)
        if isinstance(done[0], ResponseError):
            raise _refused("UNLINK", done[0])
        return int(done[0])

    def carry_out(self, words: tuple[bytes, ...], keys: Sequence[bytes], *, resp: int) -> Carried | None:
        """Do one call, unless a key that `watch` looked at was written to since. Use the connection for nothing else then.

        Args:
            words: The call.
            keys: Which to look at right after it.
            resp: In which version of the protocol the reply is wanted, 2 or 3.

        Returns:
            None if a watched key was written to, and nothing was done.

        Raises:
            ServerRefuses: Nothing was done.
            ReplyLost: Nobody knows. Do not send it again.
        """
        first: list[tuple[bytes, ...]] = [(b"HELLO", b"3")] if resp == 3 else []
        each = 1 + len(self._end_words(b""))
        for before in (*first, (b"MULTI",)):
            said = self._raw([before])[0]
            if said.startswith(b"-"):
                raise _refused(before[0], ResponseError(said[1:-2].decode("utf-8", "replace")))
        looks = [look for key in keys for look in ((b"DUMP", key), *self._end_words(key))]
        queued, *_, done = self._raw([words, *map(_encoded, looks), (b"EXEC",)])
        if queued.startswith(b"-"):
            return Carried(queued, done=False)
        if done in {b"*-1\r\n", b"_\r\n"}:
            return None
        if done.startswith(b"-"):
            raise _refused("EXEC", ResponseError(done[1:-2].decode("utf-8", "replace")))
        reply, *after = _elements(done)
        seen = [[_parsed(one) for one in after[at : at + each]] for at in range(0, len(after), each)]
        looked = (Looked(key, _end(ends), dump) for key, (dump, *ends) in zip(keys, seen, strict=True))
        return Carried(reply, done=True, after=tuple(looked))

    def overwrite(self, one: Captured) -> Any:
        """Put one value back over what is there, unless it was written to since `watch` looked at it.

        Returns:
            b"OK", the server's error as a value, or None if it was written to.
        """
        self.ask("MULTI")
        words = ("RESTORE", one.key, max(0, one.expires_ms), one.dump, "ABSTTL", "REPLACE")
        queued, done = self.ask_all([words, ("EXEC",)])
        if isinstance(queued, ResponseError):
            return queued
        return done[0] if isinstance(done, list) else done

    def restore(self, values: Sequence[Captured], *, replace: bool, pieces: Pieces | None = None) -> list[Any]:
        """Put values back, with their absolute ends. All are of one database.

        Args:
            values: Which.
            replace: Whether to overwrite what is there.
            pieces: Where large ones come from.

        Returns:
            For each: b"OK", or the server's error as a value; a key that is there, and is not to be replaced, gives BUSYKEY.
        """
        if values:
            self.select(values[0].db)
        more: tuple[Word, ...] = ("ABSTTL", "REPLACE") if replace else ("ABSTTL",)
        small = [one for one in values if one.big is None]
        answers = iter(self.ask_all([("RESTORE", one.key, max(0, one.expires_ms), one.dump, *more) for one in small]))
        return [
            next(answers) if one.big is None or pieces is None else self._restore_big(one, one.big, more, pieces)
            for one in values
        ]

    def _restore_big(self, one: Captured, big: Big, more: Sequence[Word], pieces: Pieces) -> Any:
        takes = self.takes()
        if takes is not None and big.size > takes:
            return ResponseError(f"RESTORE takes no value of more than {takes} bytes; raise proto-max-bulk-len")
        before = (b"RESTORE", one.key, b"%d" % max(0, one.expires_ms))
        self._send_pieces(in_pieces(before, big.size, pieces(big), [str(word).encode() for word in more]))
        return self._read()

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether each key is there; does not count as a look-up."""
        answers = self.ask_all([("MEMORY", "USAGE", key, "SAMPLES", 1) for key in keys])
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise _refused("MEMORY USAGE", answer)
        return [answer is not None for answer in answers]

    def _values(self, keys: Sequence[bytes], sink: Sink | None, held: int) -> list[Looked]:
        """Value and end of each key; at most `held` bytes of values are held in memory."""
        ends = len(self._end_words(b""))
        found: list[Looked] = []
        for begin in range(0, len(keys), PIPELINE):
            part = keys[begin : begin + PIPELINE]
            words = [word for key in part for word in (("DUMP", key), *self._end_words(key))]
            self._send(b"".join(map(_PACK, words)))
            replies = Replies(self._receive)
            for key in part:
                one = self._value(key, replies, ends, sink, held)
                held -= len(one.dump or b"")
                found.append(one)
        return found

    def _value(self, key: bytes, replies: Replies, ends: int, sink: Sink | None, held: int) -> Looked:
        try:
            dump, big = replies.next(held), None
            if isinstance(dump, Long):
                big = take(replies, dump.size, sink(key, dump.size) if sink is not None else None)
            end = _end([_plain(replies.next(_ALL)) for _ in range(ends)])
        except OddReplyError as error:
            raise self._lose(error) from error
        except BaseException:
            self._lost = True  # replies are left that nobody reads
            raise
        return Looked(key, end, _bytes(dump), big=big)

    def _without_value(self, key: bytes) -> Looked:
        return Looked(key, _end(self.ask_all(self._end_words(key))), None)

    def _info(self, section: str) -> Info:
        text = self.ask("INFO", section)
        return parse_info(text if isinstance(text, bytes) else str(text).encode())

    def _end_words(self, key: bytes) -> tuple[tuple[Word, ...], ...]:
        """What to ask for a key's end."""
        if self._knows_ends is None:
            answer = self.ask_all([("COMMAND", "INFO", "PEXPIRETIME")])[0]
            self._knows_ends = isinstance(answer, list) and bool(answer) and answer[0] is not None
        return (("PEXPIRETIME", key),) if self._knows_ends else (("TIME",), ("PTTL", key))

    def _send(self, data: bytes) -> None:
        self._send_pieces((data,))

    def _send_pieces(self, pieces: Iterable[bytes]) -> None:
        if self._lost:
            raise _lost_of(self.address, "is closed")
        try:
            self._connection.send_packed_command(pieces, check_health=False)
        except (RedisError, OSError) as error:
            raise self._lose(error) from error
        except BaseException:
            self._lost = True  # what was sent is not known
            raise

    def _raw(self, commands: Sequence[tuple[bytes, ...]]) -> list[bytes]:
        """Send, and read the replies as they come over the wire; nothing else may be under way."""
        self._send(b"".join(map(encode, commands)))
        data, at, replies = b"", 0, list[bytes]()
        while len(replies) < len(commands):
            found = scan_reply(data, at)
            if isinstance(found, Malformed):
                raise self._lose(ValueError(found.wrong.value))
            if found is None:
                data, at = data[at:] + self._receive(), 0
                continue
            if found.kind != b">":
                replies.append(data[at : at + found.length])
            at += found.length
        return replies

    def _receive(self) -> bytes:
        try:
            data: bytes = self._connection._sock.recv(_PIECE)  # noqa: SLF001 - redis-py would decode what is to be handed on as it is
        except OSError as error:
            raise self._lose(error) from error
        except BaseException:
            self._lost = True
            raise
        if not data:
            raise self._lose(OSError("the server hung up"))
        return data

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


def connect(
    address: Address,
    *,
    password: str = "",
    timeout_s: int = 30,
    name: str = "",
    big: int = BIG,
    least: int = SLACK,
    ca: str = "",
) -> Server:
    """Connect, log in, choose the database.

    Args:
        address: Where.
        password: Empty for none.
        timeout_s: How long a connection or a reply may take.
        name: How the server is to call this connection; letters, digits and dashes.
        big: Bytes of values that are held in memory at once.
        least: Bytes of values that are asked for at once even from a server whose memory is used up.
        ca: File with the certificates of which one must have signed the server's; empty for those that this machine believes.

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
        checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": ca or None}
        connection = _TLS(host=address.host, port=address.port, **checked, **known)
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
    return Server(connection, address, big=big, least=least)


def _refused(command: Word, answer: ResponseError) -> ServerRefuses:
    name = command.decode("ascii", "replace") if isinstance(command, bytes) else str(command)
    return ServerRefuses(f"{name}: the server says: {answer}", not_done="this command did nothing")


def _lost_of(address: Address, why: str) -> ReplyLost:
    return ReplyLost(f"the connection to {address.target} ended: {why}")


def _elements(array: bytes) -> list[bytes]:
    """The replies inside of an array."""
    at, found = array.index(b"\n") + 1, list[bytes]()
    while at < len(array):
        one = scan_reply(array, at)
        assert isinstance(one, Reply)  # noqa: S101 - the whole array was scanned before
        found.append(array[at : at + one.length])
        at += one.length
    return found


def _parsed(reply: bytes) -> Any:
    """A number, a string or an array as a value; None for anything else."""
    match reply[:1]:
        case b":":
            return int(reply[1:-2])
        case b"$":
            head, _, rest = reply.partition(b"\r\n")
            return None if head == b"$-1" else rest[:-2]
        case b"*":
            return [_parsed(one) for one in _elements(reply)]
    return None


def _encoded(words: Sequence[Word]) -> tuple[bytes, ...]:
    return tuple(word if isinstance(word, bytes) else str(word).encode() for word in words)


def _end(answers: Sequence[Any]) -> int | None:
    """When a key ends, out of PEXPIRETIME, or of TIME and PTTL."""
    left = answers[-1]
    if not isinstance(left, int) or left < 0 or len(answers) == 1:
        return left if isinstance(left, int) else None
    if not isinstance(answers[0], list):
        return None
    seconds, micros = answers[0]
    return int(seconds) * 1000 + int(micros) // 1000 + left


def _plain(answer: "Plain | Long") -> Plain:
    if isinstance(answer, Long):
        raise OddReplyError("a string where an end should stand")
    return answer


def _bytes(answer: Any) -> bytes | None:
    return answer if isinstance(answer, bytes) else None


def _number(answer: Any) -> int | None:
    return answer if isinstance(answer, int) else None
