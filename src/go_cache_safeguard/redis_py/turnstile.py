"""What one connection's next bytes would do, all of them together.

Knows:     what the connection did before, how calls, transactions and pipelines are told apart on the wire, and which of them
           have to be asked about as one.
Called by: the guarded connections, before they send anything.
Never:     sends, waits, or lets a part of some bytes through.
Source:    multi.c: after a refused MULTI, calls are done at once; EXEC after an error inside of a transaction may end it, as
           EXECABORT does, or leave it as it was, as a nested MULTI does (Redis 6.2 to Valkey 9). redis-py 8.1 sends CLIENT MAINT_NOTIFICATIONS when it connects with RESP3.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType

from go_cache_safeguard.redis.call import Call
from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.connection import Connection, advance
from go_cache_safeguard.redis.intent import Certainty, Intent
from go_cache_safeguard.redis.resp import Malformed, RequestReader, scan_reply
from go_cache_safeguard.redis_py.errors import OperationRefused, OutcomeUnknown
from go_cache_safeguard.redis_py.guard import Guard

Words = tuple[bytes, ...]

_AT_ONCE = {b"EXEC", b"DISCARD", b"RESET", b"QUIT", b"WATCH", b"MULTI"}
_STATE = {b"SELECT", b"AUTH", b"HELLO", b"RESET", b"MULTI", b"EXEC", b"DISCARD"}
PASSED: ContextVar[frozenset[Words]] = ContextVar("PASSED", default=frozenset())
"""Calls that were allowed together with others, and go out over several connections."""
ANSWERED: ContextVar[Mapping[tuple[Words, ...], bytes]] = ContextVar("ANSWERED", default=MappingProxyType({}))
"""Calls of one node that the guard did already, with its reply."""
RETRIED: ContextVar[str] = ContextVar("RETRIED", default="")
"""The operation whose approval a caller claims."""


class Shape(Enum):
    """What some bytes are."""

    CALL = auto()
    TRANSACTION = auto()  # from MULTI to EXEC
    EXEC = auto()  # MULTI was sent before
    PIPELINE = auto()


@dataclass(frozen=True, slots=True)
class Passage:
    """What some bytes would do.

    Attributes:
        calls: One for each reply that will come.
        after: The connection's state if the server agrees to everything.
        risky: Whether something may be lost, so that they are never sent twice.
        shape: What they are.
        ask: What the gate has to decide; None if it has not to be asked.
        reply: What it answered when it was asked before; None if it was not.
    """

    calls: tuple[Words, ...]
    after: Connection
    risky: bool
    shape: Shape
    ask: tuple[Call, Intent] | None = None
    reply: bytes | None = None

    @property
    def is_one(self) -> bool:
        """Whether nothing is done when the last byte does not reach the server."""
        return self.shape is not Shape.PIPELINE

    def replies(self, reply: bytes) -> list[bytes]:
        """The replies that a caller expects, of the one that the guard's own connection got.

        Args:
            reply: To the call; to EXEC for a transaction, and for a pipeline, which the guard does as one.
        """
        match self.shape:
            case Shape.CALL | Shape.EXEC:
                return [reply]
            case Shape.TRANSACTION:
                return [b"+OK\r\n", *[b"+QUEUED\r\n"] * (len(self.calls) - 2), reply]
            case Shape.PIPELINE if reply[:1] == b"*":
                return _split(reply, len(self.calls))
        return [reply] * len(self.calls)


def _split(reply: bytes, count: int) -> list[bytes]:
    found, at = [], reply.index(b"\r\n") + 2
    while at < len(reply):
        one = scan_reply(reply, at)
        if one is None or isinstance(one, Malformed):
            break
        found.append(reply[at : at + one.length])
        at += one.length
    if len(found) != count:
        raise OutcomeUnknown("the guard did these calls, but its replies cannot be told apart")
    return found


class Turnstile:
    """One connection's state, and what it lets through.

    Attributes:
        guard: Whose rules are kept.
        state: What the connection did so far.
        client: From where, for people.
        before: The state before what was sent last, as long as a reply is to come that may say no to it.
    """

    def __init__(self, guard: Guard, client: str = "") -> None:
        self.guard = guard
        self.state = Connection()
        self.client = client
        self.before: Connection | None = None
        self._single = False
        self._unsure = False  # whether MULTI was sent, and nobody saw the server agree

    @property
    def is_steady(self) -> bool:
        """Whether a call means now what it means on a new connection."""
        return self.state.queued is None

    def weigh(self, data: bytes, *, resp: int = 2) -> Passage:
        """Judge everything that is to be sent.

        Args:
            data: Whole requests.
            resp: Version of the protocol.

        Raises:
            OperationRefused: Something of it is never done, or cannot be understood.
        """
        reader = RequestReader()
        calls = tuple(request.args for request in reader.feed(data))
        if reader.refused is not None or reader.pending or not calls:
            wrong = reader.refused.wrong.value if reader.refused is not None else "an incomplete command"
            raise OperationRefused(f"{wrong}; nothing was sent")
        return self.weigh_calls(calls, resp=resp)

    def weigh_calls(self, calls: tuple[Words, ...], *, resp: int = 2) -> Passage:
        """Judge calls that are to be sent together."""
        state, asked, waiting, risky = self.state, list[Intent](), list[Intent](), False
        fresh = self._unsure
        for args in calls:
            name = args[0].upper()
            intent, treatment = self._judge(args, state)
            if treatment is Treatment.REFUSE:
                raise OperationRefused(f"{intent.name} is refused by the rules of this site; nothing was sent")
            risky |= intent.certainty is not Certainty.HARMLESS
            inside = state.queued is not None and name not in _AT_ONCE
            fresh |= name == b"MULTI"
            if name == b"EXEC" and state.queued is not None:
                waiting.clear()
            if treatment is not Treatment.PASS and (not inside or fresh):
                (waiting if inside else asked).append(intent)
            state = advance(state, args)
        if len(calls) > 1 and (self.state.queued is not None or state.queued is not None):
            raise OperationRefused("a part of a transaction among other calls cannot be followed; send each by itself")
        shape = _shape(calls, self.state)
        reply = ANSWERED.get().get(calls)
        ask = self._ask(calls, shape, [*asked, *waiting], resp) if (asked or waiting) and reply is None else None
        return Passage(calls, state, risky, shape, ask, reply)

    def sent(self, passage: Passage) -> None:
        """Take over what was sent; replies may still disagree."""
        changing = [args for args in passage.calls if args[0].upper() in _STATE]
        self.before, self._single = (self.state if changing else None), len(passage.calls) == 1
        self.state = passage.after
        self._unsure = self.state.queued is not None and (self._unsure or passage.calls[-1][0].upper() == b"MULTI")

    def agreed(self) -> None:
        """A reply came that is no error."""
        if self._single and self.before is not None:
            self.before, self._unsure = None, False

    def disagreed(self) -> bool:
        """A reply came that is an error.

        Returns:
            Whether nobody knows any more if a transaction waits for EXEC, so that the connection has to be closed.
        """
        if self.before is None:
            return False
        before, self.before = self.before, None
        if self._single:
            self.state = before
        elif before.db != self.state.db:
            self.state = replace(self.state, db=None)
        return before.queued is not None

    def closed(self) -> None:
        """The connection is no more; the next one begins anew."""
        self.state, self.before, self._unsure = Connection(), None, False

    def _judge(self, args: Words, state: Connection) -> tuple[Intent, Treatment]:
        intent = self.guard.judge(args, state)
        if args in PASSED.get() or _is_handshake(args):
            return intent, Treatment.PASS
        return intent, self.guard.treatment(intent)

    def _ask(self, calls: tuple[Words, ...], shape: Shape, intents: Sequence[Intent], resp: int) -> tuple[Call, Intent]:
        state, intent = self.state, intents[0]
        commands, db = calls, state.db
        if shape is Shape.EXEC:
            commands, db = state.queued or (), state.before
        elif shape is Shape.TRANSACTION:
            commands = calls[1:-1]
        elif shape is Shape.PIPELINE:
            if any(args[0].upper() in {b"MULTI", b"EXEC", b"DISCARD"} for args in calls):
                raise OperationRefused("a transaction among other calls cannot be asked about; send it by itself")
            intent = self.guard.judge((b"EXEC",), replace(state, queued=calls, before=state.db))
        whole = shape is not Shape.CALL
        return Call(commands, whole, db, state.user, self.client, resp, RETRIED.get()), intent


def _shape(calls: Sequence[Words], state: Connection) -> Shape:
    first, last = calls[0][0].upper(), calls[-1][0].upper()
    if len(calls) == 1:
        return Shape.EXEC if last == b"EXEC" and state.queued is not None else Shape.CALL
    inside = {args[0].upper() for args in calls[1:-1]}
    if state.queued is None and first == b"MULTI" and last == b"EXEC" and not inside & _AT_ONCE:
        return Shape.TRANSACTION
    return Shape.PIPELINE


def _is_handshake(args: Words) -> bool:
    """What redis-py says of itself with RESP3; it changes nothing but which messages the connection gets."""
    return args[:2] == (b"CLIENT", b"MAINT_NOTIFICATIONS") and args[2:3] in {(b"ON",), (b"OFF",)}
