"""How fast keys are planned, captured and removed, and put back, beside the naive ways on the same server in the same run.

    PYTHONPATH=tests python benchmarks/redis_capture.py [KEYS]

The server is a real one of `make setup`, on a unix socket. Result: stdout, and between the markers in docs/benchmarks.md.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_removal import execute
from go_cache_safeguard.flows.redis_undo import undo
from page import machine, median, verdict, write_section
from redisguard import Guard
from rediskeys import pipeline
from redisservers import Client, running

ROUNDS, KEYS, GOAL = 3, 100_000, 30_000
SERVER = "valkey-9.1"
_PART = 5_000
_EVERYTHING = Wanted("FLUSHDB", everything=True)


def fill(client: Client, keys: int) -> None:
    """Small strings that end in a day."""
    client("FLUSHALL")
    for begin in range(0, keys, _PART):
        numbers = range(begin, min(keys, begin + _PART))
        pipeline(client, [("SET", f"user:{number:08}", f"value {number}", "EX", "90000") for number in numbers])


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def guarded(guard: Guard) -> dict[str, float]:
    """One whole story; seconds of each part."""
    began = time.monotonic()
    found, verdicts = guard.look(_EVERYTHING)
    planned = time.monotonic()
    session = guard.session(policy__on_block="allow")
    receipt = clean(session, found.plan, lambda: verdicts, execute, None)
    removed = time.monotonic()
    back = undo(session, receipt.op)
    return {
        "plan: `SCAN`, `DUMP`, end, size, digest": planned - began,
        "capture and removal: copies durable, then `EXEC`": receipt.took_ms / 1000,
        "the same with journal, kept plan and proof": removed - planned,
        "`redis undo`": back.took_ms / 1000,
    }


def naive(client: Client, keys: int) -> dict[str, float]:
    """What loses writes, and has no way back: for comparison only."""
    names = [f"user:{number:08}" for number in range(keys)]
    parts = [names[begin : begin + _PART] for begin in range(0, keys, _PART)]

    def dump() -> None:
        for part in parts:
            pipeline(client, [("DUMP", name) for name in part])

    def unlink() -> None:
        for part in parts:
            client("UNLINK", *part)

    return {"`DUMP` in pipelines, nothing kept": seconds(dump), "`UNLINK` in large batches, no copy": seconds(unlink)}


def report(runs: Mapping[str, Sequence[float]], keys: int) -> str:
    """The section."""
    lines = [
        f"{keys:,} strings of 12 bytes, {SERVER}, unix socket; {ROUNDS} rounds, interleaved, medians. {machine()}",
        "",
        "| what | keys a second | goal |",
        "| --- | ---: | --- |",
    ]
    for name, values in runs.items():
        rate = keys / median(values)
        lines.append(f"| {name} | {rate:,.0f} | {verdict(rate, GOAL) if name.startswith('capture') else ''} |")
    return "\n".join([*lines, "", "Again: `PYTHONPATH=tests python benchmarks/redis_capture.py [KEYS]`."])


def main(keys: int) -> None:
    """Measure and write."""
    runs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="safeguard-bench-") as name:
        folder = Path(name)
        with running(SERVER, folder) as server, server.client() as client:
            for number in range(ROUNDS):
                fill(client, keys)
                once = guarded(Guard(f"unix://{server.path}", folder / f"state{number}")) | naive(client, keys)
                for what, took in once.items():
                    runs.setdefault(what, []).append(took)
                    print(f"{number + 1}/{ROUNDS} {what}: {took:.2f} s", file=sys.stderr)
    write_section("redis-capture", report(runs, keys))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else KEYS)
