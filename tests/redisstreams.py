"""What clients may send: harmless requests, others, and bytes that only look like requests; and what a scan must say to them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import twins
from go_cache_safeguard.redis.commands import Table
from go_cache_safeguard.redis.fast import Fast, Scanner, Words
from go_cache_safeguard.redis.resp import RequestReader, encode

Scanned: TypeAlias = tuple[int, list[bytes]]
Scan: TypeAlias = Callable[[bytes, Fast, int], Scanned]

HOSTILE_NUMBERS = (
    *(b"", b"0", b"00", b"01", b"02", b"+1", b"+2", b"-1", b"-0", b" 1", b"1 ", b"1e1", b"0x1", b"\xb2", b"1\0"),
    *(b"%d" % (2**power + add) for power in (31, 32, 63, 64) for add in (-1, 0, 1)),
    *(b"999999999", b"9999999999", b"99999999999", b"9" * 40),
)
"""What may stand where a length should."""

TIMES = (
    *(
        b"2",
        b"60",
        b"1000",
        b"1001",
        b"1",
        b"4102444800",
        b"9999999999",
        b"10000000000",
        b"2\0",
        b"60 ",
        b"6e1",
        b"\xb2",
    ),
    *HOSTILE_NUMBERS,
)
"""What may stand where an expiry should."""

WORDS = (
    *(b"", b"k", b"key:000000000001", b"session:1", b"a*", b"user:*", b"[", b"\\", b"?", b"\0", b"REPLACE\0x"),
    *(
        b"EX",
        b"px",
        b"0",
        b"-1",
        b"NX",
        b"STORE",
        b"COPY",
        b"KEYS",
        b"MAXLEN",
        b"STREAMS",
        b"\r\n",
        b"\r",
        b"\n",
        b"a\r\nb",
    ),
    *(b"$1\r\nk\r\n", b"XX*1\r\n$8\r\nFLUSHALL\r\n", b"*1\r\n$8\r\nFLUSHALL\r\n", b"x" * 127, b"x" * 128, b"y" * 300),
)


def compiled(directory: Path, *flags: str) -> Path:
    """Compile the twin, every warning an error."""
    return twins.compiled("redis/_lane.c", directory, *flags)


class Twin:
    """A compiled twin, to be called as the Python one is.

    Attributes:
        module: What was loaded.
    """

    def __init__(self, path: Path) -> None:
        self.module = twins.loaded(path)
        self._scanners: dict[int, tuple[Fast, Scanner]] = {}

    def raw(self, *words: Any) -> Scanned:
        """A scan by a scanner that nobody used before."""
        found: Scanned = self.module.Scanner(*words[:5])(*words[5:])
        return found

    def __call__(self, data: bytes, fast: Fast, start: int = 0) -> Scanned:
        """A scan by a scanner that remembers others."""
        if id(fast) not in self._scanners:
            self._scanners[id(fast)] = fast, self.module.Scanner(*fast.compiled)
        return self._scanners[id(fast)][1](data, start)


def expected(data: bytes, fast: Fast) -> tuple[Scanned, list[tuple[bytes, ...]]]:
    """What a scan must say, by way of the strict reader; and the requests that it says it of."""
    end, keys, requests = 0, [], []
    for request in RequestReader(fast.limits).feed(data):
        words = _words(request.args, fast)
        if words is None:
            break
        if words.keyed and not (fast.plain and not set(request.args[1]) & set(b"*?[\\")):
            keys.append(request.args[1])
        end += request.length
        requests.append(request.args)
    return (end, keys), requests


def _words(args: tuple[bytes, ...], fast: Fast) -> Words | None:
    """As whom a request is harmless."""
    for words in fast.forms.get(args[0], ()):
        if words.least <= len(args) <= words.most:
            option, time = args[words.time_at - 1], args[words.time_at]
            far = time.isdigit() and len(time) <= 10 and time[:1] != b"0" and int(time) > words.above
            if not words.time_at or (far and words.option in {b"", option}):
                return words
    return None


Forms: TypeAlias = Sequence[tuple[bytes, Sequence[int]]]
_ANY_COUNT = (0, 1, 1, 1, 2, 2, 2, 3, 4, 7, 20)


def forms(fast: Fast, table: Table) -> Forms:
    """Names, each with the numbers of arguments that its requests have: mostly such as are harmless."""
    harmless = [(name, range(of.least - 1, min(of.most, of.least + 3))) for name, of in fast.calls.items()]
    usual = [(name, counts) for name, counts in harmless if name.upper() in {b"GET", b"SET", b"MSET", b"PING", b"HSET"}]
    return [*harmless, *usual * 40, *((name.encode(), _ANY_COUNT) for name in table.rows), (b"NOBODY", _ANY_COUNT)]


def stream(random: Random, forms: Forms) -> bytes:
    """A few requests, most of them with something wrong somewhere."""
    data = b"".join(_request(random, *random.choice(forms)) for _ in range(random.randrange(6)))
    for _ in range(random.choice((0, 1, 1, 2))):
        data = random.choice(_DAMAGES)(random, data)
    return data


def _request(random: Random, name: bytes, counts: Sequence[int]) -> bytes:
    if random.random() < 0.05:
        name = bytes(random.choice((byte, byte ^ 0x20)) for byte in name)
    words = [
        random.choice(WORDS) if random.random() < 0.9 else random.randbytes(8) for _ in range(random.choice(counts))
    ]
    return encode((name, *words))


def _timed(random: Random) -> tuple[bytes, ...]:
    """A call with an expiry, or with what could be taken for one."""
    key, value, time = random.choice(WORDS), random.choice(WORDS), random.choice(TIMES)
    option = random.choice((b"EX", b"ex", b"PX", b"px", b"Ex", b"EXAT", b"KEEPTTL", b"EX\0"))
    call = random.choice(
        (
            (b"SET", key, value, option, time),
            (b"GETEX", key, option, time),
            (b"SETEX", key, time, value),
            (b"psetex", key, time, value),
            (b"EXPIRE", key, time),
            (b"pexpire", key, time, b"NX", value),
            (b"EXPIREAT", key, time),
        )
    )
    return call if random.random() < 0.9 else call[:-1]


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _cut(random: Random, data: bytes) -> bytes:
    return data[: _place(random, data)]


def _flip(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + random.choice((b"\r", b"\n", b"0", b"$", b"*", b"\0", random.randbytes(1))) + data[at + 1 :]


def _insert(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + random.choice((*WORDS, *HOSTILE_NUMBERS)) + data[at:]


def _drop(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.randrange(1, 5) :]


def _renumber(random: Random, data: bytes) -> bytes:
    """Another number in the place of a length."""
    marks = [at for at, byte in enumerate(data) if byte in b"*$"]
    if not marks:
        return data
    at = random.choice(marks) + 1
    end = data.find(b"\r\n", at)
    return data[:at] + random.choice(HOSTILE_NUMBERS) + data[end:] if end > 0 else data


_DAMAGES = (_cut, _flip, _insert, _drop, _renumber)
