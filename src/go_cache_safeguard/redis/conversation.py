r"""One client and one server: what goes through, what waits, what is put in a reply's place.

Knows:     a connection's state (database, user, protocol, transaction, replies off), which requests need an answer of the gate, and how a
           request is replaced so that every reply still belongs to its request.
Called by: `redis.proxy` brings bytes of both sides and the gate's answers, and carries away what is to be sent.
Never:     sends a byte to the server that the strict reader, or `redis.fast`, did not understand; believes in a change of state
           before the server agreed to it; lets EXEC through when it does not know what waits for it.
Source:    multi.c, server.c `processCommand`: commands after a refused MULTI are done at once, so only an agreed MULTI counts; an unknown
           command inside of MULTI makes EXEC fail. Redis 6.2.14, 7.0.15, Valkey 9.1.2.

A request that needs an answer first sends a mark (see `redis.splice`): when it comes back, all that the client sent before is done, and
the state is known. Then the gate is asked. Until it answered, nothing more is read from this client.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Protocol, TypeAlias

from go_cache_safeguard.redis.call import Answer, Answered, Call, Held, Pass, Refused, error_line, reply_to
from go_cache_safeguard.redis.commands import Table, Treatment, token
from go_cache_safeguard.redis.connection import Connection, advance
from go_cache_safeguard.redis.fast import Fast, KeysSeen, scan
from go_cache_safeguard.redis.intent import Intent, Terms, judge
from go_cache_safeguard.redis.resp import Limits, Request, RequestReader, Wrong, encode
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.splice import Expected, Reached, Splice, SpliceBrokenError, frame_of

_OBSERVED = frozenset({"SELECT", "AUTH", "HELLO", "RESET", "MULTI"})
"""Commands that change what later ones mean, if the server agrees."""
_OUTSIDE = frozenset({"EXEC", "DISCARD"})
_AT_ONCE = frozenset({"RESET", "QUIT", "MULTI", "WATCH"})
"""What is done at once between MULTI and EXEC as well."""
_STREAMED = {
    b"SET": 3,
    b"SETNX": 3,
    b"GETSET": 3,
    b"APPEND": 3,
    b"SETRANGE": 4,
    b"SETEX": 4,
    b"PSETEX": 4,
    b"HSET": 4,
    b"HSETNX": 4,
    b"LPUSH": 3,
    b"RPUSH": 3,
    b"LPUSHX": 3,
    b"RPUSHX": 3,
    b"SADD": 3,
    b"PUBLISH": 3,
    b"SPUBLISH": 3,
    b"ECHO": 2,
    b"PFADD": 3,
}
"""Commands whose last word, with so many of them, is a value and nothing else: it decides nothing."""
_HELLO = re.compile(rb"[*%][0-9]+\r\n\$6\r\nserver\r\n")
_TOKEN_BYTES = 16
_SHORT_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Setting:
    """What all connections of one proxy share.

    Attributes:
        table: All commands.
        rules: The site's.
        fast: What needs no judging.
        names_ok: Whether something may be lost of a key, as far as its name tells.
        soon_ms: An expiry that is no farther away counts as a removal.
        limits: Of one request.
        stream_bytes: A larger value is sent on while it comes, where it decides nothing; otherwise it is held in memory.
        queued_bytes: Of all requests between MULTI and EXEC together.
        reply_off: Whether CLIENT REPLY OFF and SKIP are allowed. What needs an answer then ends the connection.
    """

    table: Table
    rules: Rules
    fast: Fast
    names_ok: Callable[[bytes], bool]
    soon_ms: int = 1_000
    limits: Limits = field(default_factory=Limits)
    stream_bytes: int = 256 << 10
    queued_bytes: int = 64 << 20
    reply_off: bool = False


Scan: TypeAlias = Callable[[bytes], tuple[int, list[bytes]]]
Fine: TypeAlias = Callable[[list[bytes]], bool]


class Lane(Protocol):
    """What may go by a conversation, which alone says so: whoever carries bytes reads these, and writes none of them.

    Attributes:
        quick: Whether a chunk of the client may go to the server as it is, if the scan calls all of it harmless.
        plain: Whether the server's bytes may go to the client without `server_sent`.
        scanner: The scan: `redis.fast.scan` from the beginning of a chunk.
        fine: Whether all the keys that the scan tells of may lose something.
    """

    quick: bool
    plain: bool
    scanner: Scan | None
    fine: Fine | None


@dataclass(slots=True)
class _Unused:
    """A lane that nobody uses, so that all bytes come to the conversation."""

    quick: bool = False
    plain: bool = False
    scanner: Scan | None = None
    fine: Fine | None = None


class _Stage(Enum):
    """Where a conversation stands."""

    OPEN = auto()
    SETTLING = auto()  # a mark is under way, or the reply to a change of state
    ASKING = auto()  # the gate thinks
    ENDING = auto()  # nothing more is read; when the last mark is back, it is over
    OVER = auto()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that is not decided yet."""

    args: tuple[bytes, ...]
    op: str = ""


class Conversation:
    """One client's connection, with the one connection to the server that belongs to it.

    Attributes:
        asked: A call that the shell is to bring before the gate; it sets this to None then.
        why: Why the conversation is over, for people; empty if one side hung up.
        client: From where.
        reads: Whether more of the client's bytes are wanted.
        lane: What may go by.
    """

    def __init__(
        self,
        setting: Setting,
        seen: KeysSeen,
        marks: Callable[[int], bytes],
        clock: Callable[[], int],
        client: str = "",
        *,
        lane: Lane | None = None,
    ) -> None:
        """Begin.

        Args:
            setting: Shared by all; `replace_setting` changes it.
            seen: Keys that are known to be fine, shared by all.
            marks: Random bytes: nobody may guess them.
            clock: Milliseconds since 1970-01-01 UTC.
            client: From where.
            lane: By which bytes go that need not come here; None if all do.
        """
        self.asked: tuple[Call, Intent] | None = None
        self.why = ""
        self.client = client
        self.reads = True
        self.lane: Lane = _Unused() if lane is None else lane
        self._setting = setting
        self._seen = seen
        self._random = marks
        self._clock = clock
        self._splice = Splice()
        self._connection = Connection()
        self._resp = 2
        self._stage = _Stage.OPEN
        self._reader = RequestReader(setting.limits)
        self._rest = b""  # bytes nobody looked at yet
        self._slow = 0  # how many of them are to be read one by one
        self._streaming = 0  # bytes of a value that are still to be sent on, its end included
        self._waiting: _Waiting | None = None
        self._unseen: deque[tuple[bytes, ...]] = deque()  # changes of state that the server did not agree to yet
        self._multi = False  # MULTI was sent, and agreed to as far as we know
        self._queued_bytes = 0
        self._silent = ""  # OFF or SKIP after CLIENT REPLY
        self._out: list[bytes] = []
        self.lane.quick = self.lane.plain = True
        self._pave()

    @property
    def over(self) -> bool:
        """Whether both sides are to be closed, after what is to be sent was sent."""
        return self._stage is _Stage.OVER

    @property
    def idle(self) -> bool:
        """Whether nothing has begun and nothing waits, as far as the client's side goes."""
        nothing = not (self._rest or self._reader.pending or self._streaming or self._multi or self._splice.busy)
        return self._stage is _Stage.OPEN and nothing

    @property
    def partial(self) -> bool:
        """Whether the client has begun something and not ended it."""
        begun = self._streaming or self._rest or self._reader.pending
        return bool(begun) and self._stage is _Stage.OPEN

    @property
    def held_bytes(self) -> int:
        """How much of the client's requests lies in memory."""
        return len(self._rest) + self._reader.pending + self._queued_bytes

    @property
    def _scans(self) -> bool:
        """Whether requests may go through unread, as far as they are harmless."""
        return not (self._slow or self._multi or self._silent or self._streaming or self._reader.pending)

    def replace_setting(self, setting: Setting, seen: KeysSeen) -> None:
        """Use other rules from the next request on."""
        self._setting, self._seen = setting, seen
        self._reader.set_limits(setting.limits)
        self._pave()

    def _pave(self) -> None:
        """What goes by follows the same rules."""
        self.lane.scanner, self.lane.fine = self._setting.fast.scanner, self._seen.all_fine

    def client_sent(self, data: bytes) -> bytes:
        """Take what the client sent.

        Returns:
            What the server gets.
        """
        if self.lane.quick:
            end, keys = scan(data, self._setting.fast)
            if not keys or self._seen.all_fine(keys):
                if end == len(data):
                    return data
                if end:
                    self._out.append(data[:end])
                    data = data[end:]
        self._rest += data
        return self.go_on()

    def server_sent(self, data: bytes) -> bytes:
        """Take what the server sent; `go_on` then tells what the server gets, if a mark came back.

        Returns:
            What the client gets.
        """
        try:
            out, reached = self._splice.feed(data)
        except SpliceBrokenError as broken:
            self._end(str(broken))
            return b""
        for one in reached:
            self._came_back(one)
        self.lane.plain = not self._splice.busy
        return out

    def go_on(self) -> bytes:
        """Go on with what the client sent, for example after a mark came back.

        Returns:
            What the server gets.
        """
        while self._stage is _Stage.OPEN and self._step():
            pass
        self.reads = self._stage is _Stage.OPEN
        self.lane.plain = not self._splice.busy
        self.lane.quick = self.reads and not self._rest and self._scans
        sent, self._out = b"".join(self._out), []
        return sent

    def decided(self, answer: Answer) -> bytes:
        """Take the gate's answer to what was `asked`.

        Returns:
            What the server gets.
        """
        waiting, self._waiting = self._waiting, None
        if self._stage is not _Stage.ASKING or waiting is None:
            return b""
        self._stage = _Stage.OPEN
        match answer:
            case Pass():
                self._pass(waiting.args)
            case Answered() | Held() | Refused():
                self._instead(waiting.args, reply_to(answer))
        return self.go_on()

    # The client's side

    def _step(self) -> bool:
        """Get over some of the bytes; False if more are needed."""
        if self._streaming:
            return self._stream()
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._settled(waiting)
            return True
        if self._scans and self._rest and self._scan():
            return True
        return self._read_one()

    def _scan(self) -> bool:
        """Send on what needs no judging; False if the first request does."""
        end, keys = scan(self._rest, self._setting.fast)
        if keys and not self._seen.all_fine(keys):
            self._slow = end
            return False
        if end:
            self._out.append(self._rest[:end])
            self._rest = self._rest[end:]
        return bool(end)

    def _read_one(self) -> bool:
        """Read one request strictly; False if it is not complete."""
        data, self._rest = self._rest, b""
        request = self._reader.next(data)
        if self._reader.refused is not None:
            self._protocol_error(self._reader.refused.wrong)
            return True
        if request is None:
            return self._begin_stream() or self._keep_for_later()
        self._slow = max(0, self._slow - request.length)
        self._take(request)
        if not (self._slow or self._multi or self._silent):
            self._rest = self._reader.release()
        return True

    def _begin_stream(self) -> bool:
        """Send on a large value while it comes, if the words before it decide everything."""
        begun = self._reader.begun()
        if begun is None or begun.missing <= self._setting.stream_bytes or self._multi or self._silent:
            return False
        if begun.words != _STREAMED.get(token(begun.args[0])) or begun.words != len(begun.args) + 1:
            return False
        stand_in = (*begun.args, b"")
        if self._stage is not _Stage.OPEN or self._treatment(self._judge(stand_in)) is not Treatment.PASS:
            return False
        self._out.append(self._reader.surrender())
        self._streaming = begun.missing
        return bool(self._rest)

    def _keep_for_later(self) -> bool:
        """What is short and incomplete may be harmless when it is whole: it is looked at again together with what comes."""
        if self._reader.pending <= _SHORT_BYTES and not (self._slow or self._multi or self._silent):
            self._rest = self._reader.surrender()
        return False

    def _stream(self) -> bool:
        """Send on what came of a large value; its last two bytes must be CR LF, and are sent together."""
        piece = self._rest[: self._streaming]
        if not piece:
            return False
        body = self._streaming - 2
        if len(piece) < self._streaming:
            piece = piece[:body]
            if not piece:
                return False
        elif piece[-2:] != b"\r\n":
            self._end(Wrong.END.value)
            return True
        self._out.append(piece)
        self._rest = self._rest[len(piece) :]
        self._streaming -= len(piece)
        return True

    def _take(self, request: Request) -> None:
        args = request.args
        if not args:
            return
        op = ""
        if args[0].upper() == b"GUARD":
            if len(args) < 4 or args[1].upper() != b"RETRY":
                self._mark(error_line("ERR GUARD RETRY operation command [argument ...]"))
                return
            op, args = args[2].decode("ascii", "replace"), args[3:]
        if self._silent:
            self._take_silently(args)
            return
        name = self._setting.table.name(args)
        if name == "CLIENT REPLY":
            self._client_reply(args)
        elif name == "EXEC" and not self._multi and len(args) == 1:
            self._mark(error_line("ERR EXEC without MULTI"))
        elif self._unseen and name not in _OBSERVED and not self._is_free(args):
            self._settle(_Waiting(args, op))
        else:
            self._weigh(_Waiting(args, op))

    def _weigh(self, waiting: _Waiting) -> None:
        """Send on, put into the transaction, refuse, or ask."""
        args = waiting.args
        name = self._setting.table.name(args)
        if name == "EXEC" and self._multi and self._unseen:
            self._settle(waiting)
            return
        intent = self._judge(args)
        treatment = self._treatment(intent)
        if treatment is Treatment.PASS:
            self._pass(args)
        elif treatment is Treatment.REFUSE:
            self._instead(args, reply_to(Refused(f"{intent.name} is refused by the rules of this site")))
        elif self._multi and name != "EXEC":
            self._queue(args)
        elif self._multi:
            self._ask(waiting, intent)
        else:
            self._settle(waiting, mark=True)

    def _settled(self, waiting: _Waiting) -> None:
        """All that was sent before is done: judge by what is true now."""
        args = waiting.args
        intent = self._judge(args)
        queued = self._multi and self._setting.table.name(args) != "EXEC"
        if queued or self._treatment(intent) in {Treatment.PASS, Treatment.REFUSE}:
            self._weigh(waiting)
        else:
            self._ask(waiting, intent)

    def _ask(self, waiting: _Waiting, intent: Intent) -> None:
        connection = self._connection
        transaction = bool(self._multi and connection.queued is not None)
        call = Call(
            commands=connection.queued or () if transaction else (waiting.args,),
            transaction=transaction,
            db=connection.before if transaction else connection.db,
            user=connection.user,
            client=self.client,
            resp=self._resp,
            op=waiting.op,
        )
        self._waiting, self._stage, self.asked = waiting, _Stage.ASKING, (call, intent)

    def _judge(self, args: tuple[bytes, ...]) -> Intent:
        setting = self._setting
        terms = Terms(self._clock(), setting.soon_ms, setting.rules.scripts)
        return judge(args, self._connection, setting.table, terms)

    def _treatment(self, intent: Intent) -> Treatment:
        """What is done with a call, its keys' names regarded."""
        treatment = self._setting.rules.of_intent(intent)
        if treatment is Treatment.PROTECT:
            fine = all(self._setting.names_ok(use.key) for use in self._setting.rules.judged(intent))
            return Treatment.PASS if fine else Treatment.HOLD
        return treatment

    def _is_free(self, args: tuple[bytes, ...]) -> bool:
        """Whether a call needs no judging whatever the state is."""
        frame = encode(args)
        end, keys = scan(frame, self._setting.fast)
        return end == len(frame) and self._seen.all_fine(keys)

    # Sending

    def _pass(self, args: tuple[bytes, ...]) -> None:
        """Send a request in its canonical form, and see what the server says where it matters."""
        name = self._setting.table.name(args)
        if self._multi and name == "HELLO":
            # It would be done at EXEC, and nobody would see which protocol is spoken then.
            self._mark(error_line("ERR HELLO inside MULTI is not allowed"))
            return
        if self._multi and name not in _OUTSIDE and name not in _AT_ONCE:
            self._queue(args)
            return
        if name in _OUTSIDE:
            # With one word too many a server refuses them, and some end the transaction all the same. To believe that it is over is
            # safe: everything is judged by itself then, and no EXEC goes through.
            self._connection = advance(self._connection, args[:1])
            self._leave()
        elif self._multi and name == "RESET":
            # A mark inside of MULTI spoils it; DISCARD first makes this an ordinary RESET.
            self._abandon(b"")
            self._observe(args)
            return
        elif name in _OBSERVED and not self._multi:
            self._observe(args)
            return
        self._out.append(encode(args))

    def _observe(self, args: tuple[bytes, ...]) -> None:
        """Send what may change the state, and look at the reply."""
        self._unseen.append(args)
        mark = self._new_mark()
        self._splice.expect(Expected(mark, observe=True))
        self._out.append(frame_of(mark) + encode(args))
        if args[0].upper() == b"MULTI":
            self._multi = True

    def _queue(self, args: tuple[bytes, ...]) -> None:
        """Send a request that the server keeps until EXEC."""
        self._queued_bytes += sum(map(len, args)) + 64 * len(args)
        if self._queued_bytes > self._setting.queued_bytes:
            self._end("a transaction holds more than allowed", said=b"-ERR " + b"transaction too large\r\n")
            return
        self._connection = advance(self._inside(), args)
        self._out.append(encode(args))

    def _inside(self) -> Connection:
        """The state, MULTI being agreed to or not: what is sent now belongs to it."""
        connection = self._connection
        return connection if connection.queued is not None else replace(connection, queued=(), before=connection.db)

    def _instead(self, args: tuple[bytes, ...], reply: bytes) -> None:
        """Give the client this reply; the server never sees the request."""
        if args[0].upper() == b"EXEC" and self._multi:
            self._abandon(reply)
        else:
            self._mark(reply)

    def _abandon(self, reply: bytes) -> None:
        """End a transaction on the server without doing it: between two marks, DISCARD, whose reply nobody gets."""
        self._connection = advance(self._connection, (b"DISCARD",))
        self._leave()
        first, second = self._new_mark(), self._new_mark()
        self._splice.expect(Expected(first, swallow=1))
        self._splice.expect(Expected(second, reply))
        self._out.append(frame_of(first) + encode((b"DISCARD",)) + frame_of(second))

    def _mark(self, reply: bytes) -> None:
        mark = self._new_mark()
        self._splice.expect(Expected(mark, reply))
        self._out.append(frame_of(mark))

    def _new_mark(self) -> bytes:
        return b"GUARD-" + self._random(_TOKEN_BYTES).hex().encode("ascii")

    def _settle(self, waiting: _Waiting, *, mark: bool = False) -> None:
        """Wait until all that was sent is done, then go on with this request."""
        self._waiting, self._stage = waiting, _Stage.SETTLING
        if mark:
            self._mark(b"")

    def _leave(self) -> None:
        self._multi, self._queued_bytes = False, 0

    # What the server said

    def _came_back(self, reached: Reached) -> None:
        if reached.seen:
            self._agreed(self._unseen.popleft(), reached.seen)
        if self._stage is _Stage.SETTLING and not self._unseen and not self._splice.busy:
            self._stage = _Stage.OPEN
        if self._stage is _Stage.ENDING and not self._splice.busy:
            self._stage = _Stage.OVER

    def _agreed(self, args: tuple[bytes, ...], reply: bytes) -> None:
        """A change of state was answered."""
        name = args[0].upper()
        agreed = reply in {b"+OK\r\n", b"+RESET\r\n"} or (name == b"HELLO" and _HELLO.match(reply) is not None)
        if not agreed and reply[:1] != b"-":
            self._end("the reply to a change of state cannot be told from other messages")
        elif name == b"MULTI":
            self._multi_answered(agreed=agreed)
        elif agreed:
            inside = self._connection.queued is not None
            self._connection = replace(
                advance(replace(self._connection, queued=None), args), queued=self._connection.queued
            )
            if inside:
                self._connection = replace(self._connection, before=self._connection.db)
            if name == b"RESET":
                self._resp, self._silent = 2, ""
            elif name == b"HELLO" and len(args) > 1:
                self._resp = 3 if args[1] == b"3" else 2

    def _multi_answered(self, *, agreed: bool) -> None:
        connection = self._connection
        if agreed:
            self._connection = replace(connection, queued=connection.queued or (), before=connection.db)
        else:
            self._connection = replace(connection, queued=None)
            self._leave()

    # Replies off

    def _client_reply(self, args: tuple[bytes, ...]) -> None:
        word = token(args[2]) if len(args) == 3 else b""
        if self._multi or word not in {b"OFF", b"SKIP"} or not self._setting.reply_off:
            if word in {b"OFF", b"SKIP"}:
                self._mark(reply_to(Refused("CLIENT REPLY: without replies nobody can be told of a held command")))
            else:
                self._pass(args)
            return
        self._silent = word.decode()
        self._out.append(encode(args))

    def _take_silently(self, args: tuple[bytes, ...]) -> None:
        """No reply will come: only what needs no answer goes on."""
        name = self._setting.table.name(args)
        if name == "CLIENT REPLY" and len(args) == 3 and token(args[2]) in {b"ON", b"OFF", b"SKIP"}:
            self._silent = {b"ON": "", b"OFF": "OFF", b"SKIP": self._silent or "SKIP"}[token(args[2])]
        elif not self._is_free(args):
            self._end(f"{name} needs an answer, and CLIENT REPLY has turned replies off")
            return
        elif self._silent == "SKIP":
            self._silent = ""
        self._out.append(encode(args))

    # Ends

    def _protocol_error(self, wrong: Wrong) -> None:
        self._end(wrong.value, said=error_line(f"ERR Protocol error: {wrong.value}"))

    def _end(self, why: str, said: bytes = b"") -> None:
        """Read nothing more; say why, after the replies to what was sent before."""
        self.why, self._rest = why, b""
        if said and not self._silent and self._stage is _Stage.OPEN:
            self._mark(said)
            self._stage = _Stage.ENDING
        else:
            self._stage = _Stage.OVER
