"""A long journal read by several processes.

Knows:     that a run of records can be checked without those before it, and put together afterwards (`journal.sweep`).
Called by: `journal.store`, `journal.shared`.
Never:     opens the journal a second time in the process that has it open (its locks would be lost); outlives who asked.
Source:    https://sqlite.org/howtocorrupt.html section 2.2; prctl(2) PR_SET_PDEATHSIG. Helpers are started anew (`spawn`): a copy of a
           process that has a database open must not use it.
"""

import ctypes
import os
import signal
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from go_cache_safeguard.journal.law import Act
from go_cache_safeguard.journal.sweep import Run, sweep

if TYPE_CHECKING:
    from concurrent.futures import Future
    from concurrent.futures.process import ProcessPoolExecutor

Packed: TypeAlias = tuple[Run, list[tuple[Any, ...]]]
"""A run on its way to another process, with the columns of its acts: flat lists take a third of the time."""
_ACT: Callable[[Iterable[Any]], Act] = partial(tuple.__new__, Act)
MANY = 40_000
"""Records from which on several processes read them: to start those takes as long as to read about as many."""
_PDEATHSIG = 1
_BATCH = 1000
_STREAMED = 4000
"""Rows in each run of a stream."""
_FIRST = -(1 << 63)
_RUNS = 4
"""Runs for each processor, so that none has long to wait for the other."""


def sweep_all(path: Path, last: int) -> list[Run]:
    """Sweep a journal, several runs at once.

    Args:
        path: The SQLite file.
        last: Number of the last record.

    Returns:
        All runs in order; none at all if one of them is not surely right.
    """
    workers = _workers()
    with _pool(workers) as pool:
        return _gathered(
            pool, (pool.submit(sweep_part, path, *part) for part in parts(last, workers * _RUNS)), workers * _RUNS
        )


def sweep_stream(rows: Iterable[tuple[int, str | None, bytes, bytes]]) -> list[Run]:
    """Sweep rows that only this process can read, several runs at once.

    Args:
        rows: In the order of their keys.

    Returns:
        All runs in order; none at all if one of them is not surely right.
    """
    workers, left = _workers(), iter(rows)
    with _pool(workers) as pool:
        runs = iter(lambda: list(islice(left, _STREAMED)), [])
        return _gathered(pool, (pool.submit(sweep_rows, run) for run in runs), workers * 2)


def _workers() -> int:
    return min(8, len(os.sched_getaffinity(0)))


def _pool(workers: int) -> "ProcessPoolExecutor":
    from concurrent.futures.process import ProcessPoolExecutor  # noqa: PLC0415 - heavy, and rarely needed
    from multiprocessing import get_context  # noqa: PLC0415 - likewise

    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)


def _gathered(pool: "ProcessPoolExecutor", begun: "Iterator[Future[Packed | None]]", ahead: int) -> list[Run]:
    """Results in order; so many are under way at once, so that memory stays small."""
    from concurrent.futures import BrokenExecutor  # noqa: PLC0415 - rarely needed

    runs: list[Run] = []
    waiting: deque[Future[Packed | None]] = deque()
    try:
        waiting.extend(islice(begun, ahead))
        while waiting:
            packed = waiting.popleft().result()
            if packed is None:
                return []
            waiting.extend(islice(begun, 1))
            runs.append(_unpacked(packed))
    except (BrokenExecutor, sqlite3.Error):
        return []  # killed, for example for want of memory: then the journal is read here, slowly
    finally:
        pool.shutdown(cancel_futures=True)
    return runs


def _unpacked(packed: Packed) -> Run:
    run, columns = packed
    return run._replace(acts=list(map(_ACT, zip(*columns, strict=True))))


def parts(last: int, count: int) -> list[tuple[int, int]]:
    """Cut the numbers up to `last` into so many runs; the first one begins below 1, where no row should be."""
    edges = [last * at // count for at in range(1, count + 1)]
    return [(low + 1 if low else _FIRST, high) for low, high in zip([0, *edges], edges, strict=False) if high > low]


def sweep_part(path: Path, low: int, high: int) -> Packed | None:
    """Sweep the rows of these numbers; runs in a helper process."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)
    try:
        return sweep_rows(rows_between(db, low, high))
    finally:
        db.close()


def sweep_rows(rows: Iterable[tuple[int, str | None, bytes, bytes]]) -> Packed | None:
    """Sweep these rows; runs in a helper process."""
    run = sweep(rows)
    return None if run is None else (run._replace(acts=[]), list(zip(*run.acts, strict=True)))


def rows_between(db: sqlite3.Connection, low: int, high: int) -> Iterator[tuple[int, str | None, bytes, bytes]]:
    """Rows as they are stored, a batch at a time, so that no read transaction stays open.

    Args:
        db: The journal.
        low: Number of the first row.
        high: Number of the last one.
    """
    query = "SELECT seq, op, body, hash FROM record WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
    while batch := db.execute(query, (low, high, _BATCH)).fetchall():
        yield from batch
        if len(batch) < _BATCH:
            return
        low = batch[-1][0] + 1


def _begin() -> None:
    """In a helper: die with who asked, and leave Ctrl-C to them."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
