"""How fast the pages of `serve` are while 10,000 operations wait, over a real server.

    PYTHONPATH=tests python benchmarks/inbox.py

Result: stdout, and between the markers in docs/benchmarks.md.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal.record import Entry
from page import machine, median, verdict, write_section
from webserver import Served, add_person, log_in, serving

PENDING, ROUNDS, GOAL_MS, AT_ONCE = 10_000, 200, 200, 500
TERMS: dict[str, Value] = {"needed": 2, "approvers": [], "break_glass": [], "self": "never", "review_s": 604_800}


def fill(served: Served) -> list[str]:
    """Have 10,000 operations wait."""
    rng = random.Random(7)  # noqa: S311 - not for secrets
    now = int(time.time())
    ops = [operation_id(now * 1000 + number, number) for number in range(PENDING)]
    with served.session().journal() as journal:
        for begin in range(0, PENDING, AT_ONCE):
            entries = [entry for op in ops[begin : begin + AT_ONCE] for entry in asked(op, rng, now)]
            journal.write_all(entries)
        journal.catch_up()
    return ops


def asked(op: str, rng: random.Random, now: int) -> Iterator[Entry]:
    """The records of one that is held."""
    count = rng.randrange(1, 5000)
    verdicts = [
        {
            "check": f"redis-{name}",
            "outcome": "WARN",
            "summary": "something to look at",
            "evidence": ["0/a", "0/b"],
            "remedy": [],
        }
        for name in ("names", "ttl", "hit-rate", "blast-radius", "replication", "undo")
    ]
    yield Entry(
        "REQUESTED",
        {
            "kind": "redis",
            "target": f"redis://10.2.0.{rng.randrange(250)}:6379",
            "selectors": ["del", "--match=session:*"],
            "digest": f"{rng.getrandbits(256):064x}",
            "items": count,
            "bytes": count * 120,
            "whole": count * 500,
        },
        op,
    )
    yield Entry("CHECKED", {"verdicts": verdicts}, op)
    reasons = ["redis-names says WARN: something to look at", f"the plan removes {count} keys"]
    yield Entry("HELD", {"reasons": reasons, "expires_s": now + 86_400, "terms": TERMS}, op)


def timed(client: httpx.Client, path: Callable[[int], str]) -> tuple[float, float, float, int]:
    """Median, 95th percentile and longest time of an answer in ms, and the size of the last one."""
    took, size = [], 0
    for number in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(path(number))
        took.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path(number)} is answered with {answer.status_code}")
        size = len(answer.content)
    took.sort()
    return median(took), took[int(len(took) * 0.95) - 1], took[-1], size


def rows(served: Served, ops: Sequence[str], first_s: float, client: httpx.Client) -> Iterator[str]:
    """The table's rows."""
    rng = random.Random(8)  # noqa: S311 - as above
    pages: list[tuple[str, Callable[[int], str]]] = [
        ("inbox, first page", lambda _: "/"),
        ("inbox, a page somewhere", lambda _: f"/?after={rng.choice(ops[:-60])}"),
        ("inbox, searched for a target", lambda number: f"/?text=10.2.0.{number}"),
        ("one operation with its evidence, each another", lambda number: f"/op/{ops[number * 37 % PENDING]}"),
        ("journal, newest page", lambda _: "/journal"),
    ]
    for name, path in pages:
        middle, p95, most, size = timed(client, path)
        yield f"| {name} | {middle:.1f} | {p95:.1f} | {most:.1f} | {size / 1024:.0f} | {verdict(-p95, -GOAL_MS).replace('-', '')} |"
    took = []
    for number in range(20):
        with served.session().journal() as journal:
            journal.note("progress", {"n": number})
        began = time.perf_counter()
        client.get("/")
        took.append((time.perf_counter() - began) * 1000)
    yield ""
    yield (
        f"The very first page after a start reads the whole journal ({PENDING * 3:,} records): {first_s:.1f} s. After that only what was"
        f" written since: with one more record before each look, {median(took):.1f} ms."
    )


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with serving(base) as served:
            add_person(served, "bob", "approver", "auditor")
            ops = fill(served)
        with (
            serving(base) as served,
            httpx.Client(
                base_url=served.url, headers={"Origin": served.url, "Accept": "text/html"}, timeout=120, trust_env=False
            ) as client,
        ):
            log_in(client, "bob")
            began = time.perf_counter()
            client.get("/")
            table = list(rows(served, ops, time.perf_counter() - began, client))
    where = (
        f"`serve` on the loopback with {PENDING:,} operations that wait, one person who looks, {ROUNDS} looks at each page, 50"
        f" operations to a page; from request to the last byte, in ms. {machine()}"
    )
    head = [
        where,
        "",
        f"| page | median | p95 | longest | KiB | p95 under {GOAL_MS} ms |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    write_section("inbox", "\n".join([*head, *table, "", "Again: `python benchmarks/inbox.py`."]))


if __name__ == "__main__":
    main()
