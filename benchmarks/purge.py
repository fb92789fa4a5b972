"""What services bear while the cache that they depend on is emptied: at once, and in waves with a gate between.

Run: `PYTHONPATH=tests python benchmarks/purge.py [--rounds N] [--seconds N]`. By turns on one server: 400 requests a second for 4,000
keys, behind them a database with 12 places and 50 ms for each query; a request that is not answered in 0.25 s has failed, and a query
that has begun goes on all the same. Everything is real: server, spans in the embedded store, gate, journal, trash. Every run lasts
equally long.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.flows.purge_waves import Watched, execute_waves, in_waves, told_waves
from go_cache_safeguard.flows.redis_plan import Wanted
from page import machine, write_section
from purgeload import KEYS, Load, loaded
from redisguard import Guard
from rediskeys import pipeline
from redisservers import Client, Server, running

SETTINGS = {
    "signals.wave_settle": "1s",
    "signals.wave_baseline": "5s",
    "signals.wave_first": "50",
    "signals.capacity": "shop=12",
    "policy.on_block": "allow",
}
_WARM_S = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One run, and of a guarded one what the waves were."""

    load: Load
    took_s: float
    waves: int = 0
    back: int = 0
    put_back: int = 0
    turned_ms: int = 0


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=36)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    naive: list[Run] = []
    guarded: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="purge-benchmark-") as name, running("redis-7.0", Path(name)) as server:
        for number in range(asked.rounds):
            with server.client() as client:
                client("FLUSHALL")
                naive.append(at_once(server, client, Path(name) / f"n{number}", asked.seconds))
                client("FLUSHALL")
                guarded.append(in_turn(server, Path(name) / f"g{number}", asked.seconds))
    text = section(naive, guarded)
    if asked.dry:
        print(text)
    else:
        write_section("purge", text)


def at_once(server: Server, client: Client, scratch: Path, seconds: int) -> Run:
    """Delete every key in one command."""
    ends = time.monotonic() + seconds
    with loaded(server.path, scratch / SPANS) as load:
        time.sleep(_WARM_S)
        began = time.monotonic()
        pipeline(client, [("DEL", *(f"page:{n:05}" for n in range(KEYS)))])
        took_s = time.monotonic() - began
        time.sleep(max(0.0, ends - time.monotonic()))
    return Run(load, took_s)


def in_turn(server: Server, scratch: Path, seconds: int) -> Run:
    """Have the guard purge them."""
    ends = time.monotonic() + seconds
    guard = Guard(f"unix://{server.path}", scratch, SETTINGS)
    with loaded(server.path, scratch / SPANS) as load:
        time.sleep(_WARM_S)
        began = time.monotonic()
        found, verdicts = guard.look(Wanted("UNLINK", patterns=(b"page:*",)))
        plan = in_waves(found.plan, Watched("store", ("shop",)))
        receipt = clean(guard.session(), plan, lambda: verdicts, execute_waves, None)
        took_s = time.monotonic() - began
        time.sleep(max(0.0, ends - time.monotonic()))
    if receipt.moved + receipt.changed != KEYS:
        raise SystemExit(f"the purge is not whole: {receipt}")
    with guard.session().journal(read_only=True) as journal:
        rows = told_waves(journal, receipt.op)
    turned = [row for row in rows if "back" in row]
    return Run(
        load,
        took_s,
        waves=len(rows),
        back=len(turned),
        put_back=sum(row["back"] for row in turned),
        turned_ms=max((row["turned_ms"] for row in turned), default=0),
    )


def section(naive: Sequence[Run], guarded: Sequence[Run]) -> str:
    """The table, and whether the goals were reached."""
    lines = [
        machine(),
        "",
        "| | requests | failed | share | worst second | purge took | waves | put back | rollback began after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row("every key at once", run) for run in naive),
        *(_row("in waves, guarded", run) for run in guarded),
        "",
    ]
    total, worst = max(run.load.errors() for run in guarded), max(run.load.worst() for run in guarded)
    least, least_worst = min(run.load.errors() for run in naive), min(run.load.worst() for run in naive)
    slowest = max(run.turned_ms for run in guarded)
    goals = (
        (f"errors {total:.2%}, goal at most 0.5%", total <= 0.005),
        (f"worst second {worst:.1%}, goal at most 10%", worst <= 0.10),
        (f"at once {least:.1%} where at least 3% are expected", least >= 0.03),
        (f"and {least_worst:.0%} in the worst second where at least 50% are", least_worst >= 0.5),
        (f"rollback after {slowest} ms, goal at most 1,000", slowest <= 1_000),
    )
    return "\n".join([*lines, *(f"- {text}: {'met' if met else '**not met**'}" for text, met in goals)])


def _row(name: str, run: Run) -> str:
    requests = sum(all_ for all_, _ in run.load.seconds.values())
    failed = sum(one for _, one in run.load.seconds.values())
    waves = (
        f"{run.waves} | {run.put_back:,} keys of {run.back} waves | {run.turned_ms} ms" if run.waves else "- | - | -"
    )
    share, worst = run.load.errors(), run.load.worst()
    return f"| {name} | {requests:,} | {failed:,} | {share:.2%} | {worst:.1%} | {run.took_s:.1f} s | {waves} |"


if __name__ == "__main__":
    main()
