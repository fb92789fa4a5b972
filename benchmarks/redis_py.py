"""What the guard costs inside of a Python process: the same calls of redis-py, plain and guarded, in turns, on one server.

    PYTHONPATH=tests python benchmarks/redis_py.py

The server is a real one of `make setup`, on a unix socket. Result: stdout, and between the markers in docs/benchmarks.md.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from redis import asyncio as aioredis

from go_cache_safeguard.redis_py import Guard, GuardedRedis
from go_cache_safeguard.redis_py.asyncio import GuardedRedis as AsyncGuardedRedis
from page import machine, median, write_section
from redisservers import running

ROUNDS, GOAL = 60, 1.15
SERVER = "valkey-9.1"
Call = Callable[[Any], Any]
_FIFTY = [f"key:{number}" for number in range(50)]


def _pipeline(one: Any, *, transaction: bool, size: int) -> Any:
    pipe = one.pipeline(transaction=transaction)
    for key in _FIFTY[:size]:
        pipe.get(key).incr("n")
    return pipe.execute()


WAYS: list[tuple[str, bool, int, Call]] = [
    ("`GET`", True, 200, lambda one: one.get("key:1")),
    ("`HSET`", True, 200, lambda one: one.hset("h", "f", "v")),
    ("`INCR`", True, 200, lambda one: one.incr("n")),
    ("pipeline of 100", True, 4, lambda one: _pipeline(one, transaction=False, size=50)),
    ("transaction of 10", True, 20, lambda one: _pipeline(one, transaction=True, size=5)),
    ("`SET`, which may overwrite", False, 200, lambda one: one.set("key:1", "v")),
    ("`SET ... EX 60`", False, 200, lambda one: one.set("key:1", "v", ex=60)),
]
"""What is called, whether it loses nothing, how often in one round, how."""


def paired(plain: Any, guarded: Any, count: int, call: Call) -> tuple[float, float]:
    """Median microseconds without a guard, and the median of what each round took with one, as a share of it."""
    base, shares = [], []
    for _ in range(ROUNDS):
        took = []
        for one in (plain, guarded):
            began = time.perf_counter()
            for _ in range(count):
                call(one)
            took.append(time.perf_counter() - began)
        base.append(took[0] / count * 1e6)
        shares.append(took[1] / took[0])
    return median(base), median(shares)


async def awaited(plain: Any, guarded: Any, count: int, call: Call) -> tuple[float, float]:
    """The same for clients that are awaited."""
    base, shares = [], []
    for _ in range(ROUNDS):
        took = []
        for one in (plain, guarded):
            began = time.perf_counter()
            for _ in range(count):
                await call(one)
            took.append(time.perf_counter() - began)
        base.append(took[0] / count * 1e6)
        shares.append(took[1] / took[0])
    return median(base), median(shares)


def main() -> None:
    """Measure, and write the section."""
    with tempfile.TemporaryDirectory() as folder, running(SERVER, Path(folder)) as server:
        guard = Guard.load({"state.dir": f"{folder}/state"})
        known: dict[str, Any] = {"unix_socket_path": server.path}
        rows = []
        with redis.Redis(**known) as plain, GuardedRedis(guard=guard, **known) as guarded:
            plain.mset(dict.fromkeys(_FIFTY, "value"))
            for name, harmless, count, call in WAYS:
                rows.append((name, harmless, *paired(plain, guarded, count, call)))

        async def with_asyncio() -> None:
            async with aioredis.Redis(**known) as one, AsyncGuardedRedis(guard=guard, **known) as other:
                for name, harmless, count, call in WAYS[:1]:
                    rows.append((f"{name} with asyncio", harmless, *await awaited(one, other, count, call)))

        asyncio.run(with_asyncio())
    lines = [
        f"| {name} | {base:.0f} µs | {share:.2f} | {_verdict(share, harmless=harmless)} |"
        for name, harmless, base, share in rows
    ]
    head = "| call | redis-py | with the guard, as a multiple of it | goal |\n| --- | --- | --- | --- |\n"
    about = f"redis-py {redis.__version__}, {SERVER}, a unix socket; {ROUNDS} rounds of each way in turns, medians. {machine()}"
    write_section("redis-py", head + "\n".join(lines) + f"\n\n{about}\n\nAgain: `python benchmarks/redis_py.py`.")


def _verdict(share: float, *, harmless: bool) -> str:
    if not harmless:
        return ""
    return f"met ({GOAL})" if share <= GOAL else f"**not met** ({GOAL})"


if __name__ == "__main__":
    main()
