"""How fast records become durable, one by one and grouped, how fast a journal is verified, and what a checkpoint costs.

    PYTHONPATH=tests python benchmarks/journal.py [DIRECTORY]

The directory is on the disk that is to be measured; default: a temporary one. The same is asked of a Postgres server on that disk.
Result: stdout, and between the markers in docs/benchmarks.md.

What only some rows need is loaded there: helper processes load this module anew, as they load the command line's, which is light.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal.chain import Row, verify_chain
from go_cache_safeguard.journal.record import Entry, Record, leaf_hash, record_bytes
from go_cache_safeguard.journal.records import Records
from go_cache_safeguard.journal.store import Journal, open_journal
from page import machine, median, verdict, write_section

SINGLE, GROUPED, TOGETHER, LONG, ROUNDS = 400, 20_000, 200, 200_000, 3
STEPS = ("REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "PROVING", "DONE")
TOLD = {"kind": "go-build-cache", "target": "/root/.cache/go-build", "digest": "d" * 64, "selectors": ["--all"]}
Rate = tuple[float, float]
"""Records a second of wall time, and of processor time of all processes."""


def opened(path: Path, *, read_only: bool = False) -> Journal:
    """A journal as the program opens it, with nobody who makes checkpoints."""
    return open_journal(path, actor="uid:0(root)", version="1", read_only=read_only)


def processor_s() -> float:
    """Processor time of this process and of those that it waited for, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(count: int, act: Callable[[], object]) -> Rate:
    """How many records a second an act deals with."""
    wall, cpu = time.perf_counter(), processor_s()
    act()
    return count / (time.perf_counter() - wall), count / max(processor_s() - cpu, 1e-9)


def middle(rates: list[Rate]) -> Rate:
    """The median of both."""
    return median([rate[0] for rate in rates]), median([rate[1] for rate in rates])


def one_by_one(journal: Records) -> None:
    """Each durable, and known to the head, before the next."""
    for at in range(SINGLE):
        journal.note("progress", {**TOLD, "n": at})


def grouped(journal: Records) -> None:
    """As the writer of many threads' notes does it."""
    for at in range(0, GROUPED, TOGETHER):
        journal.write_all([Entry("progress", {**TOLD, "n": at + more}) for more in range(TOGETHER)])
    journal.catch_up()


def many_rows(journal: Records, *, operations: bool) -> Iterator[Row]:
    """What follows the first record of a long journal, byte for byte as it would write them."""
    (first,) = journal.rows()
    record = next(journal.records())
    prev, now_ns = first.hash.hex(), time.monotonic_ns()
    for at in range(LONG - 1):
        op = operation_id(at // len(STEPS), at // len(STEPS)) if operations else None
        step = STEPS[at % len(STEPS)] if operations else "call-passed"
        data = {**TOLD, "items": at, "bytes": at}
        place = (at + 2, prev, record.at, now_ns + at, record.boot)
        body = record_bytes(Record(record.log, *place, "uid:0(root)", record.host, "1", op, step, data))
        kept = leaf_hash(body)
        prev = kept.hex()
        yield Row(at + 2, op, body, kept)


def long_journal(path: Path, *, operations: bool) -> None:
    """A journal of many records, written past the slow way in."""
    with opened(path) as journal:
        journal.note("config", {})
        rows = many_rows(journal, operations=operations)
        journal._db.execute("BEGIN IMMEDIATE")  # noqa: SLF001 - 200,000 records through the door would take minutes
        journal._db.executemany("INSERT INTO record(seq, op, body, hash) VALUES (?, ?, ?, ?)", rows)  # noqa: SLF001 - as above
        journal._db.execute("COMMIT")  # noqa: SLF001 - as above
        journal.catch_up()


def see_whole(found: object) -> None:
    """A look that finds breaks takes another way through the code, so its time would tell nothing."""
    if found:
        raise SystemExit("the journal that is measured is not whole")


def verified(path: Path) -> None:
    """The chain of the whole journal."""
    with opened(path, read_only=True) as journal:
        see_whole(journal.verify())


def audited(path: Path, config: Config) -> None:
    """All that `audit verify` asks."""
    from go_cache_safeguard.flows.audit import audit  # noqa: PLC0415 - the docstring above tells why

    with opened(path, read_only=True) as journal:
        see_whole(audit(config, journal).breaks)


def slowly(path: Path) -> None:
    """The look that names each break, at a part of it."""
    with opened(path, read_only=True) as journal:
        rows = list(journal.rows())[: SINGLE * 50]
    see_whole(verify_chain(rows))


def lines(base: Path) -> Iterator[str]:
    """The table's rows, with goals where there are any."""
    config = load_config(environ={}, cwd=base, home=base, arguments={"state.dir": f"{base}"}, system=base / "none")
    with opened(base / "single" / "journal.sqlite") as journal:
        rate = middle([measured(SINGLE, lambda: one_by_one(journal)) for _ in range(ROUNDS)])
        yield row("append, one by one, each durable and in the head", SINGLE, rate, 300)
        rate = middle([measured(GROUPED, lambda: grouped(journal)) for _ in range(ROUNDS)])
        yield row(f"append, {TOGETHER} in a transaction", GROUPED, rate, 5_000)
    for name, operations in (("notes", False), ("operations", True)):
        path = base / name / "journal.sqlite"
        long_journal(path, operations=operations)
        rate = middle([measured(LONG, partial(verified, path)) for _ in range(ROUNDS)])
        yield row(f"verify the chain, all {name}", LONG, rate, 100_000)
        rate = middle([measured(LONG, partial(audited, path, config)) for _ in range(ROUNDS)])
        yield row(f"`audit verify`: chain, tree and histories, all {name}", LONG, rate, None)
    path = base / "operations" / "journal.sqlite"
    rate = measured(SINGLE * 50, lambda: slowly(path))
    yield row("the slow look that names breaks (fetching included)", SINGLE * 50, rate, None)
    yield from shared(base)
    yield from signed(base, config)


def signed(base: Path, config: Config) -> Iterator[str]:
    """What a checkpoint costs, as sentences under the table."""
    from go_cache_safeguard.flows.checkpoint import checkpoint  # noqa: PLC0415 - the docstring above tells why

    with opened(base / "notes" / "journal.sqlite") as journal:
        began = time.perf_counter()
        checkpoint(config, journal)
        whole = time.perf_counter() - began
        took = []
        for at in range(20):
            journal.note("progress", {"n": at})
            began = time.perf_counter()
            checkpoint(config, journal)
            took.append(time.perf_counter() - began)
    yield ""
    yield (
        f"A checkpoint after one more record of {LONG:,}: {median(took) * 1000:.1f} ms, durable; the first one, which hashes"
        f" all of them: {whole:.2f} s."
    )


def shared(base: Path) -> Iterator[str]:
    """The same asked of a Postgres server on this machine, through its socket."""
    import postgres  # noqa: PLC0415 - the docstring above tells why
    from go_cache_safeguard.journal.database import turn  # noqa: PLC0415 - the docstring above tells why

    base.chmod(0o755)  # the server does not run as root
    with postgres.running(base) as server, postgres.of_its_own(server, base) as database:
        with database.journal("single") as journal:
            journal.note("config", {})
            rate = middle([measured(SINGLE, lambda: one_by_one(journal)) for _ in range(ROUNDS)])
            yield row("Postgres: append, one by one, each durable", SINGLE, rate, 300)
            rate = middle([measured(GROUPED, lambda: grouped(journal)) for _ in range(ROUNDS)])
            yield row(f"Postgres: append, {TOGETHER} in a transaction", GROUPED, rate, 5_000)
        for name, operations in (("notes", False), ("operations", True)):
            with database.journal(name) as journal:
                journal.note("config", {})
                rows = many_rows(journal, operations=operations)
                while some := list(islice(rows, 5_000)):
                    with turn(journal._engine, name) as db:  # noqa: SLF001 - past the slow way in
                        journal._store(db, journal.log, some)  # noqa: SLF001 - as above
                rate = middle([measured(LONG, lambda: see_whole(journal.verify())) for _ in range(ROUNDS)])
                yield row(f"Postgres: verify the chain, all {name}", LONG, rate, 100_000)


def row(name: str, count: int, rate: Rate, goal: float | None) -> str:
    """One line of the table."""
    wanted = "" if goal is None else verdict(rate[0], goal)
    return f"| {name} | {count:,} | {rate[0]:,.0f} | {rate[1]:,.0f} | {wanted} |"


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        table = list(lines(Path(directory)))
    where = (
        f"Records of about 520 bytes; medians of {ROUNDS} rounds. {machine()} Other work shares these processors, so the records"
        " that one second of processor time suffices for (all processes together) are told as well."
    )
    head = [
        where,
        "",
        "| what | records | a second | a second of processor time | goal |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    write_section("journal", "\n".join([*head, *table]))


if __name__ == "__main__":
    main()
