"""How fast harmless requests are told from others: both twins, and the strict reader with the judge, which they spare.

    python benchmarks/redis_scan.py

Result: stdout, and between the markers in docs/benchmarks.md.
"""

import time
from collections.abc import Callable

from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.fast import COMPILED, Fast, fast_calls, scan, scan_python
from go_cache_safeguard.redis.intent import Terms, judge
from go_cache_safeguard.redis.resp import RequestReader, encode
from go_cache_safeguard.redis.rules import Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from page import machine, median, write_section

ROUNDS, CALLS, PIPELINED = 7, 300, 64
TABLE = load_table()


def buffer(requests: int) -> bytes:
    """GET and SET by turns, with keys and values as redis-benchmark has them."""
    calls = [((b"SET", b"key:%012d" % at, b"xxx"), (b"GET", b"key:%012d" % at))[at % 2] for at in range(requests)]
    return b"".join(map(encode, calls))


def judged(data: bytes, _fast: Fast) -> None:
    """The slow way."""
    for request in RequestReader().feed(data):
        judge(request.args, Connection(), TABLE, Terms(0))


def seconds(act: Callable[[bytes, Fast], object], data: bytes, fast: Fast, calls: int) -> float:
    """How long one call takes, in the middle of some rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            act(data, fast)
        took.append((time.perf_counter() - began) / calls)
    return median(took)


def main() -> None:
    """Measure and write."""
    if not COMPILED:
        raise SystemExit("the compiled twin is not here: was there a compiler when this was installed?")
    plain, protected = fast_calls(TABLE, Rules()), fast_calls(TABLE, Rules(protect=parse_patterns("session:*")))
    ways: dict[str, tuple[Callable[[bytes, Fast], object], Fast, int]] = {
        "compiled": (scan, plain, CALLS * 10),
        "compiled, keys are told": (scan, protected, CALLS * 10),
        "Python": (scan_python, plain, CALLS),
        "Python, keys are told": (scan_python, protected, CALLS),
        "`RequestReader` and `judge`": (judged, plain, 10),
    }
    lines = [
        f"`GET` and `SET` by turns, keys of 16 bytes; medians of {ROUNDS} rounds. {machine()}",
        "",
        f"| how | requests a second, {PIPELINED} in a buffer | microseconds for a buffer of one |",
        "| --- | ---: | ---: |",
    ]
    for name, (act, fast, calls) in ways.items():
        many, one = (seconds(act, buffer(count), fast, calls) for count in (PIPELINED, 1))
        lines.append(f"| {name} | {PIPELINED / many:,.0f} | {one * 1e6:.2f} |")
    write_section("redis-scan", "\n".join([*lines, "", "Again: `python benchmarks/redis_scan.py`."]))


if __name__ == "__main__":
    main()
