"""Patterns of names and values that can never take long.

Knows:     Redis' own glob patterns, a regular language of regular expressions, and how both become one automaton.
Called by: `redis.rules`, `redis.checks.names`, `telemetry.rules`, `telemetry.redact`.
Never:     goes back: a key of n bytes takes n steps, whatever the pattern is. That is why `re` is not used: `(a+)+` and
           `.*.*.*` are fine here, and back references, look-around and lazy quantifiers are refused when the pattern is read.
Source:    util.c `stringmatchlen` (Redis 6.2 to Valkey 9), with its ways: `[` is closed by the end of the pattern, `[]` matches
           nothing, `[a-]` is a range to `]`, ranges compare signed bytes as on x86, and only `*` alone matches an empty key.
           The automaton is Glushkov's: one state for each place in the pattern.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

_MOST_STATES = 1_000
_MOST_BYTES = 1_000
_REMEMBERED = 4_096
_ANY = (1 << 256) - 1
"""Sets of bytes are numbers: bit b stands for byte b."""


class PatternError(ValueError):
    """A pattern that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a pattern: whether it can be empty, and its first and last places as sets of bits."""

    empty: bool
    first: int
    last: int


_NOTHING = _Part(empty=True, first=0, last=0)


class Pattern:
    """What a whole key is compared with.

    Attributes:
        text: As it was written.
    """

    def __init__(self, text: str, states: list[int], follow: list[int], whole: _Part, *, matches_empty: bool) -> None:
        self.text = text
        self._follow, self._whole = follow, whole
        self._empty = matches_empty
        self._takers = tuple(_takers(states, byte) for byte in range(256))
        self._known: dict[int, int] = {}

    def matches(self, key: bytes) -> bool:
        """Whether the whole key is of this pattern. Takes one step for each byte."""
        if not key:
            return self._empty
        at, candidates = 0, self._whole.first
        for byte in key:
            at = candidates & self._takers[byte]
            if not at:
                return False
            candidates = self._next(at)
        return bool(at & self._whole.last)

    def _next(self, at: int) -> int:
        """The places that may follow some places; remembered, because few sets of places come up."""
        found = self._known.get(at)
        if found is None:
            found = 0
            for place in _bits(at):
                found |= self._follow[place]
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[at] = found
        return found


def _takers(states: list[int], byte: int) -> int:
    """The places that take a byte, as a set of bits."""
    return sum(1 << place for place, taken in enumerate(states) if taken >> byte & 1)


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def parse_pattern(text: str) -> Pattern:
    """Read `session:*`, or a regular expression after `re:`.

    Raises:
        PatternError: It is too long, or not a pattern; the message says why.
    """
    if text.startswith("re:"):
        return parse_regex(text.removeprefix("re:"))
    return parse_glob(text.encode("utf-8", "surrogateescape"))


def parse_glob(glob: bytes) -> Pattern:
    """Read a pattern of Redis' KEYS and SCAN.

    Raises:
        PatternError: It is too long.
    """
    if len(glob) > _MOST_BYTES:
        raise PatternError(f"a pattern of more than {_MOST_BYTES} bytes")
    build = _Builder()
    whole = build.sequence([_star(build) if taken is None else build.place(taken) for taken in _glob_parts(glob)])
    text = glob.decode("utf-8", "surrogateescape")
    return build.pattern(text, whole, matches_empty=glob in {b"", b"*"})


def _star(build: "_Builder") -> _Part:
    return build.repeated(build.place(_ANY), empty=True)


def _glob_parts(glob: bytes) -> Iterator[int | None]:
    """Sets of bytes, and None for a star."""
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        if char == b"[":
            taken, at = _glob_class(glob, at + 1)
            yield taken
            continue
        if char == b"\\" and at + 1 < len(glob):
            at += 1
            yield 1 << glob[at]
        elif char == b"*":
            yield None
        else:
            yield _ANY if char == b"?" else 1 << glob[at]
        at += 1


def _glob_class(glob: bytes, at: int) -> tuple[int, int]:
    """The bytes of a class whose bracket was read, and where the pattern goes on."""
    wrong = glob[at : at + 1] == b"^"
    at += wrong
    taken = 0
    while at < len(glob) and (glob[at : at + 1] != b"]"):
        if glob[at : at + 1] == b"\\" and at + 1 < len(glob):
            taken |= 1 << glob[at + 1]
            at += 2
        elif glob[at + 1 : at + 2] == b"-" and at + 2 < len(glob):
            taken |= _signed_range(glob[at], glob[at + 2])
            at += 3
        else:
            taken |= 1 << glob[at]
            at += 1
    return (_ANY ^ taken if wrong else taken), at + 1


def _signed_range(one: int, other: int) -> int:
    low, high = sorted((one - 256 if one > 127 else one, other - 256 if other > 127 else other))
    return sum(1 << (byte & 255) for byte in range(low, high + 1))


def parse_regex(text: str) -> Pattern:
    r"""Read a regular expression; the whole key must be of it.

    Understood: characters, `.`, `[...]`, `[^...]`, `\d \w \s` and their opposites, `\xHH`, `\n \r \t`, an escaped punctuation
    mark, `( )`, `(?: )`, `|`, `* + ? {m} {m,} {m,n}`, and `^` and `$` at the very ends. A `.` is any byte.

    Raises:
        PatternError: It is too long, has something else, or needs too many states.
    """
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > _MOST_BYTES:
        raise PatternError(f"a pattern of more than {_MOST_BYTES} bytes")
    reader = _Regex(data.removeprefix(b"^"))
    whole = reader.alternatives(0)
    if reader.at < len(reader.data):
        raise PatternError("a ) without its (")
    return reader.build.pattern(f"re:{text}", whole, matches_empty=whole.empty)


class _Builder:
    """Places of a pattern, and which follows which."""

    def __init__(self) -> None:
        self.states: list[int] = []
        self.follow: list[int] = []

    def place(self, taken: int) -> _Part:
        """One byte out of a set."""
        if len(self.states) == _MOST_STATES:
            raise PatternError(f"a pattern of more than {_MOST_STATES} places, with its repetitions counted")
        self.states.append(taken)
        self.follow.append(0)
        bit = 1 << len(self.states) - 1
        return _Part(empty=False, first=bit, last=bit)

    def sequence(self, parts: list[_Part]) -> _Part:
        """One after the other."""
        whole = _NOTHING
        for part in parts:
            for place in _bits(whole.last):
                self.follow[place] |= part.first
            whole = _Part(
                empty=whole.empty and part.empty,
                first=whole.first | part.first if whole.empty else whole.first,
                last=whole.last | part.last if part.empty else part.last,
            )
        return whole

    def repeated(self, part: _Part, *, empty: bool) -> _Part:
        """The same again and again, at least once unless `empty`."""
        for place in _bits(part.last):
            self.follow[place] |= part.first
        return _Part(part.empty or empty, part.first, part.last)

    def pattern(self, text: str, whole: _Part, *, matches_empty: bool) -> Pattern:
        """What was built."""
        return Pattern(text, self.states, self.follow, whole, matches_empty=matches_empty)


_BRACES = re.compile(rb"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_DIGIT = sum(1 << byte for byte in b"0123456789")
_WORD = sum(1 << byte for byte in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_BLANK = sum(1 << byte for byte in b" \t\n\r\f\v")
_DEPTH = 50


class _Regex:
    """Reads a regular expression from left to right."""

    _SETS: ClassVar = {
        b"d": _DIGIT,
        b"D": _ANY ^ _DIGIT,
        b"w": _WORD,
        b"W": _ANY ^ _WORD,
        b"s": _BLANK,
        b"S": _ANY ^ _BLANK,
        b"n": 1 << 10,
        b"r": 1 << 13,
        b"t": 1 << 9,
    }

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.build = _Builder()
        self._copies = 0

    def alternatives(self, depth: int) -> _Part:
        """`a|b|c`, up to the end or a closing bracket."""
        if depth > _DEPTH:
            raise PatternError("brackets are nested too deeply")
        found = [self._sequence(depth)]
        while self._peek() == b"|":
            self.at += 1
            found.append(self._sequence(depth))
        first = last = 0
        for part in found:
            first, last = first | part.first, last | part.last
        return _Part(any(part.empty for part in found), first, last)

    def _sequence(self, depth: int) -> _Part:
        parts = []
        while self._peek() not in {b"", b"|", b")"}:
            if self._peek() == b"$" and self.at == len(self.data) - 1:
                self.at += 1
                break
            parts.append(self._quantified(depth))
        return self.build.sequence(parts)

    def _quantified(self, depth: int) -> _Part:
        begin = self.at
        part = self._atom(depth)
        end = self.at
        char = self._peek()
        if char in {b"*", b"+", b"?"}:
            self.at += 1
            self._no_more()
            return _Part(empty=True, first=part.first, last=part.last) if char == b"?" else self._again(part, char)
        braces = _BRACES.match(self.data, self.at)
        if braces is None:
            return part
        after = braces.end()
        least = int(braces[1])
        most = None if braces[2] and braces[3] is None else int(braces[3] or braces[1])
        if most is not None and most < least:
            raise PatternError(f"{braces[0].decode()} counts backwards")
        copies = [part, *(self._copy(begin, end, depth) for _ in range(max(1, least, most or 0) - 1))]
        self.at = after
        self._no_more()
        return self._counted(copies, least, most)

    def _again(self, part: _Part, char: bytes) -> _Part:
        return self.build.repeated(part, empty=char == b"*")

    def _copy(self, begin: int, end: int, depth: int) -> _Part:
        """The same piece of text once more: a repetition needs places of its own."""
        self._copies += 1
        if self._copies > _MOST_STATES:
            raise PatternError(f"more than {_MOST_STATES} repetitions")
        self.at = begin
        part = self._atom(depth)
        if self.at != end:
            raise AssertionError("the same text was read differently")
        return part

    def _counted(self, copies: list[_Part], least: int, most: int | None) -> _Part:
        if most == 0:
            return _NOTHING
        parts = [
            part if at < least else _Part(empty=True, first=part.first, last=part.last)
            for at, part in enumerate(copies)
        ]
        if most is None:
            parts[-1] = self.build.repeated(copies[-1], empty=least == 0)
        return self.build.sequence(parts)

    def _atom(self, depth: int) -> _Part:
        char = self._peek()
        self.at += 1
        match char:
            case b"(":
                return self._group(depth)
            case b"[":
                return self.build.place(self._class())
            case b"\\":
                return self.build.place(self._escape())
            case b".":
                return self.build.place(_ANY)
            case b"*" | b"+" | b"?" | b"^" | b"$" | b"{" | b"}":
                raise PatternError(f"{char.decode()} where a character should be; write \\{char.decode()} for itself")
        return self.build.place(1 << char[0])

    def _group(self, depth: int) -> _Part:
        if self._peek() == b"?":
            if self.data[self.at : self.at + 2] != b"?:":
                raise PatternError("only (?: ) is understood of what begins with (?")
            self.at += 2
        part = self.alternatives(depth + 1)
        if self._peek() != b")":
            raise PatternError("a ( without its )")
        self.at += 1
        return part

    def _class(self) -> int:
        wrong = self._peek() == b"^"
        self.at += wrong
        taken, begin = 0, self.at
        while self._peek() != b"]" or self.at == begin:
            low = self._member()
            if self._peek() == b"-" and self.data[self.at + 1 : self.at + 2] not in {b"]", b""}:
                self.at += 1
                high = self._member()
                if low.bit_count() != 1 or high.bit_count() != 1 or high < low:
                    raise PatternError("a range that has no beginning or no end")
                low = (high << 1) - low
            taken |= low
        self.at += 1
        return _ANY ^ taken if wrong else taken

    def _member(self) -> int:
        char = self._peek()
        if not char:
            raise PatternError("a [ without its ]")
        self.at += 1
        return self._escape() if char == b"\\" else 1 << char[0]

    def _escape(self) -> int:
        char = self._peek()
        self.at += 1
        if char == b"x":
            digits = self.data[self.at : self.at + 2]
            if re.fullmatch(rb"[0-9a-fA-F]{2}", digits) is None:
                raise PatternError("\\x needs two hexadecimal digits")
            self.at += 2
            return 1 << int(digits, 16)
        if char in self._SETS:
            return self._SETS[char]
        if not char or char.isalnum() or char[0] > 127:
            raise PatternError(f"\\{char.decode('utf-8', 'replace')} is not understood")
        return 1 << char[0]

    def _no_more(self) -> None:
        if self._peek() in {b"*", b"+", b"?"} or _BRACES.match(self.data, self.at):
            raise PatternError(
                "two quantifiers in a row; lazy and possessive ones are not needed to compare a whole key"
            )

    def _peek(self) -> bytes:
        return self.data[self.at : self.at + 1]


def is_glob(text: bytes) -> bool:
    """Whether a name has a character that a glob pattern would give a meaning to."""
    return bool(set(text) & set(b"*?[\\"))


def is_whole_keyspace(glob: bytes, separator: bytes = b":", depth: int = 2) -> bool:
    """Whether a pattern takes in a whole namespace, or more.

    Args:
        glob: A pattern of KEYS and SCAN.
        separator: Between the parts of a name.
        depth: How many parts must be told before a wildcard, the namespace being the first: `user:*` tells one.

    Returns:
        True for `*`, `user*`, `user:*`, `user:?*`, `*:session`; False for `user:42:*`, and for what names one key only.
    """
    told, wild = bytearray(), False
    for taken in _glob_parts(glob):
        if taken is None or taken.bit_count() != 1:
            wild = True
            break
        told.append(taken.bit_length() - 1)
    return wild and bytes(told).count(separator) < depth
