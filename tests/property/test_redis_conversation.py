"""It does not matter where a stream is cut, on either side: the same commands reach the server, the same replies the client."""

from collections.abc import Callable, Sequence
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.redis import _lane
from go_cache_safeguard.redis.call import Answer, Call, Held, Pass
from go_cache_safeguard.redis.checks.names import may_lose
from go_cache_safeguard.redis.conversation import Conversation, Setting
from go_cache_safeguard.redis.fast import KeysSeen, fast_calls
from go_cache_safeguard.redis.lane import Lane, LanePython
from go_cache_safeguard.redis.resp import RequestReader, encode
from go_cache_safeguard.redis.rules import Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table

NOW = 1_700_000_000_000
TABLE = load_table()
RULES = Rules(protect=parse_patterns("session:*"))
OK = partial(may_lose, rules=RULES)
SETTING = Setting(TABLE, RULES, fast_calls(TABLE, RULES, soon_ms=1_000), OK, stream_bytes=30)
AT_ONCE = {b"EXEC", b"DISCARD", b"MULTI", b"WATCH", b"RESET", b"QUIT"}


class SmallServer:
    """Answers as a server does, as far as connections and transactions go; remembers what it did."""

    def __init__(self) -> None:
        self.done: list[tuple[bytes, ...]] = []
        self._reader = RequestReader()
        self._queued: list[tuple[bytes, ...]] | None = None
        self._dirty = False

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._answer(request.args) for request in self._reader.feed(data))

    def _answer(self, args: tuple[bytes, ...]) -> bytes:
        name = args[0].upper()
        if name.startswith(b"GUARD-"):
            self._dirty = self._queued is not None
            return b"-ERR unknown command '" + args[0] + b"', with args beginning with: \r\n"
        if name == b"MULTI":
            if self._queued is not None:
                return b"-ERR MULTI calls can not be nested\r\n"
            self._queued, self._dirty = [], False
            return b"+OK\r\n"
        if name in {b"EXEC", b"DISCARD"}:
            return self._end(done=name == b"EXEC")
        if self._queued is not None:
            self._queued.append(args)
            return b"+QUEUED\r\n"
        self.done.append(args)
        return b"+OK\r\n" if name == b"SELECT" else b"$%d\r\n%b\r\n" % (len(name), name)

    def _end(self, *, done: bool) -> bytes:
        queued, self._queued = self._queued, None
        if queued is None:
            return b"-ERR without MULTI\r\n"
        if not done:
            return b"+OK\r\n"
        if self._dirty:
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        self.done += queued
        return b"*%d\r\n" % len(queued) + b"+done\r\n" * len(queued)


def _some(call: Call) -> Answer:
    """Some calls pass, others are held, whatever came before."""
    return Pass() if call.commands and len(call.commands[0]) % 2 else Held("op_1", "no")


def _cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    ends = sorted({min(one, len(data)) for one in at})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True) if begin < end]


def _none(_call: Call) -> Answer:
    return Held("op_1", "no")


class Carried:
    """A conversation with a lane beside it, as the proxy has both.

    Attributes:
        said: What the client got.
        by: How many chunks of the client went by.
    """

    def __init__(self, made: Callable[[Callable[[bytes], None], Callable[[bytes], None]], Lane]) -> None:
        numbers = iter(range(10_000))
        self._lane = made(self._client_sent, self._server_sent)
        self.talk = Conversation(
            SETTING,
            KeysSeen(OK),
            lambda length: next(numbers).to_bytes(length, "big"),
            lambda: NOW,
            lane=self._lane,
        )
        self._sent = bytearray()
        self.said = bytearray()
        self.by = 0
        self._lane.to_client, self._lane.to_server = self.said.extend, self._went_by

    def sent(self) -> bytes:
        """What the server gets."""
        sent = bytes(self._sent)
        self._sent.clear()
        return sent

    def client_sent(self, data: bytes) -> None:
        self._lane.client_sent(data)

    def server_sent(self, data: bytes) -> None:
        self._lane.server_sent(data)

    def decided(self, answer: Answer) -> None:
        self._sent += self.talk.decided(answer)

    def _went_by(self, data: bytes) -> None:
        self.by += 1
        self._sent += data

    def _client_sent(self, data: bytes) -> None:
        self._sent += self.talk.client_sent(data)

    def _server_sent(self, data: bytes) -> None:
        self.said += self.talk.server_sent(data)
        self._sent += self.talk.go_on()


class Closed(LanePython):
    """Hands over everything."""

    def client_sent(self, data: bytes, /) -> None:
        self._on_client(data)

    def server_sent(self, data: bytes, /) -> None:
        self._on_server(data)


LANES = (Closed, LanePython, _lane.Lane)


def _played(
    pieces: Sequence[bytes],
    size: int,
    gate: Callable[[Call], Answer] = _some,
    made: Callable[[Callable[[bytes], None], Callable[[bytes], None]], Lane] = Closed,
) -> tuple[list[tuple[bytes, ...]], bytes]:
    """Bring the pieces through a conversation with a small server, whose replies come in pieces of a size."""
    carried = Carried(made)
    talk, server, waiting, outbox, coming = carried.talk, SmallServer(), b"", b"", list(pieces)
    while True:
        if waiting and talk.reads:
            carried.client_sent(waiting)
            waiting = b""
        elif talk.asked is not None:
            (call, _), talk.asked = talk.asked, None
            carried.decided(gate(call))
        elif outbox:
            carried.server_sent(outbox[:size])
            outbox = outbox[size:]
        elif coming:
            waiting += coming.pop(0)
        else:
            return server.done, bytes(carried.said)
        outbox += server.feed(carried.sent())


_KEYS = st.sampled_from([b"page:1", b"session:1", b"k"])
_VALUES = st.binary(max_size=80)
_WORDS = st.one_of(
    st.tuples(st.just(b"GET"), _KEYS),
    st.tuples(st.sampled_from([b"SET", b"set", b"Set"]), _KEYS, _VALUES),
    st.tuples(st.just(b"SET"), _KEYS, _VALUES, st.just(b"EX"), st.sampled_from([b"0", b"100"])),
    st.tuples(st.just(b"DEL"), _KEYS),
    st.tuples(st.just(b"DEL"), _KEYS, _KEYS),
    st.tuples(st.sampled_from([b"MULTI", b"EXEC", b"DISCARD", b"PING", b"FLUSHALL", b"NOSUCH"])),
    st.tuples(st.just(b"SELECT"), st.sampled_from([b"0", b"1"])),
)


@settings(max_examples=150)
@given(st.lists(_WORDS, max_size=25), st.lists(st.integers(0, 2_000), max_size=12), st.integers(1, 60))
def test_any_cut_gives_the_same(words: list[tuple[bytes, ...]], at: list[int], size: int) -> None:
    data = b"".join(map(encode, words))
    whole = _played([data], 1 << 20)
    for made in LANES:
        assert _played(_cut(data, at), size, made=made) == whole


@settings(max_examples=100)
@given(st.lists(_WORDS, max_size=25))
def test_what_was_held_is_never_done_and_every_request_has_one_reply(words: list[tuple[bytes, ...]]) -> None:
    for made in LANES:
        _one_reply_each(words, *_played([b"".join(map(encode, words))], 1 << 20, _none, made))


def _one_reply_each(words: list[tuple[bytes, ...]], done: list[tuple[bytes, ...]], said: bytes) -> None:
    assert {one[0].upper() for one in done} <= {b"GET", b"SET", b"PING", b"SELECT"}
    assert not any(b"session:1" in one[:2] and one[0].upper() == b"SET" for one in done)
    assert not any(one[3:] == (b"EX", b"0") for one in done)
    replies = said.count(b"\r\n") - said.count(b"$") - said.count(b"+done\r\n")
    assert replies == len(words)


def test_cut_at_every_byte() -> None:
    words: list[tuple[bytes, ...]] = [
        (b"SELECT", b"1"),
        (b"SET", b"page:1", b"x" * 40),
        (b"SET", b"session:1", b"v"),
        (b"MULTI",),
        (b"GET", b"k"),
        (b"DEL", b"k"),
        (b"EXEC",),
        (b"DEL", b"k", b"l"),
        (b"PING",),
    ]
    data = b"".join(map(encode, words))
    whole = _played([data], 1 << 20)
    for made in LANES:
        for at in range(len(data)):
            assert _played([data[:at], data[at:]], 1 << 20, made=made) == whole
        assert _played([data[at : at + 1] for at in range(len(data))], 1, made=made) == whole


def test_requests_of_one_piece_each_go_by_where_they_may() -> None:
    words: list[tuple[bytes, ...]] = [
        (b"GET", b"k"),
        (b"SET", b"page:1", b"x"),
        (b"MULTI",),
        (b"GET", b"k"),
        (b"EXEC",),
        (b"GET", b"k"),
        (b"SET", b"session:1", b"v"),
        (b"GET", b"k"),
    ]
    for made in (LanePython, _lane.Lane):
        carried, server = Carried(made), SmallServer()
        for one in words:
            carried.client_sent(encode(one))
            outbox = server.feed(carried.sent())
            while outbox or carried.talk.asked is not None:
                if carried.talk.asked is not None:
                    carried.talk.asked = None
                    carried.decided(Held("op_1", "no"))
                else:
                    carried.server_sent(outbox)
                outbox = server.feed(carried.sent())
        assert carried.by == 4
        assert server.done == [(b"GET", b"k"), (b"SET", b"page:1", b"x"), *[(b"GET", b"k")] * 3]
