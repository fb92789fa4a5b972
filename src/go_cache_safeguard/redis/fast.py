"""Which requests need no judging at all, and how far a buffer holds nothing else.

Knows:     which calls are harmless whatever their words are, and how they look on the wire, byte by byte.
Called by: the guard's proxy, before it reads and judges a request.
Never:     says yes to a frame that `redis.resp` would not read as the very same command; knows what a connection did before:
           inside of MULTI, before a login, or while subscribed, a proxy must not ask here. What is left over goes the slow way.
Source:    the table of commands and `redis.intent`: tests/property/test_redis_fast.py compares, for any words.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple, Protocol

from go_cache_safeguard.redis.commands import Class, Command, Rule, Table, Treatment
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Terms, judge
from go_cache_safeguard.redis.resp import Limits
from go_cache_safeguard.redis.rules import Rules

try:
    from go_cache_safeguard.redis import _lane
except ImportError:  # there was no compiler when this was installed
    COMPILED = False
else:
    COMPILED = True

__all__ = ["COMPILED", "Fast", "KeysSeen", "Words", "fast_calls", "scan", "scan_python"]

_CLASSES = {Class.READ, Class.WRITE, Class.EXPIRES, Class.EMPTIES, Class.OVERWRITES, Class.REMOVES}
_OF_SESSION = {"PING", "ECHO", "PUBLISH", "SPUBLISH"}
"""Commands of that class after which a connection is what it was before; all others change it, or what it may do."""
_NO_OPTIONS = {Rule.SET: 3, Rule.GETEX: 2, Rule.COPY: 3, Rule.RESTORE: 4, Rule.STORE: 2}
"""How many words a call has that leaves all options out, so that its words decide nothing."""
_HEAD = re.compile(rb"\*([1-9][0-9]{0,9})\r\n\$(0|[1-9][0-9]{0,9})\r\n")
_BULK = re.compile(rb"\$(0|[1-9][0-9]{0,9})\r\n")
_ANY = Limits()
_LOOKED_AT = 16
_MANY = (1 << 31) - 1
_ARGUMENTS = [b"argument%d" % at for at in range(1, _LOOKED_AT)]
_OPTIONS = (b"EX", b"ex", b"PX", b"px")
_TIMED: Mapping[Rule, tuple[int, int, int, tuple[bytes, ...]]] = {
    Rule.SET: (5, 5, 4, _OPTIONS),
    Rule.GETEX: (4, 4, 3, _OPTIONS),
    Rule.SETEX: (4, 4, 2, (b"",)),
    Rule.EXPIRE: (3, _MANY, 2, (b"",)),
}
"""Calls of a key, perhaps a value, and a time from now: least and most words, which is the time, what stands before it."""
_TIME = re.compile(rb"[1-9][0-9]{0,9}")
_WILD = re.compile(rb"[*?\[\\]")


class Scanner(Protocol):
    """Says how far a buffer is harmless, as `scan` does."""

    def __call__(self, data: bytes, start: int = 0, /) -> tuple[int, list[bytes]]:
        """See `scan`."""


class Words(NamedTuple):
    """Calls of one command that are harmless.

    Attributes:
        least: How many words they have at least, the name included.
        most: And at most.
        keyed: Whether the second word is a key that must not be protected; no other one loses anything.
        time_at: Which word is a time, as a plain decimal number of at most ten digits; 0 if none has to be.
        above: What that number must exceed.
        option: What the word before the time must be, byte for byte; empty if it may be anything.
    """

    least: int
    most: int
    keyed: bool
    time_at: int = 0
    above: int = 0
    option: bytes = b""

    def fits(self, args: Sequence[bytes]) -> bool:
        """Whether a call with a number of words that is right is one of these."""
        if not self.time_at:
            return True
        time, option = args[self.time_at], args[self.time_at - 1]
        return _TIME.fullmatch(time) is not None and int(time) > self.above and self.option in {b"", option}


@dataclass(frozen=True)
class Fast:
    """What needs no judging.

    Attributes:
        calls: Harmless whatever their words are, by the command's name in upper and in lower case; other spellings are not here.
        plain: Whether only keys that look like a pattern have to be asked about, because no rule names keys.
        limits: Of requests; larger ones are not harmless.
        timed: Harmless if one word is a time that is far enough away, by the same names.
    """

    calls: Mapping[bytes, Words]
    plain: bool = False
    limits: Limits = _ANY
    timed: Mapping[bytes, tuple[Words, ...]] = field(default_factory=dict)

    @cached_property
    def forms(self) -> dict[bytes, tuple[Words, ...]]:
        """Both kinds of calls."""
        forms = {name: (words,) for name, words in self.calls.items()}
        return {**forms, **{name: (*forms.get(name, ()), *words) for name, words in self.timed.items()}}

    @property
    def compiled(self) -> tuple[dict[bytes, tuple[Words, ...]], bool, int, int, int]:
        """What the compiled twin is made of."""
        limits = self.limits
        return self.forms, self.plain, limits.arguments, limits.argument_bytes, limits.request_bytes

    @cached_property
    def scanner(self) -> "Scanner":
        """Says of a buffer, and of where a request begins there, what `scan` says."""
        return _lane.Scanner(*self.compiled) if COMPILED else partial(_scan_of, self)

    @cached_property
    def usual(self) -> "_Usual":
        """The expressions of `scan_python`, made when they are first needed."""
        return _usual(self)


def fast_calls(table: Table, rules: Rules, limits: Limits = _ANY, soon_ms: int | None = None) -> Fast:
    """Find the calls that are harmless whatever their words are, or whatever they are but for a time.

    Args:
        table: All commands.
        rules: How each class and command is treated; which keys are protected is not asked here.
        limits: Of requests.
        soon_ms: As in `intent.Terms`; None if every call with an expiry has to be judged.
    """
    calls: dict[bytes, Words] = {}
    timed: dict[bytes, tuple[Words, ...]] = {}
    for row in table:
        name = row.name.encode("latin-1")
        words = _harmless(row, table, rules)
        if words is not None:
            calls[name] = calls[name.lower()] = words
        with_times = () if soon_ms is None else tuple(_timed(row, table, rules, max(0, soon_ms)))
        if with_times:
            timed[name] = timed[name.lower()] = with_times
    return Fast(calls, not (rules.protect or rules.allow or rules.namespaces), limits, timed)


def _harmless(row: Command, table: Table, rules: Rules) -> Words | None:
    """How many words a harmless call of a command has; None if that depends on what the words are."""
    if " " in row.name or row.name in table.containers or not _is_steady(row):
        return None
    most = _LOOKED_AT if row.rule is Rule.ALWAYS else _NO_OPTIONS[row.rule]
    calls = {count: [row.name.encode("latin-1"), *_ARGUMENTS[: count - 1]] for count in range(1, most + 1)}
    found = {count: keyed for count, args in calls.items() if (keyed := _keyed(args, table, rules)) is not None}
    if not found:
        return None
    least, last = min(found), max(found)
    if len(found) != last - least + 1 or len(set(found.values())) > 1:
        return None
    return Words(least, _MANY if last == _LOOKED_AT and row.arity <= 0 else last, found[least])


def _timed(row: Command, table: Table, rules: Rules, soon_ms: int) -> Iterator[Words]:
    """Calls whose only open question is whether their expiry is far enough away; those with points in time are none."""
    form = _TIMED.get(row.rule)
    if form is None or row.name.endswith("AT"):
        return
    least, most, time_at, options = form
    for option in options:
        in_ms = option.upper() == b"PX" if option else row.name.startswith("P")
        words = Words(least, most, keyed=True, time_at=time_at, above=soon_ms // (1 if in_ms else 1000), option=option)
        found = set()
        for count in (least, min(most, _LOOKED_AT)):
            args = [row.name.encode("latin-1"), *_ARGUMENTS[: count - 1]]
            args[time_at - 1 : time_at + 1] = [option or args[time_at - 1], b"%d" % (words.above + 1)]
            found.add(_keyed(args, table, rules))
        if found in ({True}, {False}):
            yield words._replace(keyed=found == {True})


def _is_steady(row: Command) -> bool:
    """Whether a judgement depends on the number of words only, and on that no more once there are many."""
    if row.rule is not Rule.ALWAYS and row.rule not in _NO_OPTIONS:
        return False
    if row.cls is Class.SESSION:
        return row.name in _OF_SESSION
    if row.cls is Class.READ or row.rule is Rule.STORE:
        return True
    fixed = all(
        not spec.keyword
        and spec.count_at is None
        and spec.begin is not None
        and spec.begin + abs(spec.last) < _LOOKED_AT // 2
        for spec in row.keys
    )
    return fixed and row.cls in _CLASSES


def _keyed(args: Sequence[bytes], table: Table, rules: Rules) -> bool | None:
    """Whether a call like this depends on its key; None if it needs more than that to be harmless."""
    intent = judge(args, Connection(), table, Terms(0, 0))
    match rules.of_intent(intent):
        case Treatment.PASS:
            return False
        case Treatment.PROTECT if len(args) > 1 and {use.key for use in intent.losing} == {args[1]}:
            return True
    return None


def scan(data: bytes, fast: Fast, start: int = 0) -> tuple[int, list[bytes]]:
    """Find how far a buffer holds nothing but harmless requests.

    Args:
        data: What a client sent.
        fast: What is harmless.
        start: Where a request begins.

    Returns:
        Where the first request begins that is not complete, not canonical, or not known to be harmless; and the keys, in
        order, that must not be protected for this to be true. Nothing of what stands behind that place was looked at.
    """
    return fast.scanner(data, start)


def _scan_of(fast: Fast, data: bytes, start: int = 0, /) -> tuple[int, list[bytes]]:
    return scan_python(data, fast, start)


def scan_python(data: bytes, fast: Fast, start: int = 0) -> tuple[int, list[bytes]]:
    """The same with nothing compiled: usual frames by one regular expression at once, the others word by word."""
    keys: list[bytes] = []
    at = min(max(start, 0), len(data))
    while True:
        at = fast.usual.end(data, at, keys)
        after = _after_frame(data, at, fast, keys) if at < len(data) else None
        if after is None:
            return at, keys
        at = after


def _after_frame(data: bytes, at: int, fast: Fast, keys: list[bytes]) -> int | None:
    """Where one harmless frame ends, its key added to `keys`; None if it is not complete or not harmless."""
    head = _HEAD.match(data, at)
    if head is None:
        return None
    count, begin, limits = int(head[1]), head.end(), fast.limits
    end = begin + int(head[2])
    forms = [words for words in fast.forms.get(data[begin:end], ()) if words.least <= count <= words.most]
    if not forms or count > limits.arguments or data[end : end + 2] != b"\r\n":
        return None
    args, sizes = [data[begin:end]], [end - begin]
    for _ in range(count - 1):
        bulk = _BULK.match(data, end + 2)
        if bulk is None:
            return None
        end = bulk.end() + int(bulk[1])
        if data[end : end + 2] != b"\r\n":
            return None
        sizes.append(end - bulk.end())
        args.append(data[bulk.end() : end])
    words = next((words for words in forms if words.fits(args)), None)
    if words is None or max(sizes) > limits.argument_bytes or sum(sizes) > limits.request_bytes:
        return None
    if words.keyed and not (fast.plain and _WILD.search(args[1]) is None):
        keys.append(args[1])
    return end + 2


class _Usual(NamedTuple):
    """Expressions for frames of few and short words.

    Attributes:
        many: As many frames as there are, up to a bound.
        keys: One frame, its key in a group if that has to be asked about; None if no such key can be in `many`.
    """

    many: "re.Pattern[bytes]"
    keys: "re.Pattern[bytes] | None"

    def end(self, data: bytes, at: int, keys: list[bytes]) -> int:
        """Where the frames end that this knows, the keys of them added."""
        while (match := self.many.match(data, at)) is not None and match.end() > at:
            if self.keys is not None:
                keys.extend(filter(None, chain.from_iterable(self.keys.findall(data, at, match.end()))))
            at = match.end()
        return at


_USUAL_WORDS, _USUAL_BYTES, _AT_ONCE = 4, 128, 1_000


def _usual(fast: Fast) -> _Usual:
    """Write the expressions.

    A frame of n words is a head (`*n` and the name), the first argument, and n - 2 more. So `(?:(?:FIRST4 ARG|FIRST3)ARG|FIRST2)`
    holds each argument only as often as it must. A key that is asked about has a byte and no line break here, and one that is
    not asked about does not look like a pattern: other keys go word by word.
    """
    limits = fast.limits
    if min(limits.arguments, limits.argument_bytes, limits.request_bytes) < _USUAL_WORDS * _USUAL_BYTES:
        return _Usual(re.compile(b""), None)
    more, known, captured = _argument(b"."), _argument(rb"[^\r\n]", least=1), rb"\$[0-9]+\r\n([^\r\n]*)\r\n"
    frame = frame_captured = b""
    for count in range(_USUAL_WORDS, 1, -1):
        free, keyed = (_heads(fast, count, keyed=keyed) for keyed in (False, True))
        if fast.plain:
            first = first_captured = _tree({**free, **keyed}) + _argument(rb"[^*?\[\\]")
        else:
            first = _either(_tree(free) + more, _tree(keyed) + known)
            first_captured = _either(_tree(free) + more, _tree(keyed) + captured)
        frame = _either(frame + more, first) if frame else first
        frame_captured = _either(frame_captured + more, first_captured) if frame_captured else first_captured
    alone = _tree(_heads(fast, 1, keyed=False))
    many = re.compile(b"%b{0,%d}" % (_either(frame, alone), _AT_ONCE), re.DOTALL)
    return _Usual(many, None if fast.plain else re.compile(_either(frame_captured, alone), re.DOTALL))


def _heads(fast: Fast, count: int, *, keyed: bool) -> dict[bytes, bytes]:
    """How calls with so many words begin; those of modules, which have a dot, are too rare to make the expression longer."""
    return {
        b"*%d\r\n$%d\r\n%b\r\n" % (count, len(name), name): b""
        for name, words in fast.calls.items()
        if words.least <= count <= words.most and words.keyed is keyed and b"." not in name
    }


def _argument(taken: bytes, least: int = 0) -> bytes:
    """One short bulk string of bytes that are `taken`."""
    return _tree({b"$%d\r\n" % size: b"%b{%d}\\r\\n" % (taken, size) for size in range(least, _USUAL_BYTES)})


def _either(*expressions: bytes) -> bytes:
    return b"(?:%b)" % b"|".join(expressions)


def _tree(texts: Mapping[bytes, bytes]) -> bytes:
    """An expression for any of some texts, of which none begins another one, each followed by its own expression."""
    if b"" in texts:
        return texts[b""]
    branches: dict[bytes, dict[bytes, bytes]] = {}
    for text, end in texts.items():
        branches.setdefault(text[:1], {})[text[1:]] = end
    written = [re.escape(first) + _tree(rest) for first, rest in branches.items()]
    return _either(*written) if written else b"(?!)"


_REMEMBERED_BYTES = 256


class KeysSeen:
    """Keys that may lose something, so that a pattern is compared with each only once.

    Holds for as long as the rules are the same. What must not lose anything is asked about every time.
    """

    def __init__(self, names_ok: Callable[[bytes], bool], most: int = 65_536) -> None:
        self._names_ok = names_ok
        self._most = most
        self._fine: set[bytes] = set()

    def all_fine(self, keys: Sequence[bytes]) -> bool:
        """Whether all these keys may lose something."""
        return self._fine.issuperset(keys) or all(map(self._is_fine, keys))

    def _is_fine(self, key: bytes) -> bool:
        if key in self._fine:
            return True
        if not self._names_ok(key):
            return False
        if len(self._fine) >= self._most:
            self._fine.clear()
        if len(key) <= _REMEMBERED_BYTES:
            self._fine.add(key)
        return True
